"""The lowest values of blocks of time, on one scale and for coarser ones."""

from __future__ import annotations

import math
from array import array
from typing import Any, Final, NamedTuple

from holter.straightness import BLOCKS

_HELD: Final = 2 * BLOCKS
_LARGEST_GAP: Final = BLOCKS // 4


class Blocks:
    """
    The newest 48 blocks of one scale: the floor of each, the load in it, and the highest of its floors on finer scales.

    ``peaks`` has one row for each finer scale, the finest first.
    """

    def __init__(self, window_seconds: float, scale: int) -> None:
        self.seconds = window_seconds / BLOCKS
        self.floors, self.loads, self.peaks = array("d"), array("d"), [array("f") for _ in range(scale)]
        self.is_settled = False
        """Whether a whole window without a climb has been seen since all began."""
        self._index: int | None = None
        self._begin()

    def _begin(self) -> None:
        self._floor, self._load, self._peaks = math.inf, 0.0, [-math.inf] * len(self.peaks)

    @property
    def _held(self) -> list[array[float]]:
        return [self.floors, self.loads, *self.peaks]

    def take(self, value: Low) -> Low | None:
        """Take in a value; return what that ended, a whole block, if it did."""
        index, ended = int(value.at // self.seconds), None
        if index != self._index:
            if self._index is not None and self._floor < math.inf:
                ended = Low(self._index * self.seconds, self._floor, self._load, [*self._peaks, self._floor])
                # Of a block in which nobody looked, nothing else is known than before.
                for held, one in zip(self._held, (self._floor, self._load, *self._peaks), strict=True):
                    held.extend([one] * min(max(1, index - self._index), _LARGEST_GAP))
                    del held[:-_HELD]
                if not 0 < index - self._index <= _LARGEST_GAP:
                    self.forget()
            self._index = index
            self._begin()
        self._floor, self._load = min(self._floor, value.floor), self._load + value.load
        self._peaks = [*map(max, self._peaks, value.peaks)]
        return ended

    def forget(self, *, with_newest: bool = False) -> None:
        """Forget the blocks, and what there is of the newest one too if so wished."""
        for held in self._held:
            del held[:]
        if with_newest:
            self._begin()

    def save(self) -> list[Any]:
        """Return what `restore` takes: all but the tops of finer scales."""
        newest = [self._floor, self._load] if self._floor < math.inf else None
        return [self._index, self.is_settled, newest, list(self.floors), list(self.loads)]

    def restore(self, state: Any) -> None:
        """
        Go on from what was saved.

        Raises:
            ValueError: it is not what `save` returns.
        """
        index, is_settled, newest, floors, loads = state
        self.floors, self.loads = array("d", map(float, floors)), array("d", map(float, loads))
        floor, load = (math.inf, 0.0) if newest is None else map(float, newest)
        known = [*self.floors, *self.loads, load, *([] if newest is None else [floor])]
        if len(self.floors) != len(self.loads) or len(self.floors) > _HELD or not all(map(math.isfinite, known)):
            raise ValueError("no blocks of a level")
        self.peaks = [array("f", self.floors) for _ in self.peaks]
        self._index, self.is_settled = None if index is None else int(index), bool(is_settled)
        self._floor, self._load, self._peaks = floor, load, [floor if newest else -math.inf] * len(self.peaks)


class Low(NamedTuple):
    """A level in some time: since when, its floor, the work done meanwhile, its highest floors on finer scales."""

    at: float
    floor: float
    load: float
    peaks: list[float]
