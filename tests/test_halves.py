"""Bytes that are replaced as a whole, whenever their writer is stopped."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holter.halves import Halves, length_for, newest, room


class StoppedError(Exception):
    """The writer is killed here."""


class Fragile:
    """Memory whose writer is killed after so many stores."""

    def __init__(self, memory: bytearray, stores: int) -> None:
        self.memory, self.left = memoryview(memory), [stores]

    def _copy(self, memory: memoryview) -> Fragile:
        other = Fragile(bytearray(), 0)
        other.memory, other.left = memory, self.left
        return other

    def __len__(self) -> int:
        return len(self.memory)

    def cast(self, kind: str) -> Fragile:
        return self._copy(self.memory.cast(kind))

    def __getitem__(self, where: slice) -> Fragile:
        return self._copy(self.memory[where])

    def __setitem__(self, where: int | slice, value: object) -> None:
        if not self.left[0]:
            raise StoppedError
        self.left[0] -= 1
        self.memory[where] = value


def read(memory: bytes) -> tuple[int, bytes] | None:
    """Return what is there."""
    return newest(len(memory), lambda at, size: bytes(memory[at : at + size]))


def test_the_newest_is_read_back() -> None:
    """Each write takes the place of the one before, and has the next number."""
    memory = bytearray(length_for(20))
    halves = Halves(memoryview(memory))
    assert read(memory) is None
    for number, parts in enumerate(([b"one"], [b"", b"tw", b"o"], [b"x" * halves.room], []), 1):
        halves.write(parts)
        assert (number, b"".join(parts)) == read(memory)


@given(st.integers(1, 10_000))
def test_there_is_room_for_what_was_asked(size: int) -> None:
    """A section of the length for a size holds it twice, and begins its second half where stores are aligned."""
    assert room(length_for(size)) >= size
    assert length_for(size) % 64 == 0


@pytest.mark.parametrize("stores", range(7))
def test_a_writer_that_is_killed_leaves_the_one_before(stores: int) -> None:
    """After each store of the third write the second is still there, until the last one."""
    memory = bytearray(length_for(20))
    Halves(memoryview(memory)).write([b"one"])
    halves = Halves(memoryview(memory), 1)
    halves.write([b"two"])
    halves._halves = tuple(Fragile(memory[:0], 0)._copy(half) for half in halves._halves)
    for half in halves._halves:
        half.left = [stores]
    if stores < 6:
        with pytest.raises(StoppedError):
            halves.write([b"th", b"ree"])
        assert (2, b"two") == read(memory)
    else:
        halves.write([b"th", b"ree"])
        assert (3, b"three") == read(memory)


@given(st.binary(max_size=300), st.data())
def test_foreign_bytes_are_none_or_what_was_written(content: bytes, data: st.DataObject) -> None:
    """One flipped bit never yields other bytes; any bytes at all are read without an error."""
    read(content)
    memory = bytearray(length_for(40))
    halves = Halves(memoryview(memory))
    for part in (b"one" * 5, b"two" * 5):
        halves.write([part])
    at = data.draw(st.integers(0, len(memory) - 1))
    memory[at] ^= 1 << data.draw(st.integers(0, 7))
    assert read(memory) in [(1, b"one" * 5), (2, b"two" * 5)]
