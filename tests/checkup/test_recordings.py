"""Recordings as the doctor tries them: each thing that they need is taken away, and mended by what is printed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from holter.checkup.recordings import recordings
from mending import Shell, assert_mended, is_allowed, mounted

_MAY_MOUNT = is_allowed("unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt")
needs_mount = pytest.mark.skipif(not _MAY_MOUNT, reason="needs to mount a file system: run as root, with CAP_SYS_ADMIN")


def _mended(folder: object, mend: str) -> str:
    return assert_mended(Shell("recording", HOLTER_DIR=str(folder)), "recordings", state="missing", mend=mend)


def test_recordings_are_written_read_from_outside_and_summed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By another process, while it hangs and after SIGKILL; nothing is left behind."""
    folder = tmp_path / "recordings"
    monkeypatch.setenv("HOLTER_DIR", str(folder))
    found = {finding.subject: finding for finding in recordings()}
    assert ["recordings", "post-mortem", "group"] == list(found)
    assert {"ok"} == {finding.state for finding in found.values()}, found
    assert f"in {folder}, where they outlive their process" == found["recordings"].words
    assert "7 of 7 calls summed" in found["group"].words
    assert [] == list(folder.iterdir())


def test_a_folder_that_others_can_write_is_mended(tmp_path: Path) -> None:
    """By taking the permission away; the path is quoted for the shell."""
    folder = tmp_path / "my recordings"
    folder.mkdir()
    folder.chmod(0o777)
    told = _mended(folder, f"chmod go-w '{folder}'")
    assert f"in memory of the process, gone when it ends: {folder} can be written by others" in told


@pytest.mark.parametrize("place", ["a file/recordings", "a file"])
def test_a_file_in_the_way_is_mended(place: str, tmp_path: Path) -> None:
    """By the folder that would be taken otherwise."""
    (tmp_path / "a file").touch()
    _mended(tmp_path / place, "unset HOLTER_DIR")


def test_a_file_system_that_takes_no_folder_is_mended() -> None:
    """Neither does root make one there."""
    assert "/proc/nowhere cannot be used" in _mended("/proc/nowhere", "unset HOLTER_DIR")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to give a folder away: run as root")
def test_a_folder_of_somebody_else_is_mended(tmp_path: Path) -> None:
    """It is left alone."""
    os.chown(tmp_path, 12345, 12345)
    assert "belongs to user 12345" in _mended(tmp_path, "unset HOLTER_DIR")


@needs_mount
def test_a_full_file_system_is_mended(tmp_path: Path) -> None:
    """By the folder that would be taken otherwise."""
    full = tmp_path / "full"
    full.mkdir()
    with mounted(full, "size=1m,mode=700"):
        (full / "film").write_bytes(b"x" * 900_000)
        assert "has too little space" in _mended(full, "unset HOLTER_DIR")


@needs_mount
def test_shared_memory_that_is_too_small_is_mended(tmp_path: Path) -> None:
    """As a container may have it: by a folder of the user's own, on a disk."""
    program = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent.parent)!r})
from mending import Shell, assert_mended
shell = Shell("recording", "unset HOLTER_DIR XDG_RUNTIME_DIR")
print(assert_mended(shell, "recordings", state="missing", mend="export HOLTER_DIR=~/.cache/holter"))
"""
    alone = 'mount -t tmpfs -o size=1m tmpfs /dev/shm && exec "$0" -c "$1"'
    done = subprocess.run(
        ["/usr/bin/env", "unshare", "-m", "/bin/sh", "-c", alone, sys.executable, program],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "HOME": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    assert "has too little space" in done.stdout
