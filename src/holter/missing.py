"""For how long no call has ended of those that never pause, which tells early that a service gets no more."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from holter.signals import longer

Floats = npt.NDArray[np.float64]

_HOUR_SECONDS: Final = 3_600.0
_LEAST_PER_SECOND: Final = 1.0
"""Where fewer come, an interval without any is nothing; and a weekend brings fewer still."""
_MOST_PAUSES: Final = 2
_LEAST_BUSY: Final = 0.98
"""What comes in bursts pauses between them, more often than so in an hour or for longer, and a pause tells nothing."""
_FIRST_HOURS: Final = 24
_AGAIN_HOURS: Final = 168
_LATELY_SECONDS: Final = 600.0
_MOST_WEIGHED: Final = 60.0
"""A pause that ends makes what was lately count for less, as so many seconds would at most."""
_ARRAYS: Final = (
    ("seconds", 0.0), ("lately", 0.0), ("calls", 0.0), ("busy_seconds", 0.0), ("pauses", 0), ("is_told", False),
    ("needed", _FIRST_HOURS), ("left", _FIRST_HOURS),
)  # fmt: skip


class Missing:
    """
    For how many seconds no call of each series has ended, by its place.

    It is told of those that had one call a second, and no pauses, in each of the last 24 hours that the process ran,
    and have so lately. Once it was told, and there was an hour with fewer calls or more pauses, a week without such an
    hour is needed: else each quiet weekend would be news. An hour with one long pause, as an outage is, counts for
    neither. Once no more calls come these conditions are not looked at until some do; and the first hour of that is
    told, so that the detector does not take it for usual. Costs 20 bytes a series.
    """

    def __init__(self) -> None:
        self._of_hour = 0.0
        self.seconds = np.zeros(0, np.float32)
        self.lately = np.zeros(0, np.float32)
        """Calls a second where there were some, of the last ten minutes."""
        self.calls = np.zeros(0, np.float32)
        """Of this hour, as the next two."""
        self.busy_seconds = np.zeros(0, np.float32)
        self.pauses = np.zeros(0, np.uint8)
        self.is_told = np.zeros(0, np.bool_)
        self.needed = np.zeros(0, np.uint8)
        self.left = np.zeros(0, np.uint8)
        """For how many more hours without a pause it is not told yet, of those that are needed."""

    def _fit(self, size: int) -> None:
        if len(self.left) < size:
            for name, fill in _ARRAYS:
                setattr(self, name, longer(getattr(self, name), size, fill))

    def known(self, place: int) -> list[float]:
        """Return what is known of the series at a place, to be given to `set`."""
        self._fit(place + 1)
        return [int(self.needed[place]), int(self.left[place]), round(float(self.lately[place]), 3)]

    def set(self, place: int, needed: int = _FIRST_HOURS, left: int = _FIRST_HOURS, lately: float = 0.0) -> None:
        """
        Begin anew at a place, or go on from what was known.

        Raises:
            ValueError: it is not what `known` returns.
        """
        if not 0 <= left <= needed <= _AGAIN_HOURS or not lately >= 0.0:
            raise ValueError(f"no hours and calls a second: {needed}, {left}, {lately}")
        self._fit(place + 1)
        for name, fill in _ARRAYS:
            getattr(self, name)[place] = fill
        self.needed[place], self.left[place], self.lately[place] = needed, left, lately

    def lacks(self, place: int) -> bool:
        """Whether no call ends at a place now, but did so within a week: what stays for longer is usual."""
        return 0 <= place < len(self.seconds) and bool(0.0 < self.seconds[place] <= _AGAIN_HOURS * _HOUR_SECONDS)

    def told(self, count: Floats, seconds: float) -> Floats:
        """Take in how many calls ended at each place within *seconds*; return for how long none did, NaN if untold."""
        self._fit(len(count))
        came = count > 0
        self.pauses[~came & (self.seconds == 0.0) & (self.pauses <= _MOST_PAUSES)] += 1
        passed = self.seconds + seconds
        weight = -np.expm1(-np.minimum(passed, max(seconds, _MOST_WEIGHED)) / _LATELY_SECONDS)
        self.lately += np.where(came, weight * (count / seconds - self.lately), 0.0)
        self.seconds = np.where(came, 0.0, passed).astype(np.float32)
        self.calls += count
        self.busy_seconds += np.where(came, seconds, 0.0)
        np.copyto(self.is_told, (self.left == 0) & (self.lately >= _LEAST_PER_SECOND), where=came)
        self._of_hour += seconds
        if self._of_hour >= _HOUR_SECONDS:
            self._end_hour()
        return np.where(self.is_told & (self.seconds <= _HOUR_SECONDS), self.seconds, np.nan)

    def _end_hour(self) -> None:
        is_bad = (
            (self.busy_seconds == 0.0)
            | (self.calls < _LEAST_PER_SECOND * self.busy_seconds)
            | (self.pauses > _MOST_PAUSES)
        )
        is_good = ~is_bad & (self.busy_seconds >= _LEAST_BUSY * self._of_hour)
        self.left -= is_good & (self.left > 0)
        self.needed[self.left == 0] = _AGAIN_HOURS
        self.left[is_bad] = self.needed[is_bad]
        self._of_hour = 0.0
        self.calls[:], self.busy_seconds[:], self.pauses[:] = 0.0, 0.0, 0
