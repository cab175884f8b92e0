"""A column without a reference: its own beginning is what it is compared with."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from holter.driftcolumn import Rule
from holter.newcolumn import NewColumn
from holter.tabledata import values_of

RULE = Rule(change_looks=1e6, baseline_rows=2_000)


def fed(column: NewColumn, random: np.random.Generator, looks: int, make: Any) -> int:
    """Return after how many looks it was called changed, 0 if never."""
    for look in range(1, looks + 1):
        for _ in range(10):
            column.take(values_of(make(random), column.kind))
        column.look(look)
        if column.is_changed:
            return look
    return 0


KINDS: dict[str, tuple[Any, Any]] = {
    "number": (lambda random: random.normal(size=50), lambda random: random.normal(1.0, size=50)),
    "category": (
        lambda random: random.choice(np.array(["a", "b", "c"], dtype=object), 50),
        lambda random: random.choice(np.array(["a", "b", "new"], dtype=object), 50),
    ),
    "vector": (lambda random: random.normal(size=(50, 12)), lambda random: random.normal(0.6, size=(50, 12))),
}


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_compared_with_its_beginning(kind: str) -> None:
    """Silent as long as it stays, changed when it does not, never skewed; at any moment it may be restarted."""
    random, column = np.random.default_rng(2), NewColumn("score", RULE)
    usual, other = KINDS[kind]
    for _ in range(8):
        assert 0 == fed(column, random, 10, usual)
        again = NewColumn("score", RULE)
        again.load(json.loads(json.dumps(column.save())))
        column = again if again.has_rows else column
    assert (kind, False, True) == (column.kind, column.is_skewed, column.has_rows)
    assert 0 < fed(column, random, 30, other) <= 12
    assert column.finding().distances.ks > 0.1


def test_before_it_can_be_compared_it_says_nothing() -> None:
    """A thousand rows are needed to know where to cut."""
    column = NewColumn("score", RULE)
    column.take(values_of(np.ones(50), ""))
    assert 50.0 == column.new_rows
    column.look(1)
    assert (0.0, False, {}) == (column.new_rows, column.has_rows, column.save())
    assert ("score", ()) == (column.finding().name, column.finding().shares)
