"""How many independent rows the rows of batches or clusters are worth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from holter.distribution import Floats

GROUPS: Final = 64
_LEAST_PAIRS: Final = 8
_LEAST_GROUPS: Final = 8
_MEMORY: Final = 0.995
_WILDEST: Final = 8.0
_MOST_ROWS: Final = 50_000
_MOST_PROCESSES: Final = 64
_FEATURES: Final = 3
"""How many independent features those of one column are worth; cuts of one distribution go together."""


class Blocks:
    """
    The design effect of rows that come in blocks: how many of them tell as much as one independent row.

    Batches are compared with the batch before: what independent rows of such sizes would differ by, times the design
    effect, is what they differ by (von Neumann 1941), and a change of the data, which is one step, adds one pair at
    most eight times the others. Clusters, such as users, whose rows lie in many batches, are put into 64 groups by
    their hash, and the groups compared with each other (Wolter, "Introduction to Variance Estimation", the random
    groups). By how much they exceed 1 grows with the rows of a cluster; so of several processes, each of which sees a
    part of these, the excess of one row is averaged, and multiplied by the rows of all. The estimate is raised by a
    standard error of its own. Before there are 8 pairs, or groups, a block counts as one row.
    """

    def __init__(self, features: int) -> None:
        self._before: tuple[float, Floats] | None = None
        self._sum = self._pairs = self._blocks = self._rows = 0.0
        self._told = [0.0, 0.0, 0.0, 0.0]
        self._groups: Floats = np.zeros((0, features))
        self._group_rows: Floats = np.zeros(GROUPS)
        self._elsewhere: dict[str, tuple[float, float]] = {}

    def batch(self, rows: Floats, counts: Floats, usual: Floats) -> None:
        """Take in one batch; *usual* are the shares that rows have as a rule."""
        size = float(rows.max(initial=0.0))
        if size <= 0:
            return
        self._note(0.0, 0.0, 1.0, size)
        shares = counts / np.maximum(rows, 1.0)
        if self._before is not None:
            before_size, before = self._before
            spread = float((usual * (1 - usual)).sum()) * (1 / size + 1 / before_size)
            apart = float(np.square(shares - before).sum())
            usual_effect = self._sum / self._pairs if self._pairs >= _LEAST_PAIRS else math.inf
            # Of a column that never varied two batches that are alike tell nothing against independence.
            found = apart / spread if spread > 0 else _WILDEST * (apart > 0)
            self._note(min(found, _WILDEST * max(1.0, usual_effect)), 1.0, 0.0, 0.0)
        self._before = size, shares

    def _note(self, apart: float, pairs: float, blocks: float, rows: float) -> None:
        """Add up what was found, and let the older fade."""
        fading = _MEMORY**pairs, _MEMORY**pairs, _MEMORY**blocks, _MEMORY**blocks
        new = apart, pairs, blocks, rows
        known = (one * fade + more for one, fade, more in zip(self.save(), fading, new, strict=True))
        self._sum, self._pairs, self._blocks, self._rows = known
        self._told = [one + more for one, more in zip(self._told, new, strict=True)]

    def share(self) -> list[float]:
        """Return what batches have told since the last time, and what clusters have told in this process."""
        told, self._told = self._told, [0.0, 0.0, 0.0, 0.0]
        return [*told, *self._of_groups()] if len(self._groups) else told

    def gather(self, told: Sequence[Any], process: str) -> None:
        """Take in what batches and clusters have told in another *process*."""
        apart, pairs, blocks, rows, *clusters = map(float, told)
        self._note(apart, pairs, blocks, rows)
        self._told = [0.0, 0.0, 0.0, 0.0]
        if clusters:
            group_rows, excess = clusters
            self._elsewhere.pop(process, None)
            self._elsewhere[process] = group_rows, excess
            if len(self._elsewhere) > _MOST_PROCESSES:
                del self._elsewhere[next(iter(self._elsewhere))]

    def cluster(self, group: int, rows: Floats, counts: Floats) -> None:
        """Take in rows of clusters that fall into *group*, one of 64."""
        if not len(self._groups):
            self._groups = np.zeros((GROUPS, len(counts)))
        self._groups[group] += counts
        self._group_rows[group] += float(rows.max(initial=0.0))
        if self._group_rows.sum() > _MOST_ROWS:
            self._groups *= 0.5
            self._group_rows *= 0.5

    @property
    def effect(self) -> float:
        """How many rows tell as much as one that is independent; at least 1."""
        known = [*self._elsewhere.values(), *([self._of_groups()] if len(self._groups) else [])]
        group_rows = sum(rows for rows, _ in known)
        if group_rows:
            excess = sum(rows * of_row for rows, of_row in known) / group_rows
            return 1 + excess * min(group_rows, _MOST_ROWS)
        size = self._rows / self._blocks if self._blocks else 1.0
        if size <= 1:
            return 1.0
        if self._pairs < _LEAST_PAIRS:
            return size
        return max(1.0, self._sum / self._pairs * (1 + math.sqrt(2 / (_FEATURES * self._pairs))))

    def _of_groups(self) -> tuple[float, float]:
        """Return how many rows of clusters there are, and by how much each of them makes the effect exceed 1."""
        effect, rows = self._effect_of_groups(), float(self._group_rows.sum())
        return rows, (effect - 1) / rows if rows else 0.0

    def _effect_of_groups(self) -> float:
        is_there = self._group_rows > 0
        rows, counts = self._group_rows[is_there], self._groups[is_there]
        if len(rows) < _LEAST_GROUPS:
            return max(1.0, float(rows.sum()) / len(rows))
        shares = counts.sum(axis=0) / rows.sum()
        expected = float((shares * (1 - shares)).sum()) * float(rows.sum()) * (1 - 1 / len(rows))
        found = float(np.square(counts - np.outer(rows, shares)).sum())
        return max(1.0, found / expected * (1 + math.sqrt(2 / (_FEATURES * len(rows))))) if expected > 0 else 1.0

    def save(self) -> list[float]:
        """Return what is known of batches, as JSON has it; groups of clusters begin anew."""
        return [self._sum, self._pairs, self._blocks, self._rows]

    def load(self, state: Sequence[Any]) -> None:
        """
        Go on from what was saved.

        Raises:
            ValueError: it is not what `save` returns.
        """
        self._sum, self._pairs, self._blocks, self._rows = map(float, state)
