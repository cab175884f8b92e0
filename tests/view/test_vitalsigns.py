"""The figures as JSON takes them."""

from __future__ import annotations

import json
import math
from dataclasses import replace

from holter.figures import timestamp
from holter.model import Alert
from holter.view.vitals import vitals
from looks import person, sight
from simulation import START_NS, World


def test_json_holds_all_figures_in_harmless_text() -> None:
    """Names on one printable line, what is not finite as null, times as ISO 8601."""
    world = World()
    world.call("evil\x1b[31m\n[red]", [0.5], "ValueError")
    world.span("evil\x1b[31m\n[red]", "stage", [0.5], "ValueError")
    world.values(world.one("app.queue", "gauge", "1"), [math.inf])
    alert = Alert("a", "Limit", "firing", "warning", START_NS, "t", "e", "s", "m\x07", evidence={"value": math.nan})
    seen = sight(world, person(world.snapshot(), state="dead"), alerts=(alert,))
    text = json.dumps(vitals(seen).to_dict(), allow_nan=False)
    found = json.loads(text)
    assert r"evil\x1b[31m\n[red]" == found["calls"][0]["name"]
    assert (r"m\x07", {"value": None}) == (found["alerts"][0]["message"], found["alerts"][0]["evidence"])
    assert None is found["metrics"][0]["value"]
    assert (timestamp(START_NS), "dead") == (found["processes"][0]["ended"], found["processes"][0]["state"])
    assert timestamp(seen.time_ns) == found["time"]


def test_the_living_have_not_ended() -> None:
    """So there is no time at which they did."""
    world = World()
    figures = vitals(sight(world))
    assert [None] == [one["ended"] for one in figures.to_dict()["processes"]]
    closed = replace(figures, processes=(replace(figures.processes[0], state="closed"),))
    assert [timestamp(START_NS)] == [one["ended"] for one in closed.to_dict()["processes"]]
