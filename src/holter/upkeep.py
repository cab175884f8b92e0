"""What a monitor records by itself at each interval: gauges that are read, and holter's own figures."""

from __future__ import annotations

from holter import names
from holter.cost import Ledger
from holter.fold import Fold
from holter.record import Outcome
from holter.recorder import RECORDER
from holter.scope import Scope
from holter.values import number


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
