"""Which process wrote a recording, and whether it still lives."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

_PROC: Final = Path("/proc")
_BOOT_ID: Final = _PROC / "sys/kernel/random/boot_id"
SILENCE_NS: Final = 60_000_000_000
"""A process that cannot be looked up is taken for dead when its last heartbeat is older than this."""

# Of /proc/PID/stat, counted behind the name, which may hold spaces and brackets.
_STATE_FIELD: Final = 0
_START_FIELD: Final = 19
_USER_FIELD: Final = 11
_SYSTEM_FIELD: Final = 12
_TICKS: Final = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """
    What tells one process from all others, also from those that had or will have its number.

    ``pid_namespace`` and ``start_ticks`` are 0 where the system did not tell; such a process, and
    one of another namespace, can be judged by its heartbeat only.
    """

    pid: int
    start_ticks: int = 0
    boot_id: str = ""
    pid_namespace: int = 0

    @classmethod
    def mine(cls, proc: Path = _PROC) -> Whereabouts:
        """Return those of the calling process."""
        pid, boot_id, namespace, started = os.getpid(), "", 0, 0
        with suppress(OSError, ValueError):
            boot_id = _BOOT_ID.read_text().strip()
            # A /proc of another namespace knows this process by another number, and another by this.
            if str((proc / "self").readlink()) == str(pid):
                namespace = (proc / "self/ns/pid").stat().st_ino
                started = int(_fields(proc, pid)[_START_FIELD])
        return cls(pid, started, boot_id, namespace)

    def is_dead(self, silent_ns: int, observer: Whereabouts | None = None, proc: Path = _PROC) -> tuple[bool, bool]:
        """
        Return whether the process is dead, and whether that is sure.

        Sure is what the process table says of this namespace, and that no process outlives its
        boot; the rest follows from its heartbeat, last heard *silent_ns* ago.
        """
        here = Whereabouts.mine() if observer is None else observer
        if self.boot_id and here.boot_id and self.boot_id != here.boot_id:
            return True, True
        if not self.pid_namespace or self.pid_namespace != here.pid_namespace or not self.start_ticks:
            return silent_ns > SILENCE_NS, False
        try:
            fields = _fields(proc, self.pid)
            if int(fields[_START_FIELD]) != self.start_ticks:
                return True, True
            return fields[_STATE_FIELD] in "ZX" and self._is_alone(proc), True
        except (FileNotFoundError, ProcessLookupError):
            return True, True
        except (OSError, ValueError, IndexError):
            return silent_ns > SILENCE_NS, False

    def _is_alone(self, proc: Path) -> bool:
        """Whether no other thread goes on after the first one has ended, which looks like a death."""
        with suppress(OSError):
            return len(list((proc / str(self.pid) / "task").iterdir())) <= 1
        return True


class Pulse(NamedTuple):
    """What the system says of a process: a letter as `ps` shows it ("R", "S", "D", "T"), and its CPU time."""

    letter: str
    cpu_seconds: float


def pulse(whereabouts: Whereabouts, here: Whereabouts, proc: Path = _PROC) -> Pulse | None:
    """Return the pulse of the process that is there, None where it has gone or cannot be looked up from *here*."""
    if not whereabouts.pid_namespace or whereabouts.pid_namespace != here.pid_namespace:
        return None
    try:
        fields = _fields(proc, whereabouts.pid)
        if int(fields[_START_FIELD]) != whereabouts.start_ticks:
            return None
        return Pulse(fields[_STATE_FIELD], (int(fields[_USER_FIELD]) + int(fields[_SYSTEM_FIELD])) / _TICKS)
    except (OSError, ValueError, IndexError):
        return None


def start_of(pid: int, proc: Path = _PROC) -> int:
    """Return when the process *pid* began, in ticks since the boot; 0 if there is none."""
    try:
        return int(_fields(proc, pid)[_START_FIELD])
    except (OSError, ValueError, IndexError):
        return 0


def _fields(proc: Path, pid: int) -> list[str]:
    """Return the fields of the process *pid* behind its name."""
    return (proc / str(pid) / "stat").read_bytes().rpartition(b")")[2].decode("ascii").split()
