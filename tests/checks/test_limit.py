"""A limit on one figure: what it judges, when it fires, when it resolves, what it says."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.check import SECOND, STARTED_NS, CheckContract, Course
from holter.checks.limit import Limit
from holter.errors import ConfigurationError
from holter.model import STATISTICS, Alert, OpenCall, Snapshot
from holter.names import CALL_DURATION


def limit(call: str, statistic: str, **options: Any) -> Limit:
    """Return a limit on a watched call."""
    return Limit(CALL_DURATION, statistic, where={"holter.call.name": call}, **options)


class TestLatency(CheckContract):
    """A limit on a quantile is a check."""

    def make(self, call: str) -> Limit:
        """Return a fresh limit."""
        return limit(call, "p99", above=0.2, clear_at=0.15, for_seconds=3, minimum_calls=5)

    def good(self, course: Course, call: str) -> None:
        """Record what is inside."""
        course.calls(call, [0.1])

    def bad(self, course: Course, call: str) -> None:
        """Record what is outside."""
        course.spans(call, call, [0.3])
        course.calls(call, [0.1, 0.4])


class TestErrors(CheckContract):
    """A limit on the share of errors is a check."""

    def make(self, call: str) -> Limit:
        """Return a fresh limit."""
        return limit(call, "error_ratio", above=0.1)

    def good(self, course: Course, call: str) -> None:
        """Record what is inside."""
        course.calls(call, [0.1])

    def bad(self, course: Course, call: str) -> None:
        """Record what is outside."""
        course.calls(call, [0.1], "error", call)


class TestTraffic(CheckContract):
    """A limit on the rate is a check."""

    def make(self, call: str) -> Limit:
        """Return a fresh limit."""
        return limit(call, "rate", below=0.5, severity="critical")

    def good(self, course: Course, call: str) -> None:
        """Record what is inside."""
        course.calls(call, [0.1])

    def bad(self, course: Course, call: str) -> None:
        """Nothing comes."""


class TestSilence(CheckContract):
    """A limit on silence is a check."""

    def make(self, call: str) -> Limit:
        """Return a fresh limit."""
        return limit(call, "missing", above=30)

    good, bad = TestTraffic.good, TestTraffic.bad


class TestGauge(CheckContract):
    """A band around a gauge is a check, and NaN is outside of it."""

    def make(self, call: str) -> Limit:
        """Return a fresh limit."""
        return Limit(f"{call}.level", "last", above=1, below=0)

    def good(self, course: Course, call: str) -> None:
        """Record what is inside."""
        course.record(f"{call}.level", [(course.now_ns, 0.5)], "gauge", "1")

    def bad(self, course: Course, call: str) -> None:
        """Record what is outside."""
        course.record(f"{call}.level", [(course.now_ns, math.nan)], "gauge", "1")


# -- the window against numpy on the raw values

value_lists = st.lists(
    st.tuples(
        st.floats(min_value=0, max_value=0.999),  # when in its interval
        st.floats(min_value=1e-4, max_value=50.0),
        st.sampled_from(["", "", "error", "timeout", "expected"]),
    ),
    max_size=6,
)
stories = st.lists(st.tuples(st.integers(min_value=500, max_value=3000), value_lists), min_size=1, max_size=40)


def tell(story: list) -> tuple[list[Snapshot], list[dict[str, np.ndarray]]]:
    """Return a snapshot for each interval of *story*, and its raw values."""
    course, snapshots, raw = Course(), [], []
    for length_ms, values in story:
        began, rows = course.now_ns, []
        for place, (share, value, outcome) in enumerate(sorted(values)):
            at = began + round(share * length_ms * 1e6) + place  # no two at one moment
            named = {"holter__call__outcome": outcome, "error__type": "ValueError"} if outcome else {}
            course.record(CALL_DURATION, [(at, value)], "histogram", holter__call__name="predict", **named)
            course.record(CALL_DURATION, [(at, 1e6)], "histogram", holter__call__name="another")
            rows.append((at, value, outcome in ("error", "timeout")))
        snapshots.append(course.tick(length_ms / 1000))
        columns = list(zip(*rows, strict=True)) or [(), (), ()]
        raw.append({
            "end": course.now_ns, "seconds": length_ms / 1000, "time": np.array(columns[0], np.int64),
            "value": np.array(columns[1], float), "failed": np.array(columns[2], bool),
        })  # fmt: skip
    return snapshots, raw


def expected_value(statistic: str, raw: list, now_ns: int, window_ns: int) -> float | None:
    """Return what numpy makes of the raw values in the window."""
    inside = [row for row in raw if now_ns - window_ns < row["end"] <= now_ns]
    values, times, failed = (np.concatenate([row[key] for row in inside]) for key in ("value", "time", "failed"))
    seconds = sum(row["seconds"] for row in inside)
    if statistic == "missing":
        earlier = np.concatenate([row["time"] for row in raw if row["end"] <= now_ns])
        return (now_ns - (earlier.max() if earlier.size else STARTED_NS)) / 1e9
    if statistic in ("rate", "range", "change") and seconds * 1e9 < window_ns - 1:
        return None
    if statistic == "rate":
        return values.size / seconds
    if statistic == "last":
        everything = [row for row in raw if row["end"] <= now_ns and row["value"].size]
        return everything[-1]["value"][-1] if everything else None
    if not values.size:
        return None
    order = np.argsort(times, kind="stable")
    by_name = {
        "mean": np.mean,
        "max": np.max,
        "error_ratio": lambda _: failed.mean(),
        "range": np.ptp,
        "change": lambda values: values[order][-1] - values[order][0],
    }
    if statistic in by_name:
        return float(by_name[statistic](values))
    return float(np.quantile(values, float(statistic[1:]) / 100, method="inverted_cdf"))


@pytest.mark.parametrize(
    "statistic",
    [*STATISTICS, "p0", "p50", "p90", "p99", "p99.9", "p100"],
)
@given(story=stories, window_ms=st.integers(min_value=1, max_value=20_000))
@settings(max_examples=40)
def test_a_window_is_what_numpy_makes_of_its_raw_values(statistic: str, story: list, window_ms: int) -> None:
    """Each statistic, at each reading, wherever the edges fall; quantiles within the histogram's error."""
    snapshots, raw = tell(story)
    check = limit("predict", statistic, above=1e9, window_seconds=window_ms / 1000)
    for snapshot in snapshots:
        seen = check._look(snapshot)
        expected = expected_value(statistic, raw, snapshot.monotonic_ns, window_ms * 1_000_000)
        if expected is None:
            assert seen.value is None
            continue
        held = seen.statistics.interval.histogram
        error = held.relative_error if statistic.startswith("p") else 1e-9
        assert seen.value == pytest.approx(expected, rel=error * (1 + 1e-9), abs=1e-9)


@given(
    growth=st.lists(st.tuples(st.integers(100, 3000), st.integers(0, 1000)), min_size=1, max_size=40),
    window_ms=st.integers(1, 20_000),
)
def test_a_counter_is_judged_by_its_growth_and_its_total(growth: list, window_ms: int) -> None:
    """Its rate is what it grew in the window, its last value the total since the start."""
    course, ended = Course(), []
    rate, last = (Limit("app.hits", which, above=1e9, window_seconds=window_ms / 1000) for which in ("rate", "last"))
    for length_ms, grown in growth:
        course.record("app.hits", [(course.now_ns, float(grown))], "counter", "{hit}")
        snapshot = course.tick(length_ms / 1000)
        ended.append((course.now_ns, length_ms, grown))
        inside = [row for row in ended if row[0] > course.now_ns - window_ms * 1_000_000]
        milliseconds = sum(row[1] for row in inside)
        expected = 1000 * sum(row[2] for row in inside) / milliseconds if milliseconds >= window_ms else None
        assert rate._look(snapshot).value == (expected if expected is None else pytest.approx(expected))
        assert last._look(snapshot).value == sum(row[2] for row in ended)


# -- when it fires and when it resolves


def states(check: Limit, levels: list[float | None], **ticks: Any) -> list[str]:
    """Return what came of one reading of a gauge a second: "firing", "resolved" or "" for no alert."""
    course, found = Course(), []
    for level in levels:
        if level is not None:
            course.record("load", [(course.now_ns, level)], "gauge", "1")
        alerts = check.judge(course.tick(**ticks))
        assert len(alerts) <= 1
        found.append(alerts[0].state if alerts else "")
    return found


def gauge_limit(**options: Any) -> Limit:
    """Return a limit on the newest value of a gauge."""
    return Limit("load", "max", window_seconds=1, **options)


def test_a_value_on_the_limit_is_inside() -> None:
    """Beyond means beyond."""
    assert states(gauge_limit(above=5), [5, 5.1, 5]) == ["", "firing", "resolved"]
    assert states(gauge_limit(below=5), [5, 4.9, 5]) == ["", "firing", "resolved"]


def test_both_limits_are_a_band() -> None:
    """It fires on either side; passing from one to the other is one incident."""
    assert states(gauge_limit(above=5, below=2), [3, 6, 1, 3, 1]) == ["", "firing", "", "resolved", "firing"]


def test_it_resolves_only_when_it_is_back_at_the_clear_level() -> None:
    """Between limit and clear level the state stays what it was."""
    assert states(gauge_limit(above=5, clear_at=3), [4, 6, 4, 5, 3, 4]) == ["", "firing", "", "", "resolved", ""]
    assert states(gauge_limit(below=5, clear_at=7), [6, 4, 6, 5, 7, 6]) == ["", "firing", "", "", "resolved", ""]


def test_it_fires_only_when_it_lasts() -> None:
    """One reading inside, or none at all, begins the count anew."""
    levels = [6, 6, 6, 1, 6, 6, 6, 6, 6]
    assert states(gauge_limit(above=5, for_seconds=3), levels) == [""] * 7 + ["firing", ""]
    assert states(gauge_limit(above=5, for_seconds=3), [6, 6, 6, None, 6, 6, 6, 6]) == [""] * 7 + ["firing"]


def test_an_alert_began_when_the_value_left_its_bounds() -> None:
    """Not when it had lasted long enough to fire."""
    check, course, alerts = gauge_limit(above=5, for_seconds=10), Course(), []
    for _ in range(12):
        course.record("load", [(course.now_ns, 6.0)], "gauge", "1")
        alerts += check.judge(course.tick())
    assert alerts[0].since_ns == course.tick(0).time_ns - 11 * SECOND
    assert alerts[0].evidence["lasted_seconds"] == 10


def test_few_calls_are_not_judged() -> None:
    """They neither fire an alert nor resolve one."""
    check, course, found = limit("predict", "mean", above=1, minimum_calls=3, window_seconds=1), Course(), []
    for durations in ([9, 9], [9, 9, 9], [0.1, 0.1], [0.1, 0.1, 0.1]):
        course.calls("predict", durations)
        found.append([alert.state for alert in check.judge(course.tick())])
    assert found == [[], ["firing"], [], ["resolved"]]


def test_calls_of_all_outcomes_count() -> None:
    """A call that fails slowly is a slow call."""
    check, course = limit("predict", "max", above=1), Course()
    course.calls("predict", [0.1])
    course.calls("predict", [2.0], "error", "ValueError")
    assert [alert.evidence["count"] for alert in check.judge(course.tick())] == [2]


def test_an_alert_ends_in_silence_and_says_that_it_is_no_recovery() -> None:
    """When the window has become empty there is nothing left to complain of, and nothing to praise."""
    check, course = limit("predict", "p99", above=0.2, window_seconds=10), Course()
    course.calls("predict", [0.4])
    alerts = [alert for _ in range(30) for alert in check.judge(course.tick())]
    assert [alert.state for alert in alerts] == ["firing", "resolved"]
    assert alerts[1].evidence["lasted_seconds"] == 10
    assert alerts[1].message == (
        "predict: nothing was recorded over the last 10 s, so its alert ends after 10 s; "
        "that is silence, not a recovery"
    )


def test_an_alert_stays_while_calls_hang() -> None:
    """Calls that have not come back are no reason to call off the alarm; those of others do not count."""
    check, course = limit("predict", "p99", above=0.2, window_seconds=10), Course()
    course.calls("predict", [0.4])
    hanging, other = (OpenCall(name, 0, 0, 20.0, 1) for name in ("predict", "another"))
    fired = check.judge(course.tick())
    silent = [check.judge(course.tick(open_calls=(other, hanging))) for _ in range(30)]
    resolved = check.judge(course.tick(open_calls=(other,)))
    assert [[alert.state for alert in alerts] for alerts in [fired, *silent, resolved]] == [
        ["firing"],
        *[[]] * 30,
        ["resolved"],
    ]


def test_a_gauge_keeps_its_last_value() -> None:
    """What was set once and never again still stands, so its alert does too."""
    assert states(Limit("load", "last", above=5, window_seconds=2), [6] + [None] * 9) == ["firing"] + [""] * 9


@pytest.mark.parametrize("statistic", ["rate", "range", "change"])
def test_the_first_window_must_be_whole(statistic: str) -> None:
    """A program that has just started is not idle, nor is a gauge that has just appeared stuck."""
    found = states(Limit("load", statistic, below=2, window_seconds=5), [1] * 7)
    assert found == ["", "", "", "", "firing", "", ""]


def test_what_was_never_recorded_is_missing_since_the_start() -> None:
    """A metric that nobody records, or a name that is misspelt, falls silent at the start."""
    check, course = Limit("no.such.metric", "missing", above=5), Course()
    alerts = [alert for _ in range(9) for alert in check.judge(course.tick())]
    assert [alert.message for alert in alerts] == [
        "no.such.metric has not been recorded in the 6 s since the start, above the limit of 5 s"
    ]


def test_what_was_never_called_has_the_rate_zero() -> None:
    """Traffic that never came is traffic below its limit."""
    check, course = limit("predict", "rate", below=0.1, window_seconds=5), Course()
    assert [alert.state for _ in range(9) for alert in check.judge(course.tick())] == ["firing"]


# -- which one it is


def test_a_watched_function_is_a_target() -> None:
    """`watch` leaves the name of its call on it."""

    def predict() -> None:
        """Do nothing."""

    predict.__holter_call__ = "app.predict"
    check, course = Limit(predict, "mean", above=0.2), Course()
    course.calls("app.predict", [1.0])
    assert [alert.target for alert in check.judge(course.tick())] == ["app.predict"]


def test_another_run_begins_anew() -> None:
    """A forked child, or a second start, has a window and alerts of its own: nothing of its parent's is left."""
    check, course = limit("predict", "max", above=1, window_seconds=60), Course()

    def judge(seconds: list[float], instance: str) -> list[str]:
        course.calls("predict", seconds)
        snapshot = course.tick()
        return [
            alert.state
            for alert in check.judge(replace(snapshot, process=replace(snapshot.process, instance=instance)))
        ]

    assert ["firing"] == judge([2.0], "parent")
    assert [[], ["firing"], []] == [judge([0.5], "child"), judge([2.0], "child"), judge([0.5], "child")]


def test_two_limits_that_fire_together_have_ids_of_their_own() -> None:
    """The id depends on all settings and on when it began."""
    course = Course()
    course.calls("predict", [1.0])
    snapshot = course.tick()
    checks = [
        limit("predict", "max", above=above, severity=kind) for above in (0.1, 0.2) for kind in ("info", "critical")
    ]
    ids = [alert.id for check in checks for alert in check.judge(snapshot)]
    assert len(set(ids)) == 4


def test_limits_with_equal_settings_read_equal() -> None:
    """The repr has all settings, so that a monitor can tell whether it was given the same once more."""
    assert repr(limit("predict", "p99", above=np.float64(0.2))) == repr(limit("predict", "p99", above=0.2))
    assert repr(limit("predict", "p99", above=0.2)) != repr(limit("predict", "p99", above=0.2, for_seconds=1))


# -- what cannot work


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        ((print, "p99"), {"above": 1}, "expected a watched function or a metric's name, got builtin_function"),
        (("", "p99"), {"above": 1}, "got an empty name"),
        ((CALL_DURATION, "p99"), {}, "give above=, below= or both"),
        ((CALL_DURATION, "p101"), {"above": 1}, "statistic must be"),
        ((CALL_DURATION, "p99.9.9"), {"above": 1}, "statistic must be"),
        ((CALL_DURATION, "p-1"), {"above": 1}, "statistic must be"),
        ((CALL_DURATION, "median"), {"above": 1}, "a quantile like \"p99.9\", got 'median'"),
        ((CALL_DURATION, 99), {"above": 1}, "statistic must be"),
        ((CALL_DURATION, "p99"), {"above": math.nan}, "above must be a finite number"),
        ((CALL_DURATION, "p99"), {"below": "1"}, "below must be a finite number"),
        ((CALL_DURATION, "p99"), {"above": 1, "below": 2}, "every value would be outside"),
        ((CALL_DURATION, "p99"), {"above": 1, "clear_at": 2}, "clear_at must lie inside the limit"),
        ((CALL_DURATION, "p99"), {"below": 1, "clear_at": 0}, "clear_at must lie inside the limit"),
        ((CALL_DURATION, "p99"), {"above": 2, "below": 1, "clear_at": 1.5}, "clear_at needs one limit"),
        ((CALL_DURATION, "p99"), {"above": 2, "clear_at": math.inf}, "clear_at must be a finite number"),
        ((CALL_DURATION, "p99"), {"above": 1, "window_seconds": 0}, "window_seconds must be greater than 0"),
        ((CALL_DURATION, "p99"), {"above": 1, "window_seconds": math.inf}, "window_seconds must be a finite number"),
        ((CALL_DURATION, "p99"), {"above": 1, "for_seconds": -1}, "for_seconds must be 0 or more"),
        ((CALL_DURATION, "p99"), {"above": 1, "minimum_calls": 0}, "minimum_calls must be a whole number"),
        ((CALL_DURATION, "p99"), {"above": 1, "minimum_calls": 2.0}, "minimum_calls must be a whole number"),
        ((CALL_DURATION, "rate"), {"above": 1, "minimum_calls": 2}, "minimum_calls has no meaning for 'rate'"),
        ((CALL_DURATION, "p99"), {"above": 1, "severity": "page"}, "severity must be one of info, warning, critical"),
        ((CALL_DURATION, "p99"), {"above": 1, "where": [1]}, "where must map attribute names"),
        ((CALL_DURATION, "p99"), {"above": 1, "where": {"a": [1]}}, "where must map attribute names"),
    ],
)
def test_arguments_that_cannot_work_are_refused(arguments: tuple, options: dict, words: str) -> None:
    """At construction, with what was expected and what came."""
    with pytest.raises(ConfigurationError, match=re.escape(words)):
        Limit(*arguments, **options)


# -- what outlives the process


def firing(check: Limit, course: Course) -> Alert:
    """Have *check* fire, and return its alert."""
    course.calls("predict", [0.5])
    (alert,) = check.judge(course.tick())
    return alert


def next_process(check: Limit, gap_seconds: float = 5.0) -> Limit:
    """Return what goes on from it."""
    other = limit("predict", "p99", above=0.2, window_seconds=10)
    assert (gap_seconds <= 60) == other.load(json.loads(json.dumps(check.save())), gap_seconds)
    return other


def test_an_alert_that_fires_goes_on_in_the_next_process() -> None:
    """It does not fire again, and resolves with the id and the beginning that it had."""
    first, course = limit("predict", "p99", above=0.2, window_seconds=10), Course()
    alert = firing(first, course)
    second = next_process(first)
    course.calls("predict", [0.4])
    assert [] == second.judge(course.tick())
    assert second.save() == first.save()
    for _ in range(12):
        course.calls("predict", [0.1])
        alerts = second.judge(course.tick())
        if alerts:
            break
    (resolved,) = alerts
    assert ("resolved", alert.id, alert.since_ns) == (resolved.state, resolved.id, resolved.since_ns)
    assert {"firing_since_ns": None} == second.save()


def test_a_process_that_has_seen_nothing_yet_proves_nothing() -> None:
    """The alert stays for a window, and then it says that this is no recovery."""
    first, course = limit("predict", "p99", above=0.2, window_seconds=10), Course()
    firing(first, course)
    course.tick()
    second = next_process(first)
    alerts = [second.judge(course.tick()) for _ in range(12)]
    assert [[]] * 10 == alerts[:10]
    (resolved,) = alerts[10]
    assert "resolved" == resolved.state


def test_of_a_process_that_ended_long_ago_nothing_is_known() -> None:
    """More than a minute and the window: it begins anew, as a program does that is run now and then."""
    first, course = limit("predict", "p99", above=0.2, window_seconds=10), Course()
    firing(first, course)
    second = next_process(first, 61.0)
    assert "firing" == firing(second, course).state
    assert limit("predict", "p99", above=0.2, window_seconds=600).load(first.save(), 600.0)


def test_one_that_does_not_fire_has_nothing_to_hand_on() -> None:
    """The window is too short for that."""
    first, course = limit("predict", "p99", above=0.2, window_seconds=10), Course()
    course.calls("predict", [0.1])
    first.judge(course.tick())
    second = next_process(first)
    assert "firing" == firing(second, course).state


@pytest.mark.parametrize("state", [{}, {"firing_since_ns": "x"}, {"firing_since_ns": True}, None, []])
def test_a_state_that_is_none_is_refused(state: Any) -> None:
    """The monitor counts that, and the limit begins anew."""
    check = limit("predict", "p99", above=0.2)
    with pytest.raises((ValueError, KeyError, TypeError)):
        check.load(state, 0.0)
    assert "firing" == firing(check, Course()).state
