"""The helper process as a program: what it is asked, what it answers, and when it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fakegpus import UUIDS, FakeGPUs, fake_gpus, needs_gcc
from holter import gpuhelper
from holter.companion import _binding

pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed; install it with: pip install '.[gpu]'")
pytestmark = [needs_gcc, pytest.mark.skipif(sys.platform != "linux", reason="the library is built for Linux")]
PROGRAM = Path(gpuhelper.__file__)


@pytest.fixture
def fake() -> Iterator[FakeGPUs]:
    """Two GPUs."""
    with fake_gpus(2) as gpus:
        yield gpus


@contextmanager
def helper(**settings: Any) -> Iterator[subprocess.Popen[str]]:
    """Run one, and end it if it does not end by itself."""
    asked = {
        "parent": os.getpid(),
        "package": str(PROGRAM.parent),
        "path": _binding(),
        "devices": None,
        "device_order": None,
        "idle_seconds": 60.0,
        "skipped": [],
        "progress": None,
        "shares_pids": True,
        **settings,
    }
    command = [sys.executable, "-I", "-S", str(PROGRAM), json.dumps(asked)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def ask(process: subprocess.Popen[str], delay_ms: int = 0) -> dict[str, Any]:
    """Return its answer."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{delay_ms}\n")
    return dict(json.loads(process.stdout.readline()))


def test_it_answers_each_question_by_one_line(fake: FakeGPUs) -> None:
    """What does not change is told once; how long a question asks it to wait, it waits."""
    with helper() as process:
        first, second = ask(process), ask(process, 300)
        assert UUIDS[:2] == [gpu["id"] for gpu in first["gpus"]]
        assert [300.0, 301.0] == [gpu["values"]["power"] for gpu in second["gpus"]]
        assert [{"id", "name", "values", "info", "missing"}, {"id", "name", "values"}] == [
            set(told["gpus"][0]) for told in (first, second)
        ]
        assert second["time_ns"] - first["time_ns"] >= 300_000_000
        assert second["cost"]["cpu_seconds"] > 0
        fake.says(fail__nvmlDeviceGetPowerUsage__0=3)
        changed = ask(process)["gpus"]
        assert ["missing" in gpu for gpu in changed] == [True, False]


def test_it_ends_with_its_input(fake: FakeGPUs) -> None:
    """Well, and without a word."""
    with helper() as process:
        ask(process)
        assert ("", "", 0) == (*process.communicate(timeout=30), process.returncode)


def test_it_ends_with_its_input_while_it_hangs(fake: FakeGPUs) -> None:
    """In a call that never returns."""
    fake.says(hang__nvmlInitWithFlags=1)
    with helper() as process:
        assert ("", "", 0) == (*process.communicate("0\n", timeout=30), process.returncode)


def test_it_ends_when_nobody_asks(fake: FakeGPUs) -> None:
    """After the time that it was given."""
    with helper(idle_seconds=0.2) as process:
        ask(process)
        assert process.wait(timeout=30) == 0


def test_it_ends_when_its_parent_is_another_one(fake: FakeGPUs) -> None:
    """As when that has died before it could say what it wants."""
    with helper(parent=1) as process:
        assert process.wait(timeout=30) == 0


def test_it_ends_with_a_reader_that_is_gone(fake: FakeGPUs) -> None:
    """Nobody is left to tell."""
    with helper() as process:
        ask(process)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.close()
        process.stdin.write("0\n")
        assert process.wait(timeout=30) == 0


def test_it_says_why_it_cannot_read(fake: FakeGPUs) -> None:
    """And ends, for the library has to be loaded anew."""
    fake.says(fail__nvmlInitWithFlags=9)
    with helper() as process:
        assert {"unavailable": "the driver's library says: Driver Not Loaded"} == ask(process)
        assert process.wait(timeout=30) == 0


def test_it_says_what_was_not_foreseen(fake: FakeGPUs) -> None:
    """Where its own code fails, in one line, and with a code of its own."""
    with helper(skipped=None) as process:
        assert "the helper failed with TypeError: " in ask(process)["unavailable"]
        assert process.wait(timeout=30) == gpuhelper.FAILED


def test_without_the_binding_it_says_what_to_install(fake: FakeGPUs) -> None:
    """It sees no folder but the one that it is told of."""
    with helper(path=[]) as process:
        assert "pip install 'holter[gpu]'" in ask(process)["unavailable"]
