"""Some processes looked at from outside, interval by interval: what each has done, and all together."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Final

from holter.attached import Attached, first_look
from holter.chosen import Choice
from holter.clock import SYSTEM, Clock
from holter.departed import Departed, TotalsFiles
from holter.documents import RecordedProcess
from holter.layout import SUFFIX
from holter.listing import Listing
from holter.metric import Series
from holter.model import Alert, ErrorPlace, Reading, Snapshot
from holter.names import CALL_DURATION, CALL_ENERGY, HARDWARE_ENERGY, TRAINING_STEP_DURATION
from holter.union import Part, Union, intervals
from holter.whereabouts import Pulse, Whereabouts

LONGEST_SECONDS: Final = 60.0
"""How far back a window may reach."""
_RECENT_SECONDS: Final = 10.0
_SHORTEST_NS: Final = 1_000_000_000
_SAMPLED: Final = (
    *("process.", "system.", "container.", "holter.cgroup.", "holter.host.", HARDWARE_ENERGY, CALL_ENERGY),
    *("holter.gc.", "holter.loop.", "holter.gil.", "holter.call.pause", TRAINING_STEP_DURATION),
)
_DEPARTED: Final = "departed"
_MOURNED_NS: Final = 60_000_000_000
"""So long one that died is shown among the others."""


@dataclass(frozen=True, slots=True)
class Moment:
    """
    What some processes had done by one moment.

    The interval of ``snapshot`` is the window that is looked at, that of ``last`` the time since the look before;
    ``lately`` has that of the last ten seconds, of what is sampled every few seconds, of pauses and of steps of
    training; of calls too where their energy is told. The interval of the first moment is empty.
    """

    snapshot: Snapshot
    last: Snapshot
    lately: Snapshot


@dataclass(frozen=True, slots=True)
class Person:
    """One process of those that are looked at; ``cpu_share`` is of one CPU, by the system, since the look before."""

    identity: str
    path: Path
    process: RecordedProcess
    is_alive: bool
    is_silent: bool
    silent_seconds: float
    pulse: Pulse | None
    cpu_share: float | None
    missing: tuple[str, ...]
    moment: Moment


@dataclass(frozen=True, slots=True)
class Sight:
    """
    All that one look has shown: every process, and what they do together.

    When all have ended it shows the last ten seconds of them, or their whole lives where they ended before.
    """

    time_ns: int
    people: tuple[Person, ...]
    whole: Moment
    alerts: tuple[Alert, ...]


@dataclass(slots=True)
class _Fixed:
    """A part of a union that is not one of the living: the departed of a group, or the last state of one that died."""

    series: Mapping[int, Series]
    readings: Mapping[int, Reading]
    changed: Iterable[int] = ()
    is_alive: bool = False


@dataclass(slots=True)
class _Course:
    """The readings of a union now and at the last looks, which tell what came in between."""

    union: Union = field(default_factory=Union)
    totals: deque[tuple[int, Mapping[int, Reading]]] = field(default_factory=deque)

    def advance(self, parts: Mapping[str, Part], pids: Mapping[str, int], now_ns: int) -> None:
        self.union.update(parts, pids)
        self.totals.append((now_ns, dict(self.union.total)))
        while len(self.totals) > 2 and now_ns - self.totals[1][0] >= 1e9 * LONGEST_SECONDS:  # noqa: PLR2004 - the two ends
            self.totals.popleft()

    def moment(self, parts: Iterable[Attached], now_ns: int, wall_ns: int, window_seconds: float) -> Moment:
        union, alive = self.union, list(parts)
        calls = [
            replace(call, series=union.place(part.identity, call.series) or 0)
            for part in alive
            for call in part.open_calls
        ]
        first = next((part.process for part in alive if part.process is not None), None)
        snapshot = Snapshot(
            time_ns=wall_ns,
            interval_ns=0,
            series=union.series,
            total=self.totals[-1][1],
            interval={},
            open_calls=tuple(sorted(calls, key=lambda call: -call.age_seconds)),
            lost=sum(part.lost for part in alive),
            monotonic_ns=now_ns,
            error_places=_places(alive),
            process=RecordedProcess(service="") if first is None else first,
        )
        is_over = not any(part.is_alive for part in alive)
        since = partial(self._since, snapshot, is_over=is_over)
        last = since(0.0)
        # How many calls ended matters there only where each is told its energy, and costs where there are many.
        is_told = any(series.name == CALL_ENERGY for series in union.series.values())
        recent = since(_RECENT_SECONDS, only=(*_SAMPLED, CALL_DURATION) if is_told else _SAMPLED)
        return Moment(since(window_seconds) if window_seconds else last, last, recent)

    def _since(self, snapshot: Snapshot, seconds: float, *, is_over: bool, only: tuple[str, ...] = ("",)) -> Snapshot:
        """Return *snapshot* with the interval of the last *seconds*, at least the time since the look before."""
        # Looks come a little late: what is nearer to the beginning of the window counts.
        wanted_ns = snapshot.monotonic_ns - 1e9 * seconds
        earlier = min(list(self.totals)[:-1], key=lambda one: (abs(one[0] - wanted_ns), -one[0]), default=None)
        if is_over and (earlier is None or snapshot.monotonic_ns - earlier[0] < _SHORTEST_NS):
            # Of one that died before anybody had looked for long, all there is to tell is its whole life.
            lived_ns = snapshot.monotonic_ns - snapshot.process.started_ns
            return replace(snapshot, interval_ns=lived_ns, interval=snapshot.total)
        if earlier is None:
            return snapshot
        since_ns, before = earlier
        moved = [
            key
            for key, reading in self.union.total.items()
            if before.get(key) is not reading and self.union.series[key].name.startswith(only)
        ]
        # What has grown has moved, though the collector may have counted the same step that was foreseen at a look.
        told = intervals(self.union, moved, before, {})
        interval = {
            # What has grown did so since the value that came before the window, which is seldom its beginning.
            key: replace(reading, count=reading.count or 1, first_ns=before[key].last_ns)
            if key in before and self.union.series[key].kind == "counter"
            else replace(reading, count=reading.count or 1)
            for key, reading in told
        }
        return replace(snapshot, interval_ns=snapshot.monotonic_ns - since_ns, interval=interval)


class Onlooker:
    """
    Looks at the processes of a *choice*, and at those that join them; asks nothing of them and writes nothing.

    A process that ends while it is watched stays in sight with its last state, until the totals of its group have
    it. Not thread-safe.
    """

    def __init__(self, choice: Choice, clock: Clock = SYSTEM) -> None:
        self.choice, self._clock = choice, clock
        self._attached: dict[Path, Attached] = {}
        self._strangers: set[Path] = set()
        self._wanted = [one.path for one in choice.recordings]
        folders = sorted({one.path.parent for one in choice.recordings})
        self._listings = [(folder, Listing(folder)) for folder in folders] if not choice.pid else []
        self._totals = [TotalsFiles(folder, choice.name.key) for folder in folders] if not choice.pid else []
        self._departed: list[tuple[object, Departed]] = [(None, Departed()) for _ in self._totals]
        self._whole = _Course()
        self._each: dict[str, _Course] = {}
        self._cpu: dict[str, tuple[int, float]] = {}
        self._ended_ns: dict[Path, int] = {}
        self._last: Sight | None = None

    def attached(self) -> list[Attached]:
        """Return the processes in sight, the oldest first."""
        return sorted(
            self._attached.values(), key=lambda one: (one.process.created_ns if one.process else 0, str(one.path))
        )

    def look(self, window_seconds: float = 0.0) -> Sight:
        """
        Return what there is now, with the last *window_seconds* as the interval, at least since the look before.

        Some 3 ms a process. A choice whose recordings have all gone shows what was read last.
        """
        here, now_ns, wall_ns = Whereabouts.mine(), self._clock.monotonic_ns(), self._clock.wall_ns()
        for one in self.attached():
            one.look(here)
        for path in self._new():
            found = first_look(path, here, self._clock)
            if found is None:
                continue
            if self._is_one(found):
                self._attached[path] = found
            else:
                self._strangers.add(path)
        departed = self._the_departed()
        counted = {name for one in departed for name in one.counted}
        self._let_go(counted)
        parts = {one.identity: one for one in self.attached()}
        is_over = not any(part.is_alive for part in parts.values())
        if is_over and self._last is not None:
            # What was seen last stays as it was; but a recording may have got another name, and a death become sure.
            people = tuple(self._as_of_now(one) for one in self._last.people)
            return replace(self._last, people=people, time_ns=wall_ns)
        if is_over:
            # Not before a look that has been.
            seen_ns = [when_ns for when_ns, _ in self._whole.totals]
            now_ns = max([*seen_ns, *(part.ended_ns for part in parts.values())], default=now_ns)
            window_seconds = max(window_seconds, _RECENT_SECONDS)
        sight = self._sight(parts, self._joined(parts, departed, counted), (now_ns, wall_ns), window_seconds)
        self._last = sight if is_over else None
        return sight

    def _joined(
        self, parts: Mapping[str, Attached], departed: Iterable[Departed], counted: set[str]
    ) -> dict[str, Part]:
        """Return the parts of the whole: who lives or has just ended, and the departed."""
        if not any(part.is_alive for part in parts.values()):
            return {
                name: _Fixed(part.series, part.readings, part.changed, is_alive=True) for name, part in parts.items()
            }
        gone = {
            f"{_DEPARTED} {place} {one.began_ns}": _Fixed(one.series, one.readings, list(one.readings))
            for place, one in enumerate(departed)
            if one.readings
        }
        # Who is counted in is part of the departed.
        return {**{name: part for name, part in parts.items() if name not in counted}, **gone}

    def _sight(
        self, parts: Mapping[str, Attached], joined: Mapping[str, Part], now: tuple[int, int], window_seconds: float
    ) -> Sight:
        now_ns, wall_ns = now
        pids = {name: part.process.pid for name, part in parts.items() if part.process is not None}
        self._whole.advance(joined, pids, now_ns)
        whole = self._whole.moment(parts.values(), now_ns, wall_ns, window_seconds)
        self._each = {name: self._each.get(name, _Course()) for name in parts} if len(parts) > 1 else {}
        people = []
        for name, part in parts.items():
            moment = whole
            if name in self._each:
                # Its levels stay, also when it has ended.
                own = _Fixed(part.series, part.readings, part.changed, is_alive=True)
                self._each[name].advance({name: own}, pids, now_ns)
                moment = self._each[name].moment([part], now_ns, wall_ns, window_seconds)
            people.append(self._person(part, moment, now_ns))
            part.changed = set()
        alerts = {alert.id: alert for part in parts.values() for alert in part.alerts}
        return Sight(wall_ns, tuple(people), whole, tuple(alerts.values()))

    def _as_of_now(self, person: Person) -> Person:
        found = next((one for one in self.attached() if one.process and one.identity == person.identity), None)
        if found is None or found.process is None:
            return person
        return replace(person, path=found.path, process=found.process)

    def _person(self, part: Attached, moment: Moment, now_ns: int) -> Person:
        cpu_share, process = None, part.process
        if part.pulse is not None:
            before = self._cpu.get(part.identity)
            if before is not None and now_ns > before[0]:
                cpu_share = max(0.0, (part.pulse.cpu_seconds - before[1]) / ((now_ns - before[0]) / 1e9))
            self._cpu[part.identity] = now_ns, part.pulse.cpu_seconds
        return Person(
            identity=part.identity,
            path=part.path,
            process=process if process is not None else RecordedProcess(service=""),
            is_alive=part.is_alive,
            is_silent=part.is_silent,
            silent_seconds=part.silent_seconds,
            pulse=part.pulse,
            cpu_share=cpu_share,
            missing=part.missing,
            moment=moment,
        )

    def _new(self) -> Iterator[Path]:
        """Yield the recordings that have not been looked at, those that were chosen first."""
        wanted, self._wanted = self._wanted, []
        yield from (path for path in wanted if path not in self._attached)
        for folder, listing in self._listings:
            paths = {folder / name for name in listing.names() if name.endswith(SUFFIX)}
            self._strangers &= paths
            known = {one.path for one in self._attached.values()} | self._attached.keys()
            yield from sorted(paths - known - self._strangers)

    def _is_one(self, found: Attached) -> bool:
        if self.choice.pid or any(one.path == found.path for one in self.choice.recordings):
            return True
        named = found.groups.values() or [(found.process.service, "")] if found.process is not None else []
        return found.is_alive and self.choice.name in [tuple(name) for name in named]

    def _the_departed(self) -> list[Departed]:
        for place, files in enumerate(self._totals):
            mark = files.mark()
            if mark != self._departed[place][0]:
                self._departed[place] = mark, files.newest() or Departed()
        return [departed for _, departed in self._departed]

    def _let_go(self, counted: set[str]) -> None:
        """While others live, forget who has ended well and is counted in, or died a minute ago."""
        now_ns = self._clock.monotonic_ns()
        ended = [path for path, one in self._attached.items() if not one.is_alive]
        self._ended_ns = {path: self._ended_ns.get(path, now_ns) for path in ended}
        if len(ended) == len(self._attached):
            return
        for path in ended:
            one = self._attached[path]
            if one.process is not None and one.process.state == "closed":
                is_over = one.identity in counted or not one.path.exists()
            else:
                is_over = now_ns - self._ended_ns[path] > _MOURNED_NS
            if is_over:
                del self._attached[path]
                self._strangers.add(one.path)


def _places(parts: Iterable[Attached]) -> tuple[ErrorPlace, ...]:
    counts: dict[tuple[str, str, str], int] = {}
    for part in parts:
        for place in part.places:
            key = place.call, place.error_type, place.place
            counts[key] = counts.get(key, 0) + place.count
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    return tuple(ErrorPlace(*key, count) for key, count in ordered)
