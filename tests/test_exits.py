"""How a watched program ends, whatever its exporters do: in time, with its own exit code, quietly."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import pytest

from holter.names import CALL_DURATION
from programs import lines, run

FLUSH_SECONDS = 2.0
# An interpreter that starts and ends on a busy machine.
INTERPRETER_SECONDS = 8.0

SETTING = """
    import os, signal, sys, threading, time
    import holter

    class Sleeper:
        every_seconds = 0.05
        def export(self, snapshot, alerts):
            asleep.set()
            time.sleep(1000)
        def close(self, timeout):
            time.sleep(1000)

    class Raiser:
        every_seconds = 0.05
        def export(self, snapshot, alerts):
            raise SystemExit("not yours")
        def close(self, timeout):
            raise RuntimeError("nor yours")

    class Drowsy:
        every_seconds = 0.05
        def export(self, snapshot, alerts):
            pass
        def close(self, timeout):
            time.sleep(timeout + 1000)

    asleep = threading.Event()
    log = sys.argv[1]
    good = holter.LogFile(log, every_seconds=0.05)
    others = [Sleeper(), Raiser(), Drowsy()]
    monitor = holter.start("exits", interval_seconds=0.02, samplers=[], exporters=[*others[:2], good, *others[2:]])

    @holter.watch
    def work():
        pass

    for _ in range(500):
        work()
    asleep.wait()
    for _ in range(500):
        work()
"""

ENDINGS = {
    "return": ("", 0),
    "stop": ("began = time.monotonic(); assert not monitor.stop(0.5); assert time.monotonic() - began < 3", 0),
    "sys.exit": ("sys.exit(3)", 3),
    "exception": ("raise KeyError('mine')", 1),
    "SIGTERM": (
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(9)); os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)",
        9,
    ),
    "SIGINT": ("os.kill(os.getpid(), signal.SIGINT); time.sleep(60)", -2),
}


def total(path: Path) -> int:
    """Return the last total of calls in the log at *path*."""
    series = [line["holter"] for line in lines(path) if line["event"]["dataset"] == "holter.series"]
    return next((one["count"] for one in reversed(series) if one["metric"] == CALL_DURATION), 0)


@pytest.mark.parametrize("ending", ENDINGS)
def test_bad_exporters_harm_neither_the_good_one_nor_the_exit(ending: str, tmp_path: Path) -> None:
    """Beside exporters that hang and raise, the good one has everything, and the program ends as it wants to."""
    code, expected = ENDINGS[ending]
    begun = time.monotonic()
    done = run(SETTING + f"    {code}\n", tmp_path / "log.jsonl")
    assert FLUSH_SECONDS + INTERPRETER_SECONDS > time.monotonic() - begun
    assert (expected, 1000) == (done.returncode, total(tmp_path / "log.jsonl"))
    # What the program itself says by dying, and one notice for each thing that went wrong.
    said = [line for line in done.stderr.splitlines() if not line.startswith("holter: exporter Raiser")]
    own = {"exception": "KeyError: 'mine'", "SIGINT": "KeyboardInterrupt"}.get(ending)
    assert (said[-1] if own else said) == (own or [])
    assert "Fatal" not in done.stderr
    assert "Exception ignored" not in done.stderr


@pytest.mark.parametrize(("ending", "expected"), [("os._exit(5)", 5), ("os.kill(os.getpid(), signal.SIGKILL)", -9)])
def test_an_end_that_asks_nobody_is_not_held_up(ending: str, expected: int, tmp_path: Path) -> None:
    """`os._exit` and SIGKILL end the process at once."""
    begun = time.monotonic()
    done = run(SETTING + f"    {ending}\n", tmp_path / "log.jsonl")
    assert (expected, "") == (done.returncode, "".join(x for x in done.stderr.splitlines() if "Raiser" not in x))
    assert INTERPRETER_SECONDS > time.monotonic() - begun


def test_an_end_in_the_middle_of_work_in_other_threads_is_quiet(tmp_path: Path) -> None:
    """Daemon threads that record until the very end leave no trace on stderr, and no lock held."""
    program = """
        import sys, threading, holter
        monitor = holter.start("busy", samplers=None, interval_seconds=0.01,
                               exporters=[holter.LogFile(sys.argv[1], every_seconds=0.01)])
        work = holter.watch(lambda: None, name="work")

        def forever():
            while True:
                work()
                with holter.span("s"):
                    holter.tag(a=1)

        for _ in range(4):
            threading.Thread(target=forever, daemon=True).start()
        while not monitor.snapshot().find(work):
            pass
        sys.exit(7)
    """
    for _ in range(3):
        done = run(program, tmp_path / "log.jsonl")
        said = [line for line in done.stderr.splitlines() if "tag went wrong" not in line]
        assert ([], 7) == (said, done.returncode)


def test_threads_that_still_wait_for_the_exit_end_it_as_without(tmp_path: Path) -> None:
    """The program's own threads are waited for as ever, and what they record is exported."""
    program = """
        import sys, threading, time, holter
        monitor = holter.start("late", samplers=[], exporters=[holter.LogFile(sys.argv[1])])
        work = holter.watch(lambda: None, name="work")
        def late():
            threading.main_thread().join()
            for _ in range(77):
                work()
        threading.Thread(target=late).start()
    """
    done = run(program, tmp_path / "log.jsonl")
    assert ("", 0, 77) == (done.stderr, done.returncode, total(tmp_path / "log.jsonl"))


def test_an_exporter_whose_disk_is_full_harms_nobody(tmp_path: Path) -> None:
    """On 256 KiB of tmpfs a log and a CSV fill up; the good log beside them has everything, the exit is on time."""
    if (unshare := shutil.which("unshare")) is None:
        pytest.skip("needs the command unshare: apt-get install util-linux")
    small = tmp_path / "small"
    small.mkdir()
    program = """
        import os, sys, holter
        log, small = sys.argv[1:]
        exporters = [holter.LogFile(f"{small}/log.jsonl", every_seconds=0.01),
                     holter.LogFile(log, every_seconds=0.01), holter.CSVFile(f"{small}/t.csv", every_seconds=0.01)]
        monitor = holter.start("full", samplers=[], interval_seconds=0.01, exporters=exporters)
        work = holter.watch(lambda: None, name="work")
        failures = 0
        while failures < 5:
            for number in range(20):
                holter.counter("app.filler", attributes={"n": number}).add(1)
            work()
            found = monitor.snapshot().find("holter.exporter.failures")
            failures = found.total.count if found else 0
        calls = monitor.snapshot().find(work).total.count
        assert os.statvfs(small).f_bavail * os.statvfs(small).f_frsize < 64 * 1024
        print(calls)
        sys.exit(3)
    """
    mount = f'mount -t tmpfs -o size=256k none {small} && exec "$@"'
    tried = subprocess.run([unshare, "-rm", "sh", "-c", mount, "sh", "true"], check=False, capture_output=True)
    if tried.returncode:
        pytest.skip("needs to mount a tmpfs: run as root, or let users have namespaces")
    begun = time.monotonic()
    done = run(program, tmp_path / "log.jsonl", small, before=[unshare, "-rm", "sh", "-c", mount, "sh"])
    assert 3 == done.returncode, done.stderr
    assert int(done.stdout) == total(tmp_path / "log.jsonl")
    assert time.monotonic() - begun < 50
    assert all("exporter" in line for line in done.stderr.splitlines()), done.stderr


def test_a_console_that_goes_away_ends_no_program() -> None:
    """Behind `| head -1` the program hangs on no pipe and keeps its exit code."""
    program = """
        import holter, os
        monitor = holter.start("pipe", samplers=[], exporters=[holter.Console(every_seconds=1000)])
        work = holter.watch(lambda: None, name="work")
        for _ in range(20):
            work()
            monitor.flush(5)
        os._exit(4)
    """
    done = run(program, before=["sh", "-c", '{ "$@" 2>&1; echo $? >&2; } | head -1', "sh"])
    assert (True, "4\n") == (bool(done.stdout.strip()), done.stderr)
