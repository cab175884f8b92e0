"""``holter top``: what a process or a service is doing, looked at from outside."""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

from holter import words
from holter.arguments import positive_seconds
from holter.chosen import Choice, chosen
from holter.errors import ConfigurationError, RecordingError
from holter.view.wanted import View

_INSTALL = "pip install 'holter[top]'"
_PIPE_WIDTH = 120


def add_to(commands: Any) -> None:
    """Add this command to those of the parser."""
    parser = commands.add_parser("top", help="watch a process or a service from outside, also one that hangs")
    parser.add_argument(
        "which",
        nargs="?",
        metavar="PID|NAME",
        help="a process's number, a service's name, or the path of a recording (default: what records now)",
    )
    parser.add_argument("--group", help="of several groups of one service, this one")
    parser.add_argument(
        "--interval", type=_seconds, default=1.0, metavar="SECONDS", help="between two looks, 1 by default"
    )
    parser.add_argument("--once", action="store_true", help="print the figures of one interval, and end")
    parser.add_argument("--json", action="store_true", help="with --once: one JSON object instead of text")
    parser.add_argument("--apart", action="store_true", help="each process by itself instead of their sum")
    parser.set_defaults(run=run)


def _seconds(given: str) -> float:
    try:
        return positive_seconds("--interval", float(given))
    except (ConfigurationError, ValueError):
        raise argparse.ArgumentTypeError(f"expected seconds greater than 0, such as 0.5, got {given!r:.40}") from None


def run(arguments: argparse.Namespace) -> int:
    """Show the figures; return 1 where there is nothing to look at, 2 where it is not said at what."""
    try:
        choices = chosen(arguments.which, arguments.group)
    except (OSError, RecordingError) as error:
        reason = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) and error.filename else str(error)
        return _refuse(1, reason)
    if arguments.json and not arguments.once:
        return _refuse(2, "--json goes with --once")
    if arguments.once:
        if len(choices) > 1:
            return _refuse(2, "several processes record, name one of them:", choices)
        return _once(choices[0], arguments)
    return _live(choices, arguments)


def _refuse(code: int, reason: str, choices: list[Choice] | None = None) -> int:
    print(f"holter: {words.clean(reason, 500)}", file=sys.stderr)
    for choice in choices or ():
        print(f"  {choice.label()}", file=sys.stderr)
    return code


def _once(choice: Choice, arguments: argparse.Namespace) -> int:
    # What the figures are made with is imported here, so that the other commands do not wait for it.
    from holter.view.screen import text  # noqa: PLC0415
    from holter.view.watched import Watched  # noqa: PLC0415

    watched = Watched(choice, arguments.interval)
    watched.look()
    time.sleep(arguments.interval)
    figures = watched.look(apart=arguments.apart)
    if arguments.json:
        print(json.dumps(figures.to_dict(), allow_nan=False))
    else:
        view = View(is_apart=arguments.apart, interval_seconds=arguments.interval)
        encoding = sys.stdout.encoding or "utf-8"
        for line in text(figures, view, watched.courses, _PIPE_WIDTH):
            print(line.encode(encoding, "replace").decode(encoding))
    return 0


def _live(choices: list[Choice], arguments: argparse.Namespace) -> int:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return _refuse(2, "the view needs a terminal: use --once, or --once --json, in a pipe")
    try:
        from holter.view.terminal import TopApp  # noqa: PLC0415 - Textual takes 300 ms to import, and is an extra
    except ImportError as error:
        code = _refuse(1, f"the view needs Textual ({error}); holter top --once does not. To mend it:")
        print(f"  {_INSTALL}", file=sys.stderr)
        return code

    def find() -> list[Choice]:
        try:
            return chosen(None)
        except (OSError, RecordingError):
            return []

    TopApp(choices, View(is_apart=arguments.apart, interval_seconds=arguments.interval), find).run()
    return 0
