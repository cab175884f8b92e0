"""What OpenTelemetry is handed: the same counts, sums and quantiles, in its own classes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.metrics.export import AggregationTemporality
from opentelemetry.sdk.resources import Resource

from holter.classicbuckets import OTHERS, Choice
from holter.distribution import NO_BUCKETS, Buckets, Histogram
from holter.metricsdata import MOST_BUCKETS, MOST_EXEMPLARS, MetricsBuilder
from holter.model import Reading, SlowCall
from holter.names import CALL_DURATION
from simulation import SECOND_NS, START_NS, World

RESOURCE = Resource({"service.name": "sentiment"})


def metrics(builder: MetricsBuilder, snapshot: Any) -> dict[str, Any]:
    """Return the data of each metric by name."""
    (owner,) = builder.build(snapshot, RESOURCE).resource_metrics
    (scope,) = owner.scope_metrics
    assert (RESOURCE, "holter") == (owner.resource, scope.scope.name)
    return {metric.name: metric.data for metric in scope.metrics}


def quantile(point: Any, q: float) -> float:
    """Return a quantile of an exponential histogram of values above 0 by OpenTelemetry's definition of its buckets."""
    rank, base = q * point.count, 2.0**2.0**-point.scale
    passed = point.zero_count
    for place, count in enumerate(point.positive.bucket_counts):
        passed += count
        if passed >= rank:
            return float(base ** (point.positive.offset + place + 0.5))
    raise AssertionError(f"{point.count} values, but {passed} in buckets")


def test_cumulative_figures_are_those_since_the_beginning() -> None:
    """Counts and sums are exact, quantiles within the error of the scale, all from one start on."""
    world, builder = World(), MetricsBuilder("cumulative")
    hits = world.one("app.hits", "counter", "{hit}")
    depth = world.one("app.depth", "gauge", "{item}")
    random = np.random.default_rng(3)
    values = random.lognormal(-4.0, 0.5, (3, 1_000))
    for turn, durations in enumerate(values):
        world.call("predict", durations)
        world.grow(hits, 2.0)
        world.values(depth, [turn])
        found = metrics(builder, world.snapshot())
    (calls,) = found[CALL_DURATION].data_points
    assert (3_000, pytest.approx(values.sum())) == (calls.count, calls.sum)
    assert (values.min(), values.max()) == (calls.min, calls.max)
    assert (START_NS, START_NS + 3 * SECOND_NS) == (calls.start_time_unix_nano, calls.time_unix_nano)
    assert {"holter.call.name": "predict", "holter.call.outcome": "ok"} == calls.attributes
    assert len(calls.positive.bucket_counts) <= MOST_BUCKETS
    for q in (0.5, 0.9, 0.99):
        assert quantile(calls, q) == pytest.approx(np.quantile(values, q, method="inverted_cdf"), rel=0.022)
    (hit,) = found["app.hits"].data_points
    (level,) = found["app.depth"].data_points
    assert (6.0, 2.0) == (hit.value, level.value)
    cumulative = AggregationTemporality.CUMULATIVE
    assert {cumulative} == {found[name].aggregation_temporality for name in (CALL_DURATION, "app.hits")}


def test_delta_figures_are_those_since_the_last_time() -> None:
    """And add up to the cumulative ones; a level stays a level, also where it has not moved."""
    world, builder = World(), MetricsBuilder("delta")
    hits, depth = world.one("app.hits", "counter"), world.one("app.depth", "gauge")
    world.values(depth, [5.0])
    counted = grown = 0.0
    for turn in range(4):
        world.call("predict", [0.1] * turn)
        world.grow(hits, turn)
        found = metrics(builder, world.snapshot())
        for point in found[CALL_DURATION].data_points if turn else ():
            assert SECOND_NS == point.time_unix_nano - point.start_time_unix_nano
            counted += point.count
        grown += sum(point.value for point in found["app.hits"].data_points)
        assert [5.0] == [point.value for point in found["app.depth"].data_points]
    assert (6, 6.0) == (counted, grown)
    assert AggregationTemporality.DELTA == found["app.hits"].aggregation_temporality
    assert {"app.depth"} == metrics(builder, world.snapshot()).keys()


@given(
    turns=st.lists(st.tuples(st.integers(0, 50), st.integers(0, 500), st.integers(0, 20)), min_size=1, max_size=6),
    delta=st.booleans(),
)
def test_lost_and_late_records_are_counted_once(turns: list[tuple[int, int, int]], *, delta: bool) -> None:
    """What is lost is spread as what was read, what is late comes later; counts are exact, and no bucket shrinks."""
    world, builder = World(), MetricsBuilder("delta" if delta else "cumulative")
    series = world.one("app.size", unit="By")
    random, earlier, lost_so_far, sent = np.random.default_rng(0), Histogram(), 0, 0
    late = np.zeros(0)
    for read, lost, unread in [*turns, (0, 0, 0)]:
        values = np.concatenate([late, random.lognormal(0.0, 0.1, read)])
        late = random.lognormal(3.0, 0.1, unread)
        if len(values):
            world._take(series, Reading(read, sum=float(read), last=1.0, histogram=Histogram.of(values)))
        if lost + unread:
            world._take(series, Reading(count=lost + unread, sum=float(lost + unread)))
        lost_so_far += lost
        snapshot = world.snapshot(lost=lost_so_far)
        found = metrics(builder, snapshot).get("app.size")
        builder.sent()
        for point in found.data_points if found else ():
            inside = point.zero_count + sum(point.positive.bucket_counts) + sum(point.negative.bucket_counts)
            assert inside == point.count
            sent = sent + point.count if delta else point.count
            if not delta:
                shown = Histogram(point.scale, positive=_side(point.positive))
                earlier = earlier.downscale(min(earlier.scale, shown.scale))
                after = {
                    edges: count
                    for *edges_, count in shown.downscale(earlier.scale).buckets()
                    for edges in [tuple(edges_)]
                }
                assert all(after.get((low, high), 0) >= count for low, high, count in earlier.buckets())
                earlier = shown
        counted = snapshot.total[series].count if series in snapshot.total else 0
        assert counted - unread <= sent <= counted
    assert counted == sent


def _side(buckets: Any) -> Buckets:
    counts = np.array(buckets.bucket_counts, dtype=np.int64)
    return Buckets(buckets.offset, counts.tobytes()) if counts.any() else NO_BUCKETS


def test_what_did_not_arrive_is_part_of_the_next_one() -> None:
    """Also of a series that has lost records."""
    world, builder = World(), MetricsBuilder("delta")
    series = world.one("app.size", unit="By")

    def turn(read: int, lost: int) -> Any:
        world._take(series, Reading(read + lost, last=1.0, histogram=Histogram.of([1.0] * read)))
        return world.snapshot(lost=lost)

    first = turn(10, 5)
    metrics(builder, first)
    both = first.then(turn(3, 5))
    (point,) = metrics(builder, both)["app.size"].data_points
    assert 23 == point.count


def test_another_process_begins_anew() -> None:
    """A forked child's figures start where the child does."""
    parent, child = World(), World()
    builder = MetricsBuilder("cumulative")
    metrics(builder, parent.snapshot())
    child.time_ns = 9 * SECOND_NS
    child.process = type(child.process)(service="sentiment", pid=5, started_ns=8 * SECOND_NS)
    child.call("predict", [0.1])
    (point,) = metrics(builder, child.snapshot())[CALL_DURATION].data_points
    assert START_NS + 8 * SECOND_NS == point.start_time_unix_nano


@pytest.mark.parametrize("temporality", ["cumulative", "delta"])
def test_explicit_buckets_hold_what_lies_between_their_bounds(temporality: Any) -> None:
    """Those of the conventions, and the user's: each value in one bucket, at most one exponential bucket off."""
    world = World()
    builder = MetricsBuilder(temporality, Choice({CALL_DURATION: [0.25, 1.0, 4.0]}))
    random = np.random.default_rng(2)
    for _ in range(3):
        values = random.lognormal(0.0, 1.0, 500)
        world.call("predict", values)
        world.values(world.one("app.size", unit="By"), values * 1e3)
        snapshot = world.snapshot()
        found = metrics(builder, snapshot)
    (point,) = found[CALL_DURATION].data_points
    assert (0.25, 1.0, 4.0) == tuple(point.explicit_bounds)
    count = 500 if temporality == "delta" else 1_500
    assert count == point.count == sum(point.bucket_counts)
    if temporality == "delta":
        assert np.histogram(values, [0, 0.25, 1, 4, np.inf])[0].tolist() == point.bucket_counts
    (size,) = found["app.size"].data_points
    assert OTHERS == tuple(size.explicit_bounds)
    assert len(size.bucket_counts) == len(OTHERS) + 1


def test_every_metric_says_what_it_means() -> None:
    """And has its unit."""
    world = World()
    world.call("predict", [0.1])
    (owner,) = MetricsBuilder("delta").build(world.snapshot(), RESOURCE).resource_metrics
    (metric,) = owner.scope_metrics[0].metrics
    assert ("s", True) == (metric.unit, metric.description.startswith("How long calls of a watched function took"))


@pytest.mark.parametrize("choice", [None, Choice()], ids=["exponential", "explicit"])
def test_slow_calls_are_exemplars_of_the_series_that_counts_them(choice: Choice | None) -> None:
    """The newest twenty, with the ids that are told for them; those that have none are left out; each is sent once."""
    world = World()
    world.call("predict", [0.5] * 40)
    world.call("predict", [0.5], "ValueError")
    ok, failed = (one.id for one in world.series.values() if one.name == CALL_DURATION)
    slow = [SlowCall(number, "predict", ok, 0, number * SECOND_NS, trace_id=number % 2) for number in range(1, 61)]
    slow.append(SlowCall(61, "predict", failed, 0, 5 * SECOND_NS, trace_id=7))
    builder = MetricsBuilder("cumulative", choice, lambda call: (call.trace_id, 8) if call.trace_id else None)
    snapshot = replace(world.snapshot(), slow_calls=tuple(slow))
    for _ in range(2):
        one, other = metrics(builder, snapshot)[CALL_DURATION].data_points
        assert list(range(21, 60, 2)) == [exemplar.value for exemplar in one.exemplars]
        assert [{}] * MOST_EXEMPLARS == [exemplar.filtered_attributes for exemplar in one.exemplars]
        (last,) = other.exemplars
        assert (7, 8, 5.0, 5 * SECOND_NS) == (last.trace_id, last.span_id, last.value, last.time_unix_nano)
    builder.sent()
    later = replace(snapshot, slow_calls=(*slow, SlowCall(62, "predict", ok, 0, SECOND_NS, trace_id=9)))
    one, other = metrics(builder, later)[CALL_DURATION].data_points
    assert ([9], []) == ([exemplar.trace_id for exemplar in one.exemplars], list(other.exemplars))
