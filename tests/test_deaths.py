"""Six real deaths: processes that are killed, and what `holter postmortem` says first of each."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="recordings need Linux")

PROGRAM = """
    import os, random, signal, sys, threading, time
    import holter
    from holter import recording

    kind = sys.argv[1]
    if kind == "limit":
        # As if a container had so much.
        recording.cgroup_limit_bytes = lambda: 150 * 2**20
    trouble = threading.Event()

    @holter.watch
    def predict():
        with holter.span("forward"):
            time.sleep(0.001 if trouble.is_set() and kind == "load" else 0.01)
        if trouble.is_set() and kind == "errors" and random.random() < 0.6:
            raise ValueError
        if trouble.is_set() and kind == "hang":
            time.sleep(1000)

    def serve():
        while True:
            try:
                predict()
            except ValueError:
                pass
            time.sleep(0.001 if trouble.is_set() and kind == "load" else 0.02)

    sampler = holter.ProcessSampler(interval_seconds=0.1)
    sampler.budget = 1.0
    monitor = holter.start("deaths", interval_seconds=0.1, samplers=[sampler])
    for _ in range(2):
        threading.Thread(target=serve, daemon=True).start()
    held = []
    for turn in range(45):
        time.sleep(0.1)
        if turn == 30:
            trouble.set()
        if kind == "leak" and turn > 12:
            held.append(b"x" * 2_000_000)
    while kind == "limit" and monitor.snapshot().find("process.memory.usage").total.last < 145 * 2**20:
        held.append(b"x" * 8_000_000)
        time.sleep(0.1)
    os.kill(os.getpid(), signal.SIGKILL)
"""

EXPECTED = {
    "plain": r"Nothing had changed before it died: \d+ calls of predict, no errors, p99 .*",
    "limit": r"Memory limit: 1\d\d MiB of 150 MiB used, having grown from .*",
    "leak": r"Leak: memory grew from .* and had not levelled off.*",
    "hang": r"Hang: predict for [\d.]+ s \(longest before: [\d.]+ ms\), and 1 more\.",
    "errors": r"Error burst: predict: errors rose from 0 % to \d\d.* % at .* \(ValueError, <string>:\d+\).*",
    "load": r"Load burst: predict: calls rose from .*/s to .*/s at .*",
}


def start(kind: str, folder: Path) -> subprocess.Popen[str]:
    """Start a process that will be killed."""
    folder.mkdir(mode=0o700)
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PROGRAM), kind],
        env={**os.environ, "HOLTER_DIR": str(folder)},
        stderr=subprocess.PIPE,
        text=True,
    )


def post_mortem(folder: Path) -> dict[str, object]:
    """Return what is told of the last death."""
    done = subprocess.run(
        [sys.executable, "-m", "holter", "postmortem", "--json"],
        env={**os.environ, "HOLTER_DIR": str(folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


# What many at a time do to each other's rates would be a change, or hide one.
@pytest.mark.parametrize("kinds", [("plain",), ("load",), ("hang", "errors"), ("limit", "leak")], ids="-".join)
def test_the_first_line_names_the_death(kinds: tuple[str, ...], tmp_path: Path) -> None:
    """Memory limit, leak, hang, error burst, load burst, and a kill before which nothing had changed."""
    children = {kind: start(kind, tmp_path / kind) for kind in kinds}
    for kind, child in children.items():
        _, said = child.communicate()
        assert ("", -signal.SIGKILL) == (said, child.returncode), kind
    told = {kind: post_mortem(tmp_path / kind) for kind in kinds}
    assert {} == {
        kind: found["headline"] for kind, found in told.items() if not re.fullmatch(EXPECTED[kind], found["headline"])
    }
    assert {"dead"} == {found["state"] for found in told.values()}
