"""How a column of numbers goes with a label, in a form that can be merged."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from holter.distribution import Floats
from holter.moments import Moments, or_nan, or_none

_MOST_CLASSES: Final = 50


class Relation:
    """
    How numbers go with a label: a correlation with one that is a number, a ratio of correlation with classes.

    >>> relation = Relation()
    >>> relation.update(np.array([1.0, 2.0, 3.0]), [0.0, 2.0, 4.0])
    >>> round(relation.strength, 6)
    1.0
    """

    __slots__ = ("classes", "pairs", "product", "rest")

    def __init__(self) -> None:
        self.pairs, self.product = (Moments(), Moments()), 0.0
        self.classes: dict[str, Moments] = {}
        self.rest = Moments()

    def update(self, values: Floats, labels: Sequence[str] | Sequence[float]) -> None:
        """Take in finite *values* with their *labels*, all finite numbers or all classes."""
        if not len(values):
            return
        if isinstance(labels[0], str):
            names = np.array(labels)
            for name in dict.fromkeys(map(str, labels)):
                self._take(name, Moments.of(values[names == name]))
        else:
            numbers = np.asarray(labels, dtype=float)
            product = float(((values - values.mean()) * (numbers - numbers.mean())).sum())
            self._pair((Moments.of(values), Moments.of(numbers)), product)

    def _take(self, name: str, moments: Moments) -> None:
        if name in self.classes or len(self.classes) < _MOST_CLASSES:
            self.classes[name] = self.classes.get(name, Moments()).merged(moments)
        else:
            self.rest = self.rest.merged(moments)

    def _pair(self, pairs: tuple[Moments, Moments], product: float) -> None:
        total = self.pairs[0].count + pairs[0].count
        away = [other.mean - one.mean for one, other in zip(self.pairs, pairs, strict=True)]
        self.product += product + away[0] * away[1] * self.pairs[0].count * pairs[0].count / max(1, total)
        self.pairs = self.pairs[0].merged(pairs[0]), self.pairs[1].merged(pairs[1])

    def merged(self, other: Relation) -> Relation:
        """Return how the values of both go with the label."""
        both = Relation()
        for one in (self, other):
            both._pair(one.pairs, one.product)
            for name, moments in one.classes.items():
                both._take(name, moments)
            both.rest = both.rest.merged(one.rest)
        return both

    @property
    def strength(self) -> float:
        """Pearson's correlation, from -1 to 1, with a number; with classes eta, from 0 to 1; NaN where neither is."""
        if self.pairs[0].count:
            spread = math.sqrt(self.pairs[0].second * self.pairs[1].second)
            return self.product / spread if spread > 0 else math.nan
        groups = [*self.classes.values(), self.rest]
        total = Moments()
        for group in groups:
            total = total.merged(group)
        within = sum(group.second for group in groups)
        return math.sqrt(max(0.0, 1 - within / total.second)) if total.count and total.second > 0 else math.nan

    def to_dict(self) -> dict[str, Any]:
        """Return all of it, as JSON has it."""
        return {
            "pairs": [moments.to_list() for moments in self.pairs],
            "product": or_none(self.product),
            "classes": {name: moments.to_list() for name, moments in self.classes.items()},
            "rest": self.rest.to_list(),
        }

    @classmethod
    def of_dict(cls, state: Mapping[str, Any]) -> Relation:
        """
        Return what *state* tells of.

        Raises:
            ValueError: it is not what `to_dict` returns.
        """
        relation = cls()
        one, other = map(Moments.of_list, state["pairs"])
        relation.pairs, relation.product = (one, other), or_nan(state["product"])
        relation.classes = {str(name): Moments.of_list(moments) for name, moments in state["classes"].items()}
        relation.rest = Moments.of_list(state["rest"])
        return relation
