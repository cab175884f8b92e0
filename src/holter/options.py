"""Checks of options that several set-up calls take."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from typing import Any, Final

from holter.errors import ConfigurationError
from holter.metric import NO_ATTRIBUTES, Attributes

DISABLED: Final = os.environ.get("HOLTER_DISABLED") == "1"
"""Whether nothing is recorded, by the user's wish."""
LONGEST_NAME: Final = 200
# Seconds that stop, flush and the end of the program may take for exporting.
DEFAULT_TIMEOUT: Final = 2.0
# The instrument names of OpenTelemetry.
_METRIC_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.\-/]{0,254}")


def checked_name(name: object) -> str:
    """Return *name* if it can name a call or a service."""
    if not isinstance(name, str) or not name or len(name) > LONGEST_NAME:
        raise ConfigurationError(f"expected a name of 1 to {LONGEST_NAME} characters, got {name!r:.60}")
    return name


def checked_metric_name(name: object) -> str:
    """Return *name* if it can name a metric of the user's own."""
    if not isinstance(name, str) or not _METRIC_NAME.fullmatch(name):
        raise ConfigurationError(
            f"expected a metric's name such as 'app.cache.hits' (a letter, then letters, digits and _ . - /), "
            f"got {name!r:.60}"
        )
    if name.startswith("holter."):
        raise ConfigurationError(f"the names that begin with 'holter.' are holter's own: call {name!r} otherwise")
    return name


def is_attribute_value(value: object) -> bool:
    """Whether *value* is a str, a bool, a finite float or an int of 64 bits, which is what every exporter can ship."""
    kind = type(value)
    if kind is float:
        return math.isfinite(value)  # type: ignore[arg-type]  # its exact type has been checked
    if kind is int:
        return -(2**63) <= value < 2**63  # type: ignore[operator]  # as above
    return kind is str or kind is bool


def checked_attributes(attributes: Any) -> Attributes:
    """Return a copy of *attributes*, which may be None for none."""
    if attributes is None:
        return NO_ATTRIBUTES
    if not isinstance(attributes, Mapping):
        raise ConfigurationError(f"expected attributes as a dict, got {type(attributes).__name__}")
    for key, value in attributes.items():
        if type(key) is not str or not is_attribute_value(value):
            raise ConfigurationError(
                "expected attributes with names of type str and values of type str, bool, int (of 64 bits) or float "
                f"(finite), got {key!r:.60} with a {type(value).__name__}"
            )
    return dict(attributes)
