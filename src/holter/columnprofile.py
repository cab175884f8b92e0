"""What is known of one column of data, in parts that can be merged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from holter.distribution import Floats
from holter.errors import ConfigurationError
from holter.frequent import Categories, Distinct, category, hashed, hashed_numbers
from holter.moments import Moments
from holter.quantiles import QuantileSketch
from holter.relation import Relation
from holter.tabledata import Kind, Values
from holter.vectors import Vectors

_KINDS: Final = ("number", "time", "category", "vector", "other", "")


class Numbers:
    """
    Numbers: their moments, quantiles, how many are infinite, and how many different ones there are.

    ``moments`` and ``sketch`` are of the finite ones. Takes 84 KiB at most. Not thread-safe.

    >>> ages = Numbers()
    >>> ages.update(np.array([20.0, 30.0, np.inf]))
    >>> ages.moments.mean, ages.infinite
    (25.0, 1)
    """

    __slots__ = ("distinct", "infinite", "moments", "sketch")

    def __init__(self) -> None:
        self.moments, self.sketch, self.distinct, self.infinite = Moments(), QuantileSketch(), Distinct(), 0

    def update(self, values: Floats) -> None:
        """Take in *values*, none of them NaN."""
        finite = np.isfinite(values)
        kept = values if finite.all() else values[finite]
        self.infinite += len(values) - len(kept)
        if len(kept):
            self.moments = self.moments.merged(Moments.of(kept))
            self.sketch.update(kept)
            self.distinct.update(hashed_numbers(kept))

    def merged(self, other: Numbers) -> Numbers:
        """Return what is known of the values of both."""
        both = Numbers()
        both.moments, both.sketch = self.moments.merged(other.moments), self.sketch.merged(other.sketch)
        both.distinct, both.infinite = self.distinct.merged(other.distinct), self.infinite + other.infinite
        return both

    def to_dict(self) -> dict[str, Any]:
        """Return all of it, as JSON has it."""
        return {
            "infinite": self.infinite,
            "moments": self.moments.to_list(),
            "distinct": self.distinct.to_text(),
            "quantiles": self.sketch.to_dict(),
        }

    @classmethod
    def of_dict(cls, state: Mapping[str, Any]) -> Numbers:
        """
        Return what *state* tells of.

        Raises:
            ValueError: it is not what `to_dict` returns.
        """
        numbers = cls()
        numbers.infinite, numbers.moments = int(state["infinite"]), Moments.of_list(state["moments"])
        numbers.sketch = QuantileSketch.of_dict(state["quantiles"])
        numbers.distinct = Distinct.of_text(state["distinct"])
        return numbers


@dataclass(slots=True)
class ColumnProfile:
    """
    What is known of one column.

    ``kind`` is "number", "time" (in Unix seconds), "category", "vector" or "other", and "" as long as nothing but
    missing values was seen. ``count`` are values of that kind, ``missing`` None and NaN (and vectors that are not
    finite), ``invalid`` values of another kind. ``numbers`` is there for numbers and times, ``categories``,
    ``distinct`` and ``lengths`` (in letters) for categories, ``vectors`` for vectors, ``relation`` to the label where
    one was named.

    >>> import holter
    >>> holter.Profile.of({"age": [20, 30, None]}).columns["age"].missing
    1
    """

    kind: Kind = ""
    count: int = 0
    missing: int = 0
    invalid: int = 0
    is_whole: bool = True
    numbers: Numbers | None = None
    categories: Categories | None = None
    distinct: Distinct | None = None
    lengths: Numbers | None = None
    vectors: Vectors | None = None
    relation: Relation | None = field(default=None, repr=False)

    @property
    def rows(self) -> int:
        """How many rows there were."""
        return self.count + self.missing + self.invalid

    @property
    def distinct_count(self) -> int | None:
        """About how many different values there are, to within 1.6 % as a rule; None where that is not known."""
        found = self.numbers.distinct if self.numbers is not None else self.distinct
        if self.categories is not None and self.categories.is_exact:
            return len(self.categories.counts)
        return None if found is None else min(found.estimate(), self.count)

    def update(self, values: Values) -> None:
        """Take in *values*."""
        self._become(values.kind)
        self.missing += values.missing
        self.invalid += values.invalid
        if self.numbers is not None and values.numbers is not None:
            self.count += len(values.numbers)
            self.is_whole = self.is_whole and bool((np.floor(values.numbers) == values.numbers).all())
            self.numbers.update(values.numbers)
        elif values.texts is not None:
            self._count(values.texts)
        elif values.vectors is not None and len(values.vectors):
            self._take(values.vectors)

    def _become(self, kind: Kind) -> None:
        if self.kind or not kind:
            return
        self.kind = kind
        if kind in ("number", "time"):
            self.numbers = Numbers()
        elif kind == "category":
            self.categories, self.distinct, self.lengths = Categories(), Distinct(), Numbers()

    def _count(self, texts: Sequence[str]) -> None:
        if self.categories is None or self.distinct is None or self.lengths is None:
            return
        counted = Counter(texts)
        self.count += len(texts)
        self.distinct.update(hashed(counted))
        self.categories.update({category(text): count for text, count in counted.items()})
        lengths = np.array([len(text) for text in counted], dtype=float)
        self.lengths.update(np.repeat(lengths, list(counted.values())))

    def _take(self, vectors: Floats) -> None:
        if self.vectors is None:
            self.vectors = Vectors(vectors.shape[1])
        if vectors.shape[1] == self.vectors.dimension:
            self.count += len(vectors)
            self.vectors.update(vectors)
        else:
            self.invalid += len(vectors)

    def merged(self, other: ColumnProfile) -> ColumnProfile:
        """
        Return what is known of the values of both.

        Raises:
            ConfigurationError: the one holds numbers, the other something else.
        """
        if self.kind and other.kind and self.kind != other.kind:
            raise ConfigurationError(f"expected a column of kind {self.kind!r} in both profiles, got {other.kind!r}")
        if self.vectors and other.vectors and self.vectors.dimension != other.vectors.dimension:
            raise ConfigurationError(
                f"expected vectors of {self.vectors.dimension} dimensions, got {other.vectors.dimension}"
            )
        merged: dict[str, Any] = {}
        for name in ("numbers", "categories", "distinct", "lengths", "vectors", "relation"):
            one, another = getattr(self, name), getattr(other, name)
            merged[name] = one.merged(another) if one is not None and another is not None else one or another
        return ColumnProfile(
            kind=self.kind or other.kind,
            count=self.count + other.count,
            missing=self.missing + other.missing,
            invalid=self.invalid + other.invalid,
            is_whole=self.is_whole and other.is_whole,
            **merged,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return all of it, as JSON has it."""
        state: dict[str, Any] = {"kind": self.kind, "count": self.count, "missing": self.missing}
        state |= {"invalid": self.invalid, "is_whole": self.is_whole}
        for name in ("numbers", "categories", "lengths", "vectors", "relation"):
            part = getattr(self, name)
            if part is not None:
                state[name] = part.to_dict()
        return state if self.distinct is None else {**state, "distinct": self.distinct.to_text()}

    @classmethod
    def of_dict(cls, state: Mapping[str, Any]) -> ColumnProfile:
        """
        Return what *state* tells of.

        Raises:
            ValueError: it is not what `to_dict` returns.
        """
        if state["kind"] not in _KINDS:
            raise ValueError(f"no kind of column: {state['kind']!r}")
        column = cls(state["kind"], int(state["count"]), int(state["missing"]), int(state["invalid"]))
        column.is_whole = bool(state["is_whole"])
        column.numbers = Numbers.of_dict(state["numbers"]) if "numbers" in state else None
        column.categories = Categories.of_dict(state["categories"]) if "categories" in state else None
        column.lengths = Numbers.of_dict(state["lengths"]) if "lengths" in state else None
        column.vectors = Vectors.of_dict(state["vectors"]) if "vectors" in state else None
        column.relation = Relation.of_dict(state["relation"]) if "relation" in state else None
        column.distinct = Distinct.of_text(state["distinct"]) if "distinct" in state else None
        return column
