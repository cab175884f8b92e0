"""
The probes of functions and coroutines.

What is a function of Python's own refers only to what cloudpickle can pickle by value: a module,
not its context variable, and the probe, which is made anew where it is loaded.
"""

from __future__ import annotations

import copyreg
import functools
from collections.abc import Awaitable, Callable
from inspect import CO_COROUTINE
from types import FunctionType
from typing import Any, TypeAlias, TypeVar

from holter import context
from holter._ring import OUTER, START, Call
from holter.compiled import compiling, leaves_unwatched
from holter.noted import LIMIT
from holter.probe import CallProbe
from holter.recorder import current_ident
from holter.ring import NATIVE, Ring

T = TypeVar("T")


def watch_function(function: Callable[..., T], probe: CallProbe) -> Callable[..., T]:
    """Return *function* with each call recorded: two clock reads, a record, a cell and a slot more."""
    if NATIVE is None or not probe.native:
        return watch_function_in_python(function, probe)
    return _timed(function, probe)


def _timed(
    function: Callable[..., Any], probe: CallProbe, drive: Callable[..., Awaitable[Any]] | None = None
) -> Callable[..., Any]:
    timed = NATIVE.TimedCall(
        function=function,
        root=probe.root,
        lookup=probe.scope.recorder.lookup,
        clock=probe.scope.own_clock,
        units=probe.constant_units,
        units_of=probe.units_of if callable(probe.units) else None,
        fail=probe.fail,
        reduce=probe.reduce,
        drive=drive,
        limit=probe.limit,
        slow=probe.slow,
        outside=probe.outside,
    )
    return functools.update_wrapper(timed, function, updated=())


def watch_function_in_python(function: Callable[..., T], probe: CallProbe) -> Callable[..., T]:
    """Return *function* with each call recorded, as a function of Python's own."""
    watched = _sized_in_python(function, probe) if callable(probe.units) else _plain_in_python(function, probe)
    return functools.wraps(function, updated=())(watched)


def _plain_in_python(function: Callable[..., T], probe: CallProbe) -> Callable[..., T]:
    name, is_compiled = probe.name, compiling()

    def watched(*args: Any, **kwargs: Any) -> T:
        if is_compiled():
            leaves_unwatched(name)
            return function(*args, **kwargs)
        ring: Ring = probe.rings(probe.is_ours[0] and current_ident()) or probe.attach()
        call = ring.enter(probe.root, probe.now())
        try:
            result = function(*args, **kwargs)
            if not probe.is_ours[0]:
                probe.attach()
            end_ns = probe.now()
            if end_ns - call[START] > probe.limit[LIMIT]:
                probe.slow(call, end_ns)
            ring.leave(call, end_ns, probe.constant_units)
        except BaseException as error:
            ring.current[0] = call[OUTER]
            try:
                probe.fail(call, error)
            except RecursionError:
                # The stack is full, and has room for what it had room for at the start.
                ring.leave(call, probe.now(), 0)
            raise
        return result

    return watched


def _sized_in_python(function: Callable[..., T], probe: CallProbe) -> Callable[..., T]:
    name, is_compiled = probe.name, compiling()

    def watched_with_units(*args: Any, **kwargs: Any) -> T:
        if is_compiled():
            leaves_unwatched(name)
            return function(*args, **kwargs)
        ring: Ring = probe.rings(probe.is_ours[0] and current_ident()) or probe.attach()
        call = ring.enter(probe.root, probe.now())
        try:
            result = function(*args, **kwargs)
            end_ns = probe.now()
            units = probe.units_of(result)
            if not probe.is_ours[0]:
                probe.attach()
            if end_ns - call[START] > probe.limit[LIMIT]:
                probe.slow(call, end_ns)
            ring.leave(call, end_ns, units)
        except BaseException as error:
            ring.current[0] = call[OUTER]
            try:
                probe.fail(call, error)
            except RecursionError:
                # The stack is full, and has room for what it had room for at the start.
                ring.leave(call, probe.now(), 0)
            raise
        return result

    return watched_with_units


def watch_coroutine(function: Callable[..., Awaitable[T]], probe: CallProbe) -> Callable[..., Awaitable[T]]:
    """Return the coroutine function *function* with each call recorded, from its first step to its end."""
    probe.scope.coroutines.add(probe.root)
    # Other functions may be marked as coroutine functions, and do their work before they return what is awaited.
    is_real = isinstance(function, FunctionType) and bool(function.__code__.co_flags & CO_COROUTINE)
    if NATIVE is not None and probe.native and is_real:
        return _timed(function, probe, _drive(function, probe))
    begin, end, fail = _coroutine_ends(probe)

    @functools.wraps(function, updated=())
    async def watched(*args: Any, **kwargs: Any) -> T:
        call = begin()
        try:
            running = function(*args, **kwargs)
            # What the coroutine lets go of is not kept alive from here.
            del args, kwargs
            result = await running
            end(call, result)
        except BaseException as error:
            # At once, should there be no room on the stack for the rest.
            if context.CONTEXT.get() is call:
                context.CONTEXT.set(call[OUTER])
            fail(call, error)
            raise
        return result

    return watched


def _drive(function: Callable[..., Any], probe: CallProbe) -> Callable[[Call], Awaitable[Any]]:
    """Return what makes the coroutine around one of *function*: real ones are what asyncio and debuggers know."""
    ends = _coroutine_probe(probe)
    start, end, fail = ends.start, ends.end, ends.fail

    async def watched(call: Call) -> Any:
        try:
            return end(call, await start(call))
        except BaseException as error:
            fail(call, error)
            raise

    # What a coroutine that nobody awaited is called by.
    watched.__name__, watched.__qualname__ = function.__name__, function.__qualname__
    return watched


_Ends: TypeAlias = tuple[Callable[[], Call], Callable[[Call, Any], None], Callable[[Call, BaseException], None]]


def _coroutine_ends(probe: CallProbe) -> _Ends:
    """Return how a coroutine's call begins, also in its context, and how it ends with a result or an error."""
    if NATIVE is not None:
        ends = _coroutine_probe(probe)
        return ends.begin, ends.end, ends.fail

    def begin() -> Call:
        call = probe.begin()
        call[OUTER] = context.open_in_context()
        context.CONTEXT.set(call)
        return call

    def end(call: Call, result: object) -> None:
        end_ns = probe.now()
        probe.end(call, end_ns, probe.units_of(result))
        context.shorten(call)

    def fail(call: Call, error: BaseException) -> None:
        probe.fail(call, error)
        if not call[START]:
            context.shorten(call)

    return begin, end, fail


def _coroutine_probe(probe: CallProbe) -> Any:
    return NATIVE.CoroutineProbe(
        root=probe.root,
        lookup=probe.scope.recorder.lookup,
        clock=probe.scope.own_clock,
        units=probe.constant_units,
        units_of=probe.units_of if callable(probe.units) else None,
        fail=probe.fail,
        context=context.CONTEXT,
        limit=probe.limit,
        slow=probe.slow,
    )


if NATIVE is not None:
    copyreg.pickle(NATIVE.CoroutineProbe, lambda ends: (_coroutine_probe, (ends.failed.__self__,)))
