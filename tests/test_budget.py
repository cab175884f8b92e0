"""Windows of good and bad events: what they hold, for how long, and what outlives the process."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holter.budget import PANES, EventWindow

INTERVALS = st.lists(
    st.tuples(st.floats(0.1, 50), st.floats(0, 30), st.integers(0, 100), st.integers(0, 100)), min_size=1, max_size=200
)


def told(window: EventWindow, intervals: list[tuple[float, float, int, int]]) -> list[tuple[float, float, int, int]]:
    """Add (length, gap before, total, bad) one after the other, and return when each began and ended."""
    now, rows = 1_000_000.0, []
    for length, gap, total, bad in intervals:
        began, now = now + gap, now + gap + length
        rows.append((began, now, total, min(total, bad)))
        window.add(*rows[-1])
    return rows


@given(INTERVALS, st.sampled_from([10.0, 300.0, 3600.0]))
def test_holds_the_intervals_that_ended_in_it(intervals: list, seconds: float) -> None:
    """All of those, and of older ones at most a pane's worth."""
    window = EventWindow(seconds)
    rows = told(window, intervals)
    edge = rows[-1][1] - seconds
    inside = [row for row in rows if row[1] > edge + 1e-6]
    near = [row for row in rows if row[1] > edge - 2 * seconds / PANES - 1e-6]
    events = window.events
    assert sum(row[2] for row in inside) - 1e-6 <= events.total <= sum(row[2] for row in near) + 1e-6
    assert sum(row[3] for row in inside) - 1e-6 <= events.bad <= sum(row[3] for row in near) + 1e-6
    assert len(window.save()) <= PANES + 2


def test_intervals_of_a_minute_are_exact_in_six_hours() -> None:
    """Each is a pane of its own, so none stays longer than it should."""
    window = EventWindow(21_600.0)
    for minute in range(2_000):
        window.add(60.0 * minute, 60.0 * (minute + 1), 10, minute % 7 == 0)
        expected = [place for place in range(minute + 1) if place > minute - 360]
        assert 10 * len(expected) == window.events.total
        assert sum(place % 7 == 0 for place in expected) == window.events.bad


def test_seconds_are_those_that_were_observed() -> None:
    """What lay between two runs is not."""
    window = EventWindow(1_000.0)
    window.add(0.0, 100.0, 5, 0)
    window.add(600.0, 650.0, 5, 1)
    assert (150.0, 10, 1) == (window.events.seconds, window.events.total, window.events.bad)
    assert 0.1 == window.events.bad_share


@given(INTERVALS, st.integers(0, 199))
def test_what_is_saved_and_loaded_goes_on_as_if_nothing_had_been(intervals: list, place: int) -> None:
    """Through JSON, at any moment: the same figures afterwards, to the rounding of a millisecond."""
    whole, first, second = (EventWindow(300.0) for _ in range(3))
    rows = told(whole, intervals)
    for row in rows[: place % len(rows)]:
        first.add(*row)
    second.load(json.loads(json.dumps(first.save())))
    for row in rows[place % len(rows) :]:
        second.add(*row)
    if place % len(rows) < len(rows):
        assert abs(whole.events.total - second.events.total) <= 200
        assert len(whole.save()) - len(second.save()) in (-1, 0, 1)
    third = EventWindow(300.0)
    third.load(json.loads(json.dumps(whole.save())))
    assert (whole.events.total, whole.events.bad) == (third.events.total, third.events.bad)


def test_a_clock_that_is_set_back_loses_nothing() -> None:
    """What comes then counts as of the newest moment known; the window goes on when that has passed."""
    window = EventWindow(100.0)
    window.add(0.0, 50.0, 5, 1)
    window.add(10.0, 20.0, 5, 1)
    assert (10, 2) == (window.events.total, window.events.bad)
    window.add(149.0, 151.0, 1, 0)
    assert 1 == window.events.total


@pytest.mark.parametrize(
    "panes",
    [
        [[1, 2, 3]],
        [[2, 1, 3, 0]],
        [[1, 2, 3, 4]],
        [[1, 2, float("nan"), 0]],
        [[5, 6, 1, 0], [1, 2, 1, 0]],
        [["a", 2, 3, 1]],
        [[1, 2, float("inf"), 0]],
        [[place, place + 1, 1, 0] for place in range(PANES + 3)],
    ],
)
def test_what_is_no_window_is_refused(panes: list) -> None:
    """And the window is as it was."""
    window = EventWindow(100.0)
    window.add(0.0, 1.0, 7, 0)
    with pytest.raises(ValueError, match=r"pane|values to unpack|convert"):
        window.load(panes)
    assert 7 == window.events.total
