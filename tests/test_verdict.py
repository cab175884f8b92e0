"""What changed and why, in words."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from holter.history import History
from holter.model import Alert, ErrorPlace, Pause, SlowCall, Snapshot
from holter.verdict import Verdict, clock_time, judge
from simulation import SECOND_NS, START_NS, Service, World, open_call, run

PLACES = [
    ErrorPlace("predict", "ValueError", "/srv/app/demo.py:88 in tokenize", 300),
    ErrorPlace("predict", "ValueError", "/srv/app/demo.py:12 in load", 2),
    ErrorPlace("other", "ValueError", "/srv/app/other.py:1 in f", 900),
]

Trouble = Callable[[int, Service], None]


def judged(
    seed: int, intervals: int, trouble: Trouble = lambda _i, _s: None, service: Service | None = None
) -> Verdict:
    """Return the verdict on a service's past."""
    history, snapshot = History(), None
    for snapshot in run(seed, intervals, trouble, service=service):
        history.add(snapshot)
    assert snapshot is not None
    return judge(history, snapshot, [], PLACES)


def from_interval(start: int, **changes: object) -> Trouble:
    """Return the trouble that changes fields of the service from one interval on."""

    def trouble(index: int, service: Service) -> None:
        if index == start:
            for name, value in changes.items():
                setattr(service, name, value)

    return trouble


def at(interval: int) -> str:
    """Return the time at which an interval began, as a verdict says it."""
    return clock_time(START_NS + interval * SECOND_NS)


CALM = {
    "busy": Service(rate=200, scatter=0.4),
    "slow": Service(rate=2, scatter=1.0),
    "rare": Service(rate=0.2, scatter=1.0),
    "heavy-tailed": Service(rate=30, scatter=1.5),
    "always failing a little": Service(rate=60, errors=0.02),
}


@pytest.mark.parametrize("name", CALM)
@pytest.mark.parametrize(("intervals", "seeds"), [(10, 20), (40, 15), (160, 3), (600, 1)])
def test_it_stays_silent_on_traffic_that_does_not_change(name: str, intervals: int, seeds: int) -> None:
    """Random calls with random durations and failures are nothing unusual, over many seeds."""
    verdicts = [judged(seed, intervals, service=replace(CALM[name])) for seed in range(seeds)]
    assert [] == [verdict.headline for verdict in verdicts if verdict.changed]
    assert all(verdict.headline.startswith("Nothing unusual: ") for verdict in verdicts)


@pytest.mark.parametrize("intervals", [20, 40, 160])
@pytest.mark.parametrize(("stage", "slow"), [("tokenize", 0.02), ("forward", 0.08)])
def test_it_names_the_stage_that_became_slow(stage: str, slow: float, intervals: int) -> None:
    """Which figure, since when, from what to what, and where the time goes."""
    start = intervals // 2
    calm = {"tokenize": 0.001, "forward": 0.004}
    for seed in range(5):
        verdict = judged(seed, intervals, from_interval(start, stages={**calm, stage: slow}))
        assert verdict.changed
        assert re.match(
            rf"predict: p99 rose from [\d.]+ ms to [\d.]+ ms at {at(start)} \(p50 from [\d.]+ ms to [\d.]+ ms\); "
            rf"\d+ % of the added time is in stage '{stage}'\.",
            verdict.headline,
        )


@pytest.mark.parametrize("stage", ["tokenize", "forward"])
def test_it_names_the_stage_in_which_errors_began(stage: str) -> None:
    """The share, the type, the innermost stage it passed through, and the place that most came from."""
    for seed in range(5):
        verdict = judged(seed, 30, from_interval(15, errors=0.31, error_stage=stage))
        assert re.match(
            rf"predict: errors rose from 0 % to [\d.]+ % at {at(15)} \(ValueError in stage '{stage}', demo\.py:88\)",
            verdict.headline,
        )


def test_errors_and_their_cost_are_one_sentence() -> None:
    """Malformed inputs that cost real work show as errors, time, and the stage of both."""
    verdict = judged(3, 30, from_interval(15, errors=0.31, error_cost=40.0))
    assert re.fullmatch(
        rf"predict: errors rose from 0 % to [\d.]+ % at {at(15)} \(ValueError in stage 'tokenize', demo\.py:88\)"
        r" and p99 from [\d.]+ ms to [\d.]+ ms; \d+ % of the added time is in stage 'tokenize'\.",
        verdict.headline,
    )


def test_figures_in_the_sentence_are_true() -> None:
    """The share of failures is the one that was injected, the quantile numpy's, within 10 %."""
    verdict = judged(5, 80, from_interval(40, rate=600, errors=0.2, stages={"tokenize": 0.03, "forward": 0.004}))
    random = np.random.default_rng(0)

    def p99(tokenize: float) -> float:
        parts = [mean * random.lognormal(-0.125, 0.5, 200_000) for mean in (tokenize, 0.004)]
        return 1e3 * float(np.quantile(0.0005 + parts[0] + parts[1], 0.99))

    share, before, after = map(
        float, re.findall(r"to ([\d.]+) %.*p99 from ([\d.]+) ms to ([\d.]+) ms", verdict.headline)[0]
    )
    assert share == pytest.approx(20, rel=0.1)
    assert before == pytest.approx(p99(0.001), rel=0.1)
    assert after == pytest.approx(p99(0.03), rel=0.1)


def test_trouble_that_is_over_has_an_end() -> None:
    """A stretch in the middle is told with both its times."""

    def trouble(index: int, service: Service) -> None:
        service.errors = 0.5 if 20 <= index < 30 else 0.0

    verdict = judged(1, 60, trouble)
    assert f"between {at(20)} and {at(30)}" in verdict.headline


def test_a_rise_in_load_is_told() -> None:
    """Calls a second before and after."""
    verdict = judged(2, 40, from_interval(20, rate=400.0))
    assert re.fullmatch(rf"predict: calls rose from [\d.]+/s to \d+/s at {at(20)}\.", verdict.headline)


def test_a_load_that_stops_is_told() -> None:
    """With what it was before."""
    verdict = judged(2, 40, from_interval(20, rate=0.0))
    assert re.fullmatch(rf"predict: calls stopped at {at(20)}, after [\d.]+/s\.", verdict.headline)


def test_a_phase_that_is_over_is_no_stop() -> None:
    """What has been silent for longer than it ran is no news."""
    assert [True, False] == [judged(2, length, from_interval(20, rate=0.0)).changed for length in (40, 42)]


def test_calls_that_hang_are_told_with_a_load_that_stops() -> None:
    """How many are in flight, and for how long."""
    history = History()
    for snapshot in run(1, 40, from_interval(20, rate=0.0)):
        history.add(snapshot)
    stuck = replace(snapshot, open_calls=(open_call("predict", 19.5), open_call("predict", 3.0), open_call("x", 50.0)))
    assert judge(history, stuck).headline.endswith("; 2 in flight, the oldest for 19.5 s.")


def test_pauses_that_always_occur_are_no_stop() -> None:
    """A batch job rests between its batches."""
    verdict = judged(1, 60, lambda index, service: setattr(service, "rate", 100.0 if index % 15 < 8 else 0.0))
    assert not verdict.changed


def test_a_silence_like_earlier_ones_is_no_stop() -> None:
    """Only one that is three times as long as any before it."""
    pauses = {10, 11, 20, 21}

    def verdict(length: int) -> Verdict:
        def trouble(index: int, service: Service) -> None:
            service.rate = 0.0 if index in pauses or index >= 60 - length else 100.0

        return judged(1, 60, trouble)

    assert not verdict(6).changed
    assert f"calls stopped at {at(53)}" in verdict(7).headline


def test_somewhat_more_failures_are_not_called_a_change() -> None:
    """However sure: from 10 % to 15 % is less than double."""
    changed = [
        judged(
            1, 40, from_interval(20, errors=share), Service(rate=1500, errors=0.1, stages={"tokenize": 0.001})
        ).changed
        for share in (0.15, 0.25)
    ]
    assert [False, True] == changed


def test_a_load_that_begins_is_no_change() -> None:
    """What was not called before its first call is not judged for it."""
    assert not judged(1, 60, lambda index, service: setattr(service, "rate", 100.0 if index > 30 else 0.0)).changed


def test_a_higher_load_does_not_make_quantiles_lie() -> None:
    """The p99 of many calls lies above that of few; with heavy tails that alone is no slowness."""
    for seed in range(10):
        verdict = judged(seed, 40, from_interval(20, rate=60.0), Service(rate=4.0, scatter=1.3))
        assert "p99" not in verdict.headline


def test_getting_faster_is_nothing_unusual() -> None:
    """Programs warm up."""
    slow = Service(stages={"tokenize": 0.03, "forward": 0.1})
    verdict = judged(1, 40, from_interval(15, stages={"tokenize": 0.001, "forward": 0.004}), slow)
    assert not verdict.changed


def test_failures_since_the_start_are_said_though_nothing_changed() -> None:
    """A program that always fails is not called well."""
    verdict = judged(1, 5, service=Service(errors=0.4))
    assert not verdict.changed
    assert re.fullmatch(
        r"predict: \d\d\.?\d? % of its \d+ calls fail \(ValueError in stage 'tokenize', demo\.py:88\)\.",
        verdict.headline,
    )


def test_it_says_when_it_is_too_early() -> None:
    """Fewer than ten intervals are not compared."""
    verdict = judged(1, 9, from_interval(5, errors=0.0, stages={"tokenize": 0.5}))
    assert not verdict.changed
    assert verdict.headline.endswith("Too early to compare with the time before.")


def test_it_has_something_to_say_before_the_first_call() -> None:
    """An empty history is nothing unusual."""
    snapshot = Snapshot(0, 0, {}, {}, {})
    assert Verdict("Nothing unusual: no watched call has ended yet.") == judge(History(), snapshot)


def alert(since: int, **changes: object) -> Alert:
    """Return an alert on predict that fired in an interval."""
    since_ns = START_NS + since * SECOND_NS + SECOND_NS // 2
    fired = Alert(
        "a1", "limit", "firing", "warning", since_ns, "predict", "p99 at most 10 ms", "30 ms", "predict p99 is 30 ms"
    )
    return replace(fired, **changes)


def test_a_firing_alert_is_never_nothing_unusual() -> None:
    """What the history cannot show the alert says."""
    history = History()
    for snapshot in run(1, 30):
        history.add(snapshot)
    assert Verdict("Alert: predict p99 is 30 ms", changed=True, kind="alert") == judge(history, snapshot, [alert(3)])
    assert not judge(history, snapshot, [alert(3, state="resolved")]).changed


def test_an_alert_is_evidence_where_the_history_is_short() -> None:
    """The time before it fired is compared with the time since."""
    history = History()
    for snapshot in run(1, 6, from_interval(4, stages={"tokenize": 0.03, "forward": 0.004})):
        history.add(snapshot)
    assert not judge(history, snapshot).changed
    verdict = judge(history, snapshot, [alert(4)])
    assert f"at {at(4)}" in verdict.headline
    assert verdict.headline.endswith("of the added time is in stage 'tokenize'.")


def test_several_changes_are_told_worst_first() -> None:
    """Errors before slowness before load, each call with a sentence of its own."""
    history, world, random = History(), World(), np.random.default_rng(4)
    for index in range(40):
        is_late = index >= 20
        world.call("busier", random.lognormal(-5, 0.3, random.poisson(400 if is_late else 50)))
        world.call("slower", random.lognormal(-2 if is_late else -5, 0.3, 50))
        world.call("failing", random.lognormal(-9, 0.3, 50))
        world.call("failing", random.lognormal(-9, 0.3, 20 * is_late), "KeyError")
        snapshot = world.snapshot()
        history.add(snapshot)
    verdict = judge(history, snapshot)
    assert ["failing", "slower", "busier"] == [
        text.partition(":")[0] for text in (verdict.headline, *verdict.details) if "failing: calls" not in text
    ]


def test_names_are_made_harmless() -> None:
    """Escapes and line breaks in names of calls, stages and errors do not reach the sentence."""
    history, world = History(), World()
    for index in range(30):
        world.call("a\x1b[31m\nb", np.full(50, 0.01))
        if index >= 15:
            world.span("a\x1b[31m\nb", "s\u202e\r", np.full(50, 0.5), "E\x00")
            world.call("a\x1b[31m\nb", np.full(50, 0.5), "E\x00")
        snapshot = world.snapshot()
        history.add(snapshot)
    assert judge(history, snapshot).headline.isprintable()


def test_it_says_what_slow_calls_of_the_stretch_lost_time_to() -> None:
    """Behind the stage; what slow calls of other functions or times lost is nobody's news."""
    start, intervals = 20, 40
    calls = tuple(
        SlowCall(number, name, 7, ended - SECOND_NS, ended, pauses=pauses)
        for number, (name, ended, pauses) in enumerate(
            [
                ("predict", START_NS + 5 * SECOND_NS, (Pause("throttling", 1.0),)),
                ("other", START_NS + 30 * SECOND_NS, (Pause("throttling", 1.0),)),
                ("predict", START_NS + 30 * SECOND_NS, (Pause("gc", 0.71),)),
            ]
        )
    )
    history, snapshot = History(), None
    trouble = from_interval(start, stages={"tokenize": 0.001, "forward": 0.08})
    for snapshot in run(3, intervals, trouble):
        history.add(snapshot)
    assert snapshot is not None
    told = judge(history, replace(snapshot, slow_calls=calls)).headline
    assert told.endswith("in stage 'forward'; its slow calls spent 71 % of their time in garbage collection.")
    assert judge(history, snapshot).headline.endswith("in stage 'forward'.")
