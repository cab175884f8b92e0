"""The values of many series in one array: their quantiles all at once, where histogram by histogram costs too much."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from holter.distribution import COARSEST_SCALE, FINEST_SCALE, Buckets, Histogram, Integers, middle_of

Floats = npt.NDArray[np.float64]

# A bucket is one integer: the place of its series, the middle of the bucket, how many values it holds. Sorted, those of
# a series stand together, from the smallest to the largest.
_COUNT_BITS: Final = 26
_MIDDLE_BITS: Final = 20
_MOST: Final = (1 << _COUNT_BITS) - 1
_STEPS: Final = 128
"""Middles are kept in so many steps to each doubling: those of the finest buckets lie between the steps of 64."""
_LOWEST: Final = 1_100
"""No float is smaller than 2 to the minus this."""
_ZERO: Final = 1 << (_MIDDLE_BITS - 1)
_SCALES: Final = range(COARSEST_SCALE, FINEST_SCALE + 1)
# With a half, so that what is cut off rounds.
_WIDTHS: Final = np.array([_STEPS * 2.0**-scale for scale in _SCALES])
_MIDDLES: Final = np.array([_STEPS * (middle_of(scale) + _LOWEST) + 0.5 for scale in _SCALES])
_LEAST_TIDIED: Final = 20_000
_BYTE: Final = 255


class _Kept:
    """Sorted buckets, 2 bytes each: how far from the one before, and how many values; what is more stands apart."""

    def __init__(self, packed: Integers) -> None:
        where, counts = packed >> _COUNT_BITS, packed & _MOST
        further = np.diff(where, prepend=0)
        self._further, self._counts = further.astype(np.uint8), counts.astype(np.uint8)
        self._far, self._many = (np.flatnonzero(one > _BYTE).astype(np.int32) for one in (further, counts))
        self._jumps, self._amounts = further[self._far], counts[self._many]

    def __len__(self) -> int:
        return len(self._further)

    def packed(self) -> Integers:
        """Return the buckets as they were."""
        further, counts = self._further.astype(np.int64), self._counts.astype(np.int64)
        further[self._far], counts[self._many] = self._jumps, self._amounts
        return (np.cumsum(further) << _COUNT_BITS) + counts


class Pool:
    """
    Collects histograms by place; 2 bytes for each bucket that holds values, up to twice that until it is tidied.

    And 12 bytes for what is far from the bucket before, as the first of each place is. A middle is kept to 0.3 %, a
    count up to 67 million.
    """

    def __init__(self) -> None:
        self._tidy = _Kept(np.zeros(0, np.int64))
        self._more: list[_Kept] = []
        self._waiting = 0

    def add(self, places: Sequence[int], histograms: Sequence[Histogram]) -> None:
        """Take in one histogram for each of the *places*."""
        positive = [(place, one.scale, one.positive) for place, one in zip(places, histograms, strict=True)]
        self._take(positive, 1)
        negative = [
            (place, one.scale, one.negative)
            for place, one in zip(places, histograms, strict=True)
            if one.negative.memory
        ]
        if negative:
            self._take(negative, -1)
        zeros = [
            _packed(place, _ZERO) + min(one.zero_count, _MOST)
            for place, one in zip(places, histograms, strict=True)
            if one.zero_count
        ]
        if zeros:
            self._keep(np.array(zeros, np.int64))

    def _take(self, sides: Sequence[tuple[int, int, Buckets]], sign: int) -> None:
        counts = np.frombuffer(b"".join([side.memory for _, _, side in sides]), np.int64)
        if not len(counts):
            return
        sizes = np.array([len(side.memory) >> 3 for _, _, side in sides])
        place, scale, offset = np.array([(place, scale, side.offset) for place, scale, side in sides]).T
        first = offset - (np.cumsum(sizes) - sizes)
        there = np.flatnonzero(counts)
        owner = np.repeat(np.arange(len(sides)), sizes)[there]
        scale -= COARSEST_SCALE
        middle = ((there + first[owner]) * _WIDTHS[scale][owner] + _MIDDLES[scale][owner]).astype(np.int64)
        self._keep(_packed(place[owner], _ZERO + sign * middle) + np.minimum(counts[there], _MOST))

    def join(self, other: Pool) -> None:
        """Take in all that *other* holds."""
        other.tidy()
        self._keep(other._tidy.packed())

    def _keep(self, packed: Integers) -> None:
        if not len(packed):
            return
        self._more.append(_Kept(np.sort(packed, kind="stable")))
        self._waiting += len(packed)
        if self._waiting > len(self._tidy) + _LEAST_TIDIED:
            self.tidy()

    def tidy(self) -> None:
        """Put what was taken in where it belongs."""
        if not self._more:
            return
        # What comes of a snapshot is nearly in order: a sort that merges runs takes half as long.
        packed = np.sort(np.concatenate([one.packed() for one in (self._tidy, *self._more)]), kind="stable")
        self._more, self._waiting = [], 0
        where = packed >> _COUNT_BITS
        starts = np.flatnonzero(np.concatenate([[True], where[1:] != where[:-1]]))
        counts = np.minimum(np.add.reduceat(packed & _MOST, starts), _MOST)
        self._tidy = _Kept((where[starts] << _COUNT_BITS) + counts)

    def quantiles(self, shares: Sequence[float]) -> tuple[Integers, Integers, Floats]:
        """
        Return the places that hold values, how many each does, and its quantiles, ``(places, shares)``.

        As `Histogram.quantile` has them, of all histograms of a place together.
        """
        self.tidy()
        held = self._tidy.packed()
        if not len(held):
            return held, held, np.zeros((0, len(shares)))
        place = held >> (_COUNT_BITS + _MIDDLE_BITS)
        starts = np.flatnonzero(np.concatenate([[True], place[1:] != place[:-1]]))
        passed = np.cumsum(held & _MOST)
        ends = np.append(starts[1:], len(held)) - 1
        before = np.concatenate([[0], passed[ends[:-1]]])
        count = passed[ends] - before
        # 99.9 / 100 is a little more than the 0.999 that was meant; of 1,000 values it means the 999th.
        sure = np.array(shares) * (1 - 4 * sys.float_info.epsilon)
        rank = np.maximum(np.ceil(count[:, None] * sure).astype(np.int64), 1)
        found = np.searchsorted(passed, (before[:, None] + rank).ravel())
        middle = ((held[found] >> _COUNT_BITS) & ((1 << _MIDDLE_BITS) - 1)) - _ZERO
        size = np.exp2(np.abs(middle) / _STEPS - _LOWEST)
        values = np.where(middle == 0, 0.0, np.copysign(size, middle)).reshape(rank.shape)
        return place[starts], count, values


def _packed(place: int | Integers, middle: int | Integers) -> Integers:
    return (np.asarray(place, np.int64) << (_COUNT_BITS + _MIDDLE_BITS)) + (np.asarray(middle, np.int64) << _COUNT_BITS)
