"""What is known of a column of embeddings, in a form that can be merged."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from holter.distribution import Floats
from holter.moments import or_nan, or_none
from holter.quantiles import QuantileSketch

PROJECTIONS: Final = 16
_MOST_MEANS: Final = 4_096
_MOST_DIRECTIONS: Final = 8


class Vectors:
    """
    Embeddings of one ``dimension``: mean and spread, and sketches of their lengths and of 16 projections.

    A projection is the product with a vector of random signs, over the root of the dimension, the same for each
    dimension in every process: two distributions that differ, differ along almost every such direction (Cramér and
    Wold 1936). Means are kept up to 4,096 dimensions. Takes 1.4 MiB at most. Not thread-safe.

    >>> points = Vectors(2)
    >>> points.update(np.array([[3.0, 4.0]]))
    >>> points.lengths.minimum
    5.0
    """

    __slots__ = ("count", "dimension", "lengths", "mean", "projected", "spread")

    def __init__(self, dimension: int) -> None:
        self.dimension, self.count, self.spread = dimension, 0, 0.0
        self.mean: Floats = np.zeros(dimension if dimension <= _MOST_MEANS else 0)
        self.lengths = QuantileSketch()
        self.projected = [QuantileSketch() for _ in range(min(PROJECTIONS, dimension))]

    def update(self, vectors: Floats) -> None:
        """Take in *vectors* of (rows, dimension), all of them finite."""
        if not len(vectors):
            return
        if len(self.mean):
            mean = vectors.mean(axis=0)
            self._join(len(vectors), mean, float(np.square(vectors - mean).sum()))
        else:
            self.count += len(vectors)
        self.lengths.update(np.linalg.norm(vectors, axis=1))
        for sketch, values in zip(self.projected, projections(vectors).T, strict=True):
            sketch.update(np.ascontiguousarray(values))

    def _join(self, count: int, mean: Floats, spread: float) -> None:
        total = self.count + count
        away = mean - self.mean
        self.spread += spread + float(away @ away) * self.count * count / total
        self.mean = self.mean + away * (count / total)
        self.count = total

    def merged(self, other: Vectors) -> Vectors:
        """Return what is known of the vectors of both."""
        both = Vectors(self.dimension)
        for one in (self, other):
            if not one.count:
                continue
            if len(self.mean):
                both._join(one.count, one.mean, one.spread)
            else:
                both.count += one.count
        both.lengths = self.lengths.merged(other.lengths)
        pairs = zip(self.projected, other.projected, strict=True)
        both.projected = [one.merged(another) for one, another in pairs]
        return both

    def to_dict(self) -> dict[str, Any]:
        """Return all of it, as JSON has it."""
        return {
            "dimension": self.dimension,
            "count": self.count,
            "mean": self.mean.tolist(),
            "spread": or_none(self.spread),
            "lengths": self.lengths.to_dict(),
            "projections": [sketch.to_dict() for sketch in self.projected],
        }

    @classmethod
    def of_dict(cls, state: Mapping[str, Any]) -> Vectors:
        """
        Return what *state* tells of.

        Raises:
            ValueError: it is not what `to_dict` returns.
        """
        vectors = cls(int(state["dimension"]))
        mean = np.asarray(state["mean"], dtype=float)
        if mean.shape != vectors.mean.shape or len(state["projections"]) != len(vectors.projected):
            raise ValueError(f"vectors of {vectors.dimension} dimensions do not have a mean of {len(mean)}")
        vectors.count, vectors.mean, vectors.spread = int(state["count"]), mean, or_nan(state["spread"])
        vectors.lengths = QuantileSketch.of_dict(state["lengths"])
        vectors.projected = [QuantileSketch.of_dict(one) for one in state["projections"]]
        return vectors


_DIRECTIONS: Final[dict[int, Floats]] = {}


def projections(vectors: Floats) -> Floats:
    """Return each of *vectors*, (rows, dimension), along the random directions of that dimension."""
    dimension = vectors.shape[1]
    if dimension not in _DIRECTIONS:
        # RandomState, because numpy promises that its numbers stay what they are.
        signs = np.random.RandomState(dimension).randint(0, 2, (dimension, min(PROJECTIONS, dimension)))
        if len(_DIRECTIONS) >= _MOST_DIRECTIONS:
            _DIRECTIONS.clear()
        _DIRECTIONS[dimension] = np.asarray((2.0 * signs - 1) / math.sqrt(dimension), dtype=np.float64)
    projected: Floats = vectors @ _DIRECTIONS[dimension]
    return projected
