"""What checks have learnt outlives the process, however it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="recordings need Linux")

SERVICE = """
    import json, os, signal, sys
    import holter

    @holter.watch
    def predict(is_good):
        if not is_good:
            raise ValueError

    good, bad, end = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    slo = holter.SLO(predict, objective=0.9)
    monitor = holter.start("sentiment", checks=[slo], samplers=[])
    for place in range(good + bad):
        try:
            predict(place < good)
        except ValueError:
            pass
    monitor.flush()
    monitor.snapshot()
    shown = monitor.snapshot().find("holter.slo.error_budget")
    print(json.dumps({
        "words": slo.describe(),
        "budget": None if shown is None else shown.total.last,
        "alerts": [(alert.id, alert.state) for alert in monitor.alerts()],
    }), flush=True)
    if end == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
"""


def run(folder: Path, good: int, bad: int, end: str = "exits") -> Any:
    """Run the service once, and return what it has to say."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SERVICE), str(good), str(bad), end],
        env={**os.environ, "HOLTER_DIR": str(folder)}, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (-9 if end == "killed" else 0) == done.returncode, done.stderr
    return json.loads(done.stdout)


def test_an_objective_goes_on_from_process_to_process(tmp_path: Path) -> None:
    """Its budget is that of all of them; an alert keeps its id; one that is killed leaves what it had told."""
    tmp_path.chmod(0o700)
    first = run(tmp_path, 70, 30)
    assert "70 % of 100 calls good, error budget overspent by 200 %" in first["words"]
    assert -2.0 == pytest.approx(first["budget"])
    ((ticket, state),) = first["alerts"]
    assert "firing" == state
    second = run(tmp_path, 100, 0, "killed")
    assert "85 % of 200 calls good" in second["words"]
    assert [[ticket, "firing"]] == second["alerts"]
    third = run(tmp_path, 300, 0)
    assert "94 % of 500 calls good, 40 % of the error budget left" in third["words"]
    assert [[ticket, "resolved"]] == third["alerts"]
