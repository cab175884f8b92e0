"""Watched generators and async generators: what is recorded of them, and that nothing else changes."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from contracts import async_generators, generators
from contracts.generators import ThingError
from contracts.watched import Time, forget_places, in_flight, outcomes, values
from holter import names
from holter.clock import Clock
from holter.monitor import Monitor
from holter.record import UNITS_MAXIMUM


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def monitor(time: Time) -> Monitor:
    forget_places()
    return Monitor("test", samplers=[], clock=Clock(monotonic_ns=time))


@pytest.mark.parametrize("story", generators.STORIES, ids=lambda story: story.__name__)
def test_a_generator_is_the_same_bare_and_watched(story: generators.Story, monitor: Monitor) -> None:
    """Whatever users do with a generator, they see the same with and without holter."""
    assert story(lambda function: function) == story(monitor.watch)


@pytest.mark.parametrize("story", async_generators.STORIES, ids=lambda story: story.__name__)
def test_an_async_generator_is_the_same_bare_and_watched(story: async_generators.AsyncStory, monitor: Monitor) -> None:
    """Whatever users do with an async generator, they see the same with and without holter."""
    bare = async_generators.told(story, lambda function: function)
    assert bare == async_generators.told(story, monitor.watch)


def test_producer_time_is_apart_from_the_time_suspended(monitor: Monitor, time: Time) -> None:
    """First item, times between, the producer's total and the consumer's wait are each exactly what they were."""

    @monitor.watch
    def stream() -> Iterator[int]:
        time.spend(0.5)
        yield 1
        time.spend(0.25)
        yield 2
        time.spend(0.125)
        yield 3
        time.spend(0.0625)

    for _ in stream():
        time.spend(10)
    snapshot = monitor.snapshot()
    assert (1, 0.5, 0.5, 0.5) == values(snapshot, names.STREAM_FIRST_ITEM)
    assert (2, 0.375, 0.125, 0.25) == values(snapshot, names.STREAM_BETWEEN_ITEMS)
    assert (1, 0.9375, 0.9375, 0.9375) == values(snapshot, names.STREAM_PRODUCER_TIME)
    assert (1, 30, 30, 30) == values(snapshot, names.STREAM_CONSUMER_WAIT)
    assert (1, 30.9375, 30.9375, 30.9375) == values(snapshot, names.CALL_DURATION)
    assert {"ok": 1} == outcomes(snapshot)


def test_the_time_of_an_async_producer_covers_its_awaits(monitor: Monitor, time: Time) -> None:
    """What an async generator waits for between two items is producer time; what its consumer waits for is not."""

    @monitor.watch
    async def stream() -> AsyncIterator[int]:
        await working(0.5)
        yield 1
        await working(0.25)
        yield 2

    async def working(seconds: float) -> None:
        await asyncio.sleep(0)
        time.spend(seconds)

    async def consume() -> None:
        async for _ in stream():
            await working(10)

    asyncio.run(consume())
    snapshot = monitor.snapshot()
    assert (1, 0.5, 0.5, 0.5) == values(snapshot, names.STREAM_FIRST_ITEM)
    assert (1, 0.25, 0.25, 0.25) == values(snapshot, names.STREAM_BETWEEN_ITEMS)
    assert (1, 0.75, 0.75, 0.75) == values(snapshot, names.STREAM_PRODUCER_TIME)
    assert (1, 20, 20, 20) == values(snapshot, names.STREAM_CONSUMER_WAIT)


def test_a_stream_begins_when_its_first_item_is_asked_for(monitor: Monitor, time: Time) -> None:
    """The time between the call and the first request is nobody's, and a stream never asked is no call."""

    @monitor.watch
    def stream() -> Iterator[int]:
        time.spend(1)
        yield 1

    stream().close()
    waiting = stream()
    time.spend(100)
    assert [1] == list(waiting)
    snapshot = monitor.snapshot()
    assert (1, 1, 1, 1) == values(snapshot, names.CALL_DURATION)


def test_the_way_a_stream_ends_is_its_outcome(monitor: Monitor) -> None:
    """Exhausted is ok, left by the consumer is abandoned, and an error is what it is."""

    class NotFoundError(Exception):
        pass

    @monitor.watch(expected=NotFoundError)
    def stream(error: BaseException | None = None) -> Iterator[int]:
        yield 1
        if error is not None:
            raise error

    def dropped(error: BaseException | None = None) -> None:
        next(stream(error))

    list(stream())
    stream_closed = stream()
    next(stream_closed)
    stream_closed.close()
    dropped()
    for _ in stream():
        break
    gc.collect()
    for error in (ValueError(), KeyboardInterrupt(), TimeoutError(), asyncio.CancelledError(), NotFoundError()):
        with pytest.raises(type(error)):
            list(stream(error))
    snapshot = monitor.snapshot()
    assert {"ok": 1, "abandoned": 3, "error": 2, "timeout": 1, "cancelled": 1, "expected": 1} == outcomes(snapshot)
    assert 0 == in_flight(snapshot)


def test_the_way_an_async_stream_ends_is_its_outcome(monitor: Monitor) -> None:
    """A stream whose task is cancelled within an item is cancelled; one that is left between two is abandoned."""

    @monitor.watch
    async def stream() -> AsyncIterator[int]:
        yield 1
        await asyncio.Event().wait()

    async def consume(seconds: float | None = None) -> None:
        async with asyncio.timeout(seconds):
            async for _ in stream():
                pass

    async def leave() -> None:
        async for _ in stream():
            return

    async def main() -> None:
        await leave()
        task = asyncio.create_task(consume())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(TimeoutError):
            await consume(0)
        closed = stream()
        await anext(closed)
        await asyncio.create_task(closed.aclose())

    asyncio.run(main())
    assert {"abandoned": 2, "cancelled": 2} == outcomes(monitor.snapshot())


def test_units_are_the_sum_over_the_items(monitor: Monitor) -> None:
    """`units` is asked for each item, and a sum that no record can hold stops at the most it can."""

    @monitor.watch(units=len, name="words")
    def words() -> Iterator[str]:
        yield from ("a", "bcd", "")

    @monitor.watch(units=lambda item: item, name="huge")
    def huge() -> Iterator[int]:
        yield from (UNITS_MAXIMUM, UNITS_MAXIMUM)

    @monitor.watch(units=2, name="twos")
    async def twos() -> AsyncIterator[int]:
        for item in range(3):
            yield item

    async def consume() -> list[int]:
        return [item async for item in twos()]

    list(words())
    list(huge())
    asyncio.run(consume())
    snapshot = monitor.snapshot()
    units = {watched: snapshot.find(watched).total.units for watched in (words, huge, twos)}  # type: ignore[union-attr]
    assert {words: 4, huge: UNITS_MAXIMUM, twos: 6} == units


def test_each_item_is_recorded_in_the_thread_that_asks(monitor: Monitor) -> None:
    """A stream that runs in many threads is one call with all its items."""

    @monitor.watch
    def stream() -> Iterator[int]:
        while True:
            yield threading.get_ident()

    one = stream()
    with ThreadPoolExecutor(1) as first, ThreadPoolExecutor(1) as second:
        for pool in (first, second) * 50:
            pool.submit(next, one).result()
        second.submit(one.close).result()
    snapshot = monitor.snapshot()
    found = snapshot.find(names.STREAM_ITEMS)
    assert found is not None
    assert 100 == found.total.sum
    assert {"abandoned": 1} == outcomes(snapshot)


def test_a_suspended_stream_is_in_flight_and_around_nothing(monitor: Monitor, time: Time) -> None:
    """Between two items the stream counts as running, but what its consumer does there is not part of it."""

    @monitor.watch(name="stream")
    def stream() -> Iterator[int]:
        while True:
            with monitor.span("inside"):
                yield 1
            with monitor.span("produce"):
                pass

    @monitor.watch(name="serve")
    def serve(one: Iterator[int]) -> None:
        with monitor.span("before"):
            next(one)
        time.spend(1)
        with monitor.span("after"):
            pass
        next(one)
        monitor.tag(served=True)

    one = stream()
    serve(one)
    snapshot = monitor.snapshot()
    spans = {
        series.attributes[names.SPAN_NAME]: series.attributes.get(names.CALL_NAME)
        for series in snapshot.series.values()
        if series.name == names.SPAN_DURATION and series.id in snapshot.total
    }
    assert {"inside": "stream", "produce": "stream", "before": "serve", "after": "serve"} == spans
    tagged = snapshot.find(names.CALL_DURATION, {"served": True, names.CALL_NAME: "serve"})
    assert tagged is not None
    assert 1 == tagged.total.count
    active = snapshot.find(names.CALL_ACTIVE, {names.CALL_NAME: "stream"})
    assert active is not None
    assert 1 == active.total.last
    assert [("stream", 1.0)] == [(call.name, call.age_seconds) for call in snapshot.open_calls]
    one.close()  # type: ignore[attr-defined]


def asked(monitor: Monitor) -> list[tuple[str, int]]:
    """Return of each open call since when its next item is asked for."""
    return [(call.name, call.asked_ns) for call in monitor.snapshot().open_calls]


def test_a_stream_that_is_open_says_whose_turn_it_is(monitor: Monitor, time: Time) -> None:
    """Since when its producer is asked for an item, or that its consumer has one; other calls say nothing."""
    seen = []

    @monitor.watch(name="stream")
    def stream() -> Iterator[int]:
        for number in range(2):
            time.spend(1)
            seen.append(asked(monitor))
            yield number

    @monitor.watch(name="serve")
    def serve() -> None:
        time.spend(1)
        seen.extend(asked(monitor) for _ in stream())

    begun_ns = time() + 1_000_000_000
    serve()
    second_ns = begun_ns + 1_000_000_000
    turns = [begun_ns, -1, second_ns, -1]
    assert [[("serve", 0), ("stream", turn)] for turn in turns] == seen
    stream().close()  # type: ignore[attr-defined]
    dropped = stream()
    next(dropped)
    del dropped
    assert [] == asked(monitor)
    time.spend(1)
    monitor.watch(lambda: seen.append(asked(monitor)), name="other")()
    assert [("other", 0)] == seen[-1]


def test_an_async_stream_that_is_open_says_whose_turn_it_is(monitor: Monitor, time: Time) -> None:
    """Likewise."""
    seen = []

    @monitor.watch(name="stream")
    async def stream() -> AsyncIterator[int]:
        for number in range(2):
            time.spend(1)
            seen.append(asked(monitor))
            yield number
        raise ThingError

    async def serve() -> None:
        with suppress(ThingError):
            async for _ in stream():
                seen.append(asked(monitor))  # noqa: PERF401  each when it comes

    begun_ns = time()
    asyncio.run(serve())
    second_ns = begun_ns + 1_000_000_000
    assert [[("stream", turn)] for turn in (begun_ns, -1, second_ns, -1)] == seen
    monitor.watch(lambda: seen.append(asked(monitor)), name="other")()
    assert [("other", 0)] == seen[-1]


def test_a_stream_is_the_inner_call_in_whichever_coroutine_it_goes_on(monitor: Monitor, time: Time) -> None:
    """A tag within a stream is the stream's, also where the stream began before the coroutine that asks it."""

    @monitor.watch(name="plain")
    def plain() -> Iterator[int]:
        for item in range(3):
            monitor.tag(item=item)
            yield item

    @monitor.watch(name="async")
    async def asynchronous() -> AsyncIterator[int]:
        for item in range(3):
            monitor.tag(item=item)
            yield item

    @monitor.watch(name="ask")
    async def ask(one: Iterator[int], other: AsyncIterator[int]) -> None:
        time.spend(1)
        next(one, None)
        await anext(other, None)
        monitor.tag(asked=True)

    async def main() -> None:
        one, other = plain(), asynchronous()
        for _ in range(4):
            await ask(one, other)

    asyncio.run(main())
    snapshot = monitor.snapshot()
    for name, tags, count in (("plain", {"item": 2}, 1), ("async", {"item": 2}, 1), ("ask", {"asked": True}, 4)):
        found = snapshot.find(names.CALL_DURATION, {names.CALL_NAME: name})
        tagged = snapshot.find(names.CALL_DURATION, {names.CALL_NAME: name, **tags})
        assert found is not None
        assert tagged is not None
        assert (count, count) == (found.total.count, tagged.total.count)


@pytest.mark.parametrize("fails", [False, True])
def test_what_follows_an_item_is_part_of_the_consumer(monitor: Monitor, *, fails: bool) -> None:
    """A coroutine that the stream has awaited for an item leaves the context as the stream found it."""

    @monitor.watch(name="fetch")
    async def fetch() -> None:
        await asyncio.sleep(0)
        if fails:
            raise ThingError

    @monitor.watch(name="stream")
    async def stream() -> AsyncIterator[int]:
        for item in range(2):
            with suppress(ThingError):
                await fetch()
            yield item

    @monitor.watch(name="ask")
    async def ask() -> None:
        async for _ in stream():
            with monitor.span("between"):
                pass
        with monitor.span("after"):
            pass

    asyncio.run(ask())
    snapshot = monitor.snapshot()
    spans = {
        (series.attributes[names.SPAN_NAME], series.attributes.get(names.CALL_NAME))
        for series in snapshot.series.values()
        if series.name == names.SPAN_DURATION and series.id in snapshot.total
    }
    assert {("between", "ask"), ("after", "ask")} == spans


def test_an_error_thrown_in_has_the_place_where_it_was_raised(monitor: Monitor) -> None:
    """The place of an error that a consumer throws into a stream is the stream's line, not one of holter."""

    @monitor.watch
    def stream() -> Iterator[int]:
        yield 1

    @monitor.watch
    async def asynchronous() -> AsyncIterator[int]:
        yield 1

    async def main() -> None:
        one = asynchronous()
        await anext(one)
        with pytest.raises(ValueError, match="thrown"):
            await one.athrow(ValueError("thrown"))  # type: ignore[attr-defined]

    one = stream()
    next(one)
    with pytest.raises(ValueError, match="thrown"):
        one.throw(ValueError("thrown"))  # type: ignore[attr-defined]
    asyncio.run(main())
    assert {"stream", "asynchronous"} == {place.place.rpartition(" ")[2] for place in monitor.snapshot().error_places}
