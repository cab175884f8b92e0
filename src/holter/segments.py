"""A file in memory that grows by whole segments, within bounds, and the pieces that are cut from it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from holter.errors import RecordingUnavailable
from holter.layout import ALIGNMENT, SUFFIX, aligned
from holter.mapping import forget, map_shared
from holter.memorylimit import cgroup_limit_bytes

_MIB: Final = 2**20
_FILE_MODE: Final = 0o600
_OPEN: Final = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9._-]")
_LONGEST_NAME: Final = 80
_SAME_NAMES: Final = 10


@dataclass(frozen=True, slots=True)
class Space:
    """
    How much a recording may take: whole segments, within what the file system and the memory limit leave.

    That is an eighth of the space that is free at first and a sixteenth of the control group's
    limit; and the file system keeps half of its size free, of a large one 4 GiB.
    """

    segment_bytes: int = _MIB
    most_bytes: int = 32 * _MIB
    kept_free_bytes: int = 4096 * _MIB

    def limit_bytes(self, descriptor: int) -> int:
        """Return how long the file of *descriptor* may become, 0 if it may not be at all."""
        system = os.fstatvfs(descriptor)
        limits = [self.most_bytes, system.f_bavail * system.f_frsize // 8, (cgroup_limit_bytes() or 2**62) // 16]
        return min(limits) // self.segment_bytes * self.segment_bytes

    def leaves_enough(self, descriptor: int, size: int) -> bool:
        """Whether *size* bytes more leave the file system what it keeps."""
        system = os.fstatvfs(descriptor)
        kept = min(self.kept_free_bytes, system.f_blocks * system.f_frsize // 2)
        return system.f_bavail * system.f_frsize - size >= kept


class Piece(NamedTuple):
    """A part of the file: where it begins, and its memory."""

    offset: int
    memory: memoryview


class Segments:
    """
    The file, reserved before it is mapped: on a full file system the writers of sparse files die of SIGBUS.

    No descriptor is held, so that a program that closes all of them, as daemons do, harms nothing:
    to grow, the file is opened anew and must still be the same. One thread calls.

    Raises:
        RecordingUnavailable: no file of one segment can be made in *folder*.
    """

    def __init__(self, folder: Path, name: str, space: Space) -> None:
        self.ranges: list[memoryview] = []
        self.size = 0
        self._space = space
        self._descriptor: int | None = None
        self._free: list[Piece] = []
        self.path, descriptor = _made(folder, name)
        try:
            found = os.fstat(descriptor)
            self._identity = found.st_dev, found.st_ino
            self.limit = space.limit_bytes(descriptor)
            if not self._reserve(descriptor, 1):
                raise RecordingUnavailable(
                    f"{folder} has too little space: 8 x {space.segment_bytes:,} bytes are needed"
                )
        except OSError as error:
            self.path.unlink(missing_ok=True)
            if isinstance(error, RecordingUnavailable):
                raise
            raise RecordingUnavailable(f"no file could be made in {folder}: {error.strerror}") from None
        finally:
            os.close(descriptor)

    def cut(self, size: int) -> Piece | None:
        """Return a piece of *size* zeroed bytes, the file grown for it if need be; None where that may not be."""
        length = aligned(size)
        for index, (offset, memory) in enumerate(self._free):
            if len(memory) >= length:
                self._free[index] = Piece(offset + length, memory[length:])
                return Piece(offset, memory[:size])
        return self.cut(size) if self._grow(-(-length // self._space.segment_bytes)) else None

    def take_back(self, piece: Piece) -> None:
        """Let others have *piece*, to which nobody writes any more."""
        whole = piece.memory[: len(piece.memory) // ALIGNMENT * ALIGNMENT]
        whole[:] = bytes(len(whole))
        self._free.append(Piece(piece.offset, whole))

    def unlink(self) -> None:
        """Remove the file, unless another one has its name."""
        try:
            found = os.lstat(self.path)
            if (found.st_dev, found.st_ino) == self._identity:
                self.path.unlink()
        except OSError:
            pass

    def forget(self) -> None:
        """In a forked child: never touch the parent's file again."""
        forget(self.ranges)
        if self._descriptor is not None:
            # The fork came while the file was being lengthened.
            os.close(self._descriptor)
        self.limit = 0
        self._free = []

    def _grow(self, segments: int) -> bool:
        if self.size + segments * self._space.segment_bytes > self.limit:
            return False
        try:
            descriptor = os.open(self.path, _OPEN)
        except OSError:
            return False
        self._descriptor = descriptor
        try:
            found = os.fstat(descriptor)
            is_same = (found.st_dev, found.st_ino, found.st_size) == (*self._identity, self.size)
            return is_same and self._reserve(descriptor, segments)
        except OSError:
            return False
        finally:
            # Before it is closed: a fork in between leaves the child one descriptor more, and closes nobody else's.
            self._descriptor = None
            os.close(descriptor)

    def _reserve(self, descriptor: int, segments: int) -> bool:
        """Lengthen the file by so many *segments* and map them, if that leaves enough to others."""
        size = segments * self._space.segment_bytes
        if self.size + size > self.limit or not self._space.leaves_enough(descriptor, size):
            return False
        os.posix_fallocate(descriptor, self.size, size)
        view = map_shared(descriptor, self.size, size)
        self.ranges.append(view)
        self._free.append(Piece(self.size, view))
        self.size += size
        return True


def _made(folder: Path, name: str) -> tuple[Path, int]:
    """Return the path and the descriptor of a new file in *folder*."""
    safe = _NOT_IN_NAMES.sub("_", name)[-_LONGEST_NAME:].lstrip(".") or "_"
    # Two processes may have one number and the same start in two namespaces.
    for number in range(_SAME_NAMES):
        path = folder / f"{safe}{f'-{number}' if number else ''}{SUFFIX}"
        try:
            descriptor = os.open(path, _OPEN | os.O_CREAT | os.O_EXCL, _FILE_MODE)
        except FileExistsError:
            continue
        except OSError as error:
            raise RecordingUnavailable(f"no file can be made in {folder}: {error.strerror}") from None
        if hasattr(os, "fchmod"):
            os.fchmod(descriptor, _FILE_MODE)
        return path, descriptor
    raise RecordingUnavailable(f"{folder} has {_SAME_NAMES} files named {safe}{SUFFIX} or nearly so")
