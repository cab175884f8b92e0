"""Which watched call the running code is part of."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, Final

from holter._ring import OUTER, START, Call
from holter.ring import NATIVE, Ring

# Set by watched coroutines and by the steps of async generators, each in its own context. A coroutine
# that has ended leaves its call there. In C, what is set is a Standing, in which calls take turns.
CONTEXT: Final[ContextVar[Any]] = ContextVar("holter_call", default=None)


def innermost(ring: Ring) -> Call | None:
    """
    Return the innermost open call around the running code, whose thread has *ring*.

    Of a call on the thread and one of the task the later is the inner one, whichever way they
    are nested. A call that has ended (its context may live on in a task) is none.
    """
    on_thread = ring.current[0]
    # Mostly there is none at all, and then nothing to call.
    in_context = None if CONTEXT.get() is None else open_in_context()
    if in_context is None:
        return on_thread if on_thread is not None and on_thread[START] else None
    if on_thread is None or in_context[START] > on_thread[START]:
        return in_context
    return on_thread


def open_in_context() -> Call | None:
    """Return the innermost open call that the context knows of."""
    return _first_open(in_context())


def in_context() -> Call | None:
    """Return the call that stands in the context, which may have ended."""
    held: Any = CONTEXT.get()
    call: Call | None = held.call if NATIVE is not None and type(held) is NATIVE.Standing else held
    return call


def leave(call: Call, before: Any) -> None:
    """Set *before*, which the context held before *call*, where that or a coroutine awaited by it still stands."""
    held = in_context()
    while held is not None and held is not call and not held[START]:
        held = held[OUTER]
    if held is call:
        CONTEXT.set(before)


def shorten(call: Call) -> None:
    """
    Let *call*, which has ended, go of the calls around it that have ended too.

    Contexts keep it for as long as their tasks live: where each task starts the next one, each would
    keep the one before.
    """
    call[OUTER] = _first_open(call[OUTER])


def _first_open(call: Call | None) -> Call | None:
    while call is not None and not call[START]:
        call = call[OUTER]
    return call
