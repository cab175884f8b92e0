"""For how long calls that never pause have not come, which tells early of a service that gets no more."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from holter.signals import longer

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

_HOUR_SECONDS: Final = 3_600.0
_LEAST_PER_SECOND: Final = 1.0
"""Where fewer come, an interval without any is nothing; and a weekend brings fewer still."""
_MOST_PAUSES: Final = 2
"""What comes in bursts pauses between them: more often than so in an hour, and a pause tells nothing."""
_FIRST_HOURS: Final = 24
_AGAIN_HOURS: Final = 168
_LATELY_SECONDS: Final = 600.0
_ARRAYS: Final = (
    ("seconds", 0.0), ("lately", 0.0), ("calls", 0.0), ("busy_seconds", 0.0), ("pauses", 0), ("is_told", False),
    ("left", _FIRST_HOURS),
)  # fmt: skip


class Missing:
    """
    For how many seconds each series of calls has had none, by its place.

    It is told of those that had one call a second, and no pauses, in each of the last 24 hours, and have so lately.
    Once it was told, and an hour was not so, a week without such an hour is needed: else each quiet weekend would be
    news. While no calls come that is not asked anew. Costs 19 bytes a series.
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
        self.left = np.zeros(0, np.uint8)
        """For how many hours without a pause it is not told yet."""

    def _fit(self, size: int) -> None:
        if len(self.left) < size:
            for name, fill in _ARRAYS:
                setattr(self, name, longer(getattr(self, name), size, fill))

    def known(self, place: int) -> int:
        """Return for how many hours it is not told yet of the series at a place, to be given to `set`."""
        self._fit(place + 1)
        return int(self.left[place])

    def set(self, place: int, hours: int = _FIRST_HOURS) -> None:
        """Begin anew at a place, of which it is not told for so many *hours*."""
        self._fit(place + 1)
        for name, fill in _ARRAYS:
            getattr(self, name)[place] = fill
        self.left[place] = min(max(hours, 0), _AGAIN_HOURS)

    def told(self, count: Floats, seconds: float) -> Floats:
        """Take in how many calls came at each place within *seconds*; return for how long none did, NaN if untold."""
        self._fit(len(count))
        came = count > 0
        self.pauses[~came & (self.seconds == 0.0) & (self.pauses <= _MOST_PAUSES)] += 1
        passed = self.seconds + seconds
        self.lately += np.where(came, -np.expm1(-passed / _LATELY_SECONDS) * (count / seconds - self.lately), 0.0)
        self.seconds = np.where(came, 0.0, passed).astype(np.float32)
        self.calls += count
        self.busy_seconds += np.where(came, seconds, 0.0)
        np.copyto(self.is_told, (self.left == 0) & (self.lately >= _LEAST_PER_SECOND), where=came)
        self._of_hour += seconds
        if self._of_hour >= _HOUR_SECONDS:
            self._end_hour()
        return np.where(self.is_told, self.seconds, np.nan)

    def _end_hour(self) -> None:
        is_busy = (
            (self.busy_seconds > 0.0)
            & (self.calls >= _LEAST_PER_SECOND * self.busy_seconds)
            & (self.pauses <= _MOST_PAUSES)
        )
        is_known = (self.left == 0) | (self.left > _FIRST_HOURS)
        left = np.where(is_busy, self.left - (self.left > 0), np.where(is_known, _AGAIN_HOURS, _FIRST_HOURS))
        self.left = left.astype(np.uint8)
        self._of_hour = 0.0
        self.calls[:], self.busy_seconds[:], self.pauses[:] = 0.0, 0.0, 0
