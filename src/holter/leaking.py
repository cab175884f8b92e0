"""One level that a check on leaks watches: its course, the climb that was told of it, and the alerts that fire."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, get_args

from holter.ascent import Ascent, Climb, Demands
from holter.levels import Level
from holter.model import Alert, Severity


class WatchedLevel:
    """What is known of one level; its *demands* say what a climb of it must come to."""

    def __init__(self, level: Level, demands: Demands, now: float, work: float) -> None:
        self.level, self.seen, self.longest_gap = level, now, 0.0
        self.climb: Climb | None = None
        """The climb that was told, as it is now."""
        self.since_ns = 0
        self.open: dict[Severity, Alert] = {}
        """The alerts that fire."""
        self._ascent, self._work = Ascent(demands), work
        self._demands = demands
        self._parts: dict[str, Ascent] = {}

    def is_of_same_owner(self, level: Level) -> bool:
        """Whether *level* is of the same process, and not of another one with its number, as far as that is known."""
        known = self.level.started is not None and level.started is not None
        return not known or level.is_of(self.level.started)

    def begin(self, now: float) -> None:
        """Take what comes for another warm-up."""
        self._ascent.begin(now)

    def take(self, level: Level, now: float, work: float, room: float, parts: Mapping[str, float]) -> Climb | None:
        """Take in the level as it is *now*, with all the *work* done until then; return a climb that goes on."""
        self.longest_gap = max(self.longest_gap, now - self.seen)
        self.level, self.seen = level._replace(started=level.started or self.level.started), now
        done, self._work = work - self._work, work
        for part, value in parts.items():
            self._parts.setdefault(part, Ascent(self._demands)).note(now, value)
        return self._ascent.take(now, level.value, max(0.0, done), room=room)

    def has_stopped(self) -> bool:
        """Whether the climb that was told has come to its end; asked when a block of its window has ended."""
        climb = self.climb
        return climb is not None and climb.scale in self._ascent.ended and self._ascent.has_stopped(climb)

    def grown(self) -> dict[str, float]:
        """Return what each part has grown in the window of the climb, as far as that is known."""
        if self.climb is None:
            return {}
        scale = self.climb.scale
        found = {part: ascent.grown(scale) for part, ascent in self._parts.items()}
        return {part: grown for part, grown in found.items() if grown is not None}

    def fire(self, alert: Alert) -> Alert:
        """Keep *alert*, which fires, until it resolves; return it."""
        self.open[alert.severity] = alert
        return alert

    def resolve(self, message: str) -> Iterator[Alert]:
        """Yield the ends of the alerts that fire, and forget the climb."""
        fired, self.open, self.climb = self.open, {}, None
        for alert in fired.values():
            yield resolved(alert, message)

    def save(self) -> dict[str, Any]:
        """Return what `load` takes."""
        return {
            "started": self.level.started,
            "ascent": self._ascent.save(),
            "climb": None if self.climb is None else list(self.climb),
            "since_ns": self.since_ns,
            "alerts": [_saved(alert) for alert in self.open.values()],
        }

    def load(self, state: Handed) -> None:
        """Go on from what another process knew of the same level."""
        self._ascent.load(state.ascent)
        self.climb, self.since_ns, self.open = state.climb, state.since_ns, dict(state.alerts)


class Handed:
    """
    What another process knew of a level.

    Raises:
        ValueError, KeyError, TypeError: *state* is not what `WatchedLevel.save` returns.
    """

    def __init__(self, state: Mapping[str, Any], demands: Demands) -> None:
        started, climb = state["started"], state["climb"]
        self.started = None if started is None else float(started)
        self.ascent = state["ascent"]
        Ascent(demands).load(self.ascent)
        self.climb = None if climb is None else Climb(int(climb[0]), *map(float, climb[1:]))
        if self.climb is not None and not 0 <= self.climb.scale < len(demands.scales()):
            raise ValueError(f"no window: {self.climb.scale}")
        self.since_ns = int(state["since_ns"])
        alerts = [_loaded(alert) for alert in state["alerts"]]
        self.alerts: dict[Severity, Alert] = {alert.severity: alert for alert in alerts}

    def resolve(self) -> Iterator[Alert]:
        """Yield the ends of the alerts that fired: who had that memory is not there any more."""
        for alert in self.alerts.values():
            yield resolved(alert, f"{alert.target} no longer grows: it has ended")


def resolved(alert: Alert, message: str) -> Alert:
    """Return the end of an *alert*."""
    return replace(alert, state="resolved", message=message, next_step="")


def _saved(alert: Alert) -> list[Any]:
    return [
        alert.id,
        alert.severity,
        alert.since_ns,
        alert.target,
        alert.expected,
        alert.seen,
        alert.message,
        dict(alert.evidence),
    ]


def _loaded(saved: Any) -> Alert:
    name, severity, since_ns, target, expected, seen, message, evidence = saved
    if severity not in get_args(Severity) or not all(
        isinstance(one, str) for one in (name, target, expected, seen, message)
    ):
        raise ValueError("no alert")
    return Alert(
        id=name,
        check="leak",
        state="firing",
        severity=severity,
        since_ns=int(since_ns),
        target=target,
        expected=expected,
        seen=seen,
        message=message,
        evidence={str(key): value for key, value in evidence.items()},
    )
