"""How long things usually take, and how long is far beyond that."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Final, NamedTuple

from holter.model import Reading, Series, Snapshot
from holter.names import (
    CALL_DURATION,
    CALL_OUTCOME,
    STREAM_BETWEEN_ITEMS,
    STREAM_FIRST_ITEM,
    TRAINING_STEP_DURATION,
)
from holter.record import Outcome
from holter.words import count, duration

LONGEST_TIMES: Final = 3.0
"""What has taken so many times as long as the longest that ended is unusual, whatever is known beside that."""
FIRST_TIMES: Final = 3.0
"""So many times as long the first of its kind may take: it loads, compiles, connects."""
_WELL: Final = (None, Outcome.EXPECTED.label)
_P99: Final = 0.99
_NOTHING: Final = Reading()


class Usual(NamedTuple):
    """How many have ended well, within what time 99 of 100 did, and how long the longest of them took."""

    ended: int = 0
    p99: float = 0.0
    longest: float = 0.0


class Limit(NamedTuple):
    """So many seconds are too long, and why."""

    seconds: float
    why: str


class Usuals:
    """
    Tells how long calls, steps and items of streams take, of the snapshot that it has seen last.

    Costs a pass over the series where some are new, and some 10 µs for each that is asked for.
    """

    def __init__(self) -> None:
        self._snapshot = Snapshot(0, 0, {}, {}, {})
        self._families: dict[int, list[int]] = {}
        self._items: dict[frozenset[tuple[str, object]], list[int]] = {}

    def see(self, snapshot: Snapshot) -> None:
        """Tell of *snapshot* from now on."""
        is_known = snapshot.series is self._snapshot.series
        self._snapshot = snapshot
        if is_known:
            return
        self._families, self._items = defaultdict(list), defaultdict(list)
        for key, series in snapshot.series.items():
            if series.name in {CALL_DURATION, TRAINING_STEP_DURATION}:
                if series.attributes.get(CALL_OUTCOME) in _WELL:
                    self._families[key if series.parent is None else series.parent].append(key)
            elif series.name in {STREAM_FIRST_ITEM, STREAM_BETWEEN_ITEMS}:
                self._items[frozenset(series.attributes.items())].append(key)

    def of(self, root: Series, *, is_stream: bool = False) -> Usual:
        """Return how long the calls or steps of *root*, or the items of the stream that it is, take."""
        named = frozenset(root.attributes.items())
        known = Reading()
        for key in self._items.get(named, ()) if is_stream else self._families.get(root.id, ()):
            known = known.merge(self._snapshot.total.get(key, _NOTHING))
        if not known.count or known.histogram is None or not known.histogram.count:
            return Usual(known.count)
        return Usual(known.count, known.histogram.quantile(_P99), known.maximum or 0.0)


@dataclass(frozen=True, slots=True)
class Allowance:
    """
    How long something may take: *after_seconds*, or what is far beyond the usual.

    That is *factor* times what 99 of 100 take, and *at_least_seconds*, and three times the longest that has ended
    well, where *minimum_calls* have; with fewer, and for steps of a training run in any case, *grace_seconds* take the
    place of *at_least_seconds*. The first of its kind has three times that.
    """

    after_seconds: float | None = None
    factor: float = 10.0
    at_least_seconds: float = 10.0
    grace_seconds: float = 300.0
    minimum_calls: int = 100

    @property
    def least_seconds(self) -> float:
        """What takes no longer is never too long."""
        fixed = self.after_seconds
        return min(self.at_least_seconds, self.grace_seconds) if fixed is None else fixed

    def limit(self, usual: Usual, noun: str, *, is_training: bool = False) -> Limit:
        """Return the limit of what is usually so, and is called *noun*."""
        if self.after_seconds is not None:
            return Limit(self.after_seconds, f"the limit is {duration(self.after_seconds)}")
        if not usual.ended:
            return Limit(FIRST_TIMES * self.grace_seconds, f"no {noun} has ended yet")
        is_known = usual.ended >= self.minimum_calls
        floor = self.at_least_seconds if is_known and not is_training else self.grace_seconds
        longest, far = LONGEST_TIMES * usual.longest, self.factor * usual.p99 if is_known else 0.0
        if is_known and longest <= max(floor, far):
            return Limit(max(floor, far), f"99 of 100 take at most {duration(usual.p99)}")
        return Limit(max(floor, longest), f"the longest of {count(usual.ended, noun)} took {duration(usual.longest)}")


def is_step(series: Series) -> bool:
    """Whether *series* is of the steps of a training run."""
    return series.name == TRAINING_STEP_DURATION
