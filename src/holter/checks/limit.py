"""A check on one figure: it fires when the figure leaves its bounds and resolves when it is back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final
from zlib import crc32

from holter.arguments import finite_number, positive_seconds
from holter.causes import Causes
from holter.measure import Measure
from holter.model import Alert, AlertState, Attributes, Reading, Severity, Snapshot, Statistics
from holter.rule import Bounds, Rule
from holter.window import Window
from holter.wording import Seen, Wording

_LONGEST_GAP_SECONDS: Final = 60.0
"""A deploy takes no longer."""
_NEARLY_ALL: Final = 95.0


class Limit:
    """
    An alert when *statistic* of *target* is above or below a limit; both limits are a band.

    *target* is a watched function, or a metric's name, of which *where* selects the series by
    their attributes; *statistic* is "rate", "mean", "p50" (any quantile from "p0" to "p100", with
    decimals), "max", "error_ratio", "last", "range", "change" or "missing". Limits are in the unit
    of the target: seconds for calls, shares of 1 for error_ratio, events a second for rate. A
    value on the limit is inside, NaN is outside of every limit.

    **The window** holds the readings whose interval ended within the last *window_seconds*; one
    that ended exactly so long ago is out. Of more than 120 intervals, neighbours leave together,
    so that the window may reach back by a 120th further. "rate", "range" and "change" are judged
    once a whole window has been seen; the others but "last" and "missing" when *minimum_calls*
    values are in it. "last" is the newest value, however old; "missing" the seconds since the
    newest record, or since the start where there is none.

    **The alert** fires when the value has been outside at every reading for *for_seconds*, and
    resolves, with the same id, when it is back inside *clear_at*, which is the limit itself unless
    given. While there are too few calls to judge, a firing alert stays. When the window has become
    empty it resolves and says that this is no recovery, unless calls of the target are running:
    calls that hang are not calls that have stopped. Silence is found by a limit on "missing". An alert that
    fires when the process ends goes on in the next one of a group, if that starts soon, and resolves there.

    Costs a pass over the series and about four merges a reading, whatever the window, and keeps
    about 120 readings. Not thread-safe: one monitor judges it.

    Raises:
        ConfigurationError: an argument that cannot work.

    >>> slow = Limit("holter.call.duration", "p99", above=0.2, clear_at=0.15, minimum_calls=100)
    """

    def __init__(
        self,
        target: object,
        statistic: str,
        *,
        above: float | None = None,
        below: float | None = None,
        window_seconds: float = 60.0,
        for_seconds: float = 0.0,
        clear_at: float | None = None,
        minimum_calls: int = 1,
        where: Attributes | None = None,
        severity: Severity = "warning",
    ) -> None:
        measure = Measure.of(target, statistic, where)
        bounds = Bounds.checked(above, below)
        self._rule = Rule(
            measure=measure,
            bounds=bounds,
            clear=bounds.cleared_at(clear_at),
            window_seconds=positive_seconds("window_seconds", window_seconds),
            for_seconds=finite_number("for_seconds", for_seconds),
            minimum_calls=minimum_calls,
            severity=severity,
        )
        self._known_ns: int | None = None
        """Since when, in Unix time, an alert fires that another process has given; until this one judges."""
        self._begin("")

    def __repr__(self) -> str:
        return f"Limit({self._rule})"

    def longest_seconds(self, call: str) -> float | None:
        """Return how long *call* may take, where that is limited for nearly all calls: by "max", or from "p95" on."""
        measure = self._rule.measure
        statistic = measure.statistic
        is_for_nearly_all = statistic == "max" or (statistic[1:2].isdigit() and float(statistic[1:]) >= _NEARLY_ALL)
        return self._rule.bounds.above if measure.call == call and is_for_nearly_all else None

    def _begin(self, instance: str) -> None:
        self._instance = instance
        self._window: Window[_Stretch] = Window(self._rule.window_seconds)
        self._first_began_ns: int | None = None
        self._outside_since: _Moment | None = None
        self._is_firing = False
        self._unproven_until_ns = 0

    def save(self) -> dict[str, int | None]:
        """Return since when an alert fires, if one does; the window is too short to outlive a process."""
        since = self._outside_since if self._is_firing else None
        return {"firing_since_ns": self._known_ns if since is None else since.time_ns}

    def load(self, state: Mapping[str, Any], gap_seconds: float) -> bool:
        """
        Go on with the alert that fired *gap_seconds* ago: it resolves when a new window proves that all is well.

        Returns False, and begins anew, where that is longer ago than a minute and the window: nobody knows what was
        since.

        Raises:
            ValueError: it is not what `save` returns.
        """
        since_ns = state["firing_since_ns"]
        if since_ns is not None and type(since_ns) is not int:
            raise ValueError(f"no time: {since_ns!r:.50}")
        if gap_seconds > max(_LONGEST_GAP_SECONDS, self._rule.window_seconds):
            return False
        self._known_ns = since_ns
        return True

    def judge(self, snapshot: Snapshot) -> list[Alert]:
        """Return one alert where the limit has just been broken, or is kept again; else none."""
        if snapshot.process.instance != self._instance:
            # A forked child, or a new start: what was before is not its own.
            self._begin(snapshot.process.instance)
        now = _Moment(snapshot.monotonic_ns, snapshot.time_ns)
        if self._known_ns is not None:
            since_ns, self._known_ns, self._is_firing = self._known_ns, None, True
            self._outside_since = _Moment(now.monotonic_ns - (now.time_ns - since_ns), since_ns)
            self._unproven_until_ns = now.monotonic_ns + int(self._rule.window_seconds * 1e9)
        seen = self._look(snapshot)
        if self._is_firing:
            return [self._alert("resolved", seen, now)] if self._is_over(seen) else []
        if seen.value is None or self._rule.bounds.contain(seen.value):
            self._outside_since = None
            return []
        self._outside_since = self._outside_since or now
        lasted_ns = now.monotonic_ns - self._outside_since.monotonic_ns
        return [self._alert("firing", seen, now)] if lasted_ns >= self._rule.for_seconds * 1e9 else []

    def _look(self, snapshot: Snapshot) -> Seen:
        """Return what the window holds with this snapshot in it."""
        measure = self._rule.measure
        if self._first_began_ns is None:
            self._first_began_ns = snapshot.process.started_ns or snapshot.monotonic_ns - snapshot.interval_ns
        found = snapshot.find(measure.name, measure.where) or Statistics(
            kind="histogram",
            seconds=snapshot.interval_ns / 1e9,
            interval=Reading(),
            total=Reading(),
            failed=0,
            missing_seconds=max(0.0, (snapshot.monotonic_ns - self._first_began_ns) / 1e9),
        )
        causes = Causes.among(snapshot.interval, snapshot.series, measure)
        # Of all totals only the newest counts, and each may hold a histogram of its own.
        window = self._window.add(snapshot.monotonic_ns, _Stretch(replace(found, total=Reading()), causes))
        statistics = replace(window.statistics, total=found.total)
        return Seen(snapshot, statistics, window.causes, self._rule.value(statistics))

    def _is_over(self, seen: Seen) -> bool:
        if seen.value is not None:
            return self._rule.clear.contain(seen.value)
        if seen.snapshot.monotonic_ns < self._unproven_until_ns:
            return False
        return not seen.statistics.interval.count and not self._rule.measure.running(seen.snapshot)

    def _alert(self, state: AlertState, seen: Seen, now: _Moment) -> Alert:
        """Change to *state* and return the alert that says so."""
        since = self._outside_since or now
        words = Wording(self._rule, seen, (now.monotonic_ns - since.monotonic_ns) / 1e9)
        self._is_firing = state == "firing"
        if not self._is_firing:
            self._outside_since = None
        return Alert(
            id=f"limit-{crc32(repr(self).encode()):08x}-{since.time_ns:x}",
            check="limit",
            state=state,
            severity=self._rule.severity,
            since_ns=since.time_ns,
            target=self._rule.measure.target,
            expected=words.expected(),
            seen=words.seen(),
            message=words.fired() if self._is_firing else words.resolved(),
            next_step=words.next_step() if self._is_firing else "",
            evidence=words.evidence,
        )


@dataclass(frozen=True, slots=True)
class _Moment:
    monotonic_ns: int
    time_ns: int


@dataclass(frozen=True, slots=True)
class _Stretch:
    statistics: Statistics
    causes: Causes

    def then(self, later: _Stretch) -> _Stretch:
        return _Stretch(self.statistics.then(later.statistics), self.causes.then(later.causes))
