"""An hour of a service: which alerts fire, of what people are told, and what a silence does."""

from __future__ import annotations

import numpy as np
from canvas import Picture

import holter
from holter.distribution import Histogram
from holter.judging import Judges
from holter.keptsilences import set_for
from holter.model import Process, Reading, Series, Snapshot
from holter.names import CALL_DURATION, CALL_NAME
from holter.scope import Scope

MINUTES, START_NS, STEP_NS = 60, 1_790_000_000_000_000_000, 10_000_000_000
STEPS = MINUTES * 6
CALLS = ("predict", "embed")
SERIES = {key: Series(key, CALL_DURATION, "s", "histogram", {CALL_NAME: name}, None) for key, name in enumerate(CALLS)}

random = np.random.default_rng(7)
means = {name: np.full(STEPS, mean) for name, mean in zip(CALLS, (0.08, 0.03), strict=True)}
means["predict"][60:120] *= 4  # a slow database: first one call, then the other
means["embed"][64:114] *= 5
means["embed"][210:290] *= 5  # a deploy, silenced, that takes too long

scope = Scope()
scope.guard.strict = True
limits = [
    holter.Limit(CALL_DURATION, "p99", above=above, window_seconds=60, where={CALL_NAME: name})
    for name, above in zip(CALLS, (0.5, 0.25), strict=True)
]
judges = Judges(scope, limits)
judges.outbox.receivers = ["people"]
p99 = {name: np.full(STEPS, np.nan) for name in CALLS}
fired, spans, begun, told, seen = {}, [], {}, [], set()
for step in range(STEPS):
    now_ns = START_NS + (step + 1) * STEP_NS
    if step == 205:
        set_for(judges.silences, "embed", 10, "deploy", now_ns)
    interval = {}
    for key, name in enumerate(CALLS):
        took = random.lognormal(np.log(means[name][step]), 0.35, 100)
        p99[name][step] = np.quantile(took, 0.99)
        interval[key] = Reading(count=100, sum=float(took.sum()), histogram=Histogram.of(took))
    snapshot = Snapshot(
        now_ns, STEP_NS, SERIES, interval, interval, process=Process(service="sentiment"), monotonic_ns=now_ns
    )
    for alert in judges.ask(snapshot, 0.0, patiently=False):
        if alert.state == "firing":
            kind = "alert, silenced" if alert.silence else "alert that joins" if alert.incident in seen else "alert"
            fired[alert.target] = step, kind
            seen.add(alert.incident)
        else:
            spans.append((alert.target, *fired.pop(alert.target), step))
    while True:
        with judges.outbox.first("people") as claim:
            if claim is None:
                break
            if claim.notice.state == "firing":
                begun[claim.notice.incident] = step
            else:
                told.append((begun.pop(claim.notice.incident), step))
            claim.done()

minutes = np.arange(STEPS) / 6
picture = Picture("Three alerts, two incidents: one announced, one silenced and announced late")
panels = {}
for name, above in zip(CALLS, (500, 250), strict=True):
    panels[name] = picture.panel(f"{name} p99 (ms)")
    panels[name].line(minutes, 1_000 * p99[name])
    panels[name].limit([0, MINUTES], [above, above], f"{above} ms")
for name, start, kind, end in spans:
    panels[name].alarm(start / 6, end / 6, kind)
people = picture.panel("incidents told")
people.line(minutes, [sum(start <= step < end for start, end in told) for step in range(STEPS)])
for (start, end), which in zip(told, ("announced", "announced when its silence ends"), strict=True):
    people.alarm(start / 6, end / 6, which)

if __name__ == "__main__":
    picture.main()
