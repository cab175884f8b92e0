"""Where recordings go, and which folders are refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from holter import folder as folders
from holter.errors import RecordingUnavailable
from holter.folder import candidates, checked_folder, usable_folder

SHM = Path("/dev/shm")  # noqa: S108 - where this system has its shared memory
pytestmark = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="this system has no users like Linux")


def test_the_order_of_the_folders() -> None:
    """The named one alone; else that of the session, then that of the user."""
    user = os.geteuid()
    assert [Path("/a/b")] == candidates({"HOLTER_DIR": "/a/b", "XDG_RUNTIME_DIR": "/run/user/7"})
    assert [Path("/run/user/7/holter"), SHM / f"holter-{user}"] == candidates({"XDG_RUNTIME_DIR": "/run/user/7"})
    assert [SHM / f"holter-{user}"] == candidates({})


def test_a_named_folder_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its parents, for this user only, on a disk too."""
    monkeypatch.setenv("HOLTER_DIR", str(tmp_path / "deep" / "er"))
    assert tmp_path / "deep" / "er" == usable_folder()
    assert 0o700 == (tmp_path / "deep" / "er").stat().st_mode & 0o777
    assert tmp_path / "deep" / "er" == usable_folder()


def test_a_folder_that_nobody_named_is_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A session's folder on a disk is passed over; where there is no memory at all, each reason is told."""
    monkeypatch.delenv("HOLTER_DIR", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(folders, "_SHARED_MEMORY", tmp_path / "shm")
    monkeypatch.setattr(folders, "_IN_MEMORY", frozenset())
    with pytest.raises(RecordingUnavailable, match=r"holter is not in memory; .*shm.*No such file"):
        usable_folder()


def test_what_the_kernel_says_of_mounts_is_read() -> None:
    """The file system of /dev/shm is in memory, that of the tests as the list says."""
    kinds = dict(folders._mounts())
    device = SHM.stat().st_dev
    assert "tmpfs" == kinds[f"{os.major(device)}:{os.minor(device)}"]
    assert folders._is_in_memory(SHM)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: path.symlink_to(SHM), "is a link"),
        (lambda path: path.write_text(""), "is no folder"),
        (lambda path: (path.mkdir(), path.chmod(0o777)), "can be written by others"),
        (lambda path: (path.mkdir(), path.chmod(0o1777)), "can be written by others"),
        (lambda path: (path.mkdir(), path.chmod(0o720)), "can be written by others"),
        (lambda _: None, "cannot be used: No such file"),
    ],
)
def test_what_others_could_use_is_refused(make: object, reason: str, tmp_path: Path) -> None:
    """A link, a file, a folder that is open to others: each with its reason."""
    make(tmp_path / "there")
    with pytest.raises(RecordingUnavailable, match=reason):
        checked_folder(tmp_path / "there")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="needs to give a folder away: run as root")
def test_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    """Also in a sticky folder, where anybody may have made it first."""
    (tmp_path / "theirs").mkdir(0o700)
    os.chown(tmp_path / "theirs", 12345, 12345)
    with pytest.raises(RecordingUnavailable, match="belongs to user 12345"):
        checked_folder(tmp_path / "theirs")


def test_a_folder_that_others_may_read_is_good(tmp_path: Path) -> None:
    """The files in it are readable by this user only."""
    tmp_path.chmod(0o755)
    checked_folder(tmp_path)
