"""What serves where there is a guard, as the figures tell it: of a process, a group, or one that has died."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from contracts.snapshots import START_NS
from contracts.watched import Time
from guarded import anything, on_trial, tell
from holter.clock import Clock
from holter.fallback import Guard
from holter.monitor import Monitor
from holter.postmortem import post_mortem
from holter.recorded import read_recording
from holter.serving import servings, switched


def test_it_follows_from_the_figures() -> None:
    """Who serves, since when, and how often that has changed and why; one that never switched has no line."""
    clock = Time()
    monitor = Monitor("test", samplers=[], clock=Clock(clock, lambda: START_NS + clock.now_ns))
    guards = {
        name: Guard(monitor.watch(len, name=name), lambda _: 0, when=anything, hold=False)
        for name in ("quiet", "tried", "left")
    }
    for guard in guards.values():
        tell(guard, monitor)
    clock.spend(100)
    on_trial(guards["tried"], monitor, clock)
    tell(guards["left"], monitor, burn="firing")
    left_ns = START_NS + clock.now_ns
    clock.spend(7)
    found = servings(monitor.snapshot())
    assert [("left", "fallback"), ("tried", "trial"), ("quiet", "primary")] == [(one.guard, one.state) for one in found]
    assert left_ns == found[0].since_ns
    assert [{"fallback alert": 1}, {"fallback alert": 1, "trial cooled_down": 1}, {}] == [one.switches for one in found]
    lines = switched(found).rows
    assert ["GUARD", "GUARD"] == [label for label, _ in lines]
    assert lines[0][1].startswith("left: its fallback serves since ")
    assert lines[0][1].endswith("; 1 switch")


DYING = """
    import os, signal, sys
    import holter

    check = holter.Limit("app.errors", "last", above=1)
    serve = holter.Guard(holter.watch(len, name="serve"), lambda x: 0, when=check)
    monitor = holter.start("dying", checks=[check], samplers=[])
    holter.gauge("app.errors").set(2)
    assert monitor.flush()
    serve("abc")
    monitor.snapshot()
    from holter.chronicle import CHRONICLE
    print(CHRONICLE.where(), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="recordings need Linux")
def test_a_process_that_was_killed_tells_what_served() -> None:
    """Its recording has the switch."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(DYING)], capture_output=True, text=True, timeout=60, check=False
    )
    assert -signal.SIGKILL == done.returncode, done.stderr
    summary = post_mortem(read_recording(Path(done.stdout.strip())))
    assert "GUARD  serve: its fallback serves since" in str(summary)
    assert [{"fallback alert": 1}] == [one["switches"] for one in summary.to_dict()["guards"]]
