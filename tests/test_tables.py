"""Tables and notes as text and as HTML."""

from __future__ import annotations

import unicodedata
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from holter.tables import NO_BREAK, Notes, Table, cell_width, fitted, shortened, wrapped
from holter.words import clean

TEXT = st.text(max_size=90).map(clean)
CELLS = st.lists(st.tuples(TEXT, TEXT, st.text("0123456789,. ms", max_size=9)), min_size=1, max_size=12)


@given(CELLS, st.integers(20, 100))
def test_no_line_is_wider_than_asked_for(cells: list[tuple[str, str, str]], width: int) -> None:
    """Whatever the names, Chinese ones and combining letters too."""
    table = Table(("calls", "place", "p50"), tuple(cells), frozenset({2}))
    assert max(cell_width(line) for _, line in table.lines(width)) <= width


@given(st.text(max_size=60), st.integers(2, 70))
def test_a_short_form_keeps_both_ends(text: str, width: int) -> None:
    """What fits stays as it is; of the rest the middle goes."""
    short = shortened(text, width)
    assert cell_width(short) <= width
    if cell_width(text) <= width:
        assert text == short
    else:
        head, _, tail = short.rpartition("…")
        assert text.startswith(head)
        assert text.endswith(tail)


def test_columns_are_aligned() -> None:
    """Names to the left, numbers to the right, two blanks between."""
    table = Table(("calls", "count"), (("predict", "1,204"), ("f", "3")), frozenset({1}), more=2)
    assert ["calls    count", "predict  1,204", "f            3", "and 2 more"] == [line for _, line in table.lines()]


def test_a_crowded_table_moves_together_before_it_shortens_names() -> None:
    """One blank between columns is enough where two do not fit."""
    table = Table(("a", "b"), (("x" * 10, "1"),), frozenset({1}))
    assert ["xxxxxxxxxx  1", "xxxxxxxxxx 1", "xx…xxxxxx 1"] == [table.lines(width)[1][1] for width in (13, 12, 11)]


def test_wide_letters_take_two_cells() -> None:
    """A column of Chinese names lines up on a terminal."""
    table = Table(("a", "n"), (("模型", "1"), ("abcd", "2")), frozenset({1}))
    assert [7, 7, 7] == [cell_width(line) for _, line in table.lines()]
    assert (4, 1, 0) == (cell_width("模型"), cell_width("é"), cell_width("\u0301"))


def test_empty_columns_are_left_out() -> None:
    """Units that nobody counts take no room."""
    table = Table(("a", "b", "c"), (("x", "", "1"), ("y", "", "2")), frozenset({1, 2}))
    assert Table(("a", "c"), (("x", "1"), ("y", "2")), frozenset({1})) == table.without_empty()


def test_notes_are_wrapped_beside_their_labels() -> None:
    """Parts that belong together stay on one line."""
    notes = Notes((("host", f"CPU{NO_BREAK}61{NO_BREAK}%, memory{NO_BREAK}43{NO_BREAK}%"), ("x", "short")))
    assert ["host  CPU 61 %,", "      memory 43 %", "x     short"] == [line for _, line in notes.lines(18)]


@given(st.lists(st.tuples(st.integers(1, 30), st.booleans()), max_size=8), st.integers(30, 60))
def test_blocks_fit_the_height(sizes: list[tuple[int, bool]], height: int) -> None:
    """However many rows there are, each block keeps one, and says how many it does not show."""
    blocks = [
        Table(("a", "n"), tuple((f"{number}", "1") for number in range(size)), frozenset({1}), kept=4 if is_kept else 1)
        for size, is_kept in sizes
    ]
    lines = fitted(blocks, height)
    assert len(lines) <= height
    assert len(blocks) == sum(role == "header" for role, _ in lines)
    shown = sum(role == "row" for role, _ in lines)
    told = sum(int(text.split()[1]) for role, text in lines if role == "note")
    assert sum(size for size, _ in sizes) == shown + told


def test_the_longest_block_gives_first() -> None:
    """And one that keeps its rows only when the others have given theirs."""

    def rows(count: int) -> tuple[tuple[str, str], ...]:
        return tuple((str(number), "1") for number in range(count))

    important, long = Table(("a", "n"), rows(4), kept=4), Table(("b", "n"), rows(9))
    text = [line for _, line in fitted([important, long], 12)]
    assert ["0  1", "1  1", "2  1", "3  1"] == text[2:6]
    assert "and 6 more" == text[-1]


def test_blank_lines_go_before_rows_that_are_kept() -> None:
    """A block that is to be whole loses rows only where there is no other room."""
    whole = Notes((("host", "CPU"), ("holter", "1 %"), ("python", "3.11")), kept=40)
    short = Table(("b", "n"), (("0", "1"),))
    assert ["b  n", "0  1", "host    CPU", "holter  1 %", "python  3.11"] == [
        line for _, line in fitted([short, whole], 5)
    ]
    assert 7 == len(fitted([short, whole], 7))
    assert 4 == len(fitted([short, whole], 4))


class _Cells(HTMLParser):
    """Collects tags and the text between them."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=40))
def test_html_escapes_every_cell(text: str) -> None:
    """What a name holds is shown, never run."""
    hostile = f"<script>{text}</script>&amp;"
    parser = _Cells()
    parser.feed(Table((hostile,), ((hostile,),)).html() + Notes(((hostile, hostile),)).html())
    parser.close()
    assert {"table", "thead", "tbody", "tr", "th", "td", "p", "b"} == parser.tags
    assert parser.text.count("<script>") == 4


@given(st.text(max_size=200), st.integers(4, 80))
def test_wrapped_lines_are_no_wider_than_asked_for(text: str, width: int) -> None:
    """Even where letters take two cells."""
    plain = clean(unicodedata.normalize("NFC", text), 500)
    assert all(cell_width(line) <= width for line in wrapped(plain, width))
