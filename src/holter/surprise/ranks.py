"""
What each signal's values were like so far, and the rank of a new one among them, as a bounded score.

A value becomes the normal score of its rank: whatever the distribution, a signal that goes on as before has scores
much like a standard normal variable, which no single value can blow up. Scale and shift of the signal drop out.

A signal's past is 64 quantiles at scores -3.15 to 3.15 and how many values they stand for. A block of new ones is
merged by weight, in one sort for all signals (the idea of merging sketches: Munro and Paterson, 1980; Dunning's
t-digest, 2019, has its centroids denser at the ends as here).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from holter.ring import NATIVE
from holter.surprise.normal import Bools, Floats, Singles, score_of, share_below

QUANTILES: Final = 64
GRID: Final = np.linspace(-3.15, 3.15, QUANTILES)
"""The scores at which the quantiles are kept."""
_SPACING: Final = float(GRID[1] - GRID[0])
SHARES: Final = share_below(GRID)
EDGES: Final = np.concatenate(([0.0], (SHARES[1:] + SHARES[:-1]) / 2, [1.0]))
_MIDDLE: Final = QUANTILES // 2
_NEAR: Final = int(np.searchsorted(GRID, 1.0))
_FAR: Final = int(np.searchsorted(GRID, 2.0))
NEAR: Final = float(GRID[_NEAR])
FAR: Final = float(GRID[_FAR])
_STEP: Final = QUANTILES + 1


def _tied() -> Floats:
    """Return the score of a value that equals the quantiles from one place to another: that of the middle share."""
    places = np.arange(_STEP)
    shares = (EDGES[places][:, None] + EDGES[places][None, :]) / 2
    return np.asarray(score_of(shares)).ravel()


TIED: Final = _tied()
_FURTHEST: Final = 3.2
_AT_ONCE: Final = 1_000


class Ranks:
    """The past of *count* signals; 64 quantiles of 4 bytes and a count each."""

    def __init__(self, count: int) -> None:
        self.quantiles = np.zeros((count, QUANTILES), np.float32)
        self.known = np.zeros(count, np.float32)
        """How many values are known of each signal: fewer than were seen where there is a new usual."""
        self.prepare()

    def prepare(self) -> None:
        """Derive what scores need, after the arrays have changed."""
        # Of n values none is rarer than one in n + 1.
        furthest = np.minimum(score_of((self.known + 0.5) / (self.known + 1.0)), _FURTHEST)
        self.furthest = furthest.astype(np.float32)

    @property
    def _rows(self) -> npt.NDArray[np.intp]:
        return np.arange(0, self.quantiles.size, QUANTILES)

    def scores(self, values: Singles) -> Floats:
        """Return the bounded score of each of the finite *values*, ties at the middle of their ranks."""
        return scores_of(values, self.quantiles, self.furthest)

    def spread(self) -> tuple[Floats, Floats, Floats]:
        """Return the median, and how far above and below it the scores `NEAR` and `FAR` lie, each ``(2, signals)``."""
        quantiles = self.quantiles.astype(np.float64)
        median = (quantiles[:, _MIDDLE - 1] + quantiles[:, _MIDDLE]) / 2
        near, far = (
            np.array([quantiles[:, place] - median, median - quantiles[:, QUANTILES - 1 - place]])
            for place in (_NEAR, _FAR)
        )
        return median, near, far

    @property
    def is_at_end(self) -> Bools:
        """Whether half of the values are the largest, or the smallest, and not all the same: ``(2, signals)``."""
        middle, ends = self.quantiles[:, [_MIDDLE]], self.quantiles[:, [-1, 0]]
        return np.asarray((middle == ends) & (ends[:, :1] > ends[:, 1:])).T

    def learn(self, block: Singles, rows: npt.NDArray[np.intp], past: Singles) -> None:
        """
        Add a *block* of values, ``(signals, values)`` with NaN where there is none, to the past of *rows*.

        That counts for as many values as *past* says of each signal: where these are fewer than are known, what is
        older counts less.
        """
        # What a few thousand need at once stays in the cache, and memory for a moment small.
        for first in range(0, len(rows), _AT_ONCE):
            fresh = Fresh(block, rows[first : first + _AT_ONCE], past)
            merge(fresh, Past(SHARES, EDGES, self.quantiles, self.known))


class Fresh(NamedTuple):
    """A block of values, ``(signals, values)`` with NaN where there is none, that some *rows* of it are to learn."""

    block: Singles
    rows: npt.NDArray[np.intp]
    past: Singles
    """For how many values counts what each signal did before."""


class Past(NamedTuple):
    """What is known: the values at these *shares*; between each two the past has the share of their *edges*."""

    shares: Floats
    edges: Floats
    quantiles: Singles
    known: Singles


def merge_in_numpy(fresh: Fresh, past: Past) -> None:
    """Merge what is *fresh* into the quantiles of the *past*, and count it in what is known."""
    block, rows, counted = fresh
    at, edges, quantiles, known = past
    new = block[rows].astype(np.float64)
    there = np.isfinite(new)
    had, old = known[rows], counted[rows]
    values = np.concatenate([quantiles[rows].astype(np.float64), np.where(there, new, np.inf)], axis=1)
    # Without a past its quantiles say nothing.
    values[had <= 0, :QUANTILES] = np.inf
    order = np.argsort(values, axis=1, kind="stable")
    values, is_old = np.take_along_axis(values, order, 1), order < QUANTILES
    added = there.sum(1)
    some = np.flatnonzero(old + added > 0)
    if not len(some):
        return
    values, is_old, old, chosen = values[some], is_old[some], old[some, None], rows[some]
    is_new = ~is_old & np.isfinite(values)
    # What the past says at each of its quantiles is their share; strictly between two, what is on the way from one to
    # the other, and of what is tied the middle.
    passed = np.cumsum(is_old, axis=1)
    below = np.maximum(passed - 1, 0)
    share = np.where(is_old, at[below], edges[passed])
    each = np.arange(len(some))[:, None]
    low, high = (quantiles[chosen[each], np.minimum(below + one, QUANTILES - 1)].astype(np.float64) for one in (0, 1))
    between = is_new & (passed > 0) & (passed < QUANTILES) & (values > low)
    part = np.divide(values - low, high - low, out=np.zeros_like(share), where=between)
    share = np.where(between, at[below] + part * (at[np.minimum(below + 1, QUANTILES - 1)] - at[below]), share)
    shares = (old * share + np.cumsum(is_new, axis=1) - 0.5 * is_new) / (old + added[some, None])
    np.maximum.accumulate(shares, axis=1, out=shares)
    # The largest that is known stands for all beyond, so that no infinity gets between the quantiles.
    largest = np.where(np.isinf(values), -np.inf, values).max(1)
    values = np.minimum(values, largest[:, None])
    # One search for all: each signal's shares lie in an interval of their own.
    offsets = 2.0 * np.arange(len(some))[:, None]
    wanted = np.broadcast_to(at, (len(some), QUANTILES)) + offsets
    # Outside the outermost shares the outermost values hold: flat, not towards the next signal.
    first, last = offsets - 0.5, offsets + 1.5
    ends = np.concatenate([values[:, :1], values, largest[:, None]], axis=1)
    places = np.concatenate([first, shares + offsets, last], axis=1)
    merged = np.interp(wanted.ravel(), places.ravel(), ends.ravel()).reshape(len(some), QUANTILES)
    quantiles[chosen] = merged
    known[chosen] += added[some]


merge: Final[Callable[[Fresh, Past], None]] = merge_in_numpy if NATIVE is None else NATIVE.merge


def scores_of(values: Singles, quantiles: Singles, furthest: Singles) -> Floats:
    """Return the score of each of the finite *values* among its *quantiles*, no further out than *furthest*."""
    flat = quantiles.ravel()
    below = np.add.reduce(quantiles < values[:, None], 1, np.intp)
    place = np.minimum(np.maximum(below, 1), QUANTILES - 1)
    at = np.arange(len(values)) * QUANTILES + place
    low, high = flat[at - 1], flat[at]
    width = high - low
    is_odd = width <= 0
    part = np.divide(values - low, width, out=np.zeros_like(values), where=~is_odd)
    np.maximum(part, -0.5, out=part)
    np.minimum(part, 1.5, out=part)
    scores = (part + (place - 1)) * _SPACING + GRID[0]
    is_odd |= (high == values) | (low == values)
    if np.count_nonzero(is_odd):
        # Equal to some, or beyond all where the outermost are equal.
        odd = np.flatnonzero(is_odd)
        until = np.add.reduce(quantiles[odd] <= values[odd, None], 1, np.intp)
        scores[odd] = TIED[below[odd] * _STEP + until]
    np.minimum(scores, furthest, out=scores)
    bounded: Floats = np.maximum(scores, -furthest, out=scores)
    return bounded
