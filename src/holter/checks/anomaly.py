"""A check on everything: what no signal of the service has done before, with one knob for false alarms."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import numpy as np

from holter.arguments import finite_number
from holter.errors import ConfigurationError
from holter.missing import Missing
from holter.model import Alert, AlertState, AttributeValue, Snapshot
from holter.names import ANOMALY_INCIDENTS, ANOMALY_SIGNALS, ANOMALY_STATE_NAME
from holter.signals import MISSING, STATISTICS, WIDTH, Key, Places, Value
from holter.stretch import Norms, Stretch, Told
from holter.surprise.governor import WEEK_SECONDS, Governor
from holter.surprise.incident import Incident
from holter.surprise.rhythm import JUDGING, STATES, UNKNOWN, Alarm, Rhythm
from holter.words import count, number

_RHYTHMS: Final = (10.0, 60.0)
_MOST_PER_WEEK: Final = 10_000.0
_QUIET_STEPS: Final = 30
_QUIET_SECONDS: Final = 600.0
"""
An incident ends when nothing has moved for so many steps of the rhythm that told of it, and for so long at least: what
comes and goes within ten minutes is one.
"""
_SAVED_BYTES: Final = 4_000_000
_MOST_SHOWN: Final = 3
_BASE: Final = 1.05


class Anomaly:
    """
    An alert when a signal of the service does what it has not done before.

    *false_alarms_per_week* is the knob, and the only one: how many incidents are notified in a week, in the mean, over
    all signals together, while nothing has changed. Signals are, of each series, the rate of calls, their error
    ratio, mean and quantiles, what a counter grows by and the value of a gauge, those of training too; of several
    processes, all together. Each is judged every 10 seconds and every minute, by what it did itself: no thresholds,
    no units, no distribution. Faster is no alarm, nor are fewer errors; of rates and values both ways count. That
    no more calls end is told of those that did once a second and without pauses in each hour of a day.

    A signal is *learning* until 64 values are known, 11 minutes at least; *unjudgeable* while it remembers for so
    long that its past tells nothing, or has a value in less than one interval of ten; else *judging*. The time of
    the day is known once two days were seen and where it tells; of what follows it little is told in the first five
    days. What was learnt outlives a restart, where the monitor is in a group (see `start`), as far as it fits into
    4 MB: that of some 3,500 signals, those first that are known for longest; `describe` tells where others begin anew.

    **The promise**: a value is taken for its rank, and what walks of such ranks did so far tells how far they go by
    themselves; thresholds are those of the predictive distribution, so that what is not known for sure is inside
    the budget. Where more is notified than the budget explains (above the 99 % bound of a Poisson count), the
    thresholds loosen, and one message says so. Signals that move together are one incident.

    Costs 2 KiB a signal, and 1 % of a CPU for 12,000 signals of 2,000 series. Not thread-safe.

    Raises:
        ConfigurationError: *false_alarms_per_week* is not greater than 0, or above 10,000.

    >>> import holter
    >>> Anomaly(false_alarms_per_week=0.5).describe()
    'no signals yet; asked: 0.5 false alarms a week; no incidents so far'
    """

    def __init__(self, *, false_alarms_per_week: float = 1.0) -> None:
        per_week = finite_number("false_alarms_per_week", false_alarms_per_week)
        if not 0 < per_week <= _MOST_PER_WEEK:
            raise ConfigurationError(
                f"false_alarms_per_week must be greater than 0 and at most 10,000, got {false_alarms_per_week!r}"
            )
        self._per_week = per_week
        self._places = Places()
        self._rhythms = [Rhythm(seconds) for seconds in _RHYTHMS]
        self._stretches = [Stretch(self._places) for _ in _RHYTHMS]
        self._norms = [Norms() for _ in _RHYTHMS]
        self._missing = Missing()
        self._governor = Governor(per_week)
        self._incidents: list[Incident] = []
        self._loosened_ns: int | None = None
        self._asked = 0.0
        self._counts: tuple[int, ...] | None = None
        self._outlive = ""

    def __repr__(self) -> str:
        return f"Anomaly(false_alarms_per_week={self._per_week!r})"

    # -- judging

    def judge(self, snapshot: Snapshot) -> list[Alert]:
        """Return an alert where an incident has just begun or ended; else none."""
        self._stretches[0].add(snapshot)
        alarms: list[tuple[Alarm, Value]] = []
        for place, rhythm in enumerate(self._rhythms):
            stretch = self._stretches[place]
            # Intervals jitter: what is all but full is full.
            if stretch.seconds < 0.95 * rhythm.step_seconds:
                continue
            missing = None if place else self._missing
            told = Told(stretch, self._places, self._norms[place], rhythm.step_seconds, missing)
            found = rhythm.judge(told.judged, told.weights, self._places.directions(), snapshot.time_ns / 1e9)
            alarms += [(alarm, told.value(alarm.number)) for alarm in found]
            self._stretches[place] = Stretch(self._places)
            if place + 1 < len(self._rhythms):
                self._stretches[place + 1].join(stretch)
            if place == 0:
                self._share()
            self._counts = None
        if self._stretches[0].seconds:
            return []
        if any(rhythm.has_just_looked for rhythm in self._rhythms):
            self._tidy()
        return [*self._judged(alarms, snapshot), *self._governed(snapshot)]

    def _tidy(self) -> None:
        """Give back the places of series that are gone."""
        is_needed = np.zeros(self._places.size, np.bool_)
        for rhythm in self._rhythms:
            is_needed[rhythm.numbers() // WIDTH] = True
        for stretch in self._stretches:
            is_needed |= stretch.presence()
        for place in self._places.free(is_needed):
            for norms in self._norms:
                norms.set(place, [0.0] * len(norms.known(place)))
            self._missing.set(place)

    def _share(self) -> None:
        """Give each signal that is judged its share of the rate."""
        alive = max(sum(rhythm.judged for rhythm in self._rhythms), 1) * self._governor.factor
        if not self._asked / _BASE < alive < self._asked * _BASE:
            self._asked = alive
            for rhythm in self._rhythms:
                rhythm.ask(alive * WEEK_SECONDS / (self._per_week * rhythm.step_seconds))

    def _judged(self, alarms: list[tuple[Alarm, Value]], snapshot: Snapshot) -> Iterator[Alert]:
        if not alarms and not self._incidents:
            return
        now = snapshot.time_ns / 1e9
        fine, coarse = self._rhythms
        # What a rhythm tells of is over when that rhythm says so: to another it may be nothing from the beginning.
        numbers = {rhythm.step_seconds: rhythm.moved() for rhythm in self._rhythms}
        by_rhythm = {
            step_seconds: dict.fromkeys(map(self._places.key, these)) for step_seconds, these in numbers.items()
        }
        only_coarse = (number for number in numbers[coarse.step_seconds] if not fine.judges(number))
        moved = by_rhythm[fine.step_seconds] | dict.fromkeys(map(self._places.key, only_coarse))
        left = []
        for alarm, value in sorted(alarms, key=lambda pair: -pair[0].once_in[1]):
            key = self._places.key(alarm.number)
            incident = next((one for one in self._incidents if one.takes(key, alarm, now)), None)
            if incident is not None:
                incident.join([key], now)
            else:
                left.append((key, alarm, value))
        if left:
            (key, alarm, value), *others = left
            incident = Incident(key, alarm, value, max(sum(rhythm.judged for rhythm in self._rhythms), 1), now)
            incident.join([*(one for one, _, _ in others), *moved], now)
            self._incidents.append(incident)
            self._governor.note(now, key.words)
            yield incident.alert("firing", snapshot.time_ns)
        for incident in list(self._incidents):
            step_seconds = incident.first.step_seconds
            # After a restart a quiet time begins anew.
            goes_on = incident.goes_on(by_rhythm.get(step_seconds, moved)) or self._is_without_calls(incident)
            if incident.moved_seconds is None or goes_on:
                incident.moved_seconds = now
            elif not 0 <= now - incident.moved_seconds < max(_QUIET_STEPS * step_seconds, _QUIET_SECONDS):
                self._incidents.remove(incident)
                for number in map(self._places.number, incident.keys):
                    for rhythm in self._rhythms:
                        rhythm.settle(number)
                yield incident.alert("resolved", snapshot.time_ns)

    def _is_without_calls(self, incident: Incident) -> bool:
        """Whether calls whose absence it told of have not come since, however usual that is by now."""
        gone = [key for key in incident.keys if key.statistic == STATISTICS[MISSING]]
        return any(self._missing.lacks(self._places.number(key) // WIDTH) for key in gone)

    def _governed(self, snapshot: Snapshot) -> Iterator[Alert]:
        """Yield a message when the thresholds loosen, and when they are again what was asked for."""
        if not self._governor.look(snapshot.time_ns / 1e9):
            return
        self._asked = 0.0
        if self._governor.factor > 1.0:
            self._loosened_ns = snapshot.time_ns
            yield self._governor_alert("firing", f"by {', '.join(self._governor.names[:_MOST_SHOWN])}")
        elif self._loosened_ns is not None:
            yield self._governor_alert("resolved", "")
            self._loosened_ns = None

    def _governor_alert(self, state: AlertState, by: str) -> Alert:
        since = self._loosened_ns or 0
        asked = f"{number(self._per_week)} a week"
        seen = count(self._governor.notified, "incident")
        message = (
            f"more anomalies are notified than the {asked} asked for explains, {by}: they must now be "
            f"{number(self._governor.factor)} times rarer"
            if state == "firing"
            else f"anomalies are again as few as the {asked} asked for explains"
        )
        return Alert(
            id=f"anomaly-budget-{since:x}",
            check="anomaly",
            state=state,
            severity="info",
            since_ns=since,
            target="false alarms",
            expected=asked,
            seen=seen,
            message=message,
            next_step="see whether these were incidents; if not, these signals are no measure of the service's health",
            evidence={"factor": self._governor.factor, "notified": self._governor.notified},
        )

    # -- figures and words

    def _states(self) -> tuple[int, ...]:
        """Return how many signals are in which state; one that is judged in one rhythm is judged."""
        if self._counts is None:
            size = self._places.size * WIDTH
            known = np.full(size, UNKNOWN, np.int8)
            for rhythm in self._rhythms:
                states = rhythm.states(size)
                np.copyto(known, states, where=(states != UNKNOWN) & (known != JUDGING))
            self._counts = tuple(np.bincount(known, minlength=len(STATES)).tolist()[: len(STATES)])
        return self._counts

    def figures(self) -> Iterator[tuple[str, float, Mapping[str, AttributeValue]]]:
        """Yield name, value and attributes of the gauges that this check shows."""
        for state, amount in zip(STATES, self._states(), strict=True):
            yield ANOMALY_SIGNALS, float(amount), {ANOMALY_STATE_NAME: state}
        yield ANOMALY_INCIDENTS, float(self._governor.notified), {}

    def describe(self) -> str:
        """Return in one line how many signals are judged, and what came of it."""
        states = zip(STATES, self._states(), strict=True)
        known = ", ".join(f"{count(amount, 'signal')} {state}" for state, amount in states if amount)
        loosened = f"; thresholds loosened {number(self._governor.factor)} times" if self._governor.factor > 1.0 else ""
        notified = count(self._governor.notified, "incident") if self._governor.notified else "no incidents"
        asked = f"asked: {number(self._per_week)} false alarms a week"
        return f"{known or 'no signals yet'}; {asked}; {notified} so far{loosened}{self._outlive}"

    # -- what outlives the process

    def save(self) -> dict[str, Any]:
        """Return what was learnt of the signals, which incidents are going on, and how many there were."""
        return {
            "series": self._saved_series(),
            "governor": self._governor.save(),
            "incidents": [incident.save() for incident in self._incidents],
            "loosened_ns": self._loosened_ns,
        }

    def _saved_series(self) -> list[Any]:
        """Return series with what was learnt of their signals in each rhythm, those first that are known longest."""
        learnt: dict[int, list[list[tuple[int, bytes]]]] = {}
        for which, rhythm in enumerate(self._rhythms):
            numbers, contents = rhythm.save(3 * _SAVED_BYTES // 4 // rhythm.kept_bytes)
            for at, content in zip(numbers.tolist(), contents, strict=True):
                learnt.setdefault(at // WIDTH, [[] for _ in _RHYTHMS])[which].append((at % WIDTH, content))
        left, saved, names = _SAVED_BYTES, [], 0
        for place, parts in learnt.items():
            name, attributes = self._places.name(place)
            kinds = ("value",) if self._places.is_level[place] else STATISTICS
            said = [[kinds[one] for one, _ in part] for part in parts]
            told = [base64.b64encode(b"".join(content for _, content in part)).decode("ascii") for part in parts]
            usual = [norms.known(place) for norms in self._norms]
            row = [name, attributes, said, told, usual, self._missing.known(place)]
            left -= len(json.dumps(row, separators=(",", ":"))) + 1
            if left < 0:
                break
            saved.append(row)
            names += max(map(len, said))
        judged = self._states()[JUDGING]
        self._outlive = f"; {names:,} of {judged:,} outlive a restart" if names < judged else ""
        return saved

    def load(self, state: Mapping[str, Any], gap_seconds: float) -> None:
        """
        Go on from what was saved *gap_seconds* ago; incidents that have ended meanwhile end when that shows.

        Raises:
            ValueError: it is not what `save` returns.
        """
        del gap_seconds
        fresh = Anomaly(false_alarms_per_week=self._per_week)
        fresh._load_series(state["series"])
        fresh._governor.load(state["governor"])
        fresh._incidents = [Incident.loaded(saved) for saved in state["incidents"]]
        loosened = state["loosened_ns"]
        fresh._loosened_ns = None if loosened is None else int(loosened)
        self.__dict__.update(fresh.__dict__)

    def _load_series(self, saved: Iterable[Any]) -> None:
        found: list[tuple[list[int], list[bytes]]] = [([], []) for _ in _RHYTHMS]
        for name, pairs, levels, told, norms, (needed, hours, lately) in saved:
            attributes = tuple((str(one), str(two)) for one, two in pairs)
            parts = zip(found, self._rhythms, levels, told, strict=True)
            for (numbers, contents), rhythm, statistics, text in parts:
                content, size = base64.b64decode(text, validate=True), rhythm.kept_bytes
                numbers += [self._places.number(Key(str(name), attributes, str(one))) for one in statistics]
                contents += [content[at : at + size] for at in range(0, len(content), size)]
            place = self._places.place((str(name), attributes))
            for one, known in zip(self._norms, norms, strict=True):
                one.set(place, [float(value) for value in known])
            self._missing.set(place, int(needed), int(hours), float(lately))
        for rhythm, (numbers, contents) in zip(self._rhythms, found, strict=True):
            rhythm.load(np.array(numbers, np.intp), contents)
