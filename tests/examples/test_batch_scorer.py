"""The batch example, run as a program."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed; install it with: pip install '.[test]'")

EXAMPLE = Path(__file__).parents[2] / "examples" / "batch_scorer.py"


def test_the_table_tells_of_every_batch_of_every_process(tmp_path: Path) -> None:
    """Four forked workers write to one file, and the sum of their last figures is what was done."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLE)], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=100
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("40 batches, 2,000 scores, ")
    header = "time,metric,unit,attributes,statistic,value"
    assert (tmp_path / "batch_scorer.csv").read_text().splitlines().count(header) == 1
