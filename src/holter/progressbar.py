"""A progress bar: moving on a terminal that has rich, a few plain lines in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

_WIDTH: Final = 20
_LINES: Final = 4


@contextmanager
def progress(what: str, total: float) -> Iterator[Callable[[float], None]]:
    """Yield a function that is called with how much of *total* is done."""
    if sys.stdout.isatty():
        try:
            from rich.progress import Progress  # noqa: PLC0415 - takes 100 ms to import, needed on terminals only
        except ImportError:
            pass
        else:
            with Progress(transient=True) as bar:
                task = bar.add_task(what, total=total)
                yield lambda done: bar.update(task, completed=done)
            _line(what, 1.0)
            return
    yield _Lines(what, total)


class _Lines:
    """Prints a line at each quarter of the way."""

    def __init__(self, what: str, total: float) -> None:
        self._what, self._total, self._shown = what, total, 0

    def __call__(self, done: float) -> None:
        share = min(1.0, done / self._total)
        if int(share * _LINES) > self._shown:
            self._shown = int(share * _LINES)
            _line(self._what, self._shown / _LINES)


def _line(what: str, share: float) -> None:
    bar = "#" * round(share * _WIDTH)
    print(f"{what:<24} [{bar:<{_WIDTH}}] {share:4.0%}", flush=True)  # noqa: T201 - a bar is for the terminal
