"""Calls that are measured on a permit: what users see of them is the same, and how they end is told."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from contracts import async_generators, generators
from contracts.watched import Time, forget_places
from guarded import forsaken, on_probation
from holter.clock import Clock
from holter.monitor import Monitor
from holter.probes.relays import ON_PERMIT, Kind
from holter.trials import Measured, Terms

SECOND_NS = 1_000_000_000


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def monitor(time: Time) -> Monitor:
    forget_places()
    return Monitor("test", samplers=[], clock=Clock(monotonic_ns=time))


def same(story: generators.Story) -> bool:
    """Whether *story* is one of what a guard does not change: it is no function, and goes into a classmethod itself."""
    return story.__name__ not in ("looked_at", "methods_of_all_kinds")


@pytest.mark.parametrize("story", list(filter(same, generators.STORIES)), ids=lambda story: story.__name__)
def test_a_generator_is_the_same_bare_and_guarded(story: generators.Story, monitor: Monitor, time: Time) -> None:
    """Whatever users do with a generator, they see the same bare and behind a guard that measures each call."""
    assert story(lambda function: function) == story(lambda function: on_probation(function, monitor, time))


@pytest.mark.parametrize("story", async_generators.STORIES, ids=lambda story: story.__name__)
def test_an_async_generator_is_the_same_bare_and_guarded(
    story: async_generators.AsyncStory, monitor: Monitor, time: Time
) -> None:
    """Whatever users do with an async generator, they see the same bare and behind a guard that measures."""
    bare = async_generators.told(story, lambda function: function)
    assert bare == async_generators.told(story, lambda function: on_probation(function, monitor, time))


class Bench:
    """Calls of one kind, each on a permit, with the *time* that they take."""

    def __init__(self, kind: Kind, below_seconds: float = 1.0) -> None:
        self.time, self.kind = Time(), kind
        terms = Terms(below_ns=round(below_seconds * SECOND_NS), expected=(KeyError,))
        self.measured = Measured(terms, self.time)

    def make(self, function: Any, *args: Any) -> Any:
        """Call *function*."""
        permit = self.measured.claim()
        assert permit is not None
        return ON_PERMIT[self.kind](function, permit, args, {})

    @property
    def told(self) -> tuple[int, list[str], int]:
        """How many calls were good, what was wrong with the others, and how many run."""
        return len(self.measured.good), list(self.measured.bad), len(self.measured.running)


ENDS = [
    (0.5, None, (1, [], 0)),
    (1.5, None, (0, ["slow"], 0)),
    (0.5, ValueError(), (0, ["failed"], 0)),
    (0.5, TimeoutError(), (0, ["failed"], 0)),
    (0.5, KeyError(), (1, [], 0)),
    (1.5, KeyError(), (0, ["slow"], 0)),
    (0.5, asyncio.CancelledError(), (0, [], 0)),
    (0.5, GeneratorExit(), (0, [], 0)),
    (0.5, KeyboardInterrupt(), (0, [], 0)),
    (0.5, SystemExit(), (0, [], 0)),
]


@pytest.mark.parametrize(("seconds", "error", "told"), ENDS)
@pytest.mark.parametrize("kind", ["function", "coroutine function", "generator function", "async generator function"])
def test_how_a_call_ends_is_told(kind: Kind, seconds: float, error: BaseException | None, told: Any) -> None:
    """Errors that are not expected are bad, and what takes too long; what was given up or interrupted is neither."""
    bench = Bench(kind)

    def function() -> str:
        bench.time.spend(seconds)
        if error is not None:
            raise error
        return "done"

    async def coroutine() -> str:
        return function()

    def stream() -> Iterator[str]:
        bench.time.spend(seconds / 2)
        yield "first"
        bench.time.spend(-seconds / 2)
        yield function()

    async def later() -> AsyncIterator[str]:
        for item in stream():
            yield item

    async def gather() -> list[str]:
        return [item async for item in bench.make(later)]

    ways: dict[Kind, Callable[[], Any]] = {
        "function": lambda: bench.make(function),
        "coroutine function": lambda: _driven(bench.make(coroutine)),
        "generator function": lambda: list(bench.make(stream))[-1],
        "async generator function": lambda: _driven(gather())[-1],
    }
    raised = contextlib.nullcontext() if error is None else pytest.raises(BaseException)  # noqa: PT011 - the very one
    with raised as caught:
        assert "done" == ways[kind]()
    if caught is not None:
        assert caught.value is error or isinstance(caught.value.__cause__, type(error)) or kind.startswith("async")
    assert told == bench.told


def _driven(coroutine: Any) -> Any:
    """Return what *coroutine*, which waits for nothing, gives without a loop."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError


def test_the_consumer_of_a_stream_may_take_its_time() -> None:
    """How long a stream takes is how long its producer does, and that is what a hanging one is told by."""
    bench = Bench("generator function")

    def stream() -> Iterator[int]:
        bench.time.spend(0.4)
        yield 1
        bench.time.spend(0.4)
        yield 2

    for _ in bench.make(stream):
        bench.time.spend(100)
        bench.measured.sweep(SECOND_NS)
    assert (1, [], 0) == bench.told


def test_a_stream_that_is_dropped_is_neither() -> None:
    """Begun or not."""
    bench = Bench("generator function")

    def stream() -> Iterator[int]:
        yield 1
        yield 2

    begun = bench.make(stream)
    next(begun)
    assert (0, [], 1) == bench.told
    del begun
    bench.make(stream)
    gc.collect()
    assert (0, [], 0) == bench.told


def test_what_never_began_gives_its_permit_back() -> None:
    """A coroutine that nobody awaits, a stream that nobody asks for an item."""
    given: list[int] = []

    class Counting(Measured):
        def give_back(self) -> None:
            given.append(1)

    async def coroutine() -> None:
        pass

    def stream() -> Iterator[int]:
        yield 1

    async def later() -> AsyncIterator[int]:
        yield 1

    functions: dict[Kind, Any] = {
        "coroutine function": coroutine,
        "generator function": stream,
        "async generator function": later,
    }
    for kind, function in functions.items():
        bench = Bench(kind)
        bench.measured = Counting(Terms(), bench.time)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            bench.make(function)
            gc.collect()
    assert 3 == len(given)


def test_wrong_arguments_are_refused_at_once_and_are_bad() -> None:
    """As by the callable itself."""

    def stream() -> Iterator[int]:
        yield 1

    bench = Bench("generator function")
    with pytest.raises(TypeError):
        bench.make(stream, 1)
    assert (0, ["failed"], 0) == bench.told


def test_the_fallback_is_called_as_it_is(monitor: Monitor, time: Time) -> None:
    """Nothing measures it."""

    def answer(x: int) -> int:
        return x + 1

    assert 3 == forsaken(answer, monitor, time)(2)
