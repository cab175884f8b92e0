"""One column over time: silent as long as nothing changes, skewed or changed where something does, and back again."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from holter import Profile
from holter.driftcolumn import DriftColumn, Rule
from holter.tabledata import values_of

RULE = Rule(skew_risk=0.01, change_looks=1e6, band_risk=0.001, baseline_rows=2_000)


def column(values: Any, rule: Rule = RULE) -> DriftColumn:
    return DriftColumn("x", Profile.of({"x": values}).columns["x"], rule)


class Stream:
    """Rows that come in batches of 100, four a look."""

    def __init__(self, found: DriftColumn, seed: int = 1) -> None:
        self.column, self.random, self.look = found, np.random.default_rng(seed), 0

    def run(self, looks: int, shift: float = 0.0, missing: float = 0.0) -> int:
        """Let so many looks pass; return after how many the state has changed, 0 if it has not."""
        before = self.column.is_skewed, self.column.is_changed
        for place in range(looks):
            for _ in range(4):
                values = self.random.normal(shift, size=100)
                values[self.random.random(100) < missing] = np.nan
                self.column.take(values_of(values, self.column.kind))
            self.look += 1
            self.column.look(self.look)
            if (self.column.is_skewed, self.column.is_changed) != before:
                return place + 1
        return 0


REFERENCE = np.random.default_rng(6).normal(size=10_000)


def test_without_a_change_it_is_silent() -> None:
    """Before its baseline stands and after."""
    stream = Stream(column(REFERENCE))
    assert 0 == stream.run(300)
    assert stream.column.baseline is not None
    assert 2_000 <= stream.column.baseline.rows[-1] < 3_000


def test_other_data_than_the_reference_are_skewed_and_then_usual() -> None:
    """That is told once; what follows is compared with what came first."""
    stream = Stream(column(REFERENCE))
    assert 0 < stream.run(10, shift=1.0) <= 4
    assert (True, False) == (stream.column.is_skewed, stream.column.is_changed)
    assert 0 == stream.run(200, shift=1.0)


def test_a_change_is_seen_and_so_is_its_end() -> None:
    """Within some looks, and a second one too."""
    stream = Stream(column(REFERENCE))
    stream.run(100)
    assert 0 < stream.run(30, shift=0.5) <= 10
    assert 0 == stream.run(30, shift=0.5)
    assert 0 < stream.run(100) <= 60
    assert (False, False) == (stream.column.is_skewed, stream.column.is_changed)
    assert 0 < stream.run(30, shift=-0.5) <= 10


def test_a_change_within_the_smallest_shift_is_none() -> None:
    """A tenth of a standard deviation moves the distribution function by 0.04."""
    stream = Stream(column(REFERENCE))
    stream.run(100)
    assert 0 == stream.run(300, shift=0.1)


def test_what_is_missing_is_a_change() -> None:
    """And is what the finding names."""
    stream = Stream(column(REFERENCE))
    stream.run(100)
    assert 0 < stream.run(50, missing=0.3) <= 20
    name, expected, seen = stream.column.finding().shares[0]
    assert ("missing", 0.0, pytest.approx(0.3, abs=0.05)) == (name, expected, seen)


def test_a_finding_tells_of_the_window_since_the_change() -> None:
    """Its beginning to within half its age, its distances those of the shift."""
    stream = Stream(column(REFERENCE))
    stream.run(140)
    stream.run(30, shift=0.5)
    stream.run(30, shift=0.5)
    found = stream.column.finding()
    assert 120 <= found.since_ns <= 145
    assert found.distances.ks == pytest.approx(0.197, abs=0.03)
    assert found.distances.wasserstein == pytest.approx(0.5, abs=0.1)
    assert found.log_evidence > 10


@pytest.mark.parametrize("parts", [1, 8, 64])
def test_partitions_of_the_reference_give_the_same_verdicts(parts: int) -> None:
    """In random order, at the same looks."""
    values = np.random.default_rng(7).normal(size=64_000)
    whole = column(values)
    profiles = [Profile.of({"x": part}) for part in np.array_split(values, parts)]
    order = np.random.default_rng(parts).permutation(parts)
    merged = sum(profiles[place] for place in order)
    other = DriftColumn("x", merged.columns["x"], RULE)
    seen = []
    for one in (whole, other):
        stream = Stream(one, seed=3)
        seen.append((stream.run(10), stream.run(100), stream.run(30, shift=0.5), stream.run(100)))
    assert seen[0] == seen[1]
    assert seen[0][2] > 0


def test_it_goes_on_after_a_restart() -> None:
    """At any moment, through JSON, with the same verdicts at the same looks."""
    one, other = (Stream(column(REFERENCE), seed=5) for _ in range(2))
    for looks, shift in ((3, 0.0), (60, 0.0), (2, 0.5), (10, 0.5), (80, 0.0)):
        assert one.run(looks, shift=shift) == other.run(looks, shift=shift)
        state = json.loads(json.dumps(other.column.save()))
        other.column = column(REFERENCE)
        other.column.load(state)
        assert len(json.dumps(state)) < (7_500 if "hours" in state else 2_500)
    assert (one.column.is_skewed, one.column.is_changed) == (other.column.is_skewed, other.column.is_changed)


def test_a_state_of_another_reference_is_refused() -> None:
    """Its cuts lie elsewhere, so its counts mean something else."""
    state = column(REFERENCE).save()
    with pytest.raises(ValueError, match="other features"):
        column(REFERENCE + 1).load(state)


def test_batches_of_one_user_each_raise_no_false_alarms() -> None:
    """In 20 runs of 100 looks each at a risk of 0.05, rows of a batch going together (ICC 0.2)."""
    alarms = 0
    for seed in range(60):
        random, found = (
            np.random.default_rng(seed),
            column(REFERENCE, RULE._replace(skew_risk=0.05, baseline_rows=10**9)),
        )
        for look in range(100):
            for _ in range(4):
                values = random.normal() * np.sqrt(0.2) + random.normal(size=50) * np.sqrt(0.8)
                found.take(values_of(values, "number"))
            found.look(look)
        alarms += found.is_skewed
    assert alarms <= 2


HOUR_NS = 3_600 * 10**9


def days(found: DriftColumn, hours: range, moved: float = 0.0) -> int:
    """Let so many hours pass, whose data swing with the time of day; return how many looks said that they changed."""
    random, changed = np.random.default_rng(hours.start), 0
    for hour in hours:
        swing = 0.6 * np.sin(2 * np.pi * hour / 24)
        for look in range(4):
            for _ in range(20):
                found.take(values_of(random.normal(swing + moved, size=40), "number"))
            found.look(hour * HOUR_NS + look * HOUR_NS // 4)
            changed += found.is_changed
    return changed


def test_a_day_has_hours_and_each_is_compared_with_itself() -> None:
    """Silent over a week that swings by more than the smallest shift each day; a change is seen within the hour."""
    found = column(np.random.default_rng(6).normal(0, 1.1, size=10_000), RULE._replace(baseline_ns=24 * HOUR_NS))
    assert 0 == days(found, range(24, 8 * 24))
    assert found.is_hourly
    found.load(json.loads(json.dumps(found.save())))
    assert 0 == days(found, range(8 * 24, 9 * 24))
    assert 0 < days(found, range(9 * 24, 9 * 24 + 1), moved=0.5)


def test_hours_that_nobody_knows_are_learnt_first() -> None:
    """A baseline of a quarter of a day: the other hours differ, and are no alarm when they come."""
    found = column(np.random.default_rng(6).normal(0, 1.1, size=10_000), RULE._replace(baseline_ns=6 * HOUR_NS))
    assert 0 == days(found, range(24, 3 * 24))
    assert 0 < days(found, range(3 * 24, 3 * 24 + 1), moved=0.6)


def test_without_a_pattern_all_hours_are_one() -> None:
    """So that all rows tell."""
    found = column(REFERENCE, RULE._replace(baseline_ns=24 * HOUR_NS))
    stream = Stream(found)
    for hour in range(30):
        stream.look = (24 + hour) * HOUR_NS
        stream.run(5)
    assert (False, True) == (found.is_hourly, found.baseline is not None)
