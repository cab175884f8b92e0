"""What came after an earlier reading of the same series."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holter.differences import since
from holter.distribution import Histogram
from holter.reading import Reading

VALUES = st.lists(st.floats(-1e12, 1e12, allow_subnormal=False) | st.just(0.0) | st.just(math.inf), max_size=60)


def reading(values: list[float], start_ns: int = 0) -> Reading:
    """Return the reading of *values*, one a nanosecond."""
    if not values:
        return Reading()
    return Reading(
        count=len(values),
        sum=math.fsum(values),
        units=2 * len(values),
        minimum=min(values),
        maximum=max(values),
        last=values[-1],
        histogram=Histogram.of(values),
        first=values[0],
        first_ns=start_ns + 1,
        last_ns=start_ns + len(values),
    )


@given(VALUES, VALUES)
def test_the_difference_and_the_earlier_reading_are_the_later_one(earlier: list[float], later: list[float]) -> None:
    """Counts, units and buckets are exactly those of what came since."""
    before = reading(earlier)
    now = before.merge(reading(later, start_ns=len(earlier)))
    found = since(now, before)
    assert (len(later), 2 * len(later)) == (found.count, found.units)
    expected = Histogram.of(later)
    histogram = found.histogram or Histogram()
    assert (expected.count, expected.zero_count, expected.nonfinite) == (
        histogram.count, histogram.zero_count, histogram.nonfinite,
    )  # fmt: skip
    assert histogram.merge(before.histogram or Histogram()) == (now.histogram or Histogram())


@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=40), st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=40))
def test_extremes_are_off_by_a_bucket_at_most(earlier: list[float], later: list[float]) -> None:
    """They never lie inside the true range, and outside of it by less than a bucket is wide."""
    before = reading(earlier)
    now = before.merge(reading(later, start_ns=len(earlier)))
    found = since(now, before)
    assert found.histogram is not None
    width = 2.0 ** (2.0**-found.histogram.scale) * (1 + 1e-12)
    assert min(later) / width <= found.minimum <= min(later)
    assert max(later) <= found.maximum <= max(later) * width
    assert later[-1] == found.last


def test_a_first_reading_is_new_as_a_whole() -> None:
    """Where nothing was before, all is since."""
    now = reading([1.0, 2.0])
    assert since(now, Reading()) is now


def test_nothing_since_is_nothing() -> None:
    """A reading that did not change has no count, no value and no time."""
    now = reading([1.0, 2.0])
    found = since(now, now)
    assert (0, 0.0, None, 0) == (found.count, found.sum, found.last, found.last_ns)


@pytest.mark.parametrize("lost", [Histogram.of([5.0]), None])
def test_a_histogram_that_does_not_fit_is_taken_as_it_is(lost: Histogram | None) -> None:
    """One whose records were lost before, or that was rebuilt with a finer scale, cannot be subtracted."""
    now = reading([1.0, 2.0])
    before = replace(reading([1.0]), histogram=lost if lost is None else lost.downscale(2))
    assert now.histogram == since(now, before).histogram
