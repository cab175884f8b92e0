"""The process that starts the workers of a service one after the other, as far as that can be told."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from holter.whereabouts import start_of

_PROC: Final = Path("/proc")
_BY_MULTIPROCESSING: Final = b"--multiprocessing-fork"


def launcher(proc: Path = _PROC) -> str:
    """
    Return what names this process's parent, "" unless it has forked this one or started it by multiprocessing.

    So do gunicorn's arbiter, uvicorn's supervisor and a program with a pool. What a shell starts one after the other,
    or a program by ``subprocess``, are not workers of one service.
    """
    parent = os.getppid()
    with suppress(OSError):
        own, its = (_command(proc / name) for name in ("self", str(parent)))
        if (proc / str(parent) / "exe").readlink() == (proc / "self/exe").readlink() and (
            own == its or _BY_MULTIPROCESSING in own
        ):
            return f"{parent}-{start_of(parent, proc)}"
    return ""


def _command(folder: Path) -> bytes:
    """Return the command line of a process; a forked one has its parent's."""
    # Where setproctitle is installed, gunicorn says which of its processes is which.
    return (folder / "cmdline").read_bytes().replace(b"gunicorn: master", b"gunicorn: worker")


def is_gone(named: str, proc: Path = _PROC) -> bool:
    """Whether the process that `launcher` has *named* is no more."""
    pid, _, start = named.partition("-")
    known = start_of(int(pid), proc) if pid.isdigit() else 0
    return not known or str(known) != start
