"""The page of `holter top`: what stands where, at any size."""

from __future__ import annotations

import numpy as np
import pytest

from holter import names
from holter.model import Alert
from holter.tables import cell_width
from holter.view.courses import Courses
from holter.view.grid import plain
from holter.view.screen import page, text
from holter.view.vitals import vitals
from holter.view.wanted import View
from looks import person, sight
from simulation import START_NS, World, open_call

EVIL = "evil\x1b]0;owned\x07[red]\u202e一\n"


def busy(name: str = "predict") -> World:
    """Return a service that does a bit of everything, under a *name* of its choice."""
    world = World()
    world.call(name, np.full(100, 0.01), units=300)
    world.call(name, np.full(3, 0.5), f"{name}Error")
    world.span(name, name, np.full(100, 0.004))
    run, stream = {"holter__training__name": name}, {"holter__call__name": name}
    world.values(world.one(names.TRAINING_STEP_DURATION, **run), np.full(20, 0.05))
    world.values(world.one(f"{names.TRAINING_METRIC_PREFIX}{name}", "gauge", "1", **run), [0.25])
    world.values(world.one(names.STREAM_FIRST_ITEM, **stream), [0.2])
    world.values(world.one("gen_ai.server.request.duration", **stream), [0.2])
    world.values(world.one(f"app.{name}", "gauge", "{item}", key=name), [3.0])
    world.values(world.one("hw.gpu.utilization", "gauge", "1", hw__id=name, hw__name=f"GPU {name}"), [0.93])
    world.values(world.one("container.memory.usage", "updowncounter", "By", key=name), [3.0])
    world.values(world.one("holter.gc.pause"), [0.2])
    world.values(world.one("process.cpu.utilization", "gauge", "1", cpu__mode="user"), [0.5])
    world.values(world.one("system.memory.utilization", "gauge", "1"), [0.5])
    return world


def alert(name: str) -> Alert:
    """Return an alert that fires."""
    return Alert("a", "Limit", "firing", "warning", START_NS, name, name, name, f"{name} is slow", f"see {name}")


def shown(world: World, view: View | None = None, width: int = 100) -> str:
    """Return the page as text."""
    return "\n".join(text(vitals(sight(world)), view or View(), Courses(1.0), width))


def test_everything_that_there_is_has_its_place() -> None:
    """Whom it is about, the machine, then calls, training, streams, models, metrics, stages, errors, pauses."""
    found = shown(busy())
    heads = (
        "sentiment v7  process 4121 on gpu-3  running",
        "process   CPU 50 %",
        "host      memory 50 %",
        "GPU predict busy 93 %",
    )
    tables = ("calls", "training", "  predict logged", "streams", "models", "metrics", "stages", "errors", "pauses")
    places = [found.index(f"\n{start}" if place else start) for place, start in enumerate((*heads, *tables))]
    assert sorted(places) == places
    row = next(line for line in found.splitlines() if line.startswith("predict"))
    assert ["predict", "103", "10", "ms", "10", "ms", "497", "ms"] == row.split()[:8]


@pytest.mark.parametrize("width", [200, 120, 80, 40, 20])
def test_names_do_no_harm_and_no_line_is_too_wide(width: int) -> None:
    """Whatever a name holds is printed, on one line of at most the width of the terminal."""
    figures = vitals(
        sight(busy(EVIL), person(busy(EVIL).snapshot(), service=EVIL, host=EVIL, version=EVIL), alerts=(alert(EVIL),))
    )
    shown = page(figures, View(), Courses(1.0), width)
    for line in (*shown.head, *shown.body):
        assert plain(line).isprintable()
        assert cell_width(plain(line)) <= width
    everything = "\n".join(map(plain, (*shown.head, *shown.body)))
    assert "[red]" in everything or width < 80
    assert "\\x1b" in everything or width < 80


def test_rows_say_which_call_they_are() -> None:
    """So that a selection stays with its call when the order changes."""
    shown = page(vitals(sight(busy())), View(), Courses(1.0), 80)
    keys = list(shown.rows.values())
    assert [("calls", "predict", None), ("training", "predict", None), ("streams", "predict", None)] == keys[:3]
    assert all(plain(shown.body[line]).startswith("predict") for line in list(shown.rows)[:3])


def test_a_selected_call_shows_its_own_stages_and_errors() -> None:
    """Those of others are left out."""
    world = busy()
    world.call("other", [0.1], "KeyError")
    world.span("other", "elsewhere", [0.1])
    assert "elsewhere" in shown(world)
    other = vitals(sight(busy_again(world)))
    only = "\n".join(text(other, View(selected=("calls", "other", None)), Courses(1.0), 100))
    assert ("KeyError" in only, "predictError" in only) == (True, False)


def busy_again(world: World) -> World:
    """Return the service after another interval in which both calls failed."""
    world.call("other", [0.1], "KeyError")
    world.call("predict", [0.1], "predictError")
    return world


def test_nothing_recorded_is_said() -> None:
    """Instead of an empty page."""
    assert "Nothing watched has been called yet." in shown(World())


def test_a_call_that_has_not_ended_yet_is_there() -> None:
    """It runs, and has no rate."""
    world = World()
    found = "\n".join(text(vitals(sight(world, open_calls=(open_call("stuck", 12.0),))), View(), Courses(1.0), 80))
    assert "stuck" in found
    assert "12 s" in found
