"""What a guard is given, checked: two callables of one kind, what they are switched by, and how patiently."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from numbers import Integral
from typing import Any, Final

from holter.arguments import finite_number, positive_seconds
from holter.breaker import Patience
from holter.errors import ConfigurationError
from holter.model import Check
from holter.probes.calls import watch_coroutine, watch_function
from holter.probes.relays import Kind
from holter.probes.streams import watch_async_generator, watch_generator
from holter.recorder import DISABLED
from holter.scope import Scope, scope_numbered
from holter.switches import Selector
from holter.trials import Terms
from holter.watch import name_of, probe_for, refuse_what_cannot_be_watched, watch

MOST_TRIALS: Final = 1_000
_WORST_TOLERANCE: Final = 0.5
_KINDS: Final[Mapping[Any, Kind]] = {
    watch_function: "function",
    watch_coroutine: "coroutine function",
    watch_generator: "generator function",
    watch_async_generator: "async generator function",
}
_SAID: Final = {
    "function": "a function",
    "coroutine function": "a coroutine function (async def)",
    "generator function": "a generator function",
    "async generator function": "an async generator function",
}


def checked_kind(primary: Any, fallback: Any) -> Kind:
    """Return the kind that both have."""
    kinds = []
    for role, target in (("primary", primary), ("fallback", fallback)):
        if isinstance(target, classmethod | staticmethod | property):
            raise ConfigurationError(
                f"expected the {role} as a function, got a {type(target).__name__}: put that around the guard"
            )
        if not callable(target):
            raise ConfigurationError(
                f"expected the {role} as something to call, got {type(target).__name__}; "
                "for an answer that is always the same give `lambda *args: answer`"
            )
        refuse_what_cannot_be_watched(target)
        kinds.append(_KINDS[probe_for(target)])
    if kinds[0] != kinds[1]:
        raise ConfigurationError(
            f"expected a fallback of the same kind as the primary, which is {_SAID[kinds[0]]}, got {_SAID[kinds[1]]}"
        )
    if primary is fallback:
        raise ConfigurationError("expected a fallback that is another callable than the primary, got the same twice")
    return kinds[0]


def watched(primary: Any, fallback: Any, own: Scope) -> tuple[Any, Any]:
    """Return both watched, each under a name of its own; in the scope of the primary, *own* where it has none."""
    if DISABLED:
        return primary, fallback
    scope = scope_numbered(getattr(primary, "__holter_scope__", None)) or own
    if not _is_watched(primary):
        primary = watch(scope, primary)
    name = called(primary)
    if not _is_watched(fallback):
        other = name_of(fallback)
        is_own = other != name and not other.endswith("<lambda>")
        return primary, watch(scope, fallback, name=other if is_own else f"{name} fallback"[-200:])
    if called(fallback) == name:
        raise ConfigurationError(
            f"expected the fallback to be watched under another name than the primary, got {name!r} for both: "
            "give one of them holter.watch(..., name=...)"
        )
    return primary, fallback


def _is_watched(target: Any) -> bool:
    return isinstance(getattr(target, "__holter_call__", None), str)


def called(target: Any) -> str:
    """Return the name under which *target* is watched."""
    return str(target.__holter_call__) if _is_watched(target) else name_of(target)


def checked_when(when: Any) -> tuple[Selector, ...]:
    """Return the checks, and functions of an alert, by which is switched."""
    is_several = isinstance(when, Iterable) and not isinstance(when, Check | str | Mapping) and not callable(when)
    given: tuple[Any, ...] = tuple(when) if is_several else (when,)
    for one in given:
        if isinstance(one, type) or not (isinstance(one, Check) or callable(one)):
            what = one.__name__ if isinstance(one, type) else repr(one)
            raise ConfigurationError(
                "expected when as a check that start is given too, such as holter.Limit(...), several of them, "
                f"or a function of an alert, got {what:.60}"
            )
        if not isinstance(one, Check) and inspect.iscoroutinefunction(one):
            raise ConfigurationError("expected when as a function that answers at once, got a coroutine function")
    if not given:
        raise ConfigurationError("expected when as at least one check, got none: it would never switch")
    return given


def checked_patience(retry_seconds: Any, longest_retry_seconds: Any) -> Patience:
    """Return how long the fallback serves at a time."""
    retry = positive_seconds("retry_seconds", retry_seconds)
    longest = positive_seconds("longest_retry_seconds", longest_retry_seconds)
    if longest < retry:
        raise ConfigurationError(
            f"longest_retry_seconds must be at least retry_seconds, {retry:g}, got {longest_retry_seconds!r}"
        )
    return Patience(max(1, int(retry * 1e9)), max(1, int(longest * 1e9)))


def checked_terms(primary: Any, when: Iterable[Selector], below: Any, trial_calls: Any, tolerance: Any) -> Terms:
    """Return what makes a trial of *primary* a good one; how long one may take say checks, where *below* does not."""
    is_whole = isinstance(trial_calls, Integral) and not isinstance(trial_calls, bool)
    if not is_whole or not 1 <= int(trial_calls) <= MOST_TRIALS:
        raise ConfigurationError(f"trial_calls must be a whole number from 1 to {MOST_TRIALS:,}, got {trial_calls!r}")
    share = finite_number("tolerance", tolerance)
    if not 0 <= share <= _WORST_TOLERANCE:
        raise ConfigurationError(f"tolerance must be a share of 1 from 0 to {_WORST_TOLERANCE}, got {tolerance!r}")
    seconds = _longest(called(primary), when) if below is None else positive_seconds("below", below)
    return Terms(
        calls=int(trial_calls),
        tolerance=share,
        below_ns=None if seconds is None else max(1, int(seconds * 1e9)),
        expected=getattr(primary, "__holter_expected__", ()),
    )


def _longest(call: str, when: Iterable[Selector]) -> float | None:
    """Return how long *call* may take by the checks that say so."""
    asked = [getattr(one, "longest_seconds", None) for one in when]
    told = [ask(call) for ask in asked if ask is not None]
    return min((seconds for seconds in told if seconds is not None and seconds > 0), default=None)
