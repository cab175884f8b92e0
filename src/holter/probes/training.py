"""The probe of training runs: epochs, steps with their wait for data, phases, and what the user logs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import FrameType, TracebackType
from typing import Any, Final, Generic, Self, TypeVar, overload

from holter import names
from holter._ring import START, Call
from holter.errors import ConfigurationError
from holter.logged import LONGEST_NAME, LoggedMetrics, checked_parameters
from holter.metric import Attributes
from holter.options import checked_name
from holter.probe import Units
from holter.progress import Course, Lane
from holter.scope import Scope
from holter.values import number, work_units

T = TypeVar("T")

# What launchers set; the rank within one host only where no other is known.
_RANK_VARIABLES: Final = ("RANK", "SLURM_PROCID", "LOCAL_RANK")
_LONGEST_RANK: Final = 9


class Training:
    """
    One training run: its steps, the wait for their data, epochs, phases, and what is logged.

    ``with`` begins and ends it. A step is one turn of the loop around ``steps``, from asking for
    its data to asking for the next, or one block of ``step``; inside an open step both are a part
    of it. Threads may share a run: each has steps of its own. Outside of its ``with`` nothing is
    recorded, and that is counted as an internal error; the loops run all the same.

    A step costs two records and a slot, a phase and a logged value one record each. *units* is
    how many samples a batch has, where ``steps`` is not told.

    Raises:
        ConfigurationError: an argument cannot work.
    """

    def __init__(
        self,
        scope: Scope,
        name: str,
        *,
        total_steps: int | None = None,
        initial_step: int = 0,
        parameters: Mapping[str, Any] | None = None,
        units: Units = None,
    ) -> None:
        self.name = checked_name(name)
        self._total_steps = None if total_steps is None else _checked_count("total_steps", total_steps, least=1)
        if units is not None and not callable(units) and work_units(units) is None:
            raise ConfigurationError(
                f"expected units as a number of samples or as a function of the batch, got {units!r:.60}"
            )
        self._scope, self._units = scope, units
        self._attributes: Attributes = {names.TRAINING_NAME: self.name, **_rank()}
        self._course = Course(scope, self._attributes, _checked_count("initial_step", initial_step, least=0))
        self._parameters = checked_parameters(scope, parameters)
        self._metrics = LoggedMetrics(scope, names.TRAINING_METRIC_PREFIX, self._attributes)
        self._phases: dict[str, int] = {}
        self._begun_ns = 0

    @property
    def steps_done(self) -> int:
        """How many steps are done: ``initial_step``, and those since that have ended without an error."""
        self._course.lane().settle()
        return self._course.steps_done()

    def __enter__(self) -> Self:
        course = self._course
        if course.is_open:
            course.refuse()
            return self
        self._begun_ns = self._scope.now()
        course.is_open = True
        if self._parameters:
            info = self._scope.series(names.TRAINING_INFO, "1", "gauge", {**self._attributes, **self._parameters})
            self._scope.ring().put(info, self._begun_ns, 1)
        if self._total_steps is not None:
            self._put(self._gauge(names.TRAINING_STEPS_TOTAL, "{step}"), self._total_steps)
        for series, read in self._reads():
            self._put(series, read())
            self._scope.reads[series] = read
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        course, end_ns = self._course, self._scope.now()
        if not course.is_open:
            return
        lane = course.lane()
        lane.settle()
        lane.end(end_ns, error)
        course.is_open = False
        for series, read in self._reads():
            # Another run of this name may have begun since.
            if self._scope.reads.get(series) == read:
                del self._scope.reads[series]
            self._put(series, read())
        course.record(self._scope.timer(names.TRAINING_RUN_DURATION, self._attributes), self._begun_ns, end_ns, error)

    @overload
    def epochs(self, epochs: int) -> Iterator[int]: ...

    @overload
    def epochs(self, epochs: Iterable[T]) -> Iterator[T]: ...

    def epochs(self, epochs: Any) -> Iterator[Any]:
        """
        Yield each of *epochs*, a number of them or an iterable, as the current one.

        To resume, give ``range(4, 10)``. An epoch that is no number itself is counted from 0.
        """
        series = self._gauge(names.TRAINING_EPOCH, "{epoch}")
        for index, epoch in enumerate(range(epochs) if hasattr(type(epochs), "__index__") else epochs):
            # The step of a loop whose iterator somebody holds ends here too.
            self._course.lane().rest(self._scope.now())
            if self._course.is_open:
                value = number(epoch)
                self._put(series, index if value is None else value)
            else:
                self._course.refuse()
            yield epoch
        self._course.lane().rest(self._scope.now())

    def steps(self, batches: Iterable[T], *, units: Units = None, accumulate: int = 1) -> Steps[T]:
        """
        Return *batches*, to be iterated as they are: each turn of the loop is a step.

        The wait for a batch is part of its step, and recorded on its own too. *accumulate*
        batches make one step; what is left at the end is one more. *units* is how many samples a
        batch has: a number, or a function of the batch such as ``len``. A loop may be left by
        ``break``; an exception that leaves it makes its step one that failed, if it leaves the
        run, a phase or a ``step`` too, or something is recorded while it is handled.
        """
        size = number(accumulate)
        if type(size) is not int or size < 1:
            self._scope.guard.refused("training.steps", "accumulate as a whole number that is at least 1")
            size = 1
        return Steps(self._course, batches, self._units if units is None else units, size)

    def step(self) -> Step:
        """Return a ``with`` block that is one step."""
        return Step(self._course)

    def phase(self, name: str) -> Phase:
        """Return a ``with`` block that is timed as the phase *name*, of a step or beside the steps."""
        series = self._phases.get(name) if type(name) is str else None
        return Phase(self._course, self._new_phase(name) if series is None else series)

    def log(self, metrics: Mapping[str, Any] | None = None, /, **more: Any) -> None:
        """
        Set the gauges ``holter.training.metric.<name>`` to the values of a dict, or of keywords.

        Characters other than letters, digits, ``-`` and ``/`` become ``_`` in the names; a dict
        within the dict is ``outer/inner``. Values are Python or numpy numbers: others (of a tensor,
        log its ``.item()``) are counted in ``holter.values.refused``, as are values of names
        beyond the 500th of a run. NaN and infinities are recorded, and counted in ``holter.values.nonfinite``.
        """
        if not self._course.is_open:
            self._course.refuse()
            return
        self._course.lane().settle()
        now_ns = self._scope.now()
        if metrics is not None:
            self._metrics.put(metrics, now_ns)
        if more:
            self._metrics.put(more, now_ns)

    def _reads(self) -> Iterator[tuple[int, Callable[[], float]]]:
        """Yield the gauges of how far the run has come, and what tells their values."""
        yield self._gauge(names.TRAINING_STEPS_DONE, "{step}"), self._course.steps_done
        if self._total_steps is not None:
            yield self._gauge(names.TRAINING_PROGRESS, "1"), self._share_done

    def _share_done(self) -> float:
        return self._course.steps_done() / (self._total_steps or 1)

    def _gauge(self, name: str, unit: str) -> int:
        return self._scope.series(name, unit, "gauge", self._attributes)

    def _put(self, series: int, value: float) -> None:
        self._scope.ring().put(series, self._scope.now(), value)

    def _new_phase(self, name: object) -> int:
        if type(name) is not str:
            self._scope.guard.refused("training.phase", "a name as str")
            name = names.INVALID
        attributes = {**self._attributes, names.TRAINING_PHASE: name[:LONGEST_NAME]}
        series = self._scope.timer(names.TRAINING_PHASE_DURATION, attributes)
        if not self._scope.table.is_overflow(series):
            self._phases[name] = series
        return series


class Steps(Generic[T]):
    """Batches to be iterated, as often as the iterable that they come from; each turn is a step."""

    __slots__ = ("_accumulate", "_batches", "_course", "_units")

    def __init__(self, course: Course, batches: Iterable[T], units: Units, accumulate: int) -> None:
        self._course, self._batches, self._units, self._accumulate = course, batches, units, accumulate

    def __iter__(self) -> Iterator[T]:
        return _Turns(self._course, iter(self._batches), self._units, self._accumulate)

    def __len__(self) -> int:
        return len(self._batches)  # type: ignore[arg-type]  # without a length it raises what `len` raises

    def __bool__(self) -> bool:
        return bool(self._batches)


class _Turns(Generic[T]):
    """One iteration: passes on each batch and keeps none, and whatever the source raises."""

    __slots__ = ("_accumulate", "_batches", "_course", "_lane", "_source", "_step", "_units")

    def __init__(self, course: Course, source: Iterator[T], units: Units, accumulate: int) -> None:
        self._course, self._source, self._units, self._accumulate = course, source, units, accumulate
        self._lane: Lane | None = None
        self._step: Call | None = None
        self._batches = 0

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        course = self._course
        if not course.is_open:
            course.refuse()
            self._leave(None)
            return next(self._source)
        now = course.scope.now
        asked_ns = now()
        lane = self._turn(asked_ns)
        try:
            batch = next(self._source)
        except StopIteration:
            if lane is not None and self._batches:
                lane.end(asked_ns)
            elif lane is not None:
                lane.cancel()
            raise
        except BaseException as error:
            end_ns = now()
            course.record(course.data_wait, asked_ns, end_ns, error)
            if lane is not None:
                lane.end(end_ns, error)
            raise
        course.record(course.data_wait, asked_ns, now())
        self._batches += 1
        if self._units is not None:
            course.count_samples(self._units, batch)
        return batch

    def _turn(self, now_ns: int) -> Lane | None:
        """Open the step of the next batch, unless it belongs to an open one; return the lane of a step of ours."""
        lane, step = self._lane, self._step
        if lane is None or step is None or not step[START]:
            lane = self._lane = self._course.lane()
            if lane.step is not None:
                self._lane = self._step = None
                return None
        elif self._batches < self._accumulate:
            return lane
        else:
            lane.end(now_ns)
        self._step = lane.begin(now_ns)
        self._batches = 0
        return lane

    def _leave(self, frame: FrameType | None) -> None:
        lane, step = self._lane, self._step
        if lane is not None and step is not None and lane.step is step:
            lane.leave(self._course.scope.now(), frame)
            if not self._course.is_open:
                lane.settle()

    def __del__(self) -> None:
        # How a loop is left by `break`, by `return` or by an exception, and never at its end.
        if self._step is not None:
            self._leave(sys._getframe().f_back)  # noqa: SLF001 - a documented function


class Step:
    """A block that is one step, or a part of the step around it; two threads need one object each."""

    __slots__ = ("_course", "_entered")

    def __init__(self, course: Course) -> None:
        self._course = course
        self._entered: list[tuple[Lane, bool]] = []

    def __enter__(self) -> Self:
        course, lane = self._course, self._course.lane()
        is_whole = course.is_open and lane.step is None
        if is_whole:
            lane.begin(course.scope.now())
        elif not course.is_open:
            course.refuse()
        self._entered.append((lane, is_whole))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        lane, is_whole = self._entered.pop()
        if is_whole:
            lane.end(self._course.scope.now(), error)
        else:
            lane.note(error)


class Phase:
    """A block that is timed; one object may be entered again while it is open, two threads need one each."""

    __slots__ = ("_course", "_entered", "_series")

    def __init__(self, course: Course, series: int) -> None:
        self._course, self._series = course, series
        self._entered: list[tuple[Lane, int]] = []

    def __enter__(self) -> Self:
        lane = self._course.lane()
        lane.settle()
        self._entered.append((lane, self._course.scope.now()))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        course, end_ns = self._course, self._course.scope.now()
        lane, begun_ns = self._entered.pop()
        if course.is_open:
            course.record(self._series, begun_ns, end_ns, error)
            lane.note(error)
        else:
            course.refuse()


def _checked_count(name: str, value: object, *, least: int) -> int:
    count = number(value)
    if type(count) is not int or count < least:
        raise ConfigurationError(f"expected {name} as a whole number that is at least {least}, got {value!r:.60}")
    return count


def _rank() -> dict[str, int]:
    """Return the attribute of this process's rank, where a launcher tells it."""
    for variable in _RANK_VARIABLES:
        told = os.environ.get(variable, "")
        if told.isdecimal() and len(told) <= _LONGEST_RANK:
            return {names.TRAINING_RANK: int(told)}
    return {}
