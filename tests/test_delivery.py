"""The mailbox of an exporter: what it gets when it is slow, fails or hangs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from contracts.snapshots import Story, alert
from holter.delivery import DEADLINE_SECONDS, MOST_ALERTS, MOST_SLOW_CALLS, Delivery
from holter.model import Alert, SlowCall, Snapshot
from holter.names import EXPORTER_DROPPED, EXPORTER_FAILURES, EXPORTER_NAME
from recording import Recording

SOON = 20.0


class Collector:
    """An exporter that keeps what it gets, and does first what it is told to."""

    def __init__(self, first: Callable[[], object] = lambda: None, every_seconds: float = 10.0) -> None:
        self.every_seconds = every_seconds
        self.first = first
        self.got: list[tuple[Snapshot, list[Alert]]] = []
        self.closed: list[float] = []

    def export(self, snapshot: Snapshot, alerts: Iterable[Alert]) -> None:
        """Keep both."""
        self.first()
        self.got.append((snapshot, list(alerts)))

    def close(self, timeout: float) -> None:
        """Keep the timeout."""
        self.closed.append(timeout)


class Bench:
    """A delivery in its thread, and a program whose seconds are told by the test."""

    def __init__(self, exporter: Any) -> None:
        self.recording = Recording()
        self.delivery = Delivery(self.recording.scope, exporter)
        self.thread = threading.Thread(target=self.delivery.run, daemon=True)
        self.thread.start()
        self.story, self.seconds = Story(), 0.0

    def snapshot(self, seconds: float = 1.0) -> Snapshot:
        """Return the snapshot of an interval with one call in it."""
        self.story.call("predict", [0.5])
        self.seconds += seconds
        snapshot = self.story.snapshot(seconds)
        object.__setattr__(snapshot, "monotonic_ns", round(self.seconds * 1e9))
        return snapshot

    def offer(self, *alerts: Alert, seconds: float = 1.0, now: bool = False) -> None:
        """Offer the next interval and wait until it is done with, if it is due."""
        self.delivery.offer(self.snapshot(seconds), alerts, now=now)
        assert self.delivery.wait_until_idle(time.monotonic() + SOON)

    def close(self) -> bool:
        """Close, wait and say whether that came about."""
        self.delivery.close(time.monotonic() + SOON)
        self.thread.join(SOON)
        return self.delivery.is_closed and not self.thread.is_alive()

    def counted(self, name: str) -> float:
        """Return what has been counted of this exporter."""
        found = self.recording.snapshot().find(name, {EXPORTER_NAME: self.delivery.name})
        return 0 if found is None else found.total.sum


@pytest.fixture
def exporter() -> Collector:
    """An exporter that is due each ten seconds."""
    return Collector()


@pytest.fixture
def bench(exporter: Collector) -> Iterator[Bench]:
    """Its delivery."""
    made = Bench(exporter)
    yield made
    assert made.close()


def counts(exporter: Collector) -> list[int]:
    """Return how many calls the interval of each export has."""
    return [sum(reading.count for reading in snapshot.interval.values()) for snapshot, _ in exporter.got]


def test_exports_when_it_is_due_and_all_since_then(bench: Bench, exporter: Collector) -> None:
    """Each ten seconds one export, whose interval covers all ten."""
    for _ in range(30):
        bench.offer()
    assert [10, 10, 10] == counts(exporter)
    assert [10, 20, 30] == [sum(reading.count for reading in one.total.values()) for one, _ in exporter.got]
    assert [10_000_000_000] * 3 == [snapshot.interval_ns for snapshot, _ in exporter.got]


def test_exports_at_once_when_flushed_or_alerted(bench: Bench, exporter: Collector) -> None:
    """An alert does not wait for its turn, and brings the figures along."""
    bench.offer()
    bench.offer(alert(id="a"))
    bench.offer()
    bench.offer(now=True)
    assert [2, 2] == counts(exporter)
    assert [["a"], []] == [[one.id for one in alerts] for _, alerts in exporter.got]


def test_one_that_raises_gets_all_of_it_later() -> None:
    """What failed is merged with what comes, counted, and given at the next turn; no alert is forgotten."""
    failing = [True, True, False]

    def fail() -> None:
        if failing.pop(0):
            raise OSError("full")

    exporter = Collector(fail)
    bench = Bench(exporter)
    bench.offer(alert(id="a"), now=True)
    bench.offer(alert(id="b"), now=True)
    bench.offer(now=True)
    assert [3] == counts(exporter)
    assert [["a", "b"]] == [[one.id for one in alerts] for _, alerts in exporter.got]
    assert (2, True) == (bench.counted(EXPORTER_FAILURES), bench.close())
    assert {"exporter Collector"} == set(bench.recording.scope.guard.first)


@pytest.mark.parametrize("error", [SystemExit, GeneratorExit, MemoryError])
def test_whatever_it_raises_its_thread_lives_on(error: type[BaseException]) -> None:
    """An exporter that wants to end the program ends nothing."""
    errors = [error]

    def fail() -> None:
        if errors:
            raise errors.pop()

    exporter = Collector(fail)
    bench = Bench(exporter)
    bench.offer(now=True)
    bench.offer(now=True)
    assert ([2], 1) == (counts(exporter), bench.counted(EXPORTER_FAILURES))
    assert bench.close()


def test_one_that_hangs_holds_up_nobody() -> None:
    """Offers return at once, waits keep to their deadline, intervals merge, alerts beyond 1,000 are counted."""
    begun, free = threading.Event(), threading.Event()
    exporter = Collector(lambda: (begun.set(), free.wait()))
    bench = Bench(exporter)
    bench.delivery.offer(bench.snapshot(), now=True)
    begun.wait()
    started = time.monotonic()
    for number in range(MOST_ALERTS + 50):
        bench.delivery.offer(bench.snapshot(), [alert(id=str(number))])
    assert not bench.delivery.wait_until_idle(time.monotonic() + 0.05)
    bench.delivery.close(time.monotonic() + 0.05)
    bench.thread.join(0.05)
    assert (False, True) == (bench.delivery.is_closed, time.monotonic() - started < SOON)
    assert 50 == bench.counted(EXPORTER_DROPPED)
    free.set()
    bench.thread.join(SOON)
    assert [1, MOST_ALERTS + 50] == counts(exporter)
    assert [str(number) for number in range(50, MOST_ALERTS + 50)] == [one.id for one in exporter.got[1][1]]


def test_one_that_takes_too_long_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """An export of more than thirty seconds is a failure, although it may still end well."""
    begun, free = threading.Event(), threading.Event()
    bench = Bench(Collector(lambda: (begun.set(), free.wait())))
    bench.delivery.offer(bench.snapshot(), now=True)
    begun.wait()
    real = time.monotonic
    monkeypatch.setattr("holter.delivery.time.monotonic", lambda: real() + DEADLINE_SECONDS + 1)
    for _ in range(3):
        bench.delivery.offer(bench.snapshot())
    monkeypatch.undo()
    assert 1 == bench.counted(EXPORTER_FAILURES)
    free.set()
    assert bench.close()
    assert 1 == bench.counted(EXPORTER_FAILURES)


def test_a_close_exports_what_is_due_and_gives_the_time_that_is_left() -> None:
    """What was offered to be exported now is, before the exporter is closed once, in its own thread."""
    threads: list[int] = []
    exporter = Collector(lambda: threads.append(threading.get_ident()))
    bench = Bench(exporter)
    bench.delivery.offer(bench.snapshot(), [alert()], now=True)
    assert bench.close()
    assert [1] == counts(exporter)
    assert [bench.thread.ident] == threads
    ((timeout,)) = exporter.closed
    assert 0 < timeout <= SOON


def test_an_exporter_that_cannot_close_is_closed_all_the_same() -> None:
    """An error of `close` is counted like any other."""

    class Stubborn(Collector):
        def close(self, timeout: float) -> None:
            raise RuntimeError(timeout)

    bench = Bench(Stubborn())
    assert bench.close()
    assert {"exporter Stubborn close"} == set(bench.recording.scope.guard.first)


def test_what_the_exporter_costs_is_known() -> None:
    """The CPU time of its thread is told after each export."""

    def burn() -> None:
        begun = time.thread_time()
        while time.thread_time() - begun < 0.02:
            pass

    bench = Bench(Collector(burn))
    bench.offer(now=True)
    assert bench.delivery.cpu_ns >= 20_000_000
    assert bench.close()


def test_a_wait_in_the_middle_of_an_offer_is_no_deadlock(exporter: Collector, bench: Bench) -> None:
    """A signal handler that flushes may strike while the same thread holds the mailbox."""
    with bench.delivery._changed:
        bench.delivery.offer(bench.snapshot(), now=True)
        assert bench.delivery.wait_until_idle(time.monotonic() + SOON)
    assert [1] == counts(exporter)


class Tracer(Collector):
    """An exporter that wants slow calls too."""

    slower_than_seconds = 0.5

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.traced: list[list[int]] = []
        self.threads: set[int] = set()

    def trace(self, calls: list[SlowCall]) -> None:
        """Keep their numbers."""
        self.traced.append([call.number for call in calls])
        self.threads.add(threading.get_ident())
        self.first()


def slow(*numbers: int) -> tuple[SlowCall, ...]:
    """Return slow calls with these numbers."""
    return tuple(SlowCall(number, "predict", 1, 0, 1) for number in numbers)


def test_slow_calls_come_each_interval_and_each_once() -> None:
    """In the exporter's own thread, whether an export is due or not, and before the one that is."""
    exporter = Tracer()
    bench = Bench(exporter)
    for numbers in ((1, 2), (1, 2), (1, 2, 3), (2, 3, 4)):
        bench.delivery.offer(replace(bench.snapshot(), slow_calls=slow(*numbers)))
        assert bench.delivery.wait_until_idle(time.monotonic() + SOON)
    assert [[1, 2], [3], [4]] == exporter.traced
    assert [] == exporter.got
    assert {bench.thread.ident} == exporter.threads
    bench.delivery.offer(replace(bench.snapshot(), slow_calls=slow(5)), now=True)
    assert bench.close()
    assert [5] == exporter.traced[-1]
    assert [5] == counts(exporter)


def test_an_exporter_that_cannot_trace_exports_all_the_same() -> None:
    """The trouble is counted, and the calls are not offered again."""

    def fail() -> None:
        if len(exporter.traced) == 1:
            raise RuntimeError

    exporter = Tracer(first=fail)
    bench = Bench(exporter)
    for numbers in ((1,), (1, 2)):
        bench.delivery.offer(replace(bench.snapshot(), slow_calls=slow(*numbers)))
        assert bench.delivery.wait_until_idle(time.monotonic() + SOON)
    assert [[1], [2]] == exporter.traced
    assert {"exporter Tracer trace"} == set(bench.recording.scope.guard.first)
    bench.offer(now=True)
    assert [3] == counts(exporter)
    assert bench.close()


def test_slow_calls_wait_in_bounded_number_for_an_exporter_that_hangs() -> None:
    """The newest five hundred."""
    begun, free = threading.Event(), threading.Event()

    def hang() -> None:
        begun.set()
        free.wait()

    exporter = Tracer(first=hang)
    bench = Bench(exporter)
    bench.delivery.offer(replace(bench.snapshot(), slow_calls=slow(1)))
    assert begun.wait(SOON)
    for first in range(2, 1_000, 100):
        bench.delivery.offer(replace(bench.snapshot(), slow_calls=slow(*range(first, first + 100))))
    free.set()
    assert bench.delivery.wait_until_idle(time.monotonic() + SOON)
    assert bench.close()
    told = [number for numbers in exporter.traced for number in numbers]
    assert [1, *range(1_001 - MOST_SLOW_CALLS + 1, 1_002)] == told


def test_calls_are_noted_as_long_as_the_exporter_lives() -> None:
    """From the moment that it has a mailbox until its thread has ended; it is told of none from before."""
    recording = Recording()
    recording.scope.notes.newest = 7
    exporter = Tracer()
    delivery = Delivery(recording.scope, exporter)
    assert recording.scope.notes.is_wanted
    assert [exporter] == recording.scope.notes.wishes
    thread = threading.Thread(target=delivery.run)
    thread.start()
    delivery.offer(replace(Story().snapshot(), slow_calls=slow(6, 7, 8)))
    delivery.close(time.monotonic() + SOON)
    thread.join(SOON)
    assert [[8]] == exporter.traced
    assert not recording.scope.notes.is_wanted


def test_slow_calls_that_are_noted_for_their_causes_are_not_traced() -> None:
    """An exporter that traces would tell of a trace that nobody keeps."""
    exporter = Tracer()
    bench = Bench(exporter)
    one, other = slow(1, 2)
    bench.delivery.offer(replace(bench.snapshot(), slow_calls=(replace(one, is_traced=False), other)))
    assert bench.delivery.wait_until_idle(time.monotonic() + SOON)
    assert [[2]] == exporter.traced
    assert bench.close()
