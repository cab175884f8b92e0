"""Asks the checks of a monitor, each in a thread of its own, and lets each alert through once."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from holter import learnt
from holter.casebook import Casebook, Fellows
from holter.delivery import Delivery
from holter.gathering import Gathering
from holter.judge import Figure, Judge
from holter.keptsilences import Silences
from holter.learnt import Learnt, Lesson
from holter.lookout import MOST_WAITING
from holter.model import Alert, Check, Snapshot
from holter.scope import Scope

PATIENCE_SECONDS: Final = 0.25
MOST_ALERTS_KEPT: Final = 1_000


class Judges:
    """
    The checks of one run of a monitor; ``alerts`` holds what they have given, the latest state of at most 1,000.

    A check that hangs hangs alone: it is waited for once, and its alerts come when it is done. What they have
    learnt is in the file at *path*, if there is one, with the incidents that their alerts are: read when this process
    begins to judge, written each minute, with each alert, and at the end.
    """

    def __init__(self, scope: Scope, checks: Iterable[Check], path: Path | None = None) -> None:
        self._guard, self._path, self._observations = scope.guard, path, scope.observations
        self._gathering = Gathering(path)
        self._judges = [Judge(check, scope, key, self._gathering) for key, check in keyed(checks)]
        self._gatherers = {judge.key: judge for judge in self._judges if judge.gathers and not judge.is_of_process}
        self._looking = threading.Lock()
        self.spent_ns = 0
        """The CPU time that threads of the program have spent on samples for them."""
        for judge in self._judges:
            judge.forget()
            self._observations.add(judge, judge.looks)
        self.deliveries = [Delivery(scope, judge, name=judge.name) for judge in self._judges]
        self._owners: dict[str, Judge] = {}
        self._is_judging = False
        self._written: list[object] = []
        base = None if path is None else path.with_name(path.name.removesuffix(learnt.SUFFIX))
        self._cases = Casebook(Silences(scope.silences, base), base)
        self.alerts, self.silences, self.outbox = self._cases.alerts, self._cases.silences, self._cases.outbox

    @property
    def changed(self) -> list[Alert]:
        """The alerts that are otherwise than at the turn before, be it that one more is related to one of them."""
        return self._cases.changed

    @property
    def everybodys(self) -> list[Alert]:
        """The alerts that are new of all processes, where this one leads."""
        return self._cases.everybodys

    @property
    def figures(self) -> Iterable[Figure]:
        """What those checks show that this process asks."""
        asked = (judge for judge in self._judges if self._is_judging or judge.is_of_process)
        return [figure for judge in asked for figure in judge.figures]

    def look(self, deadline: float, *, patiently: bool) -> None:
        """
        Let the checks see what has been observed since the last time, whoever judges, and more be observed.

        Waits for them as `ask` does, so that what they count is part of the interval.
        """
        if not self._observations.is_wanted:
            return
        until = deadline if patiently else min(deadline, time.monotonic() + PATIENCE_SECONDS)
        # A turn that never comes is one that this very thread was interrupted in.
        if self._looking.acquire(timeout=max(0.0, until - time.monotonic())):
            try:
                self._look(until)
            finally:
                self._looking.release()

    def _look(self, until: float) -> None:
        samples = self._observations.take()
        self.spent_ns += sum(sample.spent_ns for sample in samples)
        looking, most_waiting = [], 0
        for judge, delivery in zip(self._judges, self.deliveries, strict=True):
            waiting = judge.show(samples) if judge.looks else 0
            most_waiting = max(most_waiting, waiting)
            if waiting and self._guard.strict:
                judge.look()
            elif waiting:
                looking += [delivery] if delivery.wait_until_idle(0.0) else []
                delivery.look()
        for delivery in looking:
            delivery.wait_until_idle(until)
        self._observations.give(MOST_WAITING - most_waiting)

    def ask(
        self,
        snapshot: Snapshot | None,
        deadline: float,
        *,
        patiently: bool,
        own: Snapshot | None = None,
        fellows: Fellows | None = None,
    ) -> list[Alert]:
        """
        Return the alerts that are new: each fires once and resolves once, whatever a check repeats.

        Without a *snapshot* another process judges; when this one comes to it again, it reads what that one has learnt.
        Checks that judge each process by itself are asked in any case, about *own*, if that is another one; what they
        say in other processes *fellows* know. Waits for the checks at most until *deadline*, on the monotonic clock,
        if not *patiently* 250 ms at most, and never for those that are not done yet with the snapshot before. When
        strict they are asked in this thread, so that their errors raise here.
        """
        self._cases.begin()
        self._learn_who_judges(snapshot)
        asked = self._asked(snapshot, own, patiently=patiently)
        if self._guard.strict:
            for judge, _, seen in asked:
                judge.export(seen, ())
        else:
            until = deadline if patiently else min(deadline, time.monotonic() + PATIENCE_SECONDS)
            _wait_for([(delivery, seen) for _, delivery, seen in asked], until)
        for judge, _, _ in asked:
            self._resume(judge)
        given = [(replace(alert, source=judge.key), judge) for judge, _, _ in asked for alert in judge.fetch()]
        alerts = [alert for alert, judge in given if self._is_new(alert, judge)]
        now = own if snapshot is None else snapshot
        if now is not None:
            alerts = self._guard.run("incidents", alerts, self._cases.note, alerts, now.time_ns)
        if snapshot is None:
            self._cases.changed += alerts
            return alerts
        alerts = self._guard.run("incidents", alerts, self._cases.tell, alerts, snapshot, fellows)
        is_kept = self._guard.run("state of checks", False, self._keep, snapshot.time_ns)  # noqa: FBT003 - the default
        # In between: who is killed before leaves what the next one needs to tell of it, who is not has it told once.
        if self._guard.run("incidents", False, self._cases.post, snapshot) and is_kept:  # noqa: FBT003 - the default
            self._guard.run("state of checks", None, self._keep, snapshot.time_ns)
        return alerts

    def _asked(
        self, snapshot: Snapshot | None, own: Snapshot | None, *, patiently: bool
    ) -> list[tuple[Judge, Delivery, Snapshot]]:
        """Return who is asked, about which snapshot."""
        asked: list[tuple[Judge, Delivery, Snapshot]] = []
        for judge, delivery in zip(self._judges, self.deliveries, strict=True):
            seen = own or snapshot if judge.is_of_process else snapshot
            if seen is not None:
                asked.append((judge, delivery, seen))
                judge.is_saving_wanted |= patiently
        for is_whole in (True, False):
            about = [seen for judge, _, seen in asked if judge.is_of_process is not is_whole]
            if about:
                self._guard.run("incidents", None, partial(self._cases.follow, about[0], is_whole=is_whole))
        return asked

    def _learn_who_judges(self, snapshot: Snapshot | None) -> None:
        if snapshot is None:
            self._is_judging = False
            self._cases.resign()
        elif not self._is_judging:
            self._is_judging = True
            self._guard.run("state of checks", None, self._adopt, snapshot)
        for judge in self._gatherers.values():
            judge.is_judging = self._is_judging
        if self._is_judging and self._gatherers:
            self._guard.run("shares of checks", None, self._gather)

    def _gather(self) -> None:
        """Hand what other processes have observed to the checks that it is for."""
        for key, share in self._gathering.take():
            if key in self._gatherers:
                self._gatherers[key].shares.append(share)

    def _is_new(self, alert: Alert, judge: Judge) -> bool:
        known = self.alerts.get(alert.id)
        if (known.state if known is not None else "resolved") == alert.state:
            return False
        self.alerts[alert.id], self._owners[alert.id] = alert, judge
        if len(self.alerts) > MOST_ALERTS_KEPT:
            over = (one.id for one in self.alerts.values() if one.state == "resolved")
            oldest = next(over, next(iter(self.alerts)))
            self.alerts.pop(oldest)
            self._owners.pop(oldest, None)
        return True

    # -- what outlives the process

    def _adopt(self, snapshot: Snapshot) -> None:
        if self._path is None:
            return
        known = learnt.read(self._path)
        # What has become of those that fired when this process judged last, the other one knows.
        for key, alert in list(self.alerts.items()):
            owner = self._owners.get(key)
            if alert.state == "firing" and not (owner is not None and owner.is_of_process):
                del self.alerts[key]
        self._cases.adopt(known.incidents, snapshot)
        for judge in self._judges:
            lesson = known.lessons.get(judge.key)
            if lesson is not None and judge.remembers:
                judge.adopt(lesson, learnt.gap_seconds(known, snapshot.time_ns))
        self._written = self._states()

    def _resume(self, judge: Judge) -> None:
        resumed, judge.resumed = judge.resumed, ()
        for alert in resumed:
            self._owners[alert.id] = judge
            self._cases.resume(replace(alert, source=judge.key))

    def _states(self) -> list[object]:
        return [self._cases.incidents.version, *(judge.state for judge in self._judges)]

    def _keep(self, now_ns: int) -> bool:
        """Write down what has been learnt, and which incidents there are, if there is something new; else fail."""
        states = self._states()
        known = self._written or [0] + [None] * len(self._judges)
        if self._path is None or all(map(_is_same, states, known)):
            return True
        lessons = {
            judge.key: Lesson(judge.state, tuple(self._firing(judge)))
            for judge in self._judges
            if judge.state is not None
        }
        learnt.write(self._path, Learnt(now_ns, lessons, self._cases.incidents.all))
        self._written = states
        return True

    def _firing(self, judge: Judge) -> list[Alert]:
        return [
            alert for alert in self.alerts.values() if alert.state == "firing" and self._owners.get(alert.id) is judge
        ]


def _wait_for(asked: Sequence[tuple[Delivery, Snapshot]], until: float) -> None:
    """Have each look at its snapshot, and wait for those that were done with the one before."""
    punctual = [delivery for delivery, _ in asked if delivery.wait_until_idle(0.0)]
    for delivery, snapshot in asked:
        delivery.offer(snapshot, now=True)
    for delivery in punctual:
        delivery.wait_until_idle(until)


def _is_same(one: object, other: object) -> bool:
    return one is other or (isinstance(one, int) and one == other)


def keyed(checks: Iterable[Check]) -> Iterable[tuple[str, Check]]:
    """Yield each check with what it is known by in the next process: what it says of itself, or its class."""
    seen: dict[str, int] = {}
    for check in checks:
        kind = type(check)
        # That of object has an address in it.
        text = kind.__qualname__ if kind.__repr__ is object.__repr__ else repr(check)
        seen[text] = seen.get(text, 0) + 1
        yield (text if seen[text] == 1 else f"{text} #{seen[text]}"), check
