"""What holter costs: the calibration, and the share of the process that it works out."""

from __future__ import annotations

import threading

import pytest

from holter.clock import Clock
from holter.cost import Ledger, calibrate
from holter.model import Series
from holter.names import CALL_DURATION, SPAN_DURATION, STREAM_BETWEEN_ITEMS
from holter.recorder import RECORDER
from holter.ring import NATIVE

CALLS = Series(1, CALL_DURATION, "s", "histogram")
SPANS = Series(2, SPAN_DURATION, "s", "histogram")
VALUES = Series(3, "app.hits", "1", "counter")


class Cpu:
    """A process whose CPU time is told by the test."""

    def __init__(self) -> None:
        self.used_ns = 5_000
        self.clock = Clock(process_cpu_ns=lambda: self.used_ns)


def test_calibration_is_of_the_order_of_a_microsecond_and_made_once() -> None:
    """A call, a span and a value cost between 2 ns and 100 µs each; none of it is left in the recorder."""
    written, series = RECORDER.written, len(RECORDER.table)
    costs = calibrate()
    assert all(2 < cost < 100_000 for cost in costs)
    assert costs is calibrate()
    assert (written, series) == (RECORDER.written, len(RECORDER.table))


def test_the_share_is_that_of_records_and_threads() -> None:
    """Records since the start times their cost, and the CPU time of holter's threads, over that of the process."""
    cpu, costs = Cpu(), calibrate()
    ledger = Ledger(cpu.clock, (), [(CALLS, 10), (VALUES, 1)])
    assert None is ledger.share
    cpu.used_ns += 10_000_000
    ledger.collector_ns, ledger.readings_ns = 100_000, 20_000
    ledger.close([(CALLS, 110), (SPANS, 50), (VALUES, 1)], 3_000)
    expected = 100 * costs.call + 50 * costs.span + 123_000
    assert pytest.approx(expected / 10_000_000) == ledger.share


def test_longer_paths_cost_more() -> None:
    """A tag, another outcome, a failure, an item and a coroutine are weighed by what they were measured to cost."""

    def cost(series: Series, coroutines: tuple[int, ...] = ()) -> float:
        cpu = Cpu()
        ledger = Ledger(cpu.clock, coroutines, [])
        cpu.used_ns += 10**12
        ledger.close([(series, 1)], 0)
        return (ledger.share or 0) * 10**12

    def part(**attributes: str) -> Series:
        return Series(
            9, CALL_DURATION, "s", "histogram", {key.replace("__", "."): v for key, v in attributes.items()}, 1
        )

    expected = part(holter__call__outcome="expected")
    failed = part(holter__call__outcome="error", error__type="ValueError")
    costs = [cost(CALLS), cost(part(model="v7")), cost(expected), cost(failed), cost(failed, (1,))]
    assert sorted(costs) == costs
    assert cost(CALLS) < cost(CALLS, (1,))
    item = cost(Series(4, STREAM_BETWEEN_ITEMS, "s", "histogram"))
    # In C an item costs little more than a value, which is within what measuring them leaves open.
    assert item > (cost(VALUES) if NATIVE is None else 0)


def test_the_share_is_never_more_than_all() -> None:
    """A process that has hardly run yet, or not at all, is no division by zero."""
    cpu = Cpu()
    ledger = Ledger(cpu.clock, (), [])
    ledger.close([(CALLS, 10**9)], 0)
    assert None is ledger.share
    cpu.used_ns += 1
    ledger.close([(CALLS, 10**9)], 0)
    assert 1.0 == ledger.share


def test_calibration_leaves_no_call_open() -> None:
    """The thread that calibrates is in no call afterwards, and has not become a recording one."""
    before = dict(RECORDER.rings)
    calibrate.cache_clear()
    thread = threading.Thread(target=calibrate)
    thread.start()
    thread.join()
    assert before == RECORDER.rings
