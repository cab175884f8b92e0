"""What every ring must satisfy; a test class that inherits `RingContract` runs an implementation through it."""

from __future__ import annotations

import math
import sys
import threading
from types import FrameType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holter._ring import HOME, LEAF, OUTER, START
from holter.record import (
    CAPACITY_WORD,
    CELL_WORDS,
    CELLS_PER_BLOCK,
    HEAD_WORD,
    OUTCOME_MASK,
    OUTCOME_SHIFT,
    SEQUENCE_SHIFT,
    SLOTS,
    STATE_MASK,
    UNITS_MAXIMUM,
    Outcome,
    State,
)
from holter.ring import RingReader
from interruptions import interrupted_by, needs_timer

CAPACITY = 64
FINITE = st.floats(allow_nan=False, allow_infinity=False, width=32)
WRITTEN = st.tuples(st.integers(1, 300), FINITE, st.integers(0, UNITS_MAXIMUM))


def cell(ring: Any, series: int) -> tuple[int, float, int, int]:
    """Return (count, sum, units, begun) of *series*."""
    integers, doubles = ring.cells[series // CELLS_PER_BLOCK]
    at = series % CELLS_PER_BLOCK * CELL_WORDS
    return integers[at], doubles[at + 1], integers[at + 2], integers[at + 3]


def gauge_cell(ring: Any, series: int) -> tuple[int, float, float, float]:
    """Return (count, last, minimum, maximum) of *series*."""
    integers, doubles = ring.cells[series // CELLS_PER_BLOCK]
    at = series % CELLS_PER_BLOCK * CELL_WORDS
    return integers[at], doubles[at + 1], doubles[at + 2], doubles[at + 3]


def sequences(records: np.ndarray) -> list[int]:
    """Return the sequence of each record."""
    found: list[int] = (records["commit"] >> np.uint64(SEQUENCE_SHIFT)).tolist()
    return found


class RingContract:
    """Inherit, and give `make`."""

    def make(self, capacity: int) -> Any:
        """Return a new ring for *capacity* records."""
        raise NotImplementedError

    @pytest.fixture
    def ring(self) -> Any:
        """A ring for 64 records."""
        return self.make(CAPACITY)

    # -- records

    def test_says_its_capacity(self, ring: Any) -> None:
        """The header tells a reader how many records there are."""
        assert (CAPACITY, CAPACITY) == (ring.capacity, memoryview(ring.memory).cast("Q")[CAPACITY_WORD])

    def test_a_record_holds_what_was_written(self, ring: Any) -> None:
        """Time, value, series, units and outcome come back as they went in, committed under sequence 1."""
        ring.write(70, 123, 4.5, 6, Outcome.TIMEOUT)
        (record,), lost = RingReader(ring.memory).read()
        commit = int(record["commit"])
        assert 0 == lost
        assert (1, Outcome.TIMEOUT, State.COMMITTED) == (
            commit >> SEQUENCE_SHIFT,
            commit >> OUTCOME_SHIFT & OUTCOME_MASK,
            commit & STATE_MASK,
        )
        assert (123, 4.5, 70, 6) == tuple(record[["time_ns", "value", "series", "units"]].item())

    def test_a_span_holds_the_id_of_its_call(self, ring: Any) -> None:
        """A span's record has its call's id in the place of units, and its cell counts no units."""
        ring.write(1, 9, 2.0, 0, Outcome.OK, UNITS_MAXIMUM)
        (record,), _ = RingReader(ring.memory).read()
        assert UNITS_MAXIMUM == record["units"]
        assert (1, 2.0, 0, 0) == cell(ring, 1)

    def test_takes_the_largest_units(self, ring: Any) -> None:
        """4,294,967,295 units fit into a record, and their sum into a cell."""
        for _ in range(3):
            ring.write(1, 0, 0.0, UNITS_MAXIMUM, Outcome.OK)
        assert (3, 0.0, 3 * UNITS_MAXIMUM, 0) == cell(ring, 1)
        assert [UNITS_MAXIMUM] * 3 == RingReader(ring.memory).read()[0]["units"].tolist()

    def test_every_record_is_read_once_or_counted_as_lost(self) -> None:
        """Whatever is written between two reads: what is read and what is lost is what was written, in order."""

        @given(bursts=st.lists(st.integers(0, 3 * CAPACITY), max_size=12))
        def check(bursts: list[int]) -> None:
            ring = self.make(CAPACITY)
            reader, written, read, lost = RingReader(ring.memory), 0, [], 0
            for burst in bursts:
                for _ in range(burst):
                    written += 1
                    ring.write(written % 200, written, float(written), written, Outcome.OK)
                records, missed = reader.read()
                assert min(burst, CAPACITY) == len(records)
                assert records["time_ns"].tolist() == records["value"].tolist() == records["units"].tolist()
                assert records["time_ns"].tolist() == sequences(records)
                read += sequences(records)
                lost += missed
            assert written == len(read) + lost
            assert sorted(set(read)) == read

        check()

    def test_the_head_is_a_hint(self, ring: Any) -> None:
        """A reader finds what is committed although the header's word lags behind."""
        for value in range(10):
            ring.write(1, value, float(value), 0, Outcome.OK)
        memoryview(ring.memory).cast("Q")[HEAD_WORD] = 4
        records, lost = RingReader(ring.memory).read()
        assert (list(range(10)), 0) == (records["time_ns"].tolist(), lost)

    def test_two_readers_do_not_disturb_each_other(self, ring: Any) -> None:
        """Reading changes nothing in the ring."""
        ring.write(1, 5, 5.0, 0, Outcome.OK)
        one, other = RingReader(ring.memory), RingReader(ring.memory)
        assert one.read()[0].tolist() == other.read()[0].tolist()

    # -- cells

    def test_cells_are_exact_whatever_is_overwritten(self) -> None:
        """Count, sum and units of each series are those of all that was written, in the order of writing."""

        @given(values=st.lists(WRITTEN, max_size=3 * CAPACITY))
        def check(values: list[tuple[int, float, int]]) -> None:
            ring = self.make(CAPACITY)
            expected: dict[int, tuple[int, float, int, int]] = {}
            for series, value, units in values:
                ring.write(series, 0, value, units, Outcome.ERROR)
                count, total, size, _ = expected.get(series, (0, 0.0, 0, 0))
                expected[series] = (count + 1, total + value, size + units, 0)
            assert expected == {series: cell(ring, series) for series in expected}

        check()

    def test_the_cell_of_a_gauge_has_its_last_value_and_its_extremes(self) -> None:
        """NaN is a last value, and never an extreme as long as there is a number."""

        @given(values=st.lists(st.floats(), min_size=1, max_size=20))
        def check(values: list[float]) -> None:
            ring = self.make(CAPACITY)
            for value in values:
                ring.put(3, 0, value)
            count, *rest = gauge_cell(ring, 3)
            numbers = [value for value in values if not math.isnan(value)] or [math.nan]
            assert len(values) == count
            assert repr([values[-1], min(numbers) + 0, max(numbers) + 0]) == repr([rest[0], rest[1] + 0, rest[2] + 0])

        check()

    def test_a_gauge_writes_a_record(self, ring: Any) -> None:
        """Each value of a gauge is a record with outcome ok and no units."""
        ring.put(3, 11, -2.5)
        (record,), _ = RingReader(ring.memory).read()
        assert (11, -2.5, 3, 0) == tuple(record[["time_ns", "value", "series", "units"]].item())
        assert 1 << SEQUENCE_SHIFT | State.COMMITTED == record["commit"]

    # -- open calls

    def test_a_call_is_open_from_begin_to_release(self, ring: Any) -> None:
        """It is listed with its start and series, and counted as begun; the ring lives as long as it runs."""
        call = ring.begin(70, 123)
        assert (123, 70, ring) == (call[START], call[LEAF], call[HOME])
        assert [(123, 70, 0, 0)] == list(RingReader(ring.memory).open_calls())
        assert ring.live
        ring.release(call)
        assert ([], 0, False) == (list(RingReader(ring.memory).open_calls()), call[START], ring.live)
        assert (0, 0.0, 0, 1) == cell(ring, 70)

    def test_a_stream_says_since_when_its_next_item_is_asked_for(self, ring: Any) -> None:
        """In its own slot, in whichever thread; what takes the slot next has not said anything."""
        first, second = ring.begin(70, 123), ring.begin(71, 124)
        ring.asked(second, 200)
        assert [(123, 70, 0, 0), (124, 71, 0, 200)] == sorted(RingReader(ring.memory).open_calls())
        thread = threading.Thread(target=ring.asked, args=(second, -1))
        thread.start()
        thread.join()
        assert [(123, 70, 0, 0), (124, 71, 0, -1)] == sorted(RingReader(ring.memory).open_calls())
        ring.asked(second, 0)
        ring.release(second)
        ring.asked(second, 300)
        third = ring.begin(72, 125)
        ring.asked(second, 300)
        assert [(123, 70, 0, 0), (125, 72, 0, 0)] == sorted(RingReader(ring.memory).open_calls())
        ring.release(first)
        ring.release(third)

    def test_leave_records_what_enter_opened(self, ring: Any) -> None:
        """One record: the duration, ok; one cell; and the slot is free again."""
        call = ring.enter(70, 100)
        ring.leave(call, 350, 8)
        (record,), _ = RingReader(ring.memory).read()
        assert (350, 250.0, 70, 8) == tuple(record[["time_ns", "value", "series", "units"]].item())
        assert 1 << SEQUENCE_SHIFT | State.COMMITTED == record["commit"]
        assert (1, 250.0, 8, 1) == cell(ring, 70)
        assert (0, False) == (call[START], ring.live)

    def test_leave_counts_a_call_in_the_leaf_that_it_has_by_then(self, ring: Any) -> None:
        """A tag moves a running call to another series: it has begun in the one and ends in the other."""
        call = ring.enter(1, 100)
        call[LEAF] = 200
        ring.leave(call, 110, 0)
        assert [(0, 0.0, 0, 1), (1, 10.0, 0, 0)] == [cell(ring, 1), cell(ring, 200)]

    def test_calls_nest(self, ring: Any) -> None:
        """The innermost call that stays on the thread is the current one; each knows the one it interrupts."""
        outer = ring.enter(1, 10)
        inner = ring.enter(2, 20)
        beside = ring.begin(3, 30)
        assert ([inner], outer, None) == (ring.current, inner[OUTER], outer[OUTER])
        assert [(10, 1, 0, 0), (20, 2, 0, 0), (30, 3, 0, 0)] == sorted(RingReader(ring.memory).open_calls())
        ring.leave(inner, 40, 0)
        assert [outer] == ring.current
        ring.release(beside)
        ring.leave(outer, 50, 0)
        assert ([None], False) == (ring.current, ring.live)

    def test_calls_beyond_the_slots_are_counted(self, ring: Any) -> None:
        """256 open calls are listed; those beyond count as begun and end like the others."""
        calls = [ring.enter(1, 1000 + number) for number in range(SLOTS + 50)]
        assert list(range(1000, 1000 + SLOTS)) == sorted(start for start, *_ in RingReader(ring.memory).open_calls())
        assert SLOTS + 50 == cell(ring, 1)[3]
        for call in reversed(calls):
            ring.leave(call, 5000, 0)
        assert ([], False) == (list(RingReader(ring.memory).open_calls()), ring.live)
        again = [ring.begin(1, 7) for _ in range(SLOTS)]
        assert SLOTS == len(list(RingReader(ring.memory).open_calls()))
        for call in again:
            ring.release(call)

    def test_any_thread_may_release(self, ring: Any) -> None:
        """A stream that ends elsewhere frees its slot where it began."""
        calls = [ring.begin(1, 10) for _ in range(SLOTS)]
        threads = [threading.Thread(target=ring.release, args=(call,)) for call in calls]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert ([], False) == (list(RingReader(ring.memory).open_calls()), ring.live)

    def test_serves_one_thread_after_another(self, ring: Any) -> None:
        """The next thread brings its own innermost call; sequences and cells go on."""
        ring.leave(ring.enter(1, 10), 20, 0)
        call = ring.enter(1, 30)
        mine = [call]
        ring.serve(mine)
        assert mine is ring.current
        inner = ring.enter(1, 40)
        assert (call, [inner]) == (inner[OUTER], mine)
        ring.leave(inner, 45, 0)
        records, lost = RingReader(ring.memory).read()
        assert ([1, 2], 0, 2) == (sequences(records), lost, cell(ring, 1)[0])

    # -- under fire

    def test_a_reader_sees_whole_records_while_a_thread_writes(self) -> None:
        """Of 200,000 records that race past a reader none is torn or doubled, and the gaps are what was lost."""
        ring, count = self.make(CAPACITY), 200_000

        def write() -> None:
            for number in range(1, count + 1):
                ring.write(1, number, float(number), number, Outcome.OK)

        thread = threading.Thread(target=write)
        thread.start()
        reader, read, lost = RingReader(ring.memory), [], 0
        while thread.is_alive() or reader.head() > reader.cursor:
            records, missed = reader.read()
            assert records["time_ns"].tolist() == records["value"].tolist() == records["units"].tolist()
            assert records["time_ns"].tolist() == sequences(records)
            read += sequences(records)
            lost += missed
        thread.join()
        assert count == len(read) + lost
        assert sorted(set(read)) == read
        assert (count, float(count * (count + 1) // 2), count * (count + 1) // 2, 0) == cell(ring, 1)

    @needs_timer
    def test_signals_that_record_lose_and_double_nothing(self) -> None:
        """A handler that records, fifty microseconds apart, in the middle of writes: totals and sequences are exact."""
        ring = self.make(2**18)
        handled = 0

        def handle() -> None:
            nonlocal handled
            handled += 1
            ring.write(1, handled, 1.0, 1, Outcome.OK)
            ring.put(2, handled, float(handled))
            ring.leave(ring.enter(3, 100), 101, 1)

        count = 20_000
        with interrupted_by(handle):
            for number in range(count):
                ring.write(1, number, 1.0, 1, Outcome.OK)
                ring.put(2, number, 0.0)
                ring.leave(ring.enter(3, 100), 101, 1)
        total = count + handled
        assert handled > 10
        assert (total, float(total), total, 0) == cell(ring, 1)
        assert (total, 0.0, float(handled)) == (gauge_cell(ring, 2)[0], *gauge_cell(ring, 2)[2:])
        assert (total, float(total), total, total) == cell(ring, 3)
        records, lost = RingReader(ring.memory).read()
        assert (list(range(1, 3 * total + 1)), 0) == (sequences(records), lost)
        assert ([None], False) == (ring.current, ring.live)

    def test_what_traces_lines_may_record(self) -> None:
        """Between any two lines of a ring in Python there may be another record: no sequence is lost or doubled."""
        ring, traced, count = self.make(1024), 0, 5

        def trace(frame: FrameType, event: str, _: object) -> Any:
            nonlocal traced
            if event == "line" and frame.f_globals["__name__"] == "holter._ring":
                traced += 1
                ring.write(4, traced, 1.0, 1, Outcome.OK)
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            for number in range(count):
                ring.write(1, number, 1.0, 1, Outcome.OK)
                ring.put(2, number, 0.0)
                ring.leave(ring.enter(3, 100), 101, 1)
        finally:
            sys.settrace(before)
        records, lost = RingReader(ring.memory).read()
        assert (list(range(1, 3 * count + traced + 1)), 0) == (sequences(records), lost)
        assert [count, count, count, traced] == [
            0 if series == 4 and not traced else cell(ring, series)[0] for series in (1, 2, 3, 4)
        ]
