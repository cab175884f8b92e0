"""
A snapshot as log lines: documents in the Elastic Common Schema, each with a message in words.

What any log store asks of them is kept here: the order of the first fields, one type for a field
on all lines, no name that is a value here and a group there, keywords as labels, and no text that
breaks out of its line.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, reduce
from typing import Any, Final

from holter import names, words
from holter.figures import plain, statistics, timestamp
from holter.model import Alert, Attributes, Process, Reading, Series, SlowCall, Snapshot
from holter.record import Outcome

_ECS_VERSION: Final = "9.4.0"
_LEVELS: Final = {"info": "info", "warning": "warn", "critical": "error"}
_ALERT_WORDS: Final = (
    "id",
    "check",
    "state",
    "severity",
    "target",
    "expected",
    "seen",
    "message",
    "next_step",
    "incident",
)
_NOT_IN_FIELDS: Final = re.compile(r"[.*\\]")
_LONGEST_MESSAGE: Final = 2000
_SAID: Final = ("p50", "p90", "p99", "max")
_NOUNS: Final = (Outcome.ERROR.label, Outcome.TIMEOUT.label)
_OK: Final = Outcome.OK.label
_KINDS_SAID: Final = 3

Line = dict[str, Any]

encode: Final = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode
"""Returns a line as compact ASCII; NaN and infinities raise, as JSON has none."""


class LogLines:
    """The lines for one *snapshot*; what all of them share stands apart, as ``owner``."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.owner = _owner(snapshot.process)
        self._snapshot = snapshot
        self._time = timestamp(snapshot.time_ns)
        self._labels = _labels(snapshot.process.attributes)
        self._fingerprint = plain(snapshot.process.fingerprint)

    def of_environment(self) -> Line:
        """Return the line that holds the environment in full."""
        process = self._snapshot.process
        said = [process.service, process.version, "in environment", process.fingerprint]
        return self._line(
            "info",
            " ".join(part for part in said if part),
            {"kind": "state", "dataset": "holter.environment"},
            {},
            {"environment": _nested(process.environment)},
        )

    def of_series(self, news: Iterable[Series]) -> Iterator[Line]:
        """Yield one line for each call, span or other series among the *news*."""
        event = {"kind": "metric", "dataset": "holter.series", "duration": self._snapshot.interval_ns}
        for family in _families(news, self._snapshot):
            series = family.series
            figures = statistics(series, family.interval, family.total, self._snapshot.interval_ns / 1e9)
            ours: Line = {"metric": plain(series.name), "unit": plain(series.unit), "kind": series.kind, **figures}
            places: dict[str, str] = {}
            if series.name == names.CALL_DURATION:
                ours["outcomes"] = _outcomes(family)
                places = _places(self._snapshot, family.attributes.get(names.CALL_NAME))
            errors = [
                {
                    "outcome": outcome,
                    "type": kind,
                    "count": count,
                    **({"place": places[kind]} if kind in places else {}),
                }
                for (outcome, kind), count in family.ends.most_common()
                if kind
            ]
            if errors:
                ours["errors"] = plain(errors)
            yield self._line("info", _words(family, figures, places), event, family.attributes, ours)

    def of_alert(self, alert: Alert) -> Line:
        """Return the line for *alert*: what, since when, expected and seen, and what to do next."""
        since = timestamp(alert.since_ns)
        said = f"{alert.state}: {alert.message}, since {since}"
        if alert.next_step and alert.state == "firing":
            said += f"; next: {alert.next_step}"
        # Numbers under one name, texts under another: a log store gives a field the type that it sees first.
        numbers = {_field(key): float(value) for key, value in alert.evidence.items() if _is_number(value)}
        texts = {key: value for key, value in alert.evidence.items() if not _is_number(value)}
        told = {name: getattr(alert, name) for name in _ALERT_WORDS}
        if alert.silence is not None:
            said += f"; {alert.silence}"
            told["silenced"] = str(alert.silence)
        return self._line(
            _LEVELS[alert.severity] if alert.state == "firing" else "info",
            said,
            {"kind": "alert", "dataset": "holter.alerts", "start": since},
            texts,
            {"alert": plain({**told, "evidence": numbers, "related": alert.related})},
        )

    def of_slow_call(self, call: SlowCall) -> Line:
        """Return the line for *call*: what it took, how it ended, and in which trace it is to be found."""
        said = f"{words.clean(call.call)} took {words.duration(call.seconds)}"
        if call.outcome != _OK:
            said += f", {call.outcome}" + (f" ({words.clean(call.error_type)})" if call.error_type else "")
        if call.stages:
            longest = max(call.stages, key=lambda stage: stage.seconds)
            said += f", of that {words.clean(longest.name)} {words.duration(longest.seconds)}"
        if call.pauses:
            said += f"; lost {', '.join(map(str, call.pauses))}"
        event = {
            "kind": "event",
            "dataset": "holter.slow_calls",
            "start": timestamp(call.start_ns),
            "duration": call.end_ns - call.start_ns,
            "outcome": "failure" if call.is_failed else "success",
        }
        facts: Line = {"outcome": call.outcome, "error_type": call.error_type, "stages": len(call.stages)}
        if call.pauses:
            facts["pauses"] = {pause.cause: pause.seconds for pause in call.pauses}
        ours = {"slow_call": plain(facts)}
        line = self._line("warn" if call.is_failed else "info", said, event, call.attributes, ours)
        if call.trace_id:
            # Once for Elastic's stack, once for those that know OpenTelemetry's names.
            trace, span = f"{call.trace_id:032x}", f"{call.span_id:016x}"
            line |= {"trace": {"id": trace}, "span": {"id": span}, "trace_id": trace, "span_id": span}
        return line

    def _line(self, level: str, message: str, event: Line, attributes: Attributes, ours: Line) -> Line:
        if self._fingerprint:
            ours["fingerprint"] = self._fingerprint
        return {
            "@timestamp": self._time,
            "log.level": level,
            "message": words.clean(message, _LONGEST_MESSAGE),
            "ecs.version": _ECS_VERSION,
            "event": event,
            "labels": {**self._labels, **_labels(attributes)},
            "holter": ours,
        }


def _owner(process: Process) -> Line:
    """Return what the lines of one process share: whose they are."""
    service: Line = {"name": plain(process.service)}
    if process.version is not None:
        service["version"] = plain(process.version)
    if process.instance:
        service["node"] = {"name": plain(process.instance)}
    host: Line = {"host": {"name": plain(process.host)}} if process.host else {}
    return {"service": service, "process": {"pid": process.pid}, **host}


@dataclass(frozen=True, slots=True)
class _Family:
    """
    What belongs on one line: the series of one call with one set of tags, however its calls ended.

    ``ends`` counts how: by outcome and type of error.
    """

    series: Series
    attributes: Attributes
    interval: Reading
    total: Reading
    ends: Counter[tuple[str, str]]


def _families(news: Iterable[Series], snapshot: Snapshot) -> Iterator[_Family]:
    members: dict[object, list[Series]] = {_key(series): [] for series in news}
    for series in snapshot.series.values():
        if (leaves := members.get(_key(series))) is not None:
            leaves.append(series)
    for leaves in members.values():
        readings = [(leaf, snapshot.interval[leaf.id]) for leaf in leaves if leaf.id in snapshot.interval]
        totals = [snapshot.total[leaf.id] for leaf in leaves if leaf.id in snapshot.total]
        ends: Counter[tuple[str, str]] = Counter()
        for leaf, reading in readings:
            outcome = leaf.attributes.get(names.CALL_OUTCOME, _OK)
            ends[str(outcome), str(leaf.attributes.get(names.ERROR_TYPE, ""))] += reading.count
        yield _Family(
            series=leaves[0],
            attributes=_without_ends(leaves[0]),
            interval=reduce(Reading.merge, (reading for _, reading in readings)),
            total=Reading(sum(t.count for t in totals), sum(t.sum for t in totals), sum(t.units for t in totals)),
            ends=ends,
        )


def _key(series: Series) -> object:
    """Return what the series of one family have in common."""
    if series.kind != "histogram":
        return series.id
    return series.name, frozenset(_without_ends(series).items())


def _without_ends(series: Series) -> Attributes:
    if series.kind != "histogram" or names.CALL_OUTCOME not in series.attributes:
        return series.attributes
    ends = (names.CALL_OUTCOME, names.ERROR_TYPE)
    return {name: value for name, value in series.attributes.items() if name not in ends}


def _outcomes(family: _Family) -> dict[str, int]:
    outcomes: dict[str, int] = {}
    for (outcome, _), count in family.ends.items():
        outcomes[outcome] = outcomes.get(outcome, 0) + count
    return outcomes


def _places(snapshot: Snapshot, call: object) -> dict[str, str]:
    """Return where each type of error left *call* most often."""
    known = sorted(
        (place.count, place.error_type, place.place) for place in snapshot.error_places if place.call == call
    )
    return {kind: place for _, kind, place in known}


def _words(family: _Family, figures: Mapping[str, float], places: Mapping[str, str]) -> str:
    """Return the line as a sentence."""
    subject, noun = _subject(family)
    unit = family.series.unit
    if family.series.kind != "histogram":
        told = {name: words.quantity(value, unit) for name, value in figures.items() if name != "rate"}
        spread = f" ({told['min']} to {told['max']})" if "min" in told and "max" in told else ""
        value = told.get("last") or told.get("sum") or "not a finite number"
        rate = f", {words.quantity(figures['rate'], 'By/s')}" if unit == "By" and "rate" in figures else _rate(figures)
        return f"{subject}: {value}{spread}{rate}"
    parts = [words.count(family.interval.count, noun) + _rate(figures)]
    if "units_rate" in figures:
        parts.append(f"{words.count(family.interval.units, 'unit')}, {words.number(figures['units_rate'])}/s")
    parts += [f"{name} {words.quantity(figures[name], unit)}" for name in _SAID if name in figures]
    parts += [_ended(outcome, count, family, places) for outcome, count in _outcomes(family).items() if outcome != _OK]
    return f"{subject}: {', '.join(parts)}"


def _rate(figures: Mapping[str, float]) -> str:
    return f", {words.number(figures['rate'])}/s" if "rate" in figures else ""


def _subject(family: _Family) -> tuple[str, str]:
    """Return what the line is about, with the attributes that tell it from others, and what its values are."""
    name, rest = family.series.name, dict(family.attributes)
    call = rest.pop(names.CALL_NAME, None)
    if name == names.CALL_DURATION and call is not None:
        subject, noun = str(call), "call"
    elif name == names.SPAN_DURATION and names.SPAN_NAME in rest:
        subject, noun = " > ".join(str(part) for part in (call, rest.pop(names.SPAN_NAME)) if part is not None), "span"
    else:
        owner = call if call is not None else rest.pop(names.TRAINING_NAME, None)
        subject = name if owner is None else f"{owner} {name.removeprefix('holter.')}"
        noun = "step" if name == names.TRAINING_STEP_DURATION else "value"
    told = ", ".join(f"{words.clean(key)}={words.clean(str(value))}" for key, value in rest.items())
    return words.clean(subject) + (f" [{told}]" if told else ""), noun


def _ended(outcome: str, count: int, family: _Family, places: Mapping[str, str]) -> str:
    """Return how often calls ended in *outcome*, with the most frequent types of error and their places."""
    said = words.count(count, outcome) if outcome in _NOUNS else f"{words.count(count)} {words.clean(outcome)}"
    kinds = [(kind, n) for (ended, kind), n in family.ends.most_common() if kind and ended == outcome]
    told = [
        f"{words.clean(kind)} {words.count(n)}" + (f" at {words.clean(places[kind])}" if kind in places else "")
        for kind, n in kinds[:_KINDS_SAID]
    ]
    return said + (f" ({', '.join(told + ['...'] * (len(kinds) > _KINDS_SAID))})" if told else "")


def _nested(environment: Mapping[str, Any]) -> Line:
    """Return *environment* without names that a log store would split at their dots, or have too many of."""
    fields: Line = {}
    for key, value in environment.items():
        if key == "packages" and isinstance(value, Mapping):
            fields[key] = plain([f"{package}=={version}" for package, version in value.items()])
        else:
            fields[_field(str(key))] = _nested(value) if isinstance(value, Mapping) else plain(value)
    return fields


def _labels(attributes: Attributes) -> dict[str, str]:
    """Return *attributes* as the keywords that ECS asks of labels."""
    return {_field(key): value if isinstance(value, str) else encode(value) for key, value in plain(attributes).items()}


@lru_cache(maxsize=1024)
def _field(name: str) -> str:
    """Return *name* as one that no log store splits."""
    return _NOT_IN_FIELDS.sub("_", plain(name))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
