"""Values that are no numbers any more, or that cannot be: of what functions return, and of what is logged."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from contracts.check import CheckContract, Course
from contracts.looking import LookingContract
from holter.checks.nonfinite import NonFinite, OutOfRange
from holter.errors import ConfigurationError
from holter.model import Alert, Observation
from holter.monitor import Monitor
from holter.names import (
    CALL_DURATION,
    CALL_NAME,
    CHECK_NAME,
    METRIC,
    OBSERVATION_NAME,
    OBSERVED_UNFIT,
    OBSERVED_VALUES,
    TRAINING_NAME,
    TRAINING_STEPS_DONE,
    UNFIT_REASON,
    VALUES_NONFINITE,
)

LOSS = "holter.training.metric.loss"


class Watched:
    """What is left of a watched function for a check: its name."""

    def __init__(self, call: str) -> None:
        self.__holter_call__ = call

    def __call__(self) -> None:
        """Do nothing."""


def record(course: Course, check: NonFinite | OutOfRange, values: Any) -> None:
    """Have *check* observe *values* as what a call returned, and record what it says, as a process does."""
    column = np.asarray(values, float)
    seen = Observation(call="any", columns={"outputs": column}, count=len(column), time_ns=0, source="outputs")
    for name, amount, attributes in check.observe(seen):
        named = {key.replace(".", "__"): str(value) for key, value in attributes.items()}
        course.record(name, [(course.now_ns, amount)], "counter", "{value}", **named)


class TestResults(CheckContract):
    """Of what a function returns it is a check."""

    def make(self, call: str) -> NonFinite:
        """Return a fresh check; it sees with its own eyes what good and bad times record."""
        self.check = NonFinite(Watched(call))
        return self.check

    def good(self, course: Course, call: str) -> None:
        """Return numbers."""
        record(course, self.check, [0.5, 0.25])

    def bad(self, course: Course, call: str) -> None:
        """One is none."""
        record(course, self.check, [0.5, math.nan])


class TestRanges(CheckContract):
    """So is the one on ranges, where some values may be outside."""

    def make(self, call: str) -> OutOfRange:
        """Return a fresh check."""
        self.check = OutOfRange(Watched(call), low=0, high=1, share=0.1, minimum_values=2)
        return self.check

    def good(self, course: Course, call: str) -> None:
        """Few are outside."""
        record(course, self.check, [0.5] * 19 + [2.0])

    def bad(self, course: Course, call: str) -> None:
        """Many are."""
        record(course, self.check, [0.5, -1.0, 2.0])


class TestMetrics(CheckContract):
    """Of a metric it is a check too."""

    def make(self, call: str) -> OutOfRange:
        """Return a fresh check."""
        return OutOfRange(CALL_DURATION, high=0.2, where={CALL_NAME: call})

    def good(self, course: Course, call: str) -> None:
        """All calls are as they can be."""
        course.calls(call, [0.1] * 5)

    def bad(self, course: Course, call: str) -> None:
        """One is not."""
        course.calls(call, [0.1, 0.4])


class TestResultsSeen(LookingContract):
    """It looks at data as checks may."""

    def make(self) -> NonFinite:
        """Return a fresh check."""
        return NonFinite(Watched("predict"))


class TestRangesSeen(LookingContract):
    """So does the one on ranges."""

    def make(self) -> OutOfRange:
        """Return a fresh check."""
        return OutOfRange(Watched("predict"), low=-1.0, high=1.0)


# -- what is counted


@given(
    hnp.arrays(st.sampled_from(["f2", "f4", "f8"]), hnp.array_shapes(max_dims=3, max_side=8)),
    st.floats(-10, 10, width=16),
    st.floats(0, 10, width=16),
)
def test_what_is_counted_is_what_there_is(values: np.ndarray, low: float, span: float) -> None:
    """By numpy's own words, whichever the shape and the type."""
    seen = Observation("predict", {"x": values, "text": ["a"] * len(values)}, len(values), 0, "outputs")
    finite = {key(one): amount for one in NonFinite(Watched("predict")).observe(seen) for amount in (one[1],)}
    expected = {"values": values.size, "nan": np.isnan(values).sum(), "infinite": np.isinf(values).sum()}
    assert {name: amount for name, amount in expected.items() if amount or name == "values"} == finite
    check = OutOfRange(Watched("predict"), low=low, high=low + span)
    ranged = {key(one): one[1] for one in check.observe(seen)}
    expected = {"values": values.size, "below": (values < low).sum(), "above": (values > low + span).sum()}
    assert {name: amount for name, amount in expected.items() if amount or name == "values"} == ranged


def key(count: Any) -> str:
    """Return what a count is about."""
    name, _, attributes = count
    assert name in (OBSERVED_VALUES, OBSERVED_UNFIT)
    assert {CALL_NAME, OBSERVATION_NAME, CHECK_NAME} <= set(attributes)
    return str(attributes.get(UNFIT_REASON, "values"))


def test_checks_on_one_function_do_not_count_for_each_other() -> None:
    """What each counts is set apart by what it looks at and what it looks for."""
    predict = Watched("predict")
    checks: list[Any] = [
        NonFinite(predict),
        NonFinite(predict, outputs="score"),
        OutOfRange(predict, low=0),
        OutOfRange(predict, high=1),
        OutOfRange(predict, low=0, outputs=len),
        NonFinite(predict, share=0.1),
        NonFinite(predict, minimum_values=2),
        NonFinite(predict, window_seconds=30.0),
        NonFinite(predict, severity="warning"),
    ]
    seen = Observation("predict", {"x": np.array([2.0])}, 1, 0, "outputs")
    named = [tuple(sorted(check.observe(seen)[0][2].items())) for check in checks]
    assert len(checks) == len(set(named))


# -- when it is told


def test_each_lambda_is_another_part_of_the_result() -> None:
    """Two of them have one name, but neither counts nor alerts in common; the same one has, in every process."""
    made = "from holter.checks.nonfinite import NonFinite; from holter import watch; p = watch(len, name='predict')\n"
    made += "parts = lambda r: r['a'], lambda r: r['b'], lambda r: r['a'] in {'x', 'y'}\n"
    made += "for part in parts: print(NonFinite(p, outputs=part))"
    seen = [
        subprocess.run([sys.executable, "-c", made], capture_output=True, text=True, check=True).stdout.splitlines()
        for _ in range(2)
    ]
    assert seen[0] == seen[1]
    assert 3 == len(set(seen[0]))


def live(check: Any, course: Course, ticks: int, act: Callable[[int], None]) -> list[tuple[int, Alert]]:
    """Return the alerts of so many seconds, each with the second in which it came."""
    alerts = []
    for second in range(ticks):
        act(second)
        alerts += [(second, alert) for alert in check.judge(course.tick())]
    return alerts


def log(course: Course, loss: float, step: int) -> None:
    """Record what a training does in a second."""
    run = {TRAINING_NAME.replace(".", "__"): "finetune"}
    course.record(TRAINING_STEPS_DONE, [(course.now_ns, step)], "gauge", "{step}", **run)
    course.record(LOSS, [(course.now_ns, loss)], "gauge", "1", **run)
    if not math.isfinite(loss):
        named = {METRIC.replace(".", "__"): LOSS, **run}
        course.record(VALUES_NONFINITE, [(course.now_ns, 1)], "counter", "{value}", **named)


def test_a_loss_that_is_no_number_is_told_in_the_same_interval() -> None:
    """With the steps between which it came, the last good value, and what to do; once, and it resolves once."""
    check, course = NonFinite(LOSS, window_seconds=10.0), Course()
    losses = [2.5, 2.25, math.nan, math.inf, *[1.0] * 30]
    alerts = live(check, course, 30, lambda second: log(course, losses[second], 100 * second))
    (fired_at, fired), (resolved_at, resolved) = alerts
    assert (2, "firing", "critical", 13, "resolved") == (
        fired_at, fired.state, fired.severity, resolved_at, resolved.state,
    )  # fmt: skip
    assert f"{LOSS}: 1 of 3 values is not finite over the last 3 s, between steps 100 and 200; " in fired.message
    assert "the last good value was 2.25" in fired.message
    assert ("finite values", 200, 2.25) == (fired.expected, fired.evidence["step"], fired.evidence["last_good_value"])
    assert "last checkpoint" in fired.next_step
    assert fired.id == resolved.id


def test_a_metric_that_refuses_such_values_is_told_of_too() -> None:
    """They are counted apart by what records them, of whichever series."""
    check, course = NonFinite("app.score", where={"model": "v7"}), Course()

    def act(second: int) -> None:
        course.record("app.score", [(course.now_ns, 1.0)] * 3, "histogram", "1", model="v7")
        if second == 1:
            course.record(VALUES_NONFINITE, [(course.now_ns, 1)], "counter", "{value}", holter__metric="app.score")
            course.record(VALUES_NONFINITE, [(course.now_ns, 5)], "counter", "{value}", holter__metric="other")

    ((second, alert),) = live(check, course, 3, act)
    assert (1, 1, 7) == (second, alert.evidence["unfit"], alert.evidence["values"])


def test_a_share_and_a_number_can_be_allowed() -> None:
    """It fires when both are exceeded within the window, and not before."""
    check, course = NonFinite(Watched("predict"), share=0.1, minimum_values=3, window_seconds=5.0), Course()

    def act(second: int) -> None:
        bad = {0: 2, 10: 3, 20: 3}.get(second, 0)
        record(course, check, [math.nan] * bad + [1.0] * (4 if second < 15 else 400))

    alerts = live(check, course, 30, act)
    assert [(10, "firing"), (15, "resolved")] == [(second, alert.state) for second, alert in alerts]
    assert "3 of 23 sampled values are not finite (nan) over the last 5 s" in alerts[0][1].message
    assert "finite values, but for 10 % of them" == alerts[0][1].expected


def test_where_nothing_comes_any_more_the_alert_says_so() -> None:
    """It ends with the window, and that is no recovery."""
    check, course = NonFinite(Watched("predict"), window_seconds=5.0), Course()
    alerts = live(check, course, 10, lambda second: record(course, check, [math.nan]) if second == 2 else None)
    assert [(2, "firing"), (7, "resolved")] == [(second, alert.state) for second, alert in alerts]
    assert "that is silence, not a recovery" in alerts[1][1].message


def test_the_columns_that_are_unfit_are_named() -> None:
    """As far as this process has seen them, the worst first."""
    check, course = OutOfRange(Watched("predict"), low=0.0, high=1.0), Course()
    table = np.zeros((10, 4))
    table[:, 2] = 3.0
    seen = Observation("predict", {"p": np.array([0.5, -1.0]), "v": table, "fine": np.zeros(3)}, 10, 0, "outputs")
    for name, amount, attributes in check.observe(seen):
        named = {one.replace(".", "__"): str(value) for one, value in attributes.items()}
        course.record(name, [(course.now_ns, amount)], "counter", "{value}", **named)
    (alert,) = check.judge(course.tick())
    assert "v[2], p" == alert.evidence["columns"]
    assert "11 of 45 sampled values are outside of 0 to 1 (above, below)" in alert.message
    assert "v[2]" in alert.next_step


def test_one_bound_is_enough() -> None:
    """And is said as it is."""
    assert "low=0.0, high=None" in repr(OutOfRange(LOSS, low=0.0))
    check, course = OutOfRange(LOSS, high=100.0), Course()
    ((_, alert),) = live(check, course, 3, lambda second: log(course, (1.0, 200.0, 1.0)[second], second))
    assert f"{LOSS}: 1 of 2 values is above 100 over the last 2 s" in alert.message


def test_bounds_that_look_the_same_are_two_checks() -> None:
    """Each has an alert of its own, though both say 1,230."""
    course, ids = Course(), []
    for high in (1234.3, 1234.4):
        ((_, alert),) = live(OutOfRange(LOSS, high=high), course, 1, lambda second: log(course, 2000.0, second))
        ids.append(alert.id)
    assert ids[0].split("-")[1] != ids[1].split("-")[1]


def test_a_deploy_is_no_new_incident() -> None:
    """An alert goes on in the next process, if that comes soon, and resolves there; later it is forgotten."""
    check, course = NonFinite(Watched("predict"), window_seconds=5.0), Course()
    ((_, fired),) = live(check, course, 2, lambda second: record(course, check, [math.nan, 1.0][second:]))
    state = json.loads(json.dumps(check.save()))
    heir = NonFinite(Watched("predict"), window_seconds=5.0)
    assert heir.load(state, 10.0)
    alerts = live(heir, course, 10, lambda _: record(course, heir, [1.0]))
    assert [("resolved", fired.id)] == [(alert.state, alert.id) for _, alert in alerts]
    assert not NonFinite(Watched("predict"), window_seconds=5.0).load(state, 61.0)
    for damaged in ({}, {**state, "window": [[1, 0, 0, 0]]}, {**state, "firing_since_ns": "now"}):
        with pytest.raises((ValueError, KeyError)):
            heir.load(damaged, 0.0)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: NonFinite(len), "watched function or a metric's name"),
        (lambda: NonFinite(Watched("p"), share=1.0), "share must be from 0 to less than 1"),
        (lambda: NonFinite(Watched("p"), minimum_values=0), "minimum_values must be a whole number"),
        (lambda: NonFinite(Watched("p"), window_seconds=0), "window_seconds must be greater"),
        (lambda: NonFinite(Watched("p"), where={"a": 1}), "of a function leave it out"),
        (lambda: NonFinite("app.score", outputs="a"), "target is a metric"),
        (lambda: OutOfRange("app.score", low=2, high=1), "high=1.0 is less than low=2.0"),
        (lambda: NonFinite("app.score", severity="bad"), "severity must be one of"),  # type: ignore[arg-type]  # the point
        (lambda: NonFinite(Watched("p"), outputs=3), "a key or an attribute"),
        (lambda: OutOfRange("app.score"), "give low=, high= or both"),
        (lambda: OutOfRange("app.score", low=math.nan), "low must be a finite number"),
    ],
)
def test_what_cannot_work_is_refused(make: Callable[[], Any], words: str) -> None:
    """With what was expected and what to do."""
    with pytest.raises(ConfigurationError, match=words):
        make()


# -- in a program


def test_a_bad_result_is_told_by_the_monitor() -> None:
    """In the interval in which it was returned, whatever it was in."""
    monitor = Monitor("test", samplers=[], recording=False)

    @monitor.watch
    def predict(values: list[float]) -> Any:
        return {"score": np.array(values), "label": ["a"] * len(values)}

    checks = [NonFinite(predict), OutOfRange(predict, low=0, high=1, outputs="score"), NonFinite(predict, outputs=bool)]
    monitor = Monitor(
        "test", samplers=[], recording=False, interval_seconds=60.0, checks=checks, fold=monitor._fold
    ).start()
    try:
        predict([0.5, 0.25])
        monitor.snapshot()
        assert () == monitor.alerts()
        predict([math.nan, 0.5, 7.0])
        monitor.flush(20.0)
        assert [("nonfinite", "1 of 5 sampled values is not finite (nan)"),
                ("outofrange", "1 of 5 sampled values is outside of 0 to 1 (above)")] == [
            (alert.check, alert.seen) for alert in monitor.alerts()
        ]  # fmt: skip
    finally:
        monitor.stop()


def test_a_training_that_logs_nan_is_told_by_the_monitor() -> None:
    """As it is logged, with no set-up but the name."""
    check = NonFinite(LOSS)
    with Monitor("test", samplers=[], recording=False, interval_seconds=60.0, checks=[check]) as monitor:
        with monitor.training("finetune") as run:
            for step in run.steps(range(10)):
                run.log(loss=math.nan if step == 7 else 1.0, accuracy=math.inf)
        monitor.flush(20.0)
        (alert,) = monitor.alerts()
    assert f"{LOSS}: 1 of 10 values is not finite" in alert.message
    assert 10 == alert.evidence["step"]


WORKERS = """
    import json, os, sys, time
    import numpy as np
    import holter

    @holter.watch
    def predict(is_bad):
        return np.array([np.nan if is_bad else 0.5] * 10)

    check = holter.NonFinite(predict, minimum_values=20)
    monitor = holter.start("sentiment", checks=[check], samplers=[], interval_seconds=0.2)
    print("ready", flush=True)
    for line in sys.stdin:
        if line == "bad\\n":
            predict(True)
        elif line == "say\\n":
            monitor.flush()
            print(json.dumps([[alert.state, alert.seen] for alert in monitor.alerts()]), flush=True)
            continue
        monitor.flush()
        print("done", flush=True)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="groups need Linux")
def test_the_processes_of_a_service_are_judged_together(tmp_path: Path) -> None:
    """Ten bad values in each of two are twenty: one alert, whoever leads, and nobody alone would have told."""
    tmp_path.chmod(0o700)
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(WORKERS)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "HOLTER_DIR": str(tmp_path)},
        )
        for _ in range(2)
    ]  # fmt: skip

    def ask(worker: Any, word: str) -> str:
        worker.stdin.write(f"{word}\n")
        worker.stdin.flush()
        return str(worker.stdout.readline()).strip()

    try:
        assert ["ready", "ready"] == [worker.stdout.readline().strip() for worker in workers]  # type: ignore[union-attr]  # a pipe
        assert "done" == ask(workers[0], "bad")
        assert "[]" == ask(workers[0], "say")
        assert "done" == ask(workers[1], "bad")
        # Whoever leads reads what the other has written down, at its next turn.
        for _ in range(100):
            told = [json.loads(ask(worker, "say")) for worker in workers]
            if all(told):
                break
        assert [[["firing", "20 of 20 sampled values are not finite (nan)"]]] * 2 == told
    finally:
        for worker in workers:
            worker.communicate()
    assert [0, 0] == [worker.returncode for worker in workers]
