"""What the kernel says of the control groups that this process is in, in both versions and mixtures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from holter.grouppaths import GroupPaths, Hierarchy
from holter.keptfiles import KeptFiles
from holter.names import PRESSURE_RESOURCE_NAME, PRESSURE_STALLED_TYPE
from holter.polling import NoValueError, Values

# Where nothing is limited, the first version gives the largest number of whole pages.
_UNLIMITED: Final = 2**62
_RESOURCES: Final = ("cpu", "memory", "io")
_STALLS: Final = {
    (resource, stalled): {PRESSURE_RESOURCE_NAME: resource, PRESSURE_STALLED_TYPE: stalled}
    for resource in _RESOURCES
    for stalled in ("some", "full")
}


@dataclass(frozen=True, slots=True)
class MemoryFigures:
    """Of the group with the least limit, else of its own: bytes in use, those that are not just cache, the limit."""

    usage: int
    working_set: int
    limit: int | None


@dataclass(frozen=True, slots=True)
class CPUFigures:
    """Of the group with the least quota: how many CPUs, periods so far, those cut short, and seconds of that."""

    limit: float
    periods: int
    throttled_periods: int
    throttled_seconds: float


class ControlGroups:
    """
    The control groups of this process, found anew when it is moved to others.

    Reads through *root*: its ``proc/self/cgroup`` says which groups, its ``proc/self/mountinfo`` where they are
    mounted. Paths from outside a container are brought to what is mounted in it. `look` comes before readings, each
    of which raises OSError, LookupError or ValueError where there is none, and costs some 20 to 40 µs. To be used by
    one thread at a time.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self._membership = str(root / "proc/self/cgroup")
        self._paths = GroupPaths(root / "proc/self/mountinfo", root=root)
        self._files = KeptFiles()
        self._limits: dict[str, int] | None = None
        """The memory limits of this look, once they are read."""

    def look(self) -> None:
        """
        See which groups the process is in now; what is read afterwards is theirs.

        Raises:
            OSError: this system has no control groups.
        """
        self._limits = None
        if self._paths.see(self._files.read(self._membership)):
            self._files.close()

    def memory(self) -> MemoryFigures:
        """Return what is used of which limit."""
        under = self._inner("memory")
        limits = self._memory_limits(under)
        folder = min(limits, key=lambda one: limits[one]) if limits else self._nearest(under, _USAGE[under.version])
        usage = int(self._read(folder, _USAGE[under.version]))
        inactive = self._field(folder, "memory.stat", _INACTIVE[under.version])
        return MemoryFigures(usage, max(0, usage - inactive), limits.get(folder))

    def oom_kills(self) -> int:
        """Return how many processes the kernel has killed for want of memory in the group, and in those within."""
        under = self._inner("memory")
        limits = self._memory_limits(under)
        outermost = min(limits, key=lambda one: limits[one]) if limits else under.groups[0]
        if under.version == 2:  # noqa: PLR2004 - the version
            folder = self._nearest(under, "memory.events", outermost)
            return self._field(folder, "memory.events", b"oom_kill ")
        # The first version counts each group's own only.
        within = under.groups[: under.groups.index(outermost) + 1]
        return sum(self._field(folder, "memory.oom_control", b"oom_kill ") for folder in within)

    def cpu_seconds(self) -> tuple[float, float]:
        """Return the CPU seconds of the group in user and in system mode."""
        under = self._inner("cpuacct")
        if under.version == 2:  # noqa: PLR2004 - the version
            told = self._table(self._nearest(under, "cpu.stat"), "cpu.stat")
            return told["user_usec"] / 1e6, told["system_usec"] / 1e6
        folder = self._nearest(under, "cpuacct.usage_user")
        return tuple(int(self._read(folder, f"cpuacct.usage_{mode}")) / 1e9 for mode in ("user", "sys"))  # type: ignore[return-value]  # it cannot count

    def cpu(self) -> CPUFigures | None:
        """Return what the group with the least quota says; None where no group has one."""
        under = self._inner("cpu")
        quotas = dict(self._quotas(under))
        if not quotas:
            return None
        folder = min(quotas, key=lambda one: quotas[one])
        told = self._table(folder, "cpu.stat")
        seconds = told["throttled_usec"] / 1e6 if "throttled_usec" in told else told["throttled_time"] / 1e9
        return CPUFigures(quotas[folder], told["nr_periods"], told["nr_throttled"], seconds)

    def pressure(self) -> dict[tuple[str, str], float]:
        """Return for how many seconds some or all of the group has waited, by resource; the second version alone."""
        under = self._inner("")
        folder = self._nearest(under, "memory.pressure")
        found: dict[tuple[str, str], float] = {}
        for resource in _RESOURCES:
            found |= stalled_seconds(resource, self._read(folder, f"{resource}.pressure"))
        return found

    def _inner(self, controller: str) -> Hierarchy:
        """Return the groups under *controller* without the root, which is the machine; NoValueError if none is left."""
        under = self._paths.hierarchy(controller) or self._paths.hierarchy("")
        if under is None:
            raise NoValueError(f"there are no control groups for {controller or 'all'} here")
        if not under.groups:
            raise NoValueError("this process is in the root of the control groups, which is the machine")
        return under

    def _memory_limits(self, under: Hierarchy) -> dict[str, int]:
        """Return the limit of each group that has one, read once a look."""
        if self._limits is None:
            self._limits = {}
            for folder in under.groups:
                with suppress(OSError, ValueError):  # no such controller here, or "max"
                    limit = int(self._read(folder, _LIMIT[under.version]))
                    if limit < _UNLIMITED:
                        self._limits[folder] = limit
        return self._limits

    def _quotas(self, under: Hierarchy) -> Iterator[tuple[str, float]]:
        """Return the CPUs that each group with a quota may use."""
        for folder in under.groups:
            with suppress(OSError, ValueError):
                if under.version == 2:  # noqa: PLR2004 - the version
                    quota, period = self._read(folder, "cpu.max").split()
                else:
                    quota, period = (self._read(folder, f"cpu.cfs_{what}_us") for what in ("quota", "period"))
                if (cpus := int(quota) / int(period)) > 0:
                    yield folder, cpus

    def _nearest(self, under: Hierarchy, name: str, first: str | None = None) -> str:
        """Return the innermost group with such a file, from *first* on outwards."""
        start = under.groups.index(first) if first else 0
        for folder in under.groups[start:]:
            with suppress(OSError):
                self._read(folder, name)
                return folder
        raise NoValueError(f"no control group of this process has {name}")

    def _read(self, folder: str, name: str) -> bytes:
        return self._files.read(f"{folder}/{name}")

    def _field(self, folder: str, name: str, field: bytes) -> int:
        """Return one number of a file with many; *field* ends with a space."""
        content = b"\n" + self._read(folder, name)
        return int(content[content.index(b"\n" + field) + 1 + len(field) :].split(None, 1)[0])

    def _table(self, folder: str, name: str) -> dict[str, int]:
        lines = (line.split() for line in self._read(folder, name).splitlines())
        return {fields[0].decode(): int(fields[1]) for fields in lines if len(fields) == 2}  # noqa: PLR2004 - name, value


_LIMIT: Final = {1: "memory.limit_in_bytes", 2: "memory.max"}
_USAGE: Final = {1: "memory.usage_in_bytes", 2: "memory.current"}
_INACTIVE: Final = {1: b"total_inactive_file ", 2: b"inactive_file "}


def stalled_seconds(resource: str, content: bytes) -> dict[tuple[str, str], float]:
    """
    Return the seconds of stall in a file of pressure, by *resource* and "some" or "full".

    Raises:
        ValueError, IndexError: it is no such file.
    """
    lines = [line.split() for line in content.splitlines()]
    if not lines:
        raise ValueError(f"no line on {resource}")
    return {(resource, fields[0].decode()): int(fields[-1].partition(b"=")[2]) / 1e6 for fields in lines}


def stalls(seconds: Mapping[tuple[str, str], float]) -> Values:
    """Return the *seconds* of stall, by resource and "some" or "full", with the attributes that they are told under."""
    return [(_STALLS[which], one) for which, one in seconds.items() if which in _STALLS]
