"""How far two distributions are apart, in the measures that people know. Each says how much, none says whether."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from holter.distribution import Floats
from holter.quantiles import QuantileSketch


class Distances(NamedTuple):
    """
    Effect sizes.

    ``psi`` is the population stability index (Siddiqi 2006), in nats, over bins; ``jensen_shannon`` the distance,
    from 0 to 1, as scipy's with base 2; ``ks`` the largest difference of the distribution functions, of categories
    the largest one of a share; ``wasserstein`` how far values have moved on average, in standard deviations of the
    reference, NaN of categories.

    >>> Distances.of_shares(np.array([0.5, 0.5]), np.array([0.5, 0.5])).psi
    0.0
    """

    psi: float
    jensen_shannon: float
    ks: float
    wasserstein: float

    @classmethod
    def of_shares(cls, expected: Floats, seen: Floats) -> Distances:
        """Return those between shares of categories."""
        return cls(psi(expected, seen), jensen_shannon(expected, seen), float(np.abs(expected - seen).max()), np.nan)


def psi(expected: Floats, seen: Floats) -> float:
    """Return the population stability index; a share of 0 counts as a ten-thousandth, as it has no logarithm."""
    one, other = np.maximum(expected, 1e-4), np.maximum(seen, 1e-4)
    return float(((other - one) * np.log(other / one)).sum())


def jensen_shannon(expected: Floats, seen: Floats) -> float:
    """Return the Jensen-Shannon distance to base 2: the root of the divergence, from 0 to 1."""
    middle = (expected + seen) / 2
    divergence = 0.0
    for one in (expected, seen):
        with np.errstate(divide="ignore", invalid="ignore"):
            divergence += float(np.where(one > 0, one * np.log2(one / middle), 0.0).sum()) / 2
    return float(np.sqrt(max(0.0, divergence)))


def kolmogorov_smirnov(one: QuantileSketch, other: QuantileSketch) -> float:
    """Return the largest difference of the distribution functions: exact where both sketches are."""
    points = np.concatenate((one.points(), other.points()))
    return float(np.abs(one.at_most(points) - other.at_most(points)).max()) if one.count and other.count else np.nan


def wasserstein(one: QuantileSketch, other: QuantileSketch) -> float:
    """Return how far values would have to move on average, in their own unit: exact where both sketches are."""
    if not one.count or not other.count:
        return np.nan
    points = np.unique(np.concatenate((one.points(), other.points())))
    apart = np.abs(one.at_most(points[:-1]) - other.at_most(points[:-1]))
    return float((apart * np.diff(points)).sum())
