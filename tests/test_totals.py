"""What a cumulative snapshot tells, as plain numbers."""

from __future__ import annotations

import numpy as np
import pytest

from holter import names
from holter.model import ErrorPlace, OpenCall, Process
from holter.totals import digest
from simulation import SECOND_NS, World, open_call


def test_calls_agree_with_numpy() -> None:
    """Counts and sums exactly, quantiles within the histogram's error, over all outcomes together."""
    random, world = np.random.default_rng(5), World()
    well, failed = random.lognormal(-5, 0.5, (4, 300)), random.lognormal(-3, 0.5, (4, 40))
    for index in range(4):
        world.call("predict", well[index], units=600)
        world.call("predict", failed[index], "ValueError", units=10)
        snapshot = world.snapshot()
    (call,) = digest(snapshot).calls
    everything = np.concatenate([well.ravel(), failed.ravel()])
    assert ("predict", 1360, 160, 340.0) == (call.name, call.spread.count, call.errors, call.rate)
    assert call.spread.maximum == everything.max()
    assert call.spread.seconds == pytest.approx(everything.sum())
    quantiles = np.quantile(everything, [0.5, 0.9, 0.99], method="inverted_cdf")
    np.testing.assert_allclose([call.spread.p50, call.spread.p90, call.spread.p99], quantiles, rtol=0.006)
    assert (2440, 610.0, {"ok": 1200, "error": 160}) == (call.units, call.units_rate, call.outcomes)


def test_a_quantile_never_exceeds_the_largest_value() -> None:
    """A bucket's middle may; what people read may not."""
    world = World()
    world.call("predict", [0.0999])
    (call,) = digest(world.snapshot()).calls
    assert call.spread.p99 is not None
    assert call.spread.p99 <= 0.0999


def test_tagged_calls_belong_to_their_call() -> None:
    """A tag divides a call's series, not the call."""
    world = World()
    world.call("predict", [0.1, 0.1])
    world.values(world.one(names.CALL_DURATION, holter__call__name="predict", model="v7"), [0.3])
    assert [3] == [call.spread.count for call in digest(world.snapshot()).calls]


def test_rates_are_over_the_time_since_the_start() -> None:
    """From the start of the process's recording, which may be later than the clock's zero."""
    world = World(process=Process("s", started_ns=SECOND_NS))
    for _ in range(3):
        world.call("predict", np.ones(10))
        snapshot = world.snapshot()
    figures = digest(snapshot)
    assert (2.0, 15.0) == (figures.seconds, figures.calls[0].rate)


def test_calls_in_flight_are_counted_even_before_one_has_ended() -> None:
    """From the slots, or from the count of those begun where there are more than slots; steps are no calls."""
    world = World()
    world.values(world.one(names.CALL_ACTIVE, "updowncounter", "{call}", holter__call__name="busy"), [300.0])
    world.call("busy", [0.1])
    step = world.one(names.TRAINING_STEP_DURATION, holter__training__name="digits")
    running = (open_call("first", 2.0), open_call("first", 7.0), OpenCall("step", step, 0, 1.0, 1))
    calls = {call.name: call for call in digest(world.snapshot(open_calls=running)).calls}
    assert {"first": (0, 2, 7.0), "busy": (1, 300, 0.0)} == {
        name: (call.spread.count, call.in_flight, call.oldest_seconds) for name, call in calls.items()
    }


def test_failures_name_type_stage_and_place() -> None:
    """Most frequent first; the innermost stage that at least half of them passed."""
    world = World()
    world.call("predict", np.full(90, 0.01))
    world.span("predict", "outer", np.full(90, 0.009))
    world.span("predict", "inner", np.full(90, 0.004))
    for stage, seconds in (("outer", 0.02), ("inner", 0.01)):
        world.span("predict", stage, np.full(10, seconds), "ValueError")
    world.call("predict", np.full(10, 0.03), "ValueError")
    world.call("predict", np.full(3, 0.03), "TimeoutError")
    places = (
        ErrorPlace("predict", "ValueError", "a.py:1 in f", 2),
        ErrorPlace("predict", "ValueError", "a.py:9 in g", 8),
        ErrorPlace("other", "ValueError", "b.py:1 in h", 99),
    )
    failures = digest(world.snapshot(error_places=places)).failures
    assert [("ValueError", 10, "inner", "a.py:9 in g"), ("TimeoutError", 3, "", "")] == [
        (each.error_type, each.count, each.stage, each.place) for each in failures
    ]


def test_stages_have_their_share_of_the_calls_time() -> None:
    """Seconds in the span over seconds in the call; a span outside of every call has none."""
    world = World()
    world.call("predict", np.full(10, 0.1))
    world.span("predict", "tokenize", np.full(10, 0.025))
    world.span("", "alone", [9.0])
    found = {stage.name: (stage.call, stage.share) for stage in digest(world.snapshot()).stages}
    assert found == {"tokenize": ("predict", pytest.approx(0.25)), "alone": ("", None)}


def test_streams_tell_producer_from_consumer() -> None:
    """Items, times to and between them, both sides' seconds, and the streams that were left."""
    world, named = World(), {"holter__call__name": "answer"}
    world.call("answer", [2.0, 2.0])
    world.values(world.one(names.CALL_DURATION, holter__call__outcome="abandoned", **named), [0.5])
    world.values(world.one(names.STREAM_FIRST_ITEM, **named), [0.2, 0.2, 0.3])
    world.values(world.one(names.STREAM_BETWEEN_ITEMS, **named), np.full(20, 0.01))
    world.values(world.one(names.STREAM_PRODUCER_TIME, **named), [1.0, 1.0, 0.4])
    world.values(world.one(names.STREAM_CONSUMER_WAIT, **named), [1.0, 1.0, 0.1])
    (stream,) = digest(world.snapshot()).streams
    assert ("answer", 23, 1) == (stream.name, stream.items, stream.abandoned)
    assert (pytest.approx(2.4), pytest.approx(2.1)) == (stream.producer_seconds, stream.consumer_seconds)
    assert stream.first_item.maximum == 0.3


def test_training_divides_steps_into_wait_and_compute() -> None:
    """The wait is part of the step; samples are counted per second of the steps."""
    world, run = World(), {"holter__training__name": "digits"}
    world.values(world.one(names.TRAINING_STEP_DURATION, **run), np.full(100, 0.04))
    world.values(world.one(names.TRAINING_DATA_WAIT, **run), np.full(100, 0.01))
    world.grow(world.one(names.TRAINING_SAMPLES, "counter", "{sample}", **run), 6400)
    for name, value in (
        (names.TRAINING_EPOCH, 2),
        (names.TRAINING_STEPS_DONE, 100),
        (names.TRAINING_STEPS_TOTAL, 400),
        (names.TRAINING_METRIC_PREFIX + "loss", 0.25),
    ):
        world.values(world.one(name, "gauge", "1", **run), [9.0, value])
    (training,) = digest(world.snapshot()).training
    assert (0.25, 1600.0) == (pytest.approx(training.data_wait_share), pytest.approx(training.samples_rate))
    assert (2, 100, 400, {"loss": 0.25}) == (
        training.epoch, training.steps_done, training.steps_total, training.metrics
    )  # fmt: skip


def test_users_metrics_are_told_by_kind() -> None:
    """A counter's value and rate, a gauge's last value, a histogram's spread; ours are not among them."""
    world = World()
    world.grow(world.one("app.hits", "counter", "1", tier="ram"), 12)
    world.values(world.one("app.queue", "gauge", "1"), [3.0, 7.0])
    world.values(world.one("app.latency"), [0.5])
    world.call("predict", [1.0])
    found = {metric.name: metric for metric in digest(world.snapshot()).metrics}
    assert {"app.hits", "app.queue", "app.latency"} == set(found)
    assert (12, 12.0, {"tier": "ram"}) == (
        found["app.hits"].value,
        found["app.hits"].rate,
        found["app.hits"].attributes,
    )
    assert (7.0, None, 0.5) == (
        found["app.queue"].value,
        found["app.latency"].value,
        found["app.latency"].spread.maximum,
    )


def test_the_machine_is_told_over_all_modes_and_directions() -> None:
    """CPU is the mean of all that is not idle; memory the last and the largest; traffic since the start."""
    world = World()
    for used in (0.2, 0.4):
        for metric in ("process.cpu.utilization", "system.cpu.utilization"):
            world.values(world.one(metric, "gauge", "1", cpu__mode="user"), [used])
        world.values(world.one("system.cpu.utilization", "gauge", "1", cpu__mode="idle"), [1 - used])
        world.values(world.one("process.memory.usage", "gauge", "By"), [(1 - used) * 1000])
        world.grow(world.one("process.disk.io", "counter", "By", disk__io__direction="read"), 50)
        snapshot = world.snapshot()
    machine = digest(snapshot).machine
    assert machine["process_cpu"] == machine["host_cpu"] == pytest.approx(0.3)
    assert (600, 800, 100) == tuple(
        machine[name] for name in ("process_memory_bytes", "process_memory_peak_bytes", "process_disk_read_bytes")
    )
    assert "host_memory" not in machine


def test_holter_tells_of_itself() -> None:
    """Cost, records, losses and errors by place."""
    world = World()
    world.values(world.one(names.OVERHEAD, "gauge", "1"), [0.01])
    world.grow(world.one(names.RECORDS_WRITTEN, "counter", "{record}"), 500)
    world.grow(world.one(names.INTERNAL_ERRORS, "counter", "{error}", holter__place="units"), 2)
    itself = digest(world.snapshot(lost=7)).itself
    assert (0.01, 500, 7, {"units": 2}) == (itself.overhead, itself.written, itself.lost, itself.internal_errors)
