"""What hangs: which calls, items and steps take far too long, how often that is told, and where they stand."""

from __future__ import annotations

import asyncio
import json
import queue
import subprocess
import sys
import textwrap
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import holter
from contracts.check import SECOND, CheckContract, Course
from holter.checks.stall import Stall
from holter.errors import ConfigurationError
from holter.model import Alert, OpenCall
from holter.names import (
    CALL_DURATION,
    CALL_NAME,
    STREAM_BETWEEN_ITEMS,
    STREAM_FIRST_ITEM,
    TRAINING_NAME,
    TRAINING_STEP_DURATION,
    TRAINING_STEPS_DONE,
)
from holter.stacks import Stand
from holter.usual import Allowance, Usual
from metricpages import poll

MINUTE = 60


def stall(call: str = "predict", **options: Any) -> Stall:
    """Return a check of one watched call."""
    return Stall(CALL_DURATION, where={CALL_NAME: call}, **options)


def nowhere(_: object) -> None:
    """Stand where nobody can look."""


class TestACallThatHangs(CheckContract):
    """The check is one, where a call hangs."""

    def make(self, call: str) -> Stall:
        """Return a fresh check."""
        return stall(call)

    def good(self, course: Course, call: str) -> None:
        """A call ends each second."""
        course.running.clear()
        course.calls(call, [0.1, 0.2])

    def bad(self, course: Course, call: str) -> None:
        """One does not."""
        if not course.running:
            course.begin(call)


class TestSilence(CheckContract):
    """The check is one, where no call comes."""

    def make(self, call: str) -> Stall:
        """Return a fresh check."""
        return stall(call, silent_seconds=30, _stand_of=nowhere)

    def good(self, course: Course, call: str) -> None:
        """There is a call each second."""
        course.calls(call, [0.1])

    def bad(self, course: Course, call: str) -> None:
        """There is none."""
        del course, call


def steps(course: Course, run: str, durations: list[float], *, is_open: bool = True) -> int:
    """Record steps of a training run; return the id of their series."""
    named = {TRAINING_NAME.replace(".", "__"): run}
    if is_open:
        course.record(TRAINING_STEPS_DONE, [(course.now_ns, 1.0)], "gauge", "{step}", **named)
    timed = [(course.now_ns, one) for one in durations]
    return course.record(TRAINING_STEP_DURATION, timed, "histogram", **named)


class TestAStepThatDoesNotCome(CheckContract):
    """The check is one, where a run makes no step."""

    def make(self, call: str) -> Stall:
        """Return a fresh check."""
        del call
        return Stall(TRAINING_STEP_DURATION, after_seconds=60, _stand_of=nowhere)

    def good(self, course: Course, call: str) -> None:
        """A step each second."""
        steps(course, call, [0.9])

    def bad(self, course: Course, call: str) -> None:
        """None."""
        steps(course, call, [])


class Story:
    """A course, and a check that looks at each tick of it."""

    def __init__(self, check: Stall) -> None:
        self.course, self.check = Course(), check
        self.alerts: list[Alert] = []

    def spend(self, seconds: int, record: Callable[[Course], object] = lambda _: None) -> list[str]:
        """Let so much time pass, each second of which *record* is called; return what the alerts of it say."""
        found: list[Alert] = []
        for _ in range(seconds):
            record(self.course)
            found += self.check.judge(self.course.tick())
        self.alerts += found
        return [f"{one.state}: {one.message}" for one in found]

    def end(self, call: OpenCall) -> None:
        """Let a call that runs end."""
        self.course.running.remove(call)
        self.course.calls(call.name, [(self.course.now_ns - call.start_ns) / SECOND])


def usual(course: Course) -> None:
    """Record calls that take 100 ms."""
    course.calls("predict", [0.1, 0.1])


@pytest.fixture
def story() -> Story:
    """A check without arguments, and a hundred seconds of calls."""
    made = Story(Stall(_stand_of=lambda one: Stand("thread", (f"app.py:{one.thread} in wait",))))
    made.spend(100, usual)
    return made


# -- which calls


def test_a_call_hangs_that_takes_far_longer_than_usual(story: Story) -> None:
    """Ten times the p99, and at least ten seconds; it is over when it ends."""
    call = story.course.begin("predict")
    assert [] == story.spend(10, usual)
    hangs = "hangs: a call has been in flight for 11 s, where 99 of 100 take at most 100 ms"
    assert [f"firing: predict {hangs}; its thread stands in app.py:1 in wait"] == story.spend(1, usual)
    assert [] == story.spend(100, usual)
    story.end(call)
    assert ["resolved: predict goes on: what hung has ended after 1 min 52 s"] == story.spend(1)
    (fired, resolved) = story.alerts
    assert ("each call within 10 s", "1 call in flight, the oldest for 11 s") == (fired.expected, fired.seen)
    assert {
        "calls": 1, "thread": 1, "seconds": 11.0, "limit_seconds": 10.0, "stack_of": "thread",
        "stack": "app.py:1 in wait",
    } == fired.evidence  # fmt: skip
    assert {"seconds": 112.0, "limit_seconds": 10.0} == resolved.evidence


def test_slow_calls_may_take_ten_times_what_99_of_100_take() -> None:
    """The floor of ten seconds is for quick ones."""
    story = Story(Stall())
    story.spend(200, lambda course: course.calls("predict", [6.0]))
    story.course.begin("predict")
    assert [] == story.spend(60)
    (said,) = story.spend(2)
    assert "in flight for 1 min 1 s, where 99 of 100 take at most 6" in said


def test_what_has_once_taken_long_may_take_three_times_as_long(story: Story) -> None:
    """And so a call kind that is rarely slow gives one alert at most, and not one each time."""
    call = story.course.begin("predict")
    assert 1 == len(story.spend(40, usual))
    story.end(call)
    assert 1 == len(story.spend(1))
    story.course.begin("predict")
    assert [] == story.spend(120, usual)
    (said,) = story.spend(3, usual)
    assert "in flight for 2 min 1 s, where the longest of 523 calls took 40 s" in said


def test_of_few_calls_the_limit_is_five_minutes() -> None:
    """A hundred tell what 99 of 100 take."""
    story = Story(Stall())
    story.course.calls("predict", [0.1] * 3)
    story.course.begin("predict")
    assert [] == story.spend(5 * MINUTE)
    (said,) = story.spend(1)
    assert said.endswith("in flight for 5 min 1 s, where the longest of 3 calls took 100 ms")


def test_a_call_of_which_none_has_ended_is_judged_only_where_it_is_named() -> None:
    """Such as main(), which is meant to last; the first of a named one may load for three times five minutes."""
    story = Story(Stall())
    story.course.begin("main")
    assert [] == story.spend(40 * MINUTE)
    story = Story(stall("main"))
    story.course.begin("main")
    assert [] == story.spend(15 * MINUTE)
    (said,) = story.spend(1)
    assert said.endswith("in flight for 15 min 1 s, where no call has ended yet")


def test_a_limit_that_is_given_holds_for_all() -> None:
    """Whatever is usual, from the first call on."""
    story = Story(Stall(after_seconds=3))
    story.course.begin("predict")
    assert [] == story.spend(3)
    assert ["firing: predict hangs: a call has been in flight for 4 s, where the limit is 3 s"] == story.spend(1)


def test_only_the_target_is_judged(story: Story) -> None:
    """If there is one."""
    chosen = Story(stall("embed"))
    for one in (story, chosen):
        one.course.begin("predict")
    assert 1 == len(story.spend(20, usual))
    assert [] == chosen.spend(20, usual)


def test_a_heavy_tail_is_no_hang() -> None:
    """Of a million calls that scatter by a factor of 100 (log-normal), not one is taken for one that hangs."""
    durations = 0.2 * np.random.default_rng(7).lognormal(0, 1, 1_000_000)
    longest, allowance, fired = np.maximum.accumulate(durations), Allowance(), 0
    for index in np.flatnonzero(durations > allowance.least_seconds).tolist():
        known = Usual(index, float(np.quantile(durations[: min(index, 10_000)], 0.99)), float(longest[index - 1]))
        fired += bool(durations[index] > allowance.limit(known, "call").seconds)
    assert (28, 0) == (int(durations.max()), fired)


# -- how it is told


def test_one_alert_tells_of_all_calls_of_a_series(story: Story) -> None:
    """How many there are, and the oldest; it ends with the last of them."""
    first, second = story.course.begin("predict", thread=1), story.course.begin("predict", thread=2)
    (said,) = story.spend(20, usual)
    assert "hangs: 2 calls are in flight, the oldest for 11 s" in said
    third = story.course.begin("predict", thread=3)
    story.end(first)
    story.end(second)
    assert ["resolved"] == [said[:8] for said in story.spend(1)]
    del third


@pytest.mark.parametrize("tasks", [(0, 0, 0), (7, 7, 7), (7, 7, 0), (0, 7, 7)])
def test_of_nested_calls_the_innermost_is_told(story: Story, tasks: tuple[int, int, int]) -> None:
    """Those around it wait for it, and are named as related; when it has gone on they may hang themselves."""
    for call in ("handle", "ask"):
        story.spend(100, lambda course, call=call: course.calls(call, [0.1, 0.1]))
    names = ("handle", "ask", "predict")
    running = []
    for number, (call, task) in enumerate(zip(names, tasks, strict=True)):
        running.append(story.course.begin(call, task=task))
        story.course.now_ns += 1 + number
    (said,) = story.spend(30, usual)
    assert said.startswith("firing: predict hangs")
    assert ("ask", "handle") == story.alerts[-1].related
    story.end(running.pop())
    told = [said.split(" goes")[0].split(" hangs")[0] for said in story.spend(1)]
    assert ["resolved: predict", "firing: ask"] == told


def test_calls_of_other_threads_and_tasks_are_told_by_themselves(story: Story) -> None:
    """They do not wait for each other."""
    story.spend(100, lambda course: course.calls("embed", [0.1, 0.1]))
    story.course.begin("predict", thread=1, task=7)
    story.spend(1)
    story.course.begin("embed", thread=1, task=8)
    told = [said.split(" hangs")[0] for said in story.spend(20)]
    assert ["firing: predict", "firing: embed"] == told


def test_who_is_told_of_first_stays_so(story: Story) -> None:
    """A call within it that comes to hang as well is the same trouble."""
    story.course.calls("load", [0.1])
    story.course.begin("predict")
    story.spend(1)
    story.course.begin("load")
    said = story.spend(10 * MINUTE)
    assert ["firing: predict hangs"] == [one.partition(":")[0] + ":" + one.split(":")[1] for one in said]


def test_a_new_process_has_alerts_of_its_own(story: Story) -> None:
    """What hung before a fork is the parent's."""
    story.course.begin("predict")
    assert 1 == len(story.spend(20, usual))
    snapshot = story.course.tick()
    child = holter.Process("sentiment", instance="child", pid=2)
    again = story.check.judge(replace(snapshot, process=child))
    assert ["firing"] == [one.state for one in again]
    assert again[0].id != story.alerts[-1].id


def test_what_was_held_up_with_everything_else_gets_an_interval_to_go_on(story: Story) -> None:
    """In a process that was stopped, or kept from all CPUs, no call could end; one that hangs still does after it."""
    story.course.begin("predict")
    story.course.now_ns += 3600 * SECOND
    assert [] == story.check.judge(story.course.tick(3600))
    assert ["firing"] == [one.state for one in story.check.judge(story.course.tick())]
    story.course.running.clear()
    assert ["resolved"] == [one.state for one in story.check.judge(story.course.tick(3600))]


def test_long_intervals_are_looked_at_too() -> None:
    """Every second one at least."""
    story = Story(Stall(after_seconds=5))
    story.course.begin("predict")
    found = [len(story.check.judge(story.course.tick(30))) for _ in range(4)]
    assert [0, 1, 0, 0] == found


# -- streams


def items(course: Course, call: str, durations: list[float]) -> None:
    """Record items of a stream."""
    named = {CALL_NAME.replace(".", "__"): call}
    timed = [(course.now_ns, one) for one in durations]
    course.record(STREAM_FIRST_ITEM, timed[:1], "histogram", **named)
    course.record(STREAM_BETWEEN_ITEMS, timed, "histogram", **named)


def test_a_stream_hangs_whose_item_does_not_come() -> None:
    """However long it lives, and whatever time its consumer takes: that is its own."""
    story = Story(Stall())
    stream = story.course.begin("generate", asked_ns=-1)

    def turn(asked_ns: int) -> None:
        story.course.running[:] = [OpenCall("generate", stream.series, stream.start_ns, 0.0, 1, 0, asked_ns)]

    story.spend(200, lambda course: items(course, "generate", [0.02] * 10))
    assert [] == story.spend(3 * 60 * MINUTE)
    turn(story.course.now_ns)
    (said,) = story.spend(15)
    assert "generate hangs: a stream waits for an item, for 11 s, where 99 of 100 take at most 19" in said
    turn(story.course.now_ns)
    (said,) = story.spend(1)
    assert said.startswith("resolved: generate goes on: the item that was waited for is there")
    assert [] == story.spend(8)


# -- training


def test_a_step_in_flight_hangs_after_five_minutes() -> None:
    """Whatever it usually takes: an evaluation or a checkpoint in a step is none that hangs."""
    story = Story(Stall())
    story.spend(300, lambda course: steps(course, "finetune", [0.9]))
    series = steps(story.course, "finetune", [])
    begun_ns = story.course.now_ns
    story.course.running.append(OpenCall("finetune", series, begun_ns, 0.0, 5))
    assert [] == story.spend(5 * MINUTE, lambda course: steps(course, "finetune", []))
    (said,) = story.spend(1, lambda course: steps(course, "finetune", []))
    assert "finetune hangs: a step has been in flight for 5 min 1 s, where 99 of 100 take at most 90" in said


def test_the_first_step_may_compile_for_a_quarter_of_an_hour() -> None:
    """It is judged nevertheless: this is where runs of many processes hang."""
    story = Story(Stall())
    series = steps(story.course, "finetune", [])
    story.course.running.append(OpenCall("finetune", series, story.course.now_ns, 0.0, 5))
    assert [] == story.spend(15 * MINUTE, lambda course: steps(course, "finetune", []))
    (said,) = story.spend(1, lambda course: steps(course, "finetune", []))
    assert said.endswith("a step has been in flight for 15 min 1 s, where no step has ended yet")


def test_no_step_may_come_for_twice_as_long_as_before() -> None:
    """As an evaluation between steps; a run that is over is silent, and so is one that has not begun."""
    story = Story(Stall())
    run = lambda course: steps(course, "finetune", [0.9])  # noqa: E731 - once a second
    wait = lambda course: steps(course, "finetune", [])  # noqa: E731 - as above
    story.spend(300, run)
    assert [] == story.spend(290, wait)
    story.spend(100, run)
    assert [] == story.spend(579, wait)
    said = story.spend(5, wait)
    assert ["firing: finetune has made no step for 9 min 4"] == [one[:45] for one in said]
    assert "where the longest pause before was 4 min 5" in said[0]
    # The run ends, without another step.
    (said,) = story.spend(1)
    assert said.startswith("resolved: finetune goes on: there are steps again, or the run is over")
    assert [] == story.spend(60 * MINUTE)


# -- silence


def test_silence_is_judged_only_where_that_is_wished(story: Story) -> None:
    """Programs have phases, and services have nights."""
    assert [] == story.spend(24 * 60)
    assert [] == Story(stall()).spend(24 * 60)


def test_silence_that_is_learnt_is_far_beyond_the_usual() -> None:
    """The longest pause counts twice; who is in flight is not silent."""
    story = Story(stall(silent_seconds="learnt"))
    assert [] == story.spend(200, usual)
    assert [] == story.spend(200)
    assert [] == story.spend(200, usual)
    assert [] == story.spend(398)
    (said,) = story.spend(4)
    assert said.startswith("firing: predict has not been called for 6 min 4")
    assert "where the longest pause before was 3 min 2" in said
    assert "the main thread stands in" in said
    call = story.course.begin("predict")
    assert ["resolved"] == [said[:8] for said in story.spend(1)]
    story.course.now_ns += 1000 * SECOND
    story.check.judge(story.course.tick())
    story.end(call)
    assert [] == [one for one in story.spend(10) if "has not been called" in one]


# -- what cannot work


@pytest.mark.parametrize(
    ("target", "options", "said"),
    [
        ("x", {"after_seconds": 0}, "after_seconds must be greater than 0, got 0"),
        ("x", {"silent_seconds": "always"}, "silent_seconds must be a finite number, got 'always'"),
        ("x", {"factor": 0.5}, "factor must be at least 1, got 0.5"),
        ("x", {"minimum_calls": 0}, "minimum_calls must be a whole number that is at least 1, got 0"),
        ("x", {"severity": "high"}, "severity must be"),
        (None, {"silent_seconds": 5}, "where and silent_seconds are about one target"),
        (None, {"where": {"a": 1}}, "where and silent_seconds are about one target"),
        (3, {}, "give the function that watch\\(\\) returned"),
    ],
)
def test_what_cannot_work_is_refused(target: Any, options: dict[str, Any], said: str) -> None:
    """With what was expected and what came."""
    with pytest.raises(ConfigurationError, match=said):
        Stall(target, **options)


# -- real ones


INTERVAL = 0.1


@pytest.fixture
def watching() -> Iterator[Callable[..., holter.Monitor]]:
    """Start monitors that look each tenth of a second, and end them."""
    made: list[holter.Monitor] = []

    def make(**options: Any) -> holter.Monitor:
        check = Stall(after_seconds=0.3, **options)
        made.append(holter.Monitor("test", interval_seconds=INTERVAL, samplers=[], recording=False, checks=[check]))
        return made[-1].start()

    yield make
    for monitor in made:
        monitor.stop()


def first_alert(monitor: holter.Monitor) -> Alert:
    """Wait for an alert that fires."""
    return poll("an alert", lambda: next((one for one in monitor.alerts() if one.state == "firing"), None))


def test_a_call_that_hangs_in_a_thread_is_told_with_its_stack(watching: Callable[..., holter.Monitor]) -> None:
    """Within two intervals; without what it works on."""
    waiting: queue.Queue[str] = queue.Queue()

    def fetch(secret: str) -> str:
        return waiting.get() + secret

    monitor = watching()
    predict = monitor.watch(fetch, name="predict")
    thread = threading.Thread(target=lambda: predict("my secret"))
    thread.start()
    alert = first_alert(monitor)
    waiting.put("")
    thread.join()
    assert 0.3 < alert.evidence["seconds"] < 0.3 + 2 * INTERVAL + 0.3, "the machine may be busy"
    assert "thread" == alert.evidence["stack_of"]
    frames = str(alert.evidence["stack"]).split(" < ")
    line = fetch.__code__.co_firstlineno
    assert f"checks/test_stall.py:{line + 1} in fetch" in frames
    assert "queue.py" in frames[1]
    assert [f"checks/test_stall.py:{line + 5} in <lambda>"] == frames[-1:]
    assert "secret" not in str(alert)
    assert alert.evidence["thread"] == thread.native_id
    poll("the end", lambda: ["resolved"] == [one.state for one in monitor.alerts()])


def test_a_call_that_hangs_in_a_task_is_told_with_what_it_awaits(watching: Callable[..., holter.Monitor]) -> None:
    """Down to the innermost; another call of the same loop goes on."""

    async def inner(event: asyncio.Event) -> None:
        await event.wait()

    async def work() -> None:
        await asyncio.gather(asyncio.sleep(0), inner(event))

    monitor = watching()
    predict = monitor.watch(work, name="predict")
    event: asyncio.Event
    found: list[Alert] = []

    async def main() -> None:
        nonlocal event
        event = asyncio.Event()
        task = asyncio.create_task(predict())
        found.append(await asyncio.to_thread(first_alert, monitor))
        event.set()
        await task

    asyncio.run(main())
    (alert,) = found
    assert 0.3 < alert.evidence["seconds"] < 0.3 + 2 * INTERVAL + 0.3, "the machine may be busy"
    assert "task" == alert.evidence["stack_of"]
    frames = str(alert.evidence["stack"]).split(" < ")
    assert "asyncio/locks.py" in frames[0]
    assert ["in inner", "in work"] == [frame.partition(" ")[2] for frame in frames[1:3]]
    assert f"test_stall.py:{work.__code__.co_firstlineno + 1} in work" in frames[2]


def test_a_stream_that_waits_in_a_task_is_told_likewise(watching: Callable[..., holter.Monitor]) -> None:
    """While one whose consumer waits is not."""
    monitor = watching()

    async def produce(event: asyncio.Event) -> AsyncIterator[int]:
        yield 1
        await event.wait()

    hanging, idle = monitor.watch(produce, name="hanging"), monitor.watch(produce, name="idle")
    found: list[Alert] = []

    async def main() -> None:
        event = asyncio.Event()
        other = idle(event)
        await anext(other)

        async def consume() -> None:
            async for _ in hanging(event):
                pass

        task = asyncio.create_task(consume())
        found.append(await asyncio.to_thread(first_alert, monitor))
        event.set()
        await task
        await other.aclose()  # type: ignore[attr-defined]

    asyncio.run(main())
    (alert,) = found
    assert ("hanging", "task") == (alert.target, alert.evidence["stack_of"])
    assert "test_stall.py" in str(alert.evidence["stack"]).split(" < ")[1]
    assert ["hanging"] == [one.target for one in monitor.alerts()]


def test_a_loop_that_is_blocked_is_told_with_the_stack_of_its_thread(watching: Callable[..., holter.Monitor]) -> None:
    """What a coroutine does there without awaiting keeps all others."""
    monitor, free = watching(), threading.Event()

    async def block() -> None:
        free.wait()

    predict = monitor.watch(block, name="predict")
    thread = threading.Thread(target=lambda: asyncio.run(predict()))
    thread.start()
    alert = first_alert(monitor)
    free.set()
    thread.join()
    assert "event loop" == alert.evidence["stack_of"]
    assert f"test_stall.py:{block.__code__.co_firstlineno + 1} in block" in str(alert.evidence["stack"])
    assert "its event loop is blocked in" in alert.message


MEMBER = """
    import queue, sys, threading
    import holter

    @holter.watch
    def predict():
        return waiting.get()

    waiting = queue.Queue()
    checks = [holter.Stall(after_seconds=0.3)]
    with holter.start("service", interval_seconds=0.1, samplers=[], checks=checks) as monitor:
        print("ready", flush=True)
        for line in sys.stdin:
            if line.strip() == "hang":
                threading.Thread(target=predict, daemon=True).start()
            stacks = [one.evidence["stack"] for one in holter.alerts() if "stack" in one.evidence]
            print([one.evidence["process.pid"] for one in holter.alerts()], *stacks, flush=True)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="recordings need Linux")
def test_each_process_of_a_service_takes_its_own_stacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever of them hangs and whichever leads, all know of it, and of the process."""
    monkeypatch.setenv("HOLTER_DIR", str(tmp_path))
    with ExitStack() as made:
        members = []
        for _ in range(2):
            command = [sys.executable, "-c", textwrap.dedent(MEMBER)]
            pipe = subprocess.PIPE
            member = made.enter_context(subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True))
            made.callback(member.kill)
            members.append(member)

        def told(member: Any, order: str = "") -> str:
            member.stdin.write(f"{order}\n")
            member.stdin.flush()
            return str(member.stdout.readline())

        for member in members:
            assert "ready\n" == member.stdout.readline()
        for hanging in members:
            told(hanging, "hang")
            for member in members:
                poll("the alert", lambda pid=hanging.pid, member=member: f"{pid}" in told(member))
                assert "<string>:7 in predict" in told(member)
        pids = sorted(member.pid for member in members)
        assert {str(pids)} == {str(sorted(json.loads(told(member).partition("]")[0] + "]"))) for member in members}


KILLED = """
    import queue, sys, threading
    import holter

    @holter.watch
    def predict(secret):
        return waiting.get()

    waiting = queue.Queue()
    told = lambda alert: print("told", flush=True)
    checks = [holter.Stall(after_seconds=0.3)]
    monitor = holter.start("service", interval_seconds=0.1, samplers=[], on_alert=told, checks=checks)
    predict("my secret")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="recordings need Linux")
def test_a_process_that_is_killed_while_it_hangs_has_told_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its recording has the alert, and the post-mortem names the line."""
    monkeypatch.setenv("HOLTER_DIR", str(tmp_path))
    program = tmp_path / "service.py"
    program.write_text(textwrap.dedent(KILLED))
    with subprocess.Popen([sys.executable, str(program)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "told\n" == process.stdout.readline()
        (path,) = tmp_path.glob("service*.holter")
        poll("the recording", lambda: holter.read_recording(path).alerts)
        process.kill()
    (alert,) = holter.read_recording(path).alerts
    assert "service.py:7 in predict" in str(alert.evidence["stack"])
    assert "its thread stands in" in alert.message
    assert "service.py:7 in predict, which is at" in alert.message
    done = subprocess.run(
        [sys.executable, "-m", "holter", "postmortem", str(path)], capture_output=True, text=True, check=False
    )
    said = " ".join(done.stdout.split())
    assert f"Stack, innermost first: {alert.evidence['stack']}" in said
    assert "secret" not in done.stdout + json.dumps(dict(alert.evidence))
