"""Watched functions and coroutines: what is recorded of them, and that nothing else changes."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import inspect
import itertools
import sys
import threading
import traceback
import warnings
import weakref
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest

from contracts.generators import Thing, ThingError, described
from contracts.watched import Time, forget_places, in_flight, outcomes, values
from holter import names
from holter.clock import Clock
from holter.monitor import Monitor
from holter.record import SLOTS, THREAD_WORD
from holter.recorder import RECORDER
from holter.ring import NATIVE
from interruptions import interrupted_by, needs_timer

VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")
ERRORS: list[BaseException] = [
    ValueError("v"),
    KeyboardInterrupt(),
    SystemExit(3),
    GeneratorExit(),
    asyncio.CancelledError("c"),
    TimeoutError(),
    StopIteration(1),
    StopAsyncIteration(),
    ExceptionGroup("g", [OSError(), ValueError()]),
    BaseExceptionGroup("g", [KeyboardInterrupt()]),
]


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def monitor(time: Time) -> Monitor:
    forget_places()
    return Monitor("test", samplers=[], clock=Clock(monotonic_ns=time))


def test_a_call_is_recorded_with_its_duration_and_units(monitor: Monitor, time: Time) -> None:
    """The duration is exactly the time between entry and return, the units are those of the result."""

    @monitor.watch(units=len)
    def predict(batch: list[float], *, seconds: float) -> list[float]:
        time.spend(seconds)
        return batch

    assert [1.0, 2.0] == predict([1.0, 2.0], seconds=0.5)
    assert [3.0] == predict([3.0], seconds=0.25)
    snapshot = monitor.snapshot()
    assert (2, 0.75, 0.25, 0.5) == values(snapshot, names.CALL_DURATION)
    found = snapshot.find(predict)
    assert found is not None
    assert 3 == found.total.units


def test_constant_units_are_counted_for_each_call_that_returns(monitor: Monitor) -> None:
    """A call that fails has done no work."""

    @monitor.watch(units=7)
    def predict(x: int) -> float:
        return 1 / x

    predict(1)
    predict(2)
    with pytest.raises(ZeroDivisionError):
        predict(0)
    found = monitor.snapshot().find(predict)
    assert found is not None
    assert (3, 14) == (found.total.count, found.total.units)


def test_the_duration_of_a_coroutine_covers_its_awaits(monitor: Monitor, time: Time) -> None:
    """A coroutine is timed from its first step to its end, whatever it waits for."""

    @monitor.watch
    async def predict(seconds: float) -> float:
        await working(seconds)
        return seconds

    async def working(seconds: float) -> None:
        await asyncio.sleep(0)
        time.spend(seconds)

    async def main() -> None:
        coroutine = predict(0.5)
        time.spend(100)
        assert 0.5 == await coroutine

    asyncio.run(main())
    assert (1, 0.5, 0.5, 0.5) == values(monitor.snapshot(), names.CALL_DURATION)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_every_exception_passes_through_identical(monitor: Monitor, error: BaseException) -> None:
    """The caller catches the very object, with its traceback, cause and context, from a function and a coroutine."""

    def raising() -> None:
        try:
            raise LookupError("first")  # noqa: TRY301 - the context of the next
        except LookupError:
            raise error from cause

    async def raising_later() -> None:
        raising()

    def seen(call: Callable[[], Any]) -> Any:
        error.__traceback__ = error.__context__ = error.__cause__ = None
        with pytest.raises(type(error)) as caught:
            call()
        assert caught.value is error
        assert caught.value.__cause__ is cause
        return described(error)

    def stepped(function: Callable[[], Any]) -> Callable[[], Any]:
        return lambda: function().send(None)

    cause = KeyError("cause")
    assert seen(raising) == seen(monitor.watch(raising))
    if not isinstance(error, StopIteration):
        assert seen(stepped(raising_later)) == seen(stepped(monitor.watch(raising_later)))
    assert 0 == in_flight(monitor.snapshot())


def test_the_way_a_call_ends_is_its_outcome(monitor: Monitor) -> None:
    """An error is counted with its type; cancellation, timeout and what was expected are outcomes of their own."""

    class NotFoundError(LookupError):
        pass

    @monitor.watch(expected=(NotFoundError, PermissionError))
    def predict(error: BaseException | None) -> None:
        if error is not None:
            raise error

    predict(None)
    for error in (*ERRORS, NotFoundError(), PermissionError(), LookupError()):
        error.__traceback__ = None
        with pytest.raises(type(error)):
            predict(error)
    snapshot = monitor.snapshot()
    assert {"ok": 1, "error": 8, "timeout": 1, "cancelled": 1, "abandoned": 1, "expected": 2} == outcomes(snapshot)
    types = {
        series.attributes[names.ERROR_TYPE]
        for series in snapshot.series.values()
        if names.ERROR_TYPE in series.attributes and series.id in snapshot.total
    }
    errors = {"ValueError", "KeyboardInterrupt", "SystemExit", "StopIteration", "StopAsyncIteration", "LookupError"}
    assert {*errors, "TimeoutError", "ExceptionGroup", "BaseExceptionGroup"} == types
    place = next(place for place in snapshot.error_places if place.error_type == "ValueError")
    assert ("probes/test_calls.py", "predict") == (place.place.partition(":")[0], place.place.rpartition(" ")[2])


def test_cancellation_and_timeouts_of_coroutines(monitor: Monitor) -> None:
    """A timeout inside the call is one of the call; one around it, and a cancelled task, are a cancellation."""

    @monitor.watch
    async def inside() -> None:
        async with asyncio.timeout(0):
            await asyncio.Event().wait()

    @monitor.watch
    async def waiting() -> None:
        await asyncio.Event().wait()

    @monitor.watch
    async def patient() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "done all the same"
        return "never"

    async def main() -> None:
        with pytest.raises(TimeoutError):
            await inside()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(waiting(), 0.001)
        tasks = [asyncio.create_task(waiting()), asyncio.create_task(patient())]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel("enough")
        with pytest.raises(asyncio.CancelledError, match="enough"):
            await tasks[0]
        assert "done all the same" == await tasks[1]
        left = waiting()
        left.send(None)
        left.close()

    asyncio.run(main())
    snapshot = monitor.snapshot()
    assert {"timeout": 1} == outcomes(snapshot, inside.__qualname__)
    assert {"cancelled": 2, "abandoned": 1} == outcomes(snapshot, waiting.__qualname__)
    assert {"ok": 1} == outcomes(snapshot, patient.__qualname__)


def test_a_coroutine_runs_in_the_task_and_context_of_its_caller(monitor: Monitor) -> None:
    """Context variables set inside and outside are seen on either side, as without holter."""

    @monitor.watch
    async def inner() -> tuple[str, object]:
        seen = VARIABLE.get()
        VARIABLE.set("inside")
        await asyncio.sleep(0)
        return seen, asyncio.current_task()

    async def main() -> None:
        VARIABLE.set("outside")
        assert ("outside", asyncio.current_task()) == await inner()
        assert "inside" == VARIABLE.get()

    asyncio.run(main())


def test_arguments_and_results_are_let_go(monitor: Monitor) -> None:
    """What a coroutine drops is gone while it still runs, and nothing of a call is alive after it."""

    @monitor.watch
    async def dropping(thing: Thing, *, other: Thing) -> list[bool]:
        del thing, other
        await asyncio.sleep(0)
        return [reference() is None for reference in references]

    @monitor.watch
    def keeping(thing: Thing, *, fail: bool) -> Thing:
        if fail:
            raise ThingError(thing)
        return thing

    async def main() -> list[bool]:
        thing, other = Thing(), Thing()
        references.extend((weakref.ref(thing), weakref.ref(other)))
        running = dropping(thing, other=other)
        del thing, other
        return await running

    references: list[weakref.ref[Any]] = []
    gc.disable()
    try:
        assert [True, True] == asyncio.run(main())
        for fail in (False, True):
            thing = Thing()
            reference = weakref.ref(thing)
            with contextlib.suppress(ThingError):
                keeping(thing, fail=fail)
            del thing
            assert reference() is None
    finally:
        gc.enable()


def test_a_coroutine_never_awaited_warns_once_under_its_own_name(monitor: Monitor) -> None:
    """What was forgotten is named as without holter, and is no call."""

    @monitor.watch
    async def forgotten() -> None:
        pass

    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        forgotten()
        gc.collect()
    assert [f"coroutine '{forgotten.__qualname__}' was never awaited"] == [str(one.message) for one in seen]
    assert {} == outcomes(monitor.snapshot())


def test_calls_that_run_are_in_flight(monitor: Monitor, time: Time) -> None:
    """A call that has not ended is counted as active, and listed with its age."""
    inside, leave = threading.Event(), threading.Event()

    @monitor.watch(name="slow")
    def slow() -> None:
        inside.set()
        leave.wait()

    thread = threading.Thread(target=slow)
    thread.start()
    inside.wait()
    time.spend(3)
    snapshot = monitor.snapshot()
    leave.set()
    thread.join()
    time.spend(1)
    assert 1 == in_flight(snapshot)
    assert [("slow", 3.0, thread.native_id)] == [(one.name, one.age_seconds, one.thread) for one in snapshot.open_calls]
    after = monitor.snapshot()
    assert (0, ()) == (in_flight(after), after.open_calls)


def test_a_recursion_without_end_fails_as_it_would_and_is_counted(monitor: Monitor) -> None:
    """A full stack gives a RecursionError, and the calls that were open are not left in flight."""

    @monitor.watch
    def endless(n: int) -> int:
        return endless(n + 1)

    @monitor.watch
    async def endless_coroutine(n: int) -> int:
        return await endless_coroutine(n + 1)

    @monitor.watch
    def endless_stream(n: int) -> Iterator[int]:
        yield from endless_stream(n + 1)

    def deeper(frames: int, function: Callable[[], object]) -> object:
        return deeper(frames - 1, function) if frames else function()

    functions = (
        lambda: endless(0),
        lambda: endless_coroutine(0).send(None),
        lambda: next(endless_stream(0)),
    )
    for function in functions:
        # The last frame is in another line each time.
        for frames in range(8):
            with pytest.raises(RecursionError):
                deeper(frames, function)
    snapshot = monitor.snapshot()
    # Python 3.11 may have room for a call's beginning and none for its end.
    assert in_flight(snapshot) <= (8 if sys.version_info < (3, 12) else 0)
    assert outcomes(snapshot)["error"] > 1_000


def test_calls_nested_deeper_than_there_are_slots_are_counted(monitor: Monitor, time: Time) -> None:
    """What is not listed for want of a slot is counted like the rest, and all slots are free again."""

    @monitor.watch(name="nested")
    def nested(n: int) -> int:
        return nested(n - 1) + 1 if n else len(monitor.snapshot().open_calls)

    # The calls that are open then, of which 256 are listed.
    assert SLOTS + 49 + SLOTS == nested(SLOTS + 49)
    time.spend(1)
    snapshot = monitor.snapshot()
    assert {"ok": SLOTS + 50} == outcomes(snapshot)
    assert (0, ()) == (in_flight(snapshot), snapshot.open_calls)
    assert SLOTS - 1 + SLOTS == nested(SLOTS - 1)


def test_a_thread_that_continues_a_ring_knows_its_own_calls(monitor: Monitor) -> None:
    """What the thread before it was in is nothing to the next one that writes to the same ring."""

    @monitor.watch(name="call")
    def call(number: int) -> None:
        monitor.tag(number=number)
        (ring,) = (ring for ring in RECORDER.all if ring.words[THREAD_WORD] == threading.get_native_id())
        rings.append(id(ring))

    rings: list[int] = []
    for number in range(3):
        thread = threading.Thread(target=call, args=(number,))
        thread.start()
        thread.join()
    assert 1 == len(set(rings))
    snapshot = monitor.snapshot()
    for number in range(3):
        assert 1 == values(snapshot, names.CALL_DURATION, number=number)[0]
    assert 0 == in_flight(snapshot)


@needs_timer
def test_calls_that_are_interrupted_by_calls_are_counted_exactly() -> None:
    """A signal handler that calls what it interrupts, every fifty microseconds: count, units and time are exact."""
    monitor, handled = Monitor("test", samplers=[], clock=Clock(monotonic_ns=itertools.count(1).__next__)), 0

    @monitor.watch(name="call", units=2)
    def call() -> None:
        pass

    @monitor.watch(name="sized", units=len)
    def sized(batch: str) -> str:
        return batch

    def handle() -> None:
        nonlocal handled
        handled += 1
        call()
        sized("abc")

    count = 5_000
    with interrupted_by(handle):
        for _ in range(count):
            call()
            sized(batch="abc")
    snapshot = monitor.snapshot()
    assert handled > 10
    for name, size in (("call", 2), ("sized", 3)):
        found = snapshot.find(names.CALL_DURATION, {names.CALL_NAME: name})
        assert found is not None
        assert (count + handled, size * (count + handled)) == (found.total.count, found.total.units)
    assert (0, ()) == (in_flight(snapshot), snapshot.open_calls)


def test_what_traces_lines_may_call_what_it_traces(monitor: Monitor, time: Time) -> None:
    """Between any two lines of a watched call there may be another one: each is counted, with its own duration."""
    traced = 0

    @monitor.watch(name="call")
    def call(seconds: float) -> None:
        time.spend(seconds)

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal traced
        if event == "line" and "holter" in frame.f_code.co_filename:
            traced += 1
            call(0.0)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        for _ in range(5):
            call(1.0)
    finally:
        sys.settrace(before)
    snapshot = monitor.snapshot()
    assert {"ok": 5 + traced} == outcomes(snapshot)
    if NATIVE is None:
        assert traced > 100
        assert (5 + traced, 5.0) == values(snapshot, names.CALL_DURATION)[:2]
        found = snapshot.find(names.CALL_DURATION)
        # As many records as calls.
        assert found is not None
        assert found.total.histogram is not None
        assert 5 + traced == found.total.histogram.count
    assert (0, ()) == (in_flight(snapshot), snapshot.open_calls)


def test_a_traceback_shows_the_whole_way(monitor: Monitor) -> None:
    """Each frame from the caller to the line that raised is in the traceback; holter's too, where that is Python."""

    @monitor.watch
    def raising() -> None:
        raise ValueError

    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the traceback is what matters
        raising()
    functions = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    between = [] if NATIVE else ["watched"]
    assert ["test_a_traceback_shows_the_whole_way", *between, "raising"] == functions


@pytest.mark.skipif(sys.version_info < (3, 12), reason="functions are marked so from Python 3.12 on")
def test_a_function_that_is_marked_as_a_coroutine_function_runs_in_its_call(monitor: Monitor, time: Time) -> None:
    """What it does before it returns what is awaited is part of the call, and so is its error."""

    async def later(value: int) -> int:
        time.spend(0.25)
        return value

    def marked(value: int) -> Any:
        time.spend(0.5)
        if not value:
            raise ThingError
        return later(value)

    watched = monitor.watch(inspect.markcoroutinefunction(marked), name="marked")

    async def both() -> None:
        assert 3 == await watched(3)
        with pytest.raises(ThingError):
            await watched(0)

    asyncio.run(both())
    snapshot = monitor.snapshot()
    assert {"ok": 1, "error": 1} == outcomes(snapshot)
    assert (2, 1.25, 0.5, 0.75) == values(snapshot, names.CALL_DURATION)


def test_open_calls_of_coroutines_tell_their_tasks_apart() -> None:
    """Coroutines that one task awaits have its number, other tasks have others, and other calls none."""
    monitor = Monitor("test", samplers=[])
    found: list[tuple[str, int]] = []

    @monitor.watch(name="look")
    def look() -> None:
        found.extend((call.name, call.task) for call in monitor.snapshot().open_calls)

    @monitor.watch(name="inner")
    async def inner(barrier: asyncio.Barrier) -> None:
        async with barrier:
            await asyncio.sleep(0)
        async with barrier:
            await asyncio.sleep(0)

    @monitor.watch(name="outer")
    async def outer(barrier: asyncio.Barrier) -> None:
        await inner(barrier)

    async def main() -> None:
        barrier = asyncio.Barrier(3)
        tasks = [asyncio.create_task(outer(barrier)) for _ in range(2)]
        async with barrier:
            look()
        async with barrier:
            pass
        await asyncio.gather(*tasks)

    asyncio.run(main())
    look()
    tasks = {name: sorted(task for called, task in found if called == name) for name in ("outer", "inner", "look")}
    assert tasks["outer"] == tasks["inner"]
    assert [0, 0] == tasks["look"]
    assert (2 if NATIVE is not None else 1) == len(set(tasks["outer"]))
    assert (NATIVE is not None) == all(tasks["outer"])
