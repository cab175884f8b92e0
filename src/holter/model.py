"""The nouns that leave the recorder, and the Protocols that plug-ins satisfy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol, runtime_checkable

from holter.metric import NO_ATTRIBUTES, Across, Attributes, AttributeValue, Kind, Series
from holter.names import CALL_DURATION, CALL_NAME, CALL_OUTCOME
from holter.options import DISABLED
from holter.reading import STATISTICS, Distribution, Reading, Statistics
from holter.record import Outcome
from holter.silencing import Silence
from holter.slowcall import Pause, SlowCall, Stage
from holter.words import whose

__all__ = [
    "NO_ATTRIBUTES",
    "STATISTICS",
    "Across",
    "Alert",
    "AlertState",
    "AttributeValue",
    "Attributes",
    "Check",
    "Distribution",
    "ErrorPlace",
    "Exporter",
    "Kind",
    "Observation",
    "OpenCall",
    "Pause",
    "Process",
    "Reading",
    "Record",
    "Sampler",
    "Series",
    "Severity",
    "Silence",
    "SlowCall",
    "Snapshot",
    "Stage",
    "Statistics",
    "resolve_target",
]

_FAILED = (Outcome.ERROR.label, Outcome.TIMEOUT.label)


@dataclass(frozen=True, slots=True)
class OpenCall:
    """
    A call that is running: which, since when (monotonic), in which native thread, and in which task.

    ``task`` is the same number for the watched coroutines that one task runs, and another for each task that runs at
    the same time; 0 for all other calls, and where the pieces in Python are in use. ``asked_ns`` is, of a stream, since
    when its next item is asked for (monotonic), -1 while its consumer has the last one; 0 for all other calls.

    >>> import holter
    >>> @holter.watch
    ... def look_around():
    ...     return [call.name for call in holter.snapshot().open_calls]
    >>> look_around()
    ['look_around']
    """

    name: str
    series: int
    start_ns: int
    age_seconds: float
    thread: int
    task: int = 0
    asked_ns: int = 0


@dataclass(frozen=True, slots=True)
class ErrorPlace:
    """
    Where errors of one type left one call: ``place`` is file:line and function, no text of the error.

    >>> import holter
    >>> @holter.watch
    ... def divide(one, other):
    ...     return one / other
    >>> try:
    ...     divide(1, 0)
    ... except ZeroDivisionError:
    ...     [place.error_type for place in holter.snapshot().error_places if place.call == "divide"]
    ['ZeroDivisionError']
    """

    call: str
    error_type: str
    place: str
    count: int


@dataclass(frozen=True, slots=True)
class Process:
    """
    The process that a snapshot speaks of.

    ``environment`` (Python, packages, git commit, host) is the fingerprint in full,
    ``fingerprint`` its short hash; ``started_ns`` is on the monotonic clock. ``inherited`` is whether it
    is a forked child that goes on with the monitor of its parent.

    >>> import holter
    >>> holter.Monitor("sentiment").snapshot().process.service
    'sentiment'
    """

    service: str
    version: str | None = None
    attributes: Attributes = field(default_factory=lambda: NO_ATTRIBUTES)
    instance: str = ""
    pid: int = 0
    host: str = ""
    started_ns: int = 0
    fingerprint: str = ""
    environment: Mapping[str, Any] = field(default_factory=lambda: NO_ATTRIBUTES, hash=False)
    inherited: bool = False


@dataclass(frozen=True, slots=True)
class Snapshot:
    """
    A frozen reading of all series: ``total`` since recording began, ``interval`` since the last.

    Both map a series' id to its Reading; ``interval`` holds only series that moved. ``time_ns``
    is Unix time, ``monotonic_ns`` the same moment on the clock that stamps records. ``lost`` is
    the number of records that were overwritten before they were read (their totals are not).
    ``slow_calls`` are the newest, at most 500, where an exporter or `RuntimeSampler` has asked for them.

    >>> import holter
    >>> shout = holter.watch(str.upper, name="shout")
    >>> shout("a") + shout("b")
    'AB'
    >>> holter.snapshot().find(shout).total.count
    2
    """

    time_ns: int
    interval_ns: int
    series: Mapping[int, Series]
    total: Mapping[int, Reading]
    interval: Mapping[int, Reading]
    open_calls: tuple[OpenCall, ...] = ()
    lost: int = 0
    process: Process = field(default_factory=lambda: Process(service="unknown_service"))
    monotonic_ns: int = 0
    error_places: tuple[ErrorPlace, ...] = ()
    slow_calls: tuple[SlowCall, ...] = ()

    def find(self, target: object, where: Attributes | None = None) -> Statistics | None:
        """
        Return the statistics of *target*, merged over all its series, or None if it has none.

        *target* is a watched function or a metric's name; *where* selects series that have these
        attributes. Costs one pass over the series.
        """
        name, wanted = resolve_target(target, where)
        matching = [series for series in self.series.values() if series.matches(name, wanted)]
        if not matching:
            return None
        interval, total, failed = Reading(), Reading(), 0
        for series in matching:
            total = total.merge(self.total.get(series.id, Reading()))
            reading = self.interval.get(series.id)
            if reading is not None:
                interval = interval.merge(reading)
                if series.attributes.get(CALL_OUTCOME) in _FAILED:
                    failed += reading.count
        last_ns = total.last_ns or self.process.started_ns
        return Statistics(
            kind=matching[0].kind,
            seconds=self.interval_ns / 1e9,
            interval=interval,
            total=total,
            failed=failed,
            missing_seconds=max(0.0, (self.monotonic_ns - last_ns) / 1e9),
        )

    def then(self, later: Snapshot) -> Snapshot:
        """Return the *later* snapshot with an interval that covers this one's too."""
        interval = dict(self.interval)
        for key, reading in later.interval.items():
            earlier = interval.get(key)
            interval[key] = reading if earlier is None else earlier.merge(reading)
        return replace(later, interval_ns=self.interval_ns + later.interval_ns, interval=interval)


def resolve_target(target: object, where: Attributes | None = None) -> tuple[str, Attributes]:
    """
    Return the metric's name and the attributes that *target* stands for.

    Raises:
        TypeError: *target* is neither a metric's name nor a watched function.
    """
    if isinstance(target, str):
        return target, where or NO_ATTRIBUTES
    call = getattr(target, "__holter_call__", None)
    if DISABLED and callable(target) and not isinstance(call, str):
        # What watch() returned is the function itself, and set-up has to go through.
        call = str(getattr(target, "__qualname__", type(target).__qualname__))
    if not isinstance(call, str):
        raise TypeError(f"expected a watched function or a metric's name, got {type(target).__name__}")
    return CALL_DURATION, {**(where or {}), CALL_NAME: call}


Severity = Literal["info", "warning", "critical"]
AlertState = Literal["firing", "resolved"]


@dataclass(frozen=True, slots=True)
class Alert:
    """
    A judgement with its evidence.

    ``id`` stays the same from firing to resolved; ``since_ns`` is Unix time; ``expected`` and
    ``seen`` are words with numbers, ``message`` one sentence, ``next_step`` what to do about it;
    ``evidence`` holds plain numbers and strings; ``related`` tells of signals that moved along and of the other
    alerts of the same trouble, which all have the same ``incident``. ``silence`` is what keeps it from being told.
    ``source``, which the monitor fills in, is the check that gave it, as the processes of a group know it.

    >>> alert = Alert(
    ...     id="disk", check="DiskSpace", state="firing", severity="warning", since_ns=0, target="/data",
    ...     expected="below 90 %", seen="93 %", message="/data is 93 % full", next_step="remove old checkpoints",
    ... )
    >>> alert.evidence
    mappingproxy({})
    """

    id: str
    check: str
    state: AlertState
    severity: Severity
    since_ns: int
    target: str
    expected: str
    seen: str
    message: str
    next_step: str = ""
    evidence: Mapping[str, AttributeValue] = field(default_factory=lambda: NO_ATTRIBUTES, hash=False)
    related: tuple[str, ...] = ()
    incident: str = ""
    silence: Silence | None = None
    source: str = field(default="", compare=False)

    @property
    def names(self) -> tuple[str, ...]:
        """By what it can be silenced: its id, its check, its target, the call or metric that is of, its incident."""
        return self.id, self.check, self.target, whose(self.target), self.incident


Source = Literal["inputs", "outputs"]


@dataclass(frozen=True, slots=True)
class Observation:
    """
    A bounded sample of what went into one call, or came out of it: columns of ``count`` rows each.

    ``columns`` maps a name to its values. Numbers are numpy arrays of their own type, whose first axis is the
    rows: a column of a table, or a list of numbers, has one axis; an array of two or more stays one array,
    (rows, ...), under one name, and is not taken apart. Times are arrays too, datetime64 in UTC, and durations
    timedelta64. Text is a list of str and None. A dict, a data frame and a
    list of dicts give a column for each key, all else one named after what was asked for: the argument, the key, or
    the *source* ("inputs" or "outputs"). What has no rows is one row, and beside columns of many it stands in each.
    Of more rows than are kept, ``count`` were chosen evenly from ``rows``. ``time_ns`` is Unix time; inputs and
    outputs of the same call have the same.

    The arrays are read-only copies, shared by all checks that asked for them.

    >>> import numpy as np
    >>> seen = Observation(call="predict", columns={"length": np.array([3, 5])}, count=2, time_ns=0)
    >>> seen.columns["length"].tolist(), seen.source, seen.rows
    ([3, 5], 'inputs', 2)
    """

    call: str
    columns: Mapping[str, Any] = field(hash=False)
    count: int
    time_ns: int
    source: Source = "inputs"
    rows: int = -1

    def __post_init__(self) -> None:
        """Say that all rows there were are here, unless told."""
        if self.rows < 0:
            object.__setattr__(self, "rows", self.count)


class Record(Protocol):
    """How a sampler hands over one value."""

    def __call__(
        self,
        name: str,
        value: float,
        *,
        unit: str = "1",
        kind: Kind = "gauge",
        attributes: Attributes | None = None,
        across: Across | None = None,
    ) -> None:
        """
        Record *value* for metric *name*, in base units (s, By, 1 for ratios).

        A counter's value is cumulative, as the system gives it; what it has grown since the last
        call is counted, and a fall counts as a restart from zero. *across* is as in `gauge`.
        """


@runtime_checkable
class Sampler(Protocol):
    """
    What polls values at its own interval.

    One with ``whole_host = True`` tells of more than its process: of several processes of a service, only the
    one that leads them calls it.

    One that has a ``close()`` is closed when the monitor stops, and may be called again when it starts.

    >>> class Backlog:
    ...     interval_seconds = 1.0
    ...     def sample(self, record):
    ...         record("app.queue.length", 3, unit="{item}")
    >>> isinstance(Backlog(), Sampler)
    True
    """

    interval_seconds: float

    def sample(self, record: Record) -> None:
        """Read the values and hand each to *record*; must not block, may raise."""


@runtime_checkable
class Check(Protocol):
    """
    What judges snapshots; may also have more, by which it looks at data and outlives its process.

    ``observes`` is a list of `Wanted`; ``observe`` gets samples of that in each process and may return counts, as
    (name, amount, attributes), which a group sums. Where counts are not enough, ``share()`` returns what was
    observed since the last time, as JSON has it, or None, and is called after ``observe``; ``gather(share)`` is
    called in the process that judges, before ``judge``, once for each share of each process.

    ``save()`` returns what the next process is to know, as JSON has it; ``load(state, gap_seconds)`` goes on from
    that. Alerts that fired go on firing then, unless it raises or returns False, as it may where the gap was too long.

    Of several processes of a service the one that leads them asks its checks, with the snapshots of all. One with
    ``own_process = True`` judges each process by itself: every process asks its own, with its own snapshots, and
    logs what it says; who leads tells of it, with ``process.pid`` in the evidence. Their ids must differ between
    processes. It has no ``save`` and ``load``: what is of one process is not told to the next.

    >>> class Content:
    ...     def judge(self, snapshot):
    ...         return []
    >>> isinstance(Content(), Check)
    True
    """

    def judge(self, snapshot: Snapshot) -> Iterable[Alert]:
        """Return an alert for each judgement that has changed: one when it fires, one when it resolves."""


@runtime_checkable
class Exporter(Protocol):
    """
    What ships snapshots and alerts; called from one thread of its own, never from the user's.

    One with ``whole_group = True`` tells of the whole service: of several processes only the one that leads
    them calls it, with the snapshots of all. When another one comes to lead, ``rest()`` is called, if there is
    such a method, so that what only one process can have, as a port, is given back.

    One that has ``slower_than_seconds`` too (None for slower than 99 of 100) gets slow and failed calls in
    ``Snapshot.slow_calls``: those in a trace of OpenTelemetry, and where it has ``traces_all`` set, all. If it has
    ``trace(calls)``, that is called with the new ones each interval.

    One that has ``send(notice, timeout)`` is a receiver: it is told of incidents by that, as `Webhook` is, and
    ``export`` is not called.

    >>> class Count:
    ...     every_seconds = 10.0
    ...     def export(self, snapshot, alerts):
    ...         print(len(snapshot.interval), "series moved")
    ...     def close(self, timeout):
    ...         print("done")
    >>> isinstance(Count(), Exporter)
    True
    """

    every_seconds: float

    def export(self, snapshot: Snapshot, alerts: Iterable[Alert]) -> None:
        """Ship *snapshot*, whose interval covers all since the last call, and the *alerts* of that time."""

    def close(self, timeout: float) -> None:
        """Give back what is held, within *timeout* seconds; nothing is exported afterwards."""
