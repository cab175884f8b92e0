"""The process that the doctor reads from outside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from holter.checkup.witness import OTHER_CALLS, OWN_CALLS


def test_the_witness_records_in_two_processes_and_ends_with_its_input(tmp_path: Path) -> None:
    """It tells its file and the sum of both, and leaves nothing behind."""
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "holter.checkup.witness"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "HOLTER_DIR": str(tmp_path)},
    ) as process:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        assert OWN_CALLS + OTHER_CALLS == told["together"]
        assert tmp_path == Path(told["path"]).parent
        process.communicate("")
        assert 0 == process.returncode
