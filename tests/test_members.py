"""The processes of a group as their recordings tell of them: who is one, and what has changed since the last look."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crews import NAME, Worker
from holter.members import GroupName, Member, Members
from holter.names import CALL_DURATION

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="recordings need Linux")


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Any]:
    """Make processes in a folder, or in one below it."""
    made: list[Worker] = []

    def make(below: str = "", name: GroupName = NAME) -> Worker:
        folder = tmp_path / below
        folder.mkdir(exist_ok=True)
        folder.chmod(0o700)
        made.append(Worker(folder, name))
        return made[-1]

    yield make
    for one in made:
        one.end(clean=True)


def calls(member: Member) -> int:
    """Return how many calls a member has made."""
    found = [key for key, series in member.series.items() if series.name == CALL_DURATION]
    return sum(member.readings[key].count for key in found if key in member.readings)


def test_those_of_the_group_are_found_with_what_they_have_done(worker: Any, tmp_path: Path) -> None:
    """Others in the folder are not; one may be left out, as whoever looks knows itself."""
    first, second, _ = worker(), worker(), worker(name=GroupName("another", ""))
    first.work(3), second.work(4)
    first.life.turn(now=True), second.life.turn(now=True)
    members = Members(tmp_path, NAME)
    assert [3, 4] == sorted(map(calls, members.look()))
    assert [4] == [calls(one) for one in members.look(but=first.life.recording.path)]


def test_a_look_tells_what_has_changed_since_the_last(worker: Any, tmp_path: Path) -> None:
    """Series that have not moved are not read again."""
    one = worker()
    one.work(1)
    one.life.turn(now=True)
    members = Members(tmp_path, NAME)
    (member,) = members.look()
    assert member.changed
    member.changed = set()
    assert members.look() == [member]
    assert not member.changed
    one.work(1)
    one.life.turn(now=True)
    members.look()
    assert {CALL_DURATION} == {
        member.series[key].name for key in member.changed if member.series[key].name == CALL_DURATION
    }
    assert 2 == calls(member)


def test_a_recording_in_the_place_of_one_that_has_gone_is_another_process(worker: Any, tmp_path: Path) -> None:
    """Under its name and its number on the disk, which file systems give away again at once: known by when it began."""
    first, second = worker(), worker("elsewhere")
    first.work(3), second.work(5)
    first.life.turn(now=True), second.life.turn(now=True)
    path = first.life.recording.path
    members = Members(tmp_path, NAME)
    (before,) = members.look()
    identity, number = before.identity, path.stat().st_ino
    with path.open("r+b") as file:
        file.write(second.life.recording.path.read_bytes())
    (after,) = members.look()
    assert number == path.stat().st_ino
    assert identity != after.identity
    assert 5 == calls(after)


def test_one_that_has_gone_is_no_member_any_more(worker: Any, tmp_path: Path) -> None:
    """Its file was removed by whoever has counted it."""
    first = worker()
    members = Members(tmp_path, NAME)
    assert 1 == len(members.look())
    first.life.recording.path.rename(tmp_path / "gone")
    assert [] == members.look()
    (tmp_path / "gone").rename(first.life.recording.path)


def test_of_a_process_that_has_ended_the_last_words_have_every_call(worker: Any, tmp_path: Path) -> None:
    """Also those that it had not written down when it was killed."""
    first = worker()
    first.work(3)
    first.life.turn(now=True)
    members = Members(tmp_path, NAME)
    (member,) = members.look()
    first.work(4)
    first.end(clean=False)
    members.look()
    assert not member.is_alive
    _, lost = member.last_words()
    assert (7, 0) == (calls(member), lost)
    first.is_over = True


def test_the_key_of_a_group_names_it_for_people_and_is_its_own() -> None:
    """Letters that a file name may not have are replaced, and what is long is cut; a digest tells those apart."""
    keys = {GroupName(service, group).key for service in ("a/b", "a:b", "a" * 300, "..") for group in ("", "x")}
    assert 8 == len(keys)
    assert all("/" not in key and not key.startswith(".") and len(key) < 100 for key in keys)
