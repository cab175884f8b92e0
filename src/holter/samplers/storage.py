"""How large checkpoints and model files have become, and how much room there is for more."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Final

from holter import names
from holter.arguments import positive_seconds
from holter.clock import SYSTEM, Clock
from holter.errors import ConfigurationError
from holter.model import Record
from holter.ownthreads import as_own
from holter.polling import reason
from holter.storedfiles import Room, Stored, count_files, room

_PATIENCE_SECONDS: Final = 0.05
_USAGE: Final = "system.filesystem.usage"
_UTILIZATION: Final = "system.filesystem.utilization"
_MOST_PATHS: Final = 20


class Storage:
    """
    The bytes under *paths*, such as a folder of checkpoints, and the room that their file systems have.

    ``holter.storage.size``, ``holter.storage.files`` and ``holter.storage.newest_age``, the seconds since a file
    there was last written, have the path as ``holter.storage.path``; it may come to be later. Links are not
    followed, and a file with several names counts once. ``system.filesystem.usage`` and ``.utilization`` are told
    once a file system. Of several processes of a service, the one that leads them counts.

    A walk looks at *most_entries* files and folders under each path at most, some 5 µs each. It is done in a thread
    of its own, which is waited for for 50 ms: a longer one is told of at the next sample, and a disk that hangs
    holds nothing up. What could not be counted is named in `unavailable`; where there is more than a walk may
    look at, the size is that of the part.

    >>> import holter
    >>> monitor = holter.Monitor("tune", samplers=[holter.Storage("."), holter.ProcessSampler()])

    Raises:
        ConfigurationError: there are no paths, or more than 20, or one is no path; or a number is not positive.
    """

    whole_host = True

    def __init__(
        self,
        paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
        *,
        interval_seconds: float = 60.0,
        most_entries: int = 10_000,
        _clock: Clock = SYSTEM,
        _patience_seconds: float = _PATIENCE_SECONDS,
    ) -> None:
        self.interval_seconds = positive_seconds("interval_seconds", interval_seconds)
        most: object = most_entries
        if isinstance(most, bool) or not isinstance(most, int) or most < 1:
            raise ConfigurationError(f"most_entries must be a whole number from 1 on, got {most!r}")
        self.paths: tuple[str, ...] = tuple(_paths(paths))
        if not 1 <= len(self.paths) <= _MOST_PATHS:
            raise ConfigurationError(f"Storage takes 1 to {_MOST_PATHS} paths, got {len(self.paths)}")
        self.most_entries = most_entries
        self._clock, self._patience_seconds = _clock, _patience_seconds
        self._walk: _Walk | None = None
        self._unavailable: dict[str, str] = {}

    def __repr__(self) -> str:
        told = f"{list(self.paths)!r}, interval_seconds={self.interval_seconds!r}, most_entries={self.most_entries!r}"
        return f"Storage({told})"

    @property
    def unavailable(self) -> Mapping[str, str]:
        """What could not be counted the last time: the metric's name to "unavailable, because ..."."""
        return MappingProxyType(dict(self._unavailable))

    def sample(self, record: Record) -> None:
        """Hand the newest figures to *record*; waits 50 ms at most."""
        walk = self._walk
        # A forked child has no thread of its parent's.
        if walk is None or walk.pid != os.getpid():
            walk = self._walk = _Walk(self.paths, self.most_entries, self._clock)
        if not walk.done.wait(self._patience_seconds):
            seconds = (self._clock.monotonic_ns() - walk.begun_ns) / 1e9
            if seconds > self.interval_seconds:
                self._unavailable[names.STORAGE_SIZE] = f"unavailable, because the disk takes more than {seconds:.0f} s"
            return
        self._walk = None
        self._unavailable = walk.unavailable
        self._tell(walk, record)

    def _tell(self, walk: _Walk, record: Record) -> None:
        now = self._clock.wall_ns() / 1e9
        for stored in walk.stored:
            where = {names.STORAGE_PATH_NAME: stored.path}
            record(names.STORAGE_SIZE, stored.size, unit="By", attributes=where)
            record(names.STORAGE_FILES, stored.files, unit="{file}", attributes=where)
            if stored.newest is not None:
                # A file may be from the future, by another machine's clock.
                record(names.STORAGE_NEWEST_AGE, max(0.0, now - stored.newest), unit="s", attributes=where)
        for one in walk.rooms.values():
            place = {"system.filesystem.mountpoint": one.mountpoint}
            for state in ("used", "free", "reserved"):
                record(_USAGE, getattr(one, state), unit="By", attributes={"system.filesystem.state": state, **place})
            if one.used + one.free:
                share = one.used / (one.used + one.free)
                record(_UTILIZATION, share, attributes={"system.filesystem.state": "used", **place})


class _Walk:
    """One walk over all paths, in a thread."""

    def __init__(self, paths: tuple[str, ...], most_entries: int, clock: Clock) -> None:
        self.pid, self.begun_ns = os.getpid(), clock.monotonic_ns()
        self.done = threading.Event()
        self.stored: list[Stored] = []
        self.rooms: dict[str, Room] = {}
        self.unavailable: dict[str, str] = {}
        self._paths, self._most_entries = paths, most_entries
        threading.Thread(target=as_own(self._run), name="holter-Storage-walk", daemon=True).start()

    def _run(self) -> None:
        try:
            for path in self._paths:
                self._look(path)
        finally:
            self.done.set()

    def _look(self, path: str) -> None:
        try:
            stored = count_files(path, self._most_entries)
        except OSError as error:
            self.unavailable[names.STORAGE_SIZE] = reason(error)
        else:
            self.stored.append(stored)
            if stored.missing:
                self.unavailable[names.STORAGE_SIZE] = f"unavailable in part, because {stored.missing}"
        try:
            one = room(path)
        except OSError as error:
            self.unavailable[_USAGE] = reason(error)
        else:
            self.rooms[one.mountpoint] = one


def _paths(paths: object) -> Iterator[str]:
    several = [paths] if isinstance(paths, str | bytes | os.PathLike) else paths
    if not isinstance(several, Iterable):
        raise ConfigurationError(f"paths must be a path or several, got {paths!r}")
    for path in several:
        told: object = os.fspath(path) if isinstance(path, str | os.PathLike) else None
        if not isinstance(told, str) or "\0" in told:
            raise ConfigurationError(f"paths must be a path or several, got {path!r}")
        yield os.path.abspath(told)  # noqa: PTH100 - as one that is not there yet
