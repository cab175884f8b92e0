"""The history of a scope, as a recording holds it: a mirror of `History`, brought up to date each interval."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from holter.directory import Directory
from holter.history import INTERVAL, POINT, History
from holter.layout import PAST_HEADER_BYTES, ROWS_PER_SECTION, Section
from holter.metric import Series

# The words of its header.
_INTERVALS: Final = 0
_ADDED: Final = 1
_BEING_ADDED: Final = 2
_LEFT_OUT: Final = 3
_MOST_INTERVALS: Final = 100_000


class Allowance:
    """How many bytes the histories of a recording may still take together."""

    def __init__(self, size: int) -> None:
        self.left = size


class Past:
    """Writes the history of the *scope* to sections, as far as the *allowance* reaches; some 50 µs an interval."""

    def __init__(self, directory: Directory, scope: int, allowance: Allowance) -> None:
        self._directory, self._scope, self._allowance = directory, scope, allowance
        self._words: memoryview | None = None
        self._axis = np.zeros(0, INTERVAL)
        self._owners: list[tuple[memoryview, NDArray[np.void]]] = []
        self._written: dict[int, int] = {}
        self._added = 0

    def update(self, history: History) -> None:
        """Write what has been added to *history* since the last time."""
        if self._words is None and not self._begin(len(history.axis)):
            return
        words = self._words
        if words is None or len(self._axis) != len(history.axis):
            return
        owner = {row: key for key, row in history.rows.items()}
        self._extend(len(owner))
        is_next = history.added == self._added + 1
        column = (history.added - 1) % len(self._axis)
        words[_BEING_ADDED] = history.added
        for place, (ids, points) in enumerate(self._owners):
            first = place * ROWS_PER_SECTION
            if not is_next:
                ids[:] = memoryview(bytes(8 * ROWS_PER_SECTION)).cast("Q")
            for row in range(first, min(first + ROWS_PER_SECTION, len(owner))):
                if self._written.get(row) != owner[row] or not is_next:
                    ids[row - first] = 0
                    points[row - first] = history.points[row]
                    ids[row - first] = self._written[row] = owner[row]
            current = history.points[first : first + ROWS_PER_SECTION, column]
            points[: len(current), column] = current
        if is_next:
            self._axis[column] = history.axis[column]
        else:
            self._axis[:] = history.axis
        words[_LEFT_OUT] = history.left_out + max(0, len(owner) - ROWS_PER_SECTION * len(self._owners))
        words[_ADDED] = self._added = history.added

    def _begin(self, intervals: int) -> bool:
        size = PAST_HEADER_BYTES + intervals * INTERVAL.itemsize
        memory = self._add(Section.PAST, self._scope, size)
        if memory is None:
            return False
        self._words = memory[:PAST_HEADER_BYTES].cast("Q")
        self._words[_INTERVALS] = intervals
        self._axis = np.frombuffer(memory[PAST_HEADER_BYTES:], INTERVAL)
        return True

    def _extend(self, rows: int) -> None:
        """Add sections until each of so many *rows* has its place, as far as there is room."""
        while len(self._owners) * ROWS_PER_SECTION < rows:
            place = len(self._owners)
            size = ROWS_PER_SECTION * (8 + len(self._axis) * POINT.itemsize)
            memory = self._add(Section.PAST_ROWS, self._scope << 32 | place, size)
            if memory is None:
                return
            points = np.frombuffer(memory[8 * ROWS_PER_SECTION :], POINT).reshape(ROWS_PER_SECTION, -1)
            self._owners.append((memory[: 8 * ROWS_PER_SECTION].cast("Q"), points))

    def _add(self, kind: Section, number: int, size: int) -> memoryview | None:
        memory = self._directory.add(kind, number, size) if size <= self._allowance.left else None
        self._allowance.left -= 0 if memory is None else size
        return memory


def restore(head: bytes, blocks: Iterable[bytes], known: Mapping[int, Series]) -> History | None:
    """Return the history that *head*, and the *blocks* of its rows in order, hold of *known* series; None if none."""
    if len(head) < PAST_HEADER_BYTES:
        return None
    intervals, added, being_added, left_out = np.frombuffer(head, "<u8", 4).tolist()
    size = PAST_HEADER_BYTES + intervals * INTERVAL.itemsize
    is_sound = 0 < intervals <= _MOST_INTERVALS and added <= being_added <= min(added + 1, 2**62)
    if not is_sound or len(head) < size:
        return None
    axis = np.frombuffer(head, INTERVAL, intervals, PAST_HEADER_BYTES).copy()
    series: dict[int, Series] = {}
    rows = []
    for block in blocks:
        points_size = ROWS_PER_SECTION * intervals * POINT.itemsize
        if len(block) != 8 * ROWS_PER_SECTION + points_size:
            continue
        points = np.frombuffer(block, POINT, offset=8 * ROWS_PER_SECTION).reshape(ROWS_PER_SECTION, intervals)
        for row, key in enumerate(np.frombuffer(block, "<u8", ROWS_PER_SECTION).tolist()):
            if key in known and key not in series:
                series[key] = known[key]
                rows.append(points[row])
    held = np.array(rows, POINT) if rows else np.zeros((0, intervals), POINT)
    if being_added != added and added >= intervals > 1:
        # The oldest interval was being replaced when the process ended, and is no longer whole.
        axis, held = (np.roll(each, -(added % intervals), axis=-1)[..., 1:] for each in (axis, held))
        added = intervals - 1
    return History.restored(axis, held, series, added, left_out)
