"""The head of `holter top`: what is wrong with a process, and what to do next."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from contracts.snapshots import alert
from holter.model import Alert, Silence
from holter.verdict import clock_time
from holter.view.grid import plain
from holter.view.head import head
from holter.view.onlooker import Person
from holter.view.vitals import vitals
from holter.view.wanted import View
from looks import person, sight, with_pulse
from simulation import SECOND_NS, START_NS, World


def told(*people: Person, width: int = 100, view: View | None = None, **more: Any) -> list[str]:
    """Return the head for some processes."""
    return [plain(line) for line in head(vitals(sight(World(), *people, **more)), view or View(), width)]


def hanging(letter: str, cpu_share: float | None) -> Person:
    """Return a process that has written nothing for twelve seconds."""
    return with_pulse(person(World().snapshot(), silent_seconds=12.0), letter, cpu_share)


def test_one_that_is_well_needs_one_line() -> None:
    """With whom it is about, when, and of what time the figures are."""
    (line,) = told(person(World().snapshot()))
    assert line.startswith("sentiment v7  process 4121 on gpu-3  running")
    assert line.endswith(f"{clock_time(START_NS + SECOND_NS)}  the last 1 s")
    assert "PAUSED" in told(person(World().snapshot()), view=View(is_paused=True))[0]


@pytest.mark.parametrize(
    ("letter", "cpu_share", "doing", "next_step"),
    [
        ("T", 0.0, "it is stopped by a signal", "Next: kill -CONT 4121"),
        ("R", 0.987, "it is using 99 % of a CPU", "py-spy dump --pid 4121"),
        ("S", 0.0, "it is asleep, using no CPU", "py-spy dump --pid 4121"),
        ("D", 0.0, "it is waiting for a disk or a device", "holter postmortem 4121"),
    ],
)
def test_one_that_hangs_is_told_by_what_the_system_says(
    letter: str, cpu_share: float, doing: str, next_step: str
) -> None:
    """How long it has written nothing, what it does meanwhile, and the next step."""
    lines = told(hanging(letter, cpu_share))
    assert f"HANGS: it has written nothing for 12 s; {doing}." == lines[1]
    assert next_step in " ".join(lines[2:])
    assert "silent" in lines[0]


def test_what_the_system_does_not_tell_is_left_out() -> None:
    """As of a process in another pid namespace."""
    one = replace(hanging("S", None), pulse=None)
    assert "HANGS: it has written nothing for 12 s." == told(one)[1]


def test_one_that_died_leads_to_its_post_mortem() -> None:
    """With the path of its recording, which the command takes."""
    one = person(World().snapshot(), state="dead", ended_ns=START_NS - 5 * SECOND_NS)
    lines = told(one)
    assert (
        f"DIED: last heard of at {clock_time(START_NS - 5 * SECOND_NS)}, 6 s ago. Below is its last state." == lines[1]
    )
    assert "Next: holter postmortem /recordings/sentiment-4121-1.holter" == lines[2]
    unsure = person(World().snapshot(), state="dead", is_sure=False)
    assert "(as far as can be told from here)" in " ".join(told(unsure))
    assert "ENDED well" in told(person(World().snapshot(), state="closed"))[1]
    assert "No monitor runs in it" in told(person(World().snapshot(), state="stopped"))[1]


def test_of_several_each_that_is_in_trouble_is_named() -> None:
    """By its number, and the title says how many of them write nothing."""
    dead, silent = person(World().snapshot(), pid=7, state="dead"), hanging("T", 0.0)
    lines = told(person(World().snapshot(), pid=5), dead, silent)
    assert "2 of 3 processes, summed  1 silent" in lines[0]
    assert lines[1].startswith("Process 7: DIED")
    assert any(line.startswith("Process 4121: HANGS") for line in lines)
    many = told(*(person(World().snapshot(), pid=number, state="dead") for number in range(20)))
    assert 9 >= len(many)


def test_a_silenced_alert_says_so() -> None:
    """And why."""
    silence = Silence("predict", 0, 1, "deploy of v8")
    lines = told(person(World().snapshot()), alerts=(alert(silence=silence),))
    assert "deploy of v8" in " ".join(lines)


def test_alerts_that_fire_are_told_with_their_next_step() -> None:
    """Four of them; what is resolved is no alert any more."""
    alerts = tuple(
        Alert(str(n), "Limit", state, "warning", START_NS, "t", "e", "s", f"number {n} is slow", "look there")
        for n, state in enumerate(["resolved", *["firing"] * 6])
    )
    lines = told(person(World().snapshot()), alerts=alerts)
    assert f"ALERT since {clock_time(START_NS)}: number 1 is slow. look there" == lines[1]
    assert (5, "and 2 more alerts") == (len(lines) - 1, lines[-1])


def test_the_machine_has_a_line_each() -> None:
    """As many figures as there is room for, never half of one; those of a process that hangs say how old they are."""
    world = World()
    world.values(world.one("process.cpu.utilization", "gauge", "1", cpu__mode="user"), [0.5])
    world.values(world.one("process.memory.usage", "gauge", "By"), [2.0**30])
    snapshot = world.snapshot()
    one = person(snapshot, memory_limit_bytes=2**31)
    seen = sight(world, one)
    seen = replace(seen, whole=one.moment)
    assert "process   CPU 50 %, memory 1 GiB of 2 GiB" == plain(head(vitals(seen), View(), 100)[1])
    assert "process   CPU 50 %" == plain(head(vitals(seen), View(), 30)[1])
    silent = replace(seen, people=(replace(one, is_silent=True, silent_seconds=12.0),))
    assert "process   12 s ago: CPU 50 %" in [plain(line) for line in head(vitals(silent), View(), 30)]


def test_many_gpus_are_told_in_one_line() -> None:
    """How busy they are from the least to the most, and what they use together; two have a line each."""
    world = World()
    for number, busy in enumerate((0.25, 0.5, 0.75)):
        named = {"hw__id": f"UUID-{number}", "hw__name": f"GPU {number}", "hw__type": "gpu"}
        world.values(world.one("holter.gpu.info", "gauge", "1", hw__model="H200", **named), [1.0])
        for name, kind, value in (
            ("hw.gpu.utilization", "gauge", busy),
            ("hw.gpu.memory.usage", "updowncounter", 2.0**30),
            ("hw.gpu.memory.limit", "updowncounter", 2.0**31),
            ("hw.power", "gauge", 400.0),
            ("hw.temperature", "gauge", 60.0),
        ):
            world.values(world.one(name, kind, "1", **named), [value])
    figures = vitals(sight(world))
    told_in_one = "GPUs      3, busy 25 % to 75 %, mean 50 %, memory 3 GiB of 6 GiB, 1,200 W, 60 °C"
    assert [told_in_one] == [plain(line) for line in head(figures, View(), 100)[1:]]
    first, second, _ = figures.gpus
    two = replace(figures, gpus=(first, replace(second, power_limit=700.0, throttled=("power", "thermal"))))
    assert [
        "GPU 0     H200, busy 25 %, memory 1 GiB of 2 GiB, 400 W, 60 °C",
        "GPU 1     H200, busy 50 %, memory 1 GiB of 2 GiB, 400 of 700 W, 60 °C, held down by power and thermal",
    ] == [plain(line) for line in head(two, View(), 120)[1:]]


def test_a_container_is_told_by_what_it_may_have() -> None:
    """Memory without the cache that can go, CPUs of the quota, how long it stood still; then whatever else there is."""
    world = World(seconds=2.0)
    for name, unit, value in (
        ("container.memory.usage", "By", 2.0**31),
        ("container.memory.working_set", "By", 2.0**30),
        ("holter.cgroup.memory.limit", "By", 2.0**32),
        ("holter.cgroup.cpu.limit", "{cpu}", 1.5),
        ("container.other", "1", 7.0),
    ):
        world.values(world.one(name, "gauge", unit), [value])
    for mode in ("user", "system"):
        world.grow(world.one("container.cpu.time", "counter", "s", cpu__mode=mode), 1.0)
    world.grow(world.one("holter.cgroup.cpu.throttled_time", "counter", "s"), 0.5)
    world.grow(world.one("holter.cgroup.oom_kills", "counter", "{process}"), 0.0)
    (_, line) = head(vitals(sight(world)), View(), 120)
    assert "container memory 1 GiB of 4 GiB, CPUs 1 of 1.5, throttled 250 ms a second, other 7" == plain(line)


def test_pressure_has_a_line_of_its_own() -> None:
    """For which share of the time some tasks waited, and all of them did; the container's where there was any."""
    machine = {f"host_pressure_{one}": 0.0 for one in ("cpu_some", "cpu_full", "memory_some", "memory_full", "io_some")}
    figures = vitals(sight(World()))

    def line(width: int = 80, container: float = 0.0, **pressure: float) -> str:
        known = machine | {f"host_pressure_{name}": share for name, share in pressure.items()}
        of_group = {"holter.cgroup.pressure{cpu,some}/s": container, "holter.cgroup.pressure{cpu,full}/s": container}
        shown = head(replace(figures, machine=known, container=of_group), View(), width)
        assert 2 == len(shown)
        return plain(shown[1])

    assert "pressure  CPU 0 %, memory 0 %, storage 0 %" == line()
    assert "pressure  CPU 12 %, memory 7 % (all 2.5 %), storage 0 %" == line(
        cpu_some=0.123, cpu_full=0.1, memory_some=0.07, memory_full=0.025
    )
    assert "pressure  CPU 0 %, memory 0 %, storage 0 %, container's CPU 40 %" == line(container=0.4)
    assert "pressure  CPU 100 %, memory 0 %" == line(width=34, cpu_some=0.99999)
