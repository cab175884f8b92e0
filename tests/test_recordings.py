"""The recordings of a folder: which there are, which are kept, whose death is news."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from holter import recordings
from holter.departed import Departed
from holter.documents import decode_identity, encode_identity
from holter.layout import BEAT_WORDS, FORMAT_WORD, STATE_WORD, FileState, Section, beat_check
from holter.model import Process
from holter.recording import Membership, Recording
from holter.recordings import listed, sweep
from holter.sections import Sections
from holter.whereabouts import Whereabouts
from lives import SMALL
from programs import run

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="recordings need Linux")
DAY_NS = 86_400_000_000_000
NOW_NS = time.time_ns()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder in which recordings may lie."""
    tmp_path.chmod(0o700)
    return tmp_path


def leave(
    folder: Path,
    name: str,
    *,
    age_ns: int = 0,
    service: str = "sentiment",
    state: int = FileState.FAILED,
    group: str | None = None,
    **where: Any,
) -> Path:
    """Leave the recording of a process, of a *group* maybe, that was heard of so long ago."""
    membership = None if group is None else Membership(1, service, group)
    recording = Recording.create(Process(service), folder=folder, space=SMALL, membership=membership)
    path = folder / f"{name}.holter"
    content = bytearray(recording.path.read_bytes())
    with Sections(recording.path) as sections:
        (place,) = sections.places(Section.IDENTITY)
    recording.close(clean=True)
    if where:
        here = Whereabouts.mine()
        known = {name: getattr(here, name) for name in ("pid", "start_ticks", "boot_id", "pid_namespace")}
        identity = encode_identity(Process(service), Whereabouts(**known | where), 9_000)
        content[place.offset :][: place.length] = bytes(place.length)
        content[place.offset : place.offset + place.length] = identity.ljust(place.length, b"\0")[: place.length]
        assert decode_identity(identity[: place.length]) is not None
    words = np.frombuffer(content, "<u8")
    words[STATE_WORD] = state
    at, wall_ns = BEAT_WORDS[0], NOW_NS - age_ns
    words[at : at + 4] = 99, 1, wall_ns, beat_check(99, 1, wall_ns)
    path.write_bytes(content)
    return path


def names(folder: Path) -> list[str]:
    """Return what lies in a folder."""
    return sorted(path.name.removesuffix(".holter") for path in folder.iterdir())


def test_recordings_are_listed_the_newest_first(folder: Path) -> None:
    """With their state, size and last sign of life; what is none of ours is not there, what cannot be read says why."""
    leave(folder, "old", age_ns=DAY_NS)
    leave(folder, "new", state=FileState.STOPPED)
    (folder / "garbage.holter").write_bytes(b"x" * 600)
    os.utime(folder / "garbage.holter", ns=(0, 0))
    (folder / "notes.txt").write_text("x")
    (folder / "link.holter").symlink_to(folder / "old.holter")
    (folder / "folder.holter").mkdir()
    os.mkfifo(folder / "pipe.holter")
    found = listed(folder)
    assert ["new", "old", "garbage"] == [one.path.stem for one in found]
    assert ["stopped", "dead", "unknown"] == [one.state for one in found]
    assert [NOW_NS, NOW_NS - DAY_NS, 0] == [one.ended_ns for one in found]
    assert "is no recording" in found[2].trouble
    assert found[0].size_bytes == found[0].path.stat().st_size
    assert [] == listed(folder / "none")


def test_folders_are_those_that_are_there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of those where recordings may be."""
    monkeypatch.setenv("HOLTER_DIR", str(folder))
    assert [folder] == recordings.folders()
    monkeypatch.setenv("HOLTER_DIR", str(folder / "none"))
    assert [] == recordings.folders()


def test_a_death_is_told_once(folder: Path) -> None:
    """To the first who asks for that service, the newest first; it is kept under another name."""
    leave(folder, "a-1", age_ns=2)
    leave(folder, "a-2", age_ns=1)
    leave(folder, "b-3", service="other")
    leave(folder, "c-4", state=FileState.RUNNING)
    assert [folder / "a-2.dead.holter", folder / "a-1.dead.holter"] == sweep(folder, "sentiment")
    assert [] == sweep(folder, "sentiment")
    assert ["a-1.dead", "a-2.dead", "b-3", "c-4"] == names(folder)
    assert [folder / "b-3.dead.holter"] == sweep(folder, "other")
    assert [True, True, True, False] == [one.is_told for one in sorted(listed(folder), key=lambda one: one.path)]


def test_of_many_that_start_at_once_one_is_told(folder: Path) -> None:
    """Eight workers of a service begin, one death is news to one of them."""
    leave(folder, "a-1")
    program = textwrap.dedent("""
        import pathlib, sys
        from holter.recordings import sweep
        sys.stdin.read()
        print(len(sweep(pathlib.Path(sys.argv[1]), "sentiment")))
    """)
    command = [sys.executable, "-c", program, str(folder)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    workers = [subprocess.Popen(command, **pipes) for _ in range(8)]
    for worker in workers:
        worker.stdin.close()
    counts = [int(worker.stdout.read()) for worker in workers]
    for worker in workers:
        worker.wait()
        worker.stdout.close()
    assert 1 == sum(counts)


def test_what_ended_well_is_removed(folder: Path) -> None:
    """Where the process could not do it itself; those that live stay."""
    leave(folder, "closed", state=FileState.CLOSED)
    leave(folder, "running", state=FileState.RUNNING)
    leave(folder, "stopped", state=FileState.STOPPED, age_ns=30 * DAY_NS)
    assert [] == sweep(folder, "sentiment")
    assert ["running", "stopped"] == names(folder)


def test_deaths_are_kept_within_bounds(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last 16, seven days, 128 MiB: whatever is over is removed, the oldest first."""
    for number in range(20):
        leave(folder, f"a-{number:02}", age_ns=number)
    sweep(folder, "other")
    assert [f"a-{number:02}" for number in range(16)] == names(folder)
    size = (folder / "a-00.holter").stat().st_size
    monkeypatch.setattr(recordings, "MOST_KEPT_BYTES", 3 * size)
    sweep(folder, "other")
    assert ["a-00", "a-01", "a-02"] == names(folder)
    sweep(folder, "other", NOW_NS + 7 * DAY_NS)
    assert ["a-00"] == names(folder)
    sweep(folder, "other", NOW_NS + 7 * DAY_NS + 1)
    assert [] == names(folder)


def test_what_nobody_has_counted_in_waits_for_a_minute(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever leads a group may read the others each 30 s: until then more than 16 are kept, up to a bound."""
    for number in range(22):
        leave(folder, f"a-{number:02}", age_ns=30 * 10**9 + number, group="")
    sweep(folder, "other", NOW_NS)
    assert 22 == len(listed(folder))
    last, before = (one.process for one in listed(folder)[:-3:-1])
    assert last is not None
    assert before is not None
    Departed(counted={last.recording: 0}).write(folder / "sentiment-0a1b2c3d.7.totals", 1)
    Departed(counted={before.recording: 0}).write(folder / "another-0a1b2c3d.1.totals", 1)
    sweep(folder, "other", NOW_NS)
    assert 20 == len(listed(folder))
    size = (folder / "a-00.holter").stat().st_size
    monkeypatch.setattr(recordings, "MOST_UNCOUNTED_BYTES", 18 * size)
    sweep(folder, "other", NOW_NS)
    assert 18 == len(listed(folder))
    sweep(folder, "other", NOW_NS + 30 * 10**9 + 1)
    assert 16 == len(listed(folder))


def test_a_death_that_is_not_sure_is_kept_for_a_day(folder: Path) -> None:
    """A process of another pid namespace, silent for a minute: it may be stopped, not dead."""
    for number in range(18):
        leave(folder, f"a-{number:02}", state=FileState.RUNNING, pid_namespace=7, age_ns=120 * 10**9 + number)
    assert 18 == len(sweep(folder, "sentiment"))
    assert 18 == len(names(folder))
    sweep(folder, "sentiment", NOW_NS + DAY_NS)
    assert 16 == len(names(folder))


def test_a_silent_minute_is_a_death_elsewhere(folder: Path) -> None:
    """Half of one is not; and a process of an earlier boot is dead at once."""
    leave(folder, "near", state=FileState.RUNNING, pid_namespace=7, age_ns=NOW_NS - time.time_ns() + 30 * 10**9)
    leave(folder, "boot", state=FileState.RUNNING, boot_id="an earlier one")
    assert [folder / "boot.dead.holter"] == sweep(folder, "sentiment")


@pytest.mark.parametrize("mounted", [True, False])
def test_two_pid_namespaces_share_a_folder(folder: Path, *, mounted: bool) -> None:
    """Each has a process 1: neither is taken for dead by the other, with a process table of its own or without."""
    if (unshare := shutil.which("unshare")) is None:
        pytest.skip("needs the command unshare: apt-get install util-linux")
    before = [unshare, "-rpf", *(["--mount-proc"] if mounted else [])]
    if subprocess.run([*before, "true"], check=False, capture_output=True).returncode:
        pytest.skip("needs namespaces of its own: run as root, or let users have them")
    program = """
        import os, pathlib, sys, time
        from holter.model import Process
        from holter.recording import Membership, Recording
        from holter.recordings import listed, sweep
        folder = pathlib.Path(sys.argv[1])
        assert os.getpid() == 1
        recording = Recording.create(Process("sentiment"), folder=folder)
        print(recording.path.name, flush=True)
        sys.stdin.readline()
        print(sweep(folder, "sentiment", time.time_ns() + 30 * 86_400 * 10**9), flush=True)
        sys.stdin.readline()
    """
    mine = Recording.create(Process("sentiment"), folder=folder)
    command = [*before, sys.executable, "-c", textwrap.dedent(program), str(folder)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes) as one, subprocess.Popen(command, **pipes) as other:
        paths = {folder / child.stdout.readline().decode().strip() for child in (one, other)}
        assert 2 == len(paths)
        for child in (one, other):
            child.stdin.write(b"\n")
            child.stdin.flush()
            assert b"[]\n" == child.stdout.readline()
        assert [] == sweep(folder, "sentiment", time.time_ns() + 30 * DAY_NS)
        found = {entry.path: (entry.state, entry.process.is_sure) for entry in listed(folder)}
        assert {mine.path: ("running", True)} | dict.fromkeys(paths, ("running", False)) == found
        one.communicate(b"\n")
        other.communicate(b"\n")
    mine.close(clean=True)


def test_what_cannot_be_read_is_removed_with_time_unless_its_process_lives(folder: Path) -> None:
    """A later holter may write what this one cannot read: its process is known by the name of the file."""
    here = Whereabouts.mine()
    for name in (f"later-{here.pid}-{here.start_ticks}", f"gone-{here.pid}-{here.start_ticks + 1}", "garbage"):
        path = leave(folder, name)
        words = np.frombuffer(path.read_bytes(), "<u8").copy()
        words[FORMAT_WORD] = 2
        path.write_bytes(words.tobytes())
        os.utime(path, ns=(NOW_NS, NOW_NS))
    sweep(folder, "sentiment", NOW_NS + 6 * DAY_NS)
    assert 3 == len(names(folder))
    sweep(folder, "sentiment", NOW_NS + 8 * DAY_NS)
    assert [f"later-{here.pid}-{here.start_ticks}"] == names(folder)


def test_a_folder_that_cannot_be_written_harms_nobody(folder: Path) -> None:
    """Nothing is removed, nothing is told, nothing is raised."""
    program = """
        import os, pathlib, sys
        from holter import recordings
        folder = pathlib.Path(sys.argv[1])
        def refuse(*_, **__): raise PermissionError(13, "no")
        os.link = os.unlink = pathlib.Path.unlink = refuse
        print(recordings.sweep(folder, "sentiment"))
    """
    leave(folder, "a-1")
    leave(folder, "closed", state=FileState.CLOSED)
    done = run(program, folder)
    assert ("[]\n", "", 0) == (done.stdout, done.stderr, done.returncode)
    assert ["a-1", "closed"] == names(folder)
