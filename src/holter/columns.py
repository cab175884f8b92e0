"""
Copies of what users' functions take and return, as columns of a bounded number of rows.

Nothing of the user's runs here but what numpy, pandas, Polars, Arrow or torch do with data of their own exact types:
subclasses, objects and tensors on a device are refused. What is returned shares no memory with what was given.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timezone
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from holter.guard import class_name
from holter.values import number

MOST_ROWS: Final = 1_024
MOST_BYTES: Final = 2**18
"""The most that one sample may take."""
MOST_COLUMNS: Final = 1_000
LONGEST_TEXT: Final = 256
LONGEST_NAME: Final = 200
_NUMBERS: Final = "biuf"
_TIMES: Final = "Mm"
_NUMBER_BYTES: Final = 8
_TEXT_BYTES: Final = 64

# By identity: a class may have a class of its own, whose hash and equality run foreign code.
_NONE: Final = id(type(None))
_PLAIN: Final = frozenset(map(id, (int, float, bool)))
_WITH_GAPS: Final = _PLAIN | {_NONE}
_TEXT: Final = frozenset(map(id, (str, type(None))))
_STR: Final = id(str)
_TEXT_WITH_GAPS: Final = _TEXT | {id(float)}
_DATES: Final = frozenset(map(id, (date, datetime, type(None))))
_ROWS: Final = frozenset(map(id, (list, tuple, np.ndarray)))

# Its own, so that the user's sequence of random numbers stays what it is.
_random: Final = random.Random()  # noqa: S311 - which rows are looked at is no secret

Index = NDArray[np.int64]


class RefusedError(TypeError):
    """A value that cannot be copied as it must be, and why."""


class Taken(NamedTuple):
    """Columns of ``kept`` rows, out of ``rows``."""

    columns: Mapping[str, Any]
    kept: int
    rows: int


class Leaf(NamedTuple):
    """One column before it is copied: how long it is, and how the rows of an index, or all, are copied out of it."""

    rows: int
    row_bytes: int
    pick: Callable[[Index | None], Any]


class Tables(NamedTuple):
    """How the types of one library become leaves; ``leaves`` returns None for what is none of its types."""

    leaves: Callable[[Any, str], Mapping[str, Leaf] | None]


def plain(name: str, value: object, most_bytes: int) -> Taken | None:
    """
    Return a copy of *value* as the column *name*, if it is an array of numbers all of whose rows are kept; else None.

    That is what most calls are given. Where nothing of this is in a cache, the steps of `take` cost three times what
    the copy does.
    """
    if type(value) is not np.ndarray or value.dtype.kind not in _NUMBERS or not value.ndim:
        return None
    rows = len(value)
    if not 0 < rows <= MOST_ROWS or value.nbytes > most_bytes:
        return None
    copy = value.copy()
    copy.setflags(write=False)
    return Taken({name: copy}, rows, rows)


def take(values: Mapping[str, Any], most_bytes: int = MOST_BYTES, tables: Sequence[Tables] = ()) -> Taken:
    """
    Return a copy of *values*, by their names; a table among them gives its own.

    Costs some 10 us for an array of 60 KiB, and some microseconds a column of a table. At most 1,024 rows are kept,
    fewer where they would take more than *most_bytes*, chosen evenly with a random beginning.

    Raises:
        RefusedError: one is of another type than those that can be copied without running foreign code, or they
            are not equally long.
    """
    if len(values) == 1:
        ((name, value),) = values.items()
        if type(value) is np.ndarray and value.dtype.kind in _NUMBERS and value.ndim:
            rows = len(value)
            index = _chosen(rows, value.nbytes // rows if rows else 0, most_bytes)
            copy = _array(value, index)
            return Taken({name: copy}, len(copy), rows)
        if type(value) is dict and (row := _row(value)) is not None:
            return row
    leaves: dict[str, Leaf] = {}
    for name, value in values.items():
        leaves |= _leaves(value, name, tables)
    return _taken(leaves, most_bytes)


def _row(value: dict[Any, Any]) -> Taken | None:
    """Return a dict of floats, one row as requests bring it, at a quarter of the cost; None if it is none."""
    keys, floats = list(value), list(value.values())
    if not 0 < len(keys) == len(floats) <= MOST_COLUMNS or {id(type(key)) for key in keys} != {id(str)}:
        return None
    if {id(type(one)) for one in floats} != {id(float)}:
        return None
    block = np.array(floats)
    block.flags.writeable = False
    return Taken({key[:LONGEST_NAME]: block[at : at + 1] for at, key in enumerate(keys)}, 1, 1)


def _taken(leaves: Mapping[str, Leaf], most_bytes: int) -> Taken:
    if len(leaves) > MOST_COLUMNS:
        raise RefusedError(f"{len(leaves):,} columns, more than {MOST_COLUMNS:,}")
    lengths = {leaf.rows for leaf in leaves.values()}
    # What is one value beside columns of many rows holds for each of them.
    if len(lengths - {1}) > 1 or not lengths:
        raise RefusedError("columns of different lengths" if lengths else "no columns")
    rows = next(iter(lengths - {1}), 1)
    index = _chosen(rows, sum(leaf.row_bytes for leaf in leaves.values() if leaf.rows == rows), most_bytes)
    kept = rows if index is None else len(index)
    columns: dict[str, Any] = {}
    for name, leaf in leaves.items():
        try:
            columns[name] = leaf.pick(index) if leaf.rows == rows else _repeated(leaf.pick(None), kept)
        except RefusedError as refusal:
            raise RefusedError(f"{refusal}, in {name!r}" if len(leaves) > 1 else str(refusal)) from None
    return Taken(columns, kept, rows)


def _repeated(column: Any, times: int) -> Any:
    if isinstance(column, list):
        return column * times
    # A view that takes no more memory than the one row, and cannot be written to.
    return np.broadcast_to(column, (times, *column.shape[1:]))


def _chosen(rows: int, row_bytes: int, most_bytes: int) -> Index | None:
    """Return which rows are kept, None for all."""
    kept = min(rows, MOST_ROWS, most_bytes // row_bytes if row_bytes else rows)
    if kept == rows:
        return None
    if not kept:
        raise RefusedError(f"rows of {row_bytes:,} bytes, more than {most_bytes:,}")
    # From a random beginning, so that what repeats in the rows of each batch is not met at one place only.
    return ((np.arange(kept) + _random.random()) * (rows / kept)).astype(np.int64).clip(max=rows - 1)


def _array(value: NDArray[Any], index: Index | None) -> NDArray[Any]:
    copy = value.copy() if index is None else value[index]
    copy.flags.writeable = False
    return copy


def array_leaf(value: NDArray[Any]) -> Leaf:
    """Return a numpy array of at least one axis as a leaf; without numbers, text or times it is refused when copied."""
    kind = value.dtype.kind
    rows = len(value)
    if kind in _NUMBERS + _TIMES:
        return Leaf(rows, value.nbytes // rows if rows else 0, lambda index: _array(value, index))
    if kind in "OU" and value.ndim == 1:
        return list_leaf(rows, lambda index: (value if index is None else value[index]).tolist())
    return refused_leaf(rows, f"an array of {value.dtype.name}")


def refused_leaf(rows: int, what: str) -> Leaf:
    """Return a leaf that cannot be copied, being *what*."""

    def refuse(_: Index | None) -> Any:
        raise RefusedError(what)

    return Leaf(rows, 0, refuse)


def list_leaf(rows: int, pick: Callable[[Index | None], list[Any]]) -> Leaf:
    """Return what gives a list of numbers, of text or of times as a leaf; None is what is missing."""
    return Leaf(rows, _TEXT_BYTES, lambda index: _column(pick(index)))


def _leaves(value: Any, name: str, tables: Sequence[Tables]) -> Mapping[str, Leaf]:
    kind = type(value)
    if kind is np.ndarray and value.ndim:
        return {name: array_leaf(value)}
    if kind is str or value is None or id(kind) in _DATES | _timestamps() or number(value) is not None:
        return {name: list_leaf(1, lambda _: [value])}
    if issubclass(kind, dict):
        return _of_dict(value, tables)
    if kind is list or kind is tuple:
        values = list(value)
        if values and issubclass(type(values[0]), dict):
            return _of_records(values)
        return {name: _list_of_leaf(values)}
    for table in tables:
        leaves = table.leaves(value, name)
        if leaves is not None:
            return leaves
    raise RefusedError(f"a {class_name(kind)}")


def _of_dict(value: Any, tables: Sequence[Tables]) -> Mapping[str, Leaf]:
    # In one step, and by dict's own method: a class of the user's may have code of its own, and threads may add.
    leaves: dict[str, Leaf] = {}
    for key, column in list(dict.items(value)):
        if type(key) is not str or issubclass(type(column), dict):
            raise RefusedError("a dict within a dict" if type(key) is str else "a dict whose keys are no str")
        leaf = _leaves(column, key, tables)
        if key not in leaf or len(leaf) != 1:
            raise RefusedError("a table within a dict")
        leaves[key[:LONGEST_NAME]] = leaf[key]
    return leaves


def _of_records(values: list[Any]) -> Mapping[str, Leaf]:
    """Return a list of dicts as columns; a key that a dict lacks is missing there."""
    if not all(issubclass(type(one), dict) for one in values):
        raise RefusedError("a list of dicts and other things")
    keys = {key: None for one in values[:MOST_ROWS] for key in list(dict.keys(one)) if type(key) is str}

    def column(key: str) -> Leaf:
        return list_leaf(
            len(values),
            lambda index: [dict.get(one, key) for one in (values if index is None else map(values.__getitem__, index))],
        )

    return {key[:LONGEST_NAME]: column(key) for key in keys}


def _list_of_leaf(values: list[Any]) -> Leaf:
    # Which rows are kept follows from how large one is.
    first: Any = values[0] if values else None
    row_bytes = _TEXT_BYTES
    if type(first) is np.ndarray:
        row_bytes = first.nbytes
    elif type(first) is list or type(first) is tuple:
        row_bytes = len(first) * _NUMBER_BYTES

    def pick(index: Index | None) -> Any:
        chosen = values if index is None else [values[at] for at in index.tolist()]
        is_nested = bool(chosen) and frozenset(map(id, map(type, chosen))) <= _ROWS
        return _rows_of_numbers(chosen) if is_nested else _column(chosen)

    return Leaf(len(values), row_bytes, pick)


def _column(values: list[Any]) -> Any:
    """Return values as an array of numbers, with NaN for None, or of times in UTC, or as a list of text."""
    kinds = frozenset(map(id, map(type, values)))
    if kinds & _gaps():
        values = [None if id(type(one)) in _gaps() else one for one in values]
        kinds = kinds - _gaps() | {_NONE}
    if kinds <= _TEXT and kinds != {_NONE}:
        return [one if one is None else one[:LONGEST_TEXT] for one in values]
    if _STR in kinds and kinds <= _TEXT_WITH_GAPS:
        # Frames of pandas have NaN for what is missing, among text too.
        if any(type(one) is float and one == one for one in values):  # noqa: PLR0124 - NaN differs from itself
            raise RefusedError("a list of text and numbers")
        return [one[:LONGEST_TEXT] if type(one) is str else None for one in values]
    if kinds <= _PLAIN:
        return _numbers(values)
    if kinds <= _WITH_GAPS:
        return _numbers([np.nan if one is None else one for one in values])
    if kinds - {_NONE} and kinds <= _DATES | _timestamps():
        return _times(values)
    # numpy's own numbers, and what is mixed.
    told = [np.nan if one is None else number(one) for one in values]
    if any(one is None for one in told):
        other = next(class_name(type(one)) for one, known in zip(values, told, strict=True) if known is None)
        raise RefusedError(f"a list with a {other} in it")
    return _numbers(told)


def _timestamps() -> frozenset[int]:
    """Return the type that pandas has for times, if the program has loaded it."""
    return frozenset([id(getattr(sys.modules.get("pandas"), "Timestamp", None))])


def _gaps() -> frozenset[int]:
    """Return the types that pandas has for what is missing, if the program has loaded it."""
    pandas = sys.modules.get("pandas")
    return frozenset(id(type(getattr(pandas, name, None))) for name in ("NA", "NaT")) - {_NONE}


def _times(values: list[Any]) -> NDArray[Any]:
    """Return times as numpy has them, those with an offset in UTC."""
    told = []
    for one in values:
        if isinstance(one, datetime) and one.tzinfo is not None:
            # Other time zones may be the user's own code.
            if type(one.tzinfo) is not timezone and not class_name(type(one.tzinfo)).startswith("zoneinfo."):
                raise RefusedError(f"a time with {class_name(type(one.tzinfo))}")
            told.append(one.astimezone(UTC).replace(tzinfo=None))
        else:
            told.append(one)
    array = np.array(told, dtype="M8[us]")
    array.flags.writeable = False
    return array


def _numbers(values: list[Any]) -> NDArray[Any]:
    array = np.array(values)
    if array.dtype.kind not in _NUMBERS:
        # Whole numbers of more than 64 bits.
        array = np.array([float(one) if abs(one) < 1e300 else np.copysign(np.inf, one) for one in values])  # noqa: PLR2004 - near the largest float
    array.flags.writeable = False
    return array


def _rows_of_numbers(values: list[Any]) -> NDArray[Any]:
    rows = [one if type(one) is np.ndarray else _column(list(one)) for one in values]
    shapes = {getattr(one, "shape", None) for one in rows}
    if len(shapes) != 1 or None in shapes or any(one.dtype.kind not in _NUMBERS for one in rows):
        raise RefusedError("a list of rows that are not of equal length, or no numbers")
    array = np.stack(rows)
    array.flags.writeable = False
    return array
