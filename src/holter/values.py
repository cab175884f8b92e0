"""Which numbers may be recorded: those whose conversion runs no code but Python's and numpy's own."""

from __future__ import annotations

from typing import Final

import numpy as np

from holter.record import UNITS_MAXIMUM

# By identity, because a class may have a class of its own whose hash and equality run foreign code.
_PYTHON: Final = frozenset(map(id, (int, float, bool)))
_NUMPY: Final = frozenset(id(np.dtype(name).type) for name in "?bBhHiIlLqQefdg")
_NUMPY_KINDS: Final = "biuf"


def number(value: object) -> float | int | None:
    """
    Return *value* as a Python number, or None if it is none that may be recorded.

    Taken are int, float, bool, numpy's scalars of these kinds and numpy arrays with one element;
    not their subclasses, whose conversion could run foreign code, nor tensors, whose conversion
    may wait for a device. An int that no float can hold is not taken either.
    """
    kind = type(value)
    if id(kind) in _PYTHON:
        return _bounded(value)  # type: ignore[arg-type]  # its exact type has been checked
    if id(kind) in _NUMPY or (kind is np.ndarray and value.size == 1 and value.dtype.kind in _NUMPY_KINDS):  # type: ignore[attr-defined]  # an exact ndarray
        item = value.item()  # type: ignore[attr-defined]  # an exact numpy type
        # Python has no such number, and numpy leaves it as it is.
        return _bounded(float(item) if type(item) is np.longdouble else item)
    return None


def _bounded(value: float) -> float | int | None:
    if type(value) is int and not -(2**1000) < value < 2**1000:
        return None
    return value


def work_units(value: object) -> int | None:
    """Return *value* as a size of work, 0 to 2**32 - 1 (more counts as that), or None if it is none."""
    size = number(value)
    if size is None or not size >= 0:
        return None
    return UNITS_MAXIMUM if size >= UNITS_MAXIMUM else int(size)
