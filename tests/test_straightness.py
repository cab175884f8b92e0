"""The straight line through the floors of a window: what is a step, what is none, how straight chance can be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holter.straightness import BLOCKS, STRAIGHT, line_through, slope

AT = np.arange(BLOCKS, dtype=float)
RANDOM = np.random.default_rng(1)


def test_without_steps_it_is_that_of_least_squares() -> None:
    """Its rise and its scatter are numpy's."""
    floors = 100 + 3 * AT + RANDOM.normal(0, 2, BLOCKS)
    line = line_through(floors.copy())
    each, start = np.polyfit(AT, floors, 1)
    rest = floors - start - each * AT
    assert 0 == line.steps
    assert each * (BLOCKS - 1) == pytest.approx(line.rise)
    assert np.sqrt(rest @ rest / (BLOCKS - 2)) == pytest.approx(line.scatter)
    assert np.polyfit(AT[:12], floors[:12], 1)[0] == pytest.approx(slope(floors[:12]))


def test_a_step_up_is_left_out() -> None:
    """And what it was is told; with a climb beside it the line is that of the climb."""
    loaded = 500.0 * (AT >= 9)
    flat, climbing = line_through(100 + loaded), line_through(100 + 3 * AT + loaded)
    assert (0.0, 500.0) == (flat.rise, flat.steps)
    assert (69.0, 500.0, True) == (pytest.approx(climbing.rise), pytest.approx(climbing.steps), climbing.is_straight)


def test_a_fall_is_left_out_only_where_a_step_up_pays_for_it() -> None:
    """The old model goes after the new one has come; garbage that is collected has climbed slowly."""
    reload = 500.0 * (AT >= 9) - 450.0 * (AT >= 11)
    assert line_through(100 + 3 * AT + reload).is_straight
    assert not line_through(100 + 3 * AT - 40.0 * (AT >= 12)).is_straight


def test_more_than_two_steps_are_no_straight_line() -> None:
    """A staircase is judged by longer windows, in which its steps are small."""
    assert not line_through(100 + 50.0 * (AT // 6)).is_straight
    assert line_through(100 + 3.0 * AT + 1.0 * (AT % 2)).is_straight


def test_what_slows_down_is_none() -> None:
    """By a fifth from its first half to its second."""
    assert line_through(1000 * (1 - np.exp(-AT / 80))).is_straight
    assert not line_through(1000 * (1 - np.exp(-AT / 40))).is_straight


def test_chance_is_hardly_ever_straight() -> None:
    """Of random walks, fewer than one in 1,000; of a climb of 40 times its noise, nearly all."""
    walks = np.cumsum(RANDOM.normal(0, 1, (4000, BLOCKS)), axis=1)
    assert sum(line_through(walk).is_straight for walk in walks) <= 4
    climbs = np.linspace(0, 40, BLOCKS) + RANDOM.normal(0, 1, (300, BLOCKS))
    assert sum(line_through(climb).is_straight for climb in climbs) > 270
    assert STRAIGHT == pytest.approx(24)


@given(st.lists(st.floats(-1e12, 1e12), min_size=BLOCKS, max_size=BLOCKS), st.sampled_from([-20, 3, 30]))
def test_straightness_has_no_unit(floors: list[float], power: int) -> None:
    """Nor a place: only the shape counts."""
    scaled = [2.0**power * floor for floor in floors]
    one, other = line_through(np.array(floors)), line_through(np.array(scaled))
    assert (one.is_straight, one.rise * 2.0**power) == (other.is_straight, other.rise)
