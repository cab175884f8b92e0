"""What is usual at each hour of the day, for columns that differ between them."""

from __future__ import annotations

import base64
from typing import Any, Final

import numpy as np

from holter.distribution import Floats
from holter.features import Shares

_HOUR_NS: Final = 3_600_000_000_000
_HOURS: Final = 24
_KNOWN_ROWS: Final = 500.0
_SURE: Final = 3.0
_PRESENCE: Final = 2


class Hours:
    """
    Counts by the hour of the day, in UTC: 6 KiB for 32 features. Not thread-safe.

    An hour is known when 500 independent rows have come in it; then it stays what it is.
    """

    def __init__(self, features: int) -> None:
        self.rows: Floats = np.zeros((_HOURS, features))
        self.counts: Floats = np.zeros((_HOURS, features))

    @staticmethod
    def of(time_ns: int) -> int:
        """Return the hour of the day at a Unix time."""
        return time_ns // _HOUR_NS % _HOURS

    def learn(self, hour: int, rows: Floats, counts: Floats) -> None:
        """Take in what is usual in that hour."""
        self.rows[hour] += rows
        self.counts[hour] += counts

    def differ(self, usual: Floats, weight: float, smallest_shift: float) -> bool:
        """Whether some hour differs from the *usual* shares by half the smallest shift, and surely so."""
        rows = self.rows * weight
        shares = self.counts / np.maximum(self.rows, 1.0)
        errors = np.sqrt((usual * (1 - usual)).clip(1e-4) / np.maximum(rows, 1.0))
        apart = np.abs(shares - usual) - _SURE * errors > smallest_shift / 2
        return bool((apart & (rows > _KNOWN_ROWS / 5))[:, :-_PRESENCE].any())

    def shares(self, hour: int, weight: float) -> Shares | None:
        """Return what is usual in that hour, None as long as it is not known."""
        rows = self.rows[hour] * weight
        if rows[-1] < _KNOWN_ROWS:
            return None
        return Shares(rows, self.counts[hour] * weight, np.zeros(len(rows)))

    def save(self) -> str:
        """Return the counts as text, some 4 KB."""
        told = np.concatenate((self.rows[:, [0, -1]], self.counts), axis=1)
        return base64.b64encode(told.astype("<f4").tobytes()).decode("ascii")

    def load(self, text: Any) -> None:
        """
        Go on from what was saved.

        Raises:
            ValueError: it is not what `save` returns for as many features.
        """
        size = self.rows.shape[1]
        told = np.frombuffer(base64.b64decode(text), dtype="<f4").astype(float).reshape(_HOURS, size + 2)
        if not np.isfinite(told).all():
            raise ValueError("counts by the hour are finite")
        self.rows = np.repeat(told[:, :1], size, axis=1)
        self.rows[:, -_PRESENCE:] = told[:, 1:2]
        self.counts = told[:, 2:].copy()
