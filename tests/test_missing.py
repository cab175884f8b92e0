"""For how long calls that never pause have not come."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holter.missing import Missing
from holter.surprise.rhythm import Rhythm

HOUR, DAY = 360, 8_640
"""In steps of ten seconds."""


def heard(missing: Missing, *counts: float, seconds: float = 10.0) -> list[float]:
    """Return what is told of one series of which so many calls come, interval by interval; -1 where it is untold."""
    told = [missing.told(np.array([float(count)]), seconds)[0] for count in counts]
    return [-1.0 if np.isnan(one) else float(one) for one in told]


def known() -> Missing:
    """Return what has heard a day of three calls a second."""
    missing = Missing()
    assert {-1.0} == set(heard(missing, *[30] * (DAY - 1)))
    heard(missing, 30)
    assert [0.0, 0.0] == heard(missing, 30, 30)
    return missing


def test_it_is_told_after_a_day_and_grows_until_calls_come() -> None:
    """Ten seconds after ten, also of a long interval."""
    missing = known()
    assert [10.0, 20.0, 30.0, 0.0, 10.0] == heard(missing, 0, 0, 0, 1, 0)
    assert [70.0, 0.0] == heard(missing, 0, seconds=60.0) + heard(missing, 5)


def test_of_an_outage_an_hour_is_told_and_then_no_other_one_for_a_week() -> None:
    """Whether calls have come since is known all the time."""
    missing = known()
    assert [10.0 * step for step in range(1, HOUR + 1)] == heard(missing, *[0] * HOUR)
    assert {-1.0} == set(heard(missing, *[0] * (2 * HOUR)))
    assert missing.lacks(0)
    assert {-1.0} == set(heard(missing, *[30] * (7 * DAY - HOUR)))
    assert not missing.lacks(0)
    assert 0.0 == heard(missing, *[30] * (2 * HOUR))[-1]
    heard(missing, *[0] * 168, seconds=3_600.0)
    assert missing.lacks(0)
    heard(missing, 0)
    assert not missing.lacks(0)


def test_one_of_half_an_hour_is() -> None:
    """At once, though few come at first: it is no sign of calls that pause by themselves."""
    missing = known()
    for calls in (1, 2 * HOUR):
        heard(missing, *[0] * (HOUR // 2), 3, *[30] * calls)
        assert [10.0, 20.0] == heard(missing, 0, 0)


@pytest.mark.parametrize("busy", [1, 30, HOUR // 2, HOUR - 30])
def test_of_bursts_it_is_never_told(busy: int) -> None:
    """For however long calls come in each hour, or in each two minutes: more than one a second are no proof."""
    missing = Missing()
    period = 12 if busy == 1 else HOUR
    assert {-1.0} == set(heard(missing, *([300] * busy + [0] * (period - busy)) * (2 * DAY // period)))


@pytest.mark.parametrize("hours", [1, 23, 24, 25, 48])
def test_what_is_quiet_each_week_is_told_once(hours: int) -> None:
    """However long that is."""
    missing = Missing()
    weeks = [
        heard(missing, *[180] * 60 * (168 - hours), *[0] * 60 * hours, seconds=60.0)[-60 * hours :] for _ in range(4)
    ]
    assert [60.0] + 3 * [-1.0] == [week[0] for week in weeks]


def test_where_traffic_has_fallen_lately_it_is_told_no_more() -> None:
    """On the evening before a quiet weekend, however few calls tell of it."""
    missing = known()
    assert [-1.0, -1.0] == heard(missing, *[1] * HOUR, 0, 0)[-2:]
    missing = known()
    assert [-1.0, -1.0] == heard(missing, *[0, 0, 0, 0, 0, 1] * (HOUR // 9), 0, 0)[-2:]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(0, 30), min_size=24, max_size=24), st.integers(0, 23), st.floats(0, 0.9))
def test_of_what_is_quiet_each_day_it_is_never_told(per_second: list[float], hour: int, least: float) -> None:
    """A single hour with less than one call a second is enough."""
    missing, per_second = Missing(), list(per_second)
    per_second[hour] = least
    for _ in range(4):
        for rate in per_second:
            assert {-1.0} == set(heard(missing, *[60 * rate] * 60, seconds=60.0))


def test_what_outlives_the_process_is_when_it_is_told() -> None:
    """So a deploy is no new day of learning, once calls come; a place that is given away begins anew."""
    missing, later = known(), Missing()
    needed, left, lately = missing.known(0)
    later.set(3, int(needed), int(left), lately)
    assert np.isnan(later.told(np.zeros(4), 10.0)).all()
    assert [True, True, True, False] == np.isnan(later.told(np.full(4, 30.0), 10.0)).tolist()
    assert later.told(np.zeros(4), 10.0)[3] == 10.0
    later.set(3)
    assert np.isnan(later.told(np.zeros(4), 10.0)).all()
    with pytest.raises(ValueError, match="no hours and calls a second: 24, 200"):
        later.set(3, 24, 200)


def test_where_traffic_follows_the_hours_nothing_is_told_but_that_it_has_stopped() -> None:
    """Three days of 20 services; those whose nights are quiet, or whose calls come in bursts, are not judged."""
    random, missing, rhythm = np.random.default_rng(1), Missing(), Rhythm(10.0)
    least, most, burst = np.repeat([[1.5, 15, 1], [2, 200, 1], [10, 100, 1], [0.1, 10, 1], [2, 20, 20]], 4, axis=0).T
    hours = np.tile([0.0, 6.0, 12.0, 18.0], 5)
    alarms: list[int] = []

    def hear(step: int, counts: np.ndarray) -> list[int]:
        if step % HOUR == 0:
            rhythm.ask(100.0 * 7 * DAY)
        told = missing.told(counts, 10.0)
        return [one.number for one in rhythm.judge(told, np.ones(20), np.ones(20, np.int8), 10.0 * step)]

    for step in range(3 * DAY):
        noon = (1 - np.cos(2 * np.pi * (step / HOUR + hours) / 24)) / 2
        calls = 10.0 * least * (most / least) ** noon
        alarms += hear(step, burst * random.poisson(calls / burst))
    assert [] == alarms
    for step in range(3 * DAY, 3 * DAY + 9):
        alarms += hear(step, np.zeros(20))
    assert list(range(12)) == sorted(alarms)
