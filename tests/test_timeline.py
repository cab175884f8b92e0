"""The course of each watched call over the intervals of a history."""

from __future__ import annotations

import numpy as np

from holter import names
from holter.history import History
from holter.timeline import inner_stage, timelines
from simulation import SECOND_NS, START_NS, World


def test_outcomes_are_merged_and_failures_told_apart() -> None:
    """All calls of one name count together; errors and timeouts by type, expected exceptions not."""
    history, world = History(), World()
    for index in range(5):
        world.call("predict", np.full(8, 0.01))
        world.call("predict", np.full(index, 0.2), "ValueError")
        world.call("predict", np.full(1, 3.0), "TimeoutError")
        expected = world.one(names.CALL_DURATION, holter__call__name="predict", holter__call__outcome="expected")
        world.values(expected, np.full(1, 0.01))
        history.add(world.snapshot())
    _, (timeline,) = timelines(history)
    assert ("predict", "calls") == (timeline.name, timeline.noun)
    assert [10, 11, 12, 13, 14] == timeline.calls.tolist()
    np.testing.assert_allclose(timeline.seconds, 0.09 + 0.2 * np.arange(5) + 3)
    assert {"ValueError": [0, 1, 2, 3, 4], "TimeoutError": [1] * 5} == {
        kind: counts.tolist() for kind, counts in timeline.failures.items()
    }
    assert [1, 2, 3, 4, 5] == timeline.failed.tolist()


def test_quantiles_stand_for_all_outcomes() -> None:
    """p50 is the middle outcome's by count, p99 the largest of those with 2 % of the calls or more."""
    history, world = History(), World()
    world.call("predict", np.full(90, 0.01))
    world.call("predict", np.full(9, 0.2), "ValueError")
    world.call("predict", np.full(1, 5.0), "KeyError")
    history.add(world.snapshot())
    history.add(world.snapshot())
    _, (timeline,) = timelines(history)
    np.testing.assert_allclose(timeline.p50, [0.01, np.nan], rtol=0.006)
    np.testing.assert_allclose(timeline.p99, [0.2, np.nan], rtol=0.006)


def test_stages_belong_to_their_call() -> None:
    """Spans count for the call that they are part of, with the failures that passed through them."""
    history, world = History(), World()
    for _ in range(3):
        for call in ("predict", "train"):
            world.call(call, [0.5, 0.5])
        world.span("predict", "tokenize", [0.1, 0.2])
        world.span("predict", "tokenize", [0.3], "ValueError")
        history.add(world.snapshot())
    _, found = timelines(history)
    stages = {timeline.name: timeline.stages for timeline in found}
    assert ({}, ["tokenize"]) == (stages["train"], list(stages["predict"]))
    np.testing.assert_allclose(stages["predict"]["tokenize"].seconds, [0.6] * 3)
    assert [1, 1, 1] == stages["predict"]["tokenize"].failures["ValueError"].tolist()


def test_a_training_run_is_a_timeline_of_steps() -> None:
    """Its stages are the wait for data and the phases."""
    history, world = History(), World()
    run = {"holter__training__name": "digits"}
    world.values(world.one(names.TRAINING_STEP_DURATION, **run), [0.3, 0.3])
    world.values(world.one(names.TRAINING_DATA_WAIT, **run), [0.1, 0.1])
    phase = names.TRAINING_PHASE.replace(".", "__")
    world.values(world.one(names.TRAINING_PHASE_DURATION, **run, **{phase: "forward"}), [0.05])
    history.add(world.snapshot())
    _, (timeline,) = timelines(history)
    assert ("digits", "steps") == (timeline.name, timeline.noun)
    assert {"data wait": [0.2], "forward": [0.05]} == {
        name: stage.seconds.tolist() for name, stage in timeline.stages.items()
    }


def test_a_long_history_is_binned_from_its_newest_end() -> None:
    """600 intervals become 150 bins of four; where they do not divide, the oldest are left out."""
    history, world = History(), World()
    for _ in range(303):
        world.call("predict", [0.01])
        history.add(world.snapshot())
    axis, (timeline,) = timelines(history)
    assert (101, 3) == (len(timeline.calls), timeline.calls[0])
    assert START_NS == axis.start_ns[0]
    assert START_NS + 300 * SECOND_NS == axis.start_ns[-1]
    for _ in range(302):
        world.call("predict", [0.01])
        history.add(world.snapshot())
    axis, (timeline,) = timelines(history)
    assert (150, 4.0) == (len(timeline.calls), axis.seconds[0])
    assert START_NS + 601 * SECOND_NS == axis.start_ns[-1]


def test_the_inner_of_two_stages_is_to_blame() -> None:
    """An outer stage contains nearly the same, but takes longer."""
    seconds = {"outer": 9.0, "inner": 5.0, "other": 1.0}
    assert inner_stage({"outer": 0.95, "inner": 0.9, "other": 0.02}, seconds, 0.5) == "inner"
    assert inner_stage({"outer": 0.95, "inner": 0.4, "other": 0.5}, seconds, 0.5) == "outer"
    assert inner_stage({"other": 0.3}, seconds, 0.5) is None
    assert inner_stage({}, seconds, 0.0) is None


def test_an_empty_history_has_no_timeline() -> None:
    """Before the first interval there is nothing to tell."""
    axis, found = timelines(History())
    assert (0, []) == (len(axis.start_ns), found)
