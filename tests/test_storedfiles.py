"""What lies under a path, against what was put there and what pathlib finds."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from holter.storedfiles import Stored, count_files, room


@pytest.fixture
def checkpoints(tmp_path: Path) -> Path:
    """Three files of 30 bytes in two folders, a link to one of them, another name of one, and a link around."""
    (tmp_path / "step-1").mkdir()
    for number, name in enumerate(("step-1/weights", "step-1/optimizer", "config"), 1):
        (tmp_path / name).write_bytes(b"x" * 10)
        os.utime(tmp_path / name, (number * 100, number * 100))
    (tmp_path / "latest").symlink_to("step-1")
    (tmp_path / "around").symlink_to(tmp_path)
    os.link(tmp_path / "config", tmp_path / "step-1" / "config")
    os.mkfifo(tmp_path / "pipe")
    return tmp_path


def test_files_are_counted_once_and_links_are_not_followed(checkpoints: Path) -> None:
    """What is no file has no bytes."""
    assert Stored(str(checkpoints), 30, 3, 300.0) == count_files(str(checkpoints), 100)


def test_the_path_itself_may_be_a_link_or_a_file(checkpoints: Path) -> None:
    """A link to the newest checkpoint means that."""
    assert Stored(str(checkpoints / "latest"), 30, 3, 300.0) == count_files(str(checkpoints / "latest"), 100)
    file = str(checkpoints / "step-1" / "weights")
    assert Stored(file, 10, 1, 100.0) == count_files(file, 100)


def test_an_empty_folder_holds_nothing(tmp_path: Path) -> None:
    """Which is a figure, too."""
    assert Stored(str(tmp_path)) == count_files(str(tmp_path), 100)


def test_a_real_folder_is_what_pathlib_says() -> None:
    """The one that these tests lie in."""
    folder = Path(__file__).parent
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    told = count_files(str(folder), 10**6)
    assert (told.files, told.size) == (len(files), sum(path.stat().st_size for path in files))


@pytest.mark.parametrize("most", [1, 2, 3, 7])
def test_a_walk_has_a_bound(most: int, checkpoints: Path) -> None:
    """What comes after it is said to be missing; a folder with as many is whole."""
    told = count_files(str(checkpoints), most)
    assert told.files <= most
    assert told.missing == f"{checkpoints} has more than {most} files and folders, and the others are not counted"
    assert "" == count_files(str(checkpoints), 8).missing


def test_a_folder_of_a_million_is_not_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One is read no further than to the bound, and the entry beyond it."""
    for number in range(1000):
        (tmp_path / str(number)).touch()
    real, seen = os.scandir, []

    @contextmanager
    def scandir(folder: str) -> Iterator[Iterator[os.DirEntry[str]]]:
        with real(folder) as entries:
            yield (seen.append(entry) or entry for entry in entries)

    monkeypatch.setattr(os, "scandir", scandir)
    assert 10 == count_files(str(tmp_path), 10).files
    assert 11 == len(seen)


def test_what_is_not_there_is_an_error(tmp_path: Path) -> None:
    """Of the path itself."""
    with pytest.raises(FileNotFoundError):
        count_files(str(tmp_path / "none"), 10)


def test_what_vanishes_meanwhile_is_left_out(checkpoints: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint that is removed while it is counted, as trainers do with old ones."""
    real = os.scandir

    def scandir(folder: str) -> os.ScandirIterator[str]:
        entries = real(folder)
        if folder == str(checkpoints):
            shutil.rmtree(checkpoints / "step-1", ignore_errors=True)
        return entries

    monkeypatch.setattr(os, "scandir", scandir)
    assert Stored(str(checkpoints), 10, 1, 300.0) == count_files(str(checkpoints), 100)


def test_a_folder_that_may_not_be_read_is_said_to_be_missing(
    checkpoints: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others count."""
    real = os.scandir

    def scandir(folder: str) -> os.ScandirIterator[str]:
        if folder.endswith("step-1"):
            raise PermissionError(13, "Permission denied")
        return real(folder)

    monkeypatch.setattr(os, "scandir", scandir)
    told = count_files(str(checkpoints), 100)
    assert (told.size, told.missing) == (10, f"a folder in {checkpoints} cannot be read: Permission denied")


def test_room_is_that_of_psutil(tmp_path: Path) -> None:
    """Of the file system of the path, also where the path has yet to be made."""
    for path in (tmp_path, tmp_path / "not" / "yet"):
        told, oracle = room(str(path)), psutil.disk_usage(str(tmp_path))
        assert told.used == pytest.approx(oracle.used, abs=2**28)
        assert told.free == pytest.approx(oracle.free, abs=2**28)
        assert told.used + told.free + told.reserved == oracle.total
        assert os.path.ismount(told.mountpoint)
        assert str(tmp_path).startswith(told.mountpoint)
