"""Moments that can be merged: count, mean, and sums of powers around it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Final

import numpy as np

from holter.distribution import Floats

_TERMS: Final = 5


@dataclass(frozen=True, slots=True)
class Moments:
    """
    Mean, standard deviation, skewness and kurtosis of numbers; those of parts give those of all.

    Pébay, "Formulas for robust, one-pass parallel computation of covariances and arbitrary-order statistical moments"
    (Sandia, 2008). ``second`` to ``fourth`` are sums of powers of the distance to the mean.

    >>> one, other = Moments.of(np.array([1.0, 2.0])), Moments.of(np.array([3.0, 6.0]))
    >>> one.merged(other).mean
    3.0
    """

    count: int = 0
    mean: float = 0.0
    second: float = 0.0
    third: float = 0.0
    fourth: float = 0.0

    @classmethod
    def of(cls, values: Floats) -> Moments:
        """Return the moments of finite *values*."""
        if not len(values):
            return cls()
        with np.errstate(over="ignore", invalid="ignore"):
            mean = float(values.mean())
            away = values - mean
            squares = away * away
            powers = float(squares.sum()), float((squares * away).sum()), float((squares * squares).sum())
        return cls(len(values), mean, *powers)

    @classmethod
    def of_list(cls, state: Sequence[float]) -> Moments:
        """
        Return the moments that JSON has as *state*.

        Raises:
            ValueError: it is not a list of five numbers.
        """
        if len(state) != _TERMS or int(state[0]) < 0:
            raise ValueError(f"moments are a count and four numbers, got {len(state)} of them")
        return cls(int(state[0]), *map(or_nan, state[1:]))

    def to_list(self) -> list[float | None]:
        """Return the moments as JSON has them."""
        return [self.count, *map(or_none, astuple(self)[1:])]

    def merged(self, other: Moments) -> Moments:
        """Return the moments of the values of both."""
        if not self.count or not other.count:
            return self if self.count else other
        n, m = self.count, other.count
        total, away = n + m, other.mean - self.mean
        step = away / total
        return Moments(
            total,
            self.mean + step * m,
            self.second + other.second + away * step * n * m,
            self.third
            + other.third
            + away * step * step * n * m * (n - m)
            + 3 * step * (n * other.second - m * self.second),
            self.fourth
            + other.fourth
            + away * step**3 * n * m * (n * n - n * m + m * m)
            + 6 * step * step * (n * n * other.second + m * m * self.second)
            + 4 * step * (n * other.third - m * self.third),
        )

    @property
    def deviation(self) -> float:
        """The standard deviation, of a population as numpy's; NaN without values."""
        return math.sqrt(self.second / self.count) if self.count else math.nan

    @property
    def skewness(self) -> float:
        """How lopsided the values are: 0 for symmetric ones; NaN where all are equal."""
        return self.third / self.count / self.deviation**3 if self.count and self.second > 0 else math.nan

    @property
    def kurtosis(self) -> float:
        """How heavy the tails are: 0 for the normal distribution (excess); NaN where all values are equal."""
        return self.fourth * self.count / self.second**2 - 3 if self.count and self.second > 0 else math.nan


def or_none(value: float) -> float | None:
    """Return *value* as JSON has it, which knows no NaN: what has overflowed is null."""
    return value if math.isfinite(value) else None


def or_nan(value: float | None) -> float:
    """Return the number that JSON has as *value*."""
    return math.nan if value is None else float(value)
