"""
What a guard adds to a call, beside the watched call that it guards and a closure that does nothing.

    python benchmarks/guards.py

Fails where a guard that has nothing to do adds more than three times what that closure does, or one that measures each
call takes 5 us more.
"""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Callable
from typing import Any

import holter
from holter.clock import Clock
from holter.model import Alert
from runner import Measure, compare, each

MOST_RATIO = 3.0
MOST_MEASURED_NS = 5_000.0
NOW_NS = [10**12]
MONITOR = holter.Monitor("guards", samplers=[])
MOVED = holter.Monitor("moved", samplers=[], clock=Clock(monotonic_ns=lambda: NOW_NS[0]))
ALERT = Alert(
    id="trouble",
    check="limit",
    state="firing",
    severity="warning",
    since_ns=0,
    target="",
    expected="",
    seen="",
    message="",
)


def bare(value: int) -> int:
    return value


def other(value: int) -> int:
    return value


def passing(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a closure that only calls."""

    @functools.wraps(function)
    def passed(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return passed


def guarded(name: str) -> Any:
    """Return a guard that switches at any alert, but holds off no trial."""
    primary, fallback = (MONITOR.watch(one, name=f"{name} {one.__name__}") for one in (bare, other))
    return holter.Guard(primary, fallback, when=lambda _: True, hold=False, trial_calls=1, retry_seconds=1.0)


def quickly(function: Callable[[int], Any]) -> Measure:
    """Return a measure so short that some of its rounds are undisturbed."""
    return each(functools.partial(function, 1), times=500)


def told(guard: Any) -> None:
    """Tell *guard* that the alert fires, on the clock that this moves."""
    guard.hear(MOVED._scope, {ALERT.id: ALERT})  # noqa: SLF001 - what a monitor does
    NOW_NS[0] += 2 * 10**9


def main() -> None:
    logging.getLogger("holter").setLevel(logging.CRITICAL)
    watched = MONITOR.watch(bare, name="watched")
    quiet, away, measured = guarded("quiet"), guarded("away"), guarded("measured")
    told(away)
    for _ in range(3):
        told(measured)
        measured(1)
    assert (quiet.state, away.state, measured.state) == ("primary", "fallback", "primary")
    candidates = {
        "watched": quickly(watched),
        "watched, through a closure": quickly(passing(watched)),
        "guarded": quickly(quiet),
        "guarded, fallback serves": quickly(away),
        "guarded, each call measured": quickly(measured),
    }
    results = compare(candidates, unit="ns", rounds=200)
    results.show(reference="watched")
    # The quickest rounds: what others do at the same time only adds.
    least = {name: min(values) for name, values in results.values.items()}
    closure, guard = (least[name] - least["watched"] for name in ("watched, through a closure", "guarded"))
    measuring = least["guarded, each call measured"] - least["guarded"]
    print(f"\na guard adds {guard:.0f} ns, the closure {closure:.0f} ns, measuring a call {measuring:,.0f} ns")
    if guard > MOST_RATIO * closure or measuring > MOST_MEASURED_NS:
        sys.exit("that is too much")


if __name__ == "__main__":
    main()
