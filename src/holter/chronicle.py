"""Keeps the recording of this process, on behalf of the monitors that run in it."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from holter.errors import RecordingUnavailable
from holter.farewell import Farewell
from holter.fold import summed_cells
from holter.group import Group
from holter.history import History
from holter.members import GroupName
from holter.model import Alert, Process, Snapshot
from holter.recorder import RECORDER, Recorder
from holter.scope import Scope

if TYPE_CHECKING:
    from holter.recording import Membership, Recording


class Chronicle:
    """
    The recording of one process: made for the first monitor that wants one, kept until the process ends.

    Whoever ends an interval keeps it up to date; who comes meanwhile leaves it to them.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        recorder.after_fork.append(self._forked)
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._farewell: Farewell | None = None
        self._snapshots: dict[object, Snapshot] = {}
        self.recording: Recording | None = None
        self._grouped: object = None
        """The monitor that is in a group, if one is."""
        self._leave: Callable[[], None] | None = None
        self.unavailable = ""
        """Why there is no recording, where one was wanted."""

    def _forked(self) -> None:
        self._recorder.table.added = None
        self._begin()

    def join(self, monitor: object, process: Process, membership: Membership | None = None) -> list[Path]:
        """
        Record for *monitor* too; return the recordings of predecessors of *process* that died and were not told.

        With a *membership* what it records is part of a group; whoever wants to act in that asks `group`.
        """
        from holter.recording import Recording  # noqa: PLC0415 - a program that does not record need not load it
        from holter.recordings import sweep  # noqa: PLC0415

        died: list[Path] = []
        with self._lock:
            if self.recording is None:
                try:
                    recording = Recording.create(process, membership=membership)
                    died = sweep(recording.path.parent, process.service)
                except RecordingUnavailable as reason:
                    self.unavailable = str(reason)
                    return died
                self.recording = recording
                table = self._recorder.table
                recording.learn(table.entries)
                # At once, so that what a new series says can be read whenever the process dies.
                table.added = functools.partial(recording.learn, grow=False)
                self._recorder.record_into(recording)
                # Before the monitors, and so called after them.
                self._farewell = Farewell(self._close, -1)
            elif membership is not None and not self._is_taken(monitor):
                self.recording.enlist(membership)
            self._snapshots[monitor] = Snapshot(0, 0, {}, {}, {})
            self.recording.mark(running=True)
        return died

    def _is_taken(self, monitor: object) -> bool:
        """Whether another monitor is in a group with this process."""
        return self._grouped in self._snapshots and self._grouped is not monitor

    def group(self, monitor: object, scope: Scope, name: GroupName, interval_seconds: float) -> Group | None:
        """
        Return the group *name* in which *monitor* has joined with the series of *scope*.

        None where there is no recording, or another monitor of this process is in a group already.
        """
        with self._lock:
            if self.recording is None or self._is_taken(monitor):
                return None
            path = self.recording.path
            group = Group(path.parent, name, path, interval_seconds)
            self._grouped, self._leave = monitor, functools.partial(scope.guard.run, "group", None, group.leave)
            return group

    def leave(self, monitor: object) -> None:
        """Record no longer for *monitor*, whose process lives on."""
        self._snapshots.pop(monitor, None)
        if self.recording is not None and not self._snapshots:
            self.recording.mark(running=False)

    def keep(
        self,
        monitor: object,
        snapshot: Snapshot,
        alerts: Iterable[Alert],
        history: History,
        cursors: dict[int, int],
        *,
        now: bool,
    ) -> None:
        """
        Write down what *monitor* has made of the last interval.

        *cursors* are the recorder's at the end of the interval. Where another thread is at it, or this one was
        interrupted in the middle of it, nothing is done.
        """
        recording = self.recording
        if recording is None or monitor not in self._snapshots or not self._lock.acquire(blocking=False):
            return
        try:
            entries = self._recorder.table.entries
            recording.learn(entries)
            recording.beat(snapshot.monotonic_ns, snapshot.time_ns, snapshot.lost)
            self._snapshots[monitor] = snapshot
            recording.remember(snapshot, alerts, history)
            elsewhere = summed_cells(self._recorder, max(entries, default=0) + 1, filed=False)
            recording.save([one for one in self._snapshots.values() if one.time_ns], cursors, elsewhere, now=now)
        finally:
            self._lock.release()

    def where(self) -> str:
        """Return the path of the recording, or that there is none and why."""
        return f"none, {self.unavailable}" if self.recording is None else str(self.recording.path)

    def _close(self) -> None:
        if self.recording is not None:
            # What it has done stays part of what the group did: whoever leads counts it in and removes the file.
            self.recording.close(clean=True, leave=self._leave is not None)
        if self._leave is not None:
            leave, self._leave = self._leave, None
            leave()


CHRONICLE: Final = Chronicle(RECORDER)


def obituary(path: Path) -> str:
    """Return in one line how the process of a recording died."""
    from holter.postmortem import post_mortem  # noqa: PLC0415 - it is needed once, if ever
    from holter.recorded import read_recording  # noqa: PLC0415

    contents = read_recording(path)
    process, verdict = contents.process, post_mortem(contents).verdict
    return f"process {process.pid} of {process.service} died: {verdict.headline} More: holter postmortem {path}"
