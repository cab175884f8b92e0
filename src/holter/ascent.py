"""Whether a level climbs without end: its floors in blocks of several lengths, and how straight they rise."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np

from holter.lows import Blocks, Low
from holter.straightness import BLOCKS, STILL, line_through, slope

STEP_UP: Final = 2
"""How many times as long the blocks of the next scale are."""
_LONGEST_SECONDS: Final = 16 * 3_600.0
STOPPED: Final = 0.25
_ENDING: Final = 3
_LOAD_SHARE: Final = 1.5
_NEW_GROUND: Final = 0.5
_DETAIL: Final = 2
_FEWEST_FOR_AGE: Final = 8
# A release: of what was held, so much went at once, and it had been held for so long of the time since it was not.
_RELEASED_AT: Final = 4
_EARLIEST_URGENT: Final = 2
_RELEASED_SHARE: Final = 0.05
_AT_TOP: Final = 0.2
_PLATEAU: Final = 0.5
_PLATEAU_BLOCKS: Final = 12


class Climb(NamedTuple):
    """A climb that goes on: over the last ``seconds``, from one level to another, by so much a second."""

    scale: int
    seconds: float
    first: float
    last: float
    slope: float
    straightness: float
    steps: float

    @property
    def rise(self) -> float:
        """How much it has climbed in its window, steps left out."""
        return self.slope * self.seconds


@dataclass(frozen=True, slots=True)
class Demands:
    """What a climb must come to before it is told."""

    window_seconds: float = 48.0
    """The shortest window; each next one is twice as long, up to some 14 hours."""
    warm_up_seconds: float = 600.0
    """A climb that goes on since the beginning is judged by windows of that length or more."""
    least_rise: float = 8 * 2.0**20
    least_share: float = 0.005
    """What it must rise at least, of itself and of the level."""
    loading: float = 256 * 2.0**20
    """What rises by more than this and by half of its level, in a window shorter than the warm-up, is being loaded."""

    def scales(self) -> list[float]:
        """Return the length of the windows."""
        lengths = [self.window_seconds]
        while lengths[-1] * STEP_UP <= max(_LONGEST_SECONDS, self.warm_up_seconds * STEP_UP):
            lengths.append(lengths[-1] * STEP_UP)
        return lengths


class Ascent:
    """
    The course of one level, and whether it climbs without end.

    Of each block of time the lowest value counts, its floor, so that what comes and goes within a block does no
    harm: garbage that is collected, requests in flight. A window has 24 blocks; of eleven windows, each twice as
    long as the one before, each is judged when a block of it ends. It tells a climb where its floors

    - rise by the least that is demanded, on a straight line: 24 times their scatter about it, steps left out,
    - in its second half by 0.7 of what they did in the first one or more,
    - to where no floor was before, in up to a day,
    - and more than the load does, in shares of themselves;
    - and where it does not go on since the beginning, unless the window is as long as the warm-up.

    Costs 1 us a value and 60 us for a window that rises; 35 KB. Not thread-safe.

    >>> ascent = Ascent(Demands())
    >>> climbs = [ascent.take(float(second), 2e8 + 1e6 * max(0, second - 60), 0.0) for second in range(120)]
    >>> next(second for second, climb in enumerate(climbs) if climb)
    100
    """

    def __init__(self, demands: Demands) -> None:
        self._demands = demands
        self.windows = demands.scales()
        self._scales = [Blocks(seconds, scale) for scale, seconds in enumerate(self.windows)]
        self.ended: list[int] = []
        """The scales of which a block ended with the newest value."""
        self._begun: float | None = None

    def take(self, at: float, value: float, load: float = 0.0, *, room: float = math.inf) -> Climb | None:
        """
        Take in the level at a time in seconds, and the work done since the one before; return a climb that goes on.

        Of several windows that tell one, the longest counts. With *room*, how much more there may be before it is too
        much, a climb that takes that before the warm-up is over is told at once.
        """
        self.note(at, value, load)
        self._release()
        found = None
        for scale in self.ended:
            found = self._judged(scale, at, room) or found
        return found

    def note(self, at: float, value: float, load: float = 0.0) -> None:
        """Take in the level, and judge nothing."""
        self.ended = []
        if self._begun is None:
            self._begun = at
        taken = Low(at, value, load, [])
        for scale, blocks in enumerate(self._scales):
            ended = blocks.take(taken)
            if ended is None:
                break
            self.ended.append(scale)
            taken = ended

    def grown(self, scale: int) -> float | None:
        """Return how much the floors have grown over the window of *scale*; None before there is a whole one."""
        floors = self._scales[scale].floors
        return floors[-1] - floors[-BLOCKS] if len(floors) >= BLOCKS else None

    def _judged(self, scale: int, at: float, room: float) -> Climb | None:
        """Return the climb that the window of *scale* tells, which a block of it has just ended."""
        blocks, demands, seconds = self._scales[scale], self._demands, self.windows[scale]
        if len(blocks.floors) < BLOCKS:
            return None
        first, last = blocks.floors[-BLOCKS], blocks.floors[-1]
        least = max(demands.least_rise, demands.least_share * max(first, 0.0))
        if last - first < least:
            blocks.is_settled |= last - first < least / 2
            return None
        line = line_through(np.array(blocks.floors[-BLOCKS:]))
        if not line.is_straight or line.rise < least or self._was_there(scale, line.rise):
            return None
        pace = line.rise / (blocks.seconds * (BLOCKS - 1))
        is_short = seconds < demands.warm_up_seconds
        if is_short and line.rise > max(demands.loading, max(first, 0.0) / 2):
            return None
        if not blocks.is_settled:
            is_urgent = scale >= _EARLIEST_URGENT and room < pace * demands.warm_up_seconds
            if (is_short and not is_urgent) or self._slows_with_age(at):
                return None
        if self._follows_load(blocks) or not self._goes_on(scale, pace, least):
            return None
        straightness = min(line.rise / line.scatter, 1e6) if line.scatter else 1e6
        return Climb(scale, seconds, first, last, pace, straightness, line.steps)

    def _goes_on(self, scale: int, pace: float, least: float) -> bool:
        """Whether a climb shows in the newest blocks of finer scales, too, as far as they would show it."""
        for blocks in self._scales[:scale]:
            expected = pace * blocks.seconds * (BLOCKS // 2)
            half = BLOCKS // 2
            shows = expected >= 2 * least and len(blocks.floors) > half
            if shows and blocks.floors[-1] - blocks.floors[-1 - half] < STOPPED * expected:
                return False
        return True

    def _slows_with_age(self, at: float) -> bool:
        """Whether a climb since the beginning has slowed down over the second half of its time."""
        half = (at - (at if self._begun is None else self._begun)) / 2
        blocks = next((one for one in self._scales if len(one.floors) * one.seconds >= half), self._scales[-1])
        count = min(len(blocks.floors), int(half / blocks.seconds)) // 2
        if count < _FEWEST_FOR_AGE // 2:
            return False
        floors = np.array(blocks.floors[-2 * count :])
        return slope(floors[count:]) < STILL * slope(floors[:count])

    def _was_there(self, scale: int, rise: float) -> bool:
        """Whether the floors that end the window lie not half of its *rise* above all floors before it."""
        own = self._scales[scale].floors
        ending = sorted(own[-_ENDING:])[_ENDING // 2]
        # Finer floors would count what was there for a moment; the tops of coarser ones lie far below what was there.
        before = [floor for _, floor in self._past(scale, scale + _DETAIL)]
        return ending <= max(before, default=-math.inf) + _NEW_GROUND * rise

    def _past(self, scale: int, detail: int, newest: int = BLOCKS) -> Iterator[tuple[float, float]]:
        """Yield of the blocks before the *newest* ones of *scale*, backwards, their length and highest floor."""
        own = self._scales[scale]
        for floor in own.floors[-newest - 1 :: -1]:
            yield own.seconds, floor
        known = len(own.floors) * own.seconds
        for finer, blocks in enumerate(self._scales[scale + 1 :], start=scale):
            tops = blocks.peaks[min(finer, detail)]
            newer = int(known // blocks.seconds)
            for top in tops[: max(0, len(tops) - newer)][::-1]:
                yield blocks.seconds, top
            known = max(known, len(tops) * blocks.seconds)

    def _release(self) -> None:
        """Forget the past where what was held for long is let go at once: all that comes then is new ground."""
        if _RELEASED_AT not in self.ended:
            return
        floors = self._scales[_RELEASED_AT].floors
        if len(floors) < 2:  # noqa: PLR2004 - before and after
            return
        before, after = floors[-2], floors[-1]
        fell = before - after
        if fell < max(self._demands.least_rise, _RELEASED_SHARE * before):
            return
        high, low = before - _AT_TOP * fell, after + _AT_TOP * fell
        held = since_low = 0.0
        is_held = True
        for seconds, floor in self._past(_RELEASED_AT, _RELEASED_AT, newest=1):
            is_held &= floor >= high
            if floor <= low:
                break
            held, since_low = held + seconds * is_held, since_low + seconds
        if held >= max(_PLATEAU * since_low, _PLATEAU_BLOCKS * self._scales[_RELEASED_AT].seconds):
            for scale, blocks in enumerate(self._scales):
                # Of the finer ones, the blocks that go on have begun with the newest value.
                blocks.forget(with_newest=scale > _RELEASED_AT)

    @staticmethod
    def _follows_load(blocks: Blocks) -> bool:
        """Whether the load has risen in the window by as large a share of itself as the level did of its own."""
        half = BLOCKS // 2
        before, after = sum(blocks.loads[-BLOCKS:-half]), sum(blocks.loads[-half:])
        if before <= 0 or after <= before:
            return after > before
        risen = after / before - 1
        low, high = sum(blocks.floors[-BLOCKS:-half]), sum(blocks.floors[-half:])
        return low > 0 and high / low - 1 <= _LOAD_SHARE * risen

    def has_stopped(self, climb: Climb) -> bool:
        """Whether the *climb* has not gone on for half of its window, or is lost for the most part."""
        floors = self._scales[climb.scale].floors
        if len(floors) < BLOCKS:
            return False
        half = BLOCKS // 2
        recent = slope(np.array(floors[-half:])) / self._scales[climb.scale].seconds
        return recent < STOPPED * climb.slope or floors[-1] < climb.first + climb.rise / 2

    def begin(self, at: float) -> None:
        """Take what comes for another beginning, after which there may be a warm-up; what was held stays known."""
        self._begun = at
        for blocks in self._scales:
            blocks.is_settled = False

    def save(self) -> list[Any]:
        """Return what `load` takes."""
        return [self._begun, *(blocks.save() for blocks in self._scales)]

    def load(self, state: Any) -> None:
        """
        Go on from what was saved.

        Raises:
            ValueError: it is not what `save` returns.
        """
        begun, *scales = state
        if len(scales) != len(self._scales):
            raise ValueError(f"{len(scales)} scales, expected {len(self._scales)}")
        self._begun = None if begun is None else float(begun)
        for blocks, saved in zip(self._scales, scales, strict=True):
            blocks.restore(saved)
