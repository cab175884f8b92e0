"""The processes of one service: what all of them do together, whoever leads and whoever ends."""

from __future__ import annotations

import itertools
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crews import NAME, Worker, calls
from holter import group, layout, leadership
from holter.clock import Clock
from holter.departed import TotalsFiles
from holter.layout import FORMAT_WORD
from holter.members import GroupName, Member, Members
from holter.names import CALL_UNITS
from holter.whereabouts import start_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="recordings need Linux")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder for recordings."""
    tmp_path.chmod(0o700)
    return tmp_path


@pytest.fixture
def team(folder: Path) -> Iterator[Any]:
    """Make workers, which let go of everything at the end."""
    workers: list[Worker] = []

    def make(name: GroupName = NAME, **more: Any) -> Worker:
        workers.append(Worker(folder, name, **more))
        return workers[-1]

    yield make
    for worker in workers:
        if not worker.is_over:
            worker.end(clean=True)


def test_the_first_one_leads_and_sums_all(team: Any) -> None:
    """Others have no snapshot of the group to hand out; what they have written down is in the leader's."""
    first, second = team(), team()
    first.work(10)
    second.work(5)
    assert first.turn() is not None
    assert second.turn() is None
    whole = first.turn()
    assert 15 == calls(whole)
    assert whole is not None
    found = whole.find(CALL_UNITS)
    assert found is not None
    assert 30 == found.total.sum
    assert 2 == first.group.size


def test_intervals_follow_each_other(team: Any) -> None:
    """The sum of a leader's intervals is what was done since it leads, by whomever."""
    first, second = team(), team()
    first.turn(), second.turn()
    first.turn()
    total = 0
    for round_number in range(5):
        first.work(round_number)
        second.work(2 * round_number)
        second.turn()
        whole = first.turn()
        found = whole.find("holter.call.duration")
        total += 0 if found is None else found.interval.count
        assert (
            found is None or found.interval.histogram is None or found.interval.count == found.interval.histogram.count
        )
    assert first.done + second.done == total


@pytest.mark.parametrize("clean", [True, False])
def test_what_has_ended_stays_counted_once(team: Any, *, clean: bool) -> None:
    """A worker that exits or is killed, after its last interval too, is part of the totals to its last call."""
    first, second = team(), team()
    first.work(3)
    second.work(4)
    first.turn(), second.turn()
    second.work(50)
    second.end(clean=clean)
    assert [57, 57, 57] == [calls(first.turn()) for _ in range(3)]
    assert clean != second.life.recording.path.exists()
    assert 1 == first.group.size
    found = first.group.turn(first.snapshot, now=True).find(CALL_UNITS)
    assert 2 * 57 == found.total.sum


@pytest.mark.parametrize("clean", [True, False])
def test_the_next_one_goes_on_where_the_leader_has_ended(team: Any, *, clean: bool) -> None:
    """It has the totals of the dead from the leader before, and that one's own from its recording."""
    workers = [team() for _ in range(3)]
    for worker in workers:
        worker.work(10)
        worker.turn()
    workers[2].end(clean=False)
    assert 30 == calls(workers[0].turn())
    workers[0].work(7)
    workers[0].end(clean=clean)
    assert 37 == calls(workers[1].turn())
    assert [("departed", 37)] == [("departed", calls(workers[1].turn()))]


def test_whoever_is_asked_answers_for_all(team: Any) -> None:
    """A view costs no lead, counts as the others have written down, and never less than another one has said."""
    first, second = team(), team()
    first.work(10)
    second.work(5)
    first.turn(), second.turn()
    assert [15, 15] == [calls(worker.group.view(worker.snapshot)) for worker in (first, second)]
    first.end(clean=True)
    second.turn()
    assert 15 == calls(second.group.view(second.snapshot))
    assert second.group.leadership.is_held


def test_one_alone_is_seen_as_it_is(team: Any) -> None:
    """Its own snapshot, with its intervals, not what it has written down."""
    only = team()
    only.work(5)
    only.turn()
    assert only.group.view(only.snapshot) is only.snapshot


def test_what_was_seen_alone_is_in_the_view_of_several(team: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a process did while it was alone is not forgotten where it had been seen with another one before."""
    monkeypatch.setattr(group, "FRESH_NS", 0)
    first, second = team(), team()
    first.group.view(first.snapshot)
    second.end(clean=True)
    first.work(1)
    first.turn()
    assert 1 == calls(first.group.view(first.snapshot))
    team()
    assert 1 == calls(first.group.view(first.snapshot))


def test_services_and_groups_stay_apart(team: Any) -> None:
    """In one folder, for one user, by the name of the service and the word that sets apart."""
    workers = [team(name) for name in (NAME, GroupName("sentiment", "canary"), GroupName("sentiment-2", ""))]
    for number, worker in enumerate(workers, 1):
        worker.work(number)
        worker.turn()
    assert [1, 2, 3] == [calls(worker.turn()) for worker in workers]
    assert 3 == len({worker.group.name.key for worker in workers})


def test_the_last_one_leaves_nothing_behind(team: Any, folder: Path) -> None:
    """No recording of those that ended well, no file of the group; those who were killed can still be read."""
    workers = [team() for _ in range(3)]
    for worker in workers:
        worker.work(1)
        worker.turn()
    workers[1].end(clean=False)
    workers[0].end(clean=True)
    workers[2].end(clean=True)
    assert [workers[1].life.recording.path] == list(folder.iterdir())


def test_a_new_start_begins_at_zero(team: Any, folder: Path) -> None:
    """Where nobody lives of those that the totals speak of, they are of another time."""
    first = team()
    first.work(5)
    first.turn()
    second = team()
    second.work(5)
    second.end(clean=False)
    assert 10 == calls(first.turn())
    first.end(clean=False)
    third = team()
    third.work(1)
    assert 1 == calls(third.turn())
    assert 1 == len(TotalsFiles(folder, NAME.key).terms())


def test_workers_that_one_parent_starts_one_after_the_other_go_on(
    team: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where all are recycled at once, or there is but one, nobody lives for a moment; no count falls for that."""
    monkeypatch.setattr(group, "launcher", lambda: "4711-99")
    first = team()
    first.work(5)
    first.turn()
    first.end(clean=True)
    second = team()
    second.work(2)
    assert 7 == calls(second.turn())
    second.end(clean=False)
    third = team()
    assert 7 == calls(third.turn())
    third.end(clean=True)
    monkeypatch.setattr(group, "launcher", lambda: "4711-100")
    assert 0 == calls(team().turn())


def test_totals_that_nobody_will_ask_for_are_removed(team: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the next process of holter that starts, of whatever service, once their parent is gone for a while."""
    monkeypatch.setattr(group, "launcher", lambda: f"{os.getpid()}-{start_of(os.getpid())}")
    first = team()
    first.end(clean=True)
    other = team(GroupName("another", ""))

    def left(age_seconds: float) -> set[str]:
        for path in folder.glob(f"{NAME.key}.*"):
            os.utime(path, (time.time() - age_seconds,) * 2)
        other.group.tidy()
        return {path.suffix for path in folder.glob(f"{NAME.key}.*")}

    assert {".leader", ".totals"} == left(3600)
    monkeypatch.setattr(group, "is_gone", lambda _: True)
    assert {".leader", ".totals"} == left(1)
    assert set() == left(3600)
    other.group.lead()
    first = team()
    first.turn()
    assert {".leader", ".totals"} == left(3600)


def test_a_damaged_file_of_totals_costs_the_past_and_nothing_else(team: Any, folder: Path) -> None:
    """The next leader begins anew rather than with figures that nobody can vouch for."""
    first, second = team(), team()
    first.work(5)
    first.turn(), second.turn()
    (path,) = folder.glob("*.totals")
    path.write_bytes(path.read_bytes()[:-3] + b"xyz")
    first.end(clean=False)
    second.work(2)
    assert calls(second.turn()) in (2, 7)


def test_a_recording_of_another_format_is_named_and_left_out(team: Any) -> None:
    """Rolling out a holter that writes another format harms neither the old processes nor the new ones."""
    first, second = team(), team()
    first.work(1)
    second.work(1)
    first.turn(), second.turn()
    second.life.recording._words[FORMAT_WORD] = layout.MAJOR + 1
    assert 1 == calls(first.turn())
    ((name, why),) = first.group.skipped.items()
    assert second.life.recording.path.name == name
    assert "format 2" in why
    second.life.recording._words[FORMAT_WORD] = layout.MAJOR


class Dear:
    """A clock by which a turn takes *cpu_seconds* of CPU time, and that else stands still."""

    def __init__(self, cpu_seconds: float) -> None:
        self.seconds = 1_000.0
        cpu_ns = itertools.count(0, int(cpu_seconds * 1e9))
        self.clock = Clock(monotonic_ns=lambda: int(self.seconds * 1e9), thread_cpu_ns=lambda: next(cpu_ns))


@pytest.mark.parametrize(("cpu_seconds", "rest_seconds"), [(0.009, 1), (0.045, 5), (10.0, 30)])
def test_others_are_read_as_often_as_a_hundredth_of_a_core_allows(
    team: Any, cpu_seconds: float, rest_seconds: int
) -> None:
    """Each interval where it is cheap, each 30 seconds at least; what the leader does itself is told at once."""
    dear = Dear(cpu_seconds)
    first, second = team(clock=dear.clock), team()
    first.turn(now=False)
    told, intervals = [], 0
    for _ in range(2 * rest_seconds):
        dear.seconds += 1
        first.work(1)
        second.work(10)
        second.turn()
        whole = first.turn(now=False)
        intervals += whole.find("holter.call.duration").interval.count
        told.append(calls(whole) - first.done)
    assert {0, 10 * rest_seconds, 20 * rest_seconds} == {0, *told}
    assert second.done == told[-1]
    assert first.done + second.done == intervals
    assert rest_seconds == first.group.read_seconds


def test_what_is_to_be_told_now_is_read_now(team: Any) -> None:
    """At the end, and where somebody asks for all that there is, whatever it costs."""
    first, second = team(clock=Dear(10.0).clock), team()
    first.turn(now=False)
    second.work(5)
    second.turn()
    assert [0, 5] == [calls(first.turn(now=now)) for now in (False, True)]
    second.work(1)
    second.end(clean=True)
    assert second.life.recording.path.exists()
    assert 5 == calls(first.turn(now=False))
    (told,) = first.stop()[-1:]
    assert 6 == calls(told)
    assert not second.life.recording.path.exists()


def test_a_full_file_system_loses_no_count(team: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has ended stays where it is until it is written down that it was counted."""
    first, second = team(), team()
    second.work(5)
    first.turn(), second.turn()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("holter.departed.Departed.write", full)
        second.end(clean=True)
        assert [5, 5] == [calls(first.turn()) for _ in range(2)]
        assert second.life.recording.path.exists()
    assert 5 == calls(first.turn())
    assert not second.life.recording.path.exists()


def test_a_leader_that_is_replaced_in_the_middle_of_its_turn_takes_nobody_away(
    team: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has ended is counted by the one that leads now; the recording is there until that one has done so."""
    first, second, third = team(), team(), team()
    first.turn(), second.turn()
    look, seen = Members.look, []

    def late(members: Members, *arguments: Any, **named: Any) -> list[Member]:
        if not seen:
            # As another process would, to which this one seems to hang.
            seen.append(None)
            leadership._LED.clear()
            second.group.leadership._patience_ns = -1
            assert second.turn() is not None
            second.group.leadership._patience_ns = 10**10
            third.work(5)
            third.end(clean=True)
        return look(members, *arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(Members, "look", late)
        first.turn()
    assert [5, 5] == [calls(second.turn()) for _ in range(2)]
    assert first.turn() is None


OPERATIONS = st.lists(
    st.tuples(st.sampled_from(["join", "work", "turn", "turn", "view", "exit", "kill"]), st.integers(0, 5)),
    max_size=40,
)


class Company:
    """Workers who do in one folder what they are told, and what was shown of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # One that lives throughout, so that all the others belong to one time.
        self.workers = [Worker(folder)]
        self.shown = self.viewed = 0

    @property
    def living(self) -> list[Worker]:
        return [worker for worker in self.workers if not worker.is_over]

    @property
    def done(self) -> int:
        return sum(worker.done for worker in self.workers)

    def do(self, what: str, which: int) -> None:
        """Let one of those who live do something."""
        worker = self.living[which % len(self.living)]
        if what == "join" and len(self.living) < 4:
            self.workers.append(Worker(self.folder))
        elif what == "work":
            worker.work(which)
        elif what in ("exit", "kill") and worker is not self.workers[0]:
            worker.end(clean=what == "exit")
        elif what == "turn" and (whole := worker.turn()) is not None:
            assert self.shown <= calls(whole) <= self.done
            self.shown = calls(whole)
        elif what == "view":
            whole = worker.group.view(worker.snapshot)
            assert self.viewed <= calls(whole) <= self.done
            self.viewed = calls(whole)


@settings(max_examples=60)
@given(OPERATIONS)
def test_no_count_falls_and_none_is_lost_whatever_happens(operations: list[tuple[str, int]]) -> None:
    """Processes join, work, end and are killed in any order, the leader too: each call is counted once."""
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(group, "FRESH_NS", 0)
        company = Company(Path(name))
        for operation in operations:
            company.do(*operation)
        for worker in company.living:
            worker.turn()
        (leader,) = [worker for worker in company.living if worker.turn() is not None]
        assert company.done == calls(leader.turn())
        assert company.done == calls(company.workers[0].group.view(company.workers[0].snapshot))
        for worker in reversed(company.living):
            worker.end(clean=True)
        assert [] == [path.name for path in Path(name).iterdir() if path.suffix != ".holter"]
