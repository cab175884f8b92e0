"""The process that starts the workers of a service one after the other, as far as that can be told."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from holter.whereabouts import start_of

_PROC: Final = Path("/proc")


def launcher(proc: Path = _PROC) -> str:
    """
    Return what names this process's parent, "" unless it runs the same interpreter.

    So do gunicorn's arbiter, uvicorn's supervisor, torchrun's agent and a program with multiprocessing. A shell
    does not: what it starts one after the other are not workers of one service.
    """
    parent = os.getppid()
    with suppress(OSError):
        if (proc / str(parent) / "exe").readlink() == (proc / "self/exe").readlink():
            return f"{parent}-{start_of(parent, proc)}"
    return ""


def is_gone(named: str, proc: Path = _PROC) -> bool:
    """Whether the process that `launcher` has *named* is no more."""
    pid, _, start = named.partition("-")
    known = start_of(int(pid), proc) if pid.isdigit() else 0
    return not known or str(known) != start
