"""Holds the number of messages to what was asked for, when the signals keep to no rule that the detector knows."""

from __future__ import annotations

import math
from collections import Counter, deque
from typing import Any, Final

import numpy as np

from holter.surprise.normal import score_of

WEEK_SECONDS: Final = 604_800.0
_SURE: Final = 0.99
_MANY: Final = 500.0
"""Above this mean a Poisson variable is as good as normal, and its smallest share too small for a float."""
_SURE_DAILY: Final = 1.0 - (1.0 - _SURE) / 7
"""There are seven days to a week."""
_DAY_SECONDS: Final = 86_400.0
_AGAIN: Final = 10.0
"""What comes although it had to be rarer shows that this was not enough: so many times more."""
_MOST_FACTOR: Final = 1e6
_MOST: Final = 1_000


def bound(mean: float, sure: float = _SURE) -> int:
    """Return the count that a Poisson variable of this *mean* does not exceed, to be *sure*: 99 times in a hundred."""
    if mean > _MANY:
        return math.ceil(mean + float(score_of(np.asarray(sure))) * math.sqrt(mean))
    share = total = math.exp(-mean)
    count = 0
    while total < sure:
        count += 1
        share *= mean / count
        total += share
    return count


class Governor:
    """
    Loosens thresholds where more is notified than the budget explains: above the 99 % bound of a Poisson count.

    Looks at the last week, and at the last day. ``factor`` is how many times rarer than asked an alarm must be; as long
    as there are more than the budget explains each that comes all the same makes it ten times more.
    """

    def __init__(self, per_week: float) -> None:
        self._per_week = per_week
        self._noted: deque[tuple[float, str]] = deque(maxlen=_MOST)
        self._began: float | None = None
        self.factor = 1.0
        self._loosened_at = 0
        """How many incidents there were when thresholds were last loosened."""
        self.notified = 0
        """How many incidents there were in all."""

    def note(self, time_seconds: float, name: str) -> None:
        """Count an incident, which the signal of this *name* began."""
        self.notified += 1
        self._noted.append((time_seconds, name))

    @property
    def names(self) -> list[str]:
        """The signals that began the incidents of the last week, those first that began most."""
        return [name for name, _ in Counter(name for _, name in self._noted).most_common()]

    def look(self, time_seconds: float) -> bool:
        """Return whether just now there were more than the budget explains, or no longer are."""
        if self._began is None or time_seconds < self._began:
            self._began = time_seconds
        while self._noted and self._noted[0][0] <= time_seconds - WEEK_SECONDS:
            self._noted.popleft()
        seconds = min(max(time_seconds - self._began, _DAY_SECONDS), WEEK_SECONDS)
        mean, daily = (self._per_week * part / WEEK_SECONDS for part in (seconds, _DAY_SECONDS))
        before = self.factor
        count = len(self._noted)
        today = sum(time > time_seconds - _DAY_SECONDS for time, _ in self._noted)
        if count > bound(mean) or today > bound(daily, _SURE_DAILY):
            if self.notified > self._loosened_at:
                least = 2.0 * max(count / mean, today / daily)
                more = _AGAIN * self.factor if self.factor > 1.0 else 1.0
                self.factor, self._loosened_at = min(max(more, least), _MOST_FACTOR), self.notified
        elif count <= mean:
            # It tightens again only when the week is within the budget, so that it does not swing.
            self.factor = 1.0
        return (before == 1.0) != (self.factor == 1.0)

    def save(self) -> dict[str, Any]:
        """Return what was counted."""
        noted = [list(one) for one in self._noted]
        return {"noted": noted, "began": self._began, "factor": self.factor, "notified": self.notified}

    def load(self, state: dict[str, Any]) -> None:
        """
        Go on from what was saved.

        Raises:
            ValueError: it is not what `save` returns.
        """
        noted = deque(((float(time), str(name)) for time, name in state["noted"]), maxlen=_MOST)
        began = None if state["began"] is None else float(state["began"])
        factor, notified = float(state["factor"]), int(state["notified"])
        if not factor >= 1.0:
            raise ValueError(f"no factor: {factor}")
        self._noted, self._began, self.factor, self.notified = noted, began, factor, notified
        self._loosened_at = notified
