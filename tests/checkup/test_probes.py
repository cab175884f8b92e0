"""Probes as the doctor tries them."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys

import pytest

from holter.checkup import probes
from holter.checkup.finding import Unwell
from holter.checkup.probes import PROBES, kinds, recorded, ring
from holter.instruments import Instruments
from holter.ring import IMPLEMENTATION


def test_the_ring_gives_back_what_was_written() -> None:
    """All of it, and it says which one it is."""
    [found] = ring()
    assert ("ring", "ok", f"{IMPLEMENTATION}; 100 of 100 calls recorded and read back", "") == found


@pytest.mark.parametrize("kind", PROBES)
def test_each_kind_records(kind: str) -> None:
    """What it was used for once is read back."""
    [found] = [finding for finding in kinds() if finding.subject == kind]
    assert "ok" == found.state, found


def test_all_that_user_code_can_wear_is_tried() -> None:
    """Each public method of what the module itself offers, and the middleware."""
    public = {name for name, member in inspect.getmembers(Instruments, callable) if not name.startswith("_")}
    source = inspect.getsource(probes)
    assert {name for name in public - {"uninstrument"} if f"monitor.{name}" not in source} == set()
    assert "ASGI(" in source


def test_a_probe_that_does_not_record_is_unwell() -> None:
    """With what was expected and what was seen."""
    with pytest.raises(Unwell, match="0 of 2 records read back"):
        recorded(lambda _: "app.nothing", 2)


def test_the_pieces_in_python_are_tried_likewise() -> None:
    """Without the extension nothing is missing."""
    program = "from holter.checkup.probes import *; print({one.state for one in [*ring(), *kinds()]})"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "HOLTER_PURE_PYTHON": "1"},
    )
    assert ("{'ok'}\n", "") == (done.stdout, done.stderr)
