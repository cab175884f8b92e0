"""What set-up calls ask of the numbers that they are given."""

from __future__ import annotations

import math
from numbers import Real

from holter.errors import ConfigurationError


def finite_number(name: str, value: object) -> float:
    """
    Return *value* as a float.

    Raises:
        ConfigurationError: it is no number of Python's or numpy's, or not a finite one.
    """
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        raise ConfigurationError(f"{name} must be a finite number, got {value!r}")
    return float(value)


def positive_seconds(name: str, value: object) -> float:
    """
    Return *value* as a float greater than 0.

    Raises:
        ConfigurationError: it is none.
    """
    seconds = finite_number(name, value)
    if seconds <= 0:
        raise ConfigurationError(f"{name} must be greater than 0, got {value!r}")
    return seconds
