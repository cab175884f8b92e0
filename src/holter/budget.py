"""Good and bad events over long windows, in little memory: what an objective allows, and what was spent of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

PANES: Final = 360


@dataclass(frozen=True, slots=True)
class Events:
    """How many events there were in ``seconds``, and how many of them were bad."""

    total: float = 0.0
    bad: float = 0.0
    seconds: float = 0.0

    @property
    def bad_share(self) -> float:
        """The share of bad ones, 0 where there were none at all."""
        return self.bad / self.total if self.total else 0.0


class EventWindow:
    """
    The events of the last *seconds*, by the clock on the wall, so that they outlive the machine's last start.

    Intervals that end within a 360th of *seconds* share a pane and leave together: it may reach back that much
    further. Holds at most 362 panes; an interval costs a few additions. Where the clock was set back, what lies
    ahead of it is kept as if it were of now.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._pane_seconds = seconds / PANES
        # Of each pane: when it began and ended, how many events, how many of them bad.
        self._panes: deque[list[float]] = deque()
        self._total = self._bad = 0.0

    def add(self, began: float, ended: float, total: float, bad: float) -> None:
        """Take in an interval, in seconds of Unix time."""
        last = self._panes[-1] if self._panes else None
        if last is not None and last[1] > ended:
            ended = last[1]
        if last is not None and ended - last[0] < self._pane_seconds * (1 + 1e-9):
            last[1], last[2], last[3] = ended, last[2] + total, last[3] + bad
        else:
            self._panes.append([began if last is None else max(began, last[1]), ended, total, bad])
        self._total, self._bad = self._total + total, self._bad + bad
        edge = ended - self.seconds * (1 - 1e-9)
        while self._panes[0][1] <= edge and len(self._panes) > 1:
            gone = self._panes.popleft()
            self._total, self._bad = self._total - gone[2], self._bad - gone[3]

    @property
    def events(self) -> Events:
        """What the window holds; its seconds are those that were observed, with no gaps between."""
        seen = sum(pane[1] - pane[0] for pane in self._panes)
        return Events(self._total, self._bad, min(seen, self.seconds))

    def save(self) -> list[list[float]]:
        """Return what `load` takes; whole milliseconds, so that it is short."""
        return [[round(began, 3), round(ended, 3), total, bad] for began, ended, total, bad in self._panes]

    def load(self, panes: Iterable[Any]) -> None:
        """
        Go on from what was saved.

        Raises:
            ValueError: it is not what `save` returns.
        """
        loaded: deque[list[float]] = deque()
        for pane in panes:
            began, ended, total, bad = map(float, pane)
            if not (began <= ended and 0 <= bad <= total < float("inf")) or (loaded and began < loaded[-1][1]):
                raise ValueError(f"no pane of a window: {pane!r:.100}")
            loaded.append([began, ended, total, bad])
            if len(loaded) > PANES + 2:
                raise ValueError("too many panes of a window")
        self._panes = loaded
        self._total, self._bad = sum(pane[2] for pane in loaded), sum(pane[3] for pane in loaded)
