"""Which signals go on as independent values would, and what is held against the others."""

from __future__ import annotations

import numpy as np

from holter.surprise.detector import Detector
from holter.surprise.kept import packed, unpack

MINUTE = 60.0
KINDS = 20


def fed(values: np.ndarray) -> Detector:
    """Return a detector of *values*, ``(steps, signals)``."""
    detector = Detector(values.shape[1], step_seconds=MINUTE)
    for step, row in enumerate(values):
        detector.update(row, step * MINUTE)
    return detector


def test_only_what_hangs_together_is_not_steady() -> None:
    """Independent values of any distribution are; those that follow each other, or wander slowly, are not."""
    random, steps = np.random.default_rng(1), 1_200
    noise = random.normal(size=(steps, KINDS))
    hanging = np.zeros((steps, KINDS))
    for step in range(1, steps):
        hanging[step] = 0.6 * hanging[step - 1] + noise[step]
    wander = np.sin(np.arange(steps) / 60.0)[:, None] + noise
    detector = fed(np.concatenate([noise, random.lognormal(size=noise.shape), hanging, wander], axis=1))
    steady = (detector.steadiness.share >= 0.5).reshape(4, KINDS).mean(1)
    assert (steady[:2].min() >= 0.8, steady[2:].max() <= 0.1) == (True, True)


def test_what_is_known_from_few_values_makes_nobody_unsteady() -> None:
    """After 1,025 values ranks and a level that were off at first are no wander, but for one signal in 1,000."""
    assert (fed(np.random.default_rng(30).normal(size=(1_025, 2_000))).steadiness.share < 0.5).sum() <= 4


def test_few_blocks_tell_nothing() -> None:
    """A signal is taken to hang together until the contrary is known."""
    assert not fed(np.random.default_rng(2).normal(size=(600, KINDS))).steadiness.share.any()


def test_what_has_just_changed_is_steady_still() -> None:
    """A shift of half a deviation for 100 steps is no wander yet."""
    values = np.random.default_rng(3).normal(size=(1_100, 100))
    values[1_000:] += 0.5
    assert (fed(values).steadiness.share >= 0.5).mean() >= 0.92


def test_steadiness_outlives_the_process() -> None:
    """With what is kept of a signal."""
    detector, rows = fed(np.random.default_rng(4).normal(size=(1_025, KINDS))), np.arange(KINDS)
    other = Detector(KINDS, step_seconds=MINUTE)
    unpack(other, rows, packed(detector, rows))
    other.prepare()
    assert detector.steadiness.share.any()
    np.testing.assert_allclose(detector.steadiness.share, other.steadiness.share)


def test_gaps_are_no_sign_of_anything() -> None:
    """Independent values of which half are missing are as steady as those that are all there."""
    random = np.random.default_rng(5)
    values = random.normal(size=(2_400, 60))
    values[random.random(values.shape) < 0.4] = np.nan
    assert (fed(values).steadiness.share >= 0.5).mean() >= 0.9


def test_how_high_the_walks_of_steady_signals_go_is_known_from_theory() -> None:
    """Thresholds of signals that are alike differ by a tenth, where their own few maxima would make it a fifth."""
    detector = fed(np.random.default_rng(20).normal(size=(1_025, 100)))
    heights = detector.tails.heights_for(np.full((5, 100), 1e5))
    assert (heights.std(1) / heights.mean(1)).max() < 0.12


def test_a_change_does_not_raise_the_threshold_that_it_is_on_its_way_to() -> None:
    """A walk that is up tells how high such walks go only once it has come down."""
    random = np.random.default_rng(20)
    detector = fed(random.normal(size=(1_025, 100)))
    before = detector.tails.heights_for(np.full((5, 100), 1e5))[0]
    for step in range(1_025, 1_185):
        detector.update(random.normal(size=100) + 0.6, step * MINUTE)
    assert (detector.tails.heights_for(np.full((5, 100), 1e5))[0] / before).mean() < 1.18


def moved(past: int, shift: float, steps: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return by how much medians of normal values, and the level of their scores, follow a shift in so many steps."""
    random, rows = np.random.default_rng(seed), np.arange(100)
    detector = fed(random.normal(size=(past, 100)))
    medians, level = detector.medians(rows), detector.baseline.level.copy()
    for step in range(past, past + steps):
        detector.update(random.normal(size=100) + shift, step * MINUTE)
    return detector.medians(rows) - medians, detector.baseline.level - level


def test_what_steady_signals_do_anew_is_not_soon_usual() -> None:
    """After 1,000 values 500 others count as after 4,000, for both: an eighth of their shift each, and not a third."""
    medians, level = moved(1_025, 0.2, 512, 21)
    assert (medians.mean() < 0.03, level.mean() < 0.03) == (True, True)


def test_a_new_usual_is_learnt_of_steady_signals_too() -> None:
    """What has been off by half a deviation for 500 steps and more: ranks follow then as they would of any signal."""
    assert moved(3_000, 0.5, 800, 23)[0].mean() > 0.05


def test_no_steady_signal_is_said_to_remember_for_long() -> None:
    """However few blocks there are to tell: 1,600 values are 6 groups of 8."""
    assert fed(np.random.default_rng(22).normal(size=(1_601, 400))).is_unjudgeable.mean() <= 0.003
