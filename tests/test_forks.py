"""A process that forks while it is watched: its children, its own figures, and what both write."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from holter.names import CALL_DURATION
from programs import lines, run, succeed

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")


def counted(path: Path) -> tuple[int, int]:
    """Return the last total of calls in the log, and the sum of its intervals: one process leads, and writes it."""
    calls = [
        line["holter"]
        for line in lines(path)
        if line["event"]["dataset"] == "holter.series" and line["holter"]["metric"] == CALL_DURATION
    ]
    return calls[-1]["count"], sum(call["interval_count"] for call in calls)


@pytest.mark.timeout(300)  # a busy machine needs five times what a quiet one does
def test_three_hundred_forks_disturb_nobody(tmp_path: Path) -> None:
    """
    While threads record and the collector runs, 300 children hang, double and change nothing.

    Two of three never record: they have no thread, no descriptor and no file more than a fork
    gives them. The others record, are watched by threads of their own from zero on, and export
    each call once. The parent's counts are its own.
    """
    program = """
        import contextlib, json, os, sys, threading, time
        import holter

        log, table = sys.argv[1:]
        monitor = holter.start(
            "forks", interval_seconds=0.02, samplers=[],
            exporters=[holter.LogFile(log, every_seconds=0.05), holter.CSVFile(table, every_seconds=0.05)],
        )

        @holter.watch
        def work():
            pass

        def record(number):
            while not done.is_set():
                work()
                counts[number] += 1
                if not counts[number] % 20:
                    time.sleep(0.002)

        def descriptors():
            if not os.path.exists("/proc/self/fd"):
                return set()
            # But for those that the exporters have open for a moment, and that of the listing itself.
            found = {}
            for number in os.listdir("/proc/self/fd"):
                with contextlib.suppress(FileNotFoundError):  # closed meanwhile, so one of those
                    found[number] = os.readlink(f"/proc/self/fd/{number}")
            passing = (log, table, os.environ["HOLTER_DIR"])
            return {number for number, path in found.items() if path not in passing and "/proc/" not in path}

        def silent_child():
            threads = len(os.listdir("/proc/self/task")) if os.path.exists("/proc/self/task") else 1
            return 0 if threads == threading.active_count() == 1 and descriptors() <= before else 3

        def busy_child(calls):
            for _ in range(calls):
                work()
            return 0 if monitor.flush(20) and threading.active_count() > 1 else 4

        done, counts = threading.Event(), [0] * 4
        threads = [threading.Thread(target=record, args=(number,), daemon=True) for number in range(4)]
        for thread in threads:
            thread.start()
        expected, codes = {}, []
        for turn in range(300):
            before = descriptors()
            pid = os.fork()
            if pid == 0:
                code = 5
                try:
                    code = busy_child(turn) if turn % 3 == 1 else silent_child()
                finally:
                    if turn % 2:
                        os._exit(code)
                    sys.exit(code)
            if turn % 3 == 1:
                expected[pid] = turn
            give_up = time.monotonic() + 30
            while (ended := os.waitpid(pid, os.WNOHANG)) == (0, 0):
                if time.monotonic() > give_up:
                    os.kill(pid, 9)
                    ended = os.waitpid(pid, 0)
                time.sleep(0.001)
            codes.append(ended[1])
        done.set()
        for thread in threads:
            thread.join()
        own = sum(counts)
        seen = monitor.snapshot().find(work).total.count
        stopped = monitor.stop(20)
        print(json.dumps({"codes": codes, "own": own, "seen": seen, "children": expected, "pid": os.getpid(),
                          "stopped": stopped}))
    """
    log, table = tmp_path / "log.jsonl", tmp_path / "table.csv"
    told = succeed(program, log, table, within=280)
    assert [0] * 300 == told["codes"]
    assert (told["own"], True) == (told["seen"], told["stopped"])
    expected = told["own"] + sum(told["children"].values())
    assert (expected, expected) == counted(log)
    assert {"log.jsonl", "table.csv"} == {path.name for path in tmp_path.iterdir()}


def test_locks_that_others_held_at_the_fork_hang_no_child() -> None:
    """With every lock of the monitor held by another thread, a child records, reads, flushes and stops."""
    program = """
        import json, os, threading
        from contextlib import ExitStack
        import holter
        from holter.recorder import RECORDER

        class Quiet:
            every_seconds = 1000.0
            def export(self, snapshot, alerts): pass
            def close(self, timeout): pass

        monitor = holter.start("locks", interval_seconds=1000, samplers=[], exporters=[Quiet(), Quiet()])
        work = holter.watch(lambda: None, name="work")
        work()

        def hold():
            with ExitStack() as stack:
                for lock in (monitor._turn, RECORDER.lock, *(one._changed for one in monitor._deliveries)):
                    stack.enter_context(lock)
                held.set()
                free.wait()

        held, free = threading.Event(), threading.Event()
        thread = threading.Thread(target=hold)
        thread.start()
        held.wait()
        pid = os.fork()
        if pid == 0:
            work()
            seen = monitor.snapshot().find(work).total.count
            os._exit(0 if (seen, monitor.flush(20), monitor.stop(20)) == (1, True, True) else 1)
        code = os.waitpid(pid, 0)[1]
        free.set()
        thread.join()
        monitor.stop()
        print(json.dumps(code))
    """
    assert 0 == succeed(program, within=50)


def test_a_child_that_never_recorded_leaves_its_own_child_watched(tmp_path: Path) -> None:
    """A daemon forks twice before it works: its calls are exported all the same, once."""
    program = """
        import os, sys, holter
        monitor = holter.start("daemon", samplers=[], exporters=[holter.LogFile(sys.argv[1])])
        work = holter.watch(lambda: None, name="work")
        work()
        if os.fork() == 0:
            if os.fork() == 0:
                work()
                work()
                monitor.flush(20)
                os._exit(0)
            os._exit(os.waitstatus_to_exitcode(os.wait()[1]))
        code = os.waitstatus_to_exitcode(os.wait()[1])
        monitor.stop(20)
        sys.exit(code)
    """
    done = run(program, tmp_path / "log.jsonl")
    assert ("", 0) == (done.stderr, done.returncode)
    assert (3, 3) == counted(tmp_path / "log.jsonl")


def test_a_start_in_a_child_takes_over(tmp_path: Path) -> None:
    """A server's worker that calls `start` again, with the same arguments or others, is watched once."""
    program = """
        import os, sys, warnings, logging, holter

        logging.getLogger("holter").setLevel(logging.CRITICAL)

        def begin(version):
            return holter.start("server", version=version, samplers=[], exporters=[holter.LogFile(sys.argv[1])])

        begin("v1")
        work = holter.watch(lambda: None, name="work")
        work()
        codes = []
        for version in ("v1", "v2"):
            if os.fork() == 0:
                monitor = begin(version)
                work()
                work()
                monitor.flush(20)
                sys.exit(0)
            codes.append(os.waitstatus_to_exitcode(os.wait()[1]))
        holter.stop(20)
        sys.exit(max(codes))
    """
    done = run(program, tmp_path / "log.jsonl")
    assert ("", 0) == (done.stderr, done.returncode)
    assert (5, 5) == counted(tmp_path / "log.jsonl")


def test_a_child_that_stops_is_not_watched_again(tmp_path: Path) -> None:
    """A child that leaves the `with` block of its parent has stopped, whether it had recorded or not."""
    program = """
        import os, sys, threading, holter
        work = holter.watch(lambda: None, name="work")
        with holter.start("with", samplers=[], exporters=[holter.LogFile(sys.argv[1])]) as monitor:
            pid = os.fork()
            if pid:
                work()
        if pid == 0:
            work()
            os._exit(0 if (threading.active_count(), monitor.is_running) == (1, False) else 1)
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    """
    done = run(program, tmp_path / "log.jsonl")
    assert ("", 0) == (done.stderr, done.returncode)
    assert (1, 1) == counted(tmp_path / "log.jsonl")


def test_a_call_that_is_open_at_the_fork_ends_in_both_processes() -> None:
    """The parent counts it; the child, where it ends too, raises nothing and counts its own calls only."""
    program = """
        import json, os, holter

        @holter.watch
        def inner():
            return os.getpid()

        @holter.watch
        def outer():
            with holter.span("forking"):
                pid = os.fork()
                inner()
            return pid

        pid = outer()
        snapshot = holter.snapshot()
        told = [snapshot.find(inner).total.count, snapshot.find(outer) and snapshot.find(outer).total.count,
                len(snapshot.open_calls)]
        if pid == 0:
            os._exit(0 if told == [1, 0, 0] else 1)
        print(json.dumps([told, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])]))
    """
    assert [[1, 1, 0], 0] == succeed(program)


@pytest.mark.parametrize(
    ("method", "starts"), [("fork", "inherits"), ("fork", "starts"), ("forkserver", "starts"), ("spawn", "starts")]
)
def test_multiprocessing_children_are_flushed_at_their_exit(method: str, starts: str, tmp_path: Path) -> None:
    """However it came to be, a child that records leaves nothing behind when its function returns."""
    program = tmp_path / "program.py"
    program.write_text(f"""
import multiprocessing, os, sys
import holter

def begin():
    return holter.start("pool", samplers=[], exporters=[holter.LogFile(sys.argv[1], every_seconds=1000)])

@holter.watch
def work():
    pass

def job(calls):
    if {starts!r} == "starts":
        begin()
    for _ in range(calls):
        work()

if __name__ == "__main__":
    begin()
    context = multiprocessing.get_context({method!r})
    processes = [context.Process(target=job, args=(calls,)) for calls in (1, 20, 300)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    for _ in range(4000):
        work()
    sys.exit(max(process.exitcode for process in processes))
""")
    log = tmp_path / "log.jsonl"
    done = subprocess.run([sys.executable, program, log], capture_output=True, text=True, timeout=60, check=False)
    assert ("", 0) == (done.stderr, done.returncode)
    assert (4321, 4321) == counted(log)


@pytest.mark.skipif(sys.platform != "linux", reason="recordings need Linux")
@pytest.mark.parametrize("moment", ["between calls", "in a call"])
@pytest.mark.parametrize("fork", ["library.fork()", "library.syscall(clone, 17, 0, 0, 0, 0)"])
@pytest.mark.parametrize("pure", ["0", "1"])
def test_a_fork_that_python_is_not_told_of_leaves_the_parents_file(
    pure: str, fork: str, moment: str, tmp_path: Path
) -> None:
    """By ctypes: the child records a ring full, into a file of its own; the parent's does not change by a byte."""
    program = f"""
        import ctypes, hashlib, json, os, pathlib, platform, sys
        os.environ.update(HOLTER_PURE_PYTHON={pure!r}, HOLTER_DIR=sys.argv[1])
        import holter

        library, clone = ctypes.CDLL(None), {{"x86_64": 56}}.get(platform.machine(), 220)
        hits, load, sizes = holter.counter("app.hits"), holter.gauge("app.load"), holter.histogram("app.sizes")

        @holter.watch
        def work():
            with holter.span("stage"):
                hits.add(1), load.set(0.5), sizes.record(2.0)

        @holter.watch(native={pure == "0"})
        def around(function):
            return function()

        def digest():
            return hashlib.sha256(parents.read_bytes()).hexdigest()

        def fork():
            # All that the child does to the parent's file is done when it has ended.
            found.append(digest())
            child = {fork}
            if child:
                found.append(os.waitpid(child, 0)[1])
                found.append(digest())
            return child

        found = []
        monitor = holter.start("forks", samplers=[], interval_seconds=3600)
        work()
        (parents,) = pathlib.Path(sys.argv[1]).glob("*.holter")
        child = around(fork) if sys.argv[2] == "in a call" else fork()
        if not child:
            for _ in range(1500):
                work()
            seen = holter.snapshot()
            files = len(list(pathlib.Path(sys.argv[1]).glob("*.holter")))
            os._exit(0 if (seen.find(work).total.count, files) == (1500, 2) else 1)
        before, status, after = found
        total = holter.snapshot().find(work).total.count
        print(json.dumps([status, before == after, total]), flush=True)
        """
    assert [0, True, 1] == succeed(program, tmp_path, moment)


@pytest.mark.parametrize("pure", ["0", "1"])
def test_a_daemon_closes_all_descriptors_and_is_watched_on(pure: str, tmp_path: Path) -> None:
    """Forked twice, 3 to 1024 closed, it opens files that get these numbers: they and its parent's are as they were."""
    program = f"""
        import hashlib, json, os, pathlib, sys
        os.environ.update(HOLTER_PURE_PYTHON={pure!r}, HOLTER_DIR=sys.argv[1])
        import holter

        @holter.watch
        def work():
            pass

        def digest():
            return hashlib.sha256(parents.read_bytes()).hexdigest()

        folder, log = map(pathlib.Path, sys.argv[1:3])
        holter.start("daemon", samplers=[], interval_seconds=3600,
                     exporters=[holter.LogFile(log, every_seconds=3600)])
        work()
        (parents,) = folder.glob("*.holter")
        before = digest()
        told, tell = os.pipe()
        os.dup2(tell, 1100)
        if not os.fork():
            os.setsid()
            if os.fork():
                os._exit(0)
            os.closerange(3, 1025)
            own = [open(log.with_name(f"own{{number}}"), "w+") for number in range(40)]
            for number in range(40_000):
                work()
                if not number % 1000:
                    own[number // 1000].write(str(number))
                    own[number // 1000].flush()
                if number == 20_000:
                    holter.snapshot()
            total = holter.snapshot().find(work).total.count
            stopped = holter.stop()
            same = all(file.seek(0) == 0 and file.read() == str(1000 * number) for number, file in enumerate(own))
            os.write(1100, json.dumps([total, stopped, same]).encode())
            os._exit(0)
        os.close(tell), os.close(1100)
        os.wait()
        with open(told) as answer:
            heard = json.loads(answer.read())
        print(json.dumps([heard, before == digest(), holter.snapshot().find(work).total.count]))
        """
    recordings = tmp_path / "recordings"
    recordings.mkdir(mode=0o700)
    log = tmp_path / "log.jsonl"
    assert [[40_000, True, True], True, 1] == succeed(program, recordings, log)
    assert (40_001, 40_001) == counted(log)
