"""
What a slow or failed call costs the thread that made it, beside others and beside a span of OpenTelemetry.

    python benchmarks/slow_calls.py
"""

from __future__ import annotations

from contextlib import suppress

from opentelemetry.sdk.trace import TracerProvider

import holter
from holter.noted import LIMIT, SEEN
from runner import compare, each

MONITOR = holter.Monitor("slow calls", samplers=[], recording=False)
SCOPE = MONITOR._scope  # noqa: SLF001 - what is measured lies inside
NOTES = SCOPE.notes


class Wish:
    slower_than_seconds = 1000.0
    traces_all = True


def work() -> None:
    pass


def fail() -> None:
    raise ValueError


def main() -> None:
    NOTES.add("benchmark", Wish())
    quick, slow, crowded = (MONITOR.watch(work, name=name) for name in ("quick", "slow", "crowded"))
    failing = MONITOR.watch(fail, name="failing")
    gates = {SCOPE.table[gate.root].attributes["holter.call.name"]: gate for gate in NOTES.gates.values()}
    for name in ("slow", "crowded"):
        gates[name].words[LIMIT] = 0

    def make_room() -> None:
        for name in ("slow", "failing"):
            gates[name].kept = gates[name].words[SEEN] = 0
        NOTES.table.clear()

    def noted() -> None:
        slow()
        make_room()

    def failed() -> None:
        NOTES.is_wanted = False
        with suppress(ValueError):
            failing()
        NOTES.is_wanted = True
        make_room()

    def failed_and_noted() -> None:
        NOTES.is_wanted = True
        with suppress(ValueError):
            failing()
        NOTES.is_wanted = True
        make_room()

    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("benchmark")
    with tracer.start_as_current_span("around"):
        results = compare(
            {
                "call": each(quick),
                "slow call, a thousand others before it": each(crowded),
                "making room": each(make_room),
                "slow call, noted, room made": each(noted, times=2_000),
                "failed call, room made": each(failed, times=2_000),
                "failed call, noted, room made": each(failed_and_noted, times=2_000),
                "span of OpenTelemetry": each(lambda: tracer.start_span("x").end(), times=2_000),
            },
            unit="ns",
            packages=("opentelemetry-sdk",),
        )
    results.show(reference="call")
    noting = {
        "slow": results.median("slow call, noted, room made") - results.median("making room") - results.median("call"),
        "failed": results.median("failed call, noted, room made") - results.median("failed call, room made"),
    }
    span = results.median("span of OpenTelemetry")
    for kind, added in noting.items():
        print(f"noting a {kind} call adds {added:,.0f} ns, {added / span:.2f} x what a span of OpenTelemetry costs")
        assert added < 0.8 * span
    assert results.median("slow call, a thousand others before it") < 2 * results.median("call")


if __name__ == "__main__":
    main()
