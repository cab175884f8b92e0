"""
Drift: how often it is told where there is none, how soon where there is some, and what it costs beside peers.

    python benchmarks/drift.py [--quick]

Peers are run beside it where they are installed (evidently, nannyml). All of it takes some 20 minutes of an idle
machine, --quick two.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import os
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from statistics import NormalDist

import numpy as np

import holter
from holter.distances import jensen_shannon, psi, wasserstein
from holter.driftcolumn import BAND_RISK, DriftColumn, Rule
from holter.model import Observation, Snapshot
from holter.tabledata import values_of
from runner import compare

ALPHA = 0.05
LOOK = 500
CLUSTER, ICC = 50, 0.05
FEATURES = 2
"""What is missing or invalid, of which there is none here."""


@dataclass(frozen=True)
class Share:
    """In how many of how many runs something happened."""

    hits: int
    runs: int

    @property
    def value(self) -> float:
        return self.hits / self.runs

    @property
    def most(self) -> float:
        """The share that a risk of ALPHA may show in so many runs: two standard errors more."""
        return ALPHA + 2 * math.sqrt(ALPHA * (1 - ALPHA) / self.runs)

    def __str__(self) -> str:
        return f"{self.hits:>4} of {self.runs} ({self.value:6.1%})"


def column_of(values: np.ndarray, columns: int = 1) -> DriftColumn:
    """Return the column of a reference with these values, at its part of ALPHA."""
    profile = holter.Profile.of({"x": values}).columns["x"]
    return DriftColumn("x", profile, Rule(skew_risk=ALPHA / columns, baseline_rows=10**12))


def below(cuts: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return how many of the values are at most each cut."""
    return np.searchsorted(np.sort(values), cuts, side="right").astype(float)


def looks(column: DriftColumn, counts: Iterator[np.ndarray], rows: int = LOOK) -> int:
    """Return after how many rows the column is called different, looked at after each of the counts; 0 if never."""
    bet, limit = column._skew, -math.log(column._rule.skew_risk * (1 - BAND_RISK))  # noqa: SLF001
    hit, miss, weights = (part[:, np.newaxis] for part in (bet._hit, bet._miss, bet._weights))  # noqa: SLF001
    # What `DriftColumn.look` does look by look, for a hundred looks at once.
    seen, before = 0, np.zeros(len(column.features.names))
    while chunk := list(islice(counts, 100)):
        sums = before + np.cumsum([np.concatenate((count, np.zeros(FEATURES))) for count in chunk], axis=0)
        total = (seen + rows * np.arange(1, len(chunk) + 1))[:, np.newaxis]
        with_feature = np.stack((sums, total - sums))[..., np.newaxis]
        stakes = hit * with_feature + miss * (total[..., np.newaxis] - with_feature) + weights
        top = stakes.max(axis=(0, 2, 3))
        logs = top + np.log(np.exp(stakes - top[:, np.newaxis, np.newaxis]).sum(axis=(0, 2, 3)))
        if (logs >= limit).any():
            return seen + rows * (int((logs >= limit).argmax()) + 1)
        seen, before = int(total[-1, 0]), sums[-1]
    return 0


def multinomial(random: np.random.Generator, below_cuts: np.ndarray, rows: int, most: int) -> Iterator[np.ndarray]:
    """Yield the counts of independent rows, so many at a time, of which each cut has these shares below it."""
    cells = np.diff(np.concatenate(([0.0], below_cuts, [1.0]))).clip(0)
    cells /= cells.sum()
    for _ in range(most // rows):
        yield np.cumsum(random.multinomial(rows, cells))[:-1].astype(float)


def normal_below(cuts: np.ndarray, shift: float = 0.0) -> np.ndarray:
    """Return which share of normal values, moved by *shift*, is at most each cut."""
    return np.array([0.5 * math.erfc(-(cut - shift) / math.sqrt(2)) for cut in cuts.tolist()])


# -- no drift


def independent(random: np.random.Generator, reference: int, columns: int) -> bool:
    """One run without drift: whether any column is called different."""
    for _ in range(columns):
        column = column_of(random.normal(size=reference), columns)
        shares = normal_below(column.features.edges[0])
        if looks(column, multinomial(random, shares, LOOK, 10 * reference)):
            return True
    return False


def huge(random: np.random.Generator, columns: int) -> bool:
    """One run against 1,000,000 rows, whose counts are drawn; looks each 500 rows, from 100,000 on each 100,000."""
    known = holter.Profile.of({"x": np.linspace(-4, 4, 10_001)}).columns["x"]
    for _ in range(columns):
        column = DriftColumn("x", known, Rule(skew_risk=ALPHA / columns, baseline_rows=10**12))
        shares = normal_below(column.features.edges[0])
        counts = next(multinomial(random, shares, 1_000_000, 1_000_000))
        told = np.concatenate((counts, np.zeros(FEATURES)))
        size = len(column.features.names)
        column.reference = type(column.reference)(np.full(size, 1e6), told, np.zeros(size))
        column._skew = column._evidence(column.reference, ALPHA / columns * BAND_RISK)  # noqa: SLF001
        if looks(column, multinomial(random, shares, LOOK, 100_000)):
            return True
        if looks(column, multinomial(random, shares, 100_000, 10_000_000), 100_000):
            return True
    return False


def clustered(random: np.random.Generator, reference: int, columns: int, *, by_cluster: bool) -> bool:
    """One run of rows that come 50 from each of 10 users at a look, half a tenth of their variance between users."""
    for _ in range(columns):
        column = column_of(random.normal(size=reference), columns)
        cuts, size = column.features.edges[0], len(column.features.names)
        rows = np.full(size, float(CLUSTER))
        for look in range(10 * reference // LOOK):
            users = random.normal(size=(LOOK // CLUSTER, 1)) * math.sqrt(ICC)
            values = users + random.normal(size=(LOOK // CLUSTER, CLUSTER)) * math.sqrt(1 - ICC)
            for place, own in enumerate(values):
                counts = np.concatenate((below(cuts, own), np.zeros(FEATURES)))
                column.add(rows, counts)
                if by_cluster:
                    column.blocks.cluster((look * 10 + place) * 37 % 64, rows, counts)
                else:
                    column.blocks.batch(rows, counts, column.reference.values)
            column.look(0)
            if column.is_skewed:
                return True
    return False


def at_the_edge(random: np.random.Generator, reference: int) -> bool:
    """One run of data that have moved by just the smallest shift, everywhere where they can."""
    column = column_of(random.normal(size=reference))
    shares = normal_below(column.features.edges[0])
    moved = np.where(shares < 0.5, np.maximum(shares - 0.05, 0), np.minimum(shares + 0.05, 1))
    return bool(looks(column, multinomial(random, moved, LOOK, 10 * reference)))


def month(random: np.random.Generator, columns: int, days: float) -> int:
    """Return the alarms of so many days at the shipped rate, with a look of 100 rows each 10 seconds."""
    reference = holter.Profile.of({f"c{place}": random.normal(size=10_000) for place in range(columns)})
    predict = holter.watch(lambda batch: batch, name="predict")
    check = holter.Drift(reference, call=predict, outputs=False)
    known = [column for column in check._columns.values() if isinstance(column, DriftColumn)]  # noqa: SLF001
    shares = [normal_below(column.features.edges[0]) for column in known]
    cells = [np.diff(np.concatenate(([0.0], share, [1.0]))).clip(0) for share in shares]
    now_ns, alarms, size = 10**18, 0, len(known[0].features.names)
    for _ in range(round(days * 8_640)):
        now_ns += 10**10
        for column, cell in zip(known, cells, strict=True):
            count = np.cumsum(random.multinomial(100, cell / cell.sum()))[:-1].astype(float)
            column.add(np.full(size, 100.0), np.concatenate((count, np.zeros(FEATURES))))
        alarms += sum(alert.state == "firing" for alert in check.judge(Snapshot(now_ns, 10**10, {}, {}, {})))
    return alarms


# -- drift


def rows_to_see(random: np.random.Generator, shift: float, most: int, columns: int = 1, reference: int = 10_000) -> int:
    """Return after how many rows a shift of one of the columns is seen, 0 if it is not."""
    column = column_of(random.normal(size=reference), columns)
    return looks(column, multinomial(random, normal_below(column.features.edges[0], shift), LOOK, most))


def rows_to_see_categories(random: np.random.Generator, shares: list[float], most: int) -> int:
    """Return after how many rows other shares of three categories are seen."""
    names = np.array(["a", "b", "c"], dtype=object)
    known = holter.Profile.of({"x": random.choice(names, 10_000, p=[0.6, 0.3, 0.1])}).columns["x"]
    column = DriftColumn("x", known, Rule(skew_risk=ALPHA, baseline_rows=10**12))
    order = [column.features.names.index(name) for name in names]
    seen, size = 0, len(column.features.names)
    while seen < most:
        counts = np.zeros(size)
        counts[order] = random.multinomial(LOOK, shares)
        seen += LOOK
        column.add(np.full(size, float(LOOK)), counts)
        column.look(0)
        if column.is_skewed:
            return seen
    return 0


def rows_to_see_embeddings(random: np.random.Generator, shift: float, most: int) -> int:
    """Return after how many rows embeddings of 64 dimensions are seen to have moved by *shift* of their spread."""
    known = holter.Profile.of({"x": random.normal(size=(10_000, 64))}).columns["x"]
    column = DriftColumn("x", known, Rule(skew_risk=ALPHA, baseline_rows=10**12))
    direction = random.normal(size=64)
    direction *= shift * 8 / np.linalg.norm(direction)
    for seen in range(LOOK, most + 1, LOOK):
        values = values_of(random.normal(size=(LOOK, 64)) + direction, "vector")
        column.add(*column.features.count(values))
        column.look(0)
        if column.is_skewed:
            return seen
    return 0


# -- what it costs


def judged(data: dict[str, np.ndarray], reference: holter.Profile) -> float:
    """Return the milliseconds of CPU that counting and judging all columns takes, all distances included."""
    predict = holter.watch(lambda batch: batch, name="predict")
    check = holter.Drift(reference, call=predict, outputs=False)
    observation = Observation("predict", data, 10_000, 10**18)
    snapshot = Snapshot(10**18, 10**10, {}, {}, {})
    begun = time.process_time()
    check.observe(observation)
    check.judge(snapshot)
    check.findings()
    return (time.process_time() - begun) * 1e3


def evidently(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> Callable[[], float] | None:
    """Return what times evidently's preset, if it is installed."""
    if importlib.util.find_spec("evidently") is None:
        return None
    import pandas as pd  # noqa: PLC0415 - only with the peer
    from evidently import Report  # noqa: PLC0415
    from evidently.presets import DataDriftPreset  # noqa: PLC0415

    frames = pd.DataFrame(one), pd.DataFrame(other)

    def measure() -> float:
        begun = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            Report([DataDriftPreset()]).run(reference_data=frames[0], current_data=frames[1])
        return (time.process_time() - begun) * 1e3

    return measure


def nannyml(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> Callable[[], float] | None:
    """Return what times nannyml's Jensen-Shannon distance of each column, fitted before, if it is installed."""
    if importlib.util.find_spec("nannyml") is None:
        return None
    os.environ.setdefault("NML_DISABLE_USAGE_LOGGING", "1")
    import nannyml as nml  # noqa: PLC0415 - only with the peer
    import pandas as pd  # noqa: PLC0415

    frames = pd.DataFrame(one), pd.DataFrame(other)
    calculator = nml.UnivariateDriftCalculator(
        column_names=list(one), continuous_methods=["jensen_shannon"], chunk_size=10_000
    ).fit(frames[0])

    def measure() -> float:
        begun = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            calculator.calculate(frames[1])
        return (time.process_time() - begun) * 1e3

    return measure


def agree() -> None:
    """Print our distances beside evidently's own, if it is installed: in its bins and on the same data."""
    if importlib.util.find_spec("evidently") is None:
        print("evidently is not installed: not compared")
        return
    import pandas as pd  # noqa: PLC0415 - only with the peer
    from evidently.legacy.calculations import stattests  # noqa: PLC0415
    from evidently.legacy.calculations.stattests.utils import get_binned_data  # noqa: PLC0415
    from evidently.legacy.core import ColumnType  # noqa: PLC0415

    random = np.random.default_rng(9)
    pairs = {
        "normal, moved": (random.normal(size=5_000), random.normal(0.3, 1.2, size=4_000), ColumnType.Numerical),
        "skewed, the same": (random.gamma(2, size=5_000), random.gamma(2, size=4_000), ColumnType.Numerical),
        "categories": (
            random.choice(["a", "b", "c"], 5_000),
            random.choice(["a", "b", "c"], 4_000, p=[0.5, 0.3, 0.2]),
            ColumnType.Categorical,
        ),
    }
    print("\nThe same data, our distances beside evidently's")
    for what, (one, other, kind) in pairs.items():
        frames = pd.Series(one), pd.Series(other)
        bins = get_binned_data(*frames, kind, 30)
        raw = get_binned_data(*frames, kind, 30, feel_zeroes=False)
        # To base e, as theirs is.
        ours = {"psi": psi(*bins), "jensenshannon": jensen_shannon(*raw) * math.sqrt(math.log(2))}
        tests = {"psi": stattests.psi_stat_test, "jensenshannon": stattests.jensenshannon_stat_test}
        if kind == ColumnType.Numerical:
            known = [holter.Profile.of({"x": values}).columns["x"].numbers for values in (one, other)]
            ours["wasserstein"] = wasserstein(known[0].sketch, known[1].sketch) / known[0].moments.deviation
            tests["wasserstein"] = stattests.wasserstein_stat_test
        for name, test in tests.items():
            theirs = stattests.get_stattest(frames[0], frames[1], kind, test)(frames[0], frames[1], kind, 0.1)
            print(f"  {what:20} {name:15} {ours[name]:.6f}  {theirs.drift_score:.6f}")
            assert math.isclose(ours[name], theirs.drift_score, rel_tol=1e-6, abs_tol=1e-9), (what, name)


def costs() -> None:
    """Print what 10 columns x 10,000 rows cost beside peers."""
    random = np.random.default_rng(7)
    one, other = ({f"c{place}": random.normal(size=10_000) for place in range(10)} for _ in range(2))
    reference = holter.Profile.of(one)
    candidates = {"holter": lambda: judged(other, reference)}
    for name, make in (("evidently", evidently), ("nannyml", nannyml)):
        measure = make(one, other)
        if measure is None:
            print(f"{name} is not installed: not measured")
        else:
            candidates[name] = measure
    results = compare(candidates, unit="ms", rounds=7)
    results.show(reference="holter")
    for name, least in (("evidently", 100), ("nannyml", 3)):
        if name in candidates:
            assert results.ratio(name, "holter") >= least, name


def watched() -> None:
    """Print what a call pays whose batch of (256, 30) floats and whose result are sampled, and one that is not."""
    random = np.random.default_rng(8)
    batch, answer = random.normal(size=(256, 30)), random.normal(size=256)
    predict = holter.watch(lambda batch: answer if len(batch) else batch, name="predict")
    check = holter.Drift(holter.Profile.of(random.normal(size=(2_000, 30))), call=predict)
    series = []
    with holter.start("drift", samplers=[], checks=[check], interval_seconds=60.0, recording=False) as monitor:
        for _ in range(200):
            # After a flush some calls are sampled; a hundred later none is.
            monitor.flush(timeout=5.0)
            times = []
            for _ in range(100):
                begun = time.thread_time_ns()
                predict(batch)
                times.append(time.thread_time_ns() - begun)
            series.append(times)
    by_place = np.median(series, axis=0) / 1e3
    usual, first, mean = by_place[-1], by_place[0], float(np.mean(by_place))
    print(f"\nA call with (256, 30) floats: {usual:.1f} us, {mean - usual:.1f} more on average for being sampled;")
    print(f"one that is sampled, right after other threads have run: {first - usual:.1f} us more")
    assert mean - usual <= 30


def main() -> None:
    """Print all figures, and fail where a promise does not hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--quick", action="store_true", help="fewer runs, and only the shorter ones")
    parser.add_argument("--costs", action="store_true", help="only what it costs")
    arguments = parser.parse_args()
    agree()
    costs()
    watched()
    if arguments.costs:
        return
    runs = 100 if arguments.quick else 400
    random = np.random.default_rng(20)
    silent: dict[str, Callable[[], bool]] = {
        "reference of 2,000 rows, 1 column": lambda: independent(random, 2_000, 1),
        "reference of 2,000 rows, 50 columns": lambda: independent(random, 2_000, 50),
        "reference of 10,000 rows, 1 column": lambda: independent(random, 10_000, 1),
        "reference of 10,000 rows, 50 columns": lambda: independent(random, 10_000, 50),
        "reference of 1,000,000 rows, 1 column": lambda: huge(random, 1),
        "reference of 1,000,000 rows, 50 columns": lambda: huge(random, 50),
        "2,000 rows, batches of a user each, 1 column": lambda: clustered(random, 2_000, 1, by_cluster=False),
        "2,000 rows, batches of a user each, 50 columns": lambda: clustered(random, 2_000, 50, by_cluster=False),
        "10,000 rows, batches of a user each, 1 column": lambda: clustered(random, 10_000, 1, by_cluster=False),
        "2,000 rows, cluster=, 1 column": lambda: clustered(random, 2_000, 1, by_cluster=True),
        "10,000 rows, cluster=, 1 column": lambda: clustered(random, 10_000, 1, by_cluster=True),
        "10,000 rows, moved by just 0.05": lambda: at_the_edge(random, 10_000),
    }
    print(f"\nNo drift, alpha {ALPHA}, a look each {LOOK} rows, 10 x as many rows as the reference: runs with an alarm")
    for what, run in silent.items():
        if arguments.quick and "50 columns" in what:
            continue
        begun = time.perf_counter()
        share = Share(sum(run() for _ in range(runs)), runs)
        print(f"  {what:48} {share}  at most {share.most:.1%}  ({time.perf_counter() - begun:.0f} s)", flush=True)
        assert share.value <= share.most, what
    days = 2.0 if arguments.quick else 30.0
    alarms = month(random, 10, days)
    print(f"  at the shipped rate, 10 columns, {days:g} days                {alarms} alarms")
    assert alarms <= 1, "a month at the shipped rate is to have 0.4 alarms"

    print("\nPower, reference of 10,000 rows, alpha 0.05, smallest shift 0.05: runs that saw it, rows to see it")
    shown: dict[str, tuple[Callable[[], int], float, bool]] = {
        "0.5 sd within 1,000 rows": (lambda: rows_to_see(random, 0.5, 1_000), 0.95, True),
        "0.2 sd within 50,000 rows": (lambda: rows_to_see(random, 0.2, 50_000), 0.90, True),
        "0.1 sd, inside the null, 50,000 rows": (lambda: rows_to_see(random, 0.1, 50_000), 0.05, False),
        "0.5 sd in one of 10 columns, 1,000 rows": (lambda: rows_to_see(random, 0.5, 1_000, 10), 0.95, True),
        "0.2 sd in one of 10 columns, 50,000 rows": (lambda: rows_to_see(random, 0.2, 50_000, 10), 0.0, True),
        "a category from 60 to 45 %, 1,000 rows": (
            lambda: rows_to_see_categories(random, [0.45, 0.45, 0.1], 1_000),
            0.95,
            True,
        ),
        "a category from 60 to 57 %, 50,000 rows": (
            lambda: rows_to_see_categories(random, [0.57, 0.33, 0.1], 50_000),
            0.05,
            False,
        ),
        "embeddings by half their spread, 1,000 rows": (lambda: rows_to_see_embeddings(random, 0.5, 1_000), 0.95, True),
    }
    for what, (find, bound, is_least) in shown.items():
        begun = time.perf_counter()
        found = [find() for _ in range(runs)]
        share = Share(sum(rows > 0 for rows in found), runs)
        seen = [rows for rows in found if rows]
        median = f"{np.median(seen):,.0f} rows" if seen else "never"
        print(f"  {what:48} {share}  {median}  ({time.perf_counter() - begun:.0f} s)", flush=True)
        assert (share.value >= bound) if is_least else (share.value <= bound), what

    looked_once(random, runs)


def looked_once(random: np.random.Generator, runs: int) -> None:
    """Print what looking often costs: in which share of runs a shift is seen, beside a test that looks only once."""
    print("\nLooking often costs no validity but some power: 0.2 sd, runs that have seen it by so many rows")
    tests = (5_000, 10_000, 20_000, 50_000)
    often, once = dict.fromkeys(tests, 0), dict.fromkeys(tests, 0)
    for _ in range(runs):
        column = column_of(random.normal(size=10_000))
        cuts = column.features.edges[0]
        found = looks(column, multinomial(random, normal_below(cuts, 0.2), LOOK, tests[-1]))
        _, upper = column.features.bounds(column.reference, 0.05, ALPHA * BAND_RISK)
        lower, _ = column.features.bounds(column.reference, 0.05, ALPHA * BAND_RISK)
        for rows in tests:
            often[rows] += 0 < found <= rows
            share = next(multinomial(random, normal_below(cuts, 0.2), rows, rows)) / rows
            far = [(share - upper[:-FEATURES]) / _error(upper[:-FEATURES], rows)]
            far += [(lower[:-FEATURES] - share) / _error(lower[:-FEATURES], rows)]
            risk = ALPHA * (1 - BAND_RISK) / (2 * len(share))
            once[rows] += bool(np.max(far) >= NormalDist().inv_cdf(1 - risk))
    for rows in tests:
        print(
            f"  {rows:>6,} rows: a look each {LOOK} rows {often[rows] / runs:6.1%}, one look {once[rows] / runs:6.1%}"
        )


def _error(bound: np.ndarray, rows: int) -> np.ndarray:
    inside = bound.clip(0.001, 0.999)
    return np.sqrt(inside * (1 - inside) / rows)


if __name__ == "__main__":
    main()
