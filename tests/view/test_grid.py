"""Tables for any width: what goes first, and what stays."""

from __future__ import annotations

import pytest

from holter.tables import cell_width
from holter.view.grid import Column, Line, Piece, Row, grid, plain

COLUMNS = (
    Column("calls", kind="name"),
    Column("rate", least=6),
    Column("p90", 4),
    Column("max", 6),
    Column("curve", 3, kind="curve"),
)


def row(name: str, *cells: str) -> Row:
    """Return a row with a curve that fills its column."""
    return Row((Piece(name, "name"), *map(Piece, cells), lambda width: "~" * width))


def lines(width: int, *rows: Row) -> list[str]:
    """Return the table as text."""
    return [plain(line) for line in grid(COLUMNS, rows, width)]


def test_what_is_left_is_for_the_curve() -> None:
    """Names to the left, numbers to the right, two blanks between."""
    assert lines(40, row("predict", "1,204", "9 ms", "12 ms")) == [
        "calls      rate   p90    max  curve",
        "predict   1,204  9 ms  12 ms  ~~~~~~~~~~",
    ]


def test_the_least_important_columns_go_first() -> None:
    """Those of rank 0 stay, whatever the width."""
    found = [lines(width, row("predict", "1,204", "9 ms", "12 ms"))[0] for width in (39, 36, 32, 27, 20, 15)]
    assert [line.split() for line in found] == [
        ["calls", "rate", "p90", "max", "curve"],
        ["calls", "rate", "p90", "curve"],
        ["calls", "rate", "p90", "curve"],
        ["calls", "rate", "curve"],
        ["calls", "rate"],
        ["calls", "rate"],
    ]


def test_a_rare_column_is_there_only_with_something_in_it() -> None:
    """One that matters more keeps its place while it is empty, so that nothing jumps."""
    assert ["calls", "rate", "p90", "curve"] == lines(60, row("predict", "", "", ""))[0].split()


@pytest.mark.parametrize("width", [200, 80, 40, 20, 12, 5, 1])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    """Nor with wide letters, combining ones and long names; a name loses its middle."""
    names = ("一個很長的名字" * 9, "e\u0301" * 90, "module.submodule.Class.method" * 4, "")
    found = grid(COLUMNS, [row(name, "123,456", "999 ms", "1 h 20 min") for name in names], width)
    assert all(sum(cell_width(piece.text) for piece in line) <= width for line in found)
    if width >= 20:
        assert "…" in plain(found[1])


def test_pieces_keep_their_roles() -> None:
    """The header's is its own, a curve's the curve's."""
    header, line = grid(COLUMNS, [row("predict", "1", "2", "3")], 60)
    assert {"head", "plain"} == roles(header)
    assert {"name", "plain", "curve"} == roles(line)


def roles(line: Line) -> set[str]:
    """Return the roles in a line."""
    return {piece.role for piece in line}
