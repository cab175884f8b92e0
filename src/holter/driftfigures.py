"""What of drift is shown as gauges: how far columns are from what is expected, and how many are in which state."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final, Protocol

from holter import names
from holter.distances import Distances
from holter.model import AttributeValue
from holter.words import clean

MOST_SHOWN: Final = 20
_MOST_EVER: Final = 100
_MOST_LEAVING: Final = 4
_NAME: Final = 60
_GAUGES: Final = {
    "psi": names.DRIFT_PSI,
    "jensen_shannon": names.DRIFT_JENSEN_SHANNON,
    "ks": names.DRIFT_KS,
    "wasserstein": names.DRIFT_WASSERSTEIN,
}
_STATES: Final = ("expected", "skewed", "changed", "unseen")


class Column(Protocol):
    """What is shown of a column."""

    @property
    def has_rows(self) -> bool:
        """Whether anything was seen of it."""

    @property
    def is_skewed(self) -> bool:
        """Whether it differs from its reference."""

    @property
    def is_changed(self) -> bool:
        """Whether it has changed since."""

    @property
    def log_evidence(self) -> float:
        """What tells against "all is as it was"."""

    def distances(self) -> Distances | None:
        """Return how far its last rows are from what is expected, None before there are enough."""


class DriftFigures:
    """
    The gauges of the columns of one call: of 20 at most, so that 1,000 columns do not make 4,000 series.

    If there are more columns, those are shown whose first look told most; one that has changed takes the place of one
    that has not, whose gauges become NaN. A hundred have a place at some time at most: 400 series.
    """

    def __init__(self, call: str) -> None:
        self._call = clean(call)
        self._shown: dict[str, Column | None] = {}
        self._distances: dict[str, Distances | None] | None = None
        self._left: tuple[str, ...] = ()
        self._ever: set[str] = set()
        self._states: Counter[str] = Counter()

    def learn(self, columns: Mapping[str, Column]) -> None:
        """Take in how *columns* stand after a look."""
        seen = {name: column for name, column in columns.items() if column.has_rows}
        self._states = Counter(map(_state, columns.values()))
        free = MOST_SHOWN - len(self._shown)
        waiting = [name for name in seen if name not in self._shown]
        if free and len(waiting) > free:
            waiting.sort(key=lambda name: -seen[name].log_evidence)
        self._shown |= dict.fromkeys(waiting[:free])
        self._left = tuple(self._leave(seen, waiting[free:]))
        self._ever |= self._shown.keys()
        self._shown = {name: seen.get(name) for name in self._shown}
        self._distances = None

    def _leave(self, seen: Mapping[str, Column], waiting: list[str]) -> Iterator[str]:
        """Give the places of columns that have not changed to those that have; yield who loses one."""
        changed = [name for name in waiting if seen[name].is_changed]
        calm = [name for name in self._shown if name not in seen or not seen[name].is_changed]
        for one, other in zip(changed[:_MOST_LEAVING], reversed(calm), strict=False):
            if one in self._ever or len(self._ever) < _MOST_EVER:
                self._ever.add(one)
                del self._shown[other]
                self._shown[one] = None
                yield other

    def all(self) -> Iterator[tuple[str, float, Mapping[str, AttributeValue]]]:
        """Yield name, value and attributes of each gauge."""
        if not self._states:
            return
        for state in _STATES:
            yield names.DRIFT_COLUMNS, float(self._states[state]), self._of(names.DRIFT_STATE_NAME, state)
        for name in self._left:
            for gauge in _GAUGES.values():
                yield gauge, math.nan, self._of(names.DRIFT_COLUMN_NAME, name)
        if self._distances is None:
            self._distances = {
                name: None if column is None else column.distances() for name, column in self._shown.items()
            }
        for name, distances in self._distances.items():
            for measure, value in distances._asdict().items() if distances is not None else ():
                if math.isfinite(value):
                    yield _GAUGES[measure], value, self._of(names.DRIFT_COLUMN_NAME, name)

    def _of(self, attribute: str, value: str) -> dict[str, AttributeValue]:
        return {names.CALL_NAME: self._call, attribute: clean(value, _NAME)}


def _state(column: Column) -> str:
    if column.is_changed:
        return "changed"
    if column.is_skewed:
        return "skewed"
    return "expected" if column.has_rows else "unseen"
