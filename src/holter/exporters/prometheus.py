"""Figures as a page that Prometheus scrapes."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from typing import Final
from weakref import WeakKeyDictionary, WeakValueDictionary

from holter.arguments import positive_seconds
from holter.classicbuckets import Choice, Wanted
from holter.errors import ConfigurationError
from holter.exposition import Exposition
from holter.guard import Guard
from holter.model import Alert, Snapshot
from holter.pageserver import Answer, PageServer, Request, check_port, in_words

_LOGGER: Final = logging.getLogger("holter")
_PATH: Final = "/metrics"
_REST_SECONDS: Final = 1.0
_MOST_ALERTS: Final = 100


class Prometheus:
    """
    Serves ``/metrics`` on *port* of *host* from the newest snapshot, in one thread of its own.

    One that another program has is an error here. It is taken at the first export; 0 takes any that is free at
    once, which ``port`` then says. Of several processes of a service the one that leads them serves, the
    figures of all, and when it ends the next one does. Answers plain text or OpenMetrics, gzipped if asked. Names have
    ``_`` for their dots and units as suffixes: ``holter_call_duration_seconds``. No call is in two
    series: ``sum by (holter_call_name) (...)`` counts each once. Counts and sums are exact and never fall.

    Histograms have OpenTelemetry's bounds, in seconds 0.005 to 10; *buckets* gives others by a
    metric's own name, ``{"holter.call.duration": [0.001, 0.01, 0.1]}``, or "auto" chooses them from what
    was recorded, for one metric or for all: a factor of 1.41 apart, which are added to where values come
    that lie beyond. A bucket's count is exact for a bound that lies higher by at most 1.1 % (2.2 % where
    the values of a series lie more than a factor of 65,000 apart, and so on); with "auto" it is exact. The bucket
    ``+Inf`` is the exact number of all; values whose records were lost are shared among the
    buckets as the others of their time were.

    In OpenMetrics, calls in a trace of OpenTelemetry that is sampled and that failed, or took longer than 99 of 100,
    are exemplars of their buckets, with the ids of the trace and the span around them.

    Up to 32 clients at a time, each with 10 seconds and 8 KiB for its request. A page is rendered at most once a
    snapshot, at the first request.

    >>> exporter = Prometheus(0)
    >>> exporter.port > 0
    True
    >>> exporter.close(timeout=1.0)

    Raises:
        ConfigurationError: the port is taken, or an argument cannot work.
    """

    whole_group = True

    def __init__(
        self, port: int, *, host: str = "127.0.0.1", buckets: Wanted = None, every_seconds: float = 0.1
    ) -> None:
        self.slower_than_seconds: float | None = None
        self.every_seconds = positive_seconds("every_seconds", every_seconds)
        self.host, self.buckets = host, buckets
        Choice(buckets)
        self._words = f"Prometheus({port!r}, host={host!r}, buckets={buckets!r}, every_seconds={every_seconds!r})"
        self._server: PageServer | None = None
        self.port = port
        if port == 0:
            self._server = _server(port, host)
            self.port = self._server.port
        elif (host, port) not in _SERVERS:
            # Whoever starts a monitor a second time with equal arguments makes a second exporter for the port.
            check_port(port, host)
        self._pid = os.getpid()
        self._has_said = False
        self._snapshot: Snapshot | None = None
        self._alerts: dict[str, Alert] = {}
        self._failed: list[str] = []
        self._guard = Guard(self._failed.append)
        self._exposition = Exposition(lambda: (self._snapshot, tuple(self._alerts.values())), buckets)

    def __repr__(self) -> str:
        return self._words

    def export(self, snapshot: Snapshot, alerts: Iterable[Alert]) -> None:
        """
        Serve *snapshot* from now on, and the *alerts* in their latest state.

        Raises:
            ConfigurationError: the port has been taken by another program.
            RuntimeError: another exporter of this process serves on the port, or a page could not be rendered.
        """
        if os.getpid() != self._pid and not self._is_served_here():
            return
        known = self._alerts | {alert.id: alert for alert in alerts}
        # Those that fire last, the newest of them at the very end.
        kept = sorted(known.values(), key=lambda alert: (alert.state == "firing", alert.since_ns))[-_MOST_ALERTS:]
        self._alerts = {alert.id: alert for alert in kept}
        self._snapshot = snapshot
        self._serve()
        if self._failed:
            self._failed.clear()
            raise RuntimeError(f"a page could not be rendered: {'; '.join(self._guard.first.values())}")

    def _is_served_here(self) -> bool:
        """Whether a forked child can serve, as it can that leads the group after its parent."""
        try:
            self._serve()
        except ConfigurationError:
            self._say_that_it_does_not_serve()
            return False
        return True

    def _serve(self) -> None:
        """Answer on the port, which is taken anew where it had been given back."""
        server = self._server
        if server is None or server.is_closed:
            server = self._server = _server(self.port, self.host)
        owner = _OWNERS.setdefault(server, self)
        if owner is not self:
            raise RuntimeError(f"another exporter of this process serves on port {self.port}; give another port")
        server.start(self._respond)

    def close(self, timeout: float) -> None:
        """Give the port back, within *timeout* seconds."""
        server = self._server
        if server is not None and _OWNERS.get(server, self) is self:
            server.close(timeout)
            _OWNERS.pop(server, None)

    def rest(self) -> None:
        """Give the port back until the next export: another process leads now, and serves."""
        self.close(_REST_SECONDS)

    def _respond(self, request: Request) -> Answer:
        if request.path != _PATH:
            return in_words(404, f"the metrics are at {_PATH}")
        accept, encoding = request.headers.get("accept", ""), request.headers.get("accept-encoding", "")
        trouble = in_words(500, "the page could not be rendered; holter_exporter_failures counts it")
        return self._guard.run("page", trouble, self._exposition.answer, request.method, accept, encoding)

    def _say_that_it_does_not_serve(self) -> None:
        if not self._has_said:
            self._has_said = True
            _LOGGER.warning(
                "holter: the forked process %d serves no metrics: port %d is its parent's, and the two are no group",
                os.getpid(),
                self.port,
            )


# By host and port, so that exporters of one process with equal arguments share what listens there.
_SERVERS: Final[WeakValueDictionary[tuple[str, int], PageServer]] = WeakValueDictionary()
# Which exporter answers for a server.
_OWNERS: Final[WeakKeyDictionary[PageServer, Prometheus]] = WeakKeyDictionary()


def _server(port: int, host: str) -> PageServer:
    known = _SERVERS.get((host, port)) if port else None
    if known is not None and not known.is_closed:
        return known
    server = PageServer(port, host)
    _SERVERS[host, server.port] = server
    return server
