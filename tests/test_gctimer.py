"""Collections of garbage are timed, by the callbacks of Python's own collector, in C and in Python alike."""

from __future__ import annotations

import gc
import os
import random
import signal
import sys
import time
from array import array
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from contracts.watched import Time
from holter import gctimer
from holter.gctimer import COUNT, GENERATIONS, LENGTH, MOST, PAUSES, TOGETHER_NS, CollectionTimer, timer
from holter.monitor import Monitor
from holter.ring import NATIVE

MS = 1_000_000
NATIVES = [
    pytest.param(None, id="python"),
    pytest.param(NATIVE, id="c", marks=[pytest.mark.skipif(NATIVE is None, reason="there is no extension")]),
]


@pytest.fixture(params=NATIVES)
def used(request: pytest.FixtureRequest) -> Iterator[CollectionTimer]:
    """A timer that is called at each collection."""
    one = CollectionTimer(request.param)
    one.use(one)
    yield one
    one.leave(one)


def words() -> memoryview:
    """Return room for a timer."""
    return memoryview(array("q", bytes(8 * LENGTH)))


def made(native: Any, room: memoryview, now: Callable[[], int]) -> Callable[[str, Any], None]:
    """Return what the collector calls, by a clock of ours."""
    found: Callable[[str, Any], None] = (
        timer(room, now) if native is None else native.CollectionTimer(words=room, clock=now)
    )
    return found


def collect(callback: Callable[[str, Any], None], time: Time, taken_ns: int, generation: int = 0) -> None:
    """Let a collection take so long."""
    callback("start", {"generation": generation, "collected": 0, "uncollectable": 0})
    time.now_ns += taken_ns
    callback("stop", {"generation": generation, "collected": 7, "uncollectable": 0})


def test_a_collection_is_told_once_with_its_generation_and_time(used: CollectionTimer) -> None:
    """As long as it took by the clock of whoever asked for it, at most."""
    before, begun_ns = used.told, time.monotonic_ns()
    gc.collect(1)
    taken_ns = time.monotonic_ns() - begun_ns
    (one,) = used.since(before)
    assert (1, True) == (one.generation, 0 < one.taken_ns <= taken_ns)
    assert [] == used.since(used.told)
    (*_, (began_ns, ended_ns, lost_ns, *_)) = used.rows().tolist()
    assert begun_ns <= began_ns <= ended_ns - lost_ns + TOGETHER_NS
    assert ended_ns <= begun_ns + taken_ns


def test_all_collections_are_counted_as_python_counts_them(used: CollectionTimer) -> None:
    """By generation, whatever made them."""
    before = [one["collections"] for one in gc.get_stats()]
    kept = [[number] for number in range(50_000)]
    gc.collect()
    after = [one["collections"] for one in gc.get_stats()]
    counted = list(used.words[COUNT : COUNT + len(after)])
    assert [last - first for first, last in zip(before, after, strict=True)] == counted
    assert 50_000 == len(kept)


@pytest.mark.parametrize("native", NATIVES)
def test_a_call_stores_numbers_and_makes_nothing_that_the_collector_knows(native: Any) -> None:
    """A thousand collections leave the number of young objects as it is."""
    room = words()
    callback, info = made(native, room, time.monotonic_ns), {"generation": 0}
    collects = gc.isenabled()
    gc.disable()
    try:
        before = gc.get_count()[0]
        for _ in range(1_000):
            callback("start", info)
            callback("stop", info)
        assert abs(gc.get_count()[0] - before) < 10
    finally:
        if collects:
            gc.enable()
    assert 1_000 == room[COUNT]


@pytest.mark.parametrize("native", NATIVES)
def test_short_ones_in_a_row_are_one_pause(native: Any) -> None:
    """So that they don't take the place of a long one: its stretch is longer, what was lost is the sum."""
    clock, room = Time(), words()
    callback, begun_ns = made(native, room, clock), clock.now_ns
    for _ in range(3):
        collect(callback, clock, 1 * MS)
        clock.now_ns += 2 * MS
    clock.now_ns += TOGETHER_NS
    collect(callback, clock, 500 * MS, 2)
    assert 2 == room[PAUSES]
    table = gctimer._TABLE
    assert [begun_ns, begun_ns + 7 * MS, 3 * MS] == list(room[table : table + 3])
    assert 500 * MS == room[table + 7]


def test_the_newest_are_kept_and_all_are_summed_up(used: CollectionTimer) -> None:
    """Of 1,500 the last 1,024 are told one by one."""
    used.leave(used)
    clock = Time()
    callback = made(None if isinstance(used.callback, type(timer)) else NATIVE, used.words, clock)
    used.words[:] = words()
    for number in range(1_500):
        collect(callback, clock, number + 1, number % 3)
        clock.now_ns += TOGETHER_NS
    told = used.since(0)
    assert (MOST, 1_500) == (len(told), told[-1].taken_ns)
    assert sum(range(1, 1_501)) / 1e9 == used.seconds()
    rows = used.rows()
    assert MOST - 1 == len(rows)  # the next one may be there by half
    assert {1_500 - MOST + 2, 1_500} == {int(rows[:, 2].min()), int(rows[:, 2].max())}


@pytest.mark.skipif(NATIVE is None, reason="there is no extension")
def test_c_does_what_python_specifies() -> None:
    """Word for word, over 3,000 collections of all kinds."""
    chance, clocks = random.Random(7), (Time(), Time())
    rooms = words(), words()
    callbacks = [made(native, room, clock) for native, room, clock in zip((None, NATIVE), rooms, clocks, strict=True)]
    for _ in range(3_000):
        taken, generation, rest = chance.randrange(20 * MS), chance.randrange(4), chance.randrange(30 * MS)
        for callback, clock in zip(callbacks, clocks, strict=True):
            if taken % 50:
                collect(callback, clock, taken, generation)
            else:  # put in place in the midst of a collection
                callback("stop", {"generation": generation})
            clock.now_ns += rest
    assert list(rooms[0]) == list(rooms[1])
    assert sum(rooms[0][COUNT : COUNT + GENERATIONS]) > 2_500


@pytest.mark.skipif(NATIVE is None, reason="there is no extension")
def test_what_is_no_collection_is_refused() -> None:
    """By C too, which else would read what is not there; nothing is counted."""
    room = words()
    callback: Any = NATIVE.CollectionTimer(room)
    for arguments in ((), ("stop",), (1, {}), ("stop", 7), ("", {})):
        with pytest.raises(TypeError):
            callback(*arguments)
    with pytest.raises(ValueError, match="aligned words"):
        NATIVE.CollectionTimer(bytearray(64))
    assert 0 == sum(room[COUNT : COUNT + GENERATIONS])


def test_ctrl_c_in_its_clock_is_the_programs() -> None:
    """Python prints what a callback raises and goes on; so it is raised where the program runs."""

    def interrupted() -> int:
        raise KeyboardInterrupt

    callback = timer(words(), interrupted)

    def collected() -> None:
        for _ in range(100):
            callback("start", {})

    # In the background of a shell it is ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            collected()
    finally:
        signal.signal(signal.SIGINT, before)


def test_it_is_in_place_while_anybody_uses_it() -> None:
    """Once, for however many; gone with the last, also where the program has emptied the list."""
    one, users = CollectionTimer(), [object(), object()]
    for user in users * 2:
        one.use(user)
    assert 1 == gc.callbacks.count(one.callback)
    one.leave(users[0])
    assert one.callback in gc.callbacks
    one.leave(users[1])
    assert one.callback not in gc.callbacks
    one.use(users[0])
    gc.callbacks.remove(one.callback)
    one.leave(users[0])
    assert one.callback not in gc.callbacks


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_times_nothing_until_it_asks() -> None:
    """The parent's callback is gone there, and so are its figures."""
    user = object()
    gctimer.COLLECTIONS.use(user)
    gc.collect()
    try:
        child = os.fork()
        if not child:
            is_new = gctimer.COLLECTIONS.callback not in gc.callbacks and not gctimer.COLLECTIONS.told
            gctimer.COLLECTIONS.use(user)
            gc.collect()
            os._exit(0 if is_new and gctimer.COLLECTIONS.told == 1 else 1)
        assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert gctimer.COLLECTIONS.callback in gc.callbacks
    finally:
        gctimer.COLLECTIONS.leave(user)


def test_collections_in_the_midst_of_recording_spoil_nothing(used: CollectionTimer) -> None:
    """At a threshold of 1, allocations within calls and spans collect; all calls are counted."""
    monitor = Monitor("test", samplers=[], recording=False)

    @monitor.watch(name="call")
    def call() -> list[int]:
        with monitor.span("part"):
            return [1]

    thresholds = gc.get_threshold()
    gc.collect()
    gc.freeze()  # what is there already is not gone through again and again
    before = used.told
    gc.set_threshold(1, 1, 1)
    try:
        for _ in range(500):
            call()
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()
    found = monitor.snapshot().find(call)
    assert found is not None
    assert 500 == found.total.count
    # Without a GIL there is a rule of another kind for when to collect.
    assert used.told - before > 10 or not getattr(sys, "_is_gil_enabled", lambda: True)()
