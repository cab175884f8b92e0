"""What a monitor has to do with the other processes of its service."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from holter import documents, gathering, learnt, names, recording, words
from holter.chronicle import CHRONICLE
from holter.energy import Energy
from holter.errors import RecordingError
from holter.fold import Fold
from holter.group import Group
from holter.layout import Section
from holter.members import GroupName, Member, Members
from holter.model import Alert, AlertState, Snapshot
from holter.names import PROCESS_PID
from holter.recorded import newest_half
from holter.scope import Scope
from holter.sections import Sections
from holter.settings import Settings

_LOGGER: Final = logging.getLogger("holter")


class Membership:
    """
    The part that a monitor takes in the group of its service; one without a group leads itself.

    Made anew for each run. Without a recording there is no group: others could not read what this process does.
    """

    def __init__(self) -> None:
        self.group: Group | None = None
        self._has_skipped = self._has_left = False
        self._energy: Energy | None = None
        self._read_ns = -1
        """When it was read last what is shared among."""
        self._told: dict[str, AlertState] = {}
        self._orders: tuple[Alert, ...] = ()
        self._led_by: tuple[Path, int] | None = None
        """The recording, and which writing of it, that the alerts are from."""
        self._looking = threading.Lock()
        self._viewed: Members | None = None

    def join(self, monitor: object, settings: Settings, scope: Scope) -> None:
        """Be one of the group that *settings* name, if they name one, and lead it if nobody does."""
        self._energy = Energy(scope)
        if settings.group is None or not settings.recording:
            return
        name = GroupName(settings.name, settings.group)
        self.group = CHRONICLE.group(monitor, scope, name, settings.interval_seconds)
        if self.group is not None:
            self.group.tidy()
            learnt.tidy(self.group.learnt_path.parent)
            gathering.tidy(self.group.learnt_path.parent)
            self.group.lead()
            self._viewed = Members(self.group.learnt_path.parent, name)

    @staticmethod
    def of(settings: Settings, scope: Scope) -> recording.Membership | None:
        """Return what the recording says of it."""
        return None if settings.group is None else recording.Membership(scope.number, settings.name, settings.group)

    @property
    def leads(self) -> bool:
        """Whether this process speaks for its group."""
        return self.group is None or self.group.leadership.is_held

    @property
    def learnt_path(self) -> Path | None:
        """Where the checks of the group find what they have learnt, None without a group."""
        return None if self.group is None else self.group.learnt_path

    def set_figures(self, fold: Fold) -> None:
        """Tell how large the group is, as whoever leads it knows."""
        if self.group is not None and self.group.leadership.is_held:
            scope = fold.scope
            fold.set(scope.series(names.GROUP_MEMBERS, "{process}", "gauge"), self.group.size)
            if self.group.read_seconds is not None:
                fold.set(scope.series(names.GROUP_READ_INTERVAL, "s", "gauge"), self.group.read_seconds)
            self._has_skipped = self._has_skipped or bool(self.group.skipped)
            if self._has_skipped:
                fold.set(scope.series(names.GROUP_SKIPPED, "{process}", "gauge"), len(self.group.skipped))

    def turn(self, own: Snapshot, *, now: bool) -> Snapshot | None:
        """
        Return what the whole group did, as of *own*; None if another process leads. Logs who is left out, once.

        Where it is to be *now*, nobody is left for later.
        """
        if self._has_left:
            # Who looks at a monitor that was stopped does not lead by that, and nobody is told of what it sees.
            return None
        whole = own if self.group is None else self._joined(self.group, own, now=now)
        # Who leads reads the GPUs, which all processes use, and shares once it knows what the others did.
        read_ns = own.monotonic_ns if self.group is None else self.group.read_ns
        if whole is not None and self._energy is not None and read_ns != self._read_ns:
            self._read_ns = read_ns
            self._energy.take(whole)
        return whole

    @staticmethod
    def _joined(group: Group, own: Snapshot, *, now: bool) -> Snapshot | None:
        before = group.skipped
        whole = group.turn(own, now=now)
        for name, why in group.skipped.items() if whole is not None else ():
            if name not in before:
                what = f"{name} is left out of the figures of all processes: {why}"
                _LOGGER.warning("holter: %s", words.clean(what, 500))
        return whole

    def view(self, own: Snapshot) -> Snapshot:
        """Return what the whole group did, whoever leads it."""
        return own if self.group is None else self.group.view(own)

    def alerts(self, own: Iterable[Alert]) -> tuple[Alert, ...]:
        """
        Return the alerts of the group, the oldest first, where those that this process has are its *own*.

        Those of whoever leads, and what each living process has of itself.
        """
        if self.group is None:
            return tuple(own)
        if self.leads:
            known = {alert.id: alert for alert in (*self._of_others(self.group.living), *own)}
        else:
            known = {alert.id: alert for alert in own if PROCESS_PID in alert.evidence}
            leader = self.group.leadership.leader()
            with self._looking:
                members = self._viewed.look(but=self.group.mine) if self._viewed is not None else ()
                said = [alert for one in members if one.path == leader for alert in one.alerts]
                known |= {alert.id: alert for alert in (*self._of_others(members), *said)}
        return tuple(sorted(known.values(), key=lambda alert: alert.since_ns))

    def acted_upon(self, own: Iterable[Alert]) -> tuple[Alert, ...]:
        """
        Return the alerts that this process has to act upon: its *own*, and, where another one leads, the last of that.

        Costs some 0.1 ms where another one leads, however many others there are; more only when it has something new.
        """
        if self.group is None or self.leads:
            return tuple(own)
        path = self.group.leadership.leader()
        with suppress(OSError, RecordingError):
            if path is not None:
                with Sections(path) as sections:
                    half = newest_half(sections, Section.NOTICES, sections.longest_text)
                if half is None:
                    self._led_by, self._orders = None, ()
                elif self._led_by != (path, half[0]):
                    self._led_by, self._orders = (path, half[0]), documents.decode_notices(half[1])[0]
        return (*self._orders, *own)

    def news(self, new: Sequence[Alert], own: Iterable[Alert]) -> list[Alert]:
        """
        Return the *new* alerts and, where this process leads, what it has not told of yet of single processes.

        Of itself, from its *own* alerts, and of the others. Whoever comes to lead tells again of what fires.
        """
        told, self._told = self._told, {}
        if self.group is None or not self.leads:
            return list(new)
        told |= {alert.id: alert.state for alert in new}
        mine = (alert for alert in own if PROCESS_PID in alert.evidence)
        latest = {alert.id: alert for alert in (*self._of_others(self.group.living), *mine)}
        self._told = {alert.id: alert.state for alert in latest.values()}
        return [*new, *(alert for alert in latest.values() if told.get(alert.id, "resolved") != alert.state)]

    @staticmethod
    def _of_others(members: Iterable[Member]) -> Iterator[Alert]:
        """Yield the alerts that *members*, as far as they live, have of themselves."""
        for member in members:
            if member.is_alive and member.process is not None:
                pid = member.process.pid
                yield from (alert for alert in member.alerts if alert.evidence.get(PROCESS_PID) == pid)

    def hand_over(self, turn: Callable[[], object]) -> None:
        """Let another process lead, after a last *turn* if there is something to tell; this one never does again."""
        if self.group is None:
            return
        self.group.hand_over(turn)
        self._has_left = True
        if self.group.leadership.is_held:
            # Another thread has looked in between, and came to lead by that.
            self.group.hand_over(turn)

    def forget(self) -> None:
        """In a forked child: touch nothing of the parent's."""
        if self.group is not None:
            self.group.forget()
