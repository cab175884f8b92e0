"""Who starts the workers of a service."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from holter.launcher import is_gone, launcher
from holter.whereabouts import start_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a parent's program is told of under /proc")
PROGRAM = "import json; from holter.launcher import launcher; print(json.dumps(launcher()))"


def test_a_parent_that_runs_the_same_interpreter_is_one() -> None:
    """With its number and when it began, which tells it from another one with that number."""
    told = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True).stdout
    assert f"{os.getpid()}-{start_of(os.getpid())}" == json.loads(told)
    assert not is_gone(json.loads(told))


def test_a_shell_is_none() -> None:
    """What is started by hand, one after the other, is not one service."""
    command = ["sh", "-c", f"{sys.executable} -c '{PROGRAM}'; true"]
    assert json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout) == ""


@pytest.mark.parametrize("named", ["", "0-0", "999999999-5", f"{os.getpid()}-1", "x-1"])
def test_one_that_is_no_more_is_gone(named: str) -> None:
    """Or its number has gone to another process."""
    assert is_gone(named)


def test_where_nothing_is_told_there_is_none(tmp_path: Path) -> None:
    """As in a container without /proc."""
    assert launcher(tmp_path) == ""
