"""More incidents than the budget explains loosen the thresholds, and fewer again tighten them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats

from holter.surprise.governor import WEEK_SECONDS, Governor, bound

DAY = 86_400.0


@pytest.mark.parametrize("mean", [0.01, 0.14, 1.0, 3.0, 20.0])
def test_the_bound_is_the_quantile_of_scipy(mean: float) -> None:
    """The 99 % one of a Poisson count."""
    assert stats.poisson.ppf(0.99, mean) == bound(mean)


@pytest.mark.parametrize("mean", [501.0, 800.0, 10_000.0])
def test_the_bound_of_very_many_is_near_that(mean: float) -> None:
    """Within 1 in 100, however large a budget may be."""
    assert bound(mean) == pytest.approx(stats.poisson.ppf(0.99, mean), rel=0.01)


def test_as_many_as_asked_change_nothing() -> None:
    """In four of five years of one incident a week, at random, nothing is loosened in a typical month."""
    random, loosened = np.random.default_rng(1), 0
    for _ in range(200):
        governor, now = Governor(1.0), 0.0
        for _ in range(30):
            now += DAY
            for _ in range(random.poisson(1 / 7)):
                governor.note(now, "rate of predict")
            governor.look(now)
            loosened += governor.factor > 1.0
    assert loosened / 6_000 < 0.06


def test_too_many_loosen_once_and_a_quiet_week_tightens() -> None:
    """`look` says when it changes."""
    governor = Governor(1.0)
    assert not governor.look(0.0)
    for hour in range(10):
        governor.note(hour * 3_600.0, f"p50 of predict{hour % 3}")
    assert [True, False] == [governor.look(DAY), governor.look(DAY + 1)]
    assert governor.factor > 10
    again = Governor(1.0)
    again.load(json.loads(json.dumps(governor.save())))
    assert (again.factor, again.notified) == (governor.factor, 10)
    assert "p50 of predict0" == again.names[0]
    assert again.look(WEEK_SECONDS + 2 * DAY)
    assert again.factor == 1.0


def test_a_day_has_a_bound_of_its_own_and_what_comes_all_the_same_has_to_be_ten_times_rarer() -> None:
    """Three in a day are more than one a week explains, two are not; each further one makes it ten times more."""
    governor, factors = Governor(1.0), []
    governor.look(0.0)
    for hour in range(6):
        governor.note(DAY * 3 + hour * 3_600.0, "rate of predict")
        governor.look(DAY * 3 + hour * 3_600.0 + 1)
        factors.append(governor.factor)
    assert [1.0, 1.0, 42.0, 420.0, 4_200.0, 42_000.0] == pytest.approx(factors)
    governor.look(DAY * 3 + 7 * 3_600.0)
    assert governor.factor == pytest.approx(42_000.0)
