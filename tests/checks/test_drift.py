"""Drift as a check: skew told once, changes as alarms with the columns named, faults at once, restarts, bounds."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import holter
from contracts.check import CheckContract, Course
from contracts.looking import LookingContract
from holter import ConfigurationError, Drift, Profile
from holter.model import Alert, Observation, Snapshot

SECOND = 10**9
BEGUN_NS = 1_800_000_000 * SECOND
NAMES = [f"f{place}" for place in range(8)]


@holter.watch(name="predict")
def predict(batch: Any) -> Any:
    return batch


def table(random: np.random.Generator, rows: int, moved: tuple[str, ...] = (), shift: float = 0.7) -> dict[str, Any]:
    """Return columns, some of them moved."""
    data: dict[str, Any] = {name: random.normal(size=rows) + shift * (name in moved) for name in NAMES}
    shares = (0.3, 0.4, 0.3) if "country" in moved else (0.6, 0.3, 0.1)
    data["country"] = random.choice(["CH", "AT", "DE"], rows, p=shares).tolist()
    return data


REFERENCE = Profile.of(table(np.random.default_rng(0), 8_000))


class Service:
    """Feeds a check with batches of 100 rows, four each ten seconds."""

    def __init__(self, check: Drift, seed: int = 1) -> None:
        self.check, self.random, self.now_ns = check, np.random.default_rng(seed), BEGUN_NS

    def tick(self, *batches: dict[str, Any], source: str = "inputs", seconds: float = 10.0) -> list[Alert]:
        for batch in batches:
            rows = len(next(iter(batch.values())))
            self.check.observe(Observation("predict", batch, rows, self.now_ns, source))
        self.now_ns += round(seconds * SECOND)
        return self.check.judge(Snapshot(self.now_ns, round(seconds * SECOND), {}, {}, {}))

    def run(self, looks: int, moved: tuple[str, ...] = (), shift: float = 0.7) -> list[Alert]:
        alerts = []
        for _ in range(looks):
            alerts += self.tick(*(table(self.random, 100, moved, shift) for _ in range(4)))
        return alerts


def drift(**options: Any) -> Drift:
    return of(REFERENCE, **options)


def of(reference: Any, **options: Any) -> Drift:
    usual = {"call": predict, "outputs": False, "baseline_rows": 2_000, "baseline_seconds": 0.0}
    return Drift(reference, **{**usual, **options})


class TestContract(CheckContract):
    """What every check must satisfy; its data come with the course's calls."""

    ticks = 60

    def make(self, call: str) -> Drift:
        """Compare one column."""
        self.made = Drift(
            Profile.of({"age": np.random.default_rng(3).normal(size=5_000)}),
            call=holter.watch(lambda age: age, name=call[:200]),
            outputs=False,
            baseline_rows=500,
            baseline_seconds=0.0,
            every_seconds=1.0,
        )
        self.random = np.random.default_rng(4)
        return self.made

    def good(self, course: Course, call: str) -> None:
        """Ages as ever."""
        self.made.observe(Observation(call, {"age": self.random.normal(size=100)}, 100, course.now_ns))

    def bad(self, course: Course, call: str) -> None:
        """Ages that have moved by two standard deviations."""
        self.made.observe(Observation(call, {"age": self.random.normal(2.0, size=100)}, 100, course.now_ns))


class TestInputsSeen(LookingContract):
    """It looks at data as checks may."""

    source = "inputs"

    def make(self) -> Drift:
        """Return a fresh check."""
        return drift()

    def usual(self) -> dict[str, Any]:
        """Return a batch of all kinds of columns."""
        return table(np.random.default_rng(2), 20)


class TestResultsSeen(LookingContract):
    """So it does at results that no reference knows."""

    def make(self) -> Drift:
        """Return a fresh check."""
        return drift(inputs=False, outputs=None)


def test_without_drift_nothing_is_told() -> None:
    """Over 400 looks at nine columns."""
    service = Service(drift())
    assert [] == service.run(400)
    assert "predict: 9 columns, as expected" == service.check.describe()


def test_a_change_names_its_columns_in_the_order_of_what_they_tell() -> None:
    """With what moved from where to where, the distances, and what to do."""
    service = Service(drift())
    service.run(30)
    service.check.judge(Snapshot(service.now_ns, 0, {}, {}, {}))
    for _ in range(2):
        # Both have crossed when the first is told: what they do together is one alert.
        told = service.run(1, moved=("f3", "country"), shift=1.5)
        if told:
            break
    (alert,) = told
    assert ("firing", "warning", "drift", "predict") == (alert.state, alert.severity, alert.check, alert.target)
    assert "f3" == alert.related[0]
    assert alert.message.startswith("the data of predict have changed: f3 (at most ")
    assert alert.evidence["column_1"] == "f3"
    assert alert.evidence["ks_1"] == pytest.approx(0.55, abs=0.12)
    assert {"psi_1", "wasserstein_1", "jensen_shannon_1", "log_evidence_1", "rows"} <= alert.evidence.keys()
    assert "f3" in alert.next_step
    assert [] == service.run(30, moved=("f3", "country"))
    assert "changed: f3" in service.check.describe()
    (resolved,) = service.run(60)
    assert ("resolved", alert.id) == (resolved.state, resolved.id)
    first = service.check.findings()[0]
    assert first.distances.ks < 0.1


def test_skew_is_told_once_as_a_state() -> None:
    """Data that differ from the reference from the first row on are no alarm, and are usual from then on."""
    service = Service(drift())
    (alert,) = service.run(200, moved=("f1",))
    assert ("firing", "info") == (alert.state, alert.severity)
    assert "predict has been given other data than its reference from the beginning: f1" in alert.message
    (changed,) = service.run(30)
    assert "the data of predict have changed: f1" in changed.message


def test_predictions_drift_without_labels() -> None:
    """What comes out and has no reference is compared with its own beginning."""
    service = Service(drift(inputs=False, outputs=None))
    scores = [{"outputs": service.random.beta(2, 5, size=200)} for _ in range(200)]
    assert [] == [alert for batch in scores for alert in service.tick(batch, source="outputs")]
    told = [
        alert
        for _ in range(30)
        for alert in service.tick({"outputs": service.random.beta(5, 2, 200)}, source="outputs")
    ]
    assert ["outputs"] == list(told[0].related)


def test_predictions_are_compared_with_the_label() -> None:
    """Where the reference has one; its balance is what it was trained on."""
    random = np.random.default_rng(5)
    reference = Profile.of({"age": random.normal(size=4_000), "bought": random.integers(0, 2, 4_000)}, label="bought")
    service = Service(of(reference, inputs=False, outputs=None))
    told = []
    for _ in range(30):
        told += service.tick({"outputs": (random.random(100) < 0.9).astype(int)}, source="outputs")
    assert [("info", ("bought",))] == [(alert.severity, alert.related) for alert in told]
    assert "bought (" in told[0].message


def test_arrays_are_taken_for_the_columns_in_their_order() -> None:
    """As a model is given them; embeddings are one column."""
    random = np.random.default_rng(6)
    tabular = of(Profile.of(random.normal(size=(5_000, 6))), baseline_rows=1_000)
    vectors = Profile.of({"text": random.normal(size=(5_000, 48))})
    embedded = of(vectors, baseline_rows=1_000)
    for check, width, column in ((tabular, 6, "2"), (embedded, 48, "text")):
        service = Service(check)
        batches = [random.normal(size=(200, width)) for _ in range(100)]
        assert [] == [alert for batch in batches for alert in service.tick({"batch": batch})]
        moved = [random.normal(size=(200, width)) for _ in range(20)]
        for batch in moved:
            batch[:, 2 if width == 6 else slice(None)] += 1.0
        told = [alert for batch in moved for alert in service.tick({"batch": batch})]
        assert [(column,)] == [alert.related for alert in told]


@pytest.mark.parametrize(
    ("damage", "fault", "column"),
    [
        (lambda batch: batch.pop("f2"), "does not get", "f2"),
        (lambda batch: batch.update(new=np.ones(100)), "columns that the reference does not have", "new"),
        (lambda batch: batch.update(f2=["x"] * 100), "values of another kind in", "f2"),
        (lambda batch: batch.update(f2=batch["f2"] * 1_000), "far out of range in", "f2"),
    ],
)
def test_faults_are_told_at_once(damage: Any, fault: str, column: str) -> None:
    """At the first look; and that they are gone, after six without."""
    service = Service(drift())
    service.run(5)
    batch = table(service.random, 100)
    damage(batch)
    (alert,) = service.tick(batch)
    assert ("firing", True, (column,)) == (alert.state, fault in alert.message, alert.related)
    assert alert.next_step
    told = service.run(7)
    assert [(alert.id, "resolved")] == [(one.id, one.state) for one in told]


def test_a_fault_is_told_though_nothing_else_fits() -> None:
    """A call that is given a number instead of a table, or text instead of numbers."""
    service = Service(of(Profile.of({"age": np.arange(1_000)})))
    (alert,) = service.tick({"age": ["old"] * 50})
    assert "predict gets values of another kind in age" == alert.message
    service = Service(drift())
    told = service.tick({"batch": np.array([5.0])})
    assert ["missing column", "extra column"] == [alert.evidence["fault"] for alert in told]


def test_columns_of_the_reference_that_are_not_asked_for_may_come() -> None:
    """They are neither compared nor extra."""
    service = Service(drift(columns=["f1"]))
    assert [] == service.run(5, moved=("f2", "country"))


def test_a_cluster_that_does_not_come_is_missing() -> None:
    """Without it rows would count for more than they are worth."""
    service = Service(drift(cluster="user"))
    (alert,) = service.tick(table(service.random, 100))
    assert "predict does not get user" == alert.message
    service = Service(drift(cluster="user"))
    assert [] == service.tick({**table(service.random, 100), "user": np.arange(100)})


def test_times_go_on_and_are_no_drift_unless_asked_for() -> None:
    """That they are missing is."""
    hours = np.datetime64("2024-01-01T00", "us") + np.arange(4_000) * np.timedelta64(1, "h")
    numbers = np.random.default_rng(2).normal(size=4_000)
    reference = Profile.of({"when": hours, "age": numbers})

    def batches(start: int) -> dict[str, Any]:
        return {"when": hours[:100] + np.timedelta64(start, "h"), "age": numbers[start % 3_900 :][:100]}

    for options, is_told in (({"columns": ["when", "age"]}, True), ({}, False)):
        service = Service(of(reference, **options))
        told = [alert for start in range(0, 60_000, 1_000) for alert in service.tick(batches(start))]
        assert is_told == bool(told)
    nothing = {"when": np.full(100, np.datetime64("NaT", "us")), "age": numbers[:100]}
    told = [alert for _ in range(20) for alert in service.tick(nothing)]
    assert "when" == told[0].related[0]


def test_numbers_may_come_as_bools() -> None:
    """As flags do, from other code than the one that made the reference."""
    random = np.random.default_rng(6)
    service = Service(of(Profile.of({"flag": (random.random(5_000) < 0.3).astype(int)})))
    assert [] == [alert for _ in range(60) for alert in service.tick({"flag": random.random(100) < 0.3})]
    assert service.check.findings()[0].distances.ks < 0.1


def test_results_that_are_not_finite_are_a_fault() -> None:
    """One is enough."""
    service = Service(drift(inputs=False, outputs=None))
    assert [] == service.tick({"outputs": np.ones(50)}, source="outputs")
    (alert,) = service.tick({"outputs": np.array([1.0, np.nan])}, source="outputs")
    assert ("critical", "predict answers with values that are not finite in outputs") == (alert.severity, alert.message)


def test_users_whose_rows_go_together_raise_no_alarm() -> None:
    """With cluster=, though ten users at a time make up what is seen; and the users themselves are not compared."""
    random = np.random.default_rng(7)
    reference = Profile.of({"age": random.normal(size=8_000), "user": random.integers(0, 900, 8_000)})
    service = Service(of(reference, cluster="user", baseline_rows=1_000))
    told = []
    for _ in range(200):
        users = random.integers(0, 10**6, 10)
        ages = np.repeat(random.normal(size=10) * np.sqrt(0.3), 20) + random.normal(size=200) * np.sqrt(0.7)
        told += service.tick({"age": ages, "user": np.repeat(users, 20)})
    assert [] == told
    for _ in range(100):
        told += service.tick({"age": random.normal(2.0, size=200), "user": random.integers(0, 10**6, 200)})
    assert [("age",)] == [alert.related for alert in told]


def test_what_several_processes_count_comes_together() -> None:
    """Judged as if one had seen it all: the same alerts at the same looks, faults too; each share through JSON."""
    alone, leader, workers = Service(drift()), Service(drift()), [drift() for _ in range(3)]
    random, told = np.random.default_rng(11), ([], [])
    for look in range(60):
        moved = ("f2",) if look > 40 else ()
        batches = [table(random, 100, moved, 1.0) for _ in range(4)]
        if look == 50:
            batches[2]["new"] = np.ones(100)
        told[0].extend(alone.tick(*batches))
        for process, batch in zip((leader.check, *workers), batches, strict=True):
            process.observe(Observation("predict", batch, 100, leader.now_ns))
        for process in (leader.check, *workers):
            leader.check.gather(json.loads(json.dumps(process.share())))
            assert process is leader.check or process.share() is None
        told[1].extend(leader.tick())
    assert {"f2", "new"} == {name for alert in told[0] for name in alert.related}
    # How batches differ is found in each process, from other pairs of batches: a look sooner or later.
    kinds = [[(alert.id.split("-")[2], alert.state, alert.related) for alert in alerts] for alerts in told]
    assert kinds[0] == kinds[1]
    assert abs(told[0][0].since_ns - told[1][0].since_ns) <= 20 * SECOND


@pytest.mark.parametrize(
    "share", [{}, {"of": "", "columns": {"f0": {"counts": "AAAA"}}, "intake": None}, {"columns": []}]
)
def test_a_share_that_is_none_is_refused(share: Any) -> None:
    """The monitor counts that."""
    with pytest.raises((ValueError, KeyError, AttributeError)):
        drift().gather(share)


def test_looks_are_not_more_often_than_asked_for() -> None:
    """Rows wait for the next look; a time without rows is none."""
    service = Service(drift(every_seconds=60.0))
    service.tick(table(service.random, 100))
    for _ in range(20):
        assert [] == service.tick(table(service.random, 100, moved=tuple(NAMES), shift=2.0), seconds=1.0)
    assert service.tick(seconds=60.0)
    assert [] == service.tick(seconds=600.0)


def test_what_was_learnt_outlives_a_restart() -> None:
    """At any moment: the same alerts at the same looks, and skew is not told again."""
    once, often = Service(drift(), seed=9), Service(drift(), seed=9)
    story: list[tuple[int, tuple[str, ...]]] = [
        (3, ("f0",)),
        (30, ("f0",)),
        (2, ("f0", "f5")),
        (20, ("f0", "f5")),
        (60, ("f0",)),
    ]
    told: list[list[Alert]] = [[], []]
    for looks, moved in story:
        told[0] += once.run(looks, moved=moved)
        told[1] += often.run(looks, moved=moved)
        state = json.loads(json.dumps(often.check.save(), allow_nan=False))
        often.check = drift()
        often.check.load(state, 3_600.0)
    assert ["firing", "firing", "resolved"] == [alert.state for alert in told[0]]
    # In which window it shows most is forgotten; what and when is not.
    assert [(one.id, one.state, one.related) for one in told[0]] == [
        (one.id, one.state, one.related) for one in told[1]
    ]


@pytest.mark.parametrize("state", [{}, {"columns": {}}, {"columns": None}, [], {"columns": {"f0": {"rows": [1]}}}])
def test_a_state_that_is_none_is_refused_and_harms_nothing(state: Any) -> None:
    """The monitor counts that, and the check begins anew."""
    service = Service(drift())
    with pytest.raises((ValueError, KeyError, TypeError, AttributeError)):
        service.check.load(state, 0.0)
    assert [] == service.run(5)


def test_four_hundred_columns_take_24_megabytes_and_their_state_a_part_of_one() -> None:
    """Of numbers; what panes and evidence take beside is 20 KiB a column."""
    random = np.random.default_rng(8)
    reference = Profile.of(random.normal(size=(300, 100)).repeat(4, axis=1))
    tracemalloc.start()
    check = of(reference, baseline_rows=100)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    service = Service(check)
    for _ in range(10):
        service.tick({"batch": random.normal(size=(60, 100)).repeat(4, axis=1)})
    assert held < 24e6
    state = check.save()
    # A thousand columns would have the evidence of some.
    bare = {name: {key: part for key, part in one.items() if key != "stakes"} for name, one in state["columns"].items()}
    assert 2.5 * len(json.dumps({**state, "columns": bare})) < 0.7 * 2**20
    assert len(json.dumps(state)) < 900_000


def test_a_reference_may_be_a_file(tmp_path: Path) -> None:
    """As `holter profile` leaves it."""
    REFERENCE.save(tmp_path / "reference.json")
    check = Drift(tmp_path / "reference.json", call=predict, columns=["f1", "country"], outputs=False)
    assert "predict: 2 columns, no rows seen" == check.describe()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"call": len}, "expected the function that watch"),
        ({"inputs": "image"}, "has no argument 'image'"),
        ({"inputs": False}, "inputs or outputs to look at, got False for both"),
        ({"smallest_shift": 0}, "smallest_shift must be a share between 0 and 1"),
        ({"smallest_shift": "5 %"}, "smallest_shift must be a finite number"),
        ({"false_alarms_per_week": 0}, "false_alarms_per_week must be greater than 0"),
        ({"baseline_rows": 5}, "baseline_rows must be a whole number from 100 on"),
        ({"every_seconds": -1}, "every_seconds must be greater than 0"),
        ({"columns": ["wage"]}, "columns must be one of"),
        ({"cluster": 3}, "cluster must be the name of a column"),
    ],
)
def test_what_cannot_work_is_refused(options: dict[str, Any], words: str) -> None:
    """With what was expected and what came."""
    with pytest.raises(ConfigurationError, match=words):
        drift(**options)


def test_a_reference_that_is_none_is_refused() -> None:
    """A frame is to be made a profile first."""
    with pytest.raises(ConfigurationError, match=r"a holter.Profile or the path of one, got dict"):
        Drift({"age": [1]}, call=predict)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="reference has no columns"):
        Drift(Profile(), call=predict)


def test_real_calls_are_watched() -> None:
    """From the function's arguments, through the monitor, to the alert."""
    random = np.random.default_rng(10)
    reference = Profile.of(random.normal(size=(5_000, 4)))

    @holter.watch
    def score(batch: np.ndarray) -> np.ndarray:
        return batch.sum(axis=1)

    check = Drift(reference, call=score, baseline_rows=1_000, baseline_seconds=0.0, every_seconds=1e-6)
    with holter.start("sentiment", samplers=[], interval_seconds=0.05, checks=[check]) as monitor:
        for place in range(300):
            batch = random.normal(size=(200, 4))
            batch[:, 2] += 2.0 * (place > 150)
            score(batch)
            monitor.flush(timeout=5.0)
            if monitor.alerts():
                break
        assert [("2",)] == [one.related for one in monitor.alerts()]
    assert place > 150
