"""The tables of a summary: what each kind of figure looks like to a person."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from holter import words
from holter.digest import Call, Digest, Itself, Metric, Model, Spread, Training
from holter.metric import LEVELS
from holter.tables import HEIGHT, NO_BREAK, Notes, Table
from holter.verdict import short_place

_CALLS_KEPT: Final = 4
_MUCH_COLLECTION: Final = 0.05
_LATE_SECONDS: Final = 0.1
_BLOCKED_SECONDS: Final = 1.0
_MOST_LOGGED: Final = 6
_NAME: Final = 60


def tables(figures: Digest) -> list[Table]:
    """Return the tables of all that a program did, empty ones too."""
    return [
        calls_table(figures.calls),
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


def calls_table(calls: Iterable[Call]) -> Table:
    """Return a row a call."""
    rows = [
        (
            named(call.name),
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
            named(failure.error_type),
            named(failure.call),
            named(failure.stage),
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
            named(stage.name),
            named(stage.call) or "(no call)",
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
            named(stream.name),
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
            named(model.name),
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
                named(run.name),
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
                named(metric.name + (f" {{{selected}}}" if selected else "")),
                words.count(metric.spread.count) if is_histogram else say(metric.value),
                _rate(metric.rate or 0.0) if metric.kind not in LEVELS else "",
                *(say(value) if is_histogram else "" for value in spread),
            )
        )
    return _table("metrics|value|rate|p50|p99|max", rows)


def machine(figures: Digest) -> Notes:
    """Return what was logged, and a line each for process, host and holter."""
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
        (f"logged in {named(run.name)}" if len(figures.training) > 1 else "logged", _metric_values(run.metrics))
        for run in figures.training
    ]
    python = _listed(_python(known, figures.seconds))
    rows = (*logged, ("process", process), ("python", python), ("host", host), ("holter", _itself(figures.itself)))
    shown = tuple(row for row in rows if row[1])
    return Notes(shown, kept=HEIGHT)


def _python(known: Mapping[str, float], seconds: float) -> Iterator[str]:
    """Yield what of Python's own is worth a word: nothing of a program that it does not hinder."""
    collected, blocked = known.get("python_gc_seconds", 0.0), known.get("python_loop_blocked_seconds", 0.0)
    if seconds and collected >= _MUCH_COLLECTION * seconds:
        longest = known.get("python_gc_longest_seconds", 0.0)
        yield f"garbage collection {_percent(collected / seconds)} of the time, {_short(longest)} at most"
    if known.get("python_loop_lag_p99_seconds", 0.0) >= _LATE_SECONDS:
        yield f"event loop late, p99 {_short(known['python_loop_lag_p99_seconds'])}"
    if blocked >= _BLOCKED_SECONDS:
        yield f"event loop blocked for {_short(blocked)} now"


def _metric_values(metrics: Mapping[str, float]) -> str:
    texts = [f"{named(name)} {words.number(value)}" for name, value in list(metrics.items())[:_MOST_LOGGED]]
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
    places = [f"{words.count(count)} in {named(place)}" for place, count in by_place.items() if count]
    return f"{what}: {', '.join(places[:3])}" if places else ""


def named(text: str) -> str:
    """Return a name of the user's as it may stand on a line."""
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
