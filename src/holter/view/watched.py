"""What is watched from outside: looks at some processes, and how their rates went."""

from __future__ import annotations

from holter.chosen import Choice
from holter.clock import SYSTEM, Clock
from holter.view.courses import Courses
from holter.view.onlooker import Onlooker
from holter.view.vitals import vitals
from holter.view.vitalsigns import Vitals


class Watched:
    """
    The figures of a *choice*, look by look, and the courses of their rates.

    Keeps both views, the sum and each process apart, so that going from one to the other loses nothing.
    """

    def __init__(self, choice: Choice, interval_seconds: float, clock: Clock = SYSTEM) -> None:
        self.choice, self.courses = choice, Courses(interval_seconds)
        self._onlooker, self._clock = Onlooker(choice, clock), clock
        self._is_seeded = False

    def look(self, *, window_seconds: float = 0.0, apart: bool = False) -> Vitals:
        """Return the figures as of now; the first look has no rates."""
        sight = self._onlooker.look(window_seconds)
        is_alive = any(one.is_alive for one in sight.people)
        if self._is_seeded and is_alive:
            each = [(one.moment.last, one.process.pid) for one in sight.people]
            self.courses.add([(sight.whole.last, None), *each])
        elif not self._is_seeded:
            self._is_seeded = True
            for one in self._onlooker.attached():
                if one.process is not None:
                    until_ns = self._clock.wall_ns() if one.is_alive else one.process.ended_ns
                    self.courses.seed(one.history, until_ns, one.process.pid)
        return vitals(sight, apart=apart)
