"""The processes that have come of this one, from /proc: which they are and what they take together."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import Final

from holter.keptfiles import KeptFiles
from holter.linuxprocess import stat_fields
from holter.treetime import Member

# Fields of /proc/PID/stat behind the name.
_PPID, _UTIME, _STIME, _CUTIME, _CSTIME, _THREADS, _START, _RSS = 1, 11, 12, 13, 14, 17, 19, 21
_STRANGERS_A_TURN: Final = 4
_MOST_SKIPPED: Final = 11
_MOST: Final = 1000


class LinuxTree:
    """
    Finds the descendants of this process, and adds up what they take.

    Linux lists all processes of the machine; to read who each one's parent is costs some 10 µs. So a process that
    is known not to belong here is not read again, except that each time 4 of these are, in turns: a number that
    the system has given anew to a process of ours is found by that. In the first sample all are read. Where no process
    has begun anywhere since the last sample, the list is not read either, eleven times of twelve.

    At most 1,000 descendants are followed.
    """

    def __init__(self, root: str = "/proc") -> None:
        self._root = root
        self._strangers: set[str] = set()
        self._turns: list[str] = []
        self._known: dict[str, None] = {}
        self._files = KeptFiles()
        self._newest, self._skipped = b"", 0
        self._ticks = os.sysconf("SC_CLK_TCK")
        self._page_bytes = os.sysconf("SC_PAGE_SIZE")

    def clock(self) -> float:
        """Return the time now as the starts of processes are told."""
        # To the tick, which begins before what starts in it.
        return int(time.clock_gettime(time.CLOCK_BOOTTIME) * self._ticks) / self._ticks

    def members(self, pid: int) -> dict[int, Member]:
        """
        Return the processes of the tree of process *pid*, parents before their children; seconds and bytes.

        Raises:
            OSError: /proc cannot be read.
        """
        new = set() if self._is_as_before() else self._listed() - self._known.keys() - {str(pid)}
        own = self._read(pid)
        if own is None:
            raise ProcessLookupError(f"no process {pid} under {self._root}")
        children: dict[int, list[Member]] = {}
        # Parents before their children: what one is told of a child that it waits for meanwhile is not counted twice.
        for name in (*self._known, *new):
            member = self._read(int(name)) if name.isdecimal() else None
            if member is not None:
                children.setdefault(member.parent, []).append(member)
            elif not name.isdecimal():
                self._strangers.add(name)
        members, queue = {pid: own}, [pid]
        for parent in queue:
            for child in children.pop(parent, ()):
                if child.pid not in members and len(members) < _MOST:
                    members[child.pid] = child
                    queue.append(child.pid)
        self._known = dict.fromkeys(map(str, list(members)[1:]))
        self._strangers |= {str(member.pid) for others in children.values() for member in others}
        return members

    def _is_as_before(self) -> bool:
        """Whether no process has begun since the last time: the newest number that was given is the same."""
        before = self._newest
        try:
            # Before the list is read: what begins in between is found the next time.
            self._newest = self._files.read(f"{self._root}/loadavg").split()[-1]
        except (OSError, IndexError):
            return False
        self._skipped += 1
        # Some imitations of Linux always say 0, and a process may have been adopted.
        if self._newest == before not in (b"", b"0") and self._skipped <= _MOST_SKIPPED:
            return True
        self._skipped = 0
        return False

    def _listed(self) -> set[str]:
        """Return the numbers of all processes but those known to be strangers; some of these, in turns."""
        names = set(os.listdir(self._root))  # noqa: PTH208 - a third of the cost
        self._strangers &= names
        self._turns = self._turns or [name for name in self._strangers if name.isdecimal()]
        self._strangers.difference_update(self._turns[-_STRANGERS_A_TURN:])
        del self._turns[-_STRANGERS_A_TURN:]
        return names - self._strangers

    def _read(self, pid: int) -> Member | None:
        """Return what /proc says of one process; None if it has ended, or is not to be seen."""
        with suppress(OSError, ValueError, IndexError):
            descriptor = os.open(f"{self._root}/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
            try:
                fields = stat_fields(os.read(descriptor, 4096))
            finally:
                os.close(descriptor)
            times = [int(fields[at]) / self._ticks for at in (_START, _UTIME, _STIME, _CUTIME, _CSTIME)]
            parent, threads, pages = (int(fields[at]) for at in (_PPID, _THREADS, _RSS))
            memory = pages * self._page_bytes
            return Member(pid, parent, times[0], (times[1], times[2]), (times[3], times[4]), threads, memory)
        return None
