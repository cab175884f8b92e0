"""Numbers with their units, and foreign text, in the form that people read in a terminal or a log line."""

from __future__ import annotations

import math
import re
from typing import Final

_LARGE: Final = 1000.0
_SECOND_UNITS: Final = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
_BYTE_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_BYTE_STEP: Final = 1024.0
_MINUTE: Final = 60
_HOUR: Final = 3600
_DAY: Final = 86_400
_YEAR: Final = 31_557_600
_SPANS: Final = (
    (_YEAR, "year"),
    (7 * _DAY, "week"),
    (_DAY, "day"),
    (_HOUR, "hour"),
    (_MINUTE, "minute"),
    (1, "second"),
)
_LONGEST: Final = 1_000.0 * _YEAR
_ALMOST_ALL: Final = 99.95
# Its attributes, and what of its data is looked at.
_REST: Final = re.compile(r"\{| (?:in|out)puts(?:\.|$)")


def number(value: float) -> str:
    """Return *value* with three significant digits, from 1,000 on as a whole number with separators."""
    if not math.isfinite(value):
        return str(value)
    if abs(value) >= _LARGE:
        return f"{value:,.0f}" if abs(value) < 1e15 else f"{value:.3g}"  # noqa: PLR2004  beyond it digits mean nothing
    short = f"{value:.3g}"
    return f"{float(short):,.0f}" if abs(float(short)) >= _LARGE else short


def count(value: float, noun: str = "") -> str:
    """Return a whole number with separators, and with *noun* in the number that fits: "1,204 calls"."""
    figure = f"{value:,.0f}" if math.isfinite(value) else str(value)
    return f"{figure} {noun if figure in ('1', '-1') else _plural(noun)}" if noun else figure


def duration(seconds: float) -> str:
    """Return a duration as "850 ns", "1.2 ms", "3.4 s", "2 min 5 s", "1 h 3 min" or "2 d 4 h"."""
    if not math.isfinite(seconds):
        return f"{seconds} s"
    sign, length = ("-", -seconds) if seconds < 0 else ("", seconds)
    if length == 0:
        return "0 s"
    # Rounded first, so that 59.97 s becomes "1 min" and 999.7 ms "1 s".
    length = float(f"{length:.3g}") if length < _MINUTE else round(length)
    if length >= _MINUTE:
        return sign + _long_duration(int(length))
    scale, unit = next((pair for pair in _SECOND_UNITS if length >= pair[0]), _SECOND_UNITS[-1])
    return f"{sign}{number(length / scale)} {unit}"


def _long_duration(seconds: int) -> str:
    for large, large_unit, small, small_unit in (
        (_DAY, "d", _HOUR, "h"),
        (_HOUR, "h", _MINUTE, "min"),
        (_MINUTE, "min", 1, "s"),
    ):
        if seconds >= large:
            rest = seconds % large // small
            return f"{seconds // large:,} {large_unit}" + (f" {rest} {small_unit}" if rest else "")
    return f"{seconds} s"


def spans(low: float, high: float) -> str:
    """Return between what a length of time lies, *low* to *high* seconds: "3 to 40 weeks", "5 days to 2 years"."""
    if low >= _LONGEST:
        return f"more than {_span(_LONGEST)}"
    (low_figure, low_unit), (high_figure, high_unit) = _span(low).split(" "), _span(min(high, _LONGEST)).split(" ")
    until = f"{'over ' if high > _LONGEST else ''}{high_figure} {high_unit}"
    if low_unit.rstrip("s") == high_unit.rstrip("s"):
        return until if low_figure == high_figure else f"{low_figure} to {until}"
    return f"{low_figure} {low_unit} to {until}"


def _span(seconds: float) -> str:
    length, unit = next(((length, unit) for length, unit in _SPANS if seconds >= 1.5 * length), _SPANS[-1])
    return count(float(f"{seconds / length:.2g}"), unit)


def size(amount: float) -> str:
    """Return a number of bytes as "512 B", "1.5 KiB" or "64 MiB" (powers of 1,024)."""
    if not math.isfinite(amount):
        return f"{amount} B"
    step = 0
    while abs(float(f"{amount:.4g}")) >= _BYTE_STEP and step < len(_BYTE_UNITS) - 1:
        amount /= _BYTE_STEP
        step += 1
    return f"{number(amount)} {_BYTE_UNITS[step]}"


def ratio(share: float) -> str:
    """Return a share of one as a percentage, "1.25 %"; what falls just short of all is not rounded up to 100 %."""
    percent = 100 * share
    return f"{percent:.6g} %" if _ALMOST_ALL <= percent < 100 else f"{number(percent)} %"  # noqa: PLR2004  percent


def quantity(value: float, unit: str) -> str:
    """
    Return *value* in its UCUM *unit* as people write it: "412 ms", "64 MiB", "12.5 requests", "3.1 MiB/s".

    The unit "1" adds nothing: whether such a value is a share, a loss or a plain number its unit
    does not tell (see `ratio`).
    """
    if unit == "s":
        return duration(value)
    if unit == "By":
        return size(value)
    if unit in ("", "1"):
        return number(value)
    if unit.startswith("{") and unit.endswith("}"):
        figure, noun = number(value), clean(unit[1:-1].replace("_", " "))
        return f"{figure} {noun if figure in ('1', '-1') else _plural(noun)}"
    if unit.endswith("/s"):
        return f"{quantity(value, unit.removesuffix('/s'))}/s"
    return f"{number(value)} {clean(unit)}"


def _plural(noun: str) -> str:
    if noun.endswith("series"):
        return noun
    if noun.endswith(("s", "x", "ch", "sh")):
        return noun + "es"
    if noun.endswith("y") and not noun.endswith(("ay", "ey", "oy", "uy")):
        return noun[:-1] + "ies"
    return noun + "s"


def clean(text: str, limit: int = 120) -> str:
    r"""
    Return *text* on one printable line of at most *limit* characters.

    Line breaks of every kind, escape sequences, NUL, bidirectional overrides, lone surrogates
    and whatever else does not print appear as their Python escapes (``\n``, ``\x1b``), so that
    no name can forge a log line or steer a terminal. What is cut off ends in an ellipsis.
    """
    shown = text[: limit + 1]
    if not shown.isprintable():
        shown = "".join(
            letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in shown
        )
    return shown if len(shown) <= limit else shown[: max(0, limit - 1)] + "…"


def whose(target: str) -> str:
    """Return the call or metric that a *target* is of: "predict" of "predict{model=v7}" and "predict outputs.score"."""
    return _REST.split(target, maxsplit=1)[0]
