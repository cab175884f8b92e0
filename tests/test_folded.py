"""What the collector has folded, written and read back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holter.distribution import WINDOW, Histogram
from holter.folded import Folded, encode
from holter.layout import FOLD_HEADER, READING
from holter.model import Process, Reading, Snapshot
from holter.record import CELL

NO_CELLS = np.zeros(64, CELL)
MIB = 2**20

readings = st.builds(
    lambda values, units, count: Reading(
        count=count + len(values),
        sum=float(sum(values)),
        units=units,
        minimum=min(values, default=None),
        maximum=max(values, default=None),
        last=values[-1] if values else None,
        histogram=Histogram.of(values) if values or units % 2 else None,
        first=values[0] if values else None,
        first_ns=units,
        last_ns=2 * units,
    ),
    st.lists(st.floats(-1e300, 1e300, allow_subnormal=True), max_size=20),
    st.integers(0, 2**40),
    st.integers(0, 2**40),
)


def snapshot(total: dict[int, Reading], **more: Any) -> Snapshot:
    """Return a snapshot with these totals."""
    return Snapshot(0, 0, {}, total, {}, process=Process("sentiment"), **more)


def round_trip(*snapshots: Snapshot, most: int = MIB, cursors: Any = (), cells: Any = NO_CELLS) -> Folded:
    """Return what is read back of what was written."""
    parts, wanted = encode(snapshots, dict(cursors), cells, most)
    content = b"".join(parts)
    assert len(content) <= max(most, wanted)
    if wanted <= most:
        assert wanted == len(content)
    fold = Folded.decode(content)
    assert fold is not None
    return fold


@given(st.dictionaries(st.integers(1, 2**32 - 1), readings, max_size=6))
def test_readings_come_back_as_they_were(total: dict[int, Reading]) -> None:
    """Every field, and the histogram bucket by bucket; a series that was not there is not there."""
    fold = round_trip(snapshot(total))
    assert sorted(total) == sorted(fold.series().tolist())
    for key, reading in total.items():
        assert reading == fold.reading(key)
        assert fold.holds(key)
    assert fold.reading(0) is None
    assert not fold.holds(0)


def test_scopes_cursors_and_what_is_elsewhere_come_back() -> None:
    """Several snapshots make one fold, whose time is the latest; only cells that were used are written."""
    cells = np.zeros(128, CELL)
    cells[70] = (3, 1.5, 2, 4)
    one = snapshot({1: Reading(count=1)}, lost=5, monotonic_ns=7)
    two = snapshot({2: Reading(count=2)}, lost=4, monotonic_ns=9)
    fold = round_trip(one, two, cursors={0: 10, 5: 2**40}, cells=cells)
    assert (5, 9, 0) == (fold.lost, fold.monotonic_ns, fold.left_out)
    assert [10, 2**40, 0] == [fold.cursor(ring) for ring in (0, 5, 7)]
    assert (3, 1.5, 2, 4) == fold.cell(70).item()
    assert [70] == fold.elsewhere["series"].tolist()
    assert (None, None) == (fold.cell(69), fold.cell(71))
    assert [1, 2] == sorted(fold.series().tolist())


def test_the_busiest_series_come_first() -> None:
    """Where not all fit, those that counted least are left out, and their number is told; in several batches too."""
    total = {key: Reading(count=key, histogram=Histogram.of(np.geomspace(1, 100, 30))) for key in range(1, 1501)}
    whole = len(b"".join(encode([snapshot(total)], {}, NO_CELLS, 10 * MIB)[0]))
    fold = round_trip(snapshot(total), most=whole // 2)
    kept = fold.series().tolist()
    assert (1500 - len(kept), list(range(1500, 1500 - len(kept), -1))) == (fold.left_out, kept)
    assert 740 < len(kept) < 760
    assert all(total[key] == fold.reading(key) for key in kept[:5] + kept[-5:])
    assert 1500 == round_trip(snapshot(total), most=FOLD_HEADER.itemsize).left_out


def test_numbers_of_numpy_are_written() -> None:
    """As those of Python."""
    assert Reading(count=3, sum=0.5) == round_trip(
        snapshot({1: Reading(count=np.int64(3), sum=np.float64(0.5))})
    ).reading(1)


@given(st.data())
def test_any_bytes_are_read_or_refused(data: st.DataObject) -> None:
    """No bytes raise an error, and a histogram that is read has what every histogram has."""
    total = {key: Reading(count=9, histogram=Histogram.of([-1.0, 0.0, 2.5, 1e5])) for key in range(1, 4)}
    content = bytearray(b"".join(encode([snapshot(total)], {0: 4}, NO_CELLS, MIB)[0]))
    for _ in range(data.draw(st.integers(0, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    fold = Folded.decode(bytes(content[: data.draw(st.integers(0, len(content)))]))
    for key in fold.series().tolist() if fold else ():
        reading = fold.reading(key)
        if reading.histogram is not None:
            assert reading.histogram.merge(Histogram.of([1.0])).count == reading.histogram.count + 1
            assert isinstance(reading.histogram.quantile(0.5), float)


@pytest.mark.parametrize(
    "damage", [{"scale": 7}, {"scale": -11}, {"zeros": -1}, {"nonfinite": 2**60}, {"positive": -1}, {"positive": 3}]
)
def test_a_histogram_that_cannot_be_is_left_out(damage: dict[str, int]) -> None:
    """Its count and sum stay, or where the lengths are wrong nothing does."""
    parts, _ = encode([snapshot({1: Reading(count=9, sum=2.0, histogram=Histogram.of([1.0, 9.0]))})], {}, NO_CELLS, MIB)
    table = np.frombuffer(parts[1], READING).copy()
    for name, value in damage.items():
        table[name] = value
    fold = Folded.decode(b"".join([parts[0], table.tobytes(), *parts[2:]]))
    expected = None if "positive" in damage else Reading(count=9, sum=2.0)
    assert expected == (fold and replace(fold.reading(1), last=None))


def test_buckets_that_lie_too_far_apart_are_left_out() -> None:
    """So that a few bytes of a file take no more than a histogram may."""
    parts, _ = encode([snapshot({1: Reading(count=2, histogram=Histogram.of([1.0, 1.1]))})], {}, NO_CELLS, MIB)
    for distance, expected in ((WINDOW - 1, True), (WINDOW, False), (2**31 - 1, False), (-5, False)):
        indices = np.array([0, distance], "<i4").tobytes()
        fold = Folded.decode(b"".join([*parts[:-1], indices]))
        assert expected == (fold.reading(1).histogram is not None)


def test_nothing_was_saved_is_a_fold_too() -> None:
    """Of a process that died before its first interval."""
    assert (0, 0, [], None) == (Folded().lost, Folded().left_out, Folded().series().tolist(), Folded().reading(1))
    assert not Folded().holds(1)
