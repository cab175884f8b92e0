"""What a receiver is told of an incident, as an object and as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, cast, get_args

from holter import documents
from holter.metric import NO_ATTRIBUTES
from holter.model import Alert, AlertState, Process

_VERSION: Final = 1
MOST_OTHERS: Final = 16
_LONGEST_OF_OTHERS: Final = 240
_TEXTS: Final = ("id", "check", "target", "expected", "seen", "message")


class Undelivered(Exception):  # noqa: N818 - it is an answer
    """What was posted has not arrived: why, in words that hold no secret; for good where ``is_final``."""

    def __init__(self, why: str, *, is_final: bool = False, again_seconds: float = 0.0) -> None:
        super().__init__(why)
        self.is_final, self.again_seconds = is_final, again_seconds


@dataclass(frozen=True, slots=True)
class Notice:
    """
    That an incident has begun, has become graver, or is over: what a receiver is told, once.

    ``incident`` stays the same from the first to the last; ``number`` counts what was told of it, and ``key`` tells
    a notice from all others, so that who gets one twice can know. ``alert`` is what it is about; ``told`` are all
    alerts by which the incident was announced, and ``joined`` the others that belong to it, at most 16 and cut
    short. ``time_ns`` is Unix time, ``process`` who has judged.

    >>> alert = Alert(
    ...     id="disk", check="DiskSpace", state="firing", severity="warning", since_ns=0, target="/data",
    ...     expected="below 90 %", seen="93 %", message="/data is 93 % full",
    ... )
    >>> Notice(incident="5e1f", number=1, state="firing", time_ns=0, alert=alert, told=(alert,)).key
    '5e1f-1'
    """

    incident: str
    number: int
    state: AlertState
    time_ns: int
    alert: Alert
    told: tuple[Alert, ...]
    joined: tuple[Alert, ...] = ()
    process: Process = field(default_factory=lambda: Process("unknown_service"))

    @property
    def key(self) -> str:
        """What tells it from all others."""
        return f"{self.incident}-{self.number}"


def brief(alert: Alert) -> Alert:
    """Return *alert* with what a list of several has room for."""
    texts: dict[str, Any] = {name: getattr(alert, name)[:_LONGEST_OF_OTHERS] for name in _TEXTS}
    return replace(alert, evidence=NO_ATTRIBUTES, related=(), **texts)


def encode_notice(notice: Notice) -> bytes:
    """Return *notice* as JSON."""
    process = notice.process
    head = {
        "holter_notice": _VERSION,
        "incident": notice.incident,
        "number": notice.number,
        "state": notice.state,
        "time_ns": notice.time_ns,
        "service": process.service,
        "version": process.version,
        "attributes": dict(process.attributes),
        "instance": process.instance,
        "pid": process.pid,
        "host": process.host,
    }
    alerts = {
        "alert": documents.encode_alert(notice.alert),
        "told": b"[%s]" % b",".join(map(documents.encode_alert, notice.told[-MOST_OTHERS:])),
        "joined": b"[%s]" % b",".join(documents.encode_alert(brief(one)) for one in notice.joined[:MOST_OTHERS]),
    }
    members = b"".join(b',"%s":%s' % (name.encode(), content) for name, content in alerts.items())
    return json.dumps(head, separators=(",", ":")).encode()[:-1] + members + b"}\n"


def decode_notice(content: bytes) -> Notice:
    """
    Return the notice that *content* holds.

    Raises:
        ValueError: it holds none.
    """
    known: Any = json.loads(content)
    version = known.get("holter_notice") if isinstance(known, dict) else None
    if version != _VERSION:
        raise ValueError(f"version {version!r:.50}, expected {_VERSION}")
    alert, told, joined = (documents.decode_alerts(known.get(name)) for name in ("alert", "told", "joined"))
    texts, numbers = ("incident", "service", "instance", "host"), ("number", "time_ns", "pid")
    is_sound = (
        known.get("state") in get_args(AlertState)
        and all(isinstance(known.get(name), str) for name in texts)
        and all(type(known.get(name)) is int for name in numbers)
        and isinstance(known.get("attributes"), Mapping)
    )
    if not is_sound or not alert or not told:
        raise ValueError("it tells of no incident")
    process = Process(
        service=known["service"],
        version=known["version"] if isinstance(known.get("version"), str) else None,
        attributes=documents.decode_attributes(known["attributes"]),
        instance=known["instance"],
        pid=known["pid"],
        host=known["host"],
    )
    state = cast("AlertState", known["state"])
    return Notice(known["incident"], known["number"], state, known["time_ns"], alert[0], told, joined, process)


def single(alert: Alert, process: Process, time_ns: int) -> Notice:
    """Return what is told of an *alert* that nobody has put into an incident: it is one by itself."""
    number = 1 if alert.state == "firing" else 2
    return Notice(alert.incident or alert.id, number, alert.state, time_ns, alert, (alert,), process=process)
