"""Profiles: the same of the same data, wherever it comes from and however it was split; written and read; bounded."""

from __future__ import annotations

import gzip
import json
import pickle
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from holter import ConfigurationError, MissingExtraError, Profile

GOLDEN = Path(__file__).parent / "data" / "profile-1.json"


def frame(rows: int = 3_000, seed: int = 1) -> pd.DataFrame:
    """Return a table with a column of each kind, some of it missing."""
    random = np.random.default_rng(seed)
    income = random.lognormal(10, 1, rows)
    country = random.choice(["CH", "AT", "DE"], rows, p=[0.6, 0.3, 0.1]).astype(object)
    income[::10], country[::7] = np.nan, None
    when = pd.Timestamp("2026-01-01") + pd.to_timedelta(random.integers(0, 10**6, rows), unit="s")
    table = pd.DataFrame({"age": random.integers(18, 90, rows), "income": income, "country": country, "when": when})
    table["bought"] = (table["age"] + random.normal(0, 20, rows) > 60).astype(int)
    return table


def as_polars(table: pd.DataFrame, folder: Path) -> Any:
    polars = pytest.importorskip("polars", reason="pip install polars")
    table.to_parquet(folder / "t.parquet")
    return polars.read_parquet(folder / "t.parquet")


def as_arrow(table: pd.DataFrame, folder: Path) -> Any:
    return pytest.importorskip("pyarrow", reason="pip install pyarrow").Table.from_pandas(table)


def as_file(suffix: str) -> Callable[[pd.DataFrame, Path], Path]:
    def write(table: pd.DataFrame, folder: Path) -> Path:
        path = folder / f"t{suffix}"
        if suffix == ".parquet":
            pytest.importorskip("pyarrow", reason="pip install pyarrow")
            table.to_parquet(path)
        else:
            table.to_csv(path, index=False, sep="\t" if suffix == ".tsv" else ",")
        return path

    return write


SOURCES: dict[str, Callable[[pd.DataFrame, Path], Any]] = {
    "pandas": lambda table, _: table,
    "polars": as_polars,
    "arrow": as_arrow,
    "a dict of arrays": lambda table, _: {name: table[name].to_numpy() for name in table},
    "a dict of lists": lambda table, _: {name: table[name].tolist() for name in table},
    "a dict of series": lambda table, _: {name: table[name] for name in table},
    "dicts": lambda table, _: table.to_dict("records"),
    "csv": as_file(".csv"),
    "tsv": as_file(".tsv"),
    "csv.gz": as_file(".csv.gz"),
    "parquet": as_file(".parquet"),
}


def profile_of(data: Any) -> Profile:
    make = Profile.of_file if isinstance(data, Path) else Profile.of
    return make(data, label="bought")


@pytest.mark.parametrize("source", SOURCES)
def test_the_same_data_have_the_same_profile(source: str, tmp_path: Path) -> None:
    """From whatever holds them."""
    table = frame()
    found = profile_of(SOURCES[source](table, tmp_path))
    assert profile_of(table).to_dict() == found.to_dict()


def test_what_it_knows_is_true() -> None:
    """Against pandas and scipy."""
    table = frame()
    profile = profile_of(table)
    age, income, country = (profile.columns[name] for name in ("age", "income", "country"))
    assert (3_000, 2_700, 300) == (profile.rows, income.count, income.missing)
    assert income.numbers is not None
    assert income.numbers.moments.mean == pytest.approx(table["income"].mean())
    assert income.numbers.moments.kurtosis == pytest.approx(stats.kurtosis(table["income"].dropna()))
    wanted = table["income"].dropna().quantile([0.1, 0.5, 0.99], interpolation="lower").tolist()
    assert income.numbers.sketch.quantiles([0.1, 0.5, 0.99]).tolist() == pytest.approx(wanted, rel=1e-2)
    assert dict(country.categories.top()) == table["country"].value_counts().to_dict()
    assert (3, 72, table["country"].isna().sum()) == (
        country.distinct_count,
        age.distinct_count,
        country.missing,
    )
    assert (2.0, 2.0) == (country.lengths.sketch.minimum, country.lengths.sketch.maximum)
    assert {"number", "category", "time"} == {column.kind for column in profile.columns.values()}
    assert profile.columns["when"].numbers.sketch.minimum == table["when"].min().timestamp()


def test_labels_have_a_balance_and_correlations() -> None:
    """With classes eta, the root of the share of the variance between them; with numbers Pearson's correlation."""
    table = frame()
    profile = profile_of(table)
    balance = {str(key): value for key, value in table["bought"].value_counts().items()}
    assert balance == dict(profile.columns["bought"].categories.top())
    # Of two classes eta is the size of Pearson's correlation with 0 and 1.
    known = table.dropna(subset=["income"])
    for name, rows in (("age", table), ("income", known)):
        expected = abs(rows[name].corr(rows["bought"]))
        assert expected == pytest.approx(profile.columns[name].relation.strength)
    numeric = Profile.of(table.assign(target=table["age"] * 2.5 + 1), label="target")
    assert 1.0 == pytest.approx(numeric.columns["age"].relation.strength)
    odd = Profile.of({"age": [1.0, 2.0, 9.0, np.inf], "target": [2.0, 4.0, np.inf, 1.0]}, label="target")
    assert (2, 1.0) == (odd.columns["age"].relation.pairs[0].count, odd.columns["age"].relation.strength)
    expected = known["income"].corr(known["age"])
    assert expected == pytest.approx(numeric.columns["income"].relation.strength)


@pytest.mark.parametrize("parts", [1, 8, 64])
def test_parts_add_up_in_any_order(parts: int) -> None:
    """Counts exactly, moments to rounding, ranks within the bound; through JSON and pickle on the way."""
    table = frame(60_000)
    whole = profile_of(table)
    places = np.array_split(np.arange(len(table)), parts)
    pieces = [profile_of(table.iloc[rows]) for rows in places]
    order = np.random.default_rng(parts).permutation(parts)
    merged = sum(pickle.loads(pickle.dumps(Profile.from_json(pieces[place].to_json()))) for place in order)  # noqa: S301
    assert merged.rows == whole.rows
    for name, column in whole.columns.items():
        other = merged.columns[name]
        assert (column.kind, column.count, column.missing) == (other.kind, other.count, other.missing)
        assert column.distinct_count == other.distinct_count
        if column.numbers is not None:
            assert other.numbers.moments.mean == pytest.approx(column.numbers.moments.mean)
            assert other.numbers.moments.skewness == pytest.approx(column.numbers.moments.skewness)
            points = np.sort(table[name].dropna().to_numpy(dtype="datetime64[us]" if name == "when" else float))
            points = points.astype(float) / (1e6 if name == "when" else 1)
            true = np.searchsorted(points, points[::100], side="right") / len(points)
            assert np.abs(other.numbers.sketch.at_most(points[::100]) - true).max() <= 0.001
        if column.categories is not None:
            assert column.categories.counts == other.categories.counts
        if column.relation is not None:
            assert other.relation.strength == pytest.approx(column.relation.strength)


def test_embeddings_are_one_column() -> None:
    """With mean, spread, lengths and projections; those of parts are those of the whole."""
    random = np.random.default_rng(3)
    vectors = random.normal(size=(500, 48)) + np.arange(48)
    vectors[7, 3] = np.nan
    whole = Profile.of({"text": vectors}).columns["text"]
    good = np.delete(vectors, 7, axis=0)
    assert ("vector", 499, 1, 48) == (whole.kind, whole.count, whole.missing, whole.vectors.dimension)
    assert whole.vectors.mean.tolist() == pytest.approx(good.mean(axis=0).tolist())
    assert np.square(good - good.mean(axis=0)).sum() == pytest.approx(whole.vectors.spread)
    lengths = np.linalg.norm(good, axis=1)
    assert (lengths.min(), lengths.max()) == pytest.approx(
        (whole.vectors.lengths.minimum, whole.vectors.lengths.maximum)
    )
    lists = Profile.of({"text": vectors.tolist()}).columns["text"]
    assert whole.to_dict() == lists.to_dict()
    merged = (Profile.of({"text": vectors[:200]}) + Profile.of({"text": vectors[200:]})).columns["text"]
    assert merged.vectors.mean.tolist() == pytest.approx(whole.vectors.mean.tolist())
    assert merged.vectors.spread == pytest.approx(whole.vectors.spread)
    for one, other in zip(whole.vectors.projected, merged.vectors.projected, strict=True):
        # How many rows are multiplied at a time moves the last bit, on some processors.
        told, parts = one.to_dict(), other.to_dict()
        assert told["count"] == parts["count"]
        assert list(map(len, told["levels"])) == list(map(len, parts["levels"]))
        np.testing.assert_allclose(np.concatenate(told["levels"]), np.concatenate(parts["levels"]), rtol=1e-12)


@pytest.mark.parametrize(
    ("values", "kind", "count", "missing", "invalid"),
    [
        ([1, 2.5, None, float("nan")], "number", 2, 2, 0),
        ([1, 2, "three"], "number", 2, 0, 1),
        (["a", None, "b", 3], "category", 2, 1, 1),
        ([True, False, None], "category", 2, 1, 0),
        ([None, float("nan")], "", 0, 2, 0),
        ([datetime(2026, 1, 1, tzinfo=UTC), date(2026, 1, 2)], "time", 2, 0, 0),
        ([object(), object()], "other", 0, 0, 2),
        ([[1.0, 2.0], [3.0, 4.0], [5.0]], "vector", 2, 0, 1),
        ([10**400, 1, 2], "number", 2, 0, 1),
        (pd.array([1, None, 3], dtype="Int64"), "number", 2, 1, 0),
        (pd.Series(["a", None, "b"], dtype="category"), "category", 2, 1, 0),
        (pd.Series(pd.to_datetime(["2026-01-01", None], utc=True)), "time", 1, 1, 0),
        (np.array([1, 2], dtype=np.uint8), "number", 2, 0, 0),
        (np.array([1.5, np.inf], dtype=np.float16), "number", 2, 0, 0),
        (np.array(["x", "y"]), "category", 2, 0, 0),
        (np.array([1, 2], dtype="timedelta64[s]"), "number", 2, 0, 0),
        (np.array([1 + 2j]), "other", 0, 0, 1),
    ],
)
def test_values_are_told_apart(values: Any, kind: str, count: int, missing: int, invalid: int) -> None:
    """By what most of them are; the others are counted, and no code of theirs is run."""
    column = Profile.of({"x": values}).columns["x"]
    assert (kind, count, missing, invalid) == (column.kind, column.count, column.missing, column.invalid)


def test_infinite_numbers_are_counted_apart() -> None:
    """They have no place among moments."""
    column = Profile.of({"x": [1.0, float("inf"), -float("inf"), 3.0]}).columns["x"]
    assert (2, 2.0) == (column.numbers.infinite, column.numbers.moments.mean)


def test_codes_can_be_categories() -> None:
    """Where they are named."""
    data = {"shop": [3, 1, 3], "price": [1.0, 2.0, 3.0]}
    profile = Profile.of(data, categories=["shop"])
    assert [("3", 2), ("1", 1)] == profile.columns["shop"].categories.top()
    assert "number" == profile.columns["price"].kind
    assert Profile.from_json(profile.to_json()).to_dict() == profile.to_dict()


def test_arrays_are_tables() -> None:
    """Their columns are numbered; one dimension is one column; structured ones have names."""
    assert ["0", "1", "2"] == list(Profile.of(np.ones((5, 3))).columns)
    assert ["0", "1"] == list(Profile.of([[1, 2], [3, 4]]).columns)
    assert ["value"] == list(Profile.of([1.0, 2.0]).columns)
    assert ["a", "b"] == list(Profile.of(np.array([(1, 2.0)], dtype=[("a", int), ("b", float)])).columns)


def test_no_rows_are_written_down() -> None:
    """A column's values stand in their own order, and a text that came once is not there at all."""
    table = {
        "name": [f"person {place}" for place in range(50)],
        "wage": [float(place * 37 % 50) for place in range(50)],
    }
    text = Profile.of(table).to_json()
    assert "person" not in text
    (level,) = json.loads(text)["columns"]["wage"]["numbers"]["quantiles"]["levels"]
    assert sorted(table["wage"]) == level


def test_files_of_its_first_version_are_read(tmp_path: Path) -> None:
    """To the letter: written once, and never again."""
    profile = Profile.read(GOLDEN)
    assert (40, 5) == (profile.rows, len(profile.columns))
    profile.save(tmp_path / "again.json")
    assert json.loads(GOLDEN.read_text()) == json.loads((tmp_path / "again.json").read_text())
    assert profile.columns["kind"].categories.top(1) == [("a", 14)]
    assert profile.columns["size"].numbers.sketch.quantiles([0.5]).tolist() == [19.0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no profile of holter"),
        ("[]", "does not begin as one"),
        ('{"a": 1}', "does not begin as one"),
        ('{"holter_profile": 2}', "version 2; this holter reads version 1"),
        ('{"holter_profile": 1}', "KeyError: 'label'"),
        ("{" * 100_000, "no profile of holter"),
    ],
)
def test_what_is_no_profile_is_refused(text: str, words: str, tmp_path: Path) -> None:
    """With why, and what makes one."""
    path = tmp_path / "reference.json"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=words) as caught:
        Profile.read(path)
    assert "make one with: holter profile" in str(caught.value)


def test_any_damage_is_refused_or_harmless() -> None:
    """Every part that is missing is said; no file raises anything else."""
    state = json.loads(GOLDEN.read_text())
    for name, column in state["columns"].items():
        for key in column.keys() - {"is_whole"}:
            damaged = {**state, "columns": {name: {**column, key: None}}}
            with pytest.raises(ConfigurationError, match="no profile of holter"):
                Profile.from_json(json.dumps(damaged))


class Sparse:
    """A matrix that is written down without its zeros, as scipy's are."""

    def toarray(self) -> np.ndarray:
        """Return it with them."""
        return np.zeros((2, 2))


def test_what_is_masked_is_missing() -> None:
    """In an array of numbers as in a column of text; and an iterator of rows is a table."""
    table = Profile.of(np.ma.array([[1.0, 2.0], [3.0, 4.0]], mask=[[0, 1], [0, 0]]))
    assert [(2, 0), (1, 1)] == [(one.count, one.missing) for one in table.columns.values()]
    text = Profile.of({"a": np.ma.array(["x", "y"], mask=[1, 0])}).columns["a"]
    assert ({"y": 1}, 1) == (text.categories.counts, text.missing)
    assert 2 == Profile.of(iter([{"a": 1}, {"a": 2}])).columns["a"].count


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Profile.of(3), "expected columns: .* got int"),
        (lambda: Profile.of(None), "expected columns: .* got NoneType"),
        (lambda: Profile.of("train.csv"), "got 'train.csv': a file is read by of_file"),
        (lambda: Profile.of({"a": 3}), "expected the values of a column, got int"),
        (lambda: Profile.of(Sparse()), "got Sparse: give some of its rows at a time, by toarray"),
        (lambda: Profile.of(pd.DataFrame([[1, 2]], columns=["a", "a"])), "names that differ, got two of 'a'"),
        (lambda: Profile.of(np.ones((2, 2, 2))), "expected columns: a dict of arrays"),
        (lambda: Profile.of({"a": [1], "b": [1, 2]}), "equally long"),
        (lambda: Profile.of(np.ones((1, 10_001))), "at most 10,000 columns.*one column"),
        (lambda: Profile.of({"a": [1]}, label="b"), "label must be one of a, got 'b'"),
        (lambda: Profile.of({"a": [1]}, categories=["c"]), "categories must be one of a, got 'c'"),
        (lambda: Profile(label=3), "label must be the name of a column, got 3"),
        (lambda: Profile.of({"a": [1]}) + Profile.of({"a": ["x"]}), "column a: expected a column of kind 'number'"),
        (lambda: Profile.of({"a": [1]}, label="a") + Profile.of({"a": [1]}), "one label, got 'a' and None"),
        (lambda: Profile.of_file("data.xlsx"), "expected a file named .csv"),
    ],
)
def test_what_cannot_work_is_refused(make: Callable[[], object], words: str) -> None:
    """With what was expected and what came."""
    with pytest.raises(ConfigurationError, match=words):
        make()


@pytest.mark.parametrize(
    ("text", "words"),
    [("", "no line of names"), ("a,a\n1,2\n", "names columns twice: a"), ("a\n\udcff\n", "cannot be read as CSV")],
)
def test_a_csv_that_cannot_be_read_is_said(text: str, words: str, tmp_path: Path) -> None:
    """Rather than half of it taken in."""
    path = tmp_path / "t.csv"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ConfigurationError, match=words):
        Profile.of_file(path)


def test_a_csv_may_be_ragged_and_quoted(tmp_path: Path) -> None:
    """What a short row lacks is missing; blank lines are none; N/A is missing; a few odd values are counted."""
    rows = "".join(f"{place},{place % 3}.5,2026-01-{place % 28 + 1:02}\n" for place in range(100))
    path = tmp_path / "t.csv"
    path.write_text(f'id,"the size, in m",day\n{rows}\n7\n8,N/A,\n9,big,2026-01-01,too much\n')
    size, day = (Profile.of_file(path).columns[name] for name in ("the size, in m", "day"))
    assert ("number", 100, 2, 1) == (size.kind, size.count, size.missing, size.invalid)
    assert ("time", 101, 2) == (day.kind, day.count, day.missing)


def test_a_damaged_gzip_or_parquet_is_said(tmp_path: Path) -> None:
    """As what it should have been."""
    pytest.importorskip("pyarrow", reason="pip install pyarrow")
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"a,b\n" + b"1,2\n" * 9_999)[:40])
    (tmp_path / "t.parquet").write_bytes(b"PAR1 no PAR1")
    for name, kind in (("t.csv.gz", "CSV"), ("t.parquet", "Parquet")):
        with pytest.raises(ConfigurationError, match=f"{name} cannot be read as {kind}"):
            Profile.of_file(tmp_path / name)


def test_parquet_without_pyarrow_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line that installs it."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "t.parquet").write_bytes(b"")
    with pytest.raises(MissingExtraError, match=r"holter\[profile\]"):
        Profile.of_file(tmp_path / "t.parquet")


def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    """A file of 3 times as many rows takes no more than a fifth more at its peak."""
    peaks = []
    for rows in (66_000, 200_000):
        path = tmp_path / f"{rows}.csv"
        with path.open("w") as file:
            file.write("a\n")
            values = np.random.default_rng(1).normal(size=rows).tolist()
            file.writelines(f"{value:.4f}\n" for value in values)
        del values
        tracemalloc.start()
        Profile.of_file(path)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] * 6 / 5


def test_a_thousand_columns_fit_into_a_hundred_megabytes() -> None:
    """84 KiB each at most, however many rows."""
    data = np.random.default_rng(1).normal(size=(12_000, 1_000)).astype(np.float32)
    tracemalloc.start()
    profile = Profile.of(data)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert (1_000, True) == (len(profile.columns), held < 100e6)


def test_a_picture_shows_every_column_and_escapes_its_name() -> None:
    """In a notebook, and as text no wider than a terminal."""
    hostile = "<script>alert(1)</script>\x1b[31m"
    profile = Profile.of({**{name: frame()[name] for name in frame()}, hostile: np.ones((3_000, 4))}, label="bought")
    page = profile._repr_html_()
    assert page.count("<section>") == page.count("<svg") == 6
    assert ("<script>" not in page, "\x1b" not in page, "&lt;script&gt;" in page) == (True, True, True)
    text = str(profile)
    assert "bought (label)" in text
    assert "CH 60 %, AT 30 %, DE 1" in text
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b" not in text
    assert "<holter.Profile of 3,000 rows and 6 columns>" == repr(profile)


def test_empty_data_have_a_profile() -> None:
    """Of nothing; what is added to it is what there is."""
    none = Profile.of({"age": []})
    assert ("", 0) == (none.columns["age"].kind, none.rows)
    assert "age" in str(none)
    assert "age" in none._repr_html_()
    assert (none + Profile.of({"age": [3]})).columns["age"].count == 1
    assert Profile() + Profile() == Profile()


def test_reading_a_profile_imports_neither_frames_nor_files() -> None:
    """A service that only compares pays for nothing else."""
    program = (
        "import sys, holter\n"
        f"holter.Profile.read({str(GOLDEN)!r})\n"
        "print(*sorted({'pandas', 'polars', 'pyarrow', 'gzip', 'csv', 'scipy'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "" == done.stdout.strip()
