"""Classic buckets out of exponential ones: cumulative, never falling, and off by no more than is said."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holter.classicbuckets import MOST_BOUNDS, OTHERS, SECONDS, Choice, Tally, cumulative
from holter.distribution import Histogram
from holter.errors import ConfigurationError

DURATIONS = st.lists(st.floats(1e-7, 1e3), max_size=200)
ANY = st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=60)
BOUNDS = st.lists(
    st.floats(-1e9, 1e9, allow_nan=False, allow_subnormal=False), min_size=1, max_size=20, unique=True
).map(lambda bounds: tuple(sorted(bounds)))


def least(bounds: tuple[float, ...], values: list[float]) -> list[int]:
    """Return what numpy counts up to each bound."""
    return [int((np.array(values) <= bound).sum()) for bound in bounds]


def most(bounds: tuple[float, ...], values: list[float], scale: int) -> list[int]:
    """Return what numpy counts up to bounds that lie higher by one bucket of *scale*."""
    logarithm = math.log(2) * 2.0**-scale
    factor = math.exp(min(logarithm, 700)) * (1 + 1e-12)
    return least(tuple(bound * factor if bound > 0 else bound / factor for bound in bounds), values)


@given(ANY, BOUNDS)
def test_a_count_is_that_of_a_bound_less_than_one_bucket_higher(values: list[float], bounds: tuple[float, ...]) -> None:
    """Between what numpy counts up to the bound, and up to the one that is higher by the stated error."""
    histogram = Histogram.of(values)
    counts = cumulative(bounds, histogram).tolist()
    assert all(
        low <= count <= high
        for low, count, high in zip(least(bounds, values), counts, most(bounds, values, histogram.scale), strict=True)
    )
    assert sorted(counts) == counts


@given(DURATIONS)
def test_a_count_up_to_a_power_of_two_is_exact(values: list[float]) -> None:
    """Powers of two are edges of exponential buckets of every scale from 0 on."""
    bounds = tuple(2.0**power for power in range(-20, 10))
    assert least(bounds, values) == cumulative(bounds, Histogram.of(values)).tolist()


@given(st.lists(DURATIONS, min_size=1, max_size=8), BOUNDS)
def test_counts_never_fall_whatever_comes(parts: list[list[float]], bounds: tuple[float, ...]) -> None:
    """Nor where wide values make all buckets wider than they were."""
    tally, histogram, before, count, total = Tally(), Histogram(), [0] * len(bounds), 0, 0.0
    for part in parts:
        histogram = histogram.merge(Histogram.of(part))
        count += len(part)
        total += sum(part)
        counts = tally.counts(bounds, histogram, count, total)
        assert cumulative(bounds, histogram).tolist() == counts
        assert all(one <= other for one, other in zip(before, counts, strict=True))
        before = counts


STEPS = st.tuples(DURATIONS, st.integers(0, 50), st.integers(0, 3))


@given(st.lists(STEPS, min_size=1, max_size=8), BOUNDS)
def test_what_was_lost_or_comes_late_makes_no_count_fall(
    steps: list[tuple[list[float], int, int]], bounds: tuple[float, ...]
) -> None:
    """Cumulative over the bounds, never falling over time, never above the exact number of all."""
    tally, histogram, before, count, total = Tally(), Histogram(), [0] * len(bounds), 0, 0.0
    for values, lost, early in steps:
        histogram = histogram.merge(Histogram.of(values))
        count += len(values) + lost
        total += sum(values) + lost
        # A snapshot may count a call whose record it has not read yet.
        counts = tally.counts(bounds, histogram, count + early, total)
        assert all(one <= other for one, other in zip(before, counts, strict=True))
        assert sorted(counts) == counts
        assert all(count <= histogram.count + (count + early) for count in counts)
        assert not counts or counts[-1] <= count + early
        before, count = counts, count + early


def test_lost_values_are_shared_as_the_others_of_their_time_were() -> None:
    """A hundred fast calls, half of them lost, stay fast when slow calls follow."""
    tally, bounds = Tally(), (0.01, 0.1)
    fast, slow = Histogram.of([0.005] * 50), Histogram.of([0.05] * 100)
    assert [100, 100] == tally.counts(bounds, fast, 100, 0.5)
    assert [100, 200] == tally.counts(bounds, fast.merge(slow), 200, 5.5)


def test_values_none_of_which_was_read_lie_at_their_mean() -> None:
    """Count and sum are exact, so the mean is known where nothing else is."""
    assert [0, 10] == Tally().counts((0.01, 0.1), Histogram(), 10, 0.5)


def test_a_call_that_is_counted_before_it_is_read_lasts_no_longer_than_that() -> None:
    """When the record has come the counts are those of the records."""
    tally, bounds = Tally(), (0.01, 0.1)
    tally.counts(bounds, Histogram.of([0.05] * 10), 12, 0.6)
    assert [2, 12] == tally.counts(bounds, Histogram.of([0.05] * 10 + [0.005] * 2), 12, 0.51)


def test_durations_have_the_bounds_of_opentelemetry() -> None:
    """Those of the conventions for seconds; those of its SDKs for all else."""
    choice = Choice()
    assert (SECONDS, OTHERS) == (choice.bounds("a", "s", []), choice.bounds("a", "By", []))
    assert (0.005, 10.0, 14) == (SECONDS[0], SECONDS[-1], len(SECONDS))


def test_bounds_are_given_by_the_name_of_a_metric() -> None:
    """The others keep theirs."""
    choice = Choice({"a": [1, 2.5], "b": "auto"})
    assert (1.0, 2.5) == choice.bounds("a", "s", [])
    assert SECONDS == choice.bounds("c", "s", [])
    assert 1.0 in choice.bounds("b", "s", [Histogram.of([0.9])])


@given(ANY)
def test_chosen_bounds_enclose_all_values_and_stay(values: list[float]) -> None:
    """At most 100 of them; what has been chosen is never taken back."""
    choice, histogram, before = Choice("auto"), Histogram(), set()
    for part in (values[:20], values[20:]):
        histogram = histogram.merge(Histogram.of(part))
        bounds = choice.bounds("a", "s", [histogram])
        assert sorted(set(bounds)) == list(bounds)
        assert before <= set(bounds)
        assert len(bounds) <= 2 * MOST_BOUNDS + 1
        before = set(bounds)


@given(DURATIONS)
def test_counts_of_chosen_bounds_are_exact(values: list[float]) -> None:
    """They are edges of exponential buckets; below the first lies nothing, above the last nothing."""
    histogram = Histogram.of(values)
    bounds = Choice("auto").bounds("a", "s", [histogram])
    counts = cumulative(bounds, histogram).tolist()
    assert least(bounds, values) == counts
    assert not values or (0, len(values)) == (counts[0], counts[-1])


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ("automatic", "'auto' or None"),
        ([1, 2], "such as"),
        ({1: [1]}, "by the names of metrics"),
        ({"a": "most"}, "rising bounds or 'auto' for a"),
        ({"a": 1}, "a list of bounds for a, got int"),
        ({"a": []}, "1 to 100 bounds for a, got 0"),
        ({"a": [1, 1]}, "rising bounds for a"),
        ({"a": [2, 1]}, "sort them"),
        ({"a": [1, math.inf]}, "must be a finite number"),
        ({"a": ["1"]}, "must be a finite number"),
    ],
)
def test_bounds_that_cannot_work_are_refused_in_words(wanted: object, words: str) -> None:
    """Where they are written, with what was expected."""
    with pytest.raises(ConfigurationError, match=words):
        Choice(wanted)


def test_bounds_that_come_later_leave_lost_values_where_they_were() -> None:
    """Those of known bounds as if all bounds had been known before."""
    old = [0.001] * 50 + [0.004] * 50
    later = Histogram.of(old + [0.001] * 10 + [0.1])
    found = []
    for first in ((0.002, 0.008), (0.002, 0.008, 0.2)):
        tally = Tally()
        tally.counts(first, Histogram.of(old), 100, 0.25)
        found.append(tally.counts((0.002, 0.008, 0.2), later, 1_111, 1.0))
    assert found[0] == found[1] == [60 + 909, 110 + 909, 1_111]
