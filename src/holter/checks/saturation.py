"""A check on work that piles up: more and more of it waits while no more of it is done."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final, get_args
from zlib import crc32

from holter.arguments import finite_number, positive_seconds
from holter.backlog import SCALES, Backlog, Pile
from holter.errors import ConfigurationError
from holter.measure import Measure
from holter.metric import LEVELS, NO_ATTRIBUTES, Series
from holter.model import Alert, AlertState, Attributes, Severity, Snapshot
from holter.names import CALL_ACTIVE, CALL_DURATION, CALL_NAME
from holter.words import clean, duration, number, quantity

_LONGEST_GAP_SECONDS: Final = 60.0
_UNCHANGED: Final = 0.1
_LEAST_GROWTH: Final = 1.5


class Saturation:
    """
    An alert when calls, or what waits for them, pile up while no more of them end.

    *target* is a watched function, or a metric that is a histogram of seconds, of which *where* selects the series.
    What is counted: the calls in flight, over all processes of a group; with *queue*, the name of a gauge, what that
    tells. Where the target or the queue is a histogram of seconds, such as ``http.server.request.duration`` or
    ``holter.request.queue_time``, the number comes from Little's law: the seconds spent there, each second.

    **It fires** where over *window_seconds*, or 4, 16 or 64 times that, the number grew to *growth* times what it was,
    *minimum* or more, from third to third and nearly each twelfth of the window, to half above all that was before,
    while the rate of ended calls grew by less than the 0.3rd power of that. So more work that is done, a batch that is
    started at once and then drains, and a burst, are none. Before twenty windows are known, it must also be four
    times what chance makes of as many calls.

    **It resolves** when the number has fallen half of the way back, or has stayed as it is for three windows. The alert
    tells how long each call takes now and before, by Little's law: the number in flight over the rate.

    Costs 5 us an interval, a pass over the series where there are new ones, and 100 KB at most. Not thread-safe.

    Raises:
        ConfigurationError: an argument that cannot work.

    >>> import holter
    >>> check = holter.Saturation("http.server.request.duration", queue="app.queue.length")
    """

    def __init__(
        self,
        target: object,
        *,
        queue: str | None = None,
        where: Attributes | None = None,
        minimum: float = 10.0,
        growth: float = 2.0,
        window_seconds: float = 60.0,
        severity: Severity = "warning",
    ) -> None:
        self._measure = Measure.of(target, "rate", where)
        name: object = queue
        if name is not None and not (isinstance(name, str) and name):
            raise ConfigurationError(f"queue must be the name of a gauge or a histogram of seconds, got {queue!r}")
        self._queue = queue
        self._minimum = finite_number("minimum", minimum)
        self._growth = finite_number("growth", growth)
        if self._minimum <= 0:
            raise ConfigurationError(f"minimum must be greater than 0, got {minimum!r}")
        if self._growth < _LEAST_GROWTH:
            raise ConfigurationError(f"growth must be {_LEAST_GROWTH} or more, got {growth!r}")
        if severity not in get_args(Severity):
            raise ConfigurationError(f"severity must be one of {', '.join(get_args(Severity))}, got {severity!r}")
        self._seconds = positive_seconds("window_seconds", window_seconds)
        self._severity: Severity = severity
        self._instance: str | None = None
        self._known: tuple[int, Pile] | None = None
        self._begin()

    def __repr__(self) -> str:
        return (
            f"Saturation({self._measure.target!r}, queue={self._queue!r}, minimum={self._minimum!r}, "
            f"growth={self._growth!r}, window_seconds={self._seconds!r}, severity={self._severity!r})"
        )

    def _begin(self) -> None:
        self._backlog = Backlog(window_seconds=self._seconds, growth=self._growth, minimum=self._minimum)
        self._pile: Pile | None = None
        self._since_ns = 0
        self._series: Mapping[int, Series] | None = None
        self._levels: list[Series] = []
        self._ended: list[int] = []

    def judge(self, snapshot: Snapshot) -> list[Alert]:
        """Return an alert where work has begun to pile up, or no longer does; else none."""
        if self._instance not in (None, snapshot.process.instance):
            self._begin()
        self._instance = snapshot.process.instance
        if self._known is not None:
            (self._since_ns, self._pile), self._known = self._known, None
        level, done = self._read(snapshot)
        found = self._backlog.take(snapshot.interval_ns / 1e9, level, done, is_known=self._pile is not None)
        if self._pile is None:
            if found is None:
                return []
            self._since_ns = snapshot.time_ns - round(found.seconds * 1e9)
            self._pile = found
            return [self._alert("firing", found, found.last, found.rate)]
        now, pile = self._backlog.newest(), self._pile
        if now is None:
            return []
        has_fallen = now.level < (pile.first + pile.last) / 2
        if not has_fallen and not self._backlog.is_calm(pile.scale):
            return []
        self._pile = None
        return [self._alert("resolved", pile, now.level, now.rate)]

    def _read(self, snapshot: Snapshot) -> tuple[float, float]:
        """Return how many are there now, and how many ended in the interval."""
        if snapshot.series is not self._series:
            self._series = snapshot.series
            call = self._measure.call
            name, where = self._measure.name, self._measure.where
            if self._queue is not None:
                name, where = self._queue, NO_ATTRIBUTES
            elif call is not None:
                name, where = CALL_ACTIVE, {CALL_NAME: call}
            series = snapshot.series.values()
            self._levels = [one for one in series if one.matches(name, where)]
            self._ended = [one.id for one in series if one.matches(self._measure.name, self._measure.where)]
        seconds, level = snapshot.interval_ns / 1e9, 0.0
        for one in self._levels:
            if one.kind in LEVELS:
                found = snapshot.total.get(one.id)
                level += found.last or 0.0 if found is not None else 0.0
            elif one.id in snapshot.interval and seconds > 0:
                level += snapshot.interval[one.id].sum / seconds
        done = sum(snapshot.interval[key].count for key in self._ended if key in snapshot.interval)
        return (level if math.isfinite(level) else 0.0), float(done)

    # -- words

    @property
    def _noun(self) -> str:
        name = self._measure.name
        return "call" if name == CALL_DURATION else "request" if "request" in name else "value"

    def _there(self, level: float) -> str:
        """Return how many are there: "40 in flight"."""
        if self._queue is None:
            return f"{number(level)} in flight"
        return f"{number(level)} in {clean(self._queue)}"

    def _rate(self, rate: float) -> str:
        return quantity(rate, f"{{{self._noun}}}/s")

    def _pace(self, pile: Pile) -> str:
        """Return how the rate has changed: "at an unchanged 95 calls/s"."""
        if not pile.rate:
            return f"while no {self._noun} ends"
        if abs(pile.rate - pile.rate_before) <= _UNCHANGED * pile.rate_before:
            return f"at an unchanged {self._rate(pile.rate)}"
        change = "while more end, but not as many more" if pile.rate > pile.rate_before else "while fewer end"
        return f"{change}: {self._rate(pile.rate)}, {number(pile.rate_before)} then"

    def _seen(self, pile: Pile) -> str:
        times = f"{number(pile.last / pile.first)} times" if pile.first >= 1 else "up from"
        return f"{self._there(pile.last)}, {times} the {number(pile.first)} of {duration(pile.seconds)} before"

    def _alert(self, state: AlertState, pile: Pile, level: float, rate: float) -> Alert:
        target, is_firing = self._measure.target, state == "firing"
        waits = "" if pile.wait is None else f"; by Little's law each now takes {duration(pile.wait)}"
        if waits and pile.wait_before is not None:
            waits += f", {duration(pile.wait_before)} then"
        if is_firing:
            message = f"{target} is saturated: {self._seen(pile)}, {self._pace(pile)}{waits}"
        elif level < (pile.first + pile.last) / 2:
            message = f"{target} is no longer saturated: {self._there(level)}, at {self._rate(rate)}"
        else:
            message = f"{target} piles up no further: it holds at {self._there(level)}, at {self._rate(rate)}"
        return Alert(
            id=f"saturation-{crc32(repr(self).encode()):08x}-{self._since_ns:x}",
            check="saturation",
            state=state,
            severity=self._severity,
            since_ns=self._since_ns,
            target=target,
            expected=f"no growth to {number(self._growth)} times and {number(self._minimum)} while the rate is flat",
            seen=f"{self._seen(pile)}, {self._pace(pile)}",
            message=message,
            next_step=self._next_step(pile) if is_firing else "",
            evidence={
                "in_flight": pile.last,
                "in_flight_before": pile.first,
                "rate": pile.rate,
                "rate_before": pile.rate_before,
                "window_seconds": pile.seconds,
                **({} if pile.wait is None else {"seconds_each": pile.wait}),
                **({} if pile.wait_before is None else {"seconds_each_before": pile.wait_before}),
            },
        )

    def _next_step(self, pile: Pile) -> str:
        # From the middle of the first third to the middle of the last one.
        excess = (pile.last - pile.first) / (pile.seconds * 2 / 3)
        if pile.rate < (1 - 2 * _UNCHANGED) * pile.rate_before:
            return (
                f"{self._noun}s end more slowly than they did: see what they wait for, a lock, a database or another "
                "service: print(holter.summary())"
            )
        return (
            f"some {self._rate(excess)} more come than end: let fewer in, refusing the rest at once, or add workers; "
            "print(holter.summary()) tells which stage takes the time"
        )

    # -- what outlives the process

    def save(self) -> dict[str, Any]:
        """Return what fires, if something does; the past is too short to outlive a process."""
        return {"firing": None if self._pile is None else [self._since_ns, list(self._pile)]}

    def load(self, state: Mapping[str, Any], gap_seconds: float) -> bool:
        """
        Go on with what fired *gap_seconds* ago, which resolves when less is there; not after more than a minute.

        Raises:
            ValueError: it is not what `save` returns.
        """
        if gap_seconds > max(_LONGEST_GAP_SECONDS, self._seconds):
            return False
        firing = state["firing"]
        if firing is not None:
            since_ns, (scale, *figures) = firing
            pile = Pile(int(scale), *map(float, figures))
            if not 0 <= pile.scale < SCALES or not all(map(math.isfinite, pile)):
                raise ValueError(f"no pile of work: {firing!r:.100}")
            self._known = int(since_ns), pile
        return True
