"""Asks the checks of a monitor, each in a thread of its own, and lets each alert through once."""

from __future__ import annotations

import json
import logging
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

from holter import learnt, words
from holter.delivery import Delivery
from holter.guard import Guard
from holter.incidents import Incident, Incidents
from holter.keptsilences import Silences
from holter.learnt import Learnt, Lesson
from holter.model import Alert, AttributeValue, Check, Snapshot
from holter.moved import Course
from holter.outbox import Outbox
from holter.scope import Scope
from holter.values import number

_LOGGER: Final = logging.getLogger("holter")
PATIENCE_SECONDS: Final = 0.25
SAVED_EACH_NS: Final = 60_000_000_000
MOST_ALERTS_KEPT: Final = 1_000
MOST_FIGURES: Final = 100
_NO_ALERTS: Final[list[Alert]] = []


class Figure(NamedTuple):
    """A gauge that a check shows."""

    name: str
    value: float
    attributes: Mapping[str, AttributeValue]


class Judge:
    """
    An exporter that asks one check for its judgement, and keeps the alerts until they are fetched.

    What the check has learnt (its ``save()``) is taken each minute, with each alert, and when it is wanted; what it
    shows (its ``figures()``) each time.
    """

    every_seconds = 1e9

    def __init__(self, check: Check, guard: Guard, key: str) -> None:
        self._check, self._guard, self.key = check, guard, key
        self.name = type(check).__name__
        self._given: deque[Alert] = deque()
        self._due: tuple[Lesson, float] | None = None
        self.resumed: tuple[Alert, ...] = ()
        """Alerts of the process before that go on firing here, until they are fetched."""
        self._saved_ns = 0
        self.is_saving_wanted = False
        self.state: str | None = None
        """What the check has learnt, as JSON; None if it never says."""
        self.figures: tuple[Figure, ...] = ()

    @property
    def remembers(self) -> bool:
        """Whether the check has something that outlives its process."""
        return hasattr(self._check, "save") and hasattr(self._check, "load")

    def adopt(self, lesson: Lesson, gap_seconds: float) -> None:
        """Have the check go on, before it is asked next, from what it had learnt *gap_seconds* ago."""
        self._due = lesson, gap_seconds

    def export(self, snapshot: Snapshot, alerts: Iterable[Alert]) -> None:
        """Ask; a check that raises, or returns something else than alerts, is counted."""
        del alerts
        due, self._due = self._due, None
        # Its alerts go on with it, or not at all: else nobody would ever resolve them.
        if due is not None and self._guard.run(f"check {self.name} load", False, self._load, *due):  # noqa: FBT003 - the default
            self.state, self.resumed = due[0].state, due[0].alerts
        given = self._guard.run(f"check {self.name}", _NO_ALERTS, self._asked, snapshot)
        if hasattr(self._check, "figures"):
            self.figures = self._guard.run(f"check {self.name} figures", self.figures, self._shown)
        is_due = bool(given) or self.is_saving_wanted or snapshot.time_ns - self._saved_ns >= SAVED_EACH_NS
        if is_due and self.remembers:
            self.is_saving_wanted, self._saved_ns = False, snapshot.time_ns
            self.state = self._guard.run(f"check {self.name} save", self.state, self._saved)
        self._given.extend(given)

    def _asked(self, snapshot: Snapshot) -> list[Alert]:
        alerts = list(self._check.judge(snapshot))
        if not all(isinstance(alert, Alert) for alert in alerts):
            raise TypeError(f"{self.name}.judge must return Alerts")
        return alerts

    def _shown(self) -> tuple[Figure, ...]:
        check: Any = self._check
        shown = (Figure(str(name), value, dict(attributes)) for name, value, attributes in check.figures())
        return tuple(one for _, one in zip(range(MOST_FIGURES), shown, strict=False) if number(one.value) is not None)

    def _load(self, lesson: Lesson, gap_seconds: float) -> bool:
        check: Any = self._check
        return check.load(json.loads(lesson.state), gap_seconds) is not False

    def _saved(self) -> str:
        check: Any = self._check
        state = json.dumps(check.save(), allow_nan=False, separators=(",", ":"))
        if len(state) > learnt.MOST_BYTES:
            raise ValueError(f"{self.name}.save() must take at most {learnt.MOST_BYTES:,} bytes as JSON")
        return state

    def fetch(self) -> list[Alert]:
        """Return what the check has given since the last time."""
        return [self._given.popleft() for _ in range(len(self._given))]

    def close(self, timeout: float) -> None:
        """Hold nothing."""


class Judges:
    """
    The checks of one run of a monitor; ``alerts`` holds what they have given, the latest state of at most 1,000.

    A check that hangs hangs alone: it is waited for once, and its alerts come when it is done. What they have
    learnt is in the file at *path*, if there is one: read when this process begins to judge, written each minute,
    with each alert, and at the end. Alerts of one trouble are one incident; what is to be told of it goes into
    ``outbox``, unless ``silences`` keep it back.
    """

    def __init__(self, scope: Scope, checks: Iterable[Check], path: Path | None = None) -> None:
        self._guard, self._path = scope.guard, path
        self._judges = [Judge(check, scope.guard, key) for key, check in _keyed(checks)]
        self.deliveries = [Delivery(scope, judge, name=judge.name) for judge in self._judges]
        self.alerts: dict[str, Alert] = {}
        self.changed: list[Alert] = []
        """The alerts that are otherwise than at the turn before, be it that one more is related, or that it goes on."""
        self._owners: dict[str, Judge] = {}
        self._is_judging = False
        self._written: list[object] = []
        base = None if path is None else path.with_name(path.name.removesuffix(learnt.SUFFIX))
        self.silences, self.outbox = Silences(scope.silences, base), Outbox(base)
        self._incidents, self._course = Incidents(), Course() if self._judges else None

    @property
    def figures(self) -> Iterable[Figure]:
        """What the checks show, if this process judges."""
        return [figure for judge in self._judges for figure in judge.figures] if self._is_judging else ()

    def ask(self, snapshot: Snapshot | None, deadline: float, *, patiently: bool) -> list[Alert]:
        """
        Return the alerts that are new: each fires once and resolves once, whatever a check repeats.

        Without a *snapshot* another process judges; when this one comes to it again, it reads what that one has learnt.
        Waits for the checks at most until *deadline*, on the monotonic clock, if not *patiently* 250 ms at
        most, and never for those that are not done yet with the snapshot before. When strict they are asked in
        this thread, so that their errors raise here.
        """
        self.changed = []
        if snapshot is None:
            self._is_judging = False
            self.outbox.standing = ()
            return []
        if not self._is_judging:
            self._is_judging = True
            self._guard.run("state of checks", None, self._adopt, snapshot)
        until = deadline if patiently else min(deadline, time.monotonic() + PATIENCE_SECONDS)
        for judge in self._judges:
            judge.is_saving_wanted |= patiently
        if self._guard.strict:
            for judge in self._judges:
                judge.export(snapshot, ())
        else:
            punctual = [delivery for delivery in self.deliveries if delivery.wait_until_idle(0.0)]
            for delivery in self.deliveries:
                delivery.offer(snapshot, now=True)
            for delivery in punctual:
                delivery.wait_until_idle(until)
        for judge in self._judges:
            self._resume(judge)
        alerts = [alert for judge in self._judges for alert in judge.fetch() if self._is_new(alert, judge)]
        told = self._guard.run("incidents", alerts, self._told, snapshot, alerts)
        self._guard.run("state of checks", None, self._keep, snapshot.time_ns)
        # In between: who is killed before leaves what the next one needs to tell of it, who is not has it told once.
        if self._guard.run("incidents", False, self._post, snapshot):  # noqa: FBT003 - the default
            self._guard.run("state of checks", None, self._keep, snapshot.time_ns)
        return told

    def _is_new(self, alert: Alert, judge: Judge) -> bool:
        known = self.alerts.get(alert.id)
        if (known.state if known is not None else "resolved") == alert.state:
            return False
        self.alerts[alert.id], self._owners[alert.id] = alert, judge
        if len(self.alerts) > MOST_ALERTS_KEPT:
            over = (one.id for one in self.alerts.values() if one.state == "resolved")
            oldest = next(over, next(iter(self.alerts)))
            self.alerts.pop(oldest)
            self._owners.pop(oldest, None)
        return True

    # -- incidents

    def _told(self, snapshot: Snapshot, alerts: list[Alert]) -> list[Alert]:
        """Return *alerts* with what moved along, their incidents, and what silences them; go on with all incidents."""
        now_ns, service = snapshot.time_ns, snapshot.process.service
        is_silent = self.silences.look(now_ns)
        if self._course is not None:
            self._course.add(snapshot)
        incidents: dict[str, Incident] = {}
        told: list[tuple[Alert, Incident | None]] = []
        for alert in alerts:
            full = replace(self._with_related(alert), silence=self.silences.of(alert, now_ns))
            incident = self._incidents.take(full, now_ns, service)
            told.append((full, incident))
            if incident is not None:
                incidents[incident.id] = incident
        shown = [alert if incident is None else incident.shown(alert) for alert, incident in told]
        self.changed += shown
        for alert in shown:
            if alert.id in self.alerts and self.alerts[alert.id].state == alert.state:
                self.alerts[alert.id] = alert
        self._mark(now_ns, is_silent=is_silent)
        self._incidents.turn(now_ns, lambda alert: self.silences.of(alert, now_ns))
        for incident in incidents.values():
            for alert in incident.announced.values():
                self._change(alert.id, incident.shown(alert).related)
        return shown

    def _with_related(self, alert: Alert) -> Alert:
        if alert.related:
            return alert
        if alert.state == "firing" and self._course is not None:
            return replace(alert, related=self._course.moved(alert))
        return alert

    def _change(self, key: str, related: tuple[str, ...]) -> None:
        """Let an alert that fires say what is related to it by now."""
        known = self.alerts.get(key)
        if known is not None and known.state == "firing" and known.related != related:
            self.alerts[key] = replace(known, related=related)
            self.changed.append(self.alerts[key])

    def _mark(self, now_ns: int, *, is_silent: bool) -> None:
        """Say of each alert that fires what silences it, if something does."""
        if not is_silent and not any(alert.silence for alert in self.alerts.values()):
            return
        for alert in [one for one in self.alerts.values() if one.state == "firing"]:
            silence = self.silences.of(alert, now_ns)
            if silence != alert.silence:
                self.alerts[alert.id] = replace(alert, silence=silence)
                self.changed.append(self.alerts[alert.id])
                if silence is None:
                    message = words.clean(alert.message, 500)
                    _LOGGER.warning("holter: firing still, and no longer silenced: %s", message)

    def _post(self, snapshot: Snapshot) -> bool:
        """Put into the outbox what is to be told; return whether there was something."""
        unposted = self._incidents.unposted()
        for incident in unposted:
            self.outbox.post(incident.notice(snapshot.process))
            self._incidents.posted(incident)
        self.outbox.standing = self._incidents.standing(snapshot.process)
        return bool(unposted)

    # -- what outlives the process

    def _adopt(self, snapshot: Snapshot) -> None:
        if self._path is None:
            return
        known = learnt.read(self._path)
        # What has become of those that fired when this process judged last, the other one knows.
        self.alerts = {key: alert for key, alert in self.alerts.items() if alert.state == "resolved"}
        self._incidents.load(known.incidents, snapshot.time_ns)
        self._post(snapshot)
        for judge in self._judges:
            lesson = known.lessons.get(judge.key)
            if lesson is not None and judge.remembers:
                judge.adopt(lesson, learnt.gap_seconds(known, snapshot.time_ns))
        self._written = self._states()

    def _resume(self, judge: Judge) -> None:
        """Take over the alerts that go on firing; they are no new ones, so only the log says so."""
        resumed, judge.resumed = judge.resumed, ()
        for alert in resumed:
            self.alerts[alert.id], self._owners[alert.id] = alert, judge
            self.changed.append(alert)
            self._incidents.resume(alert)
            _LOGGER.warning("holter: firing already: %s", words.clean(alert.message, 500))

    def _states(self) -> list[object]:
        return [self._incidents.version, *(judge.state for judge in self._judges)]

    def _keep(self, now_ns: int) -> None:
        """Write down what has been learnt, and which incidents there are, if there is something new."""
        states = self._states()
        known = self._written or [0] + [None] * len(self._judges)
        if self._path is None or all(map(_is_same, states, known)):
            return
        lessons = {
            judge.key: Lesson(judge.state, tuple(self._firing(judge)))
            for judge in self._judges
            if judge.state is not None
        }
        learnt.write(self._path, Learnt(now_ns, lessons, self._incidents.all))
        self._written = states

    def _firing(self, judge: Judge) -> list[Alert]:
        return [
            alert for alert in self.alerts.values() if alert.state == "firing" and self._owners.get(alert.id) is judge
        ]


def _is_same(one: object, other: object) -> bool:
    return one is other or (isinstance(one, int) and one == other)


def _keyed(checks: Iterable[Check]) -> Iterable[tuple[str, Check]]:
    """Yield each check with what it is known by in the next process: what it says of itself, or its class."""
    seen: dict[str, int] = {}
    for check in checks:
        kind = type(check)
        # That of object has an address in it.
        text = kind.__qualname__ if kind.__repr__ is object.__repr__ else repr(check)
        seen[text] = seen.get(text, 0) + 1
        yield (text if seen[text] == 1 else f"{text} #{seen[text]}"), check
