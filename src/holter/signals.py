"""The signals of a service: what every series says of an interval, as numbers that can be judged one by one."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from holter.metric import LEVELS, Series
from holter.names import (
    CALL_DURATION,
    CALL_NAME,
    CALL_OUTCOME,
    SPAN_NAME,
    TRAINING_EPOCH,
    TRAINING_PROGRESS,
    TRAINING_RUN_DURATION,
    TRAINING_STEPS_DONE,
    TRAINING_STEPS_TOTAL,
)
from holter.record import Outcome
from holter.words import clean, quantity, ratio

_FAILED: Final = (Outcome.ERROR.label, Outcome.TIMEOUT.label)
# What holter says of itself, and what only ever rises.
_OURS: Final = (
    "holter.records.", "holter.values.", "holter.internal_errors", "holter.sampler.", "holter.collector.",
    "holter.series", "holter.exporter.", "holter.overhead", "holter.alerts", "holter.slo.", "holter.group.",
    "holter.process.deaths", "holter.slow_calls.", "holter.anomaly.", "holter.guard.",
    "holter.drift.", "holter.gpu.reading_age", "holter.gpu.helper.",
)  # fmt: skip
_RISING: Final = (
    TRAINING_EPOCH, TRAINING_PROGRESS, TRAINING_RUN_DURATION, TRAINING_STEPS_DONE, TRAINING_STEPS_TOTAL,
)  # fmt: skip
_SAID: Final = {"error_ratio": "error ratio", "missing": "time without finished calls"}
_AGES: Final = ("uptime", "_age")
"""Ends of names of what rises by itself until it begins anew."""
STATISTICS: Final = ("rate", "error_ratio", "missing", "mean", "p50", "p90", "p99")
"""The signals of a series, each at its place; a level has one, its value, in the place of the rate."""
WIDTH: Final = len(STATISTICS)
RATE, ERROR_RATIO, MISSING, MEAN, FIRST_QUANTILE = range(5)
_UNITS: Final = {ERROR_RATIO: "%", MISSING: "s"}
ROOT: Final = 0.375
"""Added to a count its root has the same variance, whatever the mean (Anscombe, 1948)."""
MOST_PLACES: Final = 100_000
NOWHERE: Final = -1
_FIRST: Final = 16


class Key(NamedTuple):
    """A signal: a series' metric and attributes, and which statistic of it."""

    name: str
    attributes: tuple[tuple[str, str], ...]
    statistic: str

    @property
    def words(self) -> str:
        """The signal as people say it: "p99 of predict"."""
        known = dict(self.attributes)
        call = known.pop(CALL_NAME, "")
        stage = known.pop(SPAN_NAME, "")
        target = " ".join(part for part in (call, stage) if part) or self.name
        rest = ", ".join(f"{key}={value}" for key, value in known.items())
        label = _SAID.get(self.statistic, self.statistic)
        what = target if label == "value" else f"{label} of {target}"
        return clean(f"{what} ({rest})" if rest else what, 200)

    @property
    def text(self) -> str:
        """The signal in one string, of which the id of its alert is made."""
        return "|".join([self.statistic, self.name, *(f"{key}={value}" for key, value in self.attributes)])


class Value(NamedTuple):
    """What a signal says: what is judged, what people are told, in which unit, and which way it is trouble."""

    judged: float
    told: float
    unit: str
    direction: int
    scale: float = 1.0
    """What makes of a number that is judged one that is told."""
    calls: float = 0.0
    usual: float = 0.0
    """Of an error ratio: how many calls there were, and how many of them usually fail."""

    def in_terms(self, judged: float) -> float:
        """Return what would have been told, had *judged* been judged."""
        if not self.calls:
            return judged * self.scale
        failed = max(math.sqrt(self.usual + ROOT) + judged / 2.0, 0.0) ** 2 - ROOT
        return min(max(failed / self.calls, 0.0), 1.0)

    def said(self, told: float) -> str:
        """Return a number in the unit of this one."""
        return ratio(told) if self.unit == "%" else quantity(told, self.unit)

    @classmethod
    def loaded(cls, saved: Iterable[Any]) -> Value:
        """
        Return the value of which *saved* is the list.

        Raises:
            ValueError: it is of none.
        """
        judged, told, unit, direction, *more = saved
        scale, calls, usual = map(float, more)
        return cls(float(judged), float(told), str(unit), int(direction), scale, calls, usual)


class Entry(NamedTuple):
    """Where what a series says is counted, and what it counts as there."""

    series: Series
    place: int
    has_failed: bool
    has_histogram: bool


Name = tuple[str, tuple[tuple[str, str], ...]]
"""A series by its metric and attributes."""


class Places:
    """
    A place for each series that is judged, and the numbers of its signals: seven from seven times its place.

    A place is kept until `free` is told that nobody needs it; at most 100,000, what comes then is not judged.
    """

    def __init__(self) -> None:
        self.entries: dict[int, Entry] = {}
        """By the id of each series and part of one; filled by `enter`."""
        self._of: dict[Name, int] = {}
        self._names: list[Name | None] = []
        self._units: list[str] = []
        self._free: list[int] = []
        self.is_level = np.zeros(_FIRST, np.bool_)
        self.is_counter = np.zeros(_FIRST, np.bool_)
        self.has_errors = np.zeros(_FIRST, np.bool_)
        self.is_call = np.zeros(_FIRST, np.bool_)
        self.is_longer_trouble = np.zeros(_FIRST, np.bool_)

    @property
    def size(self) -> int:
        """How many places there are, free ones included."""
        return len(self.is_level)

    def enter(self, key: int, others: Mapping[int, Series]) -> Entry:
        """Find the place of the series of id *key* among all *others*, `NOWHERE` for what is not judged."""
        series = root = others[key]
        has_failed = root.attributes.get(CALL_OUTCOME) in _FAILED
        while root.parent is not None and root.parent in others:
            root = others[root.parent]
            has_failed |= root.attributes.get(CALL_OUTCOME) in _FAILED
        if root.parent is not None:
            # A part of a series that is not here, not yet perhaps.
            return Entry(series, NOWHERE, has_failed=False, has_histogram=False)
        place = self.place(_name_of(root), root) if is_judged(root) else NOWHERE
        entry = Entry(series, place, has_failed, place != NOWHERE and root.kind == "histogram")
        self.entries[key] = entry
        return entry

    def place(self, name: Name, series: Series | None = None) -> int:
        """Return the place of a series, a new one if it has none; what *series* tells of it can come later."""
        place = self._of.get(name)
        if place is None:
            if not self._free:
                self._grow()
            if not self._free:
                return NOWHERE
            place = self._of[name] = self._free.pop()
            self._names[place] = name
        if series is not None:
            self.is_level[place], self.is_counter[place] = series.kind in LEVELS, series.kind == "counter"
            is_call = CALL_NAME in series.attributes
            self.has_errors[place] = is_call and SPAN_NAME not in series.attributes
            self.is_call[place] = series.name == CALL_DURATION
            self.is_longer_trouble[place] = series.unit == "s"
            counted = series.unit if series.kind == "counter" else "{call}" if is_call else "{value}"
            self._units[place] = sys.intern(f"{series.unit}\n{counted}/s")
        return place

    def name(self, place: int) -> Name:
        """Return which series is at a place."""
        name = self._names[place]
        return name or ("", ())

    def key(self, number: int) -> Key:
        """Return the signal of a number."""
        place, which = divmod(number, WIDTH)
        return Key(*self.name(place), "value" if self.is_level[place] else STATISTICS[which])

    def number(self, key: Key) -> int:
        """Return the number of a signal, whose series gets a place if it has none; `NOWHERE` if there is no room."""
        place = self.place(key[:2])
        if place == NOWHERE:
            return NOWHERE
        self.is_level[place] |= key.statistic == "value"
        return place * WIDTH + (RATE if key.statistic == "value" else STATISTICS.index(key.statistic))

    def unit(self, number: int) -> str:
        """Return the unit of what people are told of a signal."""
        place, which = divmod(number, WIDTH)
        if which in _UNITS:
            return _UNITS[which]
        own, _, rate = self._units[place].partition("\n")
        return rate if which == RATE and not self.is_level[place] else own

    def directions(self) -> npt.NDArray[np.int8]:
        """Return which way each signal is trouble, by number: 1 up, 0 both ways."""
        way = np.zeros((self.size, WIDTH), np.int8)
        way[:, MEAN:] = self.is_longer_trouble[:, None]
        way[:, [ERROR_RATIO, MISSING]] = 1
        return way.ravel()

    def free(self, is_needed: npt.NDArray[np.bool_]) -> list[int]:
        """Give back the places that are not needed; return which."""
        gone = [place for place, name in enumerate(self._names) if name is not None and not is_needed[place]]
        for place in gone:
            self._of.pop(self.name(place), None)
            self._names[place] = None
        if gone:
            self._free += gone
            self.entries.clear()
        return gone

    def _grow(self) -> None:
        before = self.size if self._names else 0
        size = min(max(before + before // 4, _FIRST), MOST_PLACES)
        for name in ("is_level", "is_counter", "has_errors", "is_call", "is_longer_trouble"):
            setattr(self, name, longer(getattr(self, name), size))
        self._names += [None] * (size - before)
        self._units += [""] * (size - before)
        self._free += range(size - 1, before - 1, -1)


def longer(array: npt.NDArray[Any], size: int, fill: float = 0) -> npt.NDArray[Any]:
    """Return *array* with *fill* after its end, so that it has *size* elements; itself if it has as many."""
    return array if len(array) >= size else np.concatenate([array, np.full(size - len(array), fill, array.dtype)])


def _name_of(series: Series) -> Name:
    return series.name, tuple(sorted((str(key), str(value)) for key, value in series.attributes.items()))


def is_judged(series: Series) -> bool:
    """Whether a series has signals: neither holter's own figures nor what only rises."""
    name = series.name
    return not name.startswith(_OURS) and name not in _RISING and not name.endswith(_AGES)
