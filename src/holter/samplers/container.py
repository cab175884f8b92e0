"""What the control groups of the process allow, use and have been cut short by: the limits of a container."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Final

from holter import names
from holter.arguments import positive_seconds
from holter.cgroups import ControlGroups, CPUFigures, MemoryFigures, stalls
from holter.model import Record
from holter.polling import READ_ERRORS, Metric, NoValueError, Poll, Values

_USER: Final = {"cpu.mode": "user"}
_SYSTEM: Final = {"cpu.mode": "system"}


class ContainerSampler:
    """
    The limits that the control groups of this process set, and what they use of them; Linux only.

    Reads both versions of control groups, and mixtures of them. Memory is that of the group with the least limit
    among the process's own and those around it, as is the CPU quota: that one is reached first. Where nothing is
    limited, memory and CPU time are those of its own group. ``container.memory.working_set`` is what is used without
    the file cache that can be dropped, and ``holter.cgroup.memory.utilization`` its share of the limit: near 1 the
    kernel kills. ``holter.cgroup.cpu.throttled_time`` is how long the group stood still because its quota was used
    up, over all CPUs. ``holter.cgroup.pressure`` exists in the second version only.

    A sample costs some 0.1 ms; nothing in it waits. A figure that the kernel does not give, or a limit that is not
    set, is left out and named in `unavailable`; the others go on.

    >>> ContainerSampler(interval_seconds=10.0)
    ContainerSampler(interval_seconds=10.0)

    Raises:
        ConfigurationError: *interval_seconds* is not a positive number.
    """

    whole_host = True

    def __init__(self, interval_seconds: float = 5.0, *, _root: str = "/") -> None:
        self.interval_seconds = positive_seconds("interval_seconds", interval_seconds)
        self._groups = ControlGroups(Path(_root))
        self._poll = Poll(_METRICS)

    def __repr__(self) -> str:
        return f"ContainerSampler(interval_seconds={self.interval_seconds!r})"

    @property
    def unavailable(self) -> Mapping[str, str]:
        """The metrics that could not be read the last time: name to "unavailable, because ..."."""
        return self._poll.unavailable

    def sample(self, record: Record) -> None:
        """Hand the figures as they are now to *record*; never blocks."""
        try:
            self._groups.look()
        except READ_ERRORS as error:
            self._poll.fail(error)
        else:
            self._poll.read(_Now(self._groups), record)


class _Now:
    """One sample: what several metrics need is read once."""

    def __init__(self, groups: ControlGroups) -> None:
        self._groups = groups

    @cached_property
    def _memory(self) -> MemoryFigures:
        return self._groups.memory()

    @cached_property
    def _cpu(self) -> CPUFigures:
        figures = self._groups.cpu()
        if figures is None:
            raise NoValueError("no control group limits the CPU time of this process")
        return figures

    @property
    def _limit(self) -> int:
        if self._memory.limit is None:
            raise NoValueError("no control group limits the memory of this process")
        return self._memory.limit

    def memory_usage(self) -> Values:
        return (({}, self._memory.usage),)

    def memory_working_set(self) -> Values:
        return (({}, self._memory.working_set),)

    def memory_limit(self) -> Values:
        return (({}, self._limit),)

    def memory_utilization(self) -> Values:
        return (({}, self._memory.working_set / self._limit),)

    def oom_kills(self) -> Values:
        return (({}, self._groups.oom_kills()),)

    def cpu_time(self) -> Values:
        user, system = self._groups.cpu_seconds()
        return (_USER, user), (_SYSTEM, system)

    def cpu_limit(self) -> Values:
        return (({}, self._cpu.limit),)

    def cpu_periods(self) -> Values:
        return (({}, self._cpu.periods),)

    def cpu_throttled_periods(self) -> Values:
        return (({}, self._cpu.throttled_periods),)

    def cpu_throttled_time(self) -> Values:
        return (({}, self._cpu.throttled_seconds),)

    def pressure(self) -> Values:
        return stalls(self._groups.pressure())


_METRICS: Final = (
    Metric("container.memory.usage", "gauge", "By", _Now.memory_usage),
    Metric("container.memory.working_set", "gauge", "By", _Now.memory_working_set),
    Metric(names.CGROUP_MEMORY_LIMIT, "gauge", "By", _Now.memory_limit),
    Metric(names.CGROUP_MEMORY_UTILIZATION, "gauge", "1", _Now.memory_utilization),
    Metric(names.CGROUP_OOM_KILLS, "counter", "{process}", _Now.oom_kills),
    Metric("container.cpu.time", "counter", "s", _Now.cpu_time),
    Metric(names.CGROUP_CPU_LIMIT, "gauge", "{cpu}", _Now.cpu_limit),
    Metric(names.CGROUP_CPU_PERIODS, "counter", "{period}", _Now.cpu_periods),
    Metric(names.CGROUP_CPU_THROTTLED_PERIODS, "counter", "{period}", _Now.cpu_throttled_periods),
    Metric(names.CGROUP_CPU_THROTTLED_TIME, "counter", "s", _Now.cpu_throttled_time),
    Metric(names.CGROUP_PRESSURE, "counter", "s", _Now.pressure),
)
