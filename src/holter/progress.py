"""The steps of a training run: which are open, how each of them has ended, and how many are done."""

from __future__ import annotations

import sys
from types import FrameType, TracebackType
from typing import Final

from holter import names
from holter._ring import HOME, START, Call
from holter.failure import FAILED, failed_series, note_place
from holter.metric import Attributes
from holter.probe import Units
from holter.record import Outcome
from holter.recorder import current_ident
from holter.scope import Scope
from holter.values import work_units

_DEEPEST: Final = 1_000
_GENERATOR: Final = 0x20  # inspect.CO_GENERATOR

# A frame, by its id so that nothing is kept alive, and the instruction at which it stands.
_Position = tuple[int, int]


class Course:
    """
    The series of one run and the steps of its threads.

    ``is_open`` from the beginning of the run to its end; what is recorded at another time is refused.
    """

    def __init__(self, scope: Scope, attributes: Attributes, initial_step: int) -> None:
        self.scope, self.attributes = scope, attributes
        self.step = scope.timer(names.TRAINING_STEP_DURATION, attributes)
        self.data_wait = scope.timer(names.TRAINING_DATA_WAIT, attributes)
        self.samples = scope.series(names.TRAINING_SAMPLES, "{sample}", "counter", attributes)
        self.is_open = False
        self._initial_step = initial_step
        self._lanes: dict[int, Lane] = {}

    def lane(self) -> Lane:
        """Return the steps of the calling thread."""
        ident = current_ident()
        return self._lanes.get(ident) or self._lanes.setdefault(ident, Lane(self.scope, self.step))

    def steps_done(self) -> int:
        """Return how many steps are done: the initial ones, and those that have ended well since."""
        return self._initial_step + sum(lane.done for lane in list(self._lanes.values()))

    def count_samples(self, units: Units, batch: object) -> None:
        """Count the samples of *batch*, as *units* tells them."""
        scope = self.scope
        told = scope.guard.run("units", None, units, batch) if callable(units) else units
        size = work_units(told)
        if size is None:
            scope.increment(names.VALUES_REFUSED, "{value}", {names.METRIC: names.TRAINING_SAMPLES})
        else:
            scope.ring().write(self.samples, scope.now(), size, 0, Outcome.OK)

    def refuse(self) -> None:
        """Count what was asked of a run that has not begun or is over."""
        self.scope.guard.refused("training", "a run that is open: use it inside its `with`")

    def record(self, series: int, start_ns: int, end_ns: int, error: BaseException | None = None) -> None:
        """Record a duration in *series*, or in the part of it that counts what *error* leaves."""
        outcome = Outcome.OK
        if error is not None:
            series, outcome = part_for(self.scope, series, error)
        self.scope.ring().write(series, end_ns, end_ns - start_ns, 0, outcome)


class Lane:
    """
    The steps that one thread takes, of which one at most is open.

    A step whose loop was left is held back until ``settle``: left by ``break`` it has ended well,
    by an exception it has failed, and only the exception can tell: the traceback that comes by
    later, or the block inside the step that it has left.
    """

    __slots__ = ("_failure", "_held", "_scope", "_series", "done", "step")

    def __init__(self, scope: Scope, series: int) -> None:
        self._scope, self._series = scope, series
        self.step: Call | None = None
        self.done = 0
        self._failure: tuple[int, Outcome] | None = None
        self._held: tuple[int, int, list[_Position]] | None = None

    def begin(self, start_ns: int) -> Call:
        """Open a step."""
        if self._held is not None:
            self.settle()
        self._failure = None
        step = self.step = self._scope.ring().begin(self._series, start_ns)
        return step

    def end(self, end_ns: int, error: BaseException | None = None) -> None:
        """End the open step, if there is one, by *error* if one leaves it."""
        step, self.step = self.step, None
        if step is None or not step[START]:
            return
        self._write(step[START], end_ns, self._failed(error) if error is not None else None)
        step[HOME].release(step)

    def cancel(self) -> None:
        """Close the open step as one that never was."""
        step, self.step = self.step, None
        if step is not None:
            step[HOME].release(step)

    def leave(self, end_ns: int, frame: FrameType | None) -> None:
        """Close the open step, whose loop was left by the code of *frame*, and hold it back."""
        step, self.step = self.step, None
        if step is not None and step[START]:
            self._held = step[START], end_ns, _positions(frame)
            step[HOME].release(step)

    def settle(self) -> None:
        """
        Record the step that is held back, if there is one.

        It has failed if the exception that is being handled here came by where its loop was left.
        """
        held, self._held = self._held, None
        if held is None:
            return
        start_ns, end_ns, positions = held
        _, error, traceback = sys.exc_info()
        failure = self._failure
        if error is not None and _came_by(positions, traceback):
            failure = self._failed(error)
        self._write(start_ns, end_ns, failure)

    def rest(self, end_ns: int) -> None:
        """End the open step and record the one that is held back, if there are such."""
        self.settle()
        self.end(end_ns)

    def note(self, error: BaseException | None) -> None:
        """Note how a block inside the open step has ended."""
        self._failure = None if error is None else part_for(self._scope, self._series, error)

    def _failed(self, error: BaseException) -> tuple[int, Outcome]:
        failure = part_for(self._scope, self._series, error)
        if failure[1] in FAILED:
            self._scope.guard.run("failure", None, note_place, self._scope.ring(), self._series, error)
        return failure

    def _write(self, start_ns: int, end_ns: int, failure: tuple[int, Outcome] | None) -> None:
        series, outcome = failure or (self._series, Outcome.OK)
        self._scope.ring().write(series, end_ns, end_ns - start_ns, 0, outcome)
        if failure is None:
            self.done += 1


def part_for(scope: Scope, series: int, error: BaseException) -> tuple[int, Outcome]:
    """Return the part of *series* that counts what *error* leaves, and its outcome."""
    default = (series, Outcome.ERROR)
    return scope.guard.run("failure", default, failed_series, scope.table, series, error)


def _positions(frame: FrameType | None) -> list[_Position]:
    """Return where the loop stands that *frame* has left, behind the generators that it was wrapped in."""
    positions: list[_Position] = []
    while frame is not None:
        positions.append((id(frame), frame.f_lasti))
        frame = frame.f_back if frame.f_code.co_flags & _GENERATOR else None
    return positions


def _came_by(positions: list[_Position], traceback: TracebackType | None) -> bool:
    """
    Whether an exception with this *traceback* was on its way when the loop stood at *positions*.

    Of the frames that it came through the innermost one decides: an exception leaves it at the
    instruction that raised, `break` and `return` at another one, which raises nothing.
    """
    raised: dict[int, set[int]] = {}
    for _ in range(_DEEPEST):
        if traceback is None:
            break
        raised.setdefault(id(traceback.tb_frame), set()).add(traceback.tb_lasti)
        traceback = traceback.tb_next
    return next((instruction in raised[frame] for frame, instruction in positions if frame in raised), False)
