"""What a figure is called: its kind, its attributes, its series."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

Kind = Literal["counter", "updowncounter", "gauge", "histogram"]
LEVELS = ("gauge", "updowncounter")
"""The kinds whose newest value counts, and not their sum."""
Across = Literal["last", "sum", "min", "max", "each"]
"""What becomes of a level that several processes of a service have; counters and histograms always add up."""

AttributeValue = str | bool | int | float
Attributes = Mapping[str, AttributeValue]

NO_ATTRIBUTES: Attributes = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Series:
    """
    One line of figures: a metric's name with one set of attributes.

    ``parent`` is the id of the series of which this one is a part: the calls with another
    outcome than ok, or with a tag. Parts are disjoint: a call is counted in one of them, or in
    the parent itself, never in two, so that the sum over the family counts every call once.
    ``across`` says what a gauge is where several processes of a service have it: the one that was set
    last, the sum, the smallest, the largest, or each by itself.

    >>> Series(1, "app.queue.length", "{item}", "gauge").matches("app.queue.length", {})
    True
    """

    id: int
    name: str
    unit: str
    kind: Kind
    attributes: Attributes = field(default_factory=lambda: NO_ATTRIBUTES, hash=False)
    parent: int | None = None
    across: Across = "last"

    def matches(self, name: str, where: Attributes) -> bool:
        """Whether this is a series of metric *name* that has all the attributes *where*."""
        mine = self.attributes
        return self.name == name and all(key in mine and mine[key] == value for key, value in where.items())
