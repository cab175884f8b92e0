"""The processes of a group, as their recordings tell of them, read again and again."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

from holter import documents
from holter.errors import NewerFormatError, RecordingError
from holter.folded import Folded
from holter.layout import MAJOR, SUFFIX, TOLD, Section
from holter.listing import Listing
from holter.metric import LEVELS, Series
from holter.model import Alert, ErrorPlace, Reading, Snapshot
from holter.recorded import newest_half, read_process, read_recording, read_series, with_state
from holter.sections import Sections
from holter.series import Entry
from holter.whereabouts import Whereabouts

_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9._-]")
_LONGEST_NAME: Final = 60
_OWNED: Final = re.compile(rf"-\d{{1,10}}-\d{{1,19}}(-\d)?({re.escape(TOLD)})?{re.escape(SUFFIX)}")
"""How the name of a recording goes on behind that of the service."""
_Key: TypeAlias = tuple[int, str]
_MOST_PLACES: Final = 32
_LOOK_AGAIN: Final = 10
"""After so many looks a recording that was none of the group's is looked at again: it may have become one."""


class _OlderFormatError(RecordingError):
    """A recording that this holter can read, and does not add to those of its own format."""


class GroupName(NamedTuple):
    """What the processes of a group have in common, beside user and folder."""

    service: str
    group: str

    @property
    def key(self) -> str:
        """
        How the files of the group begin.

        With the format of recordings in it: who leads could not speak for those that it cannot read, and whoever
        came after it would tell of less. So those of each format lead themselves.
        """
        digest = hashlib.sha256(f"{self.service}\0{self.group}\0{MAJOR}".encode("utf-8", "replace")).hexdigest()[:8]
        return f"{_NOT_IN_NAMES.sub('_', self.service)[:_LONGEST_NAME].lstrip('.') or '_'}-{digest}"


class Member:
    """
    One process of a group: what its recording says of the series that it shares.

    ``readings`` are cumulative, as of the last interval that the process has written down; ``changed`` are the
    series whose readings have changed since somebody has emptied it; ``ended_ns`` is the last heartbeat (monotonic).
    """

    def __init__(self, path: Path, name: GroupName) -> None:
        self.path, self._name = path, name
        self.process: documents.RecordedProcess | None = None
        self.entries: dict[int, Entry] = {}
        self.series: dict[int, Series] = {}
        self.readings: dict[int, Reading] = {}
        self.changed: set[int] = set()
        self.places: tuple[ErrorPlace, ...] = ()
        self.alerts: tuple[Alert, ...] = ()
        self.lost = self.ended_ns = self.changed_ns = 0
        self._scopes: set[int] = set()
        self._listed: list[bytes] = []
        self._marks: dict[int, tuple[int, float, int]] = {}
        self._used = self._sequence = self._noticed = 0

    @property
    def identity(self) -> str:
        """What tells this recording from all others that there have been."""
        return "" if self.process is None else self.process.recording

    @property
    def is_alive(self) -> bool:
        """Whether the process lives, as far as can be told."""
        return self.process is not None and self.process.is_alive

    def look(self, here: Whereabouts) -> bool:
        """
        Read what is new; return whether the process is one of the group.

        Raises:
            OSError: the recording has gone.
            RecordingError: it cannot be read, or is of another format.
        """
        with Sections(self.path) as sections:
            if sections.major != MAJOR:
                raise _OlderFormatError(f"{self.path} has format {sections.major}, this holter writes format {MAJOR}")
            if self.process is not None and sections.created_ns != self.process.created_ns:
                # Another file, in the place and under the number of one that has gone.
                self.__init__(self.path, self._name)  # type: ignore[misc]  # it is the same as a new one
            if self.process is None:
                self.process = read_process(sections, self.path, here)
            else:
                self.process = with_state(self.process, sections, here)
            self.ended_ns = sections.beat.monotonic_ns
            listed = [
                content[8 : int.from_bytes(content[:8], "little")] for content in sections.contents(Section.MEMBERSHIP)
            ]
            if listed != self._listed:
                named = (one for content in listed for one in documents.decode_memberships(content).items())
                self._listed, self._scopes = listed, {scope for scope, name in named if name == self._name}
            if self._scopes and self.process.user == _user():
                self._read(sections)
                return True
        return False

    def _read(self, sections: Sections) -> None:
        half = newest_half(sections, Section.FOLD, sections.size)
        fold = None if half is None or half[0] == self._sequence else Folded.decode(half[1])
        # The series after what was folded of them, which they cannot be missing then.
        used = sections.used(Section.SERIES)
        if used != self._used:
            missing = len(sections.missing)
            self.entries = read_series(sections)
            # What is not whole yet is read again. All else that is read here has a checksum.
            self._used = used if len(sections.missing) == missing else 0
            self.series = {key: entry.series for key, entry in self.entries.items() if entry.scope in self._scopes}
        if half is not None and fold is not None:
            self._sequence, self.lost = half[0], fold.lost
            moved = [
                (row, key, mark)
                for row, (key, mark) in enumerate(fold.marks())
                if key in self.series and self._marks.get(key) != mark
            ]
            levels = [self.series[key].kind in LEVELS for _, key, _ in moved]
            readings = fold.readings([row for row, _, _ in moved], levels)
            for (_, key, mark), reading in zip(moved, readings, strict=True):
                self._marks[key], self.readings[key] = mark, reading
                self.changed.add(key)
        notices = newest_half(sections, Section.NOTICES, sections.longest_text)
        if notices is not None and notices[0] != self._noticed:
            self._noticed = notices[0]
            self.alerts, self.places = documents.decode_notices(notices[1])

    def last_words(self) -> tuple[Mapping[int, Reading], int]:
        """
        Return all that the process has done, now that it has ended, and how many of its records were lost.

        Raises:
            OSError: the recording has gone.
            RecordingError: it cannot be read.
        """
        contents = read_recording(self.path)
        # Never less than what was told of it before.
        for key, reading in contents.totals.items():
            if key in self.series and reading.count >= self.readings.get(key, reading).count:
                self.readings[key] = reading
        return self.readings, contents.lost


def _user() -> int:
    return os.geteuid() if hasattr(os, "geteuid") else 0


class Members:
    """
    The members of the group *name* whose recordings lie in *folder*.

    ``skipped`` says of recordings of the service that have another format why, by their names. A look costs
    some 300 us a member, and 20 us for each of its series that has moved.
    """

    def __init__(self, folder: Path, name: GroupName) -> None:
        self._folder, self._name, self._listing = folder, name, Listing(folder)
        self._known: dict[_Key, Member] = {}
        self._strangers: dict[_Key, int] = {}
        self._looks = 0
        self.skipped: dict[str, str] = {}

    def look(self, counted: Container[str] = (), *, but: Path | None = None) -> list[Member]:
        """
        Read what is new, and return those that are members, all *but* the one with that recording.

        Of those that have ended and were *counted* nothing is read.
        """
        here = Whereabouts.mine()
        self._looks += 1
        found = dict(self._recordings())
        for gone in self._known.keys() - found.keys():
            del self._known[gone]
        self._strangers = {key: due for key, due in self._strangers.items() if key in found and due > self._looks}
        skipped: dict[str, str] = {}
        members = []
        for key, (path, changed_ns) in found.items():
            if key in self._strangers or path == but:
                continue
            member = self._known.get(key) or Member(path, self._name)
            member.path = path
            try:
                is_settled = not member.is_alive and member.identity in counted and member.changed_ns == changed_ns
                member.changed_ns = changed_ns
                if is_settled or member.look(here):
                    self._known[key] = member
                    members.append(member)
                    continue
            except OSError:
                # Gone since it was listed, or nobody's to read.
                continue
            except (NewerFormatError, _OlderFormatError) as error:
                service = _NOT_IN_NAMES.sub("_", self._name.service)
                if path.name.startswith(service) and _OWNED.fullmatch(path.name, len(service)):
                    skipped[path.name] = str(error)
            except RecordingError:
                # It is being made.
                continue
            self._strangers[key] = self._looks + _LOOK_AGAIN
        self.skipped = skipped | {name: why for name, why in self.skipped.items() if (self._folder / name).exists()}
        return members

    def _recordings(self) -> Iterator[tuple[_Key, tuple[Path, int]]]:
        """Yield of each recording in the folder what it is known by, its path, and when it was changed last."""
        for name in self._listing.names():
            if name.endswith(SUFFIX):
                path = self._folder / name
                with suppress(OSError):
                    found = path.lstat()
                    if stat.S_ISREG(found.st_mode):
                        # With its name, as the number of a file that has gone is given to the next one.
                        yield (found.st_ino, name.replace(TOLD, "")), (path, found.st_ctime_ns)


def places_of(own: Snapshot | None, members: Iterable[Member]) -> tuple[ErrorPlace, ...]:
    """Return where errors came from in all processes, the most frequent first."""
    counts: dict[tuple[str, str, str], int] = {}
    for places in (() if own is None else own.error_places, *(member.places for member in members)):
        for place in places:
            key = place.call, place.error_type, place.place
            counts[key] = counts.get(key, 0) + place.count
    ordered = sorted(counts.items(), key=lambda item: item[1], reverse=True)
    return tuple(ErrorPlace(*key, count) for key, count in ordered)[:_MOST_PLACES]
