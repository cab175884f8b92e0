"""Signals by name in one rhythm: rows that are given out, kept, and given back."""

from __future__ import annotations

import json

import numpy as np
import pytest

from holter.signals import Key, Value
from holter.surprise.rhythm import Rhythm

STEP = 10.0


def key(name: str) -> Key:
    """Return a gauge by its name."""
    return Key(name, (("host", "a"),), "value")


def said(random: np.random.Generator, names: list[str], shift: float = 0.0) -> dict[Key, Value]:
    """Return what gauges of these names say."""
    return {
        key(name): Value(one, one, "1", 0)
        for name, one in zip(names, random.normal(size=len(names)) + shift, strict=True)
    }


def test_a_signal_that_is_gone_gives_its_row_back() -> None:
    """After 1,000 steps without it; another one of that name learns anew."""
    random, rhythm = np.random.default_rng(1), Rhythm(STEP)
    for step in range(100):
        rhythm.judge(said(random, ["one", "two"]), step * STEP)
    assert {"judging"} == set(rhythm.states.values())
    for step in range(100, 2_200):
        rhythm.judge(said(random, ["one"]), step * STEP)
    assert [key("one")] == list(rhythm.states)
    rhythm.judge(said(random, ["one", "two"]), 2_200 * STEP)
    assert {key("one"): "judging", key("two"): "learning"} == rhythm.states


def test_what_seldom_has_a_value_is_unjudgeable() -> None:
    """In fewer than one step of ten."""
    random, rhythm = np.random.default_rng(2), Rhythm(STEP)
    for step in range(1_000):
        rhythm.judge(said(random, ["often", "seldom"] if step % 15 == 0 else ["often"]), step * STEP)
    assert {key("often"): "judging", key("seldom"): "unjudgeable"} == rhythm.states


def test_more_signals_than_there_were_rows_change_nothing_for_the_others() -> None:
    """200 come while one alarms."""
    random, rhythm = np.random.default_rng(3), Rhythm(STEP)
    for step in range(1_000):
        rhythm.judge(said(random, ["one"]), step * STEP)
    rhythm.ask(1e5)
    many = [f"more{index}" for index in range(200)]
    alarms = []
    for step in range(1_000, 1_020):
        told = said(random, many) if step > 1_005 else {}
        alarms += rhythm.judge({**told, **said(random, ["one"], 4.0)}, step * STEP)
    assert {key("one")} == {alarm.key for alarm in alarms}
    assert 201 == len(rhythm.states)


@pytest.mark.parametrize("bytes_kept", [0, 1_500, 10**6])
def test_what_is_saved_fits_and_goes_on(bytes_kept: int) -> None:
    """Those that are known for longest first; what is loaded is judged at once, and as it was."""
    random, rhythm = np.random.default_rng(4), Rhythm(STEP)
    for step in range(300):
        rhythm.judge(said(random, ["old"] if step < 100 else ["old", "new"]), step * STEP)
    saved = json.dumps(rhythm.save(bytes_kept))
    assert len(saved) <= max(bytes_kept, 2)
    again = Rhythm(STEP)
    again.load(json.loads(saved))
    assert {0: [], 1_500: ["old"], 10**6: ["old", "new"]}[bytes_kept] == [one.name for one in again.states]
    for one, state in again.states.items():
        assert "judging" == state
        rows = rhythm._rows[one], again._rows[one]
        assert (rhythm.detector.ranks.quantiles[rows[0]] == again.detector.ranks.quantiles[rows[1]]).all()
        assert rhythm.detector.range_of(rows[0]) == pytest.approx(again.detector.range_of(rows[1]), rel=0.3)


def test_what_came_slowly_is_no_alarm_before_two_days() -> None:
    """It may be the time of the day; after that it is one."""
    random = np.random.default_rng(5)
    alarms = []
    for began in (0.0, -3 * 86_400.0):
        rhythm = Rhythm(STEP)
        rhythm.ask(1e5)
        for step in range(900):
            shift = 0.0 if step < 600 else 0.004 * (step - 600)
            time = began if step == 0 else step * STEP
            alarms.append((began, len(rhythm.judge(said(random, ["one"], shift), time))))
    assert 0 == sum(count for began, count in alarms if began == 0.0)
    assert sum(count for began, count in alarms if began < 0.0)
