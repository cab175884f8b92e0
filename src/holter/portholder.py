"""Whether a port is another process's of holter, which gives it back when it leads no more."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from holter.folder import candidates
from holter.layout import SUFFIX

_PROC: Final = Path("/proc")
_LISTENING: Final = "0A"
_NAMED: Final = re.compile(rf"-(\d{{1,10}})-\d{{1,19}}(-\d)?{re.escape(SUFFIX)}$")


def is_held_by_holter(port: int, proc: Path = _PROC) -> bool:
    """Whether what listens on *port* is a process of this user that has a recording; some 200 us, on Linux only."""
    sockets = {f"socket:[{inode}]" for inode in _listening(port, proc)}
    return bool(sockets) and any(sockets & set(_descriptors(proc / str(pid) / "fd")) for pid in _recorded())


def holders(port: int, proc: Path = _PROC) -> list[tuple[int, str]]:
    """Return number and name of each process that listens on *port*, as far as this user may see; on Linux only."""
    sockets = {f"socket:[{inode}]" for inode in _listening(port, proc)}
    found = []
    with suppress(OSError):
        for folder in sorted(proc.iterdir()) if sockets else ():
            if folder.name.isdecimal() and sockets & set(_descriptors(folder / "fd")):
                with suppress(OSError):
                    found.append((int(folder.name), (folder / "comm").read_text(errors="replace").strip()))
    return found


def _listening(port: int, proc: Path) -> Iterator[str]:
    """Yield the inodes of the sockets that listen on *port*."""
    for table in ("net/tcp", "net/tcp6"):
        with suppress(OSError):
            for line in (proc / table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                    yield fields[9]


def _recorded() -> set[int]:
    """Return the numbers of the processes that have a recording, but for this one."""
    pids: set[int] = set()
    for folder in candidates():
        with suppress(OSError):
            pids.update(int(named[1]) for name in folder.iterdir() if (named := _NAMED.search(name.name)) is not None)
    return pids - {os.getpid()}


def _descriptors(folder: Path) -> Iterator[str]:
    """Yield what the descriptors of a process lead to."""
    with suppress(OSError):
        for path in folder.iterdir():
            with suppress(OSError):
                yield str(path.readlink())
