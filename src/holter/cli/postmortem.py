"""``holter postmortem``: what a dead process left, the cause first."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from holter import words
from holter.errors import RecordingError
from holter.exporters.console import render
from holter.postmortem import post_mortem
from holter.recorded import read_recording
from holter.recordings import folders, listed


def add_to(commands: Any) -> None:
    """Add this command to those of the parser."""
    parser = commands.add_parser("postmortem", help="say what a process was doing when it died, and what had changed")
    parser.add_argument(
        "which",
        nargs="?",
        metavar="PATH|PID",
        help="a recording, or the number of its process (default: the last one that died)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the post-mortem; return 1 where there is no recording, or none that can be read."""
    try:
        summary = post_mortem(read_recording(_chosen(arguments.which)))
    except (OSError, RecordingError) as error:
        reason = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) and error.filename else str(error)
        print(f"holter: {words.clean(reason, 500)}", file=sys.stderr)
        return 1
    if arguments.json:
        print(json.dumps(summary.to_dict(), allow_nan=False))
    else:
        render(summary)
    return 0


def _chosen(which: str | None) -> Path:
    """Return the recording that is meant: that path, that process's last one, or the last of a process that died."""
    if which is not None and not which.isdecimal():
        return Path(which)
    searched = folders()
    found = [one for folder in searched for one in listed(folder) if one.process is not None]
    found.sort(key=lambda one: one.ended_ns, reverse=True)
    if which is not None:
        found = [one for one in found if one.process is not None and one.process.pid == int(which)]
    else:
        found = [one for one in found if one.state == "dead"]
    if not found:
        where = ", ".join(map(str, searched)) or "no folder of recordings"
        raise RecordingError(f"no recording of {f'process {which}' if which else 'a process that died'} in {where}")
    return found[0].path
