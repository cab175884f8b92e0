"""How long threads ran and waited for a CPU, as the kernel counts it."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import pytest

from contracts.sampled import open_files
from holter.runqueue import MOST_THREADS, RunQueue, Shares

MS = 1_000_000
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")


def told(folder: Path, thread: int, ran: int, waited: int) -> None:
    """Let the kernel say so much of *thread*."""
    file = folder / str(thread) / "schedstat"
    file.parent.mkdir(exist_ok=True)
    file.write_text(f"{ran} {waited} 12\n")


def test_what_has_come_since_the_last_look_is_told(tmp_path: Path) -> None:
    """Of a thread that is new, from the next look on."""
    queue = RunQueue(tmp_path)
    told(tmp_path, 7, 100, 10)
    assert {} == queue.read([7])
    told(tmp_path, 7, 150, 40)
    told(tmp_path, 8, 9, 9)
    assert {7: Shares(50, 30)} == queue.read([7, 8])
    told(tmp_path, 8, 10, 11)
    assert {7: Shares(0, 0), 8: Shares(1, 2)} == queue.read([7, 8])
    queue.close()


def test_a_thread_that_is_not_asked_for_is_forgotten(tmp_path: Path) -> None:
    """With its file; when it is back, it is new."""
    queue = RunQueue(tmp_path)
    told(tmp_path, 7, 100, 10)
    queue.read([7])
    assert {} == queue.read([])
    assert not queue.is_known
    assert {} == queue.read([7])
    queue.close()


def test_at_most_so_many_files_are_open(tmp_path: Path) -> None:
    """However many threads record."""
    queue, before = RunQueue(tmp_path), open_files()
    for thread in range(1, 101):
        told(tmp_path, thread, 0, 0)
    queue.read(list(range(1, 101)))
    assert MOST_THREADS == len(queue.read(list(range(1, 101))))
    if sys.platform == "linux":
        assert before + MOST_THREADS == open_files()
    queue.close()
    assert not queue.is_known


@pytest.mark.parametrize("text", ["", "7", "nothing here\n", "x y z"])
def test_a_system_that_tells_nothing_of_use_is_left_alone(tmp_path: Path, text: str) -> None:
    """No thread is told of, and nothing is raised."""
    queue = RunQueue(tmp_path)
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "schedstat").write_text(text)
    assert [{}, {}] == [queue.read([7]), queue.read([7, 8])]
    queue.close()


@on_linux
def test_the_time_that_a_thread_runs_is_what_its_clock_says() -> None:
    """Within a fifth, over 50 ms of work."""
    queue, thread = RunQueue(), threading.get_native_id()
    queue.read([thread])
    begun_ns = time.thread_time_ns()
    while time.thread_time_ns() - begun_ns < 50 * MS:
        pass
    share, taken_ns = queue.read([thread])[thread], time.thread_time_ns() - begun_ns
    assert share.ran_ns == pytest.approx(taken_ns, rel=0.2)
    queue.close()


@on_linux
def test_a_thread_that_has_ended_is_forgotten() -> None:
    """Its file tells nothing any more, and is closed."""
    queue, ids, stay, there = RunQueue(), [], threading.Event(), threading.Event()

    def work() -> None:
        ids.append(threading.get_native_id())
        there.set()
        stay.wait()

    thread = threading.Thread(target=work)
    thread.start()
    there.wait()
    queue.read(ids)
    assert ids == list(queue.read(ids))
    stay.set()
    thread.join()
    while Path(f"/proc/self/task/{ids[0]}").exists():  # the kernel is not done with it when Python is
        pass
    assert {} == queue.read(ids)
    assert not queue.is_known
