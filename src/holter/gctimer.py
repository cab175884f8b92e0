"""
Times the collections of Python's garbage collector, from its own callbacks.

They are called in whatever thread allocates, in the midst of anything, holter's own code and locks included. So what
is called stores numbers into memory that is there already, and nothing else; C does so where there is C.
"""

from __future__ import annotations

import gc
from _thread import interrupt_main
from array import array
from collections.abc import Callable, Mapping
from contextlib import suppress
from time import monotonic_ns
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from holter.recorder import RECORDER
from holter.ring import NATIVE

# The words, which C has too: when the running collection began, where the tables have got to, and sums by generation.
BEGUN: Final = 0
PAUSES: Final = 1
DURATIONS: Final = 2
COUNT: Final = 4
SUM: Final = 8
_TABLE: Final = 16

GENERATIONS: Final = 4
MOST: Final = 1_024
_WORDS: Final = 5
_TIMES: Final = _TABLE + MOST * _WORDS
LENGTH: Final = _TIMES + MOST

TOGETHER_NS: Final = 10_000_000
"""Collections that begin within so much of each other are one pause: short ones don't take the place of long ones."""


class Collection(NamedTuple):
    """One collection: its generation, and how long it took."""

    generation: int
    taken_ns: int


def timer(words: memoryview, now: Callable[[], int] = monotonic_ns) -> Callable[[str, Mapping[str, Any]], None]:
    """Return what the garbage collector is to call; it stores in *words*, costs some 0.6 µs and raises nothing."""

    def timed(phase: str, info: Mapping[str, Any]) -> None:
        try:
            if phase == "start":
                words[BEGUN] = now()
                return
            begun, words[BEGUN] = words[BEGUN], 0
            if not begun:
                return
            end = now()
            taken, generation = end - begun, info["generation"] % GENERATIONS
            words[COUNT + generation] += 1
            words[SUM + generation] += taken
            number = words[DURATIONS]
            words[_TIMES + number % MOST] = taken * GENERATIONS + generation
            words[DURATIONS] = number + 1
            number = words[PAUSES]
            at = _TABLE + (number - 1) % MOST * _WORDS
            if number and begun - words[at] < TOGETHER_NS:
                words[at + 1] = end
                words[at + 2] += taken
                return
            at = _TABLE + number % MOST * _WORDS
            words[at], words[at + 1], words[at + 2] = begun, end, taken
            words[PAUSES] = number + 1
        except KeyboardInterrupt:
            # Python would print it and go on: it is the program's.
            interrupt_main()

    return timed


class CollectionTimer:
    """
    Times collections while anybody uses it; tells of each once.

    Costs 0.2 µs a collection in C and 1.2 µs in Python; 48 KiB. What comes faster than 1,024 between two looks is
    counted and summed up, and not told one by one.
    """

    def __init__(self, native: Any = NATIVE) -> None:
        self._array = array("q", bytes(8 * LENGTH))
        self.words = memoryview(self._array)
        self._users: set[int] = set()
        self.callback: Callable[[str, Any], None] = (
            timer(self.words) if native is None else native.CollectionTimer(self.words)
        )

    def use(self, user: object) -> None:
        """Time collections for *user*."""
        self._users.add(id(user))
        if self.callback not in gc.callbacks:
            self.words[BEGUN] = 0
            gc.callbacks.append(self.callback)

    def leave(self, user: object) -> None:
        """Time none for *user* any more, and none at all if that was the last."""
        self._users.discard(id(user))
        if not self._users:
            self._remove()

    def _remove(self) -> None:
        with suppress(ValueError):  # somebody has emptied the list
            gc.callbacks.remove(self.callback)

    def forget(self) -> None:
        """Forget all, as a forked child does."""
        self._users.clear()
        self._remove()
        self.words[:_TABLE] = memoryview(array("q", bytes(8 * _TABLE)))

    @property
    def told(self) -> int:
        """How many have ended so far."""
        return self.words[DURATIONS]

    def since(self, number: int) -> list[Collection]:
        """Return those that have ended since *number* of them had, as far as they are held."""
        last = self.words[DURATIONS]
        held = range(max(number, last - MOST), last)
        values = [self.words[_TIMES + one % MOST] for one in held]
        # What was overwritten meanwhile is another one's.
        first = self.words[DURATIONS] - MOST
        return [
            Collection(value % GENERATIONS, value // GENERATIONS)
            for one, value in zip(held, values, strict=True)
            if one >= first
        ]

    def seconds(self) -> float:
        """Return how long all collections have taken so far."""
        return sum(self.words[SUM : SUM + GENERATIONS]) / 1e9

    def rows(self) -> NDArray[np.int64]:
        """Return the newest pauses, as `holter.pauses.PauseTable` does."""
        number = self.words[PAUSES]
        rows = np.frombuffer(self.words[_TABLE:_TIMES].tobytes(), np.int64).reshape(MOST, _WORDS)
        # The one that comes next may be there by half.
        return rows[:number] if number < MOST else np.delete(rows, self.words[PAUSES] % MOST, axis=0)


COLLECTIONS: Final = CollectionTimer()
RECORDER.after_fork.append(COLLECTIONS.forget)
