"""What the machine as a whole is doing: CPU, memory, disks, network, load."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from holter.arguments import positive_seconds
from holter.cgroups import stalls
from holter.growth import Growth
from holter.linuxhost import LinuxHost
from holter.linuxprocess import is_linux_proc
from holter.model import Record
from holter.names import HOST_PRESSURE
from holter.polling import READ_ERRORS, Metric, Poll, Values

_CPU_MODES: Final = {
    "user": ("user", "nice"),
    "system": ("system", "irq", "softirq", "interrupt", "dpc"),
    "iowait": ("iowait",),
    "steal": ("steal",),
    "idle": ("idle",),
}
_LOOPBACKS: Final = ("lo", "Loopback")
_NAMES_KEPT: Final = 1000  # containers come and go, each with an interface of a new name
_MODES: Final = {mode: {"cpu.mode": mode} for mode in _CPU_MODES}
_USED: Final = {"system.memory.state": "used"}
_READ: Final = {"disk.io.direction": "read"}
_WRITE: Final = {"disk.io.direction": "write"}
_RECEIVE: Final = {"network.io.direction": "receive"}
_TRANSMIT: Final = {"network.io.direction": "transmit"}


class HostSampler:
    """
    The figures of the host, by OpenTelemetry's names; in a container, those of the machine below it.

    ``system.cpu.utilization`` is the share of all CPUs' time since the last sample by
    ``cpu.mode``: user, system, iowait, steal, idle, together 1. Memory *used* is what could not
    be had without swapping: the limit less what is available. Disks and network are sums, so that
    a machine with many costs no more series: over physical disks (no partitions, loop devices or
    volumes, which would count a byte twice), and over physical interfaces or, where none is
    visible, as in a container, over all but loopback. ``holter.host.load_average`` is that of
    the last minute.

    The sums over disks and interfaces are of what each has grown: one that comes, goes or starts anew makes no jump.
    ``holter.host.pressure`` is Linux's count of the time in which something ("some") or everything ("full") stood
    still for want of a CPU, of memory or of the storage.

    On Linux a sample reads /proc through files that stay open, some 60 µs; elsewhere it asks psutil. Nothing in it
    waits. A figure that the system does not give is left out and named in `unavailable`; the others go on.

    >>> HostSampler(interval_seconds=10.0)
    HostSampler(interval_seconds=10.0)

    Raises:
        ConfigurationError: *interval_seconds* is not a positive number.
    """

    whole_host = True

    def __init__(
        self,
        interval_seconds: float = 5.0,
        *,
        _open: Callable[[], Any] | None = None,
        _sysfs: str = "/sys",
        _proc: str = "/proc",
    ) -> None:
        self.interval_seconds = positive_seconds("interval_seconds", interval_seconds)
        linux = LinuxHost(_proc) if _open is None and is_linux_proc() else None
        self._open = _open or _psutil
        self._source: LinuxHost | _Psutil | None = linux
        self._poll = Poll(_METRICS if linux is None else _LINUX_METRICS)
        self._host = _Host(Path(_sysfs))

    def __repr__(self) -> str:
        return f"HostSampler(interval_seconds={self.interval_seconds!r})"

    @property
    def unavailable(self) -> Mapping[str, str]:
        """The metrics that could not be read the last time: name to "unavailable, because ..."."""
        return self._poll.unavailable

    def sample(self, record: Record) -> None:
        """Hand the figures as they are now to *record*; never blocks."""
        try:
            source = self._source or _Psutil(self._open())
        except READ_ERRORS as error:
            self._poll.fail(error)
        else:
            self._poll.read(_Now(source, self._host), record)


def _psutil() -> Any:
    import psutil  # type: ignore[import-untyped]  # noqa: PLC0415  it has no types, and takes 74 ms to import, so at the first sample, not at `import holter`

    return psutil


@dataclass(frozen=True, slots=True)
class _Psutil:
    """The same figures as `LinuxHost` gives, of other systems."""

    psutil: Any

    def cpu_seconds(self) -> dict[str, float]:
        times = self.psutil.cpu_times()
        return {
            mode: sum(getattr(times, part, 0.0) for part in parts)
            for mode, parts in _CPU_MODES.items()
            if hasattr(times, parts[0])
        }

    def memory(self) -> tuple[float, float]:
        memory = self.psutil.virtual_memory()
        return memory.total, memory.available

    def disks(self, is_wanted: Callable[[str], bool]) -> dict[str, tuple[float, ...]]:
        # nowrap=True would take a lock of psutil's, which a fork may leave locked in the child for ever.
        counters = self.psutil.disk_io_counters(perdisk=True, nowrap=False) or {}
        return {
            name: (one.read_bytes, one.write_bytes, one.read_count, one.write_count)
            for name, one in counters.items()
            if is_wanted(name)
        }

    def cards(self) -> dict[str, tuple[float, ...]]:
        counters = self.psutil.net_io_counters(pernic=True, nowrap=False) or {}
        return {name: (one.bytes_recv, one.bytes_sent) for name, one in counters.items()}

    def load(self) -> float:
        return float(self.psutil.getloadavg()[0])


@dataclass(slots=True)
class _Host:
    """What outlives a sample: the last CPU times, and which devices are real."""

    sysfs: Path
    cpu_seconds: dict[str, float] | None = None
    physical: dict[tuple[str, str], bool] = field(default_factory=dict)
    disks: Growth = field(default_factory=Growth)
    cards: Growth = field(default_factory=Growth)
    has_blocks: bool | None = None

    def is_disk(self, name: str) -> bool:
        # Where it is not Linux, psutil lists whole disks only.
        if self.has_blocks is None:
            self.has_blocks = (self.sysfs / "block").is_dir()
        return not self.has_blocks or self.is_physical("block", name)

    def is_physical(self, folder: str, name: str) -> bool:
        key = (folder, name)
        if key not in self.physical:
            if len(self.physical) >= _NAMES_KEPT:
                self.physical.clear()
            self.physical[key] = (self.sysfs / folder / name / "device").exists()
        return self.physical[key]


class _Now:
    """One sample: what several metrics need is read once."""

    def __init__(self, source: LinuxHost | _Psutil, host: _Host) -> None:
        self.source = source
        self._host = host

    @cached_property
    def memory(self) -> tuple[float, float]:
        return self.source.memory()

    @cached_property
    def _disks(self) -> tuple[float | None, ...]:
        disks = self.source.disks(self._host.is_disk)
        return self._host.disks.now(disks) or (None,) * 4

    def cpu_utilization(self) -> Values:
        now = self.source.cpu_seconds()
        before, self._host.cpu_seconds = self._host.cpu_seconds, now
        if before is None:
            return ()
        # The kernel lets idle and iowait run backwards by a tick now and then.
        spent = {mode: max(0.0, seconds - before.get(mode, seconds)) for mode, seconds in now.items()}
        total = sum(spent.values())
        return [(_MODES[mode], seconds / total) for mode, seconds in spent.items()] if total else ()

    def memory_usage(self) -> Values:
        total, available = self.memory
        return ((_USED, total - available),)

    def memory_utilization(self) -> Values:
        total, available = self.memory
        return ((_USED, 1 - available / total),)

    def memory_limit(self) -> Values:
        return (({}, self.memory[0]),)

    def disk_io(self) -> Values:
        return (_READ, self._disks[0]), (_WRITE, self._disks[1])

    def disk_operations(self) -> Values:
        return (_READ, self._disks[2]), (_WRITE, self._disks[3])

    def network_io(self) -> Values:
        cards = self.source.cards()
        physical = {name: one for name, one in cards.items() if self._host.is_physical("class/net", name)}
        others = {name: one for name, one in cards.items() if not name.startswith(_LOOPBACKS)}
        received, sent = self._host.cards.now(physical or others) or (None, None)
        return (_RECEIVE, received), (_TRANSMIT, sent)

    def load(self) -> Values:
        return (({}, self.source.load()),)

    def pressure(self) -> Values:
        return stalls(self.source.pressure())  # type: ignore[union-attr]  # Linux only


_METRICS: Final = (
    Metric("system.cpu.utilization", "gauge", "1", _Now.cpu_utilization),
    Metric("system.memory.usage", "gauge", "By", _Now.memory_usage),
    Metric("system.memory.utilization", "gauge", "1", _Now.memory_utilization),
    Metric("system.memory.limit", "gauge", "By", _Now.memory_limit),
    Metric("system.disk.io", "counter", "By", _Now.disk_io),
    Metric("system.disk.operations", "counter", "{operation}", _Now.disk_operations),
    Metric("system.network.io", "counter", "By", _Now.network_io),
    Metric("holter.host.load_average", "gauge", "{thread}", _Now.load),
)
_LINUX_METRICS: Final = (*_METRICS, Metric(HOST_PRESSURE, "counter", "s", _Now.pressure))
