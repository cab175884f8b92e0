"""How the user wants to see what `holter top` shows, and the words for its figures."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

from holter import words

Order = Literal["rate", "p99", "errors", "oldest", "name"]
ORDERS: Final[tuple[Order, ...]] = ("rate", "p99", "errors", "oldest", "name")
WINDOWS: Final = (0.0, 10.0, 60.0)
"""What the figures are of: the last interval, ten seconds, a minute."""

_MINUTE: Final = 60


@dataclass(frozen=True, slots=True)
class View:
    """What the user has chosen to see: the order of the calls, all together or each process apart, how far back."""

    order: Order = "rate"
    is_reversed: bool = False
    is_apart: bool = False
    is_paused: bool = False
    window_seconds: float = 0.0
    interval_seconds: float = 1.0
    selected: object = None


def brief(seconds: float) -> str:
    """Return a duration in two digits, or three where the unit asks for them, so that columns stay narrow."""
    if not 0 < seconds < _MINUTE or not math.isfinite(seconds):
        return words.duration(seconds)
    digits = 3 if math.floor(math.log10(seconds)) % 3 == 2 else 2  # noqa: PLR2004  hundreds of a unit
    return words.duration(float(f"{seconds:.{digits}g}"))


def percent(share: float) -> str:
    """Return a share in whole per cent, with more digits where it is small or falls just short of all."""
    if 0.995 <= share < 1:  # noqa: PLR2004 - rounded to whole per cent it would be all
        return words.ratio(share)
    return words.ratio(round(share, 2) if share >= 0.1 else float(f"{share:.2g}"))  # noqa: PLR2004 - ten per cent
