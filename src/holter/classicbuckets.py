"""
Classic histogram buckets, which are told by their upper bounds, out of exponential ones.

A value is counted below a bound as soon as the exponential bucket that holds it begins below it.
So each count is the exact one for a bound that lies higher by less than one exponential bucket,
1.1 % at scale 6 (2.2 % at scale 5, and so on), and it is exact for a bound that is the edge of a
bucket, such as any power of two. A coarser scale only moves the beginnings of buckets down: counts never fall.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import numpy as np

from holter import genai
from holter.arguments import finite_number
from holter.distribution import FINEST_SCALE, Floats, Histogram, Integers, edge, indices
from holter.errors import ConfigurationError

Bounds: TypeAlias = tuple[float, ...]
Wanted: TypeAlias = Mapping[str, Sequence[float] | Literal["auto"]] | Literal["auto"] | None

# The boundaries that OpenTelemetry's conventions advise for durations elsewhere, and those of its SDKs for all else.
SECONDS: Final[Bounds] = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
OTHERS: Final[Bounds] = (0, 5, 10, 25, 50, 75, 100, 250, 500, 750, 1000, 2500, 5000, 7500, 10000)
MOST_BOUNDS: Final = 100
_FINE_STEPS: Final = 32
_COARSE: Final = 8
_HALF_OCTAVES: Final = 1
"""The scale of which chosen bounds are edges."""
_LARGEST_STEP: Final = 2 * 1023


class Choice:
    """
    The bounds of each metric: as *wanted*, else OpenTelemetry's.

    "auto" chooses edges of exponential buckets, powers of the root of 2, from the smallest value to
    the largest and one octave around them. What has been chosen stays; values beyond add bounds.

    Raises:
        ConfigurationError: *wanted* is neither None, "auto" nor rising bounds by the name of a metric.
    """

    def __init__(self, wanted: Wanted = None) -> None:
        self._is_auto = wanted == "auto"
        self._given: dict[str, Bounds | None] = {} if wanted is None or self._is_auto else _checked(wanted)
        self._steps: dict[tuple[str, int], set[int]] = {}

    def bounds(self, name: str, unit: str, histograms: Iterable[Histogram]) -> Bounds:
        """Return the bounds of metric *name*, whose series have these *histograms*."""
        given = self._given.get(name)
        if given is not None:
            return given
        if not self._is_auto and name not in self._given:
            return genai.BOUNDARIES.get(name) or (SECONDS if unit == "s" else OTHERS)
        held = list(histograms)
        has_others = any(one.zero_count or one.negative.counts.size for one in held)
        below = [-bound for bound in reversed(self._edges(name, -1, held))]
        return (*below, *((0.0,) if has_others else ()), *self._edges(name, 1, held))

    def _edges(self, name: str, sign: int, histograms: list[Histogram]) -> list[float]:
        """Return the edges for the values of one *sign*, whose steps are half octaves; remember them."""
        steps = self._steps.setdefault((name, sign), set())
        for histogram in histograms:
            side = histogram.positive if sign > 0 else histogram.negative
            if side.counts.size:
                shift = histogram.scale - _HALF_OCTAVES
                low, high = _half_octave(side.offset, shift), _half_octave(side.last, shift) + 1
                _widen(steps, low - 2, high + 2)
        return [edge(step, _HALF_OCTAVES) for step in sorted(steps)]


class Tally:
    """
    The cumulative counts of one series, which never fall.

    Values that were counted but whose records were lost, or have not been read yet, are shared
    among the buckets as the others of their time were; where none was read, all lie at their mean.
    """

    def __init__(self) -> None:
        self._bounds: Bounds = ()
        self._shown = self._missing = self._held = np.zeros(0)
        self._gap = self._size = 0

    def counts(self, bounds: Bounds, histogram: Histogram, count: int, total: float) -> list[int]:
        """Return how many of *count* values, *total* in sum, lie below each bound; *histogram* has those read."""
        held = cumulative(bounds, histogram).astype(np.float64)
        if bounds != self._bounds:
            self._rebind(bounds, held)
        size = histogram.count
        gap, read = max(0, count - size), size - self._size
        if gap < self._gap:
            self._missing = self._missing * (gap / self._gap)
        elif gap > self._gap:
            if read > 0:
                shares = (held - self._held) / read
            else:
                shares = held / size if size else (np.array(bounds) >= total / count).astype(np.float64)
            self._missing = self._missing + (gap - self._gap) * np.clip(shares, 0, 1)
        self._held, self._gap, self._size = held, gap, size
        self._shown = np.maximum.accumulate(np.maximum(self._shown, np.floor(held + self._missing + 1e-6)))
        return [min(count, int(shown)) for shown in self._shown.tolist()]

    def _rebind(self, bounds: Bounds, held: Floats) -> None:
        """Go on with other *bounds*: those known keep their counts, a new one takes what was missing below it."""
        shown = dict(zip(self._bounds, self._shown.tolist(), strict=True))
        before = dict(zip(self._bounds, self._held.tolist(), strict=True))
        missing = np.concatenate(([0.0], self._missing))
        places = np.searchsorted(np.array(self._bounds), np.array(bounds), side="right")
        self._missing = missing[places]
        self._shown = np.array([shown.get(bound, 0.0) for bound in bounds])
        most = zip(bounds, np.minimum(held, self._size).tolist(), strict=True)
        self._bounds, self._held = bounds, np.array([before.get(bound, count) for bound, count in most])


def cumulative(bounds: Bounds, histogram: Histogram) -> Integers:
    """Return how many values lie below each of the rising *bounds*, as the module says; about 15 us."""
    counts = np.zeros(len(bounds), dtype=np.int64)
    finest = _finest(bounds)
    shift = FINEST_SCALE - histogram.scale
    negative, positive = histogram.negative, histogram.positive
    all_negative = int(negative.counts.sum())
    if all_negative:
        # From the largest magnitude on: how many lie in this bucket or beyond.
        beyond = np.concatenate((negative.counts[::-1].cumsum()[::-1], [0]))
        places = (finest.below >> shift) - negative.offset
        counts[: places.size] = beyond[places.clip(0, negative.counts.size)]
    counts[finest.below.size :] = all_negative + histogram.zero_count
    if positive.counts.size:
        up_to = np.concatenate(([0], positive.counts.cumsum()))
        places = (finest.above >> shift) - positive.offset + 1
        counts[counts.size - places.size :] += up_to[places.clip(0, positive.counts.size)]
    return counts


class _Finest(NamedTuple):
    """The buckets at the finest scale of the magnitudes of bounds below 0, and of those above."""

    below: Integers
    above: Integers


@functools.lru_cache(maxsize=64)
def _finest(bounds: Bounds) -> _Finest:
    edges = np.array(bounds, dtype=np.float64)
    return _Finest(indices(-edges[edges < 0]), indices(edges[edges > 0]))


def _half_octave(index: int, shift: int) -> int:
    return index >> shift if shift >= 0 else index << -shift


def _widen(steps: set[int], low: int, high: int) -> None:
    """Add steps from *low* to *high*: each one while there are few, then one in eight."""
    low, high = max(low, -_LARGEST_STEP), min(high, _LARGEST_STEP)
    if not steps:
        steps.add((low + high) // 2)
    middle = (min(steps) + max(steps)) // 2
    outside = [*range(low, min(steps)), *range(max(steps) + 1, high + 1)]
    for step in sorted(outside, key=lambda step: abs(step - middle)):
        if len(steps) < (_FINE_STEPS if step % _COARSE else MOST_BOUNDS - 2):
            steps.add(step)
    # Where only one in eight had room, the last one may have fallen short.
    if low < min(steps) and len(steps) < MOST_BOUNDS:
        steps.add(low // _COARSE * _COARSE)
    if high > max(steps) and len(steps) < MOST_BOUNDS:
        steps.add(-(-high // _COARSE) * _COARSE)


def _checked(wanted: Any) -> dict[str, Bounds | None]:
    """Return the bounds by metric, None for those to be chosen."""
    example = "{'holter.call.duration': [0.01, 0.1, 1]}"
    if not isinstance(wanted, Mapping):
        raise ConfigurationError(f"expected buckets such as {example}, 'auto' or None, got {wanted!r:.60}")
    found: dict[str, Bounds | None] = {}
    for name, given in wanted.items():
        if not isinstance(name, str):
            raise ConfigurationError(f"expected buckets by the names of metrics, such as {example}, got {name!r:.60}")
        if isinstance(given, str):
            if given != "auto":
                raise ConfigurationError(f"expected rising bounds or 'auto' for {name}, got {given!r:.60}")
            found[name] = None
            continue
        try:
            bounds = tuple(finite_number(f"a bound of {name}", bound) for bound in given)
        except TypeError:
            raise ConfigurationError(f"expected a list of bounds for {name}, got {type(given).__name__}") from None
        if not 1 <= len(bounds) <= MOST_BOUNDS:
            raise ConfigurationError(f"expected 1 to {MOST_BOUNDS} bounds for {name}, got {len(bounds)}")
        if any(one >= other for one, other in itertools.pairwise(bounds)):
            raise ConfigurationError(f"expected rising bounds for {name}, got {list(bounds)!r:.120}; sort them")
        found[name] = bounds
    return found


def spoken(bound: float) -> str:
    """Return *bound* as the value of the label ``le``."""
    return "+Inf" if math.isinf(bound) else repr(float(bound))
