"""What tests of probes share: a clock that they move, and readings of what was recorded."""

from __future__ import annotations

from typing import Any

from holter import names
from holter.model import Snapshot
from holter.recorder import RECORDER

SECOND_NS = 1_000_000_000


class Time:
    """A clock that moves only when it is told to."""

    def __init__(self) -> None:
        self.now_ns = 1_000 * SECOND_NS

    def __call__(self) -> int:
        return self.now_ns

    def spend(self, seconds: float) -> None:
        """Let time pass."""
        self.now_ns += round(seconds * SECOND_NS)


def values(snapshot: Snapshot, metric: str, **where: Any) -> tuple[float | None, ...]:
    """Return count, sum, smallest and largest value of *metric*, to the nanosecond."""
    found = snapshot.find(metric, where)
    if found is None:
        return 0, 0.0, None, None
    total = found.total
    return tuple(
        None if one is None else round(one, 9) for one in (total.count, total.sum, total.minimum, total.maximum)
    )


def outcomes(snapshot: Snapshot, name: str | None = None) -> dict[str, int]:
    """Return how many calls (of *name*) have ended in which way."""
    found: dict[str, int] = {}
    for series in snapshot.series.values():
        if series.name != names.CALL_DURATION or name not in (None, series.attributes.get(names.CALL_NAME)):
            continue
        count = snapshot.total[series.id].count if series.id in snapshot.total else 0
        if count:
            outcome = str(series.attributes.get(names.CALL_OUTCOME, "ok"))
            found[outcome] = found.get(outcome, 0) + count
    return found


def in_flight(snapshot: Snapshot) -> float:
    """Return how many calls run."""
    keys = [
        key for key, series in snapshot.series.items() if series.name == names.CALL_ACTIVE and key in snapshot.total
    ]
    return sum(snapshot.total[key].last or 0 for key in keys)


def internal_errors(snapshot: Snapshot) -> dict[str, int]:
    """Return how often holter has counted an error of its own, by place."""
    return {
        str(series.attributes[names.PLACE]): snapshot.total[series.id].count
        for series in snapshot.series.values()
        if series.name == names.INTERNAL_ERRORS and series.id in snapshot.total and names.PLACE in series.attributes
    }


def forget_places() -> None:
    """Make room for places of errors, of which the ring of this thread keeps 64 for all tests together."""
    for ring in RECORDER.all:
        ring.places.clear()
