"""What waits to be told: in order, written down, sent by one at a time, and bounded."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from contracts.snapshots import PROCESS, START_NS, alert
from holter import outbox as module
from holter.learnt import tidy
from holter.notice import Notice
from holter.outbox import MOST, Outbox
from hooks import until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the files are locked by flock")


def notice(number: int = 1, incident: str = "5e1f", seconds: float = 0.0) -> Notice:
    """Return what is to be told."""
    state = "firing" if number % 2 else "resolved"
    return Notice(incident, number, state, START_NS + round(seconds * 1e9), alert(), (alert(),), (), PROCESS)


def box(base: Path | None, *receivers: str) -> Outbox:
    """Return an outbox for *receivers*."""
    made = Outbox(base)
    made.receivers = list(receivers or ("ops",))
    return made


def empty(box: Outbox, receiver: str = "ops") -> list[str]:
    """Send all that waits, and return the keys."""
    sent = []
    while True:
        with box.first(receiver) as claim:
            if claim is None:
                return sent
            sent.append(claim.notice.key)
            claim.done()


@pytest.fixture(params=["files", "memory"])
def base(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    """Where the files are, if there are some."""
    return tmp_path / "sentiment-1" if request.param == "files" else None


def test_notices_wait_in_order_for_each_receiver(base: Path | None) -> None:
    """Until they are done with."""
    waiting = box(base, "ops", "pager")
    for number, incident, seconds in ((1, "b", 1), (2, "b", 3), (1, "a", 2), (3, "b", 3)):
        waiting.post(notice(number, incident, seconds))
    with waiting.first("ops") as claim:
        assert claim is not None
        assert "b-1" == claim.notice.key
    expected = ["b-1", "a-1", "b-2", "b-3"] if base else ["b-1", "b-2", "a-1", "b-3"]
    assert (4, expected, 0) == (waiting.waiting("ops"), empty(waiting), waiting.waiting("ops"))
    assert (4, expected) == (waiting.waiting("pager"), empty(waiting, "pager"))
    assert (0, []) == (waiting.waiting("nobody"), empty(waiting, "nobody"))


def test_another_process_goes_on_with_them(tmp_path: Path) -> None:
    """Of the same service, for receivers that it has too; what was put in twice is there once."""
    first, second = (box(tmp_path / "sentiment-1", "ops", "pager") for _ in range(2))
    first.post(notice()), second.post(notice())
    assert (1, 1, 0) == (
        first.waiting("ops"),
        second.waiting("ops"),
        box(tmp_path / "other-1").waiting("ops"),
    )
    assert (["5e1f-1"], []) == (empty(second), empty(first))
    assert ["5e1f-1"] == empty(first, "pager")
    assert [] == list(tmp_path.iterdir())


def test_one_at_a_time_sends(tmp_path: Path) -> None:
    """Whoever comes meanwhile does not, nor what comes after; one that was sent is not there any more."""
    first, second = (box(tmp_path / "sentiment-1") for _ in range(2))
    first.post(notice(1)), first.post(notice(2, seconds=1))
    with first.first("ops") as claim:
        assert claim is not None
        with second.first("ops") as other:
            assert other is None
        claim.done()
    assert ["5e1f-2"] == empty(second)


def test_one_whose_process_dies_is_anybodys(tmp_path: Path) -> None:
    """The lock ends with it; a forked child does not keep it."""
    waiting = box(tmp_path / "sentiment-1")
    waiting.post(notice())
    reader, writer = os.pipe()
    with waiting.first("ops") as claim:
        assert claim is not None
        child = os.fork()
        if not child:
            os.close(writer)
            os.read(reader, 1)
            os._exit(0)
    # The child lives on, and would have the lock if it had the file.
    sent: list[str] = []
    until(lambda: sent.extend(empty(box(tmp_path / "sentiment-1"))) or sent)
    assert ["5e1f-1"] == sent
    os.close(writer)
    os.waitpid(child, 0)
    os.close(reader)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"holter_notice":2}', b'{"holter_notice":1,"incident":"a"}', b"\xff" * 100, b"[" * 100_000],
)
def test_what_is_no_notice_is_set_aside_and_said(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Those behind it are sent."""
    waiting = box(tmp_path / "sentiment-1")
    waiting.post(notice(1)), waiting.post(notice(2, seconds=1))
    first = min(tmp_path.glob("*.notice"))
    first.write_bytes(content)
    assert ["5e1f-2"] == empty(waiting)
    assert content == first.with_name(f"{first.name}.aside").read_bytes()
    (line,) = caplog.messages
    assert "holds no notice" in line


def test_a_folder_that_cannot_be_written_keeps_them_in_memory(tmp_path: Path) -> None:
    """They are sent all the same, by this process."""
    waiting = box(tmp_path / "missing" / "sentiment-1")
    waiting.post(notice(1)), waiting.post(notice(2))
    assert ["5e1f-1", "5e1f-2"] == empty(waiting)


def test_they_are_bounded(base: Path | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest go, and are counted for whom they were."""
    monkeypatch.setattr(module, "MOST", 10)
    waiting = box(base)
    for number in range(1, 16):
        waiting.post(notice(number, seconds=number))
    assert {"ops": 5} == waiting.dropped
    assert [f"5e1f-{number}" for number in range(6, 16)] == empty(waiting)
    assert 10 < MOST


def test_what_nobody_has_taken_for_three_days_is_removed(tmp_path: Path) -> None:
    """At the start of any service."""
    waiting = box(tmp_path / "sentiment-1")
    waiting.post(notice(1)), waiting.post(notice(2, seconds=1))
    old = min(tmp_path.glob("*.notice"))
    os.utime(old, (time.time() - 4 * 86_400,) * 2)
    tidy(tmp_path)
    assert ["5e1f-2"] == empty(waiting)
