"""How the energy of GPUs is shared among calls, in snapshots made by hand and read back through a real fold."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import pytest

from holter import genai, names
from holter.energy import Energy
from holter.model import OpenCall, Reading, Series, Snapshot
from recording import Recording

SECOND = 1_000_000_000
GPU = MappingProxyType({names.HARDWARE_ID: "GPU-0", names.HARDWARE_NAME: "GPU 0", names.HARDWARE_TYPE: "gpu"})


class Machine:
    """A GPU that takes 100 W, and calls; each `turn` is a snapshot, half a second after a reading of the GPU."""

    def __init__(self, watts: float = 100.0, used: float = 0.25) -> None:
        self.recording = Recording()
        self.energy = Energy(self.recording.scope)
        self.watts, self.used = watts, used
        self.lived: dict[str, float] = {}
        self.tokens: dict[str, float] = {}
        self.running: dict[str, float] = {}
        self.now = 0.0

    def turn(self, seconds: float = 1.0, **lived: float) -> None:
        """Let time pass in which calls of these names ended that had been in flight for so long."""
        self.now += seconds
        for name, more in lived.items():
            self.lived[name] = self.lived.get(name, 0.0) + more
        self.energy.take(self.snapshot())

    def snapshot(self) -> Snapshot:
        at_ns = int((self.now + 10) * SECOND)
        found: list[tuple[str, str, str, dict[str, Any], Reading]] = [
            (names.HARDWARE_ENERGY, "J", "counter", dict(GPU), Reading(1, self.watts * self.now)),
            # Recorded a quarter of a second ago, when it was a quarter of a second old.
            (names.GPU_READING_AGE, "s", "gauge", {}, Reading(1, 0.25, last=0.25, last_ns=at_ns - SECOND // 4)),
            (
                names.GPU_UTILIZATION,
                "1",
                "gauge",
                {**GPU, names.GPU_TASK: "general"},
                Reading(1, self.used, last=self.used, last_ns=at_ns),
            ),
        ]
        for name, lived in self.lived.items():
            found.append((names.CALL_DURATION, "s", "histogram", {names.CALL_NAME: name}, Reading(1, lived)))
        for name, tokens in self.tokens.items():
            found.append((genai.OUTPUT_TOKENS, "{token}", "counter", {names.CALL_NAME: name}, Reading(1, tokens)))
        series = {
            key: Series(key, name, unit, kind, MappingProxyType(attributes))  # type: ignore[arg-type]
            for key, (name, unit, kind, attributes, _) in enumerate(found)
        }
        total = {key: reading for key, (*_, reading) in enumerate(found)}
        calls = {one.attributes[names.CALL_NAME]: key for key, one in series.items() if one.name == names.CALL_DURATION}
        running = tuple(OpenCall(name, calls[name], 0, age, 1) for name, age in self.running.items())
        return Snapshot(0, SECOND, series, total, total, open_calls=running, monotonic_ns=at_ns)

    def told(self, metric: str, **where: str) -> float | None:
        found = self.recording.snapshot().find(metric, {key.replace("__", "."): value for key, value in where.items()})
        if found is None:
            return None
        return found.total.sum if found.kind == "counter" else found.total.last

    def joules(self, name: str) -> float | None:
        return self.told(names.CALL_ENERGY, holter__call__name=name)


def test_a_call_that_is_alone_has_all() -> None:
    """As long as it is in flight: the power times its duration."""
    machine = Machine()
    for _ in range(7):
        machine.turn(predict=1.0)
    assert machine.joules("predict") == pytest.approx(500.0)


def test_what_nobody_used_is_nobodys() -> None:
    """A call that was in flight for a quarter of the time has a quarter of the energy."""
    machine = Machine()
    for _ in range(6):
        machine.turn(predict=0.25)
    assert machine.joules("predict") == pytest.approx(100.0)


def test_calls_at_the_same_time_share() -> None:
    """By their time in flight: together they never have more than there was."""
    machine = Machine()
    for _ in range(6):
        machine.turn(short=1.0, long=3.0)
    assert (machine.joules("short"), machine.joules("long")) == (pytest.approx(100.0), pytest.approx(300.0))


def test_a_call_that_runs_has_its_share_before_it_ends() -> None:
    """One of five seconds has the energy of each second in that second."""
    machine = Machine()
    for _ in range(3):
        machine.turn(slow=0.0)
    for age in range(1, 6):
        machine.running["slow"] = float(age)
        machine.turn()
    assert machine.joules("slow") == pytest.approx(450.0, rel=0.02)
    machine.running.clear()
    machine.turn(slow=5.0)
    machine.turn()
    machine.turn()
    assert machine.joules("slow") == pytest.approx(500.0, rel=0.02)


def test_energy_goes_to_those_who_were_there_when_it_was_taken() -> None:
    """A reading is older than the snapshot that has it: what began after it has nothing of it."""
    machine = Machine()
    for _ in range(4):
        machine.turn(first=1.0)
    before = machine.joules("first")
    machine.turn(second=1.0)
    # Half of the time between the two readings was the first one's.
    assert machine.joules("first") == pytest.approx((before or 0) + 50.0)
    assert machine.joules("second") == pytest.approx(50.0)


def test_a_token_has_its_part_of_the_energy_of_its_calls() -> None:
    """Of the last minute: joules over output tokens."""
    machine = Machine()
    for turn in range(200):
        machine.tokens["chat"] = machine.tokens.get("chat", 0.0) + (10 if turn < 100 else 50)
        machine.turn(chat=1.0)
        if turn == 60:
            assert machine.told(names.LLM_TOKEN_ENERGY) == pytest.approx(10.0, rel=0.02)
    assert machine.told(names.LLM_TOKEN_ENERGY) == pytest.approx(2.0, rel=0.02)


def test_a_gpu_that_idles_while_calls_run_is_told() -> None:
    """At 25 % utilisation for 75 % of the time if calls ran all of it; if they ran for a fifth of it, perhaps never."""
    machine = Machine()
    for _ in range(6):
        machine.turn(predict=1.0)
    assert machine.told(names.GPU_IDLE_IN_CALLS, hw__id="GPU-0") == pytest.approx(3.0)
    for _ in range(5):
        machine.turn(predict=0.2)
    machine.turn(predict=0.2)
    told = machine.told(names.GPU_IDLE_IN_CALLS)
    machine.turn(predict=0.2)
    assert machine.told(names.GPU_IDLE_IN_CALLS) == told


def test_without_gpus_nothing_is_told() -> None:
    """And nothing is counted."""
    recording = Recording()
    energy = Energy(recording.scope)
    energy.take(Snapshot(0, SECOND, {}, {}, {}, monotonic_ns=SECOND))
    assert {} == dict(recording.snapshot().series)
    assert not energy._moments


def test_a_reading_that_is_not_new_is_not_shared_again() -> None:
    """While the helper hangs."""
    machine = Machine()
    for _ in range(3):
        machine.turn(predict=1.0)
    snapshot, before = machine.snapshot(), machine.joules("predict")
    machine.energy.take(snapshot)
    machine.energy.take(snapshot)
    assert machine.joules("predict") == before


def test_a_counter_that_falls_takes_nothing_back() -> None:
    """What was told stays."""
    machine = Machine()
    for _ in range(3):
        machine.turn(predict=1.0)
    before = machine.joules("predict")
    machine.watts = 1.0
    machine.turn(predict=1.0)
    assert machine.joules("predict") == before
