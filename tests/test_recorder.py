"""The recorder of a process: rings that come and go with threads, and what is taken out of them."""

from __future__ import annotations

import gc
import signal
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from holter.names import CALL_NAME
from holter.record import (
    EPOCH_WORD,
    LARGE_CAPACITY,
    PID_WORD,
    RECORD,
    SMALL_CAPACITY,
    STATE_WORD,
    THREAD_WORD,
    Ownership,
)
from holter.recorder import Recorder
from interruptions import interrupted_by, needs_timer
from programs import succeed
from recording import Recording


@pytest.fixture
def recording() -> Recording:
    """A recorder that no other test knows."""
    return Recording()


def in_threads(count: int, target: Callable[..., object]) -> None:
    """Run *target* with 0 to *count* - 1 in as many threads at once."""
    threads = [threading.Thread(target=target, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def in_a_thread(target: Callable[[], object]) -> None:
    """Run *target* in a thread that has ended afterwards."""
    in_threads(1, lambda _: target())


# -- exactness


@pytest.mark.parametrize("calls", [10_000, pytest.param(100_000, marks=[pytest.mark.heavy, pytest.mark.timeout(600)])])
def test_64_threads_are_counted_exactly(calls: int) -> None:
    """Counts and units of 64 threads at once are the program's own, while the collector reads."""
    program = """
        import json, sys, threading, holter
        calls = int(sys.argv[1])
        monitor = holter.start("many", samplers=[], interval_seconds=0.1)

        @holter.watch(units=2)
        def work(number):
            return number

        def loop(first):
            for number in range(first, first + calls):
                work(number)

        threads = [threading.Thread(target=loop, args=(number,)) for number in range(64)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        monitor.stop(30)
        found = monitor.snapshot().find(work)
        read = found.total.histogram.count
        print(json.dumps([found.total.count, found.total.units, read + monitor.snapshot().lost]))
    """
    total = 64 * calls
    assert [total, 2 * total, total] == succeed(program, calls, within=500)


def test_totals_stay_exact_where_records_are_lost() -> None:
    """Four threads with a function of half a microsecond: the totals are exact, and what was not read is counted."""
    program = """
        import json, threading, holter
        monitor = holter.start("fast", samplers=[], interval_seconds=1.0)

        @holter.watch
        def tiny():
            pass

        def loop():
            for _ in range(100_000):
                tiny()

        threads = [threading.Thread(target=loop) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        monitor.stop(30)
        snapshot = monitor.snapshot()
        calls, lost = snapshot.find(tiny).total, snapshot.find("holter.records.lost").total.sum
        written = snapshot.find("holter.records.written").total.sum
        duration = snapshot.find("holter.collector.duration").total
        print(json.dumps([calls.count, calls.count - calls.histogram.count, lost, snapshot.lost,
                          written - calls.count - duration.histogram.count]))
    """
    count, missing, lost, snapshot_lost, others = succeed(program)
    assert 400_000 == count
    assert missing == lost == snapshot_lost > 0
    assert 0 == others


def test_what_overtakes_a_drain_is_read_or_lost(recording: Recording) -> None:
    """While threads come, record and go, and another drains all the time, nothing is read twice or forgotten."""
    work = recording.watch(lambda: None, name="work")
    done = threading.Event()

    def loop(number: int) -> None:
        for _ in range(5):
            in_a_thread(lambda: [work() for _ in range(100 + number)])

    def drain() -> None:
        while not done.is_set():
            recording.drain()

    draining = threading.Thread(target=drain)
    draining.start()
    in_threads(8, loop)
    done.set()
    draining.join()
    total = recording.snapshot().find(work).total
    expected = sum(5 * (100 + number) for number in range(8))
    assert (expected, expected) == (total.count, total.histogram.count + recording.recorder.unread)
    assert expected == recording.recorder.written


# -- threads and rings


def test_a_ring_says_whose_it_is(recording: Recording) -> None:
    """Process, native thread and epoch stand in its header as long as a thread has it, and it is free afterwards."""
    found: list[Any] = []

    def record() -> None:
        ring = recording.scope.ring()
        words = ring.words
        found[:] = [ring, words[STATE_WORD], words[EPOCH_WORD], words[THREAD_WORD] == threading.get_native_id()]

    in_a_thread(record)
    ring = found[0]
    assert [Ownership.OWNED, 1, True] == found[1:]
    assert Ownership.FREE == ring.words[STATE_WORD]
    in_a_thread(record)
    assert [ring, Ownership.OWNED, 2, True] == found
    assert ring.words[PID_WORD] > 0


def test_rings_are_bounded_by_the_threads_at_one_time(recording: Recording) -> None:
    """Ten thousand threads, one after another, share one ring, with one ahead; each is counted."""
    work = recording.watch(lambda: None, name="work")
    for _ in range(10_000):
        in_a_thread(work)
    assert 2 == len(recording.recorder.all)
    assert {} == recording.recorder.rings
    assert 10_000 == recording.snapshot().find(work).total.count


def test_threads_at_one_time_have_a_ring_each(recording: Recording) -> None:
    """Waves of 30 threads that are there together take 30 rings and leave one ahead, not more with each wave."""
    work = recording.watch(lambda: None, name="work")
    rings = []
    for _ in range(5):
        together = threading.Barrier(30)
        in_threads(30, lambda _, together=together: (together.wait(), work(), together.wait()))
        rings.append(len(recording.recorder.all))
    # Threads that come at the same moment may each make one ahead.
    assert 30 < rings[0] <= 60
    assert [rings[0]] * 5 == rings
    assert 150 == recording.snapshot().find(work).total.count


def test_a_ring_with_an_open_call_is_left_alone(recording: Recording) -> None:
    """A thread that ends inside a stream leaves its ring to that stream until it is over, in whatever thread."""

    def numbers() -> Iterator[int]:
        yield 1
        yield 2

    stream = recording.watch(numbers)()
    work = recording.watch(lambda: None, name="work")
    in_a_thread(lambda: next(stream))
    first, _ = recording.recorder.all
    assert Ownership.ORPHANED == first.words[STATE_WORD]
    assert 1 == len(recording.snapshot().open_calls)
    in_a_thread(work)
    assert (2, 1) == (len(recording.recorder.all), first.words[EPOCH_WORD])
    in_a_thread(lambda: list(stream))
    assert () == recording.snapshot().open_calls
    together = threading.Barrier(2)
    in_threads(2, lambda _: (together.wait(), work(), together.wait()))
    assert first.words[EPOCH_WORD] > 1
    assert 3 == recording.snapshot().find(work).total.count


def test_a_stream_moves_between_threads(recording: Recording) -> None:
    """Each item asked for by another thread: one call, all its items, nothing in flight."""

    def numbers() -> Iterator[int]:
        yield from range(50)

    watched = recording.watch(numbers)
    stream, taken = watched(), []
    for _ in range(50):
        in_a_thread(lambda: taken.append(next(stream)))
    in_a_thread(lambda: taken.append(next(stream, None)))
    snapshot = recording.snapshot()
    assert [*range(50), None] == taken
    assert (1, ()) == (snapshot.find(watched).total.count, snapshot.open_calls)
    assert 50 == snapshot.find("holter.stream.items").total.sum


def test_what_ends_after_the_thread_is_recorded_too(recording: Recording) -> None:
    """A destructor among a thread's own data, run when its ring has been given back, takes one again and returns it."""
    work = recording.watch(lambda: None, name="work")

    class Late:
        def __del__(self) -> None:
            work()

    for _ in range(50):
        local = threading.local()

        def use(local: threading.local = local) -> None:
            local.before = Late()
            work()
            local.after = Late()

        in_a_thread(use)
        del local, use
    gc.collect()
    assert 150 == recording.snapshot().find(work).total.count
    assert len(recording.recorder.all) <= 3


def test_of_two_threads_that_overrun_at_once_each_finds_a_larger_ring(recording: Recording) -> None:
    """Also where one takes its ring while the collector counts: one made in a hurry would not lie in the file."""
    recorder, probe = recording.recorder, recording.watch(lambda: None, name="step")
    go = [threading.Semaphore(0) for _ in range(2)]
    done = threading.Semaphore(0)

    def record(place: int) -> None:
        for _ in range(2):
            probe()
            done.release()
            go[place].acquire()

    threads = [threading.Thread(target=record, args=(place,)) for place in range(2)]
    for thread in threads:
        thread.start()
    assert all(done.acquire(timeout=30) for _ in threads)

    class Looked(deque[Any]):
        def __iter__(self) -> Iterator[Any]:
            found = list(super().__iter__())
            if first.is_set():
                first.clear()
                go[0].release()
                assert done.acquire(timeout=30)
            return iter(found)

    first = threading.Event()
    recorder._outgrow(recorder.rings[threads[0].ident])
    recorder._free = Looked(recorder._free)
    first.set()
    recorder._outgrow(recorder.rings[threads[1].ident])
    assert not first.is_set()
    assert 1 == sum(ring.capacity == LARGE_CAPACITY for ring in recorder._free)
    for semaphore in go * 2:
        semaphore.release()
    for thread in threads:
        thread.join(30)


def test_a_thread_that_overruns_its_ring_gets_a_larger_one(recording: Recording) -> None:
    """From the next drain on it has 16,384 records; what it lost before is counted, its open calls go on."""
    outcome: list[Any] = []

    def burst() -> None:
        for _ in range(3 * SMALL_CAPACITY):
            with recording.spans.open("step"):
                pass
        recording.drain()
        for _ in range(LARGE_CAPACITY):
            with recording.spans.open("step"):
                pass
        outcome.append(recording.scope.ring().capacity)

    inner = recording.watch(burst, name="inner")
    outer = recording.watch(lambda: [inner()], name="outer")
    in_a_thread(outer)
    snapshot = recording.snapshot()
    steps = snapshot.find("holter.span.duration", {CALL_NAME: "inner"})
    assert [LARGE_CAPACITY] == outcome
    assert 3 * SMALL_CAPACITY + LARGE_CAPACITY == steps.total.count == snapshot.find("holter.span.duration").total.count
    # The records of the two calls have overtaken as many spans in the ring that is full.
    assert 2 * SMALL_CAPACITY == recording.recorder.unread
    assert {LARGE_CAPACITY, SMALL_CAPACITY} == {ring.capacity for ring in recording.recorder.all}


def test_the_rings_of_a_thread_agree_on_the_call_that_it_is_in(recording: Recording) -> None:
    """After a change of rings in the middle of calls, spans find the innermost call that runs, and none afterwards."""

    def overrun() -> None:
        for _ in range(SMALL_CAPACITY + 1):
            with recording.spans.open("before"):
                pass
        recording.drain()

    inner = recording.watch(overrun, name="inner")

    def two() -> None:
        inner()
        for _ in range(3):
            with recording.spans.open("between"):
                pass
            recording.watch(lambda: None, name="leaf")()

    outer = recording.watch(two, name="outer")

    def three() -> None:
        outer()
        with recording.spans.open("after"):
            pass

    in_a_thread(three)
    snapshot = recording.snapshot()
    spans = {
        (series.attributes["holter.span.name"], series.attributes.get(CALL_NAME)): snapshot.total[key].count
        for key, series in snapshot.series.items()
        if series.name == "holter.span.duration" and key in snapshot.total
    }
    assert {("before", "inner"): SMALL_CAPACITY + 1, ("between", "outer"): 3, ("after", None): 1} == spans


def test_rings_of_different_threads_never_share_a_call() -> None:
    """Threads that take over the two rings of one that has ended stay apart."""
    recording = Recording()
    series = recording.scope.series("app.load", "1", "gauge")

    def overrun() -> None:
        for _ in range(SMALL_CAPACITY + 1):
            recording.scope.ring().put(series, 0, 0.0)
        recording.drain()
        recording.scope.ring()

    in_a_thread(overrun)
    assert 3 == len(recording.recorder.all)
    together, currents = threading.Barrier(3), []

    def take(_: int) -> None:
        together.wait()
        currents.append(recording.scope.ring().current)
        together.wait()

    in_threads(3, take)
    assert 3 == len({id(current) for current in currents})


# -- interruptions


@needs_timer
def test_signals_weak_references_and_destructors_may_record(recording: Recording) -> None:
    """Every 50 microseconds, and at each collection, something else records in the middle: totals are exact."""
    work = recording.watch(lambda: None, name="work")
    counts = {"signal": 0, "del": 0, "weak": 0}

    def count(what: str) -> None:
        counts[what] += 1
        work()
        with recording.spans.open("s"):
            recording.tags.add({"what": what})

    class Node:
        def __init__(self) -> None:
            self.itself = self

        def __del__(self) -> None:
            count("del")

    references = []
    with interrupted_by(lambda: count("signal")):
        for number in range(4_000):
            work()
            if not number % 20:
                references.append(weakref.ref(Node(), lambda _: count("weak")))
            if not number % 500:
                gc.collect()
                references.clear()
                recording.drain()
    gc.collect()
    snapshot = recording.snapshot()
    extra = sum(counts.values())
    assert min(counts.values()) > 10
    assert 4_000 + extra == snapshot.find(work).total.count
    assert extra == snapshot.find("holter.span.duration").total.count
    assert () == snapshot.open_calls


@needs_timer
def test_an_exception_out_of_a_signal_handler_leaves_nothing_open(recording: Recording) -> None:
    """KeyboardInterrupt at any line of a call: it passes, and no call stays in flight or is counted twice."""
    ended = 0

    def busy() -> None:
        nonlocal ended
        for _ in range(20):
            pass
        ended += 1

    work = recording.watch(busy, name="work")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    interrupted = 0
    # An exception out of what the garbage collector calls is lost, and with it the alarm that should end the loop.
    gc.disable()
    try:
        while interrupted < 300:
            try:
                signal.setitimer(signal.ITIMER_REAL, 20e-6 + interrupted * 1e-7)
                while True:
                    work()
            except KeyboardInterrupt:
                interrupted += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        gc.enable()
    # On a busy machine no call may have come as far as to begin.
    work()
    snapshot = recording.snapshot()
    in_flight = snapshot.find("holter.call.active").total.last
    total = snapshot.find(work).total.count
    # A signal that strikes between two calls belongs to none of them.
    assert (0, ()) == (in_flight, snapshot.open_calls)
    assert ended <= total <= ended + interrupted


# -- reading


def test_what_nobody_was_there_to_read_is_not_lost(recording: Recording) -> None:
    """Without a reader overwritten records are unread; from the first drain with one on, they are lost."""
    ring, recorder = recording.scope.ring(), recording.recorder
    series = recording.scope.series("m", "1", "histogram")
    for _ in range(SMALL_CAPACITY + 5):
        ring.write(series, 0, 1.0, 0, 0)
    recording.drain()
    recorder.readers.add(self := object())
    assert (SMALL_CAPACITY + 5, 0, 5) == (recorder.written, recorder.lost, recorder.unread)
    for _ in range(SMALL_CAPACITY + 7):
        ring.write(series, 0, 1.0, 0, 0)
    recording.drain()
    assert (2 * SMALL_CAPACITY + 12, 7, 5) == (recorder.written, recorder.lost, recorder.unread)
    assert recording.snapshot().lost == 7
    recorder.readers.discard(self)


def test_the_fill_rate_is_that_of_the_busiest_ring(recording: Recording) -> None:
    """Half a ring in a twentieth of a second fills ten a second; nothing written, none."""
    ring = recording.scope.ring()
    recording.drain()
    begun = time.monotonic()
    for number in range(SMALL_CAPACITY // 2):
        ring.put(1, number, 0.0)
    while time.monotonic() - begun < 0.05:
        pass
    assert sum(map(len, recording.recorder.drain())) == SMALL_CAPACITY // 2
    rate = 0.5 / (time.monotonic() - begun)
    assert pytest.approx(rate, rel=0.2) == recording.recorder.fill_rate
    recording.drain()
    assert 0 == recording.recorder.fill_rate


def test_one_drains_at_a_time_and_waits_for_itself_only_so_long(recording: Recording) -> None:
    """Who drains has the recorder to itself; a thread that was interrupted while it drained gives up in time."""
    recorder, seen = recording.recorder, []

    def other() -> None:
        with recorder.exclusive(time.monotonic() + 0.05) as is_mine:
            seen.append(is_mine)

    with recorder.exclusive(time.monotonic()) as outer:
        with recorder.exclusive(time.monotonic() + 0.05) as inner:
            seen += [outer, inner]
        in_a_thread(other)
    in_a_thread(other)
    assert [True, False, False, True] == seen


def test_records_come_out_ring_by_ring(recording: Recording) -> None:
    """A drain returns what every thread has written, thread by thread in order."""
    together = threading.Barrier(3)

    def write(number: int) -> None:
        ring = recording.scope.ring()
        together.wait()
        for value in range(100):
            ring.put(number + 1, value, float(value))
        together.wait()

    in_threads(3, write)
    parts = list(recording.recorder.drain())
    assert [{1}, {2}, {3}] == sorted(set(records["series"].tolist()) for records in parts)
    assert [list(range(100))] * 3 == [records["time_ns"].tolist() for records in parts]
    assert [] == list(recording.recorder.drain())
    assert {RECORD} == {records.dtype for records in parts}


def test_open_calls_name_their_thread(recording: Recording) -> None:
    """Each running call is listed with its start, its series and the native id of the thread that it runs in."""
    begun, done, ident = threading.Event(), threading.Event(), []

    def wait() -> None:
        ident.append(threading.get_native_id())
        begun.set()
        done.wait()

    watched = recording.watch(wait, name="waits")
    thread = threading.Thread(target=watched)
    thread.start()
    begun.wait()
    (call,) = recording.snapshot().open_calls
    done.set()
    thread.join()
    assert ("waits", ident[0]) == (call.name, call.thread)
    assert 0 <= call.age_seconds < 60
    assert () == recording.snapshot().open_calls


def test_begins_anew_after_a_fork() -> None:
    """The child's recorder has no ring, no record, no loss and a free lock, and asks who wants to know."""
    recorder, asked = Recorder(), []
    recorder.after_fork.append(lambda: asked.append(len(recorder.all)))
    ring = recorder.attach()
    ring.put(1, 0, 0.0)
    recorder.drain()
    recorder.lock.acquire()
    recorder.readers.add(recorder)
    recorder.forked()
    assert ([0], {}, 0, 0, set()) == (asked, recorder.rings, recorder.written, recorder.lost, recorder.readers)
    assert recorder.lock.acquire(blocking=False)


def test_the_first_record_is_announced_once() -> None:
    """Whoever waits for the first record of a process is called by the thread that makes it, once."""
    recorder, called = Recorder(), []
    recorder.first_record.append(lambda: called.append(threading.get_ident()))
    recorder.attach()
    in_a_thread(recorder.attach)
    assert [threading.get_ident()] == called


def test_each_thread_that_takes_a_ring_is_announced(recording: Recording) -> None:
    """In that thread, before its first record; which is how an event loop that runs there is found."""
    idents: list[int] = []
    recording.recorder.attached.append(lambda: idents.append(threading.get_ident()))
    call = recording.watch(lambda: None)
    threads = [threading.Thread(target=lambda: (call(), call())) for _ in range(3)]
    for thread in threads:
        thread.start()
        thread.join()
    assert 3 == len(idents)
