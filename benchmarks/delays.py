"""
How soon changes are found at an equal measured rate of false alarms, beside river's detectors, CUSUM and an oracle.

All learn the same 1,000 values. Then each goes on without a change until its first alarm or for 4,000 steps: the steps
until then, over the alarms, are the mean time between false alarms, and the setting is the one that makes it what is
asked. At that setting changes begin right after the 1,000 values, in as many streams.

Whatever has a height that does not depend on its setting before the first alarm (holter, both sums, KSWIN's p-value) is
run once, and read at any setting; ADWIN and Page-Hinkley are run for each.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from river.drift import ADWIN, KSWIN, PageHinkley
from scipy import stats

from holter.surprise.detector import Detector

PAST, NULL, MOST = 1_000, 4_000, 2_000
RUNS = 400
FEW = 100
"""Runs of KSWIN, which takes 280 us a value."""
_CALLS = 100
_MINUTE = 60.0
Values = np.ndarray
Llr = Callable[[Values], Values]


def _normal(random: np.random.Generator, shape: tuple[int, int]) -> Values:
    return random.normal(size=shape)


def _lognormal(random: np.random.Generator, shape: tuple[int, int]) -> Values:
    return random.lognormal(size=shape)


def _t3(random: np.random.Generator, shape: tuple[int, int]) -> Values:
    return random.standard_t(3, shape)


def _errors(share: float = 0.01) -> Callable[[np.random.Generator, tuple[int, int]], Values]:
    return lambda random, shape: random.binomial(_CALLS, share, shape).astype(float)


class Row(NamedTuple):
    """A family, what it becomes, and the log likelihood ratio of both, which only the oracle knows."""

    family: str
    after: Callable[[np.random.Generator, tuple[int, int]], Values]
    llr: Llr | None
    goal: float = math.inf
    """At most so many times the delay of the oracle."""


def _shift(by: float, goal: float) -> Row:
    return Row(
        "normal", lambda random, shape: random.normal(by, 1.0, shape), lambda values: by * (values - by / 2), goal
    )


def _ramp(slope: float) -> Row:
    return Row(
        "normal", lambda random, shape: random.normal(size=shape) + slope * np.arange(1, shape[0] + 1)[:, None], None
    )


def _wider(variance: float) -> Row:
    return Row(
        "normal",
        lambda random, shape: random.normal(0.0, math.sqrt(variance), shape),
        lambda values: values**2 / 2 * (1 - 1 / variance) - math.log(variance) / 2,
    )


def _failing(share: float) -> Row:
    up, down = math.log(share / 0.01), math.log((1 - share) / 0.99)
    return Row("errors", _errors(share), lambda values: values * up + (_CALLS - values) * down)


FAMILIES = {"normal": _normal, "lognormal": _lognormal, "t3": _t3, "errors": _errors()}
ROWS = {
    "normal + 0.5 sd": _shift(0.5, 1.3),
    "normal + 1 sd": _shift(1.0, 1.3),
    "normal + 2 sd": _shift(2.0, 1.6),
    "normal + 4 sd": _shift(4.0, 2.5),
    "normal, ramp of 0.005 sd": _ramp(0.005),
    "normal, ramp of 0.02 sd": _ramp(0.02),
    "normal, variance x 2": _wider(2.0),
    "normal, variance x 4": _wider(4.0),
    "lognormal x e": Row(
        "lognormal", lambda random, shape: math.e * random.lognormal(size=shape), lambda values: np.log(values) - 0.5
    ),
    "t3 + 1 sd": Row(
        "t3",
        lambda random, shape: math.sqrt(3) + random.standard_t(3, shape),
        lambda values: stats.t.logpdf(values - math.sqrt(3), 3) - stats.t.logpdf(values, 3),
    ),
    "errors 1 to 2 %": _failing(0.02),
    "errors 1 to 5 %": _failing(0.05),
}


# -- heights, ``(steps, runs)``, of which each is an alarm at any setting below it


def _holter(past: Values, values: Values) -> Values:
    detector = Detector(past.shape[1], step_seconds=_MINUTE)
    for step, row in enumerate(past):
        detector.update(row, step * _MINUTE)
    heights = np.empty(values.shape)
    for step, row in enumerate(values):
        detector.update(row, (len(past) + step) * _MINUTE)
        heights[step] = detector.steps_between().max(0)
    return heights


def _reflected(steps: Values) -> Values:
    heights, height = np.empty(steps.shape), np.zeros(steps.shape[1])
    for index, row in enumerate(steps):
        height = np.maximum(height + row, 0.0)
        heights[index] = height
    return heights


def _cusum(past: Values, values: Values) -> Values:
    scores = (values - past.mean(0)) / np.maximum(past.std(0), 1e-9)
    return np.maximum(_reflected(scores - 0.5), _reflected(-scores - 0.5))


def _kswin(past: Values, values: Values) -> Values:
    heights = np.empty(values.shape)
    for run in range(values.shape[1]):
        detector = KSWIN(alpha=1e-300, seed=1)
        # It looks at the last 100 values.
        for value in past[-detector.window_size :, run]:
            detector.update(float(value))
        for step, value in enumerate(values[:, run]):
            detector.update(float(value))
            heights[step, run] = -math.log(max(detector.p_value, 1e-300))
    return heights


HEIGHTS: dict[str, Callable[[Values, Values], Values]] = {"holter": _holter, "CUSUM": _cusum, "KSWIN": _kswin}
MAKERS: dict[str, tuple[Callable[[float, float], Any], tuple[float, float]]] = {
    "ADWIN": (lambda setting, _: ADWIN(delta=math.exp(-setting)), (1e-3, 40.0)),
    "Page-Hinkley": (lambda setting, deviation: PageHinkley(threshold=setting * deviation), (2.0, 1_000.0)),
}


def _waited(heights: Values, setting: float) -> Values:
    """Return at which step, from 1, each run first comes to *setting*; infinite for never."""
    is_over = heights >= setting
    return np.where(is_over.any(0), is_over.argmax(0) + 1.0, np.inf)


def _waited_for(name: str, setting: float, past: Values, values: Values) -> Values:
    make = MAKERS[name][0]
    times = np.full(values.shape[1], np.inf)
    for run in range(values.shape[1]):
        detector = make(setting, float(past[:, run].std()) or 1.0)
        for value in past[:, run].tolist():
            detector.update(value)
        for step, value in enumerate(values[:, run].tolist()):
            detector.update(value)
            if detector.drift_detected:
                times[run] = step + 1.0
                break
    return times


def _between(times: Values, most: int) -> tuple[float, int]:
    """Return the mean time between false alarms, and how many alarms it rests on."""
    alarms = int(np.isfinite(times).sum())
    return float(np.minimum(times, most).sum()) / max(alarms, 0.5), alarms


def _settle(waited: Callable[[float], Values], low: float, high: float, arl: float) -> tuple[float, float, int]:
    """Return the setting from *low* to *high* whose time between false alarms is *arl*, with that and the alarms."""
    best = (math.inf, low, 0.0, 0)
    for _ in range(14):
        middle = math.sqrt(low * high)
        measured, alarms = _between(waited(middle), NULL)
        off = abs(math.log(measured / arl))
        best = min(best, (off, middle, measured, alarms))
        if off < 0.02:
            break
        low, high = (middle, high) if measured < arl else (low, middle)
    return best[1], best[2], best[3]


class Stage:
    """The streams of a family, without a change, and what each detector makes of them."""

    def __init__(self, family: str) -> None:
        self._draw = FAMILIES[family]
        self.past, self.null = self.streams(1, self._draw, NULL)
        self._heights: dict[str, Values] = {}
        self._settings: dict[tuple[str, float], tuple[float, float, int]] = {}

    def streams(
        self, seed: int, draw: Callable[[np.random.Generator, tuple[int, int]], Values], steps: int
    ) -> tuple[Values, Values]:
        """Return 1,000 values of each stream and what comes then."""
        random = np.random.default_rng(seed)
        return self._draw(random, (PAST, RUNS)), draw(random, (steps, RUNS))

    def setting(self, name: str, arl: float) -> tuple[float, float, int]:
        """Return at which setting a detector has false alarms as seldom as asked, how seldom it has, and how many."""
        if (name, arl) not in self._settings:
            self._settings[name, arl] = self._settled(name, arl)
        return self._settings[name, arl]

    def _settled(self, name: str, arl: float) -> tuple[float, float, int]:
        if name in MAKERS:
            return _settle(lambda setting: _waited_for(name, setting, self.past, self.null), *MAKERS[name][1], arl)
        if name not in self._heights:
            few = FEW if name == "KSWIN" else RUNS
            self._heights[name] = HEIGHTS[name](self.past[:, :few], self.null[:, :few])
        heights = self._heights[name]
        return _settle(lambda setting: _waited(heights, setting), 1e-2, float(heights.max()) + 1.0, arl)


def delay(*, arls: tuple[float, ...], rows: tuple[str, ...] = (), names: tuple[str, ...] = ()) -> bool:
    """Print the mean delay of each detector at each mean time between false alarms; whether the goals are kept."""
    names = names or (*HEIGHTS, *MAKERS)
    stages: dict[str, Stage] = {}
    tally = dict.fromkeys((*names[1:], "oracle"), 0)
    lost: list[str] = []
    print(f"\ndelay in steps, after the same {PAST:,} values; {RUNS} streams ({FEW} for KSWIN)")
    for arl in arls:
        print(f"\nat one false alarm in {arl:,.0f} steps (in brackets what was measured, and from how many alarms)")
        for label in rows or tuple(ROWS):
            row = ROWS[label]
            stage = stages.setdefault(row.family, Stage(row.family))
            past, after = stage.streams(2, row.after, MOST)
            delays: dict[str, tuple[float, float]] = {}
            line = []
            for name in names:
                setting, measured, alarms = stage.setting(name, arl)
                few = FEW if name == "KSWIN" else RUNS
                if name in MAKERS:
                    times = _waited_for(name, setting, past, after)
                else:
                    times = _waited(HEIGHTS[name](past[:, :few], after[:, :few]), setting)
                times = np.minimum(times, MOST)
                delays[name] = float(times.mean()), float(times.std() / math.sqrt(len(times)))
                line.append(f"{name} {times.mean():.1f} +- {delays[name][1]:.1f} ({measured:.0f}, {alarms})")
                if name == names[0]:
                    continue
                tied = 1.96 * math.hypot(delays[names[0]][1], delays[name][1])
                tally[name] += delays[names[0]][0] - delays[name][0] <= tied
            if row.llr is not None:
                null = _reflected(row.llr(stage.null))
                setting, _, _ = _settle(lambda one, null=null: _waited(null, one), 1e-2, float(null.max()) + 1.0, arl)
                best = float(np.minimum(_waited(_reflected(row.llr(after)), setting), MOST).mean())
                ratio = delays[names[0]][0] / best
                line.append(f"oracle {best:.1f}, {ratio:.2f} times")
                tally["oracle"] += ratio <= row.goal
                if ratio > row.goal:
                    lost.append(f"{label} at {arl:,.0f}")
            print(f"{label:26}", "; ".join(line), flush=True)
    compared = len(arls) * len(rows or ROWS)
    rivers = [name for name in names[1:] if name != "CUSUM"]
    first = sum(tally[name] for name in rivers)
    print(f"first or tied: {first} of {compared * len(rivers)} against river's", {name: tally[name] for name in rivers})
    print(f"first or tied: {tally['CUSUM']} of {compared} against CUSUM")
    print("further from the oracle than wished:", ", ".join(lost) or "none")
    return first >= 0.8 * compared * len(rivers) and tally["CUSUM"] >= 0.6 * compared and not lost
