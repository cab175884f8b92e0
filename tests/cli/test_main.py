"""The command as a whole."""

from __future__ import annotations

import os
import subprocess
import sys


def test_a_reader_that_has_had_enough_is_no_error() -> None:
    """As `holter recordings --json | head`: nothing is said, and the code is the shell's for it."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as closed:
        command = [sys.executable, "-m", "holter", "recordings"]
        done = subprocess.run(command, stdout=closed, stderr=subprocess.PIPE, check=False)
    assert (141, b"") == (done.returncode, done.stderr)
