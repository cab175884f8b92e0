"""What users do with async generators: each story is told twice, bare and watched, and must read the same."""

# What the stories do is what users do, in their words: they raise and catch anything, and take what they do not use.
# ruff: noqa: ARG005, BLE001, FBT001, PERF401, PLW0108

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import inspect
import sys
import threading
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

from contracts.generators import VARIABLE, Thing, ThingError, Watch, described, outcome, unraisable

AsyncStory = Callable[[Watch], Coroutine[Any, Any, list[Any]]]
STORIES: list[AsyncStory] = []


def story(function: AsyncStory) -> AsyncStory:
    """Have *function* told twice."""
    STORIES.append(function)
    return function


def told(story: AsyncStory, watch: Watch) -> list[Any]:
    """Return what *story* sees, what the loop had to say and what Python could not raise."""
    complaints: list[Any] = []

    async def tell() -> list[Any]:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(
            lambda _, what: complaints.append((what["message"].partition(" <")[0], described(what.get("exception"))))
        )
        return await story(watch)

    with unraisable() as seen:
        return [*asyncio.run(tell()), *complaints, *seen]


async def awaited(awaitable: Awaitable[Any]) -> Any:
    """Return what *awaitable* gives, or what can be seen of the error that leaves it."""
    try:
        return "returned", await awaitable
    except BaseException as error:
        return "raised", described(error)


def by_hand(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Return what *coroutine*, which waits for nothing, gives without a loop."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError


# -- items, and values sent


@story
async def items(watch: Watch) -> list[Any]:
    @watch
    async def count(n: int, *, start: int = 0) -> Any:
        for item in range(start, n):
            await asyncio.sleep(0)
            yield item

    stream = count(3, start=1)
    seen = [await awaited(anext(stream)) for _ in range(4)]
    return [[item async for item in count(3)], *seen, await anext(count(0), "default"), await anext(stream, "late")]


@story
async def values_sent(watch: Watch) -> list[Any]:
    @watch
    async def echo() -> Any:
        got = "nothing"
        while got != "stop":
            got = yield ("got", got)

    stream = echo()
    early = await awaited(echo().asend(1))
    return [early, *[await awaited(stream.asend(value)) for value in (None, 1, None, "stop", "late", None)]]


@story
async def watched_within_watched(watch: Watch) -> list[Any]:
    @watch
    async def tree(depth: int) -> Any:
        if depth:
            async for item in tree(depth - 1):
                yield -item
            await asyncio.sleep(0)
            yield depth

    return [item async for item in tree(4)]


# -- errors


@story
async def errors_thrown_in(watch: Watch) -> list[Any]:
    @watch
    async def catching() -> Any:
        n = 0
        while True:
            n += 1
            try:
                yield n
            except (ValueError, StopAsyncIteration, asyncio.CancelledError) as error:
                await asyncio.sleep(0)
                caught = error
                yield (type(caught), caught.args)

    @watch
    async def passing() -> Any:
        yield 1
        yield 2

    seen: list[Any] = []
    errors = (ValueError("v"), ValueError, StopIteration(7), StopAsyncIteration(), asyncio.CancelledError("c"))
    for error in (*errors, GeneratorExit(), SystemExit(3), TypeError, ExceptionGroup("g", [OSError()])):
        stream = catching()
        await anext(stream)
        seen += [await awaited(stream.athrow(error)), await awaited(anext(stream)), await awaited(anext(stream))]
        await stream.aclose()
        stream = passing()
        seen += [await anext(stream), await awaited(stream.athrow(error)), await awaited(anext(stream))]
        # After the last item; and before the first, when the frame in the traceback is holter's.
        how, what = await awaited(passing().athrow(error))
        seen += [await awaited(stream.athrow(error)), how, what[:2] if how == "raised" else what]
    return seen


@story
async def the_very_error_comes_out(watch: Watch) -> list[Any]:
    @watch
    async def passing(error: BaseException | None) -> Any:
        yield 1
        if error is not None:
            raise error from KeyError("cause")

    seen = []
    for error in (
        ValueError("v"),
        KeyboardInterrupt(),
        asyncio.CancelledError(),
        BaseExceptionGroup("g", [SystemExit()]),
    ):
        for inside, thrown in ((None, error), (error, None)):
            stream = passing(inside)
            await anext(stream)
            try:
                await (anext(stream) if thrown is None else stream.athrow(thrown))
            except BaseException as caught:
                seen.append((caught is error, described(caught)))
            error.__traceback__ = error.__cause__ = error.__context__ = None
    return seen


@story
async def stop_iterations_raised_inside(watch: Watch) -> list[Any]:
    @watch
    async def raising(error: BaseException) -> Any:
        yield 1
        raise error

    seen = []
    for error in (StopAsyncIteration(1), StopIteration(2), GeneratorExit(), asyncio.CancelledError()):
        stream = raising(error)
        seen += [await anext(stream), await awaited(anext(stream)), await awaited(anext(stream))]
    return seen


@story
async def wrong_arguments(watch: Watch) -> list[Any]:
    @watch
    async def stream(one: int, *, two: int = 2) -> Any:
        yield one, two

    return [outcome(call)[1][:2] for call in (lambda: stream(), lambda: stream(1, 2), lambda: stream(1, three=3))]


@story
async def asked_while_it_runs(watch: Watch) -> list[Any]:
    @watch
    async def slow() -> Any:
        for n in range(3):
            await asyncio.sleep(0)
            yield n

    stream = slow()
    requests = (anext(stream), anext(stream), stream.aclose(), stream.athrow(ValueError()), stream.asend(None))
    together = await asyncio.gather(*map(awaited, requests))
    return [*together, await awaited(anext(stream)), await awaited(stream.aclose())]


# -- how a stream ends early


@story
async def closed(watch: Watch) -> list[Any]:
    log: list[Any] = []

    @watch
    async def logging() -> Any:
        try:
            yield 1
            yield 2
        except GeneratorExit as error:
            log.append(("closed", error.args))
            raise
        finally:
            await asyncio.sleep(0)
            log.append("left")

    unstarted, started, finished = logging(), logging(), logging()
    await anext(started)
    seen = [[item async for item in finished]]
    seen += [await awaited(stream.aclose()) for stream in (unstarted, started, started, finished)]
    return [*seen, *log, await awaited(anext(unstarted)), await awaited(anext(started))]


@story
async def closed_from_another_task(watch: Watch) -> list[Any]:
    log: list[Any] = []

    @watch
    async def logging() -> Any:
        try:
            while True:
                log.append(VARIABLE.get())
                yield 1
        finally:
            log.append(VARIABLE.get())
            await asyncio.sleep(0)
            log.append(asyncio.current_task() is closer)

    VARIABLE.set("consumer")
    stream = logging()
    await anext(stream)
    context = contextvars.copy_context()
    context.run(VARIABLE.set, "closer")
    closer = asyncio.get_running_loop().create_task(stream.aclose(), context=context)
    return [await closer, *log, await awaited(anext(stream))]


@story
async def closed_and_it_goes_on(watch: Watch) -> list[Any]:
    ignored: list[type[BaseException]] = [GeneratorExit]

    @watch
    async def stubborn() -> Any:
        for n in range(9):
            with contextlib.suppress(*ignored):
                yield n

    stream = stubborn()
    seen = [await anext(stream), await awaited(stream.aclose()), await awaited(anext(stream))]
    seen += [await awaited(stream.aclose()), await awaited(anext(stream))]
    ignored.clear()
    return seen


@story
async def closed_and_it_raises_or_returns(watch: Watch) -> list[Any]:
    @watch
    async def ending(error: BaseException | None) -> Any:
        try:
            yield 1
        except GeneratorExit:
            if error is not None:
                raise error from None
        return

    seen = []
    for error in (None, ValueError("v"), asyncio.CancelledError(), StopAsyncIteration()):
        stream = ending(error)
        seen += [await anext(stream), await awaited(stream.aclose()), await awaited(stream.aclose())]
    return seen


@story
async def left_by_break(watch: Watch) -> list[Any]:
    log: list[Any] = []

    @watch
    async def endless() -> Any:
        try:
            while True:
                yield len(log)
        finally:
            log.append("leaving")
            await asyncio.sleep(0)
            log.append("left")

    async for item in endless():
        log.append(item)
        if item > 1:
            break
    for _ in range(5):
        await asyncio.sleep(0)
    return log


@story
async def left_by_an_error_of_the_consumer(watch: Watch) -> list[Any]:
    log: list[Any] = []

    @watch
    async def endless() -> Any:
        try:
            while True:
                yield 1
        except BaseException as error:
            log.append(type(error))
            raise

    async def consume() -> None:
        async with contextlib.aclosing(endless()) as stream:
            async for item in stream:
                raise ValueError(item)

    return [await awaited(consume()), *log]


@story
async def unfinished_when_the_loop_ends(watch: Watch) -> list[Any]:
    log: list[Any] = []

    @watch
    async def endless(name: str) -> Any:
        try:
            while True:
                yield name
        finally:
            log.append("leaving")
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            log.append("left")

    streams = [endless("a"), endless("b"), endless("never started")]
    for stream in streams[:2]:
        await anext(stream)
    # Kept alive to the end of the loop, which has to close it.
    KEPT.append(streams)
    await asyncio.get_running_loop().shutdown_asyncgens()
    return [*log, len(KEPT.pop())]


KEPT: list[Any] = []


@story
async def dropped_and_it_raises(watch: Watch) -> list[Any]:
    @watch
    async def failing() -> Any:
        try:
            yield 1
        finally:
            await asyncio.sleep(0)
            raise ValueError("while dropped")

    stream = failing()
    await anext(stream)
    del stream
    for _ in range(5):
        await asyncio.sleep(0)
    return []


@story
async def known_to_the_loop_once(watch: Watch) -> list[Any]:
    @watch
    async def stream() -> Any:
        yield 1

    seen: list[Any] = []
    before = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(lambda one: seen.append(("first", one.__qualname__)), lambda one: seen.append("last"))
    try:
        one = stream()
        seen += [await anext(one), sys.get_asyncgen_hooks() == before]
        del one
        gc.collect()
    finally:
        sys.set_asyncgen_hooks(*before)
    return seen


# -- cancellation and timeouts


@story
async def cancelled_within_an_item(watch: Watch) -> list[Any]:
    log: list[Any] = []

    @watch
    async def slow(swallow: bool) -> Any:
        yield 1
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError as error:
            log.append(error.args)
            if not swallow:
                raise
        finally:
            log.append("left")
        yield 2

    async def consume(swallow: bool) -> list[Any]:
        return [item async for item in slow(swallow)]

    for swallow in (False, True):
        task = asyncio.create_task(consume(swallow))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel("enough")
        log += [await awaited(task), task.cancelled(), task.cancelling()]
    return log


@story
async def cancelled_between_items(watch: Watch) -> list[Any]:
    log: list[Any] = []

    @watch
    async def stream() -> Any:
        try:
            while True:
                yield 1
        except BaseException as error:
            log.append(type(error))
            raise

    async def consume() -> None:
        async for _ in stream():
            await asyncio.Event().wait()

    task = asyncio.create_task(consume())
    await asyncio.sleep(0)
    task.cancel()
    log.append(await awaited(task))
    del task
    for _ in range(5):
        await asyncio.sleep(0)
    return log


@story
async def timeouts_around_and_inside(watch: Watch) -> list[Any]:
    log: list[Any] = []

    @watch
    async def slow(limit: float | None) -> Any:
        try:
            async with asyncio.timeout(limit):
                yield 1
                await asyncio.Event().wait()
        except BaseException as error:
            log.append(type(error))
            raise

    async def around() -> None:
        async with asyncio.timeout(0.01) as timeout:
            async for item in slow(None):
                log.append(item)
        log.append(timeout.expired())

    async def inside() -> None:
        async for item in slow(0.01):
            log.append(item)

    async def waiting() -> None:
        stream = slow(None)
        log.append(await asyncio.wait_for(anext(stream), 1))
        await asyncio.wait_for(anext(stream), 0.01)

    return [*[(await awaited(one()))[1][:2] for one in (around, inside, waiting)], *log]


@story
async def the_consumer_is_closed_within_an_item(watch: Watch) -> list[Any]:
    log: list[Any] = []

    @watch
    async def slow() -> Any:
        try:
            yield 1
            await asyncio.Event().wait()
        finally:
            log.append("left")

    async def consume() -> None:
        async for item in stream:
            log.append(item)

    stream = slow()
    consumer = consume()
    consumer.send(None)
    log.append(outcome(consumer.close))
    log += [await awaited(anext(stream)), await awaited(stream.aclose())]
    return log


# -- where it runs


@story
async def in_the_task_and_context_of_the_consumer(watch: Watch) -> list[Any]:
    @watch
    async def where() -> Any:
        VARIABLE.set("inside")
        while True:
            await asyncio.sleep(0)
            yield asyncio.current_task(), threading.get_ident(), VARIABLE.get()

    async def ask(value: str) -> list[Any]:
        VARIABLE.set(value)
        task, ident, seen = await anext(stream)
        return [task is asyncio.current_task(), ident == threading.get_ident(), seen, VARIABLE.get()]

    stream = where()
    first = await ask("one")
    others = [await asyncio.create_task(ask(value)) for value in ("two", "three")]
    return [first, *others, VARIABLE.get()]


@story
async def tasks_made_inside(watch: Watch) -> list[Any]:
    @watch
    async def stream() -> Any:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(asyncio.sleep(0, n)) for n in range(3)]
        for task in tasks:
            yield task.result()

    @watch
    async def failing() -> Any:
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(0))
            yield 1
            raise ValueError("in the group")

    seen = [item async for item in stream()]
    one = failing()
    return [*seen, await anext(one), (await awaited(anext(one)))[1][:2]]


# -- what is kept alive


@story
async def items_and_arguments_are_let_go(watch: Watch) -> list[Any]:
    @watch
    async def things(given: Any) -> Any:
        del given
        while True:
            got = yield Thing()
            del got

    gc.disable()
    try:
        given, sent = Thing(), Thing()
        references = [weakref.ref(given), weakref.ref(sent)]
        stream = things(given)
        del given
        references.append(weakref.ref(await anext(stream)))
        seen = [reference() is None for reference in references]
        references.append(weakref.ref(await stream.asend(sent)))
        del sent
        return [*seen, *[reference() is None for reference in references]]
    finally:
        gc.enable()


@story
async def errors_are_let_go(watch: Watch) -> list[Any]:
    @watch
    async def passing(*, raising: bool) -> Any:
        yield 1
        if raising:
            raise ThingError

    async def run(*, raising: bool) -> weakref.ref[BaseException]:
        stream = passing(raising=raising)
        await anext(stream)
        try:
            await (anext(stream) if raising else stream.athrow(ThingError()))
        except ThingError as error:
            return weakref.ref(error)
        raise AssertionError

    gc.disable()
    try:
        return [(await run(raising=raising))() is None for raising in (True, False)]
    finally:
        gc.enable()


# -- what can be seen of it


@story
async def looked_at(watch: Watch) -> list[Any]:
    async def plain(one: int, *, two: str = "2") -> AsyncIterator[int]:
        """Yield *one*."""
        yield one

    stream_function = watch(plain)
    stream = stream_function(1)
    return [
        inspect.isasyncgenfunction(stream_function),
        inspect.iscoroutinefunction(stream_function),
        inspect.isgeneratorfunction(stream_function),
        inspect.signature(stream_function),
        stream_function.__qualname__,
        stream_function.__doc__,
        inspect.isasyncgen(stream),
        stream.__name__,
        stream.__qualname__,
        stream.ag_running,
        stream.ag_await,
        await anext(stream),
        stream.ag_running,
        stream.ag_await,
        await awaited(anext(stream)),
        aiter(stream) is stream,
    ]


@story
async def as_a_context_manager(watch: Watch) -> list[Any]:
    log: list[Any] = []

    @contextlib.asynccontextmanager
    @watch
    async def block(*swallowed: type[BaseException]) -> Any:
        log.append("entered")
        try:
            yield "value"
        except swallowed as error:
            log.append(type(error))
        finally:
            await asyncio.sleep(0)
            log.append("left")

    async def run(error: BaseException | None, *swallowed: type[BaseException]) -> Any:
        async with block(*swallowed) as value:
            log.append(value)
            if error is not None:
                raise error
        return "after"

    seen = [await awaited(run(None))]
    for error in (ValueError("v"), StopAsyncIteration(1), StopIteration(2), asyncio.CancelledError(), GeneratorExit()):
        seen.append(await awaited(run(error)))
        error.__traceback__ = error.__context__ = error.__cause__ = None
        seen.append(await awaited(run(error, type(error))))
    return [*seen, *log]


@story
async def without_a_loop(watch: Watch) -> list[Any]:
    log: list[Any] = []

    @watch
    async def stream(*, waits: bool) -> Any:
        try:
            yield 1
            yield 2
        finally:
            log.append("leaving")
            if waits:
                await asyncio.sleep(0)
            log.append("left")

    async def first(one: Any) -> Any:
        return await anext(one)

    def drop() -> list[Any]:
        with unraisable() as seen:
            for waits in (False, True):
                one = stream(waits=waits)
                log.append(by_hand(first(one)))
                del one
        return [(what[:2] if what else None) for _, what in seen]

    # In a thread of its own there is no loop that would close what is dropped.
    return [*await asyncio.to_thread(drop), *log]
