"""Bounds, and from when on a figure is judged."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holter.rule import Bounds

finite = st.floats(allow_nan=False, allow_infinity=False)


@given(finite, finite, finite)
def test_bounds_contain_what_lies_between_them_and_on_them(one: float, other: float, value: float) -> None:
    """Both ends are included."""
    below, above = min(one, other), max(one, other)
    bounds = Bounds.checked(above, below)
    assert bounds.contain(value) == (below <= value <= above)
    assert (bounds.contain(below), bounds.contain(above)) == (True, True)
    assert (bounds.exceeded_by(value), bounds.undercut_by(value)) == (value > above, value < below)


@given(finite)
def test_one_limit_leaves_the_other_side_open(level: float) -> None:
    """Infinity is inside on that side."""
    upper, lower = Bounds.checked(level, None), Bounds.checked(None, level)
    assert (upper.contain(-math.inf), upper.contain(math.inf)) == (True, False)
    assert (lower.contain(-math.inf), lower.contain(math.inf)) == (False, True)


@pytest.mark.parametrize("bounds", [Bounds(1, None), Bounds(None, 1), Bounds(1, -1)])
def test_nan_is_outside_of_all_bounds(bounds: Bounds) -> None:
    """A loss that is no number any more is trouble whatever the limit."""
    assert not bounds.contain(math.nan)


@given(finite, finite)
def test_the_clear_level_lies_inside(level: float, further: float) -> None:
    """Whatever is inside the clear level is inside the limit."""
    inside = Bounds.checked(max(level, further), None).cleared_at(min(level, further))
    assert inside == Bounds(min(level, further), None)
    inside = Bounds.checked(None, min(level, further)).cleared_at(max(level, further))
    assert inside == Bounds(None, max(level, further))
