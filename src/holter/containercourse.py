"""How the limits of its control groups had told on a process, up to its end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from holter import names, words
from holter.history import History

# What grows within a sampler's interval comes on top of what was seen last.
_NEAR_LIMIT: Final = 0.95
_RECENT_NS: Final = 60 * 10**9
_TELLING_SHARE: Final = 0.01


@dataclass(frozen=True, slots=True)
class ContainerCourse:
    """
    What was seen last of the memory of the control group, as bytes and a share of its limit, and of its CPU quota.

    ``throttled_share`` is that of the quota's periods, in the last minute, in which it was used up, and
    ``throttled_seconds`` the time it took; ``oom_kills`` counts processes of the group over all that is held.
    """

    memory_limit: float | None
    memory_share: float | None
    cpu_limit: float | None
    throttled_share: float
    throttled_seconds: float
    oom_kills: int

    @property
    def is_at_limit(self) -> bool:
        """Whether all processes of the group together had hardly any memory left."""
        return self.memory_share is not None and self.memory_share >= _NEAR_LIMIT

    def memory(self) -> str:
        """Return how much was used of how much: "97 % of 256 MiB"."""
        return f"{words.ratio(self.memory_share or 0.0)} of {words.size(self.memory_limit or 0)}"

    def words(self) -> str:
        """Return what is worth to be told, "" if nothing is."""
        told = []
        if self.memory_share is not None:
            told.append(f"memory {self.memory()}")
        if self.cpu_limit is not None and self.throttled_share >= _TELLING_SHARE:
            told.append(
                f"its quota of {self.cpu_limit:.3g} CPUs was used up in {words.ratio(self.throttled_share)} of the"
                f" periods of the last minute, {words.duration(self.throttled_seconds)} of waiting"
            )
        if self.oom_kills:
            told.append(f"{words.count(self.oom_kills, 'process')} killed by the kernel for want of memory")
        return "; ".join(told)


def container_course(history: History) -> ContainerCourse | None:
    """Return how it went; None where no sampler looked at control groups, or there are no limits."""
    rows = {series.name: key for key, series in history.series.items() if series.name.startswith("holter.cgroup.")}
    if not rows:
        return None
    times = history.times_ns()
    recent = times > times[-1] - _RECENT_NS if len(times) else np.zeros(0, bool)

    def last(name: str) -> float | None:
        if name not in rows:
            return None
        column = history.column(rows[name])
        seen = column["p50"][(column["count"] > 0) & np.isfinite(column["p50"])]
        return float(seen[-1]) if len(seen) else None

    def grown(name: str) -> float:
        return float(history.column(rows[name])["sum"][recent].sum()) if name in rows else 0.0

    periods = grown(names.CGROUP_CPU_PERIODS)
    kills = history.column(rows[names.CGROUP_OOM_KILLS])["sum"].sum() if names.CGROUP_OOM_KILLS in rows else 0
    return ContainerCourse(
        memory_limit=last(names.CGROUP_MEMORY_LIMIT),
        memory_share=last(names.CGROUP_MEMORY_UTILIZATION),
        cpu_limit=last(names.CGROUP_CPU_LIMIT),
        throttled_share=grown(names.CGROUP_CPU_THROTTLED_PERIODS) / periods if periods else 0.0,
        throttled_seconds=grown(names.CGROUP_CPU_THROTTLED_TIME),
        oom_kills=int(kills),
    )
