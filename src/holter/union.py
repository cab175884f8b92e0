"""The series of several processes as those of one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from types import MappingProxyType
from typing import Final, Protocol

from holter.differences import since
from holter.distribution import Histogram, joined
from holter.metric import LEVELS, Series
from holter.model import Reading
from holter.names import OVERFLOW, PROCESS_PID
from holter.series import family_key

MOST_SERIES: Final = 20_000
_FIRST_FOREIGN: Final = 2**32
_EMPTY: Final = Reading()
_PICKS: Final[Mapping[str, Callable[[Iterable[float]], float]]] = {"sum": sum, "min": min, "max": max}


class Part(Protocol):
    """One of those that are joined: its series, their cumulative readings, and which have changed."""

    @property
    def series(self) -> Mapping[int, Series]:
        """The series by id."""

    @property
    def readings(self) -> Mapping[int, Reading]:
        """The readings by the same ids."""

    @property
    def changed(self) -> Iterable[int]:
        """The ids whose readings are others than the last time."""

    @property
    def is_alive(self) -> bool:
        """Whether its levels still hold."""


class Union:
    """
    The series of several processes as those of one: what each has in its own ids, in ids of this union.

    Counters and histograms are the sums over all parts. Gauges are, over those that live, what their series
    says: the one that was set last, the sum, the smallest, the largest; or each is a series of its own, with
    the attribute ``process.pid``. A metric's series beyond 20,000 in all are one overflow series.
    ``total`` holds the readings. Some 20 us for each series that has changed.
    """

    def __init__(self) -> None:
        self.total: dict[int, Reading] = {}
        self.series: Mapping[int, Series] = MappingProxyType({})
        self._series: dict[int, Series] = {}
        self._keys: dict[int, object] = {}
        self._ids: dict[object, int] = {}
        self._places: dict[str, dict[int, int]] = {}
        self._holders: dict[int, dict[str, list[int]]] = {}
        self._levels: dict[str, bool] = {}
        self._next = _FIRST_FOREIGN
        self._is_shared = False
        """Whether there has ever been more than one part: only then must those be told apart."""

    def update(self, parts: Mapping[str, Part], pids: Mapping[str, int], own: str = "") -> set[int]:
        """
        Take in what has changed of *parts*, all that there are now, and return the ids whose readings have.

        *pids* are their processes' numbers. The part named *own* keeps its ids, where they are free.
        """
        size, changed = len(self._series), self._without(parts)
        if len(parts) > 1 and not self._is_shared:
            self._is_shared = True
            self._places.clear()
            self._holders.clear()
            changed.update(self._series)
        for name, part in parts.items():
            is_new = name not in self._places
            places = self._places.setdefault(name, {})
            was_alive = self._levels.get(name, part.is_alive)
            self._levels[name] = part.is_alive
            for key in list(part.readings) if is_new else part.changed:
                place = places.get(key)
                if place is None:
                    series = part.series.get(key)
                    if series is None:
                        continue
                    place = places[key] = self._place(series, part, pids.get(name, 0), keep=name == own)
                    self._holders.setdefault(place, {}).setdefault(name, []).append(key)
                changed.add(place)
            if was_alive and not part.is_alive:
                changed.update(places.values())
        removed = self._combine(changed, parts)
        if removed or len(self._series) != size:
            self.series = MappingProxyType(dict(self._series))
        return changed - removed

    def place(self, part: str, key: int) -> int | None:
        """Return the id of what *part* calls *key*."""
        return self._places.get(part, {}).get(key)

    def find(self, series: Series, others: Mapping[int, Series]) -> int | None:
        """Return the id of a series that is not of a part, None if there is none; *others* have its parent."""
        return self._ids.get(family_key(series, None if series.parent is None else others.get(series.parent)))

    def holders(self, place: int) -> Iterable[str]:
        """Return the names of the parts that have this series."""
        return self._holders.get(place, {})

    def _without(self, parts: Mapping[str, Part]) -> set[int]:
        """Forget the parts that are not among *parts* any more; return the ids of what they had."""
        changed: set[int] = set()
        for gone in self._places.keys() - parts.keys():
            for place in self._places.pop(gone).values():
                self._holders.get(place, {}).pop(gone, None)
                changed.add(place)
            self._levels.pop(gone, None)
        return changed

    def _combine(self, changed: set[int], parts: Mapping[str, Part]) -> set[int]:
        """Read anew what has *changed*; return what nobody has any more."""
        removed = set()
        for place in changed:
            series = self._series.get(place)
            if series is None:
                continue
            is_level = series.kind in LEVELS
            held = [
                reading
                for name, keys in self._holders.get(place, {}).items()
                if parts[name].is_alive or not is_level
                for key in keys
                if (reading := parts[name].readings.get(key)) is not None
            ]
            if held:
                self.total[place] = _level(series, held) if is_level else _sum(held)
            else:
                removed.add(place)
                self.total.pop(place, None)
                if not self._holders.get(place):
                    self._holders.pop(place, None)
                    self._series.pop(place, None)
                    self._ids.pop(self._keys.pop(place, None), None)
        return removed

    def _place(self, series: Series, part: Part, pid: int, *, keep: bool) -> int:
        root = None if series.parent is None else part.series.get(series.parent)
        if series.across == "each" and self._is_shared:
            series = replace(series, attributes=MappingProxyType({**series.attributes, PROCESS_PID: pid}))
        key = family_key(series, root)
        known = self._ids.get(key)
        if known is not None:
            return known
        if len(self._series) >= MOST_SERIES and OVERFLOW not in series.attributes:
            return self._place(replace(series, attributes={OVERFLOW: True}, parent=None), part, pid, keep=False)
        parent = None if root is None else self._place(root, part, pid, keep=keep)
        number = series.id if keep and series.id not in self._series else self._free()
        self._ids[key], self._keys[number] = number, key
        self._series[number] = replace(series, id=number, parent=parent)
        return number

    def _free(self) -> int:
        self._next += 1
        return self._next


def _sum(held: list[Reading]) -> Reading:
    """Return the reading of all that is *held*, with the histograms merged at once."""
    histograms = [one.histogram for one in held if isinstance(one.histogram, Histogram)]
    total, *others = (replace(one, histogram=None) for one in held) if len(histograms) > 1 else held
    for reading in others:
        total = total.merge(reading)
    return replace(total, histogram=joined(histograms)) if len(histograms) > 1 else total


def _level(series: Series, held: list[Reading]) -> Reading:
    known = [reading for reading in held if reading.last is not None]
    if len(held) == 1 or not known:
        return held[0]
    latest = max(known, key=lambda reading: reading.last_ns)
    pick = _PICKS.get(series.across)
    return latest if pick is None else one_level(pick(reading.last or 0.0 for reading in known), latest.last_ns)


def one_level(value: float, at_ns: int) -> Reading:
    """Return the reading of a gauge that had one *value*, at *at_ns*."""
    return Reading(1, value, 0, value, value, value, _histogram_of(value), value, first_ns=at_ns, last_ns=at_ns)


@lru_cache(maxsize=256)
def _histogram_of(value: float) -> Histogram:
    return Histogram.of([value])


def intervals(
    union: Union, changed: Iterable[int], before: Mapping[int, Reading], own: Mapping[int, Reading]
) -> Iterator[tuple[int, Reading]]:
    """
    Yield the readings of the interval for what has *changed* in *union* since it was as *before*.

    *own* are the interval's readings of series that nobody else has, by the union's ids.
    """
    for place in changed:
        series, total = union.series[place], union.total.get(place)
        if total is None:
            continue
        if place in own:
            yield place, own[place]
        elif series.kind in LEVELS:
            if total.last is not None:
                yield place, one_level(total.last, total.last_ns)
        else:
            reading = since(total, before.get(place, _EMPTY))
            if reading.count or reading.sum or reading.units:
                yield place, reading
