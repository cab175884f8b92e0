"""Incidents to an Alertmanager of Prometheus, which groups, routes and repeats them."""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Iterable, Mapping
from typing import Any, Final

from holter.arguments import positive_seconds
from holter.errors import ConfigurationError
from holter.figures import plain, timestamp
from holter.model import Alert, Snapshot
from holter.notice import Notice, single
from holter.posting import Address, Destination

_PATH: Final = "/api/v2/alerts"
_LABEL: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OWN: Final = ("alertname", "incident", "service", "severity", "target")


class Alertmanager:
    """
    Posts each incident to the Alertmanager at *url*, again each *resend_seconds* while it goes on, and its end.

    An incident is one alert there, with the labels ``alertname`` (``HolterLimit``, ``HolterSlo``, ...), ``service``,
    ``severity``, ``target``, ``incident`` and those in *labels*; one that becomes graver is a second one, of the same
    ``incident``. The annotations tell the rest: ``summary``, ``description``, ``expected``, ``seen``, ``next_step``,
    ``related`` and ``others``. It begins when the alert did, and ends when the incident did. If nobody sends any more
    it ends by Alertmanager's own ``resolve_timeout``, five minutes by default: *resend_seconds* must be well below it.

    Begin and end arrive at least once, as with `Webhook`, whose *headers*, *timeout*, *context* and *name* these are.
    *url* is where Alertmanager's pages are, without ``/api``; of several that form a cluster, name each one by an
    exporter of its own. *generator_url* is where the alert leads who clicks on its source.

    >>> Alertmanager("http://localhost:9093", labels={"team": "vision"}).where
    'Alertmanager http://localhost:9093'

    Raises:
        ConfigurationError: *url* is not of http or https, or another argument cannot work.
    """

    whole_group = True
    every_seconds = 60.0

    def __init__(
        self,
        url: str,
        *,
        labels: Mapping[str, str] | None = None,
        generator_url: str | None = None,
        resend_seconds: float = 60.0,
        headers: Mapping[str, str] | None = None,
        timeout: float = 10.0,
        context: ssl.SSLContext | None = None,
        name: str | None = None,
    ) -> None:
        self._to = Destination("Alertmanager", url, headers=headers, timeout=timeout, context=context, name=name)
        self.where, self.receiver, self.timeout = self._to.where, self._to.receiver, self._to.timeout
        self._labels = _checked_labels(labels)
        self._generator_url = generator_url
        if generator_url is not None:
            Address.of(generator_url)
        self.resend_seconds = positive_seconds("resend_seconds", resend_seconds)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self._to.address.shown!r}, labels={self._labels!r}, "
            f"generator_url={self._generator_url!r}, "
            f"resend_seconds={self.resend_seconds!r}, timeout={self.timeout!r}, settings={self._to.mark})"
        )

    def send(self, notice: Notice, timeout: float) -> None:
        """
        Post the alerts of *notice* and return when Alertmanager has taken them.

        Raises:
            Undelivered: it has not, or that is not known.
        """
        body = json.dumps(plain(self.postable(notice)), separators=(",", ":"), allow_nan=False).encode()
        self._to.post(body, timeout, path=_PATH)

    def export(self, snapshot: Snapshot, alerts: Iterable[Alert]) -> None:
        """Post each of *alerts* as an incident by itself, where no monitor does better."""
        for alert in alerts:
            self.send(single(alert, snapshot.process, snapshot.time_ns), self.timeout)

    def close(self, timeout: float) -> None:
        """Nothing is held between requests, so nothing is left to do."""

    def postable(self, notice: Notice) -> list[dict[str, Any]]:
        """Return the alerts of *notice* as Alertmanager's API has them."""
        return [self._alert(notice, alert) for alert in notice.told]

    def _alert(self, notice: Notice, alert: Alert) -> dict[str, Any]:
        others = [one for one in (*notice.told, *notice.joined) if one.id != alert.id]
        step = f" Next: {alert.next_step}" if alert.next_step and notice.state == "firing" else ""
        labels = {
            **self._labels,
            "alertname": f"Holter{alert.check[:1].upper()}{alert.check[1:]}",
            "incident": notice.incident,
            "service": notice.process.service,
            "severity": alert.severity,
            "target": alert.target,
        }
        annotations = {
            "summary": alert.message,
            "description": f"expected {alert.expected}, saw {alert.seen}.{step}",
            "expected": alert.expected,
            "seen": alert.seen,
            "next_step": alert.next_step,
            "related": "; ".join(alert.related),
            "others": "; ".join(f"{one.target}: {one.message}" for one in others),
            "version": notice.process.version,
        }
        told: dict[str, Any] = {
            "labels": {key: value for key, value in labels.items() if value},
            "annotations": {key: value for key, value in annotations.items() if value},
            "startsAt": timestamp(alert.since_ns),
        }
        if notice.state == "resolved":
            told["endsAt"] = timestamp(max(notice.time_ns, alert.since_ns + 1_000_000))
        if self._generator_url:
            told["generatorURL"] = self._generator_url
        return told


def _checked_labels(labels: object) -> dict[str, str]:
    if labels is None:
        return {}
    if not isinstance(labels, Mapping):
        raise ConfigurationError(f"labels must be a dict of names to str, got {type(labels).__name__}")
    for name, value in labels.items():
        if not (isinstance(name, str) and _LABEL.fullmatch(name) and isinstance(value, str)):
            raise ConfigurationError(
                f"labels must have names of letters, digits and '_', not beginning with a digit, and values of type "
                f"str, got {name!r:.60} with a {type(value).__name__}"
            )
        if name in _OWN:
            raise ConfigurationError(f"the label {name!r} is what holter says; call it otherwise")
    return dict(labels)
