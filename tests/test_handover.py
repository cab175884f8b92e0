"""What is told of each interval of a service while its processes lead it one after the other."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crews import Worker, calls
from holter.model import Snapshot

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="recordings need Linux")
OPERATIONS = st.lists(
    st.tuples(st.sampled_from(["join", "work", "turn", "turn", "stop", "exit"]), st.integers(0, 5)), max_size=40
)


def told(*snapshots: Snapshot | None) -> int:
    """Return how many calls the intervals tell of."""
    found = [one.find("holter.call.duration") for one in snapshots if one is not None]
    return sum(reading.interval.count for reading in found if reading is not None)


@pytest.fixture
def crew(tmp_path: Path) -> list[Worker]:
    """Two workers, the first of whom leads."""
    tmp_path.chmod(0o700)
    crew = [Worker(tmp_path), Worker(tmp_path)]
    crew[0].turn(), crew[1].turn()
    return crew


def end(crew: list[Worker]) -> None:
    """Let go of everything."""
    for worker in crew:
        worker.end(clean=True)


def test_the_next_leader_tells_of_what_the_last_one_has_not(crew: list[Worker]) -> None:
    """Also of itself and of those that have ended, over the time since the other one has told of all."""
    first, second = crew
    third = Worker(first.life.recording.path.parent)
    second.work(3), third.work(2)
    second.turn(), third.turn()
    assert 5 == told(first.turn())
    third.work(4)
    third.end(clean=True)
    first.work(1)
    whole = first.stop()
    assert 5 == told(*whole)
    at_ns = whole[-1].monotonic_ns
    second.work(7), second.life.turn(now=True)
    first.end(clean=True)
    second.work(6)
    taken = second.turn()
    assert taken is not None
    assert 13 == told(taken)
    assert taken.monotonic_ns - at_ns == taken.interval_ns
    assert 0 == told(second.turn())
    assert 23 == calls(second.turn())
    end([second])


def test_a_leader_that_was_killed_leaves_the_next_one_with_its_own(crew: list[Worker]) -> None:
    """Nobody knows what it had told of: the interval may have too little, and never has the past in it."""
    first, second = crew
    first.work(5), second.work(5)
    second.turn(), first.turn()
    first.end(clean=False)
    second.work(2)
    taken = second.turn()
    assert 2 == told(taken)
    assert 12 == calls(taken)
    second.work(1)
    assert 1 == told(second.turn())
    end([second])


def test_what_others_wrote_while_the_leader_gave_up_the_lead_is_told(crew: list[Worker]) -> None:
    """They ended their last interval while it still led, and so left it to the leader."""
    first, second = crew
    resign = first.group.leadership.resign

    def late(**_: bool) -> None:
        if not second.is_stopped:
            second.work(9)
            assert [] == second.stop()
        resign()

    first.group.leadership.resign = late  # type: ignore[method-assign]
    assert 9 == told(*first.stop())
    end(crew)


def test_one_that_ends_keeps_nobody_from_telling_of_itself(crew: list[Worker]) -> None:
    """Not for the moment, either, in which it could count in what has ended: it would tell of nobody."""
    first, second = crew
    first.stop()
    second.work(9)
    shown, count_in = [], first.group._take_over

    def meanwhile(whole: Any) -> bool:
        shown.extend(second.stop())
        return count_in(whole)

    first.group._take_over = meanwhile  # type: ignore[method-assign]
    first.end(clean=True)
    if not second.is_stopped:
        shown.extend(second.stop())
    assert 9 == told(*shown)
    end([second])


@settings(max_examples=60)
@given(OPERATIONS)
def test_each_call_is_in_one_interval_whoever_leads(operations: list[tuple[str, int]]) -> None:
    """Processes join, work, stop and exit in any order: the intervals, all together, have each call once."""
    with tempfile.TemporaryDirectory() as name:
        workers, shown = [Worker(Path(name))], 0
        for what, which in operations:
            working = [worker for worker in workers if not worker.is_stopped] or workers[:1]
            worker = working[which % len(working)]
            if what == "join" and len(working) < 4:
                workers.append(Worker(Path(name)))
            elif what == "work" and not worker.is_stopped:
                worker.work(which)
            elif what == "turn" and not worker.is_stopped:
                shown += told(worker.turn())
            elif what in ("stop", "exit") and worker is not workers[0]:
                shown += told(*worker.stop())
                if what == "exit":
                    worker.end(clean=True)
        for worker in reversed(workers):
            if not worker.is_stopped:
                shown += told(*worker.stop())
        assert sum(worker.done for worker in workers) == shown
        end([worker for worker in workers if not worker.is_over])
