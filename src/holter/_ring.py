"""
The ring in Python: the specification of what every implementation does.

One thread writes to a ring; a signal handler, a destructor or a callback of that thread may
interrupt a write and write records of its own. So a sequence is claimed in one step, and after
the claim there are only loads and stores of single aligned words, without a call in between:
nothing can run between reading and writing a word, and no count is lost.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable
from itertools import count
from typing import Any, Final, TypeAlias

from holter.record import (
    CAPACITY_WORD,
    CELL_WORDS,
    CELLS_PER_BLOCK,
    FIRST_RECORD_WORD,
    FIRST_SLOT_WORD,
    HEAD_WORD,
    SLOT_WORDS,
    SLOTS,
    SPARE_SLOT_WORD,
    ring_bytes,
)

# An open call is a plain list, because nothing is cheaper to make:
# [start_ns (0 once it has ended), series of its leaf, slot, its ring, the call that it interrupts]
Call: TypeAlias = list[Any]
Cells: TypeAlias = "tuple[memoryview, memoryview[float]]"
START: Final = 0
LEAF: Final = 1
SLOT: Final = 2
HOME: Final = 3
OUTER: Final = 4

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
        "begin",
        "capacity",
        "cells",
        "claim",
        "current",
        "enter",
        "floats",
        "leave",
        "memory",
        "places",
        "put",
        "release",
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
    current: list[Call | None]
    """The innermost call that the thread is in, alone in a list that all rings of one thread share."""

    def __init__(self, capacity: int, memory: Any = None, allocate: Callable[[int], Any] | None = None) -> None:
        self.memory = anonymous_memory(capacity) if memory is None else memory
        self.capacity, self.allocate = capacity, allocate
        self.words = memoryview(self.memory).cast("Q")
        self.floats = memoryview(self.memory).cast("d")
        self.words[CAPACITY_WORD] = capacity
        self.cells: dict[int, Cells] = {}
        # Errors by (series, type, place): one writer, and read while it writes.
        self.places: dict[tuple[int, str, str], int] = {}
        self.slots = _SLOT_WORDS.copy()
        self.claim = count(1).__next__
        self.serve([None])

    def serve(self, current: list[Call | None]) -> None:
        """Write for another thread from now on, whose innermost call stands in *current*."""
        self.current = current
        self.begin, self.enter, self.release = _openers(self)
        self.write, self.put, self.leave = _writer(self), _putter(self), _leaver(self)

    def block(self, series: int) -> Cells:
        """Return the cells of *series* and its neighbours as integers and as floats, made at first use."""
        found = self.allocate(series // CELLS_PER_BLOCK) if self.allocate is not None else None
        memory = memoryview(bytearray(CELLS_PER_BLOCK * CELL_WORDS * 8) if found is None else found).cast("B")
        # What interrupted this may have made the same block: the first one stays.
        return self.cells.setdefault(series // CELLS_PER_BLOCK, (memory.cast("q"), memory.cast("d")))

    def forget(self) -> None:
        """Let no thread write here from now on that has not asked the recorder again: here they always ask."""

    @property
    def live(self) -> bool:
        """Whether a call opened here is still running."""
        return len(self.slots) < SLOTS


def _openers(ring: Ring) -> tuple[Callable[..., Call], Callable[..., Call], Callable[[Call], None]]:
    words, cells, current, block = ring.words, ring.cells, ring.current, ring.block
    take, give = ring.slots.pop, ring.slots.append

    def begin(series: int, start_ns: int) -> Call:
        try:
            slot = take()
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
            slot = take()
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
            give(slot)

    return begin, enter, release


def _writer(ring: Ring) -> Callable[..., None]:
    words, floats, cells, block, mask = ring.words, ring.floats, ring.cells, ring.block, ring.capacity - 1
    claim = ring.claim

    def write(  # noqa: PLR0917 - by position, which is what costs least
        series: int, time_ns: int, value: float, units: int, outcome: int, call_id: int = 0
    ) -> None:
        try:
            integers, sums = cells[series >> 6]
        except KeyError:
            integers, sums = block(series)
        cell = (series & 63) << 2
        n = claim()
        integers[cell] += 1
        sums[cell + 1] += value
        integers[cell + 2] += units
        at = FIRST_RECORD_WORD + (((n - 1) & mask) << 2)
        words[at] = n << 8 | 1
        words[at + 1] = time_ns
        floats[at + 2] = value
        words[at + 3] = (units | call_id) << 32 | series
        words[at] = n << 8 | outcome << 2 | 2
        if words[HEAD_WORD] < n:  # what has interrupted this came later, and is there already
            words[HEAD_WORD] = n

    return write


def _putter(ring: Ring) -> Callable[[int, int, float], None]:
    words, floats, cells, block, mask = ring.words, ring.floats, ring.cells, ring.block, ring.capacity - 1
    claim = ring.claim

    def put(series: int, time_ns: int, value: float) -> None:
        try:
            integers, doubles = cells[series >> 6]
        except KeyError:
            integers, doubles = block(series)
        cell = (series & 63) << 2
        n = claim()
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
        at = FIRST_RECORD_WORD + (((n - 1) & mask) << 2)
        words[at] = n << 8 | 1
        words[at + 1] = time_ns
        floats[at + 2] = value
        words[at + 3] = series
        words[at] = n << 8 | 2
        if words[HEAD_WORD] < n:  # what has interrupted this came later, and is there already
            words[HEAD_WORD] = n

    return put


def _leaver(ring: Ring) -> Callable[[Call, int, int], None]:
    words, floats, cells, block, mask = ring.words, ring.floats, ring.cells, ring.block, ring.capacity - 1
    claim, current, give = ring.claim, ring.current, ring.slots.append

    def leave(call: Call, end_ns: int, units: int) -> None:
        start_ns, series, slot, _, outer = call
        # The lines of write again, for the same reason.
        try:
            integers, sums = cells[series >> 6]
        except KeyError:
            integers, sums = block(series)
        duration = end_ns - start_ns
        cell = (series & 63) << 2
        n = claim()
        integers[cell] += 1
        sums[cell + 1] += duration
        if units:
            integers[cell + 2] += units
            series |= units << 32
        at = FIRST_RECORD_WORD + (((n - 1) & mask) << 2)
        words[at] = busy = n << 8 | 1
        words[at + 1] = end_ns
        floats[at + 2] = duration
        words[at + 3] = series
        words[at] = busy + 1  # committed
        if words[HEAD_WORD] < n:  # what has interrupted this came later, and is there already
            words[HEAD_WORD] = n
        words[slot] = 0
        call[0] = 0
        current[0] = outer
        if slot != SPARE_SLOT_WORD:
            give(slot)

    return leave
