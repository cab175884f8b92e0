"""Whole programs that tests run in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# Since 3.12 Python warns of a fork beside threads, which every watched program has.
_OPTIONS = ("-W", "error::RuntimeWarning", "-W", "ignore:This process:DeprecationWarning")


def run(program: str, *arguments: object, within: float = 60.0, before: Sequence[str] = ()) -> Any:
    """
    Return the finished process of a *program* in Python, given its *arguments* as ``sys.argv[1:]``.

    One that takes longer than *within* seconds fails the test. *before* is a command that runs the
    interpreter, such as ``unshare``. Recordings lie in a folder of its own, so that it hears of no death before it.
    """
    command = [*before, sys.executable, *_OPTIONS, "-c", textwrap.dedent(program), *map(str, arguments)]
    with tempfile.TemporaryDirectory(dir=os.environ["HOLTER_DIR"]) as folder:
        environment = {**os.environ, "HOLTER_DIR": folder}
        return subprocess.run(command, capture_output=True, text=True, timeout=within, check=False, env=environment)


def succeed(program: str, *arguments: object, within: float = 60.0) -> Any:
    """Run a *program* that must end well and say nothing but one line of JSON; return what that holds."""
    done = run(program, *arguments, within=within)
    assert ("", 0) == (done.stderr, done.returncode), (done.stderr, done.returncode)
    return json.loads(done.stdout)


def lines(path: Path) -> list[dict[str, Any]]:
    """Return the JSON lines of the log at *path* and its backups, the oldest first."""
    files = sorted(
        path.parent.glob(f"{path.name}*"), key=lambda file: -int(file.suffix[1:] or 0) if file != path else 1
    )
    return [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]
