"""All that one program did, on one page: the verdict first, then the figures behind it."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, Final

from holter import words
from holter.figures import plain, timestamp
from holter.history import History
from holter.losses import losses, said
from holter.model import Alert, Process, SlowCall, Snapshot
from holter.serving import servings, switched
from holter.sheets import calls_table, machine, named, tables
from holter.tables import HEIGHT, WIDTH, Block, Line, Notes, fitted, wrapped
from holter.totals import digest
from holter.verdict import Verdict, clock_time, judge

_MOST_VERDICT_LINES: Final = 5
_MOST_DETAIL_LINES: Final = 4
_MOST_ALERTS: Final = 4
_MOST_GUARDS: Final = 4
_MOST_LOST: Final = 3
_LONGEST_STACK: Final = 600


@dataclass(frozen=True, slots=True)
class Summary:
    """
    What a program did, to be read by people and programs.

    ``str()`` gives plain text of at most 40 lines of 80 columns, notebooks show it as HTML with
    every row, `to_dict` gives the figures in full precision. All three come from ``verdict``,
    ``heading``, ``blocks`` and ``figures``; foreign text in them is printable and on one line.
    """

    verdict: Verdict
    heading: str
    blocks: tuple[Block, ...]
    figures: Mapping[str, Any] = field(repr=False)

    def __str__(self) -> str:
        return "\n".join(text for _, text in self.lines())

    def lines(self, height: int = HEIGHT, width: int = WIDTH) -> list[Line]:
        """Return the text line by line, each with its role, for a terminal to style; the busiest rows first."""
        lines: list[Line] = [("verdict", text) for text in wrapped(self.verdict.headline, width)[:_MOST_VERDICT_LINES]]
        room = _MOST_DETAIL_LINES
        for detail in self.verdict.details:
            texts = wrapped(detail, width)
            room -= len(texts)
            if room < 0:
                break
            lines += [("detail", text) for text in texts]
        lines += [("blank", ""), *(("heading", text) for text in wrapped(self.heading, width)[:2])]
        return lines + fitted(self.blocks, height - len(lines), width)

    def _repr_html_(self) -> str:
        paragraphs = "".join(f"<p>{html.escape(detail)}</p>" for detail in self.verdict.details)
        return (
            f"<div><p><b>{html.escape(self.verdict.headline)}</b></p>{paragraphs}"
            f"<p>{html.escape(self.heading)}</p>{''.join(block.html() for block in self.blocks)}</div>"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return verdict and figures as plain dicts, lists, strings and finite numbers: JSON takes them as they are."""
        return dict(self.figures)


def summarise(
    snapshot: Snapshot,
    alerts: Iterable[Alert] = (),
    history: History | None = None,
    records: tuple[int, int] | None = None,
) -> Summary:
    """
    Return the summary of *snapshot*, whose totals reach back to the start.

    *alerts* are those that fired or resolved, in order; *records*, where nobody drained, is how
    many of how many records the figures rest on.
    """
    latest = list({alert.id: alert for alert in alerts}.values())
    verdict = judge(history or History(1), snapshot, latest, snapshot.error_places)
    figures = digest(snapshot)
    lost, guards = _losses(snapshot), servings(snapshot)
    data = {
        "verdict": verdict,
        "service": snapshot.process.service,
        "version": snapshot.process.version,
        "pid": snapshot.process.pid,
        "host": snapshot.process.host,
        "environment": snapshot.process.environment,
        "time": timestamp(snapshot.time_ns),
        "records": None if records is None else {"read": records[0], "written": records[1]},
        **{each.name: getattr(figures, each.name) for each in fields(figures)},
        "alerts": latest,
        "guards": guards,
        "losses": lost,
    }
    blocks: list[Block] = [
        *tables(figures),
        _alerts(latest),
        switched(guards).first(_MOST_GUARDS),
        Notes(tuple((f"slow {named(call)}", f"spent {said(shares)}") for call, shares in lost.items())).first(
            _MOST_LOST
        ),
        machine(figures),
    ]
    return Summary(
        verdict=verdict,
        heading=_heading(snapshot, figures.seconds, records),
        blocks=tuple(block for block in blocks if block.rows),
        figures=_plain(data),
    )


def recently(snapshot: Snapshot, most_calls: int = 8) -> list[Block]:
    """Return what to show of the last interval of *snapshot*: its calls, and the process."""
    began_ns = snapshot.monotonic_ns - snapshot.interval_ns
    figures = digest(replace(snapshot, total=snapshot.interval, process=replace(snapshot.process, started_ns=began_ns)))
    blocks: list[Block] = [
        calls_table(figures.calls).first(most_calls),
        Notes(tuple(row for row in machine(figures).rows if row[0] == "process")),
    ]
    return [block for block in blocks if block.rows]


def _alerts(alerts: Sequence[Alert]) -> Notes:
    rows = []
    for alert in sorted(alerts, key=lambda alert: (alert.state != "firing", -alert.since_ns)):
        text = (
            f"{named(alert.target)} since {clock_time(alert.since_ns)}: expected {words.clean(alert.expected)}, "
            f"saw {words.clean(alert.seen)}."
        )
        next_step = f" {words.clean(alert.next_step, 160)}" if alert.next_step else ""
        text += "" if alert.silence is None else f" ({alert.silence})"
        stack = words.clean(str(alert.evidence.get("stack", "")), _LONGEST_STACK)
        where = f" Stack, innermost first: {stack}." if stack else ""
        rows.append(("ALERT" if alert.state == "firing" else "resolved", text + next_step + where))
    return Notes(tuple(rows)).first(_MOST_ALERTS)


def _losses(snapshot: Snapshot) -> dict[str, dict[str, float]]:
    """Return of the newest slow calls which share of their time they lost to what, by call."""
    of_one: dict[str, list[SlowCall]] = {}
    for call in snapshot.slow_calls:
        of_one.setdefault(call.call, []).append(call)
    return {name: shares for name, calls in of_one.items() if (shares := losses(calls))}


def _heading(snapshot: Snapshot, seconds: float, records: tuple[int, int] | None) -> str:
    process: Process = snapshot.process
    version = f" {named(process.version)}" if process.version else ""
    host = f" on {named(process.host)}" if process.host else ""
    whose = f", process {process.pid}" if process.pid else ""
    started = clock_time(snapshot.time_ns - round(seconds * 1e9))
    heading = f"{named(process.service)}{version}{whose}{host}: {words.duration(seconds)} since {started}"
    if records is None:
        return heading
    return f"{heading}, the last {words.count(records[0])} of {words.count(records[1], 'record')}"


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, Mapping):
        return {plain(str(key)): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return plain(value)
