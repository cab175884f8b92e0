"""The directory of a recording, and sections that are rewritten."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from holter.directory import Directory, Rewritten
from holter.halves import newest
from holter.layout import ENTRY, Section
from holter.segments import Segments, Space

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs posix_fallocate of Linux")
SPACE = Space(segment_bytes=2**16, most_bytes=2**18)


class Opened:
    """A directory with room for so many entries, and its file."""

    def __init__(self, folder: Path, entries: int = 8) -> None:
        self.segments = Segments(folder, "a", SPACE)
        self.memory = self.segments.cut(entries * ENTRY.itemsize).memory
        self.directory = Directory(self.memory, self.segments)

    def listed(self) -> list[tuple[int, int, int, int]]:
        """Return kind, number, offset and length of what is listed."""
        rows = np.frombuffer(self.memory, ENTRY)
        rows = rows[rows["kind"] > 0]
        assert {1} >= set(rows["version"].tolist())
        return [tuple(int(row[name]) for name in ("kind", "number", "offset", "length")) for row in rows]

    def content(self) -> list[tuple[int, bytes]]:
        """Return the newest half of each section that is rewritten."""
        file = self.segments.path.read_bytes()
        places = [(offset, length) for kind, _, offset, length in self.listed() if kind == Section.FOLD]
        return [newest(length, lambda at, size, o=offset: file[o + at :][:size]) for offset, length in places]


def test_what_is_added_is_listed_where_it_lies(tmp_path: Path) -> None:
    """Kind, number, place and length, in the order of the file; memory that is stored to is there."""
    opened = Opened(tmp_path)
    memories = [opened.directory.add(Section.RING, number, 100 + number) for number in range(3)]
    for number, memory in enumerate(memories):
        memory[:] = bytes([number + 1]) * len(memory)
    file = opened.segments.path.read_bytes()
    assert [(Section.RING, number, 100 + number) for number in range(3)] == [
        (kind, number, length) for kind, number, _, length in opened.listed()
    ]
    assert [{1}, {2}, {3}] == [set(file[offset:][:length]) for _, _, offset, length in opened.listed()]


def test_a_full_directory_or_file_gives_nothing(tmp_path: Path) -> None:
    """None for one section more than there are entries, and for one that is larger than the file may be."""
    opened = Opened(tmp_path, entries=2)
    assert opened.directory.add(Section.RING, 0, 2**19) is None
    assert [] == opened.listed()
    assert opened.directory.add(Section.RING, 1, 64) is not None
    assert opened.directory.add(Section.RING, 2, 64) is not None
    assert opened.directory.add(Section.RING, 3, 64) is None
    assert 2 == len(opened.listed())


def test_what_is_dropped_makes_room(tmp_path: Path) -> None:
    """For an entry and for its bytes, which are zeros again."""
    opened = Opened(tmp_path, entries=1)
    memory = opened.directory.add(Section.RING, 0, 64)
    memory[:] = b"x" * 64
    where = opened.listed()[0][2]
    opened.directory.drop(memory)
    assert [] == opened.listed()
    assert bytes(64) == opened.directory.add(Section.CELLS, 1, 64)
    assert (Section.CELLS, 1, 64) == (opened.listed()[0][0], *opened.listed()[0][1::2])
    assert where >= 32


def test_a_rewritten_section_grows_with_what_is_written(tmp_path: Path) -> None:
    """The larger takes the place of the smaller once it is written; until then both are there, the old one whole."""
    opened = Opened(tmp_path)
    section = Rewritten(opened.directory, Section.FOLD, 30_000)
    assert section.room(100) >= 100
    section.write([b"small"])
    assert [(1, b"small")] == opened.content()
    assert section.room(20_000) >= 20_000
    assert [(1, b"small"), None] == opened.content()
    section.write([b"large" * 4_000])
    assert [(2, b"large" * 4_000)] == opened.content()
    section.write([b"again"])
    assert [(3, b"again")] == opened.content()


def test_a_rewritten_section_has_a_bound(tmp_path: Path) -> None:
    """What is wanted beyond it is told by the room that there is."""
    opened = Opened(tmp_path)
    section = Rewritten(opened.directory, Section.FOLD, 1_000)
    assert 0 == section.room(1_001)
    room = section.room(900)
    assert 900 <= room <= 1_064
    assert room == section.room(5_000)
    with pytest.raises(ValueError, match="ask for room"):
        Rewritten(opened.directory, Section.FOLD, 1_000).write([b""])


def test_a_section_that_grew_in_vain_leaves_nothing_behind(tmp_path: Path) -> None:
    """Room that was asked for twice before writing is given back with the rest."""
    opened = Opened(tmp_path)
    section = Rewritten(opened.directory, Section.FOLD, 60_000)
    for size in (100, 1_000, 10_000):
        section.room(size)
    assert 3 == len(opened.listed())
    section.write([b"x"])
    assert [(1, b"x")] == opened.content()
