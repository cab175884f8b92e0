"""One column against its reference, and against what it has been since: how far, and whether that is chance."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, NamedTuple

import numpy as np

from holter.blocks import Blocks
from holter.columnprofile import ColumnProfile
from holter.distances import Distances
from holter.distribution import Floats
from holter.evidence import Evidence
from holter.features import Features, Shares
from holter.hours import Hours
from holter.panes import Pane, Panes
from holter.tabledata import Kind, Values

BAND_RISK: Final = 0.5
"""The part of the risk of a false alarm that the reference's own uncertainty may take; the rows have the rest."""
_SETTLED_ROWS: Final = 500
_SHOWN_ROWS: Final = 1_000
_NO_ERROR: Final = 0.0
_HALF_LIMIT: Final = 6e4
"""Beyond this a number of two bytes is infinite."""


class Rule(NamedTuple):
    """
    What counts as a shift of one column.

    ``skew_risk`` is the chance that the column is called different from its reference although it is not;
    ``change_looks`` how many looks pass on average before it is called changed although it has not, and ``band_risk``
    the chance that its live baseline is farther from the truth than it is taken to be. The baseline has
    ``baseline_rows`` independent rows, and covers ``baseline_ns`` at least.
    """

    smallest_shift: float = 0.05
    skew_risk: float = 0.01
    change_looks: float = 1e6
    band_risk: float = 0.001
    baseline_rows: int = 10_000
    baseline_ns: int = 0


class Finding(NamedTuple):
    """How far a column has moved in a window: by which distances, in which features most, since when."""

    name: str
    distances: Distances
    shares: tuple[tuple[str, float, float], ...]
    since_ns: int
    rows: float
    log_evidence: float


class DriftColumn:
    """
    One column of a reference, and what comes in of it.

    Rows are counted in `take`, judged in `look`. Until ``baseline_rows`` have come they are compared with the
    reference, by an e-process from the first row on: that is skew, told once. They are the live baseline then, and
    what comes later is compared with it by an e-detector: a change. If the hours of a day differ, each is compared
    with itself, once it is known. Takes some 45 KiB. Not thread-safe.
    """

    def __init__(
        self, name: str, column: ColumnProfile, rule: Rule, *, has_reference: bool = True, has_values: bool = True
    ) -> None:
        """If it *has_values* these are compared, else only what is missing and of another kind."""
        self._begin(name, *Features.of(column, has_values=has_values), rule, has_reference=has_reference)

    @classmethod
    def of_features(cls, name: str, features: Mapping[str, Any], rule: Rule) -> DriftColumn:
        """
        Return a column without a reference whose features are known.

        Raises:
            ValueError: *features* is not what `Features.to_dict` returns.
        """
        column = cls.__new__(cls)
        known = Features.of_dict(features)
        nothing = np.zeros(len(known.names))
        column._begin(  # noqa: SLF001 - of its own kind
            name, known, Shares(nothing, nothing, nothing), rule, has_reference=False
        )
        return column

    def fresh(self) -> DriftColumn:
        """Return the same column, that has seen nothing."""
        column = DriftColumn.__new__(DriftColumn)
        column._begin(  # noqa: SLF001 - of its own kind
            self.name, self.features, self.reference, self._rule, has_reference=self._has_reference
        )
        return column

    def _begin(self, name: str, features: Features, reference: Shares, rule: Rule, *, has_reference: bool) -> None:
        if not has_reference:
            # What has no name is one group: a list of all that was seen would have to be kept.
            features = replace(features, known=frozenset(features.categories))
        self.name, self._rule = name, rule
        self.features, self.reference, self._has_reference = features, reference, has_reference
        self.is_skewed = self.is_changed = False
        size = len(self.features.names)
        self._rows, self._counts = np.zeros(size), np.zeros(size)
        self._new_rows, self._new_counts = np.zeros(size), np.zeros(size)
        self.blocks, self.panes = Blocks(size), Panes()
        self._skew = self._evidence(self.reference, rule.skew_risk * BAND_RISK)
        self.baseline: Shares | None = None
        self._baseline_rows = 0.0
        self._change: Evidence | None = None
        self._stakes: Floats = self._skew.nothing()
        self._bounds: tuple[Floats, Floats] | None = None
        self.hours, self.is_hourly, self._hour, self._begun_ns = Hours(size), False, -1, 0

    def _evidence(self, shares: Shares, risk: float) -> Evidence:
        lower, upper = self.features.bounds(shares, self._rule.smallest_shift, risk)
        self._bounds = lower, upper
        return Evidence(lower, upper, self.features.weights(shares))

    # -- rows

    def take(self, values: Values) -> None:
        """Take in the values of one batch."""
        rows, counts = self.features.count(values)
        self.add(rows, counts)
        self.blocks.batch(rows, counts, self._usual())

    def take_group(self, group: int, values: Values) -> None:
        """Take in the values of clusters that fall into *group*."""
        rows, counts = self.features.count(values)
        self.add(rows, counts)
        self.blocks.cluster(group, rows, counts)

    def add(self, rows: Floats, counts: Floats) -> None:
        """Take in rows that are counted already."""
        self._new_rows += rows
        self._new_counts += counts

    def share(self) -> dict[str, Any] | None:
        """Return what came since the last look or share, as JSON has it, and hold it no more; None if nothing did."""
        if not self._new_rows.any():
            return None
        told = {"counts": _packed(self._new_rows, self._new_counts), "blocks": self.blocks.share()}
        self._new_rows, self._new_counts = np.zeros_like(self._new_rows), np.zeros_like(self._new_counts)
        return told

    def gather(self, told: Mapping[str, Any], process: str, *, is_own: bool) -> None:
        """
        Take in what came in a *process*, this one if *is_own*: how its batches go together is known then.

        Raises:
            ValueError: it is not what `share` returns of a column with as many features.
        """
        self.add(*_unpacked(told["counts"], len(self.features.names)))
        if not is_own:
            self.blocks.gather(told["blocks"], process)

    @property
    def kind(self) -> Kind:
        """What its values are."""
        return self.features.kind

    @property
    def has_rows(self) -> bool:
        """Whether anything was seen of it."""
        return bool(self._rows.any())

    @property
    def new_rows(self) -> float:
        """How many rows came since the last look."""
        return float(self._new_rows.max(initial=0.0))

    def _usual(self) -> Floats:
        if self._rows.max(initial=0.0) > 0:
            found: Floats = self._counts / np.maximum(self._rows, 1.0)
            return found
        return self.reference.values

    # -- judging

    def look(self, since_ns: int) -> None:
        """Judge what has come since the last look, at *since_ns*: see `is_skewed` and `is_changed`."""
        rows, counts = self._new_rows, self._new_counts
        if not rows.any():
            return
        self._new_rows, self._new_counts = np.zeros_like(rows), np.zeros_like(counts)
        weight = 1 / self.blocks.effect
        if self.baseline is None:
            self._rows, self._counts = self._rows + rows, self._counts + counts
            self.panes.add(since_ns, rows, counts)
            if self._has_reference and not self.is_skewed:
                limit = -math.log(self._rule.skew_risk * (1 - BAND_RISK))
                self.is_skewed = self._skew.log(self._rows * weight, self._counts * weight) >= limit
            self.hours.learn(Hours.of(since_ns), rows, counts)
            self._begun_ns = self._begun_ns or since_ns
            is_long = since_ns - self._begun_ns >= self._rule.baseline_ns
            if self._rows[-1] * weight >= self._rule.baseline_rows and is_long:
                self._settle(weight)
            return
        if self.is_hourly and not self._is_known(Hours.of(since_ns), weight):
            # Nobody knows what is usual at this hour; if all is well otherwise, this is.
            if not self.is_changed:
                self.hours.learn(Hours.of(since_ns), rows, counts)
            return
        self.panes.add(since_ns, rows, counts)
        if self._change is not None and not self.is_changed:
            self._stakes = self._change.detected(self._stakes, rows * weight, counts * weight)
            self.is_changed = self._change.total(self._stakes) >= math.log(self._rule.change_looks)
        elif self.is_changed and self._is_back(weight):
            self.is_changed = False
            self._stakes = self._skew.nothing()
            self.panes.clear()

    def _settle(self, weight: float) -> None:
        """Take what came so far for what is usual from now on."""
        self._baseline_rows = float(self._rows[-1])
        size = len(self._rows)
        self.baseline = Shares(self._rows * weight, self._counts * weight, np.full(size, _NO_ERROR))
        self._change = self._evidence(self.baseline, self._rule.band_risk)
        self.is_hourly = self.hours.differ(self.baseline.values, weight, self._rule.smallest_shift)
        self.panes.clear()

    def _is_known(self, hour: int, weight: float) -> bool:
        """Whether it is known what is usual at this *hour*; from then on that is what is compared with."""
        if hour == self._hour:
            return True
        shares = self.hours.shares(hour, weight)
        if shares is None:
            return False
        self._hour, self.baseline = hour, shares
        self._change = self._evidence(shares, self._rule.band_risk / 24)
        self.panes.clear()
        return True

    def _is_back(self, weight: float) -> bool:
        """Whether what came last lies within the bounds again."""
        if self._bounds is None:
            return False
        for window in self.panes.windows():
            if window.rows[-1] * weight >= _SETTLED_ROWS or window.looks > 1 << 20:
                shares = window.counts / np.maximum(window.rows, 1.0)
                is_told = window.rows > 0
                lower, upper = self._bounds
                return bool(((shares >= lower) & (shares <= upper) | ~is_told).all())
        return False

    @property
    def log_evidence(self) -> float:
        """The logarithm of what tells against "all is as it was"."""
        weight = 1 / self.blocks.effect
        if self.baseline is None or self._change is None:
            return self._skew.log(self._rows * weight, self._counts * weight)
        return self._change.total(self._stakes)

    def finding(self) -> Finding:
        """Return how far the column is from its baseline, or from its reference, in the window that tells most."""
        expected = self.baseline if self.baseline is not None else self.reference
        evidence = self._change if self.baseline is not None and self._change is not None else self._skew
        weight = 1 / self.blocks.effect
        windows = list(self.panes.windows()) or [Pane(0, 0, self._rows, self._counts)]
        logs = [evidence.log(window.rows * weight, window.counts * weight) for window in windows]
        best = int(np.argmax(logs))
        window = windows[best]
        seen = window.counts / np.maximum(window.rows, 1.0)
        stakes = evidence.ratios(window.rows * weight, window.counts * weight)
        order = np.argsort(-evidence.by_feature(stakes))[:3].tolist()
        shares = tuple((self.features.names[at], float(expected.values[at]), float(seen[at])) for at in order)
        distances = self.features.distances(expected.values, seen)
        return Finding(self.name, distances, shares, window.since_ns, float(window.rows[-1]), logs[best])

    def distances(self) -> Distances | None:
        """Return how far the last 1,000 independent rows, or somewhat more, are from what is expected; None before."""
        weight = 1 / self.blocks.effect
        for window in self.panes.windows():
            if window.rows[-1] * weight >= _SHOWN_ROWS:
                expected = self.baseline if self.baseline is not None else self.reference
                return self.features.distances(expected.values, window.counts / np.maximum(window.rows, 1.0))
        return None

    # -- what outlives the process

    def save(self) -> dict[str, Any]:
        """Return what was learnt, as JSON has it, some 2 KB."""
        state: dict[str, Any] = {
            "counts": _packed(self._rows, self._counts),
            "skewed": self.is_skewed,
            "changed": self.is_changed,
            "blocks": self.blocks.save(),
            "print": self.features.fingerprint(),
            "begun_ns": self._begun_ns,
            "hourly": self.is_hourly,
        }
        if self.baseline is not None:
            state["baseline"] = _packed(self.baseline.rows, self.baseline.counts)
            stakes = np.nan_to_num(self._stakes, neginf=-_HALF_LIMIT).clip(-_HALF_LIMIT, _HALF_LIMIT)
            state["stakes"] = base64.b64encode(stakes.astype("<f2").tobytes()).decode("ascii")
        if self.baseline is None or self.is_hourly:
            state["hours"] = self.hours.save()
        return state

    def load(self, state: Mapping[str, Any]) -> None:
        """
        Go on from what was saved; evidence that was left out begins anew.

        Raises:
            ValueError: it is not what `save` returns of a column with these features.
        """
        if state["print"] != self.features.fingerprint():
            raise ValueError(f"column {self.name!r:.60} has other features")
        size = len(self.features.names)
        rows, counts = _unpacked(state["counts"], size)
        baseline = None
        if "baseline" in state:
            baseline = Shares(*_unpacked(state["baseline"], size), np.full(size, _NO_ERROR))
        stakes = self._skew.nothing()
        if "stakes" in state:
            told = np.frombuffer(base64.b64decode(state["stakes"]), dtype="<f2").astype(float)
            stakes = np.where(told <= -_HALF_LIMIT, -np.inf, told).reshape(stakes.shape)
        if "hours" in state:
            self.hours.load(state["hours"])
        self._begun_ns, self.is_hourly, self._hour = int(state["begun_ns"]), bool(state["hourly"]), -1
        self.blocks.load(state["blocks"])
        self._rows, self._counts, self._stakes = rows, counts, stakes
        self.is_skewed, self.is_changed = bool(state["skewed"]), bool(state["changed"])
        if baseline is not None:
            self.baseline, self._change = baseline, self._evidence(baseline, self._rule.band_risk)


def _packed(rows: Floats, counts: Floats) -> str:
    """Return counts as text: rows that have values, all rows, and the counts, in four bytes each."""
    return base64.b64encode(np.concatenate(([rows[0], rows[-1]], counts)).astype("<f4").tobytes()).decode("ascii")


def _unpacked(text: Any, size: int) -> tuple[Floats, Floats]:
    """
    Return the rows and counts of so many features.

    Raises:
        ValueError: *text* holds others.
    """
    told = np.frombuffer(base64.b64decode(text), dtype="<f4").astype(float)
    if len(told) != size + 2 or not np.isfinite(told).all():
        raise ValueError(f"counts of {size} features, got {len(told)} numbers")
    rows = np.full(size, told[0])
    rows[-2:] = told[1]
    return rows, told[2:]
