"""What a process writes is read in its order, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from holter.documents import RecordedProcess
from holter.errors import RecordingError
from holter.ordering import check_order
from holter.ring import NATIVE
from holter.whereabouts import Whereabouts

PATH = Path("one.holter")
OTHER = Whereabouts(pid=4121, start_ticks=1)


def test_one_that_lives_elsewhere_is_read_where_the_order_holds() -> None:
    """On an x86-64 whoever writes and reads, else with C on both sides."""
    other = RecordedProcess("sentiment", pid=4121, whereabouts=OTHER, writer="Python")
    check_order(other, PATH, machine="x86_64")
    with pytest.raises(RecordingError, match=r"one.holter cannot be read while process 4121 runs: on aarch64 that"):
        check_order(other, PATH, machine="aarch64")
    native = RecordedProcess("sentiment", pid=4121, whereabouts=OTHER, writer="C")
    if NATIVE is not None:
        check_order(native, PATH, machine="aarch64")


def test_the_dead_and_oneself_are_always_read() -> None:
    """Nobody writes any more, or no other process does."""
    check_order(RecordedProcess("sentiment", state="dead", whereabouts=OTHER, writer=""), PATH, machine="aarch64")
    check_order(RecordedProcess("sentiment", whereabouts=Whereabouts.mine(), writer=""), PATH, machine="aarch64")
