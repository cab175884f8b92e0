"""What the probes of one watched callable share."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from functools import reduce
from types import FrameType
from typing import Any, NamedTuple, Protocol, TypeAlias

from holter._ring import HOME, LEAF, START, Call
from holter.failure import FAILED, ExceptionTypes, failed_series, note_place
from holter.forkword import IS_OURS
from holter.lookout import Finish
from holter.metric import NO_ATTRIBUTES, Attributes
from holter.names import CALL_UNITS, METRIC, VALUES_REFUSED
from holter.noted import LIMIT
from holter.record import CELL_WORDS, CELLS_PER_BLOCK, Outcome
from holter.recorder import current_ident
from holter.ring import Ring
from holter.scope import Scope
from holter.values import work_units

Units = int | Callable[[Any], Any] | None
Hot: TypeAlias = tuple[
    Callable[[], int],
    dict[int, Ring],
    memoryview,
    Callable[[], int],
    int,
    int,
    int,
    int,
    int,
    Callable[[object], int] | None,
    list[int],
    list[bool],
]


class StreamEnd(NamedTuple):
    """
    What there is to say of a stream that is over, in nanoseconds.

    ``produced_ns`` is the time that its items took to make, ``first_ns`` that of the first one;
    ``last`` is the last item or None, ``error`` what ended it otherwise than well.
    """

    first_ns: int
    produced_ns: int
    items: int
    last: Any
    error: BaseException | None


class StreamWitness(Protocol):
    """What is told of each stream that ends; the last item is held for it where it wants that."""

    wants_last: bool

    def streamed(self, end: StreamEnd) -> None:
        """Note it; must not raise."""


class ExchangeWitness(StreamWitness, Protocol):
    """What is told also of answers that are no streams, and of those that never came."""

    def answered(self, begun_ns: int, result: object) -> None:
        """Note it; must not raise."""

    def failed(self, begun_ns: int, error: BaseException) -> None:
        """Note it; must not raise."""


class CallProbe:
    """
    The series of one watched callable, and how its calls begin and end.

    *units* is the size of the work of a call, or a callable that tells it from the result. Where
    *native* is false, what watches is a function of Python's own, if C would do otherwise.
    *witness* is told of each stream that ends. Where *outside* is true, calls by holter's own threads
    are none of its business.
    """

    def __init__(
        self,
        scope: Scope,
        name: str,
        *,
        units: Units = None,
        attributes: Attributes = NO_ATTRIBUTES,
        expected: ExceptionTypes = (),
        native: bool = True,
        witness: StreamWitness | None = None,
        outside: bool = False,
    ) -> None:
        self.witness, self.outside = witness, outside
        self.scope, self.name, self.attributes, self.native = scope, name, attributes, native
        # A constant is one for good, so that calls have nothing left to ask.
        self.constant_units = 0 if units is None or callable(units) else work_units(units) or 0
        self.units, self.expected = units, expected
        self.series = scope.call(name, attributes)
        self.root = self.series.duration
        self.gate = scope.notes.gate(self.root)
        self.limit = self.gate.words
        self.lookout = scope.observations.lookout(self.root, name)
        # What a call in Python needs of the recorder, one step away.
        self.now, self.rings, self.attach = scope.now, scope.recorder.rings.get, scope.recorder.lookup
        # 0 in a child that was forked unknown to Python: whoever sees that attaches before it writes.
        self.is_ours = IS_OURS
        # The same where the ring is in Python too, in one piece, with the block and the place of the cell.
        block, cell = divmod(self.root, CELLS_PER_BLOCK)
        self.hot: Hot = (
            scope.now,
            scope.recorder.rings,
            IS_OURS,
            current_ident,
            self.root,
            block,
            cell * CELL_WORDS,
            self.constant_units,
            self.constant_units << 32 | self.root,
            self.units_of if callable(units) else None,
            self.gate.limit,
            self.lookout.is_wanted,
        )

    def units_of(self, result: object) -> int:
        """Return the size of the work that *result* stands for, 0 where it cannot be told."""
        tell = self.units
        if not callable(tell):
            return self.constant_units
        size = work_units(self.scope.guard.run("units", None, tell, result))
        if size is None:
            self.scope.increment(VALUES_REFUSED, "{value}", {METRIC: CALL_UNITS})
            return 0
        return size

    def observe(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Finish | None:
        """Copy what a call of *function* is given, if wanted; return what is to be told its result, if anything is."""
        return self.scope.guard.run("observe", None, self.lookout.begin, function, args, kwargs)

    def observed(self, timed: Callable[..., Any], function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return what *timed*, which watches *function*, returns; a sample of that call is taken if it is its turn."""
        try:
            finish = self.observe(function, args, kwargs)
        except RecursionError:
            finish = None
        result = timed(*args, **kwargs)
        if finish is not None:
            with suppress(RecursionError):
                finish(result)
        return result

    def begin(self) -> Call:
        """Open a call that may end on another thread."""
        return self.scope.ring().begin(self.root, self.scope.now())

    def end(self, call: Call, end_ns: int, units: int) -> None:
        """End a call from ``begin`` with outcome ok."""
        start_ns = call[START]
        if start_ns:
            try:
                if end_ns - start_ns > self.limit[LIMIT]:
                    self.slow(call, end_ns)
            finally:
                self.scope.ring().write(call[LEAF], end_ns, end_ns - start_ns, units, Outcome.OK)
                call[HOME].release(call)

    def slow(self, call: Call, end_ns: int) -> None:
        """Note that *call*, which ends well and is still open, was slow."""
        self._note(self.scope.ring(), call, call[LEAF], end_ns)

    def _note(self, *arguments: object) -> None:
        self.scope.guard.run("trace", None, self.gate.note, *arguments)

    def fail(self, call: Call, error: BaseException, units: int = 0) -> None:
        """End *call*, which *error* leaves; an interruption while it ended otherwise changes nothing."""
        start_ns = call[START]
        if not start_ns:
            return
        scope, end_ns = self.scope, self.scope.now()
        ring = scope.ring()
        series, outcome = scope.guard.run(
            "failure", (call[LEAF], Outcome.ERROR), failed_series, scope.table, call[LEAF], error, self.expected
        )
        if outcome in FAILED:
            scope.guard.run("failure", None, note_place, ring, self.root, error)
        try:
            if scope.notes.is_wanted and (outcome in FAILED or end_ns - start_ns > self.limit[LIMIT]):
                self._note(ring, call, series, end_ns)
        finally:
            ring.write(series, end_ns, end_ns - start_ns, units, outcome)
            call[HOME].release(call)

    def reduce(self, watched: Any) -> Any:
        """
        Return how *watched*, in C, is pickled: by its name, as functions are, where the name means it.

        Pickled by value, as cloudpickle does with what ``__main__`` defines, and where the name
        means something else, it is watched anew by the process that loads it.
        """
        module = getattr(watched, "__module__", None)
        name = getattr(watched, "__qualname__", "")
        found = reduce(lambda at, part: getattr(at, part, None), name.split("."), sys.modules.get(module or ""))
        if found is watched and not (module == "__main__" and is_pickled_by_value()):
            return name
        return watch_again, (watched.__wrapped__, self._options())

    def __reduce__(self) -> tuple[Any, ...]:
        """Where a function of Python's own is pickled by value, this is what of holter goes with it."""
        return probe_again, ({**self._options(), "witness": self.witness},)

    def _options(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "units": self.units,
            "attributes": dict(self.attributes),
            "expected": self.expected,
        }


# The package is there, since this module is.


def watch_again(function: Any, options: dict[str, Any]) -> Any:
    """Return *function* watched by the default monitor of this process."""
    return sys.modules["holter"].watch(function, **options)


def probe_again(options: dict[str, Any]) -> CallProbe:
    """Return a probe of the default monitor of this process."""
    return CallProbe(sys.modules["holter.default"]._scope, **options)  # noqa: SLF001 - as above


def is_pickled_by_value() -> bool:
    """Whether this is called, however far down, by cloudpickle."""
    frame: FrameType | None = sys._getframe()  # noqa: SLF001 - a documented function
    while frame is not None:
        # Also where others carry a copy of it: joblib.externals.cloudpickle, ray.cloudpickle, pyspark.cloudpickle.
        if "cloudpickle" in str(frame.f_globals.get("__name__")):
            return True
        frame = frame.f_back
    return False
