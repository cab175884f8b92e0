"""Numbers that set-up calls accept."""

from __future__ import annotations

import math

import numpy as np
import pytest

from holter.arguments import count_from_one, finite_number, one_of, positive_seconds
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


@pytest.mark.parametrize("value", [0, -1, 1.0, True, "1", None])
def test_counts_are_whole_numbers_from_one_on(value) -> None:
    """Nothing is judged by no value."""
    with pytest.raises(ConfigurationError, match=r"calls must be a whole number from 1 on, got"):
        count_from_one("calls", value)
    assert count_from_one("calls", 1) == 1


@pytest.mark.parametrize("value", ["page", "", None, ["warning"]])
def test_a_word_is_one_of_those_that_are_known(value) -> None:
    """The error names them all."""
    with pytest.raises(ConfigurationError, match=r"severity must be one of info, warning, got"):
        one_of("severity", ("info", "warning"), value)
    assert one_of("severity", ("info", "warning"), "info") == "info"
