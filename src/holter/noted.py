"""
The calls that were slow or failed, noted one by one when they end, for traces and exemplars.

A call compares its duration with one word, which the collector sets; only beyond it, or when it
fails, is anything of this looked at. Nobody is noted where nobody asks, and nothing here locks.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import Any, Final, NamedTuple, Protocol, runtime_checkable

from holter import context
from holter._ring import LEAF, OUTER, START, Call
from holter.guard import Guard
from holter.loops import here
from holter.pauses import PAUSES, Sufferer
from holter.record import THREAD_WORD
from holter.ring import Ring

NEVER: Final = 2**63 - 1
# The words of a gate.
LIMIT: Final = 0
SEEN: Final = 1
WANTED: Final = 2

MOST_OF_ONE: Final = 10
MOST: Final = 100
MOST_SEEN: Final = 1_000
"""How many calls of one function that are slow or fail are looked at an interval; C has this number too."""

SHORTEST_EXPLAINED_NS: Final = 1_000_000
"""What takes less is slow for nobody but traces: where only the causes of slow calls are wanted, it is not noted."""

_DEEPEST: Final = 8
_FARTHEST: Final = 64
# Of the process, so that an exporter that goes from one monitor to the next takes none for another.
_numbers: Final = count(1)


@runtime_checkable
class Wish(Protocol):
    """
    What an exporter has that wants slow and failed calls.

    Slow is what takes longer than ``slower_than_seconds``, or, where that is None, than 99 of 100
    calls of the same function. One that has ``traces_all`` set is told of calls outside of any
    trace too; one that has ``trace(calls)`` is called with the new ones each interval, in its own thread.
    """

    slower_than_seconds: float | None


class Noted(NamedTuple):
    """A call that has ended, on the monotonic clock; ``around`` are the calls that it was part of, as (start, root)."""

    root: int
    series: int
    start_ns: int
    end_ns: int
    context: Any
    around: tuple[tuple[int, int], ...]
    where: Sufferer = Sufferer()
    is_traced: bool = True


class Gate:
    """
    Which calls of one function are noted.

    ``words`` are the duration in ns beyond which a call is slow, how many went through in this interval, and
    whether samples of what goes in and out are wanted; C reads the last one at the beginning of each call,
    and the first one at its end. In Python a watched function reads the same number
    from ``limit``, alone in its list, in a tenth of the time.
    """

    __slots__ = ("_notes", "explained", "kept", "limit", "root", "words")

    def __init__(self, notes: Notes, root: int) -> None:
        self.words = memoryview(bytearray(24)).cast("q")
        self.limit = [NEVER]
        self.bound(notes.limit_ns)
        self.root, self.kept, self.explained, self._notes = root, 0, 0, notes

    def bound(self, limit_ns: int) -> None:
        """Call slow what takes longer than *limit_ns* from now on."""
        self.words[LIMIT] = self.limit[0] = limit_ns

    def note(self, ring: Ring, call: Call, series: int, end_ns: int) -> None:
        """Note *call*, counted in *series*, unless there were many, or nobody keeps its trace or asks for causes."""
        words, notes = self.words, self._notes
        seen = words[SEEN]
        words[SEEN] = seen + 1
        if seen >= MOST_SEEN:
            return
        span = _current_span()
        is_traced = notes.is_traced and (notes.traces_all if span is None else span.trace_flags.sampled)
        if not is_traced:
            if end_ns - call[START] <= words[LIMIT] or not notes.explains or not self._explains_one_more():
                return
            span = None
        elif self.kept >= MOST_OF_ONE or notes.kept >= MOST:
            notes.left_out += 1
            return
        else:
            self.kept += 1
            notes.kept += 1
        where = Sufferer(ring.words[THREAD_WORD], *here()) if notes.explains else Sufferer()
        around = notes.around(ring, call)
        notes.table.append(Noted(self.root, series, call[START], end_ns, span, around, where, is_traced))

    def _explains_one_more(self) -> bool:
        notes = self._notes
        if self.explained >= MOST_OF_ONE or notes.explained >= MOST:
            if not notes.is_traced:
                # So that calls pay for nothing until the next interval.
                self.bound(NEVER)
            return False
        self.explained += 1
        notes.explained += 1
        return True

    def turn(self) -> None:
        """Begin another interval."""
        seen = self.words[SEEN]
        self.words[SEEN] = self.kept = self.explained = 0
        self._notes.left_out += max(0, seen - MOST_SEEN)


class Notes:
    """
    The slow and failed calls of one scope, at most 100 an interval and 10 of one function.

    ``left_out`` counts those for which there was no room.
    """

    def __init__(self, root_of: Callable[[int], int], guard: Guard) -> None:
        self._root_of, self._guard = root_of, guard
        self.gates: dict[int, Gate] = {}
        self.table: deque[Noted] = deque()
        self.newest = 0
        """The number of the newest that was told."""
        self.standing = False
        """Whether somebody wants them who is no exporter, for as long as the process lives."""
        self.explains = False
        """Whether the causes of slow calls are looked for."""
        self.awaiting: set[int] = set()
        """The calls, by their roots, that wait in an event loop; others in its thread keep it waiting."""
        self._wishes: dict[int, Wish] = {}
        self.reset()

    def reset(self) -> None:
        """Forget all, as a forked child does."""
        self.table.clear()
        self._wishes.clear()
        self.left_out = self.kept = self.explained = 0
        self.explains = False
        self._learn()

    def gate(self, root: int) -> Gate:
        """Return the gate of the calls *root*."""
        found = self.gates.get(root)
        return self.gates.setdefault(root, Gate(self, root)) if found is None else found

    def add(self, owner: object, wish: Wish) -> None:
        """Note calls for *wish* from now on, until its *owner* drops it."""
        self._wishes[id(owner)] = wish
        self._learn()

    def drop(self, owner: object) -> None:
        """Note no calls for the wish of *owner* any more."""
        self._wishes.pop(id(owner), None)
        self._learn()

    def stand(self) -> None:
        """Note calls for good, for a page that somebody may ask for."""
        self.standing = True
        self._learn()

    @property
    def wishes(self) -> list[Wish]:
        """The exporters that want some."""
        return list(self._wishes.values())

    def _learn(self) -> None:
        told = [wish.slower_than_seconds for wish in self.wishes]
        fixed = [int(seconds * 1e9) for seconds in told if seconds is not None]
        self.is_traced = bool(told) or self.standing
        self.is_wanted = self.is_traced or self.explains
        self._traces_quantile = self.standing or len(fixed) < len(told)
        self.wants_quantile = self._traces_quantile or self.explains
        self.limit_ns = min(fixed, default=NEVER)
        self.look()
        self.set_limits({})

    def ask_for_causes(self) -> None:
        """Note slow calls for their causes too, while there is a sampler that finds some."""
        explains = PAUSES.seen_ns is not None
        if explains != self.explains:
            self.explains = explains
            self._learn()

    def look(self) -> None:
        """Ask whether anybody wants calls outside of any trace: a program may set up its tracing at any time."""
        self.traces_all = any(map(self._traces_all, self.wishes))

    def _traces_all(self, wish: Wish) -> bool:
        return bool(self._guard.run("trace", False, getattr, wish, "traces_all", False))  # noqa: FBT003 - the default

    def set_limits(self, limits_ns: dict[int, int]) -> None:
        """Let slow be what takes longer than its root's limit, or than what an exporter says."""
        # Where nothing traces, nothing is slow for traces: there would be none to be in.
        least = 0 if self._traces_quantile and "opentelemetry.trace" in sys.modules else SHORTEST_EXPLAINED_NS
        for root, gate in list(self.gates.copy().items()):
            gate.bound(min(self.limit_ns, max(least, limits_ns.get(root, NEVER))))

    def number(self) -> int:
        """Return the number of one more that is told."""
        self.newest = next(_numbers)
        return self.newest

    def turn(self) -> None:
        """Begin another interval."""
        self.kept = self.explained = 0
        for gate in list(self.gates.values()):
            gate.turn()

    def take(self) -> list[Noted]:
        """Return what has been noted since the last time."""
        return [self.table.popleft() for _ in range(len(self.table))]

    def around(self, ring: Ring, call: Call) -> tuple[tuple[int, int], ...]:
        """Return start and root of the open calls around *call*, the innermost first; at most 8."""
        mine = call[START], self._root_of(call[LEAF])
        found = {one for start in (ring.current[0], context.open_in_context()) for one in self._outwards(start)}
        return tuple(sorted(found - {mine}, reverse=True)[:_DEEPEST])

    def _outwards(self, call: Call | None) -> list[tuple[int, int]]:
        found: list[tuple[int, int]] = []
        for _ in range(_FARTHEST):
            if call is None or len(found) > _DEEPEST:
                break
            start_ns = call[START]
            if start_ns:
                found.append((start_ns, self._root_of(call[LEAF])))
            call = call[OUTER]
        return found


def _current_span() -> Any:
    """Return the context of the span that the running code is in; None if there is none, or OpenTelemetry is not."""
    api = sys.modules.get("opentelemetry.trace")
    # It may be there and not be ready, while another thread imports it.
    current = getattr(api, "get_current_span", None)
    if current is None:
        return None
    found = current().get_span_context()
    return found if found.is_valid else None
