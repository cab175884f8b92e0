"""What was noted of slow calls becomes SlowCalls, with their stages and what is around them; and what slow is."""

from __future__ import annotations

import asyncio
import time as clocks
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from opentelemetry.sdk.trace import TracerProvider

from contracts.watched import Time, internal_errors, values
from holter import names
from holter.clock import Clock
from holter.fold import ROUTER
from holter.model import Pause, SlowCall
from holter.monitor import Monitor
from holter.names import CAUSE_LOOP_LAG as LOOP_LAG
from holter.names import CAUSE_THROTTLING as THROTTLING
from holter.noted import LIMIT, NEVER
from holter.pauses import PAUSES
from holter.slowfold import FEWEST_CALLS, MOST_LEARNT, MOST_RECENT, MOST_RECORDS, MOST_STAGES

SECOND = 1_000_000_000
WALL = 1_790_000_000 * SECOND


class All:
    """What an exporter says that wants all calls slower than so much."""

    def __init__(self, seconds: float | None = 0.5, *, traces_all: bool = True) -> None:
        self.slower_than_seconds, self.traces_all = seconds, traces_all


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def monitor(time: Time) -> Monitor:
    """A program that began an hour before now, by a clock on the wall that runs with the other one."""
    begun = time()
    one = Monitor(
        "test",
        samplers=[],
        recording=False,
        clock=Clock(monotonic_ns=time, wall_ns=lambda: WALL + time() - begun),
    )
    one._scope.notes.add("spans", All())
    return one


def limit(monitor: Monitor) -> int:
    """Return what is slow in the only watched function."""
    (gate,) = monitor._scope.notes.gates.values()
    words: memoryview = gate.words
    return int(words[LIMIT])


def flushed(monitor: Monitor) -> tuple[SlowCall, ...]:
    """Return the slow calls of a snapshot that waits for nothing."""
    taken = monitor._turn_over(clocks.monotonic() + 10, now=True)
    assert taken is not None
    return taken.slow_calls


def test_a_slow_call_is_told_with_its_times_and_stages(monitor: Monitor, time: Time) -> None:
    """To the nanosecond, by the clock on the wall; stages that were read intervals before are there too."""

    @monitor.watch
    def predict() -> None:
        for name, seconds in (("load", 3.0), ("run", 2.5), ("run", 0.25)):
            with monitor.span(name):
                time.spend(seconds)
            monitor.snapshot()
        with suppress(ValueError), monitor.span("store"):
            raise ValueError("secret")

    predict()
    (call,) = monitor.snapshot().slow_calls
    assert ("predict", WALL, WALL + round(5.75 * SECOND), "ok") == (
        call.call.rpartition(".")[2],
        call.start_ns,
        call.end_ns,
        call.outcome,
    )
    stages = [(one.name, (one.start_ns - WALL) / 1e9, one.seconds, one.outcome, one.error_type) for one in call.stages]
    assert [
        ("load", 0.0, 3.0, "ok", ""),
        ("run", 3.0, 2.5, "ok", ""),
        ("run", 5.5, 0.25, "ok", ""),
        ("store", 5.75, 0.0, "error", "ValueError"),
    ] == stages
    assert "secret" not in repr(call)


def test_a_call_is_told_as_the_series_that_counts_it(monitor: Monitor, time: Time) -> None:
    """With its tags, its outcome and the class of its error."""

    @monitor.watch(name="predict")
    def predict() -> None:
        monitor._tags.add({"model": "v7"})
        raise ValueError("secret")

    with suppress(ValueError):
        predict()
    snapshot = monitor.snapshot()
    (call,) = snapshot.slow_calls
    assert snapshot.series[call.series].attributes == call.attributes
    assert ("v7", "error", "ValueError") == (call.attributes["model"], call.outcome, call.error_type)
    assert 1 == snapshot.total[call.series].count


def test_stages_of_other_calls_are_not_taken(monitor: Monitor, time: Time) -> None:
    """Not of a call 2**32 ns earlier, whose id is the same; not those that a task left behind has ended later."""
    left_behind = []

    @monitor.watch(name="predict")
    def predict(*, leaves: bool = False) -> None:
        with monitor.span("run"):
            time.spend(1.0)
        if leaves:
            span = monitor.span("left behind")
            span.__enter__()
            left_behind.append(span)

    predict()
    time.now_ns += 2**32 - SECOND
    predict(leaves=True)
    time.spend(1.0)
    left_behind[0].__exit__(None, None, None)
    calls = monitor.snapshot().slow_calls
    assert [["run"], ["run"]] == [[stage.name for stage in call.stages] for call in calls]
    assert [call.start_ns for call in calls] == [call.stages[0].start_ns for call in calls]


def test_the_longest_stages_are_kept(monitor: Monitor, time: Time) -> None:
    """Fifty of them; how many more there were is said."""

    @monitor.watch
    def predict() -> None:
        for number in range(MOST_STAGES + 20):
            with monitor.span("odd" if number % 7 else "long"):
                time.spend(0.01 if number % 7 else 0.1)

    predict()
    (call,) = monitor.snapshot().slow_calls
    assert (MOST_STAGES, 20) == (len(call.stages), call.stages_left_out)
    assert 10 == [stage.name for stage in call.stages].count("long")
    starts = [stage.start_ns for stage in call.stages]
    assert sorted(starts) == starts


def nested(monitor: Monitor, time: Time, between: Any = None) -> Any:
    """Return a watched call with a slow one inside."""

    @monitor.watch(name="inner")
    def inner() -> None:
        time.spend(1.0)

    @monitor.watch(name="outer")
    def outer(then: Any = lambda: None) -> None:
        time.spend(0.1)
        if between is None:
            inner()
        else:
            with between:
                inner()
        then()

    return outer


def test_a_slow_call_inside_another_is_told_with_it(monitor: Monitor, time: Time) -> None:
    """It is waited with while the one around it runs, and comes after it."""
    seen: list[tuple[SlowCall, ...]] = []
    nested(monitor, time)(lambda: seen.append(monitor.snapshot().slow_calls))
    outer, inner = monitor.snapshot().slow_calls
    assert [()] == seen
    assert ("outer", "inner", 0, outer.number) == (outer.call, inner.call, outer.inside, inner.inside)


def test_it_is_not_waited_for_long(monitor: Monitor, time: Time) -> None:
    """After five seconds, or where a flush wants all, it is told alone: the one around may run for ever."""
    seen: list[list[int]] = []

    def wait() -> None:
        time.spend(5.0)
        seen.append([call.inside for call in monitor.snapshot().slow_calls])
        time.spend(0.1)
        seen.append([call.inside for call in monitor.snapshot().slow_calls])

    nested(monitor, time)(wait)
    nested(monitor, time)(lambda: seen.append([call.inside for call in flushed(monitor)]))
    assert [[], [0], [0, 0, 0]] == [told if len(told) < 2 else told[:3] for told in seen]


def test_a_call_in_a_span_of_the_programs_is_part_of_that(monitor: Monitor, time: Time) -> None:
    """Though the span lies in a slow call, which is beside it then: that one was made into a span afterwards."""
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("program")
    with tracer.start_as_current_span("around") as around:
        nested(monitor, time, tracer.start_as_current_span("between"))()
        nested(monitor, time)()
    outer, inner, second, within = monitor.snapshot().slow_calls
    assert (0, 0, second.number) == (outer.inside, inner.inside, within.inside)
    ids = around.get_span_context()
    assert {ids.trace_id} == {one.trace_id for one in (outer, inner, second, within)}
    assert [ids.span_id] * 3 == [one.span_id for one in (outer, second, within)]
    assert inner.span_id not in (0, ids.span_id)


def test_numbers_rise_and_the_newest_are_kept(monitor: Monitor, time: Time) -> None:
    """Five hundred of them, in one snapshot after the other."""
    calls = [monitor.watch(time.spend, name=f"call {number}") for number in range(10)]
    for _ in range(60):
        for call in calls:
            call(1.0)
        shown = monitor.snapshot().slow_calls
    numbers = [call.number for call in shown]
    assert list(range(numbers[-1] - MOST_RECENT + 1, numbers[-1] + 1)) == numbers
    assert numbers[-1] >= 600


def test_records_of_spans_are_bounded(monitor: Monitor, time: Time) -> None:
    """However many stages one call has while it runs."""

    @monitor.watch
    def predict() -> None:
        for _ in range(30):
            for _ in range(5_000):
                with monitor.span("run"):
                    time.now_ns += 100
                if not _ % 500:
                    monitor._drain()
            monitor.snapshot()
        time.spend(1.0)

    predict()
    fold = monitor._fold.slow
    assert sum(map(len, (*fold._kept, *fold._fresh))) <= MOST_RECORDS + 5_000
    (call,) = monitor.snapshot().slow_calls
    assert MOST_STAGES == len(call.stages)
    monitor.snapshot()
    monitor.snapshot()
    assert ([], []) == (fold._kept, fold._claimed)


def test_slow_is_beyond_99_of_100_calls(monitor: Monitor, time: Time) -> None:
    """Of those of the last minute, or of as many as it takes; less than a hundred tell nothing."""
    monitor._scope.notes.drop("spans")
    monitor._scope.notes.add("spans", All(None))
    call = monitor.watch(time.spend, name="call")
    values = np.random.default_rng(5).lognormal(-5, 1, 1_000)
    for value in values[: FEWEST_CALLS - 1].tolist():
        call(value)
    monitor.snapshot()
    assert NEVER == limit(monitor)
    for value in values[FEWEST_CALLS - 1 :].tolist():
        call(value)
    monitor.snapshot()
    p99 = float(np.quantile(values, 0.99, method="inverted_cdf"))
    assert p99 <= limit(monitor) / 1e9 <= p99 * 1.023


def test_calls_that_take_the_same_are_not_slow(monitor: Monitor, time: Time) -> None:
    """Else half of them were slower than what 99 of 100 take."""
    monitor._scope.notes.drop("spans")
    monitor._scope.notes.add("spans", All(None))
    call = monitor.watch(time.spend, name="call")
    for seconds in (0.1, 0.1004, 0.0998):
        for _ in range(200):
            call(seconds)
        monitor.snapshot()
    for _ in range(20):
        call(0.1)
    call(0.2)
    (slow,) = monitor.snapshot().slow_calls
    assert 0.2 == slow.seconds


def test_what_was_usual_is_forgotten_after_two_minutes(monitor: Monitor, time: Time) -> None:
    """A service that has become slower has another measure of slow then."""
    monitor._scope.notes.drop("spans")
    monitor._scope.notes.add("spans", All(None))
    call = monitor.watch(time.spend, name="call")
    for seconds in (1.0, 0.01, 0.01):
        for _ in range(200):
            call(seconds)
        time.spend(61.0)
        monitor.snapshot()
    call(0.01)
    monitor.snapshot()
    assert 0.01 <= limit(monitor) / 1e9 <= 0.0103


def test_where_nobody_asks_any_more_nothing_is_kept(monitor: Monitor, time: Time) -> None:
    """Neither records nor what is usual; what was told stays."""
    call = nested(monitor, time)
    call()
    before = monitor.snapshot().slow_calls
    monitor._scope.notes.drop("spans")
    call()
    assert before == monitor.snapshot().slow_calls
    fold = monitor._fold.slow
    assert ({}, [], [], []) == (fold._usual, fold._kept, fold._fresh, fold._claimed)


def test_how_many_had_no_room_is_a_figure(monitor: Monitor, time: Time) -> None:
    """Of its own, once there are some."""
    call = monitor.watch(time.spend, name="call")
    call(1.0)
    assert monitor.snapshot().find("holter.slow_calls.dropped") is None
    for _ in range(25):
        call(1.0)
    found = monitor.snapshot().find("holter.slow_calls.dropped")
    assert found is not None
    assert 15 == found.total.sum


def test_of_many_functions_some_are_learnt_an_interval(monitor: Monitor, time: Time) -> None:
    """In turns, so that after some intervals each has a limit."""
    monitor._scope.notes.drop("spans")
    monitor._scope.notes.add("spans", All(None))
    calls = [monitor.watch(time.spend, name=f"call {number}") for number in range(MOST_LEARNT + 50)]
    limits = []
    for _ in range(2):
        for call in calls:
            for _ in range(FEWEST_CALLS):
                call(0.01)
            monitor._drain()
        monitor.snapshot()
        gates = monitor._scope.notes.gates.values()
        limits.append(sum(gate.words[LIMIT] != NEVER for gate in gates))
    assert [MOST_LEARNT, MOST_LEARNT + 50] == limits


def test_trouble_with_slow_calls_costs_no_figure(monitor: Monitor, time: Time) -> None:
    """It is counted, and the snapshot is there without them."""
    call = monitor.watch(time.spend, name="call")
    call(1.0)
    object.__setattr__(monitor._fold.slow, "_recent", None)
    snapshot = monitor.snapshot()
    assert () == snapshot.slow_calls
    found = snapshot.find(call)
    assert found is not None
    assert 1 == found.total.count
    assert {"slow calls"} == internal_errors(monitor.snapshot()).keys()


def test_what_ends_while_an_interval_ends_is_told_with_what_is_inside(monitor: Monitor, time: Time) -> None:
    """In the next interval, since the records of its stages are read there."""
    outer = nested(monitor, time)
    closed = []

    def end_interval() -> None:
        # What a collector does in turn, while the call around ends in the midst of it.
        ROUTER.drain()

    outer(end_interval)
    closed.append(monitor._fold.close(time(), WALL).slow_calls)
    closed.append(monitor.snapshot().slow_calls)
    assert [[], ["outer", "inner"]] == [[call.call for call in told] for told in closed]
    whole, inside = closed[1]
    assert whole.number == inside.inside


def test_the_first_calls_of_an_interval_keep_their_stages(monitor: Monitor, time: Time) -> None:
    """However many spans come after them: the calls that are noted are the first ones."""

    @monitor.watch
    def predict(seconds: float) -> None:
        with monitor.span("run"):
            time.spend(seconds)

    predict(1.0)
    for turn in range(MOST_RECORDS + 1_000):
        predict(0.000001)
        if not turn % 500:
            monitor._drain()
    (call,) = monitor.snapshot().slow_calls
    assert ["run"] == [stage.name for stage in call.stages]
    assert sum(map(len, monitor._fold.slow._kept)) <= MOST_RECORDS


class Sampler:
    """What keeps pauses, as a test says, and has looked around until now."""

    def __init__(self, time: Time) -> None:
        PAUSES.claim(self)
        self.time = time
        self.look()

    def look(self) -> None:
        """Say that all is known until now."""
        PAUSES.seen_ns = self.time.now_ns


@pytest.fixture
def sampler(time: Time) -> Iterator[Sampler]:
    yield Sampler(time)
    PAUSES.forget()


def lost(monitor: Monitor) -> tuple[float | None, ...]:
    """Return the figures of what calls have lost to throttling."""
    return values(monitor.snapshot(), names.CALL_PAUSE, **{names.PAUSE_CAUSE: THROTTLING})


def test_a_slow_call_waits_until_all_is_known_of_its_time(monitor: Monitor, time: Time, sampler: Sampler) -> None:
    """Then it tells what it lost, once, as a figure too."""
    call = monitor.watch(lambda: time.spend(1.0), name="predict")
    monitor.snapshot()
    begun_ns = time.now_ns
    call()
    assert () == monitor.snapshot().slow_calls
    PAUSES.tables[THROTTLING].add(begun_ns, time.now_ns, SECOND // 2)
    sampler.look()
    (slow,) = monitor.snapshot().slow_calls
    assert (Pause(THROTTLING, 0.5),) == slow.pauses
    assert (1, 0.5, 0.5, 0.5) == lost(monitor)
    assert (1, 0.5, 0.5, 0.5) == lost(monitor)


def test_a_sampler_that_hangs_holds_no_slow_call_up(monitor: Monitor, time: Time, sampler: Sampler) -> None:
    """For half a second at most, and not where everything is to be told now."""
    call = monitor.watch(lambda: time.spend(1.0), name="predict")
    monitor.snapshot()
    call()
    assert () == monitor.snapshot().slow_calls
    time.spend(0.6)
    assert 1 == len(monitor.snapshot().slow_calls)
    call()
    assert 2 == len(flushed(monitor))


def test_a_function_is_not_behind_its_own_loop(monitor: Monitor, time: Time, sampler: Sampler) -> None:
    """A coroutine beside it is: both ended in the same loop, in which nobody is known to have been the one."""
    ids = []

    def spend() -> None:
        ids.append(id(asyncio.get_running_loop()))
        time.spend(1.0)

    function = monitor.watch(spend, name="function")

    @monitor.watch(name="coroutine")
    async def coroutine() -> None:
        function()

    monitor.snapshot()
    begun_ns = time.now_ns
    asyncio.run(coroutine())
    PAUSES.tables[LOOP_LAG].add(begun_ns, time.now_ns, SECOND, whom=ids[0])
    sampler.look()
    found = {call.call: call.pauses for call in monitor.snapshot().slow_calls}
    assert {"coroutine": (Pause(LOOP_LAG, 1.0),), "function": ()} == found


def test_without_an_exporter_a_call_slower_than_most_is_told_with_its_causes(
    monitor: Monitor, time: Time, sampler: Sampler
) -> None:
    """Slower than 99 of 100, with nothing that traces; it is no business of those that do."""
    monitor._scope.notes.drop("spans")
    seconds = [0.01]
    call = monitor.watch(lambda: time.spend(seconds[0]), name="predict")
    for _ in range(FEWEST_CALLS):
        call()
    monitor.snapshot()
    seconds[0], begun_ns = 1.0, time.now_ns
    call()
    PAUSES.tables[THROTTLING].add(begun_ns, time.now_ns, SECOND)
    sampler.look()
    (slow,) = monitor.snapshot().slow_calls
    assert ((Pause(THROTTLING, 1.0),), False, 1.0) == (slow.pauses, slow.is_traced, slow.seconds)
    assert {} == internal_errors(monitor.snapshot())
