"""How much lies under a path, counted within bounds, and how much room its file system has."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass


@dataclass(slots=True)
class Stored:
    """
    The files under one path: their bytes, their number, and when the newest was last written (Unix time).

    ``missing`` says in words what was not counted, "" where all was.
    """

    path: str
    size: int = 0
    files: int = 0
    newest: float | None = None
    missing: str = ""


@dataclass(frozen=True, slots=True)
class Room:
    """A file system by its mount point, in bytes; what only the superuser may have is reserved."""

    mountpoint: str
    used: int
    free: int
    reserved: int


def count_files(path: str, most_entries: int) -> Stored:
    """
    Return what lies under *path*, a file or a folder; it is followed if it is a link, links below it are not.

    A file with several names counts once. What vanishes meanwhile is left out; what cannot be read, and what
    comes after the first *most_entries* files and folders, is said to be missing.

    Raises:
        OSError: there is nothing under that path, or it cannot be read.
    """
    found, seen = Stored(path), set[tuple[int, int]]()
    top = os.stat(path)  # noqa: PTH116 - as below
    if not stat.S_ISDIR(top.st_mode):
        _add(found, top, seen)
        return found
    left, folders = most_entries, [path]
    while folders:
        folder = folders.pop()
        try:
            entries = list(_entries(folder, left + 1))
        except OSError as error:
            if folder == path:
                raise
            if not isinstance(error, FileNotFoundError):  # it has vanished
                found.missing = f"a folder in {path} cannot be read: {error.strerror}"
            continue
        if len(entries) > left:
            found.missing = f"{path} has more than {most_entries} files and folders, and the others are not counted"
        for entry in entries[:left]:
            with suppress(OSError):  # it has vanished
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                else:
                    _add(found, entry.stat(follow_symlinks=False), seen)
        left -= len(entries)
        if left < 0:
            break
    return found


def _entries(folder: str, most: int) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        for number, entry in enumerate(entries, 1):
            yield entry
            if number >= most:
                return


def _add(found: Stored, status: os.stat_result, seen: set[tuple[int, int]]) -> None:
    if not stat.S_ISREG(status.st_mode):
        return
    if status.st_nlink > 1:
        key = (status.st_dev, status.st_ino)
        if key in seen:
            return
        seen.add(key)
    found.size += status.st_size
    found.files += 1
    found.newest = status.st_mtime if found.newest is None else max(found.newest, status.st_mtime)


def room(path: str) -> Room:
    """
    Return the file system of *path*, or of the nearest folder above it that is there.

    Raises:
        OSError: it cannot be asked.
    """
    place = os.path.realpath(path)
    while not os.path.exists(place):  # noqa: PTH110 - as its folder may yet have to be made
        place = os.path.dirname(place)  # noqa: PTH120
    if hasattr(os, "statvfs"):
        told = os.statvfs(place)
        unit = told.f_frsize
        blocks = (told.f_blocks - told.f_bfree, told.f_bavail, told.f_bfree - told.f_bavail)
        used, free, reserved = (unit * number for number in blocks)
    else:
        import shutil  # noqa: PLC0415 - Windows

        usage = shutil.disk_usage(place)
        used, free, reserved = usage.used, usage.free, usage.total - usage.used - usage.free
    while not os.path.ismount(place):
        place = os.path.dirname(place)  # noqa: PTH120
    return Room(place, used, free, reserved)
