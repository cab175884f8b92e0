"""
How the tables and tensors of other libraries are copied: pandas, Polars, Arrow, torch.

A library is looked at only where the program has loaded it itself, and only its own exact types are taken: a subclass
may have code of its own. A tensor on a device is refused, as to copy it would wait for the device.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from holter.columns import (
    LONGEST_NAME,
    MOST_COLUMNS,
    Index,
    Leaf,
    RefusedError,
    Tables,
    array_leaf,
    list_leaf,
    refused_leaf,
)
from holter.guard import class_name


def _is_one_of(value: object, module: str, *names: str) -> bool:
    # It may be there and not be ready, while another thread imports it.
    loaded = sys.modules.get(module)
    return loaded is not None and any(type(value) is getattr(loaded, name, None) for name in names)


def _named(names: Any) -> list[str]:
    told = [str(name)[:LONGEST_NAME] if type(name) is str or type(name) is int else "" for name in names]
    if len(told) > MOST_COLUMNS or "" in told or len(set(told)) < len(told):
        raise RefusedError(f"a table of {len(told):,} columns whose names are not all different text")
    return told


# -- pandas


def _of_pandas(value: Any, name: str) -> Mapping[str, Leaf] | None:
    if _is_one_of(value, "pandas", "Series"):
        return {name: _pandas_leaf(value)}
    if not _is_one_of(value, "pandas", "DataFrame"):
        return None
    dtypes = list(value.dtypes)
    names = _named(value.columns)
    if dtypes and all(type(one) is type(dtypes[0]) and isinstance(one, np.dtype) for one in dtypes):
        # One block, most often: its columns cost nothing.
        block = value.to_numpy()
        if block.dtype.kind != "O":
            return {each: array_leaf(block[:, at]) for at, each in enumerate(names)}
    return {each: _pandas_leaf(value.iloc[:, at]) for at, each in enumerate(names)}


def _pandas_leaf(series: Any) -> Leaf:
    dtype = series.dtype
    if isinstance(dtype, np.dtype):
        return array_leaf(series.to_numpy())
    if class_name(type(dtype)).partition(".")[0] != "pandas":
        return refused_leaf(len(series), f"a column of {class_name(type(dtype))}")
    if getattr(dtype, "kind", "O") == "M":
        # In a time zone; numpy has none.
        return array_leaf(series.dt.tz_convert(None).to_numpy())
    if getattr(dtype, "kind", "O") in "biuf":
        numbers = series.to_numpy(dtype=float, na_value=np.nan)
        return array_leaf(numbers)

    def pick(index: Index | None) -> list[Any]:
        chosen = series if index is None else series.take(index)
        return [None if is_missing else one for one, is_missing in zip(chosen.tolist(), chosen.isna(), strict=True)]

    return list_leaf(len(series), pick)


# -- Polars


def _of_polars(value: Any, name: str) -> Mapping[str, Leaf] | None:
    if _is_one_of(value, "polars", "Series"):
        return {name: _polars_leaf(value)}
    if not _is_one_of(value, "polars", "DataFrame"):
        return None
    return {each: _polars_leaf(value.to_series(at)) for at, each in enumerate(_named(value.columns))}


def _polars_leaf(series: Any) -> Leaf:
    kind = series.dtype
    is_number = kind.is_numeric() and not kind.is_decimal()
    if is_number or (kind.is_temporal() and type(kind).__name__ != "Time"):
        rows = len(series)
        return Leaf(rows, 8, lambda index: _frozen((series if index is None else series.gather(index)).to_numpy()))
    return list_leaf(len(series), lambda index: (series if index is None else series.gather(index)).to_list())


# -- Arrow


def _of_arrow(value: Any, name: str) -> Mapping[str, Leaf] | None:
    if _is_one_of(value, "pyarrow", "Table", "RecordBatch"):
        return {each: _arrow_leaf(value.column(at)) for at, each in enumerate(_named(value.schema.names))}
    loaded, kind = sys.modules.get("pyarrow"), type(value)
    array: Any = getattr(loaded, "Array", ()), getattr(loaded, "ChunkedArray", ())
    # Each type has a class of its own, all of them in one module; those that users derive are elsewhere.
    if loaded is None or not issubclass(kind, array) or not class_name(kind).startswith("pyarrow.lib."):
        return None
    return {name: _arrow_leaf(value)}


def _arrow_leaf(column: Any) -> Leaf:
    rows = len(column)

    def chosen(index: Index | None) -> Any:
        return column if index is None else column.take(sys.modules["pyarrow"].array(index))

    types = sys.modules["pyarrow"].types
    if any(is_one(column.type) for is_one in (types.is_integer, types.is_floating, types.is_timestamp, types.is_date)):
        return Leaf(rows, 8, lambda index: _frozen(np.asarray(chosen(index).to_numpy(zero_copy_only=False))))
    return list_leaf(rows, lambda index: chosen(index).to_pylist())


def _frozen(array: Any) -> Any:
    copy = np.array(array)
    if copy.dtype.kind not in "biufMm":
        raise RefusedError(f"a column of {copy.dtype.name}")
    copy.flags.writeable = False
    return copy


# -- torch


def _of_torch(value: Any, name: str) -> Mapping[str, Leaf] | None:
    torch = sys.modules.get("torch")
    if torch is None or not (_is_one_of(value, "torch", "Tensor") or _is_one_of(value, "torch.nn", "Parameter")):
        return None
    core = torch._C  # noqa: SLF001 - the only place that says whether somebody listens to what is done to tensors
    if getattr(core, "_len_torch_dispatch_stack", int)():
        raise RefusedError("a tensor under a dispatch mode")
    with core.DisableTorchFunction():
        if not value.is_cpu or value.layout is not torch.strided:
            raise RefusedError(f"a tensor on {value.device}: copying it would wait for the device")
        plain = value.detach()
        if plain.dtype is torch.bfloat16:
            # numpy has none.
            plain = plain.float()
        array = plain.numpy()
    return {name: array_leaf(array) if array.ndim else list_leaf(1, lambda _: [array.item()])}


TABLES: Final = (Tables(_of_pandas), Tables(_of_polars), Tables(_of_arrow), Tables(_of_torch))
