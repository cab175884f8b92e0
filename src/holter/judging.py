"""Asks the checks of a monitor, each in a thread of its own, and lets each alert through once."""

from __future__ import annotations

import json
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

from holter import learnt, words
from holter.delivery import Delivery
from holter.gathering import Gathering
from holter.learnt import Learnt, Lesson
from holter.lookout import MOST_WAITING, Sample
from holter.model import Alert, AttributeValue, Check, Observation, Snapshot
from holter.names import OBSERVATIONS_DROPPED, PROCESS_PID
from holter.observing import Look
from holter.record import Outcome
from holter.scope import Scope
from holter.values import number

_LOGGER: Final = logging.getLogger("holter")
PATIENCE_SECONDS: Final = 0.25
SAVED_EACH_NS: Final = 60_000_000_000
MOST_ALERTS_KEPT: Final = 1_000
MOST_FIGURES: Final = 100
MOST_SHARES: Final = 1_000
_NO_ALERTS: Final[list[Alert]] = []


class Figure(NamedTuple):
    """A gauge that a check shows."""

    name: str
    value: float
    attributes: Mapping[str, AttributeValue]


class Judge:
    """
    An exporter that asks one check for its judgement, and keeps the alerts until they are fetched.

    What was observed for it, its ``observe()`` is given before; what that returns is counted. What the check has
    learnt (its ``save()``) is taken each minute, with each alert, and when it is wanted; what it
    shows (its ``figures()``) each time.
    """

    every_seconds = 1e9

    def __init__(self, check: Check, scope: Scope, key: str, gathering: Gathering) -> None:
        self._check, self._scope, self._guard, self.key = check, scope, scope.guard, key
        self.name = type(check).__name__
        self.looks = tuple(map(Look, getattr(check, "observes", ())))
        """What the check wants to see of the data of calls."""
        self._seen: deque[Observation] = deque(maxlen=MOST_WAITING)
        self.shares: deque[object] = deque(maxlen=MOST_SHARES)
        """What processes have observed that it is to judge by."""
        self.is_of_process = bool(getattr(check, "own_process", False))
        """Whether it judges each process by itself, in that process."""
        self._given: deque[Alert] = deque()
        self._due: tuple[Lesson, float] | None = None
        self.resumed: tuple[Alert, ...] = ()
        """Alerts of the process before that go on firing here, until they are fetched."""
        self._saved_ns = 0
        self.is_saving_wanted = False
        self.state: str | None = None
        """What the check has learnt, as JSON; None if it never says."""
        self.figures: tuple[Figure, ...] = ()
        self.gathering, self.is_judging = gathering, False
        """Where its shares go, and whether that is here."""

    @property
    def remembers(self) -> bool:
        """Whether the check has something that outlives its process; what is of one process does not."""
        return not self.is_of_process and hasattr(self._check, "save") and hasattr(self._check, "load")

    def adopt(self, lesson: Lesson, gap_seconds: float) -> None:
        """Have the check go on, before it is asked next, from what it had learnt *gap_seconds* ago."""
        self._due = lesson, gap_seconds

    def export(self, snapshot: Snapshot, alerts: Iterable[Alert]) -> None:
        """Ask; a check that raises, or returns something else than alerts, is counted."""
        del alerts
        due, self._due = self._due, None
        # Its alerts go on with it, or not at all: else nobody would ever resolve them.
        if due is not None and self._guard.run(f"check {self.name} load", False, self._load, *due):  # noqa: FBT003 - the default
            self.state, self.resumed = due[0].state, due[0].alerts
        check: Any = self._check
        for _ in range(len(self.shares)):
            self._guard.run(f"check {self.name} gather", None, check.gather, self.shares.popleft())
        given = self._guard.run(f"check {self.name}", _NO_ALERTS, self._asked, snapshot)
        if hasattr(self._check, "figures"):
            self.figures = self._guard.run(f"check {self.name} figures", self.figures, self._shown)
        is_due = bool(given) or self.is_saving_wanted or snapshot.time_ns - self._saved_ns >= SAVED_EACH_NS
        if is_due and self.remembers:
            self.is_saving_wanted, self._saved_ns = False, snapshot.time_ns
            self.state = self._guard.run(f"check {self.name} save", self.state, self._saved)
        self._given.extend(given)

    def _asked(self, snapshot: Snapshot) -> list[Alert]:
        alerts = list(self._check.judge(snapshot))
        if not all(isinstance(alert, Alert) for alert in alerts):
            raise TypeError(f"{self.name}.judge must return Alerts")
        if self.is_of_process:
            whose = {PROCESS_PID: snapshot.process.pid}
            alerts = [replace(alert, evidence={**whose, **alert.evidence}) for alert in alerts]
        return alerts

    def _shown(self) -> tuple[Figure, ...]:
        check: Any = self._check
        shown = (Figure(str(name), value, dict(attributes)) for name, value, attributes in check.figures())
        return tuple(one for _, one in zip(range(MOST_FIGURES), shown, strict=False) if number(one.value) is not None)

    def _load(self, lesson: Lesson, gap_seconds: float) -> bool:
        check: Any = self._check
        return check.load(json.loads(lesson.state), gap_seconds) is not False

    def _saved(self) -> str:
        check: Any = self._check
        state = json.dumps(check.save(), allow_nan=False, separators=(",", ":"))
        if len(state) > learnt.MOST_BYTES:
            raise ValueError(f"{self.name}.save() must take at most {learnt.MOST_BYTES:,} bytes as JSON")
        return state

    def show(self, samples: Iterable[Sample]) -> int:
        """Keep what the check wants of *samples* until it looks; return how many observations wait for that."""
        told = [look.seen(sample) for sample in samples for look in self.looks]
        for observation in told:
            if observation is not None:
                if len(self._seen) == MOST_WAITING:
                    self._scope.observations.count(OBSERVATIONS_DROPPED, observation.call)
                self._seen.append(observation)
        return len(self._seen)

    def look(self) -> None:
        """Have the check observe what it was shown, and count what it says."""
        for _ in range(len(self._seen)):
            self._guard.run(f"check {self.name} observe", None, self._observe, self._seen.popleft())
        if self.gathers:
            self._guard.run(f"check {self.name} share", None, self._share)

    def forget(self) -> None:
        """Let go of what was observed before this run, as by the parent of a forked child, which tells of it itself."""
        if self.gathers:
            check: Any = self._check
            self._guard.run(f"check {self.name} share", None, check.share)

    @property
    def gathers(self) -> bool:
        """Whether what the check observes in each process comes together in the one that judges."""
        return hasattr(self._check, "share") and hasattr(self._check, "gather")

    def _share(self) -> None:
        check: Any = self._check
        is_judging = self.is_judging or self.is_of_process
        while self.shares and not is_judging and self.gathering.has_room:
            # It judged when they came, and was not asked any more.
            self.gathering.send(self.key, self.shares.popleft())
        if is_judging or self.gathering.has_room:
            share = check.share()
            if share is not None and is_judging:
                # As it would come from another process.
                self.shares.append(json.loads(json.dumps(share, allow_nan=False)))
            elif share is not None:
                self.gathering.send(self.key, share)

    def _observe(self, observation: Observation) -> None:
        check: Any = self._check
        for _, one in zip(range(MOST_FIGURES), check.observe(observation) or (), strict=False):
            name, amount, attributes = one
            grown = number(amount)
            if type(name) is not str or grown is None or not 0 <= grown < math.inf:
                raise TypeError(f"{self.name}.observe must return names, amounts of 0 or more, and attributes")
            series = self._scope.series(name, "{value}", "counter", attributes)
            self._scope.ring().write(series, self._scope.now(), grown, 0, Outcome.OK)

    def fetch(self) -> list[Alert]:
        """Return what the check has given since the last time."""
        return [self._given.popleft() for _ in range(len(self._given))]

    def close(self, timeout: float) -> None:
        """Hold nothing."""
        del timeout
        self._scope.observations.drop(self)


class Judges:
    """
    The checks of one run of a monitor; ``alerts`` holds what they have given, the latest state of at most 1,000.

    A check that hangs hangs alone: it is waited for once, and its alerts come when it is done. What they have
    learnt is in the file at *path*, if there is one: read when this process begins to judge, written each minute,
    with each alert, and at the end.
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
        self.alerts: dict[str, Alert] = {}
        self._owners: dict[str, Judge] = {}
        self._resumed: list[Alert] = []
        self._is_judging = False
        self._written: list[str | None] = []
        self._keeps = path is not None and any(judge.remembers for judge in self._judges)

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
        self, snapshot: Snapshot | None, deadline: float, *, patiently: bool, own: Snapshot | None = None
    ) -> list[Alert]:
        """
        Return the alerts that are new: each fires once and resolves once, whatever a check repeats.

        Without a *snapshot* another process judges; when this one comes to it again, it reads what that one has learnt.
        Checks that judge each process by itself are asked in any case, about *own*, if that is another one.
        Waits for the checks at most until *deadline*, on the monotonic clock, if not *patiently* 250 ms at
        most, and never for those that are not done yet with the snapshot before. When strict they are asked in
        this thread, so that their errors raise here.
        """
        self._learn_who_judges(snapshot)
        asked: list[tuple[Judge, Delivery, Snapshot]] = []
        for judge, delivery in zip(self._judges, self.deliveries, strict=True):
            seen = own or snapshot if judge.is_of_process else snapshot
            if seen is not None:
                asked.append((judge, delivery, seen))
                judge.is_saving_wanted |= patiently
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
        if snapshot is not None:
            self._guard.run("state of checks", None, self._keep, snapshot.time_ns)
        return alerts

    def resumed(self) -> list[Alert]:
        """Return the alerts that have been taken over since the last time: new to the other processes of the group."""
        resumed, self._resumed = self._resumed, []
        return resumed

    def _learn_who_judges(self, snapshot: Snapshot | None) -> None:
        if snapshot is None:
            self._is_judging = False
        elif not self._is_judging:
            self._is_judging = True
            self._guard.run("state of checks", None, self._adopt, snapshot.time_ns)
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

    def _adopt(self, now_ns: int) -> None:
        if self._path is None or not self._keeps:
            return
        known = learnt.read(self._path)
        for judge in self._judges:
            lesson = known.lessons.get(judge.key)
            if lesson is not None and judge.remembers:
                judge.adopt(lesson, learnt.gap_seconds(known, now_ns))
        self._written = [judge.state for judge in self._judges]

    def _resume(self, judge: Judge) -> None:
        """Take over the alerts that go on firing; they are no new ones, so only the log says so."""
        resumed, judge.resumed = judge.resumed, ()
        for alert in resumed:
            self.alerts[alert.id], self._owners[alert.id] = replace(alert, source=judge.key), judge
            self._resumed.append(self.alerts[alert.id])
            _LOGGER.warning("holter: firing already: %s", words.clean(alert.message, 500))

    def _keep(self, now_ns: int) -> None:
        """Write down what has been learnt, if there is something new."""
        states = [judge.state for judge in self._judges]
        if self._path is None or not self._keeps or all(map(_is_same, states, self._written or [None] * len(states))):
            return
        lessons = {
            judge.key: Lesson(judge.state, tuple(self._firing(judge)))
            for judge in self._judges
            if judge.state is not None
        }
        learnt.write(self._path, Learnt(now_ns, lessons))
        self._written = states

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


def _is_same(one: str | None, other: str | None) -> bool:
    return one is other


def keyed(checks: Iterable[Check]) -> Iterable[tuple[str, Check]]:
    """Yield each check with what it is known by in the next process: what it says of itself, or its class."""
    seen: dict[str, int] = {}
    for check in checks:
        kind = type(check)
        # That of object has an address in it.
        text = kind.__qualname__ if kind.__repr__ is object.__repr__ else repr(check)
        seen[text] = seen.get(text, 0) + 1
        yield (text if seen[text] == 1 else f"{text} #{seen[text]}"), check
