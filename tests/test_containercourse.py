"""How the limits of control groups had told, from histories that are written by hand."""

from __future__ import annotations

import pytest

from holter import names
from holter.containercourse import container_course
from holter.history import History
from holter.metric import Kind, Series
from holter.model import Reading, Snapshot

MIB = 2**20
SECOND_NS = 10**9
KINDS: dict[str, Kind] = {
    names.CGROUP_MEMORY_LIMIT: "gauge",
    names.CGROUP_MEMORY_UTILIZATION: "gauge",
    names.CGROUP_CPU_LIMIT: "gauge",
    names.CGROUP_CPU_PERIODS: "counter",
    names.CGROUP_CPU_THROTTLED_PERIODS: "counter",
    names.CGROUP_CPU_THROTTLED_TIME: "counter",
    names.CGROUP_OOM_KILLS: "counter",
}
SERIES = {key: Series(key, name, "1", kind) for key, (name, kind) in enumerate(KINDS.items(), 1)}
KEYS = {series.name: key for key, series in SERIES.items()}


def history(*intervals: dict[str, float], seconds: float = 5.0) -> History:
    """Return a history of intervals with what gauges were and counters grew."""
    held = History()
    for number, figures in enumerate(intervals, 1):
        readings = {KEYS[name]: Reading(1, value, last=value) for name, value in figures.items()}
        held.add(Snapshot(int(number * seconds * SECOND_NS), int(seconds * SECOND_NS), SERIES, {}, readings))
    return held


def test_without_figures_nothing_is_told() -> None:
    """Nobody looked."""
    assert container_course(history()) is None
    assert container_course(history({})) is None


def test_the_last_share_of_memory_counts() -> None:
    """At 95 % of the limit it is reached."""
    used = [
        {names.CGROUP_MEMORY_LIMIT: 256 * MIB, names.CGROUP_MEMORY_UTILIZATION: share} for share in (0.99, 0.2, 0.97)
    ]
    course = container_course(history(*used, {}))
    assert (course.memory_limit, course.memory_share, course.is_at_limit) == (256 * MIB, 0.97, True)
    assert course.words() == "memory 97 % of 256 MiB"
    assert not container_course(history(*used[:2])).is_at_limit


def test_throttling_is_that_of_the_last_minute() -> None:
    """Hours ago it stood still for long; that is no fact of its end."""
    early = {names.CGROUP_CPU_PERIODS: 50, names.CGROUP_CPU_THROTTLED_PERIODS: 50, names.CGROUP_CPU_THROTTLED_TIME: 4}
    late = {names.CGROUP_CPU_PERIODS: 50, names.CGROUP_CPU_THROTTLED_PERIODS: 10, names.CGROUP_CPU_THROTTLED_TIME: 0.5}
    limit = {names.CGROUP_CPU_LIMIT: 1.5}
    course = container_course(history(*[early | limit] * 20, *[late | limit] * 12))
    assert course.throttled_share == pytest.approx(0.2)
    assert course.throttled_seconds == pytest.approx(6)
    assert course.words() == (
        "its quota of 1.5 CPUs was used up in 20 % of the periods of the last minute, 6 s of waiting"
    )
    assert "" == container_course(history({names.CGROUP_CPU_PERIODS: 50} | limit)).words()


def test_kills_are_counted_over_all() -> None:
    """Whenever it was."""
    course = container_course(history({names.CGROUP_OOM_KILLS: 2}, *[{}] * 30, {names.CGROUP_OOM_KILLS: 1}))
    assert (course.oom_kills, course.words()) == (3, "3 processes killed by the kernel for want of memory")
