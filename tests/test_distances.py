"""Effect sizes: as scipy has them, on the same data."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial import distance

from holter.distances import Distances, jensen_shannon, kolmogorov_smirnov, psi, wasserstein
from holter.quantiles import QuantileSketch

VALUES = st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=200)
RANDOM = np.random.default_rng(8)


def of(values: object) -> QuantileSketch:
    sketch = QuantileSketch()
    sketch.update(np.asarray(values, dtype=float))
    return sketch


@given(VALUES, VALUES)
def test_kolmogorov_smirnov_is_that_of_scipy(one: list[float], other: list[float]) -> None:
    """Exactly, as long as the sketches are exact."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its p-value, for a few values
        expected = stats.ks_2samp(one, other, method="asymp").statistic
    assert expected == pytest.approx(kolmogorov_smirnov(of(one), of(other)))


@given(VALUES, VALUES)
def test_wasserstein_is_that_of_scipy(one: list[float], other: list[float]) -> None:
    """In the unit of the values."""
    expected = stats.wasserstein_distance(one, other)
    assert expected == pytest.approx(wasserstein(of(one), of(other)), abs=1e-9)


def test_beyond_exact_sketches_they_are_off_by_the_sketches_error() -> None:
    """KS by twice the error of a rank at most."""
    one, other = RANDOM.normal(size=200_000), RANDOM.normal(0.3, 1.1, size=150_000)
    expected = stats.ks_2samp(one, other, method="asymp").statistic
    assert expected == pytest.approx(kolmogorov_smirnov(of(one), of(other)), abs=0.002)
    moved = stats.wasserstein_distance(one, other)
    assert moved == pytest.approx(wasserstein(of(one), of(other)), abs=0.01)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=20))
def test_jensen_shannon_is_that_of_scipy(pairs: list[tuple[float, float]]) -> None:
    """To base 2."""
    one, other = (np.array(side) + 1e-6 for side in zip(*pairs, strict=True))
    one, other = one / one.sum(), other / other.sum()
    with np.errstate(invalid="ignore"):  # the root of what rounding has made negative
        expected = np.nan_to_num(distance.jensenshannon(one, other, base=2))
    assert expected == pytest.approx(jensen_shannon(one, other), abs=1e-6)


def test_psi_is_the_symmetric_divergence() -> None:
    """Kullback and Leibler's, there and back, as scipy has it; an empty bin counts as a ten-thousandth."""
    one, other = np.array([0.2, 0.3, 0.5]), np.array([0.4, 0.4, 0.2])
    assert stats.entropy(one, other) + stats.entropy(other, one) == pytest.approx(psi(one, other))
    assert (0.5 - 1e-4) * np.log(0.5 / 1e-4) == pytest.approx(psi(np.array([0.5, 0.5, 0]), np.array([0.5, 0.5, 0.5])))


def test_nothing_is_apart_from_itself() -> None:
    """Zero, and between no values there is no distance."""
    shares = np.array([0.25, 0.75])
    assert (0.0, 0.0, 0.0) == Distances.of_shares(shares, shares)[:3]
    assert np.isnan([kolmogorov_smirnov(of([]), of([1.0])), wasserstein(of([1.0]), of([]))]).all()
