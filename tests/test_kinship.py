"""What a process is to another one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from holter.kinship import kin_of, shares_pids_with_host


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """Processes 10, its child 11 with a strange name, its grandchild 12, and a stranger."""
    for pid, parent, name in ((10, 1, "python"), (11, 10, "a) (b) 5"), (12, 11, "c"), (13, 1, "d"), (14, 99, "e")):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "stat").write_bytes(f"{pid} ({name}) S {parent} 0 0".encode())
    return tmp_path


@pytest.mark.parametrize(
    ("pid", "expected"),
    [(10, "own"), (11, "children"), (12, "children"), (13, "others"), (14, "others"), (77, "others")],
)
def test_descendants_are_children(pid: int, expected: str, proc: Path) -> None:
    """Whatever their names are; one that is gone, or whose parent is, is a stranger."""
    assert expected == kin_of(pid, 10, proc)


def test_a_circle_ends(tmp_path: Path) -> None:
    """As numbers that are given anew may make one."""
    for pid, parent in ((20, 21), (21, 20)):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "stat").write_bytes(f"{pid} (x) S {parent}".encode())
    assert kin_of(20, 10, tmp_path) == "others"


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_real_processes_are_told_apart() -> None:
    """The test's own, one that it has started, and the first of all."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert ["own", "children", "others"] == [kin_of(pid, os.getpid()) for pid in (os.getpid(), child.pid, 1)]
        child.communicate(b"\n")


def test_a_namespace_is_known_by_its_number(tmp_path: Path) -> None:
    """The first one has a number of its own; where there is no /proc at all, numbers are the machine's."""
    own = Path("/proc/self/ns/pid")
    if own.exists():
        assert (own.stat().st_ino == 0xEFFFFFFC) == shares_pids_with_host()
    (tmp_path / "self/ns").mkdir(parents=True)
    (tmp_path / "self/ns/pid").touch()
    assert not shares_pids_with_host(tmp_path)
