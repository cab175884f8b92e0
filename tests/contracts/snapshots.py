"""Snapshots built by hand, for tests of what reads them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from holter.distribution import Histogram
from holter.model import Alert, Attributes, ErrorPlace, Kind, Process, Reading, Series, Snapshot
from holter.names import CALL_DURATION, CALL_NAME, CALL_OUTCOME, ERROR_TYPE

START_NS = 1_795_352_589_225_000_000  # 2026-11-22T13:03:09.225Z
PROCESS = Process(
    service="sentiment",
    version="v7",
    attributes={"deployment.environment.name": "test"},
    instance="5f0c",
    pid=4711,
    host="box",
    fingerprint="ab12cd34",
    environment={"python": "3.11.2", "packages": {"ruamel.yaml": "0.18", "ruamel.yaml.clib": "0.2"}, "git": {"a.b": 1}},
)

HOSTILE = (
    'a\r\n{"@timestamp":"forged"}',
    "a\x00b\x1b[31mred\x9b0m",
    "a\u2028b\u2029c\x85d\x0b\x0ce",
    "a\u202eb\ud800c",
    '=cmd|" /C calc"!A0,"x"',
    "@SUM(1)",
    "\t=1+1",
    "-1+1",
    "a.b*c\\d",
    "x" * 5000,
    "",
)
"""Names that forge a line, a cell, a terminal escape or a formula where they are not made harmless."""


class Story:
    """What a program records, series by series, and the snapshots that a monitor takes of it."""

    def __init__(self, process: Process = PROCESS) -> None:
        self.process = process
        self.time_ns = START_NS
        self.series: dict[int, Series] = {}
        self.total: dict[int, Reading] = {}
        self.interval: dict[int, Reading] = {}
        self.places: tuple[ErrorPlace, ...] = ()

    def record(
        self,
        name: str,
        values: Iterable[float],
        *,
        kind: Kind = "histogram",
        unit: str = "s",
        attributes: Attributes | None = None,
        units: int = 0,
    ) -> int:
        """Record *values* and return the id of their series."""
        attributes = attributes or {}
        found = [key for key, one in self.series.items() if (one.name, dict(one.attributes)) == (name, attributes)]
        key = found[0] if found else len(self.series)
        self.series.setdefault(key, Series(key, name, unit, kind, attributes))
        values = [float(value) for value in values]
        finite = [value for value in values if math.isfinite(value)]
        reading = Reading(
            count=len(values),
            sum=0.0 if kind in ("gauge", "updowncounter") else sum(values),
            units=units,
            minimum=min(finite, default=None),
            maximum=max(finite, default=None),
            last=values[-1],
            histogram=Histogram.of(values) if kind == "histogram" else None,
            first=values[0],
            first_ns=self.time_ns,
            last_ns=self.time_ns,
        )
        for readings in (self.total, self.interval):
            readings[key] = readings.get(key, Reading()).merge(reading)
        return key

    def call(self, name: str, durations: Iterable[float], outcome: str = "", error: str = "", **tags: Any) -> int:
        """Record calls of *name* that ended in *outcome* and return the id of their series."""
        ends = {CALL_OUTCOME: outcome} if outcome else {}
        kind = {ERROR_TYPE: error} if error else {}
        return self.record(CALL_DURATION, durations, attributes={CALL_NAME: name, **tags, **ends, **kind})

    def snapshot(self, seconds: float = 10.0) -> Snapshot:
        """Return what was recorded since the last one, *seconds* ago."""
        self.time_ns += round(seconds * 1e9)
        interval, self.interval = self.interval, {}
        return Snapshot(
            time_ns=self.time_ns,
            interval_ns=round(seconds * 1e9),
            series=dict(self.series),
            total=dict(self.total),
            interval=interval,
            process=self.process,
            error_places=self.places,
        )


def alert(**facts: Any) -> Alert:
    """Return an alert that fires, but for *facts*."""
    usual: Mapping[str, Any] = {
        "id": "limit-1",
        "check": "Limit",
        "state": "firing",
        "severity": "critical",
        "since_ns": START_NS,
        "target": "predict",
        "expected": "p99 below 200 ms",
        "seen": "412 ms",
        "message": "predict is slow",
        "next_step": "look at its stages",
        "evidence": {"p99": 0.412, "calls": 812, "stage": "tokenize", "window.seconds": 60},
    }
    return Alert(**{**usual, **facts})


def busy_story() -> Story:
    """Return a story with every kind of series, in good order."""
    story = Story()
    story.call("predict", [0.001 * n for n in range(1, 810)])
    story.call("predict", [0.5, 0.6, 0.7], "error", "ValueError")
    story.call("predict", [2.0], "timeout", "TimeoutError")
    story.call("predict", [0.01], model="v8")
    story.record("app.cache.hits", [1.0] * 20, kind="counter", unit="{hit}")
    story.record("app.queue", [3.0, -2.0], kind="updowncounter", unit="{item}")
    story.record("process.memory.usage", [2.0**29, 2.0**28], kind="gauge", unit="By")
    story.record("system.memory.limit", [2.0**33], kind="gauge", unit="By")
    story.places = (ErrorPlace("predict", "ValueError", "model.py:12 in parse", 3),)
    return story


def hostile_story() -> Story:
    """Return a story with names that try to break out, and with values that are no numbers."""
    story = Story(Process(service=HOSTILE[0], version=HOSTILE[1], instance=HOSTILE[2], host=HOSTILE[3], pid=1))
    for text in HOSTILE:
        story.call(text, [0.1], "error", text, **{f"tag {text}": text})
        story.record(text, [1.0], kind="counter", unit=text, attributes={text: text})
        story.record(f"{text} gauge", [math.nan], kind="gauge", unit=text)
        story.record(f"{text} values", [math.inf, math.nan, -0.0], unit=text)
    return story


def hostile_alert() -> Alert:
    """Return an alert all of whose words try to break out."""
    words = dict.fromkeys(("id", "check", "target", "expected", "seen", "message", "next_step"), HOSTILE[0])
    return alert(**words, evidence={HOSTILE[1]: HOSTILE[2], "nan": math.nan, "big": 10**30}, related=HOSTILE)
