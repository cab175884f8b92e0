"""Values that are not as values of their kind can be: counted where they are seen, and judged over a window."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple, get_args
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from holter.arguments import count_from_one, finite_number, one_of, positive_seconds
from holter.budget import EventWindow
from holter.errors import ConfigurationError
from holter.measure import Measure
from holter.model import Alert, AlertState, Attributes, AttributeValue, Observation, Reading, Series, Severity, Snapshot
from holter.names import (
    CALL_NAME,
    CHECK_NAME,
    OBSERVATION_NAME,
    OBSERVED_UNFIT,
    OBSERVED_VALUES,
    TRAINING_METRIC_PREFIX,
    TRAINING_NAME,
    TRAINING_STEPS_DONE,
    UNFIT_REASON,
)
from holter.wanted import Wanted
from holter.words import clean, count, duration, number, ratio

Count = tuple[str, float, Mapping[str, AttributeValue]]

_LONGEST_GAP_SECONDS: Final = 60.0
"""A deploy takes no longer."""
_MOST_COLUMNS: Final = 100
_SHOWN: Final = 3


class Told(NamedTuple):
    """What an interval tells: how many values there were, how many of them were unfit, and why."""

    values: float
    unfit: float
    reasons: tuple[str, ...] = ()


class ValueCheck:
    """What checks on values share: values are counted where they are seen, and judged by whoever leads."""

    check: str
    adjective: str
    """What a value is that is not as it should be."""

    def __init__(
        self,
        target: object,
        *,
        outputs: object,
        share: float,
        minimum_values: int,
        window_seconds: float,
        where: Attributes | None,
        severity: Severity,
    ) -> None:
        self._measure = Measure.of(target, "last", where)
        self._share = finite_number("share", share)
        if not 0 <= self._share < 1:
            raise ConfigurationError(f"share must be from 0 to less than 1, as 0.01 for 1 %, got {share!r}")
        self._minimum = count_from_one("minimum_values", minimum_values)
        self._seconds = positive_seconds("window_seconds", window_seconds)
        self._severity: Severity = one_of("severity", get_args(Severity), severity)
        self.observes: tuple[Wanted, ...] = ()
        self._what = self._measure.target
        if not isinstance(target, str):
            if where:
                raise ConfigurationError("where selects the series of a metric: of a function leave it out")
            self.observes = (Wanted.of(target, "outputs", outputs),)
            self._what = f"{self._measure.target} {_label(self.observes[0])}"
        elif outputs is not None:
            raise ConfigurationError("outputs= is about what a watched function returns, and target is a metric")
        self._columns: Counter[str] = Counter()
        """How often a column was unfit, as far as this process has seen."""
        self._loaded: tuple[EventWindow, int | None] | None = None
        self._begin("")

    def _begin(self, instance: str) -> None:
        self._instance = instance
        self._window = EventWindow(self._seconds)
        self._since_ns: int | None = None
        self._reasons: dict[str, None] = {}
        self._step: float | None = None
        self._last: float | None = None

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self._what!r}, {self._terms()}share={self._share!r}, "
            f"minimum_values={self._minimum!r}, window_seconds={self._seconds!r}, severity={self._severity!r})"
        )

    def _terms(self) -> str:
        """Return the arguments of its own that tell it from another one, as in a call, with a comma behind each."""
        return ""

    # -- each process, for itself

    def observe(self, observation: Observation) -> list[Count]:
        """Return how many values *observation* has, and how many of them are unfit; all processes count together."""
        values, unfit = 0, Counter[str]()
        for name, column in observation.columns.items():
            if isinstance(column, np.ndarray) and column.dtype.kind in "biuf":
                values += column.size
                for reason, where in self._find(column):
                    unfit[reason] += int(np.count_nonzero(where))
                    self._note_column(name, where)
        named = self._observed_as()
        return [
            (OBSERVED_VALUES, values, named),
            *((OBSERVED_UNFIT, amount, {**named, UNFIT_REASON: reason}) for reason, amount in unfit.items()),
        ]

    def _find(self, column: NDArray[Any]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
        """Yield the reasons for which values of *column* are unfit, and which are."""
        raise NotImplementedError

    def _note_column(self, name: str, where: NDArray[np.bool_]) -> None:
        if where.ndim > 1:
            by_place = np.count_nonzero(where, axis=0).ravel()
            name = f"{name}[{int(by_place.argmax())}]"
        if name in self._columns or len(self._columns) < _MOST_COLUMNS:
            self._columns[name] += int(np.count_nonzero(where))

    def _observed_as(self) -> dict[str, AttributeValue]:
        """Return the attributes of what this check counts, so that no other counts there, be it alike."""
        terms = f"{self._severity} from {self._minimum:,} in {self._seconds:g} s"
        return {
            CALL_NAME: str(self._measure.call),
            OBSERVATION_NAME: _label(self.observes[0]),
            CHECK_NAME: f"{self.check}: {self._expected()}; {terms}",
        }

    # -- whoever leads

    def judge(self, snapshot: Snapshot) -> list[Alert]:
        """Return an alert where too many values have just come to be unfit, or no longer are; else none."""
        if snapshot.process.instance != self._instance:
            # A forked child, or a new start: what was before is not its own.
            self._begin(snapshot.process.instance)
        if self._loaded is not None:
            (self._window, self._since_ns), self._loaded = self._loaded, None
        told = self._of_metric(snapshot) if not self.observes else self._of_call(snapshot)
        ended = snapshot.time_ns / 1e9
        self._window.add(ended - snapshot.interval_ns / 1e9, ended, told.values, min(told.unfit, told.values))
        self._reasons.update(dict.fromkeys(told.reasons))
        alert = self._judged(snapshot)
        if not self._window.events.bad:
            self._reasons.clear()
            self._columns.clear()
        self._remember(snapshot)
        return [] if alert is None else [alert]

    def _judged(self, snapshot: Snapshot) -> Alert | None:
        events = self._window.events
        is_bad = events.bad >= self._minimum and events.bad_share > self._share
        if is_bad and self._since_ns is None:
            self._since_ns = snapshot.time_ns
            return self._alert("firing", snapshot, self._since_ns)
        if not is_bad and self._since_ns is not None:
            since_ns, self._since_ns = self._since_ns, None
            return self._alert("resolved", snapshot, since_ns)
        return None

    def _of_call(self, snapshot: Snapshot) -> Told:
        named, values, unfit = self._observed_as(), 0.0, Counter[str]()
        for series, reading in moved(snapshot):
            if series.matches(OBSERVED_VALUES, named):
                values += reading.sum
            elif series.matches(OBSERVED_UNFIT, named):
                unfit[str(series.attributes.get(UNFIT_REASON))] += round(reading.sum)
        return Told(values, unfit.total(), tuple(reason for reason, _ in unfit.most_common()))

    def _of_metric(self, snapshot: Snapshot) -> Told:
        """Return what is told of a metric's values."""
        raise NotImplementedError

    def _remember(self, snapshot: Snapshot) -> None:
        """Keep the newest value, and how far a training has come, for the alert that may come next."""
        if not self.observes:
            for series, reading in moved(snapshot):
                if series.matches(self._measure.name, self._measure.where) and self._is_good(reading.last):
                    self._last = reading.last
            self._step = self._steps_done(snapshot)

    def _is_good(self, value: float | None) -> bool:
        return value is not None and np.isfinite(value) and not any(self._find(np.array([value])))

    def _steps_done(self, snapshot: Snapshot) -> float | None:
        """Return how far the training has come that logs the values, None if it is none, or more than one."""
        if not self._is_logged:
            return None
        runs = {
            snapshot.series[key].attributes.get(TRAINING_NAME)
            for key in snapshot.total
            if snapshot.series[key].matches(self._measure.name, self._measure.where)
        }
        steps = [
            reading.last
            for key, reading in snapshot.total.items()
            if snapshot.series[key].name == TRAINING_STEPS_DONE
            and snapshot.series[key].attributes.get(TRAINING_NAME) in runs
        ]
        return max((step for step in steps if step is not None), default=None) if len(runs) == 1 else None

    # -- words

    def _expected_values(self) -> str:
        raise NotImplementedError

    def _expected(self) -> str:
        expected = self._expected_values()
        return f"{expected}, but for {ratio(self._share)} of them" if self._share else expected

    def describe(self) -> str:
        """Return in one line how the values stand."""
        return f"{self._what}: {self._seen()}"

    @property
    def _noun(self) -> str:
        return "value" if not self.observes else "sampled value"

    def _seen(self) -> str:
        events = self._window.events
        if not events.total:
            return "no values seen"
        told = [reason for reason in self._reasons if reason not in self.adjective]
        reasons = f" ({', '.join(told)})" if events.bad and told else ""
        verb = "is" if round(events.bad) == 1 else "are"
        return f"{round(events.bad):,} of {count(round(events.total), self._noun)} {verb} {self.adjective}{reasons}"

    def _when(self, snapshot: Snapshot) -> str:
        """Return between which steps that was, where that is known."""
        before, now = self._step, self._steps_done(snapshot)
        if now is None:
            return ""
        is_between = before is not None and before < now
        return f", between steps {before:,.0f} and {now:,.0f}" if is_between else f", by step {now:,.0f}"

    def _message(self, state: AlertState, snapshot: Snapshot, lasted: str) -> str:
        over = duration(min(self._seconds, self._window.events.seconds))
        if state == "firing":
            last = "" if self._last is None else f"; the last good value was {number(self._last)}"
            return f"{self._what}: {self._seen()} over the last {over}{self._when(snapshot)}{last}"
        if not self._window.events.total:
            return (
                f"{self._what}: no values were seen over the last {over}, so its alert ends after {lasted}; "
                "that is silence, not a recovery"
            )
        return f"{self._what}: {self._seen()} over the last {over}, as expected again after {lasted}"

    def _next_step(self) -> str:
        if not self.observes:
            return f"See what gives {self._what} its values, and what changed when that began."
        return self._step_for_results()

    @property
    def _is_logged(self) -> bool:
        return self._measure.name.startswith(TRAINING_METRIC_PREFIX)

    def _step_for_results(self) -> str:
        columns = self._worst()
        where = f" in {columns}" if columns else ""
        return (
            f"Look at the results{where} and at what went in: watch what prepares it, and give that to "
            f"holter.{type(self).__name__} too. If it began with a new version, serve the one before meanwhile."
        )

    def _worst(self) -> str:
        return clean(", ".join(name for name, _ in self._columns.most_common(_SHOWN)), 200)

    def _alert(self, state: AlertState, snapshot: Snapshot, since_ns: int) -> Alert:
        events, seen = self._window.events, self._seen()
        evidence: dict[str, AttributeValue | None] = {
            "unfit": events.bad,
            "values": events.total,
            "share": events.bad_share,
            "share_allowed": self._share,
            "minimum_values": self._minimum,
            "window_seconds": self._seconds,
            "reasons": ", ".join(self._reasons) or None,
            "columns": self._worst() or None,
            "last_good_value": self._last,
            "step": self._steps_done(snapshot),
        }
        return Alert(
            id=f"{self.check}-{crc32(repr(self).encode()):08x}-{since_ns:x}",
            check=self.check,
            state=state,
            severity=self._severity,
            since_ns=since_ns,
            target=self._what,
            expected=self._expected(),
            seen=seen,
            message=self._message(state, snapshot, duration((snapshot.time_ns - since_ns) / 1e9)),
            next_step=self._next_step() if state == "firing" else "",
            evidence={key: value for key, value in evidence.items() if value is not None},
        )

    # -- what outlives the process

    def save(self) -> dict[str, Any]:
        """Return what the window holds, and since when an alert fires, if one does."""
        return {"window": self._window.save(), "firing_since_ns": self._since_ns}

    def load(self, state: Mapping[str, Any], gap_seconds: float) -> bool:
        """
        Go on from what was saved *gap_seconds* ago.

        Returns False, and begins anew, where that is longer ago than a minute and the window.

        Raises:
            ValueError: it is not what `save` returns.
        """
        since_ns, window = state["firing_since_ns"], EventWindow(self._seconds)
        if since_ns is not None and type(since_ns) is not int:
            raise ValueError(f"no time: {since_ns!r:.50}")
        window.load(state["window"])
        if gap_seconds > max(_LONGEST_GAP_SECONDS, self._seconds):
            return False
        self._loaded = window, since_ns
        return True


def moved(snapshot: Snapshot) -> Iterator[tuple[Series, Reading]]:
    """Yield the series that moved in the interval, each with what it has come to."""
    for key, reading in snapshot.interval.items():
        yield snapshot.series[key], reading


def may_be(series: Series, where: Attributes) -> bool:
    """Whether *series*, which may say less of where its values are from, is not about others than those."""
    return all(series.attributes.get(key, value) == value for key, value in where.items())


def _mark(selector: Any) -> str:
    """Return what tells one lambda from the next, the same in all processes of a service; all others have names."""
    code = getattr(selector, "__code__", None)
    if code is None or code.co_name != "<lambda>":
        return ""
    # Of other constants the repr may be another in each process: it has an address, or the order of a set.
    constants = [one for one in code.co_consts if type(one) in (str, int, float, bytes)]
    return f" {crc32(repr((code.co_code, code.co_names, constants)).encode()):08x}"


def _label(wish: Wanted) -> str:
    """Return what is looked at, on one line: "outputs", "outputs.score"."""
    selector = wish.selector
    if selector is None:
        return wish.source
    if callable(selector):
        named = clean(getattr(selector, "__qualname__", type(selector).__name__), 80) + _mark(selector)
    else:
        named = selector if isinstance(selector, str) else ",".join(selector)
    return clean(f"{wish.source}.{named}", 100)
