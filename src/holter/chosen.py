"""Which recordings are meant: those of a process, of a service, or of whatever runs."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from holter import words
from holter.attached import memberships
from holter.errors import RecordingError
from holter.layout import SUFFIX
from holter.members import GroupName
from holter.recordings import Listed, folders, listed
from holter.sections import Sections

_LIVING: Final = ("running", "stopped")
_MOST_NAMED: Final = 4


@dataclass(frozen=True, slots=True)
class Choice:
    """
    What can be looked at: the processes of one service that belong together, or one process.

    ``pid`` is 0 for all processes of ``name``, those too that come later; ``recordings`` are those that there are.
    """

    name: GroupName
    recordings: tuple[Listed, ...]
    pid: int = 0

    @property
    def is_alive(self) -> bool:
        """Whether any of the processes lives."""
        return any(one.state in _LIVING for one in self.recordings)

    def label(self) -> str:
        """Return whom this is about, on one printable line."""
        service = words.clean(self.name.service, 40) + (
            f" ({words.clean(self.name.group, 20)})" if self.name.group else ""
        )
        pids = sorted(one.process.pid for one in self.recordings if one.process is not None)
        if len(pids) == 1:
            return f"{service}, process {pids[0]}"
        more = ", …" if len(pids) > _MOST_NAMED else ""
        return f"{service}, {len(pids)} processes: {', '.join(map(str, pids[:_MOST_NAMED]))}{more}"


def group_of(one: Listed) -> GroupName:
    """Return the group that a recording belongs to; one that belongs to none is known by its service."""
    with suppress(OSError, RecordingError), Sections(one.path) as sections:
        for name in memberships(sections).values():
            return name
    return GroupName("" if one.process is None else one.process.service, "")


def choices(found: Iterable[Listed]) -> list[Choice]:
    """Return what the recordings *found* are about: a choice a group, the one that was heard of last first."""
    grouped: dict[GroupName, list[Listed]] = {}
    for one in found:
        grouped.setdefault(group_of(one), []).append(one)
    return [Choice(name, tuple(ones)) for name, ones in grouped.items()]


def chosen(which: str | None, group: str | None = None, searched: Iterable[Path] | None = None) -> list[Choice]:
    """
    Return what *which* may mean, a process's number, a service's name or a path; what lives where it is None.

    Of those that live if there are any, else the last that has ended. More than one, by their names, where it does
    not say enough.

    Raises:
        OSError, RecordingError: there is no such recording, or it cannot be read.
    """
    if which is not None and ("/" in which or which.endswith(SUFFIX)):
        with Sections(Path(which)):
            path = Path(which).absolute()
        return [_alone(one) for one in listed(path.parent) if one.path == path]
    looked = list(folders() if searched is None else searched)
    found = [one for folder in looked for one in listed(folder) if one.process is not None]
    found.sort(key=lambda one: (one.state not in _LIVING, -one.ended_ns))
    if which is not None and which.isdecimal():
        mine = [one for one in found if one.process is not None and one.process.pid == int(which)]
        if mine:
            return [_alone(mine[0])]
    living = [one for one in found if one.state in _LIVING]
    if which is None:
        known = choices(living)
    else:
        known = [choice for choice in choices(living) if choice.name.service == which]
        if not known:
            known = [choice for choice in choices(found) if choice.name.service == which][:1]
            known = [_alone(choice.recordings[0]) for choice in known]
    if group is not None:
        known = [choice for choice in known if choice.name.group == group]
    if not known:
        raise RecordingError(_nothing(which, found, looked))
    return sorted(known, key=lambda choice: choice.name)


def _alone(one: Listed) -> Choice:
    return Choice(group_of(one), (one,), pid=0 if one.process is None else one.process.pid)


def _nothing(which: str | None, found: list[Listed], looked: list[Path]) -> str:
    where = ", ".join(map(str, looked)) or "any folder of this user"
    if which is not None:
        names = sorted({one.process.service for one in found if one.process is not None})
        there = f"; there are {', '.join(names[:8])}" if names else ""
        kind = "process" if which.isdecimal() else "service"
        return f"no recording of {kind} {which} in {where}{there}"
    dead = next((one for one in found if one.state == "dead"), None)
    hint = f"; the last that died: holter postmortem {dead.path}" if dead is not None else ""
    return f"no process that records in {where}{hint}"
