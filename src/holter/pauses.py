"""
The newest pauses of a process: when it, one of its threads or one of its event loops could not go on, and why.

What hits the whole process has nobody in ``whom``; the rest is of one thread (its native id) or of one event
loop (its id). Written by what measures them, read by whoever explains slow calls; nothing here locks.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from holter.gctimer import COLLECTIONS
from holter.loops import Lag
from holter.names import CAUSE_GC as GC
from holter.names import CAUSE_GIL_WAIT as GIL_WAIT
from holter.names import CAUSE_LOOP_LAG as LOOP_LAG
from holter.names import CAUSE_RUN_QUEUE as RUN_QUEUE
from holter.names import CAUSE_THROTTLING as THROTTLING
from holter.recorder import RECORDER

MOST_PAUSES: Final = 1_024
TELLING_SHARE: Final = 0.2
"""Of a call's time so much at least must lie in pauses of one cause for that to be named."""
SHORTEST_NS: Final = 5_000_000
"""What is shorter explains no call that anybody would ask about; of collections, however short, all are kept."""

# A thread that collects may be throttled or wait for a CPU meanwhile: others see that it collects.
_IN_TURN: Final = (GC, THROTTLING, RUN_QUEUE, GIL_WAIT)

_WORDS: Final = 5
_BEGIN, _END, _LOST, _WHOM, _BY = range(_WORDS)


class Sufferer(NamedTuple):
    """Whom a pause may have hit: a thread, and the event loop and the task that its code ran in, 0 if in none."""

    thread: int = 0
    loop: int = 0
    task: int = 0


class Loss(NamedTuple):
    """The time that a stretch lost to one cause."""

    cause: str
    seconds: float


class PauseTable:
    """
    The newest 1,024 pauses of one cause, in memory that is taken once: 40 KiB.

    A pause is a stretch of time and how much of it was lost, which may be less: of what is measured now and then
    only the sum is known. One thread writes, others read.
    """

    def __init__(self) -> None:
        self._array = array("q", bytes(8 * _WORDS * MOST_PAUSES))
        self._words = memoryview(self._array)
        self.count = 0

    def add(self, begin_ns: int, end_ns: int, lost_ns: int, whom: int = 0, by: int = 0) -> None:
        """Keep one more; *by* is the task that has made it."""
        at = self.count % MOST_PAUSES * _WORDS
        words = self._words
        words[at + _BEGIN], words[at + _END], words[at + _LOST] = begin_ns, end_ns, lost_ns
        words[at + _WHOM], words[at + _BY] = whom, by
        self.count += 1

    def rows(self) -> NDArray[np.int64]:
        """Return those that are held, as (pauses, {begin, end, lost, whom, by}), the oldest not first."""
        before = self.count
        rows = np.frombuffer(self._words.tobytes(), np.int64).reshape(MOST_PAUSES, _WORDS)
        after = self.count
        if before <= MOST_PAUSES and after <= MOST_PAUSES:
            return rows[:before]
        # What was overwritten meanwhile may be half of one and half of another.
        torn = {number % MOST_PAUSES for number in range(before, min(after, before + MOST_PAUSES) + 1)}
        return np.delete(rows, list(torn), axis=0)

    def clear(self) -> None:
        """Forget all."""
        self.count = 0


def lost_ns(rows: NDArray[np.int64], begin_ns: int, end_ns: int) -> float:
    """Return how much of the time between the two was lost in the pauses of *rows*."""
    if not len(rows):
        return 0.0
    overlap = np.minimum(rows[:, _END], end_ns) - np.maximum(rows[:, _BEGIN], begin_ns)
    length = np.maximum(rows[:, _END] - rows[:, _BEGIN], 1)
    return float((np.maximum(overlap, 0) / length * rows[:, _LOST]).sum())


class Pauses:
    """
    The pauses of this process by cause.

    ``tables`` are those of the causes that are sampled, beside the garbage collector's own. ``seen_ns`` is until when
    all is known; None while nobody looks.
    """

    def __init__(self, collections: Callable[[], NDArray[np.int64]] = COLLECTIONS.rows) -> None:
        self.tables = {cause: PauseTable() for cause in (THROTTLING, RUN_QUEUE, GIL_WAIT, LOOP_LAG)}
        self._collections = collections
        self.waiting: Callable[[], Iterable[Lag]] = tuple
        """Returns how late event loops are that have not been seen to go on."""
        self.writer: object = None
        """The one sampler, of perhaps several, that keeps them."""
        self.seen_ns: int | None = None

    def claim(self, writer: object) -> bool:
        """Let *writer* keep the pauses, unless another one does; whether it does."""
        if self.writer is None:
            self.writer = writer
        return self.writer is writer

    def leave(self, writer: object) -> None:
        """Let another one keep them from now on."""
        if self.writer is writer:
            self.writer = self.seen_ns = None
            self.waiting = tuple

    def forget(self) -> None:
        """Forget all, as a forked child does."""
        for table in self.tables.values():
            table.clear()
        self.writer = self.seen_ns = None
        self.waiting = tuple

    def look(self) -> Losses:
        """Return what is known by now, for calls to be laid over; some 50 µs."""
        waiting = [(begin, end, end - begin, loop, by) for begin, end, loop, by in self.waiting()]
        rows = {cause: table.rows() for cause, table in self.tables.items()}
        if waiting:
            # One that is over by now may be in the table as well.
            past = rows[LOOP_LAG]
            others = past[~np.isin(past[:, _BEGIN], [row[_BEGIN] for row in waiting])]
            rows[LOOP_LAG] = np.concatenate((others, np.array(waiting, np.int64)))
        return Losses({GC: self._collections(), **rows})


class Losses:
    """What is known of pauses at one moment, in *rows* by cause."""

    def __init__(self, rows: dict[str, NDArray[np.int64]]) -> None:
        self._rows = rows

    def explain(self, begin_ns: int, end_ns: int, of: Sufferer) -> tuple[Loss, ...]:
        """
        Return what *of* lost between the two to each cause that makes up a fifth of the time or more; most first.

        No moment is counted twice. The lag of an event loop is not told of the task that has made it. Costs some 70 µs.
        """
        took_ns = end_ns - begin_ns
        if took_ns <= 0:
            return ()
        mine = {cause: _between(rows, begin_ns, end_ns) for cause, rows in self._rows.items()}
        for cause in (RUN_QUEUE, GIL_WAIT):
            mine[cause] = mine[cause][mine[cause][:, _WHOM] == of.thread]
        found = _apart(mine, begin_ns, end_ns)
        left = max(0.0, took_ns - sum(found.values()))
        lag_ns = sum(
            _lag_alone(mine, max(begin, begin_ns), min(end, end_ns))
            for begin, end, _, loop, by in mine[LOOP_LAG].tolist()
            if loop == of.loop and (not by or by != of.task)
        )
        # What is known as a sum is spread evenly, and may have lain elsewhere.
        found[LOOP_LAG] = min(lag_ns, left)
        telling = [(min(lost, took_ns), cause) for cause, lost in found.items() if lost >= TELLING_SHARE * took_ns]
        return tuple(Loss(cause, lost / 1e9) for lost, cause in sorted(telling, reverse=True))


def _between(rows: NDArray[np.int64], begin_ns: int, end_ns: int) -> NDArray[np.int64]:
    """Return those of *rows* that overlap with the time between the two."""
    return rows[(rows[:, _END] > begin_ns) & (rows[:, _BEGIN] < end_ns)]


def _apart(rows: dict[str, NDArray[np.int64]], begin_ns: int, end_ns: int) -> dict[str, float]:
    """Return what was lost to each cause between the two; of what may be the same time, the first has it."""
    found: dict[str, float] = {}
    left = float(end_ns - begin_ns)
    for cause in _IN_TURN:
        lost = lost_ns(rows[cause], begin_ns, end_ns)
        if cause == RUN_QUEUE:
            # A thread that is throttled waits in the queue too, as some kernels count it.
            lost = max(0.0, lost - found[THROTTLING])
        found[cause] = min(lost, left)
        left -= found[cause]
    return found


def _lag_alone(rows: dict[str, NDArray[np.int64]], begin_ns: int, end_ns: int) -> float:
    """Return how much of a lag between the two has no cause but that the loop was busy."""
    if end_ns <= begin_ns:
        return 0.0
    return max(0.0, end_ns - begin_ns - sum(_apart(rows, begin_ns, end_ns).values()))


PAUSES: Final = Pauses()
RECORDER.after_fork.append(PAUSES.forget)
