"""
Files and sockets that are open for a moment, and that a forked child gives back.

Else a child that is forked in that moment, by another thread, would keep a file for as long as it lives: of
files in memory their memory, also when everybody else has removed them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

_OPEN: Final[set[int]] = set()


def open_briefly(path: Path, flags: int, mode: int = 0o600) -> int:
    """
    Return a descriptor of the file at *path*, to be given to `close_briefly` by the thread that has asked for it.

    Raises:
        OSError: it cannot be opened.
    """
    descriptor = os.open(path, flags, mode)
    _OPEN.add(descriptor)
    return descriptor


def close_briefly(descriptor: int) -> None:
    """Close what was opened."""
    _OPEN.discard(descriptor)
    os.close(descriptor)


@contextmanager
def opened(path: Path, flags: int, mode: int = 0o600) -> Iterator[int]:
    """
    Yield a descriptor of the file at *path*, which is closed afterwards.

    Raises:
        OSError: it cannot be opened.
    """
    descriptor = open_briefly(path, flags, mode)
    try:
        yield descriptor
    finally:
        close_briefly(descriptor)


@contextmanager
def lent(descriptor: int) -> Iterator[None]:
    """Have a child that is forked meanwhile close *descriptor*, a socket's for instance; here it stays open."""
    _OPEN.add(descriptor)
    try:
        yield
    finally:
        _OPEN.discard(descriptor)


def keep(descriptor: int) -> None:
    """Leave a descriptor open; from now on it is its owner's to close, in a forked child too."""
    _OPEN.discard(descriptor)


def _forked() -> None:
    while _OPEN:
        with suppress(OSError):
            os.close(_OPEN.pop())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
