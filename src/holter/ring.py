"""The seam to the inner pieces in use, in C or in Python, and the reader of any ring."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from holter.record import (
    CAPACITY_WORD,
    FIRST_RECORD_WORD,
    FIRST_SLOT_WORD,
    HEAD_WORD,
    RECORD,
    SEQUENCE_SHIFT,
    SLOT,
    SLOTS,
    STATE_MASK,
    State,
)

__all__ = ["DISABLED", "IMPLEMENTATION", "NATIVE", "Ring", "RingReader", "acquire"]

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


def _already_in_order() -> None:
    """Reads of an x86-64 are; elsewhere, without C, the interpreter's lock orders those of one process only."""


acquire: Callable[[], None] = _already_in_order if NATIVE is None else NATIVE.acquire
"""Keeps what is read from now on from being older than what was read before."""

if TYPE_CHECKING or NATIVE is None:
    from holter._ring import Ring
else:
    Ring = NATIVE.Ring

_NO_RECORDS: Final = np.empty(0, RECORD)
_COMMITTED: Final = np.uint64(State.COMMITTED)


class RingReader:
    """
    Reads one ring while it is written to.

    Each record is returned once, whole and in the order written, or counted as lost because it
    was overwritten first. Costs some 20 µs and a few nanoseconds a record; not thread-safe.
    """

    def __init__(self, memory: object, cursor: int = 0) -> None:
        words = np.frombuffer(memory, np.uint64)  # type: ignore[call-overload]  # any object with a buffer
        self._words = words
        capacity = int(words[CAPACITY_WORD])
        self._mask = capacity - 1
        self._records = words[FIRST_RECORD_WORD : FIRST_RECORD_WORD + 4 * capacity].view(RECORD)
        self._commits = self._records["commit"]
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
        expected = np.arange(first, head + 1, dtype=np.uint64)
        acquire()
        copied = _run(self._records, (first - 1) & self._mask, len(expected))
        # The second look tells whether a writer came round while the copy was made.
        acquire()
        again = _run(self._commits, (first - 1) & self._mask, len(expected))
        commits = copied["commit"]
        sequences = commits >> np.uint64(SEQUENCE_SHIFT)
        whole = (sequences == expected) & ((commits & np.uint64(STATE_MASK)) == _COMMITTED) & (again == commits)
        settled = np.flatnonzero(whole | (again >> np.uint64(SEQUENCE_SHIFT) > expected))
        if not len(settled):
            return _NO_RECORDS, 0
        # A record that is still being written is waited for, unless later ones are settled already.
        read_to = int(settled[-1]) + 1
        records = copied[:read_to][whole[:read_to]]
        lost = first - self.cursor - 1 + read_to - len(records)
        self.cursor = first + read_to - 1
        return records, lost

    def open_calls(self) -> Iterator[tuple[int, int]]:
        """Yield start (monotonic ns) and series of each call that is listed as running."""
        slots = self._slots.copy()
        for slot in slots[slots["start_ns"] != 0]:
            yield int(slot["start_ns"]), int(slot["series"])


def _run(items: np.ndarray, start: int, length: int) -> np.ndarray:
    """Return a copy of *length* items from *start* on, going round the end."""
    if start + length <= len(items):
        return items[start : start + length].copy()
    return np.concatenate((items[start:], items[: start + length - len(items)]))
