"""The life of alerts from check to outbox: related, in incidents, silenced, and over restarts."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contracts.snapshots import alert
from holter.checks.limit import Limit
from holter.checks.slo import SLO
from holter.judging import Judges
from holter.keptsilences import set_for
from holter.model import Alert, Snapshot
from holter.names import CALL_DURATION, CALL_NAME, PROCESS_PID
from holter.notice import Notice
from recording import Recording
from simulation import START_NS, World


class Desk:
    """Judges that are asked in this thread, and what they have given and put into the outbox."""

    def __init__(self, *checks: Any, path: Path | None = None, world: World | None = None) -> None:
        self.world = world or World()
        recording = Recording()
        recording.scope.guard.strict = True
        self.scope = recording.scope
        self.judges = Judges(recording.scope, checks, path)
        self.judges.outbox.receivers = ["ops"]
        self.fellows: Others | None = None
        self.alerts: list[Alert] = []
        self.notices: list[Notice] = []

    def ask(self) -> list[Alert]:
        """End an interval; return the alerts that are new."""
        given = self.judges.ask(self.world.snapshot(), 0.0, patiently=False, fellows=self.fellows)
        self.alerts += given
        while True:
            with self.judges.outbox.first("ops") as claim:
                if claim is None:
                    return given
                self.notices.append(claim.notice)
                claim.done()

    def told(self) -> list[tuple[str, str]]:
        """Return state and alert of each notice."""
        return [(one.state, one.alert.id) for one in self.notices]


class Says:
    """A check that says what it is told to, once."""

    def __init__(self, *says: list[Alert]) -> None:
        self.says = list(says)

    def judge(self, snapshot: Snapshot) -> list[Alert]:
        """Say it."""
        del snapshot
        return self.says.pop(0) if self.says else []


def test_an_alert_says_what_moved_along_and_which_others_fire() -> None:
    """Where its check does not; those that come later can be seen in the alerts that are kept."""
    checks = (Limit(CALL_DURATION, "mean", above=0.015, window_seconds=3, where={CALL_NAME: "predict"}),)
    random = np.random.default_rng(3)
    desk = Desk(*checks, Limit("app.queue", "last", above=100))
    for second in range(60):
        slow = 4.0 if second >= 50 else 1.0
        for name, mean in (("predict", 0.01), ("embed", 0.002)):
            desk.world.call(name, random.lognormal(np.log(mean * slow), 0.1, 50))
        desk.world.values(desk.world.one("app.queue", "gauge", "{item}"), 5.0 if second < 55 else 500.0)
        desk.ask()
    first, second_one = desk.alerts
    assert any(one.startswith("embed: time rose from 2") for one in first.related)
    assert not any(one.startswith("predict: time") for one in first.related)
    # The queue moved later: which is what the second one is about, and the calls had moved before it.
    assert (first.incident, [("firing", first.id)]) == (second_one.incident, desk.told())
    kept = desk.judges.alerts[first.id]
    assert kept.related[0].startswith("app.queue: app.queue is 500")
    assert second_one.related[0].startswith("predict: ")


def test_what_a_check_says_is_related_stays() -> None:
    """It knows best."""
    desk = Desk(Says([alert(related=("queue: rose",))]))
    assert [("queue: rose",)] == [one.related for one in desk.ask()]


def test_alerts_that_begin_and_end_in_one_interval_are_told_as_they_are() -> None:
    """Each in its state; of an incident that is over before anybody heard nobody hears."""
    desk = Desk(Says([alert(), alert(state="resolved")]))
    assert ["firing", "resolved"] == [one.state for one in desk.ask()]
    assert [] == desk.told()
    assert ["resolved"] == [one.state for one in desk.judges.alerts.values()]


def test_a_silenced_alert_is_judged_and_kept_and_not_told(caplog: pytest.LogCaptureFixture) -> None:
    """It carries the silence; when that ends it is told, and the log says so."""
    desk = Desk(Says([alert(target="embed")], [], [], [], [alert(target="embed", state="resolved")]))
    silence = set_for(desk.judges.silences, "embed", 2 / 60, "deploy", START_NS)
    caplog.clear()
    (given,) = desk.ask()
    assert (silence, []) == (given.silence, desk.told())
    assert [given] == desk.judges.changed == list(desk.judges.alerts.values())
    desk.ask()
    assert [None] == [one.silence for one in desk.judges.alerts.values()]
    assert ([None], [("firing", "limit-1")]) == ([one.silence for one in desk.judges.changed], desk.told())
    assert ["holter: firing still, and no longer silenced: predict is slow"] == caplog.messages
    desk.ask(), desk.ask(), desk.ask()
    assert [("firing", "limit-1"), ("resolved", "limit-1")] == desk.told()


def test_a_silence_that_comes_later_marks_what_fires(tmp_path: Path) -> None:
    """From whichever process; the end is told."""
    desk = Desk(Says([alert()], [], [alert(state="resolved")]), path=tmp_path / "sentiment-1.checks")
    other = Desk(path=tmp_path / "sentiment-1.checks")
    desk.ask()
    set_for(other.judges.silences, "Limit", 60, "noise", START_NS)
    assert [] == desk.ask()
    assert ["noise"] == [one.silence.reason for one in desk.judges.changed if one.silence]
    desk.ask()
    assert [("firing", "limit-1"), ("resolved", "limit-1")] == desk.told()


def test_who_does_not_judge_has_nothing_standing(tmp_path: Path) -> None:
    """Nobody is to be told by two."""
    desk = Desk(Says([alert()]), path=tmp_path / "sentiment-1.checks")
    desk.ask()
    assert 1 == len(desk.judges.outbox.standing)
    assert [] == desk.judges.ask(None, 0.0, patiently=False)
    assert () == desk.judges.outbox.standing


def test_who_comes_to_judge_again_knows_what_was_told_meanwhile(tmp_path: Path) -> None:
    """And forgets what it took for firing."""
    path, world = tmp_path / "sentiment-1.checks", World()
    slow, fast = 0.5, 0.001
    limits = [Limit(CALL_DURATION, "mean", above=0.1, window_seconds=2) for _ in range(2)]
    first, second = (Desk(limit, path=path, world=world) for limit in limits)

    def turn(desk: Desk, took: float) -> list[Alert]:
        for one in (first, second):
            if one is not desk:
                one.judges.ask(None, 0.0, patiently=False)
        world.call("predict", [took] * 10)
        return desk.ask()

    (fired,) = turn(first, slow)
    turn(second, slow)
    assert [fired.incident] == [one.incident for one in second.judges.alerts.values()]
    for _ in range(3):
        turn(second, fast)
    assert (["firing"], ["resolved"]) == ([one.state for one in first.notices], [one.state for one in second.notices])
    turn(first, fast)
    assert [] == [one for one in first.judges.alerts.values() if one.state == "firing"]
    assert {fired.incident} == {one.incident for one in first.notices + second.notices}


class Others:
    """The other processes of a service, and what each has of itself."""

    def __init__(self) -> None:
        self.new: list[Alert] = []
        self.known: list[Alert] = []

    def news(self, new: Sequence[Alert], own: Iterable[Alert]) -> list[Alert]:
        """Return what nobody was told of."""
        del own
        told, self.new = self.new, []
        return [*new, *told]

    def alerts(self, own: Iterable[Alert]) -> tuple[Alert, ...]:
        """Return all there are."""
        return (*own, *self.known)


def test_alerts_of_single_processes_are_in_the_incidents_of_all_and_end_with_their_process() -> None:
    """Two minutes after it was there last; one that is found again by another leader goes on."""
    hangs = alert(id="stall-7", target="embed", severity="warning", evidence={PROCESS_PID: 7})
    desk, others = Desk(Says([], [alert(target="embed", severity="warning")])), Others()
    desk.fellows, others.new, others.known = others, [hangs], [hangs]
    assert [] == desk.ask()
    assert [("firing", "stall-7")] == desk.told()
    (own,) = desk.ask()
    assert ([own], desk.notices[0].incident) == (desk.judges.everybodys, own.incident)
    others.new = [hangs]
    for _ in range(150):
        desk.ask()
    assert [("firing", "stall-7")] == desk.told()
    assert {"firing"} == {one.state for one in desk.judges._cases.incidents.all[0].alerts.values()}
    others.known = []
    for _ in range(119):
        desk.ask()
    (incident,) = desk.judges._cases.incidents.all
    assert "firing" == incident.alerts["stall-7"].state
    desk.ask(), desk.ask()
    assert "resolved" == incident.alerts["stall-7"].state
    assert [("firing", "stall-7")] == desk.told()


def month(path: Path, restarts: int) -> tuple[Any, ...]:
    """Return what is told in thirty days of a service that is started anew so often."""
    random, world = np.random.default_rng(11), World(3_600.0, totals=False)
    pieces = np.linspace(0, 720, restarts + 1)[1:]
    checks: list[SLO] = []
    alerts, notices = [], []
    desk = None
    for hour in range(720):
        if desk is None or hour in np.ceil(pieces):
            checks = [SLO(CALL_DURATION, objective=0.99, name=name, where={CALL_NAME: name}) for name in ("a", "b")]
            desk = Desk(*checks, path=path, world=world)
        for name, phase in (("a", 90), ("b", 70)):
            bad = int(random.poisson(40 if hour % phase in (7, 8) else 0.5))
            world.call(name, np.full(100 - min(bad, 99), 0.01))
            world.call(name, np.full(min(bad, 99), 0.01), "ValueError")
        before = len(desk.notices)
        alerts += desk.ask()
        notices += desk.notices[before:]
    told = [(one.key, one.state, one.alert.id, one.alert.message) for one in notices]
    figures = [list(check.figures()) for check in checks]
    return [(one.id, one.state, one.incident, one.message) for one in alerts], told, figures


def test_twenty_restarts_in_thirty_days_change_nothing() -> None:
    """The same budget, the same alerts, the same incidents, each told once, to the word."""
    with tempfile.TemporaryDirectory(dir=os.environ["HOLTER_DIR"]) as folder:
        once, often = month(Path(folder, "a.checks"), 1), month(Path(folder, "b.checks"), 20)
    assert once == often
    alerts, told, _ = once
    states = [state for _, state, _, _ in told]
    assert (len(alerts) > 10, states.count("firing") > 5, states.count("resolved") > 5) == (True, True, True)
    assert len({key for key, *_ in told}) == len(told)


@pytest.mark.parametrize("name", ["sentiment-1.checks", "sentiment-1.0-1-5e1f.0123456789ab.notice"])
@pytest.mark.parametrize(
    "content", [b"\x00\xff", b'{"holter_checks":1,"saved_ns":1,"checks":{},"incidents":[{"id":1}]}']
)
def test_a_file_that_is_none_of_ours_is_set_aside_said_and_nothing_else_happens(
    tmp_path: Path, name: str, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """The service begins anew, tells of what fires, and of that only."""
    name = name.replace("0123456789ab", hashlib.sha256(b"ops").hexdigest()[:12])
    (tmp_path / name).write_bytes(content)
    desk = Desk(Says([alert()], [alert(state="resolved")]), path=tmp_path / "sentiment-1.checks")
    desk.ask(), desk.ask()
    assert [("firing", "limit-1"), ("resolved", "limit-1")] == desk.told()
    assert content == (tmp_path / f"{name}.aside").read_bytes()
    assert ["set aside" in line for line in caplog.messages] == [True]
    assert "sentiment-1" in json.dumps(sorted(path.name for path in tmp_path.iterdir()))
