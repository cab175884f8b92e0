"""What a stretch of time was lost to, of what is known of the process, its threads and its event loops."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from holter.loops import Lag
from holter.names import CAUSE_GC as GC
from holter.names import CAUSE_GIL_WAIT as GIL_WAIT
from holter.names import CAUSE_LOOP_LAG as LOOP_LAG
from holter.names import CAUSE_RUN_QUEUE as RUN_QUEUE
from holter.names import CAUSE_THROTTLING as THROTTLING
from holter.pauses import MOST_PAUSES, TELLING_SHARE, Loss, Pauses, PauseTable, Sufferer, lost_ns

MS = 1_000_000
THREAD, LOOP, TASK = 7, 70, 700
CALL = Sufferer(THREAD)
IN_LOOP = Sufferer(THREAD, LOOP, TASK)


class Known:
    """Pauses of which a test says what they were, in milliseconds."""

    def __init__(self) -> None:
        self.collections = PauseTable()
        self.pauses = Pauses(self.collections.rows)

    def add(self, cause: str, begin: float, end: float, lost: float | None = None, **whom: int) -> None:
        """Keep one more; all of it is lost unless it says how much."""
        table = self.collections if cause == GC else self.pauses.tables[cause]
        table.add(round(begin * MS), round(end * MS), round((end - begin if lost is None else lost) * MS), **whom)

    def explain(self, begin: float, end: float, of: Sufferer = CALL) -> dict[str, float]:
        """Return what is told of the time between the two, in milliseconds."""
        told = self.pauses.look().explain(round(begin * MS), round(end * MS), of)
        return {pause.cause: round(pause.seconds * 1_000, 3) for pause in told}


def test_a_pause_of_the_process_hits_all_its_threads() -> None:
    """As far as it lies within the call."""
    known = Known()
    known.add(GC, 100, 300)
    known.add(THROTTLING, 400, 500)
    assert {GC: 200, THROTTLING: 100} == known.explain(50, 500)
    assert {GC: 50} == known.explain(250, 350, Sufferer(99))
    assert {} == known.explain(600, 700)
    assert {} == known.explain(700, 700)


def test_what_explains_less_than_a_fifth_is_not_told() -> None:
    """A fifth is."""
    known = Known()
    known.add(GC, 0, 20)
    assert {GC: 20} == known.explain(0, 20 / TELLING_SHARE)
    assert {} == known.explain(0, 20 / TELLING_SHARE + 1)


@pytest.mark.parametrize("cause", [RUN_QUEUE, GIL_WAIT])
def test_what_a_thread_waited_is_its_own(cause: str) -> None:
    """A call of another thread has lost nothing."""
    known = Known()
    known.add(cause, 0, 100, 80, whom=THREAD)
    assert {cause: 80} == known.explain(0, 100)
    assert {cause: 40} == known.explain(0, 50), "what is known as a sum is spread evenly"
    assert {} == known.explain(0, 100, Sufferer(8))


def test_no_moment_is_counted_twice() -> None:
    """A thread that collects garbage may wait for a CPU meanwhile, and a loop waits for all of that."""
    known = Known()
    known.add(GC, 0, 90)
    known.add(RUN_QUEUE, 0, 100, 80, whom=THREAD)
    known.add(LOOP_LAG, 0, 100, whom=LOOP)
    assert {GC: 90} == known.explain(0, 100, IN_LOOP)
    known = Known()
    known.add(THROTTLING, 0, 100, 60)
    known.add(RUN_QUEUE, 0, 100, 90, whom=THREAD)
    known.add(LOOP_LAG, 0, 100, whom=LOOP)
    assert {THROTTLING: 60, RUN_QUEUE: 30} == known.explain(0, 100, IN_LOOP)


def test_a_blocked_loop_is_told_of_its_victims() -> None:
    """Not of the task that blocked it, of calls in other loops, or of those outside of any."""
    known = Known()
    known.add(LOOP_LAG, 0, 100, whom=LOOP, by=TASK)
    assert {LOOP_LAG: 100} == known.explain(0, 200, Sufferer(THREAD, LOOP, 701))
    assert {} == known.explain(0, 200, IN_LOOP)
    assert {} == known.explain(0, 200, Sufferer(THREAD, 71, 701))
    assert {} == known.explain(0, 200, CALL)


def test_a_loop_that_many_tasks_have_kept_busy_is_told_of_all() -> None:
    """Nobody in particular has blocked it."""
    known = Known()
    known.add(LOOP_LAG, 0, 100, whom=LOOP)
    assert {LOOP_LAG: 100} == known.explain(0, 100, IN_LOOP)


def test_a_lag_that_is_not_over_counts_until_now() -> None:
    """And once, should it be over meanwhile."""
    known = Known()
    known.pauses.waiting = lambda: [Lag(0, 100 * MS, LOOP, 0)]
    assert {LOOP_LAG: 100} == known.explain(0, 100, IN_LOOP)
    known.add(LOOP_LAG, 0, 100, whom=LOOP)
    assert {LOOP_LAG: 100} == known.explain(0, 100, IN_LOOP)


def test_the_largest_comes_first() -> None:
    """As seconds of their own."""
    known = Known()
    known.add(GC, 0, 30)
    known.add(THROTTLING, 30, 80)
    assert (Loss(THROTTLING, 0.05), Loss(GC, 0.03)) == known.pauses.look().explain(0, 100 * MS, CALL)


def test_the_newest_are_kept() -> None:
    """Of one cause 1,024, less the one whose place comes next."""
    table = PauseTable()
    for number in range(MOST_PAUSES):
        table.add(number, number + 1, 1)
    assert MOST_PAUSES == len(table.rows())
    for number in range(MOST_PAUSES, 3_000):
        table.add(number, number + 1, 1)
    rows = table.rows()
    assert {3_000 - MOST_PAUSES + 1, 2_999} == {int(rows[:, 0].min()), int(rows[:, 0].max())}
    table.clear()
    assert 0 == len(table.rows())


spans = st.tuples(st.integers(0, 100), st.integers(1, 50), st.integers(0, 50))


@given(rows=st.lists(spans, max_size=20), begin=st.integers(0, 150), length=st.integers(1, 100))
def test_what_was_lost_is_the_sum_of_the_parts_that_overlap(
    rows: list[tuple[int, int, int]], begin: int, length: int
) -> None:
    """Against the same, millisecond by millisecond."""
    table = PauseTable()
    expected = 0.0
    for start, took, lost in rows:
        table.add(start, start + took, lost)
        within = len(set(range(start, start + took)) & set(range(begin, begin + length)))
        expected += within / took * lost
    assert expected == pytest.approx(lost_ns(table.rows(), begin, begin + length))


causes = st.sampled_from([GC, THROTTLING, RUN_QUEUE, GIL_WAIT, LOOP_LAG])


@example(found=[(GC, (0, 10, 1)), (GC, (9, 1, 1)), (LOOP_LAG, (0, 9, 0))], begin=0, length=10)
@given(found=st.lists(st.tuples(causes, spans), max_size=12), begin=st.integers(0, 150), length=st.integers(1, 100))
def test_a_call_never_lost_more_than_it_took(found: list[Any], begin: int, length: int) -> None:
    """Whatever overlaps, as long as lags of a loop, which come one after the other, do not."""
    known, end_of_lag = Known(), 0
    for cause, (start, took, lost) in found:
        whom = {RUN_QUEUE: THREAD, GIL_WAIT: THREAD, LOOP_LAG: LOOP}.get(cause, 0)
        if cause == LOOP_LAG:
            start, lost = max(start, end_of_lag), took  # noqa: PLW2901 - one after the other
            end_of_lag = start + took
        known.add(cause, start, start + took, min(lost, took), whom=whom)
    told = known.pauses.look().explain(begin * MS, (begin + length) * MS, IN_LOOP)
    assert sum(pause.seconds for pause in told) <= length / 1_000 + 1e-9


def test_one_sampler_keeps_them() -> None:
    """Another one may from when that leaves; nothing is known to be complete between."""
    pauses, one, other = Pauses(), object(), object()
    assert (True, False, True) == (pauses.claim(one), pauses.claim(other), pauses.claim(one))
    pauses.seen_ns = 5
    pauses.leave(other)
    assert pauses.seen_ns == 5
    pauses.leave(one)
    assert pauses.seen_ns is None
    assert pauses.claim(other)


def test_a_forked_child_knows_of_none() -> None:
    """What its parent has seen is not its own."""
    known = Known()
    known.add(THROTTLING, 0, 100)
    known.pauses.claim(known)
    known.pauses.forget()
    assert {} == known.explain(0, 100)
    assert known.pauses.claim(object())
