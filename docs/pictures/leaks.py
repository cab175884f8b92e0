"""The memory of a real process that loads its model anew each five minutes, without a leak and with a slow one."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from canvas import Picture

import holter
from holter.model import Process, Reading, Series, Snapshot

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
from memorytraces import trace

SERIES = {1: Series(1, "process.memory.usage", "By", "gauge")}
SECOND_NS, MIB = 1_000_000_000, 2**20

picture = Picture("A process that loads its model anew each five minutes, and one that also leaks 1 MB/min")
for name, label in (("no-leak", "resident (MiB)"), ("slow-leak", "with a leak (MiB)")):
    usage, known = trace(name)
    panel, check, fired = picture.panel(label), holter.Leak(), None
    for second, value in enumerate(usage, start=1):
        reading = Reading(1, value, minimum=value, maximum=value, last=value, first=value)
        snapshot = Snapshot(
            second * SECOND_NS, SECOND_NS, SERIES, {1: reading}, {1: reading},
            process=Process(service="sentiment", pid=4121), monotonic_ns=second * SECOND_NS,
        )  # fmt: skip
        for alert in check.judge(snapshot):
            if alert.state == "firing":
                fired = second
            elif fired is not None:
                panel.alarm(fired / 60, second / 60, "leak")
                fired = None
    panel.line(np.arange(len(usage)) / 60, usage / MIB)
    if fired is not None:
        panel.alarm(fired / 60, None, "leak")

if __name__ == "__main__":
    picture.main()
