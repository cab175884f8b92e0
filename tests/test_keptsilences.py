"""Silences of a service: files that all of its processes read."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from contracts.snapshots import START_NS, alert
from holter.errors import ConfigurationError
from holter.keptsilences import LONGEST_MINUTES, MOST, Silences, made, set_for
from holter.model import Silence
from holter.watch import watch
from recording import Recording

MINUTE_NS = 60_000_000_000
NOW_NS = START_NS


def silences(tmp_path: Path | None) -> Silences:
    """Return those of a process."""
    return Silences({}, None if tmp_path is None else tmp_path / "sentiment-1")


@pytest.fixture(params=["files", "memory"])
def one(request: pytest.FixtureRequest, tmp_path: Path) -> Silences:
    """Those of one process, with or without a group."""
    return silences(tmp_path if request.param == "files" else None)


def seen(one: Silences, now_ns: int = NOW_NS, **facts: Any) -> str | None:
    """Return why an alert is not told."""
    one.look(now_ns)
    found = one.of(alert(**facts), now_ns)
    return None if found is None else found.reason


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("limit-1", {}),
        ("limit", {}),
        ("LIMIT", {}),
        ("predict", {}),
        ("predict", {"target": "predict{model=v7}"}),
        ("predict{model=v7}", {"target": "predict{model=v7}"}),
        ("5e1f", {"incident": "5e1f"}),
    ],
)
def test_an_alert_is_silenced_by_any_of_its_names(name: str, facts: dict[str, str], one: Silences) -> None:
    """Its own, that of its check, its target or its incident; whatever their case."""
    set_for(one, name, 5, "deploy", NOW_NS)
    assert "deploy" == seen(one, **facts)
    assert None is seen(one, id="a", check="slo", target="embed", incident="0000")


def test_a_silence_ends_by_itself_or_before_its_time(one: Silences) -> None:
    """The latest of a name holds; of several that cover an alert the one that lasts."""
    assert not one.look(NOW_NS)
    set_for(one, "predict", 5, "deploy", NOW_NS)
    set_for(one, "limit", 7, "noise", NOW_NS)
    assert one.look(NOW_NS)
    assert ("noise", "noise", None) == (
        seen(one, NOW_NS + 1),
        seen(one, NOW_NS + 7 * MINUTE_NS - 1),
        seen(one, NOW_NS + 7 * MINUTE_NS),
    )
    set_for(one, "predict", 60, "a longer deploy", NOW_NS + 2)
    assert "a longer deploy" == seen(one, NOW_NS + 30 * MINUTE_NS)
    set_for(one, "predict", 0, "deployed", NOW_NS + 30 * MINUTE_NS)
    assert None is seen(one, NOW_NS + 30 * MINUTE_NS)


def test_all_processes_of_a_service_know_it(tmp_path: Path) -> None:
    """Whoever has set it, also when that one has ended; those of another service do not."""
    first, second = silences(tmp_path), silences(tmp_path)
    set_for(first, "predict", 5, "deploy", NOW_NS)
    assert ("deploy", "deploy") == (seen(second), seen(silences(tmp_path)))
    assert None is seen(Silences({}, tmp_path / "other-1"))
    (path,) = tmp_path.iterdir()
    assert 0o600 == path.stat().st_mode & 0o777
    set_for(second, "PREDICT", 0, "deployed", NOW_NS + 1)
    assert (None, None) == (seen(second, NOW_NS + 1), seen(first, NOW_NS + 1))
    assert [] == list(tmp_path.iterdir())


def test_one_that_was_set_before_the_monitor_ran_is_kept_when_it_does(tmp_path: Path) -> None:
    """By the monitor that comes after, in the same process."""
    own: dict[str, Silence] = {}
    set_for(Silences(own), "predict", 5, "deploy", NOW_NS)
    assert "deploy" == seen(Silences(own, tmp_path / "sentiment-1"))
    assert ("deploy", {}) == (seen(silences(tmp_path)), own)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"holter_silence":2}', b"\xff", b"[" * 10_000])
def test_what_is_no_silence_is_set_aside_and_said(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Once; the others hold."""
    one = silences(tmp_path)
    set_for(one, "limit", 5, "noise", NOW_NS)
    (tmp_path / "sentiment-1.0123456789ab.silence").write_bytes(content)
    caplog.clear()
    assert ("noise", "noise") == (seen(one), seen(one))
    (line,) = caplog.messages
    assert "holds no silence" in line
    assert content == (tmp_path / "sentiment-1.0123456789ab.silence.aside").read_bytes()


def test_they_are_bounded() -> None:
    """In memory too."""
    own: dict[str, Silence] = {}
    for number in range(MOST + 20):
        set_for(Silences(own), f"call {number}", 5, "noise", NOW_NS)
    assert MOST == len(own)


def test_a_folder_that_cannot_be_written_costs_the_others_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The process that has set it knows it; the log says that others do not."""
    one = Silences({}, tmp_path / "missing" / "sentiment-1")
    set_for(one, "predict", 5, "deploy", NOW_NS)
    assert "deploy" == seen(one)
    assert "other processes do not hear of a silence" in caplog.messages[0]


def test_it_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """What, until when and why; in one line, whatever is given; and that it has ended."""
    one = silences(None)
    set_for(one, "predict\nforged", 5, "deploy\x1b[31m", NOW_NS)
    set_for(one, "predict\nforged", 0, "deployed", NOW_NS)
    first, second = caplog.messages
    assert (True, True) == (first.isprintable(), first.startswith("holter: alerts by the name of predict\\nforged are"))
    assert ("silenced until" in first, "told again" in second) == (True, True)


def test_a_watched_function_stands_for_its_name() -> None:
    """As for checks."""
    assert "predict" == made(watch(Recording().scope, lambda: 0, name="predict"), 5, "deploy", NOW_NS).name


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((3, 5, "deploy"), "name must be that of an alert"),
        (("", 5, "deploy"), "name must have 1 to"),
        (("x" * 1000, 5, "deploy"), "name must have 1 to"),
        (("a", -1, "deploy"), "minutes must be from 0"),
        (("a", LONGEST_MINUTES + 1, "deploy"), "which are seven days"),
        (("a", math.nan, "deploy"), "minutes must be a finite number"),
        (("a", "5", "deploy"), "minutes must be a finite number"),
        (("a", 5, ""), "reason must be a str"),
        (("a", 5, " "), "reason must be a str"),
        (("a", 5, None), "reason must be a str"),
        (("a", 5, "x" * 1000), "reason must be a str"),
    ],
)
def test_what_cannot_work_is_refused(arguments: tuple[Any, ...], words: str) -> None:
    """With what was expected and what came."""
    with pytest.raises(ConfigurationError, match=words):
        made(*arguments, NOW_NS)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """Neither for reading nor for writing, which replaces it."""
    (tmp_path / "other").write_text('{"holter_silence":1,"name":"predict","since_ns":0,"until_ns":9,"reason":"x"}')
    one = silences(tmp_path)
    set_for(one, "predict", 5, "deploy", NOW_NS)
    (path,) = tmp_path.glob("*.silence")
    path.unlink()
    path.symlink_to(tmp_path / "other")
    assert None is seen(one)
