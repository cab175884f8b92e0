"""A detector of many signals: how often it is wrong, how soon it is right, and what it never does."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holter.surprise.detector import BLOCK, LEAST_VALUES, Detector
from holter.surprise.kept import packed, unpack
from holter.surprise.normal import Floats
from holter.surprise.shares import STATISTICS, shares

MINUTE = 60.0


def fed(detector: Detector, values: np.ndarray, step: int = 0) -> np.ndarray:
    """Return the alarms for *values*, ``(steps, signals)``, the first of which comes at *step*."""
    return np.array([detector.update(row, (step + index) * MINUTE) for index, row in enumerate(values)])


def learnt(random: np.random.Generator, signals: int, steps: int = 2_000, asked: float = 1e4) -> Detector:
    """Return a detector that has seen *steps* normal values of each signal."""
    detector = Detector(signals, step_seconds=MINUTE)
    fed(detector, random.normal(size=(steps, signals)))
    detector.ask(asked)
    return detector


def test_a_copy_goes_on_as_the_original_does() -> None:
    """Through alarms, after which walks begin anew."""
    random = np.random.default_rng(1)
    detector = learnt(random, 32, 500)
    values = random.normal(size=(100, 32)) + 1.0
    other = copy.deepcopy(detector)
    alarms = fed(detector, values, 500)
    assert alarms.any()
    assert (alarms == fed(other, values, 500)).all()
    assert (detector.walks == other.walks).all()


@pytest.mark.parametrize("family", ["normal", "lognormal", "poisson", "constant", "pauses"])
def test_what_goes_on_as_before_seldom_alarms(family: str) -> None:
    """At most twice as often as asked, be the values heavy in the tail, whole numbers, or all the same."""
    random, signals, steps, asked = np.random.default_rng(1), 60, 2_000, 2_000.0
    draw = {
        "normal": lambda size: random.normal(size=size),
        "lognormal": lambda size: random.lognormal(size=size),
        "poisson": lambda size: random.poisson(0.5, size).astype(float),
        "constant": np.ones,
        "pauses": lambda size: np.where(random.random(size) < 0.002, 50.0, random.lognormal(0, 0.3, size)),
    }[family]
    detector = Detector(signals, step_seconds=MINUTE)
    fed(detector, draw((3_000, signals)))
    detector.ask(asked)
    alarms = fed(detector, draw((steps, signals)), 3_000).sum()
    assert alarms <= 2 * signals * steps / asked


@pytest.mark.parametrize(
    ("change", "least_found", "within"),
    [
        (lambda values: values + 1.0, 0.9, 60),
        (lambda values: values + 4.0, 0.95, 8),
        (lambda values: values - 3.0, 0.9, 25),
        (lambda values: 3.0 * values, 0.9, 60),
        (lambda values: values + 0.05 * np.arange(len(values))[:, None], 0.9, 70),
    ],
    ids=["a step of 1 sd", "of 4 sd", "of -3 sd", "three times the scatter", "a ramp"],
)
def test_a_change_is_found_soon(change, least_found: float, within: int) -> None:
    """At one false alarm in 10,000 steps, by nearly all of 40 signals."""
    random = np.random.default_rng(2)
    detector = learnt(random, 40)
    alarms = fed(detector, change(random.normal(size=(within, 40))), 2_000)
    assert alarms.any(0).mean() >= least_found


@pytest.mark.parametrize(
    "change", [lambda values: values + 0.5, lambda values: 1.5 * values], ids=["0.5 sd", "half as much scatter more"]
)
def test_a_small_change_is_found_before_it_is_usual(change) -> None:
    """Within 200 steps right after 1,000 values, at one false alarm in 10,000 steps, by nearly all of 100 signals."""
    random = np.random.default_rng(14)
    detector = learnt(random, 100, 1_000)
    alarms = fed(detector, change(random.normal(size=(200, 100))), 1_000)
    assert alarms.any(0).mean() >= 0.85


def test_one_record_is_called_no_rarer_than_a_hundred_times_the_past() -> None:
    """However far out it lies; what stays there is found by the walks."""
    random = np.random.default_rng(3)
    detector = learnt(random, 5, 640, asked=1e9)
    assert not detector.update(np.full(5, 1e12), 640 * MINUTE).any()
    above = STATISTICS.index("above")
    assert (detector.steps_between()[above] <= 100 * 641).all()
    assert fed(detector, np.full((40, 5), 1e12), 641).any(0).all()


def still(now: list[float], *, before: float) -> np.ndarray:
    """Return in which of 300 steps signals alarm, *now* each, that have been *before* for 2,000 steps."""
    detector = Detector(len(now), step_seconds=MINUTE)
    fed(detector, np.full((2_000, len(now)), before))
    detector.ask(3e4)
    return fed(detector, np.tile(now, (300, 1)), 2_000)


@pytest.mark.parametrize("before", [812.0, -812.0])
def test_what_stood_still_and_moves_by_less_than_a_hundredth_has_not_moved(before: float) -> None:
    """One MiB more of memory that has been the same all the time is nothing; by 2 in 100 is something at once."""
    alarms = still([before, 1.0012 * before, 0.992 * before, 1.02 * before, 0.97 * before], before=before)
    assert [False, False, False, True, True] == alarms.any(0).tolist()
    assert alarms[:8, 3:].any(0).all()


def test_what_stood_at_zero_moves_by_anything() -> None:
    """There no hundredth is; and of small whole numbers the next one is far."""
    assert [False, True, True] == still([0.0, 1e-6, -1e-6], before=0.0).any(0).tolist()
    assert still([4.0, 2.0], before=3.0).any(0).all()


def test_what_creeps_away_step_by_step_has_moved_in_the_end() -> None:
    """Each of its steps is nothing, but it is the place where it stood for long that it is compared with."""
    detector = Detector(1, step_seconds=MINUTE)
    fed(detector, np.full((2_000, 1), 800.0))
    detector.ask(3e4)
    alarms = fed(detector, 800.0 + 0.5 * (np.arange(4_000)[:, None] // 200), 2_000)[:, 0]
    assert 3_200 <= int(alarms.argmax()) <= 3_600
    assert alarms.any()


def test_what_does_not_stand_still_is_judged_by_its_spread() -> None:
    """However small that is beside the values: five times a spread of one in 100,000 is found."""
    random, signals = np.random.default_rng(31), 20
    detector = Detector(signals, step_seconds=MINUTE)
    fed(detector, 1e5 + random.normal(size=(2_000, signals)))
    detector.ask(3e4)
    assert fed(detector, 1e5 + 5.0 + random.normal(size=(20, signals)), 2_000).any(0).all()


def test_a_direction_leaves_the_other_out() -> None:
    """What becomes less is no alarm where only more counts, and the whole rate goes to what does count."""
    random = np.random.default_rng(4)
    detector = Detector(2, step_seconds=MINUTE, direction=[1, -1])
    fed(detector, random.normal(size=(2_000, 2)))
    detector.ask(1e4)
    alarms = fed(detector, 0.1 * random.normal(size=(60, 2)) - 3.0, 2_000).any(0)
    assert [False, True] == alarms.tolist()
    assert np.allclose(shares([1, 0, -1]).sum(0), 1.0)


def test_the_time_of_the_day_is_known() -> None:
    """After some days what comes each day at this hour is no alarm; a shift within the daily swing is one."""
    random = np.random.default_rng(5)
    steps = np.arange(7 * 1_440)
    values = (10 + 3 * np.sin(2 * np.pi * steps / 1_440))[:, None] + random.normal(size=(len(steps), 20))
    detector = Detector(20, step_seconds=MINUTE)
    fed(detector, values[: 6 * 1_440])
    detector.ask(1e4)
    assert detector.baseline.is_used.all()
    assert (detector.baseline.error[1] / detector.baseline.error[0]).mean() < 0.5
    assert fed(detector, values[6 * 1_440 :], 6 * 1_440).mean() < 1e-3
    assert detector.is_unjudgeable.mean() < 0.3
    assert fed(detector, values[:60] + 2.0, 7 * 1_440).any(0).mean() >= 0.7


def test_scatter_is_about_the_time_of_the_day_as_soon_as_that_is_used() -> None:
    """It falls at once by as much as the mean square does, not over the thousand steps that it takes to learn."""
    random = np.random.default_rng(13)
    detector, step = Detector(20, step_seconds=MINUTE), 0
    while not detector.baseline.is_used.any():
        assert step < 4 * 1_440
        before = detector.scatter.overall.copy()
        detector.update(10 + 3 * np.sin(2 * np.pi * step / 1_440) + random.normal(size=20), step * MINUTE)
        step += 1
    used = detector.baseline.is_used
    about_level, about_day = detector.baseline.error[:, used]
    np.testing.assert_allclose(detector.scatter.overall[used] / before[used], about_day / about_level, rtol=0.1)


def test_the_time_of_the_week_is_known() -> None:
    """After some weeks a quiet weekend is no alarm; one that is like any other day is. It outlives the process."""
    random, half_hour = np.random.default_rng(12), 1_800.0

    def values(step: int, *, is_working: bool) -> Floats:
        swing = 3.0 * np.sin(2 * np.pi * step / 48) + 1.5 if is_working else 0.5 * np.sin(2 * np.pi * step / 48)
        return swing + 0.5 * random.normal(size=20)

    detector = Detector(20, step_seconds=half_hour)
    detector.ask(1e4)
    alarms = 0
    for step in range(6 * 336):
        found = detector.update(values(step, is_working=step % 336 < 240), step * half_hour)
        alarms += int(found.sum()) if step >= 4 * 336 else 0
    assert detector.baseline.is_weekly.all()
    assert alarms <= 2
    rows, other = np.arange(20), Detector(20, step_seconds=half_hour)
    unpack(other, rows, packed(detector, rows))
    other.prepare()
    for place in (20.0, 100.0, 260.0, 310.0):
        usual, kept = detector.baseline.usual(np.array(place)), other.baseline.usual(np.array(place))
        np.testing.assert_allclose(usual, kept, atol=1e-6)
    found = np.zeros(20, np.bool_)
    for step in range(6 * 336, 6 * 336 + 288):
        found |= detector.update(values(step, is_working=True), step * half_hour)
    assert found.mean() >= 0.9


def test_what_lasts_becomes_the_usual() -> None:
    """A new level alarms, and some hundred steps later no more."""
    random = np.random.default_rng(6)
    detector = learnt(random, 20)
    assert fed(detector, random.normal(size=(100, 20)) + 4.0, 2_000).any(0).all()
    fed(detector, random.normal(size=(3_000, 20)) + 4.0, 2_100)
    assert fed(detector, random.normal(size=(500, 20)) + 4.0, 5_100).mean() < 1e-3


def test_gaps_and_what_is_no_number_do_no_harm() -> None:
    """They are no evidence: the walks stand still, and what comes then is judged as before."""
    random = np.random.default_rng(7)
    detector = learnt(random, 3)
    before = detector.walks.copy()
    for value in (np.nan, np.inf, -np.inf):
        assert not detector.update(np.full(3, value), 0.0).any()
    assert (before == detector.walks).all()
    assert fed(detector, random.normal(size=(40, 3)) + 4.0, 2_003).any(0).all()


def test_few_values_are_not_judged() -> None:
    """Until 64 are known nothing alarms, whatever comes."""
    detector = Detector(1, step_seconds=MINUTE)
    detector.ask(1.0)
    values = np.concatenate([np.zeros((LEAST_VALUES - 2, 1)), [[1e9]]])
    assert not fed(detector, values).any()


def test_a_random_walk_is_told_to_have_a_long_memory() -> None:
    """Independent values, and those that hang together over ten steps, have not."""
    random = np.random.default_rng(8)
    steps = 6_000
    noise = random.normal(size=(steps, 30))
    short = np.zeros(30)
    detector = Detector(30, step_seconds=MINUTE)
    wander = np.cumsum(noise[:, :10], axis=0)
    for index in range(steps):
        short = 0.9 * short + noise[index]
        detector.update(np.concatenate([wander[index], short[10:20], noise[index, 20:]]), index * MINUTE)
    _, told = detector.memory.told(detector.baseline.is_used)
    assert (told[:10].mean() > 0.7, told[10:].mean() < 0.1) == (True, True)


@settings(max_examples=15, deadline=None)
@given(
    scale=st.sampled_from([1e-6, 0.5, 3.0, 1e6]),
    shift=st.sampled_from([0.0, -7.0, 1e3]),
    seed=st.integers(0, 10),
)
def test_scale_and_shift_change_nothing(scale: float, shift: float, seed: int) -> None:
    """Seconds or milliseconds, Celsius or Kelvin: the same alarms at the same steps."""
    random = np.random.default_rng(seed)
    values = random.normal(size=(400, 4))
    values[300:, 1:] += [1.0, 3.0, -4.0]
    heights = []
    for row in (values, scale * (values + shift)):
        detector = Detector(4, step_seconds=MINUTE)
        detector.ask(500.0)
        heights.append(fed(detector, row))
    assert (heights[0] == heights[1]).all()


def test_no_row_depends_on_another_or_on_what_comes_later() -> None:
    """One signal alone, or among others, or with another future: the same alarms."""
    random = np.random.default_rng(9)
    values = random.normal(size=(600, 5))
    values[400:] *= 3.0
    together, alone, shorter = (Detector(count, step_seconds=MINUTE) for count in (5, 1, 5))
    for detector in (together, alone, shorter):
        detector.ask(1e3)
    whole = fed(together, values)
    assert (whole[:, 2:3] == fed(alone, values[:, 2:3])).all()
    assert (whole[:500] == fed(shorter, values[:500])).all()
    assert whole.any()


def test_signals_are_added_and_forgotten() -> None:
    """Those that were there go on as if nothing had happened; a new one learns first."""
    random = np.random.default_rng(10)
    values = random.normal(size=(1_000, 4))
    values[700:] += 3.0
    detector, other = Detector(2, step_seconds=MINUTE), Detector(2, step_seconds=MINUTE)
    expected = fed(other, values[:690, :2])
    other.ask(1e3)
    fed(detector, values[:690, :2])
    grown = detector.grown(4)
    grown.ask(1e3)
    expected = fed(other, values[690:, :2], 690)
    assert (expected == fed(grown, values[690:], 690)[:, :2]).all()
    assert expected.any()
    grown.forget(np.array([0]))
    assert [False, True, True, True] == grown.is_judging.tolist()


def test_a_signal_takes_little_more_than_a_kibibyte() -> None:
    """All arrays together: 1,260 bytes a signal at most."""
    detector = Detector(1_000, step_seconds=MINUTE)
    fed(detector, np.zeros((2 * BLOCK, 1_000)))
    parts = (
        detector, detector.ranks, detector.baseline, detector.tails, detector.extremes, detector.memory,
        detector.steadiness, detector.scatter, detector.unusual,
    )  # fmt: skip
    arrays = {id(one): one for part in parts for one in vars(part).values() if isinstance(one, np.ndarray)}
    taken = sum(one.nbytes for one in arrays.values() if one.base is None) / 1_000
    assert taken <= 1_260


def test_what_is_as_usual_again_is_not_on_its_way_any_more() -> None:
    """An alarm that comes later tells of what began then."""
    random = np.random.default_rng(14)
    detector = learnt(random, 1)
    fed(detector, random.normal(size=(40, 1)) + 0.4, 2_000)
    rise = STATISTICS.index("rise")
    assert detector.lasting_of(0, rise) > 5
    detector.settle(0)
    fed(detector, np.full((3, 1), 2.0), 2_040)
    assert detector.lasting_of(0, rise) == 3


def test_what_is_known_for_a_year_is_kept_as_well() -> None:
    """However many blocks there were, what is kept of them is finite."""
    random, rows = np.random.default_rng(15), np.arange(2)
    detector = learnt(random, 2)
    detector.tails.blocks[:] = 100_000.0
    fed(detector, random.normal(size=(64, 2)), 2_000)
    other = Detector(2, step_seconds=MINUTE)
    unpack(other, rows, packed(detector, rows))
    other.prepare()
    np.testing.assert_allclose(other.tails.excesses, detector.tails.excesses, rtol=1e-3)
