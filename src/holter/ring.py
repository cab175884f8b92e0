"""The seam to the inner pieces in use, in C or in Python, and the reader of any ring."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from holter.record import (
    CAPACITY_WORD,
    FIRST_RECORD_WORD,
    FIRST_SLOT_WORD,
    HEAD_WORD,
    OUTCOME_MASK,
    OUTCOME_SHIFT,
    RECORD,
    RECORD_WORDS,
    SEQUENCE_SHIFT,
    SLOT,
    SLOTS,
    STATE_MASK,
    State,
)

__all__ = [
    "DISABLED",
    "IMPLEMENTATION",
    "MACHINE",
    "NATIVE",
    "Ring",
    "RingReader",
    "acquire",
    "is_in_order",
    "joined",
    "selected",
]

DISABLED: Final = os.environ.get("HOLTER_DISABLED") == "1"


def _native() -> Any:
    """Return the extension, or None where it is not wanted or not there."""
    if DISABLED or os.environ.get("HOLTER_PURE_PYTHON") == "1":
        return None
    try:
        from holter import _hot  # noqa: PLC0415 - it may not have been built
    except ImportError:
        return None
    return _hot


NATIVE: Final = _native()
"""The ring, the timed call, the span and the stream step in C, or None: the pieces in Python do the same."""

IMPLEMENTATION: Final = "pure Python" if NATIVE is None else "C"

MACHINE: Final = os.uname().machine if hasattr(os, "uname") else ""
_KEEP_ORDER: Final = frozenset({"x86_64", "amd64", "i386", "i486", "i586", "i686"})


def is_in_order(writer: str, *, reader: str = IMPLEMENTATION, machine: str = MACHINE) -> bool:
    """
    Whether one process sees what another stores in the order in which it was stored.

    On an x86-64 it does; elsewhere the *writer* and the *reader* must see to it, which only C can.
    """
    return machine.lower() in _KEEP_ORDER or writer == reader == "C"


def _already_in_order() -> None:
    """Reads of an x86-64 are; elsewhere, without C, the interpreter's lock orders those of one process only."""


acquire: Callable[[], None] = _already_in_order if NATIVE is None else NATIVE.acquire
"""Keeps what is read from now on from being older than what was read before."""

if TYPE_CHECKING or NATIVE is None:
    from holter._ring import Ring
else:
    Ring = NATIVE.Ring

_NO_RECORDS: Final = np.empty(0, RECORD)
_STEP: Final = 1 << SEQUENCE_SHIFT
_ALL_BUT_OUTCOME: Final = np.uint64(2**64 - 1 - (OUTCOME_MASK << OUTCOME_SHIFT))


class RingReader:
    """
    Reads one ring while it is written to.

    Each record is returned once, whole and in the order written, or counted as lost because it
    was overwritten first. Costs some 20 µs and a few nanoseconds a record; not thread-safe.
    """

    def __init__(self, memory: object, cursor: int = 0, *, native: Any = NATIVE) -> None:
        self._native = native
        words = np.frombuffer(memory, np.uint64)  # type: ignore[call-overload]  # any object with a buffer
        self._words = words
        capacity = int(words[CAPACITY_WORD])
        self._mask = capacity - 1
        self._rows = words[FIRST_RECORD_WORD : FIRST_RECORD_WORD + RECORD_WORDS * capacity].reshape(-1, RECORD_WORDS)
        self._commits = self._rows[:, 0]
        self._slots = words[FIRST_SLOT_WORD : FIRST_SLOT_WORD + 4 * SLOTS].view(SLOT)
        self.cursor = cursor

    def head(self) -> int:
        """The newest sequence that is committed; the header's word is only where to begin to look."""
        head = int(self._words[HEAD_WORD])
        while int(self._commits[head & self._mask]) >> SEQUENCE_SHIFT == head + 1 and self._is_committed(head):
            head += 1
        return head

    def _is_committed(self, index: int) -> bool:
        return int(self._commits[index & self._mask]) & STATE_MASK == State.COMMITTED

    def read(self) -> tuple[np.ndarray, int]:
        """Return the records since the last read, and how many were lost before they could be read."""
        head = self.head()
        first = max(self.cursor + 1, head - self._mask)
        if first > head:
            return _NO_RECORDS, 0
        count, start = head + 1 - first, (first - 1) & self._mask
        if self._native is not None:
            records = np.empty(count, RECORD)
            if self._native.copy(self._words, records, first) == count:
                lost, self.cursor = first - self.cursor - 1, head
                return records, lost
            # Some are not whole: which ones, and why, is told by numpy.
        acquire()
        copied = _run(self._rows, start, count).view(RECORD).reshape(-1)
        # The second look tells whether a writer came round while the copy was made.
        acquire()
        again = _run(self._commits, start, count)
        commits = copied["commit"]
        begin, end = first << SEQUENCE_SHIFT | State.COMMITTED, head + 1 << SEQUENCE_SHIFT
        expected = np.arange(begin, end, _STEP, dtype=np.uint64)
        is_whole = (commits & _ALL_BUT_OUTCOME) == expected
        is_whole &= again == commits
        if is_whole.all():
            lost, self.cursor = first - self.cursor - 1, head
            return copied, lost
        return self._whole(copied, again, is_whole, first)

    def _whole(self, copied: np.ndarray, again: np.ndarray, is_whole: np.ndarray, first: int) -> tuple[np.ndarray, int]:
        """Return those of the records from *first* on that are whole, and how many are lost."""
        expected = np.arange(first, first + len(copied), dtype=np.uint64)
        settled = np.flatnonzero(is_whole | (again >> np.uint64(SEQUENCE_SHIFT) > expected))
        if not len(settled):
            return _NO_RECORDS, 0
        # A record that is still being written is waited for, unless later ones are settled already.
        read_to = int(settled[-1]) + 1
        records = selected(copied[:read_to], is_whole[:read_to])
        lost = first - self.cursor - 1 + read_to - len(records)
        self.cursor = first + read_to - 1
        return records, lost

    def open_calls(self) -> Iterator[tuple[int, int, int, int]]:
        """
        Yield start (monotonic ns), series and task (0 for none) of each call that is listed as running.

        And of a stream, since when its next item is asked for, -1 while its consumer has the last one; 0 of others.
        """
        slots = self._slots.copy()
        for slot in slots[slots["start_ns"] != 0]:
            yield int(slot["start_ns"]), int(slot["series"]), int(slot["task"]), int(slot["asked_ns"])


def _run(items: np.ndarray, start: int, length: int) -> np.ndarray:
    """Return a copy of *length* items from *start* on, going round the end."""
    if start + length <= len(items):
        return items[start : start + length].copy()
    return np.concatenate((items[start:], items[: start + length - len(items)]))


# numpy moves a record field by field, which takes 15 times as long as to move its four words.


def joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Return a copy of some arrays of records, one after the other; 1 ns a record."""
    return np.concatenate([part.view(np.uint64) for part in parts] or [_NO_RECORDS.view(np.uint64)]).view(RECORD)


def selected(records: np.ndarray, is_wanted: np.ndarray) -> np.ndarray:
    """Return a copy of the *records* that are wanted; 5 ns a record."""
    rows: np.ndarray = records.view(np.uint64).reshape(-1, RECORD_WORDS)[is_wanted]
    return rows.view(RECORD).reshape(-1)
