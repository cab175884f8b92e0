"""
How often anomalies are false, and how soon true ones are found: every null with its power, in the same run.

    python benchmarks/false_alarms.py                 # some minutes
    python benchmarks/false_alarms.py --full          # the whole size: what the documentation speaks of
    python benchmarks/false_alarms.py --table soak    # one of rate, scale, nulls, soak, delay; soak takes an hour

Counts come with exact Poisson intervals (95 %). Power is the share of signals in which a shift of 2 standard deviations
(where there is none, a trebled rate) is found within 100 steps, right after the null and at its settings.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from scipy.signal import lfilter
from scipy.stats import chi2

from delays import delay
from holter.checks.anomaly import Anomaly
from holter.distribution import Histogram
from holter.metric import Series
from holter.model import Process, Reading, Snapshot
from holter.names import CALL_DURATION, CALL_NAME, CALL_OUTCOME, ERROR_TYPE
from holter.surprise.detector import Detector
from holter.surprise.news import STEPS
from runner import machine

MINUTE, DAY = 60.0, 1_440
Draw = Callable[[np.random.Generator, tuple[int, int], int], np.ndarray]
PART = 100
"""So many steps are drawn at once."""


def interval(count: int) -> tuple[float, float]:
    """Return the exact 95 % interval of a Poisson mean (Garwood, 1936)."""
    low = chi2.ppf(0.025, 2 * count) / 2 if count else 0.0
    return float(low), float(chi2.ppf(0.975, 2 * count + 2) / 2)


class Hanging:
    """Values that hang together: AR(0.9) of variance 1."""

    def __init__(self) -> None:
        self.last: np.ndarray | float = 0.0

    def __call__(self, random: np.random.Generator, shape: tuple[int, int], _step: int) -> np.ndarray:
        values = math.sqrt(1 - 0.81) * random.normal(size=shape)
        for index in range(len(values)):
            values[index] += 0.9 * self.last
            self.last = values[index]
        return values


def _daily(random: np.random.Generator, shape: tuple[int, int], step: int) -> np.ndarray:
    hours = 2 * np.pi * (step + np.arange(shape[0])) / DAY
    return 3 * np.sin(hours)[:, None] + random.normal(size=shape)


def _pauses(random: np.random.Generator, shape: tuple[int, int], _step: int) -> np.ndarray:
    return np.where(random.random(shape) < 0.002, random.lognormal(4, 1, shape), random.lognormal(0, 0.3, shape))


def families() -> dict[str, tuple[Draw, Callable[[np.ndarray], np.ndarray]]]:
    """Return how ``(steps, streams)`` of each family are drawn from a step on, and what trouble looks like in it."""
    up = _plus(2.0)
    return {
        "normal": (lambda random, shape, _: random.normal(size=shape), up),
        "lognormal": (lambda random, shape, _: random.lognormal(size=shape), _times(math.exp(2.0))),
        "t3": (lambda random, shape, _: random.standard_t(3, shape), up),
        "AR(0.9)": (Hanging(), up),
        "diurnal": (_daily, up),
        "Poisson 0.2": (lambda random, shape, _: random.poisson(0.2, shape).astype(float), _plus(1.0)),
        "Poisson 5": (lambda random, shape, _: random.poisson(5, shape).astype(float), _plus(5.0)),
        "mixture": (lambda random, shape, _: random.normal(size=shape) + 5 * (random.random(shape) < 0.1), up),
        "rare pauses": (_pauses, _times(1.8)),
    }


def _plus(shift: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda values: values + shift


def _times(factor: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda values: values * factor


# -- 1: the rate


def rate(*, streams: int, learnt: int, judged: int, asked: tuple[float, ...], names: tuple[str, ...] = ()) -> bool:
    """Print how often each family calls for an alarm, beside how often that was asked for."""
    print(f"\nrate: {streams} streams, {learnt:,} steps learnt, {judged:,} judged")
    print(
        f"{'':12} {'asked':>8} {'expected':>9} {'alarms':>7} {'incidents':>9} {'measured/asked':>15}"
        f" {'95 %':>13} {'power':>6}"
    )
    holds = True
    for name, (draw, trouble) in families().items():
        if names and name not in names:
            continue
        random, count = np.random.default_rng(7), streams * len(asked)
        detector = Detector(count, step_seconds=MINUTE)
        alarms, incidents, last = np.zeros(count, int), np.zeros(count, int), np.full(count, -STEPS)
        for step in range(learnt + judged):
            if step % PART == 0:
                part = draw(random, (PART, count), step)
            if step == learnt:
                detector.ask(np.repeat(1 / np.array(asked), streams))
            found = detector.update(part[step % PART], step * MINUTE)
            if step >= learnt and found.any():
                alarms += found
                incidents += found & (step - last > STEPS)
                last[found] = step
        power = np.zeros(count, bool)
        for step, values in enumerate(trouble(draw(random, (PART, count), learnt + judged)), learnt + judged):
            power |= detector.update(values, step * MINUTE)
        for place, one in enumerate(asked):
            mine = slice(place * streams, (place + 1) * streams)
            seen, expected = int(incidents[mine].sum()), one * streams * judged
            low, high = interval(seen)
            share = power[mine].mean()
            print(
                f"{name:12} {one:>8.0e} {expected:>9.1f} {alarms[mine].sum():>7} {seen:>9} {seen / expected:>15.2f}"
                f" {low / expected:>5.2f} to {high / expected:>4.2f} {share:>6.0%}"
            )
            # Twenty values of AR(0.9) tell little more than one of independent ones.
            holds &= low / expected <= 2 and high / expected >= 0.5 and share >= (0.25 if name == "AR(0.9)" else 0.5)
    return holds


# -- 2: the scale


def scale(*, signals: int, days: float, weeks: float, seeds: int) -> bool:
    """Print the alarms of very many signals at one a week, and how soon a step of 2 sd in 1 of 100 is found."""
    steps, learnt = int(weeks * 7 * DAY), int(days * DAY)
    asked = signals * 7 * DAY
    bound = 2 * math.log(asked) / 2.0
    print(f"\nscale: {signals:,} signals, {learnt:,} steps learnt, {steps:,} judged, knob 1 a week, {seeds} seeds")
    total, found, changed, spent = 0, 0, 0, 0.0
    for seed in range(seeds):
        random = np.random.default_rng(seed)
        kinds, each = np.arange(signals) % 4, signals // 4
        detector = Detector(signals, step_seconds=MINUTE)

        def draw(random: np.random.Generator = random, each: int = each) -> np.ndarray:
            normal = random.standard_normal((2, each))
            parts = [normal[0], np.exp(normal[1]), random.poisson(5, each), random.standard_t(3, each)]
            return np.stack(parts, axis=1).ravel()

        for step in range(learnt + steps):
            if step == learnt:
                detector.ask(float(asked))
            begun = time.process_time()
            alarms = detector.update(draw(), step * MINUTE)
            spent += time.process_time() - begun
            total += int(alarms.sum()) if step >= learnt else 0
        hit = (np.arange(signals) % 100 == 0) & (kinds == 0)
        seen = np.zeros(signals, bool)
        for step in range(math.ceil(bound)):
            values = draw()
            values[hit] += 2.0
            seen |= detector.update(values, (learnt + steps + step) * MINUTE)
        found, changed = found + int(seen[hit].sum()), changed + int(hit.sum())
    low, high = interval(total)
    expected = seeds * weeks
    print(f"alarms {total} (95 %: {low:.1f} to {high:.1f}), asked {expected:.2f}")
    print(f"steps of 2 sd found within 2 ln(ARL)/KL = {bound:.0f} steps: {found} of {changed} ({found / changed:.0%})")
    print(f"CPU {spent / (seeds * (learnt + steps) * signals) * 1e6:.2f} us a signal and update")
    return low <= 2.4 * expected


# -- 3: hard nulls, through the whole check


@dataclass
class Scene:
    """A service that a test plays: calls a second of each of some names, how long they take, how many fail."""

    names: int = 8
    rate: Callable[[float], float] = lambda _: 5.0
    slow: Callable[[float], float] = lambda _: 1.0
    errors: float = 0.01
    start_hour: float = 0.0
    jump: Callable[[float], float] = lambda _: 0.0
    alive: Callable[[float, int], bool] = lambda _second, _index: True
    workers: int = 1
    restart: str = ""
    """After half of the time: "kept" with what was learnt, "lost" without."""
    days: float = 1.0


def snapshots(scene: Scene, hours: float, seed: int, begin: float = 0.0) -> Iterator[Snapshot]:
    """Yield ten seconds after ten seconds of a scene."""
    random = np.random.default_rng(seed)
    series: dict[int, Series] = {}
    for index in range(scene.names):
        call = {CALL_NAME: f"predict{index}"}
        series[2 * index] = Series(2 * index, CALL_DURATION, "s", "histogram", call)
        failed = {**call, CALL_OUTCOME: "error", ERROR_TYPE: "ValueError"}
        series[2 * index + 1] = Series(2 * index + 1, CALL_DURATION, "s", "histogram", failed, 2 * index)
    start = 1_795_305_600 + scene.start_hour * 3_600
    heard = _pooled if scene.names > _DRAWN else _each_drawn
    for step in range(round(begin * 360), round((begin + hours) * 360)):
        second = step * 10.0
        alive, interval = heard(scene, second, series, random)
        time_ns = round((start + second + 10 + scene.jump(second)) * 1e9)
        yield Snapshot(time_ns, 10_000_000_000, alive, {}, interval, process=Process("sentiment"))


_DRAWN = 100
Heard = tuple[dict[int, Series], dict[int, Reading]]


def _each_drawn(scene: Scene, second: float, series: dict[int, Series], random: np.random.Generator) -> Heard:
    interval: dict[int, Reading] = {}
    alive = {}
    for index in range(scene.names):
        if not scene.alive(second, index):
            continue
        alive.update({key: series[key] for key in (2 * index, 2 * index + 1)})
        # One worker after another is replaced, and the others take its calls for a minute.
        replaced = int(second / 900) % scene.workers if scene.workers > 1 and second % 900 < 60 else None
        at_work = [worker for worker in range(scene.workers) if worker != replaced]
        for _ in at_work:
            count = int(random.poisson(10 * scene.rate(second) / len(at_work)))
            if not count:
                continue
            took = 0.02 * scene.slow(second) * random.lognormal(0, 0.4, count)
            failed = int(random.binomial(count, scene.errors))
            for key, values in ((2 * index, took[failed:]), (2 * index + 1, took[:failed])):
                if len(values):
                    one = _reading(values)
                    interval[key] = interval[key].merge(one) if key in interval else one
    return alive, interval


def _reading(values: np.ndarray) -> Reading:
    return Reading(len(values), float(values.sum()), last=float(values[-1]), histogram=Histogram.of(values))


def _pooled(scene: Scene, second: float, series: dict[int, Series], random: np.random.Generator) -> Heard:
    """What very many calls say, each drawn from 4,000 intervals that were made before."""
    pool = _pool(scene.rate(second), scene.slow(second), scene.errors)
    interval: dict[int, Reading] = {}
    for index, picked in enumerate(random.integers(0, len(pool), scene.names).tolist()):
        interval.update({key: one for key, one in zip((2 * index, 2 * index + 1), pool[picked], strict=True) if one})
    return series, interval


@lru_cache(maxsize=8)
def _pool(rate: float, slow: float, errors: float) -> list[tuple[Reading | None, Reading | None]]:
    random, pool = np.random.default_rng(5), []
    for count in random.poisson(10 * rate, 4_000).tolist():
        took, failed = 0.02 * slow * random.lognormal(0, 0.4, count), int(random.binomial(count, errors))
        good, bad = took[failed:], took[:failed]
        pool.append((_reading(good) if len(good) else None, _reading(bad) if len(bad) else None))
    return pool


def _wandering(random: np.random.Generator, size: int, kind: str) -> np.ndarray:
    """Return how a latency goes about, in logarithms: of deviation 0.3, but the walk, which goes where it will."""
    white = random.normal(size=size)
    if kind == "walk":
        return np.cumsum(white) * 0.003
    if kind == "AR":
        return np.asarray(0.3 * lfilter([math.sqrt(1 - 0.81)], [1, -0.9], white))
    shares = np.fft.rfftfreq(size)
    pink = np.fft.irfft(np.fft.rfft(white) / np.sqrt(np.maximum(shares, shares[1])), size)
    return np.asarray(0.3 * pink / pink.std())


def scenes() -> dict[str, Scene]:
    """Return what is hard, and no trouble."""
    random = np.random.default_rng(3)

    def daily(second: float, hour: float = 0.0) -> float:
        return 5.0 * (1 + 0.8 * math.sin(2 * math.pi * (second / 3_600 + hour - 9) / 24))

    def slowed(kind: str) -> Callable[[float], float]:
        factor = np.exp(_wandering(random, 100_000, kind))
        return lambda second: float(factor[int(second / 10) % len(factor)])

    # By a tenth, within some two hours; of a generator of its own, so that the others go about as they did.
    about = lfilter([math.sqrt(1 - _BUSY**2)], [1, -_BUSY], np.random.default_rng(4).normal(size=70_000))
    about = np.exp(0.1 * about)

    def busy(second: float) -> float:
        return float(about[int(second / 10) % len(about)])

    def weekly(second: float) -> float:
        return daily(second) * (0.3 if second / 86_400 % 7 >= _WEEKDAYS else 1.0)

    return {
        "start at 03:00, diurnal": Scene(rate=lambda second: daily(second, 3.0), start_hour=3.0),
        "two weeks, diurnal": Scene(rate=daily, days=14.0),
        "a week, traffic wanders": Scene(rate=lambda second: daily(second) * busy(second), days=7.0),
        "first weekend": Scene(rate=weekly, days=6.0),
        "JIT warm-up": Scene(slow=lambda second: 1 + 20 * math.exp(-second / 60)),
        "restart, state kept": Scene(restart="kept"),
        "restart, state lost": Scene(restart="lost"),
        "random walk of the latency": Scene(slow=slowed("walk")),
        "1/f wander of the latency": Scene(slow=slowed("pink"), days=4.0),
        "AR(0.9) of the latency": Scene(slow=slowed("AR"), days=2.0),
        "traffic trebles, slowly": Scene(rate=lambda second: 5.0 * (1 + 2 * min(second / 43_200, 1.0))),
        "traffic trebles at once": Scene(rate=lambda second: 15.0 if second > 43_200 else 5.0),
        **{f"{calls} calls a minute": Scene(rate=lambda _, calls=calls: calls / 60) for calls in (1, 10, 60, 500)},
        "a cron spike each hour": Scene(slow=lambda second: 5.0 if second % 3_600 < 30 else 1.0),
        "a pause hits 2,000 series": Scene(2_000, days=0.5, slow=lambda second: 50.0 if second == 36_000 else 1.0),
        "8 workers, one replaced": Scene(workers=8),
        "the clock steps": Scene(jump=lambda second: 7_200.0 if second > 36_000 else 0.0),
        "series born and dying": Scene(alive=lambda second, index: int(second / 7_200 + index) % 3 > 0),
    }  # fmt: skip


_WEEKDAYS = 5
_BUSY = math.exp(-10 / 7_200)


def nulls(*, hours: float, only: str = "") -> bool:
    """Print how many incidents each hard null notifies in a day, and how soon trouble right after it is told."""
    print(
        "\nhard nulls: whole check, 8 calls, knob 1 a week; after how many minutes it is told that calls take four"
        " times as long (slow), and that none come (stop)"
    )
    print(
        f"{'':26} {'hours':>5} {'incidents':>9} {'a day':>6} {'most a day':>10} {'early':>5} {'slow':>5} {'stop':>5}"
        "  states"
    )
    holds = True
    for name, scene in scenes().items():
        if only in name:
            holds &= _is_quiet(name, scene, hours * scene.days)
    return holds


def _is_quiet(name: str, scene: Scene, hours: float) -> bool:
    check, times, half = Anomaly(), [], hours / 2
    told: list[str] = []
    for step, snapshot in enumerate(snapshots(scene, hours, 1)):
        if scene.restart and step == round(half * 360):
            saved = json.loads(json.dumps(check.save()))
            check = Anomaly()
            if scene.restart == "kept":
                check.load(saved, 10.0)
        incidents = [one for one in check.judge(snapshot) if one.state == "firing" and one.severity != "info"]
        told += [f"{step / 360:.2f} h: {one.message}" for one in incidents]
        times += [step * 10.0] * len(incidents)
    states = check.describe().partition(";")[0]
    slow = _told_after(check, replace(scene, slow=lambda second: 4.0 * scene.slow(second)), hours)
    stop = _told_after(check, replace(scene, rate=lambda _: 0.0), hours)
    starts = [0.0, half * 3_600] if scene.restart == "lost" else [0.0]
    early = sum(0 <= one - start < 600 for one in times for start in starts)
    most = max(np.bincount([int(one / 86_400) for one in times]).tolist(), default=0) if times else 0
    figures = f"{hours:>5g} {len(times):>9} {len(times) * 24 / hours:>6.1f} {most:>10} {early:>5} {slow:>5} {stop:>5}"
    print(f"{name:26} {figures}  {states}", flush=True)
    for one in told:
        print("    ", one)
    # What is silent is no answer; of a few hours too little is known to hold it to that.
    return early == 0 and most <= _MOST_A_DAY and (slow != "no" or hours < _KNOWN_HOURS)


def _told_after(check: Anomaly, scene: Scene, hours: float) -> str:
    """Return after how many minutes a *check* that has seen so many *hours* tells of what the *scene* is then."""
    check = copy.deepcopy(check)
    # What goes on already is no power.
    before = {id(one) for one in check._incidents}  # noqa: SLF001
    for step, snapshot in enumerate(snapshots(scene, _TROUBLE_HOURS, 2, begin=hours), 1):
        check.judge(snapshot)
        if any(id(one) not in before for one in check._incidents):  # noqa: SLF001
            return f"{step / 6:.1f}"
    return "no"


_MOST_A_DAY = 3
_TROUBLE_HOURS = 3.0
_KNOWN_HOURS = 20.0


# -- 4: soak


def soak(*, hours: float) -> bool:
    """Run the real library on a served model with every sampler on, and nothing injected."""
    import holter  # noqa: PLC0415 - starts nothing before it is wanted

    random = np.random.default_rng(0)
    weights = random.normal(size=(256, 256))

    @holter.watch
    def predict(batch: np.ndarray) -> float:
        return float(np.tanh(batch @ weights).sum())

    check, fired = Anomaly(), []
    samplers: list[Any] = [
        holter.ProcessSampler(),
        holter.HostSampler(),
        holter.ContainerSampler(),
        holter.RuntimeSampler(),
    ]
    begin = time.monotonic()

    def tell(alert: holter.Alert) -> None:
        if alert.check == "anomaly" and alert.state == "firing" and alert.severity != "info":
            fired.append(alert)
            print(f"   {(time.monotonic() - begin) / 3_600:.2f} h: {alert.message}", flush=True)

    # Of a name of its own, so that it neither joins another one nor goes on with what that has learnt.
    with holter.start(f"soak-{os.getpid()}", checks=[check], samplers=samplers, on_alert=tell):
        for quarter in range(1, math.ceil(4 * hours) + 1):
            until = begin + min(quarter / 4, hours) * 3_600
            while time.monotonic() < until:
                predict(random.normal(size=(int(random.integers(1, 32)), 256)))
                time.sleep(random.exponential(0.05))
            # A log that is kept shows how far it came.
            print(f"{min(quarter / 4, hours):g} h: {check.describe()}", flush=True)
    print(f"\nsoak: {hours:g} h, {len(fired)} incidents")
    return len(fired) <= 1


SHORT = ("normal", "lognormal", "t3", "AR(0.9)", "Poisson 0.2", "Poisson 5", "mixture", "rare pauses")
QUICK: dict[str, Callable[[], bool]] = {
    "rate": lambda: rate(streams=30, learnt=4_000, judged=6_000, asked=(3e-4,), names=SHORT),
    "scale": lambda: scale(signals=400, days=1, weeks=0.25, seeds=1),
    "nulls": lambda: nulls(hours=3),
    "delay": lambda: delay(arls=(1e3,), rows=("normal + 1 sd", "normal + 4 sd"), names=("holter", "CUSUM", "ADWIN")),
}
FULL: dict[str, Callable[[], bool]] = {
    "rate": lambda: rate(streams=200, learnt=20_000, judged=100_000, asked=(1e-4, 1e-5, 3e-6)),
    "scale": lambda: scale(signals=12_000, days=1, weeks=1, seeds=5),
    "nulls": lambda: nulls(hours=24),
    "soak": lambda: soak(hours=1),
    "delay": lambda: delay(arls=(1e3, 1e4)),
}


def main() -> None:
    """Print the tables that are wanted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--table", choices=FULL)
    parser.add_argument("--only", default="", help="the hard nulls whose name has this in it")
    parser.add_argument("--hours", type=float, default=1.0, help="how long the soak takes")
    options = parser.parse_args()
    print(machine(("river", "scipy")))
    tables = FULL if options.full else QUICK
    wanted = [options.table] if options.table else list(tables)
    more = {"soak": lambda: soak(hours=options.hours)}
    if options.only:
        more["nulls"] = lambda: nulls(hours=24 if options.full else 3, only=options.only)
    kept = {name: {**FULL, **tables, **more}[name]() for name in wanted}
    for name, holds in kept.items():
        print(f"{name}: {'holds' if holds else 'does not hold'}")
    # How soon is a goal; how often falsely is the promise.
    if not all(holds for name, holds in kept.items() if name != "delay"):
        sys.exit(1)


if __name__ == "__main__":
    main()
