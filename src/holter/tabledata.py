"""The columns of whatever holds data: arrays, frames of pandas and Polars, tables of Arrow, dicts, lists of dicts."""

from __future__ import annotations

import math
import os
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from numbers import Real
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from holter.distribution import Floats
from holter.errors import ConfigurationError

Kind = Literal["number", "time", "category", "vector", "other", ""]

ROWS: Final = 1 << 16
"""So many rows are looked at at a time."""
_NUMBERS: Final = "iuf"
_EXPECTED: Final = (
    "expected columns: a dict of arrays, a list of dicts, an array of (rows, columns), a frame of pandas or Polars, or "
    "a table of Arrow"
)
_TEXT_TYPES: Final = (str, bool, np.bool_, np.str_)
_LARGEST: Final = sys.float_info.max
_EPOCH: Final = np.datetime64(0, "s")


@dataclass(frozen=True, slots=True)
class Values:
    """
    The values of one column, of one ``kind``; the others are only counted.

    ``numbers`` are those of "number" and of "time" (Unix seconds), infinite ones too; ``texts`` the categories,
    ``vectors`` an array of (rows, dimensions). ``missing`` are None, NaN and the like, ``invalid`` those of another
    kind. ``rows`` tells which rows the values stand in.
    """

    kind: Kind
    rows: npt.NDArray[np.bool_]
    numbers: Floats | None = None
    texts: Sequence[str] | None = None
    vectors: Floats | None = None
    missing: int = 0
    invalid: int = 0


def columns_of(data: Any) -> dict[str, Any]:
    """
    Return the columns of *data* by name, as arrays, without copying where that can be.

    A table may be a dict of columns, a list of dicts, an array of two dimensions (named "0", "1", ...), a structured
    array, a frame of pandas or Polars, a table or batch of Arrow. What else is one-dimensional is one column, "value".

    Raises:
        ConfigurationError: *data* is none of these, or its columns are not equally long.
    """
    columns = _columns(data)
    lengths = {len(column) for column in columns.values()}
    if len(lengths) > 1:
        raise ConfigurationError(f"columns must be equally long, got {min(lengths)} to {max(lengths)} rows")
    return columns


def _columns(data: Any) -> dict[str, Any]:
    library = type(data).__module__.partition(".")[0]
    if library in _LIBRARIES:
        found = _LIBRARIES[library](data)
        if found is not None:
            return found
    _check_table(data)
    if isinstance(data, Iterator):
        data = list(data)
    if isinstance(data, Mapping):
        return {str(name): _array(column) for name, column in data.items()}
    if isinstance(data, np.ndarray) and data.dtype.names:
        return {name: data[name] for name in data.dtype.names}
    if isinstance(data, Sequence) and data and isinstance(data[0], Mapping):
        return _of_rows(data)
    array = _array(data)
    if array.ndim == 2:  # noqa: PLR2004 - rows and columns
        return {str(place): array[:, place] for place in range(array.shape[1])}
    if array.ndim != 1:
        raise ConfigurationError(f"{_EXPECTED}; got {type(data).__name__} with {array.ndim} dimensions")
    return {"value": array}


def _check_table(data: Any) -> None:
    """Refuse what is known to be no table."""
    found = type(data).__name__
    if isinstance(data, str | os.PathLike):
        raise ConfigurationError(f"{_EXPECTED}; got {data!r:.60}: a file is read by of_file")
    for how in ("toarray", "collect"):
        if hasattr(data, how):
            raise ConfigurationError(f"{_EXPECTED}; got {found}: give some of its rows at a time, by {how}()")
    if not isinstance(data, Iterable):
        raise ConfigurationError(f"{_EXPECTED}; got {found}")


def _of_rows(rows: Sequence[Any]) -> dict[str, Any]:
    names = {str(name): name for row in rows if isinstance(row, Mapping) for name in row}
    return {
        text: _array([row.get(name) if isinstance(row, Mapping) else None for row in rows])
        for text, name in names.items()
    }


def _array(values: Any) -> Any:
    """Return *values* as an array of one or two dimensions; what does not fit in one stays a column of objects."""
    if isinstance(values, np.ma.MaskedArray):
        numbers: Any = values.astype(float) if values.dtype.kind in _NUMBERS else None
        return objects(values.tolist()) if numbers is None else numbers.filled(np.nan)
    if isinstance(values, np.ndarray):
        return values
    library = type(values).__module__.partition(".")[0]
    if library in _SERIES:
        return _SERIES[library](values)
    if not isinstance(values, Sequence) or isinstance(values, str | bytes):
        if not isinstance(values, Iterable) or isinstance(values, str | bytes):
            raise ConfigurationError(f"expected the values of a column, got {type(values).__name__}")
        values = list(values)
    if values and not any(isinstance(value, list | tuple | np.ndarray) for value in values):
        return np.asarray(values) if all(type(value) in (int, float) for value in values) else objects(values)
    try:
        return np.asarray(values, dtype=float)
    except (ValueError, TypeError):
        return objects(values)


def objects(values: Sequence[Any]) -> npt.NDArray[np.object_]:
    """Return a column of *values* as they are."""
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column


# -- what libraries call it; each is asked only for what it has made itself, so that none is imported here


def _pandas_series(series: Any) -> Any:
    kind = getattr(series.dtype, "kind", "O")
    if kind in _NUMBERS:
        is_plain = isinstance(series.dtype, np.dtype) or not series.isna().any()
        return series.to_numpy() if is_plain else series.to_numpy(dtype=float, na_value=np.nan)
    if kind == "M" and getattr(series.dtype, "tz", None) is not None:
        return series.dt.tz_convert(None).to_numpy()
    return series.to_numpy()


def _pandas(data: Any) -> dict[str, Any] | None:
    if hasattr(data, "columns"):
        return _differing((str(name), _pandas_series(data.iloc[:, place])) for place, name in enumerate(data.columns))
    return {str(data.name) if data.name is not None else "value": _pandas_series(data)} if hasattr(data, "dt") else None


def _polars_series(series: Any) -> Any:
    column = series.to_numpy()
    return objects(column.tolist()) if column.dtype.kind == "O" and series.dtype.is_nested() else column


def _polars(data: Any) -> dict[str, Any] | None:
    if hasattr(data, "get_columns"):
        return {series.name: _polars_series(series) for series in data.get_columns()}
    return {data.name or "value": _polars_series(data)} if hasattr(data, "to_numpy") else None


def _arrow_column(column: Any) -> Any:
    kind = str(column.type)
    if kind.startswith(("fixed_size_list", "list", "large_list")):
        return _array(column.to_pylist())
    if kind.startswith("timestamp") and "tz" in kind:
        column = column.cast(kind.partition(",")[0] + "]")
    return column.to_numpy(**({} if hasattr(column, "chunks") else {"zero_copy_only": False}))


def _arrow(data: Any) -> dict[str, Any] | None:
    if not hasattr(data, "column_names"):
        return None
    return _differing((name, _arrow_column(data.column(place))) for place, name in enumerate(data.column_names))


def _differing(named: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    for name, column in named:
        if name in columns:
            raise ConfigurationError(f"columns must have names that differ, got two of {name!r:.60}")
        columns[name] = column
    return columns


_LIBRARIES: Final[Mapping[str, Callable[[Any], dict[str, Any] | None]]] = {
    "pandas": _pandas,
    "polars": _polars,
    "pyarrow": _arrow,
}
_SERIES: Final[Mapping[str, Callable[[Any], Any]]] = {
    "pandas": _pandas_series,
    "polars": _polars_series,
    "pyarrow": _arrow_column,
}


# -- what the values of a column are


def pieces(columns: Mapping[str, Any], rows: int = ROWS) -> Iterator[dict[str, Any]]:
    """Yield *columns* so many rows at a time."""
    length = max(map(len, columns.values()), default=0)
    for start in range(0, length, rows):
        yield {name: column[start : start + rows] for name, column in columns.items()}


def values_of(column: Any, kind: Kind = "", *, is_category: bool = False) -> Values:
    """
    Return the values in *column*, an array, of *kind* if that is known already.

    Numbers are categories where *is_category*. An object's own code is never run: what is neither a number nor text
    nor a time nor an array of numbers is only counted.
    """
    dtype = column.dtype.kind
    if column.ndim > 1:
        return _vectors(flattened(column), kind)
    if (dtype in _NUMBERS or (dtype == "b" and kind == "number")) and not is_category:
        return _of_kind("number", kind, column.astype(float, copy=False))
    if dtype in "Mm":
        unit = np.timedelta64(1, "us")
        seconds = (column - _EPOCH if dtype == "M" else column) / unit / 1e6
        return _of_kind("time" if dtype == "M" else "number", kind, seconds)
    return _of_objects(column.tolist(), kind, is_category=is_category or dtype in "bUS")


def flattened(array: Any) -> Any:
    """Return an array of more than two dimensions as one of (rows, all others)."""
    return array.reshape(len(array), math.prod(array.shape[1:]))


def _of_kind(kind: Kind, wanted: Kind, numbers: Floats) -> Values:
    missing = np.isnan(numbers)
    lost = int(missing.sum())
    if wanted not in ("", kind):
        return Values(wanted, np.zeros(len(numbers), dtype=bool), missing=lost, invalid=len(numbers) - lost)
    rows = ~missing
    return Values(kind, rows, numbers[rows] if lost else numbers, missing=lost)


def _vectors(array: Any, kind: Kind) -> Values:
    if kind not in ("", "vector") or array.dtype.kind not in _NUMBERS + "b" or not array.shape[1]:
        nothing = np.zeros(len(array), dtype=bool)
        return Values(kind or "other", nothing, invalid=len(array))
    vectors = array.astype(float, copy=False)
    rows = np.isfinite(vectors).all(axis=1)
    return Values("vector", rows, vectors=vectors[rows], missing=int((~rows).sum()))


def _of_objects(values: Sequence[Any], kind: Kind, *, is_category: bool) -> Values:
    present = np.array([not _is_missing(value) for value in values], dtype=bool)
    kinds: list[Kind] = [
        _kind(value, is_category=is_category) if here else "" for value, here in zip(values, present, strict=True)
    ]
    wanted = kind or _most_common(kinds)
    rows = np.array([one == wanted and bool(one) for one in kinds], dtype=bool)
    missing, invalid = int((~present).sum()), int((present & ~rows).sum())
    chosen = [value for value, here in zip(values, rows.tolist(), strict=True) if here]
    if wanted == "category":
        return Values(wanted, rows, texts=[_text(value) for value in chosen], missing=missing, invalid=invalid)
    if wanted in ("number", "time"):
        numbers = np.array([_number(value) for value in chosen], dtype=float)
        return Values(wanted, rows, numbers, missing=missing, invalid=invalid)
    if wanted == "vector" and chosen:
        length = len(chosen[0])
        fits = [len(value) == length for value in chosen]
        rows[np.flatnonzero(rows)[~np.array(fits)]] = False
        vectors = np.array([value for value, fit in zip(chosen, fits, strict=True) if fit], dtype=float)
        found = _vectors(vectors, wanted)
        rows[np.flatnonzero(rows)[~found.rows]] = False
        odd = len(fits) - sum(fits)
        return Values(wanted, rows, vectors=found.vectors, missing=missing + found.missing, invalid=invalid + odd)
    return Values(wanted, np.zeros(len(values), dtype=bool), missing=missing, invalid=len(values) - missing)


def _most_common(kinds: Sequence[Kind]) -> Kind:
    counted: Counter[Kind] = Counter(one for one in kinds if one)
    return max(counted, key=lambda one: counted[one], default="")


def _is_missing(value: Any) -> bool:
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float | np.floating) and math.isnan(value)


def _kind(value: Any, *, is_category: bool) -> Kind:
    if isinstance(value, _TEXT_TYPES):
        return "category"
    if isinstance(value, bytes):
        return "category" if is_category else "other"
    if isinstance(value, int) and abs(value) > _LARGEST:
        return "other"
    if isinstance(value, int | Real):
        return "category" if is_category else "number"
    if isinstance(value, date):
        return "time"
    if isinstance(value, list | tuple | np.ndarray) and len(value):
        is_flat = all(isinstance(one, Real) for one in value)
        return "vector" if is_flat else "other"
    return "other"


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    # A number that is a category is the same one whether it came as 3 or, beside missing ones, as 3.0.
    is_whole = isinstance(value, float | np.floating) and float(value).is_integer()
    return str(int(value)) if is_whole else str(value)


def _number(value: Any) -> float:
    if isinstance(value, datetime):
        return value.timestamp() if value.tzinfo else (value - datetime(1970, 1, 1)).total_seconds()  # noqa: DTZ001
    if isinstance(value, date):
        return float((value - date(1970, 1, 1)).days * 86_400)
    return float(value)


def named(names: Iterable[Any], what: str, known: Collection[str] | None = None) -> frozenset[str]:
    """
    Return *names* as a set; a text is one name.

    Raises:
        ConfigurationError: one is no str, or not among those that are *known*.
    """
    found = [names] if isinstance(names, str) else list(names)
    for name in found:
        if not isinstance(name, str) or (known is not None and name not in known):
            choice = f"one of {', '.join(sorted(known)[:20])}" if known is not None else "the name of a column"
            raise ConfigurationError(f"{what} must be {choice}, got {name!r}")
    return frozenset(found)
