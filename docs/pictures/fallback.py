"""A new version that fails for five minutes, and when its guard left it, tried it and came back."""

from __future__ import annotations

import logging

import numpy as np
from canvas import Picture

import holter
from holter.clock import Clock

SECONDS, CALLS, BROKEN = 20 * 60, 20, range(4 * 60, 9 * 60)
random = np.random.default_rng(7)
logging.getLogger("holter").setLevel(logging.CRITICAL)

now = [1_000_000_000_000]
monitor = holter.Monitor(
    "sentiment", samplers=[], clock=Clock(lambda: now[0], lambda: 1_790_000_000_000_000_000 + now[0])
)


@monitor.watch
def predict_v8(failure_share: float) -> str:
    """Return the answer of the new version, if it has one."""
    if random.random() < failure_share:
        raise ValueError
    return "v8"


failing = holter.Limit(predict_v8, "error_ratio", above=0.05, minimum_calls=20)
predict = holter.Guard(predict_v8, lambda _: "v7", when=failing)

alerts = {}
failed, by_new, states, without = np.zeros(SECONDS), np.zeros(SECONDS), [], np.zeros(SECONDS)
for second in range(SECONDS):
    share = 0.4 if second in BROKEN else 0.005
    without[second] = random.binomial(CALLS, share)
    for _ in range(CALLS):
        now[0] += 1_000_000_000 // CALLS
        try:
            by_new[second] += predict(share) == "v8"
        except ValueError:
            failed[second] += 1
            by_new[second] += 1
    alerts |= {alert.id: alert for alert in failing.judge(monitor.snapshot())}
    # As a monitor that runs does at the end of each interval.
    predict.hear(monitor._scope, alerts)  # noqa: SLF001 - which is what it does
    states.append(predict.state)


def over_ten_seconds(counts: np.ndarray) -> np.ndarray:
    """Return the share of calls, averaged."""
    return 100 * np.convolve(counts / CALLS, np.ones(10) / 10, "same")


minutes = np.arange(SECONDS) / 60
picture = Picture("A version that fails for five minutes, behind a guard")
answers = picture.panel("failed answers (%)")
answers.line(minutes, over_ten_seconds(without), "without the guard")
answers.line(minutes, over_ten_seconds(failed), "with it")
served = picture.panel("served by v8 (%)")
served.line(minutes, 100 * by_new / CALLS)
away = np.flatnonzero(np.array(states) != "primary")
served.alarm(away[0] / 60, away[-1] / 60, "the fallback serves, but for trials")

if __name__ == "__main__":
    picture.main()
