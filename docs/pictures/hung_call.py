"""Twenty minutes of a service: slow calls, one that hangs, and a stream whose consumer waits, then its producer."""

from __future__ import annotations

import numpy as np
from canvas import Picture

import holter
from holter.distribution import Histogram
from holter.model import OpenCall, Process, Reading, Series, Snapshot
from holter.names import CALL_DURATION, CALL_NAME, STREAM_BETWEEN_ITEMS
from holter.usual import Allowance, Usuals

SECONDS, SECOND_NS, START_NS = 1_200, 1_000_000_000, 1_790_000_000_000_000_000
PREDICT, GENERATE = {CALL_NAME: "predict"}, {CALL_NAME: "generate"}
SERIES = {
    1: Series(1, CALL_DURATION, "s", "histogram", PREDICT),
    2: Series(2, CALL_DURATION, "s", "histogram", GENERATE),
    3: Series(3, STREAM_BETWEEN_ITEMS, "s", "histogram", GENERATE),
}
# From which second to which each call is in flight: three that are slow, one that hangs.
CALLS = [(150, 156), (190, 198), (240, 249), (420, 520)]
# In which seconds the consumer of the stream has its turn, and in which its producer is asked and does not answer.
IDLE, SILENT = range(660, 780), range(960, 1_030)

random = np.random.default_rng(7)
check, usuals, allowance = holter.Stall(_stand_of=lambda _: None), Usuals(), Allowance()
total: dict[int, Reading] = {}
ages, asked, waited, limits, fired, spans = [], [], [], [], {}, []


def recorded(values: np.ndarray, now_ns: int) -> Reading:
    """Return the reading of some durations."""
    low, high, last = float(values.min()), float(values.max()), float(values[-1])
    return Reading(len(values), float(values.sum()), 0, low, high, last, Histogram.of(values), last, now_ns, now_ns)


for second in range(SECONDS):
    now_ns = second * SECOND_NS
    durations = np.append(0.1 * random.lognormal(0, 0.4, 20), [end - begun for begun, end in CALLS if end == second])
    interval = {1: recorded(durations, now_ns)}
    if second not in IDLE and second not in SILENT:
        interval[3] = recorded(0.02 * random.lognormal(0, 0.3, 40), now_ns)
    for key, reading in interval.items():
        total[key] = total.get(key, Reading()).merge(reading)
    asked_ns = -1 if second in IDLE else SILENT.start * SECOND_NS if second in SILENT else now_ns
    running = [
        OpenCall("predict", 1, begun * SECOND_NS, float(second - begun), 1)
        for begun, end in CALLS
        if begun <= second < end
    ]
    stream = OpenCall("generate", 2, 1, float(second), 2, 0, asked_ns)
    snapshot = Snapshot(
        START_NS + now_ns, SECOND_NS, SERIES, dict(total), interval, (*running, stream),
        process=Process(service="sentiment"), monotonic_ns=now_ns,
    )  # fmt: skip
    for alert in check.judge(snapshot):
        if alert.state == "firing":
            fired[alert.target] = second
        else:
            spans.append((fired.pop(alert.target), second, alert.target))
    usuals.see(snapshot)
    limits.append(min(30.0, allowance.limit(usuals.of(SERIES[1]), "call").seconds))
    ages.append(max((call.age_seconds for call in running), default=0.0))
    asked.append((second - SILENT.start) * (second in SILENT))
    waited.append((second - IDLE.start) * (second in IDLE))

minutes = np.arange(SECONDS) / 60
picture = Picture("What is slow, and what hangs")
calls = picture.panel("predict: oldest call (s)")
calls.line(minutes, ages)
calls.limit(minutes, limits, "the limit: 10 s, or three times the longest (cut at 30)")
streams = picture.panel("generate: one stream (s)")
streams.line(minutes, waited, "its consumer has not asked for the next item for")
streams.line(minutes, asked, "its producer has been asked, and does not answer for")
for begun, ended, target in spans:
    (calls if target == "predict" else streams).alarm(begun / 60, ended / 60, "an alert fires")

if __name__ == "__main__":
    picture.main()
