"""The example of a training loop: what it prints, and that its files say the same."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

pd = pytest.importorskip("pandas", reason="install it with: pip install 'holter[test]'")
pytest.importorskip("sklearn", reason="install it with: pip install 'holter[demo]'")

PROGRAM = Path(__file__).parents[2] / "examples" / "train_digits.py"
IMAGES = 1437
# 45 batches an epoch, two a step.
STEPS = 23
BATCHES = 45


def _train(folder: Path, epochs: int) -> str:
    command = [sys.executable, "-W", "error", PROGRAM, "--epochs", str(epochs), "--folder", folder]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=100)
    assert "" == done.stderr
    return done.stdout


def _figures(folder: Path) -> pd.Series:
    """Return the newest value of each statistic of each series that the newest process wrote to the CSV."""
    rows = pd.read_csv(folder / "holter.csv", keep_default_na=False)
    process = rows["attributes"].map(json.loads).map(lambda attributes: attributes["process.pid"])
    newest = rows[process == process.iloc[-1]]
    return newest.groupby(["metric", "attributes", "statistic"]).last()["value"].astype(float)


def _value(figures: pd.Series, metric: str, statistic: str, part: str = "") -> float:
    found = [
        value
        for (name, attributes, said), value in figures.items()
        if (name, said) == (f"holter.training.{metric}", statistic) and part in attributes
    ]
    assert 1 == len(found), (metric, statistic, found)
    return found[0]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Where three epochs were trained, and what was printed."""
    folder = tmp_path_factory.mktemp("trained")
    return folder, _train(folder, 3)


def test_every_count_in_the_table_is_the_programs_own(trained: tuple[Path, str]) -> None:
    """Steps, waits, samples, phases, epochs: what the loop did is what the CSV says."""
    folder, printed = trained
    figures = _figures(folder)
    assert 3 * STEPS == _value(figures, "step.duration", "count") == _value(figures, "steps_done", "last")
    assert 3 * BATCHES == _value(figures, "data_wait", "count")
    assert 3 * IMAGES == _value(figures, "samples", "sum")
    assert 1 == _value(figures, "progress", "last")
    assert 2 == _value(figures, "epoch", "last")
    for phase, count in {"forward": 3 * BATCHES, "backward": 3 * BATCHES, "update": 3 * STEPS, "evaluate": 3}.items():
        assert count == _value(figures, "phase.duration", "count", f'"{phase}"')
    step_seconds = _value(figures, "step.duration", "sum")
    assert _value(figures, "data_wait", "sum") < step_seconds < _value(figures, "run.duration", "sum")
    assert f"accuracy {_value(figures, 'metric.accuracy', 'last'):.3f}" in printed
    assert 1 == _value(figures, "info", "last", '"holter.training.parameter.learning_rate":0.05')


def test_the_log_and_the_summary_tell_of_the_steps(trained: tuple[Path, str]) -> None:
    """Every line of the log is JSON of its own; log and summary count the same steps."""
    folder, printed = trained
    messages = [json.loads(line)["message"] for line in (folder / "holter.jsonl").read_text().splitlines()]
    told = [message for message in messages if message.startswith("digits training.step.duration:")]
    assert 3 * STEPS == sum(int(re.findall(r"(\d+) steps", message)[0]) for message in told)
    assert re.search(rf"digits +{3 * STEPS} ", printed)


def test_the_network_learns_and_goes_on_where_it_was(trained: tuple[Path, str]) -> None:
    """Two epochs more on the same folder begin at the steps that were done."""
    folder, printed = trained
    assert ["1", "2", "3"] == re.findall(r"epoch (\d):", printed)
    printed = _train(folder, 5)
    assert ["4", "5"] == re.findall(r"epoch (\d):", printed)
    assert float(re.findall(r"accuracy ([\d.]+)", printed)[1]) > 0.85
    figures = _figures(folder)
    assert 5 * STEPS == _value(figures, "steps_done", "last") == _value(figures, "steps_total", "last")
    assert 2 * STEPS == _value(figures, "step.duration", "count")
