"""What Linux says of the machine under /proc, read through open files."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

from holter.cgroups import stalled_seconds
from holter.keptfiles import KeptFiles

_SECTOR_BYTES: Final = 512  # whatever the disk's own are
_RESOURCES: Final = ("cpu", "memory", "io")


class LinuxHost:
    """
    The counters and levels of the machine.

    Each method reads one file and raises OSError, LookupError or ValueError where that is not as it should be.
    """

    def __init__(self, root: str = "/proc") -> None:
        self._root = root
        self._files = KeptFiles()
        self._tick = 1 / os.sysconf("SC_CLK_TCK")

    def cpu_seconds(self) -> dict[str, float]:
        """Return the seconds that all CPUs together have spent in each mode."""
        first = self._files.read(f"{self._root}/stat").split(b"\n", 1)[0].split()
        user, nice, system, idle, iowait, irq, softirq, *rest = (float(ticks) * self._tick for ticks in first[1:])
        return {
            "user": user + nice,
            "system": system + irq + softirq,
            "iowait": iowait,
            "steal": rest[0] if rest else 0.0,
            "idle": idle,
        }

    def memory(self) -> tuple[float, float]:
        """Return all memory, and what can be had without swapping."""
        known = {}
        for line in self._files.read(f"{self._root}/meminfo").splitlines()[:8]:
            name, _, value = line.partition(b":")
            known[name] = value
        total, available = (int(known[name].split()[0]) * 1024 for name in (b"MemTotal", b"MemAvailable"))
        return total, available

    def disks(self, is_wanted: Callable[[str], bool] = bool) -> dict[str, tuple[float, ...]]:
        """Return bytes read and written, and operations that did, by block device that *is_wanted*."""
        disks: dict[str, tuple[float, ...]] = {}
        for line in self._files.read(f"{self._root}/diskstats").splitlines():
            fields = line.split()
            name = os.fsdecode(fields[2])
            if not is_wanted(name):
                continue
            reads, sectors_read, writes, sectors_written = (int(fields[at]) for at in (3, 5, 7, 9))
            disks[name] = (
                sectors_read * _SECTOR_BYTES,
                sectors_written * _SECTOR_BYTES,
                reads,
                writes,
            )
        return disks

    def cards(self) -> dict[str, tuple[float, ...]]:
        """Return bytes received and sent, by network interface."""
        cards: dict[str, tuple[float, ...]] = {}
        for line in self._files.read(f"{self._root}/net/dev").splitlines()[2:]:
            name, _, rest = line.rpartition(b":")
            fields = rest.split()
            cards[os.fsdecode(name.strip())] = (int(fields[0]), int(fields[8]))
        return cards

    def load(self) -> float:
        """Return how many threads ran or wanted to, on average over the last minute."""
        return float(self._files.read(f"{self._root}/loadavg").split()[0])

    def pressure(self) -> dict[tuple[str, str], float]:
        """
        Return for how many seconds something ("some") or everything ("full") has waited, by resource and which.

        Raises:
            OSError: this kernel does not count it.
        """
        found: dict[tuple[str, str], float] = {}
        for resource in _RESOURCES:
            found |= stalled_seconds(resource, self._files.read(f"{self._root}/pressure/{resource}"))
        return found
