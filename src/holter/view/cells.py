"""The cells of the tables of `holter top`: figures in words, each in its role."""

from __future__ import annotations

from typing import Final

from holter import words
from holter.view.courses import sparkline
from holter.view.grid import Cell, Column, Piece, Role, Row
from holter.view.wanted import brief, percent

_NAME: Final = 60
NARROW: Final = 6
"""So wide is a column of durations at least, so that it stays where it is from look to look."""

Sheet = tuple[list[Column], list[Row]]


def name_cell(name: str) -> Piece:
    """Return a name of the user's as it may stand on a line."""
    return Piece(words.clean(name, _NAME) or "(no name)", "name")


def whose_cell(process: int | None) -> Piece:
    """Return the number of a process, nothing where there is none."""
    return Piece("" if process is None else str(process))


def number_cell(value: float | None, role: Role = "plain") -> Piece:
    """Return a plain number, in *role* where it is not nothing."""
    return Piece("" if value is None else words.number(value), role if value else "dim")


def counted_cell(count: int) -> Piece:
    """Return how many failed, nothing where none did."""
    return Piece(words.count(count) if count else "", "bad")


def share_cell(share: float | None) -> Piece:
    """Return a share of one."""
    return Piece("" if share is None else percent(share))


def time_cell(seconds: float | None) -> Piece:
    """Return a duration."""
    return Piece("" if seconds is None else brief(seconds))


def quantity_cell(value: float | None, unit: str) -> Piece:
    """Return a value in its unit."""
    if value is None:
        return Piece("")
    return time_cell(value) if unit == "s" else Piece(words.quantity(value, unit))


def age_cell(seconds: float, *, hangs: bool) -> Piece:
    """Return how long something has been running."""
    return Piece(brief(seconds) if seconds else "", "bad" if hangs else "plain")


def curve_cell(rates: list[float]) -> Cell:
    """Return rates as a curve of whatever width there is."""

    def draw(width: int) -> str:
        return sparkline(rates, width)

    return draw
