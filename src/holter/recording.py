"""The file that holds a process's rings, and what its collector has made of them: the writer."""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from numpy.typing import NDArray

from holter import documents, folded
from holter.clock import SYSTEM, Clock
from holter.directory import Directory, Rewritten
from holter.errors import RecordingUnavailable
from holter.folder import checked_folder, usable_folder
from holter.history import History
from holter.layout import (
    BEAT_WORDS,
    BLOCK_BYTES,
    BLOCKS_PER_SECTION,
    BYTE_ORDER,
    CELLS_BYTES,
    CREATED_WORD,
    DIRECTORY_WORD,
    ENTRY,
    FORMAT_WORD,
    HEADER_BYTES,
    LOST_WORD,
    MAGIC,
    MAJOR,
    MINOR,
    NAME_BYTES,
    ORDER_WORD,
    STATE_WORD,
    FileState,
    Section,
    beat_check,
    longest_text,
    lost_word,
)
from holter.memorylimit import cgroup_limit_bytes, host_memory_bytes
from holter.model import Alert, ErrorPlace, Process, Snapshot
from holter.past import Allowance, Past
from holter.record import LARGE_CAPACITY, SMALL_CAPACITY, ring_bytes
from holter.ring import IMPLEMENTATION
from holter.segments import Segments, Space
from holter.series import Entry
from holter.whereabouts import Whereabouts

_KIB: Final = 2**10
_MIB: Final = 2**20
# How many of each are ready for threads to take, and how many at most when they take more.
_RINGS_READY: Final = {SMALL_CAPACITY: (3, 64), LARGE_CAPACITY: (1, 4)}
_BLOCKS_READY: Final = (32, 512)
_MOST_FOLDED: Final = 4 * _MIB
_MOST_PAST: Final = 4 * _MIB
_MOST_NOTICES: Final = 48 * _KIB
_SERIES_BYTES: Final = 64 * _KIB
_MEMBERSHIP_BYTES: Final = 4 * _KIB
_BYTES_AN_ENTRY: Final = 32 * _KIB
_SAVE_SHARE: Final = 0.005


class Membership(NamedTuple):
    """Which scope is part of which group, of the processes of which service."""

    scope: int
    service: str
    group: str


class Recording:
    """
    The file that holds a process's rings, and what its collector has made of them.

    Threads take rings and cells from what was made ready for them, without a lock or a call of the
    system; everything else is the collector's. Nothing here is ever unmapped: threads write until
    the process ends. Made by `create`; about 1 ms and 1 MiB, growing to 32 MiB at most.
    """

    def __init__(self, segments: Segments, process: Process, clock: Clock, membership: Membership | None) -> None:
        self.path = segments.path
        self._segments, self._clock = segments, clock
        self._memberships: tuple[memoryview, memoryview] | None = None
        self._is_open = True
        self._words = self._begin(process, membership)
        self._beats = self._lost = 0
        self._scopes: dict[int, int] = {}
        self._learning = threading.Lock()
        self._unlearnt: deque[tuple[Mapping[int, Entry], bool]] = deque()
        self._series: tuple[memoryview, memoryview]
        if not self._new_series_section():
            raise RecordingUnavailable("a segment is too small for the names of series")
        self._ring_number = 0
        self._rings: dict[int, deque[tuple[int, memoryview]]] = {capacity: deque() for capacity in _RINGS_READY}
        self._blocks: deque[tuple[memoryview, int, memoryview]] = deque()
        self._left_ready = dict.fromkeys(_RINGS_READY, 0)
        self._blocks_left_ready = 0
        share = segments.limit // 8
        self._fold = Rewritten(self._directory, Section.FOLD, min(_MOST_FOLDED, share))
        self._save_due_ns = 0
        self._allowance = Allowance(min(_MOST_PAST, share))
        self._pasts: dict[int, tuple[Past, History]] = {}
        self._notices = Rewritten(
            self._directory, Section.NOTICES, min(_MOST_NOTICES, share, longest_text(segments.size))
        )
        self._alerts: deque[bytes] = deque(maxlen=documents.MOST_ALERTS)
        self._places: dict[int, Sequence[ErrorPlace]] = {}
        self.beat(clock.monotonic_ns(), clock.wall_ns())
        self.stock()

    @classmethod
    def create(
        cls,
        process: Process,
        *,
        clock: Clock = SYSTEM,
        folder: Path | None = None,
        space: Space | None = None,
        membership: Membership | None = None,
    ) -> Recording:
        """
        Return a recording of *process*, which is the calling one, in a new file of *folder*.

        It tells of its *membership* from the beginning on, so that nobody takes it for a stranger's.

        Raises:
            RecordingUnavailable: no such file can be had, and why.
        """
        if sys.platform != "linux":
            raise RecordingUnavailable(f"recordings need Linux, this is {sys.platform}")
        if folder is None:
            folder = usable_folder()
        else:
            checked_folder(folder)
        here = Whereabouts.mine()
        name = f"{process.service}-{here.pid}-{here.start_ticks}"
        segments = Segments(folder, name, Space() if space is None else space)
        try:
            return cls(segments, process, clock, membership)
        except RecordingUnavailable:
            segments.unlink()
            raise

    def _begin(self, process: Process, membership: Membership | None) -> memoryview:
        segments = self._segments
        entries = max(32, segments.limit // _BYTES_AN_ENTRY)
        first = segments.cut(HEADER_BYTES + entries * ENTRY.itemsize)
        if first is None:
            raise RecordingUnavailable("a segment is too small for header and directory")
        header, listed = first.memory[:HEADER_BYTES], first.memory[HEADER_BYTES:]
        words = header.cast("Q")
        words[ORDER_WORD], words[FORMAT_WORD], words[DIRECTORY_WORD] = BYTE_ORDER, MINOR << 32 | MAJOR, entries
        words[STATE_WORD] = FileState.RUNNING
        words[CREATED_WORD] = created_ns = self._clock.monotonic_ns()
        name = process.service.encode(errors="replace")[:NAME_BYTES]
        header[HEADER_BYTES - NAME_BYTES :][: len(name)] = name
        self._directory = Directory(listed, segments)
        identity = documents.encode_identity(
            process,
            Whereabouts.mine(),
            longest_text(segments.size),
            user=os.geteuid(),
            created_ns=created_ns,
            writer=IMPLEMENTATION,
            memory_limit_bytes=cgroup_limit_bytes(),
            host_memory_bytes=host_memory_bytes(),
        )
        memory = self._directory.add(Section.IDENTITY, 0, len(identity))
        if memory is None:
            raise RecordingUnavailable("a segment is too small for what there is to tell of the process")
        memory[:] = identity
        if membership is not None:
            self.enlist(membership)
        # Last: until now the file was none of ours to any reader.
        header[: len(MAGIC)] = MAGIC
        return words

    # -- for threads that record

    def take_ring(self, capacity: int) -> tuple[int, memoryview] | None:
        """Return a ring's number and its zeroed memory, None where none is ready; any thread, any signal handler."""
        try:
            return self._rings[capacity].popleft()
        except (IndexError, KeyError):
            return None

    def take_cells(self, ring: int, block: int) -> memoryview | None:
        """Return zeroed memory for the cells of *block* of a ring, None where none is ready; as `take_ring`."""
        try:
            owners, place, memory = self._blocks.popleft()
        except IndexError:
            return None
        owners[place] = ring + 1 << 32 | block
        return memory

    # -- for the collector

    def ranges(self) -> list[memoryview]:
        """Return all memory that was mapped so far, a view for each mapping."""
        return list(self._segments.ranges)

    def stock(self) -> None:
        """Make rings and cells ready for threads to take: as many as lately, and half as many again, within bounds."""
        if not self._is_open:
            return
        blocks = self._blocks
        wanted = _wanted(*_BLOCKS_READY, self._blocks_left_ready - len(blocks))
        while len(blocks) < wanted and (memory := self._directory.add(Section.CELLS, 0, CELLS_BYTES)) is not None:
            owners = memory[: 8 * BLOCKS_PER_SECTION].cast("Q")
            for place in range(BLOCKS_PER_SECTION):
                at = 8 * BLOCKS_PER_SECTION + place * BLOCK_BYTES
                blocks.append((owners, place, memory[at : at + BLOCK_BYTES]))
        self._blocks_left_ready = len(blocks)
        for capacity, rings in self._rings.items():
            wanted = _wanted(*_RINGS_READY[capacity], self._left_ready[capacity] - len(rings))
            size = ring_bytes(capacity)
            while len(rings) < wanted:
                memory = self._directory.add(Section.RING, self._ring_number, size)
                if memory is None:
                    break
                rings.append((self._ring_number, memory))
                self._ring_number += 1
            self._left_ready[capacity] = len(rings)

    def learn(self, entries: Mapping[int, Entry], *, grow: bool = True) -> None:
        """
        Write down those of the series that the file does not have yet; some 10 µs each.

        The collector's, unless it is not to *grow*: then any thread may, what comes while another is at
        it is left to that one, and what does not fit to the collector.
        """
        self._unlearnt.append((entries, grow))
        # Whoever is at it looks again when it is done, so that nothing stays behind that came meanwhile.
        while self._unlearnt and self._learning.acquire(blocking=False):
            try:
                while self._unlearnt:
                    self._write_series(*self._unlearnt.popleft())
            finally:
                self._learning.release()

    def _write_series(self, entries: Mapping[int, Entry], grow: bool) -> None:  # noqa: FBT001 - as it was put there
        for key in [key for key in list(entries) if key not in self._scopes]:
            entry = entries.get(key)
            if entry is not None and self._is_open and self._append(documents.encode_series(key, entry), grow=grow):
                self._scopes[key] = entry.scope

    def _append(self, line: bytes, *, grow: bool) -> bool:
        length, memory = self._series
        used = length[0]
        if used + len(line) > len(memory):
            if not (grow and self._new_series_section()):
                return False
            length, memory = self._series
            used = length[0]
        if used + len(line) > len(memory):
            return False
        memory[used : used + len(line)] = line
        length[0] = used + len(line)
        return True

    def _new_series_section(self) -> bool:
        memory = self._directory.add(Section.SERIES, 0, min(_SERIES_BYTES, self._segments.limit // 8))
        if memory is None:
            return False
        length = memory[:8].cast("Q")
        length[0] = 8
        self._series = length, memory
        return True

    def beat(self, monotonic_ns: int, wall_ns: int, lost: int = 0) -> None:
        """
        Tell that the process lives, and that these two times were the same moment.

        *lost* is how many records were overwritten before they were read; it never falls.
        """
        if not self._is_open:
            return
        words, at = self._words, BEAT_WORDS[self._beats % 2]
        self._beats += 1
        words[at] = 0
        words[at + 1], words[at + 2] = monotonic_ns, wall_ns
        words[at + 3] = beat_check(self._beats, monotonic_ns, wall_ns)
        words[at] = self._beats
        self._lost = max(self._lost, lost)
        words[LOST_WORD] = lost_word(self._lost)

    def enlist(self, membership: Membership) -> None:
        """Tell that the series of a scope are part of what the processes of a group do together."""
        if not self._is_open:
            return
        if self._memberships is None:
            memory = self._directory.add(Section.MEMBERSHIP, 0, _MEMBERSHIP_BYTES)
            if memory is None:
                return
            length = memory[:8].cast("Q")
            length[0] = 8
            self._memberships = length, memory
        length, memory = self._memberships
        line, used = documents.encode_membership(*membership), length[0]
        if used + len(line) <= len(memory):
            memory[used : used + len(line)] = line
            length[0] = used + len(line)

    def mark(self, *, running: bool) -> None:
        """Tell whether a monitor runs in the process, which lives on either way."""
        if self._is_open:
            self._words[STATE_WORD] = FileState.RUNNING if running else FileState.STOPPED

    def save(
        self, snapshots: Sequence[Snapshot], cursors: Mapping[int, int], elsewhere: NDArray[Any], *, now: bool = False
    ) -> None:
        """
        Write down the totals of *snapshots*, the latest of each scope, and what they rest on.

        *cursors* are the sequences up to which the records of each ring in the file are part of
        them, *elsewhere* the sums, by series id, of the cells that are not in the file. Unless it is
        to be *now*, a call that would make this take more than 0.5 % of a core does nothing.
        """
        begun_ns, cpu_ns = self._clock.monotonic_ns(), self._clock.thread_cpu_ns()
        if not self._is_open or (begun_ns < self._save_due_ns and not now):
            return
        most = self._fold.most
        parts, wanted = folded.encode(snapshots, cursors, elsewhere, most)
        room = self._fold.room(min(most, wanted))
        if room < min(most, wanted):
            parts, _ = folded.encode(snapshots, cursors, elsewhere, room)
        if sum(map(len, parts)) <= room:
            self._fold.write(parts)
        self._save_due_ns = begun_ns + int((self._clock.thread_cpu_ns() - cpu_ns) / _SAVE_SHARE)

    def remember(self, snapshot: Snapshot, alerts: Iterable[Alert], history: History | None = None) -> None:
        """
        Write down the interval of *snapshot*, the last alerts and where errors came from.

        *history* is one that has the interval already, and is kept up by the caller; else this
        keeps one itself, which costs 25 µs for each series that has moved.
        """
        if not self._is_open:
            return
        scope = next((self._scopes[key] for key in snapshot.series if key in self._scopes), 0)
        if scope not in self._pasts:
            self._pasts[scope] = Past(self._directory, scope, self._allowance), history or History()
        past, own = self._pasts[scope]
        if history is None:
            own.add(snapshot)
        past.update(history or own)
        news = [documents.encode_alert(alert) for alert in alerts]
        places = snapshot.error_places[: documents.MOST_PLACES]
        if news or places != self._places.get(scope, ()):
            self._alerts.extend(news)
            self._places[scope] = places
            self._write_notices()

    def _write_notices(self) -> None:
        everywhere = [place for places in self._places.values() for place in places]
        everywhere.sort(key=lambda place: place.count, reverse=True)
        places = [documents.encode_place(place) for place in everywhere[: documents.MOST_PLACES]]
        alerts = list(self._alerts)
        content = documents.encode_notices(alerts, places)
        while alerts and len(content) > self._notices.room(len(content)):
            alerts = alerts[1 + len(alerts) // 4 :]
            content = documents.encode_notices(alerts, places)
        if len(content) <= self._notices.room(len(content)):
            self._notices.write([content])

    # -- the end

    def close(self, *, clean: bool, leave: bool = False) -> None:
        """End the recording: remove the file if all is well and nobody is to have it, else *leave* it to be read."""
        if not self._is_open:
            return
        self._words[STATE_WORD] = FileState.CLOSED if clean else FileState.FAILED
        self._end()
        if clean and not leave:
            self.unlink()

    def unlink(self) -> None:
        """Remove the file; its memory stays."""
        self._segments.unlink()

    def detach(self) -> None:
        """In a forked child: let go of the parent's file, whose memory here becomes the child's own."""
        self._end()
        self._segments.forget()

    def _end(self) -> None:
        self._is_open = False
        self._blocks.clear()
        for rings in self._rings.values():
            rings.clear()


def _wanted(least: int, most: int, taken: int) -> int:
    return min(most, max(least, taken + taken // 2))
