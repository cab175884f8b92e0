"""A column that no reference has: it is compared with its own beginning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from holter.columnprofile import ColumnProfile
from holter.distances import Distances
from holter.driftcolumn import DriftColumn, Finding, Rule
from holter.tabledata import Kind, Values

_LEAST_CUT_ROWS: Final = 1_000


class NewColumn:
    """
    A column whose first rows are its reference: until there are as many as a baseline has, it is only looked at.

    The cuts are those of the first tenth, and 1,000 rows at least, of which it keeps a profile until then. So what is
    counted for the baseline is independent of where it is cut. Not thread-safe.
    """

    def __init__(self, name: str, rule: Rule) -> None:
        self.name, self._rule = name, rule
        self._profile = ColumnProfile()
        self._column: DriftColumn | None = None
        self._new = 0.0

    @property
    def kind(self) -> Kind:
        """What its values are, as far as that is known."""
        return self._profile.kind if self._column is None else self._column.kind

    @property
    def new_rows(self) -> float:
        """How many rows came since the last look."""
        return self._new if self._column is None else self._column.new_rows

    @property
    def has_rows(self) -> bool:
        """Whether it can be compared with anything yet."""
        return self._column is not None and self._column.has_rows

    @property
    def is_skewed(self) -> bool:
        """Never: there is nothing that it could differ from."""
        return False

    @property
    def is_changed(self) -> bool:
        """Whether it is no longer what it was in the beginning."""
        return self._column is not None and self._column.is_changed

    def take(self, values: Values) -> None:
        """Take in the values of one batch."""
        if self._column is not None:
            self._column.take(values)
        else:
            self._learn(values)

    def take_group(self, group: int, values: Values) -> None:
        """Take in the values of clusters that fall into *group*."""
        if self._column is not None:
            self._column.take_group(group, values)
        else:
            self._learn(values)

    def _learn(self, values: Values) -> None:
        self._profile.update(values)
        self._new += float(len(values.rows))

    def look(self, since_ns: int) -> None:
        """Judge what has come since the last look, at *since_ns*."""
        if self._column is not None:
            self._column.look(since_ns)
            return
        self._new = 0.0
        if self._profile.rows >= max(_LEAST_CUT_ROWS, self._rule.baseline_rows // 10) and self._profile.kind:
            self._column = DriftColumn(
                self.name, self._profile, self._rule, has_reference=False, has_values=self._profile.kind != "time"
            )
            self._profile = ColumnProfile()

    @property
    def log_evidence(self) -> float:
        """The logarithm of what tells against "all is as it was"."""
        return 0.0 if self._column is None else self._column.log_evidence

    def distances(self) -> Distances | None:
        """Return how far its last rows are from its beginning, None before there are enough."""
        return None if self._column is None else self._column.distances()

    def finding(self) -> Finding:
        """Return how far the column is from its beginning."""
        if self._column is None:
            return Finding(self.name, Distances(0.0, 0.0, 0.0, np.nan), (), 0, 0.0, 0.0)
        return self._column.finding()

    def save(self) -> dict[str, Any]:
        """Return what was learnt, as JSON has it; nothing before it can be compared."""
        if self._column is None:
            return {}
        return {**self._column.save(), "features": self._column.features.to_dict()}

    def load(self, state: Mapping[str, Any]) -> None:
        """
        Go on from what was saved.

        Raises:
            ValueError: it is not what `save` returns.
        """
        if state:
            self._column = DriftColumn.of_features(self.name, state["features"], self._rule)
            self._column.load(state)
