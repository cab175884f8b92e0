"""Counts over the recent past, in panes that grow with their age."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from holter.distribution import Floats


class Pane(NamedTuple):
    """Rows and counts of the looks since ``since_ns``, of which there were ``looks``."""

    since_ns: int
    looks: int
    rows: Floats
    counts: Floats


class Panes:
    """
    Windows that end now, of 1, 2, 4, ... looks and more, by exact counts.

    Of each size there are at most two panes; a third makes the older two one (the counter of Datar, Gionis, Indyk and
    Motwani 2002). So n looks take 2 log2(n) panes, and any beginning is met to within half of its age.
    """

    def __init__(self) -> None:
        self._panes: list[Pane] = []

    def add(self, since_ns: int, rows: Floats, counts: Floats) -> None:
        """Take in one look."""
        self._panes.append(Pane(since_ns, 1, rows, counts))
        place = len(self._panes) - 3
        while place >= 0 and self._panes[place].looks == self._panes[place + 2].looks:
            older, newer = self._panes[place], self._panes[place + 1]
            both = Pane(older.since_ns, older.looks + newer.looks, older.rows + newer.rows, older.counts + newer.counts)
            self._panes[place : place + 2] = [both]
            place -= 2

    def windows(self) -> Iterator[Pane]:
        """Yield the windows that end now, the shortest first."""
        window: Pane | None = None
        for pane in reversed(self._panes):
            window = (
                pane
                if window is None
                else Pane(
                    pane.since_ns, pane.looks + window.looks, pane.rows + window.rows, pane.counts + window.counts
                )
            )
            yield window

    def clear(self) -> None:
        """Forget all."""
        self._panes.clear()
