"""What a monitor tells people by itself: alerts and its own troubles, through the logger ``holter``."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from holter import words
from holter.guard import Guard
from holter.model import Alert, Snapshot
from holter.ring import IMPLEMENTATION
from holter.settings import Settings
from holter.version import __version__

_LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "critical": logging.CRITICAL}


def start_line(settings: Settings, recording: str) -> str:
    """Return the line that says what a monitor does from now on, and where its *recording* is."""
    return (
        f"holter {__version__} watches {settings.title} each {settings.interval_seconds:g} s; "
        f"ring: {IMPLEMENTATION}; recording: {recording}; {settings.plug_ins}; look: print(holter.summary())"
    )


class Notices:
    """An exporter that logs each alert, and the first internal error of each place."""

    every_seconds = 1.0

    def __init__(self, logger: logging.Logger, guard: Guard) -> None:
        self._logger, self._guard = logger, guard

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
            level = _LEVELS.get(alert.severity, logging.WARNING) if alert.state == "firing" else logging.INFO
            self._logger.log(level, "holter: %s: %s", alert.state, words.clean(alert.message, 500))

    def close(self, timeout: float) -> None:
        """Hold nothing."""


class AlertCallback:
    """An exporter that calls the user's ``on_alert`` with each alert."""

    every_seconds = 1e9

    def __init__(self, on_alert: Callable[[Alert], object], guard: Guard) -> None:
        self._on_alert, self._guard = on_alert, guard

    def export(self, snapshot: Snapshot, alerts: Iterable[Alert]) -> None:
        """Call it; one that raises is counted, and called for the next alert all the same."""
        del snapshot
        for alert in alerts:
            self._guard.run("on_alert", None, self._on_alert, alert)

    def close(self, timeout: float) -> None:
        """Hold nothing."""
