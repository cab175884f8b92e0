"""What series say of an interval, signal by signal."""

from __future__ import annotations

import numpy as np
import pytest

from contracts.check import Course
from holter.signals import Key, Ratios, Stretch, Value, values


def told(course: Course, seconds: float = 10.0) -> dict[str, Value]:
    """Return what the signals of one interval say, by their words."""
    stretch = Stretch()
    stretch.add(course.tick(seconds))
    return {key.words: value for key, value in values(stretch, Ratios(), 10.0)}


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
    assert {"rate of app.hits": 0.7, "app.queue": 8.0} == {name: one.told for name, one in told(course).items()}


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
    random, ratios = np.random.default_rng(1), Ratios()
    key = Key("holter.call.duration", (), "error_ratio")
    found = [ratios.residual(key, float(random.binomial(calls, 0.02)), float(calls), 1e-4) for _ in range(3_000)][500:]
    assert abs(np.mean(found)) < 0.3
    assert 0.2 < np.std(found) < 1.2
