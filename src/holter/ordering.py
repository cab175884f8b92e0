"""Whether what a process writes into its recording can be read while it writes."""

from __future__ import annotations

from pathlib import Path

from holter.documents import RecordedProcess
from holter.errors import RecordingError
from holter.ring import IMPLEMENTATION, MACHINE, is_in_order
from holter.whereabouts import Whereabouts


def check_order(process: RecordedProcess, path: Path, *, machine: str = MACHINE) -> None:
    """
    Ascertain that of *process*, if it lives, what came first is seen first.

    Raises:
        RecordingError: on this kind of *machine* that takes C on both sides.
    """
    is_live = process.state in ("running", "stopped")
    if is_live and not is_in_order(process.writer, machine=machine) and process.whereabouts != Whereabouts.mine():
        raise RecordingError(
            f"{path} cannot be read while process {process.pid} runs: on {machine or 'this machine'} that takes "
            f"holter's extension in C on both sides; written in {process.writer or 'an unknown way'}, read in "
            f"{IMPLEMENTATION}. Once the process has ended it can be read"
        )
