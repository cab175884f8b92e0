"""What counts as good for one figure: its bounds, and when there is enough to judge by."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Self, get_args

from holter.arguments import count_from_one, finite_number, one_of
from holter.errors import ConfigurationError
from holter.measure import Measure
from holter.model import Severity, Statistics

WITHOUT_COUNT: Final = ("rate", "last", "missing")
"""The statistics that mean something however few values there are."""
# They compare what was seen with what could have been seen, so half a window proves nothing.
_OF_WHOLE_WINDOWS: Final = ("rate", "range", "change")


@dataclass(frozen=True, slots=True)
class Bounds:
    """The values from ``below`` to ``above``, both included; None is unbounded."""

    above: float | None
    below: float | None

    @classmethod
    def checked(cls, above: float | None, below: float | None) -> Self:
        """
        Return the bounds that a user has given.

        Raises:
            ConfigurationError: there is none, one is no finite number, or they exclude each other.
        """
        if above is None and below is None:
            raise ConfigurationError("expected a limit: give above=, below= or both")
        upper = None if above is None else finite_number("above", above)
        lower = None if below is None else finite_number("below", below)
        if upper is not None and lower is not None and upper < lower:
            raise ConfigurationError(f"above={above!r} is less than below={below!r}: every value would be outside")
        return cls(upper, lower)

    def cleared_at(self, clear_at: float | None) -> Bounds:
        """
        Return the bounds within which an alert resolves.

        Raises:
            ConfigurationError: there are two limits, or *clear_at* lies outside.
        """
        if clear_at is None:
            return self
        if self.above is not None and self.below is not None:
            raise ConfigurationError("clear_at needs one limit, above= or below=; for both use two Limits")
        level = finite_number("clear_at", clear_at)
        if not self.contain(level):
            raise ConfigurationError(f"clear_at must lie inside the limit, where the value is good, got {clear_at!r}")
        return Bounds(None, level) if self.above is None else Bounds(level, None)

    def contain(self, value: float) -> bool:
        """Whether *value* lies within; NaN never does."""
        return not math.isnan(value) and not self.exceeded_by(value) and not self.undercut_by(value)

    def exceeded_by(self, value: float) -> bool:
        """Whether *value* lies above."""
        return self.above is not None and value > self.above

    def undercut_by(self, value: float) -> bool:
        """Whether *value* lies below."""
        return self.below is not None and value < self.below


@dataclass(frozen=True, slots=True)
class Rule:
    """Within which bounds a measure is good, over which window, and from how many values on it is judged."""

    measure: Measure
    bounds: Bounds
    clear: Bounds
    window_seconds: float
    for_seconds: float
    minimum_calls: int
    severity: Severity

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if self.for_seconds < 0:
            raise ConfigurationError(f"for_seconds must be 0 or more, got {self.for_seconds!r}")
        calls = count_from_one("minimum_calls", self.minimum_calls)
        if calls > 1 and self.measure.statistic in WITHOUT_COUNT:
            raise ConfigurationError(f"minimum_calls has no meaning for {self.measure.statistic!r}: leave it out")
        one_of("severity", get_args(Severity), self.severity)

    def value(self, statistics: Statistics) -> float | None:
        """Return the value to judge, or None where there is too little to judge by."""
        statistic = self.measure.statistic
        # A sum of intervals may fall short of the window by a float's rounding.
        if statistic in _OF_WHOLE_WINDOWS and statistics.seconds < self.window_seconds * (1 - 1e-9):
            return None
        if statistic not in WITHOUT_COUNT and statistics.interval.count < self.minimum_calls:
            return None
        value = statistics.value(statistic)
        return statistics.total.last if value is None and statistic == "last" else value
