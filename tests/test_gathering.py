"""What the members of a group have observed reaches the one that judges, once."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from holter.gathering import MOST_WAITING, SUFFIX, Gathering, tidy
from holter.learnt import MOST_BYTES

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="groups need Linux")


@pytest.fixture
def learnt(tmp_path: Path) -> Path:
    """Where the checks of a group leave what they have learnt."""
    return tmp_path / "group.checks"


def test_each_share_is_taken_once_in_order(learnt: Path) -> None:
    """By whoever comes; nothing is left of it."""
    one, other, leader = (Gathering(learnt) for _ in range(3))
    one.send("drift", {"rows": 1})
    other.send("drift", {"rows": 2})
    one.send("other", [3])
    Gathering(learnt.with_name("stranger.checks")).send("drift", {"rows": 4})
    assert [("drift", {"rows": 1}), ("drift", {"rows": 2}), ("other", [3])] == list(leader.take())
    assert [] == list(leader.take())
    assert ["stranger"] == [path.name.partition(".")[0] for path in learnt.parent.iterdir()]


def test_a_member_does_not_run_ahead(learnt: Path) -> None:
    """Where nobody takes its shares it has no room for more; when somebody does, it has."""
    member = Gathering(learnt)
    for number in range(MOST_WAITING):
        assert member.has_room
        member.send("drift", number)
    assert not member.has_room
    assert MOST_WAITING == len(list(Gathering(learnt).take()))
    assert member.has_room


def test_without_a_group_there_is_nowhere_to_send_to() -> None:
    """And nothing to take."""
    alone = Gathering(None)
    assert not alone.has_room
    assert [] == list(alone.take())


@pytest.mark.parametrize("share", [float("nan"), object(), "x" * MOST_BYTES])
def test_what_json_cannot_hold_is_not_sent(learnt: Path, share: object) -> None:
    """Nor what takes more than a MiB; no file is left of the attempt."""
    with pytest.raises((ValueError, TypeError)):
        Gathering(learnt).send("drift", share)
    assert [] == list(learnt.parent.iterdir())


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"holter_share":9,"check":"a","share":1}', b"\xff", b"null"])
def test_what_is_damaged_is_removed_and_said(learnt: Path, content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """It harms nothing else."""
    path = learnt.with_name(f"group.1-{time.monotonic_ns()}{SUFFIX}")
    path.write_bytes(content)
    Gathering(learnt).send("drift", 1)
    with caplog.at_level(logging.WARNING, "holter"):
        assert [("drift", 1)] == list(Gathering(learnt).take())
    assert "it was removed" in caplog.text
    assert [] == list(learnt.parent.iterdir())


def test_what_is_old_is_told_to_nobody(learnt: Path) -> None:
    """Of another run of the service, or of the time before the machine was started; after an hour it is removed."""
    content = b'{"holter_share":1,"check":"drift","share":1}'
    for sent_ns in (time.monotonic_ns() - 400_000_000_000, time.monotonic_ns() + 400_000_000_000):
        learnt.with_name(f"group.1-{sent_ns}{SUFFIX}").write_bytes(content)
    assert [] == list(Gathering(learnt).take())
    left = learnt.with_name(f"other.1-1{SUFFIX}")
    left.write_bytes(content)
    tidy(learnt.parent)
    assert left.exists()
    os.utime(left, (0, 0))
    tidy(learnt.parent)
    assert not left.exists()


WORKER = """
    import json, os, sys
    import holter

    @holter.watch
    def predict(number):
        return number

    class Numbers:
        observes = [holter.Wanted.of(predict, "outputs")]

        def __init__(self):
            self.new, self.all, self.shares = [], [], 0

        def __repr__(self):
            return "Numbers"

        def observe(self, observation):
            self.new += observation.columns["outputs"].tolist()

        def share(self):
            new, self.new = self.new, []
            return {"numbers": new, "pid": os.getpid()} if new else None

        def gather(self, share):
            self.shares += 1
            self.all += share["numbers"]

        def judge(self, snapshot):
            return []

    check = Numbers()
    monitor = holter.start("sentiment", checks=[check], samplers=[], interval_seconds=0.2)
    print("ready", flush=True)
    for line in sys.stdin:
        if line.strip() != "say":
            predict(int(line))
        monitor.flush()
        print(json.dumps(sorted(check.all)), flush=True)
"""


def test_what_all_processes_observe_comes_together(tmp_path: Path) -> None:
    """In the one that leads, each of it once; when that one ends, the next goes on with what comes."""
    tmp_path.chmod(0o700)
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(WORKER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "HOLTER_DIR": str(tmp_path)},
        )
        for _ in range(2)
    ]  # fmt: skip

    def ask(worker: Any, word: object) -> Any:
        worker.stdin.write(f"{word}\n")
        worker.stdin.flush()
        return json.loads(worker.stdout.readline())

    def until(worker: Any, expected: list[int]) -> None:
        told = None
        for _ in range(200):
            told = ask(worker, "say")
            if told == expected:
                return
        assert expected == told

    try:
        assert ["ready\n", "ready\n"] == [worker.stdout.readline() for worker in workers]  # type: ignore[union-attr]  # a pipe
        told = [ask(worker, number) for number, worker in enumerate(workers)]
        told = [ask(worker, "say") for worker in workers]
        leader, other = workers if len(told[0]) >= len(told[1]) else workers[::-1]
        until(leader, [0, 1])
        ask(other, 2)
        until(leader, [0, 1, 2])
        assert [] == ask(other, "say")
        leader.communicate()
        ask(other, 3)
        until(other, [3])
    finally:
        for worker in workers:
            if worker.poll() is None:
                worker.communicate()
    assert [] == list(tmp_path.glob(f"*{SUFFIX}"))
