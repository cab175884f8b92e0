"""A service of eight workers: twice the load, which it serves, a burst, and more than it can serve."""

from __future__ import annotations

import heapq

import numpy as np
from canvas import Picture

import holter
from holter.model import Process, Reading, Series, Snapshot
from holter.names import CALL_ACTIVE, CALL_DURATION, CALL_NAME

SECONDS, MOST, WORKERS, TAKES = 5_400, 320.0, 8, 0.08
NAMED = {CALL_NAME: "predict"}
SERIES = {
    1: Series(1, CALL_DURATION, "s", "histogram", NAMED),
    2: Series(2, CALL_ACTIVE, "{call}", "updowncounter", NAMED),
}
SECOND_NS = 1_000_000_000


def rate(times: np.ndarray) -> np.ndarray:
    """Return how many calls come a second: twice as many from minute 15 on, a burst at 35, too many from 60 on."""
    usual = np.where(times < 900, 40.0, 80.0)
    burst = (times > 2_100) & (times < 2_103)
    return np.where(burst, 300.0, np.where((times > 3_600) & (times < 3_960), 115.0, usual))


random = np.random.default_rng(3)
came = np.sort(random.uniform(0, SECONDS, random.poisson(MOST * SECONDS)))
came = came[random.random(len(came)) * MOST < rate(came)]
free, ends = [0.0] * WORKERS, np.empty(len(came))
for at, (moment, takes) in enumerate(zip(came, random.exponential(TAKES, len(came)), strict=True)):
    ends[at] = max(moment, heapq.heappop(free)) + takes
    heapq.heappush(free, ends[at])
clock = np.arange(1, SECONDS + 1)
ended = np.searchsorted(np.sort(ends), clock)
in_flight, done = np.searchsorted(came, clock) - ended, np.diff(ended, prepend=0)

check = holter.Saturation(CALL_DURATION, where=NAMED)
picture = Picture("In flight, and what ends: a load that is served, a burst, and one that is too much")
level, pace, fired = picture.panel("in flight"), picture.panel("calls/s"), None
for second, (waits, ends_now) in enumerate(zip(in_flight, done, strict=True), start=1):
    value = float(waits)
    gauge = Reading(1, value, minimum=value, maximum=value, last=value, first=value)
    interval = {1: Reading(int(ends_now)), 2: gauge}
    now_ns = second * SECOND_NS
    snapshot = Snapshot(
        now_ns, SECOND_NS, SERIES, interval, interval, process=Process(service="sentiment"), monotonic_ns=now_ns
    )
    for alert in check.judge(snapshot):
        if alert.state == "firing":
            fired = second
        elif fired is not None:
            level.alarm(fired / 60, second / 60, "saturated")
            fired = None
level.line(clock / 60, in_flight)
pace.line(clock / 60, np.convolve(done, np.ones(15) / 15, "same"))
pace.limit([0, SECONDS / 60], [WORKERS / TAKES] * 2, "what the workers can do")

if __name__ == "__main__":
    picture.main()
