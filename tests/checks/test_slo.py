"""An objective: what counts as bad, how fast the budget goes, when that is told, what outlives a restart."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contracts.check import SECOND, STARTED_NS, WALL_NS, CheckContract, Course
from holter.checks.slo import SLO
from holter.errors import ConfigurationError
from holter.model import Alert, Reading, Series, Snapshot
from holter.names import CALL_DURATION, CALL_NAME, CALL_OUTCOME, ERROR_TYPE
from metricpages import needs_prometheus, promtool

MINUTE = 60.0


def slo(call: str = "predict", **options: Any) -> SLO:
    """Return an objective of a watched call."""
    return SLO(CALL_DURATION, where={CALL_NAME: call}, **{"objective": 0.99, **options})


class Pages(SLO):
    """The pages alone: tickets fire and resolve for themselves."""

    def judge(self, snapshot: Any) -> list[Alert]:
        """Leave the tickets out."""
        return [alert for alert in super().judge(snapshot) if alert.severity == "critical"]


class TestPages(CheckContract):
    """The pages of an objective are a check; its windows are shorter than a month, so that a few minutes tell."""

    ticks = 100

    def make(self, call: str) -> SLO:
        """Return a fresh objective."""
        return Pages(CALL_DURATION, where={CALL_NAME: call}, below=0.2, window_seconds=43_200.0)

    def good(self, course: Course, call: str) -> None:
        """All calls are quick."""
        course.calls(call, [0.1] * 5)

    def bad(self, course: Course, call: str) -> None:
        """Every second one is slow or fails."""
        course.calls(call, [0.1, 0.1, 0.4])
        course.calls(call, [0.1], "error", call)


class Counts:
    """Snapshots of counts alone, which cost next to nothing to make."""

    def __init__(self) -> None:
        self.now_ns = STARTED_NS
        call = {CALL_NAME: "predict"}
        self.series = {
            0: Series(0, CALL_DURATION, "s", "histogram", call),
            1: Series(1, CALL_DURATION, "s", "histogram", {**call, CALL_OUTCOME: "error", ERROR_TYPE: "ValueError"}, 0),
        }

    def tick(self, total: int, bad: int, seconds: float = MINUTE) -> Snapshot:
        """Return the snapshot of an interval with so many calls, of which so many failed."""
        self.now_ns += round(seconds * SECOND)
        interval = {0: Reading(total - bad), 1: Reading(bad)}
        return Snapshot(
            WALL_NS + self.now_ns, round(seconds * SECOND), self.series, interval, interval, monotonic_ns=self.now_ns
        )


def minutes(check: SLO, counts: Counts, calls: Iterable[tuple[int, int]]) -> list[Alert]:
    """Judge so many calls, of which so many failed, in each minute; return the alerts."""
    return [alert for total, bad in calls for alert in check.judge(counts.tick(total, bad))]


def figures(check: SLO) -> dict[tuple[str, str], float]:
    """Return the gauges that are shown, by name and window."""
    return {(name, str(attributes.get("holter.slo.window", ""))): value for name, value, attributes in check.figures()}


def test_what_counts_as_bad() -> None:
    """Errors, timeouts and slow calls do; expected errors do not; what its caller gave up counts neither way."""
    check, course = slo(below=0.2, objective=0.9), Course()
    course.calls("predict", [0.1] * 90 + [0.3] * 2)
    course.calls("predict", [0.1] * 3, "error", "ValueError")
    course.calls("predict", [0.3] * 1, "timeout", "TimeoutError")
    course.calls("predict", [0.1] * 4, "expected", "KeyError")
    course.calls("predict", [9.9] * 50, "cancelled")
    course.calls("predict", [9.9] * 50, "abandoned")
    course.calls("other", [9.9] * 50)
    check.judge(course.tick(MINUTE))
    assert {("holter.slo.error_budget", ""): pytest.approx(0.4)}.items() <= figures(check).items()
    assert "94 % of 100 calls good, 40 % of the error budget left (observed 1 min of 30 days)" in check.describe()


def test_of_a_histogram_without_outcomes_the_bound_decides() -> None:
    """Any metric may have an objective; an error.type makes a bad one of it."""
    check, course = SLO("http.server.request.duration", below=1.0, objective=0.5), Course()
    name = "http.server.request.duration"
    course.record(name, [(course.now_ns, value) for value in (0.1, 0.2, 3.0)], "histogram")
    course.record(name, [(course.now_ns, 0.1)], "histogram", error__type="500")
    check.judge(course.tick())
    assert 0.0 == figures(check)["holter.slo.error_budget", ""]


def test_burn_rates_are_shares_of_bad_over_what_is_allowed() -> None:
    """Of each window for itself: 3 % bad where 1 % is allowed are 3."""
    check, counts = slo(), Counts()
    minutes(check, counts, [(100, 0)] * 300 + [(100, 3)] * 60)
    assert {
        ("holter.slo.burn_rate", "1 h"): pytest.approx(3.0),
        ("holter.slo.burn_rate", "6 h"): pytest.approx(0.5),
        ("holter.slo.burn_rate", "3 d"): pytest.approx(0.5),
        ("holter.slo.error_budget", ""): pytest.approx(0.5),
    } == figures(check)


def test_a_page_says_how_fast_how_much_and_what_is_left() -> None:
    """In one sentence, with the next step; the ticket comes with it."""
    check, counts = slo(below=0.2), Counts()
    minutes(check, counts, [(100, 0)] * 60)
    told = {alert.severity: alert for alert in minutes(check, counts, [(100, 50)] * 18)}
    assert {"critical", "warning"} == told.keys()
    page = told["critical"]
    assert page.message.startswith("predict within 200 ms spends its error budget 6.52 times as fast")
    assert "450 calls of 6,900 were bad over the last 1 h 9 min" in page.message
    assert "times as fast as the objective of 99 % allows" in page.message
    assert "of 30 days)" in page.message
    assert "undo that first" in page.next_step
    assert page.evidence["bad"] >= 5
    assert 6.52 == pytest.approx(page.evidence["burn_rate"], abs=0.01)
    assert "less than 6 times the rate that spends the budget in 30 d" == page.expected
    assert "less than the rate that spends the budget in 30 d" == told["warning"].expected


def test_one_error_in_six_calls_is_no_page() -> None:
    """A burn rate of 16.7 that rests on one call; five of thirty are one."""
    check, counts = slo(), Counts()
    assert [] == minutes(check, counts, [(6, 1)])
    assert {"critical", "warning"} == {alert.severity for alert in minutes(check, counts, [(6, 1)] * 4)}


@needs_prometheus
def test_verdicts_are_those_of_rules_for_prometheus(tmp_path: Path) -> None:
    """On the same counters over four days, each minute but those in which they change: there a sample decides."""
    random = np.random.default_rng(7)
    story = [(600, 1)] * 400 + [(600, 400)] * 20 + [(600, 1)] * 500 + [(600, 50)] * 150 + [(600, 0)] * 900
    story += [(600, 8)] * 2000 + [(600, 300)] * 3 + [(600, 0)] * 1500
    calls = [(int(total + random.integers(-50, 50)), int(random.poisson(bad))) for total, bad in story]
    check, counts, firing, states = slo(), Counts(), {"critical": False, "warning": False}, []
    for total, bad in calls:
        for alert in minutes(check, counts, [(total, bad)]):
            firing[alert.severity] = alert.state == "firing"
        states.append(dict(firing))
    assert {(True, True), (False, True), (False, False)} <= {(one["critical"], one["warning"]) for one in states}

    def share(window: str) -> str:
        return f"(sum(rate(bad[{window}])) / sum(rate(total[{window}])))"

    page = " or ".join(
        f"({share(long)} > {rate} * 0.01 and {share(short)} > {rate} * 0.01)"
        for rate, long, short in (("14.4", "1h", "5m"), ("6", "6h", "30m"))
    )
    ticket = f"{share('3d')} > 0.01 and {share('6h')} > 0.01"
    rules = [{"alert": name, "expr": expr} for name, expr in (("critical", page), ("warning", ticket))]
    tests = []
    for name, margin in (("critical", 3), ("warning", 15)):
        flags = [one[name] for one in states]
        for minute in range(20, len(flags)):
            if len(set(flags[max(0, minute - margin) : minute + margin + 1])) == 1 and minute % 5 == 4:
                expected = [{"exp_labels": {}}] if flags[minute] else []
                tests.append({"eval_time": f"{minute + 1}m", "alertname": name, "exp_alerts": expected})
    series = [
        {"series": name, "values": " ".join(map(str, np.concatenate(([0], np.cumsum(values)))))}
        for name, values in (("total", [one[0] for one in calls]), ("bad", [one[1] for one in calls]))
    ]
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "slo", "rules": rules}]}))
    (tmp_path / "tests.yml").write_text(
        json.dumps(
            {
                "rule_files": ["rules.yml"],
                "evaluation_interval": "5m",
                "tests": [{"interval": "1m", "input_series": series, "alert_rule_test": tests}],
            }
        )
    )
    done = promtool("test", "rules", tmp_path / "tests.yml")
    assert 0 == done.returncode, (done.stdout + done.stderr)[:3000]
    assert len(tests) > 1000


def test_twenty_restarts_change_neither_budget_nor_alerts() -> None:
    """In a month: what is saved is all that there is to know."""
    random = np.random.default_rng(11)
    story = [(100, int(random.poisson(40 if hour % 90 in (7, 8) else 0.5))) for hour in range(720)]
    alerts: list[list[Alert]] = [[], []]
    once, counts = slo(), Counts()
    restarted, others, interrupted = slo(), Counts(), 0
    for hour, (total, bad) in enumerate(story):
        for check, known, heard in ((once, counts, alerts[0]), (restarted, others, alerts[1])):
            heard.extend(check.judge(known.tick(total, bad, 3_600.0)))
        if hour % 36 == 8:
            saved = json.loads(json.dumps(restarted.save()))
            interrupted += bool(saved["alerts"])
            restarted = slo()
            restarted.load(saved, 1.0)
    assert (len(alerts[0]) > 4, interrupted > 1) == (True, True)
    assert alerts[0] == alerts[1]
    assert figures(once) == figures(restarted)
    assert "observed" not in once.describe()


@pytest.mark.parametrize("window_seconds", [1.0, 600.0, 1e7])
def test_windows_of_any_length_outlive_a_restart(window_seconds: float) -> None:
    """Each under its own length, be it a part of a second."""
    check, counts = slo(window_seconds=window_seconds), Counts()
    for bad in (0, 3, 1, 0, 2):
        check.judge(counts.tick(10, bad, window_seconds / 7_000))
    other = slo(window_seconds=window_seconds)
    other.load(json.loads(json.dumps(check.save())), 0.0)
    assert figures(check) == figures(other)


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"windows": {}, "alerts": {}},
        {"windows": [], "alerts": {}},
        {"windows": None, "alerts": None},
    ],
)
def test_a_state_that_is_none_is_refused_and_harms_nothing(state: Any) -> None:
    """The monitor counts that, and the objective begins anew."""
    check, counts = slo(), Counts()
    with pytest.raises((ValueError, KeyError, TypeError, AttributeError)):
        check.load(state, 0.0)
    minutes(check, counts, [(100, 1)])
    assert figures(check)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"objective": 1.0}, "objective must be a share of 1"),
        ({"objective": 99}, "as 0.99 for 99 %"),
        ({"objective": "99 %"}, "objective must be a finite number"),
        ({"below": 0}, "below must be greater than 0"),
        ({"window_seconds": -1}, "window_seconds must be greater than 0"),
        ({"name": ""}, "name must be a str"),
        ({"where": 3}, "where must map"),
    ],
)
def test_what_cannot_work_is_refused(options: dict, words: str) -> None:
    """With what was expected and what came."""
    with pytest.raises(ConfigurationError, match=words):
        SLO(CALL_DURATION, **options)
