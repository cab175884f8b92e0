"""The CPU time of a process and its descendants, of which some end between two readings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

_EXPIRES: Final = 2


class Member(NamedTuple):
    """One process: CPU time in user and system mode, its own and that of children that it has waited for."""

    pid: int
    parent: int
    start: float
    own: tuple[float, float]
    waited: tuple[float, float]
    threads: int
    memory: int


@dataclass(slots=True)
class _Known:
    """The last reading of a process, and what its children that are gone had used, which it may yet be told of."""

    member: Member
    owed: list[list[float]] = field(default_factory=list)


class TreeTime:
    """
    The CPU time of a tree of processes, in whatever unit theirs is; it never falls and counts nothing twice.

    It begins as what the processes of the first reading had used themselves. One that comes later counts from
    its beginning if it has begun since the reading before, else from now on.

    What a process is told of a child that it has waited for is what the child had used, most of which was counted
    when the child was read. So only the rest is added: of a child that ended since it was read, or of one that
    was never seen. A child may be gone one sample before its parent is told, so what is owed is kept for two.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[int, float], _Known] = {}
        self._total = [0.0, 0.0]
        self._is_first = True

    def now(self, members: Mapping[int, Member], since: float) -> tuple[float, float]:
        """Return the time in user and in system mode; *since* is when the reading before began, as starts are told."""
        now = {(member.pid, member.start): member for member in members.values()}
        alive = dict(now.keys())
        self._settle_gone(now, alive)
        for key, member in now.items():
            known = self._known.get(key)
            if known is None:
                self._known[key] = _Known(member)
                if self._is_first:
                    self._add(member.own)
                elif member.start >= since:
                    self._add(member.own, member.waited)
                continue
            grown = tuple(max(0, after - before) for after, before in zip(member.own, known.member.own, strict=True))
            self._add((grown[0], grown[1]), self._unseen(known, member))
            known.member = member
        self._is_first = False
        return self._total[0], self._total[1]

    def _settle_gone(self, now: Mapping[tuple[int, float], Member], alive: Mapping[int, float]) -> None:
        """Note what those that are gone had used with the nearest process above them that is still there."""
        gone = {key: self._known.pop(key) for key in self._known.keys() - now.keys()}
        parents = {key[0]: known.member.parent for key, known in gone.items()}
        for known in gone.values():
            above = known.member.parent
            for _ in range(len(parents)):
                if above not in parents:
                    break
                above = parents[above]
            heir = self._known.get((above, alive.get(above, -1)))
            if heir is not None:
                used = [own + waited for own, waited in zip(known.member.own, known.member.waited, strict=True)]
                heir.owed.append([*used, _EXPIRES])

    @staticmethod
    def _unseen(known: _Known, member: Member) -> tuple[float, float]:
        """Return the time of children that nobody has counted yet, out of what the parent has been told of."""
        rest = []
        for mode in (0, 1):
            told = max(0, member.waited[mode] - known.member.waited[mode])
            for owed in known.owed:
                settled = min(told, owed[mode])
                owed[mode] -= settled
                told -= settled
            rest.append(told)
        for owed in known.owed:
            owed[2] -= 1
        known.owed = [owed for owed in known.owed if owed[2] > 0 and (owed[0] or owed[1])]
        return rest[0], rest[1]

    def _add(self, *parts: tuple[float, float]) -> None:
        for user, system in parts:
            self._total[0] += user
            self._total[1] += system
