"""What series say over some intervals, signal by signal."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from contracts.check import Course
from holter.signals import Places, Value
from holter.stretch import Norms, Stretch, Told


def told(course: Course, seconds: float = 10.0) -> dict[str, Value]:
    """Return what the signals of one interval say, by their words."""
    places = Places()
    stretch = Stretch(places)
    stretch.add(course.tick(seconds))
    told = Told(stretch, places, Norms(), 10.0)
    return {places.key(int(at)).words: told.value(int(at)) for at in np.flatnonzero(~np.isnan(told.judged))}


def test_a_call_has_rate_errors_mean_and_quantiles() -> None:
    """Those that failed are calls too; a quantile that few values tell nothing of is left out."""
    course = Course()
    course.calls("predict", [0.1] * 15 + [0.3] * 3)
    course.calls("predict", [0.1] * 2, "error", "ValueError")
    course.series[1] = course.series[1].__class__(
        1, course.series[1].name, "s", "histogram", course.series[1].attributes, 0
    )
    found = told(course)
    assert {"rate", "error ratio", "mean", "p50", "p90"} == {name.removesuffix(" of predict") for name in found}
    assert (2.0, 0.1, 1) == (
        found["rate of predict"].told, found["error ratio of predict"].told, found["mean of predict"].direction,
    )  # fmt: skip
    assert found["mean of predict"].told == pytest.approx(0.13)
    assert found["p90 of predict"].told == pytest.approx(0.3, rel=0.02)


def test_counters_and_gauges_have_one_signal_each() -> None:
    """What it grew by, and the newest value."""
    course = Course()
    course.record("app.hits", [(course.now_ns, 3.0), (course.now_ns, 4.0)], "counter", "{hit}")
    course.record("app.queue", [(course.now_ns, 3.0), (course.now_ns + 1, 8.0)], "gauge", "{item}")
    assert {"rate of app.hits": 0.7, "app.queue": 8.0} == {
        name: round(one.told, 9) for name, one in told(course).items()
    }


def test_silence_is_a_rate_of_zero_and_no_mean() -> None:
    """A series that exists and did not move."""
    course = Course()
    course.calls("predict", [0.1] * 10)
    told(course)
    assert {"rate of predict": 0.0} == {name: one.told for name, one in told(course).items()}


def test_an_interval_that_is_twice_as_long_is_no_doubled_rate() -> None:
    """While one that jitters leaves counts whole."""
    course = Course()
    course.calls("predict", [0.1] * 40)
    assert 20.0 == told(course, 20.0)["rate of predict"].judged
    course.calls("predict", [0.1] * 21)
    assert 21.0 == told(course, 10.3)["rate of predict"].judged


@pytest.mark.parametrize("calls", [3, 50, 2_000])
def test_errors_are_on_one_scale_whatever_the_volume(calls: int) -> None:
    """Their residual has a mean near 0 and a deviation of 1 at most, of few calls as of many."""
    random, norms, at = np.random.default_rng(1), Norms(), np.array([2])
    norms.fit(3)
    found = [
        norms.residuals(at, random.binomial(calls, 0.02, 1).astype(float), np.array([float(calls)]), 1e-4)[0]
        for _ in range(3_000)
    ][500:]
    assert abs(np.mean(found)) < 0.3
    assert 0.2 < np.std(found) < 1.2


def test_two_stretches_joined_say_what_one_of_both_says() -> None:
    """Counts, levels and quantiles, of series that come later too."""
    random = np.random.default_rng(1)
    course, places = Course(), Places()
    parts, whole = [Stretch(places), Stretch(places)], Stretch(places)
    for part in parts:
        for call in ("predict", "embed") if part is parts[1] else ("predict",):
            course.calls(call, random.lognormal(size=150).tolist())
        course.record("app.queue", [(course.now_ns, float(random.integers(9)))], "gauge", "{item}")
        snapshot = course.tick(10.0)
        part.add(snapshot)
        whole.add(snapshot)
    parts[0].join(parts[1])
    told = [Told(one, places, Norms(), 20.0).judged for one in (parts[0], whole)]
    np.testing.assert_array_equal(told[0], told[1])
    assert 12 == np.isfinite(told[0]).sum() - 1


def test_what_few_values_say_counts_less_than_what_the_usual_number_says() -> None:
    """Deviations of a mean of a ninth of the values are three times as large, and count a third; more count once."""
    norms, at = Norms(), np.array([0])
    norms.fit(1)
    for _ in range(1_000):
        assert 1.0 == pytest.approx(norms.weights(at, np.array([90.0]), 1e-4)[0])
    assert 1 / 3 == pytest.approx(norms.weights(at, np.array([10.0]), 1e-4)[0], rel=0.01)
    assert 1.0 == norms.weights(at, np.array([900.0]), 1e-4)[0]


@pytest.mark.parametrize("mean", [0.003, 0.5, 3.0, 99.0, 101.0, 400.0])
def test_the_score_of_a_count_lies_where_its_share_does(mean: float) -> None:
    """As scipy has it: between the shares of less and of as much; and all in all it is a standard normal number."""
    random, size = np.random.default_rng(3), 20_000
    norms, at = Norms(), np.arange(size)
    norms.set(size - 1, [0.0] * 4)
    norms.bad[:], norms.calls[:] = mean, 1.0
    count = random.poisson(mean, size).astype(float)
    found = norms.residuals(at, count, np.ones(size), 0.0)
    low, high = (stats.norm.ppf(stats.poisson.cdf(count - less, mean)) for less in (1, 0))
    is_usual = (np.abs(found) < 3.0) & (np.abs(low) + np.abs(high) < np.inf)
    assert (found[is_usual] > low[is_usual] - 0.15).all()
    assert (found[is_usual] < high[is_usual] + 0.15).all()
    assert stats.kstest(found, "norm").statistic < 0.03


def test_more_that_fails_scores_more_where_nothing_ever_did() -> None:
    """Beyond all that no failures score."""
    norms, at = Norms(), np.arange(2_000)
    norms.set(1_999, [0.0] * 4)
    norms.calls[:] = 1_000.0
    found = []
    for failed in (0.0, 1.0, 10.0):
        found.append(norms.residuals(at, np.full(2_000, failed), np.full(2_000, 50.0), 0.0))
        norms.bad[:] = 0.0
    none, one, ten = found
    assert abs(none).max() < one.min()
    assert one.max() < ten.min()


def test_what_is_expected_of_errors_is_told_as_a_share_of_the_calls() -> None:
    """Of 100 calls with 4 failed as usual, between two deviations less and more; what was judged is found again."""
    value = Value(0.0, 0.04, "%", 1, 1.0, 100.0, 4.0)
    low, high = value.in_terms(-2.0), value.in_terms(2.0)
    assert (low, high) == (pytest.approx(0.008, abs=0.004), pytest.approx(0.09, abs=0.01))
    assert "4 %" == value.said(value.in_terms(0.0))
    assert value == Value.loaded(list(value))
    assert (0.0, 1.0) == (value.in_terms(-50.0), value.in_terms(50.0))
