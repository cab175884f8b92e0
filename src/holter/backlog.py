"""Whether work piles up: what waits grows for a whole window, while what is done does not grow along."""

from __future__ import annotations

import math
from collections import deque
from typing import Final, NamedTuple

BLOCKS: Final = 12
"""How many blocks a window has."""
STEP_UP: Final = 4
SCALES: Final = 4
_HELD: Final = 6 * BLOCKS
_PART: Final = BLOCKS // 3
# Mann and Kendall's count of pairs in order less those in disorder, of 66 pairs: by chance once in 8,500 times.
_ORDER: Final = 50
_STILL: Final = 1.1
_OVER_PAST: Final = 1.5
_SERVED: Final = 0.3
_CALM_WINDOWS: Final = 3
_KNOWN_WINDOWS: Final = 20
_BEYOND_CHANCE: Final = 4.0
_FAR_BEYOND_CHANCE: Final = 6.0
_FLAT: Final = 1.1


class Block(NamedTuple):
    """Some time: how long, how many were there on average and were done; the highest mean of parts of each scale."""

    seconds: float
    level: float
    done: float
    tops: tuple[float, ...] = ()

    @property
    def rate(self) -> float:
        """How many were done a second."""
        return self.done / self.seconds


class Pile(NamedTuple):
    """Work that piles up: over how many seconds, from what level and rate to what."""

    scale: int
    seconds: float
    first: float
    last: float
    rate_before: float
    rate: float

    @property
    def wait_before(self) -> float | None:
        """How long each was there then: J. D. C. Little's law (1961), the number there = the rate x the time there."""
        return self.first / self.rate_before if self.rate_before else None

    @property
    def wait(self) -> float | None:
        """How long what comes now will be there."""
        return self.last / self.rate if self.rate else None


class Backlog:
    """
    The course of a number of things that are there, and of how many are done.

    A window has 12 blocks; of four windows, each four times as long as the one before, one tells that work piles up
    where the mean level of its last third is *growth* times that of the first and at least *minimum*; its blocks are
    in order, but for few; it grew from each third to the next by a tenth; it lies half above all that was before, in
    five windows; and what was done grew by less than the 0.3rd power of it. So a batch that is started at once, and
    more work that is done, are none. Some 3 us an interval; 100 KB. Not thread-safe.

    >>> backlog = Backlog(window_seconds=60.0, growth=2.0, minimum=10.0)
    >>> piles = [backlog.take(1.0, 10 + 10 * max(0, second - 60), 40) for second in range(120)]
    >>> next(second for second, pile in enumerate(piles) if pile)
    99
    """

    def __init__(self, *, window_seconds: float, growth: float, minimum: float) -> None:
        self._growth, self._minimum = growth, minimum
        self._lengths = [window_seconds / BLOCKS * STEP_UP**scale for scale in range(SCALES)]
        self._blocks: list[deque[Block]] = [deque(maxlen=_HELD) for _ in self._lengths]
        self._open: list[list[Block]] = [[] for _ in self._lengths]
        self._ended: list[int] = []

    def take(self, seconds: float, level: float, done: float, *, is_known: bool = False) -> Pile | None:
        """
        Take in an interval; return work that piles up, by the longest window that tells it.

        What was there while trouble *is_known* already does not count as what was there before.
        """
        self._ended = []
        if seconds <= 0:
            return None
        block = Block(seconds, level, done)
        for scale, length in enumerate(self._lengths):
            parts = self._open[scale]
            parts.append(block)
            if sum(part.seconds for part in parts) < length * (1 - 1e-9):
                break
            block = _joined(parts)
            block = block._replace(tops=(*block.tops, 0.0 if is_known else block.level))
            self._blocks[scale].append(block)
            self._open[scale] = []
            self._ended.append(scale)
        found = None
        for scale in self._ended:
            found = self._judged(scale) or found
        return found

    def _judged(self, scale: int) -> Pile | None:
        blocks = list(self._blocks[scale])
        if len(blocks) < BLOCKS:
            return None
        window = blocks[-BLOCKS:]
        first, middle, last = (_joined(window[at : at + _PART]) for at in range(0, BLOCKS, _PART))
        if last.level < self._minimum or last.level < self._growth * first.level:
            return None
        if middle.level < _STILL * first.level or last.level < _STILL * middle.level:
            return None
        levels = [block.level for block in window]
        order = sum((later > earlier) - (later < earlier) for at, later in enumerate(levels) for earlier in levels[:at])
        if order < _ORDER or _is_served(first, last):
            return None
        whole = _joined(window)
        known, most = self._past(scale)
        # By how many times what chance makes of as many who come and go, each for himself.
        beyond_chance = (last.level - first.level) / math.sqrt(2 * max(whole.done, 1.0))
        if last.level < _OVER_PAST * most and beyond_chance < _FAR_BEYOND_CHANCE:
            return None
        if known < _KNOWN_WINDOWS * whole.seconds and beyond_chance < _BEYOND_CHANCE:
            return None
        return Pile(scale, whole.seconds, first.level, last.level, first.rate, last.rate)

    def _past(self, scale: int) -> tuple[float, float]:
        """Return for how many seconds before the window of *scale* the past is known, and the most that was there."""
        own = list(self._blocks[scale])
        known = sum(block.seconds for block in own)
        most = max((block.tops[scale] for block in own[:-BLOCKS]), default=0.0)
        in_window = sum(block.seconds for block in own[-BLOCKS:])
        for coarser in self._blocks[scale + 1 :]:
            age = 0.0
            for block in reversed(coarser):
                if age >= known:
                    most = max(most, block.tops[scale])
                age += block.seconds
            known = max(known, age)
        return known - in_window, most

    def newest(self) -> Block | None:
        """Return the newest third of the shortest window, where a block of it has just ended."""
        newest = list(self._blocks[0])[-_PART:]
        return _joined(newest) if 0 in self._ended and len(newest) == _PART else None

    def is_calm(self, scale: int) -> bool:
        """Whether the level has stayed as it is for three windows of *scale*."""
        blocks = list(self._blocks[scale])[-_CALM_WINDOWS * BLOCKS :]
        if len(blocks) < _CALM_WINDOWS * BLOCKS:
            return False
        levels = [_joined(blocks[at : at + BLOCKS]).level for at in range(0, len(blocks), BLOCKS)]
        return max(levels) <= _FLAT * min(levels)


def _joined(blocks: list[Block]) -> Block:
    seconds = sum(block.seconds for block in blocks)
    level = sum(block.level * block.seconds for block in blocks) / seconds
    tops = tuple(map(max, zip(*(block.tops for block in blocks), strict=True)))
    return Block(seconds, level, sum(block.done for block in blocks), tops)


def _is_served(first: Block, last: Block) -> bool:
    """Whether more was done as more was there; by chance a count of n differs by the square root of it, twice here."""
    if not first.done:
        return last.done > 0
    chance = 2 * math.sqrt(1 / first.done + 1 / max(last.done, 1.0))
    growth = last.level / first.level if first.level else math.inf
    return last.rate / first.rate > growth**_SERVED * (1 + chance) if math.isfinite(growth) else False
