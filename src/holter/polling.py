"""Figures that a system gives on request, read one by one so that one that fails hides no other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from holter.metric import Across
from holter.model import AttributeValue, Kind, Record
from holter.words import clean

Values = Iterable[tuple[Mapping[str, AttributeValue], float | None]]
"""What one metric reads now: attributes and value, None where the system knows the figure but gives no value."""


class NoValueError(LookupError):
    """The system has no such value here; the message says why, behind "because"."""


READ_ERRORS: Final = (
    OSError,  # gone, forbidden, or the file of another kernel
    AttributeError,  # psutil leaves out what a platform does not have
    NotImplementedError,
    LookupError,
    ValueError,
    TypeError,
    RuntimeError,
    ImportError,
)
"""What reading a figure of the system may raise; a library's own errors come on top."""


_NOTHING: Final = NoValueError("this system gives no value for it")


@dataclass(frozen=True, slots=True)
class Metric:
    """
    One metric and how its values are read from a source.

    No values at all mean "not yet": a share needs two readings. A read that raises, or that gives
    None everywhere, makes the metric unavailable.
    """

    name: str
    kind: Kind
    unit: str
    read: Callable[[Any], Values]
    across: Across | None = None


class Poll:
    """
    Reads a table of metrics and remembers which of them cannot be had, and why.

    A metric that fails is tried again each time and heals when it reads; the others are not touched.
    """

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = tuple(metrics)
        self._errors: dict[str, Exception] = {}

    @property
    def unavailable(self) -> Mapping[str, str]:
        """Which metrics could not be read the last time: name to "unavailable, because ..."."""
        return MappingProxyType({name: reason(error) for name, error in dict(self._errors).items()})

    def read(self, source: Any, record: Record, errors: tuple[type[Exception], ...] = READ_ERRORS) -> None:
        """Hand the value of each metric to *record*; what *errors* names makes that metric unavailable."""
        for metric in self._metrics:
            try:
                values = list(metric.read(source))
            except errors as error:
                # It is put into words when somebody asks; what the error has seen is not kept meanwhile.
                error.__traceback__ = error.__context__ = None
                self._errors[metric.name] = error
                continue
            is_known = not values
            for attributes, value in values:
                if value is not None:
                    is_known = True
                    record(
                        metric.name, value,
                        unit=metric.unit, kind=metric.kind, attributes=attributes, across=metric.across,
                    )  # fmt: skip
            if not is_known:
                self._errors[metric.name] = _NOTHING
            elif self._errors:
                self._errors.pop(metric.name, None)

    def fail(self, error: Exception) -> None:
        """Make all metrics unavailable: their common source could not be opened."""
        error.__traceback__ = error.__context__ = None
        self._errors = dict.fromkeys((metric.name for metric in self._metrics), error)


def reason(error: Exception) -> str:
    """Return "unavailable, because ..." with the class of the *error* and its first words."""
    said = clean(str(error))
    if isinstance(error, NoValueError):
        return f"unavailable, because {said}"
    return f"unavailable, because of {type(error).__name__}" + (f": {said}" if said else "")
