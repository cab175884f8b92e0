"""A process looked at from outside, again and again, through its recording: nothing of it is asked or stopped."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from holter import documents
from holter.clock import SYSTEM, Clock
from holter.errors import RecordingError
from holter.history import History
from holter.layout import SUFFIX, TOLD, Section
from holter.members import GroupName
from holter.metric import Series
from holter.model import Alert, ErrorPlace, OpenCall, Reading
from holter.names import CALL_ACTIVE, CALL_OLDEST_ACTIVE_AGE
from holter.ordering import check_order
from holter.record import SLOTS
from holter.recorded import (
    Rings,
    newest_half,
    open_calls_of,
    read_cells,
    read_fold,
    read_history,
    read_process,
    read_series,
    with_state,
)
from holter.recovered import Totals
from holter.sections import Sections
from holter.series import Entry
from holter.whereabouts import Pulse, Whereabouts, pulse

_SAME_CLOCK_NS: Final = 60_000_000_000
"""By so much two monotonic clocks of one boot seem to differ where only the wall clock was set meanwhile."""

_SHARED: Final = (
    "process.",
    "system.",
    "hw.",
    "container.",
    "cpython.",
    "holter.host.",
    "holter.gpu.",
    "holter.cgroup.",
)
"""What several monitors of a process measure each for itself, and what is counted once."""


class Attached:
    """
    One process, as its recording tells of it; a part of a union.

    ``readings`` are cumulative, counts and sums exact up to the moment of the `look`, whether the process's own
    collector still runs or not; ``changed`` are the series whose readings have changed since somebody has emptied
    it. ``silent_seconds`` is how long it has written nothing, ``pulse`` what the system says of it; ``ended_ns`` is
    the time of the look, or when it was heard of last (monotonic).
    """

    def __init__(self, path: Path, clock: Clock = SYSTEM) -> None:
        self.path, self._clock = path, clock
        self.process: documents.RecordedProcess | None = None
        self.groups: Mapping[int, GroupName] = {}
        self.series: Mapping[int, Series] = {}
        self.readings: dict[int, Reading] = {}
        self.changed: set[int] = set()
        self.open_calls: tuple[OpenCall, ...] = ()
        self.alerts: tuple[Alert, ...] = ()
        self.places: tuple[ErrorPlace, ...] = ()
        self.missing: tuple[str, ...] = ()
        self.lost = self.looked_ns = self.ended_ns = 0
        self.silent_seconds = 0.0
        self.interval_seconds = 1.0
        """How long an interval of the process is, as far as its history tells."""
        self.pulse: Pulse | None = None
        self.history = History(1, series=1)
        """What was there of the past at the first look."""
        self._entries: dict[int, Entry] = {}
        self._marks: dict[int, object] = {}
        self._shadowed: set[int] = set()
        self._used = self._noticed = self._groups_used = -1
        self._offset_ns: int | None = None

    @property
    def identity(self) -> str:
        """What tells this recording from all others that there have been."""
        return "" if self.process is None else self.process.recording

    @property
    def is_alive(self) -> bool:
        """Whether the process lives, as far as can be told."""
        return self.process is not None and self.process.is_alive

    @property
    def is_silent(self) -> bool:
        """Whether a process that should write each interval has not for several."""
        is_running = self.process is not None and self.process.state == "running"
        return is_running and self.silent_seconds > max(3.0, 3 * self.interval_seconds)

    def look(self, here: Whereabouts) -> None:
        """
        Read what is new; some 2 ms and 50 µs for each series that has moved.

        A recording that has gone leaves what was read last, and the process as one that has ended.

        Raises:
            OSError: it was never there, or cannot be read.
            RecordingError: it cannot be understood.
        """
        try:
            with Sections(self._there()) as sections:
                self._read(sections, here)
        except RecordingError:
            if self.process is None:
                raise
            # Damaged meanwhile: what was read before still holds.
        except OSError:
            if self.process is None:
                raise
            # Removed by whom it belonged to, as it is when a process ends well.
            if self.is_alive or not self.process.is_sure:
                is_dead, is_sure = self.process.whereabouts.is_dead(0, here)
                self.process = replace(self.process, state="closed", is_sure=is_dead and is_sure)
            self.open_calls, self.pulse = (), None

    def _there(self) -> Path:
        """Return where the recording is: it gets another name when its death is told."""
        told = self.path.with_name(self.path.name.removesuffix(SUFFIX) + TOLD + SUFFIX)
        if self.process is not None and not self.path.exists() and told.exists():
            self.path = told
        return self.path

    def _read(self, sections: Sections, here: Whereabouts) -> None:
        self.process = process = (
            read_process(sections, self.path, here)
            if self.process is None
            else with_state(self.process, sections, here)
        )
        check_order(process, self.path)
        now_ns = self._now_there(sections, process.whereabouts.boot_id == here.boot_id)
        used = sections.used(Section.SERIES)
        self._read_groups(sections)
        if used != self._used:
            self._entries, self._used = read_series(sections), used
            self._place()
        if self._offset_ns is None or not self.looked_ns:
            self.history = read_history(sections, self._entries)
            lengths = self.history.seconds()
            self.interval_seconds = float(lengths[-1]) if len(lengths) and lengths[-1] > 0 else 1.0
        fold = read_fold(sections)
        notices = newest_half(sections, Section.NOTICES, sections.longest_text)
        if notices is not None and notices[0] != self._noticed:
            self._noticed = notices[0]
            self.alerts, self.places = documents.decode_notices(notices[1])
        cells = read_cells(sections)
        rings = Rings(sections, self._entries, fold, is_live=self.is_alive)
        self._take(Totals(self._entries, cells, fold, rings.records), is_full=len(rings.slots) >= SLOTS)
        self.lost = max(self.lost, sections.lost, fold.lost)
        beat_ns = sections.beat.monotonic_ns
        # What has died is as old as its last sign of life.
        last_ns = max([beat_ns, *rings.records["time_ns"][-1:].tolist()])
        self.ended_ns = now_ns if self.is_alive else min(last_ns, now_ns)
        self.open_calls = open_calls_of(rings.slots, self._entries, self.ended_ns)
        self.silent_seconds = max(0, now_ns - beat_ns) / 1e9
        self.pulse = pulse(process.whereabouts, here) if self.is_alive else None
        self.missing = tuple(sections.missing)
        self.looked_ns = now_ns

    def _now_there(self, sections: Sections, is_same_boot: bool) -> int:  # noqa: FBT001 - one caller, just above
        """Return the time on the clock that stamps the records of this process."""
        now_ns, beat = self._clock.monotonic_ns(), sections.beat
        if self._offset_ns is None or not is_same_boot:
            offset = beat.monotonic_ns - beat.wall_ns - (now_ns - self._clock.wall_ns())
            # Of another boot, or of a time namespace of its own.
            self._offset_ns = offset if not is_same_boot or abs(offset) > _SAME_CLOCK_NS else 0
        return now_ns + self._offset_ns

    def _read_groups(self, sections: Sections) -> None:
        used = sections.used(Section.MEMBERSHIP)
        if used != self._groups_used:
            self.groups, self._groups_used = memberships(sections), used

    def _place(self) -> None:
        """Note which series are told: what two monitors of the process both measure, by one of them only."""
        ordered = sorted(
            self._entries.items(), key=lambda item: (item[1].scope not in self.groups, item[1].scope, item[0])
        )
        taken: set[object] = set()
        self._shadowed = set()
        for key, entry in ordered:
            series = entry.series
            if series.name.startswith(_SHARED):
                mark = series.name, frozenset(series.attributes.items())
                if mark in taken:
                    self._shadowed.add(key)
                taken.add(mark)
        self.series = {key: entry.series for key, entry in self._entries.items()}

    def _take(self, totals: Totals, *, is_full: bool) -> None:
        for key in totals:
            if key in self._shadowed:
                continue
            if self.series[key].name in (CALL_ACTIVE, CALL_OLDEST_ACTIVE_AGE) and not is_full:
                # The slots tell it as of now, the collector as of its last interval.
                continue
            mark = totals.mark(key)
            if self._marks.get(key) == mark:
                continue
            self._marks[key], self.readings[key] = mark, totals[key]
            self.changed.add(key)


def memberships(sections: Sections) -> dict[int, GroupName]:
    """Return the groups that a process is a member of, by the scopes that are part of them."""
    found: dict[int, GroupName] = {}
    for content in sections.contents(Section.MEMBERSHIP):
        named = documents.decode_memberships(content[8 : int.from_bytes(content[:8], "little")])
        found |= {scope: GroupName(*pair) for scope, pair in named.items()}
    return found


def first_look(path: Path, here: Whereabouts, clock: Clock = SYSTEM) -> Attached | None:
    """Return the process of a recording, None where it is gone or cannot be read."""
    attached = Attached(path, clock)
    with suppress(OSError, RecordingError):
        attached.look(here)
        return attached
    return None
