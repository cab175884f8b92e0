"""Histograms made to measure, against the values themselves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from holter.distribution import Histogram
from holter.sizing import spread, within

VALUES = st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=200)


@given(VALUES, st.integers(4, 200))
@example([5e-324, 1.0, 1.7e308], 4)
def test_what_is_fitted_holds_the_same_values(values: list[float], most: int) -> None:
    """At the finest scale at which they fit: one scale up, they would not."""
    histogram = Histogram.of(values)
    fitted = within(histogram, most)
    assert histogram.downscale(fitted.scale) == fitted
    assert max(fitted.positive.size, fitted.negative.size) <= most
    if fitted.scale < histogram.scale:
        finer = histogram.downscale(fitted.scale + 1)
        assert max(finer.positive.size, finer.negative.size) > most


@given(VALUES, st.integers(0, 10**15))
def test_what_is_spread_is_distributed_as_the_sample(values: list[float], count: int) -> None:
    """To the last value, and each bucket to less than one."""
    sample = Histogram.of(values)
    found = spread(sample, count)
    assert count == found.count
    counts = {(low, high): number for low, high, number in found.buckets()}
    for low, high, number in sample.buckets():
        assert abs(counts.get((low, high), 0) - number * count / len(values)) <= 1 + 1e-12 * count


def test_as_many_as_the_sample_holds_are_the_sample() -> None:
    """What is spread over it and merged with it has twice its counts."""
    sample = Histogram.of(np.random.default_rng(1).lognormal(size=5_000))
    assert sample == spread(sample, sample.count)


def test_nothing_can_be_spread_as_nothing() -> None:
    """A sample without values is refused."""
    with pytest.raises(ValueError, match="expected a sample with values"):
        spread(Histogram(), 3)
