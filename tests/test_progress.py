"""The steps of a run: how one that was left is told to have ended, and what is kept until then."""

from __future__ import annotations

import sys
import threading
import weakref
from types import FrameType
from typing import Self

import pytest

from holter.fold import Fold, Router
from holter.model import Process
from holter.progress import Course, Lane
from holter.recorder import Recorder
from holter.scope import Scope


@pytest.fixture
def course() -> Course:
    """The steps of a run that is open."""
    course = Course(Scope(recorder=Recorder()), {"holter.training.name": "fit"}, initial_step=10)
    course.is_open = True
    return course


def _ends(course: Course) -> dict[str, int]:
    """Return how many steps have ended, by type of error."""
    recorder = course.scope.recorder
    fold, router = Fold(course.scope, Process("test")), Router(recorder)
    router.attach(fold)
    with recorder.lock:
        router.drain()
        snapshot = fold.close(course.scope.now(), 0)
    return {
        str(snapshot.series[key].attributes.get("error.type", "ok")): reading.count
        for key, reading in snapshot.total.items()
        if course.step in (key, snapshot.series[key].parent)
    }


class Loop:
    """An iterator that leaves the open step when it is dropped."""

    def __init__(self, lane: Lane, frames: list[FrameType]) -> None:
        self._lane, self._frames = lane, frames

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> int:
        return 1

    def __del__(self) -> None:
        frame = sys._getframe(1)
        self._frames.append(frame)
        self._lane.leave(1, frame)


def _left_by(course: Course, error: BaseException | None, frames: list[FrameType] | None = None) -> None:
    """Open a step, and leave its loop and the function by *error*, or by returning; keep its frame in *frames*."""
    lane = course.lane()
    lane.begin(1)
    for _ in Loop(lane, [] if frames is None else frames):
        if error is not None:
            raise error
        return


def test_a_step_that_was_left_waits_for_its_verdict(course: Course) -> None:
    """It is recorded when it is settled, once, and is not listed as open meanwhile."""
    _left_by(course, None)
    assert {} == _ends(course)
    assert [] == course.scope.recorder.open_calls()
    course.lane().settle()
    course.lane().settle()
    assert {"ok": 1} == _ends(course)
    assert 11 == course.steps_done()


def test_a_new_step_settles_the_one_before(course: Course) -> None:
    """Nothing is lost where nobody asks."""
    for _ in range(5):
        _left_by(course, None)
    course.lane().begin(1)
    assert {"ok": 5} == _ends(course)


def _raises(error: Exception) -> None:
    raise error


@pytest.mark.parametrize("deep", [0, 1, 100])
def test_the_exception_that_left_a_step_is_recognised(course: Course, deep: int) -> None:
    """However far it has come since, its traceback passes where the loop was left."""

    def outer(levels: int) -> None:
        if levels:
            outer(levels - 1)
        else:
            _left_by(course, OSError())

    try:
        outer(deep)
    except OSError:
        course.lane().settle()
    assert {"OSError": 1} == _ends(course)
    assert 10 == course.steps_done()


@pytest.mark.parametrize("is_old", [True, False])
def test_an_exception_that_came_later_is_another_one(course: Course, *, is_old: bool) -> None:
    """A step that was left well stays so, also when what is raised then is an old exception."""
    error = KeyError()
    with pytest.raises(KeyError):
        _raises(error)
    _left_by(course, None)
    try:
        _raises(error if is_old else KeyError())
    except KeyError:
        course.lane().settle()
    assert {"ok": 1} == _ends(course)


def test_a_later_call_of_the_same_line_is_another_one(course: Course) -> None:
    """Of a function that is called in a loop, the call that raises is not the one that had left its step well."""

    def train(error: Exception | None) -> None:
        # Kept, so that the frames of the two calls differ.
        frames.append(sys._getframe())
        if error is not None:
            raise error
        _left_by(course, None, frames)

    frames: list[FrameType] = []
    caught = []
    for error in (None, KeyError()):
        try:
            train(error)
        except KeyError as raised:
            caught.append(raised)
            course.lane().settle()
    assert 1 == len(caught)
    assert {"ok": 1} == _ends(course)


def test_an_exception_that_is_handled_around_a_loop_is_not_its_own(course: Course) -> None:
    """A training that begins again in an `except` clause is not taken for failed."""
    try:
        _raises(MemoryError())
    except MemoryError:
        _left_by(course, None)
        course.lane().settle()
    assert {"ok": 1} == _ends(course)


def test_a_step_that_was_left_keeps_nothing_alive(course: Course) -> None:
    """Neither the frame that it was left in nor what that frame held."""

    class Model:
        pass

    def train() -> weakref.ref[Model]:
        model = Model()
        _left_by(course, None)
        return weakref.ref(model)

    assert train()() is None


def test_a_cancelled_step_never_was(course: Course) -> None:
    """It is neither counted nor left open."""
    course.lane().begin(1)
    course.lane().cancel()
    assert {} == _ends(course)
    assert [] == course.scope.recorder.open_calls()


def test_a_noted_failure_ends_with_its_step(course: Course) -> None:
    """A block that failed makes a step that is left a failure, not one that goes on nor the next."""
    lane = course.lane()
    lane.begin(1)
    lane.note(OSError())
    lane.end(1)
    _left_by(course, None)
    lane.settle()
    assert {"ok": 2} == _ends(course)


def test_each_thread_has_a_lane(course: Course) -> None:
    """One and the same whenever a thread asks."""
    lanes = []
    thread = threading.Thread(target=lambda: lanes.extend((course.lane(), course.lane())))
    thread.start()
    thread.join()
    assert lanes[0] is lanes[1]
    assert lanes[0] is not course.lane()
    assert course.lane() is course.lane()
