"""What of an observation belongs to which column, and what does not fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from holter import Profile
from holter.intake import Intake, grouped
from holter.model import Observation

RANDOM = np.random.default_rng(1)
REFERENCE = Profile.of(
    {
        "age": RANDOM.uniform(18, 90, 500),
        "country": RANDOM.choice(["CH", "AT"], 500),
        "text": RANDOM.normal(size=(500, 8)),
        "bought": RANDOM.integers(0, 2, 500),
    },
    label="bought",
)


def intake(*, of: Profile = REFERENCE, outputs: frozenset[str] = frozenset()) -> Intake:
    return Intake(of.columns, of.label, outputs=outputs)


def seen(columns: dict[str, Any], source: Any = "inputs") -> Observation:
    return Observation("predict", columns, len(next(iter(columns.values()))), 0, source)


@pytest.mark.parametrize(
    ("columns", "source", "names"),
    [
        ({"age": np.ones(3), "country": ["CH"] * 3}, "inputs", ["age", "country"]),
        ({"batch": np.ones((3, 8))}, "inputs", ["text"]),
        ({"text": np.ones((3, 8))}, "inputs", ["text"]),
        ({"outputs": np.ones(3)}, "outputs", ["bought"]),
        ({"outputs": np.ones((3, 1))}, "outputs", ["bought"]),
        ({"score": np.ones(3), "why": ["x"] * 3}, "outputs", ["score", "why"]),
        ({"outputs": np.ones((3, 5))}, "outputs", ["outputs"]),
        ({"batch": np.ones((3, 2, 4))}, "inputs", ["text"]),
    ],
)
def test_columns_find_their_names(columns: dict[str, Any], source: str, names: list[str]) -> None:
    """By name, by their number, by the dimension of embeddings; what comes out alone is the label."""
    assert names == list(intake().columns(seen(columns, source)))


def test_an_array_of_as_many_columns_is_the_table() -> None:
    """In the order of the reference."""
    table = Profile.of({"b": np.ones(9), "a": np.zeros(9)})
    found = intake(of=table).columns(seen({"batch": np.array([[1.0, 2.0], [3.0, 4.0]])}))
    assert {"b": [1.0, 3.0], "a": [2.0, 4.0]} == {name: column.tolist() for name, column in found.items()}


def test_a_single_column_needs_no_name() -> None:
    """Where the reference has one input and the call one argument."""
    assert ["age"] == list(intake(of=Profile.of({"age": [1, 2]})).columns(seen({"years": np.ones(3)})))


def faults(columns: dict[str, Any], source: str = "inputs") -> dict[str, list[str]]:
    found = intake()
    for name, column in found.columns(seen(columns, source)).items():
        kind = REFERENCE.columns[name].kind if name in REFERENCE.columns else ""
        found.values(name, column, kind, is_output=source == "outputs")
    return {fault: names for fault, names in found.take_faults().items() if names}


GOOD = {"age": np.full(50, 30.0), "country": ["CH"] * 50, "text": np.zeros((50, 8))}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, {}),
        ({"more": np.ones(50)}, {"extra column": ["more"]}),
        ({"age": np.full(50, 3_000.0)}, {"range": ["age"]}),
        ({"age": np.r_[np.full(46, 30.0), np.full(4, 3_000.0)]}, {}),
        ({"age": np.full(50, 120.0)}, {}),
        ({"age": ["old"] * 50}, {"type": ["age"]}),
        ({"country": np.ones(50)}, {}),
        ({"text": np.zeros((50, 9))}, {}),
    ],
)
def test_what_does_not_fit_is_a_fault(change: dict[str, Any], expected: dict[str, list[str]]) -> None:
    """Some odd values are none: five at least, and a hundredth of all."""
    assert expected == faults({**GOOD, **change})


def test_missing_columns_are_those_that_no_call_had() -> None:
    """Since the faults were last taken; without inputs nothing is missing."""
    found = intake()
    found.columns(seen({"age": np.ones(3)}))
    found.columns(seen({"country": ["CH"] * 3}))
    assert ["text"] == found.take_faults()["missing column"]
    found.columns(seen({"outputs": np.ones(3)}, "outputs"))
    assert [] == found.take_faults()["missing column"]


def test_results_must_be_finite_unless_the_reference_says_otherwise() -> None:
    """Inputs may have gaps: those are judged as shares."""
    assert {"not finite": ["outputs"]} == faults({"outputs": np.array([[1.0, np.inf]])}, "outputs")
    assert {} == faults({**GOOD, "age": np.full(50, np.nan)})


def test_clusters_fall_into_groups() -> None:
    """The same into the same one, whether they are numbers or texts."""
    numbers = grouped(np.array([7, 7, 8, 9]), 64)
    texts = grouped(["anna", "anna", None, "bob"], 64)
    assert (numbers[0] == numbers[1], texts[0] == texts[1]) == (True, True)
    assert 40 < len(set(grouped(np.arange(1_000), 64).tolist())) <= 64
