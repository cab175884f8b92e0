"""`holter recordings`: a line for each, and what the dead died of."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lives import Life

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="recordings need Linux")


def command(folder: Path, *arguments: str) -> str:
    """Return what the command prints of a folder."""
    words = [sys.executable, "-W", "error", "-m", "holter", "recordings", *arguments]
    done = subprocess.run(
        words, capture_output=True, text=True, check=False, env={**os.environ, "HOLTER_DIR": str(folder)}
    )
    assert (0, "") == (done.returncode, done.stderr)
    return done.stdout


def test_the_living_and_the_dead_are_listed(tmp_path: Path) -> None:
    """With state, service, process, time, size and path; of the dead what the post-mortem says first."""
    dead, living, stopped = (Life(tmp_path, service=name) for name in ("dead-one", "living\x1b[31m", "stopped-one"))
    for life in (dead, living, stopped):
        life.turn()
    dead.recording.close(clean=False)
    stopped.recording.mark(running=False)
    (tmp_path / "garbage.holter").write_text("x" * 600)
    text = command(tmp_path)
    lines = text.splitlines()
    assert lines[0].startswith("recordings")
    assert {"dead", "running", "stopped", "unknown"} == {line.split()[0] for line in lines[1:] if line[:1] != " "}
    for life in (dead, living, stopped):
        assert str(life.recording.path) in text
    assert "    Nothing had changed before it died: no watched call has ended yet." in text
    assert "garbage.holter is no recording of holter" in text
    assert r"living\x1b[31m" in text
    figures = [json.loads(line) for line in command(tmp_path, "--json").splitlines()]
    assert {"dead", "running", "stopped", "unknown"} == {one["state"] for one in figures}
    assert {"dead-one", r"living\x1b[31m", "stopped-one", None} == {one["service"] for one in figures}


def test_no_recordings_are_said(tmp_path: Path) -> None:
    """With the folder that was looked at."""
    assert f"No recordings in {tmp_path}.\n" == command(tmp_path)
    assert "" == command(tmp_path, "--json")
    assert "No recordings in any folder of this user.\n" == command(tmp_path / "none")
