"""What Python's runtime takes from a program: the figures, and what slow calls say that they lost their time to."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from contracts.sampled import Sampled, open_files
from contracts.watched import Time, internal_errors, values
from holter import names
from holter.clock import Clock
from holter.errors import ConfigurationError
from holter.gctimer import COLLECTIONS, CollectionTimer
from holter.loops import Loops
from holter.model import Sampler, SlowCall
from holter.monitor import Monitor
from holter.names import CAUSE_GC as GC
from holter.names import CAUSE_GIL_WAIT as GIL_WAIT
from holter.names import CAUSE_LOOP_LAG as LOOP_LAG
from holter.names import CAUSE_RUN_QUEUE as RUN_QUEUE
from holter.names import CAUSE_THROTTLING as THROTTLING
from holter.pauses import PAUSES, Pauses, Sufferer
from holter.runqueue import RunQueue
from holter.samplers.runtime import MOST_COLLECTIONS, Rings, RuntimeSampler, Sources, recording_rings
from holter.throttling import Throttling

MS = 1_000_000
PATIENCE_SECONDS = 30.0
SLOW_SECONDS = 0.15
LINUX = sys.platform == "linux"
on_linux = pytest.mark.skipif(not LINUX, reason="only Linux tells how long threads wait for a CPU")
with_gil = pytest.mark.skipif(
    not getattr(sys, "_is_gil_enabled", lambda: True)(), reason="a Python without a GIL has no wait for it"
)


class Bench:
    """A sampler on a machine of which a test says what the kernel counts, by a clock that it moves."""

    def __init__(self, folder: Path, *, late_ns: int = 0, has_gil: bool = True) -> None:
        self.time, self.late_ns = Time(), late_ns
        self.tasks, self.groups = folder / "task", folder / "groups"
        self.cpu_ns = self.calls = 0
        self.collections = CollectionTimer()
        self.pauses = Pauses(self.collections.rows)
        (folder / "cgroup").write_text("0::/\n")
        self.groups.mkdir()
        self.throttle(0)
        for thread in {threading.get_native_id(), *recording_rings().threads}:
            self.runs(thread, 0, 0)
        self.sampler = RuntimeSampler(
            _clock=Clock(monotonic_ns=self.time, process_cpu_ns=lambda: self.cpu_ns),
            _sources=Sources(
                collections=self.collections,
                loops=Loops(),
                pauses=self.pauses,
                run_queue=lambda: RunQueue(self.tasks),
                throttling=lambda: Throttling(folder / "cgroup", self.groups),
                rings=lambda: Rings(recording_rings().threads, self.calls, is_open=False),
                nap=lambda seconds: self.time.spend(seconds + self.late_ns / 1e9),
                has_gil=has_gil,
            ),
        )

    def throttle(self, throttled_ns: int) -> None:
        """Let the group have been kept from the CPUs for so much."""
        (self.groups / "cpu.stat").write_text(f"usage_usec 0\nnr_throttled 1\nthrottled_usec {throttled_ns // 1_000}\n")

    def runs(self, thread: int, ran_ns: int, waited_ns: int) -> None:
        """Let *thread* have run and waited for so much."""
        file = self.tasks / str(thread) / "schedstat"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{ran_ns} {waited_ns} 1\n")

    def look(self, *, calls: int = 1, ran_ns: int = 0) -> Sampled:
        """Look around once, 100 ms, so many calls and so much CPU time later; return what was recorded."""
        self.time.spend(0.099)
        self.calls += calls
        self.cpu_ns += ran_ns
        sampled = Sampled()
        self.sampler.sample(sampled)
        return sampled


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    one = Bench(tmp_path)
    yield one
    one.sampler.close()


def test_each_collection_is_recorded_by_its_generation(bench: Bench) -> None:
    """What was before the first look is not."""
    bench.look()
    gc.collect(1)
    gc.collect(2)
    found = bench.look()
    assert found["holter.gc.pause 1"] > 0
    assert found["holter.gc.pause 2"] > 0
    assert ("s", "histogram") == found.metrics["holter.gc.pause"]


def test_where_no_call_ran_only_each_second_is_looked_for_lags(bench: Bench) -> None:
    """What threads and groups lost meanwhile is kept all the same, and the first call is looked at again."""
    assert names.GIL_WAIT in bench.look().metrics
    at_rest = [names.GIL_WAIT in bench.look(calls=0, ran_ns=10_000_000).metrics for _ in range(20)]
    # The clock stands still but for 99 ms a look and the nap's millisecond, so each tenth or eleventh is a whole one.
    assert at_rest.count(True) in (1, 2)
    assert names.GIL_WAIT in bench.look().metrics
    bench.look(calls=0)
    bench.throttle(80_000_000)
    bench.look(calls=0)
    assert 1 == bench.pauses.tables[names.CAUSE_THROTTLING].count


def test_where_hardly_anything_runs_each_five_seconds_are_looked_for_lags(bench: Bench) -> None:
    """A loop may be blocked without a share of the CPU: where there is one, each second is."""
    bench.look()
    assert [names.GIL_WAIT in bench.look(calls=0).metrics for _ in range(60)].count(True) == 1
    loop = asyncio.new_event_loop()
    try:
        bench.sampler.follow(loop)
        assert [names.GIL_WAIT in bench.look(calls=0).metrics for _ in range(60)].count(True) in (5, 6)
    finally:
        loop.close()


def test_a_call_that_runs_is_seen_while_it_runs_and_what_holter_records_is_none() -> None:
    """Its samplers' thread has a ring too, and writes to it all the time."""
    with Monitor("at-rest", interval_seconds=0.01, recording=False) as monitor:
        begun, release, ended, leave = (threading.Event() for _ in range(4))

        @monitor.watch
        def predict() -> None:
            begun.set()
            release.wait(PATIENCE_SECONDS)

        def serve() -> None:
            predict()
            ended.set()
            # The ring of a thread that is gone is emptied at any time.
            leave.wait(PATIENCE_SECONDS)

        thread = threading.Thread(target=serve)
        before = recording_rings()
        thread.start()
        assert begun.wait(PATIENCE_SECONDS)
        during = recording_rings()
        sampling = next(one.native_id for one in threading.enumerate() if one.name == "holter-sampling")
        release.set()
        assert ended.wait(PATIENCE_SECONDS)
        after = recording_rings()
        leave.set()
        thread.join()
    assert {sampling, thread.native_id} & set(during.threads) == {thread.native_id}
    assert during.is_open
    assert after.moved != before.moved


def test_of_many_collections_the_longest_are_recorded(bench: Bench) -> None:
    """Twenty-five a look; the sum is of all of them."""
    recorded: list[float] = []

    def record(name: str, value: float, **_: object) -> None:
        if name == names.GC_PAUSE:
            recorded.append(value)

    bench.sampler.sample(record)
    for _ in range(60):
        gc.collect(0)
    bench.time.spend(2.0)
    sampled = Sampled()
    longest = sorted((one.taken_ns / 1e9 for one in bench.collections.since(0)), reverse=True)[:MOST_COLLECTIONS]
    bench.sampler.sample(record)
    assert longest == recorded
    bench.time.spend(2.0)
    bench.sampler.sample(sampled)
    assert sampled["holter.gc.time"] >= sum(longest)


def test_pythons_own_counts_are_recorded_each_second(bench: Bench) -> None:
    """Under the names of OpenTelemetry, and the blocks that Python has given out."""
    found = bench.look()
    stats = gc.get_stats()
    assert [found[f"cpython.gc.collections {one}"] for one in range(3)] == [one["collections"] for one in stats]
    assert ("{object}", "counter") == found.metrics["cpython.gc.uncollectable_objects"]
    assert found["holter.python.allocated_blocks"] == pytest.approx(sys.getallocatedblocks(), rel=0.2)
    assert "each" == found.across["holter.python.allocated_blocks"]
    assert "cpython.gc.collections 0" not in bench.look().values
    bench.time.spend(1.0)
    assert "cpython.gc.collections 0" in bench.look().values


def test_a_late_wake_up_is_a_wait_for_the_gil(bench: Bench) -> None:
    """As far as no wait for a CPU, and no collection, explains it."""
    assert 0 == bench.look()["holter.gil.wait"]
    bench.late_ns = 40 * MS
    assert pytest.approx(0.04) == bench.look()["holter.gil.wait"]
    bench.sampler._sources.nap = lambda seconds: (
        bench.time.spend(seconds + 0.04),
        bench.runs(threading.get_native_id(), 0, 30 * MS),
    )
    assert pytest.approx(0.01) == bench.look()["holter.gil.wait"]


def test_without_a_gil_there_is_no_wait_for_it(tmp_path: Path) -> None:
    """And the sampler says so."""
    bench = Bench(tmp_path, late_ns=40 * MS, has_gil=False)
    assert names.GIL_WAIT not in bench.look().values
    assert "without a GIL" in bench.sampler.unavailable[names.GIL_WAIT]
    bench.sampler.close()


def test_where_the_kernel_does_not_tell_the_rest_goes_on(tmp_path: Path) -> None:
    """What is missing is named with its reason."""
    bench = Bench(tmp_path)
    bench.tasks.rename(tmp_path / "gone")
    found = bench.look()
    assert names.GIL_WAIT not in found.values
    assert "wait for a CPU" in bench.sampler.unavailable[names.GIL_WAIT]
    assert found["holter.python.allocated_blocks"] > 0
    bench.sampler.close()


def explained(bench: Bench, of: Sufferer) -> dict[str, float]:
    """Return what the last 100 ms were lost to, in milliseconds."""
    now_ns = bench.time.now_ns
    return {
        pause.cause: round(pause.seconds * 1_000, 3)
        for pause in bench.pauses.look().explain(now_ns - 100 * MS, now_ns, of)
        if pause.cause != GC
    }


def test_what_threads_and_the_process_lost_since_the_last_look_is_kept(bench: Bench) -> None:
    """A wait for a CPU is its thread's, a quota everybody's."""
    monitor = Monitor("test", samplers=[], recording=False)
    monitor._scope.ring()
    mine = threading.get_native_id()
    bench.runs(mine, 0, 0)
    bench.look()
    bench.runs(mine, 0, 70 * MS)
    bench.look()
    assert {RUN_QUEUE: 70} == explained(bench, Sufferer(mine))
    assert {} == explained(bench, Sufferer(mine + 1))
    bench.throttle(50 * MS)
    bench.look()
    assert {THROTTLING: 50} == explained(bench, Sufferer(mine))
    assert {THROTTLING: 50} == explained(bench, Sufferer(0))
    bench.look()
    assert {} == explained(bench, Sufferer(mine))
    assert bench.pauses.seen_ns == bench.time.now_ns


def test_a_thread_that_wants_to_run_loses_its_turns_to_others(tmp_path: Path) -> None:
    """It runs for 20 ms of 100, four turns, while each turn of the sampling thread comes 20 ms late."""
    monitor, mine = Monitor("test", samplers=[], recording=False), threading.get_native_id()
    monitor._scope.ring()
    bench = Bench(tmp_path, late_ns=20 * MS)
    bench.look()
    bench.time.spend(-0.02)
    bench.runs(mine, 20 * MS, 0)
    bench.look()
    assert {GIL_WAIT: 80} == explained(bench, Sufferer(mine))
    bench.time.spend(-0.02)
    bench.runs(mine, 20 * MS, 0)
    bench.look()
    assert {} == explained(bench, Sufferer(mine)), "one that sleeps has waited for nothing"
    bench.time.spend(-0.02)
    bench.runs(mine, 120 * MS, 0)
    bench.look()
    assert {} == explained(bench, Sufferer(mine)), "one that ran all the time has waited for nothing"
    bench.sampler.close()


def test_who_holds_the_gil_has_not_waited_for_it(tmp_path: Path) -> None:
    """Those that did not run have, for as long as the sampling thread did."""
    monitor, mine = Monitor("test", samplers=[], recording=False), threading.get_native_id()
    monitor._scope.ring()
    bench = Bench(tmp_path)
    bench.look()
    bench.late_ns = 80 * MS
    bench.time.spend(-0.08)
    bench.look()
    assert {GIL_WAIT: 80} == explained(bench, Sufferer(mine))
    bench.time.spend(-0.08)
    bench.runs(mine, 100 * MS, 0)
    bench.look()
    assert {} == explained(bench, Sufferer(mine))
    bench.sampler.close()


def test_it_is_one_of_the_samplers() -> None:
    """By the Protocol, and by an interval that can be chosen."""
    assert isinstance(RuntimeSampler(), Sampler)
    assert 0.5 == RuntimeSampler(0.5).interval_seconds
    assert "RuntimeSampler(interval_seconds=0.2)" == repr(RuntimeSampler())
    with pytest.raises(ConfigurationError, match="interval_seconds"):
        RuntimeSampler(0)


def test_a_loop_can_be_named() -> None:
    """What is none is refused, with what was expected."""
    loop = asyncio.new_event_loop()
    sources = Sources(loops=Loops())
    RuntimeSampler(loops=[loop], _sources=sources)
    assert [loop] == sources.loops.open()
    loop.close()
    with pytest.raises(ConfigurationError, match=r"expected an event loop such as .* got str"):
        RuntimeSampler(loops=["loop"])


def test_a_blocked_loop_shows_while_it_is_blocked(bench: Bench) -> None:
    """As a gauge; when it goes on, its lag is one value more."""
    loop, begun, release = asyncio.new_event_loop(), threading.Event(), threading.Event()
    bench.sampler.follow(loop)
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def block() -> None:
        begun.set()
        release.wait(PATIENCE_SECONDS)

    loop.call_soon_threadsafe(block)
    begun.wait(PATIENCE_SECONDS)
    bench.look()
    assert bench.look()["holter.loop.blocked"] == pytest.approx(0.1, abs=0.01)
    found = bench.look()
    assert found["holter.loop.blocked"] == pytest.approx(0.2, abs=0.01)
    assert "holter.loop.lag" not in found.values
    release.set()
    asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result(PATIENCE_SECONDS)
    found = bench.look()
    assert found["holter.loop.lag"] == pytest.approx(0.2, abs=0.01)
    assert found["holter.loop.blocked"] < 0.01
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()
    assert "holter.loop.blocked" not in bench.look().values


# -- a monitor, real calls, and real trouble


class Wish:
    """What an exporter says that wants all calls slower than so much: what is usual, a busy machine would decide."""

    slower_than_seconds, traces_all = SLOW_SECONDS / 2, True


@contextlib.contextmanager
def running() -> Iterator[Monitor]:
    """A monitor that looks every 20 ms and closes an interval each 50."""
    with Monitor("test", samplers=[RuntimeSampler(0.02)], recording=False, interval_seconds=0.05) as monitor:
        monitor._scope.notes.add("test", Wish())
        until(lambda: monitor.snapshot() and monitor._scope.notes.explains)
        yield monitor


def until(condition: Callable[[], Any]) -> Any:
    """Return what *condition* gives, once it gives something."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.01)


def slow_calls(monitor: Monitor, name: str, count: int = 1) -> list[SlowCall]:
    """Return the slow calls of *name* that took long, once there are so many."""

    def found() -> list[SlowCall]:
        taken = monitor.snapshot().slow_calls
        ours = [one for one in taken if one.call == name and one.seconds >= SLOW_SECONDS]
        return ours if len(ours) >= count else []

    calls: list[SlowCall] = until(found)
    return calls


def causes(call: SlowCall) -> list[str]:
    """Return what *call* was lost to, most first."""
    return [pause.cause for pause in call.pauses]


def test_a_call_that_garbage_was_collected_in_says_so() -> None:
    """A real collection, of many objects; a call that only sleeps as long names none."""
    with running() as monitor:

        @monitor.watch(name="collecting")
        def collecting(*, much: bool = False) -> None:
            if much:
                begun = time.monotonic()
                while time.monotonic() - begun < SLOW_SECONDS:
                    gc.collect()

        @monitor.watch(name="quiet")
        def quiet(seconds: float = 0.0) -> None:
            time.sleep(seconds)

        kept = [[number] for number in range(300_000)]
        collecting(much=True)
        quiet(2 * SLOW_SECONDS)
        (slow,), (other,) = slow_calls(monitor, "collecting"), slow_calls(monitor, "quiet")
        assert GC == causes(slow)[0]
        assert slow.pauses[0].seconds > slow.seconds / 2
        assert GC not in causes(other)
        count, seconds, *_ = until_recorded(monitor, "collecting", GC)
        assert (1, pytest.approx(slow.pauses[0].seconds, abs=1e-6)) == (count, seconds)
        assert {} == internal_errors(monitor.snapshot())
    assert 300_000 == len(kept)
    assert COLLECTIONS.callback not in gc.callbacks


def until_recorded(monitor: Monitor, name: str, cause: str) -> tuple[float | None, ...]:
    """Return the figures of what calls of *name* lost to *cause*, once there are some."""
    where = {names.CALL_NAME: name, names.PAUSE_CAUSE: cause}
    until(lambda: values(monitor.snapshot(), names.CALL_PAUSE, **where)[0])
    return values(monitor.snapshot(), names.CALL_PAUSE, **where)


def test_calls_behind_a_blocked_loop_say_so_and_what_blocks_it_does_not() -> None:
    """A coroutine that blocks, one whose watched function does, and those beside them that wait."""
    with running() as monitor:

        @monitor.watch(name="victim")
        async def victim() -> None:
            await asyncio.sleep(0)
            await asyncio.sleep(0.001)

        @monitor.watch(name="inner")
        def inner(seconds: float = 0.0) -> None:
            time.sleep(seconds)

        @monitor.watch(name="culprit")
        async def culprit(seconds: float = 0.0) -> None:
            await asyncio.sleep(0)
            inner(seconds)

        async def serve() -> None:
            await asyncio.gather(victim(), culprit())
            await asyncio.gather(victim(), culprit(3 * SLOW_SECONDS))
            await asyncio.sleep(0.05)

        asyncio.run(serve())
        (hit,) = slow_calls(monitor, "victim")
        assert LOOP_LAG == causes(hit)[0]
        for name in ("culprit", "inner"):
            (one,) = slow_calls(monitor, name)
            assert LOOP_LAG not in causes(one)
        assert values(monitor.snapshot(), names.LOOP_LAG)[3] > SLOW_SECONDS
        assert {} == internal_errors(monitor.snapshot())


@pytest.fixture
def nothing_collected() -> Iterator[None]:
    """No garbage is collected, which takes its time among all that a run of many tests has made."""
    gc.disable()
    yield
    gc.enable()


@on_linux
def test_calls_that_others_keep_from_the_cpus_say_so(nothing_collected: None) -> None:
    """With all threads on one CPU, which three busy processes share."""
    cpu = min(os.sched_getaffinity(0))
    program = f"import os\nos.sched_setaffinity(0, {{{cpu}}})\nprint(flush=True)\nwhile True: pass"
    before = os.sched_getaffinity(0)
    others: list[subprocess.Popen[bytes]] = []
    with running() as monitor:

        @monitor.watch(name="work")
        def work(seconds: float = 0.0) -> None:
            begun = time.thread_time()
            while time.thread_time() - begun < seconds:
                pass

        try:
            others += [subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) for _ in range(3)]
            for other in others:
                assert other.stdout is not None
                other.stdout.readline()
            os.sched_setaffinity(0, {cpu})
            work(SLOW_SECONDS)
        finally:
            os.sched_setaffinity(0, before)
            for other in others:
                other.kill()
                other.communicate()
        (slow,) = slow_calls(monitor, "work")
        assert RUN_QUEUE == causes(slow)[0]
        assert slow.pauses[0].seconds > slow.seconds / 3


@on_linux
@with_gil
def test_calls_that_other_threads_keep_from_the_gil_say_so(nothing_collected: None) -> None:
    """Four threads that run Python all the time."""
    stop = threading.Event()

    def spin() -> None:
        while not stop.is_set():
            sum(range(1_000))

    threads = [threading.Thread(target=spin, daemon=True) for _ in range(4)]
    with running() as monitor:

        @monitor.watch(name="work")
        def work(seconds: float = 0.0) -> None:
            begun = time.thread_time()
            while time.thread_time() - begun < seconds:
                pass

        for thread in threads:
            thread.start()
        try:
            work(2 * SLOW_SECONDS)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        (slow,) = slow_calls(monitor, "work")
        waited = {pause.cause: pause.seconds for pause in slow.pauses}
        # Where the machine has no CPU left for them, the one that holds it waits too, and so does the call itself.
        assert GIL_WAIT in waited or waited[RUN_QUEUE] > slow.seconds / 3


THROTTLED = """
import json, os, sys, time
from holter.monitor import Monitor
from holter.samplers.runtime import RuntimeSampler

class Wish:
    slower_than_seconds, traces_all = 0.1, True

def enter(group):
    with open(group + "/cgroup.procs", "w") as file:
        file.write(str(os.getpid()))

with Monitor("test", samplers=[RuntimeSampler(0.02)], recording=False, interval_seconds=0.05) as monitor:
    @monitor.watch(name="work")
    def work(seconds=0.0):
        begun = time.thread_time()
        while time.thread_time() - begun < seconds:
            pass
    monitor._scope.notes.add("test", Wish())
    while not monitor._scope.notes.explains:
        time.sleep(0.01)
    enter(sys.argv[1])
    work(0.1)
    enter(os.path.dirname(sys.argv[1]))
    slow, deadline = [], time.monotonic() + 30
    while time.monotonic() < deadline and not slow:
        slow = [one for one in monitor.snapshot().slow_calls if one.call == "work" and one.seconds > 0.15]
        time.sleep(0.01)
    print(json.dumps([[slow[0].seconds, {one.cause: one.seconds for one in slow[0].pauses}]]))
"""


@pytest.fixture
def quota() -> Iterator[Path]:
    """A control group that may use a tenth of a CPU."""
    v1, v2 = Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup")
    is_v1 = (v1 / "cpu.stat").exists()
    folder = (v1 if is_v1 else v2) / f"holter-test-{os.getpid()}"
    try:
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"no control group may be made here ({error.strerror}): run as root on a host")
    try:
        try:
            if is_v1:
                (folder / "cpu.cfs_quota_us").write_text("10000")
            else:
                (folder / "cpu.max").write_text("10000 100000")
        except OSError as error:
            pytest.skip(f"no quota may be set here ({error.strerror}): run as root on a host")
        yield folder
    finally:
        until(lambda: not (folder / "cgroup.procs").read_text())
        folder.rmdir()


@on_linux
def test_calls_that_a_quota_throttles_say_so(quota: Path) -> None:
    """In a process with a tenth of a CPU; of a second of its time it was kept from the CPUs for most."""
    told = subprocess.run(
        [sys.executable, "-c", THROTTLED, str(quota)], check=True, capture_output=True, timeout=120
    ).stdout
    ((seconds, pauses),) = json.loads(told)
    if THROTTLING not in pauses:
        # Where others take the CPU that the quota leaves, it is not used up.
        assert pauses[RUN_QUEUE] > seconds / 5
    else:
        assert pauses[THROTTLING] > seconds / 5


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_goes_on_with_a_sampler_of_its_own() -> None:
    """The parent's keeps the pauses there; nothing of it is in the child."""
    with running() as monitor:
        call: Callable[[], None] = monitor.watch(lambda: None, name="call")
        call()
        until(lambda: PAUSES.seen_ns)
        child = os.fork()
        if not child:
            is_new = PAUSES.seen_ns is None and COLLECTIONS.callback not in gc.callbacks
            call()
            deadline = time.monotonic() + PATIENCE_SECONDS
            while not (PAUSES.seen_ns and COLLECTIONS.callback in gc.callbacks) and time.monotonic() < deadline:
                time.sleep(0.01)
            os._exit(0 if is_new and PAUSES.seen_ns else 1)
        assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert COLLECTIONS.callback in gc.callbacks


def test_what_a_monitor_has_stopped_is_gone() -> None:
    """No callback, no open file, nobody who keeps pauses, and calls are noted for nobody."""
    before = open_files()
    with running() as monitor:
        until(lambda: PAUSES.seen_ns)
        assert COLLECTIONS.callback in gc.callbacks
        monitor.snapshot()
    assert COLLECTIONS.callback not in gc.callbacks
    assert PAUSES.seen_ns is None
    assert before == open_files()


def test_two_monitors_share_the_pauses() -> None:
    """One sampler keeps them, both record; when that stops, the other one goes on."""
    with running() as one:
        until(lambda: PAUSES.seen_ns)
        with running() as other:
            until(lambda: values(other.snapshot(), names.GC_TIME)[0])
            one.stop()
            until(lambda: PAUSES.seen_ns)
            assert COLLECTIONS.callback in gc.callbacks
    assert COLLECTIONS.callback not in gc.callbacks
