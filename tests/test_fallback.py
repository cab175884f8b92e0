"""Guards: who answers each call while alerts fire and resolve, that none is lost or made twice, and what is told."""

from __future__ import annotations

import asyncio
import copy
import gc
import inspect
import itertools
import json
import logging
import math
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import holter
from contracts.snapshots import alert
from contracts.watched import Time, internal_errors, outcomes
from guarded import anything, on_trial, tell
from holter.clock import Clock
from holter.fallback import Guard
from holter.monitor import Monitor
from holter.names import GUARD_STATE, GUARD_SWITCHES, GUARD_TO
from metricpages import poll
from programs import run

SOON = 60.0


@pytest.fixture
def clock() -> Time:
    return Time()


@pytest.fixture
def monitor(clock: Time) -> Monitor:
    return Monitor("test", samplers=[], clock=Clock(monotonic_ns=clock))


class Lever:
    """A check whose alert fires as long as somebody has pulled it; each time another one."""

    def __init__(self, target: str = "serve") -> None:
        self.is_pulled = False
        self.target, self._times, self._id = target, itertools.count(), ""

    def __repr__(self) -> str:
        return f"Lever({self.target!r})"

    def judge(self, snapshot: Any) -> list[Any]:
        """Say what has changed."""
        del snapshot
        if self.is_pulled == bool(self._id):
            return []
        if self.is_pulled:
            self._id = f"lever {next(self._times)}"
            return [alert(id=self._id, target=self.target)]
        done, self._id = self._id, ""
        return [alert(id=done, target=self.target, state="resolved")]


# -- who answers


def test_it_is_called_as_the_primary_is(monitor: Monitor, clock: Time) -> None:
    """The fallback answers from the alert on, and what it raises is raised; a method of either is one."""

    class Model:
        factor = 3

        def new(self, x: int, *, by: int = 1) -> tuple[str, int]:
            return "new", self.factor * x * by

        def old(self, x: int, *, by: int = 1) -> tuple[str, int]:
            if x < 0:
                raise LookupError
            return "old", self.factor * x * by

        predict = Guard(monitor.watch(new), monitor.watch(old), when=anything)

    model = Model()
    assert ("new", 6) == model.predict(2)
    tell(Model.predict, monitor, burn="firing")
    assert ("old", 12) == model.predict(2, by=2)
    with pytest.raises(LookupError):
        model.predict(-1)
    of_one = Guard(model.new, model.old, when=anything)
    assert ("new", 3) == of_one(1)
    tell(of_one, monitor, burn="firing")
    assert ("old", 3) == of_one(1)


def test_an_error_of_the_primary_is_raised_and_not_answered_by_the_fallback(monitor: Monitor, clock: Time) -> None:
    """No call is made twice."""
    calls: list[str] = []

    def primary() -> None:
        calls.append("primary")
        raise ValueError

    guard = Guard(monitor.watch(primary), lambda: calls.append("fallback"), when=anything)
    with pytest.raises(ValueError):  # noqa: PT011 - the very one
        guard()
    assert ["primary"] == calls
    measured = on_trial(Guard(monitor.watch(primary), spare_of(calls), when=anything, hold=False), monitor, clock)
    with pytest.raises(ValueError):  # noqa: PT011 - the very one
        measured()
    assert ["primary", "primary"] == calls


def spare_of(calls: list[str]) -> Callable[[], None]:
    """Return a fallback that notes its calls."""
    return lambda: calls.append("fallback")


def test_what_has_begun_goes_on_where_it_is(monitor: Monitor) -> None:
    """A stream, or a call in flight, is not switched."""

    def new(count: int) -> Iterator[str]:
        for number in range(count):
            yield f"new {number}"

    def old(count: int) -> Iterator[str]:
        for number in range(count):
            yield f"old {number}"

    guard = Guard(monitor.watch(new), old, when=anything)
    stream = guard(3)
    first = next(stream)
    tell(guard, monitor, burn="firing")
    assert ["new 0", "new 1", "new 2"] == [first, *stream]
    assert ["old 0"] == list(guard(1))


def test_trials_try_few_calls_and_more_as_they_go_well(monitor: Monitor, clock: Time) -> None:
    """One at a time at first; the rest is answered by the fallback."""
    gates: list[threading.Event] = []

    def new(number: int) -> str:
        gates.append(threading.Event())
        assert gates[-1].wait(SOON)
        return "new"

    guard = on_trial(Guard(monitor.watch(new), lambda _: "old", when=anything, hold=False), monitor, clock)
    answers: list[str] = []
    threads = []
    for at_once in (1, 2, 4, 8, 5):
        begun = [threading.Thread(target=lambda: answers.append(guard(0))) for _ in range(at_once)]
        for thread in begun:
            thread.start()
        poll("the trials", lambda wanted=at_once: len(gates) == wanted)
        assert "old" == guard(0), f"a trial beyond {at_once}"
        for gate in gates:
            gate.set()
        for thread in begun:
            thread.join(SOON)
        threads += begun
        gates.clear()
    assert ["new"] * 20 == answers
    assert "old" == guard(0)
    tell(guard, monitor, burn="firing")
    assert "primary" == guard.state


def test_how_long_a_call_may_take_says_the_check(monitor: Monitor, clock: Time) -> None:
    """A limit on nearly all calls of the primary, or an objective; or the guard itself."""
    took = [0.0]

    @monitor.watch
    def serve() -> str:
        clock.spend(took[0])
        return "new"

    @monitor.watch
    def other() -> str:
        return "old"

    def limit(guard: Any) -> float | None:
        below_ns = guard._breaker._terms.below_ns
        return None if below_ns is None else below_ns / 1e9

    checks: list[tuple[Any, float | None]] = [
        (holter.Limit(serve, "p99", above=0.2), 0.2),
        (holter.Limit(serve, "max", above=0.3), 0.3),
        (holter.SLO(serve, below=0.4), 0.4),
        ([holter.SLO(serve, below=0.4), holter.Limit(serve, "p99.9", above=0.3)], 0.3),
        (holter.Limit(serve, "p50", above=0.2), None),
        (holter.Limit(serve, "mean", above=0.2), None),
        (holter.Limit(serve, "p99", below=0.2), None),
        (holter.Limit(other, "p99", above=0.2), None),
        (holter.Limit(serve, "error_ratio", above=0.2), None),
        (holter.Limit("process.memory.usage", "max", above=8e9), None),
        (holter.SLO(serve), None),
        (anything, None),
    ]
    assert [wanted for _, wanted in checks] == [limit(Guard(serve, other, when=check)) for check, _ in checks]
    assert 0.7 == limit(Guard(serve, other, when=checks[0][0], below=0.7))
    for seconds, state in ((0.3, "fallback"), (0.1, "primary")):
        took[0] = seconds
        guard = on_trial(
            Guard(serve, other, when=anything, below=0.2, trial_calls=2, hold=False, retry_seconds=60.0), monitor, clock
        )
        assert "new" == guard()
        guard()
        tell(guard, monitor, burn="firing")
        assert state == guard.state


def test_an_alert_on_something_else_holds(monitor: Monitor, clock: Time) -> None:
    """It goes on telling the truth, which one on the primary itself cannot while nobody calls that."""

    @monitor.watch
    def serve() -> None:
        pass

    def state_after(target: str, **options: Any) -> str:
        guard: Any = Guard(serve, lambda: None, when=anything, **options)
        for _ in range(2):
            guard.hear(monitor._scope, {"a": alert(id="a", target=target)})
            clock.spend(61)
        return str(guard.state)

    name = serve.__holter_call__  # type: ignore[attr-defined]  # what watch has put there
    on_itself = [name, f"{name}{{model=v7}}", f"{name} output"]
    on_data = [f"{name} outputs", f"{name} inputs.text"]
    on_others = ["hw.gpu.memory.utilization", f"{name}_2", f"{name}.other", "", *on_data]
    assert ["trial"] * 3 == [state_after(target) for target in on_itself]
    assert ["fallback"] * 6 == [state_after(target) for target in on_others]
    assert ["trial"] * 6 == [state_after(target, hold=False) for target in on_others]
    assert ["fallback"] * 3 == [state_after(target, hold=True) for target in on_itself]


def test_somebody_can_say_what_serves(monitor: Monitor, clock: Time, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever alerts do, until it is left to them again."""
    guard: Any = Guard(monitor.watch(lambda: "new", name="serve"), lambda: "old", when=anything)
    guard.force("fallback")
    assert ("old", "fallback") == (guard(), guard.state)
    guard.force("primary")
    tell(guard, monitor, burn="firing")
    assert ("new", "primary") == (guard(), guard.state)
    guard.force(None)
    tell(guard, monitor, burn="firing")
    assert ("old", "fallback") == (guard(), guard.state)
    with pytest.raises(holter.ConfigurationError, match='expected "primary", "fallback" or None'):
        guard.force("other")
    said = [record.getMessage() for record in caplog.records]
    assert 3 == sum("because somebody says so" in line for line in said)


# -- under load


class Ledger:
    """Which calls each side has answered, and which answers came back."""

    def __init__(self) -> None:
        self.done: list[tuple[str, int]] = []
        self.answered: list[tuple[str, int]] = []
        self.raised: list[int] = []

    def assert_each_was_answered_once(self, calls: int) -> None:
        """No call was lost, none made twice, and each got the answer of the side that made it."""
        assert dict.fromkeys(range(calls), 1) == Counter(number for _, number in self.done)
        assert sorted(self.done) == sorted(self.answered)


def levers(check: Lever, guard: Any, times: int) -> None:
    """Pull the lever and let it go so many times, each until the guard has seen it."""
    for _ in range(times):
        check.is_pulled = True
        poll("the fallback", lambda: guard.state == "fallback")
        check.is_pulled = False
        poll("the primary", lambda: guard.state == "primary")


def test_no_call_is_lost_or_made_twice_under_load(caplog: pytest.LogCaptureFixture) -> None:
    """Threads call all the time while it switches back and forth; holter's own counts agree."""
    ledger, check, numbers = Ledger(), Lever(), itertools.count()
    monitor = Monitor("load", samplers=[], checks=[check], interval_seconds=0.01, recording=False)

    @monitor.watch
    def serve(number: int) -> tuple[str, int]:
        ledger.done.append(("new", number))
        return "new", number

    @monitor.watch
    def spare(number: int) -> tuple[str, int]:
        ledger.done.append(("old", number))
        return "old", number

    guard = Guard(serve, spare, when=check, retry_seconds=0.01, longest_retry_seconds=0.02, below=SOON, hold=True)
    stopping = threading.Event()

    def load() -> None:
        while not stopping.is_set():
            for _ in range(20):
                ledger.answered.append(guard(next(numbers)))
            # Let the collector come to its turn.
            time.sleep(0.0005)

    with caplog.at_level(logging.CRITICAL, logger="holter"), monitor:
        threads = [threading.Thread(target=load) for _ in range(6)]
        for thread in threads:
            thread.start()
        levers(check, guard, 10)
        stopping.set()
        for thread in threads:
            thread.join(SOON)
        snapshot = monitor.snapshot()
    calls = len(ledger.answered)
    ledger.assert_each_was_answered_once(calls)
    sides = Counter(side for side, _ in ledger.done)
    assert min(sides.values()) > 100
    assert sides == {side: snapshot.find(one).total.count for side, one in (("new", serve), ("old", spare))}  # type: ignore[union-attr]  # both are there
    switched = snapshot.find(GUARD_SWITCHES, {GUARD_TO: "fallback"})
    assert switched is not None
    assert 10 <= switched.total.sum
    assert {} == internal_errors(snapshot)


def test_no_coroutine_and_no_stream_is_lost_or_made_twice(caplog: pytest.LogCaptureFixture) -> None:
    """Tasks that wait in between, and streams of which each goes on with whoever began it."""
    ledger, check = Ledger(), Lever()
    monitor = Monitor("tasks", samplers=[], checks=[check], interval_seconds=0.01, recording=False)

    async def new(number: int) -> tuple[str, int]:
        await asyncio.sleep(0.001)
        ledger.done.append(("new", number))
        return "new", number

    async def old(number: int) -> tuple[str, int]:
        await asyncio.sleep(0.001)
        ledger.done.append(("old", number))
        return "old", number

    async def new_tokens(number: int) -> AsyncIterator[tuple[str, int, int]]:
        for place in range(3):
            yield "new", number, place
            await asyncio.sleep(0.001)
        ledger.done.append(("new", number))

    async def old_tokens(number: int) -> AsyncIterator[tuple[str, int, int]]:
        for place in range(3):
            yield "old", number, place
            await asyncio.sleep(0.001)
        ledger.done.append(("old", number))

    options: dict[str, Any] = {
        "when": check,
        "retry_seconds": 0.01,
        "longest_retry_seconds": 0.02,
        "below": SOON,
        "hold": True,
    }
    answer = Guard(monitor.watch(new, name="serve"), monitor.watch(old, name="spare"), **options)
    tokens = Guard(monitor.watch(new_tokens, name="serve tokens"), monitor.watch(old_tokens, name="few"), **options)
    numbers = itertools.count()
    stopping = threading.Event()

    async def client() -> None:
        while not stopping.is_set():
            ledger.answered.append(await answer(next(numbers)))
            number = next(numbers)
            items = [item async for item in tokens(number)]
            assert [(items[0][0], number, place) for place in range(3)] == items
            ledger.answered.append(items[0][:2])

    async def load() -> None:
        async with asyncio.timeout(SOON):
            clients = [asyncio.create_task(client()) for _ in range(10)]
            pulling = asyncio.create_task(asyncio.to_thread(levers, check, answer, 3))
            # A client that fails is seen at once: without calls nothing would come back.
            await asyncio.wait([pulling, *clients], return_when=asyncio.FIRST_COMPLETED)
            stopping.set()
            await asyncio.gather(*clients)
            await pulling

    with caplog.at_level(logging.CRITICAL, logger="holter"), monitor:
        asyncio.run(load())
    ledger.assert_each_was_answered_once(len(ledger.answered))
    assert {"new", "old"} == {side for side, _ in ledger.done}


# -- what it is for others


def plain(x: int, *, scale: float = 2.0) -> float:
    """Scale x."""
    return x * scale


def spare(x: int, *, scale: float = 2.0) -> float:
    """Scale nothing."""
    return float(x)


shared = Monitor("shared", samplers=[])


@shared.watch(name="by value")
def by_value(x: int) -> float:
    """Scale x."""
    return x * 2.0


guarded = Guard(shared.watch(plain), shared.watch(spare), when=anything)
guarded.__name__ = guarded.__qualname__ = "guarded"


def test_inspect_sees_the_primary(monitor: Monitor) -> None:
    """Its signature, its name, its kind, what others have noted on it, and the function itself below."""

    async def coroutine(x: int) -> int:
        return x

    async def later(x: int) -> AsyncIterator[int]:
        yield x

    def stream(x: int) -> Iterator[int]:
        yield x

    plain.route = "/plain"  # type: ignore[attr-defined]
    plain.when = plain._serve = "a note"  # type: ignore[attr-defined]  # as above
    guard: Any = Guard(monitor.watch(plain), spare, when=anything)
    assert ((anything,), 4.0) == (guard.when, guard(2))
    assert inspect.signature(plain) == inspect.signature(guard)
    assert ("plain", "Scale x.", __name__, "/plain") == (guard.__name__, guard.__doc__, guard.__module__, guard.route)
    assert inspect.unwrap(guard) is plain
    assert "Guard('plain', 'spare')" == repr(guard)
    assert callable(guard)
    kinds = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)
    for function in (plain, coroutine, stream, later):
        one: Any = Guard(monitor.watch(function), _other(function), when=anything)
        assert [kind(function) for kind in kinds] == [kind(one) for kind in kinds]
        assert asyncio.iscoroutinefunction(function) == asyncio.iscoroutinefunction(one)
    with pytest.raises(AttributeError):
        _ = guard.no_such_thing


def _other(function: Any) -> Any:
    async def coroutine(x: int) -> int:
        return x

    async def later(x: int) -> AsyncIterator[int]:
        yield x

    def stream(x: int) -> Iterator[int]:
        yield x

    if inspect.isasyncgenfunction(function):
        return later
    if inspect.isgeneratorfunction(function):
        return stream
    return coroutine if inspect.iscoroutinefunction(function) else spare


def test_copies_and_pickles(monitor: Monitor) -> None:
    """It is copied as functions are, and pickled by its name where that means it; else it is made anew."""
    assert copy.copy(guarded) is guarded
    assert copy.deepcopy([guarded])[0] is guarded
    assert pickle.loads(pickle.dumps(guarded)) is guarded  # noqa: S301 - our own bytes
    check = holter.Limit(guarded, "p99", above=0.2)
    nameless: Any = Guard(by_value, spare, when=check, trial_calls=7)
    anew = pickle.loads(pickle.dumps(nameless))  # noqa: S301 - as above
    assert anew is not nameless
    assert (4.0, "Guard('by value', 'spare')", 7) == (anew(2), repr(anew), anew._breaker._terms.calls)
    del monitor


def test_it_stands_for_the_primary_as_a_target(monitor: Monitor) -> None:
    """A check on the guard is one on the calls of the primary; watched under a name of its own, it is all calls."""
    guard: Any = Guard(monitor.watch(plain), spare, when=anything)
    assert "plain" == guard.__holter_call__
    assert repr(holter.Limit(monitor.watch(plain), "p99", above=1)) == repr(holter.Limit(guard, "p99", above=1))
    served = monitor.watch(guard, name="all")
    guard.force("fallback")
    served(1)
    guard.force(None)
    served(1)
    snapshot = monitor.snapshot()
    assert {"ok": 2} == outcomes(snapshot, "all")
    assert ({"ok": 1}, {"ok": 1}) == (outcomes(snapshot, "plain"), outcomes(snapshot, "spare"))


def test_what_is_not_watched_is(monitor: Monitor) -> None:
    """By the monitor of the primary, the fallback under a name of its own."""

    class Old:
        def predict(self, x: int) -> int:
            return x

    class New(Old):
        pass

    names = [
        (lambda x: x, "plain fallback"),
        (spare, "spare"),
        (Old().predict, Old.predict.__qualname__),
    ]
    for fallback, name in names:
        guard: Any = Guard(monitor.watch(plain), fallback, when=anything)
        assert f"Guard('plain', {name!r})" == repr(guard)
        assert guard._fallback.__holter_scope__ == monitor._scope.number
    both = Guard(Old().predict, New().predict, when=anything)
    assert f"Guard({Old.predict.__qualname__!r}, {Old.predict.__qualname__ + ' fallback'!r})" == repr(both)


# -- what is told


def test_each_switch_is_told_once(monitor: Monitor, clock: Time, caplog: pytest.LogCaptureFixture) -> None:
    """In the log, in a counter by why, in a gauge, and in the summary."""
    caplog.set_level(logging.INFO, logger="holter")
    guard: Any = Guard(monitor.watch(plain), spare, when=anything, trial_calls=1, hold=False)
    tell(guard, monitor)
    states = [monitor.snapshot().find(GUARD_STATE).total.last]  # type: ignore[union-attr]  # it is there
    on_trial(guard, monitor, clock)
    states.append(monitor.snapshot().find(GUARD_STATE).total.last)  # type: ignore[union-attr]  # as above
    summary = str(monitor.summary())
    guard(1)
    clock.spend(1)
    tell(guard, monitor, burn="firing")
    states.append(monitor.snapshot().find(GUARD_STATE).total.last)  # type: ignore[union-attr]  # as above
    assert [0.0, 0.5, 0.0] == states
    fires = "an alert fires: predict is slow; it is tried again after 1 min"
    assert [
        f"holter: Guard('plain', 'spare'): spare serves from now on: {fires}",
        "holter: Guard('plain', 'spare'): plain is on trial: up to 1 call try it again",
        "holter: Guard('plain', 'spare'): plain serves from now on: of 1 trial, 1 went well",
    ] == [record.getMessage() for record in caplog.records]
    assert ["WARNING", "INFO", "INFO"] == [record.levelname for record in caplog.records]
    assert "GUARD  plain: its fallback serves, but for some trials, since" in summary
    told = monitor.summary().to_dict()["guards"]
    assert [("plain", "primary", {"fallback alert": 1, "trial cooled_down": 1, "primary trial_passed": 1})] == [
        (one["guard"], one["state"], one["switches"]) for one in told
    ]


def test_a_guard_whose_check_nobody_has_says_so(caplog: pytest.LogCaptureFixture) -> None:
    """Once: it would never switch."""
    check = Lever()
    with Monitor("test", samplers=[], checks=[Lever("another")], recording=False) as monitor:
        guard = Guard(monitor.watch(plain, name="lonely"), spare, when=check)
        for _ in range(5):
            monitor.snapshot()
    said = [record.getMessage() for record in caplog.records if repr(guard) in record.getMessage()]
    assert [
        f"holter: {guard!r} is for a check that no running monitor has, and will not switch: give it to start too"
    ] == said


def test_a_check_that_looks_the_same_is_the_same() -> None:
    """A notebook runs its cell once more: the monitor goes on with the first check, the guard has the second."""
    first = holter.Limit("app.errors", "last", above=1)
    with Monitor("test", samplers=[], checks=[first], recording=False) as monitor:
        guard = Guard(monitor.watch(plain), spare, when=holter.Limit("app.errors", "last", above=1))
        monitor.gauge("app.errors").set(2)
        assert monitor.flush(SOON)
        assert "fallback" == guard.state
        monitor.gauge("app.errors").set(0)
        assert monitor.flush(SOON)
        assert "fallback" == guard.state
    assert "primary" == guard.state


def test_what_gives_nan_is_not_taken_for_well_because_it_ends_well() -> None:
    """Trials do not look at values: none begins while the alert on those fires."""

    @holter.watch(name="gives nan")
    def broken() -> float:
        return math.nan

    check = holter.NonFinite(broken, window_seconds=60.0)
    guard = Guard(broken, lambda: 0.5, when=check, retry_seconds=0.001, longest_retry_seconds=0.001)
    with holter.start("test", samplers=[], checks=[check], recording=False) as running:
        assert math.isnan(guard())
        assert running.flush(SOON)
        assert "fallback" == guard.state
        until = time.monotonic() + 0.1
        while time.monotonic() < until:
            assert 0.5 == guard()
            assert running.flush(SOON)
        assert "fallback" == guard.state


def test_it_follows_alerts_that_are_chosen(monitor: Monitor) -> None:
    """By a function of the alert; one that raises chooses none and is counted."""
    chosen: list[Callable[[Any], object]] = [
        lambda one: one.severity == "critical",
        lambda one: one.severity == "warning",
        lambda one: one.no_such_thing,
    ]
    check = Lever("anything")
    with Monitor("test", samplers=[], checks=[check], recording=False) as running:
        guards = [Guard(running.watch(plain), spare, when=choose) for choose in chosen]
        check.is_pulled = True
        assert running.flush(SOON)
        assert ["fallback", "primary", "primary"] == [guard.state for guard in guards]
        running.snapshot()
        assert {"guard when"} == set(internal_errors(running.snapshot()))
    assert ["primary"] * 3 == [guard.state for guard in guards]
    del monitor


def test_it_lets_go_of_what_it_was_made_of(monitor: Monitor) -> None:
    """A guard that nobody holds any more is gone, and no monitor tells it of anything."""
    guard = Guard(monitor.watch(plain), spare, when=anything)
    seen = weakref.ref(guard)
    del guard
    gc.collect()
    assert seen() is None


# -- processes


CHILD = """
    import os, sys
    import holter

    class Check:
        def __repr__(self): return "Check()"
        def judge(self, snapshot):
            return []

    def new(): return "new"
    def old(): return "old"
    check = Check()
    serve = holter.Guard(new, old, when=check)
    other = holter.Guard(holter.watch(new, name="other"), old, when=check)
    with holter.start("forks", checks=[check], samplers=[], interval_seconds=0.05):
        from holter.default import _scope
        fires = holter.Alert(id="a", check="", state="firing", severity="info", since_ns=0, target="",
            expected="", seen="", message="")
        serve.hear(_scope, {"a": fires})
        other.force("fallback")
        assert ("old", "old") == (serve(), other())
        pid = os.fork()
        if not pid:
            print(serve(), serve.state, other(), flush=True)
            os._exit(0)
        os.waitpid(pid, 0)
        print(serve(), serve.state, other(), flush=True)
"""


def test_a_forked_child_begins_anew() -> None:
    """Its own monitor will say; what somebody has forced stays."""
    child, parent = run(CHILD).stdout.splitlines()[-2:]
    assert ("new primary old", "old fallback old") == (child, parent)


def test_where_holter_is_disabled_the_primary_serves() -> None:
    """Whatever anybody says; nothing is watched."""
    program = """
        import os
        os.environ["HOLTER_DISABLED"] = "1"
        import holter

        def new(): return "new"
        def old(): return "old"
        serve = holter.Guard(new, old, when=holter.Limit("a", "last", above=1))
        serve.force("fallback")
        print(serve(), serve.state, serve.__wrapped__ is new)
    """
    done = run(program)
    assert ("new primary True\n", "") == (done.stdout, done.stderr)


WORKER = """
    import json, os, sys, time
    import holter

    flag, interval = sys.argv[1], float(sys.argv[2])

    class Flag:
        def __init__(self): self.since = None
        def __repr__(self): return "Flag()"
        def save(self): return {"since": self.since}
        def load(self, state, gap_seconds): self.since = state["since"]
        def judge(self, snapshot):
            is_set = os.path.exists(flag)
            if is_set == bool(self.since):
                return []
            since, self.since = self.since, time.time_ns() if is_set else None
            return [holter.Alert(id=f"flag-{self.since or since}", check="flag", severity="critical", since_ns=1,
                state="firing" if is_set else "resolved", target="flag", expected="", seen="", message="flag is set")]

    def new(): return "new"
    def old(): return "old"

    check = Flag()
    serve = holter.Guard(new, old, when=check, retry_seconds=0.2, longest_retry_seconds=0.2)
    monitor = holter.start("guarded", checks=[check], samplers=[], interval_seconds=interval)
    before = None
    while os.getppid() == int(sys.argv[3]):
        side = serve()
        if side != before and serve.state != "trial":
            before = side
            print(json.dumps([os.getpid(), side, time.time(), monitor._membership.leads]), flush=True)
        time.sleep(0.005)
"""


class Crew:
    """Processes of one service whose guards follow one flag."""

    def __init__(self, folder: Path, interval_seconds: float, size: int) -> None:
        self.flag, self.log, self.size = folder / "flag", folder / "log", size
        self.seen = 0
        (folder / "worker.py").write_text(textwrap.dedent(WORKER))
        (folder / "recordings").mkdir(mode=0o700)
        environment = {**os.environ, "HOLTER_DIR": str(folder / "recordings")}
        command = [sys.executable, str(folder / "worker.py"), str(self.flag), str(interval_seconds), str(os.getpid())]
        with self.log.open("wb") as log, (folder / "errors").open("wb") as errors:
            self.processes = [
                subprocess.Popen(command, env=environment, stdout=log, stderr=errors) for _ in range(size)
            ]

    def lines(self) -> list[list[Any]]:
        """Return what the processes have said since the last time this was waited for."""
        told = [json.loads(line) for line in self.log.read_text().splitlines() if line.endswith("]")]
        return told[self.seen :]

    def wait_for(self, side: str, of: int) -> list[list[Any]]:
        """Wait until so many processes serve by *side*; return their lines."""
        lines = poll(f"{of} times {side}", lambda: (found := self.lines()) if len(self.lines()) >= of else None)
        assert {side} == {line[1] for line in lines}
        self.seen += len(lines)
        return list(lines)

    def end(self) -> None:
        """Kill them."""
        for process in self.processes:
            process.kill()
            process.wait()


@pytest.fixture
def crews(tmp_path: Path) -> Iterator[Callable[..., Crew]]:
    made: list[Crew] = []

    def make(interval_seconds: float, size: int) -> Crew:
        made.append(Crew(tmp_path, interval_seconds, size))
        return made[-1]

    yield make
    for crew in made:
        crew.end()


@pytest.mark.skipif(sys.platform != "linux", reason="groups need Linux")
def test_all_processes_of_a_group_switch_within_two_intervals(crews: Callable[..., Crew]) -> None:
    """One judges, and each switches for itself, also after the one that leads was killed."""
    interval = 0.5
    crew = crews(interval, 3)
    crew.wait_for("new", 3)
    for _ in range(2):
        begun = time.time()
        crew.flag.touch()
        waited = [line[2] - begun for line in crew.wait_for("old", 3)]
        # A machine that is busy with other tests may take its time.
        assert max(waited) < 2 * interval + 1.0, waited
        crew.flag.unlink()
        crew.wait_for("new", 3)
    crew.flag.touch()
    leader = next(line[0] for line in crew.wait_for("old", 3) if line[3])
    os.kill(leader, signal.SIGKILL)
    time.sleep(0)
    crew.flag.unlink()
    assert leader not in {line[0] for line in crew.wait_for("new", 2)}
    crew.flag.touch()
    crew.wait_for("old", 2)
