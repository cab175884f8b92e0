"""What of an observation belongs to which column of a reference, and what does not fit it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, Literal, get_args

import numpy as np

from holter.columnprofile import ColumnProfile
from holter.distribution import Floats
from holter.model import Observation
from holter.tabledata import Values, flattened, objects, values_of

Fault = Literal["missing column", "extra column", "type", "range", "not finite"]
FAULTS: Final[tuple[Fault, ...]] = get_args(Fault)

_LEAST: Final = 5
_SHARE: Final = 0.01
_MOST_EXTRA: Final = 50


class Intake:
    """
    The columns of *reference* as a call takes them in, and what is wrong with them.

    An array of (rows, columns) is the reference's columns of inputs in their order, if they are as many, or one
    column of embeddings. What has no name of its own among the outputs is the *label*, if the reference has one.

    *unasked* are columns that may come too, and are not looked at.

    ``faults`` are the columns that did not fit since they were last taken, by what is wrong: they are missing or
    extra; a hundredth of their values, and five at least, are of another kind, or lie farther beyond the reference's
    smallest and largest value than these are apart; or one that comes out is not finite, of which the reference has
    none.
    """

    def __init__(
        self,
        reference: Mapping[str, ColumnProfile],
        label: str | None,
        *,
        outputs: frozenset[str],
        unasked: Collection[str] = (),
    ) -> None:
        self._known, self._label, self._outputs = frozenset(reference), label, outputs
        self._unasked = frozenset(unasked)
        self._inputs = [name for name in reference if name != label and name not in outputs]
        self._vectors = {
            column.vectors.dimension: name for name, column in reference.items() if column.vectors is not None
        }
        self._ranges = {name: _range(column) for name, column in reference.items()}
        self._invalid = frozenset(name for name, column in reference.items() if column.invalid)
        self._odd = {name: column.invalid > 0 or column.missing > 0 for name, column in reference.items()}
        self.faults: dict[Fault, set[str]] = {fault: set() for fault in FAULTS}
        self._seen: set[str] = set()
        self._has_inputs = False

    def columns(self, observation: Observation) -> dict[str, Any]:
        """Return the columns of *observation* as arrays, those of the reference under its names."""
        found: dict[str, Any] = {}
        for name, values in observation.columns.items():
            column = values if isinstance(values, np.ndarray) else objects(values)
            if column.ndim > 1:
                found |= self._of_array(name, flattened(column), observation)
            else:
                found[self._named(name, observation)] = column
        if observation.source == "inputs":
            self._has_inputs = True
            self._seen |= found.keys()
            extra = sorted(found.keys() - self._known - self._unasked)[:_MOST_EXTRA]
            self.faults["extra column"] |= set(extra)
        return found

    def _named(self, name: str, observation: Observation) -> str:
        if observation.source == "outputs":
            alone = len(observation.columns) == 1 and name not in self._known
            return self._label if alone and self._label is not None else name
        alone = len(observation.columns) == 1 and len(self._inputs) == 1
        return self._inputs[0] if alone else name

    def _of_array(self, name: str, array: Any, observation: Observation) -> dict[str, Any]:
        width = array.shape[1]
        if name in self._known and name in self._vectors.values():
            return {name: array}
        if observation.source == "inputs" and width == len(self._inputs) > 1:
            return {one: array[:, place] for place, one in enumerate(self._inputs)}
        if width == 1:
            return {self._named(name, observation): array[:, 0]}
        if observation.source == "inputs" and width in self._vectors:
            return {self._vectors[width]: array}
        return {name: array}

    def values(self, name: str, column: Any, kind: Any, *, is_output: bool) -> Values:
        """Return the values of one *column*, of the *kind* that is known, and note what does not fit."""
        is_category = kind == "category"
        values = values_of(column, kind, is_category=is_category)
        if is_output and column.dtype.kind == "f" and not np.isfinite(column).all() and not self._odd.get(name, False):
            self.faults["not finite"].add(name)
        if name not in self._known:
            return values
        present = len(column) - values.missing
        if values.invalid >= _LEAST and values.invalid >= _SHARE * present and name not in self._invalid:
            self.faults["type"].add(name)
        if values.numbers is not None and kind == "number" and len(values.numbers):
            outside = _outside(values.numbers, *self._ranges[name])
            if outside >= _LEAST and outside >= _SHARE * len(values.numbers):
                self.faults["range"].add(name)
        return values

    def is_faulty(self, name: str) -> bool:
        """Whether what came in of a column is of another kind of data, and no other values of the same."""
        return name in self.faults["type"] or name in self.faults["range"]

    @property
    def has_news(self) -> bool:
        """Whether anything came, or did not fit, since the last time."""
        return self._has_inputs or any(self.faults.values())

    def share(self) -> dict[str, Any] | None:
        """Return what did not fit, and which inputs there were, since the last time, as JSON has it, if anything."""
        told = {fault: sorted(names) for fault, names in self.faults.items() if names}
        if not told and not self._has_inputs:
            return None
        state = {"faults": told, "inputs": sorted(self._seen) if self._has_inputs else None}
        self.faults = {fault: set() for fault in FAULTS}
        self._seen, self._has_inputs = set(), False
        return state

    def gather(self, told: Mapping[str, Any]) -> None:
        """Take in what did not fit in a process."""
        for fault in FAULTS:
            self.faults[fault] |= set(map(str, told["faults"].get(fault, ())))
        if told["inputs"] is not None:
            self._has_inputs = True
            self._seen |= set(map(str, told["inputs"]))

    def take_faults(self) -> dict[Fault, list[str]]:
        """Return what did not fit since the last time, and begin anew."""
        if self._has_inputs:
            self.faults["missing column"] |= set(self._inputs) - self._seen
        found = {fault: sorted(names) for fault, names in self.faults.items()}
        self.faults = {fault: set() for fault in FAULTS}
        self._seen, self._has_inputs = set(), False
        return found


def _range(column: ColumnProfile) -> tuple[float, float]:
    """Return beyond what a value is no extreme any more but of another kind of data."""
    if column.numbers is None or not column.numbers.sketch.count:
        return -np.inf, np.inf
    low, high = column.numbers.sketch.minimum, column.numbers.sketch.maximum
    width = high - low
    # What never varied says nothing of how far it could.
    return (low - width, high + width) if width > 0 else (-np.inf, np.inf)


def _outside(numbers: Floats, low: float, high: float) -> int:
    finite = numbers[np.isfinite(numbers)]
    if not len(finite) or (finite.min() >= low and finite.max() <= high):
        return 0
    return int(((finite < low) | (finite > high)).sum())


def grouped(column: Sequence[Any] | Any, groups: int) -> Any:
    """Return for each value of a column of clusters in which of so many groups it falls."""
    from holter.frequent import hashed, hashed_numbers  # noqa: PLC0415 - only where clusters are named

    if isinstance(column, np.ndarray) and column.dtype.kind in "biuf":
        hashes = hashed_numbers(np.ascontiguousarray(column.ravel(), dtype=float))
    else:
        hashes = hashed("" if value is None else str(value) for value in column)
    return (hashes % np.uint64(groups)).astype(np.intp)
