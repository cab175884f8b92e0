"""Whether a port is another process's of holter."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from holter.portholder import is_held_by_holter

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="others' sockets are told of under /proc")

PROGRAM = """
import json, socket, sys
import holter

with socket.socket() as one:
    one.bind(("127.0.0.1", 0))
    one.listen()
    with holter.start("holder", samplers=[], recording=sys.argv[1] == "recorded"):
        print(json.dumps(one.getsockname()[1]), flush=True)
        sys.stdin.read()
"""


@pytest.mark.parametrize("recorded", ["recorded", "not"])
def test_a_port_is_holters_where_a_process_with_a_recording_listens(recorded: str, tmp_path: Path) -> None:
    """Whether it answers or hangs; a process without a recording is in no group, and gives nothing back."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, recorded], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        port = json.loads(process.stdout.readline())
        assert is_held_by_holter(port) == (recorded == "recorded")
        process.communicate()
    assert not is_held_by_holter(port)


def test_a_port_of_this_process_or_of_nobody_is_not_another_ones() -> None:
    """Nobody else gives it back."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen()
        assert not is_held_by_holter(one.getsockname()[1])
    assert not is_held_by_holter(1)


def test_where_nothing_is_told_nothing_is_known(tmp_path: Path) -> None:
    """As in a container without /proc."""
    assert not is_held_by_holter(80, tmp_path)
    assert os.environ["HOLTER_DIR"]
