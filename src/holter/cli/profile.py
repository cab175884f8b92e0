"""``holter profile``: what data looks like, as a reference that later data is compared with."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from holter import words
from holter.errors import ConfigurationError, MissingExtraError
from holter.profile import Profile
from holter.profiletable import page
from holter.progressbar import progress


def add_to(commands: Any) -> None:
    """Add this command to those of the parser."""
    parser = commands.add_parser("profile", help="write down what data looks like, to compare later data with")
    parser.add_argument("data", nargs="+", type=Path, metavar="DATA", help="CSV, also .csv.gz, or Parquet files")
    parser.add_argument("-o", "--output", type=Path, metavar="JSON", help="where the profile goes")
    parser.add_argument("--html", type=Path, metavar="HTML", help="where a picture of the columns goes")
    parser.add_argument("--label", metavar="COLUMN", help="the column that a model is to predict")
    parser.add_argument(
        "--categories", action="append", default=[], metavar="COLUMN", help="a column of numbers that are codes"
    )
    parser.set_defaults(run=run)


def _shown(show: Callable[[float], None], done: int, share: float) -> None:
    show(done + share)


def _read(path: Path, arguments: argparse.Namespace, progress: Callable[[float], None]) -> Profile:
    return Profile.of_file(path, label=arguments.label, categories=arguments.categories, progress=progress)


def run(arguments: argparse.Namespace) -> int:
    """Read the data, write the profile, print its table; return 1 if one of that cannot be done."""
    paths: list[Path] = arguments.data
    profile = Profile()
    try:
        with progress("profile", len(paths)) as show:
            for done, path in enumerate(paths):
                profile = profile + _read(path, arguments, partial(_shown, show, done))
            show(len(paths))
        if arguments.output is not None:
            profile.save(arguments.output)
        if arguments.html is not None:
            title = ", ".join(words.clean(path.name) for path in paths[:3])
            arguments.html.write_text(page(profile.columns, profile.rows, profile.label, title), encoding="utf-8")
    except (OSError, ConfigurationError, MissingExtraError) as error:
        reason = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) and error.filename else str(error)
        print(f"holter: {words.clean(reason, 500)}", file=sys.stderr)
        return 1
    print(profile)
    print(f"{words.count(profile.rows, 'row')}; no rows are kept, but single values are: see who may read the profile")
    for path in (arguments.output, arguments.html):
        if path is not None:
            print(path.resolve())
    return 0
