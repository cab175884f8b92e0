"""``holter doctor``: what works here, what is missing, and the command that mends it."""

from __future__ import annotations

import argparse
import json
import platform
import sys
from typing import Any

from holter.checkup.finding import Finding
from holter.checkup.page import Page, figures
from holter.checkup.rounds import GROUPS, findings
from holter.version import __version__

_MANY = frozenset({"probes"})
_USAGE = 2


def add_to(commands: Any) -> None:
    """Add this command to those of the parser."""
    parser = commands.add_parser("doctor", help="say what works here, what is missing and how to mend it")
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"look only at these, of {', '.join(GROUPS)}")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    parser.add_argument(
        "--require",
        action="append",
        default=[],
        metavar="NAME",
        help="fail unless this works too, such as otlp, recordings or GPUSampler; may be given more than once",
    )
    parser.add_argument(
        "--port",
        action="append",
        default=[],
        type=_port,
        metavar="PORT",
        help="try also whether metrics can be served on this port of the loopback; may be given more than once",
    )
    parser.set_defaults(run=run)


def _port(text: str) -> int:
    number = int(text)
    if not 0 < number < 65_536:  # noqa: PLR2004 - the last port
        raise argparse.ArgumentTypeError(f"expected a port from 1 to 65535, got {number}")
    return number


def run(arguments: argparse.Namespace) -> int:
    """Print what was found; return 0 if all that is required works, 1 if not, 2 for an unknown name."""
    required, strangers = set(arguments.require), [name for name in arguments.groups if name not in GROUPS]
    if strangers:
        print(f"holter: no group is named {', '.join(strangers)}; there are {', '.join(GROUPS)}", file=sys.stderr)
        return _USAGE
    python = f"{platform.python_implementation()} {platform.python_version()}"
    system = f"{platform.system()} {platform.machine()}"
    page = None if arguments.json else Page(sys.stdout)
    if page is not None:
        print(f"holter {__version__}, {python} on {system}")
    found: list[tuple[str, Finding]] = []
    for group, finding in findings(arguments.groups or GROUPS, arguments.port):
        judged = finding
        if finding.subject in required and finding.state in ("missing", "absent"):
            judged = finding._replace(state="broken")
        found.append((group, judged))
        if page is not None:
            page.add(group, judged, is_one_of_many=group in _MANY)
    unknown = required - {finding.subject for _, finding in found}
    is_well = not unknown and all(finding.state != "broken" for _, finding in found)
    if page is not None:
        page.end()
        if not unknown:
            page.close(found)
    else:
        header = {"holter": __version__, "python": python, "system": system}
        print(json.dumps(figures(found, is_well=is_well, **header), allow_nan=False))
    if unknown:
        names = ", ".join(sorted(finding.subject for _, finding in found))
        print(f"holter: nothing named {', '.join(sorted(unknown))} was tried; there are {names}", file=sys.stderr)
        return _USAGE
    return 0 if is_well else 1
