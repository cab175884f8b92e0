"""
A batch job that scores images of digits in several processes, watched.

    pip install '.[demo]'
    python examples/batch_scorer.py

Each worker process is a fork of this one and watches itself; all write to batch_scorer.csv, in the
folder where it runs. The job ends with what the file says it did.
"""

from __future__ import annotations

import csv
import multiprocessing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier

import holter

ROWS = 50
BATCHES = 40
TABLE = Path("batch_scorer.csv")

digits = load_digits()
model = KNeighborsClassifier().fit(digits.data, digits.target)


@holter.watch(units=len)
def score(images: NDArray[np.float64]) -> NDArray[np.int64]:
    with holter.span("check"):
        clean = np.nan_to_num(images)
    with holter.span("neighbours"):
        return model.predict(clean)


def score_batch(number: int) -> int:
    generator = np.random.default_rng(number)
    rows = generator.integers(len(digits.data), size=ROWS)
    noisy = digits.data[rows] + generator.normal(scale=2, size=(ROWS, 64))
    return int((score(noisy) == digits.target[rows]).sum())


def totals() -> tuple[int, int]:
    """Return the batches and the scores that the table tells of: the last figures of each process, summed."""
    last: dict[tuple[str, str, str], float] = {}
    with TABLE.open(newline="", encoding="utf-8") as table:
        for row in csv.DictReader(table):
            last[row["metric"], row["attributes"], row["statistic"]] = float(row["value"])
    batches = sum(
        value
        for (metric, _, statistic), value in last.items()
        if (metric, statistic) == ("holter.call.duration", "count")
    )
    scores = sum(
        value for (metric, _, statistic), value in last.items() if (metric, statistic) == ("holter.call.units", "sum")
    )
    return int(batches), int(scores)


def main() -> None:
    with (
        holter.start("nightly-scores", version="2026-11", exporters=[holter.CSVFile(TABLE)]),
        multiprocessing.get_context("fork").Pool(4) as pool,
    ):
        right = sum(pool.imap_unordered(score_batch, range(BATCHES)))
        pool.close()
        pool.join()
    batches, scores = totals()
    print(f"{batches} batches, {scores:,} scores, {right / scores:.1%} of them right; figures in {TABLE}")


if __name__ == "__main__":
    main()
