"""Which processes belong to a tree, in a /proc in which they come and go as a test decides."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from holter.linuxtree import LinuxTree

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")


def put(root: Path, pid: int, parent: int, *, start: int = 100, name: str = "python", ticks: int = 50) -> None:
    """Write the file of one process as the kernel would."""
    (root / str(pid)).mkdir(exist_ok=True)
    before = f"{pid} ({name}) S {parent} 1 1 0 -1 4194560 100 0 0 0"
    text = f"{before} {ticks} 20 10 5 20 0 3 0 {start} 10000000 300 18446744073709551615\n"
    (root / str(pid) / "stat").write_text(text)


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """init, a shell, the process 50 with a child and a grandchild, and other files."""
    for pid, parent in ((1, 0), (10, 1), (50, 10), (60, 50), (61, 60)):
        put(tmp_path, pid, parent)
    (tmp_path / "meminfo").touch()
    (tmp_path / "self").mkdir()
    return tmp_path


def test_the_tree_is_a_process_and_its_descendants(proc: Path) -> None:
    """With what each takes, parents first, whatever they are called and however their numbers are ordered."""
    put(proc, 7, 61, name="a) S 1 (b")
    members = LinuxTree(str(proc)).members(50)
    assert [50, 60, 61, 7] == list(members)
    one = members[7]
    assert (one.parent, one.start, one.own, one.waited) == (61, 1.0, (0.5, 0.2), (0.1, 0.05))
    assert (one.threads, one.memory % 300) == (3, 0)


def test_processes_that_end_are_gone_and_orphans_are_others(proc: Path) -> None:
    """One that ends between list and read is left out: its folder is there, its file is not."""
    tree = LinuxTree(str(proc))
    tree.members(50)
    shutil.rmtree(proc / "60")
    put(proc, 61, 1)
    (proc / "70").mkdir()
    assert [50] == list(tree.members(50))


def test_a_file_that_says_nothing_is_no_process(proc: Path) -> None:
    """As a kernel thread's in a container, or one that is just being made."""
    (proc / "60" / "stat").write_text("")
    assert [50] == list(LinuxTree(str(proc)).members(50))


def test_strangers_are_not_read_again_but_in_turns(proc: Path) -> None:
    """So a number that comes to belong to a process of ours is found some samples later."""
    for pid in range(1000, 1040):
        put(proc, pid, 1)
    tree = LinuxTree(str(proc))
    assert [50, 60, 61] == list(tree.members(50))
    tree.members(50)
    last = int(tree._turns[0])
    put(proc, last, 50, start=900)
    found = [last in tree.members(50) for _ in range(12)]
    assert found[-1]
    assert not all(found)
    put(proc, 2000, 50)
    assert 2000 in tree.members(50)


def test_the_list_is_not_read_where_no_process_has_begun(proc: Path) -> None:
    """The kernel says which number it gave last; one that was adopted is found at the twelfth sample."""
    tree = LinuxTree(str(proc))
    (proc / "loadavg").write_text("0.1 0.2 0.3 1/99 61\n")
    assert [50, 60, 61] == list(tree.members(50))
    put(proc, 62, 50)
    shutil.rmtree(proc / "61")
    assert [[50, 60]] * 11 == [list(tree.members(50)) for _ in range(11)]
    assert {50, 60, 62} == set(tree.members(50))
    put(proc, 63, 50)
    (proc / "loadavg").write_text("0.1 0.2 0.3 1/99 63\n")
    assert 63 in tree.members(50)


@pytest.mark.parametrize("content", ["0.00 0.00 0.00 0/0 0\n", ""])
def test_a_system_that_does_not_say_is_listed_each_time(content: str, proc: Path) -> None:
    """As one that only imitates Linux."""
    (proc / "loadavg").write_text(content)
    tree = LinuxTree(str(proc))
    tree.members(50)
    put(proc, 62, 50)
    assert 62 in tree.members(50)


def test_a_loop_of_parents_ends(proc: Path) -> None:
    """Files are not read at one moment: two of them may say that each came of the other."""
    put(proc, 60, 61)
    put(proc, 50, 61)
    assert [50] == list(LinuxTree(str(proc)).members(50))


def test_only_so_many_are_followed(proc: Path) -> None:
    """A thousand with the process itself."""
    for pid in range(1000, 2200):
        put(proc, pid, 50)
    assert 1000 == len(LinuxTree(str(proc)).members(50))


def test_a_process_that_is_not_there_is_an_error(proc: Path) -> None:
    """As where /proc is that of another namespace."""
    with pytest.raises(ProcessLookupError):
        LinuxTree(str(proc)).members(99)
