"""Copies of what users' functions take and return: what is taken, what is refused, and what no code of theirs sees."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone, tzinfo
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from contracts.hostile import thing
from holter.columns import LONGEST_TEXT, MOST_BYTES, MOST_ROWS, RefusedError, Taken, take


def taken(value: Any, most_bytes: int = MOST_BYTES) -> Taken:
    """Return the columns of one value that is called x."""
    return take({"x": value}, most_bytes)


@given(
    hnp.arrays(
        st.sampled_from(["f2", "f4", "f8", ">f8", "i1", "i8", "u4", "?"]),
        hnp.array_shapes(min_dims=1, max_dims=3, max_side=40),
    ),
    st.integers(64, 4_096),
)
def test_rows_are_those_of_the_array(array: np.ndarray, most_bytes: int) -> None:
    """What is kept are rows of it, in their order, no more bytes than may be, and all where they fit."""
    if array.nbytes // len(array) > most_bytes:
        with pytest.raises(RefusedError, match="bytes"):
            taken(array, most_bytes)
        return
    columns, kept, rows = taken(array, most_bytes)
    copy = columns["x"]
    assert (len(array), kept, array.dtype) == (rows, len(copy), copy.dtype)
    assert copy.nbytes <= most_bytes
    assert kept == min(rows, most_bytes // (array.nbytes // rows))
    # Each of them is met again further down.
    rest = iter(array)
    assert all(any(np.array_equal(one, other, equal_nan=True) for other in rest) for one in copy)


def test_of_many_rows_as_many_are_kept_from_each_part() -> None:
    """They are spread evenly over all, and begin elsewhere each time."""
    numbers = np.arange(100_000)
    beginnings = set()
    for _ in range(20):
        kept = taken(numbers).columns["x"]
        assert MOST_ROWS == len(kept)
        assert {97, 98} >= set(np.diff(kept).tolist())
        beginnings.add(int(kept[0]))
    assert len(beginnings) > 5


def test_a_copy_shares_nothing_and_cannot_be_changed() -> None:
    """Whatever the program does to its array afterwards, the copy stays as it was; nobody can write to it."""
    array = np.arange(12.0).reshape(4, 3)
    for value in (array, array[::2], array.T, {"a": array}):
        (copy,) = taken(value).columns.values()
        assert not np.shares_memory(array, copy)
        assert not copy.flags.writeable


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3, [3]),
        (2.5, [2.5]),
        (True, [True]),
        (np.float32(1.5), [1.5]),
        (np.array(7), [7]),
        ([1, 2, 3], [1, 2, 3]),
        ((1.5, 2), [1.5, 2.0]),
        ([True, False], [True, False]),
        ([1.5, None], [1.5, math.nan]),
        ([np.float32(1), 2, None], [1.0, 2.0, math.nan]),
        ([[1, 2], [3, 4]], [[1, 2], [3, 4]]),
        ([(1.0,), [2]], [[1.0], [2.0]]),
        ([np.array([1, 2]), np.array([3, 4])], [[1, 2], [3, 4]]),
        ([10**30, 1], [1e30, 1.0]),
        (np.array([1.5, None], object), [1.5, math.nan]),
        ([], []),
        (np.zeros((0, 3)), np.zeros((0, 3))),
    ],
)
def test_numbers_become_arrays(value: Any, expected: Any) -> None:
    """Whichever way they come; what is missing among numbers is NaN."""
    columns, kept, rows = taken(value)
    np.testing.assert_array_equal(np.array(expected), columns["x"])
    assert (len(expected), len(expected)) == (kept, rows)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("yes", ["yes"]),
        (["a", "b", None], ["a", "b", None]),
        (np.array(["a", "bc"]), ["a", "bc"]),
        (np.array(["a", None], object), ["a", None]),
        (["x" * 1_000], ["x" * LONGEST_TEXT]),
    ],
)
def test_text_becomes_lists(value: Any, expected: list[str | None]) -> None:
    """What is missing is None; what is long is cut."""
    assert expected == taken(value).columns["x"]


def test_a_dict_gives_a_column_for_each_key() -> None:
    """Each with its own type; all must have equally many rows."""
    columns, kept, _ = taken(OrderedDict(age=[3, 4], name=["a", "b"], vector=np.zeros((2, 5))))
    assert (2, ["age", "name", "vector"], (2, 5)) == (kept, list(columns), columns["vector"].shape)
    assert ([1], ["a"]) == tuple(list(column) for column in taken({"age": 1, "name": "a"}).columns.values())
    columns, kept, rows = taken({"age": 3.0, "income": 2.5})
    assert (1, 1, [3.0], [2.5]) == (kept, rows, columns["age"].tolist(), columns["income"].tolist())
    assert not columns["age"].flags.writeable
    with pytest.raises(RefusedError, match="different lengths"):
        taken({"age": [3, 4], "name": ["a", "b", "c"]})


def test_a_single_value_beside_many_rows_holds_for_each() -> None:
    """As a threshold does that a whole batch is asked about with."""
    columns, kept, rows = take({"batch": np.zeros((3, 2)), "threshold": 0.5, "note": "a"})
    assert (3, 3, (3, 2), [0.5] * 3, ["a"] * 3) == (
        kept, rows, columns["batch"].shape, columns["threshold"].tolist(), columns["note"],
    )  # fmt: skip
    assert not columns["threshold"].flags.writeable
    columns, kept, _ = take({"batch": np.zeros(100_000), "threshold": 0.5})
    assert MOST_ROWS == kept == len(columns["threshold"])


def test_a_list_of_dicts_gives_a_column_for_each_key() -> None:
    """What one of them lacks is missing there."""
    columns, kept, _ = taken([{"age": 3, "name": "a"}, {"age": 4}, {"name": None, "age": 5}])
    assert (3, [3, 4, 5], ["a", None, None]) == (kept, columns["age"].tolist(), columns["name"])


def test_of_many_dicts_the_same_rows_are_kept_for_each_key() -> None:
    """So that a row stays one."""
    columns, kept, rows = taken([{"a": number, "b": -number} for number in range(5_000)])
    assert (5_000, min(MOST_ROWS, MOST_BYTES // 128)) == (rows, kept)
    np.testing.assert_array_equal(columns["a"], -columns["b"])


class Derived(np.ndarray):
    """What looks like an array, and has code of its own."""


class Number(float):
    """A float that minds being looked at."""

    def __float__(self) -> float:
        raise AssertionError


@pytest.mark.parametrize(
    "value",
    [
        object(),
        b"bytes",
        {1, 2},
        iter([1]),
        1j,
        np.array([1j]),
        np.zeros(2, "i4,f4"),
        np.zeros(3).view(Derived),
        Number(3.0),
        [Number(3.0)],
        [1, "a"],
        [[1], [2, 3]],
        [[1], 2],
        {"a": {"b": 1}},
        {1: 2},
        {},
        [{"a": 1}, 2],
        {f"c{number}": 1 for number in range(2_000)},
        np.zeros((1, MOST_BYTES)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_all_else_is_refused(value: Any) -> None:
    """What was refused is said in words."""
    with pytest.raises(RefusedError):
        taken(value)


TIMES = [datetime(2024, 1, 2, 3), None, datetime(2024, 1, 2, 3, tzinfo=timezone(timedelta(hours=2)))]  # noqa: DTZ001 - as most come
UTC_TIMES = ["2024-01-02T03", "NaT", "2024-01-02T01"]


@pytest.mark.parametrize(
    "value",
    [
        TIMES,
        np.array(TIMES, dtype=object),
        np.array(UTC_TIMES, dtype="M8[h]"),
        [pd.Timestamp(TIMES[0]), pd.NaT, pd.Timestamp(TIMES[2])],
    ],
    ids=("list", "objects", "array", "pandas"),
)
def test_times_are_copied_in_utc(value: Any) -> None:
    """What is missing is NaT."""
    column = taken(value).columns["x"]
    np.testing.assert_array_equal(np.array(UTC_TIMES, dtype="M8[us]"), column.astype("M8[us]"))
    assert not column.flags.writeable
    assert ["2024-01-02"] == taken(date(2024, 1, 2)).columns["x"].astype("M8[D]").astype(str).tolist()


def test_a_time_in_a_zone_of_the_users_is_refused() -> None:
    """Its code would run."""

    class Zone(tzinfo):
        def utcoffset(self, when: datetime | None) -> timedelta:
            raise AssertionError

    with pytest.raises(RefusedError, match=r"a time with .*Zone"):
        taken([datetime(2024, 1, 2, tzinfo=Zone())])


def test_what_pandas_leaves_out_is_missing_among_text_and_numbers() -> None:
    """NaN, NA and NaT."""
    assert ["a", None, None] == taken(["a", float("nan"), None]).columns["x"]
    assert ["a", None] == taken(["a", pd.NA]).columns["x"]
    np.testing.assert_array_equal([1.0, np.nan], taken([1, pd.NA]).columns["x"])
    with pytest.raises(RefusedError, match="text and numbers"):
        taken(["a", 1.5])


def test_what_is_refused_is_said_with_its_column() -> None:
    """So that one knows which of a hundred to leave out."""
    with pytest.raises(RefusedError, match="complex128, in 'b'"):
        taken({"a": [1], "b": np.array([1j])})


@pytest.mark.parametrize("around", [lambda it: it, lambda it: [it], lambda it: {"a": it}, lambda it: [1, it, "a"]])
def test_nothing_of_the_users_runs(around: Callable[[Any], Any]) -> None:
    """An object that minds whatever is done with it is refused like any other."""
    with pytest.raises(RefusedError, match="Thing"):
        taken(around(thing(RuntimeError())))
