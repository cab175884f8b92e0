"""Whether a process is this one, a descendant of it, or a stranger, and whether its number says so at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, Literal

Kin = Literal["own", "children", "others"]

# The number of the first pid namespace, which the kernel gives to no other one (PROC_PID_INIT_INO).
_FIRST_NAMESPACE: Final = 0xEFFFFFFC
_MOST_GENERATIONS: Final = 100


def shares_pids_with_host(proc: Path = Path("/proc")) -> bool:
    """Whether this process's numbers of processes are those of the machine; True where nobody can tell."""
    try:
        return (proc / "self/ns/pid").stat().st_ino == _FIRST_NAMESPACE
    except OSError:
        return os.name != "posix" or not proc.is_dir()


def kin_of(pid: int, own: int, proc: Path = Path("/proc")) -> Kin:
    """Return what the process *pid* is to the process *own*; costs a small file of the kernel's a generation."""
    if pid == own:
        return "own"
    for _ in range(_MOST_GENERATIONS):
        pid = _parent_of(pid, proc)
        if pid == own:
            return "children"
        if pid <= 1:
            break
    return "others"


def _parent_of(pid: int, proc: Path) -> int:
    """Return the parent's number, 0 where the process is gone."""
    try:
        text = (proc / str(pid) / "stat").read_bytes()
        # The second field is the program's name in brackets, and may hold brackets and spaces itself.
        return int(text.rpartition(b")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return 0
