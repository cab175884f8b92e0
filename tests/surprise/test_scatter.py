"""How far scores lie about the usual: by the hour, where the same noise moves ranks more at one than at another."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from holter.surprise.detector import Detector
from holter.surprise.kept import packed, unpack

MINUTE, DAY, SIGNALS = 60.0, 1_440, 30


def swinging(random: np.random.Generator, step: int, noise: float = 0.5) -> np.ndarray:
    """Return what signals say whose noise is a tenth of their daily swing, or less or more."""
    return 5.0 * np.sin(2 * np.pi * step / DAY) + noise * random.normal(size=SIGNALS)


@pytest.fixture(scope="module")
def taught() -> Detector:
    """A detector after six days, in which there was no alarm from the third on."""
    random, detector, alarms = np.random.default_rng(1), Detector(SIGNALS, step_seconds=MINUTE), 0
    detector.ask(1e7)
    for step in range(6 * DAY):
        found = int(detector.update(swinging(random, step), step * MINUTE).sum())
        alarms += found if step >= 3 * DAY else 0
    assert alarms == 0
    return detector


def copied(detector: Detector) -> Detector:
    """Return one that goes on from what is kept of it."""
    rows, other = np.arange(SIGNALS), Detector(SIGNALS, step_seconds=MINUTE)
    unpack(other, rows, packed(detector, rows))
    other.prepare()
    other.ask(1e5)
    return other


def test_each_hour_has_its_own(taught: Detector) -> None:
    """At the height of the swing, where values crowd, scores scatter at least three times as much as on the way."""
    squares = [taught.scatter.squares(np.array(2.0 * hour)).mean() for hour in range(24)]
    assert (squares[6] > 9 * squares[1], squares[18] > 9 * squares[13]) == (True, True)
    assert taught.baseline.is_used.all()
    assert (taught.baseline.days_used == 2).all()
    assert (copied(taught).baseline.days_used == 2).all()


@pytest.mark.parametrize("hour", [1, 6, 13, 18])
def test_a_shift_by_twice_the_noise_is_found_at_any_hour(taught: Detector, hour: int) -> None:
    """By 1 where values scatter by 0.5 about a swing of 5: within half an hour, though that is a fifth of it."""
    random, detector = np.random.default_rng(2), copied(taught)
    found = np.zeros(SIGNALS, bool)
    for step in range(6 * DAY, 6 * DAY + 60 * hour + 30):
        is_off = step >= 6 * DAY + 60 * hour
        alarms = detector.update(swinging(random, step) + is_off, step * MINUTE)
        found |= alarms & is_off
    assert found.mean() >= 0.8


def test_before_the_time_of_the_day_is_used_all_hours_are_one() -> None:
    """And so where steps are too short for it."""
    random = np.random.default_rng(3)
    for seconds in (10.0, MINUTE):
        detector = Detector(SIGNALS, step_seconds=seconds)
        for step in range(1_000):
            detector.update(random.normal(size=SIGNALS), step * seconds)
        assert (detector.scatter.hours == -128).all()
        assert detector.scatter.squares(np.array(7.0)).mean() == pytest.approx(1.0, abs=0.2)


def test_traffic_that_follows_the_hours_is_known_and_what_is_missing_is_found() -> None:
    """Nothing is false from the third day on, though swings last so long that each is the new usual for a while."""
    random, detector, alarms = np.random.default_rng(21), Detector(SIGNALS, step_seconds=MINUTE), np.zeros(8, int)

    def calls(step: int, share: float = 1.0) -> np.ndarray:
        hours = 1 + 0.8 * np.sin(2 * np.pi * (step / 60 - 9) / 24)
        return random.poisson(share * 300 * hours, SIGNALS).astype(float)

    detector.ask(1e7)
    for step in range(7 * DAY):
        alarms[step // DAY] += detector.update(calls(step), step * MINUTE).sum()
    assert alarms[2:].tolist() == [0] * 6
    detector.ask(1e5)
    found = np.zeros(SIGNALS, bool)
    for step in range(7 * DAY, 7 * DAY + 630):
        is_off = step >= 7 * DAY + 600
        found |= detector.update(calls(step, 0.5 if is_off else 1.0), step * MINUTE) & is_off
    assert found.mean() >= 0.97


def crowd(random: np.random.Generator, step: int, peaks: np.ndarray, factor: float = 1.0) -> np.ndarray:
    """Return how many calls there are in a minute, of 10, 30 or 100 a second in the mean, that peak at some hour."""
    rates = np.repeat([10.0, 30.0, 100.0], len(peaks) // 3)
    hours = 1 + 0.8 * np.sin(2 * np.pi * (step / 60 - peaks) / 24)
    return random.poisson(60 * factor * rates * hours).astype(float)


def test_the_second_week_is_as_quiet_as_asked() -> None:
    """Of traffic that scatters by no more than a hundredth, too, and nearly all of it is judged."""
    random, alarms, asked = np.random.default_rng(1), 0, 100.0 * DAY
    peaks = random.uniform(0, 24, 3 * SIGNALS)
    detector = Detector(len(peaks), step_seconds=MINUTE)
    detector.ask(asked)
    for step in range(14 * DAY):
        found = detector.update(crowd(random, step, peaks), step * MINUTE)
        alarms += int(found.sum()) if step >= 7 * DAY else 0
    assert alarms <= 3 * len(peaks) * 7 * DAY / asked
    assert detector.is_unjudgeable.mean() <= 0.1
    lost = np.zeros(len(peaks), np.bool_)
    for step in range(14 * DAY, 14 * DAY + 30):
        lost |= detector.update(crowd(random, step, peaks, 0.5), step * MINUTE)
    assert lost.mean() >= 0.9


def test_the_fourth_day_is_quiet() -> None:
    """The time of the day has just begun to be used then: of 24 times 8 signals 4 were to alarm falsely, and 7 do."""
    random, rates, alarms = np.random.default_rng(1), np.repeat(np.geomspace(0.3, 100.0, 8), 24), 0
    detector = Detector(len(rates), step_seconds=MINUTE)
    detector.ask(8.0 * 7 * DAY)
    for step in range(4 * DAY):
        hours = 1 + 0.8 * np.sin(2 * np.pi * (step / 60 - 3) / 24)
        found = detector.update(random.poisson(60 * rates * hours).astype(float), step * MINUTE)
        alarms += int(found.sum()) if step >= 3 * DAY else 0
    assert alarms <= 10


def test_traffic_that_wanders_about_its_hours_is_not_judged_before_that_is_known() -> None:
    """By a tenth within two hours: else 96 signals have 450 alarms from the fourth day to the seventh."""
    random, alarms, rates = np.random.default_rng(3), 0, np.repeat(np.geomspace(1.0, 100.0, 6), 16)
    detector, busy, pace = Detector(len(rates), step_seconds=MINUTE), np.zeros(len(rates)), np.exp(-1 / 120)
    detector.ask(100.0 * DAY)
    learning = np.zeros(len(rates), np.bool_)
    for step in range(7 * DAY):
        busy = pace * busy + np.sqrt(1 - pace**2) * random.normal(size=len(rates))
        hours = 1 + 0.8 * np.sin(2 * np.pi * (step / 60 - 9) / 24)
        found = detector.update(random.poisson(60 * rates * hours * np.exp(0.1 * busy)).astype(float), step * MINUTE)
        alarms += int(found.sum()) if step >= 3 * DAY else 0
        learning |= detector.is_learning & detector.baseline.is_used
    assert alarms <= 150
    assert learning.all()
    assert (detector.is_unjudgeable & ~detector.is_learning).mean() >= 0.7


def daily_alarms(days: int, factor: Callable[[int], float]) -> np.ndarray:
    """Return in how many signals there is an alarm between 10 and 12, of each day from the eighth on."""
    random, found = np.random.default_rng(2), np.zeros((days, 30), np.bool_)
    peaks = random.uniform(0, 24, 30)
    detector = Detector(30, step_seconds=MINUTE)
    detector.ask(100.0 * DAY)
    for step in range((8 + days) * DAY):
        alarms = detector.update(crowd(random, step, peaks, factor(step)), step * MINUTE)
        if step >= 8 * DAY and 600 <= step % DAY < 720:
            found[step // DAY - 8] |= alarms
    return found.sum(1)


def test_an_hour_of_trouble_leaves_no_echo() -> None:
    """Half of the traffic for an hour is found in nearly all; at that hour of the next three days next to nothing."""
    found = daily_alarms(4, lambda step: 0.5 if 8 * DAY + 600 <= step < 8 * DAY + 660 else 1.0)
    assert (found[0] >= 28, found[1:].sum() <= 5) == (True, True)


def test_what_comes_each_day_at_this_hour_is_usual_some_day() -> None:
    """A third more for an hour a day is told at first, and a week later of few."""
    found = daily_alarms(10, lambda step: 1.3 if step >= 8 * DAY and 600 <= step % DAY < 660 else 1.0)
    assert (found[0] >= 27, found[-1] <= 10) == (True, True)


def test_half_a_day_is_no_new_usual_where_the_hours_are_known(taught: Detector) -> None:
    """A day is: until then ranks mean what they did, so that all is as before when it is over."""
    random, detector = np.random.default_rng(6), copied(taught)
    known, begun = detector.ranks.known.copy(), 6 * DAY
    for step in range(begun, begun + DAY // 2):
        detector.update(swinging(random, step) + 5.0, step * MINUTE)
    assert (detector.ranks.known >= known).all()
    for step in range(begun + DAY // 2, begun + 2 * DAY):
        detector.update(swinging(random, step) + 5.0, step * MINUTE)
    assert (detector.ranks.known < known).mean() >= 0.9


def test_ten_seconds_know_no_time_of_the_day() -> None:
    """However long they see one: their level follows it, and that of minutes tells of the hours."""
    random, detector = np.random.default_rng(5), Detector(2, step_seconds=10.0)
    for step in range(3 * 8_640):
        detector.update(5.0 * np.sin(2 * np.pi * step / 8_640) + random.normal(size=2), step * 10.0)
    usual = [detector.baseline.usual(np.array(2.0 * hour)).tolist() for hour in range(24)]
    assert usual == [usual[0]] * 24


@pytest.mark.parametrize("gap_hours", [0, 5])
def test_a_gap_does_not_hide_that_a_day_has_ended(gap_hours: int) -> None:
    """When the time of the day has been in use for a day all walks begin anew, though nothing came at that moment."""
    random, detector, step = np.random.default_rng(4), Detector(SIGNALS, step_seconds=MINUTE), 0
    while not detector.baseline.is_used.all():
        assert step < 4 * DAY
        detector.update(swinging(random, step), step * MINUTE)
        step += 1
    assert not detector.baseline.days_used.any()
    began = step
    while step < began + 1.2 * DAY:
        if began + DAY - 60 <= step < began + DAY - 28:
            step += 60 * gap_hours
        detector.update(swinging(random, step), step * MINUTE)
        step += 1
    assert (detector.baseline.days_used >= 1).all()
    since = (step * MINUTE - detector.baseline.used_from) / MINUTE - DAY
    assert (detector.tails.blocks[0] <= 8 + since / 32 + 2).all()
