"""A callable that serves another one's answers while an alert fires."""

from __future__ import annotations

import functools
import inspect
import logging
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from types import MethodType
from typing import Any, Final, Generic, Literal, ParamSpec, Self, TypeVar, overload

from holter import default, words
from holter.breaker import Breaker, State, Switch
from holter.errors import ConfigurationError
from holter.guardsettings import called, checked_kind, checked_patience, checked_terms, checked_when, watched
from holter.model import Alert
from holter.names import GUARD_NAME, GUARD_REASON, GUARD_STATE, GUARD_SWITCHES, GUARD_TO
from holter.probe import is_pickled_by_value
from holter.probes.relays import ON_PERMIT
from holter.recorder import DISABLED
from holter.scope import Scope, scope_numbered
from holter.switches import GUARDS, Selector
from holter.trials import Measured

P = ParamSpec("P")
R = TypeVar("R")
Side = Literal["primary", "fallback"]

_LOGGER: Final = logging.getLogger("holter")
_LEVELS: Final[Mapping[State, float]] = {"primary": 0.0, "trial": 0.5, "fallback": 1.0}
# What inspect asks a function for, and what holter notes on one that is watched.
_SHOWN: Final = (
    "__code__",
    "__defaults__",
    "__kwdefaults__",
    "__holter_call__",
    "__holter_scope__",
    "__holter_expected__",
)


class Guard(Generic[P, R]):
    """
    A callable in place of *primary* that *fallback* serves while an alert fires.

    *fallback* is another version, a cached or an averaged answer: a callable of the same kind as *primary*, which
    takes the same arguments. *when* is one of the monitor's ``checks``, several of them, or a function of an alert
    that tells whether to switch at it, as ``lambda alert: alert.severity == "critical"``; that one is asked about all
    alerts of the monitor whose *primary* is. Both callables are watched, if they are not yet, under their own names:
    so what each has served is seen. The guard stands for *primary* as the target of a check; in a class it is a method.

    **Each call goes to one of the two**, which is settled when it is made: a call or a stream that has begun goes on
    where it is, an error of *primary* is raised and not answered by *fallback*, and nothing is called twice.

    **To the fallback** it switches when an alert fires that has not fired before, within one interval of the
    monitor, in a group two. **Back** by trials, since an alert on *primary* says nothing while nobody calls that: after
    *retry_seconds* *trial_calls* go to *primary*, one at first and two more for each that went well, all others
    to *fallback*. They are good unless they fail or take longer than *below*, by default what the check says (an
    `SLO`, or a `Limit` on "max", "p95" or higher); without that they must end within the cool-down. With up
    to *tolerance* bad ones, *primary* serves again; with more the fallback does, for twice as long as before, at
    most *longest_retry_seconds*. If *primary* has served for ten times *retry_seconds*, one doubling is forgiven:
    by default it switches to the fallback 9 times an hour at most, whatever the alerts do.

    **While the alert fires on**, as that of an objective does for hours, *primary* serves on probation: its calls
    are measured like trials, and it is left again if they have clearly become bad. Alerts that are not on *primary*
    itself, as one on the memory of a GPU, tell the truth meanwhile: no trial begins while they fire. *hold* says so
    (True), or the contrary, of all alerts.

    Each switch is a line of the log, counts in ``holter.guard.switches`` and shows in ``holter.guard.state`` and in
    the summary. Every process of a group switches for itself. Without a monitor that runs, *primary* serves, as with
    ``HOLTER_DISABLED``.

    Costs a call in Python, some 130 ns, and no lock; on trial and probation some 1 µs more. Thread-safe.

    Raises:
        ConfigurationError: an argument that cannot work, or two callables of different kinds.

    >>> import holter
    >>> @holter.watch
    ... def estimate(text):
    ...     return len(text) / 7
    >>> slow = holter.Limit(estimate, "p99", above=0.2)
    >>> score = holter.Guard(estimate, lambda text: 0.5, when=slow)
    >>> score("a fine day"), score.state
    (1.4285714285714286, 'primary')
    """

    def __init__(
        self,
        primary: Callable[P, R],
        fallback: Callable[..., R],
        *,
        when: Selector | Iterable[Selector],
        below: float | None = None,
        retry_seconds: float = 60.0,
        longest_retry_seconds: float = 3_600.0,
        trial_calls: int = 20,
        tolerance: float = 0.05,
        hold: bool | None = None,
    ) -> None:
        self._options: dict[str, Any] = {
            "when": when,
            "below": below,
            "retry_seconds": retry_seconds,
            "longest_retry_seconds": longest_retry_seconds,
            "trial_calls": trial_calls,
            "tolerance": tolerance,
            "hold": hold,
        }
        self._options["when"] = self.when = checked_when(when)
        patience = checked_patience(retry_seconds, longest_retry_seconds)
        self._given = primary, fallback
        self._kind = checked_kind(primary, fallback)
        self._primary, self._fallback = watched(primary, fallback, default._scope)  # noqa: SLF001 - the default monitor's
        self._name, self._other = called(self._primary), called(self._fallback)
        self.scope_number: int = getattr(self._primary, "__holter_scope__", 0)
        functools.update_wrapper(self, self._primary, updated=())
        # What others have noted on the function, too; of the guard's own it hides nothing.
        noted = {key for key in dir(inspect.unwrap(self._primary)) if key[:2] != "__" and not hasattr(self, key)}
        self.__dict__.update({key: getattr(self._primary, key, None) for key in (*_SHOWN, *noted)})
        terms = checked_terms(self._primary, self.when, below, trial_calls, tolerance)
        self._breaker = Breaker(terms, patience, self._sees_others if hold is None else lambda _: bool(hold))
        self._turn = threading.Lock()
        self._forced: Side | None = None
        self._heard: dict[int, Mapping[str, Alert]] = {}
        self._install()
        if not DISABLED:
            GUARDS.add(self)

    def __repr__(self) -> str:
        return f"Guard({self._name!r}, {self._other!r})"

    # -- calls

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call what serves."""
        return self._serve(*args, **kwargs)  # type: ignore[no-any-return]  # of a callable with this signature

    @overload
    def __get__(self, instance: None, owner: type | None = None) -> Self: ...

    @overload
    def __get__(self, instance: object, owner: type | None = None) -> Callable[..., R]: ...

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self if instance is None else MethodType(self, instance)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> Any:
        found: Any = sys.modules.get(self.__module__)
        name: str = self.__dict__.get("__qualname__", "")
        for part in name.split("."):
            found = getattr(found, part, None)
        if found is self and not (self.__module__ == "__main__" and is_pickled_by_value()):
            return name
        return _again, (*self._given, self._options)

    # -- what serves

    @property
    def state(self) -> State:
        """What serves: "primary", "fallback", or "trial", the fallback but for some calls."""
        return self._forced or self._breaker.state

    def force(self, side: Side | None) -> None:
        """
        Let *side*, "primary" or "fallback", serve in this process whatever alerts say; None leaves it to them again.

        In a forked child it goes on.

        >>> import holter
        >>> answer = holter.Guard(str.upper, lambda text: text, when=lambda alert: alert.check == "limit")
        >>> answer.force("fallback")
        >>> answer("as it is")
        'as it is'

        Raises:
            ConfigurationError: *side* is none of these.
        """
        if side not in ("primary", "fallback", None):
            raise ConfigurationError(f'expected "primary", "fallback" or None, got {side!r:.60}')
        if side == self._forced or DISABLED:
            return
        self._forced = side
        self._install()
        serves = "it is left to alerts again" if side is None else f"{self._said(side)} serves from now on"
        _LOGGER.warning("holter: %s", words.clean(f"{self!r}: {serves}, because somebody says so", 500))
        scope = scope_numbered(self.scope_number)
        if scope is not None:
            self._record(scope, side or self._breaker.state, "forced")

    def hear(self, scope: Scope, told: Mapping[str, Alert]) -> None:
        """Take in the alerts that the monitor of *scope* has, by their ids; switch where they say so."""
        # Where another monitor is at it, this one comes again.
        if not self._turn.acquire(blocking=False):
            return
        try:
            is_first = not self._heard
            self._heard[scope.number] = told
            everything = {key: alert for each in self._heard.values() for key, alert in each.items()}
            switch = None if self._forced else self._breaker.turn(everything, scope.now)
            self._install()
        finally:
            self._turn.release()
        if is_first:
            self._show(scope, self.state)
        self._tell(scope, switch)

    def leave(self, scope: Scope) -> None:
        """Go on without the monitor of *scope*; without any, the primary serves."""
        with self._turn:
            was_heard = self._heard.pop(scope.number, None) is not None
            switch = self._breaker.stop() if was_heard and not self._heard else None
            self._install()
        self._tell(scope, switch)

    @property
    def is_heard(self) -> bool:
        """Whether any monitor tells it of alerts."""
        return bool(self._heard)

    def forked(self) -> None:
        """In a forked child: begin anew, as its own monitor will say."""
        self._turn, self._heard = threading.Lock(), {}
        self._breaker.stop()
        self._install()

    def _install(self) -> None:
        """Let serve what is to serve; whoever comes last, of two threads, has seen what the other did."""
        while True:
            forced, state, measured = self._forced, self._breaker.state, self._breaker.measured
            if forced is not None or measured is None:
                self._serve = self._primary if (forced or state) == "primary" else self._fallback
            else:
                self._serve = self._on_permit(measured)
            if (forced, state, measured) == (self._forced, self._breaker.state, self._breaker.measured):
                return

    def _on_permit(self, measured: Measured) -> Callable[..., Any]:
        primary, fallback, call = self._primary, self._fallback, ON_PERMIT[self._kind]

        def serve(*args: Any, **kwargs: Any) -> Any:
            permit = measured.claim()
            return fallback(*args, **kwargs) if permit is None else call(primary, permit, args, kwargs)

        return serve

    # -- what is told

    def _tell(self, scope: Scope, switch: Switch | None) -> None:
        if switch is None:
            return
        is_trial = switch.to == "trial"
        serves = f"{self._name} is on trial" if is_trial else f"{self._said(switch.to)} serves from now on"
        level = logging.WARNING if switch.to == "fallback" else logging.INFO
        _LOGGER.log(level, "holter: %s", words.clean(f"{self!r}: {serves}: {switch.words}", 500))
        self._record(scope, switch.to, switch.reason)

    def _record(self, scope: Scope, to: State, reason: str) -> None:
        told = {GUARD_NAME: self._name, GUARD_TO: to, GUARD_REASON: reason}
        scope.increment(GUARD_SWITCHES, "{switch}", told)
        self._show(scope, to)

    def _show(self, scope: Scope, state: State) -> None:
        series = scope.series(GUARD_STATE, "1", "gauge", {GUARD_NAME: self._name}, across="max")
        scope.ring().put(series, scope.now(), _LEVELS[state])

    def _said(self, side: str) -> str:
        return self._name if side == "primary" else self._other

    def _sees_others(self, alert: Alert) -> bool:
        """Whether *alert* is on something else than the calls of the primary, which it goes on to see."""
        name = words.clean(self._name, limit=200)
        rest = alert.target.removeprefix(name)
        return len(rest) == len(alert.target) or rest[:1].isalnum() or rest[:1] in (".", "_", "<")


def _again(primary: Any, fallback: Any, options: dict[str, Any]) -> Guard[..., Any]:
    """Return a guard in another process, where it follows a monitor that has checks which look the same."""
    return Guard(primary, fallback, **options)
