"""Checks of options: what is taken comes back, what is not is refused in words."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import pytest

from holter.errors import ConfigurationError
from holter.options import checked_attributes, checked_metric_name, checked_name, is_attribute_value


@pytest.mark.parametrize("name", ["predict", "Model.predict", "a b", "é", "x" * 200, "<lambda>"])
def test_a_name_of_a_call_is_any_short_text(name: str) -> None:
    """It comes back as it is."""
    assert name == checked_name(name)


@pytest.mark.parametrize("name", ["", "x" * 201, None, 3, b"predict"], ids=repr)
def test_what_names_nothing_is_refused(name: Any) -> None:
    """The error says what came."""
    with pytest.raises(ConfigurationError, match="expected a name of 1 to 200 characters, got"):
        checked_name(name)


@pytest.mark.parametrize("name", ["a", "app.cache.hits", "App/x-1_y", "x" * 255])
def test_a_name_of_a_metric_is_one_of_opentelemetry(name: str) -> None:
    """It comes back as it is."""
    assert name == checked_metric_name(name)


def test_names_of_holter_are_its_own() -> None:
    """A user's metric cannot shadow one of holter's."""
    with pytest.raises(ConfigurationError, match=r"'holter\.' are holter's own: call 'holter\.x' otherwise"):
        checked_metric_name("holter.x")


def test_attributes_are_copied() -> None:
    """What the caller changes afterwards changes nothing."""
    given = {"a": "b", "n": 1, "x": 0.5, "on": True}
    taken = checked_attributes(given)
    given["a"] = "c"
    assert {"a": "b", "n": 1, "x": 0.5, "on": True} == taken
    assert {} == checked_attributes(None)
    assert {"a": 1} == checked_attributes(MappingProxyType({"a": 1}))


@pytest.mark.parametrize(
    ("value", "taken"),
    [
        ("", True),
        (True, True),
        (2**63 - 1, True),
        (-(2**63), True),
        (1e308, True),
        (2**63, False),
        (-(2**63) - 1, False),
        (float("inf"), False),
        (float("nan"), False),
        (None, False),
        (b"", False),
        (["a"], False),
        (type("Text", (str,), {})("a"), False),
    ],
    ids=repr,
)
def test_an_attribute_is_what_every_exporter_can_ship(value: Any, taken: bool) -> None:  # noqa: FBT001 - a table
    """Text, a bool, a finite float or a whole number of 64 bits, and no subclass of these."""
    assert taken is is_attribute_value(value)
