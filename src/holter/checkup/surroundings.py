"""What holter finds around it: switches of the environment, the folder it is started in, a port."""

from __future__ import annotations

import shlex
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

from holter import words
from holter.checkup.finding import Finding, Unwell, tried
from holter.errors import ConfigurationError
from holter.pageserver import check_port
from holter.portholder import holders, is_held_by_holter
from holter.recorder import DISABLED

_LOOPBACK = "127.0.0.1"


def switches() -> Iterator[Finding]:
    """Say if the environment switches holter off."""
    if DISABLED:
        yield Finding(
            "HOLTER_DISABLED", "broken", "HOLTER_DISABLED=1 is set: nothing is recorded", "unset HOLTER_DISABLED"
        )


def folders() -> Iterator[Finding]:
    """Say whether a relative path would work, by making a file rather than by reading permissions."""
    yield tried("folder", _folder, otherwise="missing")


def _folder() -> str:
    try:
        with tempfile.TemporaryFile(dir="."):
            return "this folder can be written: LogFile('holter.jsonl') works here"
    except OSError as error:
        told = f"this folder cannot be written ({error.strerror}): go to another, or give full paths"
        raise Unwell(told, _elsewhere()) from None


def _elsewhere() -> str:
    try:
        with tempfile.TemporaryFile(dir=Path.home()):
            return "cd"
    except (OSError, RuntimeError):
        return 'cd "$(mktemp -d)"'


def port(number: int) -> Iterator[Finding]:
    """Say whether a page of metrics can be served on port *number* of the loopback."""
    yield tried(f"port {number}", lambda: _port(number))


def _port(number: int) -> str:
    try:
        check_port(number, _LOOPBACK)
    except ConfigurationError as error:
        found = holders(number)
        if not found:
            raise Unwell(f"{error}; {_free()} is free") from None
        named = " and ".join(f"{words.clean(name, 40)} (process {pid})" for pid, name in found)
        told = f"taken by {named}: stop that, or give another port, such as {_free()}, which is free"
        raise Unwell(told, f"kill {shlex.join(str(pid) for pid, _ in found)}") from None
    if is_held_by_holter(number):
        return "served by another process of holter, after which this one can serve"
    return "free"


def _free() -> int:
    with socket.socket() as one:
        one.bind((_LOOPBACK, 0))
        found: int = one.getsockname()[1]
        return found
