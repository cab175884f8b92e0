"""Calls that were slow or failed, one by one: the nouns of what can be traced."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from holter.metric import NO_ATTRIBUTES, Attributes
from holter.names import (
    CALL_OUTCOME,
    CAUSE_GC,
    CAUSE_GIL_WAIT,
    CAUSE_LOOP_LAG,
    CAUSE_RUN_QUEUE,
    CAUSE_THROTTLING,
    ERROR_TYPE,
)
from holter.record import Outcome
from holter.words import duration

_SAID: Final = {
    CAUSE_GC: "in garbage collection",
    CAUSE_THROTTLING: "throttled by the CPU quota",
    CAUSE_RUN_QUEUE: "waiting for a CPU",
    CAUSE_GIL_WAIT: "waiting for the GIL",
    CAUSE_LOOP_LAG: "behind other code that blocked the event loop",
}

_OK = Outcome.OK.label
_FAILED = (Outcome.ERROR.label, Outcome.TIMEOUT.label)


@dataclass(frozen=True, slots=True)
class Stage:
    """
    A span of holter within a slow call; times are Unix time.

    >>> Stage("tokenize", 1_000_000_000, 1_500_000_000).seconds
    0.5
    """

    name: str
    start_ns: int
    end_ns: int
    outcome: str = _OK
    error_type: str = ""

    @property
    def seconds(self) -> float:
        """How long it took."""
        return (self.end_ns - self.start_ns) / 1e9

    @property
    def is_failed(self) -> bool:
        """Whether it ended in an error or a timeout."""
        return self.outcome in _FAILED


@dataclass(frozen=True, slots=True)
class Pause:
    """
    The time that a slow call lost to one cause outside of it.

    ``cause`` is "gc" (the garbage collector ran), "throttling" (the CPU quota of the control group was used up),
    "run_queue" (its thread was ready and had no CPU), "gil_wait" (its thread waited for Python's lock) or "loop_lag"
    (other code blocked its event loop).

    >>> print(Pause("gc", 0.25))
    250 ms in garbage collection
    """

    cause: str
    seconds: float

    def __str__(self) -> str:
        return f"{duration(self.seconds)} {self.words}"

    @property
    def words(self) -> str:
        """How people say it, after "it was" or "it spent ..."."""
        return _SAID.get(self.cause, self.cause)


@dataclass(frozen=True, slots=True)
class SlowCall:
    """
    One call that was slower than most, or failed; times are Unix time.

    ``number`` rises from one to the next of a process, so that whoever has seen one knows which are new;
    ``inside`` is that of the slow call around it, 0 if there is none. ``series`` is the id of the
    series that counts it, ``attributes`` are that series'. ``trace_id`` and ``span_id`` are those
    of the span of OpenTelemetry that the call was part of, 0 where there was none, and ``context``
    is that span's context. At most 50 ``stages`` are kept, the longest, in the order in which they began.
    ``pauses`` are what a fifth of its time or more was lost to, most first, where `RuntimeSampler` runs. ``is_traced``
    is whether traces tell of it: not where its own is not kept, or where it is in none and nobody wants such calls.

    >>> call = SlowCall(1, "predict", 7, start_ns=1_000_000_000, end_ns=3_000_000_000)
    >>> call.seconds, call.is_failed
    (2.0, False)
    """

    number: int
    call: str
    series: int
    start_ns: int
    end_ns: int
    attributes: Attributes = field(default_factory=lambda: NO_ATTRIBUTES, hash=False)
    stages: tuple[Stage, ...] = ()
    stages_left_out: int = 0
    inside: int = 0
    trace_id: int = 0
    span_id: int = 0
    context: Any = field(default=None, repr=False, compare=False)
    pauses: tuple[Pause, ...] = ()
    is_traced: bool = True

    @property
    def seconds(self) -> float:
        """How long it took."""
        return (self.end_ns - self.start_ns) / 1e9

    @property
    def outcome(self) -> str:
        """How it ended: "ok", "error", "timeout", "cancelled", "abandoned" or "expected"."""
        return str(self.attributes.get(CALL_OUTCOME, _OK))

    @property
    def error_type(self) -> str:
        """The class of the error that left it, "" if it did not fail."""
        return str(self.attributes.get(ERROR_TYPE, ""))

    @property
    def is_failed(self) -> bool:
        """Whether it ended in an error or a timeout."""
        return self.outcome in _FAILED
