"""The totals of a process, put together from what it left."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holter import names
from holter.model import Reading, Snapshot
from holter.record import CELL, GAUGE_CELL, Outcome
from holter.recorded import read_recording
from holter.recovered import Cells
from lives import SECOND_NS, FakeTime, Life

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="makes recordings, which need Linux")


def work(life: Life, ring: Any, turns: int, calls: int) -> Snapshot:
    """Let a ring record calls, failures, a counter and a gauge; return the last snapshot."""
    random = np.random.default_rng(calls)
    call = life.scope.call("predict")
    failed = life.table.failed_part(call.duration, {"holter.call.outcome": "error", "error.type": "ValueError"})
    hits = life.scope.series("app.hits", "{hit}", "counter")
    depth = life.scope.series("app.queue.length", "{item}", "gauge")
    snapshot = None
    for turn in range(turns):
        for number in range(calls):
            opened = ring.enter(call.duration, life.clock.monotonic_ns())
            ring.leave(opened, life.clock.monotonic_ns() + int(random.integers(1e3, 1e8)), 3)
            if not number % 5:
                ring.write(failed, life.clock.monotonic_ns(), float(random.integers(1e3, 1e9)), 0, Outcome.ERROR)
            ring.write(hits, life.clock.monotonic_ns(), 2, 0, 0)
            ring.put(depth, life.clock.monotonic_ns(), float(random.normal()))
        if turn < turns - 1:
            snapshot = life.turn(now=True)
    return snapshot


def same(expected: Reading, found: Reading, series: str) -> None:
    """Assert that two readings are equal, sums as far as the order of additions tells."""
    assert expected.sum == pytest.approx(found.sum, rel=1e-12), series
    assert replace(expected, sum=0) == replace(found, sum=0), series


@pytest.mark.parametrize("turns", [1, 2, 4])
@pytest.mark.parametrize("elsewhere", [False, True])
def test_totals_are_those_that_a_snapshot_would_have_told(turns: int, *, elsewhere: bool, tmp_path: Path) -> None:
    """After records that nobody folded, of calls, failures, counters and gauges; rings outside as of the last save."""
    life = Life(tmp_path, fake=FakeTime())
    if elsewhere:
        outside = life.ring(in_file=False)
        work(life, outside, 2, 9)
        life.turn(now=True)
    ring = life.ring()
    work(life, ring, turns, 40)
    life.recording.learn(life.table.entries)
    contents = read_recording(life.recording.path)
    truth = life.turn()
    derived = (names.CALL_ACTIVE, names.CALL_OLDEST_ACTIVE_AGE, names.CALL_UNITS)
    recorded = [key for key, series in truth.series.items() if key in truth.total and series.name not in derived]
    assert len(recorded) == 4
    for key in recorded:
        same(truth.total[key], contents.totals[key], truth.series[key].name)
    assert {"predict"} <= {series.attributes.get("holter.call.name") for series in contents.series.values()}
    assert list(contents.totals) == sorted(contents.totals)


def test_counts_and_sums_stay_exact_where_records_are_lost(tmp_path: Path) -> None:
    """The ring goes round between two saves: the histogram is a sample and says so, what was lost is counted."""
    life = Life(tmp_path)
    ring, hits = life.ring(), life.scope.series("app.hits", "{hit}", "counter")
    life.turn()
    for number in range(5_000):
        ring.write(hits, number, 1, 0, 0)
    life.recording.close(clean=False)
    contents = read_recording(life.recording.path)
    reading = contents.totals[hits]
    assert (5_000, 5_000.0, 1_024) == (reading.count, reading.sum, reading.histogram.count)
    assert 5_000 - 1_024 == contents.lost


def test_a_gauge_keeps_its_extremes_where_records_are_lost(tmp_path: Path) -> None:
    """They are in its cells, of every ring; what is no number is none."""
    life = Life(tmp_path)
    depth = life.scope.series("app.queue.length", "{item}", "gauge")
    life.recording.learn(life.table.entries)
    for low in (-5.0, -9.0, math.nan):
        ring = life.ring()
        ring.put(depth, 1, low)
        ring.put(depth, 1, -low)
        for number in range(2_000):
            ring.put(depth, number, 0.5)
        life.recording.stock()
    reading = read_recording(life.recording.path).totals[depth]
    assert (6_006, -9.0, 9.0, 0.5) == (reading.count, reading.minimum, reading.maximum, reading.last)


def test_a_series_that_was_left_out_of_the_fold_has_its_last_records(tmp_path: Path) -> None:
    """Those that are still there, whichever were folded; the others are not counted twice."""
    life = Life(tmp_path)
    ring = life.ring()
    one, other = (life.scope.series("app.hits", "{hit}", "counter", {"n": number}) for number in range(2))
    for number in range(10):
        ring.write(one, number, 1, 0, 0)
        ring.write(other, number, 1, 0, 0)
    snapshot = life.turn()
    kept = replace(snapshot, total={one: snapshot.total[one]})
    life.recording.save([kept], life.cursors(), life.elsewhere(), now=True)
    totals = read_recording(life.recording.path).totals
    assert [10, 10] == [totals[key].histogram.count for key in (one, other)]


def test_what_follows_from_others_is_as_it_was_saved(tmp_path: Path) -> None:
    """A figure that the collector sets has no cells."""
    fake = FakeTime()
    life = Life(tmp_path, fake=fake)
    series = life.scope.series("holter.records.written", "{record}", "counter")
    for value in (5.0, 9.0):
        life.fold.set(series, value)
        life.turn(now=True)
        fake.ns += SECOND_NS
    reading = read_recording(life.recording.path).totals[series]
    assert (2, 9.0) == (reading.count, reading.sum)


def test_a_mark_is_another_one_whenever_the_reading_is(tmp_path: Path) -> None:
    """Whether the cell has changed, what was folded, or what a counter follows from; else it is the same."""
    fake = FakeTime()
    life = Life(tmp_path, fake=fake)
    ring, call = life.ring(), life.scope.call("predict")
    other = life.scope.call("other")
    ring.write(other.duration, fake.ns, 1e6, 0, 0)
    ring.write(call.duration, fake.ns, 1e6, 3, 0)
    life.turn(now=True)

    def marks() -> list[object]:
        totals = read_recording(life.recording.path).totals
        return [totals.mark(key) for key in (call.duration, call.units, other.duration)]

    first, again = marks(), marks()
    assert first == again
    ring.write(call.duration, fake.ns, 1e6, 3, 0)
    recorded = marks()
    assert [True, True, False] == [one != new for one, new in zip(first, recorded, strict=True)]
    life.turn(now=True)
    folded = marks()
    assert (True, False) == (recorded[0] != folded[0], recorded[2] != folded[2])


def test_totals_are_a_mapping_of_known_series(tmp_path: Path) -> None:
    """A series that is not in the table, and one that has recorded nothing, are not in it."""
    life = Life(tmp_path)
    hits, idle = (life.scope.series(f"app.{name}", "{hit}", "counter") for name in ("hits", "idle"))
    life.ring().write(hits, 1, 1, 0, 0)
    life.turn()
    life.all[0].write(idle + 1, 1, 1, 0, 0)
    totals = read_recording(life.recording.path).totals
    assert (1, True, False, False) == (len(totals), hits in totals, idle in totals, idle + 1 in totals)
    with pytest.raises(KeyError):
        totals[idle]


words = st.integers(-(2**63), 2**63 - 1)


@given(st.lists(st.tuples(st.integers(0, 5), st.lists(words, min_size=4, max_size=4)), max_size=5))
def test_any_cells_are_added(blocks: list[tuple[int, list[int]]]) -> None:
    """Whatever they hold, without a warning."""
    cells = Cells()
    for block, content in blocks:
        cells.add(block, np.array(content * 64, np.int64).tobytes())
    for series in cells.series():
        one, level = cells.of(series)
        assert (CELL, GAUGE_CELL) == (one.dtype, level.dtype)
    assert (0, 0) == (cells.of(10**6)[0]["count"], cells.of(10**6)[1]["count"])
