"""What lies where in a recording file, for its reader: each length is checked against what the file has."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final, NamedTuple, Self

import numpy as np

from holter.descriptors import close_briefly, open_briefly
from holter.errors import NewerFormatError, RecordingError
from holter.layout import (
    ALIGNMENT,
    BEAT_WORDS,
    BYTE_ORDER,
    CREATED_WORD,
    DIRECTORY_WORD,
    ENTRY,
    FORMAT_WORD,
    HEADER_BYTES,
    LOST_WORD,
    MAGIC,
    MAJOR,
    MINOR,
    ORDER_WORD,
    SECTION_VERSION,
    STATE_WORD,
    FileState,
    Section,
    beat_check,
    longest_text,
    lost_word,
)

_OPEN: Final = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_WORD: Final = 2**64
_FEWEST_SECTIONS: Final = 64
_BYTES_A_SECTION: Final = 512


class Place(NamedTuple):
    """Where a section lies, and its number."""

    offset: int
    length: int
    number: int


class Beat(NamedTuple):
    """The last heartbeat: one moment on both clocks."""

    monotonic_ns: int
    wall_ns: int


class Sections:
    """
    An open recording file; a context manager, which closes it.

    ``missing`` collects in words what could not be read.

    Raises:
        OSError: the file cannot be opened.
        RecordingError: it is no recording, or one that this holter cannot read.
    """

    def __init__(self, path: Path) -> None:
        # Opened so that a pipe of that name holds up nobody.
        self._descriptor = open_briefly(path, _OPEN)
        self.missing: list[str] = []
        with ExitStack() as on_error:
            on_error.callback(close_briefly, self._descriptor)
            found = os.fstat(self._descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise RecordingError(f"{path} is no recording of holter: it is no file")
            self.size = found.st_size
            words = self._checked_header(path)
            self.state = int(words[STATE_WORD])
            self.beat = _beat(words.tolist())
            self.lost = _lost(int(words[LOST_WORD]))
            """How many records the process had lost at its last heartbeat, as far as that is told."""
            self.created_ns = int(words[CREATED_WORD])
            self.major = int(words[FORMAT_WORD]) & (2**32 - 1)
            """The format of the recording; none that is later than this holter's."""
            self._places = self._directory(int(words[DIRECTORY_WORD]))
            on_error.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        close_briefly(self._descriptor)

    @property
    def longest_text(self) -> int:
        """How long a JSON document in this file may be."""
        return longest_text(self.size)

    def read(self, offset: int, size: int) -> bytes:
        """Return *size* bytes from *offset* on, fewer at the end of the file."""
        return os.pread(self._descriptor, max(0, min(size, self.size - offset)), offset)

    def read_in(self, place: Place, offset: int, size: int) -> bytes:
        """Return *size* bytes of a section from *offset* on, fewer at its end."""
        return self.read(place.offset + offset, min(size, place.length - offset))

    def look_again(self) -> None:
        """Read anew what the process has said of itself last."""
        self.state = int.from_bytes(self.read(8 * STATE_WORD, 8), "little")

    def used(self, kind: Section) -> int:
        """Return how many bytes of the sections of *kind*, which are appended to, are in use."""
        return sum(int.from_bytes(self.read(place.offset, 8), "little") for place in self.places(kind))

    def places(self, kind: Section) -> list[Place]:
        """Return where the sections of *kind* lie, by their numbers."""
        return self._places.get(kind, [])

    def contents(self, kind: Section) -> Iterator[bytes]:
        """Yield the sections of *kind*, one after the other, by their numbers."""
        for place in self.places(kind):
            yield self.read(place.offset, place.length)

    def _checked_header(self, path: Path) -> np.ndarray:
        header = os.pread(self._descriptor, HEADER_BYTES, 0)
        if len(header) < HEADER_BYTES or not header.startswith(MAGIC):
            raise RecordingError(f"{path} is no recording of holter: it does not begin as one")
        words = np.frombuffer(header, "<u8")
        order, version = int(words[ORDER_WORD]), int(words[FORMAT_WORD])
        if order == int.from_bytes(BYTE_ORDER.to_bytes(8, "little"), "big"):
            raise RecordingError(
                f"{path} was written on a machine with the other byte order: read it on one of its kind"
            )
        major, minor = version & (2**32 - 1), version >> 32
        if order != BYTE_ORDER or not major:
            raise RecordingError(f"{path} is no recording of holter: its header is damaged")
        if major > MAJOR:
            raise NewerFormatError(
                f"{path} has format {major}, this holter reads format {MAJOR}: read it with the holter that wrote it"
            )
        if minor > MINOR:
            self.missing.append(f"what format {major}.{minor} has and {MAJOR}.{MINOR} has not: a newer holter wrote it")
        if int(words[STATE_WORD]) not in set(FileState):
            self.missing.append("the state of the process: it is damaged")
        return words

    def _directory(self, entries: int) -> dict[int, list[Place]]:
        room = (self.size - HEADER_BYTES) // ENTRY.itemsize
        if entries > room:
            self.missing.append("a part of the directory: the file is cut off")
        content = self.read(HEADER_BYTES, min(entries, room) * ENTRY.itemsize)
        rows = np.frombuffer(content, ENTRY, len(content) // ENTRY.itemsize)
        found: dict[int, list[Place]] = {}
        beyond = newer = end = 0
        first = HEADER_BYTES + len(content)
        used = rows[rows["kind"] > 0][: max(_FEWEST_SECTIONS, self.size // _BYTES_A_SECTION)]
        for offset, length, number, kind, version in sorted(used.tolist()):
            is_inside = max(first, end) <= offset and offset + length <= self.size
            if not is_inside or offset % ALIGNMENT or not length:
                # Cut off, or over another one: the same bytes are not read twice.
                beyond += 1
            elif version > SECTION_VERSION:
                newer += 1
            else:
                end = offset + length
                found.setdefault(kind, []).append(Place(offset, length, number))
        if beyond:
            self.missing.append(f"{beyond} sections: the file is cut off or damaged")
        if newer:
            self.missing.append(f"{newer} sections that a newer holter wrote")
        return {kind: sorted(places, key=lambda place: place.number) for kind, places in found.items()}


def _beat(words: list[int]) -> Beat:
    beats = []
    for at in BEAT_WORDS:
        sequence, monotonic_ns, wall_ns, check = words[at : at + 4]
        if (
            sequence
            and check == beat_check(sequence, monotonic_ns, wall_ns)
            and max(monotonic_ns, wall_ns) < _WORD // 2
        ):
            beats.append((sequence, Beat(monotonic_ns, wall_ns)))
    return max(beats, default=(0, Beat(0, 0)))[1]


def _lost(word: int) -> int:
    return word >> 16 if word == lost_word(word >> 16) else 0
