"""What of a column is compared: features that a row has or not, how many rows of a reference do, how sure that is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from zlib import crc32

import numpy as np

from holter.columnprofile import ColumnProfile
from holter.distances import Distances
from holter.distribution import Floats
from holter.frequent import category
from holter.moments import or_nan, or_none
from holter.quantiles import QuantileSketch
from holter.tabledata import Kind, Values
from holter.vectors import projections
from holter.words import number

CUTS: Final = 32
_VECTOR_CUTS: Final = 8
_CATEGORIES: Final = 30
_MANY: Final = 3_000
_LEAST_SHARE: Final = 0.002
_PRESENCE: Final = 0.1
"""The part of the stake that is on what is missing or infinite; the rest is on the values."""


@dataclass(frozen=True, slots=True)
class Shares:
    """How often rows have features: of ``rows`` each, ``counts`` have it; ``error`` is what a sketch may be off."""

    rows: Floats
    counts: Floats
    error: Floats

    @property
    def values(self) -> Floats:
        """The shares; 0 where there are no rows."""
        found: Floats = self.counts / np.maximum(self.rows, 1)
        return found


@dataclass(frozen=True, slots=True)
class Features:
    """
    The features of one column: cuts of its distribution, its frequent categories, what is missing.

    ``edges`` cuts each of the distributions that a column has: one of a column of numbers, of embeddings those of 16
    projections and of the lengths, of texts that seldom repeat that of their lengths; ``middles`` are values between
    them. ``categories`` are those that are known by name; behind them stand the others of the reference, and those that
    it never saw. At the end: what is missing, and what is infinite or of another kind.

    >>> import holter
    >>> column = holter.Profile.of({"country": ["CH", "AT", "CH", None]}).columns["country"]
    >>> features, shares = Features.of(column)
    >>> dict(zip(features.names, shares.values.tolist()))
    {'CH': 0.666..., 'AT': 0.333..., 'others': 0.0, 'unseen': 0.0, 'missing': 0.25, 'invalid': 0.0}
    """

    kind: Kind
    edges: tuple[Floats, ...] = ()
    middles: tuple[Floats, ...] = ()
    categories: tuple[str, ...] = ()
    known: frozenset[str] = frozenset()
    dimension: int = 0
    scale: float = math.nan
    names: tuple[str, ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, column: ColumnProfile, *, has_values: bool = True) -> tuple[Features, Shares]:
        """Return the features of a *column*, and how often it has them; if not *has_values*, only what is missing."""
        sketches = _sketches(column) if has_values else []
        most = CUTS if len(sketches) == 1 else _VECTOR_CUTS
        edges = tuple(sketch.cuts(most) for sketch in sketches)
        named: tuple[str, ...] = ()
        known: frozenset[str] = frozenset()
        counts = [sketch.at_most(cuts) * sketch.count for sketch, cuts in zip(sketches, edges, strict=True)]
        errors = [np.full(len(cuts), sketch.error) for sketch, cuts in zip(sketches, edges, strict=True)]
        if column.categories is not None:
            found = column.categories
            least = max(2.0, _LEAST_SHARE * found.count)
            named = tuple(name for name, count in found.top(_CATEGORIES) if count >= least or found.is_exact)
            known = frozenset(found.counts)
            told = [found.counts[name] for name in named]
            others = sum(found.counts.values()) - sum(told)
            counts.append(np.array([*told, others, found.count - sum(found.counts.values())], dtype=float))
            errors.append(np.full(len(told) + 2, found.error / max(1, found.count)))
        infinite = column.numbers.infinite if column.numbers is not None else 0
        counts.append(np.array([column.missing, column.invalid + infinite], dtype=float))
        errors.append(np.zeros(2))
        middles = tuple(sketch.middles(cuts) for sketch, cuts in zip(sketches, edges, strict=True))
        for sketch in sketches:
            sketch.rest()
        features = cls(
            column.kind,
            edges,
            middles,
            named,
            known,
            column.vectors.dimension if column.vectors is not None else 0,
            column.numbers.moments.deviation if column.numbers is not None else math.nan,
            _names(edges, named, has_categories=column.categories is not None),
        )
        rows = np.full(len(features.names), float(column.count - infinite))
        rows[-2:] = column.rows
        return features, Shares(rows, np.concatenate(counts), np.concatenate(errors))

    def fingerprint(self) -> int:
        """Return a number that tells these features from others."""
        told = b"".join(cuts.tobytes() for cuts in self.edges) + "\n".join(self.categories).encode("utf-8", "replace")
        return crc32(told)

    def to_dict(self) -> dict[str, Any]:
        """Return the features, as JSON has them."""
        return {
            "kind": self.kind,
            "edges": [cuts.tolist() for cuts in self.edges],
            "middles": [middles.tolist() for middles in self.middles],
            "categories": list(self.categories),
            "dimension": self.dimension,
            "scale": or_none(self.scale),
            "names": list(self.names),
        }

    @classmethod
    def of_dict(cls, state: Mapping[str, Any]) -> Features:
        """
        Return the features that *state* tells of; of categories those are known that have a name.

        Raises:
            ValueError: it is not what `to_dict` returns.
        """
        edges = tuple(np.asarray(cuts, dtype=float) for cuts in state["edges"])
        named = tuple(map(str, state["categories"]))
        kind, names = state["kind"], tuple(map(str, state["names"]))
        size = sum(map(len, edges)) + (len(named) + 2) * (kind == "category") + 2
        if kind not in ("number", "time", "category", "vector") or size != len(names):
            raise ValueError(f"a column of kind {kind!r:.20} has {size} features, got {len(names)}")
        middles = tuple(np.asarray(one, dtype=float) for one in state["middles"])
        if [len(one) for one in middles] != [len(cuts) + 1 for cuts in edges]:
            raise ValueError("between the cuts of a column lies one value more than there are cuts")
        return cls(
            kind, edges, middles, named, frozenset(named), int(state["dimension"]), or_nan(state["scale"]), names
        )

    def weights(self, shares: Shares) -> Floats:
        """
        Return the part of the stake that is on each feature, of which *shares* are usual.

        Most is on the middle of a distribution, where a shift of a given size shows most; something is on each.
        """
        usual = shares.values.clip(0.01, 0.99)
        weights: Floats = np.sqrt(usual * (1 - usual))
        weights[:-2] *= (1 - _PRESENCE) / max(1e-9, float(weights[:-2].sum()))
        weights[-2:] = _PRESENCE / 2
        return weights

    def count(self, values: Values) -> tuple[Floats, Floats]:
        """Return of how many rows how many have each feature."""
        present = len(values.texts) if values.texts is not None else 0
        odd, counts = values.invalid, []
        if values.numbers is not None:
            finite = np.isfinite(values.numbers)
            numbers = values.numbers if finite.all() else values.numbers[finite]
            present, odd = len(numbers), odd + len(values.numbers) - len(numbers)
            counts += [_below(numbers, cuts) for cuts in self.edges]
        elif values.vectors is not None:
            fits = values.vectors.shape[1:] == (self.dimension,)
            vectors = values.vectors if fits else np.empty((0, self.dimension))
            present, odd = len(vectors), odd + len(values.vectors) - len(vectors)
            lengths = np.linalg.norm(vectors, axis=1)
            spread = (*projections(vectors).T, lengths)
            counts += [_below(one, cuts) for one, cuts in zip(spread, self.edges, strict=True)]
        elif values.texts is not None:
            counts += self._of_texts(values.texts)
        else:
            counts.append(np.zeros(len(self.names) - 2))
        counts.append(np.array([values.missing, odd], dtype=float))
        rows = np.full(len(self.names), float(present))
        rows[-2:] = present + values.missing + odd
        return rows, np.concatenate(counts)

    def _of_texts(self, texts: Sequence[str]) -> list[Floats]:
        places = {name: place for place, name in enumerate(self.categories)}
        others = len(places)
        counts = np.zeros(others + 2)
        for text in texts:
            name = category(text)
            counts[places.get(name, others if name in self.known else others + 1)] += 1
        lengths = [_below(np.array([len(text) for text in texts], dtype=float), cuts) for cuts in self.edges]
        return [*lengths, counts]

    def bounds(self, shares: Shares, smallest_shift: float, risk: float) -> tuple[Floats, Floats]:
        """
        Return within which bounds a share may lie without being a shift of interest.

        The smallest one, and how far the reference itself may be off: its band, which fails with probability *risk* at
        most, and its sketch's error. Of a distribution function the band is that of Dvoretzky, Kiefer, Wolfowitz and
        Massart (1990), of single shares Chernoff's.
        """
        values, lower, upper = shares.values, np.zeros(len(self.names)), np.ones(len(self.names))
        place = 0
        singles = len(self.names) - sum(map(len, self.edges))
        # Single shares have a tenth of the risk where there are distributions, as they have of the stake.
        part = risk * (1 - _PRESENCE) / len(self.edges) if self.edges else 0.0
        for cuts in self.edges:
            cells = slice(place, place + len(cuts))
            rows = max(1.0, float(shares.rows[place])) if len(cuts) else 1.0
            band = math.sqrt(math.log(2 / part) / (2 * rows))
            lower[cells], upper[cells] = values[cells] - band, values[cells] + band
            place += len(cuts)
        # The named ones were chosen for being frequent, so all that could have been count.
        cases = 2 * max(1, singles, len(self.known))
        rest = (risk - part * len(self.edges)) / cases
        lower[place:], upper[place:] = _chernoff(values[place:], shares.rows[place:], rest)
        slack = smallest_shift + shares.error
        return np.maximum(lower, 0.0) - slack, np.minimum(upper, 1.0) + slack

    def distances(self, expected: Floats, seen: Floats) -> Distances:
        """Return how far the shares *seen* are from those *expected*; of several, the distribution farthest off."""
        place, found = 0, []
        for cuts, middles in zip(self.edges, self.middles, strict=True):
            one, other = expected[place : place + len(cuts)], seen[place : place + len(cuts)]
            place += len(cuts)
            if len(cuts):
                bins = [np.diff(np.concatenate(([0.0], shares, [1.0]))).clip(0.0, 1.0) for shares in (one, other)]
                moved = float((np.abs(other - one) * np.diff(middles)).sum())
                scale = self.scale if self.scale > 0 else math.nan
                ks = float(np.abs(other - one).max())
                found.append(Distances(*Distances.of_shares(*bins)[:2], ks, moved / scale))
        rest = slice(place, -2)
        if len(expected[rest]):
            found.append(Distances.of_shares(expected[rest], seen[rest]))
        return max(found, key=lambda one: one.ks, default=Distances(0.0, 0.0, 0.0, math.nan))


def _sketches(column: ColumnProfile) -> list[QuantileSketch]:
    if column.numbers is not None:
        return [column.numbers.sketch]
    if column.vectors is not None:
        return [*column.vectors.projected, column.vectors.lengths]
    # Texts that seldom repeat are known by their lengths.
    is_text = column.categories is not None and not column.categories.is_exact
    return [column.lengths.sketch] if is_text and column.lengths is not None else []


def _names(edges: Sequence[Floats], named: Sequence[str], *, has_categories: bool) -> tuple[str, ...]:
    cuts = [
        f"at most {number(cut)}" if len(edges) == 1 else f"projection {place}: at most {cut:.3g}"
        for place, one in enumerate(edges)
        for cut in one
    ]
    rest = ["others", "unseen"] if has_categories else []
    return (*cuts, *named, *rest, "missing", "invalid")


def _below(values: Floats, cuts: Floats) -> Floats:
    """Return how many of the values are at most each cut."""
    if len(values) > _MANY:
        return np.array([np.count_nonzero(values <= cut) for cut in cuts.tolist()], dtype=float)
    # Of fewer twice as fast as to look at all for each cut, of 10,000 eight times as slow.
    return np.searchsorted(np.sort(values), cuts, side="right").astype(float)


def _chernoff(shares: Floats, rows: Floats, risk: float) -> tuple[Floats, Floats]:
    """
    Return between which shares the true ones lie, each bound failing with probability *risk* at most.

    Chernoff's bound says that the divergence of the share that was seen from the true one is at most log(1/risk)/rows;
    that is resolved by three bounds on the divergence, of which Pinsker's is the tightest in the middle.
    """
    room = math.log(1 / risk) / np.maximum(rows, 1.0)
    ends = []
    for near, far in ((shares, 1 - shares), (1 - shares, shares)):
        rise = np.minimum(room + np.sqrt(room * room + 2 * near * room), np.sqrt(2 * far * room))
        ends.append(np.minimum(rise, np.sqrt(room / 2)))
    return shares - ends[1], shares + ends[0]
