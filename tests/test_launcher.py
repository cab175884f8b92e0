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
CHILDREN = """
import json, multiprocessing, os, sys
from holter.launcher import launcher
from holter.whereabouts import start_of

def tell(pipe):
    pipe.send([os.getppid(), launcher()])

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    ours, theirs = context.Pipe()
    process = context.Process(target=tell, args=(theirs,))
    process.start()
    parent, named = ours.recv()
    process.join()
    print(json.dumps(named == f"{parent}-{start_of(parent)}"))
"""


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_parent_that_forks_or_spawns_is_one(method: str, tmp_path: Path) -> None:
    """With its number and when it began, which tells it from another one with that number."""
    program = tmp_path / "children.py"
    program.write_text(CHILDREN)
    told = subprocess.run([sys.executable, program, method], capture_output=True, text=True, check=True).stdout
    assert json.loads(told)


def test_a_program_or_a_shell_that_starts_others_is_none() -> None:
    """What is started one after the other is not one service."""
    for command in ([sys.executable, "-c", PROGRAM], ["sh", "-c", f"{sys.executable} -c '{PROGRAM}'; true"]):
        assert json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout) == ""


def test_a_parent_that_lives_is_not_gone() -> None:
    """Whoever has its number and began when it did is it."""
    assert not is_gone(f"{os.getpid()}-{start_of(os.getpid())}")


@pytest.mark.parametrize("named", ["", "0-0", "999999999-5", f"{os.getpid()}-1", "x-1"])
def test_one_that_is_no_more_is_gone(named: str) -> None:
    """Or its number has gone to another process."""
    assert is_gone(named)


def test_where_nothing_is_told_there_is_none(tmp_path: Path) -> None:
    """As in a container without /proc."""
    assert launcher(tmp_path) == ""
