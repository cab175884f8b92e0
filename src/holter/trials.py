"""Calls that are measured one by one, because somebody has to know whether each went well."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import Final, Literal, NamedTuple

from holter.failure import FAILED, ExceptionTypes, outcome_of
from holter.record import Outcome

_MOST_KEPT: Final = 10_000
# A share of bad calls so many times the one that is allowed is what a relapse is told by.
_WORSE: Final = 5.0
_WORST: Final = 0.9
_LEAST_ALLOWED: Final = 0.01
# Calls that are as bad as is allowed give a false alarm once in e**10, 22,000 calls; better ones hardly ever.
_SURE: Final = 10.0

Fault = Literal["failed", "slow", "hung"]


class Terms(NamedTuple):
    """
    What makes a call good, and how many must be.

    A call is bad when it fails, times out, or takes longer than ``below_ns``; ``expected`` errors are good. Of
    ``calls`` trials a share of ``tolerance`` may be bad.
    """

    calls: int = 20
    tolerance: float = 0.05
    below_ns: int | None = None
    expected: ExceptionTypes = ()

    @property
    def allowed(self) -> int:
        """How many of the trials may be bad."""
        return int(self.calls * self.tolerance + 1e-9)


class Permit:
    """
    The right to make one call that is measured.

    Its time is that between `resume` and `pause`: of a stream, that of its producer. One that is dropped before its
    call has begun, as that of a coroutine which nobody awaits, gives itself back.
    """

    __slots__ = ("_measured", "_spent_ns", "since_ns")

    def __init__(self, measured: Measured) -> None:
        self._measured, self._spent_ns, self.since_ns = measured, 0, 0

    def __del__(self) -> None:
        if not self.since_ns and not self._spent_ns:
            self._measured.give_back()

    def resume(self) -> None:
        """Note that the call runs, from now on or again."""
        if not self._spent_ns:
            self._measured.running[self] = True
        self.since_ns = self._measured.now()

    def pause(self) -> None:
        """Note that the call waits for whom it is made."""
        self._spent_ns += max(1, self._measured.now() - self.since_ns)
        self.since_ns = 0

    def taken_ns(self) -> int:
        """Return how long the call has run."""
        since_ns = self.since_ns
        return self._spent_ns + (self._measured.now() - since_ns if since_ns else 0)

    def settle(self, error: BaseException | None = None) -> None:
        """Note that the call is over, by *error* if one leaves it."""
        measured = self._measured
        taken_ns = self.taken_ns()
        if measured.running.pop(self, None) is None:
            # It was taken for one that hangs.
            return
        below_ns = measured.terms.below_ns
        outcome = Outcome.OK if error is None else outcome_of(error, measured.terms.expected)
        if outcome in FAILED:
            if type.__subclasscheck__(Exception, type(error)):
                measured.ended("failed")
            else:
                # Ctrl-C, or the end of the program: nothing that the model did.
                measured.give_back()
        elif outcome in (Outcome.CANCELLED, Outcome.ABANDONED):
            measured.give_back()
        else:
            measured.ended("slow" if below_ns is not None and taken_ns > below_ns else None)


class Measured:
    """
    Calls that are measured: which run, and how many went well.

    Whoever calls notes what becomes of it, from any thread, without a lock: each step is one that the containers of
    Python do in one piece. One thread at a time reads.
    """

    def __init__(self, terms: Terms, now: Callable[[], int]) -> None:
        self.terms, self.now = terms, now
        self.running: dict[Permit, bool] = {}
        self.good: deque[None] = deque()
        self.bad: deque[Fault] = deque()

    def claim(self) -> Permit | None:
        """Return the right to make one more call, if there is one."""
        return Permit(self)

    def give_back(self) -> None:
        """Note that a call has told nothing: it never began, or was given up by who asked."""

    def ended(self, fault: Fault | None) -> None:
        """Note that a call went well, or what was wrong with it; of those that nobody has read yet 10,000 are kept."""
        if len(self.good) + len(self.bad) >= _MOST_KEPT:
            return
        if fault is None:
            self.good.append(None)
        else:
            self.bad.append(fault)

    def sweep(self, longest_ns: int) -> None:
        """Take the calls that have run for longer for bad ones, and wait for them no more."""
        for permit in list(self.running.copy()):
            if permit.taken_ns() > longest_ns and self.running.pop(permit, None) is not None:
                self.ended("hung")


class Trials(Measured):
    """
    A bounded number of calls that show whether all is well again.

    One call at first; each that goes well lets two more begin, and none does once too many were bad.
    """

    def __init__(self, terms: Terms, now: Callable[[], int]) -> None:
        super().__init__(terms, now)
        self._free, self._kept = deque([None]), deque([None] * (terms.calls - 1))
        self._is_closed = False

    def claim(self) -> Permit | None:
        """Return the right to make one more call, if there is one."""
        if self._is_closed or self.has_failed:
            return None
        try:
            self._free.pop()
        except IndexError:
            return None
        return Permit(self)

    def close(self) -> None:
        """Let no more calls begin."""
        self._is_closed = True

    def give_back(self) -> None:
        """Let another call begin in place of one that has told nothing."""
        self._free.append(None)

    def ended(self, fault: Fault | None) -> None:
        """Note how a call ended, and let the next begin."""
        super().ended(fault)
        for _ in range(1 if fault else 2):
            try:
                self._free.append(self._kept.pop())
            except IndexError:
                return

    @property
    def has_failed(self) -> bool:
        """Whether more calls were bad than may be."""
        return len(self.bad) > self.terms.allowed

    @property
    def has_passed(self) -> bool:
        """Whether as many calls went well as must."""
        return len(self.good) >= self.terms.calls - self.terms.allowed


class Probation(Measured):
    """
    All calls, as long as nobody else can tell whether they go well.

    By a cumulative sum of log-likelihood ratios (Page 1954): a share of bad calls five times the one that is
    allowed is found after some 45 of them with 5 and 25 %, after 10 where most are bad.
    """

    def __init__(self, terms: Terms, now: Callable[[], int]) -> None:
        super().__init__(terms, now)
        allowed = max(terms.tolerance, _LEAST_ALLOWED)
        worse = min(_WORST, _WORSE * allowed)
        self._of_bad, self._of_good = math.log(worse / allowed), math.log((1 - worse) / (1 - allowed))
        self._sum = 0.0

    def has_relapsed(self) -> bool:
        """Whether too many calls have been bad, with those that ended since this was asked last."""
        good, bad = _drained(self.good), _drained(self.bad)
        self._sum = max(0.0, self._sum + bad * self._of_bad + good * self._of_good)
        return self._sum > _SURE


def _drained(ended: deque[None] | deque[Fault]) -> int:
    """Return how many there were, and take them out; others may be added meanwhile."""
    count = len(ended)
    for _ in range(count):
        ended.popleft()
    return count
