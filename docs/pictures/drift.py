"""Sixty days of customers who grow younger on the fortieth, and when that is told."""

from __future__ import annotations

import numpy as np
from canvas import Picture

import holter
from holter.model import Observation, Snapshot

DAYS, LOOKS, ROWS = 60, 24, 40
SECOND, START_NS = 1_000_000_000, 1_790_000_000_000_000_000

random = np.random.default_rng(5)
reference = holter.Profile.of({"age": random.gamma(9, 4.5, 20_000).round()})
predict = holter.watch(lambda age: age / 100, name="predict")
check = holter.Drift(reference, call=predict, outputs=False, every_seconds=3_600)

young, told = [], []
for look in range(DAYS * LOOKS):
    day = look / LOOKS
    ages = (random.gamma(9, 4.5, ROWS) - (6 if 40 <= day < 52 else 0)).round()
    for batch in np.array_split(ages, 8):
        check.observe(Observation("predict", {"age": batch}, len(batch), START_NS))
    now_ns = START_NS + look * 3_600 * SECOND
    alerts = check.judge(Snapshot(now_ns, 3_600 * SECOND, {}, {}, {}))
    told += [(day, alert.state) for alert in alerts]
    young.append((ages <= 30).mean())

days = np.arange(DAYS * LOOKS) / LOOKS
picture = Picture("Customers grow younger on day 40 and are as before from day 52 on", "day")
panel = picture.panel("aged 30 or less (%)")
panel.line(days[12:-11], 100 * np.convolve(young, np.ones(24) / 24, "valid"), "of a day")
usual = float(100 * reference.columns["age"].numbers.sketch.at_most(np.array([30.0]))[0])
panel.limit([0, days[-1]], [usual, usual], "of the reference")
fired = next(day for day, state in told if state == "firing")
resolved = next((day for day, state in told if state == "resolved"), None)
panel.alarm(fired, resolved, "drift of age")

if __name__ == "__main__":
    picture.main()
