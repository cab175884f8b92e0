"""For how long calls that never pause have not come."""

from __future__ import annotations

import numpy as np
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


def test_an_outage_is_told_to_its_end_and_one_of_an_hour_is_not_followed_by_another_for_a_week() -> None:
    """While no calls come nothing that was known before is forgotten."""
    missing = known()
    assert [10.0 * step for step in range(1, 3 * HOUR + 1)] == heard(missing, *[0] * (3 * HOUR))
    assert {-1.0} == set(heard(missing, *[30] * (7 * DAY - HOUR)))
    assert 0.0 == heard(missing, *[30] * (2 * HOUR))[-1]


def test_one_of_half_an_hour_is() -> None:
    """At once: it is no sign of calls that pause by themselves."""
    missing = known()
    for calls in (1, 2 * HOUR):
        heard(missing, *[0] * (HOUR // 2), *[30] * calls)
        assert [10.0, 20.0] == heard(missing, 0, 0)


def test_of_bursts_it_is_never_told() -> None:
    """Three hundred calls each two minutes are more than one a second."""
    missing = Missing()
    assert {-1.0} == set(heard(missing, *([300] + [0] * 11) * (2 * DAY // 12)))


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
    """So a deploy is no new day of learning; a place that is given away begins anew."""
    missing, later = known(), Missing()
    later.set(3, missing.known(0))
    assert np.isnan(later.told(np.full(4, 30.0), 10.0)).all()
    for _ in range(60):
        told = later.told(np.full(4, 30.0), 10.0)
    assert [True, True, True, False] == np.isnan(told).tolist()
    later.set(3)
    assert np.isnan(later.told(np.zeros(4), 10.0)).all()


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
