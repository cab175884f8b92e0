"""One figure of one target that a check judges: which it is, and how people say it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

from holter.errors import ConfigurationError
from holter.model import NO_ATTRIBUTES, STATISTICS, Attributes, OpenCall, Snapshot, resolve_target
from holter.names import CALL_DURATION, CALL_NAME
from holter.recorder import RECORDER
from holter.words import clean, duration, number, quantity, ratio

_QUANTILE: Final = re.compile(r"p(\d{1,3}(?:\.\d+)?)")
_LABELS: Final = {"error_ratio": "error ratio", "max": "maximum", "last": "value"}


@dataclass(frozen=True, slots=True)
class Measure:
    """A statistic of the series of metric ``name`` that have the attributes ``where``."""

    name: str
    where: Attributes
    statistic: str

    @classmethod
    def of(cls, target: object, statistic: object, where: object = None) -> Self:
        """
        Return the measure of a watched function or of a metric by its name.

        Raises:
            ConfigurationError: there is no such statistic, *target* is neither, or *where* is no
                mapping of attributes to str, bool, int or float.
        """
        if where is not None and not (
            isinstance(where, Mapping)
            and all(isinstance(key, str) and isinstance(value, str | int | float) for key, value in where.items())
        ):
            raise ConfigurationError(f"where must map attribute names to str, bool, int or float, got {where!r}")
        try:
            name, attributes = resolve_target(target, where)
        except TypeError as error:
            raise ConfigurationError(f"{error}: give the function that watch() returned") from None
        if isinstance(target, str) and _is_only_a_call(name):
            raise ConfigurationError(
                f"{name!r} is a watched call and no metric: give the function that watch() returned"
            )
        if not name:
            raise ConfigurationError("expected a watched function or a metric's name, got an empty name")
        if not (isinstance(statistic, str) and _exists(statistic)):
            names = ", ".join(f'"{known}"' for known in STATISTICS)
            raise ConfigurationError(f'statistic must be {names} or a quantile like "p99.9", got {statistic!r}')
        return cls(name, dict(attributes or NO_ATTRIBUTES), statistic)

    @property
    def call(self) -> str | None:
        """The watched call that is measured, if it is one."""
        call = self.where.get(CALL_NAME) if self.name == CALL_DURATION else None
        return None if call is None else str(call)

    @property
    def target(self) -> str:
        """What is measured, in words that are safe to print: the call, or the metric, with its other attributes."""
        rest = {key: value for key, value in self.where.items() if self.call is None or key != CALL_NAME}
        selected = ", ".join(f"{key}={value}" for key, value in sorted(rest.items()))
        return clean((self.call or self.name) + (f"{{{selected}}}" if selected else ""), limit=200)

    @property
    def label(self) -> str:
        """The statistic as people call it."""
        return _LABELS.get(self.statistic, self.statistic)

    @property
    def noun(self) -> str:
        """What is counted."""
        return "call" if self.name == CALL_DURATION else "value"

    def say(self, value: float, snapshot: Snapshot) -> str:
        """Return *value* with the unit that the statistic has in *snapshot*."""
        matching = (series for series in snapshot.series.values() if series.matches(self.name, self.where))
        series = next(matching, None)
        unit = series.unit if series else "s" if self.name == CALL_DURATION else "1"
        if self.statistic == "missing":
            return duration(value)
        if self.statistic == "error_ratio":
            return ratio(value)
        if self.statistic == "rate":
            counted = series is not None and series.kind == "counter"
            return quantity(value, f"{unit if counted else f'{{{self.noun}}}'}/s")
        if unit == "1" and self.name.endswith((".utilization", "ratio")):
            return ratio(value)
        return number(value) if unit == "1" else quantity(value, unit)

    def running(self, snapshot: Snapshot) -> list[OpenCall]:
        """Return the calls of this target that have not ended, the oldest first."""
        open_calls = [call for call in snapshot.open_calls if call.name == self.call]
        return sorted(open_calls, key=lambda call: -call.age_seconds)


def _is_only_a_call(name: str) -> bool:
    known = [entry.series for entry in list(RECORDER.table.entries.values())]
    return any(series.attributes.get(CALL_NAME) == name for series in known) and name not in {
        series.name for series in known
    }


def _exists(statistic: str) -> bool:
    quantile = _QUANTILE.fullmatch(statistic)
    return statistic in STATISTICS or (quantile is not None and float(quantile[1]) <= 100)  # noqa: PLR2004  percent
