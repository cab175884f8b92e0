"""Drift on real data: silent on what was only dealt out anew, told of noise, of classes that are gone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import holter
from holter import Drift, Profile
from holter.model import Alert, Observation, Snapshot

datasets = pytest.importorskip("sklearn.datasets", reason="pip install scikit-learn")

SECOND = 10**9


@holter.watch(name="predict")
def predict(batch: Any) -> Any:
    return batch


def drift(reference: Profile, baseline_rows: int) -> Drift:
    return Drift(reference, call=predict, outputs=False, baseline_rows=baseline_rows, baseline_seconds=0.0)


class Dealt:
    """Rows of a data set, dealt out at random in calls of 50, eight calls a look."""

    def __init__(self, check: Drift, rows: np.ndarray, seed: int = 0) -> None:
        self.check, self.rows, self.random, self.now_ns = check, rows, np.random.default_rng(seed), 10**18

    def run(self, looks: int, change: Any = None) -> list[Alert]:
        """Return the alerts of so many looks, the rows changed."""
        alerts = []
        rows = self.rows if change is None else change(self.rows)
        for _ in range(looks):
            for _ in range(8):
                batch = rows[self.random.integers(0, len(rows), 50)]
                self.check.observe(Observation("predict", {"batch": batch}, 50, self.now_ns))
            self.now_ns += 10 * SECOND
            alerts += self.check.judge(Snapshot(self.now_ns, 10 * SECOND, {}, {}, {}))
        return alerts


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    """Return the images, in random order, and what they show."""
    found = datasets.load_digits()
    order = np.random.default_rng(1).permutation(len(found.target))
    return found.data[order], found.target[order]


@pytest.mark.parametrize("kind", ["pixels", "embeddings"])
def test_digits_with_noise(digits: tuple[np.ndarray, np.ndarray], kind: str) -> None:
    """As 64 columns or as one of embeddings: silent without, told with it, and told again that it is gone."""
    images, _ = digits
    reference = Profile.of(images[:900] if kind == "pixels" else {"image": images[:900]})
    dealt = Dealt(drift(reference, 3_000), images[900:])
    assert [] == dealt.run(60)
    noise = np.random.default_rng(2).normal(0, 6, size=images[900:].shape)
    told = dealt.run(20, lambda rows: rows + noise)
    # Pixels that were 0 or 1 are out of range as well.
    (alert,) = [alert for alert in told if "change" in alert.id]
    assert alert.related[0] in ("image", *map(str, range(64)))
    assert alert.id in [alert.id for alert in dealt.run(80) if alert.state == "resolved"]


def test_digits_with_classes_gone(digits: tuple[np.ndarray, np.ndarray]) -> None:
    """Half of them no longer come: the images tell it without a label."""
    images, labels = digits
    reference = Profile.of({"image": images[:900]})
    dealt = Dealt(drift(reference, 3_000), images[900:])
    assert [] == dealt.run(60)
    told = dealt.run(30, lambda rows: rows[labels[900:] < 5])
    assert [("firing", ("image",))] == [(alert.state, alert.related) for alert in told]


@pytest.mark.parametrize("name", ["load_breast_cancer", "load_wine", "load_diabetes"])
def test_small_sets_dealt_in_halves_are_silent(name: str) -> None:
    """Against so few rows chance moves much, and the allowance for the reference is as large as that takes."""
    rows = getattr(datasets, name)().data
    order = np.random.default_rng(3).permutation(len(rows))
    half = len(rows) // 2
    check = Drift(
        Profile.of(rows[order[:half]]), call=predict, outputs=False, baseline_rows=3_000, baseline_seconds=0.0
    )
    alerts = Dealt(check, rows[order[half:]]).run(100)
    assert [] == [alert for alert in alerts if alert.check != "drift" or "skew" not in alert.id]


def test_a_set_that_is_ordered_in_time_is_told() -> None:
    """Wine by its three growers, one after the other: what a shuffled sample would hide."""
    found = datasets.load_wine()
    first, last = found.data[found.target == 0], found.data[found.target == 2]
    dealt = Dealt(drift(Profile.of(first), 2_000), first)
    assert [] == dealt.run(40)
    dealt.rows = last
    told = dealt.run(20)
    flavanoids = str(found.feature_names.index("flavanoids"))
    assert flavanoids in {name for alert in told for name in alert.related}
