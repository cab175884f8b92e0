"""Incidents to a web address of yours, as JSON."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterable, Mapping
from typing import Any, Final

from holter.figures import plain, timestamp
from holter.model import Alert, Snapshot
from holter.notice import Notice, brief, single
from holter.posting import Destination

VERSION: Final = 1
"""Of the JSON; it rises when something in it changes its meaning or goes, not when something is added."""
_WORDS: Final = ("id", "check", "state", "severity", "target", "expected", "seen", "message", "next_step")


class Webhook:
    """
    Posts each incident to *url* as JSON when it begins, when it becomes graver, and when it is over.

    Each notice arrives at least once and in order, and once only while no process is killed and *url* answers within
    *timeout* seconds: what does not arrive is sent again, after 1 s at first and 60 s at most, by whichever process
    of the service leads it, and over restarts for three days, where the monitor is in a group (see `start`). The
    header ``Idempotency-Key`` is the notice's ``key``, the same however often it comes. Any status of 200 to 299 says
    that it has arrived; one that says that the JSON itself is wrong (400, 422 and their like) that it is given up.
    Redirections are not followed; proxies are those of the environment.

    *headers* go with each request, as ``{"Authorization": "Bearer ..."}``; user and password in the URL become basic
    authorization. *context* is what TLS trusts, by default what Python does. Notices that wait are kept for the URL,
    or for *name* if it is given, which lets a new address take over those for an old one. Of the URL only scheme and
    host are ever printed, and of headers nothing.

    >>> Webhook("https://alerts.example.com/hook?token=secret").where
    'Webhook https://alerts.example.com'

    Raises:
        ConfigurationError: *url* is not of http or https, or another argument cannot work.
    """

    whole_group = True
    every_seconds = 60.0

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float = 10.0,
        context: ssl.SSLContext | None = None,
        name: str | None = None,
    ) -> None:
        self._to = Destination("Webhook", url, headers=headers, timeout=timeout, context=context, name=name)
        self.where, self.receiver, self.timeout = self._to.where, self._to.receiver, self._to.timeout

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._to.address.shown!r}, timeout={self.timeout!r}, settings={self._to.mark})"

    def send(self, notice: Notice, timeout: float) -> None:
        """
        Post *notice* and return when it has arrived.

        Raises:
            Undelivered: it has not, or that is not known.
        """
        self._to.post(encode(notice), timeout, headers={"Idempotency-Key": notice.key})

    def export(self, snapshot: Snapshot, alerts: Iterable[Alert]) -> None:
        """Post each of *alerts* as an incident by itself, where no monitor does better."""
        for alert in alerts:
            self.send(single(alert, snapshot.process, snapshot.time_ns), self.timeout)

    def close(self, timeout: float) -> None:
        """Nothing is held between requests, so nothing is left to do."""


def encode(notice: Notice) -> bytes:
    """Return *notice* as it is posted."""
    process, alert = notice.process, notice.alert
    others = [one for one in (*notice.told, *notice.joined) if one.id != alert.id]
    step = f"; next: {alert.next_step}" if alert.next_step and notice.state == "firing" else ""
    told = {
        "version": VERSION,
        "key": notice.key,
        "incident": notice.incident,
        "state": notice.state,
        "time": timestamp(notice.time_ns),
        "text": f"{process.service}: {notice.state}: {alert.message}{step}",
        "service": {
            "name": process.service,
            "version": process.version,
            "instance": process.instance,
            "host": process.host,
            "pid": process.pid,
            "attributes": process.attributes,
        },
        "alert": {**_words(alert), "evidence": alert.evidence, "related": alert.related},
        "others": [_words(brief(one)) for one in others],
    }
    return json.dumps(plain(told), separators=(",", ":"), allow_nan=False).encode()


def _words(alert: Alert) -> dict[str, Any]:
    return {**{name: getattr(alert, name) for name in _WORDS}, "since": timestamp(alert.since_ns)}
