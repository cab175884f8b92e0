"""How what goes into a stream and comes out of it passes through another one, unchanged."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Awaitable
from typing import Any

from holter.guard import traceback_of


def first_step(source: AsyncGenerator[Any, Any]) -> Awaitable[Any]:
    """
    Return the step to the first item of *source*, without telling the event loop about it.

    The loop closes what it knows when it ends, and it knows the watched stream, which closes its source.
    """
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(None, None)
    try:
        return source.asend(None)
    finally:
        sys.set_asyncgen_hooks(*hooks)


def as_it_came(error: BaseException) -> BaseException:
    """Return *error*, caught where it was thrown in, without the line of this module in its traceback."""
    traceback = traceback_of(error)
    return error if traceback is None else BaseException.with_traceback(error, traceback.tb_next)
