"""A window that slides over intervals whose readings can be merged but not subtracted."""

from __future__ import annotations

from typing import Final, Generic, Protocol, Self, TypeVar

PANES: Final = 120


class Mergeable(Protocol):
    """A stretch of time that the one after it can be added to."""

    def then(self, later: Self) -> Self:
        """Return this stretch and the *later* one together."""


Stretch = TypeVar("Stretch", bound=Mergeable)


class Window(Generic[Stretch]):
    """
    The merge of the stretches that ended within the last *seconds*, the newest always among them.

    Its edges are those of the stretches: one that ended exactly *seconds* before the newest, or
    earlier, is out; one that began earlier but ended later is in as a whole. Stretches that end
    within *seconds* / 120 of each other share a pane and leave together, with the last of them,
    so a window of more than 120 stretches may reach back by up to that much further.

    Holds at most about 240 stretches, merged ones included, and costs three merges for each that
    is added, amortised: two stacks, of which the older one holds merges up to its newest. Not
    thread-safe.
    """

    def __init__(self, seconds: float) -> None:
        self._length_ns = round(seconds * 1e9)
        # Newest first, so that the last one is the merge of all; with the time at which it falls out.
        self._older: list[tuple[int, Stretch]] = []
        self._newer: list[tuple[int, Stretch]] = []
        self._newer_merged: Stretch | None = None
        self._pane_began_ns = 0

    def add(self, end_ns: int, stretch: Stretch) -> Stretch:
        """Take in *stretch*, which ended at *end_ns*, and return the merge of all that the window now holds."""
        self._evict(end_ns - self._length_ns)
        if self._newer and end_ns - self._pane_began_ns < self._length_ns // PANES:
            self._newer[-1] = end_ns, self._newer[-1][1].then(stretch)
        else:
            self._newer.append((end_ns, stretch))
            self._pane_began_ns = end_ns
        self._newer_merged = stretch if self._newer_merged is None else self._newer_merged.then(stretch)
        return self._older[-1][1].then(self._newer_merged) if self._older else self._newer_merged

    def _evict(self, edge_ns: int) -> None:
        while self._older and self._older[-1][0] <= edge_ns:
            self._older.pop()
        if self._older or not self._newer or self._newer[0][0] > edge_ns:
            return
        merged: Stretch | None = None
        for end_ns, stretch in reversed(self._newer):
            if end_ns <= edge_ns:
                break
            merged = stretch if merged is None else stretch.then(merged)
            self._older.append((end_ns, merged))
        self._newer.clear()
        self._newer_merged = None
