"""A bounded file: whole lines under rotation, full disks, dead writers, forks and other processes."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from holter.boundedfile import BoundedFile
from holter.errors import ConfigurationError

LEAST = 65_536
LINE = b"x" * 999 + b"\n"


def bounded(path: Path, max_bytes: int = LEAST, backups: int = 3, lock_seconds: float = 5.0) -> BoundedFile:
    """Return a small file."""
    return BoundedFile(path, max_bytes=max_bytes, backups=backups, lock_seconds=lock_seconds)


def numbered(first: int, last: int) -> list[bytes]:
    """Return lines of 1,000 bytes that begin with their number."""
    return [f"{number:06d}".encode() + LINE[6:] for number in range(first, last)]


def test_lines_are_appended_below_the_first(tmp_path: Path) -> None:
    """The first line is written once; the folder is created."""
    file = bounded(tmp_path / "new" / "folder" / "a.log")
    file.append([b"1\n", b"2\n"], first=b"head\n")
    file.append([b"3\n"], first=b"head\n")
    assert file.path.read_bytes() == b"head\n1\n2\n3\n"


def test_nothing_to_write_writes_nothing(tmp_path: Path) -> None:
    """No line, no head, however long that is."""
    file = bounded(tmp_path / "a.log")
    file.append([], first=b"head\n")
    file.append([], first=b"h" * LEAST + b"\n")
    assert file.path.read_bytes() == b""


def test_full_files_are_set_aside_in_order(tmp_path: Path) -> None:
    """Each file is within the bound and begins with the first line; the newest backup is number 1."""
    file = bounded(tmp_path / "a.log")
    for number in range(200):
        file.append(numbered(number, number + 1), first=b"head\n")
    names = ["a.log.3", "a.log.2", "a.log.1", "a.log"]
    assert sorted(names) == sorted(path.name for path in tmp_path.iterdir())
    contents = [(tmp_path / name).read_bytes() for name in names]
    assert all(len(content) <= LEAST and content.startswith(b"head\n") for content in contents)
    assert [content.count(b"head\n") for content in contents] == [1] * 4
    assert b"".join(content.removeprefix(b"head\n") for content in contents) == b"".join(numbered(0, 200))


def test_the_oldest_backup_makes_room(tmp_path: Path) -> None:
    """No more files than asked for, the newest lines in them."""
    file = bounded(tmp_path / "a.log", backups=1)
    for number in range(300):
        file.append(numbered(number, number + 1))
    assert ["a.log", "a.log.1"] == sorted(path.name for path in tmp_path.iterdir())
    kept = (tmp_path / "a.log.1").read_bytes() + file.path.read_bytes()
    assert kept == b"".join(numbered(300 - len(kept) // 1000, 300))


def test_without_backups_the_file_begins_anew(tmp_path: Path) -> None:
    """The bound holds for all that lies there."""
    file = bounded(tmp_path / "a.log", backups=0)
    for number in range(100):
        file.append(numbered(number, number + 1))
    assert [file.path] == list(tmp_path.iterdir())
    assert file.path.stat().st_size <= LEAST
    assert file.path.read_bytes().endswith(numbered(99, 100)[0])


def test_one_append_may_fill_several_files(tmp_path: Path) -> None:
    """It is parted between lines."""
    file = bounded(tmp_path / "a.log")
    file.append(numbered(0, 200), first=b"head\n")
    contents = [(tmp_path / name).read_bytes() for name in ("a.log.3", "a.log.2", "a.log.1", "a.log")]
    assert all(len(content) <= LEAST for content in contents)
    assert b"".join(content.removeprefix(b"head\n") for content in contents) == b"".join(numbered(0, 200))


def test_lines_that_fit_into_one_file_stay_together(tmp_path: Path) -> None:
    """So that an append is written as a whole or not at all."""
    file = bounded(tmp_path / "a.log")
    file.append(numbered(0, 40), first=b"head\n")
    file.append(numbered(40, 80), first=b"head\n")
    assert [b"head\n" + b"".join(numbered(n, n + 40)) for n in (0, 40)] == [
        (tmp_path / name).read_bytes() for name in ("a.log.1", "a.log")
    ]


def test_a_line_beyond_the_bound_gets_a_file_of_its_own(tmp_path: Path) -> None:
    """It is neither lost nor torn nor tried for ever."""
    file = bounded(tmp_path / "a.log")
    large = b"y" * LEAST + b"\n"
    file.append([b"1\n", large, b"2\n", large], first=b"head\n")
    file.append([], first=b"head\n")
    contents = [(tmp_path / name).read_bytes() for name in ("a.log.3", "a.log.2", "a.log.1", "a.log")]
    assert [b"head\n1\n", b"head\n" + large, b"head\n2\n", b"head\n" + large] == contents


def test_the_number_tells_that_a_new_file_has_begun(tmp_path: Path) -> None:
    """It stays while the file does."""
    file = bounded(tmp_path / "a.log")
    numbers = [file.append(lines) for lines in (numbered(0, 60), [b"1\n"], [], numbered(0, 60))]
    assert [True, True, False] == [one == other for one, other in pairwise(numbers)]


@pytest.mark.parametrize("moved", [True, False])
def test_a_file_that_is_taken_away_is_created_anew(tmp_path: Path, moved: bool) -> None:  # noqa: FBT001  a case
    """Rotation from outside by moving or deleting loses no later line."""
    file = bounded(tmp_path / "a.log")
    file.append([b"1\n"], first=b"head\n")
    if moved:
        file.path.rename(tmp_path / "moved")
    else:
        file.path.unlink()
    file.append([b"2\n"], first=b"head\n")
    assert file.path.read_bytes() == b"head\n2\n"


def test_who_waited_while_the_file_was_moved_turns_to_the_new_one(tmp_path: Path) -> None:
    """The lock of a file that was set aside is not the lock of the path."""
    file = bounded(tmp_path / "a.log")
    with file.path.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        writer = threading.Thread(target=file.append, args=([b"late\n"],))
        writer.start()
        while not _has_opened(file.path, times=2):
            time.sleep(0.001)
        file.path.rename(tmp_path / "a.log.1")
        fcntl.flock(held, fcntl.LOCK_UN)
        writer.join()
    assert [b"", b"late\n"] == [(tmp_path / name).read_bytes() for name in ("a.log.1", "a.log")]


def _has_opened(path: Path, times: int) -> bool:
    links = []
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            links.append(descriptor.readlink())
        except FileNotFoundError:
            continue
    return links.count(path) >= times


def test_a_lock_that_is_never_given_back_ends_in_a_timeout(tmp_path: Path) -> None:
    """A stopped peer delays by no more than the deadline, and the file is as it was."""
    file = bounded(tmp_path / "a.log", lock_seconds=0.05)
    with file.path.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        start = time.monotonic()
        with pytest.raises(TimeoutError):
            file.append([b"1\n"])
        assert 0.05 <= time.monotonic() - start < 2
    file.append([b"2\n"])
    assert file.path.read_bytes() == b"2\n"


def test_a_child_forked_while_the_lock_is_held_does_not_keep_it(tmp_path: Path) -> None:
    """The parent gives the lock back for both."""
    file = bounded(tmp_path / "a.log", lock_seconds=0.5)
    reading, writing = os.pipe()
    with file._exclusive(time.monotonic() + 1):
        child = os.fork()
        if not child:
            os.close(writing)
            os.read(reading, 1)
            os._exit(0)
    try:
        file.append([b"1\n"])
    finally:
        os.close(writing)
        os.close(reading)
        os.waitpid(child, 0)
    assert file.path.read_bytes() == b"1\n"


@pytest.mark.parametrize("half", [b"torn", b"torn" * 50_000])
@pytest.mark.parametrize("whole", [b"", b"head\n1\n"])
def test_the_half_line_of_a_writer_that_was_killed_is_cut_off(tmp_path: Path, whole: bytes, half: bytes) -> None:
    """The next writer begins on a line of its own, in a file that is left empty with the first line."""
    file = bounded(tmp_path / "a.log", max_bytes=10 * LEAST)
    file.path.write_bytes(whole + half)
    file.append([b"2\n"], first=b"head\n")
    assert file.path.read_bytes() == (whole or b"head\n") + b"2\n"


def test_nothing_stays_open_between_appends(tmp_path: Path) -> None:
    """No descriptor is there for a child to inherit."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    file = bounded(tmp_path / "a.log")
    file.append(numbered(0, 200))
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_change_of_the_working_folder_moves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path means the folder that was the working one at set-up."""
    monkeypatch.chdir(tmp_path)
    file = bounded(Path("a.log"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    file.append([b"1\n"])
    assert (tmp_path / "a.log").read_bytes() == b"1\n"


def test_a_link_stays_and_its_target_is_rotated(tmp_path: Path) -> None:
    """The backups lie beside the file itself."""
    (tmp_path / "data").mkdir()
    (tmp_path / "latest").symlink_to(tmp_path / "data" / "a.log")
    bounded(tmp_path / "latest").append(numbered(0, 100))
    assert (tmp_path / "latest").is_symlink()
    assert ["a.log", "a.log.1"] == sorted(path.name for path in (tmp_path / "data").iterdir())


def test_others_may_read_the_file(tmp_path: Path) -> None:
    """A shipper of logs runs as another user; a umask still narrows it."""
    before = os.umask(0o022)
    try:
        modes = [bounded(tmp_path / "a.log").path.stat().st_mode & 0o777]
        os.umask(0o077)
        modes.append(bounded(tmp_path / "b.log").path.stat().st_mode & 0o777)
    finally:
        os.umask(before)
    assert [0o644, 0o600] == modes


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_bytes": 100}, "max_bytes must be a whole number of at least 65,536, got 100"),
        ({"max_bytes": 1e6}, "max_bytes must be a whole number"),
        ({"backups": -1}, "backups must be a whole number of at least 0, got -1"),
        ({"backups": True}, "backups must be a whole number"),
    ],
)
def test_bounds_that_are_none_are_refused(tmp_path: Path, options: dict[str, int], words: str) -> None:
    """What was expected and what came."""
    with pytest.raises(ConfigurationError, match=words):
        bounded(tmp_path / "a.log", **options)
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize("path", ["/proc/holter/a.log", "/proc/a.log", "/dev/null", "/tmp", 5, "a\0b"])  # noqa: S108  refused
def test_a_path_that_cannot_be_a_file_is_refused(path: str) -> None:
    """At set-up, in words, not at the first export."""
    with pytest.raises(ConfigurationError, match=r"name (a file|another)|must name a file"):
        BoundedFile(path, max_bytes=LEAST, backups=1)


LIMITED = """
import resource, sys
from pathlib import Path
from holter.boundedfile import BoundedFile

file = BoundedFile(sys.argv[1], max_bytes=1_000_000, backups=1)
file.append([b"1\\n"], first=b"head\\n")
resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, 5_000))
try:
    file.append([b"x" * 999 + b"\\n"] * 10)
except OSError as error:
    print(error.errno)
file.append([b"2\\n"])
"""


def test_a_write_that_ends_half_way_leaves_nothing(tmp_path: Path) -> None:
    """The caller gets an OSError; the file is as before, and the next lines that fit are written."""
    path = tmp_path / "a.log"
    run = subprocess.run(
        [sys.executable, "-c", LIMITED, str(path)], check=True, capture_output=True, text=True, env=_environment()
    )
    assert run.stdout.split() == ["27"]
    assert path.read_bytes() == b"head\n1\n2\n"


def _environment() -> dict[str, str]:
    return {"PYTHONPATH": ":".join(entry for entry in sys.path if entry)}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return the folder of a file system of 256 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = [shutil.which("mount") or "mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    try:
        failed = subprocess.run(mount, check=False, capture_output=True).returncode
    except FileNotFoundError:
        failed = 1
    if failed:
        pytest.skip("mounting a tmpfs needs root; run: sudo pytest tests/test_boundedfile.py")
    yield disk
    subprocess.run([shutil.which("umount") or "umount", str(disk)], check=True)


def test_a_full_disk_leaves_whole_lines_only(small_disk: Path) -> None:
    """Each append that does not fit raises, what was written before stays, and room that is made is used."""
    file = bounded(small_disk / "a.log", max_bytes=2**20)
    written = failed = 0
    for number in range(0, 400, 7):
        try:
            file.append(numbered(number, number + 7), first=b"head\n")
            written += 7
        except OSError:
            failed += 1
    assert failed > 10
    assert file.path.read_bytes() == b"head\n" + b"".join(numbered(0, written))
    os.truncate(file.path, 0)
    file.append([b"again\n"], first=b"head\n")
    assert file.path.read_bytes() == b"head\nagain\n"


WITHOUT_FLOCK = """
import sys, threading
sys.modules["fcntl"] = None
from holter.boundedfile import BoundedFile

file = BoundedFile(sys.argv[1], max_bytes=65_536, backups=9)
def write(name):
    for number in range(100):
        file.append([f"{name}{number:03d}".encode() + b"x" * 995 + b"\\n"], first=b"head\\n")
threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
for thread in threads: thread.start()
for thread in threads: thread.join()
with file._exclusive(0):
    try:
        BoundedFile(sys.argv[1], max_bytes=65_536, backups=9, lock_seconds=0.01)
    except Exception as error:
        print(type(error).__name__)
"""


def test_without_flock_the_threads_of_a_process_share_a_file(tmp_path: Path) -> None:
    """Where there is no fcntl, a lock of the process and rotation by copy take its place."""
    path = tmp_path / "a.log"
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT_FLOCK, str(path)],
        check=True,
        capture_output=True,
        text=True,
        env=_environment(),
    )
    assert run.stdout.split() == ["ConfigurationError"]
    files = list(tmp_path.iterdir())
    assert len(files) > 3
    lines = [line for file in files for line in file.read_bytes().splitlines() if line != b"head"]
    assert {f"{name}{number:03d}".encode() for name in "abcd" for number in range(100)} == {line[:4] for line in lines}
    assert {1} == {file.read_bytes().count(b"head\n") for file in files}
    assert {999} == {len(line) for line in lines}


SHARING = """
import sys
from holter.boundedfile import BoundedFile

file = BoundedFile(sys.argv[1], max_bytes=65_536, backups=200)
print("ready", flush=True)
sys.stdin.readline()
for number in range(400):
    file.append([f"{sys.argv[2]}{number:03d}{part}".encode() + b"x" * 700 + b"\\n" for part in "abc"], first=b"head\\n")
"""


def test_four_processes_lose_no_line_across_rotations(tmp_path: Path) -> None:
    """Every line of every process is there once and whole, and each file begins with one first line."""
    path = tmp_path / "a.log"
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", SHARING, str(path), name],
            env=_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in "wxyz"
    ]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.close()
    assert [0] * 4 == [worker.wait() for worker in workers]
    for worker in workers:
        assert worker.stdout is not None
        worker.stdout.close()
    files = list(tmp_path.iterdir())
    assert len(files) > 40
    contents = [file.read_bytes() for file in files]
    assert all(len(content) <= LEAST and content.startswith(b"head\n") for content in contents)
    lines = [line for content in contents for line in content.splitlines() if line != b"head"]
    assert len(lines) == 4 * 400 * 3
    expected = {f"{name}{number:03d}{part}" for name in "wxyz" for number in range(400) for part in "abc"}
    assert expected == {line[:5].decode() for line in lines}
    assert {705} == {len(line) for line in lines}
