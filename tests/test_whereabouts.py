"""Which process it was, and whether it lives."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from holter.whereabouts import SILENCE_NS, Whereabouts, pulse

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc: run on Linux")


def of(pid: int) -> Whereabouts:
    """Return the whereabouts of another process of this namespace."""
    started = int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[19])
    return replace(Whereabouts.mine(), pid=pid, start_ticks=started)


def test_this_process_lives() -> None:
    """However long ago it was heard of."""
    mine = Whereabouts.mine()
    assert os.getpid() == mine.pid
    assert psutil.Process().create_time() == pytest.approx(psutil.boot_time() + mine.start_ticks / 100, abs=2)
    assert (False, True) == mine.is_dead(10**18)


def test_a_process_is_dead_once_it_is_killed() -> None:
    """As a zombie already, which its parent has not looked at, and when it is gone; at once and for sure."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    theirs = of(child.pid)
    assert (False, True) == theirs.is_dead(0)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert (True, True) == theirs.is_dead(0)
    child.communicate()
    assert (True, True) == theirs.is_dead(0)


def test_a_process_whose_first_thread_has_ended_lives() -> None:
    """To the process table it looks like a zombie, but has threads that go on."""
    program = """
        import ctypes, sys, threading
        def go_on():
            while open("/proc/self/stat").read().rpartition(")")[2].split()[0] != "Z": pass
            print("ready", flush=True); sys.stdin.read()
        threading.Thread(target=go_on).start()
        ctypes.CDLL(None).pthread_exit(None)
    """
    code = "\n".join(line[8:] for line in program.splitlines())
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        theirs = of(child.pid)
        assert b"ready\n" == child.stdout.readline()
        assert (False, True) == theirs.is_dead(10**18)
        child.kill()


def test_a_number_that_was_given_again_is_another_process() -> None:
    """The same pid with another start is a death."""
    mine = Whereabouts.mine()
    assert (True, True) == replace(mine, start_ticks=mine.start_ticks + 1).is_dead(0)


def test_no_process_outlives_its_boot() -> None:
    """Another boot id is a death, whatever the process table says."""
    assert (True, True) == replace(Whereabouts.mine(), boot_id="another").is_dead(0)


@pytest.mark.parametrize("unknown", [{"pid_namespace": 7}, {"pid_namespace": 0}, {"start_ticks": 0}])
def test_what_cannot_be_looked_up_is_judged_by_its_heartbeat(unknown: dict[str, int]) -> None:
    """In another pid namespace the same number is somebody else: a minute of silence decides, and not for sure."""
    theirs = replace(Whereabouts.mine(), **unknown)
    assert (False, False) == theirs.is_dead(SILENCE_NS)
    assert (True, False) == theirs.is_dead(SILENCE_NS + 1)


def test_a_process_table_of_another_namespace_is_not_trusted(tmp_path: Path) -> None:
    """Where /proc knows this process by another number, its own start is not known."""
    (tmp_path / "self").symlink_to("1234567")
    mine = Whereabouts.mine(proc=tmp_path)
    assert (os.getpid(), 0, 0) == (mine.pid, mine.pid_namespace, mine.start_ticks)
    assert mine.boot_id


def test_a_process_table_that_is_garbled_is_not_trusted(tmp_path: Path) -> None:
    """Then the heartbeat decides."""
    mine = Whereabouts.mine()
    (tmp_path / str(mine.pid)).mkdir()
    (tmp_path / str(mine.pid) / "stat").write_bytes(b"12 (x) S 1")
    assert (False, False) == mine.is_dead(0, mine, tmp_path)


def test_the_pulse_is_what_the_system_says() -> None:
    """Of a process that works, is stopped, or has gone; of another namespace or another process nothing."""
    here = Whereabouts.mine()
    mine = pulse(here, here)
    assert mine is not None
    assert pytest.approx(sum(psutil.Process().cpu_times()[:2]), abs=0.5) == mine.cpu_seconds
    assert "R" == mine.letter
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    theirs = of(child.pid)
    os.kill(child.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, child.pid, os.WSTOPPED | os.WNOWAIT)
    stopped = pulse(theirs, here)
    assert stopped is not None
    assert "T" == stopped.letter
    child.kill()
    child.communicate()
    assert pulse(theirs, here) is None
    assert pulse(replace(here, start_ticks=here.start_ticks + 1), here) is None
    assert pulse(replace(here, pid_namespace=here.pid_namespace + 1), here) is None
    assert pulse(replace(here, pid_namespace=0), here) is None
