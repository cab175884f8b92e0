"""`holter postmortem`: the recording that is meant, in words or as JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lives import Life

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="recordings need Linux")


def command(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command on the recordings of a folder."""
    words = [sys.executable, "-W", "error", "-m", "holter", "postmortem", *map(str, arguments)]
    environment = {**os.environ, "HOLTER_DIR": str(folder)}
    return subprocess.run(words, capture_output=True, text=True, check=False, env=environment)


def leave(folder: Path, name: str = "predict", service: str = "sentiment") -> Path:
    """Leave the recording of a process that died with a call open."""
    life = Life(folder, service=service)
    ring, call = life.ring(), life.scope.call(name).duration
    for _ in range(2):
        ring.write(call, life.clock.monotonic_ns(), 5e6, 0, 0)
    life.turn()
    ring.begin(call, life.clock.monotonic_ns())
    life.turn()
    life.recording.close(clean=False)
    return life.recording.path


def test_without_an_argument_the_last_death_is_told(tmp_path: Path) -> None:
    """The words come first, then the tables; the exit code is 0."""
    leave(tmp_path, "old")
    leave(tmp_path, "new")
    living = Life(tmp_path)
    living.turn()
    done = command(tmp_path)
    assert (0, "") == (done.returncode, done.stderr)
    assert done.stdout.startswith("Nothing had changed before it died: 2 calls of new, no errors")
    assert "running  new for" in done.stdout
    living.recording.close(clean=True)


def test_a_path_or_a_number_names_the_process(tmp_path: Path) -> None:
    """Of one process the last recording; a path may lie anywhere."""
    path = leave(tmp_path, "one")
    moved = path.rename(tmp_path / "moved")
    assert "2 calls of one" in command(tmp_path / "none", moved).stdout
    leave(tmp_path, "two")
    assert "2 calls of two" in command(tmp_path, os.getpid()).stdout


def test_json_is_one_object(tmp_path: Path) -> None:
    """With cause, figures and words."""
    path = leave(tmp_path)
    done = command(tmp_path, path, "--json")
    figures = json.loads(done.stdout)
    assert ("none", "dead", str(path), "sentiment") == tuple(figures[k] for k in ("cause", "state", "path", "service"))
    assert [("predict", False)] == [(one["call"], one["hangs"]) for one in figures["running"]]
    assert 1 == done.stdout.count("\n")


def test_what_cannot_be_told_is_said(tmp_path: Path) -> None:
    """No recording, none of that process, none that can be read: one line, exit code 1."""
    (tmp_path / "garbage").write_text("x")
    for arguments, reason in (
        ((), f"no recording of a process that died in {tmp_path}"),
        ((4_194_999,), f"no recording of process 4194999 in {tmp_path}"),
        ((tmp_path / "garbage",), "garbage is no recording of holter"),
        ((tmp_path / "none\x1b[31m",), r"none\x1b[31m: No such file"),
    ):
        done = command(tmp_path, *arguments)
        assert (1, "", 1) == (done.returncode, done.stdout, done.stderr.count("\n"))
        assert reason in done.stderr


def test_hostile_names_steer_no_terminal(tmp_path: Path) -> None:
    """Whatever stands in a file is printed as text."""
    path = leave(tmp_path, "\x1b]0;owned\x07\nHang: forged", service="\x1b[31m\u202e")
    done = command(tmp_path, path)
    assert 0 == done.returncode
    assert not {"\x1b", "\x07", "\u202e"} & set(done.stdout)
    assert r"\x1b]0;owned\x07\nHang" in done.stdout
