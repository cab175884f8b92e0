"""Tables and notes: one structure that a terminal, a pipe and a notebook show alike."""

from __future__ import annotations

import html
import textwrap
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

Role = Literal["verdict", "alert", "detail", "heading", "header", "row", "note", "blank"]
Line = tuple[Role, str]

HEIGHT: Final = 40
WIDTH: Final = 80
NO_BREAK: Final = "\xa0"
"""Stands for a blank at which no line is broken."""
_NARROWEST: Final = 8


@dataclass(frozen=True, slots=True)
class Table:
    """
    Rows of text under ``columns``, of which the first names the table.

    ``right`` holds the positions of the columns that are aligned to the right, numbers; the
    others may be shortened. ``more`` is how many rows are not shown, ``kept`` how many stay
    until the other tables have given theirs.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: frozenset[int] = frozenset()
    more: int = 0
    kept: int = 1

    def first(self, count: int) -> Table:
        """Return the table with its first *count* rows."""
        return replace(self, rows=self.rows[:count], more=self.more + max(0, len(self.rows) - count))

    def without_empty(self) -> Table:
        """Return the table without the columns in which every cell is empty."""
        kept = [place for place in range(len(self.columns)) if any(row[place] for row in self.rows)]
        return Table(
            columns=tuple(self.columns[place] for place in kept),
            rows=tuple(tuple(row[place] for place in kept) for row in self.rows),
            right=frozenset(new for new, place in enumerate(kept) if place in self.right),
            more=self.more,
            kept=self.kept,
        )

    def lines(self, width: int = WIDTH) -> list[Line]:
        """Return the table as text, no line wider than *width*: long names first lose their middle, then columns go."""
        table = [self.columns, *self.rows]
        widths = [max(map(cell_width, column)) for column in zip(*table, strict=True)]
        gap = "  " if sum(widths) + 2 * (len(widths) - 1) <= width else " "
        flexible = [place for place in range(len(widths)) if place not in self.right]
        while sum(widths) + len(gap) * (len(widths) - 1) > width and len(widths) > 1:
            wide = max(flexible, key=lambda place: widths[place], default=None)
            if wide is not None and widths[wide] > _NARROWEST:
                widths[wide] -= 1
            else:
                widths.pop()
                flexible = [place for place in flexible if place < len(widths)]
        shown = []
        for row in table:
            cells = [
                aligned(shortened(cell, space), space, right=place in self.right)
                for place, (cell, space) in enumerate(zip(row, widths, strict=False))
            ]
            shown.append(gap.join(cells).rstrip())
        header, *rows = shown
        more: list[Line] = [("note", f"and {self.more:,} more")] if self.more else []
        return [("header", header), *(("row", line) for line in rows), *more]

    def html(self) -> str:
        """Return the table as HTML, every cell escaped."""
        head = "".join(f"<th{self._style(place)}>{html.escape(name)}</th>" for place, name in enumerate(self.columns))
        body = "".join(
            "<tr>"
            + "".join(f"<td{self._style(place)}>{html.escape(cell)}</td>" for place, cell in enumerate(row))
            + "</tr>"
            for row in self.rows
        )
        more = f"<p>and {self.more:,} more</p>" if self.more else ""
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"

    def _style(self, place: int) -> str:
        return f' style="text-align:{"right" if place in self.right else "left"}"'


@dataclass(frozen=True, slots=True)
class Notes:
    """Short texts, each behind its label (of an alert in capitals); ``more`` is how many are not shown."""

    rows: tuple[tuple[str, str], ...]
    more: int = 0
    kept: int = 1

    def first(self, count: int) -> Notes:
        """Return the first *count* notes."""
        return replace(self, rows=self.rows[:count], more=self.more + max(0, len(self.rows) - count))

    def lines(self, width: int = WIDTH) -> list[Line]:
        """Return the notes as text, wrapped beside their labels."""
        space = max((cell_width(label) for label, _ in self.rows), default=0)
        indent = " " * (space + 2)
        lines: list[Line] = []
        for label, text in self.rows:
            role: Role = "alert" if label.isupper() else "row"
            first, *rest = wrapped(text, width - len(indent)) or [""]
            lines += [(role, f"{aligned(label, space)}  {first}"), *((role, indent + line) for line in rest)]
        return [*lines, ("note", f"and {self.more:,} more")] if self.more else lines

    def html(self) -> str:
        """Return the notes as HTML, escaped."""
        return "".join(f"<p><b>{html.escape(label)}</b> {html.escape(text)}</p>" for label, text in self.rows) + (
            f"<p>and {self.more:,} more</p>" if self.more else ""
        )


Block = Table | Notes


def fitted(blocks: Sequence[Block], height: int, width: int = WIDTH) -> list[Line]:
    """
    Return the blocks as at most *height* lines, a blank one before each.

    Where they do not fit, the block with most rows beyond those that it keeps gives first; where nobody has any, the
    blank lines go, and then the rows that are kept, down to one of each.
    """
    shown = [block.first(height) for block in blocks]
    lines = [block.lines(width) for block in shown]
    while sum(map(len, lines)) + len(lines) > height:
        spare = {place: len(block.rows) - block.kept for place, block in enumerate(shown) if len(block.rows) > 1}
        if not spare:
            return [line for block in lines for line in block][:height]
        longest = max(spare, key=spare.__getitem__)
        if spare[longest] <= 0 and sum(map(len, lines)) <= height:
            return [line for block in lines for line in block]
        rows = len(shown[longest].rows)
        # The line that says how many are left out takes the place of one more.
        shown[longest] = shown[longest].first(max(1, rows - (1 if shown[longest].more else 2)))
        lines[longest] = shown[longest].lines(width)
    blank: Line = ("blank", "")
    return [line for block in lines for line in (blank, *block)]


def wrapped(text: str, width: int) -> list[str]:
    """Return *text* in lines of at most *width* cells."""
    lines = textwrap.wrap(text, width, break_on_hyphens=False)
    if not all(cell_width(line) <= width for line in lines):
        # Wide letters take two cells each.
        lines = textwrap.wrap(text, max(1, width // 2), break_on_hyphens=False)
    return [line.replace(NO_BREAK, " ") for line in lines]


def cell_width(text: str) -> int:
    """Return how many cells of a terminal *text* takes."""
    return len(text) if text.isascii() else sum(map(_letter_width, text))


def _letter_width(letter: str) -> int:
    if unicodedata.combining(letter):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in ("W", "F") else 1


def aligned(text: str, width: int, *, right: bool = False) -> str:
    """Return *text* filled up to *width* cells."""
    space = " " * (width - cell_width(text))
    return space + text if right else text + space


def shortened(text: str, width: int) -> str:
    """Return *text* in at most *width* cells, an ellipsis for its middle where it is longer; the end tells more."""
    if cell_width(text) <= width:
        return text
    space = (width - 1) // 3
    head, tail = _within(text, space), _within(reversed(text), width - 1 - space)
    return f"{head}…{tail[::-1]}"


def _within(letters: Iterable[str], width: int) -> str:
    kept = ""
    for letter in letters:
        width -= _letter_width(letter)
        if width < 0:
            break
        kept += letter
    return kept
