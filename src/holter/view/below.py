"""The lower tables of `holter top`: processes, GPUs, metrics, stages, errors, pauses."""

from __future__ import annotations

from typing import Final

from holter import words
from holter.verdict import short_place
from holter.view.cells import (
    NARROW,
    Sheet,
    age_cell,
    counted_cell,
    name_cell,
    number_cell,
    quantity_cell,
    share_cell,
    time_cell,
    whose_cell,
)
from holter.view.grid import Column, Piece, Row
from holter.view.head import STATES
from holter.view.vitalsigns import Vitals
from holter.view.wanted import View

# From what value on, in which size, by which prefix.
_SIZES: Final = ((1e6, 1e6, "M"), (1e4, 1e3, "k"), (0.1, 1.0, ""), (1e-6, 1e-3, "m"))


def processes(figures: Vitals) -> Sheet:
    """Return a row a process."""
    columns = [
        Column("processes", kind="name"),
        Column("process"),
        Column("CPU", least=NARROW),
        Column("memory", 1, least=8),
        Column("calls/s", least=8),
        Column("p99", 2, least=NARROW),
        Column("err/s", 3),
        Column("open"),
        Column("oldest", least=NARROW),
        Column("heard of", 4, least=10),
    ]
    rows = [
        Row(
            (
                Piece(one.state, STATES.get(one.state, "plain")),
                whose_cell(one.pid),
                share_cell(one.cpus),
                Piece("" if one.memory_bytes is None else words.size(one.memory_bytes)),
                number_cell(one.rate),
                time_cell(one.p99),
                number_cell(one.error_rate, "bad"),
                Piece(words.count(one.in_flight), "plain" if one.in_flight else "dim"),
                age_cell(one.oldest_seconds, hangs=False),
                Piece(f"{words.duration(round(one.silent_seconds))} ago", "bad" if one.state == "silent" else "dim"),
            ),
            key=("processes", "", one.pid),
        )
        for one in figures.processes
    ]
    return columns, rows


def gpus(figures: Vitals) -> Sheet:
    """Return a row a GPU."""
    columns = [
        Column("GPUs", kind="name"),
        Column("model", 1, kind="name"),
        Column("busy", least=NARROW),
        Column("memory", least=8),
        Column("of", 2),
        Column("power"),
        Column("°C"),
        Column("held down by", 5, kind="name"),
    ]
    rows = [
        Row(
            (
                name_cell(gpu.name or gpu.id),
                Piece(words.clean(gpu.model, 40)),
                share_cell(gpu.utilization),
                quantity_cell(gpu.memory_bytes, "By"),
                quantity_cell(gpu.memory_limit_bytes, "By"),
                quantity_cell(gpu.power, "W"),
                quantity_cell(gpu.temperature, "1"),
                Piece(words.clean(", ".join(gpu.throttled), 60), "warn"),
            )
        )
        for gpu in figures.gpus
    ]
    return columns, rows


def energy(figures: Vitals) -> Sheet:
    """Return a row for each call that takes energy of GPUs."""
    columns = [
        Column("energy", kind="name"),
        Column("power"),
        Column("a call", least=8),
        Column("a token", 5, least=8),
        Column("in all", 1),
    ]
    rows = [
        Row(
            (
                name_cell(one.name),
                _scaled_cell(one.power, "W"),
                _scaled_cell(one.call_joules, "J"),
                _scaled_cell(one.token_joules, "J"),
                _scaled_cell(one.total, "J"),
            )
        )
        for one in figures.energy
    ]
    return columns, rows


def _scaled_cell(value: float | None, unit: str) -> Piece:
    """Return watts or joules in a size of the unit that makes them short, in the three digits that are known."""
    if value is None:
        return Piece("")
    size, prefix = next(((size, prefix) for least, size, prefix in _SIZES if value >= least), (1.0, ""))
    return Piece(f"{words.number(float(f'{value / size:.3g}'))} {prefix}{unit}", "plain" if value else "dim")


def metrics(figures: Vitals) -> Sheet:
    """Return a row for each figure of the program's own."""
    columns = [
        Column("metrics", kind="name"),
        Column("value"),
        Column("a second", 1),
        Column("p50", 2, least=NARROW),
        Column("p99", 2, least=NARROW),
    ]
    rows = []
    for one in figures.metrics:
        selected = ", ".join(f"{key}={value}" for key, value in sorted(one.attributes.items()))
        rows.append(
            Row(
                (
                    name_cell(one.name + (f" {{{selected}}}" if selected else "")),
                    quantity_cell(one.value, "{value}" if one.kind == "histogram" else one.unit),
                    number_cell(one.rate),
                    quantity_cell(one.p50, one.unit),
                    quantity_cell(one.p99, one.unit),
                )
            )
        )
    return columns, rows


def _selected(view: View) -> str | None:
    """Return the call or the training run whose stages and errors alone are asked for."""
    selected = view.selected
    return selected[1] if isinstance(selected, tuple) and selected[0] in ("calls", "training") else None


def stages(figures: Vitals, view: View) -> Sheet:
    """Return a row for each stage of a call, of the selected one alone if one is."""
    only = _selected(view)
    columns = [
        Column("stages", kind="name"),
        Column("of", kind="name"),
        Column("of its time"),
        Column("p50", least=NARROW),
        Column("p99", least=NARROW),
        Column("failed", 5),
    ]
    rows = [
        Row(
            (
                name_cell(stage["name"]),
                name_cell(stage["call"]),
                share_cell(stage["share"]),
                time_cell(stage["spread"]["p50"]),
                time_cell(stage["spread"]["p99"]),
                counted_cell(stage["errors"]),
            )
        )
        for stage in figures.stages
        if only is None or stage["call"] == only
    ]
    return columns, rows


def failures(figures: Vitals, view: View) -> Sheet:
    """Return a row for each type of error of a call, of the selected one alone if one is."""
    only = _selected(view)
    columns = [
        Column("errors", kind="name"),
        Column("in", kind="name"),
        Column("at", kind="name"),
        Column("of late"),
        Column("in all", 1),
    ]
    rows = [
        Row(
            (
                Piece(words.clean(failure["error_type"], 60), "bad"),
                name_cell(failure["call"]),
                Piece(short_place(failure["place"])),
                Piece(words.count(failure["count"]), "bad" if failure["count"] else "dim"),
                Piece(words.count(failure["total"])),
            )
        )
        for failure in figures.failures
        if only is None or failure["call"] == only
    ]
    return columns, rows


def pauses(figures: Vitals) -> Sheet:
    """Return a row for each kind of pause."""
    columns = [
        Column("pauses", kind="name"),
        Column("a second"),
        Column("p50", least=NARROW),
        Column("p99", least=NARROW),
        Column("max", least=NARROW),
    ]
    rows = [
        Row(
            (name_cell(one.name), number_cell(one.rate), time_cell(one.p50), time_cell(one.p99), time_cell(one.maximum))
        )
        for one in figures.pauses
    ]
    return columns, rows
