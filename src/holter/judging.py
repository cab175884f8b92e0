"""Asks the checks of a monitor, each in a thread of its own, and lets each alert through once."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from typing import Final

from holter.delivery import Delivery
from holter.guard import Guard
from holter.model import Alert, Check, Snapshot
from holter.scope import Scope

PATIENCE_SECONDS: Final = 0.25
MOST_ALERTS_KEPT: Final = 1_000
_NO_ALERTS: Final[list[Alert]] = []


class Judge:
    """An exporter that asks one check for its judgement, and keeps the alerts until they are fetched."""

    every_seconds = 1e9

    def __init__(self, check: Check, guard: Guard) -> None:
        self._check, self._guard = check, guard
        self.name = type(check).__name__
        self._given: deque[Alert] = deque()

    def export(self, snapshot: Snapshot, alerts: Iterable[Alert]) -> None:
        """Ask; a check that raises, or returns something else than alerts, is counted."""
        del alerts
        self._given.extend(self._guard.run(f"check {self.name}", _NO_ALERTS, self._asked, snapshot))

    def _asked(self, snapshot: Snapshot) -> list[Alert]:
        alerts = list(self._check.judge(snapshot))
        if not all(isinstance(alert, Alert) for alert in alerts):
            raise TypeError(f"{self.name}.judge must return Alerts")
        return alerts

    def fetch(self) -> list[Alert]:
        """Return what the check has given since the last time."""
        return [self._given.popleft() for _ in range(len(self._given))]

    def close(self, timeout: float) -> None:
        """Hold nothing."""


class Judges:
    """
    The checks of one run of a monitor; ``alerts`` holds what they have given, the latest state of at most 1,000.

    A check that hangs hangs alone: it is waited for once, and its alerts come when it is done.
    """

    def __init__(self, scope: Scope, checks: Iterable[Check]) -> None:
        self._guard = scope.guard
        self._judges = [Judge(check, scope.guard) for check in checks]
        self.deliveries = [Delivery(scope, judge, name=judge.name) for judge in self._judges]
        self.alerts: dict[str, Alert] = {}

    def ask(self, snapshot: Snapshot, deadline: float, *, patiently: bool) -> list[Alert]:
        """
        Return the alerts that are new: each fires once and resolves once, whatever a check repeats.

        Waits for the checks at most until *deadline*, on the monotonic clock, if not *patiently* 250 ms at
        most, and never for those that are not done yet with the snapshot before. When strict they are asked in
        this thread, so that their errors raise here.
        """
        until = deadline if patiently else min(deadline, time.monotonic() + PATIENCE_SECONDS)
        if self._guard.strict:
            for judge in self._judges:
                judge.export(snapshot, ())
        else:
            punctual = [delivery for delivery in self.deliveries if delivery.wait_until_idle(0.0)]
            for delivery in self.deliveries:
                delivery.offer(snapshot, now=True)
            for delivery in punctual:
                delivery.wait_until_idle(until)
        return [alert for judge in self._judges for alert in judge.fetch() if self._is_new(alert)]

    def _is_new(self, alert: Alert) -> bool:
        known = self.alerts.get(alert.id)
        if (known.state if known is not None else "resolved") == alert.state:
            return False
        self.alerts[alert.id] = alert
        if len(self.alerts) > MOST_ALERTS_KEPT:
            over = (one.id for one in self.alerts.values() if one.state == "resolved")
            self.alerts.pop(next(over, next(iter(self.alerts))))
        return True
