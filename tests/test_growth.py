"""Sums over what comes and goes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from holter.growth import Growth


def course(*readings: dict[str, int]) -> list[float | None]:
    """Return the sums of counters, one each."""
    growth = Growth()
    told = (growth.now({name: (value,) for name, value in one.items()}) for one in readings)
    return [None if one is None else one[0] for one in told]


def test_it_is_the_sum_of_what_each_has_grown() -> None:
    """From the plain sum on."""
    assert [30, 33, 40] == course({"a": 10, "b": 20}, {"a": 11, "b": 22}, {"a": 18, "b": 22})


def test_what_vanishes_takes_nothing_back_and_what_comes_brings_nothing() -> None:
    """An interface that has carried terabytes goes, comes back, and has carried as much as before."""
    assert [10**12 + 5, 10**12 + 6, 10**12 + 7, 10**12 + 9] == course(
        {"a": 5, "big": 10**12}, {"a": 6}, {"a": 7, "big": 10**12 + 3}, {"a": 8, "big": 10**12 + 4}
    )


def test_a_counter_that_falls_goes_on_from_there() -> None:
    """A driver that was loaded again, or 32 bits that are full: nothing jumps."""
    assert [2**32 - 1, 2**32 - 1, 2**32 + 9] == course({"a": 2**32 - 1}, {"a": 5}, {"a": 15})


def test_without_things_there_is_no_sum() -> None:
    """And when they are back, it goes on where it was."""
    assert [None, 7, None, 7, 8] == course({}, {"a": 7}, {}, {"a": 100}, {"a": 101})


@given(st.lists(st.dictionaries(st.sampled_from("abc"), st.integers(0, 2**64)), max_size=20))
def test_it_never_falls_and_never_jumps(readings: list[dict[str, int]]) -> None:
    """Whatever comes and goes: from one reading to the next it grows by what those that stay have grown."""
    told = course(*readings)
    last, before = None, {}
    for reading, now in zip(readings, told, strict=True):
        if reading and last is not None:
            assert now - last == sum(max(0, value - before[name]) for name, value in reading.items() if name in before)
        last, before = now if reading else last, reading
