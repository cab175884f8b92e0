"""How much more memory there may be, and who says so: the control groups, the machine, a GPU."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final, NamedTuple

from holter.metric import AttributeValue
from holter.names import CGROUP_MEMORY_LIMIT, GPU_MEMORY_LIMIT, GPU_MEMORY_USAGE, HARDWARE_ID

CONTAINER_USAGE: Final = "container.memory.working_set"
HOST_USAGE: Final = "system.memory.usage"
HOST_LIMIT: Final = "system.memory.limit"


class Room(NamedTuple):
    """What is left, of which limit, and whose it is."""

    left: float
    limit: float
    whose: str


class Rooms:
    """
    The limits of memory, by the newest figures of those who sample them.

    >>> rooms = Rooms()
    >>> for name, value in (("system.memory.limit", 16e9), ("system.memory.usage", 9e9)):
    ...     rooms.take(name, {}, value)
    >>> rooms.of_processes()
    Room(left=7000000000.0, limit=16000000000.0, whose='the machine')
    """

    names: Final = frozenset(
        {CGROUP_MEMORY_LIMIT, CONTAINER_USAGE, HOST_LIMIT, HOST_USAGE, GPU_MEMORY_LIMIT, GPU_MEMORY_USAGE}
    )

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], float] = {}

    def take(self, name: str, attributes: Mapping[str, AttributeValue], value: float) -> None:
        """Take in one of the figures ``names``."""
        if math.isfinite(value):
            self._known[name, str(attributes.get(HARDWARE_ID, ""))] = value

    def _room(self, limit: str, usage: str, whose: str, device: str = "") -> Room | None:
        allowed, used = self._known.get((limit, device)), self._known.get((usage, device))
        return None if allowed is None or used is None else Room(max(0.0, allowed - used), allowed, whose)

    def of_processes(self) -> Room | None:
        """Return the least room of those that a process has; None where nobody has said."""
        rooms = (
            self._room(CGROUP_MEMORY_LIMIT, CONTAINER_USAGE, "the container"),
            self._room(HOST_LIMIT, HOST_USAGE, "the machine"),
        )
        return min((room for room in rooms if room is not None), default=None)

    def of_gpu(self, device: str, name: str) -> Room | None:
        """Return the room on the GPU with that id, which people call *name*; None where nobody has said."""
        return self._room(GPU_MEMORY_LIMIT, GPU_MEMORY_USAGE, name, device)
