"""How long the control groups of this process were kept from the CPUs because their quota was used up."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from holter.grouppaths import MEMBERSHIP, USUAL_PLACE, GroupPaths

MOST_GROUPS: Final = 8
_LOOKS: Final = 25
"""Each so many looks it is found out anew which groups there are, and which of them have a quota."""


class _Figures(NamedTuple):
    throttled_ns: int
    used_ns: int | None


class Throttling:
    """
    The throttled time of the groups that have a quota, of both versions; some 4 µs a group and look.

    What the kernel counts is a sum over CPUs. How much of the time that was is estimated: those that ran are taken to
    have been throttled together.
    """

    def __init__(self, membership: Path = MEMBERSHIP, usual: Path = USUAL_PLACE) -> None:
        self._membership = membership
        self._paths = GroupPaths(membership.with_name("mountinfo"), usual=usual)
        self._files: dict[Path, int] = {}
        self._before: dict[Path, _Figures] = {}
        self._looks = 0

    @property
    def is_known(self) -> bool:
        """Whether there is a group that tells."""
        return bool(self._files)

    def read(self, passed_ns: int, used_ns: int) -> int:
        """Return for how much of the *passed_ns* since the last look the process, which used *used_ns*, was kept."""
        self._open()
        lost = 0
        for path, file in list(self._files.items()):
            figures = _figures(file)
            if figures is None:
                self._close(path)
                continue
            before = self._before.get(path, figures)
            self._before[path] = figures
            throttled = max(0, figures.throttled_ns - before.throttled_ns)
            used = used_ns
            if figures.used_ns is not None and before.used_ns is not None:
                used = max(used_ns, figures.used_ns - before.used_ns)
            cpus = max(1.0, (throttled + used) / max(1, passed_ns))
            lost = max(lost, int(min(throttled / cpus, passed_ns)))
        return lost

    def _open(self) -> None:
        # A process may be moved to another group, or a group get a quota, while it runs.
        self._looks += 1
        if self._looks % _LOOKS != 1:
            return
        found: list[Path] = []
        with suppress(OSError):
            self._paths.see(self._membership.read_bytes())
            found = list(_stat_files(self._paths))[:MOST_GROUPS]
        for path in self._files.keys() - set(found):
            self._close(path)
        for path in found:
            if path not in self._files:
                with suppress(OSError):
                    self._files[path] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def _close(self, path: Path) -> None:
        with suppress(OSError):
            os.close(self._files.pop(path))
        self._before.pop(path, None)

    def close(self) -> None:
        """Close all files."""
        for path in list(self._files):
            self._close(path)
        self._looks = 0


def _stat_files(paths: GroupPaths) -> Iterator[Path]:
    """Yield the files of the group and of those around it that have a quota, the innermost first."""
    for controller in ("cpu", ""):
        under = paths.hierarchy(controller)
        for folder in map(Path, under.folders if under is not None else ()):
            if _has_quota(folder):
                yield folder / "cpu.stat"


def _has_quota(folder: Path) -> bool:
    """Whether the group of *folder* may be kept from the CPUs, so far as it says."""
    for name, without in (("cpu.max", "max"), ("cpu.cfs_quota_us", "-1")):
        with suppress(OSError, UnicodeDecodeError):
            return (folder / name).read_text().split()[:1] != [without]
    return True


def _figures(file: int) -> _Figures | None:
    """Return what a cpu.stat says, None where it says nothing of a quota."""
    try:
        told = dict(line.split()[:2] for line in os.pread(file, 4096, 0).decode().splitlines() if line)
        if "throttled_usec" in told:
            return _Figures(int(told["throttled_usec"]) * 1_000, int(told.get("usage_usec", 0)) * 1_000)
        return _Figures(int(told["throttled_time"]), None)
    except (OSError, ValueError, LookupError):
        return None
