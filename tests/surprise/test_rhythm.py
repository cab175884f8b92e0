"""Signals by number in one rhythm: rows that are given out, kept, and given back."""

from __future__ import annotations

import numpy as np
import pytest

from holter.surprise.rhythm import STATES, Alarm, Rhythm

STEP = 10.0


def said(random: np.random.Generator, numbers: list[int], shift: float = 0.0, room: int = 256) -> np.ndarray:
    """Return what the signals of these numbers say, and all others do not."""
    told = np.full(room, np.nan)
    told[numbers] = random.normal(size=len(numbers)) + shift
    return told


def judge(rhythm: Rhythm, told: np.ndarray, seconds: float) -> list[Alarm]:
    """Judge signals of which both ways are trouble."""
    return rhythm.judge(told, np.ones(len(told)), np.zeros(len(told), np.int8), seconds)


def states(rhythm: Rhythm) -> dict[int, str]:
    """Return by number what is done with each signal that there is."""
    return {at: STATES[one] for at, one in enumerate(rhythm.states(256).tolist()) if one < len(STATES)}


def test_a_signal_that_is_gone_gives_its_row_back() -> None:
    """After 1,000 steps without it; another one of that number learns anew."""
    random, rhythm = np.random.default_rng(1), Rhythm(STEP)
    for step in range(100):
        judge(rhythm, said(random, [5, 2]), step * STEP)
    assert {"judging"} == set(states(rhythm).values())
    for step in range(100, 2_200):
        judge(rhythm, said(random, [5]), step * STEP)
    assert [5] == list(states(rhythm))
    judge(rhythm, said(random, [5, 2]), 2_200 * STEP)
    assert {5: "judging", 2: "learning"} == states(rhythm)


def test_what_seldom_has_a_value_is_unjudgeable() -> None:
    """In fewer than one step of ten."""
    random, rhythm = np.random.default_rng(2), Rhythm(STEP)
    for step in range(1_000):
        judge(rhythm, said(random, [1, 9] if step % 15 == 0 else [1]), step * STEP)
    assert {1: "judging", 9: "unjudgeable"} == states(rhythm)


def test_more_signals_than_there_were_rows_change_nothing_for_the_others() -> None:
    """200 come while one alarms."""
    random, rhythm = np.random.default_rng(3), Rhythm(STEP)
    for step in range(1_000):
        judge(rhythm, said(random, [5]), step * STEP)
    rhythm.ask(1e5)
    many, alarms = list(range(6, 206)), []
    for step in range(1_000, 1_020):
        told = said(random, many if step > 1_005 else [])
        told[5] = random.normal() + 4.0
        alarms += judge(rhythm, told, step * STEP)
    assert {5} == {alarm.number for alarm in alarms}
    assert 201 == len(states(rhythm))


@pytest.mark.parametrize("most", [0, 1, 100])
def test_what_is_saved_goes_on_as_it_was(most: int) -> None:
    """Those that are known for longest first; what is loaded is judged at once, by nearly the same range."""
    random, rhythm = np.random.default_rng(4), Rhythm(STEP)
    for step in range(300):
        judge(rhythm, said(random, [7] if step < 100 else [7, 3]), step * STEP)
    numbers, contents = rhythm.save(most)
    assert {0: [], 1: [7], 100: [7, 3]}[most] == numbers.tolist()
    assert {rhythm.kept_bytes} >= {len(content) for content in contents}
    again = Rhythm(STEP)
    again.load(numbers, contents)
    assert dict.fromkeys(numbers.tolist(), "judging") == states(again)
    for number in numbers.tolist():
        rows = rhythm._row(number), again._row(number)
        old, new = (one.detector.range_of(row) for one, row in zip((rhythm, again), rows, strict=True))
        assert new == pytest.approx(old, abs=0.1)
        asked = [one.detector._heights_for(1e5)[0] for one in (rhythm, again)]
        assert asked[1][:, rows[1]] == pytest.approx(asked[0][:, rows[0]], rel=0.01)


@pytest.mark.parametrize("content", [[b""], [b"x"], [b"\xff" * Rhythm(STEP).kept_bytes], []])
def test_what_was_not_saved_is_refused(content: list[bytes]) -> None:
    """And nothing is learnt of it."""
    rhythm = Rhythm(STEP)
    with pytest.raises(ValueError, match="not what is known"):
        rhythm.load(np.array([1]), content)
    assert {} == states(rhythm)


def test_what_came_slowly_is_no_alarm_before_three_days() -> None:
    """It may be the time of the day; after that it is one."""
    random = np.random.default_rng(5)
    alarms = []
    for began in (0.0, -3 * 86_400.0):
        rhythm = Rhythm(STEP)
        rhythm.ask(1e5)
        for step in range(900):
            shift = 0.0 if step < 600 else 0.004 * (step - 600)
            time = began if step == 0 else step * STEP
            alarms.append((began, len(judge(rhythm, said(random, [5], shift), time))))
    assert 0 == sum(count for began, count in alarms if began == 0.0)
    assert sum(count for began, count in alarms if began < 0.0)


def test_of_what_follows_the_hours_nothing_that_is_slow_is_told_before_they_are_known() -> None:
    """Where the time of the day is in use: two and a half days after that is known to be of use."""
    random, rhythm, minute = np.random.default_rng(6), Rhythm(60.0), 60.0
    alarm = Alarm(5, "rise", 7_200.0, (1e6, 1e7, 1e8), minute, (0.0, 1.0))
    told: dict[int, bool] = {}
    for step in range(7 * 1_440):
        hours = 4 * np.sin(2 * np.pi * step / 1_440)
        judge(rhythm, said(random, [5], hours), step * minute)
        if step % 1_440 == 0 and step:
            told[step // 1_440] = not rhythm._may_be_the_hour(0, alarm, step * minute)
    assert (not any(told[day] for day in (1, 2, 3, 4)), told[6]) == (True, True)
