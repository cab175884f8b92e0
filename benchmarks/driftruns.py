"""
Runs of `drift.py`: one column or many, with drift or without, each from a seed of its own.

Verdicts are those of `DriftColumn.look`, for all looks of a column at once; `agree` holds the two against each other.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice
from statistics import NormalDist
from typing import Any

import numpy as np

import holter
from holter.blocks import Blocks
from holter.driftcolumn import BAND_RISK, DriftColumn, Rule
from holter.model import Snapshot
from holter.tabledata import values_of

ALPHA = 0.05
LOOK = 500
CLUSTER, ICC = 50, 0.05
USERS = LOOK // CLUSTER
FEATURES = 2
"""What is missing or invalid, of which there is none here."""

Floats = np.ndarray[Any, np.dtype[np.float64]]


def column_of(values: Floats, columns: int = 1) -> DriftColumn:
    """Return the column of a reference with these values, at its part of ALPHA."""
    profile = holter.Profile.of({"x": values}).columns["x"]
    return DriftColumn("x", profile, Rule(skew_risk=ALPHA / columns, baseline_rows=10**12))


def logs(column: DriftColumn, rows: Floats, counts: Floats) -> Floats:
    """Return the evidence against the column's reference at each of many looks, of rows and counts since the first."""
    bet = column._skew  # noqa: SLF001 - what is measured lies inside
    hit, miss, weights = (part[:, np.newaxis] for part in (bet._hit, bet._miss, bet._weights))  # noqa: SLF001
    with_feature = np.stack((counts, rows[:, np.newaxis] - counts))[..., np.newaxis]
    stakes = hit * with_feature + miss * (rows[:, np.newaxis, np.newaxis] - with_feature) + weights
    top = stakes.max(axis=(0, 2, 3))
    found: Floats = top + np.log(np.exp(stakes - top[:, np.newaxis, np.newaxis]).sum(axis=(0, 2, 3)))
    return found


def limit(column: DriftColumn) -> float:
    """Return from which evidence on the column is called different."""
    return -math.log(column._rule.skew_risk * (1 - BAND_RISK))  # noqa: SLF001 - as above


def looks(column: DriftColumn, counts: Iterator[Floats], rows: int = LOOK) -> int:
    """Return after how many rows the column is called different, looked at after each of the counts; 0 if never."""
    seen, before = 0, np.zeros(len(column.features.names))
    while chunk := list(islice(counts, 100)):
        sums = before + np.cumsum([np.concatenate((count, np.zeros(FEATURES))) for count in chunk], axis=0)
        total = seen + rows * np.arange(1.0, len(chunk) + 1)
        is_over = logs(column, total, sums) >= limit(column)
        if is_over.any():
            return seen + rows * (int(is_over.argmax()) + 1)
        seen, before = int(total[-1]), sums[-1]
    return 0


def multinomial(random: np.random.Generator, below_cuts: Floats, rows: int, most: int) -> Iterator[Floats]:
    """Yield the counts of independent rows, so many at a time, of which each cut has these shares below it."""
    cells = np.diff(np.concatenate(([0.0], below_cuts, [1.0]))).clip(0)
    cells /= cells.sum()
    for _ in range(most // rows):
        yield np.cumsum(random.multinomial(rows, cells))[:-1].astype(float)


def normal_below(cuts: Floats, shift: float = 0.0) -> Floats:
    """Return which share of normal values, moved by *shift*, is at most each cut."""
    return np.array([0.5 * math.erfc(-(cut - shift) / math.sqrt(2)) for cut in cuts.tolist()])


# -- no drift


def independent(random: np.random.Generator, reference: int, columns: int) -> bool:
    """One run without drift: whether any column is called different."""
    for _ in range(columns):
        column = column_of(random.normal(size=reference), columns)
        shares = normal_below(column.features.edges[0])
        if looks(column, multinomial(random, shares, LOOK, 10 * reference)):
            return True
    return False


def huge(random: np.random.Generator, columns: int) -> bool:
    """One run against 1,000,000 rows, of drawn counts; from 100,000 on many columns are looked at more rarely."""
    known = holter.Profile.of({"x": np.linspace(-4, 4, 10_001)}).columns["x"]
    for _ in range(columns):
        column = DriftColumn("x", known, Rule(skew_risk=ALPHA / columns, baseline_rows=10**12))
        shares = normal_below(column.features.edges[0])
        counts = next(multinomial(random, shares, 1_000_000, 1_000_000))
        told = np.concatenate((counts, np.zeros(FEATURES)))
        size = len(column.features.names)
        column.reference = type(column.reference)(np.full(size, 1e6), told, np.zeros(size))
        column._skew = column._evidence(column.reference, ALPHA / columns * BAND_RISK)  # noqa: SLF001 - as above
        each = LOOK if columns == 1 else 100_000
        rows = np.concatenate((np.arange(LOOK, 100_000, LOOK), np.arange(100_000, 10_000_001, each)))
        taken = np.diff(rows, prepend=0)
        cells = np.diff(np.concatenate(([0.0], shares, [1.0]))).clip(0)
        seen = np.zeros(len(counts))
        # Some thousand looks at once.
        for first in range(0, len(rows), 1_000):
            part = slice(first, first + 1_000)
            drawn = random.multinomial(taken[part], cells / cells.sum())
            sums = seen + np.cumsum(np.cumsum(drawn, axis=1)[:, :-1].astype(float), axis=0)
            seen = sums[-1]
            sums = np.concatenate((sums, np.zeros((len(sums), FEATURES))), axis=1)
            if (logs(column, rows[part].astype(float), sums) >= limit(column)).any():
                return True
    return False


def users(random: np.random.Generator, cuts: Floats, rows: int) -> Floats:
    """Return the counts of each user's 50 rows, below each cut; a twentieth of the variance lies between users."""
    own = random.normal(size=(rows // CLUSTER, 1)) * math.sqrt(ICC)
    values = own + random.normal(size=(rows // CLUSTER, CLUSTER)) * math.sqrt(1 - ICC)
    cells = np.searchsorted(cuts, values.ravel()).reshape(values.shape)
    cells += (len(cuts) + 1) * np.arange(len(values))[:, np.newaxis]
    found = np.bincount(cells.ravel(), minlength=len(values) * (len(cuts) + 1)).reshape(len(values), -1)
    counts: Floats = np.cumsum(found, axis=1)[:, :-1].astype(float)
    return np.concatenate((counts, np.zeros((len(values), FEATURES))), axis=1)


def group(place: int) -> int:
    """Return in which of 64 groups the user at this place falls."""
    return place * 37 % 64


def weights_of_batches(column: DriftColumn, counts: Floats) -> Floats:
    """Return at each look what a row is worth, where each user's rows were a batch: as `Blocks.batch` has it."""
    blocks, shares = Blocks(1), counts / CLUSTER
    apart = np.concatenate(([0.0], np.square(np.diff(shares, axis=0)).sum(axis=1)))
    by_look = counts.reshape(-1, USERS, counts.shape[1]).sum(axis=1).cumsum(axis=0)
    usual = by_look / (LOOK * np.arange(1, len(by_look) + 1))[:, np.newaxis]
    usual = np.concatenate((column.reference.values[np.newaxis], usual[:-1]))
    spread = np.repeat((usual * (1 - usual)).sum(axis=1), USERS) * 2 / CLUSTER
    worth = []
    for place, found in enumerate((apart / spread).tolist()):
        effect = blocks._sum / blocks._pairs if blocks._pairs >= 8 else math.inf  # noqa: SLF001 - as above
        blocks._note(min(found, 8 * max(1.0, effect)), float(place > 0), 1.0, CLUSTER)  # noqa: SLF001 - as above
        if place % USERS == USERS - 1:
            worth.append(1 / blocks.effect)
    return np.array(worth)


def weights_of_groups(column: DriftColumn, counts: Floats) -> Floats:
    """Return at each look what a row is worth, where users are named: as `Blocks.cluster` has it."""
    blocks, rows, worth = Blocks(counts.shape[1]), np.full(counts.shape[1], float(CLUSTER)), []
    del column
    for place, own in enumerate(counts):
        blocks.cluster(group(place), rows, own)
        if place % USERS == USERS - 1:
            worth.append(1 / blocks.effect)
    return np.array(worth)


def clustered(random: np.random.Generator, reference: int, columns: int, *, by_cluster: bool) -> bool:
    """One run of rows that come 50 from each of 10 users at a look: whether any column is called different."""
    for _ in range(columns):
        column = column_of(random.normal(size=reference), columns)
        counts = users(random, column.features.edges[0], 10 * reference)
        worth = (weights_of_groups if by_cluster else weights_of_batches)(column, counts)
        sums = counts.reshape(-1, USERS, counts.shape[1]).sum(axis=1).cumsum(axis=0) * worth[:, np.newaxis]
        if (logs(column, LOOK * np.arange(1.0, len(sums) + 1) * worth, sums) >= limit(column)).any():
            return True
    return False


def agree(random: np.random.Generator) -> None:
    """Hold what is computed here for all looks at once against the column itself, batch by batch."""
    for by_cluster in (False, True):
        column = column_of(random.normal(size=2_000))
        counts = users(random, column.features.edges[0], 20_000)
        worth = (weights_of_groups if by_cluster else weights_of_batches)(column, counts)
        sums = counts.reshape(-1, USERS, counts.shape[1]).sum(axis=1).cumsum(axis=0) * worth[:, np.newaxis]
        ours = logs(column, LOOK * np.arange(1.0, len(sums) + 1) * worth, sums)
        rows = np.full(counts.shape[1], float(CLUSTER))
        for place, own in enumerate(counts):
            column.add(rows, own)
            if by_cluster:
                column.blocks.cluster(group(place), rows, own)
            else:
                column.blocks.batch(rows, own, column._usual())  # noqa: SLF001 - as above
            if place % USERS == USERS - 1:
                column.look(0)
                assert math.isclose(column.log_evidence, ours[place // USERS], rel_tol=1e-6, abs_tol=1e-6)


def at_the_edge(random: np.random.Generator, reference: int) -> bool:
    """One run of data that have moved by just the smallest shift, everywhere where they can."""
    column = column_of(random.normal(size=reference))
    shares = normal_below(column.features.edges[0])
    moved = np.where(shares < 0.5, np.maximum(shares - 0.05, 0), np.minimum(shares + 0.05, 1))
    return bool(looks(column, multinomial(random, moved, LOOK, 10 * reference)))


def month(random: np.random.Generator, columns: int, days: float) -> int:
    """Return the alarms of so many days at the shipped rate, with a look of 100 rows each 10 seconds."""
    reference = holter.Profile.of({f"c{place}": random.normal(size=10_000) for place in range(columns)})
    predict = holter.watch(lambda batch: batch, name="predict")
    check = holter.Drift(reference, call=predict, outputs=False)
    known = [column for column in check._columns.values() if isinstance(column, DriftColumn)]  # noqa: SLF001 - as above
    shares = [normal_below(column.features.edges[0]) for column in known]
    cells = [np.diff(np.concatenate(([0.0], share, [1.0]))).clip(0) for share in shares]
    now_ns, alarms, size = 10**18, 0, len(known[0].features.names)
    for _ in range(round(days * 8_640)):
        now_ns += 10**10
        for column, cell in zip(known, cells, strict=True):
            count = np.cumsum(random.multinomial(100, cell / cell.sum()))[:-1].astype(float)
            column.add(np.full(size, 100.0), np.concatenate((count, np.zeros(FEATURES))))
        alarms += sum(alert.state == "firing" for alert in check.judge(Snapshot(now_ns, 10**10, {}, {}, {})))
    return alarms


# -- drift


def rows_to_see(random: np.random.Generator, shift: float, most: int, columns: int = 1) -> int:
    """Return after how many rows a shift of one of the columns is seen, 0 if it is not."""
    column = column_of(random.normal(size=10_000), columns)
    return looks(column, multinomial(random, normal_below(column.features.edges[0], shift), LOOK, most))


def rows_to_see_categories(random: np.random.Generator, shares: tuple[float, ...], most: int) -> int:
    """Return after how many rows other shares of three categories are seen."""
    names = np.array(["a", "b", "c"], dtype=object)
    known = holter.Profile.of({"x": random.choice(names, 10_000, p=[0.6, 0.3, 0.1])}).columns["x"]
    column = DriftColumn("x", known, Rule(skew_risk=ALPHA, baseline_rows=10**12))
    order = [column.features.names.index(name) for name in names]
    seen, size = 0, len(column.features.names)
    while seen < most:
        counts = np.zeros(size)
        counts[order] = random.multinomial(LOOK, shares)
        seen += LOOK
        column.add(np.full(size, float(LOOK)), counts)
        column.look(0)
        if column.is_skewed:
            return seen
    return 0


def rows_to_see_embeddings(random: np.random.Generator, shift: float, most: int) -> int:
    """Return after how many rows embeddings of 64 dimensions are seen to have moved by *shift* of their spread."""
    known = holter.Profile.of({"x": random.normal(size=(10_000, 64))}).columns["x"]
    column = DriftColumn("x", known, Rule(skew_risk=ALPHA, baseline_rows=10**12))
    direction = random.normal(size=64)
    direction *= shift * 8 / np.linalg.norm(direction)
    for seen in range(LOOK, most + 1, LOOK):
        values = values_of(random.normal(size=(LOOK, 64)) + direction, "vector")
        column.add(*column.features.count(values))
        column.look(0)
        if column.is_skewed:
            return seen
    return 0


# -- what looking often and what other stakes would make of it

TESTS = (5_000, 10_000, 20_000, 50_000)


def often_and_once(random: np.random.Generator) -> list[tuple[bool, bool]]:
    """Return by how many rows a shift of 0.2 is seen, with a look each 500 rows, and by a test that looks only once."""
    column = column_of(random.normal(size=10_000))
    cuts = column.features.edges[0]
    found = looks(column, multinomial(random, normal_below(cuts, 0.2), LOOK, TESTS[-1]))
    lower, upper = column.features.bounds(column.reference, 0.05, ALPHA * BAND_RISK)
    told = []
    for rows in TESTS:
        share = next(multinomial(random, normal_below(cuts, 0.2), rows, rows)) / rows
        far = [(share - upper[:-FEATURES]) / _error(upper[:-FEATURES], rows)]
        far += [(lower[:-FEATURES] - share) / _error(lower[:-FEATURES], rows)]
        risk = ALPHA * (1 - BAND_RISK) / (2 * len(share))
        told.append((0 < found <= rows, bool(np.max(far) >= NormalDist().inv_cdf(1 - risk))))
    return told


def _error(bound: Floats, rows: int) -> Floats:
    inside = bound.clip(0.001, 0.999)
    found: Floats = np.sqrt(inside * (1 - inside) / rows)
    return found


MIXTURES = {"as shipped": 0.0, "beta, of 1 row (Jeffreys)": 1.0, "beta, of 100 rows": 100.0, "beta, of 400 rows": 400.0}


def by_mixture(random: np.random.Generator, shift: float, columns: int) -> list[int]:
    """
    Return after how many rows of 50,000 a shift is seen, by what the stakes are mixed over; 0 if it is not.

    A beta distribution with its mean at the bound, cut off there and worth so many rows, by 48 points of each.
    """
    column = column_of(random.normal(size=10_000), columns)
    lower, upper = column.features.bounds(column.reference, 0.05, ALPHA / columns * BAND_RISK)
    shares = normal_below(column.features.edges[0], shift)
    counts = np.cumsum(list(multinomial(random, shares, LOOK, 50_000)), axis=0)
    counts = np.concatenate((counts, np.zeros((len(counts), FEATURES))), axis=1)
    rows = LOOK * np.arange(1.0, len(counts) + 1)
    found = []
    for strength in MIXTURES.values():
        bet = column._skew  # noqa: SLF001 - as above
        if strength:
            bounds = np.stack((upper, 1 - lower))[..., np.newaxis]
            is_passable = bounds < 1
            safe = np.where(is_passable, np.maximum(bounds, 1e-12), 0.5)
            away = np.exp(np.linspace(math.log(1e-4), math.log(0.98), 48))
            beyond = safe + away * (1 - safe)
            density = (safe * strength - 1) * np.log(beyond) + ((1 - safe) * strength - 1) * np.log1p(-beyond)
            parts = np.exp(density + np.log(away) - (density + np.log(away)).max(axis=-1, keepdims=True))
            bet._hit = np.where(is_passable, np.log(beyond / safe), 0.0)  # noqa: SLF001 - as above
            bet._miss = np.where(is_passable, np.log((1 - beyond) / (1 - safe)), 0.0)  # noqa: SLF001 - as above
            usual = column.features.weights(column.reference)
            stakes = usual[:, np.newaxis] / (2 * usual.sum()) * parts / parts.sum(axis=-1, keepdims=True)
            bet._weights = np.log(np.maximum(stakes, 1e-300))  # noqa: SLF001 - as above
        is_over = logs(column, rows, counts) >= limit(column)
        found.append(LOOK * (int(is_over.argmax()) + 1) if is_over.any() else 0)
    return found
