"""The gauges of drift: how far columns are, of how many, and what becomes of those that lose their place."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pytest

import holter
from holter.distances import Distances
from holter.driftfigures import MOST_SHOWN, DriftFigures
from holter.model import Observation, Snapshot

BEGUN_NS = 1_800_000_000 * 10**9


class Column:
    """A column that is as it is told to be."""

    def __init__(self, log_evidence: float = 0.0, *, has_rows: bool = True) -> None:
        self.log_evidence, self.has_rows = log_evidence, has_rows
        self.is_skewed = self.is_changed = False
        self.far = 0.25

    def distances(self) -> Distances | None:
        """Return the same number for each but one that categories have not."""
        return Distances(self.far, self.far, self.far, math.nan) if self.has_rows else None


def shown(figures: DriftFigures, name: str) -> dict[str, float]:
    """Return the values of one gauge by column."""
    return {str(told["holter.drift.column"]): value for gauge, value, told in figures.all() if gauge == name}


def states(figures: DriftFigures) -> Mapping[str, float]:
    """Return how many columns are in which state."""
    told = (one for one in figures.all() if one[0] == "holter.drift.columns")
    return {str(attributes["holter.drift.state"]): value for _, value, attributes in told}


def test_nothing_is_shown_before_the_first_look() -> None:
    """Not even zeros."""
    assert [] == list(DriftFigures("predict").all())


def test_a_thousand_columns_make_eighty_series_and_four() -> None:
    """Those that told most at the first look."""
    columns = {f"c{place}": Column(log_evidence=-abs(place - 500)) for place in range(1_000)}
    columns["unseen"] = Column(has_rows=False)
    figures = DriftFigures("predict")
    figures.learn(columns)
    psi = shown(figures, "holter.drift.psi")
    assert MOST_SHOWN == len(psi)
    assert {f"c{place}" for place in range(491, 510)} < psi.keys()
    assert {"expected": 1_000, "skewed": 0, "changed": 0, "unseen": 1} == states(figures)
    assert {} == shown(figures, "holter.drift.wasserstein")
    assert 3 * MOST_SHOWN + 4 == len(list(figures.all()))
    assert {"predict"} == {attributes["holter.call.name"] for _, _, attributes in figures.all()}


def test_a_column_that_has_changed_takes_the_place_of_one_that_has_not() -> None:
    """What has lost its place is NaN once, so that nobody takes its last value for one that still holds."""
    columns = {f"c{place}": Column(log_evidence=-place) for place in range(30)}
    figures = DriftFigures("predict")
    figures.learn(columns)
    columns["c25"].is_changed = columns["c3"].is_changed = True
    figures.learn(columns)
    psi = shown(figures, "holter.drift.psi")
    assert (0.25, True) == (psi["c25"], math.isnan(psi["c19"]))
    assert {"c3", "c18"} < psi.keys()
    assert 2 == states(figures)["changed"]
    figures.learn(columns)
    assert MOST_SHOWN == len(shown(figures, "holter.drift.psi"))
    assert "c19" not in shown(figures, "holter.drift.psi")


def test_a_hundred_columns_have_a_place_at_some_time_at_most() -> None:
    """However they change one after the other, and never more than a check may show."""
    columns = {f"c{place}": Column() for place in range(300)}
    figures, ever = DriftFigures("predict"), set()
    for place in range(300):
        columns[f"c{place}"].is_changed = True
        columns[f"c{place - 1}" if place else "c299"].is_changed = False
        figures.learn(columns)
        ever |= shown(figures, "holter.drift.psi").keys()
        assert len(list(figures.all())) <= 100
    assert 100 == len(ever)


def test_the_distances_are_those_of_the_last_thousand_rows() -> None:
    """As scipy has them, for a column that moved; and the check shows them."""
    stats = pytest.importorskip("scipy.stats")
    random = np.random.default_rng(5)
    usual, moved = random.normal(size=8_000), random.normal(0.8, size=1_500)
    predict = holter.watch(lambda age: age, name="predict")
    check = holter.Drift(
        holter.Profile.of({"age": usual}), call=predict, outputs=False, baseline_seconds=0.0, baseline_rows=2_000
    )
    now_ns = BEGUN_NS
    for part in np.split(np.concatenate((usual[:4_500], moved)), 60):
        check.observe(Observation("predict", {"age": part}, len(part), now_ns))
        now_ns += 10**10
        check.judge(Snapshot(now_ns, 10**10, {}, {}, {}))
    told = {name: value for name, value, attributes in check.figures() if "holter.drift.column" in attributes}
    ks = stats.ks_2samp(usual[:4_500], moved).statistic
    assert ks == pytest.approx(told["holter.drift.kolmogorov_smirnov"], abs=0.05)
    assert 0.8 == pytest.approx(told["holter.drift.wasserstein"], abs=0.15)
    assert told.keys() == {
        f"holter.drift.{what}" for what in ("psi", "jensen_shannon", "kolmogorov_smirnov", "wasserstein")
    }
