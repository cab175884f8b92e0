"""What is watched, look by look: figures, and the courses of rates."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from holter.chosen import Choice
from holter.members import GroupName
from holter.recordings import listed
from holter.view.watched import Watched
from lives import SECOND_NS, FakeTime, Life

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="recordings need Linux")


class Patient:
    """A process, and somebody who watches it with the same clock."""

    def __init__(self, folder: Path) -> None:
        self.fake = FakeTime()
        self.life = Life(folder, fake=self.fake)
        self.ring, self.call = self.life.ring(), self.life.scope.call("predict").duration
        self.folder = folder

    def second(self, calls: int, *, turn: bool = True) -> None:
        """Let a second pass, with calls in it."""
        for _ in range(calls):
            self.ring.write(self.call, self.fake.ns, 5e6, 0, 0)
        self.fake.ns += SECOND_NS
        if turn:
            self.life.turn()

    def watched(self) -> Watched:
        """Return what watches it."""
        return Watched(Choice(GroupName("sentiment", ""), tuple(listed(self.folder)), pid=1), 1.0, self.life.clock)


def test_what_was_before_the_first_look_is_part_of_the_course(tmp_path: Path) -> None:
    """From the recording's own history, and after it a bin a look."""
    patient = Patient(tmp_path)
    patient.life.turn()
    for calls in (10, 20, 30):
        patient.second(calls)
    watched = patient.watched()
    watched.look()
    patient.second(40, turn=False)
    figures = watched.look()
    assert 40.0 == figures.calls[0].rate
    assert [10, 20, 30, 40] == watched.courses.of("calls", "predict")[-4:]


def test_a_course_ends_with_the_process(tmp_path: Path) -> None:
    """After a death no time passes in it, and one that died before shows how it went then."""
    patient = Patient(tmp_path)
    patient.life.turn()
    for calls in (10, 20):
        patient.second(calls)
    watched = patient.watched()
    watched.look()
    patient.second(5, turn=False)
    watched.look()
    patient.life.recording.close(clean=False)
    for _ in range(3):
        patient.fake.ns += SECOND_NS
        watched.look()
    assert [10, 20, 5] == watched.courses.of("calls", "predict")[-3:]
    late = patient.watched()
    patient.fake.ns += 100 * SECOND_NS
    late.look()
    assert [10, 20] == late.courses.of("calls", "predict")[-2:]


def test_both_views_are_kept(tmp_path: Path) -> None:
    """The sum and each process apart have their courses, whichever is looked at."""
    patient = Patient(tmp_path)
    patient.life.turn()
    watched = patient.watched()
    watched.look()
    patient.second(7)
    figures = watched.look(apart=True, window_seconds=10.0)
    (process,) = [call.process for call in figures.calls]
    assert [7] == watched.courses.of("calls", "predict")[-1:] == watched.courses.of("calls", "predict", process)[-1:]
