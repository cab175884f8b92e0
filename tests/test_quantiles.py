"""The sketch of quantiles: within its bound for any data, order and partition, exact for few values."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holter.quantiles import RANK_ERROR, QuantileSketch

FINITE = st.floats(allow_nan=False, allow_infinity=False)


def of(values: object, batch: int = 65_536) -> QuantileSketch:
    """Return the sketch of the values, taken in so many at a time."""
    sketch, array = QuantileSketch(), np.asarray(values, dtype=float)
    for start in range(0, len(array), batch):
        sketch.update(array[start : start + batch])
    return sketch


def rank_error(sketch: QuantileSketch, values: np.ndarray) -> float:
    """Return by how much a rank is off at worst, over 5,000 of the values."""
    ordered = np.sort(values)
    points = np.unique(ordered)[:: max(1, len(ordered) // 5_000)]
    true = np.searchsorted(ordered, points, side="right") / len(ordered)
    return float(np.abs(sketch.at_most(points) - true).max())


RANDOM = np.random.default_rng(3)
NORMAL = RANDOM.normal(size=300_000)
SHAPES = {
    "normal": NORMAL,
    "rising": np.sort(NORMAL),
    "falling": np.sort(NORMAL)[::-1].copy(),
    "heavy": np.exp(4 * NORMAL),
    "ties": RANDOM.integers(0, 50, 300_000).astype(float),
    "mostly zero": np.where(RANDOM.random(300_000) < 0.7, 0.0, NORMAL),
    "waves": np.sin(np.arange(300_000) / 1000.0),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("batch", [700, 65_536])
def test_all_ranks_are_within_the_bound(shape: str, batch: int) -> None:
    """Whatever the distribution and the order of the values, and however many come at a time."""
    assert rank_error(of(SHAPES[shape], batch), SHAPES[shape]) <= RANK_ERROR


@pytest.mark.parametrize("parts", [8, 64])
@pytest.mark.parametrize("shape", ["normal", "rising", "ties"])
def test_merged_parts_are_within_the_bound(shape: str, parts: int) -> None:
    """In random order, each through JSON."""
    pieces = [of(piece) for piece in np.array_split(SHAPES[shape], parts)]
    merged = QuantileSketch()
    for place in np.random.default_rng(parts).permutation(parts):
        merged = merged.merged(QuantileSketch.of_dict(json.loads(json.dumps(pieces[place].to_dict()))))
    assert len(SHAPES[shape]) == merged.count
    assert rank_error(merged, SHAPES[shape]) <= RANK_ERROR


@pytest.mark.heavy
def test_a_thousand_sketches_are_within_the_bound() -> None:
    """The bound is one for all ranks at once, of 999 sketches in 1,000."""
    random, over = np.random.default_rng(11), 0
    for _ in range(1_000):
        values = random.normal(size=100_000)
        over += rank_error(of(values, 4_096), values) > RANK_ERROR
    assert over <= 1


def test_up_to_its_room_it_is_exact() -> None:
    """10,240 values are kept as they are, as numpy has their quantiles."""
    values = RANDOM.normal(size=10_240)
    sketch = of(values, 999)
    shares = np.arange(1, 97) / 97
    assert 0.0 == sketch.error
    assert sketch.quantiles(shares).tolist() == np.quantile(values, shares, method="inverted_cdf").tolist()
    assert RANK_ERROR == of(RANDOM.normal(size=10_241)).error


@given(st.lists(FINITE, min_size=1), FINITE)
def test_ranks_of_few_values_are_counts(values: list[float], point: float) -> None:
    """The share at most a point is just that."""
    share = of(values).at_most(np.array([point]))[0]
    assert share == pytest.approx(sum(value <= point for value in values) / len(values))


@given(st.lists(FINITE), st.lists(FINITE))
def test_merging_is_no_matter_of_order(one: list[float], other: list[float]) -> None:
    """Of few values nothing is lost, so both ways are equal."""
    both, swapped = of(one).merged(of(other)), of(other).merged(of(one))
    assert both.to_dict() == swapped.to_dict()
    assert sorted(one + other) == both.to_dict()["levels"][0]


@given(st.lists(st.floats(-5, 5) | st.integers(-2, 2).map(float), min_size=1, max_size=300), st.integers(4, 64))
def test_cuts_part_the_values(values: list[float], most: int) -> None:
    """They rise, there are no more than asked for, and nothing lies above the last; what lies below all has its cut."""
    cuts = of(values).cuts(most)
    assert (1 <= len(cuts) <= most, bool((np.diff(cuts) > 0).all())) == (True, True)
    assert max(values) == cuts[-1]
    assert min(values) > cuts[0] > min(values) - 1


def test_a_heavy_value_has_a_cut_on_either_side() -> None:
    """So that what moves from it to just below is seen."""
    values = np.concatenate((np.zeros(700), np.linspace(1, 2, 300)))
    cuts = of(values).cuts(32)
    assert {0.0, float(np.nextafter(0.0, -1.0))} <= set(cuts.tolist())


def test_no_values_have_no_ranks() -> None:
    """NaN, and no cuts."""
    sketch = QuantileSketch()
    assert (0, 0) == (sketch.count, len(sketch.cuts(32)))
    assert np.isnan([*sketch.quantiles([0.5]), *sketch.at_most(np.array([1.0]))]).all()
    assert sketch.merged(of([1.0])).quantiles([0.5]).tolist() == [1.0]


def test_it_is_the_same_in_every_process() -> None:
    """There is no coin but the data: the same batches give the same sketch, pickled and back too."""
    one, other = of(NORMAL, 5_000), of(NORMAL, 5_000)
    assert one.to_dict() == other.to_dict() == pickle.loads(pickle.dumps(one)).to_dict()  # noqa: S301


def test_its_size_is_bounded() -> None:
    """10,240 numbers, whatever comes."""
    sketch = of(np.tile(NORMAL, 5), 10_000)
    assert sum(map(len, sketch.to_dict()["levels"])) <= 10_240


@pytest.mark.parametrize(
    "damage",
    [
        {"levels": []},
        {"levels": [[1.0, 2.0, 3.0]]},
        {"levels": [[1.0], [2.0]], "count": 2},
        {"levels": [[1.0, float("inf")]]},
        {"ends": []},
        {"ends": [0.0, float("nan")]},
        {"levels": [[[1.0, 2.0]]]},
        {"count": -2},
        {"levels": [[]] * 80},
    ],
)
def test_a_damaged_state_is_refused(damage: dict) -> None:
    """What is held must stand for what was counted."""
    with pytest.raises((ValueError, TypeError)):
        QuantileSketch.of_dict({**of([1.0, 2.0]).to_dict(), **damage})


def test_its_error_is_below_that_of_datasketches() -> None:
    """Of Apache DataSketches' KLL with k = 2,000, on the same numbers."""
    datasketches = pytest.importorskip("datasketches", reason="pip install datasketches")
    theirs = datasketches.kll_doubles_sketch(2_000)
    theirs.update(NORMAL)
    ordered = np.sort(NORMAL)[::60]
    true = np.searchsorted(np.sort(NORMAL), ordered, side="right") / len(NORMAL)
    off = np.abs(np.array([theirs.get_rank(value, True) for value in ordered]) - true).max()  # noqa: FBT003
    assert rank_error(of(NORMAL), NORMAL) <= max(off, RANK_ERROR / 2)
