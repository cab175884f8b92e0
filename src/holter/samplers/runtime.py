"""What Python itself takes from the program: garbage collection, event loops, the GIL, and the wait for CPUs."""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from threading import get_native_id
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from holter import names
from holter.arguments import positive_seconds
from holter.clock import SYSTEM, Clock
from holter.errors import ConfigurationError
from holter.gctimer import COLLECTIONS, GENERATIONS, CollectionTimer
from holter.loops import LOOPS, Beats, Loops
from holter.model import Record
from holter.names import CAUSE_GIL_WAIT as GIL_WAIT
from holter.names import CAUSE_LOOP_LAG as LOOP_LAG
from holter.names import CAUSE_RUN_QUEUE as RUN_QUEUE
from holter.names import CAUSE_THROTTLING as THROTTLING
from holter.ownthreads import own_threads
from holter.pauses import PAUSES, SHORTEST_NS, Pauses, lost_ns
from holter.record import HEAD_WORD, PID_WORD, STATE_WORD, THREAD_WORD, Ownership
from holter.recorder import RECORDER
from holter.runqueue import RunQueue, Shares
from holter.throttling import Throttling

MOST_COLLECTIONS: Final = 25
"""So many of one look are recorded one by one, the longest; at five looks a second, 125."""
HELD_NS: Final = 50_000_000
"""A wait for the GIL of so much is no turn of others, which take 5 ms each: somebody has held it."""

_NAP_SECONDS: Final = 0.001
_NAP_NS: Final = 1_000_000
_SECOND_NS: Final = 1_000_000_000
_IDLE_NS: Final = 5 * _SECOND_NS
_IDLE_SHARE: Final = 0.05
"""Of a core: below that nothing waits for the GIL."""
# A window of which less than this was lost explains no call to a fifth, whatever comes after it.
_LEAST_SHARE: Final = 0.1
# Walking the heap is paid for with a thousandth of the time at most.
_DEAR: Final = 1_000
_GENERATIONS: Final = tuple({names.GC_GENERATION: generation} for generation in range(GENERATIONS))


class RuntimeSampler:
    """
    What Python's runtime takes from the program, so that a slow call can name what it overlapped.

    ``holter.gc.pause`` is how long each collection of garbage took, by generation: beyond 25 a look, the longest of
    them; ``holter.gc.time`` is the sum of all. ``holter.loop.lag`` is how late each event loop came to a step that it
    was asked for, ``holter.loop.blocked`` for how long one has not come to it by now. ``holter.gil.wait`` is how much
    later than due the sampling thread woke up, less what the kernel explains by a wait for a CPU: mostly the wait
    for the GIL, and a tenth of a millisecond of the timer's. Beside them are the counts of ``cpython.gc`` and
    ``holter.python.allocated_blocks``.

    A loop is found when a thread in which it runs begins to record, or when it is seen to run one task for long;
    *loops* and `follow` name others. Each is woken once a look. Slow calls tell in ``SlowCall.pauses`` what a fifth of
    their time or more was lost to. Of at most 32 threads that record it is known how long they wait for a CPU.

    A look costs 0.1 to 0.25 ms of CPU time and sleeps for 1 ms; where no call ran since the last one, and the last
    whole look is less than a second old, it leaves loops and the GIL alone, does not sleep and costs half of that; for
    five seconds where there is no loop either and the process takes less than 5 % of a core.
    What a system does not give is named in `unavailable`.

    >>> RuntimeSampler()
    RuntimeSampler(interval_seconds=0.2)

    Raises:
        ConfigurationError: *interval_seconds* is not a positive number, or one of *loops* is no event loop.
    """

    budget = 0.02
    """Of a core: on a machine whose CPUs are all busy a look costs several times as much, and is worth most."""

    def __init__(
        self,
        interval_seconds: float = 0.2,
        *,
        loops: Iterable[Any] = (),
        _clock: Clock = SYSTEM,
        _sources: Sources | None = None,
    ) -> None:
        self.interval_seconds = positive_seconds("interval_seconds", interval_seconds)
        self._clock = _clock
        self._sources = _sources or Sources()
        self._begin()
        for loop in loops:
            self.follow(loop)

    def __repr__(self) -> str:
        return f"RuntimeSampler(interval_seconds={self.interval_seconds!r})"

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._beats = Beats(self._sources.loops, self._clock.monotonic_ns)
        self._own, self._threads, self._throttling = (
            self._sources.run_queue(),
            self._sources.run_queue(),
            self._sources.throttling(),
        )
        self._told = self._sources.collections.told
        self._looked_ns = self._cpu_ns = self._slow_ns = self._heap_ns = self._whole_ns = 0
        self._moved = -1
        self._unavailable: dict[str, str] = {}

    @property
    def unavailable(self) -> Mapping[str, str]:
        """What could not be read the last time: name to "unavailable, because ..."."""
        return MappingProxyType(dict(self._unavailable))

    def follow(self, loop: Any) -> None:
        """
        Tell how late *loop* is, from when it runs until it is closed; a loop that is found by itself need not be named.

        >>> import asyncio
        >>> loop = asyncio.new_event_loop()
        >>> RuntimeSampler().follow(loop)
        >>> loop.close()

        Raises:
            ConfigurationError: *loop* is no event loop.
        """
        missing = [name for name in ("call_soon_threadsafe", "is_running", "is_closed") if not hasattr(loop, name)]
        if missing:
            raise ConfigurationError(
                f"expected an event loop such as asyncio.get_running_loop() returns, got {type(loop).__name__}"
            )
        self._sources.loops.follow(loop)

    def sample(self, record: Record) -> None:
        """Look around once and hand the figures to *record*; sleeps for a millisecond, which is what it measures by."""
        if self._pid != os.getpid():
            self._begin()
        sources = self._sources
        sources.collections.use(self)
        is_writer = sources.pauses.claim(self)
        now_ns, rings = self._clock.monotonic_ns(), sources.rings()
        is_recent = now_ns - self._whole_ns < self._longest_ns(now_ns)
        is_quiet = is_recent and not rings.is_open and rings.moved == self._moved
        self._moved = rings.moved
        held_ns = 0
        if not is_quiet:
            self._whole_ns = now_ns
            held_ns = self._look(record, is_writer)
        if is_writer:
            self._keep_windows(held_ns, rings.threads)
        self._tell_collections(record)
        if now_ns - self._slow_ns >= _SECOND_NS:
            self._slow_ns = now_ns
            self._tell_heap(record)

    def _longest_ns(self, now_ns: int) -> int:
        """Return how long at rest no whole look is taken: longer where there is no loop and hardly anything runs."""
        used_ns, passed_ns = self._clock.process_cpu_ns() - self._cpu_ns, now_ns - self._looked_ns
        is_idle = self._looked_ns > 0 and used_ns < _IDLE_SHARE * passed_ns and not self._sources.loops.open()
        return _IDLE_NS if is_idle else _SECOND_NS

    def _look(self, record: Record, is_writer: bool) -> int:  # noqa: FBT001 - of this module
        """Look how late loops are and how late this thread wakes up; return the latter."""
        sources = self._sources
        sources.loops.find()
        self._tell_lags(record, is_writer)
        self._beats.ask()
        held_ns = self._nap(record)
        self._beats.look()
        blocked_ns = max((lag.end_ns - lag.begin_ns for lag in self._beats.waiting()), default=0)
        if sources.loops.open():
            record(names.LOOP_BLOCKED, blocked_ns / 1e9, unit="s", kind="gauge", across="max")
        if is_writer:
            sources.pauses.waiting = self._beats.waiting
        return held_ns

    def close(self) -> None:
        """Let go of the garbage collector, of files and of the pauses, which another sampler may keep from now on."""
        self._sources.collections.leave(self)
        self._sources.pauses.leave(self)
        self._looked_ns = 0
        for files in (self._own, self._threads, self._throttling):
            files.close()

    def _tell_lags(self, record: Record, is_writer: bool) -> None:  # noqa: FBT001 - of this module
        table = self._sources.pauses.tables[LOOP_LAG]
        for lag in self._beats.take():
            took_ns = lag.end_ns - lag.begin_ns
            record(names.LOOP_LAG, took_ns / 1e9, unit="s", kind="histogram")
            if is_writer and took_ns >= SHORTEST_NS:
                table.add(lag.begin_ns, lag.end_ns, took_ns, whom=lag.loop, by=lag.by)

    def _nap(self, record: Record) -> int:
        """Sleep for a millisecond; return for how much longer than the kernel explains that took."""
        thread, clock = get_native_id(), self._clock
        self._own.read([thread])
        collections = self._sources.collections
        told, before_ns = collections.told, clock.monotonic_ns()
        self._sources.nap(_NAP_SECONDS)
        after_ns = clock.monotonic_ns()
        shares = self._own.read([thread]).get(thread)
        if not self._sources.has_gil:
            self._unavailable[names.GIL_WAIT] = "unavailable, because this Python runs without a GIL"
            return 0
        if shares is None:
            self._unavailable[names.GIL_WAIT] = (
                "unavailable, because this system does not tell how long threads wait for a CPU"
            )
            return 0
        collected_ns = lost_ns(collections.rows(), before_ns, after_ns) if collections.told != told else 0
        late_ns = max(0, after_ns - before_ns - _NAP_NS - shares.waited_ns - int(collected_ns))
        record(names.GIL_WAIT, late_ns / 1e9, unit="s", kind="histogram")
        return late_ns

    def _keep_windows(self, late_ns: int, threads: list[int]) -> None:
        """Keep what the process and its threads have lost since the last look."""
        now_ns, cpu_ns = self._clock.monotonic_ns(), self._clock.process_cpu_ns()
        begin_ns, used_ns = self._looked_ns, cpu_ns - self._cpu_ns
        self._looked_ns, self._cpu_ns = now_ns, cpu_ns
        passed_ns = now_ns - begin_ns
        throttled_ns = self._throttling.read(passed_ns, used_ns)
        shares = self._threads.read(threads)
        pauses = self._sources.pauses
        least_ns = max(SHORTEST_NS, _LEAST_SHARE * passed_ns)
        if begin_ns:
            if throttled_ns >= least_ns:
                pauses.tables[THROTTLING].add(begin_ns, now_ns, throttled_ns)
            for thread, share in shares.items():
                if share.waited_ns >= least_ns:
                    pauses.tables[RUN_QUEUE].add(begin_ns, now_ns, min(share.waited_ns, passed_ns), whom=thread)
                lost = _lost_to_gil(share, late_ns, passed_ns - throttled_ns)
                if lost >= least_ns:
                    pauses.tables[GIL_WAIT].add(begin_ns, now_ns, lost, whom=thread)
        pauses.seen_ns = now_ns

    def _tell_collections(self, record: Record) -> None:
        timer = self._sources.collections
        told, self._told = self._told, timer.told
        newest = sorted(timer.since(told), key=lambda one: -one.taken_ns)[:MOST_COLLECTIONS]
        for one in newest:
            marks = _GENERATIONS[one.generation]
            record(names.GC_PAUSE, one.taken_ns / 1e9, unit="s", kind="histogram", attributes=marks)

    def _tell_heap(self, record: Record) -> None:
        record(names.GC_TIME, self._sources.collections.seconds(), unit="s", kind="counter")
        for generation, stats in enumerate(gc.get_stats()):
            marks = _GENERATIONS[generation]
            for name, unit, key in _COUNTED:
                record(name, stats.get(key, 0), unit=unit, kind="counter", attributes=marks)
        begin_ns = self._clock.monotonic_ns()
        if begin_ns >= self._heap_ns:
            record(names.ALLOCATED_BLOCKS, sys.getallocatedblocks(), unit="{block}", kind="gauge", across="each")
            end_ns = self._clock.monotonic_ns()
            self._heap_ns = end_ns + _DEAR * (end_ns - begin_ns)


class Rings(NamedTuple):
    """Which threads record, by their native ids, and what differs whenever one of them has since the last look."""

    threads: list[int]
    moved: int
    is_open: bool
    """Whether a call is running."""


def recording_rings() -> Rings:
    """Return what the program's own threads record, without holter's."""
    pid, own = os.getpid(), own_threads()
    threads, moved, is_open = [], 0, False
    for ring in list(RECORDER.all):
        words = ring.words
        thread = words[THREAD_WORD]
        if thread in own:
            continue
        moved += words[HEAD_WORD]
        is_open |= ring.live
        if words[STATE_WORD] == Ownership.OWNED and words[PID_WORD] == pid:
            threads.append(thread)
    return Rings(list(dict.fromkeys(threads)), moved, is_open)


@dataclass(slots=True)
class Sources:
    """Where the figures come from: those of this process, or what a test has in their place."""

    collections: CollectionTimer = field(default_factory=lambda: COLLECTIONS)
    loops: Loops = field(default_factory=lambda: LOOPS)
    pauses: Pauses = field(default_factory=lambda: PAUSES)
    run_queue: Callable[[], RunQueue] = RunQueue
    throttling: Callable[[], Throttling] = Throttling
    rings: Callable[[], Rings] = recording_rings
    nap: Callable[[float], object] = time.sleep
    has_gil: bool = getattr(sys, "_is_gil_enabled", lambda: True)()


_COUNTED: Final = (
    (names.GC_COLLECTIONS, "{collection}", "collections"),
    (names.GC_COLLECTED, "{object}", "collected"),
    (names.GC_UNCOLLECTABLE, "{object}", "uncollectable"),
)


def _lost_to_gil(share: Shares, late_ns: int, passed_ns: int) -> int:
    """
    Return how long a thread can have waited for the GIL while others took turns, or one of them held it.

    One that wants to run all the time waits as long as the sampling thread for each turn of its own, which lasts
    for the switch interval; one that holds it itself has run all the time.
    """
    turns = share.ran_ns / (sys.getswitchinterval() * 1e9)
    most = turns * late_ns + (late_ns if late_ns >= HELD_NS else 0)
    return int(min(most, max(0, passed_ns - share.ran_ns - share.waited_ns)))
