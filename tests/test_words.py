"""What people read: numbers with units, and foreign text made harmless."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holter.words import clean, count, duration, number, quantity, ratio, size, spans


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0 s"),
        (8.5e-7, "850 ns"),
        (1.2345e-6, "1.23 µs"),
        (0.0012, "1.2 ms"),
        (0.412, "412 ms"),
        (0.9996, "1 s"),
        (0.0009996, "1 ms"),
        (3.4, "3.4 s"),
        (59.97, "1 min"),
        (60, "1 min"),
        (125, "2 min 5 s"),
        (124.9, "2 min 5 s"),
        (3780, "1 h 3 min"),
        (3600, "1 h"),
        (187_200, "2 d 4 h"),
        (-0.25, "-250 ms"),
        (1e-12, "0.001 ns"),
        (math.inf, "inf s"),
        (math.nan, "nan s"),
    ],
)
def test_a_duration_is_given_in_the_unit_that_fits(seconds: float, expected: str) -> None:
    """Three significant digits below a minute, two units above."""
    assert duration(seconds) == expected


@pytest.mark.parametrize(
    ("amount", "expected"),
    [
        (0, "0 B"),
        (512, "512 B"),
        (1023.9999, "1 KiB"),
        (1536, "1.5 KiB"),
        (64 * 2**20, "64 MiB"),
        (2**40 - 1, "1 TiB"),
        (-(2**20), "-1 MiB"),
        (2.0**80, "1,048,576 EiB"),
        (math.inf, "inf B"),
    ],
)
def test_a_size_is_given_in_powers_of_1024(amount: float, expected: str) -> None:
    """Bytes take binary prefixes, as memory is counted."""
    assert size(amount) == expected


@pytest.mark.parametrize(
    ("share", "expected"),
    [(0, "0 %"), (0.0125, "1.25 %"), (0.5, "50 %"), (0.999, "99.9 %"), (0.99999, "99.999 %"), (1, "100 %")],
)
def test_a_ratio_is_a_percentage_that_never_rounds_up_to_all(share: float, expected: str) -> None:
    """99.999 % of calls is not 100 % of them."""
    assert ratio(share) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.0, "0"), (0.12345, "0.123"), (999.6, "1,000"), (1204, "1,204"), (-1204.4, "-1,204"), (1e20, "1e+20")],
)
def test_a_number_has_three_significant_digits_or_separators(value: float, expected: str) -> None:
    """No exponent appears where people still count."""
    assert number(value) == expected


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (0.412, "s", "412 ms"),
        (2**26, "By", "64 MiB"),
        (3 * 2**20, "By/s", "3 MiB/s"),
        (0.35, "1", "0.35"),
        (1, "{request}", "1 request"),
        (1204, "{request}", "1,204 requests"),
        (12.5, "{request}/s", "12.5 requests/s"),
        (3, "{context_switch}", "3 context switches"),
        (2, "{entry}", "2 entries"),
        (2, "{key}", "2 keys"),
        (2, "{series}", "2 series"),
        (41, "Cel", "41 Cel"),
        (2, "{a\nb}", "2 a\\nbs"),
    ],
)
def test_a_quantity_is_written_as_its_unit_asks(value: float, unit: str, expected: str) -> None:
    """UCUM units become words."""
    assert quantity(value, unit) == expected


def test_a_count_agrees_with_its_noun() -> None:
    """One call, several calls."""
    assert ["1,204", "1 call", "0 calls", "1,204 calls"] == [
        count(1204),
        count(1, "call"),
        count(0, "call"),
        count(1204, "call"),
    ]


def test_clean_shows_what_does_not_print_as_escapes() -> None:
    """CR, LF, U+2028, ESC, NUL, a bidirectional override and a lone surrogate lose their power."""
    assert clean("a\r\n\u2028\x1b[31m\0\u202e\ud800é") == r"a\r\n\u2028\x1b[31m\x00\u202e\ud800é"


def test_clean_cuts_long_text_and_says_so() -> None:
    """The limit holds for what is shown, escapes included."""
    assert ["x" * 120, "x" * 119 + "…", "\\x00\\…"] == [
        clean("x" * 120),
        clean("x" * 121),
        clean("\0" * 9, limit=6),
    ]


@given(st.text(alphabet=st.characters(), max_size=300), st.integers(min_value=1, max_value=200))
def test_clean_text_is_one_printable_line_within_its_limit(text: str, limit: int) -> None:
    """Whatever the text, it prints on one line and can be written as UTF-8."""
    shown = clean(text, limit)
    shown.encode()
    assert (shown.isprintable(), len(shown) <= limit, len(shown.splitlines()) <= 1) == (True, True, True)


@given(st.floats(allow_nan=True, allow_infinity=True), st.sampled_from(["s", "By", "1", "{call}", "By/s", "W"]))
def test_every_float_has_words(value: float, unit: str) -> None:
    """No value raises."""
    assert quantity(value, unit).isprintable()


@given(st.floats(min_value=1e-9, max_value=59.0))
def test_a_duration_reads_back_within_half_a_percent(seconds: float) -> None:
    """Rounding to three digits moves a duration by at most 0.5 %."""
    figure, unit = duration(seconds).split(" ")
    read = float(figure) * {"s": 1.0, "ms": 1e-3, "µs": 1e-6, "ns": 1e-9}[unit]
    assert read == pytest.approx(seconds, rel=0.00501)


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (3 * 604_800, 40 * 604_800, "3 to 40 weeks"),
        (5 * 86_400, 2 * 31_557_600, "5 days to 2 years"),
        (60, 60, "60 seconds"),
        (5_400, 9e9, "2 hours to 290 years"),
        (1e3, 1e15, "17 minutes to over 1,000 years"),
        (1e12, 1e15, "more than 1,000 years"),
    ],
)
def test_between_what_a_length_lies_has_its_unit_once(low: float, high: float, words: str) -> None:
    """Where it is the same."""
    assert words == spans(low, high)
