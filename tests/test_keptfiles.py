"""Files that are read again and again: what they say now, in this process and in one forked from it."""

from __future__ import annotations

import ctypes
import gc
import os
from pathlib import Path

import pytest

from holter.keptfiles import KeptFiles

pytestmark = pytest.mark.skipif(not hasattr(os, "pread"), reason="needs a system that reads at a position")


def open_files() -> set[str]:
    """Return what the descriptors of this process stand for."""
    found = set()
    for one in Path("/proc/self/fd").iterdir():
        try:
            found.add(str(one.readlink()))
        except OSError:  # the descriptor of the listing itself
            continue
    return found


def test_a_file_is_opened_once_and_says_what_it_holds_now(tmp_path: Path) -> None:
    """Longer or shorter than before, and longer than one piece."""
    file, files = tmp_path / "file", KeptFiles()
    for content in (b"one", b"", b"x" * 10_000, b"y" * 4096, b"two"):
        file.write_bytes(content)
        assert content == files.read(str(file))
    assert (1, True) == (len(files), str(file) in open_files())


def test_no_more_than_so_many_stay_open(tmp_path: Path) -> None:
    """The others are read as well."""
    files = KeptFiles(2)
    for name in "abcab":
        (tmp_path / name).write_text(name)
        assert name.encode() == files.read(str(tmp_path / name))
    assert 2 == len(files)


def test_a_file_that_fails_is_opened_anew() -> None:
    """A folder opens and cannot be read; what was never there cannot be opened. Neither leaves a descriptor."""
    files = KeptFiles()
    for path, error in (("/", IsADirectoryError), ("/nowhere/file", FileNotFoundError)):
        with pytest.raises(error):
            files.read(path)
    assert 0 == len(files)


def test_what_a_process_leaves_behind_heals() -> None:
    """The file of a process that ended says so; that of one with the same number is another file."""
    files = KeptFiles()
    read_end, write_end = os.pipe()
    pid = os.fork()
    if not pid:
        os.read(read_end, 1)
        os._exit(0)
    path = f"/proc/{pid}/stat"
    assert files.read(path).startswith(str(pid).encode())
    os.write(write_end, b"x")
    os.waitpid(pid, 0)
    with pytest.raises(ProcessLookupError):
        files.read(path)
    with pytest.raises(FileNotFoundError):
        files.read(path)
    os.close(read_end)
    os.close(write_end)


def test_all_are_closed_with_the_last_reference(tmp_path: Path) -> None:
    """Nothing stays behind of what is gone."""
    file = tmp_path / "file"
    file.touch()
    files = KeptFiles()
    files.read(str(file))
    assert str(file) in open_files()
    del files
    gc.collect()
    assert str(file) not in open_files()


def in_child(look: object, fork: object = os.fork) -> bytes:
    """Return what *look* says in a forked child."""
    read_end, write_end = os.pipe()
    pid = fork()
    if not pid:
        try:
            os.write(write_end, look())
        finally:
            os._exit(0)
    os.close(write_end)
    with open(read_end, "rb") as answer:  # noqa: PTH123  a descriptor
        told = answer.read()
    os.waitpid(pid, 0)
    return told


@pytest.mark.parametrize("fork", [os.fork, lambda: ctypes.CDLL(None).fork()], ids=["python", "unseen"])
def test_a_forked_child_opens_its_own(fork: object) -> None:
    """``/proc/self`` is the child's there, however it was forked, and the parent's goes on."""
    files = KeptFiles()
    mine = files.read("/proc/self/stat").split()[0]
    theirs = in_child(lambda: files.read("/proc/self/stat").split()[0] + b" " + str(os.getpid()).encode(), fork)
    assert 1 == len(set(theirs.split()))
    assert {mine} == {files.read("/proc/self/stat").split()[0], str(os.getpid()).encode()} != {theirs.split()[0]}


def test_a_forked_child_keeps_nothing_of_its_parents(tmp_path: Path) -> None:
    """Before it reads anything; what it opens under the same number meanwhile is not closed."""
    file, other = tmp_path / "file", tmp_path / "other"
    file.touch()
    other.write_text("other")
    files = KeptFiles()
    files.read(str(file))

    def look() -> bytes:
        kept = str(file) in open_files()
        descriptor = os.open(other, os.O_RDONLY)
        files.read(str(file))
        files.close()
        return f"{kept} {os.read(descriptor, 10).decode()}".encode()

    assert b"False other" == in_child(look)
    assert str(file) in open_files()
