"""Moments: as scipy has them, and the same however the values were split."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from holter.moments import Moments

VALUES = st.lists(st.floats(-1e6, 1e6), max_size=50)


def test_they_are_those_of_scipy() -> None:
    """Mean, standard deviation, skewness and excess kurtosis."""
    values = np.random.default_rng(2).gamma(2.0, size=10_000) + 1e4
    found = Moments.of(values)
    expected = [values.mean(), values.std(), stats.skew(values), stats.kurtosis(values)]
    assert expected == pytest.approx([found.mean, found.deviation, found.skewness, found.kurtosis], rel=1e-6)


@given(VALUES, VALUES, VALUES)
def test_parts_give_the_whole(one: list[float], other: list[float], third: list[float]) -> None:
    """To rounding, in any order."""
    whole = Moments.of(np.array(one + other + third))
    parts = [Moments.of(np.array(part)) for part in (other, third, one)]
    merged = parts[2].merged(parts[0].merged(parts[1]))
    assert whole.count == merged.count
    scale = max(map(abs, [1.0, *one, *other, *third]))
    for name, power in (("mean", 1), ("second", 2), ("third", 3), ("fourth", 4)):
        bound = 1e-9 * scale**power * max(1, whole.count)
        assert getattr(merged, name) == pytest.approx(getattr(whole, name), rel=1e-6, abs=bound)


def test_no_values_have_no_moments() -> None:
    """NaN, and equal values have neither skewness nor kurtosis."""
    assert all(map(math.isnan, (Moments().deviation, Moments().skewness, Moments().kurtosis)))
    equal = Moments.of(np.ones(3))
    assert (0.0, True, True) == (equal.deviation, math.isnan(equal.skewness), math.isnan(equal.kurtosis))


def test_what_overflows_goes_through_json_as_null() -> None:
    """And is NaN once more, with the count intact."""
    found = Moments.of(np.array([1e308, -1e308, 1e300]))
    state = found.to_list()
    assert state[-1] is None
    assert (3, True) == (Moments.of_list(state).count, math.isnan(Moments.of_list(state).fourth))


@pytest.mark.parametrize("state", [[], [1, 2, 3], [-1, 0, 0, 0, 0]])
def test_a_damaged_state_is_refused(state: list) -> None:
    """Five numbers, the first a count."""
    with pytest.raises(ValueError, match=r"four numbers"):
        Moments.of_list(state)
