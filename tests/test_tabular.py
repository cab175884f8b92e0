"""Tables and tensors of other libraries, as columns: what is taken of them, and when they are left alone."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from holter.columns import MOST_BYTES, RefusedError, Taken, take
from holter.tabular import TABLES
from programs import succeed


def taken(value: Any) -> Taken:
    """Return the columns of one value that is called x."""
    return take({"x": value}, MOST_BYTES, TABLES)


FRAME = {"age": [3, 4, 5], "score": [0.5, math.nan, 1.5], "name": ["a", None, "c"], "is_new": [True, False, True]}


def same(columns: Any) -> None:
    """See that *columns* are those of FRAME."""
    assert list(FRAME) == list(columns)
    for name in ("age", "score", "is_new"):
        np.testing.assert_array_equal(np.array(FRAME[name], float), np.asarray(columns[name], float))
        assert isinstance(columns[name], np.ndarray)
    assert FRAME["name"] == columns["name"]


def test_a_pandas_frame_gives_its_columns() -> None:
    """Of numpy's types, of its own that know missing values, and of text; categories as what they stand for."""
    same(taken(pd.DataFrame(FRAME)).columns)
    own = pd.DataFrame(FRAME).convert_dtypes()
    same(taken(own).columns)
    same(taken(pd.DataFrame(FRAME).astype({"name": "category"})).columns)
    columns = taken(pd.DataFrame({"a": [1, None]}, dtype="Int64")).columns
    np.testing.assert_array_equal([1.0, math.nan], columns["a"])
    columns, kept, _ = taken(pd.Series([1.5, 2.5], name="other"))
    assert (2, ["x"], [1.5, 2.5]) == (kept, list(columns), columns["x"].tolist())


def test_of_a_large_pandas_frame_the_same_rows_are_kept_of_all_columns() -> None:
    """Whichever their types."""
    numbers = np.arange(50_000)
    frame = pd.DataFrame({"a": numbers, "b": numbers * 0.5, "c": numbers.astype(str)}, index=numbers[::-1])
    columns, kept, rows = taken(frame)
    assert (50_000, kept) == (rows, len(columns["a"]))
    assert kept > 500
    np.testing.assert_array_equal(columns["a"] * 0.5, columns["b"])
    assert columns["a"].astype(str).tolist() == columns["c"]
    wide = pd.DataFrame(np.arange(2_000_000.0).reshape(50_000, 40))
    columns, kept, _ = taken(wide)
    assert (40, MOST_BYTES // 320) == (len(columns), kept)
    np.testing.assert_array_equal(columns["0"] + 39, columns["39"])


def test_a_frame_is_copied() -> None:
    """What is done to it afterwards is not seen."""
    frame = pd.DataFrame(np.zeros((4, 3)), columns=list("abc"))
    columns = taken(frame).columns
    frame.loc[:, "a"] = 7.0
    assert [0.0] * 4 == columns["a"].tolist()
    assert not any(column.flags.writeable for column in columns.values())


@pytest.mark.parametrize(
    "value",
    [
        pd.DataFrame({"a": [1], "b": [pd.Period("2020-01")]}),
        pd.DataFrame([[1, 2]], columns=["a", "a"]),
        pd.DataFrame([[1, 2]], columns=["a", ("b", 1)]),
        pd.DataFrame(),
        pd.DataFrame({"a": [[1], {}]}),
        type("Derived", (pd.DataFrame,), {})({"a": [1]}),
        {"a": pd.DataFrame({"b": [1]})},
    ],
    ids=("periods", "names twice", "names of tuples", "empty", "objects", "subclass", "within a dict"),
)
def test_a_pandas_frame_that_is_no_table_of_numbers_and_text_is_refused(value: Any) -> None:
    """One column of it is enough."""
    with pytest.raises(RefusedError):
        taken(value)


def test_times_of_frames_are_copied_in_utc() -> None:
    """Those of pandas, Polars and Arrow, with a zone and without."""
    polars, arrow = pytest.importorskip("polars"), pytest.importorskip("pyarrow")
    times = pd.Series(pd.to_datetime(["2024-07-01T10:00", None, "2024-07-03T00:00"]))
    zoned = times.dt.tz_localize("Europe/Zurich")
    frame = pd.DataFrame({"plain": times, "zoned": zoned, "number": [1, 2, 3]})
    expected = {"plain": times, "zoned": zoned.dt.tz_convert(None)}
    for table in (frame, polars.from_pandas(frame), arrow.Table.from_pandas(frame)):
        columns = taken(table).columns
        for name, one in expected.items():
            np.testing.assert_array_equal(one.to_numpy().astype("M8[us]"), columns[name].astype("M8[us]"))
    assert "datetime64" in str(taken(zoned).columns["x"].dtype)


def test_a_polars_frame_gives_its_columns() -> None:
    """Copies of them, the same rows of each."""
    polars = pytest.importorskip("polars", reason="needs polars: pip install polars")
    same(taken(polars.DataFrame({**FRAME, "score": [0.5, None, 1.5]})).columns)
    assert [1, 2] == taken(polars.Series("y", [1, 2])).columns["x"].tolist()
    numbers = np.arange(50_000)
    columns, kept, rows = taken(polars.DataFrame({"a": numbers, "b": numbers.astype(str)}))
    assert (50_000, kept) == (rows, len(columns["b"]))
    assert columns["a"].astype(str).tolist() == columns["b"]
    with pytest.raises(RefusedError):
        taken(polars.DataFrame({"a": [[1, 2]]}))
    with pytest.raises(RefusedError):
        taken(polars.LazyFrame({"a": [1]}))


def test_an_arrow_table_gives_its_columns() -> None:
    """So do a batch of records and a single array."""
    arrow = pytest.importorskip("pyarrow", reason="needs pyarrow: pip install pyarrow")
    table = arrow.table({**FRAME, "score": [0.5, None, 1.5]})
    same(taken(table).columns)
    same(taken(table.to_batches()[0]).columns)
    assert [1, 2] == taken(arrow.array([1, 2])).columns["x"].tolist()
    assert ["a", "b"] == taken(arrow.chunked_array([["a"], ["b"]])).columns["x"]
    numbers = np.arange(50_000)
    columns, kept, rows = taken(arrow.table({"a": numbers, "b": numbers.astype(str)}))
    assert (50_000, kept) == (rows, len(columns["b"]))
    assert columns["a"].astype(str).tolist() == columns["b"]
    with pytest.raises(RefusedError):
        taken(arrow.table({"a": [[1]]}))


def test_torch_tensors_on_the_cpu_are_copied() -> None:
    """Those that are part of a graph too; one on another device is refused and not waited for."""
    torch = pytest.importorskip("torch", reason='needs torch: pip install "torch==2.13.0"')
    tensor = torch.arange(6.0).reshape(2, 3).requires_grad_()
    columns, kept, _ = taken(tensor * 2)
    assert (2, [[0.0, 2.0, 4.0], [6.0, 8.0, 10.0]]) == (kept, columns["x"].tolist())
    assert [2.5] == taken(torch.tensor(2.5)).columns["x"].tolist()
    assert [1.0, 2.0] == taken(torch.tensor([1.0, 2.0], dtype=torch.bfloat16)).columns["x"].tolist()
    assert [1, 2] == taken(torch.nn.Parameter(torch.tensor([1.0, 2.0]))).columns["x"].tolist()
    with pytest.raises(RefusedError, match="on meta"):
        taken(torch.zeros(3, device="meta"))
    with pytest.raises(RefusedError):
        taken(torch.zeros(3).to_sparse())
    tensor = torch.zeros(3)
    column = taken(tensor).columns["x"]
    tensor += 1
    assert [0.0] * 3 == column.tolist()


def test_torch_modes_of_the_user_do_not_run() -> None:
    """What somebody has put around all functions of torch is not asked."""
    torch = pytest.importorskip("torch", reason='needs torch: pip install "torch==2.13.0"')

    class Mode(torch.overrides.TorchFunctionMode):  # type: ignore[misc]  # torch is not there for mypy
        def __torch_function__(self, *_: Any, **__: Any) -> Any:
            raise AssertionError

    class Dispatch(torch.utils._python_dispatch.TorchDispatchMode):  # type: ignore[misc]  # likewise
        def __torch_dispatch__(self, *_: Any, **__: Any) -> Any:
            raise AssertionError

    tensor = torch.ones(2)
    with Mode():
        assert [1.0, 1.0] == taken(tensor).columns["x"].tolist()
    with Dispatch(), pytest.raises(RefusedError, match="mode"):
        taken(tensor)


def test_no_library_is_loaded_for_that() -> None:
    """A program that uses none of them loads none."""
    program = """
        import json, sys
        import holter
        from holter.columns import take
        from holter.tabular import TABLES
        take({"x": [1, 2]}, 1000, TABLES)
        try:
            take({"x": object()}, 1000, TABLES)
        except TypeError:
            pass
        print(json.dumps([name for name in ("pandas", "polars", "pyarrow", "torch") if name in sys.modules]))
    """
    assert [] == succeed(program), json.dumps(program)
