"""The file of what checks have learnt: whole, bounded, and set aside where it is not what it should be."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from holter.learnt import Learnt, Lesson, gap_seconds, read, tidy, write
from holter.model import Alert

ALERT = Alert(
    id="slo-1", check="slo", state="firing", severity="critical", since_ns=5, target="predict", expected="a",
    seen="b", message="c", evidence={"rate": 1.5},
)  # fmt: skip


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """States as JSON, alerts as they were."""
    learnt = Learnt(123, {"SLO('x')": Lesson('{"a": [1, 2.5, null]}', (ALERT,)), 'b"\n': Lesson("{}")})
    write(tmp_path / "x.checks", learnt)
    assert learnt == read(tmp_path / "x.checks")
    assert ["x.checks"] == [path.name for path in tmp_path.iterdir()]


def test_nothing_is_read_where_nothing_is(tmp_path: Path) -> None:
    """The first start of a service."""
    assert Learnt() == read(tmp_path / "x.checks")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"holter_checks":2,"saved_ns":1,"checks":{}}',
        b'{"holter_checks":1,"saved_ns":"x","checks":{}}',
        b'{"holter_checks":1,"checks":{}}',
        b'{"holter_checks":1,"saved_ns":1,"checks":[]}',
        b'{"holter_checks":1,"saved_ns":1,"checks":{"a":{"state":{}}}}',
        b'{"holter_checks":1,"saved_ns":1,"checks":{"a":3}}',
        b'{"holter_checks":1,"saved_ns":1,"checks":{},"incidents":{"a":3}}',
        b'{"holter_checks":1,"saved_ns":1,"checks":{},"incidents":[{"id":"a"}]}',
        b'{"holter_checks":1,"saved_ns":1,"checks":{},"incidents":7}',
        b"\xff\xfe" + b"x" * 1000,
        b"[" * 100_000,
    ],
)
def test_what_is_no_such_file_is_set_aside_and_said(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Damaged or of another version: kept to be looked at, under another name."""
    path = tmp_path / "x.checks"
    path.write_bytes(content)
    assert Learnt() == read(path)
    assert content == (tmp_path / "x.checks.aside").read_bytes()
    assert not path.exists()
    (line,) = caplog.messages
    assert "set aside as x.checks.aside" in line
    assert Learnt() == read(path)
    assert 1 == len(caplog.messages)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """Neither for reading nor for writing, which replaces it."""
    (tmp_path / "other").write_text("{}")
    path = tmp_path / "x.checks"
    path.symlink_to(tmp_path / "other")
    assert Learnt() == read(path)
    write(path, Learnt(1))
    assert "{}" == (tmp_path / "other").read_text()
    assert Learnt(1) == read(path)


def test_a_folder_that_cannot_be_written_leaves_no_draft(tmp_path: Path) -> None:
    """The caller hears of it, and what was there still is."""
    with pytest.raises(OSError, match="No such file"):
        write(tmp_path / "missing" / "x.checks", Learnt(1))


def test_the_gap_is_never_negative() -> None:
    """Where the clock has been set back none is known."""
    assert (2.0, 0.0) == (gap_seconds(Learnt(10**9), 3 * 10**9), gap_seconds(Learnt(10**9), 0))


def test_what_nobody_has_run_for_forty_days_is_removed(tmp_path: Path) -> None:
    """With what was set aside; whatever else lies there stays."""
    names = ["a.checks", "b.checks", "b.checks.aside", ".b.checks.4711", "c.holter", "d.1.silence", "e.1.silence"]
    for name, age_days in zip(names, (39, 41, 41, 41, 41, 7, 9), strict=True):
        (tmp_path / name).write_text("")
        os.utime(tmp_path / name, (time.time() - age_days * 86_400,) * 2)
    tidy(tmp_path)
    assert ["a.checks", "c.holter", "d.1.silence"] == sorted(path.name for path in tmp_path.iterdir())
