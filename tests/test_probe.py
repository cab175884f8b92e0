"""The beginning and the end of a call: counted once, whatever happens in between."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.watched import Time, in_flight, internal_errors, outcomes
from holter import names
from holter._ring import START
from holter.clock import Clock
from holter.monitor import Monitor
from holter.probe import CallProbe
from holter.record import UNITS_MAXIMUM


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def monitor(time: Time) -> Monitor:
    return Monitor("test", samplers=[], clock=Clock(monotonic_ns=time))


def probe(monitor: Monitor, **options: Any) -> CallProbe:
    """Return a probe of the monitor."""
    return CallProbe(monitor._scope, "call", **options)


def test_a_call_ends_once(monitor: Monitor, time: Time) -> None:
    """An error that strikes after the end, or a second end, changes nothing."""
    one = probe(monitor)
    call = one.begin()
    time.spend(1)
    one.end(call, time(), 5)
    one.end(call, time(), 5)
    one.fail(call, ValueError())
    failed = one.begin()
    one.fail(failed, ValueError())
    one.fail(failed, KeyboardInterrupt())
    one.end(failed, time(), 5)
    time.spend(1)
    snapshot = monitor.snapshot()
    assert {"ok": 1, "error": 1} == outcomes(snapshot)
    assert (0, 0, 0) == (in_flight(snapshot), call[START], failed[START])
    found = snapshot.find(names.CALL_UNITS)
    assert found is not None
    assert 5 == found.total.sum


@pytest.mark.parametrize(
    ("units", "result", "size"),
    [
        (None, "abc", 0),
        (3, "abc", 3),
        (2**40, "abc", UNITS_MAXIMUM),
        (len, "abc", 3),
        (lambda _: 2.5, "abc", 2),
        (lambda _: 10**30, "abc", UNITS_MAXIMUM),
    ],
    ids=["none", "constant", "huge constant", "len", "float", "huge"],
)
def test_the_size_of_the_work_is_told(units: Any, result: object, size: int, monitor: Monitor) -> None:
    """By a constant or by a function of the result."""
    assert size == probe(monitor, units=units).units_of(result)
    assert {} == internal_errors(monitor.snapshot())


@pytest.mark.parametrize("told", [-1, "3", None, float("nan")], ids=repr)
def test_a_size_that_is_none_is_counted(told: object, monitor: Monitor) -> None:
    """The call has no units then."""
    assert 0 == probe(monitor, units=lambda _: told).units_of("abc")
    found = monitor.snapshot().find(names.VALUES_REFUSED, {names.METRIC: names.CALL_UNITS})
    assert found is not None
    assert 1 == found.total.sum


def test_the_guard_is_around_the_user_s_function(monitor: Monitor) -> None:
    """Where it fails, that is an internal error and the call goes on."""
    assert 0 == probe(monitor, units=lambda _: 1 / 0).units_of("abc")
    assert {"units": 1} == internal_errors(monitor.snapshot())
