"""The lower tables of `holter top`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from holter.view.below import energy, failures, gpus, metrics, pauses, processes, stages
from holter.view.cells import Sheet
from holter.view.grid import Piece, grid, plain
from holter.view.vitals import vitals
from holter.view.vitalsigns import EnergyFigures, Vitals
from holter.view.wanted import View
from looks import person, sight
from simulation import World


def texts(sheet: Sheet) -> list[list[str]]:
    """Return the cells of a table."""
    return [[cell.text for cell in row.cells if isinstance(cell, Piece)] for row in sheet[1]]


def troubled() -> Vitals:
    """Return the figures of two calls of which each has a stage and an error."""
    world = World()
    for name in ("predict", "embed"):
        world.call(name, np.full(9, 0.1))
        world.call(name, [0.1], f"{name}Error")
        world.span(name, f"{name} stage", np.full(10, 0.05))
    return vitals(sight(world))


def test_stages_and_errors_are_those_of_the_selected_call() -> None:
    """Or of all, where none is selected; a selected stream selects none."""
    figures = troubled()
    for selected, names in (
        (None, {"predict", "embed"}),
        (("calls", "embed", None), {"embed"}),
        (("streams", "embed", None), {"predict", "embed"}),
    ):
        view = View(selected=selected)
        assert (
            names
            == {row[1] for row in texts(stages(figures, view))}
            == {row[1] for row in texts(failures(figures, view))}
        )
    assert ["predict stage", "predict", "50 %"] == texts(stages(figures, View(selected=("calls", "predict", None))))[0][
        :3
    ]


def test_processes_tell_when_they_were_heard_of() -> None:
    """Their state, what the system says of their CPU time, and what they do."""
    world = World()
    world.call("predict", np.full(10, 0.1))
    snapshot = world.snapshot()
    people = person(snapshot, pid=1), person(snapshot, pid=2, silent_seconds=9.0), person(snapshot, pid=3, state="dead")
    rows = texts(processes(vitals(sight(world, *people))))
    assert [["running", "1", "25 %"], ["silent", "2", "25 %"], ["dead", "3", ""]] == [row[:3] for row in rows]
    assert ["0 s ago", "9 s ago", "0 s ago"] == [row[-1] for row in rows]
    assert "10" == rows[0][4]


def test_each_gpu_has_a_row() -> None:
    """With the figures that it has told."""
    world = World()
    for number in range(3):
        named = {"hw__id": f"UUID-{number}", "hw__name": f"GPU {number}"}
        world.values(world.one("hw.gpu.utilization", "gauge", "1", **named), [0.5])
        world.values(world.one("hw.power", "gauge", "W", hw__type="gpu", **named), [400.0 + number])
        world.values(world.one("holter.gpu.info", "gauge", "1", hw__model="H200", **named), [1.0])
    rows = texts(gpus(vitals(sight(world))))
    assert ["GPU 0", "H200", "50 %", "", "", "400 W", "", ""] == rows[0]
    assert 3 == len(rows)


def test_each_call_that_takes_energy_has_a_row() -> None:
    """In watts and joules, of as many digits as are known of them."""
    figures = replace(
        vitals(sight(World())),
        energy=(
            EnergyFigures("chat", 95.5738, 10.0421, 1.00421, 123456.7),
            EnergyFigures("embed", 0.004, None, None, 0.0),
        ),
    )
    assert [["chat", "95.6 W", "10 J", "1 J", "123 kJ"], ["embed", "4 mW", "", "", "0 J"]] == texts(energy(figures))
    assert "energy   power    a call   a token  in all" == plain(grid(*energy(figures), 80)[0])
    assert "energy   power    a call" == plain(grid(*energy(figures), 30)[0])


def test_metrics_stand_with_their_attributes() -> None:
    """In their unit; a histogram by the number of its values."""
    world = World()
    world.values(world.one("app.queue", "gauge", "{item}", tier="a"), [5.0])
    world.values(world.one("app.size", "histogram", "By"), np.full(8, 1024.0))
    rows = {row[0]: row[1:] for row in texts(metrics(vitals(sight(world))))}
    assert ["5 items", "", "", ""] == rows["app.queue {tier=a}"]
    assert ["8 values", "8"] == rows["app.size"][:2]


def test_pauses_have_a_row_each() -> None:
    """By their metric."""
    world = World()
    world.values(world.one("holter.gc.pause"), [0.25])
    assert [["holter.gc.pause", "1", "249 ms"]] == [row[:3] for row in texts(pauses(vitals(sight(world))))]
