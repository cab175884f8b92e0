"""When to leave what misbehaves, and when to come back to it: the states of a guard, on any clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final, Literal, NamedTuple

from holter.model import Alert
from holter.trials import Measured, Probation, Terms, Trials
from holter.words import clean, count, duration

State = Literal["primary", "trial", "fallback"]
Reason = Literal["alert", "relapse", "cooled_down", "trial_failed", "trial_passed", "stopped"]

GRACE_NS: Final = 10_000_000_000
"""An alert that nobody tells of any more fires for so long: whoever leads the group may have changed."""
_FORGIVEN_AFTER: Final = 10
"""A step of the cool-down is taken back when the primary has served for so many of the shortest ones."""


class Switch(NamedTuple):
    """A change of state, and why, in a word and in words."""

    to: State
    reason: Reason
    words: str


class Patience(NamedTuple):
    """How long the fallback serves before the primary is tried again: at first, and at most."""

    retry_ns: int
    longest_ns: int


class Breaker:
    """
    The state of a guard: which of primary and fallback serves, and since when.

    An alert that has not fired before leads to the fallback. After a cool-down, and once no alert fires that
    ``holds``, trials begin; they lead back, or to a cool-down twice as long. A step of doubling is taken back for
    each time the primary has served for ten of the shortest. While an alert goes on firing after that, the primary
    serves on probation: its calls are measured, and a relapse leads to the fallback again. Not thread-safe.
    """

    def __init__(self, terms: Terms, patience: Patience, holds: Callable[[Alert], bool]) -> None:
        self._terms, self._patience, self._holds = terms, patience, holds
        self._begin()

    def _begin(self) -> None:
        self._known: dict[str, tuple[Alert, int]] = {}
        """The alerts that fire, and when each was told of last."""
        self._step = 0
        self._since_ns = self._due_ns = 0
        self.state: State = "primary"
        self.measured: Measured | None = None
        """What measures calls of the primary, where somebody has to."""

    def turn(self, told: Mapping[str, Alert], now: Callable[[], int]) -> Switch | None:
        """Take in the alerts that there are, by their ids, in their latest state; return what changes, if anything."""
        now_ns = now()
        new = self._learn(told, now_ns)
        if self.state == "fallback":
            if now_ns < self._due_ns or any(self._holds(alert) for alert, _ in self._known.values()):
                return None
            self.state, self.measured = "trial", Trials(self._terms, now)
            return Switch("trial", "cooled_down", f"up to {count(self._terms.calls, 'call')} try it again")
        if new is not None:
            return self._leave(now_ns, "alert", f"an alert fires: {clean(new.message, 300)}")
        if isinstance(self.measured, Trials):
            return self._tried(self.measured, now_ns)
        if isinstance(self.measured, Probation):
            self.measured.sweep(self._longest_ns)
            if self.measured.has_relapsed():
                return self._leave(now_ns, "relapse", "it has relapsed while the alert still fires")
            if not self._known:
                # From here on the check sees again what the primary does.
                self.measured = None
        return None

    def stop(self) -> Switch | None:
        """Let the primary serve: nobody watches it any more."""
        was = self.state
        if isinstance(self.measured, Trials):
            self.measured.close()
        self._begin()
        return None if was == "primary" else Switch("primary", "stopped", "its monitor has stopped")

    def _learn(self, told: Mapping[str, Alert], now_ns: int) -> Alert | None:
        """Note which alerts fire; return one that did not before, if there is one."""
        firing = {key: alert for key, alert in told.items() if alert.state == "firing"}
        new = next((alert for key, alert in firing.items() if key not in self._known), None)
        missed = {
            key: (alert, seen_ns)
            for key, (alert, seen_ns) in self._known.items()
            if key not in told and now_ns - seen_ns < GRACE_NS
        }
        self._known = missed | {key: (alert, now_ns) for key, alert in firing.items()}
        return new

    def _tried(self, trials: Trials, now_ns: int) -> Switch | None:
        trials.sweep(self._longest_ns)
        if trials.has_failed:
            faults = Counter(trials.bad)
            said = ", ".join(f"{number} {_SAID[fault]}" for fault, number in faults.items())
            ended = count(len(trials.good) + len(trials.bad), "trial")
            return self._leave(now_ns, "trial_failed", f"of {ended}, {said}")
        if not trials.has_passed:
            return None
        trials.close()
        self.measured = Probation(self._terms, trials.now) if self._known else None
        self.state, self._since_ns = "primary", now_ns
        ended = count(len(trials.good) + len(trials.bad), "trial")
        return Switch("primary", "trial_passed", f"of {ended}, {len(trials.good)} went well")

    @property
    def _longest_ns(self) -> int:
        """Where nobody says how long a call may take, none may take longer than the fallback has served."""
        return self._terms.below_ns or self._cool_down_ns

    @property
    def _cool_down_ns(self) -> int:
        return min(self._patience.longest_ns, self._patience.retry_ns << max(0, self._step - 1))

    def _leave(self, now_ns: int, reason: Reason, words: str) -> Switch:
        """Let the fallback serve, twice as long as the last time unless that has been forgiven."""
        if isinstance(self.measured, Trials):
            self.measured.close()
        if self.state == "primary":
            self._step = max(0, self._step - (now_ns - self._since_ns) // (_FORGIVEN_AFTER * self._patience.retry_ns))
        if self._step == 0 or self._cool_down_ns < self._patience.longest_ns:
            self._step += 1
        self._due_ns = now_ns + self._cool_down_ns
        self.state, self.measured = "fallback", None
        again = duration(self._cool_down_ns / 1e9)
        return Switch("fallback", reason, f"{words}; it is tried again after {again}")


_SAID: Final = {"failed": "failed", "slow": "took too long", "hung": "did not end"}
