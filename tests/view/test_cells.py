"""Figures as they stand in the tables of `holter top`."""

from __future__ import annotations

from holter.view.cells import (
    age_cell,
    counted_cell,
    curve_cell,
    name_cell,
    number_cell,
    quantity_cell,
    share_cell,
    time_cell,
    whose_cell,
)
from holter.view.grid import Piece


def test_what_is_not_known_is_empty() -> None:
    """And nothing that went wrong is nothing to read."""
    empty = [whose_cell(None), number_cell(None), share_cell(None), time_cell(None), quantity_cell(None, "By")]
    assert [""] * 7 == [cell.text for cell in (*empty, counted_cell(0), age_cell(0.0, hangs=False))]


def test_figures_have_their_units_and_roles() -> None:
    """Errors and what hangs are marked, nothing is dim."""
    assert Piece("1,204", "plain") == number_cell(1204.0)
    assert (Piece("0", "dim"), Piece("2", "bad")) == (number_cell(0.0, "bad"), number_cell(2.0, "bad"))
    assert (Piece("3", "bad"), Piece("50 %"), Piece("12 ms")) == (counted_cell(3), share_cell(0.5), time_cell(0.012))
    assert (Piece("1 GiB"), Piece("12 ms"), Piece("412 W")) == (
        quantity_cell(2.0**30, "By"), quantity_cell(0.012, "s"), quantity_cell(412.0, "W")
    )  # fmt: skip
    assert (Piece("12 s", "bad"), Piece("12 s")) == (age_cell(12.0, hangs=True), age_cell(12.0, hangs=False))
    assert Piece("4121") == whose_cell(4121)


def test_names_are_printable() -> None:
    """On one line, of at most sixty letters; there is always something to see."""
    assert (r"a\x1b[31m\n[red]", "name") == name_cell("a\x1b[31m\n[red]")
    assert "(no name)" == name_cell("").text
    assert 60 == len(name_cell("x" * 1000).text)


def test_a_curve_takes_the_width_that_there_is() -> None:
    """Which is known when all other columns have theirs."""
    draw = curve_cell([1.0, 2.0])
    assert ("  ▄█", "█") == (draw(4), draw(1))
