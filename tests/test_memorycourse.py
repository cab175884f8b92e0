"""How the memory of a process went up to its end."""

from __future__ import annotations

import numpy as np
import pytest

from holter.history import History
from holter.memorycourse import MemoryCourse, memory_course
from simulation import SECOND_NS, START_NS, World

MIB = 2**20
RANDOM = np.random.default_rng(5)


def course(usage: list[float] | np.ndarray, limit: int | None = 4096, after: float = 0.0) -> MemoryCourse:
    """Return the course of *usage*, in MiB a second, of a process that ended so many seconds later."""
    world, history = World(totals=False), History()
    for value in usage:
        world.values(world.one("process.memory.usage", "gauge", "By"), [value * MIB])
        history.add(world.snapshot())
    end = START_NS + len(usage) * SECOND_NS + int(after * SECOND_NS)
    found = memory_course(history, end, None if limit is None else limit * MIB)
    assert found is not None
    return found


def noise(count: int, scale: float = 3.0) -> np.ndarray:
    """Return so many values that scatter."""
    return RANDOM.normal(0, scale, count)


LEAKS = {
    "straight": np.linspace(200, 400, 60) + noise(60),
    "after a calm time": np.concatenate((np.full(200, 300.0), np.linspace(300, 500, 100))) + noise(300),
    "ever faster": 200 * 1.02 ** np.arange(60),
    "in small steps": 200 + 20 * (np.arange(60) // 6),
}
NO_LEAKS = {
    "calm": 300 + noise(100),
    "a start that levels off": 400 - 200 * 0.9 ** np.arange(80) + noise(80),
    "a start that levels off smoothly": 400 - 200 * 0.95 ** np.arange(100),
    "one step": np.concatenate((np.full(40, 200.0), np.full(40, 400.0))) + noise(80),
    "a saw": 200 + 15.0 * (np.arange(100) % 20),
    "a random walk that is small": 500 + np.cumsum(noise(200, 1.0)),
    "falling": np.linspace(400, 200, 60),
    "too short to tell": np.linspace(200, 400, 9),
    "slow": np.linspace(1000, 1100, 100),
}


@pytest.mark.parametrize("name", LEAKS)
def test_memory_that_grows_without_end_is_a_leak(name: str) -> None:
    """Steadily, whenever it began."""
    assert course(LEAKS[name]).is_leak


@pytest.mark.parametrize("name", NO_LEAKS)
def test_other_courses_are_no_leak(name: str) -> None:
    """Noise, steps, a start that fills caches."""
    assert not course(NO_LEAKS[name]).is_leak


def test_the_limit_counts_as_reached_shortly_below_it() -> None:
    """As growth goes on after the last sample; a level that only lies high has not reached it."""
    assert course([100, 300, 500, 700, 900], limit=1000).is_at_limit
    assert course([100, 100, 100, 100, 960], limit=1000).is_at_limit
    assert not course([900] * 20, limit=1000).is_at_limit
    assert not course([100, 300, 500, 700, 900], limit=None).is_at_limit
    assert not course([500, 510, 520], limit=1000, after=3_000).is_at_limit


def test_growth_is_told_from_where_it_began() -> None:
    """From what to what in which time, and how fast; how long the limit was away."""
    found = course([200] * 30 + [200 + 10 * step for step in range(1, 31)], limit=1000)
    assert "from 210 MiB to 500 MiB in 29 s (600 MiB/min)" == found.growth()
    assert 50 == pytest.approx(found.until_limit_seconds())
    assert "500 MiB of 1,000 MiB" == found.usage()
    assert (10 * MIB, False) == (pytest.approx(found.slope), found.is_steady)
    assert course([200] * 5).is_steady
    assert course([200] * 5).until_limit_seconds() is None


@pytest.mark.parametrize("usage", [[200], [200, 300], [200, float("nan"), 300]])
def test_few_samples_tell_what_they_can(usage: list[float]) -> None:
    """Without a slope there is no pace."""
    found = course(usage, limit=None)
    assert (0.0, False) == (found.slope, found.is_leak)
    assert found.usage().endswith("MiB")
    assert found.growth()


def test_without_a_sampler_there_is_no_course() -> None:
    """A history of other series, or of none."""
    world, history = World(totals=False), History()
    assert memory_course(history, 0, None) is None
    world.values(world.one("other", "gauge"), [1.0])
    history.add(world.snapshot())
    assert memory_course(history, 0, None) is None
