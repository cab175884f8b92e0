"""
The event loops of a process that run, and how late they are.

A loop is asked for one small step and looked at later: how long it took to come to it is what everything else that
waits in this loop waited too. Loops are held weakly, and asyncio is never imported for this.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context
from itertools import islice
from time import monotonic_ns
from typing import Any, Final, NamedTuple
from weakref import ref

from holter.recorder import RECORDER

MOST_LOOPS: Final = 32
MOST_TASKS: Final = 10_000
_MOST_TRIES: Final = 3
# Closed since, its pipe too, or a loop of another make that takes no context.
_REFUSALS: Final = (RuntimeError, OSError, TypeError, NotImplementedError, AttributeError)


class Loops:
    """
    The loops that are known, at most 32.

    One is found when a thread that it runs in takes a ring to record in, when a slow call in it ends, when it is seen
    to run one step for long, or is named by whoever knows it.
    """

    def __init__(self) -> None:
        self._known: dict[int, Callable[[], Any]] = {}

    def forget(self) -> None:
        """Forget all, as a forked child does."""
        self._known = {}

    def follow(self, loop: Any) -> None:
        """Know *loop* from now on, until it is closed."""
        known = self._known.get(id(loop))
        if (known is None or known() is not loop) and len(self._known) < MOST_LOOPS:
            self._known[id(loop)] = _reference(loop)

    def follow_running(self) -> None:
        """Know the loop that runs in the calling thread, if there is one."""
        loop = _running()
        if loop is not None:
            self.follow(loop)

    def find(self) -> None:
        """Know the loops that are seen to run a task right now."""
        tasks = sys.modules.get("asyncio.tasks")
        for loop in list(getattr(tasks, "_current_tasks", ()))[:MOST_LOOPS]:
            self.follow(loop)

    def find_waiting(self) -> None:
        """Know the loops that have tasks, also where all of these wait; some 0.2 µs a task, of 10,000 at most."""
        tasks = sys.modules.get("asyncio.tasks")
        # Python 3.11 has one set, later ones have two.
        for name in ("_all_tasks", "_scheduled_tasks", "_eager_tasks"):
            # Other threads change them meanwhile. What is found until then is no less of use, so there are few tries:
            # without a GIL, of tasks that come and go, a hundred took ten seconds.
            for _ in range(_MOST_TRIES):
                with suppress(RuntimeError):
                    for task in islice(getattr(tasks, name, ()), MOST_TASKS):
                        self.follow(task.get_loop())
                    break

    @staticmethod
    def is_here(loop: Any) -> bool:
        """Whether *loop* runs in the calling thread."""
        return _running() is loop

    def leave(self, loop: Any) -> None:
        """Know *loop* no more, until it is found again."""
        self._known.pop(id(loop), None)

    def open(self) -> list[Any]:
        """Return those that are not closed, and forget the others."""
        found = []
        for key, reference in list(self._known.items()):
            loop = reference()
            if loop is None or loop.is_closed():
                self._known.pop(key, None)
            else:
                found.append(loop)
        return found


class Lag(NamedTuple):
    """How late a loop was; ``by`` is the task that ran meanwhile, 0 for none or several."""

    begin_ns: int
    end_ns: int
    loop: int
    by: int


class _Beat:
    """One step asked of a loop; the loop's thread stores one number, and that is all it does."""

    __slots__ = ("_looks", "_now", "asked_ns", "by", "done_ns")

    def __init__(self, now: Callable[[], int]) -> None:
        self._now, self.asked_ns, self.done_ns = now, now(), 0
        self.by = self._looks = 0

    def __call__(self) -> None:
        self.done_ns = self._now()

    def look(self, task: int) -> None:
        """Note that *task* runs while this waits."""
        self.by = task if not self._looks or self.by == task else 0
        self._looks += 1


class Beats:
    """
    Asks *loops* for steps, one at a time each, and tells how late these came.

    Costs some 10 µs a loop and step here, and some 40 µs in the loop's thread, which is woken.
    """

    def __init__(self, loops: Loops, now: Callable[[], int] = monotonic_ns) -> None:
        self._loops, self._now = loops, now
        self._standing: dict[int, _Beat] = {}

    def ask(self) -> None:
        """Ask each loop that runs for a step, unless one stands."""
        loops = {id(loop): loop for loop in self._loops.open() if loop.is_running()}
        # What a loop that does not run was asked for stands in its queue, and is for nobody.
        self._standing = {key: beat for key, beat in self._standing.items() if key in loops}
        for key, loop in loops.items():
            if key not in self._standing:
                beat = _Beat(self._now)
                try:
                    loop.call_soon_threadsafe(beat, context=Context())
                except _REFUSALS:
                    self._loops.leave(loop)
                    continue
                self._standing[key] = beat

    def look(self) -> None:
        """See which task runs in each loop that has not come to its step yet."""
        for loop in self._loops.open():
            beat = self._standing.get(id(loop))
            if beat is not None and not beat.done_ns:
                beat.look(_current_task(loop))

    def take(self) -> list[Lag]:
        """Return how late the loops were that have come to their steps; each once."""
        done = {key: beat for key, beat in self._standing.items() if beat.done_ns}
        self._standing = {key: beat for key, beat in self._standing.items() if key not in done}
        return [Lag(beat.asked_ns, beat.done_ns, key, beat.by) for key, beat in done.items()]

    def waiting(self) -> list[Lag]:
        """Return how late those are that have not, or have since the last look."""
        now_ns = self._now()
        standing = self._standing
        return [Lag(beat.asked_ns, beat.done_ns or now_ns, key, beat.by) for key, beat in standing.items()]


def here() -> tuple[int, int]:
    """Return the ids of the event loop and the task that the calling code runs in, 0 for none; some 0.5 µs."""
    loop = _running()
    if loop is None:
        return 0, 0
    LOOPS.follow(loop)
    return id(loop), _current_task(loop)


def _running() -> Any:
    running = getattr(sys.modules.get("asyncio.events"), "_get_running_loop", None)
    return None if running is None else running()


def _current_task(loop: Any) -> int:
    current = getattr(sys.modules.get("asyncio.tasks"), "current_task", None)
    task = None if current is None else current(loop)
    return 0 if task is None else id(task)


def _reference(loop: Any) -> Callable[[], Any]:
    try:
        return ref(loop)
    except TypeError:
        return lambda: loop


LOOPS: Final = Loops()
RECORDER.after_fork.append(LOOPS.forget)
RECORDER.attached.append(LOOPS.follow_running)
