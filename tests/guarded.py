"""Guards that tests tell of alerts themselves, in whichever state they are to be."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Iterator
from typing import Any

from contracts.snapshots import alert
from contracts.watched import Time
from holter.fallback import Guard
from holter.monitor import Monitor


def anything(_: object) -> bool:
    """Choose any alert."""
    return True


def never_like(function: Any) -> Any:
    """Return a callable of the kind of *function* that is not to be called."""

    def never(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError

    async def never_awaited(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError

    def never_begun(*args: Any, **kwargs: Any) -> Iterator[Any]:
        yield never()

    async def never_streamed(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        yield never()

    if inspect.isasyncgenfunction(function):
        return never_streamed
    if inspect.isgeneratorfunction(function):
        return never_begun
    return never_awaited if inspect.iscoroutinefunction(function) else never


def tell(guard: Any, monitor: Monitor, **states: Any) -> None:
    """Tell *guard* of alerts, by their ids, as the *monitor* would."""
    guard.hear(monitor._scope, {key: alert(id=key, state=state) for key, state in states.items()})


def on_trial(guard: Any, monitor: Monitor, time: Time, seconds: float = 61.0) -> Any:
    """Return *guard* in its trials, which end when the test tells it of alerts again."""
    tell(guard, monitor, burn="firing")
    time.spend(seconds)
    tell(guard, monitor, burn="firing")
    assert "trial" == guard.state
    return guard


def on_probation(function: Any, monitor: Monitor, time: Time) -> Any:
    """Return *function* as the primary of a guard that measures each of its calls."""
    guard = Guard(monitor.watch(function), never_like(function), when=anything, trial_calls=1, hold=False)
    on_trial(guard, monitor, time)
    permit = guard._breaker.measured.claim()
    permit.resume()
    permit.settle()
    tell(guard, monitor, burn="firing")
    assert ("primary", True) == (guard.state, guard._breaker.measured is not None)
    return guard


def forsaken(function: Any, monitor: Monitor, time: Time) -> Any:
    """Return *function* as the fallback of a guard whose alert fires."""
    del time
    guard = Guard(monitor.watch(never_like(function)), monitor.watch(function), when=anything)
    tell(guard, monitor, burn="firing")
    return guard
