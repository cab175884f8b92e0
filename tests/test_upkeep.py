"""When the collector drains, and what a monitor records by itself."""

from __future__ import annotations

from holter.upkeep import planned_wait


def test_wakes_up_before_the_busiest_ring_is_full() -> None:
    """The wait is half of the time that the busiest ring takes to fill; 5 ms at least, 100 ms at most, 250 at rest."""
    plans = {rate: [planned_wait(until, rate) for until in (10.0, 0.02, -1.0)] for rate in (0, 0.1, 1, 10, 50, 10_000)}
    assert {
        0: [0.25, 0.02, 0.005],
        0.1: [0.25, 0.02, 0.005],
        1: [0.1, 0.02, 0.005],
        10: [0.05, 0.02, 0.005],
        50: [0.01, 0.01, 0.005],
        10_000: [0.005, 0.005, 0.005],
    } == plans
