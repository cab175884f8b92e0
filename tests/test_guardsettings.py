"""What a guard is given: what cannot work is refused with what was expected, what came and what to do."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

import holter
from holter import Guard
from holter.monitor import Monitor


def function(x: int) -> int:
    """Return x."""
    return x


def other(x: int) -> int:
    """Return x."""
    return x


async def coroutine(x: int) -> int:
    """Return x."""
    return x


def generator(x: int) -> Iterator[int]:
    """Yield x."""
    yield x


async def async_generator(x: int) -> AsyncIterator[int]:
    """Yield x."""
    yield x


CHECK = holter.Limit("app.errors", "last", above=1)


class Model:
    """Not to be called itself."""

    def __call__(self, x: int) -> int:
        return x


REFUSED: list[tuple[tuple[Any, ...], dict[str, Any], str]] = [
    ((function, coroutine), {}, r"the primary, which is a function, got a coroutine function \(async def\)"),
    ((coroutine, function), {}, "which is a coroutine function .*, got a function$"),
    ((generator, async_generator), {}, "which is a generator function, got an async generator function$"),
    ((function, generator), {}, "which is a function, got a generator function$"),
    ((function, 0.5), {}, r"fallback as something to call, got float; .* give `lambda \*args: answer`"),
    ((None, function), {}, "primary as something to call, got NoneType"),
    ((function, function), {}, "another callable than the primary, got the same twice"),
    ((Model, function), {}, "expected a function or method, got the class Model; watch a method of it"),
    ((classmethod(function), function), {}, "primary as a function, got a classmethod: put that around the guard"),
    ((function, other), {"when": "p99"}, "expected when as a check that start is given too.*, got 'p99'"),
    ((function, other), {"when": None}, "expected when as a check .*, got None"),
    ((function, other), {"when": holter.Limit}, "expected when as a check .*, got Limit"),
    ((function, other), {"when": [CHECK, 3]}, "expected when as a check .*, got 3"),
    ((function, other), {"when": []}, "expected when as at least one check, got none: it would never switch"),
    ((function, other), {"when": coroutine}, "a function that answers at once, got a coroutine function"),
    ((function, other), {"below": 0}, "below must be greater than 0, got 0"),
    ((function, other), {"retry_seconds": -1}, "retry_seconds must be greater than 0, got -1"),
    ((function, other), {"retry_seconds": float("nan")}, "retry_seconds must be a finite number, got nan"),
    (
        (function, other),
        {"longest_retry_seconds": 59},
        "longest_retry_seconds must be at least retry_seconds, 60, got 59",
    ),
    ((function, other), {"trial_calls": 0}, "trial_calls must be a whole number from 1 to 1,000, got 0"),
    ((function, other), {"trial_calls": 1_001}, "trial_calls must be a whole number from 1 to 1,000, got 1001"),
    ((function, other), {"trial_calls": 1.5}, "trial_calls must be a whole number .*, got 1.5"),
    ((function, other), {"trial_calls": True}, "trial_calls must be a whole number .*, got True"),
    ((function, other), {"tolerance": 0.6}, "tolerance must be a share of 1 from 0 to 0.5, got 0.6"),
    ((function, other), {"tolerance": "5 %"}, "tolerance must be a finite number, got '5 %'"),
]


@pytest.mark.parametrize(("callables", "options", "words"), REFUSED)
def test_what_cannot_work_is_refused(callables: tuple[Any, ...], options: dict[str, Any], words: str) -> None:
    """At once, in words."""
    with pytest.raises(holter.ConfigurationError, match=words):
        Guard(*callables, **{"when": CHECK, **options})


def test_two_under_one_name_are_refused() -> None:
    """What each has served could not be told apart."""
    monitor = Monitor("test", samplers=[])
    one, two = monitor.watch(function, name="predict"), monitor.watch(other, name="predict")
    with pytest.raises(
        holter.ConfigurationError, match=r"got 'predict' for both: give one of them holter.watch\(.*name="
    ):
        Guard(one, two, when=CHECK)


@pytest.mark.parametrize(
    "when",
    [CHECK, [CHECK], (CHECK, holter.SLO("holter.call.duration")), {"a": CHECK}.values(), bool, lambda alert: alert.id],
)
def test_what_switches_may_be_given_in_many_ways(when: Any) -> None:
    """A check, several, a function of an alert."""
    if when is bool:
        when = [bool.__call__]
    assert "primary" == Guard(Monitor("test", samplers=[]).watch(function), other, when=when).state
