"""What users log under names of their own: metrics as gauges, parameters as attributes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import isfinite
from typing import Any, Final

from holter import names
from holter.errors import ConfigurationError
from holter.metric import Attributes, AttributeValue
from holter.scope import Scope
from holter.values import number

LONGEST_NAME: Final = 100
LONGEST_VALUE: Final = 200
METRICS_PER_RUN: Final = 500
PARAMETERS_PER_RUN: Final = 100

_LARGEST_INTEGER: Final = 2**63


class LoggedMetrics:
    """
    The gauges that a run's ``log`` sets, at most 500 names; what cannot be taken is counted.

    A name's gauge is *prefix* and the name, with ``_`` for what is no letter, digit, ``-`` or ``/``.
    """

    def __init__(self, scope: Scope, prefix: str, attributes: Attributes) -> None:
        self._scope, self._prefix, self._attributes = scope, prefix, attributes
        self._series: dict[str, int] = {}

    def put(self, metrics: object, time_ns: int) -> None:
        """Record the values of a dict by name; a dict in it is taken as ``outer/inner``."""
        if not issubclass(type(metrics), dict):
            self._refuse(names.INVALID, "a dict of names and numbers")
            return
        for name, value in _flattened(metrics):
            taken = number(value)
            if type(name) is not str:
                self._refuse(names.INVALID, "names of type str")
            elif taken is None:
                self._refuse(_cleaned(name), "Python or numpy numbers (of a tensor, its .item())")
            else:
                series = self._series.get(name) or self._new_series(name)
                if series is not None:
                    self._scope.ring().put(series, time_ns, taken)
                    if not isfinite(taken):
                        metric = self._prefix + _cleaned(name)
                        attributes = {**self._attributes, names.METRIC: metric}
                        self._scope.increment(names.VALUES_NONFINITE, "{value}", attributes)

    def _new_series(self, name: str) -> int | None:
        if len(self._series) >= METRICS_PER_RUN:
            self._refuse(names.INVALID, f"at most {METRICS_PER_RUN} names a run")
            return None
        series = self._scope.series(self._prefix + _cleaned(name), "1", "gauge", self._attributes)
        return self._series.setdefault(name, series)

    def _refuse(self, name: str, expected: str) -> None:
        self._scope.increment(names.VALUES_REFUSED, "{value}", {names.METRIC: self._prefix + name})
        self._scope.guard.refused("training.log", expected)


def _flattened(metrics: Any) -> Iterator[tuple[object, object]]:
    # By dict's own method and in one step: a class of the user's may have code of its own, and threads may add.
    for name, value in list(dict.items(metrics)):
        if type(name) is str and issubclass(type(value), dict):
            for inner, innermost in list(dict.items(value)):
                yield (f"{name}/{inner}" if type(inner) is str else inner), innermost
        else:
            yield name, value


def checked_parameters(scope: Scope, parameters: object) -> Attributes:
    """
    Return *parameters* as attributes: text, bool and numbers as they are, None as "None".

    A dict in it is taken as ``outer/inner``. Values of other types and those beyond the 100th are
    left out, and counted.

    Raises:
        ConfigurationError: *parameters* is no mapping with names of type str.
    """
    if parameters is None:
        return {}
    if not isinstance(parameters, Mapping):
        raise ConfigurationError(
            f"expected parameters as a dict (of an object its vars()), got {type(parameters).__name__}"
        )
    attributes: dict[str, AttributeValue] = {}
    for name, value in _flattened(dict(parameters)):
        if type(name) is not str:
            raise ConfigurationError(f"expected the names of parameters as str, got {type(name).__name__}")
        taken = _attribute(value)
        if taken is None or len(attributes) >= PARAMETERS_PER_RUN:
            metric = names.TRAINING_PARAMETER_PREFIX + _cleaned(name)
            scope.increment(names.VALUES_REFUSED, "{value}", {names.METRIC: metric})
            scope.guard.refused("training.parameters", f"str, bool or numbers, at most {PARAMETERS_PER_RUN}")
        else:
            attributes[names.TRAINING_PARAMETER_PREFIX + _cleaned(name)] = taken
    return attributes


def _attribute(value: object) -> AttributeValue | None:
    if value is None:
        return "None"
    if type(value) is str:
        return value[:LONGEST_VALUE]
    taken = number(value)
    if taken is None:
        return None
    # What 64 bits cannot hold, or is not equal to itself, is kept as text.
    fits = -_LARGEST_INTEGER <= taken < _LARGEST_INTEGER
    return taken if fits else str(taken)[:LONGEST_VALUE]


def _cleaned(name: str) -> str:
    # No dots: "eval" and "eval.loss" would be a number and a group under one name in a log store.
    return "".join(each if each.isalnum() or each in "-/" else "_" for each in name[:LONGEST_NAME]) or "_"
