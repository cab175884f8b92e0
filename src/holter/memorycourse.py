"""How the memory of a process went, up to its end: near its limit, growing without end, or neither."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from holter import words
from holter.history import History

_USAGE: Final = "process.memory.usage"
_HOST_SHARE: Final = "system.memory.utilization"
# From the last sample to the end a process goes on growing; what lies so near below the limit has reached it.
_NEAR_LIMIT: Final = 0.95
_NEAR_HOST: Final = 0.97
_RECENT: Final = 10
_FEWEST: Final = 10
_PARTS: Final = 5
_LEAST_GROWTH: Final = 0.2
_LEAST_GROWTH_BYTES: Final = 16 * 2**20
_STARTING: Final = 0.05
_SLIGHT: Final = 0.02
_STILL_GROWING: Final = 0.3


@dataclass(frozen=True, slots=True)
class MemoryCourse:
    """
    The resident memory over the intervals of a history, in bytes; ``slope`` is in bytes a second, of the last ten.

    ``first`` is the value from which it has grown (or fallen) to the ``last`` one within so many
    ``seconds``. ``expected`` is where it was at the end if it went on like that, ``limit`` that of
    the control groups or else of the machine, None where it is not known. ``is_leak`` is whether it
    grew all that time, by a fifth and 16 MiB at least, and had not levelled off.
    """

    first: float
    last: float
    expected: float
    slope: float
    seconds: float
    limit: float | None
    host_share: float | None
    is_leak: bool

    @property
    def is_at_limit(self) -> bool:
        """Whether the limit was reached, as far as can be told from the last sample."""
        return self.limit is not None and self.expected >= _NEAR_LIMIT * self.limit

    @property
    def is_host_full(self) -> bool:
        """Whether the machine had no memory left."""
        return self.host_share is not None and self.host_share >= _NEAR_HOST

    @property
    def is_steady(self) -> bool:
        """Whether it has hardly changed."""
        return abs(self.last - self.first) < _SLIGHT * self.last

    def usage(self) -> str:
        """Return how much was used of how much: "243 MiB of 256 MiB"."""
        return words.size(self.last) + (f" of {words.size(self.limit)}" if self.limit is not None else "")

    def growth(self) -> str:
        """Return how it grew: "from 102 MiB to 243 MiB in 3 min 2 s (46.1 MiB/min)"."""
        pace = f"{words.size(60 * (self.last - self.first) / self.seconds)}/min" if self.seconds > 0 else ""
        return (
            f"from {words.size(self.first)} to {words.size(self.last)} in {words.duration(self.seconds)}"
            f"{f' ({pace})' if pace else ''}"
        )

    def until_limit_seconds(self) -> float | None:
        """Return after how many more seconds the limit would have been reached; None where it would not have been."""
        if self.limit is None or self.slope <= 0:
            return None
        return max(0.0, self.limit - self.last) / self.slope


def memory_course(history: History, ended_ns: int, limit: int | None) -> MemoryCourse | None:
    """Return how memory went until the Unix time *ended_ns*; None where no sampler looked at it."""
    times, usage = _samples(history, _USAGE)
    if not len(usage):
        return None
    _, host = _samples(history, _HOST_SHARE)
    recent_times, recent = times[-_RECENT:], usage[-_RECENT:]
    spread = recent_times - recent_times.mean()
    slope = float(spread @ recent / (spread @ spread)) if len(recent) > 2 else 0.0  # noqa: PLR2004 - a line needs three
    step = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
    since = min(max(0.0, ended_ns / 1e9 - float(times[-1])), 3 * step)
    begun = _growth_start(usage)
    return MemoryCourse(
        first=float(usage[begun]),
        last=float(usage[-1]),
        expected=float(usage[-1]) + max(0.0, slope) * (since + step),
        slope=slope,
        seconds=float(times[-1] - times[begun]),
        limit=limit,
        host_share=float(host[-1]) if len(host) else None,
        is_leak=_is_leak(usage[begun:]) and not _has_been_there(usage, begun),
    )


def _samples(history: History, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return Unix times in seconds and values of the last gauge *name* of a history."""
    for key, series in history.series.items():
        if series.name == name:
            column = history.column(key)
            seen = (column["count"] > 0) & np.isfinite(column["p50"])
            return history.times_ns()[seen] / 1e9, column["p50"][seen]
    return np.zeros(0), np.zeros(0)


def _growth_start(usage: NDArray[np.float64]) -> int:
    """Return the last sample near the lowest level, from which memory has grown to the end; the first if it has not."""
    low = float(usage.min())
    near = np.flatnonzero(usage <= low + _STARTING * (usage[-1] - low))
    return int(near[-1]) if len(near) and near[-1] < len(usage) - 1 else 0


def _has_been_there(usage: NDArray[np.float64], begun: int) -> bool:
    """Whether memory lay as high before and came down again, as where a collector frees it now and then."""
    return bool((usage[:begun] >= (usage[begun] + usage[-1]) / 2).any())


def _is_leak(usage: NDArray[np.float64]) -> bool:
    """Tell steady growth from a start that levels off, from steps and from noise."""
    if len(usage) < _FEWEST:
        return False
    levels = np.array([np.median(part) for part in np.array_split(usage, _PARTS)])
    grown = levels[-1] - levels[0]
    steps = np.diff(levels)
    return bool(
        grown >= max(_LEAST_GROWTH * levels[0], _LEAST_GROWTH_BYTES)
        and (steps > 0).all()
        and steps[-1] >= _STILL_GROWING * steps.mean()
    )
