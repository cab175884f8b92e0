"""The exponential histogram against numpy, exact arithmetic and its own laws."""

from __future__ import annotations

import math
import struct
import sys
from fractions import Fraction
from functools import reduce
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from holter.distribution import (
    COARSEST_SCALE,
    FINEST_SCALE,
    NO_BUCKETS,
    WINDOW,
    Buckets,
    Floats,
    Histogram,
    indices,
    joined,
)
from holter.model import Distribution

SMALLEST = 5e-324
LARGEST = sys.float_info.max
NORMAL = sys.float_info.min
SIGNALLING_NAN = struct.unpack("<d", struct.pack("<Q", 0x7FF0_0000_0000_0001))[0]
SPECIAL = [
    0.0,
    -0.0,
    SMALLEST,
    NORMAL,
    math.nextafter(NORMAL, 0),
    0.985 * NORMAL,
    1.0,
    2.0,
    LARGEST,
    math.nan,
    math.inf,
]

QUANTILES = (0.0, 0.001, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999, 1.0)
RANDOM = np.random.default_rng(20240229)
DISTRIBUTIONS: dict[str, Floats] = {
    "normal": RANDOM.normal(0, 1, 5000),
    "lognormal": RANDOM.lognormal(-6, 1, 5000),
    "exponential": RANDOM.exponential(0.02, 5000),
    "pareto": RANDOM.pareto(0.5, 5000) + 1,
    "uniform": RANDOM.uniform(-3, 10, 5000),
    "bimodal": np.concatenate([RANDOM.normal(0.001, 0.0001, 2500), RANDOM.normal(30, 1, 2500)]),
    "constant": np.full(5000, 0.25),
    "integers": RANDOM.poisson(3, 5000).astype(np.float64),
    "tiny": RANDOM.integers(1, 1 << 54, 5000).view(np.float64),
    "huge": RANDOM.uniform(-1, 0.5, 5000) * LARGEST,
}

any_float = st.floats(width=64) | st.sampled_from(SPECIAL) | st.integers(-1074, 1023).map(lambda n: 2.0**n)
finite = any_float.filter(math.isfinite)
some_values = st.lists(any_float, max_size=30)


def bucket(magnitude: float) -> int:
    """The bucket of scale 6 by exact arithmetic: 2**i < magnitude**64 <= 2**(i + 1)."""
    power = Fraction(magnitude) ** 64
    index = power.numerator.bit_length() - power.denominator.bit_length()
    while power > Fraction(2) ** (index + 1):
        index += 1
    while power <= Fraction(2) ** index:
        index -= 1
    return index


def buckets(offset: int, counts: npt.ArrayLike) -> Buckets:
    """The buckets with these counts."""
    return Buckets(offset, np.asarray(counts, dtype=np.int64).tobytes())


def by_hand(values: list[float], scale: int = FINEST_SCALE) -> Histogram:
    """The histogram as the module's text defines it, value by value."""
    while True:
        sides = []
        for sign in (1, -1):
            indices = [bucket(abs(v)) >> (FINEST_SCALE - scale) for v in values if math.isfinite(v) and v * sign > 0]
            sides.append(np.array(indices, dtype=np.int64))
        if all(not side.size or np.ptp(side) < WINDOW for side in sides):
            break
        scale -= 1
    positive, negative = (
        buckets(int(side.min()), np.bincount(side - side.min())) if side.size else NO_BUCKETS for side in sides
    )
    nonfinite = sum(not math.isfinite(value) for value in values)
    return Histogram(scale, values.count(0.0), nonfinite, positive, negative)


def edge_neighbours() -> list[float]:
    """The floats on both sides of edges of buckets, some in every region, and the powers of two themselves."""
    found = []
    for exponent in (-1074, -1073, -1050, -1023, -1022, -1021, -30, -1, 0, 1, 2, 9, 1022, 1023):
        for step in range(64):
            near = 2.0 ** (exponent + step / 64) if exponent + step / 64 < 1024 else LARGEST
            below, above = math.nextafter(near, 0), math.nextafter(near, math.inf)
            found += [v for v in (math.nextafter(below, 0), below, near, above) if 0 < v <= LARGEST]
    return found


@pytest.mark.parametrize("value", [2.0**n for n in (-1074, -1073, -1023, -1022, -1021, -1, 0, 1, 10, 1023)])
def test_a_power_of_two_lies_in_the_bucket_that_it_ends(value: float) -> None:
    """Upper edges belong to their bucket: 2**n is the last of bucket 64 n - 1, the next float the first of 64 n."""
    index = 64 * round(math.log2(value))
    assert index - 1 == Histogram.of([value]).positive.offset
    above = math.nextafter(value, math.inf)
    assert bucket(above) == Histogram.of([above]).positive.offset >= index


def test_every_edge_is_exact() -> None:
    """On both sides of an edge, subnormal or normal, a value is counted where exact arithmetic puts it."""
    values = edge_neighbours()
    assert [bucket(value) for value in values] == indices(np.array(values)).tolist()


@given(finite.filter(bool))
@example(0.985 * NORMAL)
def test_every_value_is_counted_in_its_bucket(value: float) -> None:
    """The index of any value other than 0 is the one that exact arithmetic gives."""
    histogram = Histogram.of([value])
    side, other = (histogram.positive, histogram.negative)[:: 1 if value > 0 else -1]
    assert buckets(bucket(abs(value)), [1]) == side
    assert NO_BUCKETS == other


@given(some_values)
@example([SIGNALLING_NAN, -math.inf, 1.0])
@example([math.nan])
@example([-0.0])
@example([LARGEST, SMALLEST, -LARGEST])
def test_a_histogram_is_what_the_definition_says(values: list[float]) -> None:
    """Scale, zeros, non-finite values and both ranges are those of a count by hand."""
    assert by_hand(values) == Histogram.of(values)


@given(st.lists(some_values, min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_the_order_of_merging_does_not_matter(parts: list[list[float]], random: object) -> None:
    """However parts are paired, merging them gives the histogram of all their values."""
    whole = Histogram.of([value for part in parts for value in part])
    histograms = [Histogram.of(part) for part in parts]
    while len(histograms) > 1:
        random.shuffle(histograms)  # type: ignore[attr-defined]  # Hypothesis types it as Random only at run time
        histograms.append(histograms.pop().merge(histograms.pop()))
    assert whole == histograms[0]
    assert hash(whole) == hash(histograms[0])


@given(st.lists(st.tuples(some_values, st.integers(COARSEST_SCALE, FINEST_SCALE)), min_size=3, max_size=3))
def test_the_order_of_merging_downscaled_histograms_does_not_matter(parts: list[tuple[list[float], int]]) -> None:
    """Merging is commutative and associative between histograms of any scales."""
    one, two, three = (downscaled(Histogram.of(values), scale) for values, scale in parts)
    assert one.merge(two) == two.merge(one)
    assert one.merge(two).merge(three) == one.merge(two.merge(three))


def downscaled(histogram: Histogram, scale: int) -> Histogram:
    """The histogram at *scale*, or as it is where that would be finer."""
    return histogram.downscale(min(scale, histogram.scale))


@given(some_values, st.integers(COARSEST_SCALE, FINEST_SCALE))
def test_downscaling_is_counting_at_the_lower_scale(values: list[float], scale: int) -> None:
    """No count moves to a bucket in which a count at that scale would not have put it."""
    histogram = Histogram.of(values)
    assert by_hand(values, min(scale, histogram.scale)) == downscaled(histogram, scale)


@pytest.mark.parametrize("scale", [FINEST_SCALE + 1, COARSEST_SCALE - 1])
def test_a_scale_out_of_range_is_refused(scale: int) -> None:
    """What is finer than the data, or coarser than OpenTelemetry allows, raises ValueError."""
    with pytest.raises(ValueError, match=r"to_scale must be -10 to 6"):
        Histogram.of([1.0]).downscale(scale)


@pytest.mark.parametrize(("largest", "scale"), [(2.0**16, 6), (math.nextafter(2.0**16, 99999), 5), (2.0**32, 5)])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_scale_falls_when_1024_buckets_do_not_suffice(largest: float, scale: int, sign: int) -> None:
    """Just above 1, 1,024 buckets reach to 2**16 inclusive; one float more and they are twice as wide."""
    values = [sign * math.nextafter(1, 2), sign * largest]
    histogram = Histogram.of(values)
    assert scale == histogram.scale
    assert max(histogram.positive.size, histogram.negative.size) <= WINDOW
    assert Histogram.of(values[:1]).merge(Histogram.of(values[1:])) == histogram


def test_all_floats_fit() -> None:
    """From the smallest subnormal to the largest float, both signs, the scale is -2."""
    histogram = Histogram.of([SMALLEST, LARGEST, -SMALLEST, -LARGEST])
    assert (-2, 4) == (histogram.scale, histogram.count)


@pytest.mark.parametrize("name", DISTRIBUTIONS)
@pytest.mark.parametrize("scale", [FINEST_SCALE, 3, 0, -4, COARSEST_SCALE])
def test_quantiles_lie_within_the_stated_error(name: str, scale: int) -> None:
    """On ten distributions each quantile is as near to numpy's as ``relative_error`` says, at any scale."""
    values = DISTRIBUTIONS[name]
    histogram = downscaled(Histogram.of(values), scale)
    for q in QUANTILES:
        expected = float(np.quantile(values, q, method="inverted_cdf"))
        assert is_promised(histogram, q, expected), (q, expected)


def is_promised(histogram: Histogram, q: float, expected: float) -> bool:
    """Whether the quantile is near enough; 1e-12 is for the rounding of the error and of the quantile itself."""
    error = abs(Fraction(histogram.quantile(q)) - Fraction(expected))
    return error <= Fraction(histogram.relative_error * (1 + 1e-12)) * abs(Fraction(expected)) + Fraction(SMALLEST) / 2


@given(st.lists(finite, min_size=1, max_size=50), st.floats(0, 1))
def test_any_quantile_of_any_values_lies_within_the_stated_error(values: list[float], q: float) -> None:
    """The bound holds for every finite value, signs mixed, and the quantile never has the other sign."""
    histogram = Histogram.of(values)
    rank = max(1, math.ceil(Fraction(q) * len(values) - Fraction(1, 10**9)))
    expected = sorted(values)[rank - 1]
    assert is_promised(histogram, q, expected)
    assert histogram.quantile(q) * np.sign(expected) >= 0


def test_the_error_is_no_smaller_than_stated() -> None:
    """The bound is tight: the ends of a bucket are as far from its quantile as ``relative_error``."""
    above = math.nextafter(1.0, 2)
    middle = Histogram.of([above]).quantile(0.5)
    assert pytest.approx(Histogram().relative_error, rel=1e-6) == (middle - above) / above
    assert Histogram().relative_error < 0.006


def test_the_stated_error_is_base_minus_one_over_base_plus_one() -> None:
    """The formula in the docstring, at the scales whose base is a small number."""
    scales = {0: 1 / 3, -1: 3 / 5, -2: 15 / 17}
    assert pytest.approx(scales) == {scale: Histogram(scale).relative_error for scale in scales}


def test_a_percentage_means_its_decimal() -> None:
    """99.9 / 100 is more than 0.999 as a float, and yet of 1,000 values it is the 999th."""
    values = [1.0] * 999 + [2.0]
    assert pytest.approx(1, rel=0.006) == Histogram.of(values).quantile(99.9 / 100)


@pytest.mark.parametrize("histogram", [Histogram(), Histogram.of([]), Histogram.of([math.nan, math.inf])])
def test_there_is_no_quantile_of_nothing(histogram: Histogram) -> None:
    """Without a finite value the quantile is NaN and the count 0."""
    assert math.isnan(histogram.quantile(0.5))
    assert 0 == histogram.count
    assert [] == list(histogram.buckets())


@pytest.mark.parametrize("q", [-0.01, 1.01, math.nan])
def test_a_share_out_of_range_is_refused(q: float) -> None:
    """A percentage in place of a share raises ValueError."""
    with pytest.raises(ValueError, match="q must be between 0 and 1"):
        Histogram.of([1.0]).quantile(q)


@given(some_values)
@example(edge_neighbours())
def test_buckets_hold_exactly_the_values_between_their_edges(values: list[float]) -> None:
    """Comparing the values with the edges gives the counts; buckets ascend and do not overlap."""
    kept = np.array([value for value in values if math.isfinite(value)])
    found = list(Histogram.of(values).buckets())
    for lower, upper, count in found:
        if upper == 0 == lower:
            inside = kept == 0
        else:
            inside = (lower < kept) & (kept <= upper) if upper > 0 else (lower <= kept) & (kept < upper)
        assert count == inside.sum()
    assert kept.size == sum(count for _, _, count in found)
    assert all(left[1] <= right[0] for left, right in pairwise(found))
    assert all(math.isfinite(lower) and math.isfinite(upper) for lower, upper, _ in found)


def test_the_empty_histogram_changes_nothing() -> None:
    """Merging with ``Histogram()`` gives an equal histogram, from either side."""
    histogram = Histogram.of([1.0, -2.0, 0.0, math.nan, 1e9])
    assert histogram == histogram.merge(Histogram()) == Histogram().merge(histogram)
    assert Histogram() == Histogram.of([])


def test_counts_are_read_only() -> None:
    """What is shared between threads cannot be written: neither fields nor counts."""
    histogram = Histogram.of([1.0, 2.0])
    for version in (histogram, histogram.merge(histogram), histogram.downscale(0)):
        with pytest.raises(ValueError, match="read-only"):
            version.positive.counts[0] = 7
    with pytest.raises(AttributeError):
        histogram.zero_count = 1  # type: ignore[misc]  # that it is refused is the point
    with pytest.raises(AttributeError):
        histogram.positive.offset = 1  # type: ignore[misc]  # that it is refused is the point


def test_histograms_are_equal_by_content() -> None:
    """One count, offset or zero more makes another histogram; anything else is not one."""
    histogram = Histogram.of([1.0, 3.0])
    assert histogram == Histogram.of([3.0, 1.0])
    assert histogram not in (Histogram.of([1.0, 4.0]), Histogram.of([1.0, 3.0, 0.0]), Histogram.of([2.0, 6.0]), 1)
    assert buckets(0, [1]) not in (buckets(1, [1]), buckets(0, [1, 1]))


def test_a_histogram_satisfies_what_a_reading_asks() -> None:
    """It is a ``Distribution``: readings merge it and ask it for quantiles."""
    distribution: Distribution = Histogram.of(np.array([[1.0, 2.0], [3.0, 4.0]]))
    assert 8 == distribution.merge(distribution).count


@pytest.mark.parametrize("size", [15_999, 16_000, 16_001, 50_000])
def test_a_large_batch_is_counted_whole(size: int) -> None:
    """Indices are computed block by block; the blocks' ends lose nothing and change nothing."""
    values = np.random.default_rng(size).lognormal(0, 1, size)
    exact = np.ceil(np.log2(values) * 64).astype(np.int64) - 1
    histogram = Histogram.of(values)
    assert np.bincount(exact - exact.min()).tolist() == histogram.positive.counts.tolist()
    assert exact.min() == histogram.positive.offset


def test_a_histogram_is_shown_in_one_line() -> None:
    """Its counts, up to 8 KiB of them, are no reading matter."""
    assert len(repr(Histogram.of([1e-6, 1.0]))) < 200


@given(st.lists(st.lists(st.floats(), max_size=20), min_size=1, max_size=6))
@example([[1.0], [LARGEST, -SMALLEST], [0.0, math.nan]])
def test_joined_at_once_is_merged_one_by_one(parts: list[list[float]]) -> None:
    """However many histograms there are, of whatever scales."""
    histograms = [Histogram.of(values) for values in parts]
    assert reduce(Histogram.merge, histograms) == joined(histograms)
