"""What user code wears, where it is hardest: hostile objects, interruptions, too many tags, secrets, switched off."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

from contracts import hostile
from contracts.watched import in_flight, internal_errors, outcomes
from holter import names
from holter.errors import ConfigurationError
from holter.monitor import Monitor
from holter.recorder import RECORDER
from programs import succeed

ERRORS = [RuntimeError, SystemExit, GeneratorExit, asyncio.CancelledError]


@pytest.fixture
def monitor() -> Monitor:
    return Monitor("test", samplers=[])


def same(one: object, other: object) -> bool:
    """Whether they are one object, told without asking them."""
    return one is other


def sum_of(monitor: Monitor, metric: str, **where: Any) -> float:
    """Return the sum of *metric*."""
    found = monitor.snapshot().find(metric, where)
    return 0.0 if found is None else found.total.sum


# -- hostile objects


@pytest.mark.parametrize("error", ERRORS)
def test_hostile_arguments_and_results_pass_untouched(error: type[BaseException], monitor: Monitor) -> None:
    """Functions, coroutines and streams of objects that raise at every touch give the very objects."""

    @monitor.watch(name="call")
    def call(*args: Any, **kwargs: Any) -> Any:
        return args[0] if args else kwargs["thing"]

    @monitor.watch(name="later")
    async def later(thing: Any) -> Any:
        return thing

    @monitor.watch(name="stream")
    def stream(thing: Any) -> Any:
        got = yield thing
        yield got
        return thing

    @monitor.watch(name="async stream")
    async def async_stream(thing: Any) -> Any:
        got = yield thing
        yield got

    async def main() -> bool:
        one = async_stream(thing)
        seen = [await later(thing), await anext(one), await one.asend(thing)]
        async for _ in one:
            pass
        return all(same(thing, value) for value in seen)

    thing = hostile.thing(error())
    assert same(thing, call(thing))
    assert same(thing, call(thing=thing))
    one = stream(thing)
    assert all(same(thing, value) for value in (next(one), one.send(thing)))
    with pytest.raises(StopIteration):
        next(one)
    assert asyncio.run(main())
    snapshot = monitor.snapshot()
    assert {"ok": 5} == outcomes(snapshot)
    assert {} == internal_errors(snapshot)


@pytest.mark.parametrize("error", ERRORS)
def test_hostile_work_is_counted_and_harms_nobody(error: type[BaseException], monitor: Monitor) -> None:
    """Where `units` fails on a result, or gives what is no number, the caller gets the result all the same."""

    @monitor.watch(name="call", units=len)
    def call(thing: Any) -> Any:
        return thing

    @monitor.watch(name="later", units=lambda thing: thing)
    async def later(thing: Any) -> Any:
        return thing

    @monitor.watch(name="stream", units=len)
    def stream(thing: Any) -> Any:
        yield thing
        yield "four"

    async def main() -> bool:
        # Not returned, because asyncio itself asks a result for its text.
        return same(thing, await later(thing))

    thing = hostile.thing(error())
    assert same(thing, call(thing))
    assert asyncio.run(main())
    assert 2 == len([1 for _ in stream(thing)])
    snapshot = monitor.snapshot()
    assert {"ok": 3} == outcomes(snapshot)
    assert {"units": 2} == internal_errors(snapshot)
    assert 3 == sum_of(monitor, names.VALUES_REFUSED)
    found = snapshot.find("holter.call.duration", {names.CALL_NAME: "stream"})
    assert found is not None
    assert 4 == found.total.units


@pytest.mark.parametrize("error", ERRORS)
def test_hostile_values_tags_and_names_are_refused_unasked(error: type[BaseException], monitor: Monitor) -> None:
    """None of their methods runs, nothing is raised, and each is counted."""

    @monitor.watch(name="call")
    def call() -> None:
        monitor.tag(model=thing)
        with monitor.span(thing):
            pass

    thing = hostile.thing(error())
    call()
    counter, gauge, histogram = monitor.counter("c"), monitor.gauge("g"), monitor.histogram("h")
    counter.add(thing)
    gauge.set(thing)
    histogram.record(thing)
    monitor.gauge("r", read=lambda: thing)
    snapshot = monitor.snapshot()
    assert {"ok": 1} == outcomes(snapshot)
    assert {"tag": 1, "span": 1, "c": 1, "g": 1, "h": 1} == internal_errors(snapshot)
    assert 4 <= sum_of(monitor, names.VALUES_REFUSED)


def test_hostile_errors_pass_identical_and_are_counted(monitor: Monitor) -> None:
    """An error that cannot be asked for its class, traceback or text is an error like others."""

    @monitor.watch(name="call", expected=(KeyError, ConnectionError))
    def call(error: BaseException) -> NoReturn:
        with monitor.span("inside"):
            raise error

    @monitor.watch(name="stream")
    def stream(error: BaseException) -> Any:
        yield 1
        raise error

    def caught(function: Callable[[], Any]) -> BaseException | None:
        try:
            function()
        except BaseException as error:  # noqa: BLE001 - pytest.raises would look at it
            return error
        return None

    error = hostile.Error()
    assert same(error, caught(lambda: call(error)))
    assert same(error, caught(lambda: list(stream(error))))
    one = stream(error)
    next(one)
    assert same(error, caught(lambda: one.throw(error)))
    snapshot = monitor.snapshot()
    assert {"error": 3} == outcomes(snapshot)
    assert {"Error"} == {place.error_type for place in snapshot.error_places}
    assert {} == internal_errors(snapshot)
    assert 0 == in_flight(snapshot)


# -- interruptions


def test_recording_from_everywhere_under_a_signal_timer_loses_nothing() -> None:
    """A handler each 50 µs, destructors, weak-reference callbacks and logging handlers all record; all is exact."""
    program = """
        import gc, json, logging, signal, sys, time, weakref
        import numpy as np
        import holter
        from holter import names
        from holter.record import SEQUENCE_SHIFT
        from holter.recorder import RECORDER
        from holter.ring import RingReader

        monitor = holter.Monitor("service", samplers=[])
        counts = dict.fromkeys(("signal", "del", "weakref", "log", "main", "tag", "fail"), 0)
        counter, gauge = monitor.counter("app.count"), monitor.gauge("app.gauge")

        @monitor.watch(name="interrupting")
        def interrupting(where):
            with monitor.span(where):
                counter.add(1)

        def record(where):
            counts[where] += 1
            interrupting(where)

        depth, is_over = 0, False
        def arm():
            if not is_over:
                signal.setitimer(signal.ITIMER_REAL, 50e-6)

        def interrupt(*_):
            # Armed anew, not periodic: on a busy machine 50 µs pass while this runs, and nothing else would.
            global depth
            depth += 1
            if depth < 3:
                arm()
            record("signal")
            depth -= 1
            arm()

        signal.signal(signal.SIGALRM, interrupt)

        class Dying:
            def __del__(self):
                record("del")

        class Handler(logging.Handler):
            def emit(self, line):
                record("log")

        logger = logging.Logger("app")
        logger.addHandler(Handler())

        @monitor.watch(name="main", units=len)
        def main(text):
            monitor.tag(text=text)
            counts["tag"] += 1
            with monitor.span("outer"):
                cycle = [Dying()]
                cycle.append(cycle)
                target = Dying()
                reference = weakref.ref(target, lambda _: record("weakref"))
                del target
                logger.warning("x")
                gauge.set(1)
            if counts["main"] % 5 == 0:
                raise ValueError
            return text

        readers, sequences = {}, {}
        def drain():
            for ring in list(RECORDER.all):
                reader = readers.setdefault(id(ring), RingReader(ring.memory))
                found = (reader.read()[0]["commit"] >> np.uint64(SEQUENCE_SHIFT)).tolist()
                sequences.setdefault(id(ring), []).extend(found)

        gc.set_threshold(50)
        arm()
        end = time.monotonic() + 2
        while time.monotonic() < end or min(counts["signal"], counts["main"]) < 500:
            for _ in range(20):
                counts["main"] += 1
                try:
                    main("ab")
                except ValueError:
                    counts["fail"] += 1
            drain()
        is_over = True
        signal.setitimer(signal.ITIMER_REAL, 0)
        gc.collect()
        drain()
        snapshot = monitor.snapshot()
        def count(metric, **where):
            return snapshot.find(metric, where).total.count
        inside = ("signal", "del", "weakref", "log")
        spans = {one: count(names.SPAN_DURATION, **{names.SPAN_NAME: one}) for one in (*inside, "outer")}
        interrupted = sum(counts[where] for where in inside)
        both = ("main", "interrupting")
        active = [snapshot.find(names.CALL_ACTIVE, {names.CALL_NAME: one}).total.last for one in both]
        done = snapshot.find(names.CALL_DURATION, {names.CALL_NAME: "main"}).total
        print(json.dumps({
            "spans": spans == {**{where: counts[where] for where in inside}, "outer": counts["main"]},
            "calls": count(names.CALL_DURATION, **{names.CALL_NAME: "interrupting"}) == interrupted,
            "main": count(names.CALL_DURATION, **{names.CALL_NAME: "main", "text": "ab"}) == counts["main"],
            "failed": count(names.CALL_DURATION, **{names.ERROR_TYPE: "ValueError"}) == counts["fail"],
            "units": done.units == 2 * (counts["main"] - counts["fail"]),
            "counter": snapshot.find("app.count").total.sum == interrupted,
            "gauge": count("app.gauge") == counts["main"],
            "in flight": active,
            "duplicates": sum(len(one) - len(set(one)) for one in sequences.values()),
            "in order": all(one == sorted(one) for one in sequences.values()),
            "places": sum(place.count for place in snapshot.error_places) == counts["fail"],
            "internal errors": snapshot.find(names.INTERNAL_ERRORS) is None,
        }))
    """
    told = succeed(program)
    assert 0 == told.pop("duplicates")
    assert [0, 0] == told.pop("in flight")
    assert dict.fromkeys(told, True) == told


# -- tags without end


TAGS = """
    import json, resource, sys, time
    import holter
    from holter import names

    monitor = holter.Monitor("service", samplers=[])

    @monitor.watch(name="predict")
    def predict(n):
        monitor.tag(user=f"user {n}")

    many = int(sys.argv[1])
    for n in range(20_000):
        predict(n)
        if n % 5_000 == 0:
            monitor.snapshot()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for n in range(20_000, many):
        predict(n)
        if n % 50_000 == 0:
            monitor.snapshot()
    snapshot = monitor.snapshot()
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    series = [one for one in snapshot.series.values() if one.name == names.CALL_DURATION]
    overflow = snapshot.find(names.CALL_DURATION, {names.OVERFLOW: True}).total.count
    named = sum(snapshot.total[one.id].count for one in series if "user" in one.attributes and one.id in snapshot.total)
    print(json.dumps({
        "total": snapshot.find(predict).total.count,
        "overflow and named": overflow + named,
        "overflow": overflow,
        "series": len(series),
        "grown_kib": grown_kib,
    }))
"""


@pytest.mark.parametrize("many", [100_000, pytest.param(1_000_000, marks=pytest.mark.heavy)])
def test_distinct_tags_without_end_fill_a_bound_and_no_more(many: int) -> None:
    """Each call is counted, the first 2,000 tags by name and the others in the overflow; memory stays as it is."""
    told = succeed(TAGS, many, within=300)
    assert (many, many) == (told["total"], told["overflow and named"])
    assert told["series"] <= 2_001
    assert told["overflow"] >= many - 2_000
    assert told["grown_kib"] < 2_048


# -- secrets


def test_no_output_holds_what_was_passed_returned_or_said(monitor: Monitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """A word that is in arguments, results, errors and the environment is in no snapshot, summary or guard."""
    canary = "canary-7f3e"
    monkeypatch.setenv("CANARY", canary)

    class SecretError(Exception):
        def __str__(self) -> str:
            return canary

    @monitor.watch(name="predict", units=lambda result: result)
    def predict(text: str, *, secret: str) -> str:
        with monitor.span("inside"):
            if text == "fail":
                raise SecretError(canary, secret)
        return secret + text

    @monitor.watch(name="stream", units=len)
    def stream(text: str) -> Any:
        yield text
        raise ValueError(canary) from SecretError(canary)

    @monitor.watch(name="broken", units=lambda _: 1 / 0 if canary else 0)
    def broken(text: str) -> str:
        return text

    predict(canary, secret=canary)
    broken(canary)
    for call in (lambda: predict("fail", secret=canary), lambda: list(stream(canary))):
        with pytest.raises((SecretError, ValueError)):
            call()
    monitor.counter("c").add(canary)  # type: ignore[arg-type]
    monitor.gauge("g", read=lambda: canary)
    snapshot = monitor.snapshot()
    summary = monitor.summary()
    outputs = (snapshot, str(summary), summary._repr_html_(), json.dumps(summary.to_dict(), default=str))
    texts = [*map(repr, outputs), repr(monitor._scope.guard.first), repr(RECORDER.table.entries)]
    assert "predict" in "".join(texts)
    assert [] == [text for text in texts if canary in text]


# -- metrics of the user's own


def test_a_metric_is_of_one_kind_and_unit(monitor: Monitor) -> None:
    """The same name gives the same metric, and another kind or unit of it is refused."""
    monitor.counter("app.hits", unit="{hit}").add(1)
    monitor.counter("app.hits", unit="{hit}").add(2)
    assert 3 == sum_of(monitor, "app.hits")
    for make in (lambda: monitor.gauge("app.hits"), lambda: monitor.counter("app.hits", unit="By")):
        with pytest.raises(ConfigurationError, match=r"expected 'app\.hits' as a counter in '\{hit\}'"):
            make()


@pytest.mark.parametrize("name", ["", "1st", "a b", "holter.mine", "ä", "x" * 256, None, 3, "a\n"])
def test_a_name_that_cannot_be_a_metric_is_refused(name: Any, monitor: Monitor) -> None:
    """Names are those of OpenTelemetry, and holter's own are its own."""
    for make in (monitor.counter, monitor.gauge, monitor.histogram):
        with pytest.raises(ConfigurationError):
            make(name)


@pytest.mark.parametrize("unit", ["", None, 3, "x" * 64])
def test_a_unit_that_cannot_be_one_is_refused(unit: Any, monitor: Monitor) -> None:
    """It is a short text, as OpenTelemetry has it."""
    with pytest.raises(ConfigurationError, match="expected a unit"):
        monitor.counter("app.hits", unit=unit)


def test_a_gauge_cannot_be_read_by_what_is_no_function(monitor: Monitor) -> None:
    """It is refused where it is given."""
    with pytest.raises(ConfigurationError, match="expected read as a function without arguments, got int"):
        monitor.gauge("app.depth", read=3)  # type: ignore[arg-type]


# -- switched off


def test_switched_off_nothing_is_recorded_and_everything_runs(tmp_path: Path) -> None:
    """With HOLTER_DISABLED=1 `watch` gives the function itself, and all else does nothing but what the user wrote."""
    program = """
import json, os, sys, threading
import holter
from holter import names
from holter.recorder import RECORDER

def predict(x):
    with holter.span("stage") as span:
        holter.tag(model="v7")
        return x
asked = []
is_itself = [holter.watch(predict) is predict, holter.watch(units=len)(predict) is predict]
decorated = holter.span("stage")(predict)
seen = [predict(1), decorated(2)]
holter.counter("c").add(1), holter.gauge("g").set(2), holter.histogram("h").record(3)
holter.counter("c").add("no number")
holter.gauge("read", read=lambda: asked.append(1))
log = holter.LogFile("holter.jsonl")
with holter.start("service", exporters=[log], checks=[holter.Limit("c", "rate", above=0)]) as monitor:
    with holter.training("fit", total_steps=2) as run:
        for epoch in run.epochs(1):
            for batch in run.steps([3, 4]):
                with run.phase("forward"): seen.append(batch)
                run.log(loss=batch)
    with run.step(): pass
    threads = [threading.Thread(target=decorated, args=(5,)) for _ in range(4)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    alive = [thread.name for thread in threading.enumerate()]
    flushed = [holter.flush(), monitor.flush()]
snapshot = holter.snapshot()
print(json.dumps({
    "is_itself": is_itself,
    "seen": seen,
    "asked": asked,
    "alive": alive,
    "running": monitor.is_running,
    "flushed": flushed,
    "alerts": list(holter.alerts()),
    "recorded": sorted({snapshot.series[key].name for key, reading in snapshot.total.items() if reading.sum}),
    "rings": len(RECORDER.rings),
    "summary": bool(str(holter.summary())),
    "stopped": holter.stop(),
    "bytes": sum(os.path.getsize(file) for file in os.listdir(".")),
}))
"""
    environment = {**os.environ, "HOLTER_DISABLED": "1"}
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)
    assert "" == done.stderr
    told = json.loads(done.stdout)
    assert told.pop("recorded") in ([], ["holter.series"])
    assert {
        "is_itself": [True, True],
        "seen": [1, 2, 3, 4],
        "asked": [],
        "alive": ["MainThread"],
        "running": False,
        "flushed": [True, True],
        "alerts": [],
        "rings": 0,
        "summary": True,
        "stopped": True,
        "bytes": 0,
    } == told


def test_switched_off_each_check_can_be_set_up(tmp_path: Path) -> None:
    """With HOLTER_DISABLED=1 checks, guards and silences take what `watch` returned, and then do nothing."""
    program = """
import holter
watched = holter.watch(lambda x: x, name="predict")
class Model:
    @holter.watch
    def predict(self, x): return x
fast = holter.Limit(watched, "p99", above=0.2)
checks = [
    fast, holter.SLO(Model.predict, below=0.2), holter.Stall(Model().predict), holter.Stall(), holter.Leak(),
    holter.Saturation(watched), holter.NonFinite(watched), holter.OutOfRange(watched, low=0, high=1),
]
wanted = holter.Wanted.of(watched, "inputs", "x")
guard = holter.Guard(watched, lambda x: -1, when=fast)
with holter.start("service", checks=checks) as monitor:
    print(guard(3), wanted.source, holter.alerts(), holter.snapshot().find(watched))
for wrong in (lambda: holter.Limit(watched, "no statistic", above=1), lambda: holter.Limit(3, "p99", above=1)):
    try:
        wrong()
    except holter.ConfigurationError:
        print("refused")
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "HOLTER_DISABLED": "1"},
    )
    assert "" == done.stderr
    assert ["3 inputs () None", "refused", "refused"] == done.stdout.splitlines()


def test_only_a_one_switches_off() -> None:
    """An empty or other value of the variable leaves holter on."""
    program = "import holter; f = lambda: 1; print(holter.watch(f) is f)"
    for value, off in (("1", "True"), ("0", "False"), ("", "False")):
        environment = {**os.environ, "HOLTER_DISABLED": value}
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment
        )
        assert off == done.stdout.strip()
