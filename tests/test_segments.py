"""A file that grows by segments, within what the file system and the memory limit leave."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holter import segments as module
from holter.errors import RecordingUnavailable
from holter.segments import Segments, Space
from programs import run

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs posix_fallocate of Linux")
KIB = 2**10
SPACE = Space(segment_bytes=64 * KIB, most_bytes=256 * KIB)


def made(folder: Path, name: str = "a", space: Space = SPACE) -> Segments:
    """Return a new file of one segment."""
    return Segments(folder, name, space)


def test_pieces_are_aligned_zeroed_and_apart(tmp_path: Path) -> None:
    """Each has exactly the size asked for; what is stored in one is found at its offset in the file alone."""
    segments = made(tmp_path)
    pieces = [segments.cut(size) for size in (1, 64, 100, 5000)]
    for number, piece in enumerate(pieces, 1):
        assert piece.offset % 64 == 0
        assert bytes(len(piece.memory)) == piece.memory
        piece.memory[:] = bytes([number]) * len(piece.memory)
    content = segments.path.read_bytes()
    assert [1, 64, 100, 5000] == [len(piece.memory) for piece in pieces]
    assert [{1}, {2}, {3}, {4}] == [set(content[piece.offset :][: len(piece.memory)]) for piece in pieces]


def test_the_file_grows_until_its_bound(tmp_path: Path) -> None:
    """By whole segments, by several where a piece needs them; then nothing is to be had, and what is there stays."""
    segments = made(tmp_path)
    assert 64 * KIB == segments.path.stat().st_size
    large = segments.cut(100 * KIB)
    assert (192 * KIB, 64 * KIB) == (segments.path.stat().st_size, large.offset)
    assert segments.cut(100 * KIB) is None
    assert segments.cut(60 * KIB) is not None
    assert [64 * KIB, 128 * KIB] == [len(view) for view in segments.ranges]
    large.memory[-1] = 9
    assert 9 == segments.path.read_bytes()[large.offset + 100 * KIB - 1]
    assert segments.path.stat().st_blocks * 512 >= segments.size


def test_a_piece_that_is_taken_back_is_given_again_zeroed(tmp_path: Path) -> None:
    """So that a section that has outgrown its place wastes none."""
    segments = made(tmp_path, space=Space(segment_bytes=64 * KIB, most_bytes=64 * KIB))
    piece = segments.cut(64 * KIB)
    piece.memory[:] = b"x" * 64 * KIB
    assert segments.cut(64) is None
    segments.take_back(piece)
    again = segments.cut(64 * KIB)
    assert (piece.offset, bytes(64 * KIB)) == (again.offset, bytes(again.memory))


def test_the_file_is_this_users_and_has_a_name_that_is_one(tmp_path: Path) -> None:
    """Whatever the service is called, and whatever the umask; a second one of the name gets a number."""
    before = os.umask(0o777)
    try:
        first, second = made(tmp_path, "../../a b\n\x1b" + "x" * 300), made(tmp_path, "...")
        third = made(tmp_path, "...")
    finally:
        os.umask(before)
    assert ("x" * 80 + ".holter", "_.holter", "_-1.holter") == (first.path.name, second.path.name, third.path.name)
    assert {0o600} == {one.path.stat().st_mode & 0o777 for one in (first, second, third)}
    assert "a_b__" in made(tmp_path, "a b\n\x1b").path.name


def test_a_name_that_is_taken_everywhere_is_given_up(tmp_path: Path) -> None:
    """A link that somebody put there is not followed; after ten such names the reason is told."""
    target = tmp_path / "target"
    for number in range(10):
        (tmp_path / f"a{f'-{number}' if number else ''}.holter").symlink_to(target)
    with pytest.raises(RecordingUnavailable, match=r"has 10 files named a\.holter"):
        made(tmp_path)
    assert not target.exists()


@pytest.mark.parametrize("change", ["unlinked", "replaced", "linked", "cut off"])
def test_a_file_that_is_no_longer_the_same_grows_no_more(change: str, tmp_path: Path) -> None:
    """It is opened anew to grow; what stands there then is not touched, what is mapped stays."""
    segments = made(tmp_path)
    path, other = segments.path, tmp_path / "other"
    other.write_bytes(bytes(64 * KIB))
    if change == "cut off":
        os.truncate(path, 32 * KIB)
    else:
        path.unlink()
    if change == "replaced":
        other.rename(path)
    if change == "linked":
        path.symlink_to(other)
    assert segments.cut(100 * KIB) is None
    assert segments.cut(KIB) is not None
    segments.unlink()
    assert (change in ("replaced", "linked")) == path.is_symlink() or path.exists()
    if other.exists():
        assert bytes(64 * KIB) == other.read_bytes()


def test_descriptors_may_be_closed_and_given_to_others(tmp_path: Path) -> None:
    """A program that closes all of them, as daemons do, and opens files of its own keeps these as they are."""
    program = """
        import gc, os, pathlib, sys
        from holter.segments import Segments, Space
        folder = pathlib.Path(sys.argv[1])
        segments = Segments(folder, "a", Space(segment_bytes=65536))
        os.closerange(3, 1024)
        files = [open(folder / f"own{number}", "w") for number in range(20)]
        piece = segments.cut(100_000)
        piece.memory[0] = 1
        del segments, piece
        gc.collect()
        for file in files:
            file.write("mine")
    """
    tmp_path.chmod(0o700)
    done = run(program, tmp_path)
    assert ("", 0) == (done.stderr, done.returncode)
    assert {"mine"} == {path.read_text() for path in tmp_path.glob("own*")}


@given(
    sizes=st.lists(st.integers(1, 40_000), max_size=40),
    returns=st.lists(st.integers(0, 39), max_size=10),
)
def test_pieces_never_overlap(sizes: list[int], returns: list[int], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whatever is asked for and taken back, and the file never exceeds its bound."""
    segments = made(tmp_path_factory.mktemp("pieces"))
    held: list[Any] = []
    for index, size in enumerate(sizes):
        piece = segments.cut(size)
        if piece is not None:
            held.append(piece)
        if held and index in returns:
            segments.take_back(held.pop())
    ends = 0
    for piece in sorted(held):
        assert piece.offset >= ends
        ends = piece.offset + len(piece.memory)
    assert ends <= segments.size <= SPACE.most_bytes
    segments.unlink()


class TestSpace:
    """What a recording may take."""

    def test_a_small_file_system_gives_an_eighth(self, tmp_path: Path) -> None:
        """Of what is free, in whole segments; a memory limit gives a sixteenth; and 32 MiB are the most."""
        with (tmp_path / "file").open("w") as file:
            system = os.fstatvfs(file.fileno())
            free = system.f_bavail * system.f_frsize
            assert 32 * KIB * KIB == Space().limit_bytes(file.fileno())
            small = Space(segment_bytes=4096, most_bytes=2**60).limit_bytes(file.fileno())
        assert small == pytest.approx(free / 8, rel=0.05)
        assert small % 4096 == 0

    def test_a_memory_limit_gives_a_sixteenth(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A container of 64 MiB lends 4."""
        monkeypatch.setattr(module, "cgroup_limit_bytes", lambda: 64 * 2**20)
        with (tmp_path / "file").open("w") as file:
            assert 4 * 2**20 == Space().limit_bytes(file.fileno())

    def test_no_space_is_no_file(self, tmp_path: Path) -> None:
        """Nothing is left behind."""
        with pytest.raises(RecordingUnavailable, match="has too little space"):
            made(tmp_path, space=Space(most_bytes=1))
        with pytest.raises(RecordingUnavailable, match="has too little space"):
            made(tmp_path, space=Space(kept_free_bytes=2**62, segment_bytes=2**62, most_bytes=2**62))
        assert [] == list(tmp_path.iterdir())

    def test_a_folder_that_cannot_be_written_is_no_folder(self, tmp_path: Path) -> None:
        """With the words of the system."""
        with pytest.raises(RecordingUnavailable, match="No such file"):
            made(tmp_path / "none")
        with pytest.raises(RecordingUnavailable, match="no file can be made in /proc/self"):
            made(Path("/proc/self"))


@pytest.mark.parametrize(
    ("size", "fill", "expected"), [("64m", 0, "8 32"), ("256k", 0, "none 0"), ("64m", 60, "none 0")]
)
def test_half_of_a_small_file_system_stays_free(size: str, fill: int, expected: str, tmp_path: Path) -> None:
    """
    On 64 MiB a process takes 8, several together 32, and what others fill leaves them none; nobody gets SIGBUS.

    Each maps what it takes and stores into the last byte of it.
    """
    if (unshare := shutil.which("unshare")) is None:
        pytest.skip("needs the command unshare: apt-get install util-linux")
    mount = f'mount -t tmpfs -o size={size} none {tmp_path} && exec "$@"'
    before = [unshare, "-rm", "sh", "-c", mount, "sh"]
    if subprocess.run([*before, "true"], check=False, capture_output=True).returncode:
        pytest.skip("needs to mount a tmpfs: run as root, or let users have namespaces")
    program = """
        import pathlib, sys
        from holter.errors import RecordingUnavailable
        from holter.segments import Segments, Space
        folder = pathlib.Path(sys.argv[1])
        folder.joinpath("filler").write_bytes(b"x" * (int(sys.argv[2]) << 20))
        limit, all = "none", []
        for number in range(20):
            try:
                segments = Segments(folder, f"a{number}", Space())
            except RecordingUnavailable:
                break
            limit = segments.limit >> 20 if limit == "none" else limit
            all.append(segments)
            while (piece := segments.cut(1 << 20)) is not None:
                piece.memory[-1] = 1
        print(limit, sum(one.size for one in all) >> 20)
    """
    done = run(program, tmp_path, fill, before=before)
    assert ("", 0) == (done.stderr, done.returncode)
    assert expected == done.stdout.strip()
