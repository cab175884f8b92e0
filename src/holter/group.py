"""
The processes of one service: who leads them, and what all of them do together.

A group is a service's name, a user, a folder of recordings, and a word that sets it apart where somebody gives
one. Every process of it writes down what it has done into its own recording; whoever wants the whole reads the
recordings of all. Counters never fall: what a process did that has ended is added once to the totals of the
group, by the one that leads, from its recording, which has it to the last call.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, TypeVar

from holter import learnt
from holter.clock import SYSTEM, Clock
from holter.departed import Departed, TotalsFiles, read_departed
from holter.errors import RecordingError
from holter.launcher import is_gone, launcher
from holter.leadership import Leadership, is_led
from holter.members import GroupName, Member, Members, places_of
from holter.metric import Series
from holter.model import OpenCall, Reading, SlowCall, Snapshot
from holter.union import Part, Union, intervals
from holter.whereabouts import Whereabouts

_DEPARTED: Final = "departed"
_OWN: Final = "own"
_LAST_TRIES: Final = 10
FRESH_NS: Final = 250_000_000
"""So long what was read of all processes is given to whoever asks next."""
_GAP_NS: Final = 60_000_000_000
"""So long the totals of a group without a process wait for the next one that the same parent starts."""
_SHORTEST_PATIENCE_NS: Final = 2_000_000_000
_READING_SHARE: Final = 0.01
_LONGEST_REST_NS: Final = 30_000_000_000
Call = TypeVar("Call", OpenCall, SlowCall)


@dataclass(slots=True)
class _Fixed:
    """A part of a union that is no recording: this process's own figures, or those of the departed."""

    series: Mapping[int, Series]
    readings: Mapping[int, Reading]
    changed: Iterable[int] = ()
    is_alive: bool = True


@dataclass(slots=True)
class _Whole:
    """A union and the members that it was made of last."""

    members: Members
    union: Union = field(default_factory=Union)
    departed_seen: object = None
    departed: Departed = field(default_factory=Departed)
    joined_version: int = -1
    others: list[Member] = field(default_factory=list)
    """Those but this one that were there when they were read last."""
    read_ns: int = 0
    due_ns: int = 0


class Group:
    """
    The group *name* in *folder*, as the process sees it whose recording is *mine*.

    A leader that gives no sign of life for two intervals, and two seconds, is replaced; one that has died, at the
    next `turn` of any other. One thread at a time calls `turn`; `view` any.

    To read what the others have written down takes whoever leads some 3 ms of CPU time each. Where that would be
    more than a hundredth of a core they are read less often, each 30 seconds at least.
    """

    def __init__(
        self, folder: Path, name: GroupName, mine: Path, interval_seconds: float, clock: Clock = SYSTEM
    ) -> None:
        self.name, self._folder, self.mine, self._clock = name, folder, mine, clock
        patience_ns = max(_SHORTEST_PATIENCE_NS, int(2e9 * interval_seconds))
        self.leadership = Leadership(folder, name.key, mine, patience_ns)
        self._totals = TotalsFiles(folder, name.key)
        self._leading: _Whole | None = None
        self._viewing: _Whole | None = None
        self._viewed: Snapshot | None = None
        self._viewed_ns = 0
        self._lock = threading.Lock()
        self._is_unwritten = False
        self._told_ns = 0
        self.skipped: Mapping[str, str] = {}
        self.living: Sequence[Member] = ()
        self.size, self.read_ns = 1, 0
        """Who lives beside this process, and how many do with it, when it has read the others last; when that was."""
        self.read_seconds: float | None = None
        """The time between the last two readings of the others, None where there are none."""
        self.learnt_path = folder / f"{name.key}{learnt.SUFFIX}"
        """The file in which checks leave what they have learnt, for whoever leads next."""

    def lead(self) -> bool:
        """Lead the group if nobody else does; return whether this process leads."""
        if self.leadership.hold(time.monotonic_ns()):
            return True
        self._leading = None
        return False

    def turn(self, own: Snapshot, *, now: bool = False) -> Snapshot | None:
        """
        Return what all do together, as of *own*, the newest snapshot of this process; None if it does not lead.

        Others are told of as they have last written down, and as they were read last: each time, unless that takes
        too much of a core, and it is not to be *now*. The intervals follow each other while one process leads,
        and when one has handed over to the next. One that takes over from a leader which has died cannot know
        what that one had told of: its first interval has no more than this process's own.
        """
        if not self.lead():
            return None
        begun_ns, cpu_ns = self._clock.monotonic_ns(), self._clock.thread_cpu_ns()
        whole, is_first = self._leading, False
        told, told_ns = None, 0
        if whole is None:
            whole = self._leading = _Whole(Members(self._folder, self.name))
            is_first = self._take_over(whole)
            if told_ns := whole.departed.told_ns:
                told = whole.departed.told
                whole.departed.told, whole.departed.told_ns = {}, 0
                self._is_unwritten = True
        if is_read := now or begun_ns >= whole.due_ns:
            self._read(whole, begun_ns)
        living = whole.others
        parts: dict[str, Part] = {_OWN: _Fixed(own.series, own.total, own.interval)}
        parts |= {member.identity: member for member in living}
        joined = self._joined(whole, parts, own, is_first=is_first, told=told)
        interval_ns = own.interval_ns if told is None else max(0, own.monotonic_ns - told_ns)
        self._told_ns = own.monotonic_ns
        lost = own.lost + whole.departed.lost + sum(member.lost for member in living)
        joined = replace(joined, interval_ns=interval_ns, lost=lost, error_places=places_of(own, living))
        if is_read:
            spent_ns = self._clock.thread_cpu_ns() - cpu_ns
            whole.due_ns = begun_ns + min(_LONGEST_REST_NS, int(spent_ns / _READING_SHARE))
        return joined

    def _read(self, whole: _Whole, now_ns: int) -> None:
        """Read what the others have written down, and count in those that have ended."""
        others = self._others(whole)
        self._count_in(whole, [member for member in others if not member.is_alive])
        self.skipped = whole.members.skipped
        living = [member for member in others if member.identity not in whole.departed.counted]
        self.size, self.read_ns = 1 + sum(member.is_alive for member in living), now_ns
        self.read_seconds = (now_ns - whole.read_ns) / 1e9 if living and whole.read_ns else None
        self.living = whole.others = living
        whole.read_ns = now_ns

    def view(self, own: Snapshot) -> Snapshot:
        """
        Return what all do together, this process too, as of what each has last written down; any process may.

        So whichever of them answers, no count is lower than what another one has answered a quarter of a second
        before. There are no intervals, unless this process is alone, whose own snapshot this is then. Thread-safe;
        costs as much as what has changed since the last time.
        """
        with self._lock:
            now_ns = time.monotonic_ns()
            if self._viewed is not None and now_ns - self._viewed_ns < FRESH_NS:
                return self._viewed
            self._viewed_ns = now_ns
            whole = self._viewing = self._viewing or _Whole(Members(self._folder, self.name))
            members = whole.members.look()
            # After the recordings: one that has gone since, counted in, is part of it.
            mark = self._totals.mark()
            if mark != whole.departed_seen:
                fresh = self._totals.newest() or Departed()
                fresh.version = whole.departed.version + 1
                whole.departed, whole.departed_seen = fresh, mark
            counted = whole.departed.counted
            members = [one for one in members if one.identity not in counted and self._is_of_now(one, whole.departed)]
            if not whole.departed.readings and all(one.path == self.mine for one in members):
                self._viewed = own
                return own
            joined = self._joined(whole, {one.identity: one for one in members}, own, is_first=True)
            lost = whole.departed.lost + sum(member.lost for member in members)
            nobody = replace(own.process, instance=self.name.key, pid=0)
            self._viewed = replace(
                joined, interval={}, open_calls=(), lost=lost, error_places=places_of(None, members), process=nobody
            )
            return self._viewed

    def hand_over(self, turn: Callable[[], object]) -> None:
        """
        Let another process lead, one that lives on, after a last *turn* if there is something to tell.

        Call it when this process has written down all that it will: either the one that leads sees that after
        it has given up the lead, and leads once more, or this one does. So nothing is left that nobody tells of.
        """
        for _ in range(_LAST_TRIES):
            if not self.lead():
                return
            if self._leading is None or self._has_news(self._leading):
                turn()
            whole, self._leading = self._leading, None
            if whole is not None:
                whole.departed.tell(whole.union.series, whole.union.total, self._told_ns)
                self._is_unwritten = True
                self._write(whole)
            self.leadership.resign()
            if whole is None or not self._has_news(whole):
                return

    def _has_news(self, whole: _Whole) -> bool:
        """Whether another process has written down, or ended, since it was told of last."""
        counted = whole.departed.counted
        others = whole.members.look(counted, but=self.mine)
        return any(one.changed or not one.is_alive for one in others if one.identity not in counted)

    def leave(self) -> None:
        """
        At the end of the process, whose recording says so: let another one lead, or leave nothing behind.

        Whoever runs counts in what has ended, and is not kept from leading, as it has yet to tell of itself. Where
        nobody does, this process leads once more, and the last one removes all that the group has left but the
        recordings of those who were killed; unless one is there that may start another, for whom it leaves the totals.
        """
        for _ in range(_LAST_TRIES):
            others = () if self.leadership.is_held else Members(self._folder, self.name).look(but=self.mine)
            if any(_is("running", one) for one in others) or not self.lead():
                return
            whole = self._leading = self._leading or _Whole(Members(self._folder, self.name))
            self._take_over(whole)
            members = whole.members.look()
            living = [one for one in members if one.is_alive]
            ended = [one for one in members if not one.is_alive]
            if living or launcher():
                self._count_in(whole, ended)
            elif self.leadership.confirm(time.monotonic_ns()):
                for one in ended:
                    _remove_if_closed(one)
                self._totals.keep_only(None)
            self.leadership.resign(is_last=not (living or launcher()))
            self._leading = None
            # One that has ended meanwhile found the lead taken, and has left the rest to this one.
            if not any(_is("closed", one) for one in Members(self._folder, self.name).look()):
                return

    def tidy(self) -> None:
        """Remove what groups have left in the folder for workers that nobody will start any more."""
        for path in self._folder.glob("*.totals"):
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > _GAP_NS / 1e9:
                    departed = read_departed(path)
                    if departed is not None and is_gone(departed.launcher) and not is_led(path.with_suffix(".leader")):
                        path.unlink()
                        path.with_suffix(".leader").unlink(missing_ok=True)

    def forget(self) -> None:
        """In a forked child: touch nothing of the parent's."""
        self.leadership.abandon()

    # -- what the leader does

    def _take_over(self, whole: _Whole) -> bool:
        """Go on with the totals of the leader before, if there still is a process of its time; whether that is so."""
        found = self._totals.newest()
        here, now_ns = Whereabouts.mine(), time.monotonic_ns()
        if found is not None and found.boot_id == here.boot_id:
            until_ns = max(found.written_ns, self.leadership.led_until_ns)
            is_recycled = found.launcher == launcher() != "" and now_ns - until_ns < _GAP_NS
            if is_recycled or any(self._is_of_then(member, until_ns) for member in whole.members.look()):
                whole.departed = found
        is_new = not whole.departed.began_ns
        if is_new:
            whole.departed = Departed(began_ns=self._first_of_now(whole, now_ns), boot_id=here.boot_id)
        whole.departed.launcher = launcher()
        self._is_unwritten = True
        self._write(whole)
        return not is_new

    def _is_of_then(self, member: Member, until_ns: int) -> bool:
        """Whether a process that goes on, or ends only now, had begun by that time."""
        goes_on = member.is_alive or member.path == self.mine
        return goes_on and member.process is not None and 0 < member.process.created_ns <= until_ns

    def _first_of_now(self, whole: _Whole, now_ns: int) -> int:
        """Return when the first process of those that live began."""
        living = [one.process.created_ns for one in whole.members.look() if one.is_alive and one.process is not None]
        return min([now_ns, *(created_ns for created_ns in living if created_ns)])

    def _others(self, whole: _Whole) -> list[Member]:
        found = whole.members.look(whole.departed.counted, but=self.mine)
        now_ns = time.monotonic_ns()
        whole.departed.forget([one.identity for one in found], now_ns)
        return [one for one in found if self._is_of_now(one, whole.departed)]

    @staticmethod
    def _is_of_now(member: Member, departed: Departed) -> bool:
        """Whether a process that has ended did so in the time of those that go on."""
        if member.is_alive or member.process is None:
            return True
        return member.ended_ns >= departed.began_ns and member.process.whereabouts.boot_id == departed.boot_id

    def _count_in(self, whole: _Whole, ended: list[Member]) -> None:
        """Add what has *ended* to the totals, and then remove the recordings of those that have ended well."""
        departed = whole.departed
        for member in ended:
            if member.identity in departed.counted:
                continue
            with suppress(OSError, RecordingError):
                readings, lost = member.last_words()
                departed.add(member.identity, member.series, readings, lost)
                self._is_unwritten = True
        # Another one may have come to lead since this turn began, with totals that this one's are no part of.
        if self._write(whole) and self.leadership.confirm(time.monotonic_ns()):
            for member in ended:
                if member.identity in departed.counted:
                    _remove_if_closed(member)

    def _write(self, whole: _Whole) -> bool:
        """Write the totals down where they have changed; return whether the file has them."""
        if not self._is_unwritten:
            return True
        term = self.leadership.term
        try:
            whole.departed.write(self._totals.path(term), time.monotonic_ns())
        except OSError:
            # A full file system: what has ended stays where it is, and is counted in as soon as it can be.
            return False
        self._is_unwritten = False
        self._totals.keep_only(term)
        return True

    # -- what both do

    def _joined(
        self,
        whole: _Whole,
        parts: Mapping[str, Part],
        own: Snapshot,
        *,
        is_first: bool,
        told: Mapping[int, Reading] | None = None,
    ) -> Snapshot:
        """
        Return the snapshot of all *parts* and the departed.

        The first one tells of what nobody has *told*, if that is known, and else of no interval but its own.
        """
        union, departed = whole.union, whole.departed
        news = departed.readings if departed.version != whole.joined_version else ()
        gone = _Fixed(departed.series, departed.readings, news, is_alive=False)
        whole.joined_version = departed.version
        before = dict(union.total)
        pids = {name: part.process.pid for name, part in parts.items() if isinstance(part, Member) and part.process}
        everybody = {**parts, f"{_DEPARTED} {departed.began_ns}": gone} if departed.readings else parts
        changed = union.update(everybody, {_OWN: own.process.pid, **pids}, _OWN)
        for part in parts.values():
            if isinstance(part, Member):
                part.changed = set()
        mine = {
            place: reading
            for key, reading in own.interval.items()
            if (place := union.place(_OWN, key)) is not None and (is_first or list(union.holders(place)) == [_OWN])
        }
        if told is not None:
            places = {key: union.find(departed.series[key], departed.series) for key in told}
            before = {place: told[key] for key, place in places.items() if place is not None}
            mine = {}
        interval = mine if is_first and told is None else dict(intervals(union, changed, before, mine))
        name = _OWN if _OWN in parts else self._own_identity(parts)
        owns = {key: union.place(name, key) for key in own.series}
        return replace(
            own,
            series=union.series,
            total=dict(union.total),
            interval=interval,
            open_calls=tuple(_under(call, owns) for call in own.open_calls),
            slow_calls=tuple(_under(call, owns) for call in own.slow_calls),
        )

    def _own_identity(self, parts: Mapping[str, Part]) -> str:
        """Return the name of the part that is this process's recording, "" if there is none yet."""
        return next((name for name, part in parts.items() if isinstance(part, Member) and part.path == self.mine), "")


def _under(call: Call, owns: Mapping[int, int | None]) -> Call:
    """Return *call* with the id that its series has among those of all."""
    series = owns.get(call.series) or 0
    return call if series == call.series else replace(call, series=series)


def _is(state: str, member: Member) -> bool:
    return member.process is not None and member.process.state == state


def _remove_if_closed(member: Member) -> None:
    if _is("closed", member):
        with suppress(OSError):
            member.path.unlink()
