"""The recent past of the busiest series."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holter.errors import ConfigurationError
from holter.history import History
from simulation import SECOND_NS, START_NS, World


@given(
    intervals=st.integers(1, 7),
    counts=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=20),
)
def test_it_holds_the_last_intervals_of_each_series(intervals: int, counts: list[tuple[int, int]]) -> None:
    """Oldest first, zero where a series did not move, whatever has been overwritten before."""
    history, world = History(intervals), World()
    ids = [world.one("a"), world.one("b")]
    for pair in counts:
        for series, count in zip(ids, pair, strict=True):
            world.values(series, np.full(count, 0.5))
        history.add(world.snapshot())
    kept = counts[-intervals:]
    assert len(kept) == len(history)
    for place, series in enumerate(ids):
        column = history.column(series)
        assert [pair[place] for pair in kept] == column["count"].tolist()
        assert [pair[place] * 0.5 for pair in kept] == column["sum"].tolist()


def test_quantiles_are_those_of_each_interval() -> None:
    """p50 and p99 come from the interval's own histogram, within its stated error."""
    random, history, world = np.random.default_rng(7), History(), World()
    series, expected = world.one("a"), []
    for _ in range(20):
        values = random.lognormal(0, 1, 300)
        world.values(series, values)
        history.add(world.snapshot())
        expected.append(np.quantile(values, [0.5, 0.99], method="inverted_cdf"))
    column = history.column(series)
    np.testing.assert_allclose(np.stack([column["p50"], column["p99"]], axis=1), expected, rtol=0.006)


def test_a_gauge_shows_its_last_value() -> None:
    """What has no histogram has its last value as both quantiles."""
    history, world = History(), World()
    series = world.one("queue", "gauge", "1")
    world.values(series, [3.0, 8.0])
    history.add(world.snapshot())
    assert (8.0, 8.0) == tuple(history.column(series)[["p50", "p99"]][0])


def test_a_series_whose_records_were_lost_has_no_quantile() -> None:
    """Count and sum are exact, the quantiles NaN."""
    history, world = History(), World()
    series = world.one("a")
    world.grow(series, 2.5)
    history.add(world.snapshot())
    column = history.column(series)
    assert (1, 2.5, True) == (column["count"][0], column["sum"][0], math.isnan(column["p50"][0]))


def test_times_are_those_of_the_intervals() -> None:
    """Unix time at the end of each interval, and its length in seconds."""
    history, world = History(3), World(seconds=2.0)
    for _ in range(5):
        history.add(world.snapshot())
    assert [START_NS + index * 2 * SECOND_NS for index in (3, 4, 5)] == history.times_ns().tolist()
    assert [2.0, 2.0, 2.0] == history.seconds().tolist()


def test_memory_is_bounded() -> None:
    """600 intervals of 200 series, and no more whatever comes, fit in the 4 MiB that a recording has for them."""
    history, world = History(), World()
    for _ in range(3):
        for number in range(500):
            world.grow(world.one(f"user.{number}", "counter"), 1)
        history.add(world.snapshot())
    assert history.axis.nbytes + history.points.nbytes < 4 * 2**20
    assert (200, 300) == (len(history.series), history.left_out)


def test_the_busiest_series_keep_their_rows() -> None:
    """A newcomer that counts more gets the row of the quietest; one that counts less is left out."""
    history, world = History(series=2), World()
    quiet, busy, idle, newcomer = (world.one(name) for name in "abcd")
    world.values(quiet, np.ones(2))
    world.values(busy, np.ones(9))
    history.add(world.snapshot())
    world.values(idle, np.ones(1))
    history.add(world.snapshot())
    assert ({quiet, busy}, 1) == (set(history.series), history.left_out)
    world.values(newcomer, np.ones(5))
    history.add(world.snapshot())
    assert ({busy, newcomer}, 0) == (set(history.series), history.left_out)
    assert [0, 0, 5] == history.column(newcomer)["count"].tolist()
    assert [0, 0, 0] == history.column(quiet)["count"].tolist()


def test_of_many_newcomers_the_busiest_get_the_rows() -> None:
    """Whatever their ids."""
    history, world = History(series=2), World()
    for number, count in enumerate((1, 9, 2, 8, 3)):
        world.values(world.one(f"user.{number}"), np.ones(count))
    history.add(world.snapshot())
    assert ({"user.1", "user.3"}, 3) == ({series.name for series in history.series.values()}, history.left_out)


def test_a_series_that_has_fallen_silent_loses_its_weight() -> None:
    """Busy is what counted within the history, not ever."""
    history, world = History(2, series=1), World()
    world.values(world.one("once"), np.ones(1000))
    history.add(world.snapshot())
    for _ in range(2):
        history.add(world.snapshot())
    now = world.one("now")
    world.values(now, np.ones(1))
    history.add(world.snapshot())
    assert {now} == set(history.series)


def test_a_copy_stays_as_it_was() -> None:
    """It holds the same, and goes on holding it whatever is added to the other."""

    def held(history: History) -> list[object]:
        columns = [history.column(series).tolist() for series in (first, second)]
        return [columns, history.times_ns().tolist(), history.seconds().tolist(), dict(history.series)]

    history, world = History(4), World()
    first, second = world.one("a"), world.one("b")
    for value in range(6):
        world.values(first, [float(value)] * 3)
        history.add(world.snapshot())
    taken, before = history.copy(), held(history)
    assert before == held(taken)
    world.values(first, [9.0])
    world.values(second, [9.0])
    history.add(world.snapshot())
    assert before == held(taken) != held(history)


@pytest.mark.parametrize(("intervals", "series"), [(0, 1), (1, 0), (-3, 5)])
def test_it_refuses_to_hold_nothing(intervals: int, series: int) -> None:
    """At least one interval of one series."""
    with pytest.raises(ConfigurationError, match="at least 1"):
        History(intervals, series=series)
