"""
Which calls are sampled for checks that judge data, and where their samples wait.

A call looks at one word, which is set while samples are wanted; only then is anything of this looked at. What it takes
in and returns is copied in its own thread, and waits in a bounded queue for the collector: nothing of the user's is
kept, and nothing here locks. How it is copied is told by whoever wants it, so that a program which only watches loads
nothing of that.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

from holter.guard import Guard
from holter.metric import Attributes
from holter.names import CALL_NAME, OBSERVATIONS_DROPPED, OBSERVATIONS_REFUSED, OBSERVATIONS_TAKEN
from holter.noted import WANTED, Gate

BUDGET: Final = 0.01
"""The share of one core's time that taking samples may cost all threads of a process together."""
MOST_WAITING: Final = 128
"""How many samples wait at most, of 256 KiB each, for the collector or for one check."""
_FIRST_COST_NS: Final = 50_000
_LONGEST_CREDIT_NS: Final = 1_000_000_000
_SMOOTHING: Final = 0.2

Finish: TypeAlias = Callable[[Any], None]


class Look(Protocol):
    """What is wanted of the calls of one name; equal keys stand for the same."""

    @property
    def call(self) -> str:
        """The name of the call."""

    @property
    def key(self) -> Hashable:
        """What tells it from others of that call."""

    @property
    def is_of_inputs(self) -> bool:
        """Whether it is about what a call is given, not about what it returns."""

    def inputs(
        self, guard: Guard, share: int, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> object | None:
        """Return a copy of what is wanted of a call's arguments, with a *share* of the room; None if there is none."""

    def outputs(self, guard: Guard, share: int, result: Any) -> object | None:
        """Return a copy of what is wanted of a call's result, likewise."""


class Sample(NamedTuple):
    """What was taken of one call, by what was wanted of it, and what that has cost its thread."""

    lookout: Lookout
    time_ns: int
    taken: Mapping[Hashable, Any]
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
        self.looks: tuple[Look, ...] = ()
        """What is wanted, each once."""
        self._turns: deque[None] = deque()
        self._cost_ns = float(_FIRST_COST_NS)
        self._credit_ns = self._left_ns = _LONGEST_CREDIT_NS * BUDGET

    def want(self, looks: Iterable[Look]) -> None:
        """Take samples of these from now on, as many as there are turns for."""
        self.looks = tuple({look.key: look for look in looks}.values())
        if not self.looks:
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
        turns = max(0, min(int(self._credit_ns / max(self._cost_ns, 1.0)), room))
        for _ in range(len(self._turns), turns):
            self._turns.append(None)
        if turns:
            self._words[WANTED] = 1
            self.is_wanted[0] = True
        return turns

    # -- the threads of the user

    def begin(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Finish | None:
        """Copy what a call is given, if it is its turn; return what is to be told its result, if that is wanted too."""
        try:
            self._turns.pop()
        except IndexError:
            self.rest()
            return None
        if not self._turns:
            self.rest()
        begun_ns, watching, looks = time.thread_time_ns(), self._watching, self.looks
        time_ns, guard, share, is_over = watching.wall_ns(), watching.guard, len(looks), True
        taken: dict[Hashable, Any] = {}
        for look in looks:
            if not look.is_of_inputs:
                is_over = False
            elif (copy := look.inputs(guard, share, function, args, kwargs)) is not None:
                taken[look.key] = copy
            else:
                watching.count(OBSERVATIONS_REFUSED, self.name)
        spent_ns = time.thread_time_ns() - begun_ns
        if is_over:
            self._put(time_ns, taken, spent_ns)
            return None
        return partial(guard.run, "observe", None, self._end, looks, time_ns, taken, spent_ns)

    def _end(
        self, looks: Sequence[Look], time_ns: int, taken: dict[Hashable, Any], spent_ns: int, result: object
    ) -> None:
        begun_ns, watching = time.thread_time_ns(), self._watching
        for look in looks:
            if look.is_of_inputs:
                continue
            if (copy := look.outputs(watching.guard, len(looks), result)) is not None:
                taken[look.key] = copy
            else:
                watching.count(OBSERVATIONS_REFUSED, self.name)
        self._put(time_ns, taken, spent_ns + time.thread_time_ns() - begun_ns)

    def _put(self, time_ns: int, taken: dict[Hashable, Any], spent_ns: int) -> None:
        self._watching.put(Sample(self, time_ns, taken, spent_ns))
        # The turns that are left were given for what others have cost. That threads lose each other's costs here
        # does no harm: the collector knows them all.
        self._left_ns -= spent_ns
        if self._left_ns < 0:
            self.rest()


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
        self._looks: dict[int, tuple[Look, ...]] = {}
        self._waiting: deque[Sample] = deque(maxlen=MOST_WAITING)
        self._given_ns: int | None = None

    def lookout(self, root: int, name: str) -> Lookout:
        """Return the lookout of the calls *root* of the function *name*."""
        found = self._lookouts.get(root)
        if found is None:
            found = self._lookouts.setdefault(root, Lookout(self, self._gate_of(root), name))
            found.want(self._wanted(name))
        return found

    def reset(self) -> None:
        """Forget all, as a forked child does."""
        self._looks.clear()
        self._waiting.clear()
        self._given_ns = None
        self._learn()

    def add(self, owner: object, looks: Sequence[Look]) -> None:
        """Take samples for *owner* from now on, until it drops them."""
        if looks:
            self._looks[id(owner)] = tuple(looks)
            self._learn()
            self.give(MOST_WAITING)

    def drop(self, owner: object) -> None:
        """Take none for *owner* any more."""
        if self._looks.pop(id(owner), None) is not None:
            self._learn()

    def _learn(self) -> None:
        for lookout in list(self._lookouts.values()):
            lookout.want(self._wanted(lookout.name))

    def _wanted(self, name: str) -> list[Look]:
        return [look for looks in list(self._looks.values()) for look in looks if look.call == name]

    # -- the threads of the user

    def put(self, sample: Sample) -> None:
        """Let *sample* wait for the collector."""
        if len(self._waiting) >= MOST_WAITING:
            self.count(OBSERVATIONS_DROPPED, sample.lookout.name)
        self._waiting.append(sample)

    def count(self, name: str, call: str) -> None:
        """Count one more observation of *call* that was taken, refused or dropped."""
        self._increment(name, "{observation}", {CALL_NAME: call})

    # -- the collector

    @property
    def is_wanted(self) -> bool:
        """Whether anybody wants samples."""
        return bool(self._looks)

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
        wanted = [lookout for lookout in list(self._lookouts.values()) if lookout.looks]
        room = min(room, MOST_WAITING - len(self._waiting))
        for at, lookout in enumerate(wanted):
            share = max(1, room // (len(wanted) - at)) if room > 0 else 0
            room -= lookout.give(since_ns * BUDGET / len(wanted), share)
