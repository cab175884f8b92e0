"""How the rate of a signal's false alarms is shared by its statistics."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from holter.surprise.shares import STATISTICS, shares, spent


@pytest.mark.parametrize("way", [0, 1, -1])
def test_what_cannot_be_leaves_its_share_to_the_others(way: int) -> None:
    """Beyond an end at which half of the values lie is nothing; what is left keeps its proportions."""
    for ends in itertools.product([False, True], repeat=2):
        found = spent(np.array([way], np.int8), np.array(ends)[:, None])[:, 0]
        left = shares(way)[:, 0] * [not dict(zip(("above", "below"), ends, strict=True)).get(one) for one in STATISTICS]
        np.testing.assert_allclose(found, left / left.sum(), rtol=1e-12)
