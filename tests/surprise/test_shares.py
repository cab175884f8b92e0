"""How the rate of a signal's false alarms is shared by its statistics."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holter.surprise.shares import STATISTICS, cases, shares, spent


@pytest.mark.parametrize("way", [0, 1, -1])
@pytest.mark.parametrize("steady", [0, 1])
def test_what_cannot_be_leaves_its_share_to_the_others(way: int, steady: int) -> None:
    """Beyond an end at which half of the values lie is nothing; what is left keeps its proportions."""
    for ends in itertools.product([False, True], repeat=2):
        found = spent(cases(np.array([way], np.int8), np.array(ends)[:, None], np.float32([steady])))[:, 0]
        all_shares = shares(way, is_steady=steady > 0)[:, 0]
        left = all_shares * [not dict(zip(("above", "below"), ends, strict=True)).get(one) for one in STATISTICS]
        np.testing.assert_allclose(found, left / left.sum(), rtol=1e-12)


@given(st.integers(0, 8), st.sampled_from([0, 1, -1]), st.tuples(st.booleans(), st.booleans()))
def test_all_is_spent_however_steady(eighths: int, way: int, ends: tuple[bool, bool]) -> None:
    """The shares add up to the whole rate, and lie between those of what is steady and of what is not."""
    found, low, high = (
        spent(cases(np.array([way], np.int8), np.array(ends)[:, None], np.float32([one])))
        for one in (eighths / 8, 0.0, 1.0)
    )
    assert abs(float(found.sum()) - 1.0) < 1e-9
    np.testing.assert_allclose(found, low + eighths / 8 * (high - low), atol=1e-9)


def test_steady_signals_spend_more_on_what_is_small_and_lasts() -> None:
    """The slow walk upwards has the largest share of a steady signal's rate, the scatter that of another one's."""
    steady, other = shares(is_steady=True)[:, 0], shares()[:, 0]
    assert "rise" == STATISTICS[int(steady.argmax())]
    assert "scatter" == STATISTICS[int(other.argmax())]
    np.testing.assert_allclose(shares(-1, is_steady=True)[2:4], shares(1, is_steady=True)[:2])
