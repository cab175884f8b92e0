"""The live summary on a terminal: in colours with rich, in plain text where there is no rich or no terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final, TextIO

from holter import words
from holter.arguments import positive_seconds
from holter.errors import ConfigurationError
from holter.history import History
from holter.model import Alert, Snapshot
from holter.report import Summary, recently
from holter.tables import Line, Role, wrapped
from holter.verdict import clock_time, judge

if TYPE_CHECKING:
    from rich.text import Text

_WIDTH: Final = 80
_ALARMED: Final = "bold red"
_STYLES: Final = {"verdict": "bold green", "alert": _ALARMED, "heading": "dim", "header": "bold cyan", "note": "dim"}
_NEEDED: Final = ("write", "flush", "isatty")


class Console:
    """
    Prints what the last period was like, and alerts: verdict, calls, the process; at most 20 lines.

    Writes to *stream*, by default the standard error of the moment, so that it mixes with no
    output of the program. With rich (``pip install 'holter[console]'``) a terminal shows it in
    colours, unless NO_COLOR is set; a pipe or a file gets plain text. Names are printed as text,
    whatever markup or escapes they hold. Keeps a `History` of what it has exported.

    >>> Console(every_seconds=30.0)
    Console(every_seconds=30.0)

    Raises:
        ConfigurationError: *stream* cannot be written to, or *every_seconds* is not positive.
    """

    whole_group = True

    def __init__(self, stream: TextIO | None = None, every_seconds: float = 10.0) -> None:
        if stream is not None and not all(callable(getattr(stream, name, None)) for name in _NEEDED):
            raise ConfigurationError(f"stream must be a text file that is open for writing, got {stream!r}")
        self.every_seconds = positive_seconds("every_seconds", every_seconds)
        self._stream = stream
        self._history = History()
        self._firing: dict[str, Alert] = {}

    def __repr__(self) -> str:
        return f"Console(every_seconds={self.every_seconds!r})"

    def export(self, snapshot: Snapshot, alerts: Iterable[Alert]) -> None:
        """
        Print the interval of *snapshot*, and each of *alerts* with its next step.

        Raises:
            OSError: the stream is closed, or whoever read it has gone.
        """
        news = list(alerts)
        for alert in news:
            self._firing.pop(alert.id, None)
            if alert.state == "firing":
                self._firing[alert.id] = alert
        self._history.add(snapshot)
        verdict = judge(self._history, snapshot, self._firing.values(), snapshot.error_places)
        lines = [line for alert in news for line in _alert_lines(alert)]
        is_said = any(words.clean(alert.message) in verdict.headline for alert in news)
        lines += _snapshot_lines(snapshot, verdict.headline if verdict.changed and not is_said else "")
        _write([*lines, ("blank", "")], self._stream, alarmed=verdict.changed)

    def close(self, timeout: float) -> None:
        """Do nothing: each export has written all of its lines, and the stream belongs to the program."""


def render(summary: Summary, stream: TextIO | None = None) -> None:
    """
    Print *summary* to *stream*, by default the standard output: in colours on a terminal that has rich.

    Raises:
        OSError: the stream is closed, or whoever read it has gone.
    """
    _write(summary.lines(), sys.stdout if stream is None else stream, alarmed=summary.verdict.changed)


def _alert_lines(alert: Alert) -> list[Line]:
    state = f"{alert.severity} alert, {alert.state} since {clock_time(alert.since_ns)}"
    state += "" if alert.silence is None else f" ({alert.silence})"
    texts = (f"{state}: {words.clean(alert.message, 240)}.", words.clean(alert.next_step, 240))
    role: Role = "alert" if alert.state == "firing" else "heading"
    return [(role, line) for line in wrapped(" ".join(filter(None, texts)), _WIDTH)]


def _snapshot_lines(snapshot: Snapshot, headline: str) -> list[Line]:
    process = snapshot.process
    service = " ".join(words.clean(part, 40) for part in (process.service, process.version) if part)
    period = words.duration(snapshot.interval_ns / 1e9)
    lines: list[Line] = [("heading", f"{clock_time(snapshot.time_ns)}  {service}, the last {period}")]
    lines += [("verdict", line) for line in wrapped(headline, _WIDTH)]
    return lines + [line for block in recently(snapshot) for line in block.lines(_WIDTH)]


def _write(lines: Sequence[Line], stream: TextIO | None, *, alarmed: bool) -> None:
    target = sys.stderr if stream is None else stream
    if target is None or getattr(target, "closed", False):
        raise OSError("the stream that holter prints to is closed")
    encoding = getattr(target, "encoding", None) or "utf-8"
    shown = [(role, text.encode(encoding, "replace").decode(encoding)) for role, text in lines]
    styled = _styled(shown, alarmed=alarmed) if target.isatty() else None
    if styled is None:
        target.write("".join(f"{text}\n" for _, text in shown))
    else:
        from rich.console import Console as RichConsole  # noqa: PLC0415  takes 40 ms to import, needed on terminals only

        RichConsole(file=target, highlight=False).print(styled, soft_wrap=True)
    target.flush()


def _styled(lines: Sequence[Line], *, alarmed: bool) -> Text | None:
    """Return the lines with a style for each role, or None where rich is not installed."""
    try:
        from rich.text import Text  # noqa: PLC0415  takes 40 ms to import, needed on terminals only
    except ImportError:
        return None
    styles = {**_STYLES, "verdict": _ALARMED} if alarmed else _STYLES
    return Text("\n").join(Text(text, style=styles.get(role, "")) for role, text in lines)
