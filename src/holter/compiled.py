"""What ``torch.compile`` sees of a watched function: the bare one, so that the region stays one graph."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from types import MethodType
from typing import Any

_told: set[str] = set()


def compiling() -> Callable[[], bool]:
    """
    Return what a watched function asks at each call whether ``torch.compile`` is tracing it.

    Without torch in this process the answer is no, at the cost of 20 ns; nothing here imports it.
    """
    compiler = getattr(sys.modules.get("torch"), "compiler", None)
    return getattr(compiler, "is_compiling", bool)


def leaves_unwatched(name: str) -> bool:
    """Return whether ``torch.compile`` traces its caller, the watched function *name*; say so once, if it does."""
    # While it traces it runs this by itself; the functions below run it too, where nobody traces them.
    if sys._getframe(1).f_globals is globals():  # noqa: SLF001 - a documented function
        return False
    if name not in _told:
        _told.add(name)
        import logging  # noqa: PLC0415 - a program that only watches need not load it

        logging.getLogger("holter").warning(
            "holter: torch.compile compiles %.200r into what calls it, where it is not watched; "
            "watch what calls the compiled function to have its time",
            name,
        )
    return True


# As torch.compiler.assume_constant_result does: it is run while a caller is traced, and never in what is compiled.
leaves_unwatched.__dict__["_dynamo_marked_constant"] = True


def call(watched: Any, /, *args: Any, **kwargs: Any) -> Any:
    """The ``__call__`` of a watched function in C for who looks for one in Python; a call itself does not come here."""
    if leaves_unwatched(watched.__holter_call__):
        return watched.__wrapped__(*args, **kwargs)
    return watched(*args, **kwargs)


def bind(watched: Any, owner: Any, kind: type | None = None) -> Any:
    """The ``__get__`` of a watched function in C, likewise."""
    del kind
    if owner is None:
        return watched
    if leaves_unwatched(watched.__holter_call__):
        return partial(watched.__wrapped__, owner)
    return MethodType(watched, owner)
