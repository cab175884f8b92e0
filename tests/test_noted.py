"""Which calls are noted one by one, and that no program is disturbed by it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from opentelemetry import context as otel
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext

from contracts.watched import Time, internal_errors, outcomes
from holter.clock import Clock
from holter.monitor import Monitor
from holter.noted import LIMIT, MOST, MOST_OF_ONE, MOST_SEEN, NEVER, SEEN, Noted
from holter.pauses import PAUSES
from holter.ring import NATIVE
from programs import succeed

MS = 1_000_000


class All:
    """What an exporter says that wants all calls slower than so much."""

    def __init__(self, seconds: float | None = 0.5, *, traces_all: bool = True) -> None:
        self.slower_than_seconds, self.traces_all = seconds, traces_all


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def monitor(time: Time) -> Monitor:
    return Monitor("test", samplers=[], recording=False, clock=Clock(monotonic_ns=time))


def taken(monitor: Monitor) -> list[Noted]:
    """Return what was noted."""
    return monitor._scope.notes.take()


def _drained(items: Iterator[Any]) -> None:
    for _ in items:
        pass


async def _awaited(items: AsyncIterator[Any]) -> None:
    async for _ in items:
        pass


def kinds(monitor: Monitor, time: Time, **options: Any) -> dict[str, Callable[[float, BaseException | None], None]]:
    """Return, for each kind of callable, what makes a call that takes so long and ends so."""

    def act(seconds: float, error: BaseException | None) -> None:
        time.spend(seconds)
        if error is not None:
            raise error

    async def coroutine(seconds: float, error: BaseException | None) -> None:
        act(seconds, error)

    def generator(seconds: float, error: BaseException | None) -> Iterator[int]:
        yield 1
        act(seconds, error)

    async def asynchronous(seconds: float, error: BaseException | None) -> AsyncIterator[int]:
        yield 1
        act(seconds, error)

    watched = {
        one.__name__: monitor.watch(one, name=one.__name__, **options)
        for one in (act, coroutine, generator, asynchronous)
    }
    return {
        "function": watched["act"],
        "in Python": monitor.watch(act, name="in Python", native=False, **options),
        "with units": monitor.watch(act, name="with units", native=False, units=lambda _: 1, **options),
        "coroutine": lambda *how: asyncio.run(watched["coroutine"](*how)),
        "generator": lambda *how: _drained(watched["generator"](*how)),
        "async generator": lambda *how: asyncio.run(_awaited(watched["asynchronous"](*how))),
    }


KINDS = ["function", "in Python", "with units", "coroutine", "generator", "async generator"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_call_beyond_the_limit_is_noted_with_its_times(monitor: Monitor, time: Time, kind: str) -> None:
    """The limit itself is not beyond it."""
    call = kinds(monitor, time)[kind]
    monitor._scope.notes.add("spans", All(0.5))
    for seconds in (0.4, 0.5, 0.501, 0.3):
        call(seconds, None)
    (one,) = taken(monitor)
    assert 501 * MS == one.end_ns - one.start_ns
    assert time.now_ns - 300 * MS == one.end_ns
    assert one.root == one.series
    monitor._scope.notes.drop("spans")
    call(9.0, None)
    assert [] == taken(monitor)


@pytest.mark.parametrize("kind", KINDS)
def test_a_call_that_fails_is_noted_however_quick(monitor: Monitor, time: Time, kind: str) -> None:
    """In the series that counts it; what is cancelled or expected is noted only where it is slow."""
    call = kinds(monitor, time, expected=KeyError)[kind]
    monitor._scope.notes.add("spans", All(0.5))
    for seconds, error in (
        (0.1, ValueError("secret")),
        (0.1, TimeoutError()),
        (0.1, KeyError()),
        (0.1, asyncio.CancelledError()),
        (0.6, KeyError()),
    ):
        with suppress(BaseException):
            call(seconds, error)
    found = [monitor._scope.table[one.series].attributes for one in taken(monitor)]
    assert ["error", "timeout", "expected"] == [one["holter.call.outcome"] for one in found]


def test_where_nobody_asks_nothing_is_noted(monitor: Monitor, time: Time) -> None:
    """The limit that calls compare themselves with is then one that none exceeds."""
    call = kinds(monitor, time)["function"]
    call(1e6, None)
    with suppress(ValueError):
        call(0.0, ValueError())
    assert [] == taken(monitor)
    assert {NEVER} == {gate.words[LIMIT] for gate in monitor._scope.notes.gates.values()}
    assert {0} == {gate.words[SEEN] for gate in monitor._scope.notes.gates.values()}


def test_the_smallest_of_the_wishes_counts(monitor: Monitor) -> None:
    """Each exporter sorts out what is too quick for it."""
    notes = monitor._scope.notes
    monitor.watch(len, name="length")
    for owner, wish in (("a", All(2.0)), ("b", All(0.25, traces_all=False)), ("c", All(None))):
        notes.add(owner, wish)
    (gate,) = notes.gates.values()
    assert (250 * MS, True, True) == (gate.words[LIMIT], notes.wants_quantile, notes.traces_all)
    notes.set_limits({gate.root: 100 * MS})
    assert 100 * MS == gate.words[LIMIT]
    notes.drop("a")
    notes.drop("c")
    assert (250 * MS, False, False) == (gate.words[LIMIT], notes.wants_quantile, notes.traces_all)


@pytest.mark.parametrize(("sampler", "noted"), [(ALWAYS_ON, 1), (ALWAYS_OFF, 0)])
def test_the_span_around_a_call_is_noted_where_it_is_sampled(
    monitor: Monitor, time: Time, sampler: Any, noted: int
) -> None:
    """It is the one that is current when the call ends: those that the call itself has opened are over by then."""
    tracer = TracerProvider(sampler=sampler, shutdown_on_exit=False).get_tracer("program")

    @monitor.watch
    def predict() -> None:
        with tracer.start_as_current_span("inside"):
            time.spend(1.0)

    monitor._scope.notes.add("spans", All(0.5))
    with tracer.start_as_current_span("around") as span:
        predict()
    found = taken(monitor)
    assert noted == len(found)
    assert [span.get_span_context()] * noted == [one.context for one in found]


def test_calls_outside_of_any_trace_are_noted_where_somebody_wants_them(monitor: Monitor, time: Time) -> None:
    """They are no use to who can only point to a trace."""
    call = kinds(monitor, time)["function"]
    monitor._scope.notes.add("page", All(0.5, traces_all=False))
    call(1.0, None)
    assert [] == taken(monitor)
    monitor._scope.notes.add("spans", All(0.5))
    call(1.0, None)
    assert [None] == [one.context for one in taken(monitor)]


@pytest.mark.parametrize("kind", ["function", "in Python"])
def test_ten_thousand_slow_calls_are_ten(monitor: Monitor, time: Time, kind: str) -> None:
    """The rest of the interval is counted, by one word in C; the next interval has room for ten again."""
    call = kinds(monitor, time)[kind]
    monitor._scope.notes.add("spans", All(0.5))
    for turn in range(2):
        for _ in range(10_000):
            call(1.0, None)
        assert MOST_OF_ONE == len(taken(monitor))
        assert (10_000 - MOST_OF_ONE) * (turn + 1) == monitor._fold.slow.left_out()


def test_a_hundred_an_interval_are_all(monitor: Monitor, time: Time) -> None:
    """However many functions are slow."""
    monitor._scope.notes.add("spans", All(0.5))
    calls = [monitor.watch(time.spend, name=f"call {number}") for number in range(30)]
    for call in calls:
        for _ in range(MOST_OF_ONE + 1):
            call(1.0)
    assert MOST == len(taken(monitor))
    assert 30 * (MOST_OF_ONE + 1) - MOST == monitor._fold.slow.left_out()


def test_calls_that_nobody_may_trace_take_no_room(monitor: Monitor, time: Time) -> None:
    """Nine of ten traces are not sampled, say: the tenth is noted. Beyond a thousand an interval nobody looks."""
    call = kinds(monitor, time)["function"]
    tracer = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False).get_tracer("program")
    monitor._scope.notes.add("page", All(0.5, traces_all=False))
    with tracer.start_as_current_span("around"):
        for _ in range(MOST_SEEN - 1):
            call(1.0, None)
    sampled = TracerProvider(shutdown_on_exit=False).get_tracer("program")
    with sampled.start_as_current_span("around"):
        call(1.0, None)
        call(1.0, None)
    assert 1 == len(taken(monitor))
    assert 1 == monitor._fold.slow.left_out()


def test_the_calls_around_are_noted(monitor: Monitor, time: Time) -> None:
    """On the thread and in the task, the innermost first; not the call itself, nor what runs beside it."""
    starts: dict[str, tuple[int, int]] = {}

    def mark(name: str) -> None:
        call = monitor._scope.ring().current[0]
        starts[name] = call[0], monitor._scope.table.root(call[1])

    @monitor.watch
    def inner() -> None:
        time.spend(1.0)

    @monitor.watch
    def middle() -> None:
        mark("middle")
        time.spend(1.0)
        inner()

    @monitor.watch
    async def outer() -> None:
        time.spend(1.0)
        await asyncio.gather(beside(), within())

    @monitor.watch
    async def beside() -> None:
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    async def within() -> None:
        middle()

    monitor._scope.notes.add("spans", All(0.5))
    asyncio.run(outer())
    by_name = {
        monitor._scope.table[one.root].attributes["holter.call.name"].rpartition(".")[2]: one for one in taken(monitor)
    }
    around_inner, around_middle, around_outer = (by_name[name].around for name in ("inner", "middle", "outer"))
    whole = by_name["outer"].start_ns, by_name["outer"].root
    assert ((starts["middle"], whole), (whole,), ()) == (around_inner, around_middle, around_outer)


class _Interrupting(Span):
    """A span that cannot be asked: whoever does is interrupted, or gets an error."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def get_span_context(self) -> SpanContext:
        raise self._error

    def is_recording(self) -> bool:
        return False

    def end(self, end_time: int | None = None) -> None: ...
    def set_attributes(self, attributes: Any) -> None: ...
    def set_attribute(self, key: str, value: Any) -> None: ...
    def add_event(self, *_: Any, **__: Any) -> None: ...
    def update_name(self, name: str) -> None: ...
    def set_status(self, *_: Any) -> None: ...
    def record_exception(self, *_: Any, **__: Any) -> None: ...


@pytest.mark.parametrize("kind", KINDS)
def test_a_span_that_cannot_be_asked_disturbs_nobody(monitor: Monitor, time: Time, kind: str) -> None:
    """The call returns what it returns and is counted; so is the trouble."""
    call = kinds(monitor, time)[kind]
    monitor._scope.notes.add("spans", All(0.5))
    token = otel.attach(trace.set_span_in_context(_Interrupting(RuntimeError("secret"))))
    try:
        call(1.0, None)
    finally:
        otel.detach(token)
    snapshot = monitor.snapshot()
    assert {"ok": 1} == outcomes(snapshot)
    assert {"trace": 1} == internal_errors(snapshot)


@pytest.mark.parametrize("kind", KINDS)
def test_ctrl_c_while_a_call_is_noted_passes_on(monitor: Monitor, time: Time, kind: str) -> None:
    """The call is counted all the same, and does not seem to run for ever."""
    call = kinds(monitor, time)[kind]
    monitor._scope.notes.add("spans", All(0.5))
    token = otel.attach(trace.set_span_in_context(_Interrupting(KeyboardInterrupt())))
    try:
        with pytest.raises(KeyboardInterrupt):
            call(1.0, None)
    finally:
        otel.detach(token)
    snapshot = monitor.snapshot()
    assert 1 == sum(outcomes(snapshot).values())
    assert () == snapshot.open_calls


def test_a_context_that_is_none_is_no_span(monitor: Monitor, time: Time) -> None:
    """OpenTelemetry's invalid span stands for there being none."""
    call = kinds(monitor, time)["function"]
    monitor._scope.notes.add("spans", All(0.5))
    token = otel.attach(trace.set_span_in_context(NonRecordingSpan(SpanContext(0, 0, is_remote=False))))
    try:
        call(1.0, None)
    finally:
        otel.detach(token)
    assert [None] == [one.context for one in taken(monitor)]


def test_threads_note_side_by_side() -> None:
    """Each with its own span; the bound holds for all together."""
    monitor = Monitor("test", samplers=[], recording=False)
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("program")
    monitor._scope.notes.add("spans", All(1e-9))
    work = monitor.watch(lambda: sum(range(100)), name="work")
    spans: set[int] = set()

    def run() -> None:
        with tracer.start_as_current_span("around") as span:
            spans.add(span.get_span_context().span_id)
            for _ in range(200):
                work()

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = taken(monitor)
    assert MOST_OF_ONE <= len(found) <= MOST_OF_ONE + len(threads)
    assert {one.context.span_id for one in found} <= spans


@pytest.mark.skipif(NATIVE is None, reason="needs the extension, `apt install gcc python3-dev`, reinstall")
def test_words_that_are_none_are_refused() -> None:
    """The extension writes to nothing that is too small or cannot be written to."""
    lookup, nothing = Monitor("test", samplers=[])._scope.ring, print
    for words, error in ((bytearray(16), ValueError), (bytes(24), BufferError), (None, TypeError)):
        with pytest.raises(error):
            NATIVE.TimedCall(len, 1, lookup, None, 0, None, nothing, nothing, words, nothing, nothing)
        with pytest.raises(error):
            NATIVE.CoroutineProbe(1, lookup, None, 0, None, nothing, None, words, nothing)
        with pytest.raises(error):
            NATIVE.StreamProbe(1, 2, 3, 4, 5, lookup, None, None, None, nothing, words, nothing)


def test_a_forked_child_inherits_nothing() -> None:
    """Neither what was noted nor who wanted it; a page that stands for good is asked in the child too."""
    told = succeed(
        """
        import json, os
        import holter
        from holter import default

        class All:
            slower_than_seconds, traces_all = 1e-9, True

        work = holter.watch(lambda: None, name="work")
        holter.snapshot()
        notes = default._scope.notes
        notes.add("spans", All())
        work()
        before = len(notes.table)
        read, write = os.pipe()
        if os.fork() == 0:
            work()
            inherited = len(notes.table), notes.is_wanted
            notes.add("spans", All())
            work()
            os.write(write, json.dumps([inherited, len(notes.table)]).encode())
            os._exit(0)
        os.wait()
        print(json.dumps([before, json.loads(os.read(read, 100)), len(notes.table)]))
        """
    )
    assert [1, [[0, False], 1], 1] == told


def test_a_page_wants_them_for_as_long_as_the_process_lives() -> None:
    """Whoever mounts the page in an application has no monitor that ends."""
    told = succeed(
        """
        import json, os, sys
        import holter
        from holter import default

        before = default._scope.notes.is_wanted
        app = holter.prometheus_app()
        with holter.start("shop", samplers=[], recording=False):
            pass
        after = default._scope.notes.is_wanted
        pid = os.fork()
        if pid == 0:
            os._exit(default._scope.notes.is_wanted)
        print(json.dumps([before, after, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])]))
        """
    )
    assert [False, True, 1] == told


@pytest.fixture
def explaining(monitor: Monitor, time: Time) -> Iterator[Monitor]:
    """A monitor of a program with a sampler that finds causes, in which more than 2 ms are slow."""
    PAUSES.seen_ns = time.now_ns
    monitor._scope.notes.ask_for_causes()
    yield monitor
    PAUSES.forget()


@pytest.mark.parametrize("kind", KINDS)
def test_where_only_causes_are_wanted_slow_calls_are_noted_for_them(explaining: Monitor, time: Time, kind: str) -> None:
    """With the thread that they ended in; they are no business of traces."""
    call = kinds(explaining, time)[kind]
    explaining._scope.notes.set_limits(dict.fromkeys(explaining._scope.notes.gates, 2 * MS))
    call(0.002, None)
    call(0.003, None)
    (one,) = taken(explaining)
    assert (3 * MS, False, threading.get_native_id()) == (one.end_ns - one.start_ns, one.is_traced, one.where.thread)
    assert kind.startswith(("coroutine", "async")) is bool(one.where.loop and one.where.task)


def test_what_fails_at_once_is_not_noted_for_its_causes(explaining: Monitor, time: Time) -> None:
    """It has lost no time; traces alone are told of it."""
    call = kinds(explaining, time)["function"]
    with suppress(ValueError):
        call(0.001, ValueError())
    assert [] == taken(explaining)


def test_what_takes_less_than_a_millisecond_is_slow_for_nobody(explaining: Monitor, time: Time) -> None:
    """Where only causes are wanted: 99 of 100 calls may take a microsecond."""
    call = kinds(explaining, time)["function"]
    explaining._scope.notes.set_limits(dict.fromkeys(explaining._scope.notes.gates, 1_000))
    call(0.0009, None)
    assert [] == taken(explaining)
    call(0.0011, None)
    assert 1 == len(taken(explaining))


def test_after_ten_an_interval_calls_pay_for_nothing(explaining: Monitor, time: Time) -> None:
    """Nothing is beyond the limit until the next interval; none is said to be left out."""
    call, notes = kinds(explaining, time)["function"], explaining._scope.notes
    notes.set_limits(dict.fromkeys(notes.gates, 2 * MS))
    for _ in range(MOST_OF_ONE + 5):
        call(0.01, None)
    assert MOST_OF_ONE == len(taken(explaining))
    assert NEVER in {gate.limit[0] for gate in notes.gates.values()}
    assert 0 == notes.left_out
    notes.turn()
    notes.set_limits(dict.fromkeys(notes.gates, 2 * MS))
    call(0.01, None)
    assert 1 == len(taken(explaining))


def test_causes_take_no_room_from_traces(explaining: Monitor, time: Time) -> None:
    """Fifteen calls in traces that nobody keeps, then ten in one that is kept: all of those are there."""
    notes = explaining._scope.notes
    notes.add("spans", All(0.5, traces_all=False))
    call = kinds(explaining, time)["function"]
    with trace.use_span(TracerProvider(sampler=ALWAYS_OFF).get_tracer("test").start_span("not kept")):
        for _ in range(15):
            call(1.0, None)
    with trace.use_span(TracerProvider(sampler=ALWAYS_ON).get_tracer("test").start_span("kept")):
        for _ in range(MOST_OF_ONE):
            call(1.0, None)
    noted = taken(explaining)
    assert [False] * MOST_OF_ONE + [True] * MOST_OF_ONE == [one.is_traced for one in noted]
    assert {None} == {one.context for one in noted if not one.is_traced}
    assert 0 == notes.left_out


def test_when_the_sampler_has_gone_nothing_is_slow(explaining: Monitor, time: Time) -> None:
    """From the next interval on."""
    call, notes = kinds(explaining, time)["function"], explaining._scope.notes
    notes.set_limits(dict.fromkeys(notes.gates, 2 * MS))
    PAUSES.forget()
    notes.ask_for_causes()
    call(1.0, None)
    assert [] == taken(explaining)
    assert not notes.is_wanted
