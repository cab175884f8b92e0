"""Checks on values themselves: those that are no numbers any more, and those that cannot be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from holter.arguments import finite_number
from holter.classicbuckets import cumulative
from holter.distribution import Histogram
from holter.errors import ConfigurationError
from holter.model import Attributes, Reading, Severity, Snapshot
from holter.names import METRIC, TRAINING_METRIC_PREFIX, VALUES_NONFINITE
from holter.rule import Bounds
from holter.unfit import Told, ValueCheck, may_be, moved
from holter.words import number

_NAN, _INFINITE, _BELOW, _ABOVE = "nan", "infinite", "below", "above"


class NonFinite(ValueCheck):
    """
    An alert when values come to be NaN or infinite.

    *target* is a watched function, whose results are looked at, or a metric's name: of what a training logs,
    ``"holter.training.metric.loss"``. *outputs* is what of a result: a key or an attribute, several in a tuple, a
    function of it, or None for all of it. *where* selects series of a metric.

    Fires when within *window_seconds* at least *minimum_values* values were not finite and they were more than
    *share* of all; by default at the first one, in the interval after it came. Resolves when that is no longer so.

    All values of a metric are counted. Of a function's results a sample is: of as many calls as a hundredth of one
    core pays for (all, where there are few), of each at most 1,024 rows, evenly chosen. Every process of a group
    samples its own calls, and the one that leads judges their sum. Costs a sampled call some 6 us for an array of
    60 KiB, and the check's thread some 20 us. Not thread-safe: one monitor judges it.

    Raises:
        ConfigurationError: an argument that cannot work.

    >>> import holter
    >>> NonFinite("holter.training.metric.loss").describe()
    'holter.training.metric.loss: no values seen'
    """

    check, adjective = "nonfinite", "not finite"

    def __init__(
        self,
        target: object,
        *,
        outputs: object = None,
        share: float = 0.0,
        minimum_values: int = 1,
        window_seconds: float = 60.0,
        where: Attributes | None = None,
        severity: Severity = "critical",
    ) -> None:
        super().__init__(
            target,
            outputs=outputs,
            share=share,
            minimum_values=minimum_values,
            window_seconds=window_seconds,
            where=where,
            severity=severity,
        )

    def _expected_values(self) -> str:
        return "finite values"

    def _next_step(self) -> str:
        if self._is_logged:
            return (
                "Stop the run and go back to the last checkpoint before that; see whether the data of those steps, "
                "the learning rate or a loss in half precision is the cause (log the norm of the gradients)."
            )
        return super()._next_step()

    def _find(self, column: NDArray[Any]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
        if column.dtype.kind == "f" and not np.isfinite(column).all():
            for reason, where in ((_NAN, np.isnan(column)), (_INFINITE, np.isinf(column))):
                if where.any():
                    yield reason, where

    def _of_metric(self, snapshot: Snapshot) -> Told:
        measure, values, unfit = self._measure, 0.0, 0.0
        for series, reading in moved(snapshot):
            if series.matches(measure.name, measure.where):
                values += reading.count
            elif series.matches(VALUES_NONFINITE, {METRIC: measure.name}) and may_be(series, measure.where):
                unfit += reading.sum
        # What training logs is recorded even so, what other figures are given is not.
        is_recorded = measure.name.startswith(TRAINING_METRIC_PREFIX)
        return Told(max(values, unfit) if is_recorded else values + unfit, unfit)


class OutOfRange(ValueCheck):
    """
    An alert when values lie where none can be: a probability above 1, a price below 0.

    *low* and *high* are the least and the largest value that can be; at least one is given. *target*, *outputs*,
    *share* and the others are as in `NonFinite`, costs too. NaN is not counted here, but as a value: see `NonFinite`.

    Of a metric's histogram the bound lies on the edge of a bucket, at most 1.1 % off; of a gauge an interval in which
    a value was outside counts as one such value, beside those that a histogram tells of.

    Raises:
        ConfigurationError: an argument that cannot work.

    >>> import holter
    >>> predict = holter.watch(len, name="predict")
    >>> OutOfRange(predict, low=0, high=1).describe()
    'predict outputs: no values seen'
    """

    check = "outofrange"

    def __init__(
        self,
        target: object,
        *,
        low: float | None = None,
        high: float | None = None,
        outputs: object = None,
        share: float = 0.0,
        minimum_values: int = 1,
        window_seconds: float = 60.0,
        where: Attributes | None = None,
        severity: Severity = "warning",
    ) -> None:
        if low is None and high is None:
            raise ConfigurationError("expected the range that values can have: give low=, high= or both")
        low, high = (
            None if low is None else finite_number("low", low),
            None if high is None else finite_number("high", high),
        )
        if low is not None and high is not None and high < low:
            raise ConfigurationError(f"high={high!r} is less than low={low!r}: every value would be outside")
        self._bounds = Bounds(above=high, below=low)
        if low is None or high is None:
            self.adjective = f"above {number(high or 0.0)}" if low is None else f"below {number(low)}"
        else:
            self.adjective = f"outside of {number(low)} to {number(high)}"
        super().__init__(
            target,
            outputs=outputs,
            share=share,
            minimum_values=minimum_values,
            window_seconds=window_seconds,
            where=where,
            severity=severity,
        )

    def _expected_values(self) -> str:
        low, high = self._bounds.below, self._bounds.above
        if low is None or high is None:
            return f"values of at most {number(high or 0.0)}" if low is None else f"values of at least {number(low)}"
        return f"values from {number(low)} to {number(high)}"

    def _terms(self) -> str:
        return f"low={self._bounds.below!r}, high={self._bounds.above!r}, "

    def _find(self, column: NDArray[Any]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
        low, high = self._bounds.below, self._bounds.above
        for reason, where in (
            (_BELOW, None if low is None else column < low),
            (_ABOVE, None if high is None else column > high),
        ):
            if where is not None and where.any():
                yield reason, where

    def _of_metric(self, snapshot: Snapshot) -> Told:
        measure, values = self._measure, 0.0
        unfit = Counter[str]()
        for series, reading in moved(snapshot):
            if series.matches(measure.name, measure.where):
                values += reading.count
                unfit.update(dict(self._outside(reading)))
        return Told(values, unfit.total(), tuple(unfit))

    def _outside(self, reading: Reading) -> Iterator[tuple[str, int]]:
        low, high, histogram = self._bounds.below, self._bounds.above, reading.histogram
        known = histogram if isinstance(histogram, Histogram) else Histogram.of([])
        if low is not None and reading.minimum is not None and reading.minimum < low:
            yield _BELOW, max(1, min(int(cumulative((low,), known)[0]), reading.count))
        if high is not None and reading.maximum is not None and reading.maximum > high:
            yield _ABOVE, max(1, known.count - int(cumulative((high,), known)[0]))
