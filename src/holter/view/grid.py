"""Tables that fit any terminal: columns go by their importance, names are shortened, what is left is for a curve."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from holter.tables import aligned, cell_width, shortened

Role = Literal["plain", "title", "head", "dim", "name", "good", "warn", "bad", "curve", "key"]


class Piece(NamedTuple):
    """Some text in one role; the text is printable and of one line."""

    text: str
    role: Role = "plain"


Line = tuple[Piece, ...]
Cell = Piece | Callable[[int], str]
"""A text, or what makes the text for so many cells."""

_NARROWEST_NAME: Final = 10
_NARROWEST_CURVE: Final = 8
_WIDEST_NAME: Final = 48
_SPARSE: Final = 5


@dataclass(frozen=True, slots=True)
class Column:
    """
    One column: numbers to the right by default, a name to the left, or a curve, which takes what is left.

    Those with the highest ``rank`` go first where there is no room; rank 0 never goes. From rank 5 on they are left
    out too where all cells are empty. It is ``least`` so wide, so that columns stay where they are.
    """

    title: str
    rank: int = 0
    kind: Literal["number", "name", "curve"] = "number"
    least: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """The cells of one row, and by what it is known where it can be selected."""

    cells: tuple[Cell, ...]
    key: object = None


def plain(line: Line) -> str:
    """Return a line as text, without blanks at its end."""
    return "".join(piece.text for piece in line).rstrip()


def grid(columns: Sequence[Column], rows: Sequence[Row], width: int) -> list[Line]:
    """Return the header and a line a row, none wider than *width*."""
    kept = [
        place
        for place, column in enumerate(columns)
        if column.kind == "curve" or column.rank < _SPARSE or any(_text(row.cells[place]) for row in rows)
    ]
    widths = {place: _natural(columns[place], [row.cells[place] for row in rows]) for place in kept}
    while len(kept) > 1 and _total(widths, kept) > width:
        wide = next(
            (place for place in kept if columns[place].kind == "name" and widths[place] > _NARROWEST_NAME), None
        )
        droppable = max(kept, key=lambda place: (columns[place].rank, place))
        if wide is not None and (widths[wide] > _WIDEST_NAME // 2 or not columns[droppable].rank):
            widths[wide] -= 1
        elif columns[droppable].rank:
            kept.remove(droppable)
        else:
            kept.pop()
    spare = width - _total(widths, kept)
    widths[kept[0]] += min(0, spare)
    for place in kept:
        if columns[place].kind == "curve":
            widths[place] += max(0, spare)
    header = _joined([Piece(_fit(columns[place], columns[place].title, widths[place]), "head") for place in kept])
    lines = [header]
    for row in rows:
        pieces = []
        for place in kept:
            cell, column = row.cells[place], columns[place]
            if isinstance(cell, Piece):
                pieces.append(Piece(_fit(column, cell.text, widths[place]), cell.role))
            else:
                pieces.append(Piece(_fit(column, cell(widths[place]), widths[place]), "curve"))
        lines.append(_joined(pieces))
    return lines


def _text(cell: Cell) -> str:
    return cell.text if isinstance(cell, Piece) else "curve"


def _natural(column: Column, cells: Sequence[Cell]) -> int:
    if column.kind == "curve":
        return max(_NARROWEST_CURVE, cell_width(column.title))
    longest = max([column.least, cell_width(column.title), *(cell_width(_text(cell)) for cell in cells)])
    return min(longest, _WIDEST_NAME) if column.kind == "name" else longest


def _total(widths: dict[int, int], kept: Sequence[int]) -> int:
    return sum(widths[place] for place in kept) + 2 * (len(kept) - 1)


def _fit(column: Column, text: str, width: int) -> str:
    return aligned(shortened(text, width), width, right=column.kind == "number")


def _joined(pieces: Sequence[Piece]) -> Line:
    line: list[Piece] = []
    for piece in pieces:
        line += [Piece("  "), piece] if line else [piece]
    return tuple(line)
