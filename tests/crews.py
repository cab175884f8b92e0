"""Processes of one service, in this one: lives in recordings, each with its view of the group."""

from __future__ import annotations

import time
from pathlib import Path

from holter.clock import SYSTEM, Clock
from holter.group import Group
from holter.members import GroupName
from holter.model import Snapshot
from holter.recording import Membership
from lives import Life

NAME = GroupName("sentiment", "")


class Worker:
    """A process of the service, in this one: a life in a recording, and its view of the group."""

    def __init__(self, folder: Path, name: GroupName = NAME, clock: Clock = SYSTEM) -> None:
        self.life = Life(folder)
        self.life.recording.enlist(Membership(self.life.scope.number, *name))
        self.group = Group(folder, name, self.life.recording.path, 60.0, clock=clock)
        self.done = 0
        self.ring = self.life.ring()
        self.call = self.life.scope.call("predict")
        self.snapshot: Snapshot = self.life.turn(now=True)
        self.is_over = self.is_stopped = False

    def work(self, times: int) -> None:
        """Make so many calls, each of which does 2 units of work."""
        for _ in range(times):
            call = self.ring.enter(self.call.duration, time.monotonic_ns())
            self.ring.leave(call, time.monotonic_ns(), 2)
        self.done += times

    def turn(self, *, now: bool = True) -> Snapshot | None:
        """End an interval, and return what the group did if this one leads; as it is *now*, or as it was read last."""
        self.snapshot = self.life.turn(now=True)
        return self.group.turn(self.snapshot, now=now)

    def stop(self) -> list[Snapshot]:
        """End as a monitor does whose process lives on; return what was told of the group on the way."""
        self.is_stopped = True
        told = [self.turn()]
        self.group.hand_over(lambda: told.append(self.turn()))
        return [whole for whole in told if whole is not None]

    def end(self, *, clean: bool) -> None:
        """End: at the exit of the process, or without."""
        if clean:
            self.life.turn(now=True)
            self.life.recording.close(clean=True, leave=True)
            self.group.leave()
        else:
            self.life.recording.close(clean=False)
            self.group.leadership.abandon()
        self.is_over = True


def calls(snapshot: Snapshot | None) -> int:
    """Return how many calls a snapshot counts."""
    assert snapshot is not None
    found = snapshot.find("holter.call.duration")
    return 0 if found is None else found.total.count
