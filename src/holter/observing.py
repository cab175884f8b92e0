"""
Samples of what goes into calls and comes out of them, for checks that judge data.

A call looks at one word, which is set while samples are wanted; only then is anything of this looked at. What it takes
in and returns is copied in its own thread, and waits in a bounded queue for the collector: nothing of the user's is
kept, and nothing here locks.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple, TypeAlias

from holter.columns import MOST_BYTES, RefusedError, Taken, take
from holter.guard import Guard
from holter.metric import Attributes
from holter.model import Observation, Source
from holter.names import CALL_NAME, OBSERVATIONS_DROPPED, OBSERVATIONS_REFUSED, OBSERVATIONS_TAKEN
from holter.noted import WANTED, Gate
from holter.tabular import TABLES
from holter.wanted import Arguments, Wanted

BUDGET: Final = 0.01
"""The share of one core's time that taking samples may cost all threads of a process together."""
MOST_WAITING: Final = 128
"""How many samples wait at most, of 256 KiB each, for the collector or for one check."""
_FIRST_COST_NS: Final = 50_000
_LONGEST_CREDIT_NS: Final = 1_000_000_000
_SMOOTHING: Final = 0.2

Finish: TypeAlias = Callable[[Any], None]
_Key: TypeAlias = tuple[Source, object]


class Sample(NamedTuple):
    """What was taken of one call, by what was wanted of it, and what that has cost its thread."""

    lookout: Lookout
    time_ns: int
    taken: Mapping[_Key, Taken]
    spent_ns: int


class Lookout:
    """
    What is wanted of the calls of one series, and how many of the next may be sampled.

    Each sample uses up one of ``_turns``, which the collector gives; so there are never more than it has room for.
    ``is_wanted`` says in a list of one, for calls in Python, what the gate's word says to those in C.
    """

    def __init__(self, watching: Observations, gate: Gate, name: str) -> None:
        self.name, self.is_wanted = name, [False]
        self._watching, self._words = watching, gate.words
        self._wishes: tuple[tuple[_Key, Wanted], ...] = ()
        self._turns: deque[None] = deque()
        self._cost_ns = float(_FIRST_COST_NS)
        self._credit_ns = self._left_ns = _LONGEST_CREDIT_NS * BUDGET

    @property
    def wishes(self) -> tuple[tuple[_Key, Wanted], ...]:
        """What is wanted, each once."""
        return self._wishes

    def want(self, wishes: Iterable[Wanted]) -> None:
        """Take samples of these from now on, as many as there are turns for."""
        self._wishes = tuple({key_of(wish): wish for wish in wishes}.items())
        if not self._wishes:
            self.rest()

    def rest(self) -> None:
        """Take no more samples until there are turns."""
        self._turns.clear()
        self._words[WANTED] = 0
        self.is_wanted[0] = False

    # -- the collector

    def pay(self, spent_ns: int) -> None:
        """Note what a sample has cost; one that costs more than those before is what the next may cost too."""
        self._cost_ns = max(float(spent_ns), self._cost_ns + _SMOOTHING * (spent_ns - self._cost_ns))
        self._credit_ns -= spent_ns

    def give(self, earned_ns: float, room: int) -> int:
        """Let as many calls be sampled as can be paid for with *earned_ns* more, at most *room*; return how many."""
        self._credit_ns = min(self._credit_ns + earned_ns, max(_LONGEST_CREDIT_NS * BUDGET, self._cost_ns))
        self._left_ns = self._credit_ns
        turns = min(int(self._credit_ns / max(self._cost_ns, 1.0)), room)
        for _ in range(len(self._turns), turns):
            self._turns.append(None)
        if turns > 0:
            self._words[WANTED] = 1
            self.is_wanted[0] = True
        return max(0, turns)

    # -- the threads of the user

    def begin(self, arguments: Arguments, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Finish | None:
        """Copy what a call is given, if it is its turn; return what is to be told its result, if that is wanted too."""
        try:
            self._turns.pop()
        except IndexError:
            self.rest()
            return None
        if not self._turns:
            self.rest()
        begun_ns = time.thread_time_ns()
        taken: dict[_Key, Taken] = {}
        wishes, time_ns = self._wishes, self._watching.wall_ns()
        for key, wish in wishes:
            if wish.source == "inputs":
                self._take(key, wish, taken, lambda wish=wish: _inputs(wish, arguments, args, kwargs))  # type: ignore[misc]  # bound now
        spent_ns = time.thread_time_ns() - begun_ns
        if any(wish.source == "outputs" for _, wish in wishes):
            return partial(self._watching.guard.run, "observe", None, self._end, wishes, time_ns, taken, spent_ns)
        self._put(time_ns, taken, spent_ns)
        return None

    def _put(self, time_ns: int, taken: dict[_Key, Taken], spent_ns: int) -> None:
        self._watching.put(Sample(self, time_ns, taken, spent_ns))
        # The turns that are left were given for what others have cost. That threads lose each other's costs here
        # does no harm: the collector knows them all.
        self._left_ns -= spent_ns
        if self._left_ns < 0:
            self.rest()

    def _end(
        self,
        wishes: tuple[tuple[_Key, Wanted], ...],
        time_ns: int,
        taken: dict[_Key, Taken],
        spent_ns: int,
        result: object,
    ) -> None:
        begun_ns = time.thread_time_ns()
        for key, wish in wishes:
            if wish.source == "outputs":
                self._take(key, wish, taken, lambda wish=wish: _outputs(wish, result))  # type: ignore[misc]  # as above
        self._put(time_ns, taken, spent_ns + time.thread_time_ns() - begun_ns)

    def _take(self, key: _Key, wish: Wanted, taken: dict[_Key, Taken], select: Callable[[], Mapping[str, Any]]) -> None:
        watching = self._watching
        place = f"{wish.source} of {self.name}"
        # An argument that is not there, a property of the user's, or a function of theirs.
        selected: Mapping[str, Any] | None = watching.guard.run(place, None, select)
        try:
            if selected is None:
                watching.count(OBSERVATIONS_REFUSED, self.name)
            else:
                taken[key] = take(selected, MOST_BYTES // len(self._wishes), TABLES)
        except RefusedError as refusal:
            watching.count(OBSERVATIONS_REFUSED, self.name)
            watching.guard.refused(
                place,
                f"numbers, text, or arrays and tables of them, and got {refusal}; give {wish.source}= a function that "
                "returns some",
            )


def key_of(wish: Wanted) -> _Key:
    """Return by what a wish is known, so that two checks with the same one share a copy."""
    # A function may have equality and hash of its own.
    return wish.source, id(wish.selector) if callable(wish.selector) else wish.selector


def _inputs(wish: Wanted, arguments: Arguments, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Mapping[str, Any]:
    selector = wish.selector
    if selector is None:
        return arguments.all(args, kwargs)
    if callable(selector):
        return {wish.source: selector(*args, **kwargs)}
    names = (selector,) if isinstance(selector, str) else selector
    return {name: arguments.find(name, args, kwargs) for name in names}


def _outputs(wish: Wanted, result: Any) -> Mapping[str, Any]:
    selector = wish.selector
    if selector is None:
        return {wish.source: result}
    if callable(selector):
        return {wish.source: selector(result)}
    names = (selector,) if isinstance(selector, str) else selector
    has_keys = issubclass(type(result), dict)
    return {name: dict.__getitem__(result, name) if has_keys else getattr(result, name) for name in names}


class Observations:
    """
    The samples of one scope: who wants some, of which calls, and those that wait.

    At most 128 wait, of 256 KiB at most. Taking them costs all threads together at most a hundredth of one core; where
    there are few calls, all of them are sampled. Calls are chosen by when they begin, not by what they are given.
    """

    def __init__(
        self,
        gate_of: Callable[[int], Gate],
        guard: Guard,
        increment: Callable[[str, str, Attributes], None],
        now: Callable[[], int],
        wall_ns: Callable[[], int],
    ) -> None:
        self._gate_of, self.guard, self._increment, self._now, self.wall_ns = gate_of, guard, increment, now, wall_ns
        self._lookouts: dict[int, Lookout] = {}
        self._wishes: dict[int, tuple[Wanted, ...]] = {}
        self._waiting: deque[Sample] = deque(maxlen=MOST_WAITING)
        self._given_ns: int | None = None

    def lookout(self, root: int, name: str) -> Lookout:
        """Return the lookout of the calls *root* of the function *name*."""
        found = self._lookouts.get(root)
        if found is None:
            found = self._lookouts.setdefault(root, Lookout(self, self._gate_of(root), name))
            found.want(self._wished(name))
        return found

    def reset(self) -> None:
        """Forget all, as a forked child does."""
        self._wishes.clear()
        self._waiting.clear()
        self._given_ns = None
        self._learn()

    def add(self, owner: object, wishes: Sequence[Wanted]) -> None:
        """Take samples for *owner* from now on, until it drops them."""
        if wishes:
            self._wishes[id(owner)] = tuple(wishes)
            self._learn()
            self.give(MOST_WAITING)

    def drop(self, owner: object) -> None:
        """Take none for *owner* any more."""
        if self._wishes.pop(id(owner), None) is not None:
            self._learn()

    def _learn(self) -> None:
        for lookout in list(self._lookouts.values()):
            lookout.want(self._wished(lookout.name))

    def _wished(self, name: str) -> list[Wanted]:
        return [wish for wishes in list(self._wishes.values()) for wish in wishes if wish.call == name]

    # -- the threads of the user

    def put(self, sample: Sample) -> None:
        """Let *sample* wait for the collector."""
        if len(self._waiting) >= MOST_WAITING:
            self.count(OBSERVATIONS_DROPPED, sample.lookout.name)
        self._waiting.append(sample)

    def count(self, name: str, call: str) -> None:
        """Count one more observation of *call* that was refused or dropped."""
        self._increment(name, "{observation}", {CALL_NAME: call})

    # -- the collector

    @property
    def is_wanted(self) -> bool:
        """Whether anybody wants samples."""
        return bool(self._wishes)

    def take(self) -> list[Sample]:
        """Return the samples taken since the last time."""
        samples = [self._waiting.popleft() for _ in range(len(self._waiting))]
        for sample in samples:
            sample.lookout.pay(sample.spent_ns)
            self.count(OBSERVATIONS_TAKEN, sample.lookout.name)
        return samples

    def give(self, room: int) -> None:
        """Let the next calls be sampled, at most *room* of them and as many as the budget has come to since."""
        now_ns = self._now()
        since_ns = 0 if self._given_ns is None else now_ns - self._given_ns
        self._given_ns = now_ns
        wanted = [lookout for lookout in list(self._lookouts.values()) if lookout.wishes]
        room = min(room, MOST_WAITING - len(self._waiting))
        for at, lookout in enumerate(wanted):
            share = max(1, room // (len(wanted) - at)) if room > 0 else 0
            room -= lookout.give(since_ns * BUDGET / len(wanted), share)


def observed(sample: Sample, wish: Wanted) -> Observation | None:
    """Return of *sample* what *wish* is about, None where that is nothing."""
    taken = sample.taken.get(key_of(wish)) if sample.lookout.name == wish.call else None
    if taken is None:
        return None
    return Observation(
        call=wish.call,
        columns=taken.columns,
        count=taken.kept,
        time_ns=sample.time_ns,
        source=wish.source,
        rows=taken.rows,
    )
