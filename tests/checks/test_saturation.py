"""Saturation: work that piles up while no more of it is done, and what only looks like it."""

from __future__ import annotations

import heapq
import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import holter
from contracts.check import CheckContract, Course
from holter.checks.saturation import Saturation
from holter.errors import ConfigurationError
from holter.metric import Series
from holter.model import Alert, Process, Reading, Snapshot
from holter.names import CALL_ACTIVE, CALL_DURATION, CALL_NAME
from holter.union import one_level
from simulation import START_NS, World

CALL = {CALL_NAME: "predict"}


def saturation(call: str = "predict", **options: Any) -> Saturation:
    """Return a check of a watched call."""
    return Saturation(CALL_DURATION, where={CALL_NAME: call}, **options)


class TestSaturation(CheckContract):
    """It is a check of calls."""

    ticks = 250

    def make(self, call: str) -> Saturation:
        """Return a fresh check."""
        return saturation(call)

    def _in_flight(self, course: Course, call: str, change: float) -> None:
        named = {"holter__call__name": call}
        known = [reading for key, reading in course.total.items() if course.series[key].name == CALL_ACTIVE]
        level = max(12.0, ((known[0].last or 0.0) if known else 12.0) + change)
        course.record(CALL_ACTIVE, [(course.now_ns, level)], "gauge", "{call}", **named)
        course.calls(call, [0.1] * 10)

    def good(self, course: Course, call: str) -> None:
        """What piled up drains, and then stays."""
        self._in_flight(course, call, -40.0)

    def bad(self, course: Course, call: str) -> None:
        """Eight more come a second than end."""
        self._in_flight(course, call, 8.0)


def play(
    levels: Any, done: Any, check: Saturation | None = None, *, seconds: float = 1.0, instance: str = ""
) -> list[tuple[float, Alert]]:
    """Return the alerts of a check, where so many are in flight at the end of each interval and so many have ended."""
    check, alerts = check or saturation(), []
    series = {0: Series(0, CALL_DURATION, "s", "histogram", CALL), 1: Series(1, CALL_ACTIVE, "{call}", "gauge", CALL)}
    for tick, (level, ended) in enumerate(zip(levels, done, strict=True), start=1):
        time_ns = round(tick * seconds * 1e9)
        interval = {0: Reading(int(ended)), 1: one_level(float(level), time_ns)}
        process = Process(service="sentiment", instance=instance)
        snapshot = Snapshot(
            START_NS + time_ns, round(seconds * 1e9), series, interval, interval, process=process, monotonic_ns=time_ns
        )
        alerts += [(tick * seconds, alert) for alert in check.judge(snapshot)]
    return alerts


def queue(
    rate: Callable[[np.ndarray], np.ndarray], most: float, seconds: int, servers: int = 8, seed: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """
    Return what is in flight, and what has ended, each second of a queue with so many *servers*.

    Calls come by chance, at a *rate* at each time, and take 80 ms on average, by chance too: 12.5 a second and server.
    """
    random = np.random.default_rng(seed)
    arrivals = np.sort(random.uniform(0, seconds, random.poisson(most * seconds)))
    arrivals = arrivals[random.random(len(arrivals)) * most < rate(arrivals)]
    free, ends = [0.0] * servers, np.empty(len(arrivals))
    for at, (came, takes) in enumerate(zip(arrivals, random.exponential(0.08, len(arrivals)), strict=True)):
        ends[at] = max(came, heapq.heappop(free)) + takes
        heapq.heappush(free, ends[at])
    clock = np.arange(1, seconds + 1)
    ended = np.searchsorted(np.sort(ends), clock)
    return np.searchsorted(arrivals, clock) - ended, np.diff(ended, prepend=0)


def constant(rate: float) -> Callable[[np.ndarray], np.ndarray]:
    """Return a rate that stays."""
    return lambda times: np.full(len(times), rate)


@pytest.mark.parametrize(("rate", "within"), [(105.0, 700), (110.0, 300), (130.0, 90), (300.0, 60)])
def test_more_calls_than_can_be_served_are_told_soon(rate: float, within: float) -> None:
    """The more of them, the sooner; once."""
    levels, done = queue(lambda times: np.where(times < 900, 60.0, rate), rate, 900 + within)
    ((second, alert),) = play(levels, done)
    assert 900 < second < 900 + within
    assert "predict is saturated: " in alert.message


def test_slower_calls_pile_up_too() -> None:
    """Where fewer end than did, the next step is another one."""
    levels = np.concatenate((np.full(1500, 12.0), 12 + 2.0 * np.arange(100)))
    done = np.concatenate((np.full(1500, 40), np.full(100, 20)))
    ((_, alert),) = play(levels, done)
    assert "while fewer end: 20 calls/s, 40 then" in alert.message
    assert alert.next_step.startswith("calls end more slowly than they did")


def test_calls_that_do_not_end_any_more_are_told() -> None:
    """There is no time that each takes then."""
    levels = np.concatenate((np.full(1500, 12.0), 12 + 2.0 * np.arange(100)))
    done = np.concatenate((np.full(1500, 40), np.full(100, 0)))
    ((_, alert),) = play(levels, done)
    assert alert.message.endswith("while no call ends")
    assert "seconds_each" not in alert.evidence


def test_an_alert_says_how_many_more_at_which_rate_and_how_long_each_takes() -> None:
    """By Little's law."""
    levels = np.concatenate((np.full(1500, 20.0), 20 + 0.8 * np.arange(120)))
    ((_, alert),) = play(levels, np.full(1620, 95))
    assert alert.message == (
        "predict is saturated: 43.6 in flight, 2.18 times the 20 of 1 min before, at an unchanged 95 calls/s; by "
        "Little's law each now takes 459 ms, 211 ms then"
    )
    assert "some 0.59 calls/s more come than end" in alert.next_step
    assert ("predict", "saturation", "warning") == (alert.target, alert.check, alert.severity)


@pytest.mark.parametrize("used", [0.8, 0.95])
def test_a_busy_service_that_keeps_up_is_not_saturated(used: float) -> None:
    """Though by chance its queue grows to ten times of what it was, and more."""
    assert [] == play(*queue(constant(100 * used), 100 * used, 2 * 3600))


QUIET: dict[str, tuple[Any, float]] = {
    "more calls that are served": (lambda times: 20 + 60 * np.clip((times - 600) / 300, 0, 1), 80),
    "calls that come and go in an hour": (lambda times: 45 + 30 * np.sin(times / 573), 75),
    "a burst": (lambda times: np.where((times > 1800) & (times < 1810), 400.0, 40.0), 400),
}


@pytest.mark.parametrize("name", QUIET)
def test_no_alarm_for(name: str) -> None:
    """What is served, or drains."""
    rate, most = QUIET[name]
    assert [] == play(*queue(rate, most, 3600))


def test_a_batch_that_is_started_at_once_is_none() -> None:
    """Whether it drains fast or slowly, at the start or later."""
    drains = np.concatenate((np.full(60, 0.0), np.maximum(0.0, 500 - 2.0 * np.arange(300))))
    stays = np.concatenate((np.full(1500, 0.0), np.full(200, 500.0), np.zeros(100)))
    assert [] == play(drains, np.full(360, 2))
    assert [] == play(stays, np.full(1800, 2))


def test_more_in_flight_as_more_end_is_none() -> None:
    """Nine times as many calls, of which as many end, are work that is done."""
    more = np.concatenate((np.full(1500, 1.0), 1 + np.arange(120) / 15))
    assert [] == play(12 * more, 40 * more)
    assert [] != play(12 * more, np.full(1620, 40))


def test_as_much_as_was_there_before_is_none() -> None:
    """What once piled up and drained may do so again."""
    peak = 20 + 100.0 * np.clip(20 - np.arange(40), 0, None) / 20
    rises = np.minimum(120.0, 20 + 2.0 * np.arange(60))
    calm = np.full(1500, 20.0)
    assert [] == play(np.concatenate((calm, peak, calm, rises)), np.full(3100, 95))
    assert [] != play(np.concatenate((calm, calm, rises)), np.full(3060, 95))


def test_few_calls_are_none() -> None:
    """Below the minimum."""
    levels = np.concatenate((np.full(1500, 1.0), 1 + 0.1 * np.arange(80)))
    assert [] == play(levels, np.full(1580, 5))
    assert [] != play(levels, np.full(1580, 5), saturation(minimum=3))


def test_it_resolves_when_what_waits_has_gone_halfway_back() -> None:
    """And says how it stands then."""
    levels = np.concatenate(
        (np.full(1500, 20.0), 20 + 2.0 * np.arange(200), np.maximum(20, 420 - 10.0 * np.arange(100)))
    )
    told = play(levels, np.full(1800, 95))
    assert ["firing", "resolved"] == [alert.state for _, alert in told]
    assert told[0][1].id == told[1][1].id
    assert "predict is no longer saturated" in told[1][1].message


def test_it_resolves_when_it_holds() -> None:
    """What does not grow any more is slower, but does not pile up."""
    levels = np.concatenate((np.full(1500, 20.0), np.minimum(120.0, 20 + 2.0 * np.arange(600))))
    told = play(levels, np.full(2100, 95))
    assert ["firing", "resolved"] == [alert.state for _, alert in told]
    assert "piles up no further: it holds at 120 in flight" in told[1][1].message


def test_a_queue_may_be_named() -> None:
    """A gauge, of which all series count together."""
    check, world, told = Saturation(CALL_DURATION, where=CALL, queue="app.queue.length"), World(totals=True), []
    for second in range(1400):
        for name in ("one", "other"):
            waits = 10.0 + max(0, second - 1300)
            world.values(world.one("app.queue.length", "gauge", "{item}", app__queue=name), [waits])
        world.call("predict", [0.1] * 10)
        told += check.judge(world.snapshot())
    (alert,) = told
    assert "in app.queue.length" in alert.message
    assert "at an unchanged 10 calls/s" in alert.message


def test_the_queue_before_an_application_is_its_time_by_littles_law() -> None:
    """Of requests that wait longer and longer, more wait."""
    check = Saturation("http.server.request.duration", queue="holter.request.queue_time")
    world, told = World(totals=False), []
    for second in range(1500):
        world.values(world.one("http.server.request.duration"), [0.1] * 50)
        world.values(world.one("holter.request.queue_time"), [0.3 + 0.02 * max(0, second - 1300)] * 50)
        told += check.judge(world.snapshot())
    (alert,) = told
    assert "in holter.request.queue_time" in alert.message
    assert "at an unchanged 50 requests/s" in alert.message


def test_a_function_is_watched_by_itself() -> None:
    """By what `watch` returned."""
    shout = holter.watch(str.upper, name="shout")
    world, told, check = World(), [], Saturation(shout)
    for second in range(1400):
        world.values(
            world.one(CALL_ACTIVE, "updowncounter", "{call}", holter__call__name="shout"), [20 + max(0, second - 1300)]
        )
        world.values(world.one(CALL_ACTIVE, "updowncounter", "{call}", holter__call__name="other"), [2 * second])
        world.call("shout", [0.1] * 10)
        told += check.judge(world.snapshot())
    assert ["shout"] == [alert.target for alert in told]


# -- what outlives a process


def firing() -> tuple[Saturation, Alert]:
    """Return a check that has just fired, and its alert."""
    check = saturation()
    levels = np.concatenate((np.full(1500, 20.0), 20 + 2.0 * np.arange(60)))
    ((_, alert),) = play(levels, np.full(1560, 95), check)
    return check, alert


def test_what_fires_resolves_in_the_next_process() -> None:
    """When less is there, with the same id."""
    check, alert = firing()
    other = saturation()
    assert other.load(json.loads(json.dumps(check.save())), 5.0)
    told = play(np.full(60, 5.0), np.full(60, 95), other, instance="another")
    assert [("resolved", alert.id)] == [(one.state, one.id) for _, one in told]


def test_after_long_nothing_is_known() -> None:
    """Nor after a new start in the same process."""
    check, _ = firing()
    other = saturation()
    assert other.load(check.save(), 500.0) is False
    assert [] == play(np.full(60, 5.0), np.full(60, 95), other)
    assert [] == play(np.full(60, 500.0), np.full(60, 95), check, instance="another")


@pytest.mark.parametrize("state", [{}, {"firing": [1]}, {"firing": [1, [9, 1, 1, 1, 1, 1]]}, {"firing": "now"}])
def test_a_state_that_is_none_is_refused_and_harms_nothing(state: Any) -> None:
    """The monitor counts that, and all begins anew."""
    check = saturation()
    with pytest.raises((ValueError, KeyError, TypeError)):
        check.load(state, 0.0)
    assert [] == play(np.full(60, 5.0), np.full(60, 95), check)


# -- what holds of any course


@settings(max_examples=10)
@given(level=st.floats(0, 1e9), rate=st.integers(0, 10**6), seconds=st.sampled_from([0.1, 1.0, 30.0]))
def test_what_does_not_grow_is_never_told(level: float, rate: int, seconds: float) -> None:
    """Whatever the level, the rate and the interval."""
    assert [] == play([level] * 500, [rate] * 500, seconds=seconds)


@settings(max_examples=10)
@given(seed=st.integers(0, 2**32))
def test_the_same_values_in_another_order_are_none(seed: int) -> None:
    """It is the order that tells."""
    levels = np.concatenate((np.full(300, 20.0), 20 + 5.0 * np.arange(300)))
    assert [] != play(levels, np.full(600, 20))
    assert [] == play(np.random.default_rng(seed).permutation(levels), np.full(600, 20))


@settings(max_examples=10)
@given(scale=st.sampled_from([0.25, 0.5, 2.0, 8.0]), seed=st.integers(0, 2**32))
def test_verdicts_do_not_depend_on_the_pace(scale: float, seed: int) -> None:
    """The same course in windows and intervals of another length gives the same alerts, as much sooner or later."""
    levels = np.concatenate((np.full(300, 20.0), 20 + 5.0 * np.arange(100), np.full(100, 15.0)))
    levels = levels + np.random.default_rng(seed).normal(0, 2, len(levels))
    done = np.full(len(levels), 10)
    usual = [(second, alert.state) for second, alert in play(levels, done)]
    other = play(levels, done, saturation(window_seconds=60 * scale), seconds=scale)
    assert usual == [(second / scale, alert.state) for second, alert in other]
    assert usual


def test_memory_of_the_check_is_bounded() -> None:
    """Four rings of 72 blocks."""
    check = saturation()
    play(np.full(20_000, 5.0), np.full(20_000, 95), check)
    blocks = [block for ring in check._backlog._blocks for block in ring]
    assert len(blocks) <= 4 * 72
    assert sum(sys.getsizeof(block) + sys.getsizeof(block.tops) for block in blocks) < 60_000


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"minimum": 0}, "minimum must be greater than 0"),
        ({"growth": 1.2}, "growth must be 1.5 or more"),
        ({"queue": ""}, "queue must be the name"),
        ({"queue": 3}, "queue must be the name"),
        ({"window_seconds": 0}, "window_seconds must be greater than 0"),
        ({"severity": "bad"}, "severity must be one of"),
        ({"where": 3}, "where must map"),
    ],
)
def test_what_cannot_work_is_refused(options: dict, words: str) -> None:
    """With what was expected and what came."""
    with pytest.raises(ConfigurationError, match=words):
        Saturation(CALL_DURATION, **options)
