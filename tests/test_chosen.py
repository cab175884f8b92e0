"""Which recordings are meant by a number, a name, a path or nothing."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from holter.chosen import choices, chosen, group_of
from holter.errors import RecordingError
from holter.members import GroupName
from holter.recording import Membership
from holter.recordings import listed
from lives import Life

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="recordings need Linux")


def born(folder: Path, service: str = "sentiment", group: str | None = None) -> Life:
    """Return a process that records."""
    life = Life(folder, service=service)
    if group is not None:
        life.recording.enlist(Membership(life.scope.number, service, group))
    life.turn()
    return life


def paths(*lives: Life) -> set[Path]:
    """Return where the recordings of processes are."""
    return {life.recording.path for life in lives}


def found_for(folder: Path, which: str | None, group: str | None = None) -> list[set[Path]]:
    """Return the recordings of each choice."""
    return [{one.path for one in choice.recordings} for choice in chosen(which, group, [folder])]


def test_without_a_word_what_lives_is_meant(tmp_path: Path) -> None:
    """A choice for each group of processes; the dead are not among them."""
    one, other, alone = born(tmp_path, group=""), born(tmp_path, group=""), born(tmp_path, "batch")
    born(tmp_path, "gone").recording.close(clean=False)
    assert {frozenset(paths(one, other)), frozenset(paths(alone))} == set(map(frozenset, found_for(tmp_path, None)))


def test_a_name_means_all_processes_of_the_service(tmp_path: Path) -> None:
    """Those that live, or the one that has ended last where none does; their groups are told apart."""
    dead, later = born(tmp_path), born(tmp_path)
    dead.recording.close(clean=False)
    later.recording.close(clean=False)
    assert [paths(later)] == found_for(tmp_path, "sentiment")
    one, canary = born(tmp_path, group=""), born(tmp_path, group="canary")
    assert {frozenset(paths(one)), frozenset(paths(canary))} == set(map(frozenset, found_for(tmp_path, "sentiment")))
    assert [paths(canary)] == found_for(tmp_path, "sentiment", "canary")
    mine = str(os.getpid())
    assert [os.getpid(), 0, 0] == [one.pid for which in (mine, "sentiment") for one in chosen(which, None, [tmp_path])]


def test_a_number_means_one_process(tmp_path: Path) -> None:
    """The one that lives before one of that number that has died; a service of that name where there is no process."""
    dead = born(tmp_path)
    dead.recording.close(clean=False)
    mine = str(os.getpid())
    assert [paths(dead)] == found_for(tmp_path, mine)
    living = born(tmp_path, group="")
    assert [paths(living)] == found_for(tmp_path, mine)
    born(tmp_path).recording.close(clean=False)
    assert [paths(living)] == found_for(tmp_path, mine)
    numbered = born(tmp_path, service="12")
    assert [paths(numbered)] == found_for(tmp_path, "12")


def test_a_path_means_that_recording(tmp_path: Path) -> None:
    """Wherever it lies, but it must be one."""
    life = born(tmp_path)
    assert [paths(life)] == found_for(tmp_path / "none", str(life.recording.path))
    with pytest.raises(FileNotFoundError):
        chosen(str(tmp_path / "none.holter"))
    (tmp_path / "garbage.holter").write_text("x")
    with pytest.raises(RecordingError, match="is no recording"):
        chosen(str(tmp_path / "garbage.holter"))


def test_where_there_is_nothing_it_says_what_there_is(tmp_path: Path) -> None:
    """The services that have recordings, or the last that died with the command that tells of it."""
    dead = born(tmp_path)
    dead.recording.close(clean=False)
    with pytest.raises(RecordingError, match=r"no recording of service shop in .*; there are sentiment"):
        chosen("shop", None, [tmp_path])
    with pytest.raises(RecordingError, match=r"no recording of process 4711 in"):
        chosen("4711", None, [tmp_path])
    with pytest.raises(RecordingError, match=rf"no process that records in .*postmortem {dead.recording.path}"):
        chosen(None, None, [tmp_path])
    with pytest.raises(RecordingError, match="no process that records in any folder of this user"):
        chosen(None, None, [])


def test_labels_are_of_one_printable_line(tmp_path: Path) -> None:
    """With service, group and the numbers of the processes, the first four of many."""
    mine = os.getpid()
    born(tmp_path, "evil\x1b[31m\n", "a\x07")
    (choice,) = choices(listed(tmp_path))
    assert (True, rf"evil\x1b[31m\n (a\x07), process {mine}") == (choice.is_alive, choice.label())
    for _ in range(5):
        born(tmp_path, "evil\x1b[31m\n", "a\x07")
    assert choices(listed(tmp_path))[0].label().endswith(f"6 processes: {mine}, {mine}, {mine}, {mine}, …")


def test_a_recording_that_cannot_be_read_is_of_no_group(tmp_path: Path) -> None:
    """Gone since it was listed, it is known by its service only."""
    life = born(tmp_path, group="canary")
    (one,) = listed(tmp_path)
    assert GroupName("sentiment", "canary") == group_of(one)
    life.recording.path.unlink()
    assert GroupName("sentiment", "") == group_of(one)
