"""Half an hour of a model whose input breaks for ten minutes, and when that was told."""

from __future__ import annotations

import numpy as np
from canvas import Picture

import holter
from holter.model import Observation, Process, Reading, Series, Snapshot

SECONDS, ROWS = 1_800, 64
START_NS, SECOND_NS = 1_790_000_000_000_000_000, 1_000_000_000


def predict() -> None:
    """Stand for the model."""


random = np.random.default_rng(3)
scores = random.beta(2, 5, size=(SECONDS, ROWS))
# A feature is missing in more and more requests, then in fewer, and is filled in as it was before.
broken = np.interp(np.arange(SECONDS), [500, 800, 1_100], [0, 0.3, 0], left=0, right=0)
scores[random.random(scores.shape) < broken[:, None]] = np.nan

check = holter.NonFinite(holter.watch(predict), share=0.05, window_seconds=60.0)
series: dict[int, Series] = {}
fired, spans = None, []
for second, row in enumerate(scores):
    interval = {}
    for name, amount, attributes in check.observe(Observation("predict", {"score": row}, ROWS, 0, "outputs")):
        key = next((key for key, one in series.items() if one.matches(name, attributes)), len(series))
        series.setdefault(key, Series(key, name, "{value}", "counter", attributes, None))
        interval[key] = Reading(count=1, sum=amount)
    snapshot = Snapshot(
        START_NS + second * SECOND_NS, SECOND_NS, series, interval, interval, process=Process(service="sentiment")
    )
    for alert in check.judge(snapshot):
        if alert.state == "firing":
            fired = second
        else:
            spans.append((fired, second))
            fired = None

minutes = np.arange(SECONDS) / 60
picture = Picture("NaN in the scores of a model, of which 5 % in a minute are allowed")
panel = picture.panel("score (mean)")
panel.line(minutes, np.nanmean(scores, axis=1))
share = picture.panel("not finite (%)")
share.line(minutes, 100 * np.isnan(scores).mean(axis=1))
share.limit([0, minutes[-1]], [5, 5], "5 % allowed")
for begun, ended in [*spans, *([(fired, None)] if fired is not None else [])]:
    share.alarm((begun or 0) / 60, None if ended is None else ended / 60, "NonFinite")

if __name__ == "__main__":
    picture.main()
