"""What set-up calls ask of the numbers and words that they are given."""

from __future__ import annotations

import math
from numbers import Real
from typing import TypeVar

from holter.errors import ConfigurationError

Word = TypeVar("Word", bound=str)


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


def count_from_one(name: str, value: object) -> int:
    """
    Return *value* as an int of 1 or more.

    Raises:
        ConfigurationError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigurationError(f"{name} must be a whole number from 1 on, got {value!r}")
    return value


def one_of(name: str, known: tuple[Word, ...], value: Word) -> Word:
    """
    Return *value* if it is *known*.

    Raises:
        ConfigurationError: it is not.
    """
    if value not in known:
        raise ConfigurationError(f"{name} must be one of {', '.join(known)}, got {value!r:.60}")
    return value
