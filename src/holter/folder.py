"""
The folder where recordings lie, in memory and safe from other users.

``$HOLTER_DIR`` if it is set, else ``$XDG_RUNTIME_DIR/holter``, else a folder of the user's own on
/dev/shm. It must be a folder of this user's into which nobody else can write: else somebody could
put a file of theirs where this process is about to make one. Only ``$HOLTER_DIR`` may lie on a
disk, where pages that are written slow down whoever writes them.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from holter.errors import RecordingUnavailable

_SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - what is made in it is checked below
_IN_MEMORY: Final = frozenset({"tmpfs", "ramfs", "devtmpfs"})
_MOUNTS: Final = Path("/proc/self/mountinfo")


def candidates(environment: os._Environ[str] | dict[str, str] = os.environ) -> list[Path]:
    """Return the folders to be tried, in order."""
    named = environment.get("HOLTER_DIR")
    if named:
        return [Path(named).absolute()]
    runtime = environment.get("XDG_RUNTIME_DIR")
    return [*([Path(runtime, "holter")] if runtime else []), _SHARED_MEMORY / f"holter-{_user()}"]


def _user() -> int:
    return os.geteuid() if hasattr(os, "geteuid") else 0


def usable_folder(environment: os._Environ[str] | dict[str, str] = os.environ) -> Path:
    """
    Return the folder for new recordings that *environment* names, made if it is not there.

    Raises:
        RecordingUnavailable: there is none, and why.
    """
    reasons = []
    is_named = bool(environment.get("HOLTER_DIR"))
    for folder in candidates(environment):
        try:
            _make(folder, with_parents=is_named)
            checked_folder(folder)
        except RecordingUnavailable as error:
            reasons.append(str(error))
            continue
        if is_named or _is_in_memory(folder):
            return folder
        reasons.append(f"{folder} is not in memory")
    raise RecordingUnavailable("; ".join(reasons))


def checked_folder(folder: Path) -> None:
    """
    Ascertain that nobody but this user can put a file into *folder*.

    Raises:
        RecordingUnavailable: it is a link, somebody else's, or open to others; or it is not there.
    """
    try:
        found = os.lstat(folder)
    except OSError as error:
        raise RecordingUnavailable(f"{folder} cannot be used: {error.strerror}") from None
    if stat.S_ISLNK(found.st_mode):
        raise RecordingUnavailable(f"{folder} is a link, which may lead anywhere: name the folder itself")
    if not stat.S_ISDIR(found.st_mode):
        raise RecordingUnavailable(f"{folder} is no folder")
    if found.st_uid != _user():
        raise RecordingUnavailable(f"{folder} belongs to user {found.st_uid}, not to user {_user()}")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise RecordingUnavailable(f"{folder} can be written by others: chmod go-w it, or make a folder in it")


def _make(folder: Path, *, with_parents: bool) -> None:
    try:
        if with_parents:
            folder.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            folder.mkdir(0o700)
    except OSError as error:
        raise RecordingUnavailable(f"{folder} cannot be used: {error.strerror}") from None


def _is_in_memory(folder: Path) -> bool:
    """Whether *folder* lies on a file system that has no disk below it, as the kernel's list of mounts tells."""
    device = folder.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    return any(kind in _IN_MEMORY for number, kind in _mounts() if number == wanted)


def _mounts() -> Iterator[tuple[str, str]]:
    """Yield device number and kind of each mounted file system."""
    with suppress(OSError, UnicodeDecodeError):
        for line in _MOUNTS.read_text().splitlines():
            front, _, back = line.partition(" - ")
            if back and len(front.split()) > 2:  # noqa: PLR2004 - the third field is the number
                yield front.split()[2], back.split()[0]
