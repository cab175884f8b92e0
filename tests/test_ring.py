"""The ring in use, and its reader on bytes that were set by hand."""

from __future__ import annotations

import itertools
import mmap
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.ring import CAPACITY, RingContract, sequences
from holter import _ring
from holter.record import (
    CELL,
    FIRST_RECORD_WORD,
    GAUGE_CELL,
    HEAD_WORD,
    HEADER_WORDS,
    RECORD,
    SEQUENCE_SHIFT,
    SLOT,
    Outcome,
    State,
    ring_bytes,
)
from holter.ring import IMPLEMENTATION, NATIVE, Ring, RingReader, is_in_order


class TestRing(RingContract):
    """The ring that is in use."""

    def make(self, capacity: int) -> Any:
        """Return a ring of the kind that the recorder takes."""
        return Ring(capacity)


class TestPythonRing(RingContract):
    """The ring in Python, whichever is in use."""

    def make(self, capacity: int) -> Any:
        """Return the specification."""
        return _ring.Ring(capacity)


def test_layouts_are_32_bytes_and_aligned() -> None:
    """Records, cells and slots are 32 bytes, and each part of a ring begins at a multiple of them."""
    assert [32] * 4 == [layout.itemsize for layout in (RECORD, CELL, GAUGE_CELL, SLOT)]
    assert (0, 0) == (HEADER_WORDS * 8 % 32, FIRST_RECORD_WORD * 8 % 32)
    assert 128 + 257 * 32 + 1024 * 32 == ring_bytes(1024)


def test_names_the_implementation() -> None:
    """The start line can say which ring runs."""
    assert IMPLEMENTATION


def test_an_x86_keeps_the_order_of_stores_and_other_machines_need_c_on_both_sides() -> None:
    """What one process writes, another sees in order there by the machine, here by fences that only C has."""
    sides = [(writer, reader) for writer in ("C", "pure Python", "") for reader in ("C", "pure Python")]
    for machine in ("x86_64", "AMD64", "i686"):
        assert all(is_in_order(writer, reader=reader, machine=machine) for writer, reader in sides)
    for machine in ("aarch64", "arm64", "riscv64", "ppc64le", ""):
        assert [("C", "C")] == [side for side in sides if is_in_order(side[0], reader=side[1], machine=machine)]


def commit(sequence: int, state: State = State.COMMITTED) -> int:
    """Return the first word of a record."""
    return sequence << SEQUENCE_SHIFT | state


class Memory:
    """A ring's bytes, set by hand."""

    def __init__(self) -> None:
        self.ring = Ring(CAPACITY)
        self.words = memoryview(self.ring.memory).cast("Q")
        self.reader = RingReader(self.ring.memory)

    def set(self, sequence: int, state: State = State.COMMITTED) -> None:
        """Let the record of *sequence* be there, with the sequence as its time."""
        at = FIRST_RECORD_WORD + (sequence - 1) % CAPACITY * 4
        self.words[at], self.words[at + 1] = commit(sequence, state), sequence
        if state == State.COMMITTED:
            self.words[HEAD_WORD] = max(sequence, self.words[HEAD_WORD])

    def read(self) -> tuple[list[int], int]:
        """Return the sequences that are read, and how many are lost."""
        records, lost = self.reader.read()
        assert sequences(records) == records["time_ns"].tolist()
        return sequences(records), lost


@pytest.fixture
def memory() -> Memory:
    """An empty ring."""
    return Memory()


def test_an_empty_ring_has_nothing_to_read(memory: Memory) -> None:
    """No record, none lost, and state 0 is never taken for a record."""
    assert ([], 0) == memory.read()


def test_a_busy_record_is_waited_for(memory: Memory) -> None:
    """What is being written is read the next time, and not counted as lost."""
    memory.set(1)
    memory.set(2, State.BUSY)
    memory.words[HEAD_WORD] = 2
    assert ([1], 0) == memory.read()
    assert ([], 0) == memory.read()
    memory.set(2)
    assert ([2], 0) == memory.read()


def test_a_busy_record_is_lost_once_later_ones_are_there(memory: Memory) -> None:
    """A writer that was interrupted for ever holds up nobody."""
    memory.set(1)
    memory.set(2, State.BUSY)
    memory.set(3)
    assert ([1, 3], 1) == memory.read()
    memory.set(2)
    assert ([], 0) == memory.read()


def test_a_record_of_the_last_round_is_not_read_again(memory: Memory) -> None:
    """A sequence that was claimed and never written leaves the old record in its place, which is lost, not doubled."""
    for sequence in range(1, CAPACITY + 1):
        memory.set(sequence)
    assert (list(range(1, CAPACITY + 1)), 0) == memory.read()
    memory.set(CAPACITY + 2)
    assert ([CAPACITY + 2], 1) == memory.read()


def test_a_writer_that_comes_round_while_a_copy_is_made_takes_its_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """A record whose commit has changed after the copy is dropped and counted, though the copy looked whole."""
    memory = Memory()
    for sequence in (1, 2, 3):
        memory.set(sequence)
    plain, looks = RingReader.read.__globals__["_run"], []

    def overtake(items: np.ndarray, start: int, length: int) -> np.ndarray:
        copied = plain(items, start, length)
        if not looks:
            memory.set(CAPACITY + 1, State.BUSY)
        looks.append(items)
        return copied

    monkeypatch.setitem(RingReader.read.__globals__, "_run", overtake)
    memory.reader = RingReader(memory.ring.memory, native=None)
    assert ([2, 3], 1) == memory.read()


@given(
    rounds=st.lists(
        st.tuples(st.integers(0, CAPACITY), st.sets(st.integers(0, CAPACITY - 1), max_size=5), st.booleans()),
        max_size=8,
    )
)
def test_gaps_are_counted_exactly_and_busy_records_never_returned(
    rounds: list[tuple[int, set[int], bool]],
) -> None:
    """Whatever a writer leaves behind: each sequence is read once or lost, up to the last one that is settled."""
    memory = Memory()
    newest, read, lost, committed = 0, [], 0, set()
    for length, holes, busy in rounds:
        for offset in range(length):
            newest += 1
            if offset not in holes:
                memory.set(newest)
                committed.add(newest)
            elif busy:
                memory.set(newest, State.BUSY)
        found, missed = memory.read()
        read += found
        lost += missed
        assert memory.reader.cursor == len(read) + lost
    assert sorted(set(read)) == read
    assert set(read) <= committed
    assert memory.reader.cursor == max(committed, default=0)


def test_the_start_of_a_cursor_is_respected() -> None:
    """A reader can go on where another one stopped."""
    ring = Ring(CAPACITY)
    for number in range(1, 11):
        ring.write(1, number, 0.0, 0, Outcome.OK)
    records, lost = RingReader(ring.memory, cursor=7).read()
    assert ([8, 9, 10], 0) == (sequences(records), lost)


WRITING = """
    import mmap, sys
    from holter import _ring
    from holter.ring import NATIVE

    with open(sys.argv[1], "r+b") as file:
        memory = mmap.mmap(file.fileno(), 0)
    ring = (_ring if NATIVE is None else NATIVE).Ring(1024, memory)
    print("ready", flush=True)
    number = 0
    while True:
        number += 1
        ring.write(number % 7, number, float(number), number, 0)
"""


@pytest.mark.parametrize("native", [None, NATIVE], ids=["numpy", "in use"])
def test_what_is_read_while_another_process_writes_is_whole(native: Any, tmp_path: Path) -> None:
    """
    At full speed, over many rounds: each record once, in order, never half of two, and the rest counted as lost.

    Each hundredth time the reader waits until it has been overtaken: otherwise one that keeps up would lose nothing.
    """
    path = tmp_path / "ring"
    path.write_bytes(bytes(ring_bytes(1024)))
    command = [sys.executable, "-c", textwrap.dedent(WRITING), str(path)]
    with path.open("r+b") as file, subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        memory = mmap.mmap(file.fileno(), 0)
        child.stdout.readline()
        head = memoryview(memory).cast("Q")[HEAD_WORD:]
        reader, read, lost, end = RingReader(memory, native=native), 0, 0, time.monotonic() + 1
        for turn in itertools.takewhile(lambda _: time.monotonic() < end, itertools.count()):
            while turn % 100 == 99 and head[0] < reader.cursor + 2 * 1024 and child.poll() is None:
                pass
            records, missed = reader.read()
            numbers = records["commit"] >> np.uint64(SEQUENCE_SHIFT)
            assert (np.diff(numbers.astype(np.int64)) > 0).all()
            for name in ("time_ns", "value", "units"):
                assert (records[name] == numbers).all(), name
            assert (records["series"] == numbers % 7).all()
            read, lost = read + len(records), lost + missed
        child.kill()
    assert reader.cursor == read + lost > read > 0


def test_memory_of_a_ring_is_its_layout() -> None:
    """A ring for 1,024 records is 40 KiB of memory, of which only what is touched is resident."""
    assert ring_bytes(1024) == len(memoryview(Ring(1024).memory))
    assert ring_bytes(1024) < 42_000
