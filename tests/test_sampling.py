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
from holter.names import (
    INTERNAL_ERRORS,
    METRIC,
    PLACE,
    SAMPLER_INTERVAL,
    SAMPLER_NAME,
    VALUES_NONFINITE,
    VALUES_REFUSED,
)
from holter.recorder import Recorder
from holter.sampling import PATIENCE_SECONDS, SampleRecorder, Samplings
from holter.scope import Scope
from recording import Recording


class Time:
    """A clock that stands still but for what is waited and what a sampler takes."""

    def __init__(self, until_seconds: float) -> None:
        self.now_ns, self.until_ns, self.cpu_ns = 0, round(until_seconds * 1e9), 0
        self.waits: list[float] = []
        self.clock = Clock(monotonic_ns=lambda: self.now_ns, thread_cpu_ns=lambda: self.cpu_ns, wait=self.wait)

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


def sampling(samplers: list[Any], time: Time, **settings: Any) -> Samplings:
    """Let *samplers* be called until *time* is over, in this thread."""
    scope = settings.pop("scope", None) or Scope(time.clock, Recorder())
    made = Samplings(scope, samplers, threading.Event(), lambda _, target: target(), **settings)
    made.start()
    return made


def run(sampler: Any, time: Time) -> None:
    """Run *sampler* until *time* is over."""
    sampling([sampler], time)


def test_samples_at_once_and_then_at_its_interval() -> None:
    """Five seconds and an interval of two: at 0, 2 and 4."""
    time, moments = Time(5), []
    run(Sampler(lambda _: moments.append(time.now_ns / 1e9), 2.0), time)
    assert [0.0, 2.0, 4.0] == moments


def test_beats_come_ahead_of_whole_intervals() -> None:
    """The collector ends an interval when its samples are there, and waits for nobody."""
    time, moments = Time(5), []
    sampling([Sampler(lambda _: moments.append(time.now_ns / 1e9), 2.0)], time, lead_seconds=0.25)
    assert [0.0, 1.75, 3.75] == moments


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
    sampling([Broken(sample)], time, scope=scope)
    assert 3 == len(calls)
    assert 3 == recording.snapshot().find(INTERNAL_ERRORS, {PLACE: "sampler Broken"}).total.sum


def test_each_of_several_keeps_its_own_beat() -> None:
    """One thread for all: who is due is called, the others wait for their turn."""
    time, moments = Time(5), []
    samplers = [
        Sampler(lambda _, name=name: moments.append((name, time.now_ns / 1e9)), seconds)
        for name, seconds in (("a", 2.0), ("b", 1.5), ("c", 10.0))
    ]
    sampling(samplers, time)
    assert [0.0, 2.0, 4.0] == [at for name, at in moments if name == "a"]
    assert [0.0, 1.5, 3.0, 4.5] == [at for name, at in moments if name == "b"]
    assert [("c", 0.0)] == [one for one in moments if one[0] == "c"]


def test_one_that_is_over_its_budget_is_called_less_often_and_told_of(caplog: pytest.LogCaptureFixture) -> None:
    """20 ms of a core a sample in a budget of half a percent: each 4 s; what others do is not touched by it."""
    time, moments, recording = Time(60), [], Recording()
    recording.scope.clock, recording.scope.now = time.clock, time.clock.monotonic_ns

    class Greedy(Sampler):
        pass

    def sample(_: Record) -> None:
        # The first one imports.
        time.cpu_ns += 20_000_000 if moments else 500_000_000
        moments.append(time.now_ns / 1e9)

    calm = Sampler(lambda _: None)
    with caplog.at_level("WARNING", "holter"):
        sampling([Greedy(sample), calm], time, scope=recording.scope)
    assert [0.0, 1.0, 2.0] == moments[:3]
    assert {4.0} == set(np.diff(moments[2:]))
    assert 4.0 == recording.snapshot().find(SAMPLER_INTERVAL, {SAMPLER_NAME: "Greedy"}).total.last
    (line,) = caplog.messages
    assert "Greedy takes 20 ms of CPU time a sample, more than its budget of 0.50% of a core" in line
    assert "each 4 s, not each 1 s" in line


def test_one_that_becomes_cheap_again_has_its_interval_back() -> None:
    """What it costs is a running mean, so that it needs some samples for that."""
    time, moments = Time(200), []

    def sample(_: Record) -> None:
        time.cpu_ns += 20_000_000 if len(moments) in range(1, 4) else 0
        moments.append(time.now_ns / 1e9)

    run(Sampler(sample), time)
    assert 4.0 == max(np.diff(moments))
    assert 1.0 == moments[-1] - moments[-2]


def test_one_that_was_held_up_once_keeps_its_interval(caplog: pytest.LogCaptureFixture) -> None:
    """As by a collection of garbage, which runs in whatever thread allocates; what goes on does cost."""
    time, moments = Time(60), []

    def sample(_: Record) -> None:
        is_dear = len(moments) in (10, 20) or len(moments) >= 30
        time.cpu_ns += 150_000_000 if is_dear else 300_000
        moments.append(time.now_ns / 1e9)

    with caplog.at_level("WARNING", "holter"):
        run(Sampler(sample), time)
    assert [float(second) for second in range(30)] == moments[:30]
    assert len(moments) < 50
    assert 1 == len(caplog.messages)


def test_a_budget_of_its_own_holds_for_a_sampler() -> None:
    """One that names a share of a core has that one."""
    time, moments = Time(20), []

    def sample(_: Record) -> None:
        time.cpu_ns += 20_000_000
        moments.append(time.now_ns / 1e9)

    sampler = Sampler(sample)
    sampler.budget = 0.5  # type: ignore[attr-defined]
    run(sampler, time)
    assert 20 == len(moments)


def test_one_of_the_whole_host_is_called_as_soon_as_this_process_leads() -> None:
    """Not while another one does; within a second of the change, whatever its interval."""
    time, moments = Time(20), []
    host = Sampler(lambda _: moments.append(time.now_ns / 1e9), 10.0)
    host.whole_host = True  # type: ignore[attr-defined]
    sampling([host], time, leads=lambda: 4e9 <= time.now_ns < 15e9)
    assert [4.0, 14.0] == moments


def test_one_that_hangs_stops_no_other() -> None:
    """Its thread is left behind with it and counted; when it comes back it is called by the other thread."""
    recording, hanging, calm = Recording(), threading.Event(), threading.Semaphore(0)
    entered, stopping = threading.Semaphore(0), threading.Event()
    scope, now_ns = recording.scope, [0]

    def wait(event: threading.Event, seconds: float) -> bool:
        now_ns[0] += round(seconds * 1e9)
        return event.wait(0.001)

    scope.clock = Clock(monotonic_ns=lambda: now_ns[0], wait=wait)
    threads: list[threading.Thread] = []

    class Hangs(Sampler):
        pass

    def hang(_: Record) -> None:
        entered.release()
        hanging.wait()

    def spawn(_: str, target: Callable[[], None]) -> None:
        threads.append(threading.Thread(target=target, daemon=True))
        threads[-1].start()

    samplings = Samplings(
        scope,
        [Hangs(hang), Sampler(lambda _: calm.release())],
        stopping,
        spawn,
    )
    samplings.start()
    assert entered.acquire(timeout=30)
    samplings.watch()
    assert 1 == len(threads)
    now_ns[0] += int(PATIENCE_SECONDS * 1e9) + 1
    samplings.watch()
    samplings.watch()
    assert 2 == len(threads)
    assert all(calm.acquire(timeout=30) for _ in range(3))
    assert 1 == recording.snapshot().find(INTERNAL_ERRORS, {PLACE: "sampler Hangs"}).total.sum
    hanging.set()
    assert entered.acquire(timeout=30)
    threads[0].join(30)
    assert not threads[0].is_alive()
    stopping.set()
    threads[1].join(30)


def test_a_strict_one_raises_in_its_thread_and_the_others_go_on() -> None:
    """An error that is to be seen ends its thread; another one takes its place."""
    time, recording, calls, calm = Time(5), Recording(), [], []
    scope = recording.scope
    scope.clock, scope.now, scope.guard.strict = time.clock, time.clock.monotonic_ns, True
    waiting: list[Callable[[], None]] = []

    def broken(_: Record) -> None:
        calls.append(1)
        raise OSError

    samplers = [Sampler(broken, 2.0), Sampler(lambda _: calm.append(1))]
    Samplings(scope, samplers, threading.Event(), lambda _, target: waiting.append(target)).start()
    raised = 0
    while waiting:
        try:
            waiting.pop()()
        except OSError:
            raised += 1
    assert (3, 3, 5) == (len(calls), raised, len(calm))


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


def test_a_sampler_that_can_be_closed_is_when_sampling_ends() -> None:
    """Once, and an error of that harms nobody; others have nothing to close."""
    closed = []

    class Closing(Sampler):
        """One that has opened something."""

        def close(self) -> None:
            """Note it."""
            closed.append(self)
            raise OSError

    run(Closing(lambda _: None), Time(3))
    assert 1 == len(closed)
