"""What a monitor does beside its turns: when it drains, gauges that are read, its own figures, who died before."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from holter import names, words
from holter.chronicle import obituary
from holter.cost import Ledger
from holter.fold import Fold
from holter.judge import Figure
from holter.record import Outcome
from holter.recorder import RECORDER
from holter.scope import Scope
from holter.values import number

_LOGGER: Final = logging.getLogger("holter")
_SHORTEST_WAIT_SECONDS: Final = 0.005
_LONGEST_WAIT_SECONDS: Final = 0.1
_REST_SECONDS: Final = 0.25
_UNITS: Final = {names.DRIFT_COLUMNS: "{column}"}
"""The units of what checks show, where it is not 1."""
# Of a ring a second: below that nothing much happens.
_REST_RATE: Final = 0.2


def planned_wait(until_due_seconds: float, fill_rate: float) -> float:
    """
    Return how long to wait so that no ring is more than half full then, filling as it did: *fill_rate* of one a second.

    A quiet ring may fill at once, so the wait has a bound, a longer one at rest: a drain that finds nothing takes
    0.1 ms of CPU time, as its caches are cold.
    """
    soon = min(until_due_seconds, _LONGEST_WAIT_SECONDS if fill_rate > _REST_RATE else _REST_SECONDS)
    return max(_SHORTEST_WAIT_SECONDS, min(soon, 0.5 / fill_rate) if fill_rate else soon)


def read_gauges(scope: Scope) -> None:
    """Record the gauges that are read; one that raises, or gives no number, is counted."""
    for series, read in list(scope.reads.copy().items()):
        name = scope.table[series].name
        value = scope.guard.run(f"gauge {name}", None, read)
        taken = number(value)
        if taken is not None:
            scope.ring().put(series, scope.now(), taken)
        elif value is not None:
            scope.increment(names.VALUES_REFUSED, "{value}", {names.METRIC: name})


def record_duration(scope: Scope, duration_ns: int) -> None:
    """Record how long the collector took for an interval."""
    scope.ring().write(scope.timer(names.COLLECTOR_DURATION), scope.now(), duration_ns, 0, Outcome.OK)


def set_own_figures(fold: Fold, ledger: Ledger | None) -> None:
    """Set what is told of the recorder and of what holter costs."""
    scope = fold.scope
    fold.set(scope.series(names.RECORDS_WRITTEN, "{record}", "counter"), RECORDER.written)
    fold.set(scope.series(names.RECORDS_LOST, "{record}", "counter"), RECORDER.lost)
    fold.set(scope.series(names.SERIES_COUNT, "{series}", "gauge", across="max"), len(scope.table))
    if ledger is not None and ledger.share is not None:
        fold.set(scope.series(names.OVERHEAD, "1", "gauge", across="max"), ledger.share)


def set_figures_of_checks(fold: Fold, figures: Iterable[Figure]) -> None:
    """Set the gauges that checks show."""
    for name, value, attributes in figures:
        fold.set(fold.scope.series(name, _UNITS.get(name, "1"), "gauge", attributes), value)


def tell_of_predecessors(scope: Scope, died: Sequence[Path]) -> None:
    """Count the processes of this service that died and that nobody has told of; log how the last one did."""
    for _ in died:
        scope.increment(names.PROCESS_DEATHS, "{process}", {})
    _LOGGER.warning("%s", words.clean(obituary(died[0]), 1_000))
