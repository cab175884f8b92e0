"""Numbers that set-up calls accept."""

from __future__ import annotations

import math

import numpy as np
import pytest

from holter.arguments import finite_number, positive_seconds
from holter.errors import ConfigurationError


@pytest.mark.parametrize("value", [1, 0.5, np.float32(0.5), np.int64(3), -2])
def test_numbers_of_python_and_numpy_become_floats(value) -> None:
    """What comes out is Python's own float."""
    assert (type(finite_number("above", value)), finite_number("above", value)) == (float, float(value))


@pytest.mark.parametrize("value", [math.nan, math.inf, "1", None, True, 1j, [1]])
def test_what_is_no_finite_number_is_refused(value) -> None:
    """The error names the argument and what came."""
    with pytest.raises(ConfigurationError, match="above must be a finite number, got"):
        finite_number("above", value)


@pytest.mark.parametrize("value", [0, -1.0])
def test_seconds_must_be_positive(value) -> None:
    """No interval and no window is empty."""
    with pytest.raises(ConfigurationError, match="every must be greater than 0, got"):
        positive_seconds("every", value)
