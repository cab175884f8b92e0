"""What every check must satisfy; a test class that inherits `CheckContract` runs a check through it."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import get_args

import pytest

from holter.distribution import Histogram
from holter.model import Alert, Check, Kind, OpenCall, Process, Reading, Series, Severity, Snapshot
from holter.names import CALL_DURATION, CALL_NAME, CALL_OUTCOME, ERROR_TYPE, SPAN_DURATION, SPAN_NAME

SECOND = 1_000_000_000
WALL_NS = 1_795_352_589_000_000_000
STARTED_NS = 1000 * SECOND


class Course:
    """What a program records, tick by tick, on a clock of its own."""

    def __init__(self) -> None:
        self.now_ns = STARTED_NS
        self.series: dict[int, Series] = {}
        self.total: dict[int, Reading] = {}
        self.interval: dict[int, Reading] = {}
        self.running: list[OpenCall] = []

    def record(
        self, name: str, timed: Iterable[tuple[int, float]], kind: Kind, unit: str = "s", **attributes: str
    ) -> int:
        """Record (time_ns, value) pairs in one series, whose id is returned; of a counter, what it grows by."""
        named = {key.replace("__", "."): value for key, value in attributes.items()}
        known = [key for key, one in self.series.items() if (one.name, one.attributes) == (name, named)]
        key = known[0] if known else len(self.series)
        self.series.setdefault(key, Series(key, name, unit, kind, named))
        for time_ns, value in timed:
            one = Reading(1, value, 0, value, value, value, Histogram.of([value]), value, time_ns, time_ns)
            for readings in (self.total, self.interval):
                readings[key] = readings.get(key, Reading()).merge(one)
        return key

    def calls(self, call: str, durations: Sequence[float], outcome: str = "", error: str = "") -> None:
        """Record calls that end now."""
        ends = {CALL_OUTCOME.replace(".", "__"): outcome} if outcome else {}
        kind = {ERROR_TYPE.replace(".", "__"): error} if error else {}
        timed = [(self.now_ns, value) for value in durations]
        self.record(CALL_DURATION, timed, "histogram", **{CALL_NAME.replace(".", "__"): call}, **ends, **kind)

    def begin(self, call: str, **more: int) -> OpenCall:
        """Begin a call now, which runs until it is taken out of ``running``."""
        series = self.record(CALL_DURATION, [], "histogram", **{CALL_NAME.replace(".", "__"): call})
        self.running.append(OpenCall(call, series, self.now_ns, 0.0, **{"thread": 1, **more}))
        return self.running[-1]

    def spans(self, call: str, span: str, durations: Sequence[float]) -> None:
        """Record spans of *call* that end now."""
        named = {CALL_NAME.replace(".", "__"): call, SPAN_NAME.replace(".", "__"): span}
        self.record(SPAN_DURATION, [(self.now_ns, value) for value in durations], "histogram", **named)

    def tick(self, seconds: float = 1.0, open_calls: tuple[OpenCall, ...] = ()) -> Snapshot:
        """Return what was recorded in the interval that ends *seconds* after the last."""
        length_ns = round(seconds * SECOND)
        self.now_ns += length_ns
        interval, self.interval = self.interval, {}
        running = [replace(one, age_seconds=(self.now_ns - one.start_ns) / SECOND) for one in self.running]
        return Snapshot(
            time_ns=WALL_NS + self.now_ns,
            interval_ns=length_ns,
            series=dict(self.series),
            total=dict(self.total),
            interval=interval,
            open_calls=(*open_calls, *running),
            process=Process(service="sentiment", started_ns=STARTED_NS),
            monotonic_ns=self.now_ns,
        )


class CheckContract:
    """
    Inherit, and give `make`, `good` and `bad`; any check of calls can be run through this.

    Enough ticks of what `bad` records, at most `ticks`, must make the check fire, and enough of
    what `good` records must make it resolve.
    """

    ticks = 150

    def make(self, call: str) -> Check:
        """Return a new check on *call*."""
        raise NotImplementedError

    def good(self, course: Course, call: str) -> None:
        """Record one second of *call* when all is well."""
        raise NotImplementedError

    def bad(self, course: Course, call: str) -> None:
        """Record one second of *call* in trouble."""
        raise NotImplementedError

    @pytest.fixture
    def history(self) -> list[Alert]:
        """Good times, bad times, good times, bad times, and the alerts that came."""
        return self._live(self.make("predict"), "predict")

    def _live(self, check: Check, call: str) -> list[Alert]:
        course, alerts = Course(), []
        for record in (self.good, self.bad, self.good, self.bad):
            for _ in range(self.ticks):
                record(course, call)
                alerts += check.judge(course.tick())
        return alerts

    def test_it_is_a_check(self) -> None:
        """It satisfies the Protocol."""
        assert isinstance(self.make("predict"), Check)

    def test_empty_snapshots_are_not_an_event(self) -> None:
        """Nothing recorded, at no time passed at all: no error, no alert."""
        empty = Snapshot(time_ns=0, interval_ns=0, series={}, total={}, interval={})
        check = self.make("predict")
        assert [list(check.judge(empty)) for _ in range(3)] == [[], [], []]

    def test_good_times_are_silent(self) -> None:
        """As long as all is well no alert comes."""
        check, course = self.make("predict"), Course()
        alerts = []
        for _ in range(3 * self.ticks):
            self.good(course, "predict")
            alerts += check.judge(course.tick())
        assert alerts == []

    def test_an_alert_fires_once_and_resolves_once(self, history: list[Alert]) -> None:
        """Transitions only: firing, resolved, firing, however long each state lasts."""
        assert [alert.state for alert in history] == ["firing", "resolved", "firing"]

    def test_an_incident_has_an_id_of_its_own(self, history: list[Alert]) -> None:
        """The id and the beginning stay from firing to resolved; the next incident has others."""
        first, resolved, second = history
        assert (first.id, first.since_ns) == (resolved.id, resolved.since_ns)
        assert (first.id != second.id, first.since_ns < second.since_ns) == (True, True)

    def test_the_same_story_gives_the_same_alerts(self, history: list[Alert]) -> None:
        """Checks share no state, and read no clock but the snapshots'."""
        assert self._live(self.make("predict"), "predict") == history

    def test_all_fields_are_filled(self, history: list[Alert]) -> None:
        """An alert says who, what was expected, what was seen, and what to do."""
        for alert in history:
            texts = [alert.id, alert.check, alert.target, alert.expected, alert.seen, alert.message]
            texts += [alert.next_step] if alert.state == "firing" else []
            assert all(texts), texts
            assert alert.severity in get_args(Severity)
            assert WALL_NS < alert.since_ns
            assert alert.evidence

    def test_evidence_is_plain(self, history: list[Alert]) -> None:
        """It goes through JSON, which knows no NaN, and pickle unchanged."""
        for alert in history:
            assert json.loads(json.dumps(dict(alert.evidence), allow_nan=False)) == alert.evidence
            assert pickle.loads(pickle.dumps(alert)) == alert  # noqa: S301  our own bytes

    def test_hostile_names_stay_on_their_line(self) -> None:
        """Whatever a call is called, the words about it are one printable line."""
        hostile = 'a\r\n{"level":"forged"}\x1b[2J\0\u2028\u202e' + "x" * 500
        for alert in self._live(self.make(hostile), hostile):
            for text in (alert.id, alert.target, alert.expected, alert.seen, alert.message, alert.next_step):
                assert (text.isprintable(), len(text) < 1000) == (True, True), text
