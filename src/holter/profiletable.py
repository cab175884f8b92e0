"""A profile as people look at it: a table, and a page with a picture of each column."""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np

from holter import words
from holter.columnprofile import ColumnProfile
from holter.quantiles import QuantileSketch
from holter.tables import Table

_COMMON: Final = ("values", "missing")
_NAME: Final = 60
_CATEGORY: Final = 24
_WIDTH: Final = 240
_HEIGHT: Final = 64
_BARS: Final = 40
_ROWS: Final = 6
_LARGE: Final = 2.0**52
_WHISKER: Final = 0.005
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_STYLE: Final = (
    ".holter-profile{font:14px/1.4 system-ui,sans-serif;max-width:70em}"
    ".holter-profile section{display:inline-block;vertical-align:top;width:250px;margin:0 16px 20px 0;"
    "border-top:1px solid #8886;padding-top:6px}"
    ".holter-profile h2{font-size:15px;margin:0;overflow-wrap:anywhere}"
    ".holter-profile p{margin:0;opacity:.75;font-size:12px}"
    ".holter-profile rect{fill:#4c78a8}.holter-profile text{font:11px system-ui,sans-serif;fill:currentColor}"
)


def tables(columns: Mapping[str, ColumnProfile], label: str | None = None) -> list[Table]:
    """Return a row a column: one table of numbers, one of categories, one of all else."""
    numbers, categories, others = [], [], []
    for name, column in columns.items():
        common = (
            words.clean(name, _NAME) + (" (label)" if name == label else ""),
            words.count(column.count),
            words.ratio(_digits(column.missing / column.rows)) if column.missing else "",
        )
        distinct = "" if column.distinct_count is None else words.count(column.distinct_count)
        if column.numbers is not None:
            numbers.append((*common, distinct, *_ends(column), _related(column)))
        elif column.categories is not None:
            categories.append((*common, distinct, _top(column)))
        else:
            dimensions = "" if column.vectors is None else words.count(column.vectors.dimension)
            others.append((*common, column.kind or "none", dimensions))
    made = [
        Table(
            ("numbers", *_COMMON, "distinct", "min", "median", "max", "with label"),
            tuple(numbers),
            frozenset(range(1, 8)),
        ),
        Table(("categories", *_COMMON, "distinct", "most frequent"), tuple(categories), frozenset({1, 2, 3})),
        Table(("other columns", *_COMMON, "kind", "dimensions"), tuple(others), frozenset({1, 2, 4})),
    ]
    return [one.without_empty() for one in made if one.rows]


def picture(columns: Mapping[str, ColumnProfile], rows: int, label: str | None = None) -> str:
    """Return HTML that shows how each column is distributed; all in it is escaped, and nothing is loaded."""
    cards = "".join(_card(name, column, is_label=name == label) for name, column in columns.items())
    counted = f"{words.count(rows, 'row')}, {words.count(len(columns), 'column')}"
    return f'<div class="holter-profile"><style>{_STYLE}</style><p>{counted}</p>{cards}</div>'


def page(columns: Mapping[str, ColumnProfile], rows: int, label: str | None, title: str) -> str:
    """Return the picture as a page of its own."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="color-scheme" content="light dark"><meta name="viewport" content="width=device-width">'
        "<style>body{font:14px system-ui,sans-serif;margin:2em}table{border-spacing:0 2px;margin:1em 0}"
        "th,td{padding:0 12px 0 0}</style>"
        f"<title>{html.escape(title)}</title></head><body><h1>{html.escape(title)}</h1>"
        f"{picture(columns, rows, label)}{''.join(one.html() for one in tables(columns, label))}</body></html>\n"
    )


# -- the words of a row


def _digits(share: float) -> float:
    return float(f"{share:.2g}")


def _said(value: float, kind: str) -> str:
    if kind != "time":
        return words.number(value)
    try:
        moment = _EPOCH + timedelta(seconds=value)
    except OverflowError:
        return words.number(value)
    return moment.strftime("%Y-%m-%d")


def _ends(column: ColumnProfile) -> tuple[str, str, str]:
    sketch = _sketch(column)
    if sketch is None or not sketch.count:
        return "", "", ""
    middle = float(sketch.quantiles([0.5])[0])
    return (
        _said(sketch.minimum, column.kind),
        _said(middle, column.kind),
        _said(sketch.maximum, column.kind),
    )


def _sketch(column: ColumnProfile) -> QuantileSketch | None:
    """Return what tells best how a column is spread: its numbers, or the lengths of its vectors."""
    if column.numbers is not None:
        return column.numbers.sketch
    return column.vectors.lengths if column.vectors is not None else None


def _top(column: ColumnProfile) -> str:
    found = [
        f"{words.clean(category, _CATEGORY)} {words.ratio(_digits(count / column.count))}"
        for category, count in (column.categories.top(3) if column.categories is not None else ())
        if count > 1
    ]
    return ", ".join(found)


def _related(column: ColumnProfile) -> str:
    strength = column.relation.strength if column.relation is not None else math.nan
    return f"{strength:.2f}" if math.isfinite(strength) else ""


# -- the picture of a column


def _card(name: str, column: ColumnProfile, *, is_label: bool) -> str:
    kind = {"category": "categories", "number": "numbers", "time": "times", "vector": "embeddings"}.get(column.kind, "")
    facts = [("the label, " if is_label else "") + (kind or "nothing that can be shown"), words.count(column.count)]
    if column.missing:
        facts.append(f"{words.ratio(_digits(column.missing / column.rows))} missing")
    if column.invalid:
        facts.append(f"{words.count(column.invalid)} of another kind")
    if column.distinct_count is not None:
        facts.append(f"{words.count(column.distinct_count)} different")
    related = _related(column)
    if related:
        facts.append(f"{related} with the label")
    return (
        f"<section><h2>{html.escape(words.clean(name, _NAME))}</h2><p>{html.escape(', '.join(facts))}</p>"
        f"{_drawn(column)}</section>"
    )


def _drawn(column: ColumnProfile) -> str:
    if column.categories is not None and column.count:
        named = [pair for pair in column.categories.top(_ROWS) if pair[1] > 1]
        if named:
            return _bars(named, column.count)
        return (
            _histogram(column.lengths.sketch, "number", "letters", is_whole=True) if column.lengths is not None else ""
        )
    sketch = _sketch(column)
    if sketch is None or not sketch.count:
        return ""
    is_vector = column.vectors is not None
    is_whole = column.is_whole and not is_vector
    return _histogram(sketch, column.kind, "length" if is_vector else "", is_whole=is_whole)


def _bars(named: Sequence[tuple[str, int]], total: int) -> str:
    most, step = max(count for _, count in named), 14
    left = total - sum(count for _, count in named)
    rows = [*named, ("all others", left)] if left > 0 else list(named)
    most = max(most, left)
    drawn = "".join(
        f'<text x="0" y="{place * step + 11}">{html.escape(words.clean(name, 14))}</text>'
        f'<rect x="96" y="{place * step + 2}" width="{96 * count / most:.1f}" height="10"/>'
        f'<text x="{_WIDTH}" y="{place * step + 11}" text-anchor="end">{words.ratio(_digits(count / total))}</text>'
        for place, (name, count) in enumerate(rows)
    )
    return _svg(drawn, len(rows) * step + 2, f"bars of the most frequent of {len(named)} categories and more")


def _histogram(sketch: QuantileSketch, kind: str, what: str, *, is_whole: bool) -> str:
    """Return bars over equal widths between the outermost half per cents; what lies beyond is in the first and last."""
    low, high = sketch.quantiles([_WHISKER, 1 - _WHISKER]).tolist()
    # Bars of whole numbers hold as many of them each: else some would be short by one.
    step = math.ceil((high - low + 1) / _BARS) if is_whole and kind != "time" and high - low < _LARGE else 0
    with np.errstate(over="ignore"):
        edges = np.arange(low - 0.5, high + step, step) if step else np.linspace(low, high, _BARS + 1)
    if not low < high or not np.isfinite(edges).all():
        shares = np.zeros(_BARS)
        shares[_BARS // 2] = 1.0
    else:
        shares = np.diff(np.concatenate(([0], sketch.at_most(edges[1:-1]), [1])))
    wide, most = _WIDTH / len(shares), float(shares.max())
    bars = "".join(_columns(shares.tolist(), wide, most))
    ends = (
        f'<text x="0" y="{_HEIGHT + 12}">{html.escape(_said(low, kind))}</text>'
        f'<text x="{_WIDTH / 2}" y="{_HEIGHT + 12}" text-anchor="middle">{html.escape(what)}</text>'
        f'<text x="{_WIDTH}" y="{_HEIGHT + 12}" text-anchor="end">{html.escape(_said(high, kind))}</text>'
    )
    return _svg(bars + ends, _HEIGHT + 16, "histogram")


def _columns(shares: Sequence[float], wide: float, most: float) -> Iterator[str]:
    for place, share in enumerate(shares):
        if share > 0:
            height = max(1.0, _HEIGHT * share / most)
            size = f'width="{wide - 1:.1f}" height="{height:.1f}"'
            yield f'<rect x="{place * wide:.1f}" y="{_HEIGHT - height:.1f}" {size}/>'


def _svg(inside: str, height: int, title: str) -> str:
    return f'<svg width="{_WIDTH}" height="{height}" role="img"><title>{html.escape(title)}</title>{inside}</svg>'
