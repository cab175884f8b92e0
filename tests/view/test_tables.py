"""The tables of `holter top`: orders, columns, what is marked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from holter.model import OpenCall
from holter.names import TRAINING_STEP_DURATION, TRAINING_STEPS_DONE, TRAINING_STEPS_TOTAL
from holter.view.courses import Courses
from holter.view.grid import Piece
from holter.view.tables import in_order, sheets
from holter.view.vitals import vitals
from holter.view.vitalsigns import Vitals
from holter.view.wanted import Order, View
from looks import person, sight
from simulation import World, open_call


def service() -> Vitals:
    """Return the figures of three calls, each of which is first in something."""
    world = World()
    world.call("often", np.full(100, 0.001))
    world.call("fails", np.full(10, 0.01), "ValueError")
    world.call("slow", [3.0])
    return vitals(sight(world, open_calls=(open_call("slow", 9.0), open_call("often", 0.1))))


def table(figures: Vitals, title: str, view: View | None = None) -> list[dict[str, str]]:
    """Return the rows of a table, each by the titles of its columns."""
    for columns, rows in sheets(figures, view or View(), Courses(1.0)):
        if columns[0].title.rstrip("▴▾") == title:
            return [
                {
                    column.title.rstrip("▴▾"): cell.text if isinstance(cell, Piece) else cell(3)
                    for column, cell in zip(columns, row.cells, strict=True)
                }
                for row in rows
            ]
    raise AssertionError(title)


@pytest.mark.parametrize(
    ("order", "first"),
    [("rate", "often"), ("p99", "slow"), ("errors", "fails"), ("oldest", "slow"), ("name", "fails")],
)
def test_calls_are_in_the_order_that_was_asked_for(order: Order, first: str) -> None:
    """The largest first, names from A on; reversed the last is the first."""
    figures = service()
    assert first == in_order(figures.calls, order)[0].name
    assert first == in_order(figures.calls, order, is_reversed=True)[-1].name


def test_the_column_that_sorts_is_marked() -> None:
    """With an arrow that points down where the largest is first."""
    for view, marked in (
        (View(), "calls/s▾"),
        (View(order="p99", is_reversed=True), "p99▴"),
        (View(order="name"), "calls▴"),
    ):
        columns, _ = next(iter(sheets(service(), view, Courses(1.0))))
        assert [marked] == [column.title for column in columns if column.title[-1] in "▴▾"]


def test_each_call_has_its_row() -> None:
    """Rates, quantiles, what runs; what there is nothing of is empty."""
    rows = {row["calls"]: row for row in table(service(), "calls")}
    often = rows["often"]
    assert ("100", "1 ms", "0", "1", "100 ms", "100", "") == tuple(
        often[name] for name in ("calls/s", "p50", "err/s", "open", "oldest", "in all", "failed")
    )
    assert ("10", "10") == (rows["fails"]["err/s"], rows["fails"]["failed"])


def test_training_tells_how_far_it_is() -> None:
    """Steps of all steps where that is known, else a share, else how many."""
    world, run = World(), {"holter__training__name": "digits"}
    step = world.one(TRAINING_STEP_DURATION, **run)
    world.values(step, np.full(20, 0.05))
    alone = vitals(sight(world, open_calls=(OpenCall("digits", step, 0, 30.0, 1),)))
    assert ("20", "20", "30 s", "") == tuple(
        table(alone, "training")[0][name] for name in ("done", "steps/s", "step for", "left")
    )
    (known,) = alone.training
    assert "50 %" == table(replace(alone, training=(replace(known, progress=0.5),)), "training")[0]["done"]
    for name, value in ((TRAINING_STEPS_DONE, 1020), (TRAINING_STEPS_TOTAL, 2000)):
        world.values(world.one(name, "gauge", "1", **run), [value])
    world.values(step, np.full(20, 0.05))
    row = table(vitals(sight(world)), "training")[0]
    assert ("1,020/2,000", "49 s") == (row["done"], row["left"])


def test_processes_have_a_table_where_there_are_several() -> None:
    """And their numbers stand in the other tables where they are shown apart."""
    worlds = World(), World(), World()
    for world in worlds:
        world.call("predict", np.full(10, 0.1))
    people = [person(world.snapshot(), pid=pid) for pid, world in enumerate(worlds[:2], 1)]
    seen = sight(worlds[2], *people)
    assert ["1", "2"] == [row["process"] for row in table(vitals(seen), "processes")]
    assert [[]] == [[name for name in row if name == "process"] for row in table(vitals(seen), "calls")]
    apart = View(is_apart=True)
    assert ["1", "2"] == [row["process"] for row in table(vitals(seen, apart=True), "calls", apart)]
    with pytest.raises(AssertionError):
        table(service(), "processes")
