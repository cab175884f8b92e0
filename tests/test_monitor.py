"""The monitor: its life, its threads, its judgements, and what it does about trouble."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import Any

import pytest

import holter
from contracts.snapshots import alert
from holter.clock import Clock
from holter.model import Alert, Record, Snapshot
from holter.monitor import Monitor
from holter.names import COLLECTOR_DURATION, EXPORTER_NAME, INTERNAL_ERRORS, OVERHEAD, PLACE, RECORDS_LOST
from holter.recorder import RECORDER
from holter.ring import IMPLEMENTATION
from interruptions import needs_timer
from programs import succeed

SOON = 20.0


def until(condition: Callable[[], object], seconds: float = SOON) -> None:
    """Wait until *condition* holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.002)


def mine() -> list[str]:
    """Return the names of holter's threads."""
    return sorted(thread.name for thread in threading.enumerate() if thread.name.startswith("holter-"))


class Keeper:
    """An exporter that keeps what it gets."""

    def __init__(self, every_seconds: float = 1000.0) -> None:
        self.every_seconds = every_seconds
        self.got: list[Snapshot] = []
        self.alerts: list[Alert] = []
        self.closed = 0

    def export(self, snapshot: Snapshot, alerts: Iterable[Alert]) -> None:
        """Keep both."""
        self.got.append(snapshot)
        self.alerts += alerts

    def close(self, timeout: float) -> None:
        """Count."""
        del timeout
        self.closed += 1


class Judge:
    """A check that says what it is told to."""

    def __init__(self, judge: Callable[[Snapshot], Any]) -> None:
        self._judge = judge

    def judge(self, snapshot: Snapshot) -> Any:
        """Say it."""
        return self._judge(snapshot)


class Sampler:
    """A sampler that does what it is told to."""

    interval_seconds = 0.01

    def __init__(self, sample: Callable[[Record], object]) -> None:
        self._sample = sample

    def sample(self, record: Record) -> None:
        """Do it."""
        self._sample(record)


@pytest.fixture
def monitors() -> Iterator[Callable[..., Monitor]]:
    """Makes monitors, which are stopped at the end."""
    made: list[Monitor] = []

    def make(**given: Any) -> Monitor:
        made.append(Monitor("test", **{"samplers": [], "interval_seconds": 1000.0, **given}))
        return made[-1]

    yield make
    for monitor in made:
        monitor.stop()


def work() -> None:
    """Do nothing."""


# -- life


def test_works_before_start_and_after_stop(monitors: Callable[..., Monitor]) -> None:
    """What is watched is recorded at any time, and read on demand."""
    monitor = monitors()
    watched, counts = monitor.watch(work), []
    for step in (lambda: None, monitor.start, monitor.stop, lambda: None, monitor.start):
        step()
        watched()
        counts.append(monitor.snapshot().find(watched).total.count)
    assert [1, 2, 3, 4, 5] == counts
    assert any(line.split()[:2] == ["work", "5"] for line in str(monitor.summary()).splitlines())


def test_alerts_stay_when_it_has_stopped() -> None:
    """In a group too, which it has left by then: what is printed behind the block tells of the trouble."""
    check = holter.Limit("app.queue.length", "last", above=3)
    with Monitor("test", samplers=[], checks=[check], group="stays") as monitor:
        monitor.gauge("app.queue.length").set(4)
        monitor.flush()
        (fired,) = monitor.alerts()
    assert (fired.id,) == tuple(one.id for one in monitor.alerts())
    assert "app.queue.length is 4, above the limit of 3" in str(monitor.summary())
    assert (fired.id,) == tuple(one.id for one in monitor.alerts())


def test_a_summary_is_made_while_intervals_end(monitors: Callable[..., Monitor]) -> None:
    """It reads one state of the past, however many intervals are added meanwhile."""
    monitor, stopping = monitors().start(), threading.Event()
    watched = [monitor.watch(work, name=f"work {number}") for number in range(4)]

    def end_intervals() -> None:
        while not stopping.wait(0.001):
            for call in watched:
                call()
            monitor.snapshot()

    other = threading.Thread(target=end_intervals)
    other.start()
    try:
        assert all(str(monitor.summary()) for _ in range(40))
    finally:
        stopping.set()
        other.join(SOON)


def test_threads_are_there_from_start_to_stop(monitors: Callable[..., Monitor]) -> None:
    """One collects, one samples, each exporter has one; their names say so; none is left behind."""
    monitor = monitors(exporters=[Keeper()], samplers=[Sampler(lambda _: None)], on_alert=print)
    assert [] == mine()
    monitor.start()
    assert ["holter-AlertCallback", "holter-Keeper", "holter-Notices", "holter-collector", "holter-sampling"] == mine()
    assert all(thread.daemon for thread in threading.enumerate() if thread.name in mine())
    assert monitor.stop()
    assert [] == mine()


def test_a_start_and_a_stop_too_many_change_nothing(monitors: Callable[..., Monitor]) -> None:
    """A monitor that runs goes on running; one that does not has been stopped well."""
    keeper = Keeper()
    monitor = monitors(exporters=[keeper])
    assert monitor.stop()
    assert monitor.start() is monitor is monitor.start()
    assert 3 == len(mine())
    assert [True, True] == [monitor.stop(), monitor.stop()]
    assert 1 == keeper.closed


def test_leaves_with_its_block(monitors: Callable[..., Monitor]) -> None:
    """`with` starts and stops, whatever happens inside, and says which state it is in."""
    monitor = monitors()
    with pytest.raises(KeyError), monitor as entered:  # noqa: PT012 - the state inside is what it is about
        assert (monitor, True, "Monitor('test', running)") == (entered, monitor.is_running, repr(monitor))
        raise KeyError
    assert (False, "Monitor('test', not running)") == (monitor.is_running, repr(monitor))


def test_can_be_started_again(monitors: Callable[..., Monitor]) -> None:
    """Totals go on, and the exporters get what comes in the second run, too."""
    keeper = Keeper()
    monitor = monitors(exporters=[keeper])
    watched = monitor.watch(work)
    for _ in range(3):
        with monitor:
            watched()
    assert [1, 2, 3] == [snapshot.find(watched).total.count for snapshot in keeper.got]
    assert [1, 1, 1] == [snapshot.find(watched).interval.count for snapshot in keeper.got]


def test_says_what_is_on_in_one_line(
    monitors: Callable[..., Monitor], caplog: pytest.LogCaptureFixture, tmp_path: Any
) -> None:
    """What runs and how to look; nothing that is not there."""
    caplog.set_level(logging.INFO, "holter")
    monitors(version="v7", exporters=[holter.LogFile(tmp_path / "a.jsonl")], interval_seconds=2.5).start()
    (line,) = caplog.messages
    where = f"recording: {os.environ['HOLTER_DIR']}/"
    said = ("test v7", "each 2.5 s", IMPLEMENTATION, where, "LogFile", "checks: none", "samplers: none", "summary()")
    assert [] == [words for words in said if words not in line]
    assert not any(said in line for said in ("OpenTelemetry", "Anomaly", "Drift", "top", "group"))


def test_a_snapshot_says_which_process_it_is_of(monitors: Callable[..., Monitor]) -> None:
    """Name, version, attributes, process, host, and a fingerprint that is the same in each."""
    monitor = monitors(version="v7", attributes={"region": "eu"})
    with monitor:
        process = monitor.snapshot().process
    assert ("test", "v7", {"region": "eu"}, os.getpid()) == (
        process.service,
        process.version,
        process.attributes,
        process.pid,
    )
    assert (12, True) == (len(process.fingerprint), "packages" in process.environment)
    assert process is monitor.snapshot().process


def test_monitors_see_only_their_own(monitors: Callable[..., Monitor]) -> None:
    """The same function watched by two, and by one of them alone: each has its own calls."""
    one, other = monitors(), monitors()
    first, second = one.watch(work), other.watch(work)
    with one, other:
        first()
        for _ in range(3):
            second()
        assert [1, 3] == [one.snapshot().find(first).total.count, other.snapshot().find(second).total.count]
    assert not {*one.snapshot().series} & {*other.snapshot().series}


# -- intervals


class FakeTime:
    """A clock for the collector alone: it wakes when the test lets it."""

    def __init__(self) -> None:
        self.now_ns = 10**9
        self.waits: list[float] = []
        self._steps = threading.Semaphore(0)
        self._asleep = threading.Semaphore(0)
        self.clock = Clock(monotonic_ns=lambda: self.now_ns, wait=self._wait)

    def _wait(self, stopping: threading.Event, seconds: float) -> bool:
        self.waits.append(seconds)
        self._asleep.release()
        while not stopping.is_set() and not self._steps.acquire(timeout=0.01):
            pass
        self.now_ns += 0 if stopping.is_set() else round(seconds * 1e9)
        return stopping.is_set()

    def wake(self) -> None:
        """Let the collector have what it waits for, and wait until it waits again."""
        self._steps.release()
        assert self._asleep.acquire(timeout=SOON)

    def settle(self) -> None:
        """Wait until the collector waits for the first time."""
        assert self._asleep.acquire(timeout=SOON)


def test_intervals_end_on_the_beat(monitors: Callable[..., Monitor]) -> None:
    """Each interval one reading, on time; a late one does not delay the next, and none is made up for."""
    time_, seen = FakeTime(), []
    monitor = monitors(
        clock=time_.clock, interval_seconds=1.0, checks=[Judge(lambda snapshot: seen.append(snapshot) or [])]
    )
    monitor.start()
    time_.settle()
    while len(seen) < 3:
        time_.wake()
    time_.now_ns += 2_300_000_000
    while len(seen) < 5:
        time_.wake()
    ends = [(snapshot.monotonic_ns - 10**9) / 1e9 for snapshot in seen]
    assert pytest.approx([1, 2, 3, 5.4, 6], abs=0.26) == ends
    assert [snapshot.interval_ns for snapshot in seen[1:]] == [
        later.monotonic_ns - earlier.monotonic_ns for earlier, later in pairwise(seen)
    ]


@pytest.mark.heavy  # a figure of the machine as much as of the code
def test_a_thread_that_is_fast_loses_little() -> None:
    """Once its ring has grown, a thread with some 100,000 records a second is read nearly whole."""
    program = """
        import json, time, holter
        monitor = holter.start("fast", samplers=[], interval_seconds=1.0)
        ticks = holter.counter("app.ticks")

        def record(seconds):
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                for _ in range(100):
                    ticks.add()
                time.sleep(0.0005)

        record(0.5)
        before, first = monitor.snapshot().lost, monitor.snapshot().find(ticks_name := "app.ticks").total.count
        record(1.0)
        after = monitor.snapshot()
        print(json.dumps([after.lost - before, after.find(ticks_name).total.count - first]))
        monitor.stop()
    """
    lost, written = succeed(program)
    assert written > 10_000
    assert lost <= 0.02 * written


# -- trouble


def test_alerts_fire_once_and_resolve_once(monitors: Callable[..., Monitor]) -> None:
    """Whatever a check repeats: one alert when it fires, one when it resolves, and so for the next time."""
    says = [
        [alert(id="a")],
        [alert(id="a"), alert(id="b", target="embed")],
        [alert(id="a"), alert(id="a")],
        [alert(id="a", state="resolved"), alert(id="c", state="resolved")],
        [alert(id="a", state="resolved")],
        [alert(id="a")],
    ]
    keeper, called = Keeper(), []
    monitor = monitors(
        exporters=[keeper], checks=[Judge(lambda _: says.pop(0) if says else [])], on_alert=called.append
    )
    with monitor:
        while says:
            monitor.snapshot()
        assert monitor.flush(SOON)
        expected = [("a", "firing"), ("b", "firing"), ("a", "resolved"), ("a", "firing")]
        assert expected == [(one.id, one.state) for one in keeper.alerts] == [(one.id, one.state) for one in called]
        assert {"a": "firing", "b": "firing"} == {one.id: one.state for one in monitor.alerts()}
    assert 2 == len(monitor.alerts())


def test_alerts_are_bounded(monitors: Callable[..., Monitor]) -> None:
    """A check that invents alerts for ever keeps 1,000; one that still fires stays among them."""
    numbers = iter(range(10**6))

    def invent(_: Snapshot) -> list[Alert]:
        made = [alert(id=str(next(numbers))) for _ in range(500)]
        return [alert(id="fires"), *made, *[alert(id=one.id, state="resolved") for one in made]]

    with monitors(checks=[Judge(invent)]) as monitor:
        for _ in range(5):
            monitor.snapshot()
        assert 1000 == len(monitor.alerts())
        assert "firing" == {one.id: one.state for one in monitor.alerts()}["fires"]


@pytest.mark.parametrize(
    "wrong", [lambda _: 1 / 0, lambda _: None, lambda _: ["fire"], lambda _: [alert(), object()], lambda _: "abc"]
)
def test_a_check_that_goes_wrong_harms_no_other(wrong: Callable[[Any], Any], monitors: Callable[..., Monitor]) -> None:
    """It is counted; the next check is asked, the figures are exported."""
    keeper = Keeper()
    monitor = monitors(exporters=[keeper], checks=[Judge(wrong), Judge(lambda _: [alert(id="right")])])
    with monitor:
        assert monitor.flush(SOON)
        assert ["right"] == [one.id for one in keeper.alerts]
        errors = monitor.snapshot().find(INTERNAL_ERRORS, {PLACE: "check Judge"})
        assert errors.total.sum >= 1


def test_on_alert_may_raise_and_hang(monitors: Callable[..., Monitor]) -> None:
    """Other exporters get the alert, the program goes on and stops in time."""
    hanging, free, keeper, calls = threading.Event(), threading.Event(), Keeper(), []

    def page(one: Alert) -> None:
        calls.append(one.id)
        if len(calls) == 1:
            raise SystemExit
        hanging.set()
        free.wait()

    says = [[alert(id=name, target=name)] for name in "abc"]
    monitor = monitors(exporters=[keeper], checks=[Judge(lambda _: says.pop(0) if says else [])], on_alert=page)
    with monitor:
        monitor.snapshot()
        until(lambda: calls)
        monitor.snapshot()
        assert hanging.wait(SOON)
        monitor.snapshot()
        begun = time.monotonic()
        assert not monitor.flush(0.1)
        assert not monitor.stop(0.3)
        assert time.monotonic() - begun < SOON
    assert (["a", "b", "c"], ["a", "b"]) == ([one.id for one in keeper.alerts], calls)
    free.set()
    until(lambda: not mine())


def test_a_sampler_that_hangs_hangs_alone(monitors: Callable[..., Monitor]) -> None:
    """Another one samples on, the exporters have all of their time at the end."""
    free, keeper, samples = threading.Event(), Keeper(), []
    monitor = monitors(
        exporters=[keeper], samplers=[Sampler(lambda _: free.wait()), Sampler(samples.append), Sampler(lambda _: 1 / 0)]
    )
    monitor.start()
    watched = monitor.watch(work)
    watched()
    try:
        until(lambda: len(samples) > 3)
        assert monitor.stop(2.0)
        assert (1, 1) == (keeper.got[-1].find(watched).total.count, keeper.closed)
        assert monitor.snapshot().find(INTERNAL_ERRORS, {PLACE: "sampler Sampler"}).total.sum > 1
    finally:
        free.set()
    until(lambda: not mine())


def test_a_collector_that_hangs_leaves_the_exporters_half_of_the_time(monitors: Callable[..., Monitor]) -> None:
    """A gauge whose `read` never comes back: stop returns in time, and exporters are closed."""
    hanging, free, keeper = threading.Event(), threading.Event(), Keeper()

    def read() -> float:
        hanging.set()
        free.wait()
        return 1.0

    monitor = monitors(exporters=[keeper], interval_seconds=0.01)
    monitor.gauge("app.depth", read=read)
    monitor.start()
    assert hanging.wait(SOON)
    begun = time.monotonic()
    assert not monitor.stop(1.0)
    assert (True, 1) == (time.monotonic() - begun < SOON, keeper.closed)
    free.set()
    until(lambda: not mine())


def test_a_gauge_that_is_read_may_raise(monitors: Callable[..., Monitor]) -> None:
    """It is counted, and what is no number is refused."""
    monitor = monitors()
    values = iter([3, "x", None])
    monitor.gauge("app.good", read=lambda: next(values))
    monitor.gauge("app.bad", read=lambda: 1 / 0)
    for _ in range(3):
        monitor.snapshot()
    snapshot = monitor.snapshot()
    assert (1, 3.0) == (snapshot.find("app.good").total.count, snapshot.find("app.good").total.last)
    assert 1 == snapshot.find("holter.values.refused", {"holter.metric": "app.good"}).total.sum
    # The snapshot that follows tells of the one before.
    assert 3 <= monitor.snapshot().find(INTERNAL_ERRORS, {PLACE: "gauge app.bad"}).total.sum


def test_a_failure_is_told_once_in_words(monitors: Callable[..., Monitor], caplog: pytest.LogCaptureFixture) -> None:
    """The first error of each place is logged, the others are counted; so are alerts, at their level."""
    monitor = monitors(checks=[Judge(lambda _: 1 / 0), Judge(lambda _: [alert()])])
    with monitor:
        for _ in range(5):
            monitor.snapshot()
        monitor.flush(SOON)
    told = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert [True] == ["ZeroDivisionError" in text for _, text in told if "check Judge" in text]
    assert ["CRITICAL"] == [level for level, text in told if "predict is slow" in text]


def test_strict_raises_where_it_happens(monitors: Callable[..., Monitor]) -> None:
    """An internal error reaches the caller, for tests and staging; no longer when the monitor has stopped."""
    monitor = monitors(strict=True, checks=[Judge(lambda _: 1 / 0)])
    monitor.start()
    with pytest.raises(ZeroDivisionError):
        monitor.snapshot()
    with pytest.raises(TypeError):
        monitor.tag(a=1)
    with pytest.raises(ZeroDivisionError):
        monitor.stop()
    monitor.settings.checks[0]._judge = lambda _: []
    assert monitor.stop()
    monitor.tag(a=1)


# -- figures of its own


def test_what_nobody_could_read_is_not_lost() -> None:
    """Records from before the first start were never anybody's to lose; the totals have them."""
    program = """
        import json, holter
        work = holter.watch(lambda: None, name="work")
        for _ in range(5000):
            work()
        before = str(holter.summary())
        for _ in range(5000):
            work()
        with holter.start("late", samplers=[]) as monitor:
            snapshot = monitor.snapshot()
        print(json.dumps([snapshot.lost, snapshot.find("holter.records.lost").total.sum,
                          snapshot.find(work).total.count, before, str(holter.summary())]))
    """
    lost, series, count, before, after = succeed(program)
    assert (0, 0, 10_000) == (lost, series, count)
    assert "the last 1,024 of 5,000 records" in " ".join(before.split())
    assert "of 10,0" in " ".join(after.split())


def test_knows_itself(monitors: Callable[..., Monitor]) -> None:
    """Records written and lost, series, the collector's time and holter's share of the CPU are series."""
    monitor = monitors(interval_seconds=0.01)
    watched = monitor.watch(work)
    with monitor:
        until(lambda: watched() or monitor.snapshot().find(OVERHEAD) is not None)
        snapshot = monitor.snapshot()
    assert 0 < snapshot.find(OVERHEAD).total.last <= 1
    assert 0 < snapshot.find(COLLECTOR_DURATION).value("p50") < SOON
    assert snapshot.find("holter.records.written").total.sum >= snapshot.find(watched).total.count
    assert snapshot.lost == snapshot.find(RECORDS_LOST).total.sum
    assert len(RECORDER.table) >= snapshot.find("holter.series").total.last > 5


def test_failures_of_exporters_are_series(monitors: Callable[..., Monitor]) -> None:
    """By the exporter's name."""

    class Broken(Keeper):
        def export(self, snapshot: Snapshot, alerts: Iterable[Alert]) -> None:
            raise OSError(snapshot, alerts)

    with monitors(exporters=[Broken()]) as monitor:
        monitor.flush(SOON)
        found = monitor.snapshot().find("holter.exporter.failures", {EXPORTER_NAME: "Broken"})
    assert 1 == found.total.sum


# -- interruptions


@needs_timer
def test_a_signal_handler_may_use_the_monitor(monitors: Callable[..., Monitor]) -> None:
    """In the middle of a reading of its own thread: what cannot be had is given up in time, nothing hangs."""
    keeper = Keeper()
    monitor, other = monitors(exporters=[keeper]), monitors()
    watched, answers = monitor.watch(work), []
    inside = [False]
    plain = monitor._fold.close

    def interrupted(*arguments: int, now: bool) -> Snapshot:
        if not inside[0]:
            inside[0] = True
            signal.raise_signal(signal.SIGUSR1)
        return plain(*arguments, now=now)

    def handle(*_: object) -> None:
        watched()
        answers.extend([monitor.flush(0.05), other.flush(0.05), monitor.alerts(), other.stop(0.05)])

    before = signal.signal(signal.SIGUSR1, handle)
    monitor._fold.close = interrupted  # type: ignore[method-assign]
    try:
        with monitor, other:
            begun = time.monotonic()
            seen = monitor.snapshot().find(watched).total.count
            assert time.monotonic() - begun < SOON
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert ([False, False, (), False], 1) == (answers, seen)


def test_a_destructor_may_use_the_monitor_from_its_own_threads(monitors: Callable[..., Monitor]) -> None:
    """An object that is collected in the collector's thread flushes and stops: it harms nobody."""
    monitor = monitors(interval_seconds=0.01)
    answers: list[object] = []

    class Dying:
        def __del__(self) -> None:
            answers.append((threading.current_thread().name, monitor.flush(0.05), monitor.stop(0.2)))

    def read() -> float:
        if not answers:
            Dying()
        return 1.0

    monitor.gauge("app.g", read=read)
    monitor.start()
    until(lambda: answers)
    ((name, flushed, _),) = answers
    assert ("holter-collector", False) == (name, flushed)
    until(lambda: not mine())


def test_on_alert_may_stop_the_monitor(monitors: Callable[..., Monitor]) -> None:
    """From its own thread: it cannot wait for itself, and everything ends."""
    stopped: list[bool] = []
    monitor = monitors(checks=[Judge(lambda _: [alert()])], on_alert=lambda _: stopped.append(monitor.stop(0.2)))
    monitor.start()
    monitor.snapshot()
    until(lambda: stopped)
    until(lambda: not mine())
    assert not monitor.is_running


# -- costs


@pytest.mark.heavy  # a figure of the machine as much as of the code
def test_idles_at_nearly_no_cost() -> None:
    """With its default samplers and no calls it takes under a fiftieth of one CPU."""
    program = """
        import json, time, holter
        work = holter.watch(lambda: None, name="work")
        work()
        with holter.start("idle") as monitor:
            time.sleep(0.5)
            begun, cpu = time.monotonic(), time.process_time()
            time.sleep(2)
            print(json.dumps((time.process_time() - cpu) / (time.monotonic() - begun)))
    """
    assert succeed(program) < 0.02


def test_holds_a_bounded_memory(tmp_path: Any) -> None:
    """Readings and exports without end: what the second half of them adds is next to nothing."""
    program = """
        import json, sys, tracemalloc, holter

        work = holter.watch(lambda number: holter.tag(user=number), name="work")
        monitor = holter.start("flat", samplers=[], interval_seconds=1000,
                               exporters=[holter.LogFile(sys.argv[1]), holter.CSVFile(sys.argv[2])])
        tracemalloc.start()
        sizes = []
        for turn in range(40):
            for number in range(100):
                work(number % 20)
            monitor.flush(20)
            sizes.append(tracemalloc.get_traced_memory()[0])
        monitor.stop()
        print(json.dumps(sizes))
    """
    sizes = succeed(program, tmp_path / "log.jsonl", tmp_path / "table.csv")
    assert sizes[-1] - sizes[20] < 100_000
