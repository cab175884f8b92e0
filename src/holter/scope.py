"""The series of one monitor, and what its probes need in order to record."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING, Final, NamedTuple
from weakref import WeakValueDictionary

from holter import names
from holter.clock import SYSTEM, Clock
from holter.guard import Guard
from holter.lookout import Observations
from holter.metric import NO_ATTRIBUTES, Across, Attributes, Kind
from holter.noted import Notes
from holter.recorder import RECORDER, Recorder
from holter.ring import Ring

if TYPE_CHECKING:
    from holter.silencing import Silence

NANOSECONDS: Final = 1e-9
_numbers = count(1)
_SCOPES: Final[WeakValueDictionary[int, Scope]] = WeakValueDictionary()


class CallSeries(NamedTuple):
    """The series of one watched call: its durations, and the figures that follow from them."""

    duration: int
    active: int
    oldest: int
    units: int


class ItemSeries(NamedTuple):
    """The series of one stream's items: two that are recorded, and their number, which follows."""

    first: int
    between: int
    items: int


class Scope:
    """
    The series that belong to one monitor.

    ``calls``, ``items`` and ``reads`` say which figures the fold derives: what is running, how
    many items a stream has made, and gauges that are read at each interval.
    """

    def __init__(self, clock: Clock = SYSTEM, recorder: Recorder = RECORDER) -> None:
        self.number = next(_numbers)
        _SCOPES[self.number] = self
        self.clock, self.recorder, self.table = clock, recorder, recorder.table
        self.ring: Callable[[], Ring] = recorder.lookup
        """Returns the ring of the calling thread."""
        self.now = clock.monotonic_ns
        self.own_clock = None if self.now is SYSTEM.monotonic_ns else self.now
        """The clock where it is not the system's, which C reads by itself."""
        self.calls: dict[int, CallSeries] = {}
        self.items: dict[int, ItemSeries] = {}
        self.coroutines: set[int] = set()
        """The calls, by the ids of their durations, that are coroutines, and so cost more to watch."""
        self.reads: dict[int, Callable[[], object]] = {}
        self.silences: dict[str, Silence] = {}
        """What no file holds of what keeps alerts from being told, by name."""
        self.guard = Guard(self._count_error)
        self.notes = Notes(self.table.root, self.guard)
        """The calls that were slow or failed, where somebody wants them."""
        self.observations = Observations(self.notes.gate, self.guard, self.increment, self.now, clock.wall_ns)
        """Samples of what goes into calls and comes out of them, where somebody wants them."""

    def series(
        self,
        name: str,
        unit: str,
        kind: Kind,
        attributes: Attributes = NO_ATTRIBUTES,
        *,
        across: Across | None = None,
    ) -> int:
        """Return the id of a series whose values are recorded in its unit."""
        return self.table.intern(self.number, name, unit, kind, attributes, across=across)

    def timer(self, name: str, attributes: Attributes = NO_ATTRIBUTES) -> int:
        """Return the id of a histogram in seconds, whose values are recorded in nanoseconds."""
        return self.table.intern(self.number, name, "s", "histogram", attributes, factor=NANOSECONDS)

    def call(self, name: str, attributes: Attributes = NO_ATTRIBUTES) -> CallSeries:
        """Return the series of the watched call *name*, made at first use."""
        named = {**attributes, names.CALL_NAME: name}
        made = CallSeries(
            duration=self.timer(names.CALL_DURATION, named),
            active=self.series(names.CALL_ACTIVE, "{call}", "updowncounter", named),
            oldest=self.series(names.CALL_OLDEST_ACTIVE_AGE, "s", "gauge", named, across="max"),
            units=self.series(names.CALL_UNITS, "{unit}", "counter", named),
        )
        return self.calls.setdefault(made.duration, made)

    def stream_items(self, name: str, attributes: Attributes = NO_ATTRIBUTES) -> ItemSeries:
        """Return the series of the items of the stream *name*, made at first use."""
        named = {**attributes, names.CALL_NAME: name}
        made = ItemSeries(
            first=self.timer(names.STREAM_FIRST_ITEM, named),
            between=self.timer(names.STREAM_BETWEEN_ITEMS, named),
            items=self.series(names.STREAM_ITEMS, "{item}", "counter", named),
        )
        return self.items.setdefault(made.first, made)

    def increment(self, name: str, unit: str, attributes: Attributes) -> None:
        """Add 1 to a counter of holter's own."""
        self.ring().write(self.series(name, unit, "counter", attributes), self.now(), 1, 0, 0)

    def _count_error(self, place: str) -> None:
        self.increment(names.INTERNAL_ERRORS, "{error}", {names.PLACE: place})


def scope_numbered(number: int | None) -> Scope | None:
    """Return the scope of that *number*, if it is there yet."""
    return None if number is None else _SCOPES.get(number)
