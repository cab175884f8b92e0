"""Counters, gauges and histograms: exact figures of what is a number, and a count of what is none."""

from __future__ import annotations

import math
import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.watched import internal_errors, values
from holter import names
from holter.monitor import Monitor

NO_NUMBERS = (None, "1", b"1", [1], 1j, object(), np.array([1, 2]), np.str_("1"), np.datetime64("2026-01-01"), 10**400)
NUMBERS = (
    1,
    1.5,
    True,
    np.int8(1),
    np.uint64(2**63),
    np.float16(0.5),
    np.float32(0.1),
    np.longdouble(2),
    np.array([3]),
    np.array(4.0),
)


@pytest.fixture
def monitor() -> Monitor:
    return Monitor("test", samplers=[])


def refused(monitor: Monitor, metric: str = names.VALUES_REFUSED) -> float:
    """Return how many values were not taken."""
    found = monitor.snapshot().find(metric)
    return 0 if found is None else found.total.sum


@given(st.lists(st.floats(0, 1e15) | st.integers(0, 2**53), min_size=1, max_size=50))
def test_a_counter_is_the_sum_of_what_was_added(amounts: list[float]) -> None:
    """Amounts of every size add up as Python's own sum does."""
    monitor = Monitor("test", samplers=[])
    counter = monitor.counter("app.work")
    for amount in amounts:
        counter.add(amount)
    found = monitor.snapshot().find("app.work")
    assert found is not None
    assert (len(amounts), pytest.approx(math.fsum(amounts))) == (found.total.count, found.total.sum)


def test_a_counter_adds_one_by_default(monitor: Monitor) -> None:
    """Threads may share a counter, and no addition is lost."""
    counter = monitor.counter("app.hits", unit="{hit}", attributes={"cache": "a"})
    threads = [threading.Thread(target=lambda: [counter.add() for _ in range(5000)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = monitor.snapshot().find("app.hits", {"cache": "a"})
    assert found is not None
    assert (40_000, "counter") == (found.total.sum, found.kind)


def test_a_gauge_is_what_it_was_set_to_last(monitor: Monitor) -> None:
    """Its extremes are known too."""
    gauge = monitor.gauge("app.load")
    for value in (0.5, -2, 7, 3):
        gauge.set(value)
    found = monitor.snapshot().find("app.load")
    assert found is not None
    assert (3, -2, 7) == (found.total.last, found.total.minimum, found.total.maximum)


def test_a_gauge_may_be_no_finite_number(monitor: Monitor) -> None:
    """Infinity and not-a-number are values of a gauge until the next one."""
    gauge = monitor.gauge("app.loss")
    for value in (1.0, math.inf, math.nan):
        gauge.set(value)
    found = monitor.snapshot().find("app.loss")
    assert found is not None
    assert math.isnan(found.total.last or 0)
    gauge.set(2.0)
    found = monitor.snapshot().find("app.loss")
    assert found is not None
    assert 2.0 == found.total.last
    assert 0 == refused(monitor)


def test_a_gauge_that_holter_reads_is_asked_at_each_interval(monitor: Monitor) -> None:
    """What `read` returns is the value; where it raises or returns no number, that is counted."""
    answers: list[Any] = [1, 2.5, "3", None, 4]

    def read() -> Any:
        return answers.pop(0)

    def broken() -> Any:
        raise SystemExit

    monitor.gauge("app.queue.depth", read=read)
    monitor.gauge("app.broken", read=broken)
    seen = []
    for _ in range(5):
        found = monitor.snapshot().find("app.queue.depth")
        assert found is not None
        seen.append(found.total.last)
    assert [1, 2.5, 2.5, 2.5, 4] == seen
    assert 1 == refused(monitor)
    assert {"gauge app.broken": 6} == {
        place: count for place, count in internal_errors(monitor.snapshot()).items() if "broken" in place
    } | {"gauge app.broken": 6}


@given(st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=50))
def test_a_histogram_knows_count_sum_and_extremes(measured: list[float]) -> None:
    """They are those of the values that were recorded."""
    monitor = Monitor("test", samplers=[])
    histogram = monitor.histogram("app.size", unit="{row}")
    for value in measured:
        histogram.record(value)
    found = monitor.snapshot().find("app.size")
    assert found is not None
    assert (len(measured), min(measured), max(measured)) == (
        found.total.count,
        found.total.minimum,
        found.total.maximum,
    )


@pytest.mark.parametrize("value", NUMBERS, ids=lambda value: type(value).__name__)
def test_numbers_of_python_and_numpy_are_taken(value: Any, monitor: Monitor) -> None:
    """Scalars of every width and arrays with one element are the number that they are."""
    monitor.counter("app.counter").add(value)
    monitor.gauge("app.gauge").set(value)
    monitor.histogram("app.histogram").record(value)
    snapshot = monitor.snapshot()
    for metric in ("app.counter", "app.gauge", "app.histogram"):
        assert (1, float(np.asarray(value).reshape(()))) == (
            values(snapshot, metric)[0],
            pytest.approx(snapshot.find(metric).total.last),
        )  # type: ignore[union-attr]


@pytest.mark.parametrize("value", NO_NUMBERS, ids=lambda value: type(value).__name__)
def test_what_is_no_number_is_refused_and_counted(value: Any, monitor: Monitor) -> None:
    """Nothing is raised and nothing recorded; a figure says how often, and the strict monitor says where."""
    monitor.counter("app.counter").add(value)
    monitor.gauge("app.gauge").set(value)
    monitor.histogram("app.histogram").record(value)
    assert 3 == refused(monitor)
    snapshot = monitor.snapshot()
    assert {"app.counter": 1, "app.gauge": 1, "app.histogram": 1} == internal_errors(snapshot)
    assert [0, 0, 0] == [values(snapshot, metric)[0] for metric in ("app.counter", "app.gauge", "app.histogram")]


def test_values_that_would_spoil_a_sum_are_counted_apart(monitor: Monitor) -> None:
    """Not-a-number and infinity are neither in a counter nor in a histogram; a counter does not fall."""
    counter, histogram = monitor.counter("app.counter"), monitor.histogram("app.histogram")
    for value in (math.nan, math.inf, 1.0):
        counter.add(value)
        histogram.record(value)
    histogram.record(-math.inf)
    for value in (-1, -1e-300, -math.inf, np.float32(-1)):
        counter.add(value)
    snapshot = monitor.snapshot()
    assert [(1, 1.0, 1.0, 1.0)] * 2 == [values(snapshot, metric) for metric in ("app.counter", "app.histogram")]
    assert (5, 4) == (refused(monitor, names.VALUES_NONFINITE), refused(monitor))


def test_huge_numbers_are_taken(monitor: Monitor) -> None:
    """A whole number that a double can hold is a value, however many digits it has."""
    monitor.counter("app.counter").add(10**300)
    monitor.counter("app.counter").add(1e300)
    assert (2, 2e300) == values(monitor.snapshot(), "app.counter")[:2]
