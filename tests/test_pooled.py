"""Quantiles of many series at once, held against those of their histograms joined."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holter.distribution import Histogram, joined
from holter.pooled import Pool

SHARES = (0.01, 0.5, 0.9, 0.99, 1.0)
VALUES = st.lists(st.floats(-1e6, 1e6, allow_subnormal=False) | st.integers(-3, 3).map(float), min_size=1, max_size=30)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), VALUES), min_size=1, max_size=12), st.booleans())
def test_quantiles_are_those_of_the_histograms_joined(parts: list[tuple[int, list[float]]], is_tidied: bool) -> None:  # noqa: FBT001 - drawn
    """Within the bounds of both, whatever the order and the signs; exact in number."""
    pool, held = Pool(), {}
    for place, values in parts:
        held.setdefault(place, []).append(Histogram.of(values))
        pool.add([place], [held[place][-1]])
        if is_tidied:
            pool.tidy()
    places, counts, quantiles = pool.quantiles(SHARES)
    assert sorted(held) == places.tolist()
    for place, count, found in zip(places.tolist(), counts.tolist(), quantiles, strict=True):
        whole = joined(held[place])
        assert whole.count == count
        expected = [whole.quantile(share) for share in SHARES]
        error = max(one.relative_error for one in [whole, *held[place]])
        bound = 2 * error / (1 - error) + 0.003
        assert found.tolist() == pytest.approx(expected, rel=bound, abs=1e-300)


def test_equal_values_have_equal_quantiles() -> None:
    """However they came together: what is the same must be told as the same, to the bit."""
    found = []
    for parts in (1, 3):
        pool = Pool()
        for _ in range(parts):
            pool.add([7, 9], [Histogram.of(np.full(6, 0.0123)), Histogram.of(np.zeros(6))])
        found.append(pool.quantiles((0.5,))[2])
    np.testing.assert_array_equal(found[0], found[1])
    assert found[0].tolist() == [[pytest.approx(0.0123, rel=0.006)], [0.0]]


def test_nothing_has_no_quantiles() -> None:
    """Nor has what is neither finite nor there."""
    pool = Pool()
    assert 0 == len(pool.quantiles(SHARES)[0])
    pool.add([1], [Histogram.of([np.nan])])
    pool.join(Pool())
    assert 0 == len(pool.quantiles(SHARES)[0])


def test_many_in_a_bucket_and_buckets_far_apart_are_counted_all_the_same() -> None:
    """And what was joined, tidied or not, says the same as what was taken in at once."""
    random = np.random.default_rng(2)
    parts = {
        3: [np.full(1_000, 0.25), np.full(20, 1e-200), np.full(300, 1e200)],
        70_000: [random.lognormal(0, 1, 400) for _ in range(3)],
    }
    whole, stretches = Pool(), Pool()
    for turn in range(3):
        held = [Histogram.of(some[turn]) for some in parts.values()]
        one = Pool()
        whole.add(list(parts), held)
        one.add(list(parts), held)
        stretches.join(one)
    for one_found, other in zip(whole.quantiles(SHARES), stretches.quantiles(SHARES), strict=True):
        np.testing.assert_array_equal(one_found, other)
    places, counts, quantiles = whole.quantiles(SHARES)
    assert places.tolist() == list(parts)
    for count, found, some in zip(counts, quantiles, parts.values(), strict=True):
        values = np.concatenate(some)
        assert count == len(values)
        assert found == pytest.approx(np.quantile(values, SHARES, method="inverted_cdf"), rel=0.02)
