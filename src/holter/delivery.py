"""Runs one exporter behind a mailbox of its own, so that it can harm nobody else."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable
from typing import Any, Final

from holter.model import Alert, Exporter, SlowCall, Snapshot
from holter.names import EXPORTER_DROPPED, EXPORTER_FAILURES, EXPORTER_NAME
from holter.noted import Wish
from holter.scope import Scope

MOST_ALERTS: Final = 1_000
MOST_SLOW_CALLS: Final = 500
DEADLINE_SECONDS: Final = 30.0


def hand_out(
    deliveries: Iterable[Delivery],
    own: tuple[Snapshot, Iterable[Alert]],
    whole: tuple[Snapshot | None, Iterable[Alert]],
    *,
    now: bool,
) -> None:
    """Offer each of *deliveries* what is its: of this process, or of the *whole* group, if this process leads that."""
    for delivery in deliveries:
        snapshot, alerts = whole if delivery.is_of_group else own
        if snapshot is None:
            delivery.rest()
        else:
            delivery.offer(snapshot, alerts, now=now)


class Delivery:
    """
    Hands snapshots and alerts to one exporter, in a thread of its own.

    The mailbox holds one snapshot and at most 1,000 alerts: snapshots that wait are merged, so
    that an exporter which was slow or failed gets their figures later, and only alerts beyond the
    bound are dropped, and counted. An export is due each ``every_seconds``, at an alert, and when
    flushed. One that raises is counted and tried again at its next turn, with what has come since;
    one that takes more than 30 s is counted as failed as well, and goes on. What wants slow calls gets
    them each interval, each once.
    """

    def __init__(self, scope: Scope, exporter: Exporter, *, name: str | None = None) -> None:
        self.exporter = exporter
        self.name = name or type(exporter).__name__
        self.cpu_ns = 0
        self._scope = scope
        self._changed = threading.Condition()
        self._pending: Snapshot | None = None
        self._alerts: deque[Alert] = deque()
        self._exported_ns = 0
        self._busy_since: float | None = None
        self.is_of_group = bool(getattr(exporter, "whole_group", False))
        """Whether it is told of all processes of a group, in the one that leads."""
        self._is_due = self._is_closing = self._is_to_rest = self._is_to_look = False
        self._close_by = 0.0
        self.is_closed = False
        self._slow: deque[SlowCall] = deque(maxlen=MOST_SLOW_CALLS)
        self._told = scope.notes.newest
        self._trace: Any = getattr(exporter, "trace", None)
        if isinstance(exporter, Wish):
            scope.notes.add(self, exporter)

    def offer(self, snapshot: Snapshot, alerts: Iterable[Alert] = (), *, now: bool = False) -> None:
        """Put *snapshot* and *alerts* into the mailbox; they are exported when due, or at once if *now*."""
        with self._changed:
            self._pending = snapshot if self._pending is None else self._pending.then(snapshot)
            dropped = self._keep(alerts)
            self._keep_slow(snapshot.slow_calls)
            since_ns = snapshot.monotonic_ns - (self._exported_ns or snapshot.process.started_ns)
            if now or self._alerts or since_ns >= self.exporter.every_seconds * 1e9:
                self._is_due = True
                self._changed.notify_all()
            if self._busy_since is not None and time.monotonic() - self._busy_since > DEADLINE_SECONDS:
                self._busy_since = None
                self._count(EXPORTER_FAILURES, "{failure}")
        for _ in range(dropped):
            self._count(EXPORTER_DROPPED, "{alert}")

    def rest(self) -> None:
        """Let the exporter give back what only one process can have: another one leads the group now."""
        with self._changed:
            if self._exported_ns and not self._is_to_rest and hasattr(self.exporter, "rest"):
                self._is_to_rest, self._exported_ns, self._pending = True, 0, None
                self._changed.notify_all()

    def look(self) -> None:
        """Have the exporter's ``look()`` called, whether or not an export is due."""
        with self._changed:
            self._is_to_look = True
            self._changed.notify_all()

    def _keep(self, alerts: Iterable[Alert]) -> int:
        self._alerts.extend(alerts)
        dropped = max(0, len(self._alerts) - MOST_ALERTS)
        for _ in range(dropped):
            self._alerts.popleft()
        return dropped

    def _keep_slow(self, calls: tuple[SlowCall, ...]) -> None:
        if self._trace is not None and calls and calls[-1].number > self._told:
            self._slow.extend(call for call in calls if call.number > self._told and call.is_traced)
            self._told = calls[-1].number
            self._changed.notify_all()

    def _count(self, name: str, unit: str) -> None:
        self._scope.increment(name, unit, {EXPORTER_NAME: self.name})

    def wait_until_idle(self, deadline: float) -> bool:
        """Wait until everything due is exported, at most until *deadline* on the monotonic clock."""
        with self._changed:
            return self._changed.wait_for(
                lambda: self.is_closed or not (self._has_work or self._busy_since is not None),
                timeout=max(0.0, deadline - time.monotonic()),
            )

    @property
    def _has_work(self) -> bool:
        return bool(self._is_due or self._is_to_look or self._slow)

    def close(self, deadline: float) -> None:
        """Let the exporter export what is left and close, and the thread end; returns at once."""
        with self._changed:
            self._is_closing, self._close_by = True, deadline
            self._changed.notify_all()

    def run(self) -> None:
        """Export until closed; this is the thread."""
        try:
            self._serve()
        finally:
            self._scope.notes.drop(self)
            with self._changed:
                self.is_closed = True
                self._changed.notify_all()

    def _serve(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._has_work or self._is_closing or self._is_to_rest)
                is_to_rest, self._is_to_rest = self._is_to_rest, False
                is_to_look, self._is_to_look = self._is_to_look, False
                slow = list(self._slow)
                self._slow.clear()
                snapshot, alerts = None, []
                if self._is_due or self._is_closing:
                    snapshot, alerts = self._pending, list(self._alerts)
                    self._pending = None
                    self._alerts.clear()
                    self._is_due = False
                self._busy_since = time.monotonic()
            if is_to_rest:
                self._scope.guard.run(f"exporter {self.name} rest", None, self.exporter.rest)  # type: ignore[attr-defined]  # rest() has looked
            if slow:
                self._scope.guard.run(f"exporter {self.name} trace", None, self._trace, slow)
                self.cpu_ns = self._scope.clock.thread_cpu_ns()
            if is_to_look:
                self._scope.guard.run(f"exporter {self.name} look", None, self.exporter.look)  # type: ignore[attr-defined]  # who calls look() knows
                self.cpu_ns = self._scope.clock.thread_cpu_ns()
            if snapshot is not None:
                self._export(snapshot, alerts)
            with self._changed:
                self._busy_since = None
                is_over = self._is_closing and not self._is_due
                self._changed.notify_all()
            if is_over:
                break
        remaining = max(0.0, self._close_by - time.monotonic())
        self._scope.guard.run(f"exporter {self.name} close", None, self.exporter.close, remaining)

    def _export(self, snapshot: Snapshot, alerts: list[Alert]) -> None:
        def export() -> bool:
            self.exporter.export(snapshot, alerts)
            return True

        done = self._scope.guard.run(f"exporter {self.name}", False, export)  # noqa: FBT003 - the default result
        self.cpu_ns = self._scope.clock.thread_cpu_ns()
        dropped = 0
        with self._changed:
            self._exported_ns = snapshot.monotonic_ns
            if not done:
                self._pending = snapshot if self._pending is None else snapshot.then(self._pending)
                newer = list(self._alerts)
                self._alerts.clear()
                dropped = self._keep([*alerts, *newer])
        if not done:
            self._count(EXPORTER_FAILURES, "{failure}")
        for _ in range(dropped):
            self._count(EXPORTER_DROPPED, "{alert}")
