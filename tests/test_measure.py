"""One figure of one target, in words."""

from __future__ import annotations

import pytest

from contracts.check import Course
from holter.errors import ConfigurationError
from holter.instruments import Instruments
from holter.measure import Measure
from holter.model import OpenCall
from holter.names import CALL_DURATION, CALL_NAME
from holter.scope import Scope


@pytest.mark.parametrize(
    ("name", "unit", "kind", "said"),
    [
        (CALL_DURATION, "s", "histogram", ("p99", 0.412, "412 ms")),
        (CALL_DURATION, "s", "histogram", ("rate", 12.5, "12.5 calls/s")),
        (CALL_DURATION, "s", "histogram", ("error_ratio", 0.0125, "1.25 %")),
        (CALL_DURATION, "s", "histogram", ("missing", 125, "2 min 5 s")),
        ("process.memory.usage", "By", "gauge", ("last", 2**26, "64 MiB")),
        ("process.disk.io", "By", "counter", ("rate", 2**20, "1 MiB/s")),
        ("app.hits", "{hit}", "counter", ("last", 1204, "1,204 hits")),
        ("system.cpu.utilization", "1", "gauge", ("mean", 0.95, "95 %")),
        ("loss", "1", "gauge", ("last", 0.35, "0.35")),
        ("latency", "s", "histogram", ("rate", 2, "2 values/s")),
    ],
)  # fmt: skip
def test_a_value_is_said_in_the_unit_of_its_statistic(
    name: str, unit: str, kind: str, said: tuple[str, float, str]
) -> None:
    """Rates are per second, ratios in percent, the others in the unit of the series."""
    course, (statistic, value, words) = Course(), said
    course.record(name, [(0, 1.0)], kind, unit)
    assert Measure.of(name, statistic).say(value, course.tick()) == words


@pytest.mark.parametrize(("name", "words"), [(CALL_DURATION, "200 ms"), ("load", "0.2")])
def test_a_value_is_said_before_anything_was_recorded(name: str, words: str) -> None:
    """Calls are in seconds; of another metric nothing is known yet."""
    assert Measure.of(name, "p50").say(0.2, Course().tick()) == words


def test_a_call_is_called_by_its_name() -> None:
    """Other attributes stand behind it; a span of the same call is no call."""
    named = {CALL_NAME: "predict", "model": "v7"}
    measure = Measure.of(CALL_DURATION, "p99", named)
    assert (measure.call, measure.target, measure.noun) == ("predict", "predict{model=v7}", "call")
    other = Measure.of("holter.span.duration", "p99", named)
    assert (other.call, other.target, other.noun) == (
        None,
        "holter.span.duration{holter.call.name=predict, model=v7}",
        "value",
    )


def test_the_name_of_a_call_is_not_taken_for_a_metric() -> None:
    """A limit on it would never fire; the message says what to give."""
    Instruments(Scope()).watch(len, name="count_tokens")
    with pytest.raises(ConfigurationError, match="'count_tokens' is a watched call and no metric: give the function"):
        Measure.of("count_tokens", "p99")


def test_running_calls_are_those_of_the_target_the_oldest_first() -> None:
    """A metric that is no call has none."""
    open_calls = tuple(OpenCall(name, 0, 0, age, 1) for name, age in [("a", 1.0), ("b", 9.0), ("a", 5.0)])
    snapshot = Course().tick(open_calls=open_calls)
    ages = [call.age_seconds for call in Measure.of(CALL_DURATION, "p99", {CALL_NAME: "a"}).running(snapshot)]
    assert (ages, Measure.of("a", "last").running(snapshot)) == ([5.0, 1.0], [])
