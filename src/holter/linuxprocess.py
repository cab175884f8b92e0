"""What Linux says of this process under /proc, read at a few microseconds a figure."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from holter.clock import Clock
from holter.keptfiles import KeptFiles
from holter.names import PROCESS_RUN_QUEUE_DELAY
from holter.polling import Metric, Values

_USER: Final = {"cpu.mode": "user"}
_SYSTEM: Final = {"cpu.mode": "system"}
_READ: Final = {"disk.io.direction": "read"}
_WRITE: Final = {"disk.io.direction": "write"}
_VOLUNTARY: Final = {"process.context_switch.type": "voluntary"}
_INVOLUNTARY: Final = {"process.context_switch.type": "involuntary"}
_MINOR: Final = {"system.paging.fault.type": "minor"}
_MAJOR: Final = {"system.paging.fault.type": "major"}
_START_FIELD: Final = 19  # of /proc/self/stat, behind the name
_MOST_THREADS: Final = 64


class LinuxProcess:
    """What outlives a sample: open files, and what figures that need two readings remember."""

    def __init__(self, clock: Clock, folder: str = "/proc/self") -> None:
        self.pid = os.getpid()
        self.folder = folder
        self.clock = clock
        self.files = KeptFiles()
        self.waits = RunQueueDelay(f"{folder}/task")
        self.page_bytes = os.sysconf("SC_PAGE_SIZE")
        self.cpu_ns = 0
        self.cpu_seconds: tuple[float, float] | None = None
        started = float(stat_fields(self.files.read(f"{folder}/stat"))[_START_FIELD]) / os.sysconf("SC_CLK_TCK")
        # Neither follows the wall clock; both go on while the machine sleeps.
        self.age_seconds = max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - started)
        self.opened_ns = clock.monotonic_ns()
        self.files.forget(f"{folder}/stat")

    def now(self) -> object:
        """Return one reading of all."""
        return _Now(self)


class _Now:
    """One sample: what several figures need is read once."""

    def __init__(self, process: LinuxProcess) -> None:
        self._process = process

    @cached_property
    def _usage(self) -> Any:
        import resource  # noqa: PLC0415 - not on Windows

        # Of all threads, those that have ended too, to the microsecond; /proc/self/status has the main thread's alone.
        return resource.getrusage(resource.RUSAGE_SELF)

    @cached_property
    def _pages(self) -> list[bytes]:
        return self._process.files.read(f"{self._process.folder}/statm").split()

    @cached_property
    def _io(self) -> dict[bytes, int]:
        content = self._process.files.read(f"{self._process.folder}/io")
        lines = (line.partition(b":") for line in content.splitlines())
        return {name: int(value) for name, _, value in lines}

    @cached_property
    def _threads(self) -> list[str]:
        return os.listdir(f"{self._process.folder}/task")  # noqa: PTH208 - a third of the cost, each second

    def cpu_time(self) -> Values:
        return (_USER, self._usage.ru_utime), (_SYSTEM, self._usage.ru_stime)

    def cpu_utilization(self) -> Values:
        mine, usage, now_ns = self._process, self._usage, self._process.clock.monotonic_ns()
        before, mine.cpu_seconds = mine.cpu_seconds, (usage.ru_utime, usage.ru_stime)
        passed, mine.cpu_ns = (now_ns - mine.cpu_ns) / 1e9, now_ns
        if before is None or passed <= 0:
            return ()
        available = passed * len(os.sched_getaffinity(mine.pid))
        return (_USER, (usage.ru_utime - before[0]) / available), (_SYSTEM, (usage.ru_stime - before[1]) / available)

    def memory_usage(self) -> Values:
        return (({}, int(self._pages[1]) * self._process.page_bytes),)

    def memory_virtual(self) -> Values:
        return (({}, int(self._pages[0]) * self._process.page_bytes),)

    def disk_io(self) -> Values:
        return (_READ, self._io[b"read_bytes"]), (_WRITE, self._io[b"write_bytes"])

    def disk_operations(self) -> Values:
        return (_READ, self._io[b"syscr"]), (_WRITE, self._io[b"syscw"])

    def thread_count(self) -> Values:
        return (({}, len(self._threads)),)

    def open_files(self) -> Values:
        # From Linux 6.2 on the folder's size is their number; before, it is listed, through one more of them.
        folder = f"{self._process.folder}/fd"
        return (({}, os.stat(folder).st_size or len(os.listdir(folder)) - 1),)  # noqa: PTH116, PTH208 - as above

    def context_switches(self) -> Values:
        return (_VOLUNTARY, self._usage.ru_nvcsw), (_INVOLUNTARY, self._usage.ru_nivcsw)

    def paging_faults(self) -> Values:
        return (_MINOR, self._usage.ru_minflt), (_MAJOR, self._usage.ru_majflt)

    def run_queue_delay(self) -> Values:
        return (({}, self._process.waits.now(self._threads)),)

    def uptime(self) -> Values:
        mine = self._process
        return (({}, mine.age_seconds + (mine.clock.monotonic_ns() - mine.opened_ns) / 1e9),)


class RunQueueDelay:
    """
    How long the threads of this process have waited for a CPU while they could have run, in seconds, together.

    Linux counts it for each thread. Of more than 64 threads, so many are read at a time, in turns: what one has
    waited is counted when its turn comes, and that of a thread which ends before is not. ``_root`` is for tests.
    """

    def __init__(self, root: str = "/proc/self/task") -> None:
        self._root = root
        # None is kept open: the process would have as many more files as threads.
        self._files = KeptFiles(0)
        self._waited_ns: dict[str, int] = {}
        self._unread: set[str] | None = None
        """Threads that were there at the first sample and have not had their turn yet."""
        self._total_ns = 0
        self._turn = 0

    def now(self, threads: list[str]) -> float:
        """
        Return what it has come to; it never falls.

        Raises:
            OSError: this kernel does not count it.
        """
        for gone in self._waited_ns.keys() - set(threads):
            del self._waited_ns[gone]
        if self._unread is None:
            self._unread = set(threads[_MOST_THREADS:])
        error = None
        read = 0
        for thread in self._next(threads):
            try:
                waited_ns = int(self._files.read(f"{self._root}/{thread}/schedstat").split()[1])
            except OSError as why:  # it has ended meanwhile
                error = why
                continue
            read += 1
            # What a thread waited before the first sample is no growth.
            before_ns = waited_ns if thread in self._unread else self._waited_ns.get(thread, 0)
            self._unread.discard(thread)
            # A smaller number is another thread's, which has got the number of one that ended.
            self._total_ns += waited_ns - before_ns if waited_ns >= before_ns else waited_ns
            self._waited_ns[thread] = waited_ns
        if not read and error is not None:
            raise error
        return self._total_ns / 1e9

    def _next(self, threads: list[str]) -> list[str]:
        if len(threads) <= _MOST_THREADS:
            return threads
        self._turn %= len(threads)
        taken = (threads + threads)[self._turn : self._turn + _MOST_THREADS]
        self._turn += _MOST_THREADS
        return taken


def stat_fields(stat: bytes) -> list[bytes]:
    """
    Return the fields of ``/proc/PID/stat`` behind the name, which may itself hold spaces and brackets.

    Raises:
        ValueError: it is no such line.
    """
    return stat[stat.rindex(b")") + 2 :].split()


def is_linux_proc() -> bool:
    """Whether there is a /proc as Linux has it."""
    with suppress(OSError):
        return Path("/proc/self/task").stat().st_ino > 0
    return False


def process_metrics(source: Any) -> tuple[Metric, ...]:
    """Return the metrics of a process that all systems have, read by the methods of class *source*."""
    return (
        Metric("process.cpu.time", "counter", "s", source.cpu_time),
        Metric("process.cpu.utilization", "gauge", "1", source.cpu_utilization, "each"),
        Metric("process.memory.usage", "gauge", "By", source.memory_usage, "each"),
        Metric("process.memory.virtual", "gauge", "By", source.memory_virtual, "each"),
        Metric("process.disk.io", "counter", "By", source.disk_io),
        Metric("process.disk.operations", "counter", "{operation}", source.disk_operations),
        Metric("process.thread.count", "gauge", "{thread}", source.thread_count, "each"),
        Metric("process.unix.file_descriptor.count", "gauge", "{file_descriptor}", source.open_files, "each"),
        Metric("process.context_switches", "counter", "{context_switch}", source.context_switches),
        Metric("process.uptime", "gauge", "s", source.uptime, "each"),
    )


LINUX_METRICS: Final = (
    *process_metrics(_Now),
    Metric("process.paging.faults", "counter", "{fault}", _Now.paging_faults),
    Metric(PROCESS_RUN_QUEUE_DELAY, "counter", "s", _Now.run_queue_delay),
)
