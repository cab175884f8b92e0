"""Figures and alerts as JSON log lines."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from itertools import chain
from typing import Final

from holter.arguments import positive_seconds
from holter.boundedfile import BoundedFile
from holter.errors import ConfigurationError
from holter.figures import News
from holter.loglines import Line, LogLines, encode
from holter.model import Alert, SlowCall, Snapshot

_BEGINNING: Final = b'{"@timestamp":"'
_LEVELS: Final = {"info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}
# The fields of a line that a LogRecord has no attribute of its own for.
_EXTRA: Final = ("event", "service", "host", "labels", "holter", "trace", "span", "trace_id", "span_id")
_MOST_SLOW_CALLS: Final = 20


class LogFile:
    """
    Writes figures and alerts as JSON lines that people, Elastic, Loki and Fluent Bit read as they are.

    One line a call, span or other series that has changed, with a ``message`` in words and its
    figures under ``holter``: ``count``, ``sum`` and ``units`` since recording began; of the time
    since the line before ``interval_count``, ``rate`` and ``units_rate`` (a second), ``mean``,
    ``min``, ``p50``, ``p90``, ``p99``, ``max`` and, of gauges, ``last``; how the calls ended under
    ``outcomes`` and ``errors``. One line an alert that fires or resolves, with its severity as ``log.level``.
    Attributes are ``labels``, with ``_`` for their dots. The first line of each file holds the
    environment in full, the others its short hash.

    Slow calls that say what they lost time to are lines too, and where another exporter asks for slow and failed
    calls, those in a trace, with its id; the newest 20.

    Several processes may name the same file. Each file holds at most *max_bytes*, and beside it
    stand at most *backups* older ones, ``path.1`` being the newest; a call takes some 800 bytes an
    export, so that 30 of them fill 64 MiB in 8 hours. With *logger* the same lines go to a standard
    logger instead: the message as its text, the fields as its ``extra``.

    >>> LogFile("holter.jsonl", max_bytes=1_000_000, backups=2).path.name
    'holter.jsonl'
    >>> import logging
    >>> LogFile(logger=logging.getLogger("figures"))
    LogFile(logger=<Logger figures (WARNING)>, every_seconds=10.0)

    Raises:
        ConfigurationError: not one of *path* and *logger*, a path that cannot be written or holds
            something else, or a wrong bound.
    """

    whole_group = True

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        logger: logging.Logger | None = None,
        every_seconds: float = 10.0,
        max_bytes: int = 64 * 2**20,
        backups: int = 3,
    ) -> None:
        if (path is None) == (logger is None):
            raise ConfigurationError(
                f"expected a path or a logger, got {'neither' if path is None else 'both'}; give one of them"
            )
        if logger is not None and not isinstance(logger, logging.Logger):
            raise ConfigurationError(f"logger must be a logging.Logger, got {logger!r}; give logging.getLogger(...)")
        self.every_seconds = positive_seconds("every_seconds", every_seconds)
        self.logger, self.max_bytes, self.backups = logger, max_bytes, backups
        self._file = None if path is None else BoundedFile(path, max_bytes=max_bytes, backups=backups)
        self.path = None if self._file is None else self._file.path
        if self._file is not None and not self._file.starts_with(_BEGINNING):
            raise ConfigurationError(
                f"expected a new file or one with log lines in JSON, but {self.path} holds something else; "
                "name another file"
            )
        self._news = News()
        self._has_introduced = False
        self._told = 0

    def __repr__(self) -> str:
        if self.path is None:
            return f"{type(self).__name__}(logger={self.logger!r}, every_seconds={self.every_seconds!r})"
        return (
            f"{type(self).__name__}({os.fspath(self.path)!r}, every_seconds={self.every_seconds!r}, "
            f"max_bytes={self.max_bytes!r}, backups={self.backups!r})"
        )

    def export(self, snapshot: Snapshot, alerts: Iterable[Alert]) -> None:
        """
        Append a line for all that has changed, and for each of the *alerts*.

        Raises:
            OSError: the file cannot be written or not be locked in time; it holds whole lines only.
        """
        lines = LogLines(snapshot)
        # One by one: thousands of lines as dicts would send the garbage collector around.
        slow = self._slow_calls(snapshot)
        news = chain(
            lines.of_series(self._news.of(snapshot)), map(lines.of_alert, alerts), map(lines.of_slow_call, slow)
        )
        place = 0 if self._file is None else self._write(self._file, lines, news)
        if self.logger is not None:
            self._log(self.logger, lines, news)
        self._news.written(snapshot, (place, snapshot.process.instance, snapshot.process.pid))
        if snapshot.slow_calls:
            self._told = snapshot.slow_calls[-1].number

    def _slow_calls(self, snapshot: Snapshot) -> list[SlowCall]:
        """Return those in a trace, or that lost time to what is told, of which no line tells yet; the newest 20."""
        news = (call for call in snapshot.slow_calls if call.number > self._told)
        return [call for call in news if call.trace_id or call.pauses][-_MOST_SLOW_CALLS:]

    def _write(self, file: BoundedFile, lines: LogLines, news: Iterable[Line]) -> int:
        ending = f",{encode(lines.owner)[1:]}\n"
        first, *others = (f"{encode(line)[:-1]}{ending}".encode() for line in chain([lines.of_environment()], news))
        return file.append(others, first=first)

    def _log(self, logger: logging.Logger, lines: LogLines, news: Iterable[Line]) -> None:
        for line in news if self._has_introduced else chain([lines.of_environment()], news):
            extra: Line = {name: value for name, value in (line | lines.owner).items() if name in _EXTRA}
            logger.log(_LEVELS[line["log.level"]], line["message"], extra=extra)
        self._has_introduced = True

    def close(self, timeout: float) -> None:
        """Nothing is held between exports, so nothing is left to do."""
