"""The helper process as the program sees it, under a clock of the test's own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from holter import companion
from holter.clock import Clock
from holter.companion import Companion
from metricpages import poll

SECOND = 1_000_000_000
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="its programs are of Linux")


class Time:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.clock = Clock(monotonic_ns=lambda: self.now_ns)

    def pass_by(self, seconds: float) -> None:
        self.now_ns += int(seconds * SECOND)


@pytest.fixture
def time() -> Time:
    return Time()


def beside(time: Time, program: str, folder: Path, monkeypatch: pytest.MonkeyPatch, **options: Any) -> Companion:
    """Return a companion whose helper is *program*, in shell."""
    script = folder / "helper"
    script.write_text(f"#!/bin/sh\n{program}\n")
    script.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(script))
    return Companion(**{"interval_seconds": 1.0, "timeout_seconds": 10.0, "clock": time.clock, **options})


def until(one: Companion, is_done: Any) -> None:
    """Take turns until *is_done*."""
    poll("the companion", lambda: (one.turn(), is_done())[1])


def test_pauses_double_up_to_five_minutes(tmp_path: Path, time: Time, monkeypatch: pytest.MonkeyPatch) -> None:
    """What dies each time is started ever more seldom."""
    one = beside(time, "exit 3", tmp_path, monkeypatch)
    pauses = []
    for failures in range(1, 12):
        until(one, lambda failures=failures: one.failures["died"] == failures)
        assert one.reason == "the helper died with code 3"
        pauses.append((one._resting_until_ns - time.now_ns) / SECOND)
        time.pass_by(pauses[-1] - 0.5)
        one.turn()
        assert one._process is None
        time.pass_by(0.5)
    assert [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] == pauses


def test_one_that_has_worked_for_a_minute_is_back_soon(
    tmp_path: Path, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its next failure is a first one."""
    answer = '{"time_ns":1,"gpus":[],"cost":{}}'
    one = beside(time, f"read line; echo '{answer}'; read line; exit 3", tmp_path, monkeypatch)
    one._pause = 64.0
    until(one, lambda: one._has_answered)
    process = one._process
    assert process is not None
    poll("its end", lambda: process.poll() is not None)
    time.pass_by(61)
    until(one, lambda: one.failures["died"] == 1)
    assert one._resting_until_ns - time.now_ns == SECOND


def test_the_first_answer_may_take_longer(tmp_path: Path, time: Time, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three times as long: to start the library may take seconds."""
    one = beside(time, "exec sleep 600", tmp_path, monkeypatch)
    one.turn()
    time.pass_by(29)
    one.turn()
    assert one.failures["hung"] == 0
    time.pass_by(2)
    until(one, lambda: one.failures["hung"] == 1)
    assert one.reason == "the helper gave no answer for 10 s and was ended"
    until(one, lambda: one._process is None)
    assert {"died": 0, "hung": 1} == one.failures


def test_what_is_no_answer_is_passed_over(tmp_path: Path, time: Time, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken lines, other values, half a line."""
    lines = ("nothing", "[1]", "{}", '{\\"gpus\\": 1}', '{\\"time_ns\\":7,\\"gpus\\":[],\\"cost\\":{}}')
    told: list[Any] = []
    program = "read line; " + "; ".join(f'echo "{line}"' for line in lines) + "; printf half; exec sleep 600"
    one = beside(time, program, tmp_path, monkeypatch)
    poll("the answer", lambda: told.append(one.turn()) or (one._heard == b"half" and any(told)))
    assert [{"time_ns": 7, "gpus": []}] == [answer for answer in told if answer]
    one._process.kill()  # type: ignore[union-attr]


def test_a_reading_is_asked_for_shortly_before_the_next_turn(
    tmp_path: Path, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one at once; then after four fifths of the interval, so that it is fresh."""
    log = tmp_path / "asked"
    answer = '{"time_ns":1,"gpus":[],"cost":{}}'
    program = f"while read line; do echo $line >> {log}; echo '{answer}'; done"
    one = beside(time, program, tmp_path, monkeypatch, interval_seconds=5.0)
    poll("three questions", lambda: (one.turn(), log.exists() and log.read_text().count("\n") >= 3)[1])
    assert ["0", "4000", "4000"] == log.read_text().split()[:3]


def test_helpers_that_are_gone_are_not_kept(tmp_path: Path, time: Time, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor are their pipes, or what is shared with them."""
    one = beside(time, "exit 3", tmp_path, monkeypatch)
    for failures in range(1, 6):
        until(one, lambda failures=failures: one.failures["died"] == failures)
        time.pass_by(400)
    files = len(list(Path("/proc/self/fd").iterdir()))
    for failures in range(6, 16):
        until(one, lambda failures=failures: one.failures["died"] == failures)
        time.pass_by(400)
    assert len(list(Path("/proc/self/fd").iterdir())) <= files
    assert len([one for one in companion._HELPERS if one.poll() is not None]) <= 1
