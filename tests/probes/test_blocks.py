"""Spans and tags: which call they belong to, and that a wrong one harms nobody."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from contracts.watched import Time, internal_errors, outcomes, values
from holter import names
from holter.clock import Clock
from holter.errors import ConfigurationError
from holter.model import Snapshot
from holter.monitor import Monitor
from holter.recorder import RECORDER, current_ident
from holter.ring import RingReader


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def monitor(time: Time) -> Monitor:
    return Monitor("test", samplers=[], clock=Clock(monotonic_ns=time))


@pytest.fixture
def ticking() -> Monitor:
    """A monitor with the real clock, whose calls all begin at times of their own."""
    return Monitor("test", samplers=[])


def spans(snapshot: Snapshot) -> dict[tuple[Any, Any], int]:
    """Return how many spans there were, by name and by the call that they are part of."""
    return {
        (series.attributes.get(names.SPAN_NAME), series.attributes.get(names.CALL_NAME)): snapshot.total[key].count
        for key, series in snapshot.series.items()
        if series.name == names.SPAN_DURATION and key in snapshot.total
    }


def tagged(snapshot: Snapshot, name: str, **tags: Any) -> int:
    """Return how many calls of *name* have these tags."""
    found = snapshot.find(names.CALL_DURATION, {names.CALL_NAME: name, **tags})
    return 0 if found is None else found.total.count


def records_of(function: Callable[[], Any]) -> np.ndarray:
    """Return the records that *function* writes on this thread."""
    RECORDER.rings.get(current_ident()) or RECORDER.attach()
    reader = RingReader(RECORDER.rings[current_ident()].memory)
    reader.cursor = reader.head()
    function()
    return reader.read()[0]


# -- spans


def test_a_span_times_a_block_and_a_function(monitor: Monitor, time: Time) -> None:
    """As `with` and as a decorator of functions and coroutines the span is exactly as long as its code."""

    @monitor.span("stage")
    def function(seconds: float) -> float:
        """Spend time."""
        time.spend(seconds)
        return seconds

    @monitor.span("stage")
    async def coroutine(seconds: float) -> float:
        time.spend(seconds)
        await asyncio.sleep(0)
        return seconds

    with monitor.span("stage"):
        time.spend(0.5)
    assert 0.25 == function(0.25)
    assert 0.125 == asyncio.run(coroutine(0.125))
    assert (3, 0.875, 0.125, 0.5) == values(monitor.snapshot(), names.SPAN_DURATION)
    assert ("function", "Spend time.") == (function.__name__, function.__doc__)
    assert inspect.iscoroutinefunction(coroutine)


def test_one_span_object_serves_again_and_within_itself(monitor: Monitor, time: Time) -> None:
    """A decorator makes a span for each call, recursion included, and a `with` object may be entered again."""

    @monitor.span("recursive")
    def recursive(n: int) -> None:
        time.spend(1)
        if n:
            recursive(n - 1)

    recursive(2)
    again = monitor.span("again")
    with again, again:
        time.spend(1)
    with again:
        time.spend(1)
    snapshot = monitor.snapshot()
    assert (3, 6, 1, 3) == values(snapshot, names.SPAN_DURATION, **{names.SPAN_NAME: "recursive"})
    assert (3, 3, 1, 1) == values(snapshot, names.SPAN_DURATION, **{names.SPAN_NAME: "again"})


def test_a_span_is_counted_under_its_call_and_carries_its_id(ticking: Monitor) -> None:
    """The id in a span's record is the low 32 bits of the start of the call, which the call's own record gives."""

    @ticking.watch
    def predict() -> None:
        with ticking.span("outer"), ticking.span("inner"):
            pass

    records = records_of(lambda: [predict(), predict()])
    for inner, outer, call in (records[:3], records[3:]):
        start_ns = int(call["time_ns"]) - int(call["value"])
        assert (start_ns % 2**32,) * 2 == (inner["units"], outer["units"])
    assert {("outer", predict.__qualname__): 2, ("inner", predict.__qualname__): 2} == spans(ticking.snapshot())


def test_a_span_outside_of_calls_belongs_to_none(ticking: Monitor) -> None:
    """It is counted under its name alone, and its record carries no id."""

    def alone() -> None:
        with ticking.span("alone"):
            pass

    assert [0] == records_of(alone)["units"].tolist()
    assert {("alone", None): 1} == spans(ticking.snapshot())


def test_a_span_that_outlives_its_call_stays_its_own(ticking: Monitor) -> None:
    """What a call has begun is part of it, wherever it ends."""

    @ticking.watch(name="predict")
    def predict() -> Any:
        span = ticking.span("late")
        span.__enter__()
        return span

    call, span = records_of(lambda: predict().__exit__(None, None, None))
    assert (int(call["time_ns"]) - int(call["value"])) % 2**32 == span["units"]


def test_a_span_is_entered_and_left_by_hand_as_by_a_with(monitor: Monitor, time: Time) -> None:
    """Its two methods do what `with` does, from the span, from its class and through an ExitStack."""
    span = monitor.span("by hand")
    assert span is span.__enter__()
    time.spend(1)
    assert span.__exit__(None, None, None) is None
    kind: Any = type(span)
    assert span is kind.__enter__(span)
    time.spend(2)
    assert kind.__exit__(span, None, None, None) is None
    with contextlib.ExitStack() as stack:
        assert span is stack.enter_context(span)
        time.spend(4)
    assert isinstance(span, contextlib.AbstractContextManager)
    assert (3, 7, 1, 4) == values(monitor.snapshot(), names.SPAN_DURATION)


def test_a_span_refuses_what_is_neither_a_function_nor_a_with(monitor: Monitor) -> None:
    """It takes one function, `function`; what was not entered cannot be left, and its methods are of spans alone."""
    span: Any = monitor.span("refused")
    kind = type(span)
    for wrong in (
        span,
        lambda: span(len, len),
        lambda: span(other=len),
        kind.__enter__,
        lambda: kind.__enter__(1),
        lambda: kind.__exit__(span),
    ):
        with pytest.raises((TypeError, AttributeError)):
            wrong()
    with pytest.raises((TypeError, IndexError)):
        span.__exit__(None, None, None)
    assert 2 == span(function=len)("ab")
    assert {("refused", None): 1} == spans(monitor.snapshot())


def test_an_error_passes_through_a_span_and_is_its_outcome(monitor: Monitor) -> None:
    """The span is counted with the type of the error, and the error is the very one."""
    for error in (ValueError("v"), KeyboardInterrupt(), asyncio.CancelledError()):
        with pytest.raises(type(error)) as caught, monitor.span("failing"):
            raise error
        assert caught.value is error
    snapshot = monitor.snapshot()
    found = {
        (series.attributes.get(names.CALL_OUTCOME), series.attributes.get(names.ERROR_TYPE))
        for key, series in snapshot.series.items()
        if series.name == names.SPAN_DURATION and key in snapshot.total
    }
    assert {("error", "ValueError"), ("error", "KeyboardInterrupt"), ("cancelled", None)} == found


def test_a_generator_function_cannot_be_a_span(monitor: Monitor) -> None:
    """It would be timed until it returns its generator, so it is refused with what to do instead."""

    def stream() -> Any:
        yield 1

    async def later() -> Any:
        yield 1

    for function in (stream, later):
        with pytest.raises(ConfigurationError, match=r"use holter\.watch"):
            monitor.span("stream")(function)


def test_names_of_spans_are_bounded(monitor: Monitor) -> None:
    """A long name is cut, and what is no name at all is counted under one."""
    for name in ("x" * 1000, 3, None, b"bytes"):
        with monitor.span(name):  # type: ignore[arg-type]
            pass
    snapshot = monitor.snapshot()
    assert {("x" * 200, None): 1, ("_INVALID", None): 3} == spans(snapshot)
    assert {"span": 3} == internal_errors(snapshot)


# -- the innermost call


def test_calls_nest_on_a_thread(ticking: Monitor) -> None:
    """A span and a tag belong to the innermost call that is open, before, within and after another one."""

    @ticking.watch(name="inner")
    def inner(*, fail: bool) -> None:
        ticking.tag(inside=True)
        with ticking.span("inside"):
            if fail:
                raise ValueError

    @ticking.watch(name="outer")
    def outer(*, fail: bool) -> None:
        with ticking.span("before"):
            pass
        with contextlib.suppress(ValueError):
            inner(fail=fail)
        with ticking.span("after"):
            ticking.tag(done=True)

    outer(fail=False)
    outer(fail=True)
    snapshot = ticking.snapshot()
    assert {("before", "outer"): 2, ("after", "outer"): 2} == {
        key: count for key, count in spans(snapshot).items() if key[0] != "inside"
    }
    assert (2, 2) == (tagged(snapshot, "inner", inside=True), tagged(snapshot, "outer", done=True))


def test_threads_have_calls_of_their_own(ticking: Monitor) -> None:
    """What runs in another thread is not part of the call that waits for it."""

    @ticking.watch(name="outer")
    def outer() -> None:
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()

    def elsewhere() -> None:
        with ticking.span("elsewhere"):
            pass

    outer()
    assert {("elsewhere", None): 1} == spans(ticking.snapshot())


def test_a_coroutine_in_a_function_in_a_coroutine(ticking: Monitor) -> None:
    """Sync within async within sync: each span belongs to the innermost, whichever way they are nested."""

    def span(name: str) -> None:
        with ticking.span(name):
            pass

    @ticking.watch(name="main")
    def main() -> None:
        span("main before")
        asyncio.run(serve())
        span("main after")

    @ticking.watch(name="serve")
    async def serve() -> None:
        span("serve before")
        predict()
        span("serve between")
        await stage()
        span("serve after")

    @ticking.watch(name="predict")
    def predict() -> None:
        span("predict")

    @ticking.watch(name="stage")
    async def stage() -> None:
        span("stage before")
        await asyncio.sleep(0)
        predict()
        span("stage after")

    main()
    found = spans(ticking.snapshot())
    assert all(str(name).partition(" ")[0] == call for name, call in found)
    assert 8 == len(found)
    assert 9 == sum(found.values())


def test_a_span_across_an_await_belongs_to_its_own_task(ticking: Monitor) -> None:
    """A thousand tasks that take turns inside their spans and tags each keep their own call."""

    @ticking.watch(name="serve")
    async def serve(n: int) -> None:
        with ticking.span("waiting"):
            await asyncio.sleep(0)
            ticking.tag(kind=n % 2)
            await asyncio.sleep(0)
        await stage(n)

    @ticking.watch(name="stage")
    async def stage(n: int) -> None:
        ticking.tag(third=n % 3)
        await asyncio.sleep(0)
        with ticking.span("working"):
            pass

    async def main() -> None:
        await asyncio.gather(*map(serve, range(1000)))

    asyncio.run(main())
    snapshot = ticking.snapshot()
    assert {("waiting", "serve"): 1000, ("working", "stage"): 1000} == spans(snapshot)
    assert [500, 500] == [tagged(snapshot, "serve", kind=kind) for kind in range(2)]
    assert [334, 333, 333] == [tagged(snapshot, "stage", third=third) for third in range(3)]
    assert {"ok": 2000} == outcomes(snapshot)


def test_what_a_coroutine_hands_to_a_thread_is_part_of_it(ticking: Monitor) -> None:
    """`asyncio.to_thread` takes the context along, so its spans belong to the coroutine; a bare pool's do not."""

    def work(name: str) -> None:
        with ticking.span(name):
            ticking.tag(worked=name)

    @ticking.watch(name="serve")
    async def serve() -> None:
        await asyncio.to_thread(work, "to_thread")
        with ThreadPoolExecutor(1) as pool:
            await asyncio.get_running_loop().run_in_executor(pool, work, "executor")

    asyncio.run(serve())
    snapshot = ticking.snapshot()
    assert {("to_thread", "serve"): 1, ("executor", None): 1} == spans(snapshot)
    assert 1 == tagged(snapshot, "serve", worked="to_thread")
    assert {"tag": 1} == internal_errors(snapshot)


def test_a_task_that_outlives_its_call_is_part_of_none(ticking: Monitor) -> None:
    """A call that has ended is not tagged any more, though its task's context still knows it."""

    async def background() -> None:
        with ticking.span("during"):
            pass
        await ended.wait()
        with ticking.span("later"):
            ticking.tag(late=True)

    @ticking.watch(name="serve")
    async def serve() -> asyncio.Task[None]:
        task = asyncio.create_task(background())
        await asyncio.sleep(0)
        return task

    async def main() -> None:
        task = await serve()
        ended.set()
        await task

    ended = asyncio.Event()
    asyncio.run(main())
    snapshot = ticking.snapshot()
    assert {("during", "serve"): 1, ("later", None): 1} == spans(snapshot)
    assert {"tag": 1} == internal_errors(snapshot)


# -- tags


def test_tags_add_up_and_the_last_value_counts(monitor: Monitor) -> None:
    """Several tags are attributes of one call; a tag given again is the new one; a failure keeps them."""

    @monitor.watch(name="predict", attributes={"tier": "gold"})
    def predict(*, fail: bool = False) -> None:
        monitor.tag(model="v1", batch=4)
        monitor.tag(model="v2")
        monitor.tag(warm=True)
        if fail:
            raise ValueError

    predict()
    with pytest.raises(ValueError):  # noqa: PT011 - which one is not the matter
        predict(fail=True)
    snapshot = monitor.snapshot()
    tags = {"tier": "gold", "model": "v2", "batch": 4, "warm": True}
    assert (2, 0) == (tagged(snapshot, "predict", **tags), tagged(snapshot, "predict", model="v1"))
    assert 1 == tagged(snapshot, "predict", **tags, **{names.ERROR_TYPE: "ValueError"})


def test_values_of_different_types_are_different(monitor: Monitor) -> None:
    """1, 1.0 and True are equal in Python and are three values of a tag."""

    @monitor.watch(name="predict")
    def predict(value: float) -> None:
        monitor.tag(value=value)

    for _ in range(2):
        for value in (1, 1.0, True):
            predict(value)
    snapshot = monitor.snapshot()
    found = {
        type(series.attributes["value"]): snapshot.total[key].count
        for key, series in snapshot.series.items()
        if "value" in series.attributes and key in snapshot.total
    }
    assert {int: 2, float: 2, bool: 2} == found


def test_a_tag_that_says_nothing_new_makes_no_series(monitor: Monitor) -> None:
    """No two series have the same attributes, so that an exporter never ships one figure twice."""

    @monitor.watch(name="predict", attributes={"model": "v7"})
    def predict() -> None:
        monitor.tag()
        monitor.tag(model="v7")

    predict()
    snapshot = monitor.snapshot()
    seen = [
        tuple(sorted(series.attributes.items()))
        for series in snapshot.series.values()
        if series.name == names.CALL_DURATION
    ]
    assert len(seen) == len(set(seen))
    assert 1 == tagged(snapshot, "predict", model="v7")


def test_a_tag_that_cannot_be_taken_is_counted(monitor: Monitor) -> None:
    """Wrong types, holter's own names and numbers that no exporter can ship leave the call as it was."""

    class Name(str):
        __slots__ = ()

        def __hash__(self) -> int:
            return hash(str(self))

    @monitor.watch(name="predict")
    def predict(tags: dict[str, Any]) -> None:
        monitor.tag(**tags)

    refused: list[dict[str, Any]] = [
        {"a": None},
        {"a": [1]},
        {"a": b"b"},
        {"a": Name("b")},
        {"a": np.float64(1)},
        {Name("a"): 1},
        {"error.type": "mine"},
        {"holter.call.name": "mine"},
        {"otel.metric.overflow": True},
        {"a": float("nan")},
        {"a": float("inf")},
        {"a": 10**5000},
    ]
    for tags in refused:
        predict(tags)
    monitor.tag(outside=True)
    snapshot = monitor.snapshot()
    assert {"ok": len(refused)} == outcomes(snapshot, "predict")
    assert {"tag": len(refused) + 1} == internal_errors(snapshot)
    assert {frozenset({names.CALL_NAME})} == {
        frozenset(series.attributes)
        for key, series in snapshot.series.items()
        if series.name == names.CALL_DURATION and key in snapshot.total
    }


def test_long_tags_are_cut(monitor: Monitor) -> None:
    """Names and values have at most 200 characters, and no more of them is kept."""

    @monitor.watch(name="predict")
    def predict(n: int) -> None:
        monitor.tag(**{"k" * 300: "v" * 300 + str(n)})

    for n in range(3):
        predict(n)
    assert "v" * 201 not in repr(monitor._tags.__dict__)
    assert 3 == tagged(monitor.snapshot(), "predict", **{"k" * 200: "v" * 200})


def test_a_wrong_tag_raises_where_holter_is_strict() -> None:
    """With `strict` the test that tags outside of a call, or with a wrong type, fails at that line."""
    with Monitor("test", samplers=[], strict=True) as monitor:
        with pytest.raises(TypeError, match="tag: expected a watched call around it"):
            monitor.tag(model="v7")
        with pytest.raises(TypeError, match="span: expected a name as str"):
            monitor.span(3)  # type: ignore[arg-type]

        @monitor.watch
        def predict() -> None:
            monitor.tag(model=None)  # type: ignore[arg-type]

        with pytest.raises(TypeError, match="tag: expected"):
            predict()
        assert {"error": 1} == outcomes(monitor.snapshot())
