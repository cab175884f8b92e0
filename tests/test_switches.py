"""Which alerts a monitor hands on to which guards."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import pytest

from contracts.snapshots import alert
from holter.checks.limit import Limit
from holter.model import Alert
from holter.scope import Scope
from holter.switches import GUARDS, Switches


class Listener:
    """A guard that only listens."""

    def __init__(self, *when: Any, scope: Scope | None = None) -> None:
        self.when, self.told, self.left = when, list[set[str]](), 0
        self.scope_number = 0 if scope is None else scope.number
        self.is_heard = True
        GUARDS.add(self)

    def hear(self, scope: Scope, told: Mapping[str, Alert]) -> None:
        """Note the ids."""
        del scope
        self.told.append(set(told))

    def leave(self, scope: Scope) -> None:
        """Note that."""
        del scope
        self.left += 1

    def forked(self) -> None:
        """Do nothing."""


class Nameless:
    """A check that looks like any other of its class."""

    def judge(self, snapshot: Any) -> list[Alert]:
        """Judge nothing."""
        del snapshot
        return []


def test_a_guard_hears_of_its_own_checks() -> None:
    """Of the very object, or one that looks the same; of two alike, each hears of its own."""
    slow, errors = Limit("a", "p99", above=1), Limit("b", "last", above=1)
    first, second = Nameless(), Nameless()
    scope = Scope()
    switches = Switches(scope, [slow, errors, first, second])
    listeners = [
        Listener(slow),
        Listener(Limit("a", "p99", above=1)),
        Listener(errors, first),
        Listener(second),
        Listener(lambda one: one.id == "4", scope=scope),
        Listener(lambda one: one.id == "4", scope=Scope()),
        Listener(lambda one: one.id == "4", second, scope=Scope()),
        Listener(Limit("c", "last", above=1)),
    ]
    sources = [repr(slow), repr(errors), "Nameless", "Nameless #2", ""]
    alerts = [alert(id=str(place), source=source) for place, source in enumerate(sources)]
    switches.turn(lambda: alerts)
    assert [[{"0"}], [{"0"}], [{"1", "2"}], [{"3"}], [{"4"}], [], [{"3"}], []] == [one.told for one in listeners]
    switches.close()
    switches.turn(lambda: alerts)
    assert [1] * 8 == [one.left for one in listeners]
    assert [1, 1, 1, 1, 1, 0, 1, 0] == [len(one.told) for one in listeners]


def test_a_guard_does_not_hear_of_other_processes() -> None:
    """What a check has found of one process alone is for the guards of that."""
    check = Nameless()
    listener = Listener(check)
    mine, others = ({"process.pid": pid} for pid in (os.getpid(), os.getpid() + 1))
    alerts = [alert(id=key, source="Nameless", evidence=of) for key, of in (("a", mine), ("b", others), ("c", {}))]
    Switches(Scope(), [check]).turn(lambda: alerts)
    assert [{"a", "c"}] == listener.told


def test_alerts_are_asked_for_where_somebody_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    """To read those of another process costs something."""
    monkeypatch.setattr(GUARDS, "_known", ())
    asked: list[int] = []

    def alerts() -> list[Alert]:
        asked.append(1)
        return []

    check = Nameless()
    switches = Switches(Scope(), [check])
    switches.turn(alerts)
    assert [] == asked
    listener = Listener(check)
    switches.turn(alerts)
    assert ([1], [set()]) == (asked, listener.told)


def test_one_that_goes_wrong_harms_no_other() -> None:
    """It is counted, and the others hear."""

    class Failing(Listener):
        def hear(self, scope: Scope, told: Mapping[str, Alert]) -> None:
            raise ValueError

    check, scope = Nameless(), Scope()
    failing, sound = Failing(check), Listener(check)
    Switches(scope, [check]).turn(list)
    assert (["guard"], [set()]) == (list(scope.guard.first), sound.told)
    del failing
