"""What slow calls lost their time to, in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from holter import words
from holter.pauses import TELLING_SHARE
from holter.slowcall import Pause, SlowCall

_MOST_CAUSES: Final = 2


def losses(calls: Iterable[SlowCall]) -> dict[str, float]:
    """Return which share of the time of *calls* was lost to each cause, most first; none of less than a fifth."""
    lost: dict[str, float] = {}
    seconds = 0.0
    for call in calls:
        seconds += call.seconds
        for pause in call.pauses:
            lost[pause.cause] = lost.get(pause.cause, 0.0) + pause.seconds
    shares = {cause: lost[cause] / seconds for cause in sorted(lost, key=lambda cause: -lost[cause]) if seconds}
    return {cause: share for cause, share in shares.items() if share >= TELLING_SHARE}


def with_losses(cause: str, calls: Iterable[SlowCall], name: str, since_ns: int, until_ns: int) -> str:
    """Return *cause*, and what the slow calls of *name* that ended between the two lost most of their time to."""
    shares = losses(call for call in calls if call.call == name and since_ns <= call.end_ns <= until_ns)
    if not shares:
        return cause
    told = f"its slow calls spent {said(shares)}"
    return f"{cause}; {told}" if cause else told


def said(shares: Mapping[str, float]) -> str:
    """Return the first two of *shares*: "71 % of their time in garbage collection and 22 % waiting for a CPU"."""
    (first, share), *others = [(Pause(cause, 0.0).words, share) for cause, share in shares.items()][:_MOST_CAUSES]
    text = f"{words.ratio(share)} of their time {first}"
    return text + "".join(f" and {words.ratio(share)} {other}" for other, share in others)
