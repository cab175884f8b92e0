"""The fold: drained records and cells become snapshots, shown against numpy."""

from __future__ import annotations

import gc
import math
import threading
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holter.distribution import Histogram
from holter.model import Reading, Snapshot
from holter.names import CALL_ACTIVE, CALL_DURATION, CALL_NAME, CALL_OLDEST_ACTIVE_AGE, CALL_UNITS, SPAN_DURATION
from holter.record import SMALL_CAPACITY, Outcome
from recording import Recording

VALUES = st.floats(1e-6, 1e6)
BATCHES = st.lists(st.lists(st.tuples(st.integers(0, 4), VALUES), max_size=50), min_size=1, max_size=6)


def write(recording: Recording, series: int, values: Any, start_ns: int = 0) -> None:
    """Write *values* one nanosecond apart."""
    ring = recording.scope.ring()
    for number, value in enumerate(values):
        ring.write(series, start_ns + number, value, 1, Outcome.OK)


def whole(snapshots: list[Snapshot]) -> Snapshot:
    """Return the snapshot whose interval covers all of *snapshots*."""
    merged = snapshots[0]
    for later in snapshots[1:]:
        merged = merged.then(later)
    return merged


@pytest.mark.parametrize(
    "values",
    [
        np.random.default_rng(1).lognormal(-5, 2, 900),
        np.random.default_rng(2).uniform(1, 2, 900),
        np.random.default_rng(3).normal(0, 1, 900),
        np.full(5, 0.25),
        np.array([1e-300, 1.0, 1e300]),
    ],
    ids=["lognormal", "uniform", "normal", "equal", "far apart"],
)
def test_agrees_with_numpy(values: np.ndarray) -> None:
    """Count, sum, extremes, first and last are exact, quantiles within the error that the histogram states."""
    recording = Recording()
    series = recording.scope.series("app.v", "1", "histogram")
    write(recording, series, values.tolist(), start_ns=100)
    snapshot = recording.snapshot()
    for reading in (snapshot.total[series], snapshot.interval[series]):
        assert (len(values), values.min(), values.max(), values[0], values[-1], 100, 99 + len(values)) == (
            reading.count,
            reading.minimum,
            reading.maximum,
            reading.first,
            reading.last,
            reading.first_ns,
            reading.last_ns,
        )
        assert math.fsum(values) == pytest.approx(reading.sum, rel=1e-12, abs=1e-12)
        assert (len(values), Histogram.of(values)) == (reading.units, reading.histogram)
        for q in (0.01, 0.5, 0.9, 0.99, 1.0):
            exact = float(np.quantile(values, q, method="inverted_cdf"))
            assert abs(reading.histogram.quantile(q) - exact) <= reading.histogram.relative_error * abs(exact) * 1.0001


@given(batches=BATCHES)
def test_intervals_merged_are_the_whole(batches: list[list[tuple[int, float]]]) -> None:
    """However records are cut into drains and intervals, merged they are what one interval would have been."""
    pieces, at_once = Recording(), Recording()
    ids = [
        [recording.scope.series(f"app.m{number}", "1", "histogram") for number in range(5)]
        for recording in (pieces, at_once)
    ]
    snapshots, time_ns = [], 0
    for batch in batches:
        for number, value in batch:
            time_ns += 1
            for recording, series in zip((pieces, at_once), ids, strict=True):
                recording.scope.ring().write(series[number], time_ns, value, 2, Outcome.OK)
            if time_ns % 3 == 0:
                pieces.drain()
        snapshots.append(pieces.snapshot())
    merged, expected = whole(snapshots), at_once.snapshot()
    for one, other in zip(*ids, strict=True):
        assert same(merged.interval.get(one), expected.interval.get(other))
        assert same(merged.total.get(one), expected.total.get(other))


def test_an_interval_may_have_more_records_than_a_tally_holds() -> None:
    """Its parts are merged; a series that is in one part only is there too."""
    recording = Recording()
    parts, fold = recording.add_scope(most_tallied=10)
    series = [parts.series(f"app.m{number}", "1", "histogram") for number in range(3)]
    values = np.random.default_rng(5).lognormal(0, 1, 40)
    for number, value in enumerate(values.tolist()):
        parts.ring().write(series[number // 20], number, value, 1, Outcome.OK)
        recording.drain()
        if number % 3 == 0:
            fold.settle()
    found = fold.close(1, 1).interval
    assert {series[0]: 20, series[1]: 20} == {key: reading.histogram.count for key, reading in found.items()}
    assert [Histogram.of(values[:20]), Histogram.of(values[20:])] == [found[key].histogram for key in series[:2]]
    assert (values[0], values[19], 0, 19) == (
        found[series[0]].first,
        found[series[0]].last,
        found[series[0]].first_ns,
        found[series[0]].last_ns,
    )
    assert {} == fold.close(2, 2).interval


def same(one: Reading | None, other: Reading | None) -> bool:
    """Whether two readings are the same but for the rounding of sums."""
    if one is None or other is None:
        return one is other
    facts = ("count", "units", "minimum", "maximum", "first", "last", "first_ns", "last_ns", "histogram")
    return all(getattr(one, fact) == getattr(other, fact) for fact in facts) and math.isclose(one.sum, other.sum)


def test_an_interval_holds_only_what_moved() -> None:
    """Totals stay, the interval forgets; what has not moved is shared between snapshots, not copied."""
    recording = Recording()
    one, other = (recording.scope.series(name, "1", "histogram") for name in ("app.a", "app.b"))
    write(recording, one, [1.0])
    first = recording.snapshot()
    write(recording, other, [2.0])
    second = recording.snapshot()
    third = recording.snapshot()
    assert [{one}, {other}, set()] == [set(snapshot.interval) for snapshot in (first, second, third)]
    assert {one, other} == set(third.total)
    assert first.total[one] is third.total[one]
    assert first.series is second.series
    assert (first.monotonic_ns + second.interval_ns, 0) == (second.monotonic_ns, third.lost)


def test_totals_are_exact_where_records_are_lost() -> None:
    """Count, sum and units come from cells; the histogram says by its count how many values it knows."""
    recording = Recording()
    series = recording.scope.series("app.v", "1", "histogram")
    write(recording, series, range(3 * SMALL_CAPACITY))
    for reading in (recording.snapshot().total[series], recording.snapshot().total[series]):
        total = 3 * SMALL_CAPACITY
        assert (total, total * (total - 1) / 2, total) == (reading.count, reading.sum, reading.units)
        assert (SMALL_CAPACITY, 2 * SMALL_CAPACITY, total - 1) == (
            reading.histogram.count,
            reading.minimum,
            reading.maximum,
        )


def test_threads_are_summed() -> None:
    """A series that eight threads record in at once is one reading, with the earliest first and the latest last."""
    recording = Recording()
    series = recording.scope.series("app.v", "1", "histogram")
    together = threading.Barrier(8)

    def record(number: int) -> None:
        ring = recording.scope.ring()
        together.wait()
        ring.write(series, 100 - number, float(number), 3, Outcome.OK)
        together.wait()

    threads = [threading.Thread(target=record, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    reading = recording.snapshot().total[series]
    assert (8, 28.0, 24, 0.0, 7.0) == (reading.count, reading.sum, reading.units, reading.minimum, reading.maximum)
    assert (7.0, 93, 0.0, 100) == (reading.first, reading.first_ns, reading.last, reading.last_ns)


def test_the_last_of_equal_times_is_the_last_written() -> None:
    """On a clock that stands still, order is that of writing."""
    recording = Recording()
    series = recording.scope.series("app.g", "1", "gauge")
    for value in (1.0, 2.0, 3.0):
        recording.scope.ring().put(series, 50, value)
    reading = recording.snapshot().total[series]
    assert (1.0, 3.0) == (reading.first, reading.last)


def test_a_gauge_knows_its_extremes_though_records_are_lost() -> None:
    """Minimum and maximum since the start come from cells, those of the interval from the records there are."""
    recording = Recording()
    series = recording.scope.series("app.g", "1", "gauge")
    ring = recording.scope.ring()
    for value in (-5.0, 500.0, *[1.0] * 2 * SMALL_CAPACITY, 2.0):
        ring.put(series, 7, value)
    snapshot = recording.snapshot()
    total, interval = snapshot.total[series], snapshot.interval[series]
    assert (2 * SMALL_CAPACITY + 3, -5.0, 500.0, 2.0) == (total.count, total.minimum, total.maximum, total.last)
    assert (1.0, 2.0) == (interval.minimum, interval.maximum)
    # The mean of a gauge is that of the records there are.
    assert pytest.approx(1.0, rel=0.01) == interval.sum / interval.count


@pytest.mark.parametrize("order", [1, -1])
def test_no_number_spoils_nothing(order: int) -> None:
    """NaN and infinities of a gauge are its values, warn nobody, and NaN is never an extreme."""
    recording = Recording()
    series = recording.scope.series("app.g", "1", "gauge")
    ring = recording.scope.ring()
    ring.put(series, 1, math.nan)
    nothing = recording.snapshot().total[series]
    for value in (math.inf, math.nan, 3.0, -math.inf, 1.7e308, 1.7e308)[::order]:
        ring.put(series, 2, value)
    found = recording.snapshot().total[series]
    ring.put(series, 3, 4.0)
    after = recording.snapshot()
    assert (1, None, None) == (nothing.count, nothing.minimum, nothing.maximum)
    assert (7, -math.inf, math.inf) == (found.count, found.minimum, found.maximum)
    assert (8, 4.0, 4) == (after.total[series].count, after.total[series].last, after.total[series].histogram.count)
    assert (4.0, 4.0) == (after.interval[series].minimum, after.interval[series].maximum)


@pytest.mark.parametrize("values", [(math.inf, -math.inf), (1.7e308, 1.7e308)])
def test_what_has_no_sum_warns_nobody(values: tuple[float, ...]) -> None:
    """A gauge between infinities, or near the largest float, is told like any other."""
    recording = Recording()
    series = recording.scope.series("app.g", "1", "gauge")
    for value in values * 20:
        recording.scope.ring().put(series, 1, value)
    assert (40, values[-1]) == (recording.snapshot().total[series].count, recording.snapshot().total[series].last)


def test_infinities_in_two_threads_warn_nobody() -> None:
    """The last values of a gauge in several threads are no sum, whatever they are."""
    recording = Recording()
    series = recording.scope.series("app.g", "1", "gauge")
    recording.scope.ring().put(series, 1, math.inf)
    thread = threading.Thread(target=lambda: recording.scope.ring().put(series, 2, -math.inf))
    thread.start()
    thread.join()
    assert (2, -math.inf) == (recording.snapshot().total[series].count, recording.snapshot().total[series].last)


def test_calls_in_flight_follow_from_cells() -> None:
    """Active calls, the age of the oldest and the work done are figures without a record of their own."""
    recording = Recording()
    begun, done = threading.Event(), threading.Event()

    def wait(seconds: int) -> list[int]:
        begun.set()
        done.wait()
        return [0] * seconds

    watched = recording.watch(wait, name="wait", units=len)
    where = {CALL_NAME: "wait"}
    thread = threading.Thread(target=watched, args=(7,))
    assert recording.snapshot().find(CALL_ACTIVE, where).total.last is None
    thread.start()
    begun.wait()
    before = recording.snapshot()
    done.set()
    thread.join()
    after = recording.snapshot()
    assert (1, 0) == (before.find(CALL_ACTIVE, where).total.last, after.find(CALL_ACTIVE, where).total.last)
    assert before.find(CALL_OLDEST_ACTIVE_AGE, where).total.last == before.open_calls[0].age_seconds > 0
    assert (0, 7.0) == (after.find(CALL_OLDEST_ACTIVE_AGE, where).total.last, after.find(CALL_UNITS, where).total.sum)
    assert 7 == after.find(watched).total.units


def test_a_counter_that_was_set_is_told_in_each_interval() -> None:
    """What it has grown by, be that nothing, and its total."""
    recording = Recording()
    series = recording.scope.series("app.set", "1", "counter")
    told = []
    for value in (5.0, 5.0, 8.0):
        recording.fold.set(series, value)
        snapshot = recording.snapshot()
        told.append((snapshot.total[series].sum, snapshot.interval[series].sum))
    assert [(5.0, 5.0), (5.0, 0.0), (8.0, 3.0)] == told


def test_families_are_found_as_one() -> None:
    """Whatever its outcome or tag, a call is counted once in the total of what was watched."""
    recording = Recording()

    def work(number: int) -> None:
        with recording.spans.open("step"):
            if number % 3 == 1:
                recording.tags.add({"odd": number % 2})
            if number % 5 == 0:
                raise ValueError

    watched = recording.watch(work)
    for number in range(60):
        with suppress(ValueError):
            watched(number)
    snapshot = recording.snapshot()
    found, steps = snapshot.find(watched), snapshot.find(SPAN_DURATION)
    assert (60, 12, 60, 12) == (found.total.count, found.failed, steps.total.count, steps.failed)
    assert 20 == snapshot.find(watched, {"odd": 0}).total.count + snapshot.find(watched, {"odd": 1}).total.count
    ((place, count),) = {(place.place, place.count) for place in snapshot.error_places}
    assert (True, 12) == ("test_fold.py" in place, count)


def test_a_million_tags_are_one_series_more() -> None:
    """Beyond the bound memory stays flat, and the totals are exact."""
    recording = Recording()

    def work(number: int) -> None:
        recording.tags.add({"user": number})

    watched = recording.watch(work)
    for number in range(10_000):
        watched(number)
    snapshot = recording.snapshot()
    family = [series for series in snapshot.series.values() if series.name == CALL_DURATION]
    overflow = snapshot.find(watched, {"otel.metric.overflow": True}).total.count
    assert 10_000 == snapshot.find(watched).total.count
    assert 2_000 == len(family)
    # The metric has its own overflow, the call another one and the untagged rest.
    assert 10_000 - (2_000 - 3) == overflow


def test_scopes_get_their_own_records_only() -> None:
    """Two scopes on the same rings: whoever drains, each fold has what is its own; one without a fold is dropped."""
    recording = Recording()
    other, fold = recording.add_scope()
    stranger, gone = recording.add_scope()
    del gone
    for scope, name, count in ((recording.scope, "app.a", 2), (other, "app.b", 3), (stranger, "app.c", 4)):
        series = scope.series(name, "1", "histogram")
        for _ in range(count):
            scope.ring().write(series, 1, 1.0, 0, Outcome.OK)
    first = recording.snapshot()
    second = fold.close(1, 1)
    assert (2, None) == (first.find("app.a").total.histogram.count, first.find("app.b"))
    assert (3, None) == (second.find("app.b").total.histogram.count, second.find("app.a"))


def test_series_that_come_while_an_interval_ends_wait_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that is watched and recorded in the middle of a reading disturbs nothing."""
    recording = Recording()
    recording.watch(lambda: None, name="early")()
    # Of the late call one series is known already, as where two threads make its series at the same moment.
    recording.scope.timer(CALL_DURATION, {CALL_NAME: "late"})
    plain = recording.fold._sum_cells

    def interrupted() -> np.ndarray:
        recording.watch(lambda: None, name="late")()
        return plain()

    monkeypatch.setattr(recording.fold, "_sum_cells", interrupted)
    first = recording.snapshot()
    monkeypatch.undo()
    second = recording.snapshot()
    assert [1, 1] == [snapshot.find(CALL_DURATION, {CALL_NAME: "early"}).total.count for snapshot in (first, second)]
    assert 1 == second.find(CALL_DURATION, {CALL_NAME: "late"}).total.count


def test_counts_are_those_of_the_cells() -> None:
    """How many values each series has can be asked for without ending the interval."""
    recording = Recording()
    work = recording.watch(lambda: None, name="work")
    for _ in range(5):
        work()
    counts = {series.name: count for series, count in recording.fold.counts() if count}
    assert {CALL_DURATION: 5} == counts
    assert 5 == recording.snapshot().find(work).interval.count


def test_a_destructor_that_records_disturbs_no_reading() -> None:
    """Python may collect garbage at any allocation, in the midst of a look at all series too."""
    recording = Recording()
    for number in range(2_000):
        recording.scope.series(f"app.made.by.{number}", "1", "counter")

    class Loop:
        def __init__(self) -> None:
            self.itself = self

        def __del__(self) -> None:
            recording.scope.series("app.made.late", "1", "counter")

    thresholds = gc.get_threshold()
    gc.collect()
    # Far fewer objects are made before the look than in it.
    gc.set_threshold(2_000)
    try:
        Loop()
        recording.snapshot()
    finally:
        gc.set_threshold(*thresholds)
    gc.collect()
    assert "app.made.late" in {series.name for series in recording.snapshot().series.values()}
