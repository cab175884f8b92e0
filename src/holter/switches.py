"""Tells the guards of this process which alerts there are, on behalf of the monitors that run in it."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Protocol
from weakref import WeakKeyDictionary, ref

from holter import words
from holter.documents import LONGEST_TEXT
from holter.judging import keyed
from holter.model import Alert, Check
from holter.names import PROCESS_PID
from holter.recorder import RECORDER
from holter.scope import Scope

_LOGGER: Final = logging.getLogger("holter")
_TURNS_ALONE: Final = 3

Selector = Check | Callable[[Alert], object]


class Switched(Protocol):
    """What takes in alerts, and switches."""

    when: tuple[Selector, ...]
    scope_number: int
    """Whose alerts functions choose from, and who misses a check that nobody has."""

    @property
    def is_heard(self) -> bool:
        """Whether any monitor tells it of alerts."""

    def hear(self, scope: Scope, told: Mapping[str, Alert]) -> None:
        """Take in the alerts that there are, by their ids."""

    def leave(self, scope: Scope) -> None:
        """Go on without those of a monitor that has stopped."""

    def forked(self) -> None:
        """In a forked child: begin anew."""


class Guards:
    """The guards that there are in this process, as long as anybody holds them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: tuple[ref[Any], ...] = ()
        RECORDER.after_fork.append(self._forked)

    def add(self, guard: Switched) -> None:
        """Tell *guard* of alerts from now on."""
        with self._lock:
            self._known = (*(known for known in self._known if known() is not None), ref(guard))

    def all(self) -> list[Switched]:
        """Return them."""
        return [guard for known in self._known if (guard := known()) is not None]

    def _forked(self) -> None:
        self._lock = threading.Lock()
        for guard in self.all():
            guard.forked()


GUARDS: Final = Guards()


class Switches:
    """
    Hands the alerts of one run of a monitor on to the guards that are for one of its checks.

    A check is one of the monitor's where it is the same object, or looks the same: a second ``start`` with equal
    arguments goes on with the checks of the first.
    """

    def __init__(self, scope: Scope, checks: Iterable[Check]) -> None:
        self._scope, self._keyed = scope, list(keyed(checks))
        self._sources: WeakKeyDictionary[Any, set[str]] = WeakKeyDictionary()
        self._turns: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
        self._over = threading.Event()

    def turn(self, alerts: Callable[[], Iterable[Alert]]) -> None:
        """Tell the guards of the *alerts* that there are, which are asked for where there is a guard."""
        if self._over.is_set():
            return
        followers = [guard for guard in GUARDS.all() if self._is_followed_by(guard)]
        # What another process has of itself, it has to act upon by itself.
        mine = {PROCESS_PID: os.getpid()}
        everybodys = alerts() if followers else ()
        told = {one.id: one for one in everybodys if {**mine, **one.evidence}[PROCESS_PID] == mine[PROCESS_PID]}
        for guard in followers:
            chosen = {key: alert for key, alert in told.items() if self._is_for(guard, alert)}
            self._scope.guard.run("guard", None, guard.hear, self._scope, chosen)
        if self._over.is_set():
            # Since this began.
            self.close()

    def close(self) -> None:
        """The monitor has stopped: guards go on without its alerts."""
        self._over.set()
        for guard in GUARDS.all():
            self._scope.guard.run("guard", None, guard.leave, self._scope)

    def _is_followed_by(self, guard: Switched) -> bool:
        if guard not in self._sources:
            self._sources[guard] = {key for one in guard.when for key in self._keys(one)}
        if self._sources[guard]:
            return True
        if guard.scope_number != self._scope.number:
            return False
        if any(not isinstance(one, Check) for one in guard.when):
            return True
        turns = self._turns[guard] = self._turns.get(guard, 0) + 1
        if turns == _TURNS_ALONE and not guard.is_heard:
            what = f"{guard!r} is for a check that no running monitor has, and will not switch: give it to start too"
            _LOGGER.warning("holter: %s", words.clean(what, 500))
        return False

    def _keys(self, check: Selector) -> list[str]:
        if not isinstance(check, Check):
            return []
        same = [key for key, known in self._keyed if known is check]
        alike = same or [key for key, _ in self._keyed if key == next(iter(keyed([check])))[0]]
        return [key[:LONGEST_TEXT] for key in alike]

    def _is_for(self, guard: Switched, alert: Alert) -> bool:
        if alert.source[:LONGEST_TEXT] in self._sources[guard]:
            return True
        if guard.scope_number != self._scope.number:
            return False
        chosen = (one for one in guard.when if not isinstance(one, Check))
        return any(self._scope.guard.run("guard when", None, one, alert) for one in chosen)
