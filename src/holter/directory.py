"""The directory of a recording, as its writer keeps it, and sections that are rewritten again and again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from holter.halves import Halves, length_for
from holter.layout import ENTRY, SECTION_VERSION, Section
from holter.segments import Piece, Segments

_ENTRY_WORDS: Final = ENTRY.itemsize // 8


class Directory:
    """Which sections there are; the entries lie in *memory*, the sections are cut from *segments*. One thread calls."""

    def __init__(self, memory: memoryview, segments: Segments) -> None:
        self._words = memory.cast("Q")
        self._segments = segments
        self._unused = list(reversed(range(len(self._words) // _ENTRY_WORDS)))
        self._used: dict[int, tuple[int, Piece]] = {}

    def add(self, kind: Section, number: int, size: int) -> memoryview | None:
        """Return the memory of a new section, zeroed; None where there is no room for it."""
        piece = self._segments.cut(size) if self._unused else None
        if piece is None:
            return None
        entry = self._unused.pop()
        at = entry * _ENTRY_WORDS
        self._words[at], self._words[at + 1], self._words[at + 2] = piece.offset, size, number
        self._words[at + 3] = SECTION_VERSION << 32 | kind
        self._used[id(piece.memory)] = entry, piece
        return piece.memory

    def drop(self, memory: memoryview) -> None:
        """Remove the section that was given this *memory*, which others may have then."""
        entry, piece = self._used.pop(id(memory))
        self._words[entry * _ENTRY_WORDS + 3] = 0
        self._unused.append(entry)
        self._segments.take_back(piece)


class Rewritten:
    """
    A section of two halves that grows with what is written, while a half takes at most *most* bytes.

    The larger one takes the place of the smaller only once it has been written.
    """

    def __init__(self, directory: Directory, kind: Section, most: int) -> None:
        self.most = most
        self._directory, self._kind = directory, kind
        self._memories: list[memoryview] = []
        self._halves: Halves | None = None

    def room(self, size: int) -> int:
        """Return how many bytes may be written when *size* are wanted; the section grows for them if it can."""
        halves = self._halves
        if halves is not None and halves.room >= size:
            return halves.room
        wanted = min(self.most, size + size // 2)
        memory = self._directory.add(self._kind, 0, length_for(wanted)) if wanted >= size else None
        if memory is None:
            return 0 if halves is None else halves.room
        self._memories.append(memory)
        self._halves = Halves(memory, 0 if halves is None else halves.sequence)
        return self._halves.room

    def write(self, parts: Sequence[bytes]) -> None:
        """Replace what is there by *parts*, for which there is room."""
        if self._halves is None:
            raise ValueError("ask for room before writing")
        self._halves.write(parts)
        while len(self._memories) > 1:
            self._directory.drop(self._memories.pop(0))
