"""A recording read back: what a process has recorded, whether it lives or not."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from io import BytesIO
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from holter import documents, names
from holter.errors import RecordingError
from holter.folded import Folded
from holter.halves import newest
from holter.history import History
from holter.layout import BLOCK_BYTES, BLOCKS_PER_SECTION, CELLS_BYTES, RECORDED, FileState, Section
from holter.metric import Series
from holter.model import Alert, ErrorPlace, OpenCall, Reading, Snapshot
from holter.ordering import check_order
from holter.past import restore
from holter.record import (
    CAPACITY_WORD,
    EPOCH_WORD,
    FIRST_RECORD_WORD,
    FIRST_SLOT_WORD,
    HEAD_WORD,
    OUTCOME_MASK,
    OUTCOME_SHIFT,
    RECORD,
    SEQUENCE_SHIFT,
    SLOT,
    SLOT_WORDS,
    SLOTS,
    STATE_MASK,
    THREAD_WORD,
    State,
    ring_bytes,
)
from holter.recovered import Cells, Totals, distinct
from holter.ring import acquire
from holter.sections import Beat, Place, Sections
from holter.series import Entry
from holter.whereabouts import Whereabouts

_BYTES_A_SERIES: Final = 1024
_FEWEST_SERIES: Final = 64
# A record or a call that began so long after the last heartbeat has a time that is none.
_PLAUSIBLE_NS: Final = 86_400_000_000_000
_ATTEMPTS: Final = 3


@dataclass(frozen=True, slots=True, eq=False)
class RecordingContents:
    """
    What a recording holds.

    ``records`` is a numpy array with the fields time_ns (monotonic, by which it is sorted), value
    (in the unit of its series), sequence, series, units, ring and outcome: the last 1,024 or 16,384
    of each thread. ``series`` and ``totals`` map a series' id to its `Series` and its `Reading` since
    recording began, counts and sums exact up to the last instant. ``open_calls`` are those that were
    running, their ages as of ``monotonic_ns``, the last sign of life. ``history`` tells the last
    intervals, ``alerts`` and ``error_places`` are the last ones. ``missing`` says in words what the
    file should have and does not; ``truncated`` is whether there is anything.

    ``lost`` is how many records nobody has read. Of a process that lives: those that were overwritten
    before its collector came, as of its last interval; it never falls. Of one that died also those that
    were read and overwritten, but whose values the process had not saved: neither ``totals`` has them
    in its histograms nor ``records`` itself.

    >>> import holter
    >>> holter.RecordingContents.__name__
    'RecordingContents'
    """

    path: Path
    process: documents.RecordedProcess
    monotonic_ns: int
    records: NDArray[np.void] = field(repr=False)
    series: Mapping[int, Series] = field(repr=False)
    totals: Mapping[int, Reading] = field(repr=False)
    open_calls: tuple[OpenCall, ...]
    history: History = field(repr=False)
    alerts: tuple[Alert, ...]
    error_places: tuple[ErrorPlace, ...]
    lost: int
    missing: tuple[str, ...]
    beat: Beat = field(repr=False)

    @property
    def truncated(self) -> bool:
        """Whether anything is missing."""
        return bool(self.missing)

    def snapshot(self) -> Snapshot:
        """Return the last snapshot that the process could have made, without an interval; 50 µs a series."""
        return Snapshot(
            time_ns=self.process.ended_ns,
            interval_ns=0,
            series=self.series,
            total=dict(self.totals),
            interval={},
            open_calls=self.open_calls,
            lost=self.lost,
            process=self.process,
            monotonic_ns=self.monotonic_ns,
            error_places=self.error_places,
        )

    def wall_ns(self, monotonic_ns: int) -> int:
        """Return the Unix time of a moment on the clock that stamps records."""
        return monotonic_ns - self.beat.monotonic_ns + self.beat.wall_ns


def read_recording(path: str | PathLike[str]) -> RecordingContents:
    """
    Return what the recording at *path* holds, of a process that is dead or alive.

    Takes 10 to 100 ms and at most four times the size of the file, whatever is in it.

    >>> import holter, pathlib
    >>> from holter.recording import Recording
    >>> recording = Recording.create(holter.Process("sentiment"), folder=pathlib.Path.cwd())
    >>> holter.read_recording(recording.path).process.state
    'running'
    >>> recording.close(clean=True)

    Raises:
        OSError: the file cannot be opened.
        RecordingError: it is no recording, or of a format that this holter cannot read; or its process runs, and this
            kind of machine does not show what that writes in the order of writing.
    """
    with Sections(Path(path)) as sections:
        process = read_process(sections, Path(path))
        is_live = process.state in ("running", "stopped")
        check_order(process, Path(path))
        entries = read_series(sections)
        history = read_history(sections, entries)
        fold = read_fold(sections)
        notices = newest_half(sections, Section.NOTICES, sections.longest_text)
        alerts, places = documents.decode_notices(notices[1]) if notices is not None else ((), ())
        cells = read_cells(sections)
        rings = Rings(sections, entries, fold, is_live=is_live)
        # What came after the fold and is not here any more, the collector of a process that lives has read long since.
        lost = max(sections.lost, fold.lost + (0 if is_live else rings.lost))
    times = rings.records["time_ns"]
    bound = sections.beat.monotonic_ns + _PLAUSIBLE_NS
    last = int(times[times.searchsorted(bound) - 1]) if len(times) and times[0] < bound else 0
    ended_ns = max(sections.beat.monotonic_ns, last)
    return RecordingContents(
        path=Path(path),
        process=replace(process, ended_ns=process.ended_ns + ended_ns - sections.beat.monotonic_ns),
        monotonic_ns=ended_ns,
        records=rings.records,
        series=MappingProxyType({key: entry.series for key, entry in entries.items()}),
        totals=Totals(entries, cells, fold, rings.records),
        open_calls=open_calls_of(rings.slots, entries, ended_ns),
        history=history,
        alerts=alerts,
        error_places=places,
        lost=lost,
        missing=tuple(sections.missing),
        beat=sections.beat,
    )


def read_process(sections: Sections, path: Path, here: Whereabouts | None = None) -> documents.RecordedProcess:
    """
    Return whose recording this is, and what has become of the process.

    Raises:
        RecordingError: it does not tell.
    """
    content = next(sections.contents(Section.IDENTITY), b"")
    process = documents.decode_identity(content) if len(content) <= sections.longest_text else None
    if process is None:
        raise RecordingError(f"{path} does not tell whose recording it is: it is damaged")
    return with_state(process, sections, here)


def with_state(
    process: documents.RecordedProcess, sections: Sections, here: Whereabouts | None = None
) -> documents.RecordedProcess:
    """Return *process*, whose recording this is, with what has become of it by now."""
    silent_ns = time.time_ns() - sections.beat.wall_ns
    is_dead, is_sure = process.whereabouts.is_dead(silent_ns, here)
    if is_dead:
        # It may have said so, and ended, since the file was opened.
        sections.look_again()
    if sections.state == FileState.CLOSED:
        state, is_sure = "closed", True
    elif sections.state == FileState.FAILED:
        state, is_sure = "dead", True
    elif is_dead:
        state = "dead"
    else:
        state = "stopped" if sections.state == FileState.STOPPED else "running"
    return replace(process, state=state, is_sure=is_sure, ended_ns=sections.beat.wall_ns)


def read_series(sections: Sections) -> dict[int, Entry]:
    """Return the series that a recording names, by id."""
    most = max(_FEWEST_SERIES, sections.size // _BYTES_A_SERIES)
    entries: dict[int, Entry] = {}
    lines = 0
    for content in sections.contents(Section.SERIES):
        used = int.from_bytes(content[:8], "little")
        if used > len(content):
            sections.missing.append("some series: their table is damaged")
        text = content[8 : min(used, len(content))]
        # What another process is just adding, this kind of machine may not show yet: zeros.
        lines += text.count(b"\n") + (b"\0" in text)
        # Line by line: a list of them would take many times as much.
        entries |= documents.decode_series(BytesIO(text), most - len(entries))
    if len(entries) < lines:
        sections.missing.append(f"{lines - len(entries)} series: their table is damaged, or too long for the file")
    return entries


def read_history(sections: Sections, entries: Mapping[int, Entry]) -> History:
    """Return the history of the scope in which most was recorded."""
    known = {key: entry.series for key, entry in entries.items()}
    best: History | None = None
    for head in sections.places(Section.PAST):
        mine = (place for place in sections.places(Section.PAST_ROWS) if place.number >> 32 == head.number)
        blocks = (sections.read(place.offset, place.length) for place in mine)
        held = restore(sections.read(head.offset, head.length), blocks, known)
        if held is None:
            sections.missing.append("a history: it is damaged")
        elif best is None or held.points["count"].sum() > best.points["count"].sum():
            best = held
    return History(1, series=1) if best is None else best


def newest_half(sections: Sections, kind: Section, longest: int) -> tuple[int, bytes] | None:
    """Return sequence and content of the newest half among all sections of *kind*, None where none is whole."""
    found: list[tuple[int, bytes]] = []
    for place in sections.places(kind):
        # A live writer may come round between the two looks at a half.
        halves = (newest(place.length, partial(sections.read_in, place)) for _ in range(_ATTEMPTS))
        half = next((half for half in halves if half is not None), None)
        if half is not None and len(half[1]) <= longest:
            found.append(half)
            found = [max(found)]
    return found[0] if found else None


def read_fold(sections: Sections) -> Folded:
    """Return what the process has folded last."""
    half = newest_half(sections, Section.FOLD, sections.size)
    if half is None:
        if sections.places(Section.FOLD):
            sections.missing.append("what was folded: it is damaged")
        return Folded()
    fold = Folded.decode(half[1])
    if fold is None:
        sections.missing.append("what was folded: it is damaged")
        return Folded()
    if fold.left_out:
        sections.missing.append(
            f"the histograms of {fold.left_out} series but for their last records: there was no room"
        )
    return fold


def read_cells(sections: Sections) -> Cells:
    """Return the cells of all rings."""
    cells = Cells()
    for content in sections.contents(Section.CELLS):
        if len(content) != CELLS_BYTES:
            sections.missing.append("some cells: their section is damaged")
            continue
        owners = np.frombuffer(content, "<u8", BLOCKS_PER_SECTION).tolist()
        for place, owner in enumerate(owners):
            if owner:
                at = 8 * BLOCKS_PER_SECTION + place * BLOCK_BYTES
                cells.add(owner & (2**32 - 1), content[at : at + BLOCK_BYTES])
    return cells


class Rings:
    """The records and slots of all rings, and how many records came after those that were folded and are not here."""

    def __init__(self, sections: Sections, entries: Mapping[int, Entry], fold: Folded, *, is_live: bool) -> None:
        self.slots: list[tuple[int, int, int, int, int]] = []
        self.lost = 0
        self._factors = {key: entry.factor for key, entry in entries.items()}
        parts = [np.zeros(0, RECORDED)]
        for place in sections.places(Section.RING):
            # While it is written to, whole is what was committed before it was read and is unchanged after.
            known = self._head(sections, place) if is_live else None
            acquire()
            words = self._words(sections, place)
            acquire()
            again = words if known is None else self._words(sections, place)
            if words is not None and again is not None and words[EPOCH_WORD]:
                self._take_slots(words)
                records = self._records(words, again, place.number & (2**32 - 1), fold.cursor(place.number))
                parts.append(records if known is None else _known(records, known, again))
            del words, again
        joined = np.concatenate(parts)
        del parts
        self.records = joined[joined["time_ns"].argsort(kind="stable")]

    @staticmethod
    def _head(sections: Sections, place: Place) -> int:
        return int.from_bytes(sections.read(place.offset + 8 * HEAD_WORD, 8), "little", signed=True)

    @staticmethod
    def _words(sections: Sections, place: Place) -> NDArray[np.uint64] | None:
        """Return the words of a ring, None where its length is none that a ring has."""
        capacity = (place.length - ring_bytes(0)) // RECORD.itemsize
        content = sections.read(place.offset, place.length)
        words = np.frombuffer(content, "<u8", len(content) // 8)
        if capacity < 1 or capacity & capacity - 1 or ring_bytes(capacity) != len(content):
            sections.missing.append(f"ring {place.number}: it is damaged")
            return None
        if words[CAPACITY_WORD] not in (0, capacity):
            sections.missing.append(f"the capacity of ring {place.number}: it is damaged")
        return words

    def _take_slots(self, words: NDArray[np.uint64]) -> None:
        slots = words[FIRST_SLOT_WORD : FIRST_SLOT_WORD + SLOTS * SLOT_WORDS].view(SLOT)
        used = slots[slots["start_ns"] > 0]
        thread = int(words[THREAD_WORD].astype(np.int64))
        self.slots += [(start, series, thread, task, asked) for start, series, task, asked in used.tolist()]

    def _records(
        self, words: NDArray[np.uint64], again: NDArray[np.uint64], ring: int, cursor: int
    ) -> NDArray[np.void]:
        """Return the records of one ring that are whole and of its last round."""
        rows = words[FIRST_RECORD_WORD:].view(RECORD)
        commits, capacity = rows["commit"], len(rows)
        sequences = (commits >> np.uint64(SEQUENCE_SHIFT)).astype(np.int64)
        whole = (commits & np.uint64(STATE_MASK)) == State.COMMITTED
        whole &= (sequences > 0) & ((sequences - 1) & (capacity - 1) == np.arange(capacity))
        if again is not words:
            whole &= commits == again[FIRST_RECORD_WORD:].view(RECORD)["commit"]
        # A sequence far beyond the head is a damaged one, and would make all others look old.
        head = int(words[HEAD_WORD].astype(np.int64))
        near = whole & (sequences <= head + capacity)
        whole = near if near.any() else whole
        latest = int(sequences[whole].max(initial=0))
        whole &= sequences > latest - capacity
        at = np.flatnonzero(whole)
        at = at[sequences[at].argsort(kind="stable")]
        self.lost += max(0, latest - cursor - int((sequences[at] > cursor).sum()))
        found = np.zeros(len(at), RECORDED)
        for name in ("time_ns", "series", "units", "value"):
            found[name] = rows[name][at]
        found["sequence"], found["ring"] = sequences[at], ring
        found["outcome"] = commits[at] >> np.uint64(OUTCOME_SHIFT) & np.uint64(OUTCOME_MASK)
        ids = distinct(found["series"])
        factors = np.array([self._factors.get(key, 1.0) for key in ids.tolist()])
        with np.errstate(all="ignore"):
            found["value"] *= factors[ids.searchsorted(found["series"])]
        return found


def _known(records: NDArray[np.void], head: int, again: NDArray[np.uint64]) -> NDArray[np.void]:
    """Return the *records* that were committed when *head* was read, before them; *again* was read after them."""
    later = records["sequence"] > head
    if int(again[HEAD_WORD].astype(np.int64)) == head:
        # Nobody wrote meanwhile, so that what lies further ahead than a ring is long tells of a damaged head.
        later &= records["sequence"] <= head + 8 * len(again) // RECORD.itemsize
    return records[~later]


def open_calls_of(
    slots: list[tuple[int, int, int, int, int]], entries: Mapping[int, Entry], ended_ns: int
) -> tuple[OpenCall, ...]:
    """Return the calls in *slots*, the longest first, with their ages at *ended_ns*."""
    return tuple(
        OpenCall(
            name=_owner(entries[series].series) if series in entries else f"series {series}",
            series=series,
            start_ns=start,
            age_seconds=max(0.0, (ended_ns - start) / 1e9),
            thread=thread,
            task=task,
            asked_ns=asked,
        )
        for start, series, thread, task, asked in sorted(slots)
        if start < ended_ns + _PLAUSIBLE_NS
    )


def _owner(series: Series) -> str:
    """Return the name of the call or of the training run that *series* is about."""
    named = series.attributes.get(names.CALL_NAME) or series.attributes.get(names.TRAINING_NAME)
    return str(named or series.name)
