"""
Bytes that are replaced as a whole, in two halves written in turn.

A half is {sequence, length, CRC-32, unused} and the bytes. The sequence is set to 0 before they are
touched and stored last, so that whoever reads finds at least the half before, whole, whenever the
writer was stopped; the checksum also tells a live reader that it was overtaken.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from typing import Final

import numpy as np

from holter.layout import ALIGNMENT

_HEADER_BYTES: Final = 32


def room(length: int) -> int:
    """Return how many bytes a half of a section of *length* bytes can hold; negative if none."""
    return length // 2 // ALIGNMENT * ALIGNMENT - _HEADER_BYTES


def length_for(size: int) -> int:
    """Return the length of a section whose halves hold *size* bytes each."""
    return 2 * (-(-(size + _HEADER_BYTES) // ALIGNMENT) * ALIGNMENT)


class Halves:
    """The writer of such a section, whose *memory* is zeroed; goes on with the sequence after *sequence*."""

    def __init__(self, memory: memoryview, sequence: int = 0) -> None:
        self.room = room(len(memory))
        self.sequence = sequence
        self._halves = memory[: len(memory) // 2], memory[self.room + _HEADER_BYTES :]

    def write(self, parts: Iterable[bytes]) -> None:
        """Replace what is there by *parts*, one after the other; together they fit into ``room``."""
        half = self._halves[self.sequence % 2]
        words = half[:_HEADER_BYTES].cast("Q")
        words[0] = 0
        self.sequence += 1
        at, checksum = _HEADER_BYTES, _seed(self.sequence)
        for part in parts:
            half[at : at + len(part)] = part
            at += len(part)
            checksum = zlib.crc32(part, checksum)
        words[1], words[2] = at - _HEADER_BYTES, checksum
        words[0] = self.sequence


def newest(length: int, read: Callable[[int, int], bytes]) -> tuple[int, bytes] | None:
    """
    Return sequence and bytes of the newest half that is whole, None where none is.

    The section has *length* bytes, of which ``read(offset, size)`` returns some.
    """
    most = room(length)
    found = []
    for offset in (0, most + _HEADER_BYTES) if most > 0 else ():
        header = np.frombuffer(read(offset, _HEADER_BYTES), "<u8")
        sequence, size, checksum, _ = header.tolist() if len(header) == _HEADER_BYTES // 8 else (0, 0, 0, 0)
        if sequence and size <= most:
            found.append((sequence, offset, size, checksum))
    for sequence, offset, size, checksum in sorted(found, reverse=True):
        content = read(offset + _HEADER_BYTES, size)
        if len(content) == size and zlib.crc32(content, _seed(sequence)) == checksum:
            return sequence, content
    return None


def _seed(sequence: int) -> int:
    """Return where the checksum of a half begins, so that it also tells a sequence that was damaged."""
    return zlib.crc32(sequence.to_bytes(8, "little"))
