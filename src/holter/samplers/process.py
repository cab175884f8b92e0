"""What the running process takes of the machine: CPU, memory, disk, threads, open files."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from holter.arguments import positive_seconds
from holter.clock import SYSTEM, Clock
from holter.linuxprocess import LINUX_METRICS, LinuxProcess, is_linux_proc, process_metrics
from holter.model import Record
from holter.polling import READ_ERRORS, Poll, Values

_USER: Final = {"cpu.mode": "user"}
_SYSTEM: Final = {"cpu.mode": "system"}
_READ: Final = {"disk.io.direction": "read"}
_WRITE: Final = {"disk.io.direction": "write"}
_VOLUNTARY: Final = {"process.context_switch.type": "voluntary"}
_INVOLUNTARY: Final = {"process.context_switch.type": "involuntary"}


class ProcessSampler:
    """
    The figures of this process, by OpenTelemetry's names; after a fork, those of the child.

    ``process.cpu.utilization`` is the CPU time since the last sample over the time passed times
    the number of CPUs that the process may run on (its affinity): 1.0 is all of them, busy.
    ``process.memory.usage`` is the resident set. ``process.disk.io`` counts bytes that reach the
    storage, ``process.disk.operations`` the system calls that read or write, cached ones too. ``process.uptime`` is
    right within a second, and exact from one sample to the next. Context switches and page faults are those of all
    threads. ``holter.process.run_queue_delay`` is how long threads could have run and waited for a CPU.

    On Linux a sample reads /proc through files that stay open, some 40 µs and 3 µs more a thread; elsewhere it asks
    psutil. Nothing in it waits. A figure that the system does not give is left out and named in `unavailable`; the
    others go on.

    >>> ProcessSampler(interval_seconds=10.0)
    ProcessSampler(interval_seconds=10.0)

    Raises:
        ConfigurationError: *interval_seconds* is not a positive number.
    """

    def __init__(
        self,
        interval_seconds: float = 1.0,
        *,
        _open: Callable[[], Any] | None = None,
        _clock: Clock = SYSTEM,
        _proc: str = "/proc/self",
    ) -> None:
        self.interval_seconds = positive_seconds("interval_seconds", interval_seconds)
        self._is_linux = _open is None and is_linux_proc()
        self._open = _open or _this_process
        self._clock, self._proc = _clock, _proc
        self._poll = Poll(LINUX_METRICS if self._is_linux else _METRICS)
        self._linux: LinuxProcess | None = None
        self._source: _Source | None = None

    def __repr__(self) -> str:
        return f"ProcessSampler(interval_seconds={self.interval_seconds!r})"

    @property
    def unavailable(self) -> Mapping[str, str]:
        """The metrics that could not be read the last time: name to "unavailable, because ..."."""
        return self._poll.unavailable

    def sample(self, record: Record) -> None:
        """Hand the figures as they are now to *record*; never blocks."""
        if self._is_linux:
            self._sample_linux(record)
            return
        try:
            import psutil  # type: ignore[import-untyped]  # noqa: PLC0415  it has no types, and takes 74 ms to import, so at the first sample, not at `import holter`

            if self._source is None or self._source.pid != os.getpid():
                self._source = _Source(self._open(), os.getpid(), self._clock)
        except READ_ERRORS as error:
            self._poll.fail(error)
        else:
            # What psutil reads from /proc once for several figures, it keeps for this one pass.
            with self._source.process.oneshot():
                self._poll.read(self._source, record, (*READ_ERRORS, psutil.Error))

    def _sample_linux(self, record: Record) -> None:
        try:
            if self._linux is None or self._linux.pid != os.getpid():
                self._linux = LinuxProcess(self._clock, self._proc)
        except READ_ERRORS as error:
            self._poll.fail(error)
        else:
            self._poll.read(self._linux.now(), record)


def _this_process() -> Any:
    import psutil  # noqa: PLC0415  see `sample`

    return psutil.Process()


@dataclass(slots=True)
class _Source:
    """One process, with what the figures that need two readings remember."""

    process: Any
    pid: int
    clock: Clock
    cpu_ns: int = 0
    cpu_seconds: tuple[float, float] | None = None
    age_seconds: float | None = None
    opened_ns: int = 0

    def cpu_time(self) -> Values:
        times = self.process.cpu_times()
        return (_USER, times.user), (_SYSTEM, times.system)

    def cpu_utilization(self) -> Values:
        times, now_ns = self.process.cpu_times(), self.clock.monotonic_ns()
        before, self.cpu_seconds = self.cpu_seconds, (times.user, times.system)
        passed, self.cpu_ns = (now_ns - self.cpu_ns) / 1e9, now_ns
        if before is None or passed <= 0:
            return ()
        available = passed * _cpus(self.process)
        return (_USER, (times.user - before[0]) / available), (_SYSTEM, (times.system - before[1]) / available)

    def memory_usage(self) -> Values:
        return (({}, self.process.memory_info().rss),)

    def memory_virtual(self) -> Values:
        return (({}, self.process.memory_info().vms),)

    def thread_count(self) -> Values:
        return (({}, self.process.num_threads()),)

    def disk_io(self) -> Values:
        io = self.process.io_counters()
        return (_READ, io.read_bytes), (_WRITE, io.write_bytes)

    def disk_operations(self) -> Values:
        io = self.process.io_counters()
        return (_READ, io.read_count), (_WRITE, io.write_count)

    def open_files(self) -> Values:
        # On Linux the process lists its own descriptors, through one more that is closed afterwards.
        return (({}, self.process.num_fds() - (sys.platform == "linux")),)

    def context_switches(self) -> Values:
        switches = self.process.num_ctx_switches()
        return (_VOLUNTARY, switches.voluntary), (_INVOLUNTARY, switches.involuntary)

    def uptime(self) -> Values:
        # The wall clock is asked once, so that its steps afterwards do not show.
        now_ns = self.clock.monotonic_ns()
        if self.age_seconds is None:
            self.age_seconds = max(0.0, self.clock.wall_ns() / 1e9 - self.process.create_time())
            self.opened_ns = now_ns
        return (({}, self.age_seconds + (now_ns - self.opened_ns) / 1e9),)


def _cpus(process: Any) -> int:
    try:
        return len(process.cpu_affinity())
    except AttributeError:  # not on macOS
        return os.cpu_count() or 1


_METRICS: Final = process_metrics(_Source)
