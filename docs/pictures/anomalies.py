"""A day of a service that is learnt, and a day with a slowdown, errors, no calls and a pause: where Anomaly alarmed."""

from __future__ import annotations

import numpy as np
from canvas import Picture

import holter
from holter.distribution import Histogram
from holter.model import Process, Reading, Series, Snapshot
from holter.names import CALL_DURATION, CALL_NAME, CALL_OUTCOME

STEPS, STEP_NS, START_NS = 2 * 8_640, 10_000_000_000, 1_790_000_000_000_000_000
NAMED = {CALL_NAME: "predict"}
SERIES = {
    1: Series(1, CALL_DURATION, "s", "histogram", NAMED, None),
    2: Series(2, CALL_DURATION, "s", "histogram", {**NAMED, CALL_OUTCOME: "error"}, 1),
}

random = np.random.default_rng(11)
hours = np.arange(STEPS) * 10 / 3_600
rates = 40 * (1 + 0.5 * np.sin(2 * np.pi * (hours - 9) / 24))
rates[(hours > 41) & (hours < 41.2)] = 0.0
slower = np.ones(STEPS)
slower[(hours > 30) & (hours < 31)] = 1.4
slower[(hours > 44.5) & (hours < 44.51)] = 50.0
errors = np.full(STEPS, 0.01)
errors[(hours > 37) & (hours < 38)] = 0.06

check, fired, spans, shown = holter.Anomaly(), {}, [], []
for step in range(STEPS):
    count = int(random.poisson(rates[step]))
    took = 0.02 * slower[step] * random.lognormal(0, 0.4, count)
    failed = int(random.binomial(count, errors[step]))
    parts = {1: took[failed:], 2: took[:failed]}
    interval = {
        key: Reading(len(part), float(part.sum()), histogram=Histogram.of(part))
        for key, part in parts.items()
        if len(part)
    }
    snapshot = Snapshot(START_NS + step * STEP_NS, STEP_NS, SERIES, {}, interval, process=Process(service="sentiment"))
    for alert in check.judge(snapshot):
        if alert.severity == "info":
            continue  # that thresholds loosen is told of all signals
        if alert.state == "firing":
            fired[alert.id] = hours[step], alert.target
        elif alert.id in fired:
            begun, target = fired.pop(alert.id)
            spans.append((begun, hours[step], target))
    shown.append((1e3 * took.mean() if count else np.nan, 100 * failed / max(count, 1), count / 10))

picture = Picture(
    "Anomaly at one false alarm a week: a day learnt, then 1.4 times slower, 6 % errors, no calls, one pause",
    "time (h)",
)
panels = [picture.panel(label) for label in ("mean (ms)", "errors (%)", "calls a second")]
for panel, values in zip(panels, np.array(shown).T, strict=True):
    panel.line(hours, np.minimum(np.convolve(values, np.ones(12) / 12, "same"), 100))
for begun, ended, target in [*spans, *((begun, None, target) for begun, target in fired.values())]:
    place = 1 if target.startswith("error") else 2 if target.startswith(("rate", "time")) else 0
    panels[place].alarm(begun, ended, target)

if __name__ == "__main__":
    picture.main()
