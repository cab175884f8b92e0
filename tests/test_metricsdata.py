"""What OpenTelemetry is handed: the same counts, sums and quantiles, in its own classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.metrics.export import AggregationTemporality
from opentelemetry.sdk.resources import Resource

from holter.classicbuckets import OTHERS, Choice
from holter.distribution import Histogram
from holter.metricsdata import MOST_BUCKETS, MetricsBuilder
from holter.model import Reading
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


@given(turns=st.lists(st.tuples(st.integers(0, 50), st.integers(0, 500)), min_size=1, max_size=6), delta=st.booleans())
def test_lost_records_are_distributed_as_those_that_were_read(turns: list[tuple[int, int]], *, delta: bool) -> None:
    """The buckets always hold as many values as were counted, and no bucket of a cumulative one ever shrinks."""
    world, builder = World(), MetricsBuilder("delta" if delta else "cumulative")
    series = world.one("app.size", unit="By")
    random, earlier = np.random.default_rng(0), Histogram()
    for read, lost in turns:
        values = random.lognormal(0.0, 0.1, read)
        if read:
            world.values(series, values)
        if lost:
            world._take(series, Reading(count=lost, sum=float(lost)))
        snapshot = world.snapshot()
        counted = (snapshot.interval if delta else snapshot.total).get(series)
        if counted is None:
            continue
        (point,) = metrics(builder, snapshot)["app.size"].data_points
        inside = point.zero_count + sum(point.positive.bucket_counts) + sum(point.negative.bucket_counts)
        assert (counted.count, pytest.approx(counted.sum)) == (point.count, point.sum)
        assert counted.count == inside
        if not delta:
            later = builder._completed(series, counted, snapshot.interval.get(series, Reading()), counted)
            coarse = min(later.scale, earlier.scale)
            before = dict(
                enumerate(earlier.downscale(coarse).positive.counts, earlier.downscale(coarse).positive.offset)
            )
            after = dict(enumerate(later.downscale(coarse).positive.counts, later.downscale(coarse).positive.offset))
            assert all(after.get(place, 0) >= count for place, count in before.items())
            earlier = later


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
