"""Which alerts are one trouble, and what is told of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.snapshots import PROCESS, START_NS, alert
from holter.incidents import MOST_ALERTS, MOST_INCIDENTS, Incident, Incidents, signal, subject
from holter.model import Alert, Silence
from holter.notice import Notice

SECOND_NS = 1_000_000_000


class Desk:
    """Incidents, and a clock that the test moves; what is told is kept."""

    def __init__(self) -> None:
        self.incidents, self.now_ns = Incidents(), START_NS
        self.silenced: set[str] = set()
        self.told: list[Notice] = []

    def at(self, seconds: float, *alerts: Alert) -> list[tuple[str, str]]:
        """Take in *alerts* at so many seconds after the start; return which notices follow: state and alert."""
        self.now_ns = START_NS + round(seconds * SECOND_NS)
        for one in alerts:
            self.incidents.take(one, self.now_ns, "sentiment")
        return self.turn()

    def turn(self) -> list[tuple[str, str]]:
        """End the interval."""
        self.incidents.turn(self.now_ns, self._silence)
        notices = []
        for incident in self.incidents.unposted():
            notices.append(incident.notice(PROCESS))
            self.incidents.posted(incident)
        self.told += notices
        return [(one.state, one.alert.id) for one in notices]

    def _silence(self, one: Alert) -> Silence | None:
        return Silence(one.id, 0, 2**62, "deploy") if one.id in self.silenced else None

    def restart(self, resumes: Iterable[str] = ()) -> None:
        """Go on in another process, in which the checks of the alerts *resumes* do so too."""
        rows = json.loads(json.dumps([one.save() for one in self.incidents.all]))
        self.incidents = Incidents()
        self.incidents.load(map(Incident.load, rows), self.now_ns)
        for incident in self.incidents.all:
            for one in incident.firing():
                if one.id in resumes:
                    self.incidents.resume(one)

    @property
    def ids(self) -> list[str]:
        """The incidents that were told of, in order."""
        return [one.incident for one in self.told]


def one(name: str = "a", target: str = "predict", **facts: Any) -> Alert:
    """Return an alert that fires."""
    return alert(id=name, target=target, **facts)


def end(name: str = "a", target: str = "predict", **facts: Any) -> Alert:
    """Return its end."""
    return alert(id=name, target=target, state="resolved", **facts)


def test_an_incident_is_told_when_it_begins_and_when_all_of_it_is_over() -> None:
    """Whoever joins, and whoever ends first; its id stays, and its notices are numbered."""
    desk = Desk()
    assert [("firing", "a")] == desk.at(0, one("a"))
    assert [] == desk.at(100, one("b"))
    assert [] == desk.at(219, one("c"))
    assert [] == desk.at(230, end("a"))
    assert [] == desk.at(231, end("c"))
    assert [("resolved", "a")] == desk.at(500, end("b"))
    first, last = desk.told
    assert (1, 2, first.incident) == (first.number, last.number, last.incident)
    assert ["b", "c"] == [each.id for each in last.joined]
    assert "resolved" == last.alert.state
    assert [] == desk.at(501)


@pytest.mark.parametrize(
    ("other", "is_same"),
    [
        (one("b"), True),
        (one("b", "predict{model=v7}"), True),
        (one("b", "predict > tokenize"), True),
        (one("b", "holter.span.duration{holter.call.name=predict, holter.span.name=tokenize}"), True),
        (one("b", "embed"), False),
        (one("b", "app.queue"), False),
        (one("b", "process.memory.usage"), True),
        (one("b", "hw.temperature{hw.id=GPU-1}"), True),
        (one("b", "holter.loop.lag"), True),
        (one("b", "embed", related=("predict: time rose from 1 ms to 2 ms",)), True),
        (one("b", "embed", related=("predict > tokenize: rose from 1 ms to 2 ms",)), True),
        (one("b", "embed", related=("app.queue: rose from 1 to 2",)), False),
        (one("b", "cache"), True),
    ],
    ids=lambda value: value.target if isinstance(value, Alert) else str(value),
)
def test_the_same_cause_is_the_same_call_or_what_all_share_or_what_moved_along(
    other: Alert,
    is_same: bool,  # noqa: FBT001 - a case
) -> None:
    """Another call that has nothing to do with it is a trouble of its own, however close in time."""
    desk = Desk()
    desk.at(0, one("a", related=("cache: fell from 10/s to 1/s",)))
    assert ([] if is_same else [("firing", "b")]) == desk.at(60, other)


def test_what_fires_in_the_same_interval_has_the_same_cause() -> None:
    """The gravest of it tells."""
    desk = Desk()
    together = [one("a", severity="warning"), one("b", "embed"), one("c", "rank", severity="info")]
    assert [("firing", "b")] == desk.at(0, *together)
    (notice,) = desk.told
    assert ["a", "c"] == [each.id for each in notice.joined]


@pytest.mark.parametrize(("seconds", "count"), [(119.9, 1), (120.1, 2)])
def test_two_minutes_count_from_the_latest_alert(seconds: float, count: int) -> None:
    """So a trouble that spreads stays one."""
    desk = Desk()
    desk.at(0, one("a"))
    desk.at(100, one("b"))
    desk.at(100 + seconds, one("c"))
    assert count == len(set(desk.ids))


def test_one_that_is_graver_is_told_with_the_same_incident() -> None:
    """Else a page would hide behind a ticket; what is as grave or less does not tell."""
    desk = Desk()
    assert [("firing", "a")] == desk.at(0, one("a", severity="info"))
    assert [("firing", "b")] == desk.at(1, one("b", severity="critical"))
    assert [] == desk.at(2, one("c", severity="warning"), one("d", severity="critical"))
    assert [] == desk.at(3, end("b"), end("c"), end("d"))
    assert [("resolved", "b")] == desk.at(4, end("a"))
    assert 1 == len(set(desk.ids))
    assert ["a", "b"] == [each.id for each in desk.told[-1].told]
    assert {"resolved"} == {each.state for each in desk.told[-1].told}


def test_what_comes_back_within_two_minutes_is_the_same_and_has_to_keep_quiet_then() -> None:
    """Whoever is called hears of it again, but not in turns."""
    desk = Desk()
    for seconds in range(0, 300, 20):
        desk.at(seconds, one("a") if seconds % 40 == 0 else end("a"))
    assert ["firing", "resolved", "firing"] == [each.state for each in desk.told]
    assert [] == desk.at(280 + 119)
    assert [] == desk.at(300, end("a"))
    assert [("resolved", "a")] == desk.at(280 + 120)
    assert (1, [1, 2, 3, 4]) == (len(set(desk.ids)), [each.number for each in desk.told])
    desk.at(700, one("a"))
    assert 2 == len(set(desk.ids))


def test_what_is_silenced_is_told_when_it_is_not_any_more() -> None:
    """If it still fires then; if it is over by then nobody hears of it."""
    desk = Desk()
    desk.silenced = {"a"}
    assert [] == desk.at(0, one("a"))
    assert [] == desk.at(1000)
    desk.silenced = set()
    assert [("firing", "a")] == desk.at(1001)
    desk.silenced = {"a", "b"}
    assert [("resolved", "a")] == desk.at(1002, end("a"))
    assert [] == desk.at(2000, one("b"))
    assert [] == desk.at(2001, end("b"))
    desk.silenced = set()
    assert [] == desk.at(2002)


def test_a_silenced_alert_does_not_silence_those_that_join_it() -> None:
    """The first that is not silenced tells of the incident."""
    desk = Desk()
    desk.silenced = {"a"}
    assert [] == desk.at(0, one("a"))
    assert [("firing", "b")] == desk.at(60, one("b", severity="info"))
    desk.silenced = set()
    assert [("firing", "a")] == desk.at(61)


def test_others_are_related() -> None:
    """An alert tells of those that fire beside it, before what its check says."""
    desk = Desk()
    incident = desk.incidents.take(one("a", related=("cache: fell from 2 to 1",)), START_NS, "sentiment")
    desk.incidents.take(one("b", message="predict fails"), START_NS, "sentiment")
    shown = incident.shown(incident.alerts["a"])
    assert ("predict: predict fails", "cache: fell from 2 to 1") == shown.related
    assert incident.id == shown.incident


def test_an_alert_that_no_check_goes_on_with_ends_two_minutes_after_the_restart() -> None:
    """Else nobody would ever tell that it is over; it says that this is no recovery."""
    desk = Desk()
    desk.at(0, one("a"))
    desk.restart()
    assert [] == desk.at(119)
    assert [("resolved", "a")] == desk.at(120)
    assert "no recovery" in desk.told[-1].alert.message
    assert "resolved" == desk.told[-1].alert.state


def test_an_alert_that_its_check_goes_on_with_goes_on() -> None:
    """And ends when that says so."""
    desk = Desk()
    desk.at(0, one("a"))
    desk.restart(["a"])
    assert [] == desk.at(1000)
    assert [("resolved", "a")] == desk.at(1001, end("a"))


def test_a_check_that_begins_anew_comes_back_to_its_incident() -> None:
    """By another alert of the same target; nobody is told again, and the end is that of the alert that was told."""
    desk = Desk()
    desk.at(0, one("a"))
    desk.at(500)
    desk.restart()
    assert [] == desk.at(560, one("a2", message="slow again"))
    assert [] == desk.at(900)
    desk.restart(["a2"])
    assert [("resolved", "a")] == desk.at(1000, end("a2", message="fast again"))
    assert ("fast again", 1) == (desk.told[-1].alert.message, len(set(desk.ids)))


def test_what_was_not_on_its_way_when_the_process_died_is_told_by_the_next() -> None:
    """With the same key, so that who has it knows."""
    desk = Desk()
    incident = desk.incidents.take(one("a"), START_NS, "sentiment")
    desk.incidents.turn(START_NS, lambda _: None)
    expected = incident.notice(PROCESS)
    desk.restart(["a"])
    assert [("firing", "a")] == desk.turn()
    assert expected == desk.told[0]
    assert [] == desk.turn()


@pytest.mark.parametrize(
    "change",
    [
        lambda row: row.pop("alerts"),
        lambda row: row.update(times=[1]),
        lambda row: row.update(times="abc"),
        lambda row: row.update(numbers=[0, 2, 1], announced={}),
        lambda row: row.update(said="perhaps"),
        lambda row: row["alerts"].update(b={"id": 3}),
        lambda row: row["announced"].update(b=None),
        lambda row: row.update(orphans=[1]),
        lambda row: row.update(moved=3),
    ],
)
def test_what_is_no_incident_is_refused(change: Callable[[dict], object]) -> None:
    """The file that it stands in is set aside then."""
    desk = Desk()
    desk.at(0, one("a"))
    row = desk.incidents.all[0].save()
    change(row)
    with pytest.raises((ValueError, KeyError, TypeError, AttributeError)):
        Incident.load(row)


def test_all_is_bounded() -> None:
    """Incidents and their alerts; what goes beyond joins, and what was announced stays."""
    desk = Desk()
    for number in range(MOST_INCIDENTS + 50):
        desk.at(1000 * number, one(str(number), f"call {number}"))
    assert MOST_INCIDENTS == len(desk.incidents.all)
    desk = Desk()
    for number in range(MOST_ALERTS + 50):
        desk.at(number, one(str(number)))
    (incident,) = desk.incidents.all
    assert (MOST_ALERTS, True) == (len(incident.alerts), "0" in incident.alerts)
    assert len(desk.told[0].joined) <= 16


def test_a_clock_that_is_set_back_changes_no_order() -> None:
    """Of the notices of one incident."""
    desk = Desk()
    desk.at(100, one("a"))
    desk.at(50, end("a"))
    assert desk.told[0].time_ns < desk.told[1].time_ns


def test_targets_and_signals_are_those_of_calls() -> None:
    """Whatever stands around them."""
    assert ["predict", "predict", "app.queue"] == [
        subject(one(target=target)) for target in ("predict{model=v7, a=b}", "predict > forward", "app.queue{name=x}")
    ]
    assert ["predict", "app.queue"] == [signal("predict > forward: rose from 1 to 2"), signal("app.queue")]


steps = st.lists(
    st.tuples(
        st.sampled_from("abcdef"),
        st.integers(0, 100),
        st.sampled_from(["info", "warning", "critical"]),
        st.booleans(),
        st.booleans(),
    ),
    max_size=40,
)


@given(steps)
def test_whatever_happens_each_incident_is_told_in_turns_and_all_that_is_loud_is_told(steps: list[Any]) -> None:
    """Begin before end, numbered from 1; what fires and is not silenced was told as graver or as grave; all ends."""
    desk, firing, seconds = Desk(), {}, 0.0
    for name, pause, severity, is_silenced, is_restarted in steps:
        seconds += pause
        (desk.silenced.add if is_silenced else desk.silenced.discard)(name)
        if is_restarted:
            desk.restart(list(firing))
        if name in firing:
            desk.at(seconds, replace(firing.pop(name), state="resolved"))
        else:
            firing[name] = one(name, f"call {'abcdef'.index(name) // 2}", severity=severity)
            desk.at(seconds, firing[name])
        ranks = {"info": 0, "warning": 1, "critical": 2}
        for incident in desk.incidents.all:
            for each in incident.firing():
                assert each.id in firing
                if each.id not in desk.silenced:
                    assert incident.rank >= ranks[each.severity]
        assert set(firing) == {each.id for incident in desk.incidents.all for each in incident.firing()}
    desk.at(seconds + 1, *(replace(each, state="resolved") for each in firing.values()))
    desk.at(seconds + 300)
    desk.at(seconds + 301)
    assert () == desk.incidents.all
    for key in set(desk.ids):
        notices = [each for each in desk.told if each.incident == key]
        assert list(range(1, len(notices) + 1)) == [each.number for each in notices]
        states = [each.state for each in notices]
        assert ("firing", "resolved") == (states[0], states[-1])
        assert ("resolved", "resolved") not in pairwise(states)


@given(steps)
def test_restarts_change_nothing(steps: list[Any]) -> None:
    """What is told is the same, to the word."""
    told = []
    for restarts in (False, True):
        desk, firing, seconds = Desk(), {}, 0.0
        for name, pause, severity, is_silenced, is_restarted in steps:
            seconds += pause
            (desk.silenced.add if is_silenced else desk.silenced.discard)(name)
            if restarts and is_restarted:
                desk.restart(list(firing))
            if name in firing:
                desk.at(seconds, replace(firing.pop(name), state="resolved"))
            else:
                firing[name] = one(name, f"call {'abcdef'.index(name) // 2}", severity=severity)
                desk.at(seconds, firing[name])
        told.append(desk.told)
    assert told[0] == told[1]
