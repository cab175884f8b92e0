"""A week of a service with one short outage and one slow burn, and when its objective paged."""

from __future__ import annotations

import numpy as np
from canvas import Picture

import holter
from holter.model import Process, Reading, Series, Snapshot
from holter.names import CALL_DURATION, CALL_NAME, CALL_OUTCOME

MINUTES, CALLS = 7 * 1_440, 60
NAMED = {CALL_NAME: "predict"}
GOOD = Series(1, CALL_DURATION, "s", "histogram", NAMED, None)
BAD = Series(2, CALL_DURATION, "s", "histogram", {**NAMED, CALL_OUTCOME: "error"}, None)
SERIES, START_NS, MINUTE_NS = {1: GOOD, 2: BAD}, 1_790_000_000_000_000_000, 60_000_000_000

shares = np.full(MINUTES, 0.002)
shares[2_000:2_020] = 0.5
shares[5_000:7_000] = 0.03
bad = np.random.default_rng(7).binomial(CALLS, shares)

slo = holter.SLO(CALL_DURATION, objective=0.99, where=NAMED)
budget, fired, spans = [], {}, []
for minute, failed in enumerate(bad):
    interval = {1: Reading(count=int(CALLS - failed)), 2: Reading(count=int(failed))}
    snapshot = Snapshot(
        START_NS + minute * MINUTE_NS, MINUTE_NS, SERIES, interval, interval, process=Process(service="sentiment")
    )
    for alert in slo.judge(snapshot):
        kind = "page" if alert.severity == "critical" else "ticket"
        if alert.state == "firing":
            fired[kind] = minute
        else:
            spans.append((fired.pop(kind), minute, kind))
    budget.append(next((value for name, value, _ in slo.figures() if name == "holter.slo.error_budget"), np.nan))

hours = np.arange(MINUTES) / 60
picture = Picture("An objective of 99 %: what pages, and what becomes a ticket", "time (h)")
share = picture.panel("bad calls (%)")
share.line(hours, 100 * np.convolve(bad / CALLS, np.ones(30) / 30, "same"))
share.limit([0, hours[-1]], [1, 1], "1 % allowed")
left = picture.panel("budget left (%)")
left.line(hours, 100 * np.array(budget))
for begun, ended, kind in [*spans, *((minute, None, kind) for kind, minute in fired.items())]:
    (share if kind == "page" else left).alarm(begun / 60, None if ended is None else ended / 60, kind)

if __name__ == "__main__":
    picture.main()
