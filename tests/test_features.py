"""Features of columns: counted as numpy counts, the same for reference and live rows, with bounds that hold."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from holter import Profile
from holter.features import Features, Shares
from holter.tabledata import values_of

RANDOM = np.random.default_rng(4)


def of(values: Any) -> tuple[Features, Shares]:
    return Features.of(Profile.of({"x": values}).columns["x"])


def counted(features: Features, values: Any) -> dict[str, tuple[float, float]]:
    column = values if isinstance(values, np.ndarray) else np.array(values, dtype=object)
    rows, counts = features.count(values_of(column, features.kind))
    return {name: (count, row) for name, count, row in zip(features.names, counts, rows, strict=True)}


CASES: dict[str, Any] = {
    "normal": RANDOM.normal(size=5_000),
    "ties": RANDOM.integers(0, 5, 5_000).astype(float),
    "missing": np.where(RANDOM.random(5_000) < 0.2, np.nan, RANDOM.normal(size=5_000)),
    "infinite": np.where(RANDOM.random(5_000) < 0.1, np.inf, RANDOM.normal(size=5_000)),
    "constant": np.ones(5_000),
    "codes": RANDOM.choice(np.array(["a", "b", None], dtype=object), 5_000),
    "many": np.array([f"c{value}" for value in RANDOM.zipf(1.5, 5_000)], dtype=object),
    "texts": np.array([f"{value} " * (value % 9) for value in range(5_000)], dtype=object),
    "vectors": RANDOM.normal(size=(5_000, 24)),
}


@pytest.mark.parametrize("case", CASES)
def test_the_reference_has_the_features_that_its_own_rows_have(case: str) -> None:
    """Counted live, the rows of the reference give the reference's shares."""
    features, shares = of(CASES[case])
    rows, counts = features.count(values_of(CASES[case], features.kind))
    assert rows.tolist() == pytest.approx(shares.rows.tolist())
    assert (np.abs(counts - shares.counts) <= shares.error * shares.rows + 1e-6).all()
    assert len(features.names) == len(counts)


@pytest.mark.parametrize("case", CASES)
def test_features_outlive_a_restart(case: str) -> None:
    """Through JSON; what they count stays the same, but for categories without a name."""
    features, _ = of(CASES[case])
    again = Features.of_dict(json.loads(json.dumps(features.to_dict())))
    assert (features.names, features.kind) == (again.names, again.kind)
    before, after = counted(features, CASES[case][:200]), counted(again, CASES[case][:200])
    unnamed = ("others", "unseen")
    assert {k: v for k, v in before.items() if k not in unnamed} == {k: v for k, v in after.items() if k not in unnamed}


def test_numbers_are_counted_below_cuts() -> None:
    """What equals a cut lies below it; what is missing or infinite is apart."""
    features, _ = of(np.arange(1.0, 101.0))
    seen = counted(features, np.array([1.0, 50.0, 200.0, np.nan, np.inf]))
    assert (1.0, 5.0) == seen["missing"]
    assert (1.0, 5.0) == seen["invalid"]
    assert (2.0, 3.0) == seen["at most 100"]
    assert {row for name, (_, row) in seen.items() if name.startswith("at most")} == {3.0}


def test_categories_that_nobody_knew_are_unseen() -> None:
    """And those without a name of their own are others."""
    values = np.array(["a"] * 900 + ["b"] * 600 + [f"rare{place // 2}" for place in range(200)], dtype=object)
    values = np.concatenate((values, [f"c{place % 50}" for place in range(2_000)]))
    features, _ = of(values)
    seen = counted(features, ["a", "new", "rare3", "c7", None])
    assert (1.0, 4.0) == seen["a"]
    assert (1.0, 4.0) == seen["unseen"]
    assert (1.0, 5.0) == seen["missing"]
    assert sum(count for name, (count, _) in seen.items() if name != "missing") == 4.0


def test_bounds_hold_for_the_true_shares() -> None:
    """In 300 references of 500 rows they fail less often than the risk."""
    random, risk, failed = np.random.default_rng(9), 0.1, 0
    for _ in range(300):
        features, shares = of(random.normal(size=500))
        lower, upper = features.bounds(shares, 0.0, risk)
        true = np.array([0.5 * math.erfc(-cut / math.sqrt(2)) for cut in features.edges[0].tolist()])
        failed += bool(((true < lower[:-2]) | (true > upper[:-2])).any())
    assert failed / 300 < risk


def test_bounds_of_categories_hold() -> None:
    """For three shares and what is missing, all at once."""
    random, risk, failed = np.random.default_rng(10), 0.1, 0
    true = dict(zip("abc", (0.6, 0.37, 0.03), strict=True))
    names = np.array(list(true), dtype=object)
    for _ in range(150):
        features, shares = of(random.choice(names, 300, p=list(true.values())))
        lower, upper = features.bounds(shares, 0.0, risk)
        failed += any(
            not lower[features.names.index(name)] <= true[name] <= upper[features.names.index(name)]
            for name in true
            if name in features.names
        )
    assert failed / 150 < risk


def test_bounds_are_wider_for_fewer_rows_and_a_larger_shift() -> None:
    """By the shift itself, and by the root of the rows."""
    features, shares = of(RANDOM.normal(size=10_000))
    few = Shares(shares.rows / 100, shares.counts / 100, shares.error)
    lower, upper = features.bounds(shares, 0.0, 0.01)
    wide = features.bounds(few, 0.0, 0.01)
    assert 10 == pytest.approx(((wide[1] - wide[0]) / (upper - lower))[10], rel=0.05)
    shifted = features.bounds(shares, 0.05, 0.01)
    assert 0.05 == pytest.approx((shifted[1] - upper)[10])
    assert (shifted[0] <= lower).all()


def test_distances_are_those_of_the_distribution_that_is_farthest_off() -> None:
    """Of embeddings one of 17."""
    features, shares = of(CASES["vectors"])
    moved = CASES["vectors"] + 0.5 * np.ones(24)
    rows, counts = features.count(values_of(moved, "vector"))
    found = features.distances(shares.values, counts / rows)
    assert found.ks > 0.2
    assert (0.0, 0.0, 0.0) == features.distances(shares.values, shares.values)[:3]


def test_wasserstein_is_in_standard_deviations() -> None:
    """A shift of half of one is about 0.5, whatever the unit."""
    for unit in (1.0, 1000.0):
        values = RANDOM.normal(size=20_000) * unit
        features, shares = of(values)
        rows, counts = features.count(values_of(values + unit / 2, "number"))
        assert 0.5 == pytest.approx(features.distances(shares.values, counts / rows).wasserstein, rel=0.15)


@pytest.mark.parametrize("damage", [{"kind": "other"}, {"names": []}, {"edges": [[1.0], [2.0]]}, {"categories": ["a"]}])
def test_damaged_features_are_refused(damage: dict) -> None:
    """As many names as features."""
    features, _ = of(CASES["codes"])
    with pytest.raises((ValueError, TypeError)):
        Features.of_dict({**features.to_dict(), **damage})
