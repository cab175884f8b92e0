"""A step of the walks of many signals: in C it is what it is in numpy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holter.ring import NATIVE
from holter.surprise.ranks import GRID, QUANTILES, TIED
from holter.surprise.shares import STATISTICS
from holter.surprise.stride import WALKS, Known, Now, step_in_numpy

native = pytest.mark.skipif(NATIVE is None, reason="there is no extension")


def drawn(random: np.random.Generator, count: int) -> tuple[Now, Known]:
    """Return signals of all kinds: with ties, all equal, far out, judged or not, with trouble one way or both."""
    quantiles = np.sort(random.normal(size=(count, QUANTILES)), axis=1)
    quantiles[::3] = np.round(quantiles[::3])
    quantiles[::5] = 7.0
    values = np.where(
        random.random(count) < 0.5, quantiles[:, random.integers(QUANTILES)], 5 * random.normal(size=count)
    )
    single = np.float32
    now = Now(
        values=values.astype(single),
        usual=random.normal(size=count),
        per_scatter=random.uniform(0.5, 7.0, count).astype(single),
        judged=random.random(count) < 0.8,
        scores=np.zeros(count, np.int8),
    )
    known = Known(
        state=random.exponential(size=(len(STATISTICS), count)).astype(single),
        highest=random.exponential(size=(WALKS, count)).astype(single),
        lasting=random.integers(0, 65_536, (WALKS, count)).astype(np.uint16),
        quantiles=quantiles.astype(single),
        furthest=random.uniform(0.5, 3.2, count).astype(single),
        square=random.uniform(0.1, 2.0, (2, count)).astype(single),
        per_square=random.uniform(0.5, 4.0, count).astype(single),
        unit=(random.uniform(0.01, 2.0, (2, count)) * [[1], [-1]]).astype(single),
        unusual=random.uniform(0.5, 4.0, (len(STATISTICS), count)).astype(single),
        median=random.normal(size=count).astype(single),
        way=random.integers(-1, 2, count).astype(np.int8),
        tied=TIED,
        grid=GRID,
    )
    return now, known


def copied(now: Now, known: Known) -> tuple[Now, Known]:
    """Return the same in arrays of their own."""
    return Now(*(one.copy() for one in now)), Known(*(one.copy() for one in known))


@native
@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
def test_in_c_it_is_what_it_is_in_numpy(seed: int, count: int) -> None:
    """The scores, each walk, how long it lasts and what it reached; and how many are unusual."""
    mine = drawn(np.random.default_rng(seed), count)
    theirs = copied(*mine)
    assert step_in_numpy(*mine) == NATIVE.step(*theirs)
    for one, other in zip((*mine[0], *mine[1]), (*theirs[0], *theirs[1]), strict=True):
        # Half a step may be rounded up by one and down by the other.
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1 if one.dtype == np.int8 else 1e-12)


@native
def test_very_many_are_done_with_others_running() -> None:
    """From 4,096 signals on other threads run meanwhile; the result is the same."""
    mine = drawn(np.random.default_rng(1), 5_000)
    theirs = copied(*mine)
    assert step_in_numpy(*mine) == NATIVE.step(*theirs)
    np.testing.assert_allclose(mine[1].state, theirs[1].state, rtol=1e-6)


@native
def test_what_does_not_fit_is_refused() -> None:
    """Arrays of another length or kind would be read beyond their end."""
    now, known = drawn(np.random.default_rng(1), 8)
    wrong = [
        (now._replace(usual=now.usual[:7]), known),
        (now, known._replace(quantiles=known.quantiles[:, :60].copy())),
        (now, known._replace(tied=known.tied[:-1])),
        (now, known._replace(grid=known.grid[:1])),
        (now._replace(values=now.values.astype(np.float64)), known),
        (now._replace(values=now.values[::2]), known),
    ]
    for bad in wrong:
        with pytest.raises((ValueError, BufferError)):
            NATIVE.step(*bad)
    for others in ((now,), (now, known, now), (list(now), known), (now[:3], known)):
        with pytest.raises(TypeError):
            NATIVE.step(*others)
    with pytest.raises(TypeError):
        NATIVE.step((1, 2, 3, 4), known)
