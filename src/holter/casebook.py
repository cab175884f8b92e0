"""What becomes of the alerts that checks give: what is related to them, their incidents, silences, and who is told."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, Protocol

from holter import words
from holter.incidents import Incident, Incidents
from holter.keptsilences import Silences
from holter.model import Alert, Snapshot
from holter.moved import Course
from holter.names import PROCESS_PID
from holter.outbox import Outbox

_LOGGER: Final = logging.getLogger("holter")


class Fellows(Protocol):
    """The other processes of a service, as the one sees them that leads."""

    def news(self, new: Sequence[Alert], own: Iterable[Alert]) -> list[Alert]:
        """Return the *new* alerts, and behind them those of single processes that nobody was told of yet."""

    def alerts(self, own: Iterable[Alert]) -> tuple[Alert, ...]:
        """Return the latest state of all alerts there are."""


class Casebook:
    """
    The alerts of one run of a monitor as people are told of them; ``alerts`` are those of its own checks, by id.

    ``changed`` are those that are otherwise than at the turn before, ``everybodys`` what is new of all processes,
    where this one leads. What is to be told goes into ``outbox``, unless ``silences`` keep it back. With a *base* both
    have files that begin like it.
    """

    def __init__(self, silences: Silences, base: Path | None) -> None:
        self.alerts: dict[str, Alert] = {}
        self.changed: list[Alert] = []
        self.everybodys: list[Alert] = []
        self.silences, self.outbox, self.incidents = silences, Outbox(base), Incidents()
        self._courses = {True: Course(), False: Course()}
        """Of all processes together, and of this one."""

    def begin(self) -> None:
        """Begin a turn."""
        self.changed, self.everybodys = [], []

    def resign(self) -> None:
        """Leave it to another process to tell."""
        self.outbox.standing = ()

    def adopt(self, incidents: Iterable[Incident], snapshot: Snapshot) -> None:
        """Go on with what another process knew of *incidents*, in place of what this one did."""
        self.incidents.load(incidents, snapshot.time_ns)
        self._courses[True] = Course()
        self.post(snapshot)

    def resume(self, alert: Alert) -> None:
        """Take over an *alert* of another process that goes on here; it is no new one, so only the log says so."""
        self.alerts[alert.id] = alert
        self.changed.append(alert)
        self.incidents.resume(alert)
        _LOGGER.warning("holter: firing already: %s", words.clean(alert.message, 500))

    def follow(self, snapshot: Snapshot, *, is_whole: bool) -> None:
        """Take in an interval, of all processes or of this one, so that it is known what moves."""
        self._courses[is_whole].add(snapshot)

    def note(self, alerts: Sequence[Alert], now_ns: int) -> list[Alert]:
        """Return new *alerts* of this process with what moved along and what silences them, and mark the others."""
        is_silent = self.silences.look(now_ns)
        noted = [replace(self._with_related(alert), silence=self.silences.of(alert, now_ns)) for alert in alerts]
        self._keep(noted)
        self._mark(now_ns, is_silent=is_silent)
        return noted

    def _with_related(self, alert: Alert) -> Alert:
        if alert.related:
            return alert
        if alert.state == "firing":
            return replace(alert, related=self._courses[PROCESS_PID not in alert.evidence].moved(alert))
        return alert

    def _keep(self, alerts: Iterable[Alert]) -> None:
        for alert in alerts:
            known = self.alerts.get(alert.id)
            if known is not None and known.state == alert.state:
                self.alerts[alert.id] = alert

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

    def tell(self, alerts: list[Alert], snapshot: Snapshot, fellows: Fellows | None) -> list[Alert]:
        """
        Return the new *alerts* of this process, which leads, with their incidents, and go on with all of these.

        Those of single processes come from the *fellows*; one of a process that has ended has some time to come back.
        """
        now_ns, service = snapshot.time_ns, snapshot.process.service
        news = alerts if fellows is None else fellows.news(alerts, self.alerts.values())
        cases = [(alert, self.incidents.take(alert, now_ns, service)) for alert in news]
        if fellows is not None:
            self._look_after(fellows, now_ns)
        self.everybodys = [alert if incident is None else incident.shown(alert) for alert, incident in cases]
        shown = self.everybodys[: len(alerts)]
        self._keep(shown)
        self.changed += shown
        self.incidents.turn(now_ns, lambda alert: self.silences.of(alert, now_ns))
        touched = {incident.id: incident for _, incident in cases if incident is not None}
        for incident in touched.values():
            for alert in incident.announced.values():
                self._change(alert.id, incident.shown(alert).related)
        return shown

    def _look_after(self, fellows: Fellows, now_ns: int) -> None:
        """See whether the alerts of single processes still have one that says so."""
        if not any(PROCESS_PID in alert.evidence for one in self.incidents.all for alert in one.firing()):
            return
        going = {alert.id for alert in fellows.alerts(self.alerts.values()) if alert.state == "firing"}
        for incident in self.incidents.all:
            for alert in incident.firing():
                if PROCESS_PID in alert.evidence:
                    self.incidents.look_after(alert, now_ns, goes_on=alert.id in going)

    def _change(self, key: str, related: tuple[str, ...]) -> None:
        """Let an alert that fires say what is related to it by now."""
        known = self.alerts.get(key)
        if known is not None and known.state == "firing" and known.related != related:
            self.alerts[key] = replace(known, related=related)
            self.changed.append(self.alerts[key])

    def post(self, snapshot: Snapshot) -> bool:
        """Put into the outbox what is to be told; return whether there was something."""
        unposted = self.incidents.unposted()
        for incident in unposted:
            self.outbox.post(incident.notice(snapshot.process))
            self.incidents.posted(incident)
        self.outbox.standing = self.incidents.standing(snapshot.process)
        return bool(unposted)
