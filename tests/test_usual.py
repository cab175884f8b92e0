"""How long things usually take, from which series that is told, and how long is too long."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.check import Course
from holter.model import Series, Snapshot
from holter.names import (
    CALL_DURATION,
    CALL_NAME,
    CALL_OUTCOME,
    STREAM_BETWEEN_ITEMS,
    STREAM_FIRST_ITEM,
    STREAM_PRODUCER_TIME,
)
from holter.usual import FIRST_TIMES, LONGEST_TIMES, Allowance, Usual, Usuals

SECONDS = st.floats(1e-6, 1e6)


def root(snapshot: Snapshot, call: str) -> Series:
    """Return the series of a call."""
    named = {CALL_NAME: call}
    return next(one for one in snapshot.series.values() if (one.name, one.attributes) == (CALL_DURATION, named))


def test_the_usual_is_that_of_calls_that_ended_well() -> None:
    """In one series or, by a tag or as an expected error, in parts of it; to the error of the histogram."""
    course, random = Course(), np.random.default_rng(3)
    durations = random.lognormal(0, 1, 400)
    course.calls("predict", durations[:200].tolist())
    course.calls("predict", durations[200:].tolist(), "expected")
    course.calls("predict", [100.0] * 50, "error", "ValueError")
    course.calls("embed", [200.0])
    snapshot = course.tick()
    parent = root(snapshot, "predict")
    parts = {
        key: Series(key, one.name, one.unit, one.kind, one.attributes, parent.id)
        for key, one in snapshot.series.items()
        if one.attributes[CALL_NAME] == "predict" and key != parent.id
    }
    assert {"expected", "error"} == {part.attributes[CALL_OUTCOME] for part in parts.values()}
    usuals = Usuals()
    usuals.see(Snapshot(0, 0, {**snapshot.series, **parts}, snapshot.total, {}))
    usual = usuals.of(parent)
    assert (400, durations.max()) == (usual.ended, usual.longest)
    assert np.quantile(durations, 0.99) == pytest.approx(usual.p99, rel=0.05)


def test_the_usual_of_a_stream_is_that_of_its_items() -> None:
    """The first and the later ones, not the stream as a whole."""
    course, named = Course(), {CALL_NAME.replace(".", "__"): "generate"}
    for metric, seconds in ((STREAM_FIRST_ITEM, 0.5), (STREAM_BETWEEN_ITEMS, 0.02), (STREAM_PRODUCER_TIME, 40.0)):
        course.record(metric, [(course.now_ns, seconds)] * 10, "histogram", **named)
    course.calls("generate", [90.0])
    snapshot = course.tick()
    usuals = Usuals()
    usuals.see(snapshot)
    assert (20, 0.5) == (usuals.of(root(snapshot, "generate"), is_stream=True)[::2])
    assert (1, 90.0) == (usuals.of(root(snapshot, "generate"))[::2])


def test_series_that_come_later_are_seen() -> None:
    """Where some are new, they are looked for again."""
    course, usuals = Course(), Usuals()
    course.calls("predict", [0.1])
    usuals.see(course.tick())
    course.calls("embed", [0.2] * 3)
    snapshot = course.tick()
    usuals.see(snapshot)
    assert 3 == usuals.of(root(snapshot, "embed")).ended
    assert Usual() == usuals.of(Series(99, CALL_DURATION, "s", "histogram", {CALL_NAME: "nobody"}))


@pytest.mark.parametrize(
    ("usual", "options", "seconds", "why"),
    [
        (Usual(100, 0.1, 0.2), {}, 10, "99 of 100 take at most 100 ms"),
        (Usual(100, 2.0, 3.0), {}, 20, "99 of 100 take at most 2 s"),
        (Usual(100, 2.0, 30.0), {}, 90, "the longest of 100 calls took 30 s"),
        (Usual(99, 2.0, 3.0), {}, 300, "the longest of 99 calls took 3 s"),
        (Usual(99, 2.0, 200.0), {}, 600, "the longest of 99 calls took 3 min 20 s"),
        (Usual(100, 0.1, 0.2), {"is_training": True}, 300, "99 of 100 take at most 100 ms"),
        (Usual(100, 60.0, 70.0), {"is_training": True}, 600, "99 of 100 take at most 1 min"),
        (Usual(), {}, 900, "no call has ended yet"),
    ],
)
def test_the_limit_is_far_beyond_the_usual(usual: Usual, options: dict[str, Any], seconds: float, why: str) -> None:
    """By what 99 of 100 take, the longest of them, and how many are known."""
    assert (seconds, why) == Allowance().limit(usual, "call", **options)


@given(st.integers(0, 10**6), SECONDS, SECONDS, st.booleans())
def test_a_limit_is_never_below_what_it_is_said_to_be(ended: int, one: float, other: float, is_training: Any) -> None:
    """Nor below what was seen."""
    usual, allowance = Usual(ended, min(one, other), max(one, other)), Allowance()
    limit = allowance.limit(usual, "call", is_training=is_training).seconds
    assert limit >= allowance.least_seconds
    assert limit > usual.longest or not ended
    assert limit == FIRST_TIMES * allowance.grace_seconds or ended
    assert limit <= max(allowance.factor, LONGEST_TIMES) * max(usual.longest, allowance.grace_seconds)
