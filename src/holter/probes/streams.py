"""The probes of generators and async generators, which change nothing about them."""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Iterator
from inspect import CO_ASYNC_GENERATOR, CO_GENERATOR
from types import FunctionType
from typing import Any

from holter import context, names
from holter._ring import HOME, START, Call
from holter.passing import as_it_came, first_step
from holter.probe import CallProbe, ExchangeWitness, StreamEnd
from holter.record import UNITS_MAXIMUM, Outcome
from holter.ring import NATIVE


class StreamProbe:
    """The series of one watched stream, beside those of the call that it is."""

    def __init__(self, call: CallProbe) -> None:
        named = {**call.attributes, names.CALL_NAME: call.name}
        self.call = call
        self.items = call.scope.stream_items(call.name, call.attributes)
        self.producer_time = call.scope.timer(names.STREAM_PRODUCER_TIME, named)
        self.consumer_wait = call.scope.timer(names.STREAM_CONSUMER_WAIT, named)
        self.steps: Any = None if NATIVE is None else self._steps_in_c()

    def __reduce__(self) -> tuple[Any, ...]:
        return StreamProbe, (self.call,)

    def _steps_in_c(self) -> Any:
        return NATIVE.StreamProbe(
            root=self.call.root,
            first=self.items.first,
            between=self.items.between,
            producer_time=self.producer_time,
            consumer_wait=self.consumer_wait,
            lookup=self.call.scope.recorder.lookup,
            clock=self.call.scope.own_clock,
            context=context.CONTEXT,
            units_of=None if self.call.units is None else self.call.units_of,
            fail=self.call.fail,
            limit=self.call.limit,
            slow=self.call.slow,
        )


class _Stopwatch:
    """
    Times one stream: its producer while an item is asked for, its consumer between items.

    The call begins when the first item is asked for, and each item is recorded in the thread
    that asks for it.
    """

    __slots__ = (
        "_asked_ns",
        "_call",
        "_first_ns",
        "_items",
        "_last",
        "_paused_ns",
        "_probe",
        "_produced_ns",
        "_resumed_ns",
        "_series",
        "_tell",
        "_units",
        "_waited_ns",
        "_witness",
    )

    def __init__(self, probe: StreamProbe) -> None:
        self._probe = probe
        self._witness = probe.call.witness
        self._call: Call | None = None
        self._series = probe.items.first
        self._tell: Callable[[Call, int], None]
        self._paused_ns = self._resumed_ns = self._produced_ns = self._waited_ns = self._units = 0
        self._first_ns = self._items = self._asked_ns = 0
        self._last: Any = None

    def resume(self) -> Call:
        """Note that an item is asked for; return the stream's call."""
        call = self._call
        if call is None:
            call = self._call = self._probe.call.begin()
            self._tell = call[HOME].asked
            self._resumed_ns = call[START]
        else:
            self._resumed_ns = self._probe.call.scope.now()
            self._waited_ns += self._resumed_ns - self._paused_ns
        self._tell(call, self._resumed_ns)
        return call

    def pause(self, item: object) -> None:
        """Note that *item* is there."""
        scope, call = self._probe.call.scope, self._call
        self._paused_ns = now_ns = scope.now()
        if call is not None:
            self._tell(call, -1)
        produced_ns, self._asked_ns = now_ns - self._resumed_ns + self._asked_ns, 0
        self._produced_ns += produced_ns
        if self._probe.call.units is not None:
            self._units = min(self._units + self._probe.call.units_of(item), UNITS_MAXIMUM)
        scope.ring().write(self._series, now_ns, produced_ns, 0, Outcome.OK)
        self._series = self._probe.items.between
        witness = self._witness
        if witness is not None:
            self._first_ns = self._first_ns if self._items else produced_ns
            self._items += 1
            self._last = item if witness.wants_last else None

    def end(self, call: Call, error: BaseException | None = None) -> None:
        """Note that the stream is over, by *error* if one leaves it."""
        if not call[START]:
            return
        scope = self._probe.call.scope
        now_ns = scope.now()
        ring = scope.ring()
        self._tell(call, 0)
        produced_ns = self._produced_ns + now_ns - self._resumed_ns + self._asked_ns
        ring.write(self._probe.producer_time, now_ns, produced_ns, 0, Outcome.OK)
        ring.write(self._probe.consumer_wait, now_ns, self._waited_ns, 0, Outcome.OK)
        if error is None:
            self._probe.call.end(call, now_ns, self._units)
        else:
            self._probe.call.fail(call, error, self._units)
        last, self._last = self._last, None
        if self._witness is not None:
            self._witness.streamed(StreamEnd(self._first_ns, produced_ns, self._items, last, error))


class Exchange(_Stopwatch):
    """
    A question to somebody else, from asking to the end of the answer, which comes at once or as a stream: one call.

    What is asked for is at work from the start, whether or not anybody takes the answer, so that the
    first item of a stream has taken the time of asking too. *witness* is told how it ends.
    """

    __slots__ = ("_told",)

    def __init__(self, probe: StreamProbe, witness: ExchangeWitness) -> None:
        super().__init__(probe)
        self._witness = self._told = witness
        self._call = call = probe.call.begin()
        self._resumed_ns = call[START]
        # Whether it becomes a stream is not known yet: until then it is a call as any other.
        self._tell = call[HOME].asked

    def ask(self, call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return what *call* returns; an error of it ends this."""
        try:
            return call(*args, **kwargs)
        except BaseException as error:
            self._failed(error)
            raise

    async def wait(self, running: Awaitable[Any]) -> Any:
        """Return what *running* returns, likewise."""
        try:
            return await running
        except BaseException as error:
            self._failed(error)
            raise

    def _failed(self, error: BaseException) -> None:
        call: Any = self._call
        begun_ns = call[START]
        self._probe.call.fail(call, error)
        self._told.failed(begun_ns, error)

    def answered(self, result: object) -> None:
        """Note that *result* is the whole answer."""
        call: Any = self._call
        begun_ns, end_ns = call[START], self._probe.call.scope.now()
        self._probe.call.end(call, end_ns, self._probe.call.units_of(result))
        self._told.answered(begun_ns, result)

    def _begin_to_wait(self) -> None:
        self._paused_ns = self._probe.call.scope.now()
        self._asked_ns = self._paused_ns - self._resumed_ns
        call: Any = self._call
        self._tell(call, -1)

    def stream(self, source: Iterator[Any]) -> Iterator[Any]:
        """Return *source*, whose items are the answer; what is dropped before its first item ends the call as well."""
        stream = self._stream(source)
        next(stream)
        self._begin_to_wait()
        return stream

    def _stream(self, source: Iterator[Any]) -> Iterator[Any]:
        # One item nobody sees, because a generator that has not begun is not told when it is dropped.
        item: list[Any] = [None]
        while True:
            try:
                yield item.pop()
            except BaseException as error:
                call = self.resume()
                close: Callable[[], object] = getattr(source, "close", bool)
                try:
                    close()
                finally:
                    self.end(call, error)
                raise
            call = self.resume()
            try:
                item = [next(source)]
                self.pause(item[0])
            except StopIteration:
                self.end(call)
                return
            except BaseException as error:
                self.end(call, error)
                raise

    async def stream_later(self, source: AsyncIterator[Any]) -> AsyncIterator[Any]:
        """Return *source* likewise."""
        stream = self._stream_later(source)
        await anext(stream)
        self._begin_to_wait()
        return stream

    async def _stream_later(self, source: AsyncIterator[Any]) -> AsyncIterator[Any]:
        item: list[Any] = [None]
        while True:
            try:
                yield item.pop()
            except BaseException as error:
                call = self.resume()
                try:
                    close = getattr(source, "aclose", None)
                    if close is not None:
                        await close()
                finally:
                    self.end(call, error)
                raise
            call = self.resume()
            try:
                item = [await anext(source)]
                self.pause(item[0])
            except StopAsyncIteration:
                self.end(call)
                return
            except BaseException as error:
                self.end(call, error)
                raise


def watch_generator(function: Callable[..., Generator[Any, Any, Any]], probe: CallProbe) -> Callable[..., Any]:
    """Return the generator function *function* with each item and the whole stream recorded."""
    stream = StreamProbe(probe)
    # In C nobody is told of the end.
    watched = _in_python(stream) if NATIVE is None or probe.witness is not None else _in_c(stream)
    return _binding(function, functools.wraps(function, updated=())(watched), CO_GENERATOR)


def _in_c(stream: StreamProbe) -> Callable[..., Generator[Any, Any, Any]]:
    def watched_stream(source: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
        step = stream.steps(source)
        try:
            return (yield from step)
        except GeneratorExit as error:
            if step.is_over:
                raise
            # Only this does `yield from` not pass on, and a generator may do with it what it likes.
            resume = step.throw
            argument: Any = as_it_came(error)
        while True:
            try:
                item = [resume(argument)]
            except StopIteration as stop:
                return stop.value
            argument = None
            try:
                resume, argument = step.send, (yield item.pop())
            except BaseException as error:  # noqa: BLE001 - passed on to the source
                resume, argument = step.throw, as_it_came(error)

    return watched_stream


def _in_python(stream: StreamProbe) -> Callable[..., Generator[Any, Any, Any]]:
    def watched_stream(source: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
        clock = _Stopwatch(stream)
        step: Callable[[Any], Any] = source.send
        argument: Any = None
        while True:
            call, current, around = clock.resume(), stream.call.scope.ring().current, context.CONTEXT.get()
            outer, current[0] = current[0], call
            if around is not None:
                # A stream may have begun before the coroutine that it is now in: it is the inner one all the same.
                context.CONTEXT.set(None)
            try:
                # In a list, to be given away below: a name would keep the item alive while this is suspended.
                item = [step(argument)]
                clock.pause(item[0])
            except StopIteration as stop:
                clock.end(call)
                return stop.value
            except BaseException as error:
                clock.end(call, error)
                raise
            finally:
                argument, current[0] = None, outer
                if around is not None:
                    context.CONTEXT.set(around)
            try:
                step, argument = source.send, (yield item.pop())
            except BaseException as error:  # noqa: BLE001 - passed on to the source
                step, argument = source.throw, as_it_came(error)

    return watched_stream


def watch_async_generator(function: Callable[..., AsyncGenerator[Any, Any]], probe: CallProbe) -> Callable[..., Any]:
    """Return the async generator function *function* with each item and the whole stream recorded."""
    probe.scope.notes.awaiting.add(probe.root)
    stream = StreamProbe(probe)

    @functools.wraps(function, updated=())
    async def watched_stream(source: AsyncGenerator[Any, Any]) -> AsyncGenerator[Any, Any]:
        clock = _Stopwatch(stream)
        step: Any = first_step(source)
        while True:
            call, outer = clock.resume(), context.CONTEXT.get()
            context.CONTEXT.set(call)
            try:
                item = [await step]
                clock.pause(item[0])
            except StopAsyncIteration:
                clock.end(call)
                return
            except BaseException as error:
                clock.end(call, error)
                raise
            finally:
                # It holds what was sent or thrown.
                step = None
                context.leave(call, outer)
            try:
                step = source.asend((yield item.pop()))
            except BaseException as error:  # noqa: BLE001 - passed on to the source
                step = source.athrow(as_it_came(error))

    return _binding(function, watched_stream, CO_ASYNC_GENERATOR)


def _binding(function: Callable[..., Any], stream: Callable[[Any], Any], kind: int) -> Callable[..., Any]:
    """
    Return *function* with what it returns put through *stream*; for ``inspect`` a function of this *kind*.

    A function whose code yields would take any arguments, refuse wrong ones only when the first
    item is asked for, and keep them alive until the last. This one does neither, and has its
    kind from the flag alone.
    """

    def watched(*args: Any, **kwargs: Any) -> Any:
        return stream(function(*args, **kwargs))

    code = watched.__code__
    flagged = FunctionType(code.replace(co_flags=code.co_flags | kind), globals(), closure=watched.__closure__)
    return functools.wraps(function, updated=())(flagged)
