"""What the process and all that have come of it take together: CPU, memory, threads."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final, Protocol

from holter import names
from holter.arguments import positive_seconds
from holter.linuxprocess import is_linux_proc
from holter.linuxtree import LinuxTree
from holter.model import Record
from holter.polling import READ_ERRORS, Metric, Poll, Values
from holter.treetime import Member, TreeTime

_USER: Final = {"cpu.mode": "user"}
_SYSTEM: Final = {"cpu.mode": "system"}
# psutil may know the start of the machine, from which it counts, to the second only.
_START_ERROR_SECONDS: Final = 2.0


class ProcessTreeSampler:
    """
    The figures of this process together with its children, theirs and so on: workers of a data loader, of a pool.

    ``holter.process_tree.cpu_time`` has the time of children that ended, too: what was seen of them, and what the
    kernel tells their parent when it waits for them. It never falls or jumps. ``holter.process_tree.memory_usage``
    is the sum of resident sets, in which pages that several processes share count in each; in a container,
    ``container.memory.usage`` counts them once. Processes that end while they are looked at, that may not be read,
    or that get the number of one that ended do no harm.

    A sample costs some 10 µs a process of the tree, and 1 µs for each other one of the machine; nothing in it
    waits. A figure that the system does not give is left out and named in `unavailable`; the others go on.

    >>> ProcessTreeSampler(interval_seconds=10.0)
    ProcessTreeSampler(interval_seconds=10.0)

    Raises:
        ConfigurationError: *interval_seconds* is not a positive number.
    """

    def __init__(self, interval_seconds: float = 5.0, *, _open: Callable[[], _Source] | None = None) -> None:
        self.interval_seconds = positive_seconds("interval_seconds", interval_seconds)
        self._open = _open or (LinuxTree if is_linux_proc() else PsutilTree)
        self._poll = Poll(_METRICS)
        self._tree: _Tree | None = None

    def __repr__(self) -> str:
        return f"ProcessTreeSampler(interval_seconds={self.interval_seconds!r})"

    @property
    def unavailable(self) -> Mapping[str, str]:
        """The metrics that could not be read the last time: name to "unavailable, because ..."."""
        return self._poll.unavailable

    def sample(self, record: Record) -> None:
        """Hand the figures as they are now to *record*; never blocks."""
        try:
            if self._tree is None or self._tree.pid != os.getpid():
                self._tree = _Tree(self._open())
            self._tree.read()
        except READ_ERRORS as error:
            self._poll.fail(error)
        else:
            self._poll.read(self._tree, record)


class _Source(Protocol):
    """Where processes are looked up."""

    def clock(self) -> float:
        """Return the time now as the starts of processes are told."""

    def members(self, pid: int) -> dict[int, Member]:
        """Return the processes of the tree of process *pid*, parents before their children; seconds and bytes."""


class PsutilTree:
    """The same as `LinuxTree` tells, of other systems; a figure that is forbidden counts as none."""

    def clock(self) -> float:
        """Return the time now as psutil tells the starts of processes."""
        return time.time() - _START_ERROR_SECONDS

    def members(self, pid: int) -> dict[int, Member]:
        """Return the processes of the tree of process *pid*, parents before their children; seconds and bytes."""
        import psutil  # type: ignore[import-untyped]  # noqa: PLC0415  it has no types, and takes 74 ms to import, so at the first sample, not at `import holter`

        process = psutil.Process(pid)
        members = {}
        for one in (process, *process.children(recursive=True)):
            own = waited = (0.0, 0.0)
            memory = threads = 0
            with suppress(psutil.NoSuchProcess), one.oneshot():
                parent, start = one.ppid(), one.create_time()
                with suppress(psutil.AccessDenied, psutil.ZombieProcess, *READ_ERRORS):
                    times = one.cpu_times()
                    own = (times.user, times.system)
                    waited = (getattr(times, "children_user", 0.0), getattr(times, "children_system", 0.0))
                with suppress(psutil.AccessDenied, psutil.ZombieProcess, *READ_ERRORS):
                    memory = one.memory_info().rss
                with suppress(psutil.AccessDenied, psutil.ZombieProcess, *READ_ERRORS):
                    threads = one.num_threads()
                members[one.pid] = Member(one.pid, parent, start, own, waited, threads, memory)
        return members


class _Tree:
    """The tree of one process, with what the figures that need two readings remember."""

    def __init__(self, source: _Source) -> None:
        self.pid = os.getpid()
        self._source, self._time = source, TreeTime()
        self._since = source.clock()
        self._members: Mapping[int, Member] = {}
        self._cpu = (0.0, 0.0)

    def read(self) -> None:
        since, self._since = self._since, self._source.clock()
        self._members = self._source.members(self.pid)
        self._cpu = self._time.now(self._members, since)

    def processes(self) -> Values:
        return (({}, len(self._members)),)

    def cpu_time(self) -> Values:
        return (_USER, self._cpu[0]), (_SYSTEM, self._cpu[1])

    def memory_usage(self) -> Values:
        return (({}, sum(member.memory for member in self._members.values())),)

    def threads(self) -> Values:
        return (({}, sum(member.threads for member in self._members.values())),)


_METRICS: Final = (
    Metric(names.TREE_PROCESSES, "gauge", "{process}", _Tree.processes, "each"),
    Metric(names.TREE_CPU_TIME, "counter", "s", _Tree.cpu_time),
    Metric(names.TREE_MEMORY_USAGE, "gauge", "By", _Tree.memory_usage, "each"),
    Metric(names.TREE_THREADS, "gauge", "{thread}", _Tree.threads, "each"),
)
