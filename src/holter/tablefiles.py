"""Tables in files, piece by piece: CSV with the standard library, Parquet with pyarrow."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import numpy as np

from holter.errors import ConfigurationError, MissingExtraError
from holter.tabledata import ROWS, objects

_MISSING: Final = frozenset({"", "na", "n/a", "nan", "null", "none", "-nan", "#n/a", "<na>", "nat"})
_DELIMITERS: Final = ",;\t|"
_SURE: Final = 0.95
_ISO: Final = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]00:?00)?)?$")
_ZONE: Final = re.compile(r"(Z|[+-]00:?00)$")
_LONGEST_FIELD: Final = 2**20
Known = Callable[[], Mapping[str, str]]


def tables(path: Path, known: Known) -> Iterator[tuple[Any, float]]:
    """
    Yield the file at *path* as columns by name, 65,536 rows at a time, with the share of it that is read.

    *known* returns the kinds of the columns, as far as they are known.

    Raises:
        ConfigurationError: it is neither CSV nor Parquet.
        MissingExtraError: it is Parquet, and pyarrow is not installed.
        OSError: it cannot be read.
    """
    name = path.name.lower().removesuffix(".gz")
    if name.endswith((".parquet", ".pq")):
        return _parquet(path)
    if name.endswith((".csv", ".tsv", ".txt")):
        return _csv(path, known)
    raise ConfigurationError(f"expected a file named .csv, .tsv, .csv.gz or .parquet, got {path.name}")


def _parquet(path: Path) -> Iterator[tuple[Any, float]]:
    try:
        from pyarrow import ArrowException, parquet  # noqa: PLC0415 - optional
    except ImportError:
        raise MissingExtraError("pyarrow", "profile") from None
    with path.open("rb") as file:
        try:
            opened = parquet.ParquetFile(file)
            total, done = max(1, opened.metadata.num_rows), 0
            for batch in opened.iter_batches(batch_size=ROWS):
                done += batch.num_rows
                yield batch, done / total
        except ArrowException as error:
            raise ConfigurationError(f"{path.name} cannot be read as Parquet: {error}") from None


def _csv(path: Path, known: Known) -> Iterator[tuple[dict[str, Any], float]]:
    size = max(1, path.stat().st_size)
    csv.field_size_limit(_LONGEST_FIELD)
    with path.open("rb") as raw:
        unpacked: Any = gzip.GzipFile(fileobj=raw) if path.suffix.lower() == ".gz" else raw
        text = io.TextIOWrapper(unpacked, encoding="utf-8-sig", newline="")
        try:
            head = text.readline()
            delimiter = max(_DELIMITERS, key=head.count)
            names = next(csv.reader([head], delimiter=delimiter), [])
            if not any(names):
                raise ConfigurationError(f"{path.name} has no line of names at its top")
            names = [name or f"column {place}" for place, name in enumerate(names)]
            if len(set(names)) < len(names):
                twice = sorted({name for name in names if names.count(name) > 1})
                raise ConfigurationError(f"{path.name} names columns twice: {', '.join(twice)}")
            rows = csv.reader(text, delimiter=delimiter)
            while piece := list(itertools.islice(rows, ROWS)):
                kinds = known()
                yield (
                    {name: _typed(column, kinds.get(name, "")) for name, column in _columns(names, piece)},
                    min(1.0, raw.tell() / size),
                )
        except (csv.Error, UnicodeDecodeError, EOFError, gzip.BadGzipFile) as error:
            raise ConfigurationError(f"{path.name} cannot be read as CSV: {error}") from None


def _columns(names: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[tuple[str, Sequence[str]]]:
    """Yield the columns; what a short row lacks is missing, what a long one has too much is left out."""
    filled = [row for row in rows if row]
    columns = itertools.zip_longest(*filled, fillvalue="")
    return zip(names, itertools.chain(columns, itertools.repeat(("",) * len(filled))), strict=False)


def _typed(texts: Sequence[str], kind: str) -> Any:
    """Return a column of numbers, of times, or of texts with None for what is missing."""
    present = [text for text in texts if text.strip().lower() not in _MISSING]
    if kind in ("number", "") and (kind or present):
        numbers = _floats(texts) if len(present) == len(texts) else None
        if numbers is None:
            numbers = _floats([text if text.strip().lower() not in _MISSING else "nan" for text in texts])
        if numbers is not None:
            return numbers
        known = [_number(text) for text in texts]
        good = sum(isinstance(value, float) for value in known)
        if kind or good >= _SURE * len(present):
            return objects(known)
    if kind in ("time", "") and present and sum(map(_is_time, present)) >= _SURE * len(present):
        return objects([_time(text) for text in texts])
    return objects([None if text.strip().lower() in _MISSING else text for text in texts])


def _is_time(text: str) -> bool:
    return _ISO.match(text.strip()) is not None


def _time(text: str) -> Any:
    if not _is_time(text):
        return None if text.strip().lower() in _MISSING else text
    try:
        return np.datetime64(_ZONE.sub("", text.strip())).astype("datetime64[us]").item()
    except ValueError:
        return text


def _floats(texts: Sequence[str]) -> Any:
    column = np.array(texts, dtype=np.str_)
    for kind in (np.int64, float):
        with suppress(ValueError, OverflowError):
            return column.astype(kind)
    return None


def _number(text: str) -> float | str | None:
    if text.strip().lower() in _MISSING:
        return None
    try:
        return float(text)
    except ValueError:
        return text
