"""Anomalies of a service: what is told, when, how often, and what a restart keeps."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from contracts.check import CheckContract, Course
from holter.checks.anomaly import Anomaly
from holter.errors import ConfigurationError
from holter.metric import Series
from holter.model import Alert, Process, Reading, Snapshot
from holter.signals import Key, Value
from holter.surprise.incident import Incident
from holter.surprise.rhythm import Alarm
from simulation import World

PROCESS = Process("sentiment")


class TestAnomaly(CheckContract):
    """All of a service is a check; what is usual has to be learnt first."""

    ticks = 4_000

    def make(self, call: str) -> Anomaly:
        """Return a fresh one, which looks at everything."""
        return Anomaly(false_alarms_per_week=5.0)

    def good(self, course: Course, call: str) -> None:
        """Calls as quick as ever, in one second of ten."""
        if course.now_ns // 1_000_000_000 % 10 == 0:
            course.calls(call, [0.1, 0.1, 0.11])

    def bad(self, course: Course, call: str) -> None:
        """All of them four times as slow."""
        if course.now_ns // 1_000_000_000 % 10 == 0:
            course.calls(call, [0.4, 0.4, 0.44])


class Services:
    """Calls of some names, each ten seconds, of which a test changes what it likes."""

    def __init__(self, names: int = 3, seed: int = 1) -> None:
        self.random = np.random.default_rng(seed)
        self.world = World(10.0, PROCESS, totals=False)
        self.names = [f"predict{index}" for index in range(names)]

    def steps(
        self,
        check: Anomaly,
        count: int,
        *,
        slower: float = 1.0,
        calls: float = 60.0,
        errors: float = 0.01,
        which: int = 0,
    ) -> list[Alert]:
        """Judge so many intervals in which the first *which* names, or all, are as said; return the alerts."""
        alerts = []
        for _ in range(count):
            for index, name in enumerate(self.names):
                is_hit = not which or index < which
                number = int(self.random.poisson(calls if is_hit else 60.0))
                failed = int(self.random.binomial(number, errors if is_hit else 0.01))
                took = 0.02 * self.random.lognormal(0, 0.4, number) * (slower if is_hit else 1.0)
                self.world.call(name, took[failed:])
                if failed:
                    self.world.call(name, took[:failed], "ValueError")
            alerts += check.judge(self.world.snapshot())
        return alerts


@pytest.fixture(scope="module")
def lesson() -> str:
    """What was learnt of three calls in four hours, as JSON."""
    check, services = Anomaly(), Services()
    assert [] == services.steps(check, 1_500)
    return json.dumps(check.save())


def resumed(lesson: str) -> Anomaly:
    """Return a check that goes on from there."""
    check = Anomaly()
    check.load(json.loads(lesson), 10.0)
    return check


@pytest.mark.parametrize(
    ("change", "target", "kinds"),
    [
        ({"slower": 2.0}, ("mean of", "p50 of", "p90 of"), ("rise", "above")),
        ({"errors": 0.2}, ("error ratio of",), ("rise", "above")),
        ({"calls": 150.0}, ("rate of",), ("rise", "above", "scatter")),
        ({"calls": 5.0}, ("rate of",), ("fall", "below", "scatter")),
    ],
    ids=["slower", "errors", "more traffic", "less traffic"],
)
def test_what_changes_is_told_once(
    lesson: str, change: dict[str, Any], target: tuple[str, ...], kinds: tuple[str, ...]
) -> None:
    """Within ten minutes one incident, of the signal that changed, with what was expected and what is seen."""
    check = resumed(lesson)
    alerts = Services(seed=2).steps(check, 60, **change)
    assert ["firing"] == [alert.state for alert in alerts]
    assert alerts[0].target.startswith(target)
    assert alerts[0].evidence["kind"] in kinds
    evidence = alerts[0].evidence
    assert evidence["steps_between"] > 1e4
    assert evidence["once_in_seconds_low"] < evidence["once_in_seconds"] < evidence["once_in_seconds_high"]
    assert "while nothing changes, something as rare comes once in " in alerts[0].message
    assert alerts[0].expected in alerts[0].message
    assert alerts[0].seen in alerts[0].message


@pytest.fixture(scope="module")
def day() -> tuple[str, Services]:
    """What was learnt of one call in 26 hours, four times as busy at noon as at midnight, and its service."""
    check, services = Anomaly(), Services(1)
    for step in range(26 * 6):
        services.steps(check, 60, calls=37.5 - 22.5 * math.cos(2 * math.pi * step / (24 * 6)))
    return json.dumps(check.save()), services


def test_that_calls_have_stopped_is_told_within_two_minutes(day: tuple[str, Services]) -> None:
    """On the second day of traffic that follows the hours, of which little else is told, and right after a restart."""
    learnt, services = day
    check = resumed(learnt)
    assert [] == services.steps(check, 3, calls=20.0)
    silent = [services.steps(check, 1, calls=0.0) for _ in range(12)]
    told = next(place for place, alerts in enumerate(silent) if alerts)
    (alert,) = silent[told]
    assert ("time without finished calls of predict0", "0 s") == (alert.target, alert.expected)
    assert 10.0 * (told + 1) == alert.evidence["value"]
    assert "time without finished calls of predict0 has been higher than usual for" in alert.message
    # For hours, also of another process.
    for _ in range(2):
        assert [] == [one for one in services.steps(check, 500, calls=0.0) if one.id == alert.id]
        check = resumed(json.dumps(check.save()))
    ends = services.steps(check, 120, calls=20.0)
    assert [(alert.id, "resolved")] == [(one.id, one.state) for one in ends if one.id == alert.id]


def test_signals_that_move_together_are_one_incident(lesson: str) -> None:
    """Of three calls that all become slow, one tells, and names the others."""
    check = resumed(lesson)
    alerts = Services(seed=3).steps(check, 90, slower=3.0)
    assert 1 == len(alerts)
    assert all(name in alerts[0].message for name in alerts[0].related[:3])
    later = check._incidents[0].keys
    assert {"predict0", "predict1", "predict2"} <= {value for key in later for _, value in key.attributes}


def test_it_ends_when_nothing_moves(lesson: str) -> None:
    """Under the id of its beginning; within the hour after all is as usual again."""
    check, services = resumed(lesson), Services(seed=4)
    fired = services.steps(check, 60, slower=3.0)
    ended = services.steps(check, 400)
    assert [(fired[0].id, "resolved")] == [(alert.id, alert.state) for alert in ended]


def test_faster_is_no_alarm(lesson: str) -> None:
    """Nor are fewer errors."""
    assert [] == Services(seed=5).steps(resumed(lesson), 300, slower=0.5, errors=0.0)


def test_nothing_is_told_while_nothing_changes(lesson: str) -> None:
    """In half a day of three calls with 18 signals."""
    check = resumed(lesson)
    assert [] == Services(seed=6).steps(check, 2_000)
    assert "no incidents so far" in check.describe()


def test_a_restart_goes_on_and_a_first_start_learns(lesson: str) -> None:
    """What was learnt finds at once what a fresh check takes for the usual."""
    old, new = resumed(lesson), Anomaly()
    services = [Services(seed=7), Services(seed=7)]
    assert (1, 0) == tuple(
        len(one.steps(check, 60, slower=3.0)) for one, check in zip(services, (old, new), strict=True)
    )
    assert "learning" in new.describe() or "judging" in new.describe()


def test_an_incident_goes_on_over_a_restart(lesson: str) -> None:
    """It resolves in the next process, under its own id."""
    check, services = resumed(lesson), Services(seed=8)
    fired = services.steps(check, 60, slower=3.0)
    check = resumed(json.dumps(check.save()))
    ended = services.steps(check, 400)
    assert [(fired[0].id, "resolved")] == [(alert.id, alert.state) for alert in ended]


@pytest.mark.parametrize("step_seconds", [10.0, 60.0])
def test_it_ends_when_the_rhythm_that_told_of_it_has_been_quiet_for_ten_minutes_or_thirty_steps(
    lesson: str, step_seconds: float
) -> None:
    """What only the rhythm of minutes tells of is nothing to the other one; after a restart that begins anew."""
    state, services = json.loads(lesson), Services(seed=3)
    now = services.world.snapshot().time_ns / 1e9 - 7_200.0
    alarm = Alarm(0, "fall", 600.0, (1e6, 1e7, 1e8), step_seconds, (1.0, 2.0))
    gone = Incident(Key("app.load", (), "value"), alarm, Value(0.5, 0.5, "1", 0), 10, now)
    check = resumed(json.dumps({**state, "incidents": [gone.save()]}))
    steps = 0
    while check._incidents and steps < 400:
        services.steps(check, 1)
        steps += 1
    assert steps == pytest.approx(max(30 * step_seconds, 600.0) / 10.0, abs=2)


def test_what_the_minutes_told_of_goes_on_as_long_as_they_say_so(lesson: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the ten seconds it may be nothing all the while."""
    state, services = json.loads(lesson), Services(seed=3)
    alarm = Alarm(0, "fall", 600.0, (1e6, 1e7, 1e8), 60.0, (1.0, 2.0))
    key, now = resumed(lesson)._places.key(0), services.world.snapshot().time_ns / 1e9 - 7_200.0
    incident = Incident(key, alarm, Value(0.5, 0.5, "1", 0), 10, now)
    check = resumed(json.dumps({**state, "incidents": [incident.save()]}))
    fine, coarse = check._rhythms
    moved = [0]
    monkeypatch.setattr(fine, "moved", list)
    monkeypatch.setattr(coarse, "moved", lambda: moved)
    assert [] == services.steps(check, 300)
    moved.clear()
    assert ["resolved"] == [alert.state for alert in services.steps(check, 190)]


def test_states_are_shown() -> None:
    """Learning first, judging after 64 values."""
    check, services = Anomaly(), Services(1)
    services.steps(check, 10)
    assert {"learning": 6.0, "judging": 0.0, "unjudgeable": 0.0} == states(check)
    services.steps(check, 150)
    assert states(check)["judging"] == 5.0
    assert "5 signals judging; asked: 1 false alarms a week" in check.describe()


def states(check: Anomaly) -> dict[str, float]:
    """Return how many signals are in which state."""
    return {
        str(attributes["holter.anomaly.state"]): value
        for name, value, attributes in check.figures()
        if name == "holter.anomaly.signals"
    }


@pytest.mark.parametrize(
    "record", [lambda world, one: world.values(one, [1.0]), lambda world, one: world.grow(one, 5.0)]
)
@pytest.mark.parametrize(
    "name", ["holter.records.written", "holter.slo.burn_rate", "holter.training.epoch", "process.uptime"]
)
def test_what_holter_says_of_itself_is_no_signal(name: str, record: Callable[[World, int], None]) -> None:
    """Nor what only ever rises."""
    check, world = Anomaly(), World(10.0, PROCESS, totals=False)
    one = world.one(name, "gauge" if record.__code__.co_names[0] == "values" else "counter", "1")
    for _ in range(3):
        record(world, one)
        check.judge(world.snapshot())
    assert "no signals yet" in check.describe()


def test_more_than_the_budget_explains_loosens_the_thresholds_and_says_so_once(lesson: str) -> None:
    """With what it is loosened by; when the week is within the budget again that is told too."""
    check, services = resumed(lesson), Services(seed=9)
    alerts = []
    for slower in (3.0, 8.0, 20.0, 60.0, 200.0):
        alerts += services.steps(check, 70, slower=slower)
        alerts += services.steps(check, 150)
    told = [alert for alert in alerts if alert.target == "false alarms"]
    assert ["firing"] == [alert.state for alert in told]
    assert told[0].evidence["factor"] > 2
    assert "thresholds loosened" in check.describe()


def test_what_does_not_fit_is_said() -> None:
    """Of more signals than outlive a restart, those that are known for longest do; how many is told."""
    random, check = np.random.default_rng(10), Anomaly()
    series = {key: Series(key, f"app.gauge{key}", "1", "gauge") for key in range(10_000)}
    for step in range(100):
        alive = series if step > 5 else {9_999: series[9_999]}
        readings = {
            key: Reading(1, 1.0, last=value)
            for key, value in zip(alive, random.normal(size=len(alive)).tolist(), strict=True)
        }
        check.judge(Snapshot((1_790_000_000 + 10 * step) * 10**9, 10**10, alive, {}, readings))
    state = check.save()
    assert len(json.dumps(state, separators=(",", ":"))) < 2**22
    assert "app.gauge9999" == state["series"][0][0]
    assert f"; {len(state['series']):,} of 10,000 outlive a restart" in check.describe()


@pytest.mark.heavy
def test_what_is_gone_gives_its_place_to_what_comes() -> None:
    """Series that come and go for ever, as jobs do, take no more memory than those that are there at a time."""
    check = Anomaly()
    for step in range(3_300):
        one = step // 20
        series = {one: Series(one, f"app.job{one}", "1", "gauge")}
        reading = Reading(1, 1.0, last=float(step))
        check.judge(Snapshot((1_790_000_000 + 60 * step) * 10**9, 6 * 10**10, series, {}, {one: reading}))
    assert check._places.size < 135
    assert sum(states(check).values()) < 120


def test_a_call_in_the_place_of_one_that_is_gone_is_heard_for_a_day_of_its_own() -> None:
    """Before it says something that it does not come."""
    check, step = Anomaly(), 0

    def hear(name: str, minutes: int) -> int:
        nonlocal step
        series = {0: Series(0, "holter.call.duration", "s", "histogram", {"holter.call.name": name})}
        for _ in range(minutes):
            step += 1
            reading = Reading(120, 1.2, last=0.01)
            check.judge(Snapshot((1_790_000_000 + 60 * step) * 10**9, 6 * 10**10, series, {}, {0: reading}))
        return check._places.place(("holter.call.duration", (("holter.call.name", name),)))

    first = hear("first", 1_500)
    assert check._missing.known(first)[:2] == [168, 0]
    hear("between", 2_100)
    assert hear("second", 10) == first
    assert check._missing.known(first)[:2] == [24, 24]


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"series": []},
        {"series": [["app.queue", [], [["value"], []], ["AAAA", ""], [[0] * 4] * 2, [24, 24, 0.0]]]},
        {"series": [["app.queue", [], [["none"], []], ["", ""], [[0] * 4] * 2, [24, 24, 0.0]]]},
        {"series": [["app.queue", [], [[], []], ["", ""], [[0] * 4] * 2, [24, 25, 0.0]]]},
        [],
    ],
)
def test_a_state_that_is_none_is_refused_and_harms_nothing(state: Any) -> None:
    """The monitor counts that, and learning begins anew."""
    check = Anomaly()
    with pytest.raises((ValueError, KeyError, TypeError, AttributeError)):
        check.load(state, 0.0)
    assert [] == Services(1).steps(check, 3)


@pytest.mark.parametrize("value", [0, -1, 1e6, "1", None, float("nan")])
def test_what_cannot_work_is_refused(value: Any) -> None:
    """With what was expected and what came."""
    with pytest.raises(ConfigurationError, match="false_alarms_per_week must be"):
        Anomaly(false_alarms_per_week=value)
