"""The history of a scope, mirrored and read back."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from holter.directory import Directory
from holter.history import History
from holter.layout import ENTRY, Section
from holter.past import Allowance, Past, restore
from holter.segments import Segments, Space
from simulation import World

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs posix_fallocate of Linux")
SPACE = Space(segment_bytes=2**16, most_bytes=2**20)


class Mirrored:
    """A history that is mirrored into a file."""

    def __init__(self, folder: Path, history: History, most: int = 2**20) -> None:
        self.segments = Segments(folder, "a", SPACE)
        self.memory = self.segments.cut(32 * ENTRY.itemsize).memory
        self.past = Past(Directory(self.memory, self.segments), 3, Allowance(most))
        self.history = history

    def add(self, world: World) -> None:
        """End an interval."""
        self.history.add(world.snapshot())
        self.past.update(self.history)

    def sections(self) -> tuple[bytes, list[bytes]]:
        """Return the bytes of head and blocks."""
        file = self.segments.path.read_bytes()
        rows = np.frombuffer(self.memory, ENTRY)
        of = {
            kind: [
                file[int(row["offset"]) :][: int(row["length"])]
                for row in sorted(rows[rows["kind"] == kind], key=lambda row: row["number"])
            ]
            for kind in (Section.PAST, Section.PAST_ROWS)
        }
        return of[Section.PAST][0] if of[Section.PAST] else b"", of[Section.PAST_ROWS]

    def restored(self, world: World) -> History | None:
        """Return what is read back."""
        head, blocks = self.sections()
        return restore(head, blocks, world.series)


def same(one: History, other: History) -> None:
    """Assert that two histories hold the same."""
    assert (len(one), set(one.series), one.left_out) == (len(other), set(other.series), other.left_out)
    assert one.times_ns().tolist() == other.times_ns().tolist()
    assert one.seconds().tolist() == other.seconds().tolist()
    for key in one.series:
        np.testing.assert_array_equal(one.column(key), other.column(key))


@pytest.mark.parametrize(
    ("intervals", "series", "turns"), [(7, 20, 5), (7, 20, 30), (1, 3, 4), (50, 200, 60), (5, 2, 9)]
)
def test_a_history_comes_back_as_it_is(intervals: int, series: int, turns: int, tmp_path: Path) -> None:
    """At each interval, while series come, fall silent and take each other's rows, and when it goes round."""
    random, world = np.random.default_rng(1), World(totals=False)
    mirrored = Mirrored(tmp_path, History(intervals, series=series))
    for turn in range(turns):
        for number in random.integers(0, 4 + 3 * turn, 6).tolist():
            world.values(world.one(f"user.{number}"), random.lognormal(size=1 + number))
        mirrored.add(world)
        same(mirrored.history, mirrored.restored(world))


def test_a_history_that_began_before_is_written_whole(tmp_path: Path) -> None:
    """So is one that begins anew in the same place, where nothing of the one before stays."""
    world, history = World(totals=False), History(9, series=20)
    mirrored = Mirrored(tmp_path, history)
    for turn in range(12):
        for number in range(15):
            world.values(world.one(f"user.{number}"), [float(turn)])
        history.add(world.snapshot())
    mirrored.past.update(history)
    same(history, mirrored.restored(world))
    mirrored.history = History(9, series=20)
    world.values(world.one("another"), [1.0])
    mirrored.add(world)
    same(mirrored.history, mirrored.restored(world))


def test_an_interval_that_was_being_written_is_left_out(tmp_path: Path) -> None:
    """And with it the oldest one, whose place it was taking."""
    world = World(totals=False)
    mirrored = Mirrored(tmp_path, History(4))
    for turn in range(6):
        world.values(world.one("a"), [float(turn)])
        mirrored.add(world)
    head, blocks = mirrored.sections()
    words = np.frombuffer(head, "<u8").copy()
    words[2] += 1
    torn = restore(words.tobytes(), blocks, world.series)
    assert [3.0, 4.0, 5.0] == torn.column(world.one("a"))["sum"].tolist()
    assert mirrored.history.times_ns()[1:].tolist() == torn.times_ns().tolist()
    assert torn.added == len(torn) == 3


def test_what_has_no_room_is_left_out(tmp_path: Path) -> None:
    """Rows beyond the bound are missing, and counted; without room for a head there is no history."""
    world = World(totals=False)
    mirrored = Mirrored(tmp_path, History(50), most=30_000)
    for _ in range(3):
        for number in range(30):
            world.values(world.one(f"user.{number}"), [1.0] * (number + 1))
        mirrored.add(world)
    restored = mirrored.restored(world)
    assert (16, 14) == (len(restored.series), restored.left_out)
    other = Mirrored(tmp_path, History(50), most=30)
    other.add(world)
    assert other.restored(world) is None


def test_the_histories_of_several_scopes_share_their_room(tmp_path: Path) -> None:
    """However many monitors a process has."""
    segments = Segments(tmp_path, "a", SPACE)
    directory = Directory(segments.cut(64 * ENTRY.itemsize).memory, segments)
    allowance, world, history = Allowance(30_000), World(totals=False), History(50)
    world.values(world.one("a"), [1.0])
    history.add(world.snapshot())
    for scope in range(5):
        Past(directory, scope, allowance).update(history)
    assert 0 <= allowance.left < 30_000 - 2 * 8 * (8 + 50 * 32)


@pytest.mark.parametrize("words", [(0, 1, 1, 0), (2**40, 1, 1, 0), (4, 9, 7, 0), (4, 1, 3, 0), (5, 1, 1, 0)])
def test_a_damaged_head_is_no_history(words: tuple[int, ...]) -> None:
    """Lengths that are none, beyond the section, and a count that is ahead of itself."""
    head = np.array(words, "<u8").tobytes() + bytes(4 * 16)
    assert restore(head, [], {}) is None
    assert restore(head[:20], [], {}) is None


def test_blocks_of_the_wrong_length_and_unknown_series_are_left_out() -> None:
    """What can be read is."""
    head = np.array((4, 1, 1, 0), "<u8").tobytes() + bytes(4 * 16)
    block = np.array([1, 2, 0, 0, 0, 0, 0, 1], "<u8").tobytes() + bytes(8 * 4 * 32)
    world = World()
    series = world.series | {1: world.one("a")}
    assert [1] == list(restore(head, [block, block[:-1], b""], series).series)
