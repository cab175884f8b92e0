"""
The parts of a recording that are text: who wrote it, its series, alerts and places of errors.

JSON, so that what is read is data and nothing else. Texts are cut at 1,024 characters. What is
read has the types that it should have, or is left out: nothing here trusts a file.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from itertools import islice
from numbers import Integral
from types import MappingProxyType
from typing import Any, Final, cast, get_args

from holter.metric import Across, Attributes, Kind, Series
from holter.model import Alert, AlertState, ErrorPlace, Process, Severity, Silence
from holter.options import is_attribute_value
from holter.series import Entry
from holter.values import number
from holter.whereabouts import Whereabouts

LONGEST_TEXT: Final = 1024
LONGEST_LINE: Final = 16_384
MOST_ALERTS: Final = 64
MOST_PLACES: Final = 32
_MOST_ATTRIBUTES: Final = 64
_TEXTS: Final = ("id", "check", "target", "expected", "seen", "message", "next_step", "incident", "source")
_KINDS: Final = get_args(Kind)
_ACROSS: Final = get_args(Across)
_USUAL: Final = "last"
"""How a series goes together with those of other processes where its line does not tell."""


def _foreign(value: object) -> object:
    """Return what stands for a value that JSON does not know: numpy's numbers as such, else its kind."""
    known = number(value)
    return type(value).__name__ if known is None else known


dump: Final = json.JSONEncoder(separators=(",", ":"), default=_foreign).encode
"""Returns what is made of dicts, lists, texts and numbers, numpy's too, as compact JSON."""


@dataclass(frozen=True, slots=True)
class RecordedProcess(Process):
    """
    The process that a recording is of: `Process`, what has become of it, and how much memory it could have.

    ``created_ns`` is when the recording was begun, on the monotonic clock. ``state`` is "running"; "stopped",
    which is alive without a monitor; "closed", which has ended as it wanted to; or "dead", which has not. Where
    ``is_sure`` is False it follows from the last heartbeat, as the process is of another pid namespace.
    ``ended_ns`` is the Unix time of the last sign of life. ``writer`` is what its rings are written by, "C" or
    "pure Python".
    """

    state: str = "running"
    is_sure: bool = True
    ended_ns: int = 0
    user: int = 0
    created_ns: int = 0
    memory_limit_bytes: int | None = None
    host_memory_bytes: int | None = None
    whereabouts: Whereabouts = field(default_factory=lambda: Whereabouts(0))
    writer: str = ""

    @property
    def recording(self) -> str:
        """What tells its recording from all others that there have been."""
        where = self.whereabouts
        return f"{where.pid_namespace}-{where.pid}-{where.start_ticks}-{self.created_ns}"

    @property
    def is_alive(self) -> bool:
        """Whether it lives, as far as can be told."""
        return self.state in ("running", "stopped")


def encode_identity(process: Process, whereabouts: Whereabouts, longest: int, **more: object) -> bytes:
    """Return the identity of *process* in at most *longest* bytes, without its packages where they are too many."""
    known: dict[str, Any] = {each.name: getattr(process, each.name) for each in fields(Process)}
    known["attributes"], known["environment"] = dict(process.attributes), dict(process.environment)
    known |= {each.name: getattr(whereabouts, each.name) for each in fields(whereabouts)} | more
    text = dump(known).encode()
    if len(text) > longest:
        known["environment"].pop("packages", None)
        text = dump(known).encode()
    if len(text) > longest:
        text = dump(known | {"environment": {}, "attributes": {}}).encode()
    return text


def decode_identity(content: bytes) -> RecordedProcess | None:
    """Return the process that *content* names, None if it names none."""
    known = _parsed(content.rstrip(b"\0"))
    if not isinstance(known, dict) or not isinstance(known.get("service"), str):
        return None
    environment = known.get("environment")
    return RecordedProcess(
        service=_text(known["service"]),
        attributes=decode_attributes(known.get("attributes")),
        pid=_integer(known.get("pid")) or 0,
        started_ns=_integer(known.get("started_ns")) or 0,
        environment=MappingProxyType(environment if isinstance(environment, dict) else {}),
        user=_integer(known.get("user")) or 0,
        created_ns=_integer(known.get("created_ns")) or 0,
        memory_limit_bytes=_integer(known.get("memory_limit_bytes")),
        host_memory_bytes=_integer(known.get("host_memory_bytes")),
        whereabouts=Whereabouts(
            pid=_integer(known.get("pid")) or 0,
            start_ticks=_integer(known.get("start_ticks")) or 0,
            boot_id=_text(known.get("boot_id")),
            pid_namespace=_integer(known.get("pid_namespace")) or 0,
        ),
        version=_text(version) if isinstance(version := known.get("version"), str) else None,
        instance=_text(known.get("instance")),
        host=_text(known.get("host")),
        fingerprint=_text(known.get("fingerprint")),
        inherited=known.get("inherited") is True,
        writer=_text(known.get("writer")),
    )


def encode_series(key: int, entry: Entry) -> bytes:
    """Return a line for the series with id *key*."""
    series = entry.series
    attributes = {
        _text(name): _text(value) if isinstance(value, str) else value
        for name, value in list(series.attributes.items())[:_MOST_ATTRIBUTES]
    }
    row = [
        key,
        entry.scope,
        entry.factor,
        _text(series.name),
        _text(series.unit),
        series.kind,
        attributes,
        series.parent,
        *([] if series.across == _USUAL else [series.across]),
    ]
    line = dump(row).encode() + b"\n"
    return line if len(line) <= LONGEST_LINE else dump([*row[:6], {}, *row[7:]]).encode() + b"\n"


def decode_series(lines: Iterable[bytes], most: int) -> dict[int, Entry]:
    """Return the series that the first *most* of *lines* name; lines that name none are left out."""
    entries: dict[int, Entry] = {}
    shared: dict[str, str] = {}
    for line in islice(lines, max(0, most)):
        row = _parsed(line) if len(line) <= LONGEST_LINE else None
        if not isinstance(row, list) or len(row) not in (8, 9):
            continue
        key, scope, factor, name, unit, kind, attributes, parent, across = [*row, _USUAL][:9]
        is_sound = (
            _integer(key) is not None
            and _integer(scope) is not None
            and isinstance(factor, float | int)
            and isinstance(name, str)
            and isinstance(unit, str)
            and kind in _KINDS
            and across in _ACROSS
            and 0 <= key < 2**32
        )
        if is_sound:
            # Names repeat, and are kept once.
            name, unit = (shared.setdefault(_text(text), _text(text)) for text in (name, unit))
            made = Series(key, name, unit, kind, decode_attributes(attributes), _integer(parent), across)
            entries[key] = Entry(made, scope, float(factor))
    return entries


def encode_membership(scope: int, service: str, group: str) -> bytes:
    """Return a line that says of which group *scope* is a part."""
    return dump([scope, _text(service), _text(group)]).encode() + b"\n"


def decode_memberships(content: bytes) -> dict[int, tuple[str, str]]:
    """Return service and group of each scope that *content* names; the last line of a scope holds."""
    found: dict[int, tuple[str, str]] = {}
    for line in content.split(b"\n")[:LONGEST_TEXT]:
        row = _parsed(line)
        if isinstance(row, list) and len(row) == 3 and _integer(row[0]) is not None:  # noqa: PLR2004 - as above
            found[row[0]] = _text(row[1]), _text(row[2])
    return found


def encode_alert(alert: Alert) -> bytes:
    """Return *alert* as JSON of at most 16 KiB."""
    return dump(alert_row(alert)).encode()


def alert_row(alert: Alert) -> dict[str, Any]:
    """Return *alert* as JSON has it, in at most 16 KiB."""
    known: dict[str, Any] = {
        each.name: _text(value) if isinstance(value := getattr(alert, each.name), str) else value
        for each in fields(alert)
        if each.name not in ("evidence", "related", "silence")
    }
    if alert.silence is not None:
        known["silence"] = silence_row(alert.silence)
    evidence = {
        _text(name): _text(value) if isinstance(value, str) else value
        for name, value in list(alert.evidence.items())[:_MOST_ATTRIBUTES]
    }
    full = known | {"evidence": evidence, "related": [_text(name) for name in alert.related[:16]]}
    return full if len(dump(full)) <= LONGEST_LINE else known


def silence_row(silence: Silence) -> dict[str, Any]:
    """Return *silence* as JSON has it."""
    return {"name": _text(silence.name), "since_ns": silence.since_ns, "until_ns": silence.until_ns} | {
        "reason": _text(silence.reason)
    }


def encode_place(place: ErrorPlace) -> bytes:
    """Return *place* as JSON."""
    return dump([_text(place.call), _text(place.error_type), _text(place.place), place.count]).encode()


def encode_notices(alerts: Iterable[bytes], places: Iterable[bytes]) -> bytes:
    """Return the section of alerts and places of errors, each of them encoded already."""
    return b'{"alerts":[' + b",".join(alerts) + b'],"places":[' + b",".join(places) + b"]}"


def decode_notices(content: bytes) -> tuple[tuple[Alert, ...], tuple[ErrorPlace, ...]]:
    """Return the alerts and the places of errors that *content* holds."""
    known = _parsed(content)
    known = known if isinstance(known, dict) else {}
    places = [_place(each) for each in _list(known.get("places"))[:MOST_PLACES]]
    return decode_alerts(_list(known.get("alerts"))[-MOST_ALERTS:]), tuple(filter(None, places))


def decode_alerts(known: object) -> tuple[Alert, ...]:
    """Return the alerts that are told of by *known*, a list of them or a single one; what is none is left out."""
    return tuple(filter(None, map(decode_alert, known if isinstance(known, list) else [known])))


def is_sound(alert: Alert) -> bool:
    """Whether *alert* can be written and read back: its fields have the types that they should have."""
    given: Any = alert
    return (
        given.state in get_args(AlertState)
        and given.severity in get_args(Severity)
        and isinstance(given.since_ns, Integral)
        and all(isinstance(getattr(given, name), str) for name in _TEXTS)
        and isinstance(given.evidence, Mapping)
        and all(isinstance(name, str) for name in given.related)
    )


def decode_alert(known: object) -> Alert | None:
    """Return the alert that is told of by *known*, as JSON has it; None if it is none."""
    if not isinstance(known, dict):
        return None
    state, severity, since = (known.get(name) for name in ("state", "severity", "since_ns"))
    if state not in get_args(AlertState) or severity not in get_args(Severity) or _integer(since) is None:
        return None
    return Alert(
        state=cast("AlertState", state),
        severity=cast("Severity", severity),
        since_ns=cast("int", since),
        evidence=decode_attributes(known.get("evidence")),
        related=tuple(_text(name) for name in _list(known.get("related"))[:16]),
        silence=decode_silence(known.get("silence")),
        **{name: _text(known.get(name)) for name in _TEXTS},
    )


def decode_silence(known: object) -> Silence | None:
    """Return the silence that is told of by *known*, as JSON has it; None if it is none."""
    if not isinstance(known, dict):
        return None
    since, until = _integer(known.get("since_ns")), _integer(known.get("until_ns"))
    if since is None or until is None or not _text(known.get("name")):
        return None
    return Silence(_text(known["name"]), since, until, _text(known.get("reason")))


def _place(known: object) -> ErrorPlace | None:
    if not isinstance(known, list) or len(known) != 4 or _integer(known[3]) is None:  # noqa: PLR2004 - as it is written
        return None
    call, error_type, place, count = known
    return ErrorPlace(_text(call), _text(error_type), _text(place), count)


def _parsed(content: bytes) -> object:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _integer(value: object) -> int | None:
    """Return *value* if it is an integer of 64 bits."""
    return value if type(value) is int and -(2**63) <= value < 2**63 else None


def _text(value: object) -> str:
    return value[:LONGEST_TEXT] if isinstance(value, str) else ""


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def decode_attributes(value: object) -> Attributes:
    """Return those of *value* that can be attributes; none where it is no mapping."""
    known: Mapping[str, Any] = value if isinstance(value, dict) else {}
    return MappingProxyType(
        {_text(name): each for name, each in list(known.items())[:_MOST_ATTRIBUTES] if is_attribute_value(each)}
    )
