"""What users do with generators: each story is told twice, bare and watched, and must read the same."""

# What the stories do is what users do, in their words: they raise and catch anything, and take what they do not use.
# ruff: noqa: B904, BLE001, PERF401, PLW0108, TRY301

from __future__ import annotations

import contextlib
import contextvars
import copy
import gc
import inspect
import pickle
import sys
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import holter

Watch = Callable[[Any], Any]
Story = Callable[[Watch], list[Any]]
STORIES: list[Story] = []

_HOLTER = str(Path(holter.__file__).parent)
VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


def story(function: Story) -> Story:
    """Have *function* told twice."""
    STORIES.append(function)
    return function


class Thing:
    """Something that can be watched dying."""


class ThingError(Exception):
    """An error that can be watched dying."""


def frames(error: BaseException) -> list[tuple[str, int]]:
    """Return function and line of each frame in the traceback that is not holter's."""
    found, following = [], error.__traceback__
    while following is not None:
        code = following.tb_frame.f_code
        if not code.co_filename.startswith(_HOLTER):
            found.append((code.co_name, following.tb_lineno))
        following = following.tb_next
    return found


def described(error: BaseException | None) -> Any:
    """Return what can be seen of *error*, its causes too, so that it can be compared."""
    if error is None:
        return None
    return (
        type(error),
        repr(error.args),
        frames(error),
        described(error.__cause__),
        described(error.__context__),
        error.__suppress_context__,
    )


def outcome(function: Callable[..., Any], *arguments: Any) -> Any:
    """Return what *function* returns, or what can be seen of the error that leaves it."""
    try:
        return "returned", function(*arguments)
    except BaseException as error:
        return "raised", described(error)


@contextlib.contextmanager
def unraisable() -> Iterator[list[Any]]:
    """Collect what Python could not raise, in place of printing it."""
    seen: list[Any] = []
    before, sys.unraisablehook = sys.unraisablehook, lambda what: seen.append((what.err_msg, described(what.exc_value)))
    try:
        yield seen
        gc.collect()
    finally:
        sys.unraisablehook = before


# -- items, values sent, values returned


@story
def items_and_the_value_returned(watch: Watch) -> list[Any]:
    @watch
    def count(n: int, *, start: int = 0) -> Any:
        yield from range(start, n)
        return "done"

    stream = count(3, start=1)
    return [list(count(2)), *(outcome(next, stream) for _ in range(4)), next(count(0), "default")]


@story
def values_sent(watch: Watch) -> list[Any]:
    @watch
    def echo() -> Any:
        got = "nothing"
        while got != "stop":
            got = yield ("got", got)
        return "stopped"

    stream = echo()
    early = outcome(echo().send, 1)
    return [early, *(outcome(stream.send, value) for value in (None, 1, None, "stop", "late", None))]


@story
def yield_from_a_watched_generator(watch: Watch) -> list[Any]:
    @watch
    def inner() -> Any:
        got = []
        while True:
            try:
                got.append((yield len(got)))
            except ValueError as error:
                got.append(repr(error))
            if got[-1] is None:
                continue
            if got[-1] == "end":
                return got

    def outer() -> Any:
        returned = yield from inner()
        yield ("inner returned", returned)

    stream = outer()
    steps: list[Any] = [next(stream), stream.send("a"), stream.throw(ValueError("b")), next(stream)]
    return [*steps, stream.send("end"), outcome(next, stream), list(zip("ab", outer(), strict=False))]


@story
def yield_from_inside_a_watched_generator(watch: Watch) -> list[Any]:
    log = []

    def inner() -> Any:
        try:
            got = yield 1
            log.append(got)
            yield 2
        except GeneratorExit:
            log.append("inner left")
            raise
        return "value"

    @watch
    def outer() -> Any:
        try:
            returned = yield from inner()
            yield returned
        finally:
            log.append("outer left")

    stream = outer()
    steps = [next(stream), stream.send("sent"), outcome(stream.close), *log]
    whole = list(outer())
    bad = outer()
    next(bad)
    return [*steps, whole, outcome(bad.throw, KeyError("k")), *log]


@story
def watched_within_watched(watch: Watch) -> list[Any]:
    @watch
    def tree(depth: int) -> Any:
        if depth:
            yield from tree(depth - 1)
            yield depth
            for item in tree(depth - 1):
                yield -item

    return list(tree(4))


# -- errors


@story
def errors_thrown_in(watch: Watch) -> list[Any]:
    @watch
    def catching() -> Any:
        n = 0
        while True:
            n += 1
            try:
                yield n
            except (ValueError, StopIteration, GeneratorExit, KeyboardInterrupt) as error:
                caught = error
                yield (type(caught), caught.args, frames(caught))

    @watch
    def passing() -> Any:
        yield 1
        yield 2

    seen: list[Any] = []
    errors = (ValueError("v"), ValueError, StopIteration(7), StopIteration, KeyboardInterrupt(), GeneratorExit())
    for error in (*errors, SystemExit(3), TypeError, StopAsyncIteration(), ExceptionGroup("g", [OSError()])):
        # Dropped at the end, it catches that too.
        with unraisable():
            stream = catching()
            next(stream)
            seen += [outcome(stream.throw, error), outcome(next, stream), outcome(next, stream)]
            del stream
        stream = passing()
        seen += [next(stream), outcome(stream.throw, error), outcome(next, stream), outcome(stream.throw, error)]
        # Before the first item the frame in the traceback is holter's.
        seen += [outcome(passing().throw, error)[1][:2]]
    return [*seen, outcome(passing().throw, 1)[1][:2], outcome(passing().throw)]


@story
def the_very_error_thrown_in_comes_out(watch: Watch) -> list[Any]:
    @watch
    def passing() -> Any:
        try:
            yield 1
        finally:
            yield_point.append("left")

    yield_point: list[str] = []
    seen = []
    for error in (ValueError("v"), KeyboardInterrupt(), GeneratorExit(), ExceptionGroup("g", [OSError()])):
        stream = passing()
        next(stream)
        cause = error.__cause__ = KeyError("cause")
        try:
            stream.throw(error)
        except BaseException as caught:
            seen.append((caught is error, caught.__cause__ is cause, frames(caught)))
    return [*seen, *yield_point]


@story
def an_error_of_three_parts_thrown_in(watch: Watch) -> list[Any]:
    @watch
    def passing() -> Any:
        yield 1

    stream = passing()
    next(stream)
    try:
        raise ValueError("made elsewhere")
    except ValueError as error:
        traceback = error.__traceback__
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return [outcome(stream.throw, KeyError, KeyError("given"), traceback)]


@story
def errors_raised_inside(watch: Watch) -> list[Any]:
    @watch
    def raising(error: BaseException, cause: BaseException | None) -> Any:
        yield 1
        try:
            raise LookupError("first")
        except LookupError:
            if cause is None:
                raise error
            raise error from cause

    seen: list[Any] = []
    for error in (
        ValueError("v"),
        StopIteration(1),
        GeneratorExit(),
        SystemExit(2),
        BaseExceptionGroup("g", [SystemExit()]),
    ):
        for cause in (None, KeyError("cause")):
            stream = raising(error, cause)
            error.__cause__ = error.__context__ = error.__traceback__ = None
            seen += [next(stream), outcome(next, stream), outcome(next, stream)]
    return seen


@story
def the_handled_error_is_the_context(watch: Watch) -> list[Any]:
    @watch
    def raising() -> Any:
        yield sys.exc_info()[0]
        yield sys.exc_info()[0]
        raise KeyError("inside")

    stream = raising()
    seen: list[Any] = [next(stream)]
    try:
        raise ValueError("outside")
    except ValueError:
        seen += [next(stream), outcome(next, stream)]
    return seen


@story
def wrong_arguments(watch: Watch) -> list[Any]:
    @watch
    def stream(one: int, *, two: int = 2) -> Any:
        yield one, two

    calls = [lambda: stream(), lambda: stream(1, 2), lambda: stream(1, three=3), lambda: stream(1, one=1)]
    return [outcome(call)[1][:2] for call in calls]


@story
def called_while_it_runs(watch: Watch) -> list[Any]:
    @watch
    def selfish() -> Any:
        yield outcome(next, stream)[1][:2]
        yield outcome(stream.close)[1][:2]
        yield outcome(stream.throw, ValueError())[1][:2]

    stream = selfish()
    return list(stream)


# -- how a stream ends early


@story
def closed(watch: Watch) -> list[Any]:
    log: list[Any] = []

    @watch
    def logging() -> Any:
        try:
            yield 1
            yield 2
        except GeneratorExit as error:
            log.append(("closed", error.args, frames(error)))
            raise
        finally:
            log.append("left")

    unstarted, started, finished = logging(), logging(), logging()
    next(started)
    list(finished)
    seen = [outcome(stream.close) for stream in (unstarted, started, started, finished)]
    return [*seen, *log, outcome(next, unstarted), outcome(next, started)]


@story
def closed_and_it_returns_a_value(watch: Watch) -> list[Any]:
    @watch
    def returning() -> Any:
        try:
            yield 1
        except GeneratorExit:
            return "value"  # which `close` returns from Python 3.13 on
        return None

    stream = returning()
    next(stream)
    return [outcome(stream.close), outcome(stream.close), outcome(next, stream)]


@story
def closed_and_it_goes_on(watch: Watch) -> list[Any]:
    @watch
    def stubborn() -> Any:
        for n in range(6):
            with contextlib.suppress(GeneratorExit):
                yield n

    stream = stubborn()
    steps = [next(stream), outcome(stream.close), outcome(next, stream), outcome(stream.close), outcome(stream.close)]
    return [*steps, outcome(stream.close), outcome(next, stream), outcome(stream.close)]


@story
def closed_and_it_raises(watch: Watch) -> list[Any]:
    @watch
    def failing() -> Any:
        try:
            yield 1
        finally:
            raise ValueError("while closing")

    stream = failing()
    next(stream)
    return [outcome(stream.close), outcome(stream.close)]


@story
def left_by_break(watch: Watch) -> list[Any]:
    log: list[Any] = []

    @watch
    def endless() -> Any:
        try:
            while True:
                yield len(log)
        finally:
            log.append("left")

    for item in endless():
        log.append(item)
        if item > 1:
            break
    return log


@story
def left_by_an_error_of_the_consumer(watch: Watch) -> list[Any]:
    log: list[Any] = []

    @watch
    def endless() -> Any:
        try:
            while True:
                yield 1
        except BaseException as error:
            log.append(type(error))
            raise

    def consume() -> None:
        for item in endless():
            raise ValueError(item)

    return [outcome(consume), *log]


@story
def dropped_unfinished(watch: Watch) -> list[Any]:
    log: list[Any] = []

    @watch
    def endless() -> Any:
        try:
            while True:
                yield 1
        finally:
            log.append("left")

    with unraisable() as seen:
        stream = endless()
        next(stream)
        del stream
        log.append("dropped")
        cycle = [endless()]
        next(cycle[0])
        cycle.append(cycle)
        del cycle
        endless()
    return [*log, *seen]


@story
def dropped_and_it_raises(watch: Watch) -> list[Any]:
    @watch
    def failing() -> Any:
        try:
            yield 1
        finally:
            raise ValueError("while dropped")

    @watch
    def stubborn() -> Any:
        with contextlib.suppress(GeneratorExit):
            yield 1
        yield 2

    with unraisable() as seen:
        for make in (failing, stubborn):
            stream = make()
            next(stream)
            del stream
    return [(what[:2] if what else None) for _, what in seen]


# -- what is kept alive


@story
def items_are_not_kept_alive(watch: Watch) -> list[Any]:
    @watch
    def things() -> Any:
        while True:
            yield Thing()

    stream = things()
    gc.disable()
    try:
        item = weakref.ref(next(stream))
        second = next(stream)
        seen = [item() is None]
        sent = Thing()
        reference = weakref.ref(sent)
        third = stream.send(sent)
        del sent
        return [*seen, reference() is None, second is not third]
    finally:
        gc.enable()


@story
def arguments_are_let_go(watch: Watch) -> list[Any]:
    @watch
    def taking(one: Any, *, two: Any) -> Any:
        yield 1
        del one
        yield 2
        del two
        yield 3

    gc.disable()
    try:
        one, two = Thing(), Thing()
        references = weakref.ref(one), weakref.ref(two)
        stream = taking(one, two=two)
        del one, two
        seen = [(item, *(reference() is None for reference in references)) for item in stream]
        kept = Thing()
        reference = weakref.ref(kept)
        stream = taking(kept, two=kept)
        list(stream)
        del kept
        return [*seen, reference() is None]
    finally:
        gc.enable()


@story
def errors_are_let_go(watch: Watch) -> list[Any]:
    @watch
    def passing() -> Any:
        yield 1

    @watch
    def raising() -> Any:
        yield 1
        raise ThingError

    def throw() -> weakref.ref[BaseException]:
        stream, error = passing(), ThingError()
        next(stream)
        with contextlib.suppress(ThingError):
            stream.throw(error)
        return weakref.ref(error)

    def run() -> weakref.ref[BaseException]:
        stream = raising()
        next(stream)
        try:
            next(stream)
        except ThingError as error:
            return weakref.ref(error)
        raise AssertionError

    gc.disable()
    try:
        return [throw()() is None, run()() is None]
    finally:
        gc.enable()


# -- where it runs


@story
def each_item_in_the_thread_that_asks(watch: Watch) -> list[Any]:
    @watch
    def where() -> Any:
        try:
            while True:
                yield threading.get_ident()
        finally:
            idents.append(threading.get_ident())

    idents: list[int] = []
    stream = where()
    seen = [next(stream) == threading.get_ident()]
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:
        for pool in (one, other, one):
            seen.append(pool.submit(next, stream).result() == pool.submit(threading.get_ident).result())
        other.submit(stream.close).result()
        seen.append(idents == [other.submit(threading.get_ident).result()])
    return seen


@story
def context_variables(watch: Watch) -> list[Any]:
    @watch
    def setting() -> Any:
        VARIABLE.set("inside")
        yield VARIABLE.get()
        yield VARIABLE.get()
        token = VARIABLE.set("again")
        yield VARIABLE.get()
        VARIABLE.reset(token)
        yield VARIABLE.get()

    def consume() -> list[Any]:
        stream = setting()
        seen = [next(stream), VARIABLE.get()]
        VARIABLE.set("outside")
        seen += [next(stream), VARIABLE.get(), next(stream), VARIABLE.get()]
        other = contextvars.copy_context()
        return [*seen, outcome(other.run, next, stream)[1][0], VARIABLE.get(), outcome(next, stream)[0]]

    seen = contextvars.copy_context().run(consume)
    return [*map(str, seen)]


# -- what can be seen of it


@story
def looked_at(watch: Watch) -> list[Any]:
    def plain(one: int, *, two: str = "2") -> Iterator[int]:
        """Yield *one*."""
        yield one

    stream_function = watch(plain)
    stream = stream_function(1)
    return [
        inspect.isgeneratorfunction(stream_function),
        inspect.iscoroutinefunction(stream_function),
        inspect.isasyncgenfunction(stream_function),
        inspect.isfunction(stream_function),
        inspect.signature(stream_function),
        inspect.getsource(stream_function),
        stream_function.__name__,
        stream_function.__qualname__,
        stream_function.__doc__,
        stream_function.__module__,
        stream_function.__annotations__,
        inspect.isgenerator(stream),
        inspect.getgeneratorstate(stream),
        stream.__name__,
        stream.__qualname__,
        next(stream),
        inspect.getgeneratorstate(stream),
        stream.gi_running,
        list(stream),
        inspect.getgeneratorstate(stream),
        iter(stream) is stream,
        outcome(copy.copy, stream)[1][:2],
        outcome(pickle.dumps, stream)[1][:2],
    ]


@story
def methods_of_all_kinds(watch: Watch) -> list[Any]:
    class Model:
        n = 2

        @watch
        def plain(self) -> Any:
            yield from range(self.n)

        @classmethod
        @watch
        def of_class(cls) -> Any:
            yield cls.__name__

        @watch
        @staticmethod
        def static(x: int) -> Any:
            yield x

        @property
        @watch
        def stream(self) -> Any:
            yield self.n

    model = Model()
    bound = watch(model.plain)
    return [list(one) for one in (model.plain(), Model.of_class(), model.static(5), model.stream, bound())]


@story
def as_a_context_manager(watch: Watch) -> list[Any]:
    log: list[Any] = []

    @contextlib.contextmanager
    @watch
    def block(*swallowed: type[BaseException]) -> Any:
        log.append("entered")
        try:
            yield "value"
        except swallowed as error:
            log.append((type(error), frames(error)))
        finally:
            log.append("left")

    def run(error: BaseException | None, *swallowed: type[BaseException]) -> Any:
        with block(*swallowed) as value:
            log.append(value)
            if error is not None:
                raise error
        return "after"

    errors = (ValueError("v"), StopIteration(1), KeyboardInterrupt(), RuntimeError("r"), GeneratorExit())
    seen = [outcome(run, None)]
    for error in errors:
        seen.append(outcome(run, error))
        error.__traceback__ = error.__context__ = error.__cause__ = None
        seen.append(outcome(run, error, type(error)))
    return [*seen, *log]
