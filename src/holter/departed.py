"""
The totals of those processes of a group that have ended, in a file KEY.TERM.totals of its leader.

Replaced as a whole, by a rename, so that each process is part of it once or not at all, whenever its
writer is killed. The first line is JSON and says how long the parts behind it are: the series, a line
each, and two times their readings, as a recording has them: of the departed, and what was told of all.
"""

from __future__ import annotations

import json
import os
import re
import zlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Final

import numpy as np

from holter.descriptors import opened
from holter.documents import decode_series, encode_series
from holter.folded import Folded, encode
from holter.listing import Listing
from holter.metric import LEVELS, Series
from holter.model import Reading, Snapshot
from holter.record import CELL
from holter.series import Entry, family_key

_FORMAT: Final = 1
_FLAGS: Final = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_READ: Final = os.O_RDONLY | _FLAGS
_WRITE: Final = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _FLAGS
_MOST_BYTES: Final = 16 * 2**20
_MOST_SERIES: Final = 20_000
_LONGEST_LINE: Final = 2**20
_ATTEMPTS: Final = 3
# So long a process that is counted is known by its name after its recording has gone: others may be reading it still.
_REMEMBERED_NS: Final = 60_000_000_000


@dataclass(slots=True)
class Departed:
    """
    What the processes of a group have done that have ended.

    ``launcher`` is who has started the process that has written this, and may start another one in a moment.
    ``began_ns`` is when the first of those that still go on began, on the monotonic clock; who ended before
    that is no part of it. ``counted`` names the recordings that are part of it, and tells when each was seen
    last. ``told`` are the sums over all, those that go on as well, that the leader had told of when it gave up the
    lead, at ``told_ns``; who leads next goes on from there.
    """

    began_ns: int = 0
    boot_id: str = ""
    launcher: str = ""
    written_ns: int = 0
    lost: int = 0
    counted: dict[str, int] = field(default_factory=dict)
    series: dict[int, Series] = field(default_factory=dict)
    readings: dict[int, Reading] = field(default_factory=dict)
    told: dict[int, Reading] = field(default_factory=dict)
    told_ns: int = 0
    version: int = 0
    """Rises whenever readings change."""
    _ids: dict[object, int] = field(default_factory=dict)

    def add(self, name: str, entries: Mapping[int, Series], readings: Mapping[int, Reading], lost: int) -> None:
        """Count the process whose recording is *name* in; levels, which end with it, are left out."""
        for key, series in entries.items():
            if series.kind not in LEVELS and key in readings:
                own = self._own(series, entries)
                if own is not None:
                    self.readings[own] = self.readings.get(own, Reading()).merge(readings[key])
        self.lost += lost
        self.counted[name] = 0
        self.version += 1

    def tell(self, entries: Mapping[int, Series], readings: Mapping[int, Reading], at_ns: int) -> None:
        """Note what all have done that was told of."""
        sums = ((key, entries[key]) for key in readings if entries[key].kind not in LEVELS)
        owns = ((self._own(series, entries), key) for key, series in sums)
        self.told, self.told_ns = {own: readings[key] for own, key in owns if own is not None}, at_ns

    def _own(self, series: Series, entries: Mapping[int, Series]) -> int | None:
        root = None if series.parent is None else entries.get(series.parent)
        key = family_key(series, root)
        known = self._ids.get(key)
        if known is None and len(self.series) < _MOST_SERIES:
            parent = None if root is None else self._own(root, entries)
            known = self._ids[key] = len(self.series) + 1
            self.series[known] = Series(known, series.name, series.unit, series.kind, series.attributes, parent)
        return known

    def forget(self, present: Iterable[str], now_ns: int) -> None:
        """Forget the names of those whose recordings are not *present* any more, after a while."""
        for name in present:
            if name in self.counted:
                self.counted[name] = now_ns
        known = {name: seen_ns or now_ns for name, seen_ns in self.counted.items()}
        self.counted = {name: seen_ns for name, seen_ns in known.items() if now_ns - seen_ns <= _REMEMBERED_NS}

    def write(self, path: Path, now_ns: int) -> None:
        """
        Put this into the file at *path*.

        Raises:
            OSError: it cannot be written; what was there before still is.
        """
        self.written_ns = now_ns
        lines = b"".join(encode_series(key, Entry(series, 0, 1.0)) for key, series in self.series.items())
        fold, told = self._fold(self.readings), self._fold(self.told)
        known = {
            "holter_group": _FORMAT,
            "began_ns": self.began_ns,
            "boot_id": self.boot_id,
            "launcher": self.launcher,
            "written_ns": self.written_ns,
            "lost": self.lost,
            "told_ns": self.told_ns,
            "counted": self.counted,
            "series_bytes": len(lines),
            "fold_bytes": len(fold),
            "crc32": zlib.crc32(told, zlib.crc32(fold, zlib.crc32(lines))),
        }
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            with opened(draft, _WRITE) as descriptor, os.fdopen(descriptor, "wb", closefd=False) as file:
                file.write(json.dumps(known).encode() + b"\n" + lines + fold + told)
            draft.replace(path)
        finally:
            with suppress(FileNotFoundError):
                draft.unlink()

    def _fold(self, readings: Mapping[int, Reading]) -> bytes:
        snapshot = Snapshot(0, 0, self.series, readings, {}, monotonic_ns=self.written_ns)
        return b"".join(encode([snapshot], {}, np.zeros(1, CELL), _MOST_BYTES)[0])


def read_departed(path: Path) -> Departed | None:
    """Return what the file at *path* holds, None if there is none or it is not what was written."""
    try:
        with opened(path, _READ) as descriptor, os.fdopen(descriptor, "rb", closefd=False) as file:
            line = file.readline(_LONGEST_LINE)
            known = json.loads(line)
            content = file.read(2 * _MOST_BYTES)
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(known, dict) or known.get("holter_group") != _FORMAT:
        return None
    numbers = [
        known.get(name) for name in ("began_ns", "written_ns", "lost", "told_ns", "series_bytes", "fold_bytes", "crc32")
    ]
    counted = known.get("counted")
    if not all(type(number) is int and number >= 0 for number in numbers) or not isinstance(counted, dict):
        return None
    began_ns, written_ns, lost, told_ns, series_bytes, fold_bytes, crc = (int(number or 0) for number in numbers)
    if len(content) < series_bytes + fold_bytes or zlib.crc32(content) != crc:
        return None
    fold = Folded.decode(content[series_bytes : series_bytes + fold_bytes])
    told = Folded.decode(content[series_bytes + fold_bytes :])
    if fold is None or told is None:
        return None
    made = Departed(
        began_ns=began_ns,
        boot_id=str(known.get("boot_id", "")),
        launcher=str(known.get("launcher", "")),
        written_ns=written_ns,
        lost=lost,
        told_ns=told_ns,
        counted={str(name): seen if type(seen) is int else 0 for name, seen in counted.items()},
        version=1,
    )
    for key, entry in decode_series(BytesIO(content[:series_bytes]), _MOST_SERIES).items():
        made.series[key] = entry.series
    for key, series in made.series.items():
        root = None if series.parent is None else made.series.get(series.parent)
        made._ids[family_key(series, root)] = key  # noqa: SLF001 - it is being made here
        for folded, readings in ((fold, made.readings), (told, made.told)):
            reading = folded.reading(key)
            if reading is not None:
                readings[key] = reading
    return made


def counted_in(folder: Path) -> frozenset[str]:
    """Return the names of the recordings that are part of the totals of any group in *folder*."""
    found = map(read_departed, folder.glob("*.totals"))
    return frozenset(name for departed in found if departed is not None for name in departed.counted)


class TotalsFiles:
    """The files of the group *key* in *folder*, one a term; that of the highest one holds."""

    def __init__(self, folder: Path, key: str) -> None:
        self._folder, self._key, self._listing = folder, key, Listing(folder)
        self._pattern = re.compile(rf"{re.escape(key)}\.(\d{{1,18}})\.totals")

    def path(self, term: int) -> Path:
        """Return the path of the file of *term*."""
        return self._folder / f"{self._key}.{term}.totals"

    def terms(self) -> list[int]:
        """Return the terms that have a file, the highest first."""
        matches = map(self._pattern.fullmatch, self._listing.names())
        return sorted((int(named[1]) for named in matches if named is not None), reverse=True)

    def newest(self) -> Departed | None:
        """Return what the newest file that can be read holds, None if there is none."""
        for _ in range(_ATTEMPTS):
            terms = self.terms()
            for term in terms:
                departed = read_departed(self.path(term))
                if departed is not None:
                    return departed
                if not self.path(term).exists():
                    # The leader of the next term has written its own since they were listed.
                    break
            else:
                return None
        return None

    def mark(self) -> tuple[int, int, int]:
        """Return what differs whenever `newest` would."""
        for term in self.terms()[:1]:
            with suppress(OSError):
                found = self.path(term).stat()
                return term, found.st_ino, found.st_mtime_ns
        return 0, 0, 0

    def keep_only(self, term: int | None) -> None:
        """Remove the files of all terms before this one, which may not be the last; of all if it is None."""
        for other in self.terms():
            if term is None or other < term:
                with suppress(OSError):
                    self.path(other).unlink()
