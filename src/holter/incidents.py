"""
Which alerts are one trouble, and what is told of it.

Two alerts have the same cause, as far as can be told, when one fires within two minutes of the other and

- both fire in the same interval, or
- they are of the same call, one of its stages or the same metric, or
- one of them is of what all calls share: the process, the machine, a GPU, Python's runtime, or
- the signal of one moved along with the other's, as its ``related`` tells.

Others are troubles of their own, however close in time: to hide one behind the other is worse than to tell of two.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, cast, get_args

from holter.documents import alert_row, decode_alert
from holter.model import Alert, AlertState, Process, Silence
from holter.names import CALL_NAME
from holter.notice import MOST_OTHERS, Notice, brief
from holter.words import clean

TOGETHER_NS: Final = 120_000_000_000
MOST_INCIDENTS: Final = 200
MOST_ALERTS: Final = 64
_MOST_OTHERS: Final = 6
_MOST_RELATED: Final = 16
_MOST_SUBJECTS: Final = 200
_LONGEST_OTHER: Final = 160
_RANKS: Final = {"info": 0, "warning": 1, "critical": 2}
_UNTOLD: Final = -1
_SHARED: Final = (
    *("process.", "system.", "hw.", "cpython.", "holter.cgroup.", "holter.gc.", "holter.gil.", "holter.gpu."),
    *("holter.host.", "holter.loop.", "holter.process", "holter.python.", "holter.storage."),
)


def subject(alert: Alert) -> str:
    """Return the call that *alert* is of, without the stage, else the metric."""
    base, _, rest = alert.target.partition("{")
    named = next((part for part in rest.rstrip("}").split(", ") if part.startswith(f"{CALL_NAME}=")), "")
    return named.partition("=")[2] or base.partition(" > ")[0]


def signal(told: str) -> str:
    """Return the call or metric that a line of ``related`` tells of."""
    return told.partition(": ")[0].partition(" > ")[0]


def _is_shared(name: str) -> bool:
    return name.startswith(_SHARED)


@dataclass(slots=True)
class Incident:
    """
    One trouble: its alerts in their latest state, and what was told of it.

    ``alerts`` has each under the id that it had when it came, also where its check has begun anew since;
    ``orphans`` are those that no check goes on with, and until when one may come back to them.
    """

    id: str
    latest_ns: int
    alerts: dict[str, Alert] = field(default_factory=dict)
    announced: dict[str, Alert] = field(default_factory=dict)
    moved: set[str] = field(default_factory=set)
    orphans: dict[str, int] = field(default_factory=dict)
    rank: int = _UNTOLD
    said: AlertState | None = None
    said_ns: int = 0
    number: int = 0
    posted: int = 0
    ended_ns: int = 0
    is_reopened: bool = False

    def firing(self) -> list[Alert]:
        """Return those that fire."""
        return [alert for alert in self.alerts.values() if alert.state == "firing"]

    def has_cause_of(self, alert: Alert, now_ns: int) -> bool:
        """Whether *alert*, which fires now, is of the same trouble, as far as can be told."""
        if now_ns - self.latest_ns > TOGETHER_NS:
            return False
        name, subjects = subject(alert), {subject(one) for one in self.alerts.values()}
        if now_ns == self.latest_ns or name in subjects or _is_shared(name) or any(map(_is_shared, subjects)):
            return True
        return name in self.moved or not subjects.isdisjoint(map(signal, alert.related))

    def key_of(self, alert: Alert) -> str:
        """Return the id under which *alert* is kept, its own if it is new."""
        if alert.id in self.alerts:
            return alert.id
        return next((key for key, known in self.alerts.items() if known.id == alert.id), alert.id)

    def orphan_like(self, alert: Alert) -> str | None:
        """Return the id of one that no check went on with, and that *alert* is again."""
        same = (alert.check, alert.target, alert.severity)
        for key in self.orphans:
            known = self.alerts[key]
            if known.id == alert.id or (known.check, known.target, known.severity) == same:
                return key
        return None

    def add(self, alert: Alert, now_ns: int) -> None:
        """Take in an *alert* that fires."""
        key = self.orphan_like(alert) or self.key_of(alert)
        self.orphans.pop(key, None)
        self.alerts[key] = alert
        self.moved |= set(map(signal, alert.related[: _MOST_SUBJECTS - len(self.moved)]))
        self.latest_ns = max(self.latest_ns, now_ns)
        if self.ended_ns:
            self.ended_ns, self.is_reopened = 0, self.is_reopened or self.said is not None
            self.rank, self.announced = _UNTOLD, {}
        if len(self.alerts) > MOST_ALERTS:
            least = [one for one in self.alerts if one not in self.announced and one != key]
            dropped = next((one for one in least if self.alerts[one].state == "resolved"), least[0])
            del self.alerts[dropped]
            self.orphans.pop(dropped, None)

    def shown(self, alert: Alert) -> Alert:
        """Return *alert* with its incident, and the others that fire among what is related."""
        others = [one for one in self.firing() if one.id != alert.id][:_MOST_OTHERS]
        told = [clean(f"{subject(one)}: {one.message}", _LONGEST_OTHER) for one in others]
        return replace(alert, incident=self.id, related=(*told, *alert.related)[:_MOST_RELATED])

    def turn(self, now_ns: int, silence_of: Callable[[Alert], Silence | None]) -> bool:
        """Go on with the time; return whether something has changed."""
        lost = [key for key, until_ns in self.orphans.items() if now_ns >= until_ns]
        for key in lost:
            del self.orphans[key]
            known = self.alerts[key]
            message = f"{known.target}: nobody judges it any more, so its alert ends; that is no recovery"
            self.alerts[key] = replace(known, state="resolved", message=message, next_step="")
        firing = self.firing()
        if firing:
            return self._announce(firing, now_ns, silence_of) or bool(lost)
        # One that has come back is over only when it has kept quiet: whoever is called is not to be called in turns.
        if self.ended_ns or (self.is_reopened and now_ns - self.latest_ns < TOGETHER_NS):
            return bool(lost)
        self.ended_ns = now_ns
        if self.rank != _UNTOLD:
            self.rank = _UNTOLD
            self._say("resolved", now_ns)
        return True

    def _announce(self, firing: list[Alert], now_ns: int, silence_of: Callable[[Alert], Silence | None]) -> bool:
        """Tell of the gravest of those that fire, unless one as grave was told; return whether that is so."""
        loud = [alert for alert in firing if _RANKS[alert.severity] > self.rank and silence_of(alert) is None]
        if not loud:
            return False
        gravest = max(loud, key=lambda alert: _RANKS[alert.severity])
        self.rank = _RANKS[gravest.severity]
        key = self.key_of(gravest)
        self.announced.pop(key, None)
        self.announced[key] = gravest
        self._say("firing", now_ns)
        return True

    def _say(self, state: AlertState, now_ns: int) -> None:
        # In order, whatever the clock does.
        self.said, self.said_ns, self.number = state, max(now_ns, self.said_ns + 1), self.number + 1

    def notice(self, process: Process) -> Notice:
        """Return what was told of it last."""
        told = {key: self.shown(alert) for key, alert in self.announced.items()}
        if self.said == "resolved":
            latest = {key: self.alerts.get(key, alert) for key, alert in told.items()}
            told = {key: replace(self.shown(alert), id=told[key].id) for key, alert in latest.items()}
        joined = [alert for key, alert in self.alerts.items() if key not in told]
        if self.said == "firing":
            joined = [alert for alert in joined if alert.state == "firing"]
        *_, alert = told.values()
        state: AlertState = self.said or "firing"
        others = tuple(map(brief, joined[-MOST_OTHERS:]))
        return Notice(self.id, self.number, state, self.said_ns, alert, tuple(told.values()), others, process)

    def save(self) -> dict[str, Any]:
        """Return all of it, as JSON has it."""
        return {
            "id": self.id,
            "times": [self.latest_ns, self.said_ns, self.ended_ns],
            "numbers": [self.rank, self.number, self.posted],
            "said": self.said,
            "is_reopened": self.is_reopened,
            "alerts": {
                key: alert_row(alert if alert.state == "firing" or key in self.announced else brief(alert))
                for key, alert in self.alerts.items()
            },
            "announced": {key: alert_row(alert) for key, alert in self.announced.items()},
            "moved": sorted(self.moved),
            "orphans": self.orphans,
        }

    @classmethod
    def load(cls, known: Mapping[str, Any]) -> Incident:
        """
        Return the incident that was saved.

        Raises:
            ValueError: it is none; KeyError and TypeError too.
        """
        latest_ns, said_ns, ended_ns = map(int, known["times"])
        rank, number, posted = map(int, known["numbers"])
        if known["said"] not in (None, *get_args(AlertState)) or (number > posted and not known["announced"]):
            raise ValueError("an incident that nobody can tell of")
        alerts, announced = (
            {str(key): alert for key, row in known[name].items() if (alert := decode_alert(row)) is not None}
            for name in ("alerts", "announced")
        )
        if len(alerts) < len(known["alerts"]) or len(announced) < len(known["announced"]):
            raise ValueError("an alert of an incident is none")
        orphans = {str(key): int(until_ns) for key, until_ns in known["orphans"].items() if key in alerts}
        moved = set(map(str, known["moved"][:_MOST_SUBJECTS]))
        said = cast("AlertState | None", known["said"])
        return cls(
            str(known["id"]), latest_ns, alerts, announced, moved, orphans, rank, said, said_ns, number, posted,
            ended_ns, known["is_reopened"] is True,
        )  # fmt: skip


class Incidents:
    """
    The troubles of one service, at most 200; each is announced once, by its first alert, and once when it is over.

    What joins is not told, unless it is graver than what was. One that comes back within two minutes of its latest
    alert is the same again, is announced again, and is over when it has kept quiet until those two minutes have
    passed. Alerts that no check goes on with after a restart end two minutes later.
    """

    def __init__(self) -> None:
        self._incidents: list[Incident] = []
        self.version = 0
        """Rises with each change."""

    @property
    def all(self) -> tuple[Incident, ...]:
        """Those that go on, and those that have ended lately."""
        return tuple(self._incidents)

    def of(self, alert: Alert) -> Incident | None:
        """Return the incident of *alert*, None if it is in none."""
        for incident in reversed(self._incidents):
            if any(alert.id in (key, known.id) for key, known in incident.alerts.items()):
                return incident
        return None

    def take(self, alert: Alert, now_ns: int, service: str) -> Incident | None:
        """Take in an *alert* that has begun to fire, or no longer does; return its incident, if there is one."""
        self.version += 1
        if alert.state == "resolved":
            found = self.of(alert)
            if found is not None:
                found.alerts[found.key_of(alert)] = replace(alert, incident=found.id)
                found.orphans.pop(found.key_of(alert), None)
            return found
        known = self.of(alert)
        if known is not None and known.alerts[known.key_of(alert)].state == "firing":
            # Told once more, by who has come to lead.
            self.resume(alert)
            return known
        incident = self._with_cause_of(alert, now_ns) or self._begin(alert, now_ns, service)
        incident.add(replace(alert, incident=incident.id), now_ns)
        return incident

    def resume(self, alert: Alert) -> None:
        """Let an *alert* of the process before go on: its check does."""
        incident = self.of(alert)
        if incident is not None:
            self.version += 1
            incident.orphans.pop(incident.key_of(alert), None)

    def _with_cause_of(self, alert: Alert, now_ns: int) -> Incident | None:
        newest = sorted(self._incidents, key=lambda one: one.latest_ns, reverse=True)
        again = (one for one in newest if one.orphan_like(alert) is not None)
        same = (one for one in newest if one.has_cause_of(alert, now_ns))
        found = next(again, None) or next(same, None)
        return newest[0] if found is None and len(newest) >= MOST_INCIDENTS else found

    def _begin(self, alert: Alert, now_ns: int, service: str) -> Incident:
        words = f"{service}\0{alert.id}\0{now_ns}".encode("utf-8", "replace")
        incident = Incident(hashlib.sha256(words).hexdigest()[:12], now_ns)
        self._incidents.append(incident)
        return incident

    def look_after(self, alert: Alert, now_ns: int, *, goes_on: bool) -> None:
        """Let an *alert* of a process go on, or give it some time to come back where that process does not."""
        incident = self.of(alert)
        if incident is None or goes_on is (incident.key_of(alert) not in incident.orphans):
            return
        if goes_on:
            self.resume(alert)
        else:
            self.version += 1
            incident.orphans[incident.key_of(alert)] = now_ns + TOGETHER_NS

    def turn(self, now_ns: int, silence_of: Callable[[Alert], Silence | None]) -> None:
        """Go on with the time, and forget what is over and told."""
        for incident in self._incidents:
            self.version += incident.turn(now_ns, silence_of)
        going = [
            one
            for one in self._incidents
            if not one.ended_ns or one.posted < one.number or now_ns - one.latest_ns <= TOGETHER_NS
        ]
        self.version += len(going) < len(self._incidents)
        self._incidents = going

    def unposted(self) -> list[Incident]:
        """Return those of which something has to be told."""
        return [one for one in self._incidents if one.posted < one.number]

    def posted(self, incident: Incident) -> None:
        """Note that what is to be told of *incident* is on its way."""
        self.version += 1
        incident.posted = incident.number

    def standing(self, process: Process) -> tuple[Notice, ...]:
        """Return what was told of those that go on."""
        return tuple(one.notice(process) for one in self._incidents if one.said == "firing" and not one.ended_ns)

    def load(self, known: Iterable[Incident], now_ns: int) -> None:
        """Go on with those *known*; alerts that no check resumes have some time to come back."""
        self.version += 1
        self._incidents = list(known)[-MOST_INCIDENTS:]
        for incident in self._incidents:
            for alert in incident.firing():
                incident.orphans.setdefault(incident.key_of(alert), now_ns + TOGETHER_NS)
