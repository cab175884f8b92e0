"""
The probes of functions and coroutines.

What is a function of Python's own refers only to what cloudpickle can pickle by value: a module,
not its context variable, and the probe, which is made anew where it is loaded.
"""

from __future__ import annotations

import copyreg
import functools
from collections.abc import Awaitable, Callable, Coroutine
from inspect import CO_COROUTINE
from types import FunctionType
from typing import Any, TypeAlias, TypeVar

from holter import context
from holter._ring import LEAF, OUTER, START, Call, lane_of
from holter.compiled import compiling, leaves_unwatched
from holter.lookout import Finish
from holter.noted import LIMIT
from holter.probe import CallProbe
from holter.record import HEAD_WORD, SPARE_SLOT_WORD
from holter.recorder import current_ident
from holter.ring import NATIVE, Ring

T = TypeVar("T")
_Drive: TypeAlias = Callable[..., Coroutine[Any, Any, Any]]


def watch_function(function: Callable[..., T], probe: CallProbe) -> Callable[..., T]:
    """Return *function* with each call recorded: two clock reads, a record, a cell and a slot more."""
    if NATIVE is None or not probe.native:
        return watch_function_in_python(function, probe)
    return _timed(function, probe)


def _timed(
    function: Callable[..., Any],
    probe: CallProbe,
    drives: tuple[Callable[..., Any], Callable[..., Any]] | tuple[None, None] = (None, None),
) -> Callable[..., Any]:
    def observe(*args: Any, **kwargs: Any) -> Finish | None:
        return probe.observe(function, args, kwargs)

    timed = NATIVE.TimedCall(
        function=function,
        root=probe.root,
        lookup=probe.scope.recorder.lookup,
        clock=probe.scope.own_clock,
        units=probe.constant_units,
        units_of=probe.units_of if callable(probe.units) else None,
        fail=probe.fail,
        reduce=probe.reduce,
        drive=drives[0],
        drive_observed=drives[1],
        limit=probe.limit,
        slow=probe.slow,
        observe=observe,
        outside=probe.outside,
    )
    return functools.update_wrapper(timed, function, updated=())


def watch_function_in_python(function: Callable[..., T], probe: CallProbe) -> Callable[..., T]:
    """Return *function* with each call recorded, as a function of Python's own."""
    watch = _inline if NATIVE is None else _through_ring
    return functools.wraps(function, updated=())(watch(function, probe))


def _through_ring(function: Callable[..., T], probe: CallProbe, *, observes: bool = True) -> Callable[..., T]:
    name, is_compiled = probe.name, compiling()

    def watched(*args: Any, **kwargs: Any) -> T:
        if is_compiled():
            leaves_unwatched(name)
            return function(*args, **kwargs)
        if observes and probe.lookout.is_wanted[0]:
            return probe.observed(_through_ring(function, probe, observes=False), function, args, kwargs)  # type: ignore[no-any-return]  # it is what the function returns
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

    return watched


def _inline(function: Callable[..., T], probe: CallProbe) -> Callable[..., T]:  # noqa: C901, PLR0915 - stands for a call
    """
    Return the same where the ring is in Python: with the lines of its ``enter`` and ``leave`` once more.

    A call of each, and what they look up, would take a third of what a watched function costs.
    """
    name, is_compiled = probe.name, compiling()
    may_compile = is_compiled is not bool

    def watched(*args: Any, **kwargs: Any) -> T:  # noqa: C901, PLR0912, PLR0915 - as above
        if may_compile and is_compiled():
            leaves_unwatched(name)
            return function(*args, **kwargs)
        now, rings, is_ours, ident, root, block, count_at, units, tail, units_of, limit, is_wanted = probe.hot
        if is_wanted[0]:
            return probe.observed(_through_ring(function, probe, observes=False), function, args, kwargs)  # type: ignore[no-any-return]  # as above
        try:
            ring: Any = rings[is_ours[0] and ident()]
            lane = ring.lanes[block]
        except (KeyError, AttributeError):
            ring = probe.attach()
            lane = lane_of(ring, root)
        if lane is None:
            # Pickled by value where the ring was in Python, and loaded where it is in C.
            return _through_ring(function, probe)(*args, **kwargs)
        words, commits, times, values, others, integers, sums, slots, current, latest, mask = lane
        start_ns = now()
        try:
            slot = slots.pop()
        except IndexError:
            slot = SPARE_SLOT_WORD
        integers[count_at + 3] += 1
        words[slot + 1] = root
        words[slot] = start_ns
        outer = current[0]
        current[0] = call = [start_ns, root, slot, ring, outer]
        try:
            # Without names, a dict less is made.
            result = function(*args, **kwargs) if kwargs else function(*args)
            end_ns = now()
            if units_of is not None:
                units = units_of(result)
                tail = units << 32 | root
            if not is_ours[0]:
                probe.attach()
            taken_ns = end_ns - start_ns
            if taken_ns > limit[0]:
                probe.slow(call, end_ns)
            if call[LEAF] is not root:  # but another one, by a tag
                ring.leave(call, end_ns, units)
            else:
                duration = 0.0 + taken_ns
                latest[0] = n = latest[0] + 1
                integers[count_at] += 1
                sums[count_at + 1] += duration
                if units:
                    integers[count_at + 2] += units
                at = n - 1 & mask
                commits[at] = busy = n * 256 + 1
                times[at] = end_ns
                values[at] = duration
                others[at] = tail
                commits[at] = busy + 1  # committed
                if latest[0] == n:  # what has interrupted this came later, and is there already
                    words[HEAD_WORD] = n
                words[slot] = 0
                call[START] = 0
                current[0] = outer
                if slot != SPARE_SLOT_WORD:
                    slots.append(slot)
        except BaseException as error:
            current[0] = outer
            try:
                probe.fail(call, error)
            except RecursionError:
                # The stack is full, and has room for what it had room for at the start.
                ring.leave(call, now(), 0)
            raise
        return result

    return watched


def watch_coroutine(function: Callable[..., Awaitable[T]], probe: CallProbe) -> Callable[..., Awaitable[T]]:
    """Return the coroutine function *function* with each call recorded, from its first step to its end."""
    probe.scope.coroutines.add(probe.root)
    probe.scope.notes.awaiting.add(probe.root)
    # Other functions may be marked as coroutine functions, and do their work before they return what is awaited.
    is_real = isinstance(function, FunctionType) and bool(function.__code__.co_flags & CO_COROUTINE)
    if NATIVE is not None and probe.native and is_real:
        return _timed(function, probe, _drives(function, probe))
    begin, end, fail = _coroutine_ends(probe)

    @functools.wraps(function, updated=())
    async def watched(*args: Any, **kwargs: Any) -> T:
        finish = probe.observe(function, args, kwargs) if probe.lookout.is_wanted[0] else None
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
        if finish is not None:
            finish(result)
        return result

    return watched


def _drives(function: Callable[..., Any], probe: CallProbe) -> tuple[_Drive, _Drive]:
    """
    Return what makes the coroutine around one of *function*: real ones are what asyncio and debuggers know.

    The second one is for a call that is sampled: it takes what is to be told the result, too.
    """
    ends = _coroutine_probe(probe)
    start, end, fail = ends.start, ends.end, ends.fail

    async def watched(call: Call) -> Any:
        try:
            return end(call, await start(call))
        except BaseException as error:
            fail(call, error)
            raise

    async def observed(call: Call, finish: Finish) -> Any:
        try:
            result = end(call, await start(call))
        except BaseException as error:
            fail(call, error)
            raise
        finish(result)
        return result

    # What a coroutine that nobody awaited is called by.
    for drive in (watched, observed):
        drive.__name__, drive.__qualname__ = function.__name__, function.__qualname__
    return watched, observed


_Ends: TypeAlias = tuple[Callable[[], Call], Callable[[Call, Any], None], Callable[[Call, BaseException], None]]


def _coroutine_ends(probe: CallProbe) -> _Ends:
    """Return how a coroutine's call begins, also in its context, and how it ends with a result or an error."""
    if NATIVE is not None:
        ends = _coroutine_probe(probe)
        return ends.begin, ends.end, ends.fail

    tells_units = callable(probe.units)

    def begin() -> Call:
        call = probe.begin()
        if context.CONTEXT.get() is not None:
            call[OUTER] = context.open_in_context()
        context.CONTEXT.set(call)
        return call

    def end(call: Call, result: object) -> None:
        end_ns = probe.now()
        probe.end(call, end_ns, probe.units_of(result) if tells_units else probe.constant_units)
        if call[OUTER] is not None:
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
