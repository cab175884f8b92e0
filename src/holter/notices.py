"""What a monitor tells people by itself: alerts and its own troubles, through the logger ``holter``."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Final

from holter import words
from holter.guard import Guard
from holter.model import Alert, Snapshot
from holter.notice import Notice
from holter.ring import IMPLEMENTATION
from holter.settings import Settings
from holter.version import __version__

_LEVELS: Final = {"info": logging.INFO, "warning": logging.WARNING, "critical": logging.CRITICAL}
_MOST_INCIDENTS: Final = 200


def start_line(settings: Settings, recording: str) -> str:
    """Return the line that says what a monitor does from now on, and where its *recording* is."""
    return (
        f"holter {__version__} watches {settings.title} each {settings.interval_seconds:g} s; "
        f"ring: {IMPLEMENTATION}; recording: {recording}; {settings.plug_ins}; look: print(holter.summary())"
    )


class Notices:
    """
    An exporter that logs each alert, and the first internal error of each place.

    What joins an incident of which one as grave was logged, and what is silenced, is logged as information.
    """

    every_seconds = 1.0

    def __init__(self, logger: logging.Logger, guard: Guard) -> None:
        self._logger, self._guard = logger, guard
        self._told: dict[str, tuple[int, str]] = {}

    def export(self, snapshot: Snapshot, alerts: Iterable[Alert]) -> None:
        """Log what is new."""
        del snapshot
        for place, what in list(self._guard.first.copy().items()):
            if place not in self._guard.told:
                self._guard.told.add(place)
                self._logger.warning(
                    "holter: %s went wrong (%s); it is counted in holter.internal_errors and not logged again",
                    words.clean(place),
                    words.clean(what),
                )
        for alert in alerts:
            silenced = "" if alert.silence is None else f" ({alert.silence})"
            message = words.clean(alert.message, 500)
            self._logger.log(self._level(alert), "holter: %s%s: %s", alert.state, silenced, message)

    def _level(self, alert: Alert) -> int:
        told, by = self._told.get(alert.incident, (-1, ""))
        if alert.state == "resolved" and by == alert.id:
            del self._told[alert.incident]
        level = _LEVELS.get(alert.severity, logging.WARNING)
        if alert.state == "resolved" or alert.silence is not None or (alert.incident and told >= level):
            return logging.INFO
        self._told[alert.incident] = level, alert.id
        while len(self._told) > _MOST_INCIDENTS:
            del self._told[next(iter(self._told))]
        return level

    def close(self, timeout: float) -> None:
        """Hold nothing."""


class AlertCallback:
    """A receiver that calls the user's ``on_alert``: with the alert that announces an incident, and when it is over."""

    every_seconds = 1e9
    receiver = "on_alert"

    def __init__(self, on_alert: Callable[[Alert], object], guard: Guard) -> None:
        self._on_alert, self._guard = on_alert, guard

    def send(self, notice: Notice, timeout: float) -> None:
        """Call it; one that raises is counted, not called again with this alert, and called with the next."""
        del timeout
        self.export(None, [notice.alert] if notice.state == "firing" else notice.told)

    def export(self, snapshot: Snapshot | None, alerts: Iterable[Alert]) -> None:
        """Call it with each of *alerts*, where nobody makes incidents of them."""
        del snapshot
        for alert in alerts:
            self._guard.run("on_alert", None, self._on_alert, alert)

    def close(self, timeout: float) -> None:
        """Hold nothing."""
