"""Signals that moved together: which began it, which came along, since when, and how rare that is, in words."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, Final
from zlib import crc32

from holter.model import Alert, AlertState
from holter.signals import NOWHERE, Key, Value
from holter.surprise.rhythm import Alarm
from holter.words import count, duration, spans

_TOGETHER_SECONDS: Final = 600.0
"""What begins within so many seconds of an incident is part of it."""
_MOST_RELATED: Final = 20
_MOST_NAMED: Final = 3
_WORDS: Final = {
    "rise": "has been higher than usual",
    "fall": "has been lower than usual",
    "scatter": "has scattered more than usual",
    "above": "is higher than ever",
    "below": "is lower than ever",
}


class Incident:
    """What *first* began, an alarm of the signal *key* that says *value*, one of so many *judged*."""

    def __init__(self, key: Key, first: Alarm, value: Value, judged: int, now_seconds: float) -> None:
        self.key, self.first, self.value, self.judged = key, first, value, judged
        self.since_ns = round((now_seconds - first.since_seconds) * 1e9)
        self.alarmed_seconds = now_seconds
        self.moved_seconds: float | None = now_seconds
        """When something of it was last unusual; None before that was looked at."""
        self.keys: dict[Key, None] = {key: None}

    def takes(self, key: Key, alarm: Alarm, now_seconds: float) -> bool:
        """Whether an *alarm* belongs here: of a signal that does, just after another one, or on its way for as long."""
        apart = now_seconds - alarm.since_seconds - self.since_ns / 1e9
        return (
            key in self.keys
            or 0 <= now_seconds - self.alarmed_seconds <= _TOGETHER_SECONDS
            or abs(apart) <= _TOGETHER_SECONDS
        )

    def goes_on(self, moved: Collection[Key]) -> bool:
        """Whether what began it is still unusual, or a third of what came along; of many, one is at any time."""
        return self.key in moved or 3 * sum(key in self.keys for key in moved) > len(self.keys)

    def join(self, keys: Iterable[Key], now_seconds: float) -> None:
        """Take in signals that moved along; what has done so before makes the incident no wider."""
        new = [key for key in keys if key not in self.keys]
        self.moved_seconds = now_seconds
        if new:
            self.alarmed_seconds = now_seconds
            self.keys.update(dict.fromkeys(new))

    def alert(self, state: AlertState, now_ns: int) -> Alert:
        """Return the words on how it began, or on its end."""
        first, key, value = self.first, self.key, self.value
        seen, (low, high) = value.said(value.told), map(value.in_terms, first.expected)
        expected = " to ".join(dict.fromkeys([value.said(low), value.said(high)]))
        related = tuple(one.words for one in self.keys if one != key)[:_MOST_RELATED]
        lasted = duration(max((now_ns - self.since_ns) / 1e9, 0.0))
        # So often something as rare comes among all signals, each of which has its share of the false alarms.
        least, often, most = (steps * first.step_seconds / self.judged for steps in first.once_in)
        step = "see what changed when it began (print(holter.summary()), the last deploy, the traffic)"
        message = (
            f"{key.words} {_WORDS[first.statistic]} for {lasted}: now {seen}, expected {expected}; "
            f"while nothing changes, something as rare comes once in {spans(least, most)}{self._along(related)}"
        )
        if state == "resolved":
            message, step = f"{key.words} is as usual again, after {lasted}", ""
        return Alert(
            id=f"anomaly-{crc32(key.text.encode()):08x}-{self.since_ns:x}",
            check="anomaly",
            state=state,
            severity="warning",
            since_ns=self.since_ns,
            target=key.words,
            expected=expected,
            seen=seen,
            message=message,
            next_step=step,
            evidence={
                "metric": key.name,
                "statistic": key.statistic,
                "kind": first.statistic,
                "value": value.told,
                "expected_low": low,
                "expected_high": high,
                "once_in_seconds": often,
                "once_in_seconds_low": least,
                "once_in_seconds_high": most,
                "steps_between": first.once_in[1],
            },
            related=related,
        )

    def _along(self, related: tuple[str, ...]) -> str:
        """Return the words on what moved with it, by name as far as that is read."""
        more = len(self.keys) - 1 - _MOST_NAMED
        names = ", ".join(related[:_MOST_NAMED]) + (f" and {count(more, 'other signal')}" if more > 0 else "")
        return f"; with it moved {names}" if names else ""

    def save(self) -> list[Any]:
        """Return what the next process is to know."""
        names = [[key.name, [list(pair) for pair in key.attributes], key.statistic] for key in self.keys]
        first = self.first
        told = [first.statistic, first.since_seconds, list(first.once_in), first.step_seconds, list(first.expected)]
        return [names[:_MOST_RELATED], list(self.value), told, self.judged, self.since_ns, self.alarmed_seconds]

    @classmethod
    def loaded(cls, saved: Any) -> Incident:
        """
        Return what `save` returned.

        Raises:
            ValueError: it is something else.
        """
        names, value, (statistic, since, once_in, step, (low, high)), judged, since_ns, alarmed = saved
        keys = [Key(str(name), tuple((str(a), str(b)) for a, b in pairs), str(which)) for name, pairs, which in names]
        least, often, most = map(float, once_in)
        if statistic not in _WORDS or not keys or int(judged) < 1:
            raise ValueError(f"no incident: {statistic!r}")
        expected = float(low), float(high)
        first = Alarm(NOWHERE, statistic, float(since), (least, often, most), float(step), expected)
        incident = cls(keys[0], first, Value.loaded(value), int(judged), float(alarmed))
        incident.since_ns, incident.moved_seconds = int(since_ns), None
        incident.keys = dict.fromkeys(keys)
        return incident
