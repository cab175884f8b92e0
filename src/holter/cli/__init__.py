"""The command ``holter``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Final

from holter.cli import demo, doctor, postmortem, profile, recordings, top
from holter.version import __version__

_BROKEN_PIPE: Final = 141
"""What a shell gives a command that a signal for this has ended."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with *arguments*, those of the process by default; return its exit code."""
    parser = argparse.ArgumentParser(prog="holter", description="A recorder for AI models.")
    parser.add_argument("--version", action="version", version=f"holter {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in (demo, doctor, postmortem, profile, recordings, top):
        command.add_to(commands)
    chosen = parser.parse_args(arguments)
    try:
        code: int = chosen.run(chosen)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever reads has had enough, as `head` has. What is left is written nowhere, nor at the exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    return code
