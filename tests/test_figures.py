"""What files say of a snapshot: the times, the texts, the statistics, and which of them are news."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.snapshots import START_NS, Story
from holter.figures import LONGEST_TEXT, News, plain, statistics, timestamp
from holter.model import Reading, Series


@given(st.integers(min_value=0, max_value=2**62))
def test_a_timestamp_is_iso_8601_cut_to_milliseconds(time_ns: int) -> None:
    """It reads back as the same millisecond, in UTC."""
    text = timestamp(time_ns)
    assert text.endswith("Z")
    assert len(text) == len("2026-11-22T13:03:09.225Z")
    milliseconds = (datetime.fromisoformat(text) - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1000
    assert round(milliseconds) == time_ns // 1_000_000


def test_a_timestamp_keeps_its_zeros() -> None:
    """A whole second has its milliseconds too, so that all texts are of one length."""
    assert timestamp(0) == "1970-01-01T00:00:00.000Z"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a\nb", "a\\nb"),
        ("x" * 5000, "x" * (LONGEST_TEXT - 1) + "…"),
        (True, True),
        (None, None),
        (3, 3),
        (0.5, 0.5),
        (math.nan, None),
        (-math.inf, None),
        (np.int64(3), 3),
        (np.float32(0.5), 0.5),
        ({"a\x1b": [1, {"b": math.nan}]}, {"a\\x1b": [1, {"b": None}]}),
        (("a", 1), ["a", 1]),
        (datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02 00:00:00+00:00"),
    ],
)
def test_plain_values_are_what_json_holds(value: object, expected: object) -> None:
    """Texts on one line, Python's own numbers, nothing that is not finite."""
    assert plain(value) == expected
    assert type(plain(value)) is type(expected)


def test_a_histogram_has_totals_and_the_figures_of_its_interval() -> None:
    """Totals since recording began beside what the interval was like; quantiles come from the histogram."""
    story = Story()
    key = story.record("x", [1.0, 3.0], units=7)
    story.snapshot()
    story.record("x", [2.0] * 10, units=5)
    snapshot = story.snapshot(seconds=4)
    named = statistics(snapshot.series[key], snapshot.interval[key], snapshot.total[key], 4.0)
    assert [
        *("count", "sum", "units", "interval_count", "rate", "units_rate", "mean", "min", "p50", "p90", "p99", "max")
    ] == list(named)
    assert [12, 24.0, 12, 10, 2.5, 1.25, 2.0, 2.0, 2.0] == [
        value for name, value in named.items() if name not in ("p50", "p90", "p99")
    ]
    assert named["p90"] == pytest.approx(2.0, rel=0.0055)


def test_quantiles_of_a_sample_say_how_large_it_was() -> None:
    """Where records were lost, `sampled` is the number of those that were read."""
    story = Story()
    key = story.record("x", [1.0, 3.0])
    snapshot = story.snapshot()
    lossy = replace(snapshot.interval[key], count=100)
    assert statistics(snapshot.series[key], lossy, lossy, 10.0)["sampled"] == 2
    assert "sampled" not in statistics(snapshot.series[key], snapshot.interval[key], lossy, 10.0)


def test_numbers_are_pythons_own() -> None:
    """What numpy computed prints as a number, not as `np.float64(1.0)`."""
    reading = Reading(np.int64(1), np.float64(2), np.int64(3), np.float64(1), np.float64(1), np.float64(1))
    for kind in ("counter", "gauge", "histogram"):
        named = statistics(Series(0, "x", "1", kind), reading, reading, 1.0)
        assert {type(value) for value in named.values()} <= {int, float}


def test_an_interval_of_no_time_has_no_rate() -> None:
    """Nothing is divided by zero."""
    reading = Reading(1, 1.0, last=1.0)
    assert [False] * 2 == [
        "rate" in statistics(Series(0, "x", "1", kind), reading, reading, 0.0) for kind in ("counter", "histogram")
    ]


def test_of_what_goes_up_and_down_the_newest_value_counts() -> None:
    """Calls in flight are a level, as a gauge is: three, then two, are two and not five."""
    reading = Reading(2, 5.0, minimum=2.0, maximum=3.0, last=2.0)
    series = Series(0, "holter.call.active", "{call}", "updowncounter")
    assert {"last": 2.0, "min": 2.0, "max": 3.0} == statistics(series, reading, reading, 1.0)


def gauge_story(*intervals: list[float]) -> list[list[str]]:
    """Return which series were news in each of the *intervals*."""
    story, news, found = Story(), News(), []
    for values in intervals:
        story.record("g", values, kind="gauge")
        snapshot = story.snapshot()
        found.append([series.name for series in news.of(snapshot)])
        news.written(snapshot, "file")
    return found


def test_a_gauge_is_news_when_it_changes_or_has_varied() -> None:
    """Also when it comes back to where it was; not when it is measured again."""
    assert [["g"], [], ["g"], [], ["g"], []] == gauge_story([1.0], [1.0, 1.0], [2.0], [2.0], [2.0, 9.0, 2.0], [2.0])


def test_a_counter_is_news_when_its_value_changes() -> None:
    """Adding nothing is no news, the first zero is."""
    story, news, found = Story(), News(), []
    for value in (0.0, 0.0, 2.0, 0.0):
        story.record("c", [value], kind="counter")
        snapshot = story.snapshot()
        found.append(len(news.of(snapshot)))
        news.written(snapshot, "file")
    assert [1, 0, 1, 0] == found


def test_what_was_not_written_stays_news() -> None:
    """An export that failed has told nobody."""
    story, news = Story(), News()
    story.record("g", [1.0], kind="gauge")
    snapshot = story.snapshot()
    assert len(news.of(snapshot)) == len(news.of(snapshot)) == 1


def test_in_a_new_file_all_is_news_again() -> None:
    """After a rotation the figures that stand still are written once more."""
    story, news, found = Story(), News(), []
    for place in ("a", "a", "b", "b", "b"):
        story.record("g", [1.0], kind="gauge")
        snapshot = story.snapshot()
        found.append(len(news.of(snapshot)))
        news.written(snapshot, place)
    assert [1, 0, 0, 1, 0] == found


def test_news_of_a_snapshot_with_strangers() -> None:
    """A reading whose series is not told is left out."""
    story = Story()
    story.record("g", [1.0], kind="gauge")
    snapshot = replace(story.snapshot(), series={}, time_ns=START_NS)
    news = News()
    assert [] == news.of(snapshot)
    news.written(snapshot, "file")
