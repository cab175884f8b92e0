"""The doctor's lines, on a terminal and elsewhere."""

from __future__ import annotations

import json
from io import BytesIO, StringIO, TextIOWrapper

import pytest

from holter.checkup.finding import Finding
from holter.checkup.page import Page, figures

_EXTRA = Finding("console", "missing", "rich is not installed: colours on a terminal", "pip install 'holter[console]'")


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _in_a_terminal_of_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)


def test_findings_stand_in_columns_under_their_group() -> None:
    """The command that mends has a line of its own, which can be copied whole."""
    stream = StringIO()
    page = Page(stream)
    page.add("installed", Finding("extension", "ok", "in C"))
    page.add("installed", _EXTRA)
    page.add("samplers", Finding("GPUSampler", "absent", "there is no driver"))
    page.add("samplers", Finding("HostSampler", "broken", "yielded nothing"))
    page.close([("samplers", Finding("HostSampler", "broken", "yielded nothing")), ("installed", _EXTRA)])
    assert [
        "installed",
        "  ok  extension           in C",
        "  --  console             rich is not installed: colours on a terminal; to mend it:",
        "                          pip install 'holter[console]'",
        "samplers",
        "  ..  GPUSampler          there is no driver",
        "  !!  HostSampler         yielded nothing",
        "",
        "1 required thing fails. 1 optional thing could be mended.",
    ] == stream.getvalue().splitlines()


def test_members_of_a_group_that_work_share_a_line() -> None:
    """Those that do not have one each."""
    stream = StringIO()
    page = Page(stream)
    for subject, state in (("function", "ok"), ("span", "broken"), ("llm", "ok")):
        page.add("probes", Finding(subject, state, "told"), is_one_of_many=True)
    page.close([])
    assert [
        "probes",
        "  !!  span                told",
        "  ok  probes              2 kinds record and are read back: function, llm",
        "",
        "All that is required works.",
    ] == stream.getvalue().splitlines()


def test_on_a_terminal_lines_are_wrapped_and_coloured() -> None:
    """But for commands, which are there to be copied."""
    stream = Terminal()
    page = Page(stream)
    mend = f"export HOLTER_DIR={'/folder' * 12}"
    page.add("recording", Finding("recordings", "missing", "word " * 30, mend))
    lines = stream.getvalue().splitlines()
    assert "\x1b[33m--\x1b[0m" in lines[1]
    assert f"\x1b[1m{mend}\x1b[0m" in lines[-1]
    assert len(lines) > 4
    assert max(len(line.replace("\x1b[33m", "").replace("\x1b[0m", "")) for line in lines[1:-1]) <= 80


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_colours_can_be_refused(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the variable that all programs know, or by a terminal that has none."""
    monkeypatch.setenv(name, value)
    stream = Terminal()
    Page(stream).add("installed", _EXTRA)
    assert "\x1b" not in stream.getvalue()


def test_what_a_stream_cannot_encode_does_no_harm() -> None:
    """It is replaced, as where the locale is C."""
    raw = BytesIO()
    stream = TextIOWrapper(raw, encoding="ascii")
    Page(stream).add("recording", Finding("recordings", "ok", "in /dev/shm/größe"))
    stream.flush()
    assert b"in /dev/shm/gr??e" in raw.getvalue()


def test_programs_get_one_object() -> None:
    """With null where there is nothing to mend."""
    told = figures(
        [("installed", _EXTRA), ("installed", Finding("extension", "ok", "in C"))], is_well=True, holter="1.0"
    )
    assert {
        "holter": "1.0",
        "is_well": True,
        "findings": [
            {
                "group": "installed",
                "subject": "console",
                "state": "missing",
                "words": "rich is not installed: colours on a terminal",
                "mend": "pip install 'holter[console]'",
            },
            {"group": "installed", "subject": "extension", "state": "ok", "words": "in C", "mend": None},
        ],
    } == json.loads(json.dumps(told))
