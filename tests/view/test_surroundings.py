"""What is around the processes: rates by the times of their readings, pressure, and the energy of calls."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from holter import names
from holter.model import Process, Reading, Snapshot
from holter.view.surroundings import energy, machine
from holter.view.vitals import vitals
from looks import moment, sight
from simulation import SECOND_NS, World

CPU = {"holter__pressure__resource": "cpu", "holter__pressure__stalled": "some"}


def served() -> World:
    """Return two seconds of two calls on a GPU that takes 300 W."""
    world, gpu = World(seconds=2.0), {"hw__id": "UUID-0", "hw__type": "gpu"}
    world.grow(world.one(names.HARDWARE_ENERGY, "counter", "J", **gpu), 600.0)
    for name, joules, calls in (("embed", 100.0, 50), ("chat", 400.0, 8), ("idle", 0.0, 0)):
        world.call(name, np.full(calls, 0.01))
        world.grow(world.one(names.CALL_ENERGY, "counter", "J", holter__call__name=name), joules)
    world.call("chat", np.full(2, 0.01), "ValueError")
    world.values(world.one(names.LLM_TOKEN_ENERGY, "gauge", "J", holter__call__name="chat"), [0.5, 0.8])
    return world


def test_calls_are_told_what_they_take_of_gpus() -> None:
    """Watts, joules a call whether it failed or not, the newest joules a token; the one that takes most first."""
    chat, embed, idle = vitals(sight(served())).energy
    assert ("chat", 200.0, 40.0, 0.8, 400.0) == (
        chat.name, chat.power, chat.call_joules, chat.token_joules, chat.total
    )  # fmt: skip
    assert ("embed", 50.0, 2.0, None) == (embed.name, embed.power, embed.call_joules, embed.token_joules)
    assert ("idle", 0.0, None) == (idle.name, idle.power, idle.call_joules)


def test_where_the_gpus_were_not_read_lately_only_the_sum_is_told() -> None:
    """As at the first look; and where no energy is told there are no rows."""
    snapshot = served().snapshot()
    for lately in (replace(snapshot, interval={}), replace(snapshot, interval={}, interval_ns=0)):
        found = energy(moment(snapshot, lately))
        assert [("chat", None, None, 400.0)] == [(one.name, one.power, one.call_joules, one.total) for one in found[:1]]
    assert () == energy(moment(World().snapshot()))


def test_power_is_by_the_time_between_the_readings() -> None:
    """A window of two seconds that holds three readings is one of three seconds."""
    world = served()
    snapshot = world.snapshot()
    (key,) = [series.id for series in snapshot.series.values() if series.name == names.HARDWARE_ENERGY]
    taken = Reading(count=3, sum=900.0, first_ns=SECOND_NS, last_ns=4 * SECOND_NS)
    found = energy(moment(snapshot, replace(snapshot, interval={**snapshot.interval, key: taken})))
    assert 400.0 / 3 == pytest.approx(found[0].power)
    assert 400.0 / 3 / 5.0 == pytest.approx(found[0].call_joules)


def pressed(total: Reading, lately: Reading | None, started_ns: int = 0) -> dict[str, float]:
    """Return what is told of a machine with that pressure."""
    world = World(process=Process(service="sentiment", started_ns=started_ns))
    key = world.one(names.HOST_PRESSURE, "counter", "s", **CPU)
    snapshot: Snapshot = replace(world.snapshot(), total={key: total})
    found = machine(moment(snapshot, replace(snapshot, interval={} if lately is None else {key: lately})))
    return {name: value for name, value in found.items() if "pressure" in name}


EVER = Reading(count=11, sum=20.0, last=3.0, first_ns=10 * SECOND_NS, last_ns=60 * SECOND_NS)
TOLD = "host_pressure_cpu_some"


def test_pressure_is_the_share_of_the_time_between_readings() -> None:
    """Of those in the window; where there is none, the newest growth over the usual time between two."""
    recent = Reading(count=1, sum=2.0, last=2.0, first_ns=50 * SECOND_NS, last_ns=54 * SECOND_NS)
    assert {TOLD: 0.5} == pressed(EVER, recent)
    assert {TOLD: 0.6} == pressed(EVER, None)


def test_pressure_that_nobody_knows_is_left_out() -> None:
    """After one reading, or where those of a process that ended before are among them: no zero stands for it."""
    assert {} == pressed(replace(EVER, count=1, last=0.0, last_ns=EVER.first_ns), None)
    assert {} == pressed(EVER, None, started_ns=11 * SECOND_NS)


def test_rates_of_the_host_are_left_out_where_it_was_not_read() -> None:
    """Traffic of nothing is a figure of its own."""
    world = World(seconds=2.0)
    key = world.one("system.network.io", "counter", "By", network__io__direction="receive")
    world.grow(key, 5000)
    snapshot = world.snapshot()
    for interval, expected in ((snapshot.interval, 2500.0), ({key: Reading(count=1)}, 0.0), ({}, None)):
        found = machine(moment(snapshot, replace(snapshot, interval=interval)))
        assert expected == found.get("host_network_receive_rate")
