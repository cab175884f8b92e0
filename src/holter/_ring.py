"""
The ring in Python: the specification of what every implementation does.

One thread writes to a ring; a signal handler, a destructor or a callback of that thread may
interrupt a write and write records of its own. So between the claim
of a sequence and its commit there are only loads and stores of single items, without a call in
between: nothing can run between reading and writing one, and no count is lost. (CPython looks
for signals and other threads after calls and where loops begin again, never between other steps.)
"""

from __future__ import annotations

import mmap
from collections.abc import Callable
from struct import calcsize
from typing import Any, Final, Literal, TypeAlias

from holter.record import (
    CAPACITY_WORD,
    CELL_WORDS,
    CELLS_PER_BLOCK,
    FIRST_RECORD_WORD,
    FIRST_SLOT_WORD,
    HEAD_WORD,
    RECORD_WORDS,
    SLOT_WORDS,
    SLOTS,
    SPARE_SLOT_WORD,
    ring_bytes,
)

# An open call is a plain list, because nothing is cheaper to make:
# [start_ns (0 once it has ended), series of its leaf, slot, its ring, the call that it interrupts]
Call: TypeAlias = list[Any]
Cells: TypeAlias = "tuple[memoryview, memoryview[float]]"
# The words of all records at the same place in them: commit, time, value, series and units. So the index of a record
# is all that is reckoned for it; the sums by which words follow each other would cost a tenth of a record.
Columns: TypeAlias = "tuple[memoryview, memoryview, memoryview[float], memoryview]"
# words, the columns, the cells of one block as integers and as floats, slots, current, latest, mask: of a ring all that
# a watched function needs.
Lane: TypeAlias = (
    "tuple[memoryview, memoryview, memoryview, memoryview[float], memoryview, memoryview, memoryview[float], "
    "list[int], list[Call | None], list[int], int]"
)
START: Final = 0
LEAF: Final = 1
SLOT: Final = 2
HOME: Final = 3
OUTER: Final = 4

_WORD_BYTES: Final = 8
# The formats of words of 8 bytes: a number of more than 30 bits, as times are, is stored as a long in two thirds of the
# time that a long long takes. On Windows a long is shorter.
_WORD: Final[Literal["L", "Q"]] = "L" if calcsize("L") == _WORD_BYTES else "Q"
_COUNT: Final[Literal["l", "q"]] = "l" if calcsize("l") == _WORD_BYTES else "q"

# Taken from the end. Each ring copies the list and shares its numbers: of its own they would be 8 KiB a ring.
_SLOT_WORDS: Final = [FIRST_SLOT_WORD + index * SLOT_WORDS for index in reversed(range(SLOTS))]


def anonymous_memory(capacity: int) -> mmap.mmap:
    """Return memory for a ring of *capacity* records that nobody else sees."""
    size = ring_bytes(capacity)
    # Private, so that a forked child that ends a call of its parent writes to a copy.
    if hasattr(mmap, "MAP_PRIVATE"):
        return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return mmap.mmap(-1, size)


class Ring:
    """
    The last *capacity* records of one thread, with its cells and open-call slots.

    Only the thread that has the ring calls its functions, ``release`` apart. All times are
    nanoseconds of the monotonic clock. A value must be an int or float that fits a double, units
    0 to 2**32 - 1: the caller has converted them, because a conversion between claim and commit
    could run foreign code. Memory: 32 bytes a record, 8 KiB of slots, 2 KiB for each 64 series
    that the thread has touched; *memory* and what ``allocate(block)`` returns, where given, and else its own.
    """

    __slots__ = (
        "allocate",
        "asked",
        "begin",
        "capacity",
        "cells",
        "columns",
        "current",
        "enter",
        "lanes",
        "latest",
        "leave",
        "memory",
        "places",
        "put",
        "release",
        "signed",
        "slots",
        "words",
        "write",
    )

    begin: Callable[[int, int], Call]
    """``begin(series, start_ns)``: open a call and return it; count it as begun."""
    enter: Callable[[int, int], Call]
    """As ``begin``, for a call that stays on this thread until ``leave``: it becomes the current one."""
    leave: Callable[[Call, int, int], None]
    """``leave(call, end_ns, units)``: end with outcome ok what ``enter`` has opened."""
    write: Callable[..., None]
    """``write(series, time_ns, value, units, outcome, call_id=0)``: one record, and its cell; a span has no units."""
    put: Callable[[int, int, float], None]
    """``put(series, time_ns, value)``: one record of a gauge, and its cell."""
    release: Callable[[Call], None]
    """``release(call)``: mark *call*, opened on this ring, as ended; any thread may."""
    asked: Callable[[Call, int], None]
    """
    ``asked(call, asked_ns)``: of a stream, say since when its next item is asked for, -1 while its consumer has the
    last one; 0 before it is released. Any thread may; of one that has ended nothing is said.
    """
    current: list[Call | None]
    """The innermost call that the thread is in, alone in a list that all rings of one thread share."""

    def __init__(self, capacity: int, memory: Any = None, allocate: Callable[[int], Any] | None = None) -> None:
        self.memory = anonymous_memory(capacity) if memory is None else memory
        self.capacity, self.allocate = capacity, allocate
        self.words = memoryview(self.memory).cast(_WORD)
        self.signed = memoryview(self.memory).cast(_COUNT)
        self.words[CAPACITY_WORD] = capacity
        records = self.words[FIRST_RECORD_WORD:]
        values = memoryview(self.memory).cast("d")[FIRST_RECORD_WORD + 2 :: RECORD_WORDS]
        self.columns: Columns = (records[::RECORD_WORDS], records[1::RECORD_WORDS], values, records[3::RECORD_WORDS])
        self.cells: dict[int, Cells] = {}
        # Errors by (series, type, place): one writer, and read while it writes.
        self.places: dict[tuple[int, str, str], int] = {}
        self.slots = _SLOT_WORDS.copy()
        # The sequence that was claimed last, alone in its list. One is claimed on one line, so that nothing comes
        # between that traces lines; an iterator's next number would be a call, which costs more.
        self.latest = [0]
        self.serve([None])

    def serve(self, current: list[Call | None]) -> None:
        """Write for another thread from now on, whose innermost call stands in *current*."""
        self.current = current
        self.lanes: dict[int, Lane] = {}
        self.begin, self.enter, self.release = _openers(self)
        self.asked = _asker(self)
        self.write, self.put, self.leave = _writer(self), _putter(self), _leaver(self)

    def block(self, series: int) -> Cells:
        """Return the cells of *series* and its neighbours as integers and as floats, made at first use."""
        found = self.allocate(series // CELLS_PER_BLOCK) if self.allocate is not None else None
        memory = memoryview(bytearray(CELLS_PER_BLOCK * CELL_WORDS * 8) if found is None else found).cast("B")
        # What interrupted this may have made the same block: the first one stays.
        return self.cells.setdefault(series // CELLS_PER_BLOCK, (memory.cast(_COUNT), memory.cast("d")))

    def forget(self) -> None:
        """Let no thread write here from now on that has not asked the recorder again: here they always ask."""

    @property
    def live(self) -> bool:
        """Whether a call opened here is still running."""
        return len(self.slots) < SLOTS


def lane_of(ring: Any, series: int) -> Lane | None:
    """Return the lane of *ring* for *series*, from then on in its ``lanes`` by the block; None of a ring in C."""
    if not isinstance(ring, Ring):
        return None
    block = series // CELLS_PER_BLOCK
    integers, sums = ring.cells.get(block) or ring.block(series)
    made = (ring.words, *ring.columns, integers, sums, ring.slots, ring.current, ring.latest, ring.capacity - 1)
    return ring.lanes.setdefault(block, made)


def _openers(ring: Ring) -> tuple[Callable[..., Call], Callable[..., Call], Callable[[Call], None]]:
    words, cells, current, block = ring.words, ring.cells, ring.current, ring.block
    slots = ring.slots

    def begin(series: int, start_ns: int) -> Call:
        try:
            slot = slots.pop()
        except IndexError:
            slot = SPARE_SLOT_WORD
        try:
            integers = cells[series >> 6][0]
        except KeyError:
            integers = block(series)[0]
        integers[((series & 63) << 2) + 3] += 1
        words[slot + 1] = series
        words[slot] = start_ns
        return [start_ns, series, slot, ring, None]

    def enter(series: int, start_ns: int) -> Call:
        # The lines of begin again: calling it would cost a tenth of a watched call.
        try:
            slot = slots.pop()
        except IndexError:
            slot = SPARE_SLOT_WORD
        try:
            integers = cells[series >> 6][0]
        except KeyError:
            integers = block(series)[0]
        integers[((series & 63) << 2) + 3] += 1
        words[slot + 1] = series
        words[slot] = start_ns
        call = [start_ns, series, slot, ring, current[0]]
        current[0] = call
        return call

    def release(call: Call) -> None:
        slot = call[SLOT]
        call[START] = 0
        words[slot] = 0
        if slot != SPARE_SLOT_WORD:
            slots.append(slot)

    return begin, enter, release


def _asker(ring: Ring) -> Callable[[Call, int], None]:
    words = ring.signed

    def asked(call: Call, asked_ns: int) -> None:
        if call[START]:  # of one that has ended the slot is another's
            words[call[SLOT] + 3] = asked_ns

    return asked


def _writer(ring: Ring) -> Callable[..., None]:
    words, cells, block, mask = ring.words, ring.cells, ring.block, ring.capacity - 1
    commits, times, values, others = ring.columns
    latest = ring.latest

    def write(  # noqa: PLR0917 - by position, which is what costs least
        series: int, time_ns: int, value: float, units: int, outcome: int, call_id: int = 0
    ) -> None:
        try:
            integers, sums = cells[series >> 6]
        except KeyError:
            integers, sums = block(series)
        cell = (series & 63) << 2
        latest[0] = n = latest[0] + 1
        integers[cell] += 1
        sums[cell + 1] += value
        integers[cell + 2] += units
        at = n - 1 & mask
        commits[at] = busy = n * 256 + 1
        times[at] = time_ns
        values[at] = value
        others[at] = (units | call_id) << 32 | series
        commits[at] = busy + 1 + outcome * 4  # committed
        if latest[0] == n:  # what has interrupted this came later, and is there already
            words[HEAD_WORD] = n

    return write


def _putter(ring: Ring) -> Callable[[int, int, float], None]:
    words, cells, block, mask = ring.words, ring.cells, ring.block, ring.capacity - 1
    commits, times, values, others = ring.columns
    latest = ring.latest

    def put(series: int, time_ns: int, value: float) -> None:
        try:
            integers, doubles = cells[series >> 6]
        except KeyError:
            integers, doubles = block(series)
        cell = (series & 63) << 2
        latest[0] = n = latest[0] + 1
        # Written so that a first value that is not a number is replaced, and a later one does not replace.
        if not integers[cell]:
            doubles[cell + 2] = doubles[cell + 3] = value
        elif value == value:  # noqa: PLR0124 - false for not-a-number, and math.isnan would be a call
            if not doubles[cell + 2] <= value:
                doubles[cell + 2] = value
            if not doubles[cell + 3] >= value:
                doubles[cell + 3] = value
        integers[cell] += 1
        doubles[cell + 1] = value
        at = n - 1 & mask
        commits[at] = busy = n * 256 + 1
        times[at] = time_ns
        values[at] = value
        others[at] = series
        commits[at] = busy + 1  # committed
        if latest[0] == n:  # what has interrupted this came later, and is there already
            words[HEAD_WORD] = n

    return put


def _leaver(ring: Ring) -> Callable[[Call, int, int], None]:
    words, cells, block, mask = ring.words, ring.cells, ring.block, ring.capacity - 1
    commits, times, values, others = ring.columns
    latest, current, slots = ring.latest, ring.current, ring.slots

    def leave(call: Call, end_ns: int, units: int) -> None:
        start_ns, series, slot, _, outer = call
        # The lines of write again, for the same reason.
        try:
            integers, sums = cells[series >> 6]
        except KeyError:
            integers, sums = block(series)
        duration = end_ns - start_ns
        cell = (series & 63) << 2
        latest[0] = n = latest[0] + 1
        integers[cell] += 1
        sums[cell + 1] += duration
        if units:
            integers[cell + 2] += units
            series |= units << 32
        at = n - 1 & mask
        commits[at] = busy = n * 256 + 1
        times[at] = end_ns
        values[at] = duration
        others[at] = series
        commits[at] = busy + 1  # committed
        if latest[0] == n:  # what has interrupted this came later, and is there already
            words[HEAD_WORD] = n
        words[slot] = 0
        call[0] = 0
        current[0] = outer
        if slot != SPARE_SLOT_WORD:
            slots.append(slot)

    return leave
