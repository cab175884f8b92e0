"""
What a record costs the code that makes it, beside what peers cost, in one run.

The reference closure is what anybody would write by hand: ``functools.wraps``, two clock readings
and ``try``/``finally``. Ratios are of *added* cost: the bare call is subtracted on both sides.

    python benchmarks/hot_path.py
"""

from __future__ import annotations

import asyncio
import functools
import statistics
import time
import types
from collections.abc import Callable
from typing import Any

import opentelemetry.sdk.metrics
import prometheus_client
import wrapt

import holter
from runner import Measure, compare, each

MONITOR = holter.Monitor("hot path", samplers=[])


def bare(value: int) -> int:
    return value


def instrumented(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return what stands in place of *function*, in a copy of it that others may look up here."""
    globals()["theirs"] = types.FunctionType(function.__code__, globals(), "theirs")
    MONITOR.instrument(f"{__name__}:theirs")
    found: Callable[..., Any] = globals()["theirs"]
    return found


def reference(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def timed(*args: Any, **kwargs: Any) -> Any:
        begun = time.perf_counter_ns()
        try:
            return function(*args, **kwargs)
        finally:
            time.perf_counter_ns() - begun

    return timed


def reference_coroutine(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    async def timed(*args: Any, **kwargs: Any) -> Any:
        begun = time.perf_counter_ns()
        try:
            return await function(*args, **kwargs)
        finally:
            time.perf_counter_ns() - begun

    return timed


async def bare_coroutine(value: int) -> int:
    return value


def bare_generator(count: int) -> Any:
    yield from range(count)


class Model:
    def predict(self, value: int) -> int:
        return value

    @classmethod
    def load(cls, value: int) -> int:
        return value

    watched = MONITOR.watch(predict, name="method")

    @MONITOR.watch(name="class method")
    @classmethod
    def watched_load(cls, value: int) -> int:
        return value


def called(function: Callable[[int], Any]) -> Measure:
    return each(functools.partial(function, 1))


def awaited(function: Callable[[int], Any], times: int = 5_000) -> Measure:
    async def loop() -> None:
        for _ in range(times):
            await function(1)

    def measure() -> float:
        begun = time.perf_counter_ns()
        asyncio.run(loop())
        return (time.perf_counter_ns() - begun) / times

    return measure


def iterated(function: Callable[[int], Any], items: int = 20_000) -> Measure:
    def measure() -> float:
        begun = time.perf_counter_ns()
        for _ in function(items):
            pass
        return (time.perf_counter_ns() - begun) / items

    return measure


def empty() -> None:
    pass


def span() -> None:
    with holter.span("stage"):
        pass


def main() -> None:
    histogram = prometheus_client.Histogram("peer", "a peer", registry=prometheus_client.CollectorRegistry())
    meter = opentelemetry.sdk.metrics.MeterProvider().get_meter("peer")
    peer = meter.create_histogram("peer")
    counter, gauge, sizes = MONITOR.counter("app.hits"), MONITOR.gauge("app.load"), MONITOR.histogram("app.sizes")
    passing = wrapt.FunctionWrapper(bare, lambda wrapped, _, args, kwargs: wrapped(*args, **kwargs))
    candidates = {
        "bare": called(bare),
        "reference closure": called(reference(bare)),
        "watched function": called(MONITOR.watch(bare, name="function")),
        "instrumented function": called(instrumented(bare)),
        "watched function with units": called(MONITOR.watch(bare, name="with units", units=1)),
        "bare method": called(Model().predict),
        "watched method": called(Model().watched),
        "bare classmethod": called(Model.load),
        "watched classmethod": called(Model.watched_load),
        "bare block": each(empty),
        "span": each(span),
        "counter.add": each(counter.add),
        "gauge.set": each(functools.partial(gauge.set, 0.5)),
        "histogram.record": each(functools.partial(sizes.record, 0.5)),
        "prometheus_client @Histogram.time()": called(histogram.time()(bare)),
        "prometheus_client observe": each(functools.partial(histogram.observe, 0.5)),
        "OpenTelemetry record": each(functools.partial(peer.record, 0.5), times=5_000),
        "wrapt pass-through": called(passing),
        "bare coroutine": awaited(bare_coroutine),
        "reference coroutine": awaited(reference_coroutine(bare_coroutine)),
        "watched coroutine": awaited(MONITOR.watch(bare_coroutine, name="coroutine")),
        "bare item": iterated(bare_generator),
        "watched item": iterated(MONITOR.watch(bare_generator, name="generator")),
    }
    results = compare(candidates, unit="ns", packages=("prometheus_client", "opentelemetry-sdk", "wrapt"))
    results.show(reference="reference closure")
    print("\nadded cost, as a ratio to what the reference closure adds:")
    for name in candidates:
        last = name.split()[-1]
        base = {"span": "bare block"}.get(last, f"bare {last}" if f"bare {last}" in candidates else "bare")
        same = last == "coroutine"
        if not name.startswith("bare"):
            against = ("reference coroutine", "bare coroutine") if same else ("reference closure", "bare")
            ratios = [
                (value - under) / (one - other)
                for value, under, one, other in zip(
                    results.values[name],
                    [0.0] * len(results.values[name]) if name in _NOT_CALLS else results.values[base],
                    results.values[against[0]],
                    results.values[against[1]],
                    strict=True,
                )
            ]
            print(f"{name:36} {statistics.median(ratios):6.2f}")


# Where a record is all that is called, there is no bare call to subtract.
_NOT_CALLS = {
    "counter.add",
    "gauge.set",
    "histogram.record",
    "prometheus_client observe",
    "OpenTelemetry record",
}

if __name__ == "__main__":
    main()
