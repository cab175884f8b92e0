"""Which control groups this process is in, and what the kernel says of them, in both versions and mixtures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from holter.keptfiles import KeptFiles
from holter.polling import NoValueError

# Where nothing is limited, the first version gives the largest number of whole pages.
_UNLIMITED: Final = 2**62
_RESOURCES: Final = ("cpu", "memory", "io")


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """The group of this process under one controller, and those around it: folders from its own outwards."""

    version: int
    folders: tuple[str, ...]


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
        self._root, self._membership_path = root, str(root / "proc/self/cgroup")
        self._files = KeptFiles()
        self._membership = b""
        self._hierarchies: dict[str, Hierarchy] = {}

    def look(self) -> None:
        """
        See which groups the process is in now; what is read afterwards is theirs.

        Raises:
            OSError: this system has no control groups.
        """
        membership = self._files.read(self._membership_path)
        if membership != self._membership or not self._hierarchies:
            self._files.close()
            mounts = (self._root / "proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
            self._hierarchies = dict(_hierarchies(membership.decode(errors="surrogateescape"), mounts, self._root))
            self._membership = membership

    def hierarchy(self, controller: str) -> Hierarchy:
        """
        Return the groups under *controller*.

        Raises:
            NoValueError: this system does not have that controller.
        """
        found = self._hierarchies.get(controller) or self._hierarchies.get("")
        if found is None:
            raise NoValueError(f"there are no control groups for {controller or 'all'} here")
        return found

    def memory(self) -> MemoryFigures:
        """Return what is used of which limit."""
        groups = self._inner("memory")
        limits = dict(self._memory_limits(groups))
        folder = min(limits, key=lambda one: limits[one]) if limits else self._nearest(groups, _USAGE[groups.version])
        usage = int(self._read(folder, _USAGE[groups.version]))
        inactive = self._field(folder, "memory.stat", _INACTIVE[groups.version])
        return MemoryFigures(usage, max(0, usage - inactive), limits.get(folder))

    def oom_kills(self) -> int:
        """Return how many processes the kernel has killed for want of memory in the group, and in those within."""
        groups = self._inner("memory")
        limits = dict(self._memory_limits(groups))
        outermost = min(limits, key=lambda one: limits[one]) if limits else groups.folders[0]
        if groups.version == 2:  # noqa: PLR2004 - the version
            folder = self._nearest(groups, "memory.events", outermost)
            return self._field(folder, "memory.events", b"oom_kill ")
        # The first version counts each group's own only.
        within = groups.folders[: groups.folders.index(outermost) + 1]
        return sum(self._field(folder, "memory.oom_control", b"oom_kill ") for folder in within)

    def cpu_seconds(self) -> tuple[float, float]:
        """Return the CPU seconds of the group in user and in system mode."""
        groups = self._inner("cpuacct")
        if groups.version == 2:  # noqa: PLR2004 - the version
            told = self._table(self._nearest(groups, "cpu.stat"), "cpu.stat")
            return told["user_usec"] / 1e6, told["system_usec"] / 1e6
        folder = self._nearest(groups, "cpuacct.usage_user")
        return tuple(int(self._read(folder, f"cpuacct.usage_{mode}")) / 1e9 for mode in ("user", "sys"))  # type: ignore[return-value]  # it cannot count

    def cpu(self) -> CPUFigures | None:
        """Return what the group with the least quota says; None where no group has one."""
        groups = self._inner("cpu")
        quotas = dict(self._quotas(groups))
        if not quotas:
            return None
        folder = min(quotas, key=lambda one: quotas[one])
        told = self._table(folder, "cpu.stat")
        seconds = told["throttled_usec"] / 1e6 if "throttled_usec" in told else told["throttled_time"] / 1e9
        return CPUFigures(quotas[folder], told["nr_periods"], told["nr_throttled"], seconds)

    def pressure(self) -> dict[tuple[str, str], float]:
        """Return for how many seconds some or all of the group has waited, by resource; the second version alone."""
        groups = self._inner("")
        folder = self._nearest(groups, "memory.pressure")
        found: dict[tuple[str, str], float] = {}
        for resource in _RESOURCES:
            found |= stalled_seconds(resource, self._read(folder, f"{resource}.pressure"))
        return found

    def _inner(self, controller: str) -> Hierarchy:
        """Return the groups under *controller* without the root, which is the machine; NoValueError if none is left."""
        groups = self.hierarchy(controller)
        if not groups.folders:
            raise NoValueError("this process is in the root of the control groups, which is the machine")
        return groups

    def _memory_limits(self, groups: Hierarchy) -> Iterator[tuple[str, int]]:
        for folder in groups.folders:
            with suppress(OSError, ValueError):  # no such controller here, or "max"
                limit = int(self._read(folder, _LIMIT[groups.version]))
                if limit < _UNLIMITED:
                    yield folder, limit

    def _quotas(self, groups: Hierarchy) -> Iterator[tuple[str, float]]:
        """Return the CPUs that each group with a quota may use."""
        for folder in groups.folders:
            with suppress(OSError, ValueError):
                if groups.version == 2:  # noqa: PLR2004 - the version
                    quota, period = self._read(folder, "cpu.max").split()
                else:
                    quota, period = (self._read(folder, f"cpu.cfs_{what}_us") for what in ("quota", "period"))
                if (cpus := int(quota) / int(period)) > 0:
                    yield folder, cpus

    def _nearest(self, groups: Hierarchy, name: str, first: str | None = None) -> str:
        """Return the innermost group with such a file, from *first* on outwards."""
        start = groups.folders.index(first) if first else 0
        for folder in groups.folders[start:]:
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


def _hierarchies(membership: str, mounts: str, root: Path) -> Iterator[tuple[str, Hierarchy]]:
    """Yield the groups by controller; those of the second version under ""."""
    mounted = dict(_mounts(mounts))
    for line in membership.splitlines():
        number, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        for controller in controllers.split(","):
            place = mounted.get(controller)
            if place is not None and (number == "0") == (controller == ""):
                top, point = place
                version = 1 if controller else 2
                yield controller, Hierarchy(version, tuple(_folders(group, top, root / point.lstrip("/"), version)))


def _mounts(mounts: str) -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield by controller which group is mounted where."""
    for line in reversed(mounts.splitlines()):
        before, _, behind = line.partition(" - ")
        fields, kind = before.split(), behind.split()
        if len(fields) < 5 or len(kind) < 3:  # noqa: PLR2004 - fields of the file
            continue
        place = (_unescaped(fields[3]), _unescaped(fields[4]))
        if kind[0] == "cgroup2":
            yield "", place
        elif kind[0] == "cgroup":
            for option in kind[2].split(","):
                yield option, place


def _unescaped(text: str) -> str:
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, character)
    return text


def _folders(group: str, top: str, point: Path, version: int) -> Iterator[str]:
    """Yield the folders of *group* and those around it, but the root; *top* is the group that is mounted at *point*."""
    path, above = PurePosixPath(group), PurePosixPath(top)
    if path.is_relative_to(above):
        inner = path.relative_to(above)
    elif ".." in path.parts or top != "/":
        # Named from outside of what is mounted here: of the groups that can be seen the outermost is its own.
        inner = PurePosixPath()
    else:
        inner = path.relative_to("/")
    for part in (inner, *inner.parents):
        folder = point / part
        # The path of another namespace is not found here; the groups around may be.
        if ".." not in part.parts and folder.is_dir() and not _is_root(folder, version):
            yield str(folder)


def _is_root(folder: Path, version: int) -> bool:
    """Whether this is the root of the machine: files that it alone has, or alone has not."""
    return (folder / "release_agent").exists() if version == 1 else not (folder / "cgroup.events").exists()


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
