"""A reference: what data looked like, in a form that can be merged and written down."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np

from holter import words
from holter.columnprofile import ColumnProfile
from holter.errors import ConfigurationError
from holter.profiletable import picture, tables
from holter.relation import Relation
from holter.tabledata import ROWS, Values, columns_of, named, pieces, values_of
from holter.tables import WIDTH

_VERSION: Final = 1
_MOST_COLUMNS: Final = 10_000
_MOST_CLASSES: Final = 50


class Profile:
    """
    What data looked like, column by column: a reference that can be merged, written down and compared with.

    Of every column: its kind, how many values, how many missing, how many of another kind. Of numbers and times also
    the moments, a `sketch of quantiles <QuantileSketch>` whose ranks are exact up to 10,240 values and beyond that
    off by at most 0.001, and how many different ones; of categories the frequent ones with their counts, how many
    different, and the lengths of their texts; of embeddings their mean and spread, and quantiles of their lengths and
    of 16 random projections. With a *label*, how each column of numbers goes with it; the balance of a label is that
    of its categories.

    Profiles of parts add up with ``+`` to that of the whole: all counts exactly, moments to rounding, ranks within
    the bound above, in whatever order. Takes up to 84 KiB a column of numbers, 300 KiB of categories, 1.4 MiB of
    embeddings, and some 100 ns a number to build, whatever the number of rows. Not thread-safe.

    **No rows are kept**, but single values are: up to 10,240 values of a column of numbers, in order and by
    themselves; its extremes; and categories that came more than once, up to 80 letters each (longer ones as a hash).
    Leave out columns that nobody may see, such as names.

    >>> import holter
    >>> monday = holter.Profile.of({"age": [31, 45, 28], "country": ["CH", "CH", "AT"]})
    >>> tuesday = holter.Profile.of({"age": [52, None], "country": ["DE", "CH"]})
    >>> both = monday + tuesday
    >>> both.rows, both.columns["age"].missing, both.columns["country"].categories.top(1)
    (5, 1, [('CH', 3)])
    >>> holter.Profile.from_json(both.to_json()) == both
    True
    """

    def __init__(self, *, label: str | None = None, categories: Iterable[str] = ()) -> None:
        """*categories* names columns of numbers that are codes, *label* the column that a model is to predict."""
        self.label = None if label is None else min(named([label], "label"))
        self.rows = 0
        self.columns: dict[str, ColumnProfile] = {}
        self._categories = named(categories, "categories")

    @classmethod
    def of(cls, data: Any, *, label: str | None = None, categories: Iterable[str] = ()) -> Profile:
        """
        Return the profile of *data*: what `update` takes.

        Raises:
            ConfigurationError: *data* is no table, or *label* or one of *categories* is no column of it.
        """
        profile = cls(label=label, categories=categories)
        profile.update(data)
        profile._check_names()
        return profile

    @classmethod
    def of_file(
        cls,
        path: str | os.PathLike[str],
        *,
        label: str | None = None,
        categories: Iterable[str] = (),
        progress: Callable[[float], None] | None = None,
    ) -> Profile:
        """
        Return the profile of a CSV file, also one that is compressed by gzip, or a Parquet file, read piece by piece.

        Parquet needs the extra ``profile``. In a CSV the first piece of 65,536 rows tells what a column holds:
        numbers or ISO 8601 times, if 19 in 20 of its values are such, else categories. *progress* is called with the
        share done.

        Raises:
            ConfigurationError: it cannot be read as such a file, or *label* or one of *categories* is no column of it.
            MissingExtraError: it is a Parquet file, and pyarrow is not installed.
            OSError: the file cannot be read.
        """
        from holter.tablefiles import tables  # noqa: PLC0415 - gzip and csv, which who reads JSON does not need

        profile = cls(label=label, categories=categories)
        for data, share in tables(Path(path), lambda: {name: one.kind for name, one in profile.columns.items()}):
            profile.update(data)
            if progress is not None:
                progress(share)
        profile._check_names()
        return profile

    def update(self, data: Any) -> None:
        """
        Take in more *data*: dict of columns, list of dicts, array, frame of pandas or Polars, table of Arrow.

        An array of (rows, columns) is a table with the columns "0", "1", ...; embeddings are a column whose values are
        arrays: ``{"embedding": array}``.

        Raises:
            ConfigurationError: it is none of these, or has more than 10,000 columns.
        """
        columns = columns_of(data)
        if len(self.columns.keys() | columns.keys()) > _MOST_COLUMNS:
            raise ConfigurationError(
                f"expected at most {_MOST_COLUMNS:,} columns, got {len(columns):,}; "
                "an array of embeddings is one column: {'embedding': array}"
            )
        for name in columns:
            self.columns.setdefault(name, ColumnProfile())
        for piece in pieces(columns, ROWS):
            self.rows += max(map(len, piece.values()), default=0)
            self._take(piece)

    def _check_names(self) -> None:
        named(self._categories, "categories", self.columns)
        named([] if self.label is None else [self.label], "label", self.columns)

    def _take(self, columns: Mapping[str, Any]) -> None:
        found = {}
        for name, column in columns.items():
            known = self.columns[name]
            is_category = name in self._categories
            if name == self.label:
                is_category |= known.kind == "category" or (not known.kind and _is_code(column))
            found[name] = values_of(column, known.kind, is_category=is_category)
            known.update(found[name])
        label = found.get(self.label) if self.label is not None else None
        if label is not None and label.kind in ("number", "category"):
            for name, values in found.items():
                if values.kind == "number" and name != self.label:
                    self._relate(self.columns[name], values, label)

    @staticmethod
    def _relate(column: ColumnProfile, values: Values, label: Values) -> None:
        if values.numbers is None:
            return
        both = label.rows & values.rows
        numbers, labels = values.numbers[both[values.rows]], both[label.rows]
        finite = np.isfinite(numbers)
        column.relation = column.relation or Relation()
        if label.numbers is not None:
            named_by = label.numbers[labels]
            finite &= np.isfinite(named_by)
            column.relation.update(numbers[finite], named_by[finite].tolist())
        elif label.texts is not None:
            texts = [text for text, is_meant in zip(label.texts, labels.tolist(), strict=True) if is_meant]
            column.relation.update(
                numbers[finite], [text for text, is_meant in zip(texts, finite.tolist(), strict=True) if is_meant]
            )

    def __add__(self, other: Profile) -> Profile:
        """
        Return the profile of the rows of both; a column that only one has keeps its own number of rows.

        Raises:
            ConfigurationError: a column holds numbers in one and text in the other, or their labels differ.
        """
        if not isinstance(other, Profile):
            return NotImplemented
        if self.rows and other.rows and self.label != other.label:
            raise ConfigurationError(f"expected profiles with one label, got {self.label!r} and {other.label!r}")
        both = Profile(label=self.label or other.label, categories=self._categories | other._categories)
        both.rows = self.rows + other.rows
        for name in (*self.columns, *(name for name in other.columns if name not in self.columns)):
            one, another = self.columns.get(name, ColumnProfile()), other.columns.get(name, ColumnProfile())
            try:
                both.columns[name] = one.merged(another)
            except ConfigurationError as error:
                raise ConfigurationError(f"column {words.clean(name)}: {error}") from None
        return both

    def __radd__(self, other: object) -> Profile:
        """Begin ``sum(profiles)``, which begins with 0."""
        if other != 0:
            return NotImplemented
        return self + Profile()

    def __eq__(self, other: object) -> bool:
        """Whether the same is known of the same columns."""
        return self.to_dict() == other.to_dict() if isinstance(other, Profile) else NotImplemented

    __hash__: ClassVar[None]  # type: ignore[assignment]  # it grows

    # -- to people

    def __repr__(self) -> str:
        return f"<holter.Profile of {words.count(self.rows, 'row')} and {words.count(len(self.columns), 'column')}>"

    def __str__(self) -> str:
        return "\n\n".join(
            "\n".join(text for _, text in table.lines(WIDTH)) for table in tables(self.columns, self.label)
        )

    def _repr_html_(self) -> str:
        return picture(self.columns, self.rows, self.label)

    # -- to files

    def to_dict(self) -> dict[str, Any]:
        """Return all that is known, as JSON has it."""
        return {
            "holter_profile": _VERSION,
            "rows": self.rows,
            "label": self.label,
            "categories": sorted(self._categories),
            "columns": {name: column.to_dict() for name, column in self.columns.items()},
        }

    def to_json(self) -> str:
        """Return all that is known as one line of JSON, some 10 to 200 KB a column of numbers."""
        return json.dumps(self.to_dict(), allow_nan=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str | bytes) -> Profile:
        """
        Return the profile that *text* tells of.

        Raises:
            ConfigurationError: it is not what `to_json` returns, or of a version that this holter does not know.
        """
        try:
            state = json.loads(text)
            _check_version(state)
            profile = cls(label=state["label"], categories=state["categories"])
            profile.rows = int(state["rows"])
            profile.columns = {str(name): ColumnProfile.of_dict(column) for name, column in state["columns"].items()}
        except (ValueError, TypeError, KeyError, AttributeError, IndexError, OverflowError, RecursionError) as error:
            reason = f"{type(error).__name__}: {error}" if isinstance(error, KeyError | TypeError) else str(error)
            raise ConfigurationError(f"no profile of holter: {words.clean(reason, 200)}") from None
        return profile

    def save(self, path: str | os.PathLike[str]) -> None:
        """
        Write the profile to *path*, as `to_json` has it; what was there before is replaced when all is written.

        Raises:
            OSError: it cannot be written.
        """
        place = Path(path)
        draft = place.with_name(f".{place.name}.{os.getpid()}")
        try:
            draft.write_text(self.to_json() + "\n", encoding="utf-8")
            draft.replace(place)
        finally:
            draft.unlink(missing_ok=True)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Profile:
        """
        Return the profile in the file at *path*.

        Raises:
            ConfigurationError: it holds none.
            OSError: it cannot be read.
        """
        try:
            return cls.from_json(Path(path).read_bytes())
        except ConfigurationError as error:
            raise ConfigurationError(f"{path}: {error}; make one with: holter profile DATA -o {path}") from None


def _check_version(state: Any) -> None:
    version = state["holter_profile"] if isinstance(state, dict) and "holter_profile" in state else None
    if version != _VERSION:
        told = "it does not begin as one" if version is None else f"it is of version {version!r:.50}"
        raise ValueError(f"{told}; this holter reads version {_VERSION}")


def _is_code(column: Any) -> bool:
    """Whether a label's values are classes: text, or few different whole numbers."""
    return column.dtype.kind in "bOUS" or (column.dtype.kind in "iu" and len(np.unique(column)) <= _MOST_CLASSES)
