"""What the doctor finds in a shell, and what it finds there after the command that it has printed."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class Shell:
    """A shell in which something is *taken_away* first, and in which the doctor looks at the *groups*."""

    def __init__(self, groups: str, taken_away: str = "", *, python: str = sys.executable, **environment: str) -> None:
        self._doctor = f"{shlex.quote(python)} -W error -m holter doctor --json {groups}"
        self._taken_away = taken_away
        self._environment = {**os.environ, **environment}

    def examine(self, *commands: str) -> tuple[int, dict[str, dict[str, Any]]]:
        """Return the doctor's exit code and findings, by subject, after *commands*, each of which must succeed."""
        # A shell that has no extensions, which ends at the first command that fails.
        script = "\n".join(["set -e", self._taken_away, *commands, self._doctor])
        done = subprocess.run(
            ["/bin/sh", "-c", script], capture_output=True, text=True, check=False, env=self._environment
        )
        assert done.stdout, done.stderr
        told = json.loads(done.stdout[done.stdout.index('{"holter"') :])
        return done.returncode, {finding["subject"]: finding for finding in told["findings"]}


def assert_mended(shell: Shell, subject: str, *, state: str, mend: str | None = None) -> str:
    """See that *subject* is in *state*, and well after the very command that is printed; return its words before."""
    code, before = shell.examine()
    assert (state, int(state == "broken")) == (before[subject]["state"], code), before[subject]
    printed = before[subject]["mend"]
    assert printed, before[subject]
    if mend is not None:
        assert mend == printed
    code, after = shell.examine(printed)
    # What is only told of where it is in the way is not there any more.
    assert ("ok", 0) == (after[subject]["state"] if subject in after else "ok", code), after
    return str(before[subject]["words"])


def is_allowed(*command: str) -> bool:
    """Whether *command* works here, which may need a privilege."""
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    """A file system in memory of its own, at *folder*."""
    subprocess.run(["/usr/bin/env", "mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["/usr/bin/env", "umount", "-l", str(folder)], check=True)
