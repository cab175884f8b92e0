"""What an alert offers as a cause: the stage that takes the time, the errors by type and place."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from contracts.check import Course
from holter.checks.limit import Limit
from holter.model import ErrorPlace
from holter.names import CALL_DURATION


def limit(call: str, statistic: str, **options: Any) -> Limit:
    """Return a limit on a watched call."""
    return Limit(CALL_DURATION, statistic, where={"holter.call.name": call}, **options)


def one_alert(check: Limit, course: Course, **tick: Any) -> Any:
    """Return the one alert that comes of one reading."""
    (alert,) = check.judge(course.tick(**tick))
    return alert


def test_a_slow_call_is_told_with_its_stage() -> None:
    """The sentence has numbers with units; the stage is the one that has grown, not the largest."""
    check, course = limit("predict", "p99", above=0.2, minimum_calls=100), Course()
    for _ in range(100):
        course.calls("predict", [0.1] * 5)
        course.spans("predict", "model", [0.08] * 5)
        course.spans("predict", "tokenize", [0.01] * 5)
        course.spans("another", "tokenize", [9.0])
        assert check.judge(course.tick()) == []
    course.calls("predict", [1.1] * 300)
    course.spans("predict", "model", [0.08] * 300)
    course.spans("predict", "tokenize", [1.0] * 300)
    alert = one_alert(check, course)
    assert alert.message == "predict p99 is 1.1 s over the last 60 s, above the limit of 200 ms (595 calls)"
    assert alert.next_step == ("Look at tokenize: it takes 84.3 % of the time (509 ms a call, 10 ms before).")
    assert (alert.expected, alert.seen) == ("p99 at most 200 ms", "1.1 s (595 calls)")
    assert alert.evidence["stage"] == "tokenize"
    assert alert.evidence["p50"] == pytest.approx(1.1, rel=0.01)
    assert alert.evidence["window_seconds"] == 60


def test_without_growth_the_largest_stage_is_told() -> None:
    """From the start there is nothing to compare with."""
    check, course = limit("predict", "mean", above=0.2), Course()
    course.calls("predict", [1.0])
    course.spans("predict", "tokenize", [0.2])
    course.spans("predict", "model", [0.7])
    assert one_alert(check, course).next_step == "Look at model: it takes 70 % of the time (700 ms a call)."


def test_errors_are_told_by_type_and_place() -> None:
    """The commonest first, of this call and this window only."""
    check, course = limit("predict", "error_ratio", above=0.05, window_seconds=10), Course()
    course.calls("predict", [0.1] * 1000, "error", "OldError")
    check.judge(course.tick())
    for _ in range(10):
        check.judge(course.tick())
    course.calls("predict", [0.1] * 85)
    course.calls("predict", [0.1] * 2, "expected", "NotFound")
    course.calls("predict", [0.1] * 10, "error", "ValueError")
    course.calls("predict", [0.1] * 3, "timeout", "TimeoutError")
    course.calls("another", [0.1] * 99, "error", "KeyError")
    places = (
        ErrorPlace("another", "ValueError", "other.py:1 in f", 99),
        ErrorPlace("predict", "ValueError", "model.py:3 in load", 2),
        ErrorPlace("predict", "ValueError", "model.py:12 in parse", 8),
    )
    snapshot = course.tick()
    (alert,) = check.judge(replace(snapshot, error_places=places))
    assert alert.message == (
        "predict error ratio is 13 % over the last 10 s, above the limit of 5 % (13 of 100 calls failed)"
    )
    assert alert.next_step == "Look at ValueError at model.py:12 in parse: 10 of 13 failures."
    assert alert.evidence["errors"] == "ValueError 10, TimeoutError 3"
