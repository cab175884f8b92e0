"""Small files of the kernel's that are read again and again, through descriptors that stay open."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Final
from weakref import WeakSet

_PIECE: Final = 4096
_ALL: Final[WeakSet[KeptFiles]] = WeakSet()


class KeptFiles:
    """
    Reads files by path; each is opened once and read from its beginning every time.

    A read costs some 2 µs, where to open, read and close costs 8. At most *most* stay open, others are closed
    again after each read. A descriptor that fails is closed, and its file opened anew the next time. In a forked
    child nothing stays open of what the parent has opened: ``/proc/self`` would still be the parent's. All are
    closed with the last reference. To be used by one thread at a time.

    >>> files = KeptFiles()
    >>> files.read(__file__)[:3] == files.read(__file__)[:3]
    True
    """

    def __init__(self, most: int = 64) -> None:
        self._most = most
        self._open: dict[str, int] = {}
        self._pid = os.getpid()
        _ALL.add(self)

    def __len__(self) -> int:
        return len(self._open)

    def __del__(self) -> None:
        self.close()

    def read(self, path: str) -> bytes:
        """
        Return what the file holds now.

        Raises:
            OSError: it cannot be opened or read.
        """
        # A fork that Python was not told of leaves the parent's descriptors in the child.
        if self._pid != os.getpid():
            self.close()
            self._pid = os.getpid()
        descriptor = self._open.get(path)
        if descriptor is None:
            descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
            self._open[path] = descriptor
        try:
            content = _whole(descriptor)
        except OSError:
            self.forget(path)
            raise
        if len(self._open) > self._most:
            self.forget(path)
        return content

    def forget(self, path: str) -> None:
        """Close one file, if it is open."""
        descriptor = self._open.pop(path, None)
        if descriptor is not None:
            with suppress(OSError):
                os.close(descriptor)

    def close(self) -> None:
        """Close all; what is read afterwards is opened again."""
        while self._open:
            _, descriptor = self._open.popitem()
            with suppress(OSError):
                os.close(descriptor)


def _whole(descriptor: int) -> bytes:
    content = piece = os.pread(descriptor, _PIECE, 0)
    while len(piece) == _PIECE:
        piece = os.pread(descriptor, _PIECE, len(content))
        content += piece
    return content


def _forked() -> None:
    for files in list(_ALL):
        files.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
