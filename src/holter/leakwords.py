"""The words of an alert on a level that grows without end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from holter.ascent import Climb
from holter.levels import Level
from holter.model import AttributeValue
from holter.names import ALLOCATED_BLOCKS, GPU_PROCESS_MEMORY
from holter.room import Room
from holter.words import duration, number, quantity, size

# An object of Python's own allocator takes 16 to 512 bytes, 64 for most.
_BLOCK_BYTES: Final = 64
_LARGE_PART: Final = 0.2
_MOST: Final = 0.5
_WHO: Final = {"own": "this process", "children": "its children", "others": "other processes"}
_MINUTE: Final = 60.0
_HOUR: Final = 3_600.0


@dataclass(frozen=True, slots=True)
class LeakWords:
    """
    What is to be said of a *climb* of a *level*.

    ``rate`` is that of all that climb in the same ``room``; ``parts`` what each part has grown in the window.
    """

    level: Level
    climb: Climb
    room: Room | None
    rate: float
    parts: Mapping[str, float]

    @property
    def seconds_left(self) -> float | None:
        """How long it takes to the limit at this rate; None where there is none."""
        return None if self.room is None or self.rate <= 0 else self.room.left / self.rate

    def _amount(self, value: float) -> str:
        return number(value) if self.level.unit == "1" else quantity(value, self.level.unit)

    def _pace(self, slope: float) -> str:
        """Return a slope a minute, or an hour where it is a slow one."""
        least = 2**20 if self.level.unit == "By" else 1.0
        if slope * _MINUTE >= least / 2:
            return f"{self._amount(slope * _MINUTE)}/min"
        return f"{self._amount(slope * _HOUR)}/h"

    def expected(self) -> str:
        """Return what a level does that is well."""
        return "a level that stops growing, or grows ever slower"

    def seen(self) -> str:
        """Return what it does instead."""
        climb = self.climb
        first, last = self._amount(climb.first), self._amount(climb.last)
        return f"{self._pace(climb.slope)} over {duration(climb.seconds)}, from {first} to {last}"

    def until(self) -> str:
        """Return when which limit is reached: "the container reaches its limit of 8 GiB in 3 h 20 min"."""
        left = self.seconds_left
        if self.room is None or left is None:
            return ""
        limit = self._amount(self.room.limit)
        together = "" if self.rate < 1.01 * self.climb.slope else f", by {self._pace(self.rate)} of all that grow,"
        return f"at this rate{together} {self.room.whose} reaches its limit of {limit} in {duration(left)}"

    def firing(self) -> str:
        """Return what happens, and until when."""
        until = self.until()
        noun = "" if self.level.owner == "metric" else "memory of "
        return (
            f"{noun}{self.level.target} grows without end: by {self.seen()}, steadily and beyond all that it had before"
            + (f"; {until}" if until else "")
        )

    def resolved(self, why: str) -> str:
        """Return how it went on."""
        return f"{self.level.target} no longer grows: {why}"

    def next_step(self, *, is_page: bool) -> str:
        """Return what to do."""
        soon = "restart it before it is killed, in turns with the others; then " if is_page else ""
        return soon + self._where_to_look()

    def _where_to_look(self) -> str:
        owner = self.level.owner
        if owner == "GPU":
            grown = max(self.parts, key=lambda part: self.parts[part], default="")
            who = _WHO.get(grown, "") if self.parts and self.parts[grown] >= _MOST * self.climb.rise else ""
            return (f"it is {who} that took it; " if who else "") + (
                "look for tensors that are kept with their graph (loss.item() instead of loss), and at "
                "torch.cuda.memory_summary()"
            )
        if owner == "children":
            return "look at workers of pools and data loaders: what they keep from one task to the next"
        if owner == "metric":
            return "find who adds to it and never takes away"
        tracing = "compare two snapshots of tracemalloc some minutes apart: what has grown most is kept"
        if "blocks" not in self.parts:
            return f"{tracing}; where nothing in Python grows, it is arrays, tensors or the allocator"
        if self.parts["blocks"] * _BLOCK_BYTES >= _LARGE_PART * self.climb.rise:
            return f"Python's objects grow with it, by {number(self.parts['blocks'])}: {tracing}"
        return (
            "Python's small objects do not grow with it: look for arrays, tensors and buffers that are kept, and at "
            "the allocator (MALLOC_ARENA_MAX=2, jemalloc)"
        )

    def related(self) -> tuple[str, ...]:
        """Return the metrics that grew along."""
        if self.level.owner == "GPU":
            return (GPU_PROCESS_MEMORY,) if any(grown > 0 for grown in self.parts.values()) else ()
        return (ALLOCATED_BLOCKS,) if self.parts.get("blocks", 0.0) > 0 else ()

    def evidence(self) -> dict[str, AttributeValue]:
        """Return the figures that it rests on, in the level's unit and seconds."""
        climb, left = self.climb, self.seconds_left
        figures: dict[str, AttributeValue] = {
            "rate_per_second": climb.slope,
            "window_seconds": climb.seconds,
            "first": climb.first,
            "last": climb.last,
            "straightness": climb.straightness,
            "steps_left_out": climb.steps,
        }
        if self.room is not None and left is not None:
            figures |= {"limit": self.room.limit, "left": self.room.left, "seconds_until_limit": left}
        return figures


def ended_words(level: Level) -> str:
    """Return what is said of an owner that has gone."""
    if level.owner in ("process", "children"):
        return f"{level.target} no longer grows: it has ended"
    return f"{level.target} no longer grows: nobody measures it any more"


def stopped_words(level: Level, climb: Climb) -> str:
    """Return how a level that has stopped stands now."""
    at = size(level.value) if level.unit == "By" else number(level.value)
    is_less = level.value < climb.first + climb.rise / 2
    return f"{level.target} no longer grows: it has {'come down to' if is_less else 'stopped at'} {at}"
