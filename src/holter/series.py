"""The series table: names and attributes to small integer ids, within a bound."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import count
from types import MappingProxyType
from typing import Final, NamedTuple

from holter.metric import Across, Attributes, Kind, Series
from holter.names import ERROR_TYPE, ERROR_TYPE_OTHER, OVERFLOW

SERIES_PER_METRIC: Final = 2_000
SERIES_PER_SCOPE: Final = 10_000
SERIES_PER_PROCESS: Final = 100_000
ERROR_TYPES_PER_SERIES: Final = 20


class Entry(NamedTuple):
    """A series, the scope that it belongs to, and what its recorded values are multiplied by."""

    series: Series
    scope: int
    factor: float


class SeriesTable:
    """
    Every series of a process, by id.

    A metric has at most *per_metric* series, a scope *per_scope* and the table 100,000; what comes
    beyond is counted in an overflow series (``otel.metric.overflow``), which a metric, and a family of
    parts, has from the start. Threads that add series at the same moment may exceed a bound by
    one each. Nothing here locks, so that a signal handler may interrupt any line and add a
    series of its own: each step that others see is one operation on a dict.
    Whoever reads ``entries`` while others add takes a copy first: to make the list of its items makes a
    tuple for each, at which CPython 3.11 may collect garbage, and so run a destructor that adds one.
    """

    def __init__(self, per_metric: int = SERIES_PER_METRIC, per_scope: int = SERIES_PER_SCOPE) -> None:
        self.entries: dict[int, Entry] = {}
        self._by_key: dict[object, int] = {}
        self._of_metric: dict[tuple[int, str], list[int]] = {}
        self._of_scope: dict[int, list[int]] = {}
        self._error_types: dict[int, list[str]] = {}
        self._overflows: dict[int, int] = {}
        self._ids = count(1)
        self._newest = 0
        self.added: Callable[[Mapping[int, Entry]], None] | None = None
        """Told of each new series, in the thread that made it."""
        self._per_metric, self._per_scope = per_metric, per_scope

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def version(self) -> tuple[int, int]:
        """What differs whenever the table holds other series than before."""
        return len(self.entries), self._newest

    def intern(
        self,
        scope: int,
        name: str,
        unit: str,
        kind: Kind,
        attributes: Attributes,
        *,
        factor: float = 1.0,
        across: Across | None = None,
    ) -> int:
        """
        Return the id of the series with this name and these attributes.

        *factor* turns recorded values into the series' unit: 1e-9 where nanoseconds are recorded.
        *across* is of the series that is made at the first call; by default an updowncounter's levels add up.
        Beyond the bound the metric's overflow series is returned.
        """
        known = self._by_key.get(_key(scope, name, None, attributes))
        if known is not None:
            return known
        joined = across or ("sum" if kind == "updowncounter" else "last")
        overflow = self._add(Entry(Series(0, name, unit, kind, {OVERFLOW: True}, across=joined), scope, factor))
        if self._is_full(scope, name):
            return overflow
        return self._add(Entry(Series(0, name, unit, kind, attributes, across=joined), scope, factor))

    def part(self, of: int, attributes: Attributes) -> int:
        """Return the part of series *of* with these further *attributes*, the family's overflow beyond the bound."""
        base, scope, _ = self.entries[of]
        merged = {**base.attributes, **attributes}
        root = self.root(of)
        key = _key(scope, base.name, root, merged)
        own = self[root].attributes
        if len(merged) == len(own) and key == _key(scope, base.name, root, own):
            # They say nothing new, and no two series of a family have the same attributes.
            return root
        known = self._by_key.get(key)
        if known is not None:
            return known
        overflow = self.overflow(of)
        return overflow if self._is_full(scope, base.name) else self._add_part(of, merged)

    def failed_part(self, of: int, attributes: Attributes) -> int:
        """
        Return the part of series *of* for a failure with these *attributes*.

        An error type beyond the 20th of a family is ``_OTHER``. A failure stays a failure when
        the bound is reached: the overflow series has such parts too.
        """
        if ERROR_TYPE in attributes:
            types = self._error_types.setdefault(self.root(of), [])
            error_type = str(attributes[ERROR_TYPE])
            if error_type not in types:
                if len(types) < ERROR_TYPES_PER_SERIES:
                    types.append(error_type)
                else:
                    attributes = {**attributes, ERROR_TYPE: ERROR_TYPE_OTHER}
        part, overflow = self.part(of, attributes), self.overflow(of)
        return part if part != overflow else self._add_part(overflow, {**self[overflow].attributes, **attributes})

    def __getitem__(self, series: int) -> Series:
        return self.entries[series].series

    def root(self, series: int) -> int:
        """Return the id of the series of which *series* is a part, its own if it is none."""
        parent = self[series].parent
        return series if parent is None else parent

    def is_overflow(self, series: int) -> bool:
        """Whether *series* stands for those beyond the bound."""
        return OVERFLOW in self[series].attributes

    def overflow(self, of: int) -> int:
        """Return the part of the family of *of* that stands for those beyond the bound."""
        root = self.root(of)
        known = self._overflows.get(root)
        if known is None:
            known = self._overflows[root] = self._add_part(root, {**self[root].attributes, OVERFLOW: True})
        return known

    def _is_full(self, scope: int, name: str) -> bool:
        # Absent where an interruption was quicker than the thread that adds the first one.
        return (
            len(self._of_metric.get((scope, name), ())) >= self._per_metric
            or len(self._of_scope.get(scope, ())) >= self._per_scope
            or len(self.entries) >= SERIES_PER_PROCESS
        )

    def _add_part(self, of: int, attributes: Attributes) -> int:
        base, scope, factor = self.entries[of]
        made = replace(base, id=0, attributes=attributes, parent=self.root(of))
        return self._add(Entry(made, scope, factor))

    def _add(self, entry: Entry) -> int:
        series = entry.series
        key = _key(entry.scope, series.name, series.parent, series.attributes)
        known = self._by_key.get(key)
        if known is None:
            number = self._newest = next(self._ids)
            made = replace(series, id=number, attributes=MappingProxyType(dict(series.attributes)))
            # Before its id can be seen, and taken back where an interruption was quicker.
            self.entries[number] = entry._replace(series=made)
            known = self._by_key.setdefault(key, number)
            if known == number:
                self._of_metric.setdefault((entry.scope, series.name), []).append(number)
                self._of_scope.setdefault(entry.scope, []).append(number)
                if self.added is not None:
                    self.added({number: self.entries[number]})
            else:
                del self.entries[number]
        return known


def _key(scope: int, name: str, root: int | None, attributes: Attributes) -> object:
    return scope, name, root, _marks(attributes)


def family_key(series: Series, root: Series | None) -> object:
    """Return what *series*, a part of *root*, has in common with the same one of another process, and with no other."""
    family = None if root is None else _marks(root.attributes)
    return series.name, series.unit, series.kind, _marks(series.attributes), family


def _marks(attributes: Attributes) -> frozenset[object]:
    # With the type, because True, 1 and 1.0 are equal and are not the same attribute.
    return frozenset((key, value, value.__class__) for key, value in attributes.items())
