"""What `holter top` shows: figures as lines of text with a role each piece, for a terminal of any size or a pipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from holter.view.courses import Courses
from holter.view.grid import Line, Piece, grid, plain
from holter.view.head import head, logged
from holter.view.tables import sheets
from holter.view.vitalsigns import Vitals
from holter.view.wanted import View


@dataclass(frozen=True, slots=True)
class Page:
    """The lines of all that there is to see; ``rows`` are the keys of what can be selected, by their lines."""

    head: tuple[Line, ...]
    body: tuple[Line, ...]
    rows: Mapping[int, object]


def page(figures: Vitals, view: View, courses: Courses, width: int) -> Page:
    """Return what to show of *figures* in lines of at most *width* cells: the head, which stays, and all else."""
    body: list[Line] = []
    keys: dict[int, object] = {}
    for columns, rows in sheets(figures, view, courses):
        if not rows:
            continue
        body += [()] if body else []
        header, *lines = grid(columns, rows, width)
        body.append(header)
        for row, line in zip(rows, lines, strict=True):
            if row.key is not None:
                keys[len(body)] = row.key
            body.append(line)
        if columns[0].title == "training":
            body += logged(figures.training, width)
    if not body:
        body.append((Piece("Nothing watched has been called yet.", "dim"),))
    return Page(tuple(head(figures, view, width)), tuple(body), keys)


def text(figures: Vitals, view: View, courses: Courses, width: int) -> list[str]:
    """Return all of it as plain text, for a pipe."""
    shown = page(figures, view, courses, width)
    return [plain(line) for line in (*shown.head, (), *shown.body)]
