"""A text file of bounded size that several processes append whole lines to."""

from __future__ import annotations

import errno
import os
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from holter.errors import ConfigurationError

try:
    import fcntl
except ImportError:  # Windows
    _HAS_FLOCK = False
else:
    _HAS_FLOCK = True

_FLAGS: Final = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
# Shippers of logs run as another user, and what is written holds names and figures, never data;
# a umask may narrow it.
_MODE: Final = 0o644
_LEAST_BYTES: Final = 65_536
_RETRY_SECONDS: Final = 0.002
_TAIL_BYTES: Final = 65_536
_BUSY: Final = (errno.EAGAIN, errno.EACCES)
_THREADS = threading.Lock()


class BoundedFile:
    """
    A file of at most *max_bytes*, with *backups* older ones beside it: name.1 is the newest.

    Each append is one write of whole lines under an flock on the file itself, which also covers
    the rotation, so that any number of processes may name the same file: no line is torn, and
    none is lost before its backup has become the oldest. Only a line longer than *max_bytes*
    exceeds the bound, in a file of its own. Nothing is held between appends: no descriptor that
    a forked child would share or that would keep a deleted file alive. A file that was moved or
    deleted from outside is created anew. Where the platform has no flock (Windows), only the
    threads of one process may share a file.

    Creates the file, and its folder, so that what cannot work is known at set-up.

    Raises:
        ConfigurationError: a bound is too small, or the file cannot be created, written or locked.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, max_bytes: int, backups: int, lock_seconds: float = 5.0
    ) -> None:
        for name, value, least in (("max_bytes", max_bytes, _LEAST_BYTES), ("backups", backups, 0)):
            if type(value) is not int or value < least:
                raise ConfigurationError(f"{name} must be a whole number of at least {least:,}, got {value!r}")
        try:
            # A later change of the working folder moves nothing, and a link stays where it is: its target is rotated.
            self.path = Path(os.path.realpath(Path(path).expanduser()))
        except (TypeError, ValueError, RuntimeError, OSError) as error:
            raise ConfigurationError(f"path must name a file, got {path!r}: {error}") from error
        self.max_bytes, self.backups, self.lock_seconds = max_bytes, backups, lock_seconds
        self._create()

    def _create(self) -> None:
        try:
            if self.path.exists() and not self.path.is_file():
                raise ConfigurationError(f"path must name a regular file, which {self.path} is not; name another")
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self._exclusive(time.monotonic() + self.lock_seconds):
                pass
        except OSError as error:
            raise ConfigurationError(
                f"cannot write and lock {self.path}: {error.strerror or error}; name a file in a folder that is "
                "writable, on a file system that supports flock"
            ) from error

    def starts_with(self, beginning: bytes) -> bool:
        """Whether the file is empty or begins like *beginning*, so that appending to it spoils nothing of others."""
        with self._exclusive(time.monotonic() + self.lock_seconds) as descriptor:
            return beginning.startswith(os.read(descriptor, len(beginning)))

    def append(self, lines: Sequence[bytes], *, first: bytes = b"") -> int:
        """
        Write *lines*, each ending in a newline; in a file that is empty, *first* goes before them.

        They stay together in one file if one can hold them: all of them are written, or none. More
        are parted between lines, and of those for a file that fails none is left in it.

        Returns the number by which the file system knows the file that was last written: another
        than last time tells that a new file has begun. Costs some 30 µs and what the disk takes.

        Raises:
            TimeoutError: another process has held the lock for ``lock_seconds``.
            OSError: the file cannot be written: no space, no folder, no permission.
        """
        deadline = time.monotonic() + self.lock_seconds
        done = 0
        while True:
            with self._exclusive(deadline) as descriptor:
                size = _mend(descriptor)
                fitting = self._fitting(lines, done, size, first)
                if fitting > done:
                    _write(descriptor, size, (b"" if size else first) + b"".join(lines[done:fitting]))
                    done = fitting
                if done == len(lines):
                    return os.fstat(descriptor).st_ino
                self._set_aside(descriptor)

    def _fitting(self, lines: Sequence[bytes], done: int, size: int, first: bytes) -> int:
        """Return the index behind the last line to write into a file of *size* bytes."""
        room = self.max_bytes - (size or len(first))
        wanted = sum(map(len, lines[done:]))
        if wanted <= max(room, 0):
            return len(lines)
        if size and wanted <= self.max_bytes - len(first):
            return done  # together in a file of their own
        fitting = done if size else done + 1
        room -= 0 if size else len(lines[done])
        while fitting < len(lines) and len(lines[fitting]) <= room:
            room -= len(lines[fitting])
            fitting += 1
        return fitting

    @contextmanager
    def _exclusive(self, deadline: float) -> Iterator[int]:
        """Open the file and hold its lock; whoever waited while it was set aside turns to the new one."""
        while True:
            descriptor = os.open(self.path, _FLAGS, _MODE)
            try:
                _lock(descriptor, deadline)
                try:
                    if self._is_in_place(descriptor):
                        yield descriptor
                        return
                finally:
                    _unlock(descriptor)
            finally:
                os.close(descriptor)

    def _is_in_place(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), self.path.stat())
        except FileNotFoundError:
            return False

    def _set_aside(self, descriptor: int) -> None:
        """Make room for a new file; whoever dies on the way leaves a gap in the numbers and loses nothing."""
        names = [self.path, *(self.path.with_name(f"{self.path.name}.{n}") for n in range(1, self.backups + 1))]
        for older, newer in zip(names[:0:-1], names[-2:0:-1], strict=False):
            with suppress(FileNotFoundError):
                newer.replace(older)
        if not _HAS_FLOCK:  # Windows renames no open file
            if self.backups:
                shutil.copyfile(self.path, names[1])
            os.ftruncate(descriptor, 0)
            return
        with suppress(FileNotFoundError):
            if self.backups:
                self.path.replace(names[1])
            else:
                self.path.unlink()


def _lock(descriptor: int, deadline: float) -> None:
    if not _HAS_FLOCK:
        if not _THREADS.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise TimeoutError(errno.ETIMEDOUT, "another thread holds the lock of the file")
        return
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in _BUSY:
                raise
        else:
            return
        # Not a blocking flock: a peer that is stopped while it holds the lock would stop us too.
        if time.monotonic() >= deadline:
            raise TimeoutError(errno.ETIMEDOUT, "another process holds the lock of the file")
        time.sleep(_RETRY_SECONDS)


def _unlock(descriptor: int) -> None:
    if not _HAS_FLOCK:
        _THREADS.release()
    else:
        # Said, not left to the close: a child forked meanwhile has the descriptor too, and with it the lock.
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def _write(descriptor: int, size: int, block: bytes) -> None:
    """Write all of *block* behind *size* bytes, or nothing of it."""
    rest = memoryview(block)
    try:
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    except OSError:
        os.ftruncate(descriptor, size)
        raise


def _mend(descriptor: int) -> int:
    """Cut off the half line of a writer that was killed; return the size of the file that is left."""
    size = end = os.fstat(descriptor).st_size
    while end:
        start = max(0, end - (1 if end == size else _TAIL_BYTES))
        os.lseek(descriptor, start, os.SEEK_SET)
        newline = os.read(descriptor, end - start).rfind(b"\n")
        if newline >= 0:
            end = start + newline + 1
            break
        end = start
    if end < size:
        os.ftruncate(descriptor, end)
    return end
