"""Dyadic panes: exact counts of any recent past, in a number of panes that grows with the logarithm."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from holter.panes import Panes


@given(st.lists(st.integers(0, 9), max_size=200))
def test_windows_are_exact_and_few(counts: list[int]) -> None:
    """Each window ends now and holds what came in it; there are at most two of each size."""
    panes = Panes()
    for look, count in enumerate(counts):
        panes.add(look, np.array([10.0]), np.array([float(count)]))
    windows = list(panes.windows())
    for window in windows:
        recent = counts[len(counts) - window.looks :]
        assert (sum(recent), 10 * len(recent)) == (window.counts[0], window.rows[0])
        assert window.since_ns == len(counts) - window.looks
    assert len(windows) <= 2 * np.log2(len(counts) + 2)
    assert not counts or windows[-1].looks == len(counts)


@given(st.integers(1, 500))
def test_any_beginning_is_met_to_within_half_its_age(looks: int) -> None:
    """Between two windows that follow each other the older one is at most three times as long."""
    panes = Panes()
    for look in range(looks):
        panes.add(look, np.ones(1), np.ones(1))
    lengths = [window.looks for window in panes.windows()]
    assert lengths[0] == 1
    assert all(longer <= 3 * shorter for shorter, longer in pairwise(lengths))


def test_cleared_panes_are_gone() -> None:
    """As if there had been none."""
    panes = Panes()
    panes.add(1, np.ones(1), np.ones(1))
    panes.clear()
    assert [] == list(panes.windows())
