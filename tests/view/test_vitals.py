"""What a look tells, in numbers that are known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from holter import names
from holter.model import OpenCall
from holter.view.vitals import vitals
from looks import moment, person, sight
from simulation import World, open_call


def only(found: tuple[Any, ...]) -> Any:
    """Return the one that there is."""
    (one,) = found
    return one


def test_rates_and_quantiles_are_of_the_interval_and_totals_of_all_time() -> None:
    """A call that has not been called lately has a rate of nothing and no quantiles."""
    world = World(seconds=2.0)
    world.call("predict", np.full(1000, 0.001))
    world.call("old", np.full(7, 0.5))
    world.snapshot()
    world.call("predict", np.full(90, 0.2), units=900)
    world.call("predict", np.full(10, 0.4), "ValueError")
    calls = {call.name: call for call in vitals(sight(world)).calls}
    predict, old = calls["predict"], calls["old"]
    assert (50.0, 5.0, 0.1) == (predict.rate, predict.error_rate, predict.error_share)
    assert [0.2, 0.2, 0.4, 0.4] == pytest.approx([predict.p50, predict.p90, predict.p99, predict.maximum], rel=0.006)
    assert (450.0, 1100, 10) == (predict.units_rate, predict.total, predict.failed)
    assert (0.0, None, None, 7) == (old.rate, old.p50, old.error_share, old.total)


def test_the_first_look_has_no_rates() -> None:
    """What was before it is in the totals alone."""
    world = World()
    world.call("predict", [0.1])
    seen = sight(world)
    whole = replace(seen.whole.snapshot, interval_ns=0, interval={})
    figures = vitals(replace(seen, whole=moment(whole), people=(person(whole),)))
    assert (None, None, None, 1) == (
        figures.calls[0].rate,
        figures.calls[0].p50,
        figures.processes[0].rate,
        figures.calls[0].total,
    )


def test_a_call_hangs_that_runs_ten_times_as_long_as_any_before() -> None:
    """And a second at least, where five have ended; else nobody knows how long is long."""
    world = World()
    world.call("predict", np.full(5, 0.2))
    world.call("rare", np.full(4, 0.2))
    world.call("fast", np.full(5, 0.001))
    running = (open_call("predict", 2.1), open_call("rare", 100.0), open_call("fast", 0.9), open_call("fast", 0.1))
    calls = {call.name: call for call in vitals(sight(world, open_calls=running)).calls}
    assert {"predict": True, "rare": False, "fast": False} == {name: call.hangs for name, call in calls.items()}
    assert (2, 0.9) == (calls["fast"].in_flight, calls["fast"].oldest_seconds)


def test_streams_tell_times_to_and_between_items() -> None:
    """And which share of the time was its consumer's."""
    world, named = World(), {"holter__call__name": "answer"}
    world.call("answer", [2.0])
    world.values(world.one(names.STREAM_FIRST_ITEM, **named), [0.3])
    world.values(world.one(names.STREAM_BETWEEN_ITEMS, **named), np.full(20, 0.01))
    world.values(world.one(names.STREAM_PRODUCER_TIME, **named), [0.5])
    world.values(world.one(names.STREAM_CONSUMER_WAIT, **named), [1.5])
    stream = only(vitals(sight(world)).streams)
    assert ("answer", 21.0, 21, 0.75, 0) == (
        stream.name, stream.items_rate, stream.total, stream.consumer_share, stream.abandoned
    )  # fmt: skip
    assert [0.3, 0.01, 0.01] == pytest.approx([stream.first_p50, stream.between_p50, stream.between_p99], rel=0.006)


def trained(step_seconds: float = 0.05) -> Any:
    """Return the figures of a run that made 40 steps in two seconds, of which 10 of 100 are left."""
    world, run = World(seconds=2.0), {"holter__training__name": "digits"}
    step = world.one(names.TRAINING_STEP_DURATION, **run)
    world.values(step, np.full(40, 0.05))
    world.values(world.one(names.TRAINING_DATA_WAIT, **run), np.full(40, 0.0125))
    world.grow(world.one(names.TRAINING_SAMPLES, "counter", "{sample}", **run), 640)
    for name, value in ((names.TRAINING_STEPS_DONE, 90), (names.TRAINING_STEPS_TOTAL, 100), (names.TRAINING_EPOCH, 2)):
        world.values(world.one(name, "gauge", "1", **run), [value])
    world.values(world.one(f"{names.TRAINING_METRIC_PREFIX}loss", "gauge", "1", **run), [0.25])
    figures = vitals(sight(world, open_calls=(OpenCall("digits", step, 0, step_seconds, 1),)))
    assert () == figures.calls
    return only(figures.training)


def test_training_tells_how_much_is_left_at_its_pace() -> None:
    """Ten steps at twenty a second are half a second; samples are by the clock, not by the steps' time."""
    run = trained()
    assert (20.0, 320.0, 2.0, 90.0, 100.0) == (
        run.steps_rate, run.samples_rate, run.epoch, run.steps_done, run.steps_total
    )  # fmt: skip
    assert (0.25, 0.5, 0.05) == (pytest.approx(run.data_wait_share), run.remaining_seconds, run.step_seconds)
    assert ({"loss": 0.25}, False) == (run.logged, run.hangs)


def test_a_step_that_hangs_leaves_the_end_open() -> None:
    """Nobody knows when a run ends that does not go on."""
    run = trained(step_seconds=30.0)
    assert (True, None, 30.0) == (run.hangs, run.remaining_seconds, run.step_seconds)


def test_models_tell_tokens_and_goodput() -> None:
    """Requests and tokens a second, and the times that matter."""
    world, named = World(), {"holter__call__name": "chat", "gen_ai__request__model": "tiny"}
    world.values(world.one("gen_ai.server.request.duration", **named), [1.0, 1.0])
    world.values(world.one("gen_ai.server.time_to_first_token", **named), [0.2, 0.2])
    world.values(world.one("gen_ai.server.time_per_output_token", **named), [0.01, 0.01])
    world.grow(world.one("gen_ai.client.inference.usage.output_tokens", "counter", "{token}", **named), 300)
    world.values(world.one(names.LLM_GOODPUT, "gauge", "1", holter__call__name="chat"), [0.75])
    model = only(vitals(sight(world)).models)
    assert ("tiny", 2.0, 300.0, 0.75, 2, 0) == (
        model.name, model.rate, model.output_rate, model.goodput, model.total, model.failed
    )  # fmt: skip
    assert [0.2, 0.2, 0.01] == pytest.approx([model.first_token_p50, model.first_token_p99, model.token_p50], rel=0.006)


def test_processes_stand_together_and_apart() -> None:
    """The sum has no process's number, each row apart has its own."""
    whole, one, other = World(), World(), World()
    one.call("predict", np.full(10, 0.1))
    other.call("predict", np.full(30, 0.1), "ValueError")
    for world, error in ((one, None), (other, "ValueError")):
        whole.call("predict", np.full(10 if world is one else 30, 0.1), error)
    people = person(one.snapshot(), pid=1), person(other.snapshot(), pid=2)
    seen = sight(whole, *people)
    assert [(None, 40.0)] == [(call.process, call.rate) for call in vitals(seen).calls]
    assert [(1, 10.0), (2, 30.0)] == [(call.process, call.rate) for call in vitals(seen, apart=True).calls]
    processes = vitals(seen).processes
    assert [(1, 10.0, 0.0), (2, 30.0, 30.0)] == [(each.pid, each.rate, each.error_rate) for each in processes]
    assert pytest.approx(0.1, rel=0.006) == processes[0].p99


def test_levels_of_the_machine_are_the_newest() -> None:
    """CPU is the sum over the modes but idle ones, sums are told a second of the last ten seconds."""
    world = World(seconds=2.0)
    for value in (0.2, 0.4):
        for mode in ("user", "system", "idle", "iowait"):
            world.values(world.one("system.cpu.utilization", "gauge", "1", cpu__mode=mode), [value / 2])
        world.snapshot()
    world.values(world.one("process.memory.usage", "gauge", "By"), [100.0, 300.0])
    world.grow(world.one("system.network.io", "counter", "By", network__io__direction="receive"), 5000)
    world.grow(world.one("container.cpu.time", "counter", "s", cpu__mode="user"), 3.0)
    world.values(world.one("container.memory.usage", "updowncounter", "By"), [77.0])
    figures = vitals(sight(world))
    assert {"process_memory_bytes": 300.0, "host_cpu": pytest.approx(0.4), "host_network_receive_rate": 2500.0} == {
        name: figures.machine[name] for name in ("process_memory_bytes", "host_cpu", "host_network_receive_rate")
    }
    assert {"container.cpu.time{user}/s": 1.5, "container.memory.usage": 77.0} == figures.container


def test_each_gpu_is_one_row() -> None:
    """By its id, with what its sampler has told of it; a metric that it lacks is None, another device is none."""
    world = World()
    for number, used in ((0, 0.93), (1, 0.07)):
        named = {"hw__id": f"UUID-{9 - number}", "hw__name": f"GPU {number}", "hw__type": "gpu"}
        world.values(world.one("hw.gpu.utilization", "gauge", "1", hw__gpu__task="decoder", **named), [0.5])
        world.values(world.one("hw.gpu.utilization", "gauge", "1", hw__gpu__task="general", **named), [used])
        world.values(world.one("hw.gpu.memory.usage", "updowncounter", "By", **named), [2.0**30])
    named = {"hw__id": "UUID-9", "hw__type": "gpu"}
    world.values(world.one("hw.power", "gauge", "W", **named), [412.0])
    world.values(world.one("holter.gpu.power_limit", "gauge", "W", **named), [700.0])
    world.values(world.one("hw.temperature", "gauge", "Cel", hw__sensor_location="memory", **named), [88.0])
    world.values(world.one("hw.temperature", "gauge", "Cel", hw__sensor_location="gpu", **named), [61.0])
    world.values(world.one("holter.gpu.info", "gauge", "1", hw__model="H200", **named), [1.0])
    for reason, value in (("power", 1.0), ("thermal", 0.0)):
        world.values(
            world.one("holter.gpu.throttle", "gauge", "1", holter__gpu__throttle_reason=reason, **named), [value]
        )
    world.values(world.one("hw.power", "gauge", "W", hw__id="psu", hw__type="power_supply"), [9.0])
    found = vitals(sight(world)).gpus
    assert [("UUID-9", "GPU 0", "H200", 0.93, 412.0, 700.0, 61.0), ("UUID-8", "GPU 1", "", 0.07, None, None, None)] == [
        (gpu.id, gpu.name, gpu.model, gpu.utilization, gpu.power, gpu.power_limit, gpu.temperature) for gpu in found
    ]
    assert [("power",), ()] == [gpu.throttled for gpu in found]
    assert (2.0**30, None) == (found[0].memory_bytes, found[0].memory_limit_bytes)


def test_pauses_are_of_the_last_ten_seconds() -> None:
    """Garbage collections of all generations, the event loop's lag, the wait for the GIL."""
    world = World(seconds=2.0)
    for generation in (0, 2):
        world.values(world.one("holter.gc.pause", cpython__gc__generation=generation), np.full(5, 0.01))
    world.values(world.one("holter.loop.lag"), [0.25])
    found = {pause.name: pause for pause in vitals(sight(world)).pauses}
    assert {"holter.gc.pause": 5.0, "holter.loop.lag": 0.5} == {name: pause.rate for name, pause in found.items()}
    assert pytest.approx(0.25, rel=0.006) == found["holter.loop.lag"].p99


def test_metrics_of_the_program_are_told_by_their_kind() -> None:
    """A level as it is, a counter's value and growth, a histogram's number and quantiles."""
    world = World(seconds=2.0)
    world.grow(world.one("app.hits", "counter", "{hit}", tier="a"), 10)
    world.snapshot()
    world.grow(world.one("app.hits", "counter", "{hit}", tier="a"), 4)
    world.values(world.one("app.queue", "gauge", "{item}"), [5.0])
    world.values(world.one("app.size", "histogram", "By"), np.full(8, 100.0))
    found = {one.name: one for one in vitals(sight(world)).metrics}
    assert (14.0, 2.0) == (found["app.hits"].value, found["app.hits"].rate)
    assert (5.0, None, None) == (found["app.queue"].value, found["app.queue"].rate, found["app.queue"].p50)
    assert (8, 4.0) == (found["app.size"].value, found["app.size"].rate)
    assert pytest.approx(100.0, rel=0.006) == found["app.size"].p50


@pytest.mark.parametrize(
    ("state", "silent_seconds", "told"),
    [("running", 0.4, "running"), ("running", 9.0, "silent"), ("stopped", 9.0, "stopped"), ("dead", 9.0, "dead")],
)
def test_a_process_is_silent_that_should_write_and_does_not(state: str, silent_seconds: float, told: str) -> None:
    """Of one that has no monitor, or is dead, nothing is expected."""
    world = World()
    found = vitals(sight(world, person(world.snapshot(), state=state, silent_seconds=silent_seconds))).processes[0]
    assert told == found.state
    assert (None, None) if state == "dead" else ("S", 0.25) == (found.system_state, found.cpus)


def test_failures_are_told_with_how_many_there_were_lately() -> None:
    """Those of the interval first; what has failed once is not forgotten."""
    world = World()
    world.call("old", np.full(50, 0.1), "KeyError")
    world.snapshot()
    world.call("predict", np.full(3, 0.1), "ValueError")
    found = vitals(sight(world)).failures
    assert [("ValueError", 3, 3), ("KeyError", 0, 50)] == [
        (one["error_type"], one["count"], one["total"]) for one in found
    ]
