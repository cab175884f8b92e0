"""Hours of the day: whether they differ, what is usual at each, and that it is not forgotten."""

from __future__ import annotations

import numpy as np
import pytest

from holter.hours import Hours

HOUR_NS = 3_600 * 10**9
USUAL = np.array([0.5, 0.2, 0.0, 0.0])


def filled(night: float, rows: float = 1_000.0) -> Hours:
    """Return a day whose first eight hours have another share of the first feature."""
    hours = Hours(4)
    for hour in range(24):
        share = np.array([night if hour < 8 else 0.5, 0.2, 0.0, 0.0])
        hours.learn(hour, np.full(4, rows), share * rows)
    return hours


def test_the_hour_is_that_of_the_day_in_utc() -> None:
    """Of Unix time."""
    assert (0, 23, 0) == (Hours.of(0), Hours.of(24 * HOUR_NS - 1), Hours.of(24 * HOUR_NS))


@pytest.mark.parametrize(
    ("night", "rows", "differs"), [(0.5, 1e3, False), (0.7, 1e3, True), (0.7, 50, False), (0.51, 1e6, False)]
)
def test_hours_differ_where_that_is_large_and_sure(night: float, rows: float, *, differs: bool) -> None:
    """Half the smallest shift, and three standard errors."""
    assert differs == filled(night, rows).differ(USUAL, 1.0, 0.05)


def test_what_is_missing_at_night_is_not_a_pattern() -> None:
    """Only values are: what is missing is judged at all hours alike."""
    hours = Hours(4)
    for hour in range(24):
        hours.learn(hour, np.full(4, 1_000.0), np.array([500.0, 200.0, 900.0 * (hour < 8), 0.0]))
    assert not hours.differ(USUAL, 1.0, 0.05)


def test_an_hour_is_known_by_500_independent_rows() -> None:
    """Rows that go together count for fewer."""
    hours = filled(0.7)
    assert hours.shares(3, 0.4) is None
    known = hours.shares(3, 0.6)
    assert [0.7, 0.2, 0.0, 0.0] == pytest.approx(known.values.tolist())
    assert 600.0 == known.rows[0]


def test_it_outlives_a_restart() -> None:
    """Through text; one of another column is refused."""
    hours, other = filled(0.7), Hours(4)
    other.load(hours.save())
    assert (hours.rows == other.rows).all()
    assert np.allclose(hours.counts, other.counts)
    with pytest.raises(ValueError, match="reshape"):
        Hours(5).load(hours.save())
