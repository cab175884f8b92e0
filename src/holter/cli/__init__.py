"""The command ``holter``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from holter.cli import demo, doctor, postmortem, recordings
from holter.version import __version__


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with *arguments*, those of the process by default; return its exit code."""
    parser = argparse.ArgumentParser(prog="holter", description="A recorder for AI models.")
    parser.add_argument("--version", action="version", version=f"holter {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in (demo, doctor, postmortem, recordings):
        command.add_to(commands)
    chosen = parser.parse_args(arguments)
    code: int = chosen.run(chosen)
    return code
