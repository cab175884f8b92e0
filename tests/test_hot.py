"""The pieces in C as objects: what they hold on to, and what they refuse."""

from __future__ import annotations

import asyncio
import gc
import sys
import sysconfig
import threading
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager, suppress
from contextvars import Context, ContextVar, copy_context
from functools import partial
from threading import get_ident
from typing import Any

import psutil
import pytest

from holter.context import CONTEXT
from holter.monitor import Monitor
from holter.noted import NEVER
from holter.recorder import RECORDER
from holter.ring import NATIVE, Ring, RingReader
from programs import succeed

pytestmark = pytest.mark.skipif(NATIVE is None, reason="needs the extension, `apt install gcc python3-dev`, reinstall")


class _Error(Exception):
    pass


def _plain(value: object) -> object:
    return value


def _failing(value: object) -> object:
    raise _Error(value)


async def _awaited(value: object) -> object:
    return value


async def _failing_later(value: object) -> object:
    raise _Error(value)


class _Suspended:
    def __await__(self) -> Generator[None, None, None]:
        yield


async def _waiting(value: object) -> object:
    await _Suspended()
    return value


def _items(count: int) -> Generator[object, object, str]:
    for _ in range(count):
        with suppress(_Error):
            yield object()
    return "end"


def _failing_items(count: int) -> Generator[object, object, None]:
    yield from _items(count)
    raise _Error


def _run(coroutine: Coroutine[Any, Any, object]) -> None:
    with suppress(StopIteration, _Error):
        while True:
            coroutine.send(None)


class Pieces:
    """What is done again and again, a method each."""

    def __init__(self) -> None:
        monitor = self.monitor = Monitor("test", samplers=[])
        watch = monitor.watch
        self.plain, self.failing = watch(_plain), watch(_failing)
        self.sized = watch(_plain, name="sized", units=lambda _: 3)
        self.entered = watch(lambda span: span.__enter__(), name="entered")
        self.awaited, self.failing_later, self.waiting = watch(_awaited), watch(_failing_later), watch(_waiting)
        self.items, self.failing_items = watch(_items, units=lambda _: 1), watch(_failing_items)
        self.counter, self.gauge = monitor.counter("test.c"), monitor.gauge("test.g")
        self.histogram = monitor.histogram("test.h")

    def a_call(self) -> None:
        self.plain(self)

    def a_call_with_units(self) -> None:
        self.sized(value=self)

    def a_method(self) -> None:
        self.watched_method()

    @Monitor("methods", samplers=[]).watch
    def watched_method(self) -> None:
        pass

    def a_call_that_fails(self) -> None:
        with suppress(_Error):
            self.failing(self)

    def wrong_arguments(self) -> None:
        with suppress(TypeError):
            self.plain(self, self, unknown=self)

    def watching_anew(self) -> None:
        self.monitor.watch(partial(_plain, self), name="anew")()

    def a_coroutine(self) -> None:
        _run(self.awaited(self))

    def a_coroutine_that_fails(self) -> None:
        _run(self.failing_later(self))

    def a_coroutine_that_waits(self) -> None:
        _run(self.waiting(self))

    def a_coroutine_in_a_coroutine(self) -> None:
        async def outer(coroutine: Coroutine[Any, Any, object]) -> None:
            await coroutine

        _run(self.monitor.watch(outer, name="outer")(self.waiting(self)))

    def a_cancelled_coroutine(self) -> None:
        coroutine = self.waiting(self)
        coroutine.send(None)
        with suppress(_Error):
            coroutine.throw(_Error())

    def a_closed_coroutine(self) -> None:
        coroutine = self.waiting(self)
        coroutine.send(None)
        coroutine.close()

    def a_dropped_coroutine(self) -> None:
        self.waiting(self).send(None)

    def spans(self) -> None:
        with self.monitor.span("outer") as span, span, span, self.monitor.span("inner"):
            self.plain(self)

    def a_span_in_a_call(self) -> None:
        self.entered(self.monitor.span("inner")).__exit__(None, None, None)

    def a_span_that_fails(self) -> None:
        with suppress(_Error), self.monitor.span("outer"):
            raise _Error

    def a_span_of_no_name(self) -> None:
        with self.monitor.span(3):  # what it refuses
            pass

    def figures(self) -> None:
        self.counter.add()
        self.counter.add(amount=2)
        self.gauge.set(0.5)
        self.histogram.record(value=7)

    def hostile_values(self) -> None:
        self.counter.add("3")
        self.gauge.set(self)
        self.histogram.record(10**400)

    def a_tag(self) -> None:
        with self.monitor.span("outer"):
            self.monitor.tag(part="one")

    def a_stream(self) -> None:
        for _ in self.items(3):
            pass

    def a_stream_that_fails(self) -> None:
        with suppress(_Error):
            for _ in self.failing_items(2):
                pass

    def a_stream_that_is_sent_to(self) -> None:
        generator = self.items(2)
        next(generator)
        generator.send(self)
        with suppress(StopIteration):
            generator.send(self)

    def a_stream_that_is_thrown_into(self) -> None:
        generator = self.items(2)
        next(generator)
        generator.throw(_Error())
        with suppress(KeyError):
            generator.throw(KeyError())

    def a_closed_stream(self) -> None:
        generator = self.items(2)
        next(generator)
        generator.close()

    def a_dropped_stream(self) -> None:
        next(self.items(2))

    def a_stream_never_begun(self) -> None:
        self.items(2)


NAMES = [name for name in vars(Pieces) if not name.startswith("_") and name != "watched_method"]


@pytest.mark.parametrize("times", [4_000, pytest.param(200_000, marks=pytest.mark.heavy)])
@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_kept_of_what_is_over(name: str, times: int) -> None:
    """However often it is done: no object more, no memory more, and no reference more to what lasts."""
    step = getattr(Pieces(), name)
    lasting = [_plain, _failing, _awaited, _items, RECORDER.lookup, RECORDER.lookup(), _Error, None]
    resident = psutil.Process().memory_info

    def repeat(count: int) -> tuple[int, int, list[int]]:
        for _ in range(count):
            step()
        gc.collect()
        return sys.getallocatedblocks(), resident().rss, [sys.getrefcount(one) for one in lasting]

    repeat(times // 5)
    blocks, size, references = repeat(times // 5)
    more_blocks, more_size, more_references = repeat(times)
    assert more_blocks - blocks < times // 20
    # A sanitizer's allocator counts no blocks, and keeps what is free.
    assert not blocks or more_size - size < max(2**23, 80 * times)
    assert all(after - before < times // 20 for before, after in zip(references, more_references, strict=True))


def test_wrong_arguments_are_refused() -> None:
    """What no probe does raises TypeError or ValueError, and ends nothing."""
    ring, call = Ring(64), Ring(64).begin(1, 5)
    wrong: list[tuple[Callable[..., object], tuple[object, ...], type[Exception]]] = [
        (Ring, (0,), ValueError),
        (Ring, (63,), ValueError),
        (Ring, (2**40,), ValueError),
        (Ring, (64, bytearray(64)), ValueError),
        (Ring, (64, b"read only"), BufferError),
        (ring.begin, (1,), TypeError),
        (ring.begin, ("1", 5), TypeError),
        (ring.leave, (call, 5), TypeError),
        (ring.leave, ([5, 1, 0, ring, None], 5, 0), TypeError),
        (ring.release, ([5, 1, 0, ring, None],), TypeError),
        (ring.write, (1, 2), TypeError),
        (ring.write, (1, 2, "3", 0, 0), TypeError),
        (ring.write, (-1, 2, 3.0, 0, 0), OverflowError),
        (ring.put, (1, 2), TypeError),
        (ring.serve, ((None,),), TypeError),
        (ring.serve, ([],), TypeError),
        (call.__setitem__, (0, 7), TypeError),
        (call.__getitem__, (5,), IndexError),
        (type(call), (), TypeError),
        (NATIVE.shield, (b"read only",), BufferError),
        (NATIVE.StreamProbe, (1, 2), TypeError),
    ]
    for function, arguments, error in wrong:
        with pytest.raises(error):
            function(*arguments)
    assert 5 == call[0]
    assert not ring.live


def test_cells_need_as_much_memory_as_64_series_take() -> None:
    """Memory for cells that is too small or not aligned is refused before anything is written there."""
    ring = Ring(64, None, lambda _: bytearray(2040))
    with pytest.raises(ValueError, match="64 series"):
        ring.write(1, 2, 3.0, 0, 0)
    ring = Ring(64, None, lambda _: memoryview(bytearray(4096))[4:-4])
    with pytest.raises(ValueError, match="64 series"):
        ring.begin(1, 2)


def test_a_step_is_thrown_into_as_a_generator_is() -> None:
    """By an exception, or by its type, value and traceback; without any of them it is refused."""
    ring = Ring(64)
    limit = memoryview(bytearray(24)).cast("q")
    limit[0] = NEVER
    nothing = lambda *_: None  # noqa: E731 - it stands for two
    probe = NATIVE.StreamProbe(*(1, 2, 3, 4, 5), lambda: ring, None, CONTEXT, None, nothing, limit, nothing)
    error = _Error("x")
    references = sys.getrefcount(error)
    for arguments in ((error,), (_Error, "x"), (_Error, error, None), (_Error, error, error.__traceback__), (_Error,)):
        step = probe(_items(3))
        next(step)
        assert step.throw(*arguments) is not None
    del arguments
    assert references == sys.getrefcount(error)
    with pytest.raises(TypeError, match="one to three"):
        step.throw()


# -- threads


def recorded(ring: Any) -> list[float]:
    """Return the values that stand in *ring*."""
    values: list[float] = RingReader(ring.memory).read()[0]["value"].tolist()
    return values


@contextmanager
def threads_that(step: Callable[[], object], count: int) -> Iterator[None]:
    """Let *count* threads do one *step* after another."""
    is_over = threading.Event()

    def loop() -> None:
        while not is_over.is_set():
            step()

    threads = [threading.Thread(target=loop) for _ in range(count)]
    for thread in threads:
        thread.start()
    yield
    is_over.set()
    for thread in threads:
        thread.join()


def test_a_thread_whose_ring_was_taken_away_asks_for_another_one() -> None:
    """Also where the ring is another thread's by then, which writes to it without asking."""
    first, second = Ring(64), Ring(64)
    given = {get_ident(): first}
    histogram = NATIVE.Histogram(1, lambda: given[get_ident()], None, None)
    histogram.record(1)
    first.forget()
    given[get_ident()] = second

    def other() -> None:
        given[get_ident()] = first
        histogram.record(2)
        histogram.record(3)

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    histogram.record(4)
    assert [1.0, 2.0, 3.0] == recorded(first)
    assert [4.0] == recorded(second)


def test_a_ring_that_is_taken_away_while_it_is_given_is_used_once() -> None:
    """The thread has asked in vain then, and asks again at its next record."""
    first, second = Ring(64), Ring(64)
    answers = [first, second]
    histogram = NATIVE.Histogram(1, lambda: answers.pop(0) if len(answers) > 1 else second, None, None)
    for value in (1, 2, 3):
        histogram.record(value)
    assert ([1.0], [2.0, 3.0]) == (recorded(first), recorded(second))


def test_threads_may_look_at_calls_that_end_meanwhile() -> None:
    """Spans and tags in the contexts of coroutines that end in another thread: nothing is lost, and nobody crashes."""
    monitor = Monitor("test", samplers=[])
    contexts: list[Context] = []

    @monitor.watch
    async def relay(left: int) -> None:
        contexts.append(copy_context())
        following = asyncio.create_task(relay(left - 1)) if left % 10 else None
        await asyncio.sleep(0)
        if following is not None:
            await following

    def look() -> None:
        for context in contexts[-20:]:
            context.copy().run(spanned)

    def spanned() -> None:
        with monitor.span("look"):
            monitor.tag(part=get_ident() % 3)

    async def run() -> None:
        for _ in range(100):
            await relay(19)

    with threads_that(look, 3):
        asyncio.run(run())
    found = monitor.snapshot().find("holter.call.duration")
    assert found is not None
    assert 1000 == found.total.count


def test_the_import_leaves_the_global_lock_as_it_is() -> None:
    """On a free-threaded Python the extension does not switch it on."""
    program = """
        import json, sys
        import numpy
        is_enabled = getattr(sys, "_is_gil_enabled", lambda: True)
        before = is_enabled()
        import holter
        print(json.dumps([before, is_enabled()]))
    """
    before, after = succeed(program)
    assert before == after


@pytest.mark.skipif(
    bool(sysconfig.get_config_var("Py_GIL_DISABLED")), reason="for threads that take turns: Python 3.13"
)
@pytest.mark.parametrize("others", ["none", "beside", "below"])
def test_where_nobody_else_looks_the_next_call_takes_the_place_of_the_last(others: str) -> None:
    """What the context holds for a call stays the same, until a copy of the context has to be left as it is."""

    def branch(variable: ContextVar[Any]) -> int:
        # By five bits of their hash a context tells variables apart, by five more those that have these in common.
        return (hash(variable) ^ hash(variable) >> 32) & 31

    def call() -> int:
        _run(watched(None))
        return id(CONTEXT.get())

    def run() -> None:
        if others != "none":
            variables = (ContextVar[int](f"test_{number}") for number in range(2_000))
            next(one for one in variables if (branch(one) == branch(CONTEXT)) == (others == "below")).set(1)
        assert 1 == len({call() for _ in range(5)})
        copied = copy_context()
        held = copied[CONTEXT]
        assert id(held) != call()
        assert held is copied[CONTEXT]

    watched = Monitor("test", samplers=[]).watch(_awaited)
    Context().run(run)
