"""Which threads are holter's own: what they call of other people's code is not what the program does."""

from __future__ import annotations

import functools
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE, CO_GENERATOR, CO_ITERABLE_COROUTINE
from threading import get_native_id
from types import FunctionType
from typing import Any, Final

from holter.recorder import RECORDER, current_ident
from holter.ring import NATIVE

_KINDS: Final = CO_ASYNC_GENERATOR | CO_COROUTINE | CO_GENERATOR | CO_ITERABLE_COROUTINE
_IDENTS: Final[set[int]] = set()
_NATIVE: Final[set[int]] = set()

# In a child others may get the numbers of threads that are not there any more.
RECORDER.after_fork += (_IDENTS.clear, _NATIVE.clear)


def as_own(work: Callable[[], None]) -> Callable[[], None]:
    """Return *work* for a thread of holter's own to do."""

    @functools.wraps(work)
    def done() -> None:
        ident, native = current_ident(), get_native_id()
        _IDENTS.add(ident)
        _NATIVE.add(native)
        if NATIVE is not None:
            NATIVE.own_thread(True)  # noqa: FBT003 - C takes it by position
        try:
            work()
        finally:
            _IDENTS.discard(ident)
            _NATIVE.discard(native)
            if NATIVE is not None:
                NATIVE.own_thread(False)  # noqa: FBT003 - as above

    return done


def is_own() -> bool:
    """Whether the calling thread is holter's own."""
    return current_ident() in _IDENTS


def own_threads() -> AbstractSet[int]:
    """Return the native ids of holter's own threads; it goes on to be what they are."""
    return _NATIVE


def outside(bare: Callable[..., Any], watched: Any) -> Callable[..., Any]:
    """Return *watched*, which for holter's own threads is *bare*; a function of the same kind, some 100 ns dearer."""
    idents = _IDENTS

    def called(*args: Any, **kwargs: Any) -> Any:
        return (bare if current_ident() in idents else watched)(*args, **kwargs)

    code = called.__code__
    # By the flag alone, as the watched streams have theirs: what it returns is what the other one returns.
    kind = getattr(getattr(watched, "__code__", None), "co_flags", 0) & _KINDS
    flagged = FunctionType(code.replace(co_flags=code.co_flags | kind), globals(), closure=called.__closure__)
    told = functools.wraps(watched)(flagged)
    told.__dict__["__wrapped__"] = bare
    return told
