"""The words for figures in narrow columns."""

from __future__ import annotations

import math

import pytest

from holter.view.wanted import ORDERS, WINDOWS, View, brief, percent


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.0123456, "12 ms"),
        (0.123456, "123 ms"),
        (1.23456, "1.2 s"),
        (59.99, "1 min"),
        (3723, "1 h 2 min"),
        (math.inf, "inf s"),
    ],
)
def test_durations_are_short(seconds: float, expected: str) -> None:
    """Two digits, or three where the unit asks for them."""
    assert expected == brief(seconds)


@pytest.mark.parametrize(
    ("share", "expected"),
    [(0.5049, "50 %"), (0.0123, "1.2 %"), (0.9999, "99.99 %"), (12.3456, "1,235 %"), (1.0, "100 %")],
)
def test_shares_are_short(share: float, expected: str) -> None:
    """Whole per cent; more digits where it is small, or nearly all."""
    assert expected == percent(share)


def test_a_view_begins_with_the_last_interval_by_rate() -> None:
    """Of all processes together."""
    view = View()
    assert (ORDERS[0], WINDOWS[0], False) == (view.order, view.window_seconds, view.is_apart)
