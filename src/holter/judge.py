"""Asks one check, in a thread of its own: what it judges, what it has observed, learnt, and shows."""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final, NamedTuple

from holter import learnt
from holter.documents import is_sound
from holter.gathering import Gathering
from holter.learnt import Lesson
from holter.lookout import MOST_WAITING, Sample
from holter.model import Alert, AttributeValue, Check, Observation, Snapshot
from holter.names import OBSERVATIONS_DROPPED, PROCESS_PID
from holter.observing import Look
from holter.record import Outcome
from holter.scope import Scope
from holter.values import number

SAVED_EACH_NS: Final = 60_000_000_000
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
        if not all(map(is_sound, alerts)):
            raise TypeError(
                f"{self.name}.judge must return Alerts whose fields have the types and words that they name"
            )
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
