"""A check on an objective: how fast its error budget is spent, and how much of it is left."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple
from zlib import crc32

from holter.arguments import finite_number, positive_seconds
from holter.budget import Events, EventWindow
from holter.classicbuckets import cumulative
from holter.distribution import Histogram
from holter.errors import ConfigurationError
from holter.measure import Measure
from holter.model import Alert, AlertState, Attributes, AttributeValue, Reading, Severity, Snapshot
from holter.names import CALL_OUTCOME, ERROR_TYPE, SLO_BUDGET, SLO_BURN_RATE, SLO_NAME, SLO_WINDOW
from holter.record import Outcome
from holter.words import clean, count, duration, number, ratio

DAY_SECONDS: Final = 86_400.0
LEAST_BAD: Final = 5
"""Of fewer bad events in its longer window no alert comes."""
_FAILED: Final = (Outcome.ERROR.label, Outcome.TIMEOUT.label)
_NEITHER: Final = (Outcome.CANCELLED.label, Outcome.ABANDONED.label)
_MONTH_SECONDS: Final = 30 * DAY_SECONDS
_COVERED: Final = 0.99
_UNITS: Final = ((DAY_SECONDS, "days"), (3_600.0, "hours"), (60.0, "minutes"))


class _Burn(NamedTuple):
    """Two windows, of a budget of 30 days, in which it is spent so many times too fast at the same time."""

    rate: float
    long_seconds: float
    short_seconds: float
    severity: Severity


# Google, "The Site Reliability Workbook" (2018), chapter 5, table 5-8: 2 % of the budget in an hour, 5 % in six
# hours, 10 % in three days; the short window, a twelfth of the long one, ends the alert soon after the trouble.
_BURNS: Final = (
    _Burn(14.4, 3_600.0, 300.0, "critical"),
    _Burn(6.0, 21_600.0, 1_800.0, "critical"),
    _Burn(1.0, 259_200.0, 21_600.0, "warning"),
)


class SLO:
    """
    An alert when the error budget of an objective is spent too fast.

    *objective* is the share of calls of *target* that must be good within *window_seconds*: those that neither
    fail nor time out and, if *below* is given, take at most so many seconds. Calls that were cancelled or
    abandoned by who asked count neither way, expected errors are good. *target* is a watched function or the
    name of a metric that is a histogram, *where* selects its series, *name* is what the objective is called.

    **Burn rates**: how many times as fast as the objective allows the budget is spent; 1 spends all of it in
    the window. A page (critical) comes at 14.4 over an hour, or 6 over six hours, a ticket (warning) at 1 over
    three days, and each only while the same holds for a twelfth of that time and at least 5 calls were bad in
    the longer window: of few calls one error is a high rate, and no trouble. For other windows than 30 days
    these are as much shorter or longer. Page and ticket fire and resolve for themselves.

    **The budget** is that of the calls seen within the window, which a new objective has not covered yet: the
    alert, `describe` and the figures say how much of it was observed. What was counted outlives a restart, where
    the monitor is in a group (see `start`).

    ``holter.slo.error_budget`` is the share that is left, below 0 when overspent; ``holter.slo.burn_rate`` one
    of each longer window, by ``holter.slo.window``.

    A bound lies on the edge of a bucket, at most 1.1 % off. Costs a pass over the series an interval, some 20 us
    a series of the target that moved, and keeps at most 2,200 numbers of four. Not thread-safe.

    Raises:
        ConfigurationError: an argument that cannot work.

    >>> import holter
    >>> fast = SLO("holter.call.duration", below=0.2, objective=0.99)
    >>> fast.describe()
    'holter.call.duration within 200 ms: objective 99 %, no calls observed'
    """

    def __init__(
        self,
        target: object,
        *,
        below: float | None = None,
        objective: float = 0.99,
        window_seconds: float = _MONTH_SECONDS,
        where: Attributes | None = None,
        name: str | None = None,
    ) -> None:
        self._measure = Measure.of(target, "rate", where)
        self._below = None if below is None else positive_seconds("below", below)
        self._objective = finite_number("objective", objective)
        if not 0 < self._objective < 1:
            raise ConfigurationError(
                f"objective must be a share of 1 between 0 and 1, as 0.99 for 99 %, got {objective!r}"
            )
        self._seconds = positive_seconds("window_seconds", window_seconds)
        given: object = name
        if given is not None and not (isinstance(given, str) and given):
            raise ConfigurationError(f"name must be a str that is not empty, got {name!r}")
        within = "" if self._below is None else f" within {duration(self._below)}"
        self._what = f"{self._measure.target}{within}"
        self._name = clean(name or self._what, limit=200)
        scale = self._seconds / _MONTH_SECONDS
        self._burns = [
            burn._replace(long_seconds=burn.long_seconds * scale, short_seconds=burn.short_seconds * scale)
            for burn in _BURNS
        ]
        shorter = {length for burn in self._burns for length in (burn.long_seconds, burn.short_seconds)}
        self._windows = {length: EventWindow(length) for length in sorted({self._seconds, *shorter})}
        self._alerts: dict[Severity, _Incident] = {}

    def __repr__(self) -> str:
        return (
            f"SLO({self._what!r}, objective={self._objective!r}, window_seconds={self._seconds!r}, name={self._name!r})"
        )

    def longest_seconds(self, call: str) -> float | None:
        """Return how long *call* may take, where that is what the objective is for."""
        return self._below if self._measure.call == call else None

    # -- judging

    def judge(self, snapshot: Snapshot) -> list[Alert]:
        """Return an alert where the budget has just begun to be spent too fast, or no longer is; else none."""
        ended = snapshot.time_ns / 1e9
        total, bad = self._count(snapshot)
        for window in self._windows.values():
            window.add(ended - snapshot.interval_ns / 1e9, ended, total, bad)
        severities: tuple[Severity, ...] = ("critical", "warning")
        alerts = (self._judged(severity, snapshot) for severity in severities)
        return [alert for alert in alerts if alert is not None]

    def _count(self, snapshot: Snapshot) -> tuple[float, float]:
        """Return how many calls ended in the interval, and how many of them were bad."""
        total = bad = 0.0
        for key, reading in snapshot.interval.items():
            series = snapshot.series[key]
            if not series.matches(self._measure.name, self._measure.where):
                continue
            outcome = series.attributes.get(CALL_OUTCOME)
            if outcome in _NEITHER:
                continue
            total += reading.count
            has_failed = outcome in _FAILED or (outcome is None and ERROR_TYPE in series.attributes)
            bad += reading.count if has_failed else self._slow(reading)
        return total, bad

    def _slow(self, reading: Reading) -> float:
        """Return how many of the calls took too long."""
        histogram = reading.histogram
        seen = histogram.count if isinstance(histogram, Histogram) else 0
        if self._below is None or not seen or not isinstance(histogram, Histogram):
            return 0.0
        within = int(cumulative((self._below,), histogram)[0])
        # Where records were lost, those that were not are a sample of all.
        return reading.count * (seen - within) / seen

    def _judged(self, severity: Severity, snapshot: Snapshot) -> Alert | None:
        burning = [burn for burn in self._burns if burn.severity == severity and self._is_burning(burn)]
        incident = self._alerts.get(severity)
        if burning and incident is None:
            incident = self._alerts[severity] = _Incident(snapshot.time_ns, self._burns.index(burning[0]))
            return self._alert("firing", severity, incident)
        if not burning and incident is not None:
            del self._alerts[severity]
            return self._alert("resolved", severity, incident)
        return None

    def _is_burning(self, burn: _Burn) -> bool:
        long, short = (self._windows[length].events for length in (burn.long_seconds, burn.short_seconds))
        allowed = burn.rate * (1 - self._objective)
        return long.bad >= LEAST_BAD and long.bad_share > allowed and short.bad_share > allowed

    # -- figures and words

    @property
    def _budget_left(self) -> float | None:
        """The share of the budget that is left, None before the first call."""
        events = self._windows[self._seconds].events
        return 1 - events.bad_share / (1 - self._objective) if events.total else None

    def _burn_rate(self, seconds: float) -> float:
        return self._windows[seconds].events.bad_share / (1 - self._objective)

    def figures(self) -> Iterator[tuple[str, float, Mapping[str, AttributeValue]]]:
        """Yield name, value and attributes of the gauges that this check shows."""
        left = self._budget_left
        if left is not None:
            yield SLO_BUDGET, left, {SLO_NAME: self._name}
            for burn in self._burns:
                length = duration(burn.long_seconds)
                yield SLO_BURN_RATE, self._burn_rate(burn.long_seconds), {SLO_NAME: self._name, SLO_WINDOW: length}

    def describe(self) -> str:
        """Return in one line how the objective stands."""
        left, events = self._budget_left, self._windows[self._seconds].events
        begun = f"{self._what}: objective {ratio(self._objective)}"
        if left is None:
            return f"{begun}, no calls observed"
        return (
            f"{begun}, {ratio(1 - events.bad_share)} of {count(round(events.total), 'call')} good, "
            f"{self._budget_words(left)}{self._observed(events)}"
        )

    @staticmethod
    def _budget_words(left: float) -> str:
        return f"{ratio(left)} of the error budget left" if left >= 0 else f"error budget overspent by {ratio(-left)}"

    def _observed(self, events: Events) -> str:
        """Return how much of the window was observed, until that is all of it."""
        if events.seconds >= self._seconds * _COVERED:
            return ""
        unit, noun = next(((unit, noun) for unit, noun in _UNITS if self._seconds >= 2 * unit), _UNITS[-1])
        seen = number(events.seconds / unit) if events.seconds >= unit else duration(events.seconds)
        return f" (observed {seen} of {number(self._seconds / unit)} {noun})"

    def _alert(self, state: AlertState, severity: Severity, incident: _Incident) -> Alert:
        burn = self._burns[incident.burn]
        events, left = self._windows[burn.long_seconds].events, self._budget_left or 0.0
        rate, over = self._burn_rate(burn.long_seconds), duration(min(burn.long_seconds, events.seconds))
        seen = f"{number(rate)} times: {count(round(events.bad), 'bad call')} of {round(events.total):,} over {over}"
        budget = self._budget_words(left) + self._observed(self._windows[self._seconds].events)
        if state == "firing":
            spends = f"spends its error budget {number(rate)} times as fast as"
            bad = (
                f"{count(round(events.bad), 'call')} of {round(events.total):,} were bad over the last {over}; {budget}"
            )
            goal = ratio(self._objective)
            message = (
                f"{self._what} {spends} the objective of {goal} allows: {bad}"
                if severity == "critical"
                else f"{self._what} will miss its objective of {goal} if it goes on like that: it {spends} that "
                f"allows, {bad}"
            )
            step = (
                "page: see what changed when it began (print(holter.summary()), the last deploy), and undo that first"
                if severity == "critical"
                else "ticket: no haste, but at this rate the budget will not last; look for what fails most often"
            )
        else:
            message = f"{self._what} no longer spends its error budget too fast; {budget}"
            step = ""
        kind = "page" if severity == "critical" else "ticket"
        times = "" if burn.rate == 1.0 else f"{number(burn.rate)} times "
        allowed = f"less than {times}the rate that spends the budget in {duration(self._seconds)}"
        return Alert(
            id=f"slo-{crc32(repr(self).encode()):08x}-{kind}-{incident.since_ns:x}",
            check="slo",
            state=state,
            severity=severity,
            since_ns=incident.since_ns,
            target=self._measure.target,
            expected=allowed,
            seen=seen,
            message=message,
            next_step=step,
            evidence={
                "objective": self._objective,
                "burn_rate": rate,
                "burn_rate_allowed": burn.rate,
                "window_seconds": burn.long_seconds,
                "bad": events.bad,
                "total": events.total,
                "budget_left": left,
                "observed_seconds": self._windows[self._seconds].events.seconds,
            },
        )

    # -- what outlives the process

    def save(self) -> dict[str, Any]:
        """Return what was counted, and which alerts fire."""
        windows = {str(length): window.save() for length, window in self._windows.items()}
        return {"windows": windows, "alerts": {name: list(incident) for name, incident in self._alerts.items()}}

    def load(self, state: Mapping[str, Any], gap_seconds: float) -> None:
        """
        Go on from what was saved *gap_seconds* ago; what has left the windows meanwhile leaves at the next interval.

        Raises:
            ValueError: it is not what `save` returns.
        """
        del gap_seconds
        windows = {length: EventWindow(length) for length in self._windows}
        for length, window in windows.items():
            window.load(state["windows"][str(length)])
        alerts: dict[Severity, _Incident] = {}
        severities: tuple[Severity, ...] = ("critical", "warning")
        for severity in severities:
            found = state["alerts"].get(severity)
            if found is not None:
                since_ns, burn = map(int, found)
                if not 0 <= burn < len(self._burns):
                    raise ValueError(f"no burn rate: {burn}")
                alerts[severity] = _Incident(since_ns, burn)
        self._windows, self._alerts = windows, alerts


class _Incident(NamedTuple):
    """A severity that fires: since when, and by which burn rate."""

    since_ns: int
    burn: int
