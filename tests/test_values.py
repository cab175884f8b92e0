"""Which values may be recorded: those whose conversion runs no code but Python's and numpy's."""

from __future__ import annotations

import enum
import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holter.record import UNITS_MAXIMUM
from holter.values import number, work_units


class MyFloat(float):
    """A float that says something else."""

    def __float__(self) -> float:
        raise AssertionError


class MyArray(np.ndarray):
    """An array that says something else."""

    def item(self, *_: Any) -> Any:
        raise AssertionError


class Size(enum.IntEnum):
    """A number with a name."""

    SMALL = 1


@given(st.floats(allow_nan=False) | st.integers(-(2**1000) + 1, 2**1000 - 1) | st.booleans())
def test_a_python_number_is_itself(value: float) -> None:
    """int, float and bool are taken as they are."""
    assert value == number(value)


@pytest.mark.parametrize("kind", "?bBhHiIlLqQefdg")
def test_a_numpy_number_is_a_python_number(kind: str) -> None:
    """Scalars and arrays of one element of every real type are taken."""
    scalar = np.dtype(kind).type(1)
    for value in (scalar, np.array(scalar), np.array([[scalar]])):
        taken = number(value)
        assert 1 == taken
        assert type(taken) in {int, float, bool}


@pytest.mark.parametrize(
    "value",
    [
        MyFloat(1),
        Size.SMALL,
        np.array([1, 2]),
        np.array([]),
        np.array(["1"]),
        np.array([None]),
        np.ones(1).view(MyArray),
        np.ma.array([1]),
        np.complex64(1),
        np.timedelta64(1, "s"),
        Decimal(1),
        Fraction(1),
        "1",
        None,
        2**1000,
        -(2**1000),
    ],
    ids=repr,
)
def test_other_values_are_none(value: Any) -> None:
    """Their conversion could run foreign code, fail, or mean something else."""
    assert number(value) is None
    assert work_units(value) is None


@pytest.mark.parametrize(
    ("value", "size"),
    [
        (0, 0),
        (3, 3),
        (2.9, 2),
        (True, 1),
        (np.int32(5), 5),
        (2**32 - 1, UNITS_MAXIMUM),
        (2**40, UNITS_MAXIMUM),
        (math.inf, UNITS_MAXIMUM),
    ],
    ids=str,
)
def test_a_size_of_work_is_a_whole_number_of_32_bits(value: Any, size: int) -> None:
    """More than fits counts as the most that fits."""
    assert size == work_units(value)


@pytest.mark.parametrize("value", [-1, -0.5, math.nan, -math.inf, np.float64("nan")], ids=str)
def test_a_size_of_work_is_not_negative(value: Any) -> None:
    """What cannot be a size is none."""
    assert work_units(value) is None
