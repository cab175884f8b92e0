"""Samplers: when they are called, and what becomes of what they hand over."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from holter.clock import Clock
from holter.model import Record
from holter.names import INTERNAL_ERRORS, METRIC, PLACE, VALUES_NONFINITE, VALUES_REFUSED
from holter.recorder import Recorder
from holter.sampling import SampleRecorder, Sampling
from holter.scope import Scope
from recording import Recording


class Time:
    """A clock that stands still but for what is waited and what a sampler takes."""

    def __init__(self, until_seconds: float) -> None:
        self.now_ns, self.until_ns = 0, round(until_seconds * 1e9)
        self.waits: list[float] = []
        self.clock = Clock(monotonic_ns=lambda: self.now_ns, wait=self.wait)

    def wait(self, stopping: threading.Event, seconds: float) -> bool:
        """Let *seconds* pass; stop when the time is over."""
        self.waits.append(seconds)
        self.now_ns += round(seconds * 1e9)
        if self.now_ns >= self.until_ns:
            stopping.set()
        return stopping.is_set()


class Sampler:
    """Does what it is told to each *interval_seconds*."""

    def __init__(self, sample: Callable[[Record], object], interval_seconds: float = 1.0) -> None:
        self.interval_seconds = interval_seconds
        self._sample = sample

    def sample(self, record: Record) -> None:
        """Do it."""
        self._sample(record)


def run(sampler: Any, time: Time) -> None:
    """Run *sampler* until *time* is over."""
    Sampling(Scope(time.clock, Recorder()), sampler, threading.Event()).run()


def test_samples_at_once_and_then_at_its_interval() -> None:
    """Five seconds and an interval of two: at 0, 2 and 4."""
    time, moments = Time(5), []
    run(Sampler(lambda _: moments.append(time.now_ns / 1e9), 2.0), time)
    assert [0.0, 2.0, 4.0] == moments


def test_one_that_takes_its_time_keeps_the_beat() -> None:
    """A sample of 1.5 intervals leaves out one turn and is on time for the next; none is made up for."""
    time, moments = Time(10), []

    def sample(_: Record) -> None:
        moments.append(time.now_ns / 1e9)
        time.now_ns += 1_500_000_000 if len(moments) == 2 else 100_000_000

    run(Sampler(sample), time)
    assert [0.0, 1.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0] == moments
    assert min(time.waits) > 0


def test_one_that_raises_is_counted_and_called_again() -> None:
    """An error is one of holter's own, by the sampler's name."""
    recording, calls = Recording(), []

    class Broken(Sampler):
        pass

    def sample(_: Record) -> None:
        calls.append(1)
        raise OSError

    time = Time(3)
    scope = recording.scope
    scope.clock, scope.now = time.clock, time.clock.monotonic_ns
    Sampling(scope, Broken(sample), threading.Event()).run()
    assert 3 == len(calls)
    assert 3 == recording.snapshot().find(INTERNAL_ERRORS, {PLACE: "sampler Broken"}).total.sum


@pytest.fixture
def recording() -> Recording:
    """What is recorded."""
    return Recording()


@pytest.fixture
def record(recording: Recording) -> SampleRecorder:
    """What a sampler is called with."""
    return SampleRecorder(recording.scope)


def test_a_gauge_is_recorded_as_it_is(recording: Recording, record: SampleRecorder) -> None:
    """With its unit and attributes, Python's numbers and numpy's."""
    record("app.g", 3)
    record("app.g", np.float32(4.5), unit="By", attributes={"a": 1})
    snapshot = recording.snapshot()
    assert (3.0, 4.5) == (
        snapshot.find("app.g", {}).total.minimum,
        snapshot.find("app.g", {"a": 1}).total.last,
    )
    assert {"1", "By"} == {series.unit for key, series in snapshot.series.items() if key in snapshot.total}


def test_of_a_counter_the_growth_is_counted(recording: Recording, record: SampleRecorder) -> None:
    """The first value is where it starts from; a fall is a restart from zero, as of a process that was replaced."""
    for value in (100, 130, 130, 20, 25):
        record("app.c", value, kind="counter")
    record("app.c", 7, kind="counter", attributes={"a": 1})
    assert 55 == recording.snapshot().find("app.c").total.sum


def test_a_histogram_takes_every_value(recording: Recording, record: SampleRecorder) -> None:
    """Each is one of the distribution."""
    for value in (1, 2, 3):
        record("app.h", value, kind="histogram")
    assert (3, 6.0) == (recording.snapshot().find("app.h").total.count, recording.snapshot().find("app.h").total.sum)


@pytest.mark.parametrize("kind", ["counter", "histogram"])
def test_what_is_not_finite_spoils_no_sum(kind: Any, recording: Recording, record: SampleRecorder) -> None:
    """It is counted by metric instead."""
    for value in (1.0, math.nan, math.inf, 3.0):
        record("app.m", value, kind=kind)
    snapshot = recording.snapshot()
    assert {"counter": 2.0, "histogram": 4.0}[kind] == snapshot.find("app.m").total.sum
    assert 2 == snapshot.find(VALUES_NONFINITE, {METRIC: "app.m"}).total.sum


@pytest.mark.parametrize("value", ["3", None, [1], 10**400, 1j])
def test_what_is_no_number_is_refused_and_counted(value: Any, recording: Recording, record: SampleRecorder) -> None:
    """A sampler that hands over rubbish disturbs nothing."""
    record("app.g", value)
    snapshot = recording.snapshot()
    assert 1 == snapshot.find(VALUES_REFUSED, {METRIC: "app.g"}).total.sum
    assert None is snapshot.find("app.g")
