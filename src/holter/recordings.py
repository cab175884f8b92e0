"""The recordings of a folder: which there are, which are kept, and who died since the last look."""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from holter.departed import counted_in
from holter.documents import RecordedProcess
from holter.errors import RecordingError
from holter.folder import candidates
from holter.layout import SUFFIX, TOLD, Section
from holter.recorded import read_process
from holter.sections import Sections
from holter.whereabouts import Whereabouts

MOST_KEPT: Final = 16
MOST_KEPT_BYTES: Final = 128 * 2**20
MOST_KEPT_NS: Final = 7 * 86_400_000_000_000
MOST_UNCOUNTED_BYTES: Final = 4 * MOST_KEPT_BYTES
_DAY_NS: Final = 86_400_000_000_000
# So long a recording waits for the leader of its group to count it in, which reads the others each 30 seconds at least.
_UNCOUNTED_NS: Final = 60_000_000_000
_NAME: Final = re.compile(rf"-(?P<pid>\d{{1,10}})-(?P<start>\d{{1,19}})(-\d)?{re.escape(SUFFIX)}$")


@dataclass(frozen=True, slots=True)
class Listed:
    """
    One recording of a folder; ``ended_ns`` is the Unix time of its last sign of life.

    ``process`` is None where the file cannot be read, and ``trouble`` says why.
    """

    path: Path
    size_bytes: int
    ended_ns: int
    process: RecordedProcess | None
    trouble: str = ""
    is_grouped: bool = False

    @property
    def state(self) -> str:
        """What has become of the process, "unknown" where the file does not tell."""
        return "unknown" if self.process is None else self.process.state

    @property
    def is_told(self) -> bool:
        """Whether the death has been told."""
        return self.path.name.removesuffix(SUFFIX).endswith(TOLD)


def folders() -> list[Path]:
    """Return the folders in which recordings of this user may lie."""
    return [folder for folder in candidates() if folder.is_dir()]


def listed(folder: Path) -> list[Listed]:
    """Return the recordings in *folder*, the newest first; some 200 µs each."""
    here = Whereabouts.mine()
    return sorted(_listed(folder, here), key=lambda one: (one.ended_ns, one.path), reverse=True)


def _listed(folder: Path, here: Whereabouts) -> Iterator[Listed]:
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            path = Path(entry.path)
            if not entry.name.endswith(SUFFIX):
                continue
            # Gone while it is looked at, or nobody's to read: then it is not there.
            with suppress(OSError):
                found = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(found.st_mode):
                    yield _look(path, found, here)


def _look(path: Path, found: os.stat_result, here: Whereabouts) -> Listed:
    try:
        with Sections(path) as sections:
            process = read_process(sections, path, here)
            is_grouped = bool(sections.places(Section.MEMBERSHIP))
    except RecordingError as error:
        return Listed(path, found.st_size, found.st_mtime_ns, None, str(error))
    return Listed(path, found.st_size, process.ended_ns, process, is_grouped=is_grouped)


def sweep(folder: Path, service: str, now_ns: int | None = None) -> list[Path]:
    """
    Remove what is not to be kept, and return the recordings of *service* whose process died untold, newest first.

    Kept are the last 16 that did not end well, for seven days and up to 128 MiB; but a process
    whose death is not sure, as it is of another pid namespace, keeps its recording for a day at
    least. One of a group waits a minute, up to 512 MiB of them, for whoever leads to count it in.
    What is returned is told: no other process is given it, the files are renamed for that.
    """
    now = time.time_ns() if now_ns is None else now_ns
    kept = kept_bytes = 0
    untold = []
    counted: frozenset[str] | None = None
    for one in listed(folder):
        age_ns = now - one.ended_ns
        if one.state == "closed":
            # One of a group is left to whoever leads it, who counts it in before it goes.
            if not one.is_grouped or age_ns > _UNCOUNTED_NS:
                _remove(one.path)
            continue
        if one.state in ("running", "stopped") or (one.process is None and _may_live(one.path)):
            continue
        kept, kept_bytes = kept + 1, kept_bytes + one.size_bytes
        is_over = kept > MOST_KEPT or kept_bytes > MOST_KEPT_BYTES or age_ns > MOST_KEPT_NS
        if is_over and one.is_grouped and age_ns <= _UNCOUNTED_NS and kept_bytes <= MOST_UNCOUNTED_BYTES:
            counted = counted_in(folder) if counted is None else counted
            is_over = one.process is not None and one.process.recording in counted
        is_sure = one.process is not None and one.process.is_sure
        if is_over and (is_sure or age_ns > _DAY_NS):
            _remove(one.path)
        elif one.process is not None and one.process.service == service and not one.is_told:
            # A forked child that leaves by os._exit, as many do, cannot be told from one that was killed.
            untold += [] if one.process.inherited else _claimed(one.path)
    return untold


def _may_live(path: Path) -> bool:
    """Whether the process that a file is named after lives here: a later holter may write what this one cannot read."""
    named = _NAME.search(path.name)
    if named is None:
        return False
    here = Whereabouts.mine()
    theirs = replace(here, pid=int(named["pid"]), start_ticks=int(named["start"]))
    return theirs.is_dead(0, here) == (False, True)


def _claimed(path: Path) -> list[Path]:
    """Return the new path of a recording, nothing if another process has claimed it."""
    told = path.with_name(path.name.removesuffix(SUFFIX) + TOLD + SUFFIX)
    try:
        # A hard link is refused where the name is taken, which a rename would overwrite.
        os.link(path, told, follow_symlinks=False)
        path.unlink()
    except OSError:
        return []
    return [told]


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()
