"""Holds the number of messages to what was asked for, when the signals keep to no rule that the detector knows."""

from __future__ import annotations

import math
from collections import deque
from typing import Any, Final

WEEK_SECONDS: Final = 604_800.0
_SURE: Final = 0.99
_LEAST_SECONDS: Final = 86_400.0
_MOST: Final = 1_000


def bound(mean: float) -> int:
    """Return the count that a Poisson variable of this *mean* exceeds less than one time in a hundred."""
    share = total = math.exp(-mean)
    count = 0
    while total < _SURE:
        count += 1
        share *= mean / count
        total += share
    return count


class Governor:
    """
    Loosens thresholds where more is notified than the budget explains: above the 99 % bound of a Poisson count.

    Looks at the last week, and at a day at least. ``factor`` is how many times rarer than asked an alarm must be.
    """

    def __init__(self, per_week: float) -> None:
        self._per_week = per_week
        self._times: deque[float] = deque(maxlen=_MOST)
        self._began: float | None = None
        self.factor = 1.0
        self.notified = 0
        """How many incidents there were in all."""

    def note(self, time_seconds: float) -> None:
        """Count an incident."""
        self.notified += 1
        self._times.append(time_seconds)

    def look(self, time_seconds: float) -> bool:
        """Return whether just now there were more than the budget explains, or no longer are."""
        if self._began is None or time_seconds < self._began:
            self._began = time_seconds
        while self._times and self._times[0] <= time_seconds - WEEK_SECONDS:
            self._times.popleft()
        seconds = min(max(time_seconds - self._began, _LEAST_SECONDS), WEEK_SECONDS)
        mean = self._per_week * seconds / WEEK_SECONDS
        before = self.factor
        count = len(self._times)
        if count > bound(mean):
            # It tightens again only when the week is within the budget, so that it does not swing.
            self.factor = max(self.factor, min(2.0 * count / mean, 1e6))
        elif count <= mean:
            self.factor = 1.0
        return (before == 1.0) != (self.factor == 1.0)

    def save(self) -> dict[str, Any]:
        """Return what was counted."""
        return {"times": list(self._times), "began": self._began, "factor": self.factor, "notified": self.notified}

    def load(self, state: dict[str, Any]) -> None:
        """
        Go on from what was saved.

        Raises:
            ValueError: it is not what `save` returns.
        """
        times = [float(one) for one in state["times"]]
        began = None if state["began"] is None else float(state["began"])
        factor, notified = float(state["factor"]), int(state["notified"])
        if not factor >= 1.0:
            raise ValueError(f"no factor: {factor}")
        self._times, self._began, self.factor, self.notified = deque(times, maxlen=_MOST), began, factor, notified
