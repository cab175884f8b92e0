"""Brings what waits in the outbox to one receiver: in order, again where it does not arrive, ever less often."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Iterable
from typing import Any, Final

from holter import words
from holter.delivery import Delivery
from holter.model import Alert, Exporter, Snapshot
from holter.names import EXPORTER_DROPPED, EXPORTER_FAILURES, EXPORTER_NAME
from holter.notice import Notice, Undelivered
from holter.notices import AlertCallback, Notices
from holter.outbox import LONGEST_NS, Outbox
from holter.scope import Scope
from holter.settings import Settings

_LOGGER: Final = logging.getLogger("holter")
FIRST_PAUSE_SECONDS: Final = 1.0
LONGEST_PAUSE_SECONDS: Final = 60.0
_SHORTEST_SECONDS: Final = 0.05
_LONGEST_TURN_SECONDS: Final = 20.0
_USUAL_TIMEOUT: Final = 10.0
_NEVER: Final = 1e9


class Courier:
    """
    An exporter that sends what waits for *receiver*, known as *key* in the *outbox*, while this process leads.

    What does not arrive is tried again after a second, then after twice as long each time, up to a minute, less up to
    a quarter by chance; or after as long as the receiver asks for. What the receiver refuses for good, and what is
    three days old, is given up. Failures are counted, and logged once until something arrives again.
    """

    whole_group = True

    def __init__(self, scope: Scope, receiver: Any, key: str, outbox: Outbox) -> None:
        self._scope, self._receiver, self._key, self._outbox = scope, receiver, key, outbox
        self._clock = scope.clock
        self.name = type(receiver).__name__
        self._where = words.clean(str(getattr(receiver, "where", self.name)), 200)
        self._pause_seconds, self._again_ns = 0.0, 0
        self._failed_ns = 0
        self._is_leading = False
        resend = getattr(receiver, "resend_seconds", None)
        self._resend_ns = None if resend is None else int(resend * 1e9)
        self._sent_ns: dict[str, int] = {}

    @property
    def every_seconds(self) -> float:
        """None at all while there is nothing to send, or while it is too early to try again."""
        return 0.0 if self._is_due() else _NEVER

    def _is_due(self) -> bool:
        if self._clock.monotonic_ns() < self._again_ns:
            return False
        return bool(self._outbox.waiting(self._key) or self._stale() or self._outbox.dropped.get(self._key))

    def _stale(self) -> list[Notice]:
        """Return what has to be said again of incidents that go on."""
        if self._resend_ns is None:
            return []
        before_ns = self._clock.monotonic_ns() - self._resend_ns
        return [one for one in self._outbox.standing if self._sent_ns.get(one.incident, before_ns) <= before_ns]

    def export(self, snapshot: Snapshot, alerts: Iterable[Alert]) -> None:
        """Send what waits, unless it is too early to try again."""
        del alerts
        self._is_leading = True
        for _ in range(self._outbox.dropped.pop(self._key, 0)):
            self._lost("too many wait")
        if self._clock.monotonic_ns() >= self._again_ns:
            until = time.monotonic() + _LONGEST_TURN_SECONDS
            self._empty(snapshot.time_ns, until, getattr(self._receiver, "timeout", _USUAL_TIMEOUT))

    def rest(self) -> None:
        """Leave it to another process, which leads now."""
        self._is_leading, self._again_ns, self._pause_seconds = False, 0, 0.0
        self._sent_ns.clear()

    def close(self, timeout: float) -> None:
        """Try once more what waits, and close the receiver."""
        deadline = time.monotonic() + timeout
        if self._is_leading and timeout > _SHORTEST_SECONDS and self._outbox.waiting(self._key):
            self._empty(self._clock.wall_ns(), deadline, timeout)
        self._receiver.close(max(0.0, deadline - time.monotonic()))

    def _empty(self, now_ns: int, until: float, timeout: float) -> None:
        """Send what waits, in order, and what has to be said again, until something fails or time is up."""
        while time.monotonic() < until:
            with self._outbox.first(self._key) as claim:
                if claim is None:
                    break
                if now_ns - claim.notice.time_ns > LONGEST_NS:
                    claim.done()
                    self._lost("it has waited for three days")
                elif self._is_sent(claim.notice, timeout):
                    claim.done()
                else:
                    return
        standing = {one.incident for one in self._outbox.standing}
        self._sent_ns = {incident: sent_ns for incident, sent_ns in self._sent_ns.items() if incident in standing}
        for notice in self._stale():
            if time.monotonic() >= until or not self._is_sent(notice, timeout, again=True):
                return

    def _is_sent(self, notice: Notice, timeout: float, *, again: bool = False) -> bool:
        """Send, for the first time or *again*; return whether that is done with, be it that the receiver refuses it."""
        # Before it is known: whatever else the receiver raises is counted around this, and it has to wait as well.
        self._wait()
        try:
            self._receiver.send(notice, timeout)
        except Undelivered as why:
            self._failed(str(why), min(why.again_seconds, LONGEST_PAUSE_SECONDS))
            if why.is_final:
                self._again_ns, self._sent_ns[notice.incident] = 0, self._clock.monotonic_ns()
                if not again:
                    self._lost(str(why))
            return why.is_final
        except OSError as error:
            self._failed(getattr(error, "strerror", None) or type(error).__name__)
            return False
        self._pause_seconds, self._again_ns = 0.0, 0
        self._sent_ns[notice.incident] = self._clock.monotonic_ns()
        if self._failed_ns:
            after = words.duration((self._clock.monotonic_ns() - self._failed_ns) / 1e9)
            self._failed_ns = 0
            _LOGGER.warning("holter: %s takes what it is told again, after %s", self._where, after)
        return True

    def _wait(self) -> None:
        self._pause_seconds = min(LONGEST_PAUSE_SECONDS, 2 * self._pause_seconds or FIRST_PAUSE_SECONDS)
        self._pause()

    def _pause(self, asked_seconds: float = 0.0) -> None:
        share = random.uniform(0.75, 1.0)  # noqa: S311 - no secret
        pause = max(asked_seconds, share * self._pause_seconds)
        self._again_ns = self._clock.monotonic_ns() + int(pause * 1e9)

    def _failed(self, why: str, asked_seconds: float = 0.0) -> None:
        self._count(EXPORTER_FAILURES, "{failure}")
        self._pause(asked_seconds)
        if not self._failed_ns:
            self._failed_ns = self._clock.monotonic_ns()
            _LOGGER.warning(
                "holter: %s does not take what it is to be told: %s; that waits and is sent again; counted in "
                "holter.exporter.failures, and not logged again",
                self._where,
                words.clean(why, 200),
            )

    def _lost(self, why: str) -> None:
        self._count(EXPORTER_DROPPED, "{alert}")
        _LOGGER.warning("holter: %s was not told of an incident: %s", self._where, words.clean(why, 200))

    def _count(self, name: str, unit: str) -> None:
        self._scope.increment(name, unit, {EXPORTER_NAME: self.name})


def deliveries(scope: Scope, settings: Settings, logger: logging.Logger, outbox: Outbox) -> list[Delivery]:
    """Return what hands snapshots and alerts to the exporters of *settings*, to *logger* and to receivers."""
    exporters: list[Exporter] = [Notices(logger, scope.guard), *settings.exporters]
    if settings.on_alert is not None:
        exporters.append(AlertCallback(settings.on_alert, scope.guard))
    made, seen = [], dict[str, int]()
    outbox.receivers = []
    for exporter in exporters:
        if not hasattr(exporter, "send"):
            made.append(Delivery(scope, exporter))
            continue
        told = str(getattr(exporter, "receiver", type(exporter).__qualname__))
        seen[told] = seen.get(told, 0) + 1
        key = told if seen[told] == 1 else f"{told} #{seen[told]}"
        outbox.receivers.append(key)
        courier = Courier(scope, exporter, key, outbox)
        made.append(Delivery(scope, courier, name=courier.name))  # type: ignore[arg-type]  # says each time when
    return made
