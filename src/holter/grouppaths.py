"""Where the control groups of this process are: of both versions and mixtures, on a machine and in a container."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

MEMBERSHIP: Final = Path("/proc/self/cgroup")
USUAL_PLACE: Final = Path("/sys/fs/cgroup")


class _Place(NamedTuple):
    """Which group is mounted, and the folder where it is."""

    top: str
    folder: str


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """
    The groups of this process under one controller: folders from its own outwards to the outermost one to be seen.

    ``ends_at_machine`` says whether that one is the root of the machine's groups, which limits nothing.
    """

    version: int
    folders: tuple[str, ...]
    ends_at_machine: bool

    @property
    def groups(self) -> tuple[str, ...]:
        """The folders but the machine's."""
        return self.folders[:-1] if self.ends_at_machine else self.folders


class GroupPaths:
    """
    The folders of the control groups that this process is in, by controller; "" is the second version.

    *mounts* is a ``mountinfo``, which says where they are mounted, below *root*; it is read when the process is seen
    to be in other groups. Where it names none, they are looked for below *usual*, if that is given. Paths from
    outside a container are brought to what is mounted in it: a container may see its own group as the root, whatever
    its name outside. To be used by one thread at a time.
    """

    def __init__(self, mounts: Path, *, root: Path = Path("/"), usual: Path | None = None) -> None:
        self._mounts, self._root, self._usual = mounts, root, usual
        self._membership: bytes | None = None
        self._names: dict[str, tuple[str, _Place]] = {}
        self._found: dict[str, Hierarchy] = {}

    def see(self, membership: bytes) -> bool:
        """
        Take what ``/proc/self/cgroup`` says now; return whether the groups are looked for anew.

        Raises:
            OSError: nobody knows where they are mounted.
        """
        if membership == self._membership and self._names:
            return False
        self._found, self._names = {}, dict(self._named(membership.decode(errors="surrogateescape")))
        self._membership = membership
        return True

    def hierarchy(self, controller: str) -> Hierarchy | None:
        """Return the groups under *controller* itself, None if this system does not have it."""
        found = self._found.get(controller)
        if found is None and controller in self._names:
            group, place = self._names[controller]
            found = self._found[controller] = _hierarchy(group, place, 1 if controller else 2)
        return found

    def _named(self, membership: str) -> Iterator[tuple[str, tuple[str, _Place]]]:
        """Yield by controller the group's name and where groups of its kind are mounted."""
        mounted = self._mounted()
        for line in membership.splitlines():
            number, _, rest = line.partition(":")
            controllers, _, group = rest.partition(":")
            for controller in controllers.split(","):
                place = mounted.get(controller) if mounted else self._usually(controller, controllers)
                if place is not None and (number == "0") == (controller == ""):
                    yield controller, (group, place)

    def _mounted(self) -> dict[str, _Place]:
        try:
            mounts = self._mounts.read_text(encoding="utf-8", errors="surrogateescape")
        except OSError:
            if self._usual is None:
                raise
            return {}
        return dict(_places(mounts, str(self._root).rstrip("/")))

    def _usually(self, controller: str, controllers: str) -> _Place | None:
        """Return where groups of a kind are mounted on most systems, if they are."""
        if self._usual is None:
            return None
        # In a mixture the second version stands beside the controllers of the first.
        candidates = (controller, controllers) if controller else ("unified", "")
        folders = (self._usual / name for name in candidates)
        return next((_Place("/", str(folder)) for folder in folders if folder.is_dir()), None)


def _places(mounts: str, root: str) -> Iterator[tuple[str, _Place]]:
    """Yield by controller which group is mounted where, the first mount of several last."""
    for line in reversed(mounts.splitlines()):
        before, is_one, behind = line.partition(" - cgroup")
        fields, kind = before.split(" ", 5) if is_one else [], behind.split(" ")
        if len(fields) < 5 or len(kind) < 3:  # noqa: PLR2004 - fields of the file
            continue
        place = _Place(_unescaped(fields[3]), f"{root}/{_unescaped(fields[4]).lstrip('/')}")
        if kind[0] == "2":
            yield "", place
        elif kind[0] == "":
            for option in kind[2].split(","):
                yield option, place


def _unescaped(text: str) -> str:
    if "\\" in text:
        for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
            text = text.replace(code, character)
    return text


def _hierarchy(group: str, place: _Place, version: int) -> Hierarchy:
    path, top = group.rstrip("/") + "/", place.top.rstrip("/") + "/"
    # Named from outside of what is mounted here: of the groups that can be seen the outermost is its own.
    parts = [part for part in path[len(top) :].split("/") if part] if path.startswith(top) else []
    # ".." leads to another namespace. Its paths are not found here; the groups around may be.
    depths = (depth for depth in range(len(parts), -1, -1) if ".." not in parts[:depth])
    folders = [folder for depth in depths if os.path.isdir(folder := "/".join((place.folder, *parts[:depth])))]  # noqa: PTH112  a path object costs ten times as much
    return Hierarchy(version, tuple(folders), bool(folders) and _is_machine(folders[-1], version))


def _is_machine(folder: str, version: int) -> bool:
    """Whether this is the root of the machine: files that it alone has, or alone has not."""
    own = os.path.exists(f"{folder}/" + ("release_agent" if version == 1 else "cgroup.events"))  # noqa: PTH110  as above
    return own if version == 1 else not own
