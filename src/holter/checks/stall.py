"""A check on what hangs: calls, items of streams and steps of training that do not end, or do not come."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any, Final, Literal, get_args
from zlib import crc32

from holter.arguments import finite_number, positive_seconds
from holter.errors import ConfigurationError
from holter.hung import HungCalls, Still
from holter.measure import Measure
from holter.model import Alert, Attributes, AttributeValue, Series, Severity, Snapshot
from holter.quiet import MissingSteps, Silence
from holter.stacks import Stand, stand_of, stand_of_thread
from holter.usual import Allowance
from holter.words import clean, count, duration

_WHERE: Final = {
    "thread": "its thread stands in",
    "task": "its task awaits in",
    "event loop": "its event loop is blocked in",
}
_NOUNS: Final = {"call": "call", "item": "stream", "step": "step"}
_SHOWN: Final = 300
_HELD_UP_NS: Final = 10_000_000_000


def _stand_of(one: Still) -> Stand | None:
    return stand_of(one.calls[0]) if one.calls else stand_of_thread(one.thread)


class Stall:
    """
    An alert when a call hangs, with the place where it does: file, line and function of each frame of its stack.

    Judged are all watched calls and training runs, or only *target*: a watched function, or the name of a metric of
    calls or steps, *where* selects its series. Without arguments it knows by itself what takes too long:

    - **A call in flight** that has taken *factor* times what 99 of 100 take, at least *at_least_seconds*, and three
      times as long as the longest that has ended well. Fewer than *minimum_calls* tell no such figure: then
      *grace_seconds* take the place of both, and three times that where none has ended yet, as the first may load
      and compile. A call of which none ever ended, as ``main()``, is judged only where it is the *target*.
    - **A stream** whose producer takes that long for one item; its age does not matter, and neither does the time
      that its consumer takes.
    - **A training step** in flight, likewise, with *grace_seconds* always; and a step that does not come while the
      run is open, which may take twice as long as the longest pause before, as evaluations and checkpoints do.
    - **No call** of *target* for *silent_seconds*, if that is given; "learnt" stands for *factor* times the usual
      time between calls, twice the longest pause, and *grace_seconds*. Of several processes each is judged by
      itself: where not each must be called, ``Limit(target, "missing", above=...)`` judges all together.

    With *after_seconds* that is the limit of all calls, items and steps instead.

    One alert comes of each series, however many of its calls hang; of calls inside each other, the innermost that
    hangs is told. It resolves when none of them hangs any more. The evidence has the stack of the oldest, taken once,
    innermost frame first, 12 at most, without holter's own: that of its thread, or of what its task awaits, or of
    the thread of an event loop that is blocked. Arguments and variables are not looked at.

    Where no interval ended for 10 s and more, as in a process that was stopped, one more passes before it tells of it.
    It looks in a thread of its own, so it tells of a program in which everything else hangs; not of one in which C code
    keeps the GIL, where nothing in this process runs: ``holter top`` shows that from outside.

    Costs 0.3 µs an interval for each call in flight, and 5 to 10 µs for each that takes longer than the least that is
    too long. A stack takes 0.1 ms; where a loop is blocked, half a second of waiting in the check's thread. Not
    thread-safe.

    Raises:
        ConfigurationError: an argument that cannot work.

    >>> Stall()
    Stall()
    """

    own_process = True

    def __init__(
        self,
        target: object = None,
        *,
        after_seconds: float | None = None,
        silent_seconds: float | Literal["learnt"] | None = None,
        factor: float = 10.0,
        at_least_seconds: float = 10.0,
        grace_seconds: float = 300.0,
        minimum_calls: int = 100,
        where: Attributes | None = None,
        severity: Severity = "critical",
        _stand_of: Callable[[Still], Stand | None] = _stand_of,
    ) -> None:
        self._measure = None if target is None else Measure.of(target, "rate", where)
        if target is None and (where is not None or silent_seconds is not None):
            raise ConfigurationError(
                "where and silent_seconds are about one target: name it, as in Stall(predict, ...)"
            )
        self._allowance = Allowance(
            None if after_seconds is None else positive_seconds("after_seconds", after_seconds),
            finite_number("factor", factor),
            positive_seconds("at_least_seconds", at_least_seconds),
            positive_seconds("grace_seconds", grace_seconds),
            minimum_calls,
        )
        if self._allowance.factor < 1:
            raise ConfigurationError(f"factor must be at least 1, got {factor!r}")
        if type(minimum_calls) is not int or minimum_calls < 1:
            raise ConfigurationError(f"minimum_calls must be a whole number that is at least 1, got {minimum_calls!r}")
        self._silent: Any = silent_seconds
        if silent_seconds is not None and silent_seconds != "learnt":
            self._silent = positive_seconds("silent_seconds", silent_seconds)
        if severity not in get_args(Severity):
            known = ", ".join(f'"{one}"' for one in get_args(Severity))
            raise ConfigurationError(f"severity must be {known}, got {severity!r}")
        self._severity: Severity = severity
        self._stand_of = _stand_of
        self._begin("")

    def __repr__(self) -> str:
        usual = asdict(Allowance())
        options = {name: value for name, value in asdict(self._allowance).items() if value != usual[name]}
        if self._silent is not None:
            options["silent_seconds"] = self._silent
        target = [] if self._target is None else [repr(self._target)]
        return f"Stall({', '.join([*target, *(f'{name}={value!r}' for name, value in options.items())])})"

    @property
    def _target(self) -> str | None:
        return None if self._measure is None else self._measure.target

    def _begin(self, instance: str) -> None:
        self._instance, self._is_late = instance, False
        judged = self._is_judged
        self._hung = HungCalls(self._allowance, judged, is_chosen=self._measure is not None)
        self._steps = MissingSteps(self._allowance, judged)
        seconds = None if self._silent == "learnt" else self._silent
        self._silence = None if self._silent is None else Silence(self._allowance, judged, self._target or "", seconds)
        self._firing: dict[tuple[str, int], _Incident] = {}

    def _is_judged(self, series: Series) -> bool:
        return self._measure is None or series.matches(self._measure.name, self._measure.where)

    def judge(self, snapshot: Snapshot) -> list[Alert]:
        """Return an alert for what has just begun to hang, or goes on; else none."""
        if snapshot.process.instance != self._instance:
            # A forked child, or a new start: what hung before is not its own.
            self._begin(snapshot.process.instance)
        still = {(one.kind, one.series): one for one in self._look(snapshot)}
        # After a time in which nobody looked, what was held up with it gets one more interval to go on.
        self._is_late = snapshot.interval_ns >= _HELD_UP_NS and not self._is_late
        if self._is_late:
            still = {key: one for key, one in still.items() if key in self._firing}
        over = [self._firing.pop(key) for key in list(self._firing) if key not in still]
        alerts = [incident.resolved(snapshot) for incident in over]
        for key, one in still.items():
            known = self._firing.get(key)
            if known is None:
                since_ns = snapshot.time_ns - int(one.seconds * 1e9)
                known = self._firing[key] = _Incident(self, one, since_ns, snapshot.process.pid)
                alerts.append(known.fired(self._stand_of(one)))
            known.last = one
        return alerts

    def _look(self, snapshot: Snapshot) -> Iterator[Still]:
        silence = () if self._silence is None else self._silence.look(snapshot)
        return chain(self._hung.look(snapshot), self._steps.look(snapshot), silence)

    @property
    def severity(self) -> Severity:
        """What its alerts are."""
        return self._severity


@dataclass(slots=True)
class _Incident:
    """Something that hangs, from the alert that it does to the one that it no longer does."""

    check: Stall
    last: Still
    since_ns: int
    pid: int

    def fired(self, stand: Stand | None) -> Alert:
        one = self.last
        evidence: dict[str, AttributeValue] = {"seconds": one.seconds, "limit_seconds": one.limit.seconds}
        if one.calls:
            evidence |= {"calls": len(one.calls), "thread": one.calls[0].thread}
        if stand is not None:
            evidence |= {"stack_of": stand.in_what, "stack": stand.text}
        where = "" if stand is None else f"; {_place(one, stand)}"
        return self._alert(
            "firing",
            seen=_seen(one),
            message=f"{self._name} {_hangs(one)}, where {one.limit.why}{where}",
            next_step=_step(one, stand),
            evidence=evidence,
            related=tuple(clean(name, 200) for name in one.around),
        )

    def resolved(self, snapshot: Snapshot) -> Alert:
        lasted = max(0.0, (snapshot.time_ns - self.since_ns) / 1e9)
        evidence: dict[str, AttributeValue] = {"seconds": lasted, "limit_seconds": self.last.limit.seconds}
        return self._alert(
            "resolved",
            seen=f"it goes on after {duration(lasted)}",
            message=f"{self._name} goes on: {_RESUMED[self.last.kind]} {duration(lasted)}",
            evidence=evidence,
        )

    @property
    def _name(self) -> str:
        return clean(self.last.name, 200)

    def _alert(self, state: Literal["firing", "resolved"], **more: Any) -> Alert:
        one = self.last
        key = crc32(f"{self.check!r} {one.kind} {one.name} {one.series}".encode("utf-8", "replace"))
        return Alert(
            id=f"stall-{key:08x}-{self.pid}-{self.since_ns:x}",
            check="stall",
            state=state,
            severity=self.check.severity,
            since_ns=self.since_ns,
            target=self._name,
            expected=f"{_EXPECTED[one.kind]} {duration(one.limit.seconds)}",
            **more,
        )


_EXPECTED: Final = {
    "call": "each call within",
    "item": "each item within",
    "step": "each step within",
    "pause": "a step at least each",
    "silence": "a call at least each",
}
_RESUMED: Final = {
    "call": "what hung has ended after",
    "item": "the item that was waited for is there, or nobody waits for it any more, after",
    "step": "the step that hung has ended after",
    "pause": "there are steps again, or the run is over, after",
    "silence": "it is called again after",
}


def _seen(one: Still) -> str:
    if one.kind == "silence":
        return f"none for {duration(one.seconds)}"
    if one.kind == "pause":
        return f"no step for {duration(one.seconds)}"
    noun = _NOUNS[one.kind]
    return f"{count(len(one.calls), noun)} in flight, the oldest for {duration(one.seconds)}"


def _hangs(one: Still) -> str:
    if one.kind == "silence":
        return f"has not been called for {duration(one.seconds)}"
    if one.kind == "pause":
        return f"has made no step for {duration(one.seconds)}"
    if one.kind == "item":
        streams = "a stream waits" if len(one.calls) == 1 else f"{count(len(one.calls), 'stream')} wait"
        return (
            f"hangs: {streams} for an item, {'' if len(one.calls) == 1 else 'one of them '}for {duration(one.seconds)}"
        )
    noun = _NOUNS[one.kind]
    if len(one.calls) == 1:
        return f"hangs: a {noun} has been in flight for {duration(one.seconds)}"
    return f"hangs: {count(len(one.calls), noun)} are in flight, the oldest for {duration(one.seconds)}"


def _place(one: Still, stand: Stand) -> str:
    words = _WHERE[stand.in_what] if one.calls or one.thread else "the main thread stands in"
    return f"{words} {clean(stand.place, _SHOWN)}"


def _step(one: Still, stand: Stand | None) -> str:
    if one.kind == "silence":
        return (
            "see whether what calls it still runs: a queue, a client, the main thread, whose stack is in the evidence"
        )
    if stand is None:
        return "look at the process from outside: holter top, py-spy dump --pid"
    if stand.in_what == "event loop":
        return "something keeps the event loop: move what blocks to a thread; the stack is in the evidence"
    return "the stack in the evidence says what it waits for: see whether that still answers, and give it a timeout"
