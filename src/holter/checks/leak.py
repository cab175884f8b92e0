"""A check on memory that grows without end."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final
from zlib import crc32

from holter.arguments import finite_number, positive_seconds
from holter.ascent import Demands
from holter.errors import ConfigurationError
from holter.leaking import Handed, WatchedLevel
from holter.leakwords import LeakWords, ended_words, stopped_words
from holter.levels import Level, Levels
from holter.measure import Measure
from holter.model import Alert, Attributes, Severity, Snapshot
from holter.names import CALL_DURATION
from holter.room import Room

MOST_LEVELS: Final = 300
MOST_SAVED: Final = 32
_LEAST_BYTES: Final = 8 * 2.0**20
_LOADING_BYTES: Final = 256 * 2.0**20
_LEAST_OTHERS: Final = 10.0
_PAGED_SECONDS: Final = 3_600.0
_SILENT_SECONDS: Final = 60.0
_SILENT_GAPS: Final = 4
# By a window of hours it would take hours to see that a climb has ended.
_LONGEST_FOLLOWED: Final = 4
_BUSIER: Final = 1.5
_LOAD_SECONDS: Final = 30.0


class Leak:
    """
    An alert when memory grows without end, with the time until its limit is reached.

    Without a *target*: the resident memory of each process, that of its children together, and the memory of each
    GPU, as the samplers tell them; with one, the series of that gauge, such as ``process.unix.file_descriptor.count``,
    of which *where* selects by attributes. Its limit is *limit*, that of memory the container's, the machine's or the
    GPU's, whichever leaves less room.

    **What is told** is growth over 24 blocks of time, the lowest value of each counting: on a straight line, 24 times
    what the floors scatter about it, that does not slow down by a fifth from its first half to its second, to where
    no floor was in the last day, by *minimum_growth* (8 MiB, or 10 of another unit) and half a percent of the level,
    and by a larger share than the calls have grown. Steps up are left out: a model that is loaded. A window is
    *window_seconds* long, and each next one twice as long, up to some 14 hours: 60 MB/min are found in 48 s,
    1 MB/min in 11 minutes. Growth that has gone on since the process, or half as many more calls, began is a warm-up,
    or a cache that fills, until a window of *warm_up_seconds* or more tells that it does not slow down.

    **Severity**: a warning, and critical when the limit is less than an hour away. Resolves when growth has stopped
    for half of the window that found it, when half of it has come back, or when the process has ended.

    What cannot be told apart: what fills at an even pace for longer than the window, and then stops, is told until it
    does. What is known of processes that go on is kept when another one comes to judge; a new process begins anew.

    Costs 10 us an interval and level, 0.1 us a series that moved, and 35 KB a level, of which it knows 300. Not
    thread-safe.

    Raises:
        ConfigurationError: an argument that cannot work.

    >>> import holter
    >>> check = holter.Leak()
    >>> files = holter.Leak("process.unix.file_descriptor.count", limit=1024)
    """

    def __init__(
        self,
        target: str | None = None,
        *,
        where: Attributes | None = None,
        limit: float | None = None,
        window_seconds: float = 48.0,
        warm_up_seconds: float = 600.0,
        minimum_growth: float | None = None,
    ) -> None:
        if target is None and (where is not None or limit is not None):
            raise ConfigurationError("where= and limit= need the name of a gauge: Leak('app.cache.size', limit=1e9)")
        self._measure = None if target is None else Measure.of(target, "last", where)
        if self._measure is not None and self._measure.name == CALL_DURATION:
            raise ConfigurationError(f"expected the name of a gauge, got {target!r}: a call has no level that can grow")
        self._limit = None if limit is None else finite_number("limit", limit)
        self._window_seconds = positive_seconds("window_seconds", window_seconds)
        self._warm_up_seconds = finite_number("warm_up_seconds", warm_up_seconds)
        if self._warm_up_seconds < 0:
            raise ConfigurationError(f"warm_up_seconds must be 0 or more, got {warm_up_seconds!r}")
        self._least = None if minimum_growth is None else finite_number("minimum_growth", minimum_growth)
        if self._least is not None and self._least < 0:
            raise ConfigurationError(f"minimum_growth must be 0 or more, got {minimum_growth!r}")
        self._instance: str | None = None
        self._handed: dict[str, Handed] = {}
        self._begin()

    def __repr__(self) -> str:
        target = None if self._measure is None else self._measure.target
        return (
            f"Leak({target!r}, limit={self._limit!r}, window_seconds={self._window_seconds!r}, "
            f"warm_up_seconds={self._warm_up_seconds!r}, minimum_growth={self._least!r})"
        )

    def _begin(self) -> None:
        self._levels = Levels(self._measure)
        self._watched: dict[str, WatchedLevel] = {}
        self._calls = 0.0
        self._rate = self._most_rate = 0.0
        self._handed_at: float | None = None

    def _demands(self, unit: str) -> Demands:
        is_memory = unit == "By"
        usual = _LEAST_BYTES if is_memory else _LEAST_OTHERS
        return Demands(
            window_seconds=self._window_seconds,
            warm_up_seconds=self._warm_up_seconds,
            least_rise=usual if self._least is None else self._least,
            loading=_LOADING_BYTES if is_memory else math.inf,
        )

    # -- judging

    def judge(self, snapshot: Snapshot) -> list[Alert]:
        """Return an alert for each level that has begun to grow without end, or that no longer does."""
        if self._instance not in (None, snapshot.process.instance):
            # A forked child, or a new start: what was before is not its own.
            self._begin()
        self._instance = snapshot.process.instance
        now = snapshot.monotonic_ns / 1e9
        levels = self._levels.read(snapshot)
        is_busier = self._is_busier(snapshot.interval_ns / 1e9)
        alerts: list[Alert] = []
        for level in levels:
            watched, ended = self._of(level, now)
            alerts += ended
            if watched is not None:
                if is_busier:
                    watched.begin(now)
                alerts += self._judged(watched, level, now, snapshot)
        alerts += self._gone(now)
        return alerts

    def _is_busier(self, seconds: float) -> bool:
        """Whether more calls come than ever: what they need for the first time is no leak."""
        self._calls += self._levels.load
        if seconds <= 0:
            return False
        share = 1 - math.exp(-seconds / _LOAD_SECONDS)
        self._rate += share * (self._levels.load / seconds - self._rate)
        if self._rate <= self._most_rate * _BUSIER:
            return False
        self._most_rate = self._rate
        return True

    def _of(self, level: Level, now: float) -> tuple[WatchedLevel | None, Iterable[Alert]]:
        """Return what is known of the owner of *level*, None where there are too many, and what has ended with it."""
        watched = self._watched.get(level.key)
        ended: list[Alert] = []
        if watched is not None and not watched.is_of_same_owner(level):
            ended = [*watched.resolve(ended_words(watched.level))]
            watched = None
        elif watched is None and len(self._watched) >= MOST_LEVELS:
            return None, ()
        if watched is None:
            watched = WatchedLevel(level, self._demands(level.unit), now, self._calls)
            self._watched[level.key] = watched
            handed = self._handed.pop(level.key, None)
            if handed is not None and level.is_of(handed.started):
                watched.load(handed)
            elif handed is not None:
                ended = [*ended, *handed.resolve()]
        return watched, ended

    def _room(self, level: Level) -> Room | None:
        if level.owner == "metric":
            return None if self._limit is None else Room(max(0.0, self._limit - level.value), self._limit, level.target)
        rooms = self._levels.rooms
        return rooms.of_gpu(level.device, level.target) if level.owner == "GPU" else rooms.of_processes()

    def _judged(self, watched: WatchedLevel, level: Level, now: float, snapshot: Snapshot) -> Iterator[Alert]:
        room = self._room(level)
        left = math.inf if room is None else room.left
        climb = watched.take(level, now, self._calls, left, self._levels.parts.get(level.key, {}))
        if watched.climb is None:
            if climb is None:
                return
            watched.since_ns = snapshot.time_ns - round(climb.seconds * 1e9)
            watched.climb = climb
        elif watched.has_stopped():
            yield from watched.resolve(stopped_words(level, watched.climb))
            return
        elif climb is not None and watched.climb.scale <= climb.scale <= max(_LONGEST_FOLLOWED, watched.climb.scale):
            watched.climb = climb
        rate = watched.climb.slope
        if level.owner in ("process", "children"):
            rate = sum(
                one.climb.slope
                for one in self._watched.values()
                if one.climb is not None and one.level.owner in ("process", "children")
            )
        words = LeakWords(level, watched.climb, room, rate, watched.grown())
        seconds = words.seconds_left
        severity: Severity = "critical" if seconds is not None and seconds < _PAGED_SECONDS else "warning"
        if watched.open and (severity == "warning" or "critical" in watched.open):
            return
        yield watched.fire(self._alert(watched, words, severity))

    def _alert(self, watched: WatchedLevel, words: LeakWords, severity: Severity) -> Alert:
        kind = "page" if severity == "critical" else "ticket"
        number = crc32(f"{self!r} {words.level.key}".encode())
        return Alert(
            id=f"leak-{number:08x}-{kind}-{watched.since_ns:x}",
            check="leak",
            state="firing",
            severity=severity,
            since_ns=watched.since_ns,
            target=words.level.target,
            expected=words.expected(),
            seen=words.seen(),
            message=words.firing(),
            next_step=words.next_step(is_page=severity == "critical"),
            evidence=words.evidence(),
            related=words.related(),
        )

    def _gone(self, now: float) -> Iterator[Alert]:
        """Forget the levels that nobody tells of any more."""
        for key, watched in list(self._watched.items()):
            if now - watched.seen > max(_SILENT_SECONDS, _SILENT_GAPS * watched.longest_gap):
                del self._watched[key]
                self._levels.parts.pop(key, None)
                yield from watched.resolve(ended_words(watched.level))
        if self._handed:
            self._handed_at = now if self._handed_at is None else self._handed_at
            if now - self._handed_at > _SILENT_SECONDS:
                handed, self._handed = self._handed, {}
                for one in handed.values():
                    yield from one.resolve()

    # -- what outlives the process

    def save(self) -> dict[str, Any]:
        """Return the course of each level, of at most 32: those that grow first."""
        ordered = sorted(self._watched.items(), key=lambda item: item[1].climb is None)
        known = {key: watched.save() for key, watched in ordered[:MOST_SAVED]}
        return {"levels": known}

    def load(self, state: Mapping[str, Any], gap_seconds: float) -> None:
        """
        Go on with the levels of processes that are still there, and of GPUs; the alerts of others resolve.

        Raises:
            ValueError: it is not what `save` returns.
        """
        del gap_seconds
        demands = self._demands("By")
        levels = list(state["levels"].items())[:MOST_SAVED]
        self._handed = {str(key): Handed(saved, demands) for key, saved in levels}
