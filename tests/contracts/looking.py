"""What every check that looks at data must satisfy; a test class that inherits `LookingContract` runs one."""

from __future__ import annotations

import gc
import json
import math
import weakref
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from holter.model import Observation, Source
from holter.wanted import Wanted

ODD: list[Mapping[str, Any]] = [
    {},
    {"x": np.zeros(0)},
    {"x": np.zeros((0, 3))},
    {"x": np.array([math.nan, math.inf, -math.inf, 0.0, -0.0])},
    {"x": np.full((2, 2, 2), math.nan, "f2")},
    {"x": np.array([2**63 - 1, -(2**63)])},
    {"x": np.array([2**64 - 1], "u8")},
    {"x": np.array([True, False])},
    {"x": np.array([1.5], ">f8")},
    {"x": [None, "", "a", "\0\u202e", "x" * 256]},
    {"": np.ones(1), "\r\n": ["a"], "x" * 200: np.ones(1, "f4")},
    {f"c{number}": np.ones(1) for number in range(1_000)},
]


class LookingContract:
    """
    Inherit, and give `make` and `usual`.

    Whatever an observation holds, the check takes it in, keeps no reference to its columns, and says counts that can
    be recorded, or nothing.
    """

    source: Source = "outputs"

    def make(self) -> Any:
        """Return a new check on a function that is called "predict"."""
        raise NotImplementedError

    def usual(self) -> Mapping[str, Any]:
        """Return columns of the kind that it is made for."""
        return {"outputs": np.array([0.5, 0.25])}

    def _observation(self, columns: Mapping[str, Any]) -> Observation:
        count = max((len(one) for one in columns.values()), default=0)
        return Observation("predict", columns, count, 1_790_000_000_000_000_000, self.source, count)

    def test_it_says_what_it_wants(self) -> None:
        """Of functions that it was given."""
        wishes = self.make().observes
        assert wishes
        assert all(isinstance(one, Wanted) and one.call == "predict" for one in wishes)

    @pytest.mark.parametrize("columns", ODD, ids=range(len(ODD)))
    def test_whatever_it_sees_it_takes_in(self, columns: Mapping[str, Any]) -> None:
        """It raises nothing, and what it counts can be recorded: names, amounts from 0 on, plain attributes."""
        for column in columns.values():
            if isinstance(column, np.ndarray):
                column.flags.writeable = False
        check = self.make()
        for seen in (self.usual(), columns, columns, self.usual()):
            for name, amount, attributes in check.observe(self._observation(seen)) or ():
                assert name.isprintable()
                assert 0 <= amount < math.inf
                assert {type(value) for value in attributes.values()} <= {str, int, float, bool}

    def test_it_keeps_nothing_of_what_it_sees(self) -> None:
        """The columns are gone when the observation is."""
        check = self.make()
        columns = {name: np.array(one) if isinstance(one, np.ndarray) else one for name, one in self.usual().items()}
        left = [weakref.ref(one) for one in columns.values() if isinstance(one, np.ndarray)]
        list(check.observe(self._observation(columns)) or ())
        del columns
        gc.collect()
        assert [None] * len(left) == [one() for one in left]

    def test_what_it_hands_on_is_plain(self) -> None:
        """Its state and its shares go through JSON, which knows no NaN."""
        check = self.make()
        for columns in (self.usual(), {"x": np.array([math.nan])}):
            list(check.observe(self._observation(columns)) or ())
        for method in ("save", "share"):
            if hasattr(check, method):
                json.dumps(getattr(check, method)(), allow_nan=False)
