"""The sentences of an alert: what was seen, what was expected, what to look at first."""

from __future__ import annotations

import math
from typing import Any

import pytest

from contracts.check import Course
from holter.checks.limit import Limit
from holter.model import OpenCall
from holter.names import CALL_DURATION


def limit(call: str, statistic: str, **options: Any) -> Limit:
    """Return a limit on a watched call."""
    return Limit(CALL_DURATION, statistic, where={"holter.call.name": call}, **options)


def one_alert(check: Limit, course: Course, **tick: Any) -> Any:
    """Return the one alert that comes of one reading."""
    (alert,) = check.judge(course.tick(**tick))
    return alert


def test_without_spans_it_asks_for_them() -> None:
    """Where a call has no stages the next step is to give it some."""
    check, course = limit("predict", "max", above=0.2), Course()
    course.calls("predict", [1.0])
    assert one_alert(check, course).next_step == (
        "Put holter.span(...) around the parts of predict to see which of them takes the time."
    )


@pytest.mark.parametrize(
    ("check", "levels", "message"),
    [
        (Limit("load", "last", above=1000), [1204], "load is 1,204, above the limit of 1,000"),
        (
            Limit("load", "mean", below=1, above=3),
            [0.5],
            "load mean is 0.5 over the last 1 s, below the limit of 1 (1 value)",
        ),
        (
            Limit("load", "change", above=3, window_seconds=2),
            [1, 9],
            "load change is 8 over the last 2 s, above the limit of 3 (2 values)",
        ),
        (
            Limit("load", "rate", below=3, window_seconds=2),
            [1, 9],
            "load rate is 1 value/s over the last 2 s, below the limit of 3 values/s",
        ),
        (
            Limit("load", "missing", above=1.5),
            [1, None],
            "load was last recorded 2 s ago, above the limit of 1.5 s",
        ),
        (
            Limit("load", "last", above=1),
            [math.nan],
            "load is nan, outside of every limit (expected: value at most 1)",
        ),
        (
            Limit("load", "max", below=0, above=1, window_seconds=7200),
            [2],
            "load maximum is 2 over the last 1 s, above the limit of 1 (1 value)",
        ),
    ],
)  # fmt: skip
def test_each_statistic_has_its_sentence(check: Limit, levels: list, message: str) -> None:
    """One sentence, with numbers and units in human form."""
    course, alerts = Course(), []
    for level in levels:
        if level is not None:
            course.record("load", [(course.now_ns, level)], "gauge", "1")
        alerts += check.judge(course.tick())
    assert [alert.message for alert in alerts] == [message]


def test_a_recovery_is_told() -> None:
    """How it is now, and how long it was not."""
    check, course = Limit("load", "max", above=5, window_seconds=1), Course()
    alerts = []
    for level in [6] * 125 + [3]:
        course.record("load", [(course.now_ns, level)], "gauge", "By")
        alerts += check.judge(course.tick())
    assert alerts[1].message == (
        "load maximum is 3 B over the last 1 s, back inside the limit after 2 min 5 s (expected: maximum at most 5 B)"
    )


def test_a_share_is_told_in_percent() -> None:
    """A utilization is a share of one."""
    check, course = Limit("system.cpu.utilization", "last", above=0.9), Course()
    course.record("system.cpu.utilization", [(course.now_ns, 0.95)], "gauge", "1")
    assert one_alert(check, course).seen == "95 %"


def test_silence_with_calls_in_flight_points_at_them() -> None:
    """They hang rather than stay away."""
    check, course = limit("predict", "missing", above=5), Course()
    open_calls = tuple(OpenCall("predict", 0, 0, age, 1) for age in (3.0, 40.0))
    alert = one_alert(check, course, seconds=41, open_calls=open_calls)
    assert alert.next_step == "See where predict hangs: 2 calls running, the oldest for 40 s."


def test_the_target_names_the_attributes_that_select_it() -> None:
    """Two limits on one metric are told apart."""
    check, course = Limit("load", "last", above=1, where={"queue": "a"}), Course()
    course.record("load", [(course.now_ns, 2.0)], "gauge", "1", queue="a")
    course.record("load", [(course.now_ns, 9.0)], "gauge", "1", queue="b")
    alert = one_alert(check, course)
    assert (alert.target, alert.seen) == ("load{queue=a}", "2")


def test_busy_and_idle_targets_have_next_steps_of_their_own() -> None:
    """Too much traffic is another question than too little."""
    found = []
    for options in ({"above": 2}, {"below": 5}):
        check, course = limit("predict", "rate", window_seconds=1, **options), Course()
        course.calls("predict", [0.1] * 3)
        found.append(one_alert(check, course).next_step)
    assert found == [
        "See whether the load is wanted, or callers try again and again.",
        "See whether what records predict still runs, and whether anything asks it to.",
    ]


def test_errors_without_a_type_point_at_the_summary() -> None:
    """A limit below is broken by too few errors."""
    check, course = limit("predict", "error_ratio", below=0.5), Course()
    course.calls("predict", [0.1])
    assert one_alert(check, course).next_step == "See the errors by type and place in the summary."


def test_evidence_leaves_out_what_is_not_known() -> None:
    """No None, no NaN."""
    check, course = Limit("load", "last", above=1), Course()
    course.record("load", [(course.now_ns, math.nan)], "gauge", "1")
    evidence = one_alert(check, course).evidence
    assert dict(evidence) == {
        "statistic": "last",
        "above": 1.0,
        "window_seconds": 60.0,
        "covered_seconds": 1.0,
        "lasted_seconds": 0.0,
        "count": 1,
        "failed": 0,
    }
