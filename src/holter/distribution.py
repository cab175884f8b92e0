"""
Base-2 exponential histograms, as in OpenTelemetry's data model.

Bucket i of scale s counts the values in (base**i, base**(i + 1)] with base = 2**(2**-s); the upper
edge belongs to the bucket: 2.0 lies in the one that ends at 2. The index comes from the bits of the
float and is exact for every value, subnormal ones too. Negative values have a range of their own,
indexed by magnitude; NaN and infinities are only counted.

**One set of values, one histogram.** The scale is the largest, from 6 down, at which the buckets
from the smallest to the largest value of each sign number at most 1,024. Bucket i of one scale is
bucket i >> 1 of the scale below, exactly, and what fits stays fitting at lower scales and with
fewer values. So scale and counts depend on the values alone, and merging parts in any order gives
the histogram of all. ``downscale`` adds a ceiling to the scale; merging takes the lowest of them.

**Bounds.** At scale 6 a quantile is off by at most 0.55 % while the largest value is at most 6.5e4
times the smallest; for the square of that ratio the scale falls to 5 (1.1 %), and so on: all floats
from 5e-324 to 1.8e308 fit at scale -2. A histogram takes 8 bytes for each bucket between the smallest
and the largest value: at most 2 signs x 1,024 x 8 = 16,384 bytes, and under 1 KiB for the objects
around them. Histograms are immutable and may be shared between threads.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

Integers: TypeAlias = npt.NDArray[np.int64]
Floats: TypeAlias = npt.NDArray[np.float64]

FINEST_SCALE: Final = 6
COARSEST_SCALE: Final = -10  # OpenTelemetry's
WINDOW: Final = 1024

_STEPS: Final = 1 << FINEST_SCALE
_MANTISSA_BITS: Final = 52
_EXPONENT_BIAS: Final = 1023
COUNT_BYTES: Final = 8
_SMALLEST_EXPONENT: Final = -1074
# Temporaries of this many values stay below 128 KiB, from where malloc asks the system for fresh
# pages: their faults trebled the cost of an index at 100,000 values.
_BLOCK: Final = 16_000


def _significand(step: int) -> int:
    """Return 2**(52 + step / 64), rounded down; exact, as the floor of a root of a floor is the floor of the root."""
    root = 1 << (_MANTISSA_BITS * _STEPS + step)
    for _ in range(FINEST_SCALE):
        root = math.isqrt(root)
    return root


_SIGNIFICANDS: Final = tuple(_significand(step) for step in range(_STEPS))

# A mantissa is looked up by its top 7 bits. A bucket is at least 1.09 % wide and such a cell at
# most 0.79 %, so a cell holds at most one edge, and adding one number to the bits of a float
# carries into the bit that counts buckets exactly when the value lies past that edge.
_CELL_BITS: Final = FINEST_SCALE + 1
_CELL_SHIFT: Final = _MANTISSA_BITS - _CELL_BITS
_INDEX_SHIFT: Final = _MANTISSA_BITS - FINEST_SCALE


def _carry(cell: int) -> int:
    """Return what, added to the bits of a float in this cell of mantissas, makes its top bits the index."""
    start, width = cell << _CELL_SHIFT, 1 << _CELL_SHIFT
    # The first mantissa past each edge: the edge itself is still in the bucket below.
    firsts = [significand + 1 - (1 << _MANTISSA_BITS) for significand in _SIGNIFICANDS]
    step = sum(first <= start for first in firsts) - 1
    until_edge = min([width, *(first - start for first in firsts if first > start)])
    return ((step + 1) << _INDEX_SHIFT) - until_edge - start - (_EXPONENT_BIAS << _MANTISSA_BITS)


CARRIES: Final = np.array([_carry(cell) for cell in range(1 << _CELL_BITS)], dtype=np.int64)


def index_normal(values: Floats) -> Integers:
    """Return the bucket at scale 6 of each normal value greater than 0; about 2 ns a value."""
    bits = values.view(np.int64)
    index = np.empty(len(bits), dtype=np.int64)
    for start in range(0, len(bits), _BLOCK):
        block, out = bits[start : start + _BLOCK], index[start : start + _BLOCK]
        cells = block >> _CELL_SHIFT
        cells &= (1 << _CELL_BITS) - 1
        np.take(CARRIES, cells, out=out, mode="clip")
        out += block
        out >>= _INDEX_SHIFT
    return index


def indices(magnitudes: Floats) -> Integers:
    """Return the bucket at scale 6 of each finite value greater than 0."""
    index = index_normal(magnitudes)
    small = magnitudes < sys.float_info.min
    # The bits of a subnormal are its value in units of the smallest.
    in_units = magnitudes[small].view(np.int64).astype(np.float64)
    index[small] = index_normal(in_units) + _SMALLEST_EXPONENT * _STEPS
    return index


def edge(index: int, scale: int) -> float:
    """Return the largest float that is at most base**index, so that comparing with it is exact."""
    octave, step = divmod(index << (FINEST_SCALE - scale), _STEPS)
    if octave > _EXPONENT_BIAS:
        return sys.float_info.max
    exponent = octave - _MANTISSA_BITS
    dropped = max(0, _SMALLEST_EXPONENT - exponent)
    return math.ldexp(_SIGNIFICANDS[step] >> dropped, exponent + dropped)


@dataclass(frozen=True, slots=True)
class Buckets:
    """
    The counts of neighbouring buckets, from bucket ``offset`` on; the first and the last are not 0.

    ``memory`` holds them as 8-byte integers: bytes cannot change, hash and compare by content, and
    are made in a fifth of the time that an array of its own would take.
    """

    offset: int
    memory: bytes = field(repr=False)

    @property
    def counts(self) -> Integers:
        """The counts, as a read-only view."""
        return np.frombuffer(self.memory, dtype=np.int64)

    @property
    def size(self) -> int:
        """The number of buckets, empty ones between others included."""
        return len(self.memory) // COUNT_BYTES

    @property
    def last(self) -> int:
        """The index of the last bucket; without values ``offset - 1``."""
        return self.offset + self.size - 1

    def edges(self, scale: int) -> list[tuple[float, float, int]]:
        """Return (lower, upper, count) of each bucket that holds a value, as magnitudes."""
        occupied = [(index, count) for index, count in enumerate(self.counts.tolist(), self.offset) if count]
        return [(edge(index, scale), edge(index + 1, scale), count) for index, count in occupied]

    def coarser(self, shift: int) -> Buckets:
        """Return the same values in buckets that span 2**shift of these."""
        if not shift or not self.memory:
            return self
        offset = self.offset >> shift
        inner = range(((offset + 1) << shift) - self.offset, self.size, 1 << shift)
        return Buckets(offset, np.add.reduceat(self.counts, [0, *inner]).tobytes())

    def shift_to_join(self, other: Buckets) -> int:
        """Return by how much the scale must fall for the buckets of both to fit into the window."""
        if not self.memory or not other.memory:
            return 0
        return shift_to_fit(min(self.offset, other.offset), max(self.last, other.last))

    def plus(self, other: Buckets) -> Buckets:
        """Return the buckets of both; they must be of one scale."""
        if not self.memory or not other.memory:
            return self if self.memory else other
        first, then = (self, other) if self.offset <= other.offset else (other, self)
        at, size, added = then.offset - first.offset, len(first.memory), len(then.memory)
        room = bytearray(first.memory)
        if (end := at * COUNT_BYTES + added) > size:
            room += bytes(end - size)
        counts = np.frombuffer(room, np.int64, added // COUNT_BYTES, at * COUNT_BYTES)
        counts += np.frombuffer(then.memory, np.int64)
        return Buckets(first.offset, bytes(room))


def middle_of(scale: int) -> float:
    """
    Return how far above its lower edge, in powers of two, the number is that stands for a bucket.

    The harmonic mean of the edges, 2 * base / (1 + base) times the lower one (Masson, Rim and Lee, "DDSketch", 2019).
    """
    return 1 - math.log1p(2.0 ** -(2.0**-scale)) / math.log(2)


def shift_to_fit(low: int, high: int) -> int:
    """Return the least by which the scale must fall for the buckets from *low* to *high* to fit into the window."""
    shift = 0
    while (high >> shift) - (low >> shift) >= WINDOW:
        shift += 1
    return shift


NO_BUCKETS: Final = Buckets(0, b"")
_NO_INDEX: Final = np.zeros(0, np.int64)


def _counted(index: Integers) -> Buckets:
    """Return the buckets of values that lie in those of *index*, one each."""
    if not index.size:
        return NO_BUCKETS
    low = int(index.min())
    return Buckets(low, np.bincount(index - low).tobytes())


@dataclass(frozen=True, slots=True)
class Histogram:
    """
    How a set of values is distributed; ``Histogram()`` is that of none.

    ``positive`` and ``negative`` count the values other than 0 by magnitude, ``zero_count`` the
    zeros, ``nonfinite`` the NaN and infinite ones, which are in no other figure. Equal and hashed
    by content. See the module for the error bound and the size.

    >>> request_seconds = Histogram.of([0.010, 0.020, 0.030])
    >>> request_seconds.count, round(request_seconds.quantile(0.5), 3)
    (3, 0.02)
    """

    scale: int = FINEST_SCALE
    zero_count: int = 0
    nonfinite: int = 0
    positive: Buckets = NO_BUCKETS
    negative: Buckets = NO_BUCKETS

    @staticmethod
    def of(values: npt.ArrayLike) -> Histogram:
        """Return the histogram of *values*, of any shape; about 5 ns a value."""
        flat = np.ascontiguousarray(values, dtype=np.float64).ravel()
        if not flat.size:
            return Histogram()
        if flat.min() >= sys.float_info.min and flat.max() < np.inf:
            zero_count, sides = 0, [index_normal(flat), _NO_INDEX]
        else:
            above, below = flat[(flat > 0) & (flat < np.inf)], flat[(flat < 0) & (flat > -np.inf)]
            zero_count, sides = int(np.count_nonzero(flat == 0)), [indices(above), indices(-below)]
        shift = max(shift_to_fit(int(side.min()), int(side.max())) if side.size else 0 for side in sides)
        positive, negative = (_counted(side >> shift if shift else side) for side in sides)
        nonfinite = flat.size - zero_count - sum(side.size for side in sides)
        return Histogram(FINEST_SCALE - shift, zero_count, nonfinite, positive, negative)

    @property
    def count(self) -> int:
        """The number of finite values."""
        return int(self.negative.counts.sum() + self.positive.counts.sum()) + self.zero_count

    @property
    def relative_error(self) -> float:
        """How far a quantile may be off, as a share of the true one: (base - 1) / (base + 1), never above 1."""
        return math.tanh(math.log(2) * 2.0**-self.scale / 2)

    def merge(self, other: Histogram) -> Histogram:
        """Return the histogram of both sets of values; exact, commutative and associative; 6 to 10 us."""
        one, two, scale = self, other, min(self.scale, other.scale)
        if one.scale != two.scale:
            one, two = one.downscale(scale), two.downscale(scale)
        shift = one.positive.shift_to_join(two.positive)
        if one.negative.memory and two.negative.memory:
            shift = max(shift, one.negative.shift_to_join(two.negative))
        if shift:
            scale -= shift
            one, two = one.downscale(scale), two.downscale(scale)
        negative = one.negative.plus(two.negative) if one.negative.memory or two.negative.memory else NO_BUCKETS
        zeros, nonfinite = one.zero_count + two.zero_count, one.nonfinite + two.nonfinite
        return Histogram(scale, zeros, nonfinite, one.positive.plus(two.positive), negative)

    def downscale(self, to_scale: int) -> Histogram:
        """
        Return the same values in the wider buckets of a lower scale.

        Raises:
            ValueError: *to_scale* is finer than the scale in use, or below -10.
        """
        if not COARSEST_SCALE <= to_scale <= self.scale:
            raise ValueError(f"to_scale must be {COARSEST_SCALE} to {self.scale} (the scale in use), got {to_scale}")
        if to_scale == self.scale:
            return self
        positive, negative = (side.coarser(self.scale - to_scale) for side in (self.positive, self.negative))
        return replace(self, scale=to_scale, positive=positive, negative=negative)

    def quantile(self, q: float) -> float:
        """
        Return a value near the smallest one that at least the share *q* (0 to 1) does not exceed.

        That one is ``numpy.quantile(values, q, method="inverted_cdf")``; the result differs
        from it by at most ``relative_error`` times its magnitude (and half of the smallest
        subnormal), never in sign; it may lie outside the range of the values. NaN if there are none.

        Raises:
            ValueError: *q* is not between 0 and 1.
        """
        if not 0 <= q <= 1:
            raise ValueError(f"q must be between 0 and 1, got {q}")
        negative, positive = self.negative.counts[::-1].cumsum(), self.positive.counts.cumsum()
        below = int(negative[-1]) if negative.size else 0
        count = below + self.zero_count + (int(positive[-1]) if positive.size else 0)
        if not count:
            return math.nan
        # 99.9 / 100 is a little more than the 0.999 that was meant; of 1,000 values it means the 999th.
        rank = max(1, math.ceil(q * count * (1 - 4 * sys.float_info.epsilon)))
        if rank <= below:
            return -self._middle(self.negative.last - int(negative.searchsorted(rank)))
        rank -= below + self.zero_count
        return self._middle(self.positive.offset + int(positive.searchsorted(rank))) if rank > 0 else 0.0

    def _middle(self, index: int) -> float:
        """Return the number whose largest relative distance to the values of a bucket is smallest."""
        # In the exponent nothing overflows, and only the result is rounded.
        return float(2.0 ** (index * 2.0**-self.scale + middle_of(self.scale)))

    def buckets(self) -> Iterator[tuple[float, float, int]]:
        """
        Yield (lower, upper, count) of each bucket that holds a value, in ascending order.

        Edges are rounded down to a float (negative ones up), and never infinite, so that exactly
        the values with lower < value <= upper are counted; lower <= value < upper of the negative
        ones; zeros come as (0.0, 0.0, count).
        """
        for lower, upper, count in reversed(self.negative.edges(self.scale)):
            yield -upper, -lower, count
        if self.zero_count:
            yield 0.0, 0.0, self.zero_count
        yield from self.positive.edges(self.scale)


def joined(histograms: Sequence[Histogram]) -> Histogram:
    """Return the histogram of all values of one or more *histograms*, as merging them one by one; some 3 us each."""
    first, *others = histograms
    if not others:
        return first
    scale = min(one.scale for one in histograms)
    sides = [[side for one in histograms if (side := _side(one, scale, name)).memory] for name in _SIDES]
    shift = max(shift_to_fit(*_span(held)) if held else 0 for held in sides)
    return Histogram(
        scale - shift,
        sum(one.zero_count for one in histograms),
        sum(one.nonfinite for one in histograms),
        *(_total([side.coarser(shift) for side in held]) for held in sides),
    )


_SIDES: Final = ("positive", "negative")


def _side(one: Histogram, scale: int, name: str) -> Buckets:
    side: Buckets = getattr(one, name)
    return side.coarser(one.scale - scale)


def _span(held: Sequence[Buckets]) -> tuple[int, int]:
    return min(side.offset for side in held), max(side.last for side in held)


def _total(held: Sequence[Buckets]) -> Buckets:
    if not held:
        return NO_BUCKETS
    low, high = _span(held)
    counts = np.zeros(high - low + 1, np.int64)
    for side in held:
        at = side.offset - low
        counts[at : at + side.size] += side.counts
    return Buckets(low, counts.tobytes())
