"""
Where a row of figures changed: the stretch that differs most from the rest, and how surely.

The figures of a program that has not changed still scatter, drift a little and come in bursts.
So a stretch is searched by likelihood (the epidemic change-point model of Levin and Kline, 1985)
and its evidence is the logarithm of the likelihood ratio, doubled, after two discounts: for
figures that follow their neighbours (the first autocorrelation of the residuals shrinks the number
of independent ones) and for counts that scatter more than chance has it (Pearson's dispersion).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

SHORTEST_BEFORE: Final = 4
SHORTEST_STRETCH: Final = 3
# Among many intervals some few neighbours always stand out.
_SHORTEST_SHARE: Final = 1 / 20
FEWEST: Final = SHORTEST_BEFORE + SHORTEST_STRETCH
# By chance alone one comparison in 40 million passes 30; the search makes hundreds of them, and
# figures have longer tails than the normal law behind that.
ENOUGH: Final = 30.0
# Events have stopped when the silence is so many times longer than any before.
_PAUSES: Final = 3
# Figures that agree to 3 % are the same: no scatter is taken to be smaller than that.
_LEAST_SCATTER: Final = 0.03
# What lies farther than eight deviations from the median counts as lying there.
_OUTLIER: Final = 8 * 1.4826


@dataclass(frozen=True, slots=True)
class Stretch:
    """The figures from ``start`` up to, not including, ``end``, and how surely they differ from the rest."""

    start: int
    end: int
    evidence: float


def stretch_of_levels(levels: Values) -> Stretch | None:
    """
    Return the stretch in which the *levels* (logarithms, none of them NaN) differ most from the others.

    None where there are fewer than 7. Costs the square of their number, at 150 some 0.3 ms.
    """
    count = len(levels)
    if count < FEWEST:
        return None
    values = _without_outliers(levels)
    start, end, inside = _stretches(count)
    sums = np.concatenate(([0.0], np.cumsum(values - values.mean())))
    sums_inside = sums[end] - sums[start]
    explained = sums_inside**2 / inside + sums_inside**2 / (count - inside)
    best = int(explained.argmax())
    stretch = slice(int(start[best]), int(end[best]))
    fitted = np.full(count, np.delete(values, np.arange(count)[stretch]).mean())
    fitted[stretch] = values[stretch].mean()
    residuals = values - fitted
    left = residuals @ residuals + count * _LEAST_SCATTER**2
    evidence = _independent_share(residuals, 2) * count * np.log1p(explained[best] / left)
    return Stretch(stretch.start, stretch.stop, float(evidence))


def stretch_of_counts(events: Values, trials: Values) -> Stretch | None:
    """
    Return the stretch in which *events* are most unusually frequent or rare among *trials*.

    *trials* is what the events are counted in: calls for errors, seconds for calls. None where
    there are fewer than 7 figures, or no event.
    """
    count = len(events)
    if count < FEWEST or not events.any():
        return None
    start, end, _ = _stretches(count)
    all_events, all_trials = np.cumsum(np.append(0.0, events)), np.cumsum(np.append(0.0, trials))
    inside, tried = all_events[end] - all_events[start], all_trials[end] - all_trials[start]
    likelihood = 2 * (
        _log_likelihood(inside, tried)
        + _log_likelihood(all_events[-1] - inside, all_trials[-1] - tried)
        - _log_likelihood(all_events[-1:], all_trials[-1:])
    )
    best = int(likelihood.argmax())
    stretch = slice(int(start[best]), int(end[best]))
    mask = np.zeros(count, bool)
    mask[stretch] = True
    expected = np.where(mask, _frequency(events[mask], trials[mask]), _frequency(events[~mask], trials[~mask])) * trials
    possible = expected > 0
    residuals = np.zeros(count)
    residuals[possible] = (events - expected)[possible] / np.sqrt(expected[possible])
    dispersion = max(1.0, _dispersion(residuals[possible], 2), _dispersion(residuals[mask & possible], 1))
    evidence = _independent_share(residuals, 0) * likelihood[best] / dispersion
    return Stretch(stretch.start, stretch.stop, float(evidence))


def silence(events: Values, seconds: Values) -> Stretch | None:
    """
    Return the stretch since the last of *events*, if it is three times as long as any before without one.

    None too where there are fewer than 4 figures from the first to the last event, or 3 after it.
    """
    seen = np.flatnonzero(events)
    if not len(seen):
        return None
    first, start, count = int(seen[0]), int(seen[-1]) + 1, len(events)
    longest_pause = int(np.diff(seen).max(initial=1)) - 1
    if start - first < SHORTEST_BEFORE or count - start < max(SHORTEST_STRETCH, _PAUSES * longest_pause + 1):
        return None
    before = events[first:start]
    missing = _frequency(before, seconds[first:start]) * float(seconds[start:].sum())
    return Stretch(start, count, 2 * missing / max(1.0, float(before.var() / before.mean())))


def _stretches(count: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Return start, end and length of every stretch that is long enough and leaves enough before it."""
    shortest = max(SHORTEST_STRETCH, round(count * _SHORTEST_SHARE))
    starts = np.arange(SHORTEST_BEFORE, count - shortest + 1)
    ends = np.arange(SHORTEST_BEFORE + shortest, count + 1)
    start, end = (grid.ravel() for grid in np.meshgrid(starts, ends))
    long_enough = end - start >= shortest
    start, end = start[long_enough], end[long_enough]
    return start, end, end - start


def _without_outliers(values: Values) -> Values:
    middle = np.median(values)
    reach = _OUTLIER * max(float(np.median(np.abs(values - middle))), _LEAST_SCATTER)
    return np.clip(values, middle - reach, middle + reach)


def _independent_share(residuals: Values, fitted: int) -> float:
    """Return which share of figures with such residuals are news, the others following their neighbours."""
    power = float(residuals @ residuals) + len(residuals) * _LEAST_SCATTER**2
    follows = float(residuals[1:] @ residuals[:-1]) / power
    # Each fitted mean pulls the estimate down by so much (Marriott and Pope, 1954). Counts need no
    # such care: their scatter is not fitted, chance bounds it from below.
    follows = min(max(follows + fitted * (1 + 3 * follows) / len(residuals), 0.0), 0.95)
    return (1 - follows) / (1 + follows)


def _dispersion(residuals: Values, fitted: int) -> float:
    """Return Pearson's measure of scatter beyond that of chance, which is 1."""
    return float(residuals @ residuals) / max(1, len(residuals) - fitted)


def _log_likelihood(events: Values, trials: Values) -> Values:
    """Return the largest Poisson log-likelihood of so many events in so many trials, constants left out."""
    possible = (events > 0) & (trials > 0)
    return events * np.log(np.divide(events, trials, out=np.ones_like(events), where=possible))


def _frequency(events: Values, trials: Values) -> float:
    tried = float(trials.sum())
    return float(events.sum()) / tried if tried else 0.0
