"""Figures as rows of a CSV file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from typing import Any, Final

from holter import names
from holter.arguments import positive_seconds
from holter.boundedfile import BoundedFile
from holter.errors import ConfigurationError
from holter.figures import LONGEST_TEXT, News, plain, statistics, timestamp
from holter.model import Alert, Process, Reading, Series, Snapshot
from holter.record import Outcome
from holter.words import clean

_HEADER: Final = b"time,metric,unit,attributes,statistic,value\r\n"
# What makes a spreadsheet take a cell for a formula, in the wide forms of East Asian keyboards too.
_FORMULA: Final = ("=", "+", "-", "@", "\N{FULLWIDTH EQUALS SIGN}", "\N{FULLWIDTH PLUS SIGN}",
                   "\N{FULLWIDTH HYPHEN-MINUS}", "\N{FULLWIDTH COMMERCIAL AT}")  # fmt: skip
_ENCODE: Final = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


class CSVFile:
    """
    Writes figures and alerts to a CSV file that pandas, DuckDB and spreadsheets read as it is.

    One row a statistic of a series that has changed, under the header
    ``time,metric,unit,attributes,statistic,value``: the time in UTC, the attributes as one JSON
    cell that also names service, version, instance and process, the value a plain number in the
    unit of the metric. ``count``, ``sum`` and ``units`` are totals since recording began, so that
    the newest row of each series, summed over the series of a call, is what the program itself
    would count. Of the time since the row before are ``interval_count``, ``rate`` and
    ``units_rate`` (a second), ``mean``, ``min``, ``p50``, ``p90``, ``p99``, ``max`` and, of
    gauges, ``last``. An alert is a row of ``holter.alerts`` with statistic ``firing``: 1 when it
    fires, 0 when it resolves. The first row of each file, ``holter.environment``, holds the
    environment in full.

    Several processes may name the same file. Each file holds at most *max_bytes*, and beside it
    stand at most *backups* older ones, ``path.1`` being the newest; a call takes some 3 KB an
    export, so that 30 of them fill 64 MiB in 2 hours: for long runs raise *every_seconds*. Text
    that a spreadsheet would take for a formula begins with an apostrophe instead.

    >>> CSVFile("figures.csv", max_bytes=1_000_000, backups=2).path.name
    'figures.csv'

    Raises:
        ConfigurationError: *path* cannot be written or holds something else, or a bound is wrong.
    """

    whole_group = True

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        every_seconds: float = 10.0,
        max_bytes: int = 64 * 2**20,
        backups: int = 3,
    ) -> None:
        self.every_seconds = positive_seconds("every_seconds", every_seconds)
        self._file = BoundedFile(path, max_bytes=max_bytes, backups=backups)
        self.path, self.max_bytes, self.backups = self._file.path, max_bytes, backups
        if not self._file.starts_with(_HEADER):
            raise ConfigurationError(
                f"expected a new file or one with the header {_HEADER.decode().strip()}, but {self.path} "
                "holds something else; name another file"
            )
        self._news = News()

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({os.fspath(self.path)!r}, every_seconds={self.every_seconds!r}, "
            f"max_bytes={self.max_bytes!r}, backups={self.backups!r})"
        )

    def export(self, snapshot: Snapshot, alerts: Iterable[Alert]) -> None:
        """
        Append the rows of what has changed, and of the *alerts*.

        Raises:
            OSError: the file cannot be written or not be locked in time; it holds whole rows only.
        """
        time, process = timestamp(snapshot.time_ns), _process(snapshot.process)
        rows = [row for series in self._news.of(snapshot) for row in _of_series(time, series, snapshot, process)]
        rows += [row for alert in alerts for row in _of_alert(time, alert, process)]
        environment = {"holter.environment": plain(snapshot.process.environment), **process}
        first = b"".join([_HEADER, *_rows(time, "holter.environment", "1", environment, {"info": 1})])
        number = self._file.append(rows, first=first)
        self._news.written(snapshot, (number, snapshot.process.instance, snapshot.process.pid))

    def close(self, timeout: float) -> None:
        """Nothing is held between exports, so nothing is left to do."""


def _of_series(time: str, series: Series, snapshot: Snapshot, process: Mapping[str, Any]) -> list[bytes]:
    attributes = plain(series.attributes)
    if series.name == names.CALL_DURATION:
        attributes.setdefault(names.CALL_OUTCOME, Outcome.OK.label)
    total = snapshot.total.get(series.id, Reading())
    values = statistics(series, snapshot.interval[series.id], total, snapshot.interval_ns / 1e9)
    return _rows(time, series.name, series.unit, {**attributes, **process}, values)


def _of_alert(time: str, alert: Alert, process: Mapping[str, Any]) -> list[bytes]:
    words = {
        "holter.alert.id": alert.id,
        "holter.alert.check": alert.check,
        "holter.alert.severity": alert.severity,
        "holter.alert.since": timestamp(alert.since_ns),
        "holter.alert.target": alert.target,
        "holter.alert.expected": alert.expected,
        "holter.alert.seen": alert.seen,
        "holter.alert.message": alert.message,
        "holter.alert.next_step": alert.next_step,
        "holter.alert.incident": alert.incident,
        **({} if alert.silence is None else {"holter.alert.silenced": str(alert.silence)}),
    }
    firing = {"firing": int(alert.state == "firing")}
    return _rows(time, names.ALERTS_FIRED, "1", {**plain(words), **process}, firing)


def _process(process: Process) -> dict[str, Any]:
    facts = {
        **process.attributes,
        "service.name": process.service,
        "service.version": process.version,
        "service.instance.id": process.instance,
        "process.pid": process.pid,
        "holter.fingerprint": process.fingerprint,
    }
    return {name: value for name, value in plain(facts).items() if value not in (None, "")}


def _rows(time: str, metric: str, unit: str, attributes: Mapping[str, Any], values: Mapping[str, float]) -> list[bytes]:
    cells = f"{time},{_cell(metric)},{_cell(unit)},{_quoted(_ENCODE(attributes))}"
    return [f"{cells},{statistic},{value!r}\r\n".encode() for statistic, value in values.items()]


def _cell(text: str) -> str:
    text = clean(text, LONGEST_TEXT)
    if text.lstrip().startswith(_FORMULA):
        text = f"'{text}"
    return _quoted(text) if "," in text or '"' in text else text


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
