"""The tables of `holter top`: calls, training, streams, models, processes, metrics, stages, errors, pauses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

from holter import words
from holter.view.below import energy, failures, gpus, metrics, pauses, processes, stages
from holter.view.cells import (
    NARROW,
    Sheet,
    age_cell,
    counted_cell,
    curve_cell,
    name_cell,
    number_cell,
    share_cell,
    time_cell,
    whose_cell,
)
from holter.view.courses import Courses
from holter.view.grid import Column, Piece, Row
from holter.view.head import FEW_GPUS
from holter.view.vitalsigns import CallFigures, TrainingFigures, Vitals
from holter.view.wanted import Order, View, percent

_SORTED_BY: Final = {"rate": "calls/s", "p99": "p99", "errors": "err/s", "oldest": "oldest", "name": "calls"}


def sheets(figures: Vitals, view: View, courses: Courses) -> Iterator[Sheet]:
    """Yield the tables in the order in which they are shown, each with its columns and rows; some without rows."""
    is_apart = view.is_apart and len(figures.processes) > 1
    for make in (_calls, _training, _streams, _models):
        columns, rows = make(figures, view, courses)
        if not is_apart:
            # The second column is the number of the process.
            columns = [*columns[:1], *columns[2:]]
            rows = [replace(row, cells=(*row.cells[:1], *row.cells[2:])) for row in rows]
        yield columns, rows
    if len(figures.processes) > 1:
        yield processes(figures)
    if len(figures.gpus) > FEW_GPUS:
        yield gpus(figures)
    yield energy(figures)
    yield metrics(figures)
    yield stages(figures, view)
    yield failures(figures, view)
    yield pauses(figures)


def _calls(figures: Vitals, view: View, courses: Courses) -> Sheet:
    columns = [
        Column("calls", kind="name"),
        Column("process"),
        Column("calls/s", least=8),
        Column("p50", 1, least=NARROW),
        Column("p90", 4, least=NARROW),
        Column("p99", least=NARROW),
        Column("max", 6, least=NARROW),
        Column("err/s"),
        Column("open"),
        Column("oldest", least=NARROW),
        Column("units/s", 5),
        Column("in all", 7),
        Column("failed", 8),
        Column("rate", 3, kind="curve"),
    ]
    arrow = "▴" if view.is_reversed != (view.order == "name") else "▾"
    marked = _SORTED_BY[view.order]
    columns = [replace(one, title=one.title + arrow) if one.title == marked else one for one in columns]
    rows = [
        Row(
            (
                name_cell(call.name),
                whose_cell(call.process),
                number_cell(call.rate),
                time_cell(call.p50),
                time_cell(call.p90),
                time_cell(call.p99),
                time_cell(call.maximum),
                number_cell(call.error_rate, "bad"),
                Piece(words.count(call.in_flight), "plain" if call.in_flight else "dim"),
                age_cell(call.oldest_seconds, hangs=call.hangs),
                number_cell(call.units_rate),
                Piece(words.count(call.total)),
                counted_cell(call.failed),
                curve_cell(courses.of("calls", call.name, call.process)),
            ),
            key=("calls", call.name, call.process),
        )
        for call in in_order(figures.calls, view.order, is_reversed=view.is_reversed)
    ]
    return columns, rows


def in_order(calls: tuple[CallFigures, ...], order: Order, *, is_reversed: bool = False) -> list[CallFigures]:
    """Return the calls sorted: the largest first, names from A on; or the other way round."""
    measures: dict[Order, Callable[[CallFigures], float]] = {
        "rate": lambda call: call.rate or 0.0,
        "p99": lambda call: call.p99 or 0.0,
        "errors": lambda call: call.error_rate or 0.0,
        "oldest": lambda call: call.oldest_seconds,
    }
    named = sorted(calls, key=lambda call: (call.name, call.process or 0))
    if order != "name":
        named.sort(key=lambda call: (-measures[order](call), -call.total))
    return named[::-1] if is_reversed else named


def _training(figures: Vitals, view: View, courses: Courses) -> Sheet:
    del view
    columns = [
        Column("training", kind="name"),
        Column("process"),
        Column("done"),
        Column("steps/s", least=7),
        Column("p50", 2, least=NARROW),
        Column("p99", 1, least=NARROW),
        Column("data wait", 3),
        Column("samples/s", 5),
        Column("epoch", 6),
        Column("left", least=10),
        Column("step for", least=NARROW),
        Column("failed", 7),
        Column("rate", 4, kind="curve"),
    ]
    rows = [
        Row(
            (
                name_cell(run.name),
                whose_cell(run.process),
                Piece(_done(run)),
                number_cell(run.steps_rate),
                time_cell(run.p50),
                time_cell(run.p99),
                share_cell(run.data_wait_share),
                number_cell(run.samples_rate),
                number_cell(run.epoch),
                Piece("" if run.remaining_seconds is None else words.duration(round(run.remaining_seconds))),
                age_cell(run.step_seconds, hangs=run.hangs),
                counted_cell(run.failed),
                curve_cell(courses.of("steps", run.name, run.process)),
            ),
            key=("training", run.name, run.process),
        )
        for run in figures.training
    ]
    return columns, rows


def _done(run: TrainingFigures) -> str:
    if run.steps_total and run.steps_done is not None:
        return f"{words.count(run.steps_done)}/{words.count(run.steps_total)}"
    return percent(run.progress) if run.progress is not None else words.count(run.total)


def _streams(figures: Vitals, view: View, courses: Courses) -> Sheet:
    del view
    columns = [
        Column("streams", kind="name"),
        Column("process"),
        Column("items/s", least=7),
        Column("first p50", least=NARROW),
        Column("first p99", 1, least=NARROW),
        Column("next p50", least=NARROW),
        Column("next p99", 1, least=NARROW),
        Column("consumer", 2),
        Column("in all", 5),
        Column("left", 6),
        Column("rate", 3, kind="curve"),
    ]
    rows = [
        Row(
            (
                name_cell(stream.name),
                whose_cell(stream.process),
                number_cell(stream.items_rate),
                time_cell(stream.first_p50),
                time_cell(stream.first_p99),
                time_cell(stream.between_p50),
                time_cell(stream.between_p99),
                share_cell(stream.consumer_share),
                Piece(words.count(stream.total)),
                Piece(words.count(stream.abandoned) if stream.abandoned else ""),
                curve_cell(courses.of("items", stream.name, stream.process)),
            ),
            key=("streams", stream.name, stream.process),
        )
        for stream in figures.streams
    ]
    return columns, rows


def _models(figures: Vitals, view: View, courses: Courses) -> Sheet:
    del view, courses
    columns = [
        Column("models", kind="name"),
        Column("process"),
        Column("requests/s"),
        Column("first p50", least=NARROW),
        Column("first p99", 2, least=NARROW),
        Column("a token", 1, least=NARROW),
        Column("tokens/s", least=8),
        Column("goodput", 1),
        Column("in all", 3),
        Column("failed", 5),
    ]
    rows = [
        Row(
            (
                name_cell(model.name),
                whose_cell(model.process),
                number_cell(model.rate),
                time_cell(model.first_token_p50),
                time_cell(model.first_token_p99),
                time_cell(model.token_p50),
                number_cell(model.output_rate),
                share_cell(model.goodput),
                Piece(words.count(model.total)),
                counted_cell(model.failed),
            ),
            key=("models", model.name, model.process),
        )
        for model in figures.models
    ]
    return columns, rows
