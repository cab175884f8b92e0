"""``holter recordings``: whose recordings there are, and what became of them."""

from __future__ import annotations

import argparse
import json
from typing import Any, Final

from holter import words
from holter.errors import RecordingError
from holter.figures import plain, timestamp
from holter.postmortem import post_mortem
from holter.recorded import read_recording
from holter.recordings import Listed, folders, listed
from holter.tables import Table

_WIDEST: Final = 200


def add_to(commands: Any) -> None:
    """Add this command to those of the parser."""
    parser = commands.add_parser("recordings", help="list the recordings of processes that live or have died")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line instead of a table")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print a line for each recording, the newest first; return 0."""
    searched = folders()
    found = [one for folder in searched for one in listed(folder)]
    found.sort(key=lambda one: one.ended_ns, reverse=True)
    if arguments.json:
        for one in found:
            print(json.dumps(_figures(one), allow_nan=False))
    elif found:
        columns = ("recordings", "service", "process", "last heard of", "size")
        (_, header), *lines = Table(columns, tuple(map(_row, found)), frozenset({2, 4})).lines(_WIDEST)
        print(header)
        for one, (_, line) in zip(found, lines, strict=True):
            print(line)
            for text in (str(one.path), _said(one)):
                if text:
                    print(f"    {words.clean(text, 400)}")
    else:
        print(f"No recordings in {', '.join(map(str, searched)) or 'any folder of this user'}.")
    return 0


def _row(one: Listed) -> tuple[str, ...]:
    process = one.process
    state = one.state if process is None or process.is_sure else f"{one.state}?"
    return (
        state,
        "" if process is None else words.clean(process.service, 40),
        "" if process is None else str(process.pid),
        timestamp(one.ended_ns),
        words.size(one.size_bytes),
    )


def _said(one: Listed) -> str:
    """Return what the recording of a dead process tells first, or why it tells nothing."""
    if one.state != "dead":
        return one.trouble
    try:
        return post_mortem(read_recording(one.path)).verdict.headline
    except (OSError, RecordingError) as error:
        return str(error)


def _figures(one: Listed) -> dict[str, Any]:
    process = one.process
    return {
        "path": plain(str(one.path)),
        "state": one.state,
        "state_is_sure": process is not None and process.is_sure,
        "service": None if process is None else plain(process.service),
        "pid": None if process is None else process.pid,
        "ended": timestamp(one.ended_ns),
        "size_bytes": one.size_bytes,
        "said": plain(_said(one)),
    }
