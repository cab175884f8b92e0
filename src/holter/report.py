"""All that one program did, on one page: the verdict first, then the figures behind it."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, Final

from holter import words
from holter.digest import Call, Digest, Itself, Metric, Model, Spread, Training
from holter.figures import plain, timestamp
from holter.history import History
from holter.model import Alert, Process, Snapshot
from holter.tables import NO_BREAK, WIDTH, Block, Line, Notes, Table, fitted, wrapped
from holter.totals import digest
from holter.verdict import Verdict, clock_time, judge, short_place

HEIGHT: Final = 40
_MOST_VERDICT_LINES: Final = 5
_MOST_DETAIL_LINES: Final = 4
_MOST_ALERTS: Final = 4
_CALLS_KEPT: Final = 4
_MOST_LOGGED: Final = 6
_NAME: Final = 60


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
    }
    blocks: list[Block] = [
        *_tables(figures),
        _alerts(latest),
        _machine(figures),
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
        _calls(figures.calls).first(most_calls),
        Notes(tuple(row for row in _machine(figures).rows if row[0] == "process")),
    ]
    return [block for block in blocks if block.rows]


def _tables(figures: Digest) -> list[Table]:
    return [
        _calls(figures.calls),
        _failures(figures),
        _stages(figures),
        _streams(figures),
        _models(figures.models),
        _training(figures.training),
        _metrics(figures.metrics),
    ]


def _table(columns: str, rows: Iterable[Sequence[str]], *, names: int = 1) -> Table:
    """Return a table whose first *names* columns are names and whose others are numbers."""
    heads = tuple(columns.split("|"))
    return Table(heads, tuple(map(tuple, rows)), frozenset(range(names, len(heads)))).without_empty()


def _calls(calls: Iterable[Call]) -> Table:
    rows = [
        (
            _name(call.name),
            words.count(call.spread.count),
            _rate(call.rate),
            *_durations(call.spread, "p50", "p90", "p99", "maximum"),
            words.count(call.errors),
            words.count(call.in_flight),
            words.number(call.units_rate) if call.units else "",
        )
        for call in calls
    ]
    return replace(_table("calls|count|rate|p50|p90|p99|max|errors|open|units/s", rows), kept=_CALLS_KEPT)


def _failures(figures: Digest) -> Table:
    calls = {call.name: call.spread.count for call in figures.calls}
    rows = [
        (
            _name(failure.error_type),
            _name(failure.call),
            _name(failure.stage),
            short_place(failure.place),
            words.count(failure.count),
            _percent(failure.count / calls[failure.call]) if calls.get(failure.call) else "",
        )
        for failure in figures.failures
    ]
    return _table("errors|call|stage|place|count|of calls", rows, names=4)


def _stages(figures: Digest) -> Table:
    rows = [
        (
            _name(stage.name),
            _name(stage.call) or "(no call)",
            "" if stage.share is None else _percent(stage.share),
            words.count(stage.spread.count),
            *_durations(stage.spread, "p50", "p99"),
            words.count(stage.errors),
        )
        for stage in figures.stages
    ]
    return _table("stages|call|of its time|count|p50|p99|errors", rows, names=2)


def _streams(figures: Digest) -> Table:
    rows = [
        (
            _name(stream.name),
            words.count(stream.items),
            *_durations(stream.first_item, "p50", "p99"),
            *_durations(stream.between_items, "p50", "p99"),
            _short(stream.producer_seconds),
            _short(stream.consumer_seconds),
            words.count(stream.abandoned),
        )
        for stream in figures.streams
    ]
    return _table("streams|items|first|p99|next|p99|producing|waiting|abandoned", rows)


def _models(models: Iterable[Model]) -> Table:
    rows = [
        (
            _name(model.name),
            words.count(model.requests.count),
            *_durations(model.first_token, "p50", "p99"),
            *_durations(model.per_token, "p50", "p99"),
            words.count(model.input_tokens),
            words.count(model.output_tokens),
            _rate(model.output_rate),
            words.count(model.errors),
            "" if model.goodput is None else words.ratio(model.goodput),
        )
        for model in models
    ]
    return _table("models|requests|first|p99|token|p99|in|out|out/s|errors|goodput", rows)


def _training(runs: Iterable[Training]) -> Table:
    rows = []
    for run in runs:
        wait = run.data_wait_share
        done = "" if run.progress is None else _percent(run.progress)
        if run.steps_total and run.steps_done is not None:
            done = f"{words.count(run.steps_done)}/{words.count(run.steps_total)}"
        rows.append(
            (
                _name(run.name),
                words.count(run.steps.count),
                *_durations(run.steps, "p50", "p99"),
                "" if wait is None else _percent(wait),
                "" if wait is None else _percent(1 - wait),
                words.number(run.samples_rate) if run.samples else "",
                "" if run.epoch is None else words.number(run.epoch),
                done,
                words.count(run.errors) if run.errors else "",
            )
        )
    return _table("training|steps|p50|p99|data wait|compute|samples/s|epoch|done|errors", rows)


def _metrics(metrics: Iterable[Metric]) -> Table:
    rows = []
    for metric in metrics:
        selected = ", ".join(f"{key}={value}" for key, value in sorted(metric.attributes.items()))
        say = _saying(metric.unit)
        spread = [metric.spread.p50, metric.spread.p99, metric.spread.maximum]
        is_histogram = metric.kind == "histogram"
        rows.append(
            (
                _name(metric.name + (f" {{{selected}}}" if selected else "")),
                words.count(metric.spread.count) if is_histogram else say(metric.value),
                _rate(metric.rate or 0.0) if metric.kind not in ("gauge", "updowncounter") else "",
                *(say(value) if is_histogram else "" for value in spread),
            )
        )
    return _table("metrics|value|rate|p50|p99|max", rows)


def _alerts(alerts: Sequence[Alert]) -> Notes:
    rows = []
    for alert in sorted(alerts, key=lambda alert: (alert.state != "firing", -alert.since_ns)):
        text = (
            f"{_name(alert.target)} since {clock_time(alert.since_ns)}: expected {words.clean(alert.expected)}, "
            f"saw {words.clean(alert.seen)}."
        )
        next_step = f" {words.clean(alert.next_step, 160)}" if alert.next_step else ""
        rows.append(("ALERT" if alert.state == "firing" else "resolved", text + next_step))
    return Notes(tuple(rows)).first(_MOST_ALERTS)


def _machine(figures: Digest) -> Notes:
    known = figures.machine

    def parts(*texts: tuple[str, Callable[[float], str], str]) -> str:
        return _listed(text.format(say(known[name])) for name, say, text in texts if known.get(name))

    process = parts(
        ("process_cpu", _percent, "CPU {}"),
        ("process_memory_bytes", words.size, "memory {}"),
        ("process_memory_peak_bytes", words.size, "peak {}"),
        ("process_disk_read_bytes", words.size, "disk read {}"),
        ("process_disk_write_bytes", words.size, "disk written {}"),
    )
    host = parts(
        ("host_cpu", _percent, "CPU {}"),
        ("host_memory", _percent, "memory {}"),
        ("host_memory_bytes", words.size, "of {}"),
        ("host_network_receive_bytes", words.size, "network in {}"),
        ("host_network_transmit_bytes", words.size, "network out {}"),
    ).replace(f", of{NO_BREAK}", f" of{NO_BREAK}")
    logged = [
        (f"logged in {_name(run.name)}" if len(figures.training) > 1 else "logged", _metric_values(run.metrics))
        for run in figures.training
    ]
    rows = (*logged, ("process", process), ("host", host), ("holter", _itself(figures.itself)))
    shown = tuple(row for row in rows if row[1])
    return Notes(shown, kept=HEIGHT)


def _metric_values(metrics: Mapping[str, float]) -> str:
    texts = [f"{_name(name)} {words.number(value)}" for name, value in list(metrics.items())[:_MOST_LOGGED]]
    left = len(metrics) - len(texts)
    return _listed([*texts, f"and {left} more" if left else ""])


def _itself(itself: Itself) -> str:
    lost = f"{words.count(itself.lost)} lost (totals are exact)" if itself.lost else "none lost"
    texts = [
        "" if itself.overhead is None else f"{_percent(itself.overhead)} of CPU",
        f"{words.count(itself.written, 'record')}, {lost}" if itself.written or itself.lost else "",
        f"collector {_short(itself.collector.p50)} an interval" if itself.collector.p50 is not None else "",
        _counted("internal errors", itself.internal_errors),
        _counted("export failures", itself.exporter_failures),
    ]
    return _listed(texts)


def _listed(texts: Iterable[str]) -> str:
    """Return texts after each other, to be broken between them only."""
    return ", ".join(text.replace(" ", NO_BREAK) for text in texts if text)


def _counted(what: str, by_place: Mapping[str, int]) -> str:
    places = [f"{words.count(count)} in {_name(place)}" for place, count in by_place.items() if count]
    return f"{what}: {', '.join(places[:3])}" if places else ""


def _heading(snapshot: Snapshot, seconds: float, records: tuple[int, int] | None) -> str:
    process: Process = snapshot.process
    version = f" {_name(process.version)}" if process.version else ""
    host = f" on {_name(process.host)}" if process.host else ""
    whose = f", process {process.pid}" if process.pid else ""
    started = clock_time(snapshot.time_ns - round(seconds * 1e9))
    heading = f"{_name(process.service)}{version}{whose}{host}: {words.duration(seconds)} since {started}"
    if records is None:
        return heading
    return f"{heading}, the last {words.count(records[0])} of {words.count(records[1], 'record')}"


def _name(text: str) -> str:
    return words.clean(text, _NAME)


def _percent(share: float) -> str:
    """Return a share in whole per cent, or two digits where it is small."""
    return words.ratio(round(share, 2) if 0.1 <= share < 0.995 else float(f"{share:.2g}"))  # noqa: PLR2004  ten per cent


def _rate(per_second: float) -> str:
    return f"{words.number(per_second)}/s"


def _durations(spread: Spread, *which: str) -> list[str]:
    return [_short(getattr(spread, name)) for name in which]


def _short(seconds: float | None) -> str:
    """Return a duration in two digits, or three where the unit asks for them, so that columns stay narrow."""
    if seconds is None:
        return ""
    if not 0 < seconds < 60 or not math.isfinite(seconds):  # noqa: PLR2004  above a minute two units are given
        return words.duration(seconds)
    digits = 3 if math.floor(math.log10(seconds)) % 3 == 2 else 2  # noqa: PLR2004  hundreds of a unit
    return words.duration(float(f"{seconds:.{digits}g}"))


def _saying(unit: str) -> Callable[[float | None], str]:
    def say(value: float | None) -> str:
        if value is None:
            return ""
        return _short(value) if unit == "s" else words.quantity(value, unit)

    return say


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, Mapping):
        return {plain(str(key)): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return plain(value)
