"""What the machine as a whole is doing: CPU, memory, disks, network, load."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from holter.arguments import positive_seconds
from holter.model import Record
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
_USED: Final = {"system.memory.state": "used"}


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

    A sample costs about 0.2 ms; nothing in it waits. A figure that the system does not give is
    left out and named in `unavailable`; the others go on.

    >>> HostSampler(interval_seconds=10.0)
    HostSampler(interval_seconds=10.0)

    Raises:
        ConfigurationError: *interval_seconds* is not a positive number.
    """

    whole_host = True

    def __init__(
        self, interval_seconds: float = 5.0, *, _open: Callable[[], Any] | None = None, _sysfs: str = "/sys"
    ) -> None:
        self.interval_seconds = positive_seconds("interval_seconds", interval_seconds)
        self._open = _open or _psutil
        self._poll = Poll(_METRICS)
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
            psutil = self._open()
        except READ_ERRORS as error:
            self._poll.fail(error)
        else:
            self._poll.read(_Now(psutil, self._host), record)


def _psutil() -> Any:
    import psutil  # type: ignore[import-untyped]  # noqa: PLC0415  it has no types, and takes 74 ms to import, so at the first sample, not at `import holter`

    return psutil


@dataclass(slots=True)
class _Host:
    """What outlives a sample: the last CPU times, and which devices are real."""

    sysfs: Path
    cpu_seconds: dict[str, float] | None = None
    physical: dict[tuple[str, str], bool] = field(default_factory=dict)

    def is_physical(self, folder: str, name: str) -> bool:
        key = (folder, name)
        if key not in self.physical:
            if len(self.physical) >= _NAMES_KEPT:
                self.physical.clear()
            self.physical[key] = (self.sysfs / folder / name / "device").exists()
        return self.physical[key]


class _Now:
    """One sample: what several metrics need is read once."""

    def __init__(self, psutil: Any, host: _Host) -> None:
        self.psutil = psutil
        self._host = host

    @cached_property
    def memory(self) -> Any:
        return self.psutil.virtual_memory()

    @cached_property
    def disks(self) -> list[Any]:
        # nowrap=True would take a lock of psutil's, which a fork may leave locked in the child for ever.
        counters = self.psutil.disk_io_counters(perdisk=True, nowrap=False) or {}
        if not (self._host.sysfs / "block").is_dir():  # not Linux: psutil lists whole disks only
            return list(counters.values())
        return [counter for name, counter in counters.items() if self._host.is_physical("block", name)]

    def cpu_utilization(self) -> Values:
        times = self.psutil.cpu_times()
        now = {
            mode: sum(getattr(times, part, 0.0) for part in parts)
            for mode, parts in _CPU_MODES.items()
            if hasattr(times, parts[0])
        }
        before, self._host.cpu_seconds = self._host.cpu_seconds, now
        if before is None:
            return ()
        # The kernel lets idle and iowait run backwards by a tick now and then.
        spent = {mode: max(0.0, seconds - before[mode]) for mode, seconds in now.items()}
        total = sum(spent.values())
        return [({"cpu.mode": mode}, seconds / total) for mode, seconds in spent.items()] if total else ()

    def memory_usage(self) -> Values:
        return ((_USED, self.memory.total - self.memory.available),)

    def memory_utilization(self) -> Values:
        return ((_USED, 1 - self.memory.available / self.memory.total),)

    def disk_io(self) -> Values:
        return _directions("disk.io.direction", self.disks, read="read_bytes", write="write_bytes")

    def disk_operations(self) -> Values:
        return _directions("disk.io.direction", self.disks, read="read_count", write="write_count")

    def network_io(self) -> Values:
        counters = self.psutil.net_io_counters(pernic=True, nowrap=False) or {}
        physical = [counter for name, counter in counters.items() if self._host.is_physical("class/net", name)]
        cards = physical or [counter for name, counter in counters.items() if not name.startswith(_LOOPBACKS)]
        return _directions("network.io.direction", cards, receive="bytes_recv", transmit="bytes_sent")


def _directions(attribute: str, counters: Iterable[Any], **fields: str) -> Values:
    """Return the sum over *counters* of one field for each direction, None where there are no counters."""
    known = list(counters)
    return [
        ({attribute: direction}, sum(getattr(counter, name) for counter in known) if known else None)
        for direction, name in fields.items()
    ]


_METRICS: Final = (
    Metric("system.cpu.utilization", "gauge", "1", _Now.cpu_utilization),
    Metric("system.memory.usage", "gauge", "By", _Now.memory_usage),
    Metric("system.memory.utilization", "gauge", "1", _Now.memory_utilization),
    Metric("system.memory.limit", "gauge", "By", lambda now: (({}, now.memory.total),)),
    Metric("system.disk.io", "counter", "By", _Now.disk_io),
    Metric("system.disk.operations", "counter", "{operation}", _Now.disk_operations),
    Metric("system.network.io", "counter", "By", _Now.network_io),
    Metric("holter.host.load_average", "gauge", "{thread}", lambda now: (({}, now.psutil.getloadavg()[0]),)),
)
