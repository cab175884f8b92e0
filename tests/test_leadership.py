"""Who leads a group: one at a time, a living one, and no one who was replaced."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holter.leadership import Leadership, is_led

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="locks of POSIX")
PATIENCE_NS = 2_000_000_000
# Another process, which leads, or tries to, when it is told the time; it says whether it does.
OTHER = """
    import sys
    from pathlib import Path
    from holter.leadership import Leadership

    lead = Leadership(Path(sys.argv[1]), "svc-1", Path(sys.argv[2]), 2_000_000_000)
    for line in sys.stdin:
        what, now_ns = line.split()
        if what == "resign":
            lead.resign()
            print(False, flush=True)
        else:
            print(getattr(lead, what)(int(now_ns)), lead.term, flush=True)
"""


class Process:
    """A process that leads as it is told."""

    def __init__(self, folder: Path, name: str) -> None:
        command = [sys.executable, "-c", textwrap.dedent(OTHER), str(folder), f"{name}.holter"]
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def tell(self, what: str, now_ns: int = 0) -> str:
        """Let it do something; return what it says."""
        assert self.child.stdin is not None
        assert self.child.stdout is not None
        self.child.stdin.write(f"{what} {now_ns}\n")
        self.child.stdin.flush()
        return self.child.stdout.readline().split()[0]

    def kill(self) -> None:
        """End it without a word."""
        self.child.kill()
        self.child.communicate()


@pytest.fixture
def others(tmp_path: Path) -> Iterator[Any]:
    """Make other processes of the group."""
    made: list[Process] = []

    def make(name: str) -> Process:
        made.append(Process(tmp_path, name))
        return made[-1]

    yield make
    for process in made:
        process.kill()


@pytest.fixture
def mine(tmp_path: Path) -> Iterator[Leadership]:
    """The lead as this process sees it."""
    lead = Leadership(tmp_path, "svc-1", tmp_path / "mine.holter", PATIENCE_NS)
    yield lead
    lead.resign(is_last=True)


def test_the_first_one_leads_and_the_others_know_it(mine: Leadership, others: Any, tmp_path: Path) -> None:
    """By the name of its recording; nobody else comes to lead while it gives signs of life."""
    assert mine.hold(1)
    other = others("other")
    assert "False" == other.tell("hold", 2)
    assert mine.hold(PATIENCE_NS)
    assert "False" == other.tell("hold", 2 * PATIENCE_NS)
    assert tmp_path / "mine.holter" == mine.leader()


def test_one_that_was_killed_is_replaced_at_once(mine: Leadership, others: Any, tmp_path: Path) -> None:
    """Its lock has gone with it; the next term begins, and its file is the only one."""
    other = others("other")
    assert "True" == other.tell("hold", 1)
    assert not mine.hold(2)
    assert tmp_path / "other.holter" == mine.leader()
    other.kill()
    assert mine.hold(3)
    assert 2 == mine.term
    assert ["svc-1.2.leader"] == [path.name for path in tmp_path.iterdir()]
    assert 1 == mine.led_until_ns


def test_one_that_gives_no_sign_of_life_is_replaced_and_steps_back(mine: Leadership, others: Any) -> None:
    """After its patience; when it comes to itself it finds a higher term, and confirming does not help it."""
    other = others("other")
    assert "True" == other.tell("hold", 1)
    assert not mine.hold(PATIENCE_NS)
    assert mine.hold(PATIENCE_NS + 2)
    assert "False" == other.tell("confirm", PATIENCE_NS + 3)
    assert "False" == other.tell("hold", PATIENCE_NS + 4)
    assert mine.confirm(PATIENCE_NS + 5)


def test_to_confirm_is_never_to_come_to_lead(mine: Leadership) -> None:
    """Only one that leads can confirm it."""
    assert not mine.confirm(1)
    assert not mine.is_held
    assert mine.hold(1)
    assert mine.confirm(2)


def test_one_that_resigns_lets_the_next_one_lead(mine: Leadership, others: Any, tmp_path: Path) -> None:
    """Without waiting; the last one leaves no file."""
    other = others("other")
    assert mine.hold(1)
    mine.resign()
    assert "True" == other.tell("hold", 2)
    other.tell("resign")
    assert mine.hold(3)
    mine.resign(is_last=True)
    assert [] == list(tmp_path.iterdir())


def test_whether_a_file_is_that_of_a_leader_is_seen_from_outside(mine: Leadership, others: Any, tmp_path: Path) -> None:
    """Of another process and of this one, whose lock is not lost by looking."""
    other = others("other")
    other.tell("hold", 1)
    (path,) = tmp_path.glob("*.leader")
    assert is_led(path)
    other.kill()
    assert not is_led(path)
    assert mine.hold(2)
    (path,) = tmp_path.glob("*.leader")
    assert is_led(path)
    assert "False" == others("third").tell("hold", 3)


def test_a_file_that_was_put_in_its_place_ends_the_lead(mine: Leadership, tmp_path: Path) -> None:
    """Somebody has cleaned up the folder: it leads again by a file of its own."""
    assert mine.hold(1)
    (path,) = tmp_path.glob("*.leader")
    path.unlink()
    path.write_text("")
    assert not mine.confirm(2)
    assert mine.hold(3)
    assert 2 == mine.term
