"""How rates went: from a recording's own history, and look by look."""

from __future__ import annotations

import numpy as np
import pytest

from holter import names
from holter.history import History
from holter.view.courses import MOST_BINS, Courses, sparkline
from simulation import SECOND_NS, START_NS, World


def past(counts: list[int], seconds: float = 1.0) -> tuple[History, int]:
    """Return the history of a call that was made so often in each interval, and when it ended."""
    world, history = World(seconds=seconds), History()
    for count in counts:
        world.call("predict", np.full(count, 0.1))
        history.add(world.snapshot())
    return history, START_NS + world.time_ns


def test_a_past_is_told_in_bins_of_the_view() -> None:
    """Intervals of the process may be longer or shorter; no call is lost or counted twice."""
    history, end_ns = past([10, 20, 30, 40], seconds=2.0)
    for seconds, expected in (
        (2.0, [5, 10, 15, 20]),
        (1.0, [5, 5, 10, 10, 15, 15, 20, 20]),
        (4.0, [7.5, 17.5]),
    ):
        courses = Courses(seconds)
        courses.seed(history, end_ns, 1)
        assert pytest.approx(expected) == courses.of("calls", "predict")
        assert pytest.approx(expected) == courses.of("calls", "predict", 1)
    assert [] == courses.of("calls", "other")


def test_a_silence_before_the_first_look_is_seen() -> None:
    """Bins in which the process has written nothing are empty; the one that is not over yet is no bin."""
    history, end_ns = past([10, 20])
    courses = Courses(1.0)
    courses.seed(history, end_ns + round(1.9 * SECOND_NS), 1)
    assert [10, 20] == courses.of("calls", "predict")
    silent = Courses(1.0)
    silent.seed(history, end_ns + round(3.5 * SECOND_NS), 1)
    assert [10, 20, 0, 0] == silent.of("calls", "predict")


def test_several_processes_add_up() -> None:
    """The pasts of different lengths end at the same moment."""
    courses = Courses(1.0)
    for process, counts in ((1, [5, 5, 5]), (2, [1])):
        history, end_ns = past(counts)
        courses.seed(history, end_ns, process)
    assert [5, 5, 6] == courses.of("calls", "predict")
    assert [1] == courses.of("calls", "predict", 2)


def test_an_empty_history_has_no_past() -> None:
    """As of a process that has just begun."""
    courses = Courses(1.0)
    courses.seed(History(), START_NS, 1)
    assert [] == courses.of("calls", "predict")


def test_each_look_adds_a_bin() -> None:
    """To all that are known, nothing to those that did nothing; the oldest of 300 go."""
    world, courses = World(seconds=2.0), Courses(2.0)
    world.call("predict", np.full(10, 0.1), "ValueError")
    world.values(world.one(names.TRAINING_STEP_DURATION, holter__training__name="digits"), [0.1])
    world.grow(world.one(names.STREAM_ITEMS, "counter", "{item}", holter__call__name="answer"), 8)
    courses.add([(world.snapshot(), None)])
    world.call("predict", np.full(4, 0.1))
    courses.add([(world.snapshot(), None)])
    assert [5, 2] == courses.of("calls", "predict")
    assert [[0.5, 0], [4, 0]] == [courses.of("steps", "digits"), courses.of("items", "answer")]
    for _ in range(MOST_BINS):
        courses.add([(world.snapshot(), None)])
    assert [0] * MOST_BINS == courses.of("calls", "predict")


def test_a_sparkline_reaches_from_nothing_to_the_largest() -> None:
    """The newest is at the right; nothing is a dot, so that it is no small value."""
    assert "  ·▁▄█" == sparkline([0, 0.001, 4, 8], 6)
    assert "▁▄█" == sparkline([9999, 0.001, 4, 8], 3)
    assert "···" == sparkline([0, float("nan"), -1], 3)
    assert "" == sparkline([1, 2], 0)
    assert "  " == sparkline([], 2)
