"""What does not come: steps of several runs, each by itself, and the next call."""

from __future__ import annotations

from contracts.check import Course
from holter.hung import Still
from holter.model import OpenCall
from holter.names import (
    CALL_DURATION,
    CALL_NAME,
    TRAINING_NAME,
    TRAINING_RANK,
    TRAINING_STEP_DURATION,
    TRAINING_STEPS_DONE,
)
from holter.quiet import MissingSteps, Silence
from holter.usual import Allowance

RANK = TRAINING_RANK.replace(".", "__")


def steps(course: Course, rank: str, number: int, *, is_open: bool = True) -> int:
    """Record steps of one rank of a run; return the id of their series."""
    named = {TRAINING_NAME.replace(".", "__"): "finetune", RANK: rank}
    if is_open:
        course.record(TRAINING_STEPS_DONE, [(course.now_ns, 1.0)], "gauge", "{step}", **named)
    return course.record(TRAINING_STEP_DURATION, [(course.now_ns, 0.9)] * number, "histogram", **named)


def missing() -> MissingSteps:
    """Return what tells of all runs."""
    return MissingSteps(Allowance(grace_seconds=60), lambda _: True)


def test_each_rank_of_a_run_is_told_of_by_itself() -> None:
    """One that stands while the others go on; one that is over is no more."""
    course, watch = Course(), missing()
    for _ in range(300):
        steps(course, "0", 1)
        lone = steps(course, "1", 1)
        assert [] == list(watch.look(course.tick()))
    told: list[Still] = []
    for _ in range(70):
        steps(course, "0", 1)
        steps(course, "1", 0)
        told = list(watch.look(course.tick()))
    assert [(lone, "finetune", "pause", 70.0, 60.0)] == [
        (one.series, one.name, one.kind, one.seconds, one.limit.seconds) for one in told
    ]
    steps(course, "0", 1)
    steps(course, "1", 0, is_open=False)
    assert [] == list(watch.look(course.tick()))


def test_the_thread_that_made_the_steps_is_where_to_look() -> None:
    """The last that was seen in one."""
    course, watch = Course(), missing()
    for _ in range(200):
        series = steps(course, "0", 1)
        running = OpenCall("finetune", series, course.now_ns, 0.0, 4711)
        assert [] == list(watch.look(course.tick(open_calls=(running,))))
    for _ in range(61):
        steps(course, "0", 0)
        told = list(watch.look(course.tick()))
    assert [4711] == [one.thread for one in told]


def test_a_step_in_flight_is_no_pause() -> None:
    """It is judged as what it is."""
    course, watch = Course(), missing()
    series = steps(course, "0", 1)
    running = OpenCall("finetune", series, course.now_ns, 0.0, 1)
    for _ in range(1_000):
        steps(course, "0", 0)
        assert [] == list(watch.look(course.tick(open_calls=(running,))))


def test_silence_begins_with_the_check() -> None:
    """A call that never comes is missed as well, where a time is given; what is learnt needs calls."""
    course = Course()
    given = Silence(Allowance(), lambda one: one.attributes.get(CALL_NAME) == "predict", "predict", 5.0)
    learnt = Silence(Allowance(), given.is_judged, "predict", None)
    told = []
    for _ in range(1_000):
        course.record(CALL_DURATION, [(course.now_ns, 0.1)], "histogram", **{CALL_NAME.replace(".", "__"): "embed"})
        snapshot = course.tick()
        told.append(len(list(given.look(snapshot))))
        assert [] == list(learnt.look(snapshot))
    assert ([0] * 5, {1}) == (told[:5], set(told[5:]))
