"""Counts of categories and of different values: what is exact, what is bounded, and that merging loses nothing."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holter.frequent import Categories, Distinct, category, hashed, hashed_numbers

WORDS = st.lists(st.text(max_size=3), max_size=60)


def counts(texts: list[str]) -> Categories:
    found = Categories()
    found.update(Counter(texts))
    return found


@given(WORDS, WORDS)
def test_few_categories_are_counted_exactly(one: list[str], other: list[str]) -> None:
    """However they were split."""
    merged = counts(one).merged(counts(other))
    assert Counter(one + other) == merged.counts
    assert (len(one + other), 0, True) == (merged.count, merged.error, merged.is_exact)


@pytest.mark.parametrize("parts", [1, 8, 64])
def test_of_many_the_frequent_ones_are_found(parts: int) -> None:
    """No count is too large, none too small by more than the error, which is below a thousandth of all."""
    random = np.random.default_rng(5)
    values = random.zipf(1.3, 200_000) % 1_000_000
    true = Counter(map(str, values.tolist()))
    merged = Categories()
    for piece in random.permutation(np.array(np.array_split(values, parts), dtype=object)):
        merged = merged.merged(counts(list(map(str, piece.tolist()))))
    assert (len(values), True) == (merged.count, 0 < merged.error <= len(values) / 1_024)
    assert not merged.is_exact
    for name, count in true.items():
        found = merged.counts.get(name, 0)
        assert count - merged.error <= found <= count
    assert [name for name, _ in true.most_common(5)] == [name for name, _ in merged.top(5)]


def test_a_category_that_came_once_is_not_written_down() -> None:
    """Names and numbers of people come once each; the counts of the others stay."""
    state = counts(["CH", "CH", "Anna Muster", "AT", "AT", "AT"]).to_dict()
    assert {"count": 6, "error": 0, "top": [["AT", 3], ["CH", 2]]} == state
    again = Categories.of_dict(json.loads(json.dumps(state)))
    assert (state, False) == (again.to_dict(), again.is_exact)


@pytest.mark.parametrize("number", [1, 50, 3_000, 40_000, 1_000_000])
def test_different_values_are_counted_to_within_five_per_cent(number: int) -> None:
    """Numbers, each of them three times, in any order."""
    sketch = Distinct()
    sketch.update(hashed_numbers(np.tile(np.arange(number) / 7, 3)))
    assert number == pytest.approx(sketch.estimate(), rel=0.05)


def test_different_texts_are_counted() -> None:
    """As texts, whatever is in them."""
    sketch = Distinct()
    sketch.update(hashed([f"user-{number}\ud800" for number in range(20_000)]))
    assert 20_000 == pytest.approx(sketch.estimate(), rel=0.05)


@given(st.lists(WORDS, min_size=1, max_size=8), st.randoms())
def test_a_merged_sketch_is_that_of_all(parts: list[list[str]], random: object) -> None:
    """To the bit, in any order."""
    whole, merged = Distinct(), Distinct()
    whole.update(hashed(text for part in parts for text in part))
    random.shuffle(parts)
    for part in parts:
        piece = Distinct()
        piece.update(hashed(part))
        merged = merged.merged(Distinct.of_text(piece.to_text()))
    assert whole.to_text() == merged.to_text()


def test_minus_zero_is_zero() -> None:
    """They are equal, so they are one value."""
    assert 1 == len(set(hashed_numbers(np.array([0.0, -0.0])).tolist()))


def test_a_long_category_is_known_by_its_hash() -> None:
    """Beyond 80 letters; the same in every process."""
    assert "x" * 80 == category("x" * 80)
    assert "#ba7e35c1958ce144 (81 letters)" == category("x" * 81)


@pytest.mark.parametrize(
    "damage", [{"error": 9}, {"error": -1}, {"top": [["a", 99]]}, {"top": [["a", 0]]}, {"top": "ab"}, {"count": None}]
)
def test_damaged_counts_are_refused(damage: dict) -> None:
    """They must add up."""
    with pytest.raises((ValueError, TypeError)):
        Categories.of_dict({**counts(["a", "a"]).to_dict(), **damage})


@pytest.mark.parametrize("text", ["", "0" * 4_095, "~" * 4_096, "é" * 4_096])
def test_damaged_registers_are_refused(text: str) -> None:
    """There are 4,096, each at most 64."""
    with pytest.raises(ValueError, match=r"letters|ascii"):
        Distinct.of_text(text)
