"""Many series at once, in C and in numpy, against each series by itself."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holter.distribution import CARRIES, FINEST_SCALE, WINDOW, Histogram, edge, indices
from holter.reading import Reading
from holter.record import RECORD
from holter.ring import NATIVE
from holter.tally import Tally, group

IDS = (0, 1, 5, 255, 256, 300, 70_000)
FACTORS = np.ones(max(IDS) + 1)
FACTORS[5], FACTORS[300] = 1e-9, 0.25
SPECIAL = [0.0, -0.0, 5e-324, 2.3e-308, 1.0, 2.0, 1.7976931348623157e308, math.nan, math.inf, -math.inf, -1.0, -5e-324]

any_value = st.floats(width=64) | st.sampled_from(SPECIAL) | st.floats(0.5, 2)
row = st.tuples(st.sampled_from(IDS), any_value, st.integers(-3, 30))
# Intervals of batches of rings of rows.
lives = st.lists(st.lists(st.lists(st.lists(row, max_size=20), min_size=1, max_size=3), max_size=3), max_size=4)

KINDS = [pytest.param(None, id="numpy")]
KINDS.append(pytest.param(NATIVE, id="C", marks=pytest.mark.skipif(NATIVE is None, reason="pip install -e . with gcc")))


def records_of(rows: list[tuple[int, float, int]]) -> np.ndarray:
    """Return records with these ids, values and times."""
    records = np.zeros(len(rows), RECORD)
    for name, column in zip(("series", "value", "time_ns"), zip(*rows, strict=True), strict=False):
        records[name] = column
    return records


def by_hand(rows: list[tuple[int, float, int]]) -> dict[int, Reading]:
    """Return the readings of *rows*, series by series, as the definitions say."""
    readings = {}
    for key in {series for series, _, _ in rows}:
        values = np.array([value for series, value, _ in rows if series == key]) * FACTORS[key]
        times = [time for series, _, time in rows if series == key]
        numbers = [value for value in values.tolist() if not math.isnan(value)]
        last_ns = max(times)
        readings[key] = Reading(
            count=len(values),
            sum=float(np.sum(values)),
            minimum=min(numbers, default=None),
            maximum=max(numbers, default=None),
            first=float(values[times.index(min(times))]),
            last=float(values[len(times) - 1 - times[::-1].index(last_ns)]),
            histogram=Histogram.of(values),
            first_ns=min(times),
            last_ns=last_ns,
        )
    return readings


def facts(readings: dict[int, Reading]) -> dict[int, list[Any]]:
    """Return what can be compared: all but sums, which are rounded, and NaN as a word."""
    names = ("count", "units", "minimum", "maximum", "first", "last", "histogram", "first_ns", "last_ns")
    return {
        key: ["NaN" if (fact := getattr(reading, name)) != fact else fact for name in names]
        for key, reading in readings.items()
    }


@pytest.mark.parametrize("native", KINDS)
@given(life=lives)
@pytest.mark.filterwarnings("ignore:.*encountered:RuntimeWarning")  # of the values by hand
def test_many_series_are_each_as_if_alone(native: Any, life: list[Any]) -> None:
    """However an interval's records are cut into rings and batches, whatever they hold, in any order of times."""
    tally = Tally(native)
    for interval in life:
        for batch in interval:
            tally.add([records_of(rows) for rows in batch], FACTORS)
        rows = [one for batch in interval for rows in batch for one in rows]
        found, expected = tally.close(), by_hand(rows)
        assert facts(expected) == facts(found)
        for key, reading in expected.items():
            if math.isfinite(reading.sum) and all(map(math.isfinite, (reading.minimum or 0, reading.maximum or 0))):
                size = reading.count * max(abs(reading.minimum or 0), abs(reading.maximum or 0))
                assert reading.sum == pytest.approx(found[key].sum, abs=1e-12 * size)


@pytest.mark.parametrize("native", KINDS)
@pytest.mark.parametrize("sigma", [0.1, 1.0, 4.0, 40.0])
def test_large_batches_are_counted_whole(native: Any, sigma: float) -> None:
    """Over several intervals of several batches, with windows that grow, move and coarsen on the way."""
    random, tally = np.random.default_rng(7), Tally(native)
    for interval in range(3):
        values, ids = [], []
        for _ in range(3):
            records = np.zeros(30_000, RECORD)
            records["series"] = random.choice(IDS, len(records)) if interval != 1 else IDS[1]
            records["value"] = random.lognormal(interval, sigma, len(records)) * random.choice([1, 1, -1], len(records))
            tally.add([records[:17_000], records[17_000:17_000], records[17_000:]], FACTORS)
            values.append(records["value"] * FACTORS[records["series"]])
            ids.append(records["series"])
        value, series = np.concatenate(values), np.concatenate(ids)
        expected = {int(key): Histogram.of(value[series == key]) for key in np.unique(series)}
        assert expected == {key: reading.histogram for key, reading in tally.close().items()}


@pytest.mark.parametrize("native", KINDS)
def test_more_series_may_come_at_any_time(native: Any) -> None:
    """Ids that were not there at the first batch, and more of them than there was room for."""
    tally = Tally(native)
    for count in (1, 2, 500, 3000):
        records = np.zeros(count, RECORD)
        records["series"], records["value"] = np.arange(count)[::-1], 2.0
        tally.add([records], np.ones(count))
    assert {0: 4, 1: 3, 2: 2, 499: 2, 500: 1, 2999: 1}.items() <= {
        key: reading.count for key, reading in tally.close().items()
    }.items()


@pytest.mark.parametrize("native", KINDS)
def test_a_record_of_an_unknown_series_is_refused(native: Any) -> None:
    """Nothing is read or written beyond what there is."""
    with pytest.raises((ValueError, IndexError)):
        Tally(native).add([records_of([(3, 1.0, 0)])], np.ones(3))


@pytest.mark.parametrize("native", KINDS)
def test_records_are_left_as_they_were(native: Any) -> None:
    """The same arrays may be taken in elsewhere too."""
    records = records_of([(1, 1.0, 1), (300, -1e9, 2), (1, math.nan, 3)])
    before = records.tobytes()
    Tally(native).add([records], FACTORS)
    assert before == records.tobytes()


@pytest.mark.parametrize("native", KINDS)
def test_what_is_held_stays_within_its_bound(native: Any) -> None:
    """Two windows of 1,088 buckets, 4 bytes each, and 300 a series at most, however wide the values."""
    count, random, tally = 50, np.random.default_rng(1), Tally(native)
    records = np.zeros(100_000, RECORD)
    records["series"] = random.integers(0, count, len(records))
    tracemalloc.start()
    for _ in range(5):
        records["value"] = 10.0 ** random.uniform(-300, 300, len(records)) * random.choice([-1, 1], len(records))
        tally.add([records], np.ones(count))
        tally.close()
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count * (2 * (WINDOW + 64) * 4 + 300) + 50_000 > held > 0


@pytest.mark.parametrize("native", KINDS)
def test_a_reading_keeps_nothing_but_itself(native: Any) -> None:
    """One narrow histogram out of a large batch holds 8 bytes of counts, not the counts of the whole batch."""
    records = np.zeros(2000, RECORD)
    records["series"], records["value"] = np.repeat(np.arange(1000), 2), np.tile([1.0, 1000.0], 1000)
    records["value"][:2] = 1.0
    tracemalloc.start()
    tally = Tally(native)
    tally.add([records], np.ones(1000))
    kept = tally.close()[0]
    del tally
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(kept.histogram, Histogram)
    assert 8 == kept.histogram.positive.counts.nbytes
    assert 4096 > held > 0


@pytest.mark.parametrize(
    "ids", [[], [4, 4, 4], [9, 3] * 50, [250, 260, 250, 255, 256], [7, 900, 7] * 50, [7, 70_000] * 50, [0, 2**32 - 1]]
)
def test_groups_reduce_any_column_by_series(ids: list[int]) -> None:
    """First, last, smallest and count of each series come from one grouping, rows in their order."""
    series, column = np.array(ids, dtype=np.uint32), np.arange(len(ids))
    groups = group(series)
    arranged = groups.arrange(column)
    rows = {key: np.flatnonzero(series == key).tolist() for key in set(ids)}
    found = [arranged[start : start + size] for start, size in zip(groups.starts, groups.sizes, strict=True)]
    assert sorted(rows) == sorted(groups.ids.tolist())
    assert rows == {key: part.tolist() for key, part in zip(groups.ids.tolist(), found, strict=True)}
    if ids:
        smallest = np.minimum.reduceat(arranged, groups.starts)
        assert [min(rows[key]) for key in groups.ids.tolist()] == smallest.tolist()
        assert column.tolist() == sorted(groups.places(np.arange(len(ids))).tolist())


NATIVE_CALLS: dict[str, Callable[[], object]] = {
    "ring too short": lambda: NATIVE.copy(np.zeros(8, np.uint64), np.zeros(1, RECORD), 1),
    "capacity that is none": lambda: NATIVE.copy(np.zeros(8192, np.uint64), np.zeros(1, RECORD), 1),
    "records in part": lambda: NATIVE.copy(np.zeros(8192, np.uint64), bytearray(33), 1),
    "no room for places": lambda: NATIVE.survey(
        np.zeros(2, RECORD), np.ones(1), np.zeros(128, np.int64), np.zeros(1, np.int64), bytearray(128),
        np.zeros(1, np.int64), 0, 0,
    ),
    "carries of another length": lambda: NATIVE.survey(
        np.zeros(1, RECORD), np.ones(1), np.zeros(127, np.int64), np.zeros(1, np.int64), bytearray(128),
        np.zeros(1, np.int64), 0, 0,
    ),
    "more rows than there are": lambda: NATIVE.survey(
        np.zeros(1, RECORD), np.ones(1), np.zeros(128, np.int64), np.zeros(1, np.int64), bytearray(128),
        np.zeros(1, np.int64), 0, 2,
    ),
}  # fmt: skip


@pytest.mark.skipif(NATIVE is None, reason="pip install -e . with gcc")
def test_a_value_has_the_same_bucket_in_c() -> None:
    """Floats of any bits, and the neighbours of all edges from the smallest subnormal to the largest float."""
    edges = np.array([edge(index, FINEST_SCALE) for index in range(-1074 * 64, 1024 * 64)])
    bits = np.random.default_rng(3).integers(1, 0x7FF0_0000_0000_0000, 200_000)
    values = np.concatenate([edges, np.nextafter(edges, 0), np.nextafter(edges, np.inf), bits.view(np.float64)])
    values = values[(values > 0) & (values < np.inf)]
    for sign, sent in enumerate((values, -values)):
        records, places = np.zeros(len(values), RECORD), np.zeros(len(values), np.int64)
        records["value"] = sent
        row = bytearray(128)
        assert (len(values), 1) == NATIVE.survey(records, np.ones(1), CARRIES, np.full(1, -1), row, places, 0, 0)
        assert {sign} == set((places >> 32).tolist())
        assert (indices(values) == places.astype(np.int32)).all()


@pytest.mark.skipif(NATIVE is None, reason="pip install -e . with gcc")
@pytest.mark.parametrize("name", NATIVE_CALLS)
def test_what_does_not_fit_is_refused_in_c(name: str) -> None:
    """Lengths are looked at before anything is read."""
    with pytest.raises(ValueError, match="expected"):
        NATIVE_CALLS[name]()


@pytest.mark.skipif(NATIVE is None, reason="pip install -e . with gcc")
def test_a_count_outside_of_its_window_is_left_to_the_caller() -> None:
    """Of the places that were told, so many were counted; none of them beyond the counts."""
    windows, counts = np.array([5, 2, 0, 0]), np.zeros(2, np.uint32)
    none: Any = np.zeros(0, np.uint32)
    assert 2 == NATIVE.count(np.array([5, 6, 7]), windows, windows, counts, none, 0)
    assert 0 == NATIVE.count(np.array([1 << 33 | 5]), windows, windows, counts, none, 0)
    assert 0 == NATIVE.count(np.array([1 << 32 | 5]), windows, windows, counts, none, 0)
    assert [1, 1] == counts.tolist()
