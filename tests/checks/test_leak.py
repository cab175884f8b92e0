"""Leaks: what is one and what is none, how soon it is told, until when there is room, what outlives a process."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import holter
from contracts.check import CheckContract, Course
from holter.checks.leak import MOST_LEVELS, Leak
from holter.errors import ConfigurationError
from holter.model import Alert, Process, Reading, Series, Snapshot
from holter.union import one_level
from memorytraces import trace
from simulation import START_NS, World

MB = 2.0**20
MINUTE = 60
HOUR = 3600
PROCESS = Process(service="sentiment", pid=4121)
TESTS = Path(__file__).parent.parent


class TestLeak(CheckContract):
    """A leak of a gauge is a check."""

    ticks = 150

    def make(self, call: str) -> Leak:
        """Return a fresh check; of a gauge that no other test has watched as a call."""
        return Leak(f"{call}.size")

    def _add(self, course: Course, call: str, more: float) -> None:
        gauge = f"{call}.size"
        known = [reading for key, reading in course.total.items() if course.series[key].name == gauge]
        level = (known[0].last or 0.0) if known else 100 * MB
        course.record(gauge, [(course.now_ns, level + more)], "gauge", "By")

    def good(self, course: Course, call: str) -> None:
        """The level stays."""
        self._add(course, call, 0.0)

    def bad(self, course: Course, call: str) -> None:
        """It grows by a MiB a second."""
        self._add(course, call, MB)


class Machine:
    """Snapshots of processes and GPUs whose memory a test decides."""

    def __init__(self, seconds: float = 1.0, *, limit: float | None = 8192 * MB, used: float = 2048 * MB) -> None:
        self.world = World(seconds, totals=False)
        self.seconds, self.limit, self.used = seconds, limit, used
        self.uptime = 1000.0

    def gauge(self, name: str, value: float, unit: str = "By", **attributes: Any) -> None:
        """Set a gauge."""
        self.world.values(self.world.one(name, "gauge", unit, **attributes), [value])

    def tick(self, level: float | None = None, calls: int = 0, **pid: int) -> Snapshot:
        """End an interval in which the process has that much, and so many calls end."""
        self.uptime += self.seconds
        if level is not None:
            self.gauge("process.memory.usage", level, **pid)
            self.gauge("process.uptime", self.uptime, "s", **pid)
        if self.limit is not None:
            self.gauge("holter.cgroup.memory.limit", self.limit)
            self.gauge("container.memory.working_set", self.used)
        if calls:
            self.world.call("predict", [0.01] * calls)
        return self.world.snapshot()


def play(
    levels: Iterable[float],
    check: Leak | None = None,
    calls: Iterable[int] | None = None,
    *,
    seconds: float = 1.0,
    limit: float | None = 8192 * MB,
) -> list[tuple[float, Alert]]:
    """Return the alerts of a check that judges these *levels*, one an interval, with the second of each."""
    check, each = check or Leak(), iter(lambda: 0, 1) if calls is None else iter(calls)
    limits = (("holter.cgroup.memory.limit", limit or 0.0), ("container.memory.working_set", 2048 * MB))
    series = {
        0: Series(0, "process.memory.usage", "By", "gauge"),
        1: Series(1, "holter.call.duration", "s", "histogram"),
    }
    series |= {key: Series(key, name, "By", "gauge") for key, (name, _) in enumerate(limits, start=2)}
    known = {key: one_level(value, 0) for key, (_, value) in enumerate(limits, start=2)} if limit else {}
    alerts = []
    for tick, level in enumerate(levels, start=1):
        usage = Reading(1, level, minimum=level, maximum=level, last=level, first=level)
        interval = {0: usage, 1: Reading(next(each)), **(known if tick == 1 else {})}
        time_ns = round(tick * seconds * 1e9)
        snapshot = Snapshot(
            START_NS + time_ns, round(seconds * 1e9), series, interval, interval, process=PROCESS, monotonic_ns=time_ns
        )
        alerts += [((tick - 1) * seconds, alert) for alert in check.judge(snapshot)]
    return alerts


def noise(count: int, scale: float = 2.0, seed: int = 1) -> np.ndarray:
    """Return what is used for a moment, in bytes."""
    return np.abs(np.random.default_rng(seed).normal(0, scale * MB, count))


def saw(count: int, height: float, seconds: float, seed: int = 2) -> np.ndarray:
    """Return garbage that grows and is collected, each time after more or less so many seconds."""
    phase = (np.arange(count) + np.cumsum(np.random.default_rng(seed).normal(0, 0.3, count))) / seconds
    return height * MB * (phase % 1.0)


def since(second: int, count: int, a_minute: float) -> np.ndarray:
    """Return what a leak that begins then has come to."""
    return a_minute * MB / 60 * np.maximum(0, np.arange(count) - second)


# -- how soon a leak is told


@pytest.mark.parametrize(
    ("a_minute", "height", "period", "within"),
    [
        (60, 0, 1, 60),
        (60, 10, 7, 200),
        (60, 50, 30, 800),
        (10, 0, 1, 200),
        (10, 10, 7, 200),
        (10, 50, 30, 800),
        (1, 0, 1, 700),
        (1, 10, 7, 3000),
        (1, 50, 30, 3000),
    ],
)
def test_a_leak_is_told_soon(a_minute: float, height: float, period: float, within: float) -> None:
    """The larger it is against the garbage that comes and goes, the sooner; never before it begins."""
    count = 600 + int(within) + 10
    levels = 400 * MB + since(600, count, a_minute) + noise(count) + saw(count, height, period)
    told = play(levels)
    assert 1 == len(told)
    second, alert = told[0]
    assert 600 < second < 600 + within
    assert a_minute * MB / 60 == pytest.approx(alert.evidence["rate_per_second"], rel=0.2)


def test_one_of_60_megabytes_a_minute_is_found_in_a_real_process_within_a_minute() -> None:
    """Recorded of one with garbage, a cache that fills and a model that is loaded anew as the leak begins."""
    levels, known = trace("fast-leak")
    assert 2**20 == known["leak_bytes_a_second"]
    ((second, alert),) = play(levels)
    assert 0 < second - known["leaks_from_second"] < 60
    assert 60 == pytest.approx(60 * alert.evidence["rate_per_second"] / MB, rel=0.1)


def test_one_of_a_megabyte_a_minute_is_found_on_a_trace() -> None:
    """Recorded of a process that loaded its model anew six times meanwhile."""
    levels, known = trace("slow-leak")
    ((second, alert),) = play(levels)
    assert 0 < second - known["leaks_from_second"] < 28 * MINUTE
    assert 1 == pytest.approx(60 * alert.evidence["rate_per_second"] / MB, rel=0.15)


def test_the_same_process_without_a_leak_is_never_told() -> None:
    """For the 40 minutes of which there is a trace."""
    levels, known = trace("no-leak")
    assert (0.0, 2400) == (known["leak_bytes_a_second"], len(levels))
    assert [] == play(levels)


PROGRAM = """
import sys, threading, time
sys.path.insert(0, {tests!r})
import holter
from memorytraces import Service
window, leak, leaks_from, seconds = map(float, sys.argv[1:])
told = threading.Event()
def tell(alert):
    print("told", time.monotonic() - service.begun - leaks_from, alert.check, flush=True)
    told.set()
each = window / 48
holter.start("leaky", interval_seconds=each, samplers=[holter.ProcessSampler(each / 2)], recording=False,
             checks=[holter.Leak(window_seconds=window)], on_alert=tell)
service = Service(leak, leaks_from)
threading.Thread(target=service.run, args=(service.begun + seconds,), daemon=True).start()
told.wait(seconds)
holter.stop()
"""


def told_by_process(window: float, leak: float, leaks_from: float, seconds: float) -> float:
    """Run a leaking process with a check in it; return how long after its leak began the first alert came."""
    arguments = [str(value) for value in (window, leak, leaks_from, seconds)]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(tests=str(TESTS)), *arguments],
        capture_output=True,
        text=True,
        timeout=seconds + 60,
        check=True,
    )
    said = [line.split() for line in done.stdout.splitlines() if line.startswith("told")]
    assert said, done.stderr
    assert "leak" == said[0][2]
    return float(said[0][1])


def test_a_monitor_asks_it() -> None:
    """A gauge that it reads itself, in a window of a second and a half."""
    begun = time.monotonic()
    told = threading.Event()
    monitor = holter.Monitor(
        "leaky",
        samplers=[],
        interval_seconds=0.03,
        recording=False,
        checks=[Leak("app.level", window_seconds=1.5, warm_up_seconds=0.0, minimum_growth=100.0), Leak()],
        on_alert=lambda _alert: told.set(),
    )
    monitor.gauge("app.level", unit="{thing}", read=lambda: 1e3 * (time.monotonic() - begun))
    with monitor:
        assert told.wait(60.0)
        assert ["app.level"] == [alert.target for alert in monitor.alerts()]
        assert not any(
            name == "holter.internal_errors" for name in (s.name for s in monitor.snapshot().series.values())
        )


@pytest.mark.heavy
@pytest.mark.timeout(300)
def test_a_leak_of_60_megabytes_a_minute_in_a_real_process_is_told_within_a_minute() -> None:
    """As it runs, with a garbage collector, a cache and a model that is loaded anew."""
    assert 0 < told_by_process(48.0, MB, 80.0, 170.0) < 60


# -- what is none

T = np.arange(2 * HOUR)
FLAT = np.full(len(T), 400 * MB)
QUIET: dict[str, np.ndarray] = {
    "nothing": FLAT,
    "noise": FLAT + noise(len(T), 20),
    "a warm-up": FLAT + 600 * MB * (1 - np.exp(-T / 30)),
    "a warm-up in steps": FLAT + 100 * MB * np.minimum(T // 15, 6),
    "a cache that fills in a few minutes": FLAT + 1000 * MB * (1 - np.exp(-T / 120)),
    "a cache that fills in an hour": FLAT + 1000 * MB * (1 - np.exp(-T / 1200)),
    "a cache that fills at an even pace for 10 minutes": FLAT + MB * np.minimum(T, 580),
    "growth by the logarithm of time": FLAT + 80 * MB * np.log2(1 + T / 10),
    "a model reload": FLAT + 800 * MB * (T > 4000),
    "a reload with both models there": FLAT + 800 * MB * ((T > 4000) & (T < 4010)),
    "a reload that takes a minute and a half": FLAT + 2000 * MB * np.clip((T - 4000) / 90, 0, 1),
    "reloads each half hour": FLAT + 800 * MB * (T % 1800 < 12),
    "ever larger models": FLAT + 300 * MB * (T // 2700),
    "garbage that is seldom collected": FLAT + saw(len(T), 50, 30),
    "garbage that is hardly ever collected": FLAT + saw(len(T), 300, 300),
    "a random walk": 4 * FLAT + np.cumsum(np.random.default_rng(3).normal(0, 0.3 * MB, len(T))),
    "falling": 10 * FLAT - 1e5 * T,
}


@pytest.mark.parametrize("name", QUIET)
def test_no_alarm_for(name: str) -> None:
    """What grows and then stops, or comes and goes."""
    assert [] == play(QUIET[name] + noise(len(T), 1.0))


def test_cycles_are_known_after_the_first() -> None:
    """What falls back to where it was is told once at most, however slowly it climbs."""
    levels = FLAT + saw(len(T), 600, 1500) + noise(len(T))
    states = [alert.state for _, alert in play(levels)]
    assert states in ([], ["firing", "resolved"])


def test_memory_that_grows_with_the_calls_is_no_leak() -> None:
    """As it does where each has something in flight; with as many calls as before it is one."""
    rising = (50 + 150 * np.minimum(1, T / 6000)).astype(int)
    levels = 200 * MB + 2 * MB * rising + noise(len(T), 1.0)
    assert [] == play(levels, calls=rising)
    assert "firing" == play(levels, calls=np.full(len(T), 50))[0][1].state


def test_more_calls_than_ever_begin_another_warm_up() -> None:
    """A cache that fills when traffic comes, at an even pace for some minutes, is none."""
    levels = FLAT + MB * np.clip(T - 1000, 0, 400)
    calls = np.where(T < 1000, 0, 40)
    assert [] == play(levels, calls=calls)
    assert [] != play(levels, calls=np.full(len(T), 40))


def test_after_what_was_held_long_is_let_go_growth_is_new() -> None:
    """A model that is unloaded leaves room in which a leak is told at once; a peak of garbage does not."""
    held = FLAT + 2000 * MB * ((T > 100) & (T < 5000)) + noise(len(T), 1.0)
    told = play(held + since(7000, len(T), 60))
    assert 7000 < told[0][0] < 7060


# -- what is said


def test_an_alert_says_how_fast_since_when_and_until_when() -> None:
    """With the limit that leaves the least room, and what to do."""
    check, machine, told = Leak(), Machine(used=2000 * MB), []
    for second in range(200):
        machine.gauge("system.memory.limit", 64_000 * MB)
        machine.gauge("system.memory.usage", 10_000 * MB)
        machine.gauge("holter.python.allocated_blocks", 1e6 + 10 * second, "{block}")
        told += check.judge(machine.tick(400 * MB + MB * max(0, second - 60)))
    (alert,) = told
    assert alert.message == (
        "memory of process 4121 grows without end: by 55.6 MiB/min over 48 s, from 400 MiB to 439 MiB, steadily and "
        "beyond all that it had before; at this rate the container reaches its limit of 8 GiB in 1 h 51 min"
    )
    assert ("warning", "process 4121", "leak") == (alert.severity, alert.target, alert.check)
    assert START_NS + 60e9 == pytest.approx(alert.since_ns, abs=8e9)
    assert "Python's small objects do not grow with it" in alert.next_step
    assert ("holter.python.allocated_blocks",) == alert.related
    assert 6192 == pytest.approx(alert.evidence["seconds_until_limit"], rel=0.1)


def test_python_objects_that_grow_along_are_named() -> None:
    """Where their number accounts for a part of it."""
    check, machine, told = Leak(), Machine(), []
    for second in range(200):
        machine.gauge("holter.python.allocated_blocks", 1e6 + 10_000 * second, "{block}")
        told += check.judge(machine.tick(400 * MB + MB * max(0, second - 60)))
    assert "Python's objects grow with it, by 460,000" in told[0].next_step


def test_without_a_limit_nothing_is_said_of_it() -> None:
    """It is a leak all the same."""
    ((_, alert),) = play(FLAT[:150] + since(60, 150, 60), limit=None)
    assert "limit" not in alert.message
    assert "seconds_until_limit" not in alert.evidence


def test_an_hour_before_the_limit_it_is_a_page() -> None:
    """One more alert, critical, at the time; both resolve when the memory is given back."""
    check, machine, told = Leak(), Machine(used=1000 * MB), []
    for second in range(5700):
        level = 400 * MB + MB * min(max(0, second - 60), 5000)
        machine.used = level + 600 * MB
        told += [(second, alert) for alert in check.judge(machine.tick(level))]
    assert [("warning", "firing"), ("critical", "firing"), ("warning", "resolved"), ("critical", "resolved")] == [
        (alert.severity, alert.state) for _, alert in told
    ]
    page = told[1][1]
    assert 3600 == pytest.approx(page.evidence["seconds_until_limit"], rel=0.01)
    assert page.next_step.startswith("restart it before it is killed")
    assert told[0][1].id != page.id
    assert "stopped at 5.27 GiB" in told[2][1].message


def test_it_resolves_when_what_leaked_is_given_back() -> None:
    """And says so."""
    levels = np.concatenate((FLAT[:60] + since(0, 60, 0), 400 * MB + MB * np.arange(200), FLAT[:400]))
    told = play(levels)
    assert ["firing", "resolved"] == [alert.state for _, alert in told]
    assert "come down to 400 MiB" in told[1][1].message
    assert told[0][1].id == told[1][1].id


# -- whose it is


def test_each_process_of_a_group_is_told_by_itself_and_all_share_the_room() -> None:
    """Their rates add up; one that has ended is resolved within a minute or two."""
    check, machine, told = Leak(), Machine(limit=64_000 * MB), []
    for second in range(400):
        for pid, rate in ((11, 60), (12, 60), (13, 0)):
            if pid != 12 or second < 250:
                level = 400 * MB + rate * MB / 60 * max(0, second - 60)
                machine.gauge("process.memory.usage", level, process__pid=pid)
        told += check.judge(machine.tick())
    first, second, ended = told
    assert ["process 11", "process 12", "process 12"] == [first.target, second.target, ended.target]
    assert "at this rate, by 111 MiB/min of all that grow, the container" in second.message
    assert ("resolved", "process 12 no longer grows: it has ended") == (ended.state, ended.message)


def test_children_are_told_apart_from_their_parent() -> None:
    """What the tree has beyond its root."""
    check, machine, told = Leak(), Machine(), []
    for second in range(500):
        machine.gauge("holter.process_tree.memory_usage", 900 * MB + MB * max(0, second - 60))
        machine.gauge("holter.process_tree.processes", 3, "{process}")
        told += check.judge(machine.tick(400 * MB))
    (alert,) = told
    assert "the children of process 4121" == alert.target
    assert "data loaders" in alert.next_step


def test_the_memory_of_a_gpu_is_told_with_who_took_it() -> None:
    """Against its own limit; of one that is divided, its parts."""
    check, machine, told = Leak(), Machine(), []
    for second in range(150):
        grown = 20 * MB * max(0, second - 60)
        for name, kind, value in (("", "own", grown), ("", "others", 0.0)):
            device = {"hw__id": "GPU-a", "hw__name": "GPU 0", "holter__gpu__process_kind": kind}
            machine.gauge(f"holter.gpu.process.memory{name}", value, **device)
        for device, parent in (("GPU-a", ""), ("MIG-b", "GPU-c"), ("GPU-c", "")):
            named = {"hw__id": device, "hw__name": f"name of {device}"} | ({"hw__parent": parent} if parent else {})
            level = 30_000 * MB + (0 if device == "MIG-b" else grown)
            machine.gauge("hw.gpu.memory.usage", level, **named)
            machine.gauge("hw.gpu.memory.limit", 80_000 * MB, **named)
        told += check.judge(machine.tick())
    (alert,) = told
    assert "name of GPU-a" == alert.target
    assert "name of GPU-a reaches its limit of 78.1 GiB in" in alert.message
    assert "it is this process that took it" in alert.next_step


def test_any_gauge_may_be_watched() -> None:
    """By its name and attributes, against a limit that is given."""
    check, machine, told = (
        Leak("process.unix.file_descriptor.count", where={"process.pid": 7}, limit=1024),
        Machine(),
        [],
    )
    for second in range(400):
        for pid in (7, 8):
            opened = 20.0 + max(0, second - 100)
            machine.gauge("process.unix.file_descriptor.count", opened, "{file_descriptor}", process__pid=pid)
        told += check.judge(machine.tick())
    (alert,) = told
    assert "process.unix.file_descriptor.count{process.pid=7}" == alert.target
    assert "by 55.6 file descriptors/min over 48 s" in alert.message
    assert "reaches its limit of 1,024 file descriptors in 17 min" in alert.message
    assert "find who adds to it" in alert.next_step


# -- what outlives a process


def leaking(check: Leak, machine: Machine, seconds: range) -> list[Alert]:
    """Judge a process that leaks 60 MB a minute from its second 60 on."""
    return [alert for second in seconds for alert in check.judge(machine.tick(400 * MB + MB * max(0, second - 60)))]


def handed_on(check: Leak) -> Leak:
    """Return the check of another process that goes on from what this one knew."""
    other = Leak()
    other.load(json.loads(json.dumps(check.save())), 2.0)
    return other


def test_who_judges_next_goes_on_with_processes_that_are_still_there() -> None:
    """A leak that was half seen is told as soon as if nothing had happened, and one that fires goes on."""
    machine = Machine()
    check = Leak()
    assert [] == leaking(check, machine, range(100))
    check = handed_on(check)
    (alert,) = leaking(check, machine, range(100, 115))
    check = handed_on(check)
    assert [] == leaking(check, machine, range(115, 300))
    ended = [one for second in range(600) for one in check.judge(machine.tick(640 * MB))]
    assert [("resolved", alert.id)] == [(one.state, one.id) for one in ended]


@pytest.mark.parametrize("is_same_number", [True, False])
def test_the_leak_of_a_process_ends_with_it(*, is_same_number: bool) -> None:
    """The next one begins anew, be it with the same number, and its predecessor's alert resolves."""
    machine, check = Machine(), Leak()
    (alert,) = leaking(check, machine, range(115))
    machine.uptime = 0.0
    after = handed_on(check)
    if is_same_number:
        ended = leaking(after, machine, range(1))
    else:
        machine.world.process = replace(machine.world.process, pid=99)
        ended = leaking(after, machine, range(70))
    assert [("resolved", alert.id, "process 4121 no longer grows: it has ended")] == [
        (one.state, one.id, one.message) for one in ended
    ]


def test_another_process_with_the_same_number_begins_anew() -> None:
    """In a group a worker may be followed by one with its number."""
    machine, check = Machine(), Leak()
    (alert,) = leaking(check, machine, range(115))
    machine.uptime = 0.0
    assert [("resolved", alert.id)] == [(one.state, one.id) for one in leaking(check, machine, range(40))]


def test_a_new_start_in_the_same_process_begins_anew() -> None:
    """And so does a forked child."""
    machine, check = Machine(), Leak()
    leaking(check, machine, range(100))
    machine.world.process = replace(machine.world.process, instance="another")
    assert [] == leaking(check, machine, range(100, 140))


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"levels": []},
        {"levels": {"process 1": {}}},
        {"levels": {"process 1": {"started": 1, "ascent": [], "climb": None, "since_ns": 0, "alerts": []}}},
        {"levels": {"process 1": {"started": "x", "ascent": [], "climb": None, "since_ns": 0, "alerts": []}}},
    ],
)
def test_a_state_that_is_none_is_refused_and_harms_nothing(state: Any) -> None:
    """The monitor counts that, and all begins anew."""
    check = Leak()
    with pytest.raises((ValueError, KeyError, TypeError, AttributeError)):
        check.load(state, 0.0)
    assert 1 == len(leaking(check, Machine(), range(115)))


# -- what holds of any course


@settings(max_examples=20)
@given(
    level=st.floats(0, 1e12),
    seconds=st.sampled_from([0.1, 1.0, 7.0, 60.0]),
    noisy=st.floats(0, 1e6),
    seed=st.integers(0),
)
def test_what_does_not_grow_is_never_told(level: float, seconds: float, noisy: float, seed: int) -> None:
    """Whatever the level, the interval, and noise below what counts."""
    random = np.random.default_rng(seed)
    assert [] == play(level + noisy * random.random(400), seconds=seconds)


@settings(max_examples=8)
@given(scale=st.sampled_from([2.0**-20, 2.0**-10, 2.0**10, 2.0**20]), seed=st.integers(0, 2**32))
@example(scale=2.0**10, seed=1)
def test_verdicts_do_not_depend_on_the_unit(scale: float, seed: int) -> None:
    """As many times as much of all makes the same alerts at the same time."""
    random = np.random.default_rng(seed)
    levels = 400 + since(100, 400, 60) / MB + np.abs(random.normal(0, 1 + seed % 3, 400))

    def told(factor: float) -> list[tuple[float, str]]:
        check, machine, alerts = Leak("app.level", minimum_growth=8 * factor), Machine(), []
        for second, level in enumerate(levels):
            machine.gauge("app.level", level * factor, "{thing}")
            alerts += [(second, alert.state) for alert in check.judge(machine.tick())]
        return alerts

    assert told(1.0) == told(scale)


@settings(max_examples=8)
@given(seed=st.integers(0, 2**32))
def test_the_same_values_in_another_order_are_no_leak(seed: int) -> None:
    """It is the order that makes it one."""
    levels = 400 * MB + since(60, 400, 60) + noise(400)
    assert 1 == len(play(levels))
    assert [] == play(np.random.default_rng(seed).permutation(levels))


@pytest.mark.parametrize("seconds", [0.25, 5.0, 20.0])
def test_intervals_may_be_short_or_long(seconds: float) -> None:
    """With long ones, the windows that they fill tell."""
    count = int((1000 + max(60, 200 * seconds)) / seconds)
    levels = 400 * MB + MB * np.maximum(0, np.arange(count) * seconds - 1000)
    told = play(levels, seconds=seconds)
    assert 1 == len(told)
    assert 1000 < told[0][0] < 1000 + max(60, 160 * seconds)


def test_memory_of_the_check_is_bounded() -> None:
    """Some 12 KB a level at first, 300 levels at most, whoever comes and goes."""
    check, machine = Leak(), Machine()
    for second in range(300):
        check.judge(machine.tick(400 * MB + second))
    tracemalloc.start()
    try:
        for pid in range(1, 700):
            machine.gauge("process.memory.usage", 1e8, process__pid=pid)
            snapshot = machine.tick()
            if pid == 1:
                before, _ = tracemalloc.get_traced_memory()
            check.judge(snapshot)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(check.save()["levels"]) <= 32
    assert after - before < MOST_LEVELS * 12_000 + 700 * 3_000


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"limit": 1e9}, "need the name of a gauge"),
        ({"where": {"a": 1}}, "need the name of a gauge"),
        ({"target": "holter.call.duration"}, "a call has no level"),
        ({"target": ""}, "empty name"),
        ({"target": 3}, "a metric's name"),
        ({"window_seconds": 0}, "window_seconds must be greater than 0"),
        ({"warm_up_seconds": -1}, "warm_up_seconds must be 0 or more"),
        ({"minimum_growth": float("nan")}, "minimum_growth must be a finite number"),
        ({"minimum_growth": -1.0}, "minimum_growth must be 0 or more"),
    ],
)
def test_what_cannot_work_is_refused(arguments: dict, words: str) -> None:
    """With what was expected and what came."""
    with pytest.raises(ConfigurationError, match=words):
        Leak(**arguments)
