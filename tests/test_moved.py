"""Which signals moved when an alert fired."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest

from contracts.snapshots import alert
from holter.model import Alert
from holter.moved import MOST_TOLD, Course
from simulation import World


class Machine:
    """A program in which signals move when a test says so."""

    def __init__(self, seed: int = 7) -> None:
        self.world, self.random, self.course = World(totals=False), np.random.default_rng(seed), Course()
        self.speed, self.failures, self.rate = 1.0, 0.0, 100
        self.memory, self.hits, self.load, self.temperature = 2e9, 50.0, 0.3, 60.0

    def run(self, seconds: int) -> None:
        """Let so many intervals of a second pass."""
        for _ in range(seconds):
            count = int(self.random.poisson(self.rate))
            failed = int(self.random.binomial(count, self.failures))
            for name, mean in (("predict", 0.02), ("embed", 0.005)):
                took = self.random.lognormal(np.log(mean * (self.speed if name == "embed" else 1.0)), 0.3, count)
                self.world.call(name, took[: count - failed])
                self.world.call(name, took[count - failed :], "ValueError" if failed else None)
            self.world.span("predict", "forward", self.random.lognormal(np.log(0.01 * self.speed), 0.3, count))
            self._gauge("process.memory.usage", "By", self.memory * self.random.normal(1, 0.01))
            self._gauge("system.cpu.utilization", "1", min(1.0, self.load * self.random.normal(1, 0.1)))
            self._gauge("hw.temperature", "Cel", self.temperature + self.random.normal(0, 0.5), hw__id="GPU-1")
            self._gauge("app.delta", "1", self.random.normal(0, 1))
            self._gauge("holter.overhead", "1", 0.01 * self.speed)
            self.world.grow(self.world.one("app.hits", "counter", "{hit}"), float(self.random.poisson(self.hits)))
            self.world.grow(self.world.one("app.bursts", "counter", "By"), float(self.random.pareto(1.1)))
            self.course.add(self.world.snapshot())

    def _gauge(self, name: str, unit: str, value: float, **more: str) -> None:
        self.world.values(self.world.one(name, "gauge", unit, **more), value)

    def told(self, one: Alert | None = None) -> list[str]:
        """Return what is likely related to an alert."""
        return list(self.course.moved(one or alert(target="other", evidence={})))


@pytest.mark.parametrize("seed", range(8))
def test_nothing_is_told_of_what_only_scatters(seed: int) -> None:
    """Nor of bursts, which have always been there."""
    machine = Machine(seed)
    for _ in range(4):
        machine.run(40)
        assert [] == machine.told()


@pytest.mark.parametrize("seconds", [2, 5, 30, 100])
def test_what_moved_is_told_with_how_the_surest_first(seconds: int) -> None:
    """Stages, other calls and gauges, in words with their units; whether long ago or just now, within two minutes."""
    machine = Machine()
    machine.run(120)
    machine.speed, machine.memory, machine.hits = 4.0, 6e9, 2.0
    machine.run(seconds)
    told = machine.told()
    names = {one.partition(": ")[0] for one in told}
    assert {"embed", "predict > forward", "process.memory.usage", "app.hits"} == names
    found = dict(re.fullmatch(r"(.+?): (.+)", one).groups() for one in told)
    assert re.fullmatch(r"time rose from 5\.\d+ ms to (19|2\d)\.?\d* ms", found["embed"])
    assert re.fullmatch(r"rose from 1\.8\d GiB to 5\.\d+ GiB", found["process.memory.usage"])
    assert re.fullmatch(r"fell from \d+\.?\d* hits/s to \d\.?\d* hits?/s", found["app.hits"])


def test_failures_and_load_of_calls_are_signals_of_their_own() -> None:
    """As shares, and per second."""
    machine = Machine()
    machine.run(100)
    machine.failures, machine.rate, machine.load = 0.25, 400, 0.95
    machine.run(20)
    told = machine.told()
    assert any(re.fullmatch(r"predict: errors rose from 0 % to 2\d\.?\d* %", one) for one in told), told
    assert any(re.fullmatch(r"embed: calls rose from \d+ calls/s to [34]\d\d calls/s", one) for one in told), told
    assert any(re.fullmatch(r"system.cpu.utilization: rose from 30.* % to [89].* %", one) for one in told), told


@pytest.mark.parametrize(
    ("one", "is_told"),
    [
        (alert(target="embed", evidence={"statistic": "p99"}), False),
        (alert(target="embed", evidence={"statistic": "error_ratio"}), True),
        (alert(target="embed", evidence={}), True),
        (alert(target="predict", evidence={"statistic": "p99"}), True),
    ],
)
def test_what_an_alert_is_about_itself_is_not_told(one: Alert, is_told: bool) -> None:  # noqa: FBT001 - a case
    """But other figures of the same call are."""
    machine = Machine()
    machine.run(100)
    machine.speed = 4.0
    machine.run(20)
    assert is_told == any(each.startswith("embed: time") for each in machine.told(one))
    machine.memory = 9e9
    machine.run(10)
    own = machine.told(alert(target="process.memory.usage", evidence={"statistic": "last"}))
    assert [] == [each for each in own if each.startswith("process.memory")]


@pytest.mark.parametrize(
    "change",
    [
        lambda machine: machine.run(3),
        lambda machine: (machine.run(200), setattr(machine, "speed", 4.0), machine.run(1)),
        lambda machine: (machine.run(20), setattr(machine, "speed", 4.0), machine.run(140)),
    ],
)
def test_what_cannot_be_known_is_not_told(change: Callable[[Machine], object]) -> None:
    """Too early, or longer ago than two minutes; one interval that is far off is enough."""
    machine = Machine()
    change(machine)
    assert all("rose" in one for one in machine.told())


def test_it_is_bounded_and_harmless() -> None:
    """Eight lines of printable text, whatever signals are called."""
    world, course = World(totals=False), Course()
    for second in range(60):
        for number in range(300):
            world.values(world.one(f"app.\n{number}\x1b", "gauge"), 1.0 + 9 * (second > 50))
        course.add(world.snapshot())
    told = course.moved(alert())
    assert (MOST_TOLD, True) == (len(told), all(one.isprintable() and len(one) < 250 for one in told))
