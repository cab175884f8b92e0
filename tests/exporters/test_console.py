"""The live summary on a terminal, in a pipe, with rich and without."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contracts.exporter import ExporterContract
from contracts.snapshots import alert, busy_story
from holter.errors import ConfigurationError
from holter.exporters.console import Console, render
from holter.report import summarise
from simulation import World

ESCAPE = "\x1b["


class TestContract(ExporterContract):
    """The console keeps the contract of every exporter."""

    def build(self, folder: Path, **options: Any) -> Console:
        """Return a console that prints into memory."""
        del folder
        return Console(io.StringIO(), **options)

    def text(self, exporter: Console) -> str:
        """Return what has been printed."""
        return exporter._stream.getvalue()


def printed(world: World, *alerts: Any) -> str:
    """Return what a console prints of one interval."""
    stream = io.StringIO()
    Console(stream).export(world.snapshot(), alerts)
    return stream.getvalue()


def on_a_terminal(show: Any) -> str:
    """Return what *show* sends to a real terminal."""
    main, side = pty.openpty()
    with os.fdopen(side, "w", encoding="utf-8") as stream:
        show(stream)
        stream.flush()
        received = os.read(main, 1_000_000)
    os.close(main)
    return received.decode().replace("\r\n", "\n")


def test_it_prints_the_last_period() -> None:
    """Time, service, the calls of the period alone, and the process."""
    world = World(seconds=10)
    world.call("predict", np.full(500, 0.01))
    printed(world)
    world.call("predict", np.full(40, 0.02), units=400)
    world.values(world.one("process.memory.usage", "gauge", "By"), [2**28])
    lines = printed(world).split("\n")
    assert lines[0].endswith("sentiment v7, the last 10 s")
    assert ["predict", "40", "4/s", "20", "ms"] == lines[2].split()[:5]
    assert "process  memory 256 MiB, peak 256 MiB" == lines[3]


def test_alerts_come_first_with_their_next_step() -> None:
    """Severity, state, message, what to do; a resolved one too."""
    text = printed(World(), alert(), alert(id="2", state="resolved", severity="info", next_step=""))
    lines = text.split("\n")
    assert lines[0].startswith("critical alert, firing since ")
    assert "predict is slow. look at its stages" in " ".join(lines[:2])
    assert any(line.startswith("info alert, resolved since ") for line in lines)


def test_the_verdict_is_told_while_something_is_wrong() -> None:
    """It keeps a history of what it exports, and says what changed in it, once that is sure."""
    stream, world = io.StringIO(), World()
    console = Console(stream)
    for index in range(30):
        world.call("predict", np.full(100, 0.01))
        world.call("predict", np.full(50 if index >= 15 else 0, 0.01), "ValueError")
        if index == 14:
            assert "errors rose" not in stream.getvalue()
        console.export(world.snapshot(), [])
    assert "predict: errors rose from 0 % to 33.3 %" in stream.getvalue()


def test_an_alert_that_goes_on_is_told_each_period_until_it_resolves() -> None:
    """Who looks later sees it too."""
    stream, world = io.StringIO(), World()
    console = Console(stream)
    seen = []
    for news in ([alert()], [], [alert(state="resolved")], []):
        start = len(stream.getvalue())
        console.export(world.snapshot(), news)
        seen.append(stream.getvalue()[start:].count("predict is slow"))
    assert [1, 1, 1, 0] == seen


def test_a_terminal_gets_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same text as a pipe, styled by rich."""
    monkeypatch.setenv("TERM", "xterm-256color")
    summary = summarise(busy_story().snapshot())
    shown = on_a_terminal(lambda stream: render(summary, stream))
    assert ESCAPE in shown
    from rich.text import Text  # noqa: PLC0415  rich is an extra, this test needs it

    assert str(summary) == Text.from_ansi(shown).plain.rstrip("\n")


def test_no_color_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    """With NO_COLOR set no colour reaches the terminal."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", "1")
    shown = on_a_terminal(lambda stream: render(summarise(busy_story().snapshot()), stream))
    assert f"{ESCAPE}1;3" not in shown


@pytest.mark.parametrize("name", ["[bold red]x[/bold red]", "[/]", ":smile:", "[link=file:///etc]y[/link]"])
def test_markup_in_names_is_text(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rich interprets nothing of what a user called a function."""
    monkeypatch.setenv("TERM", "xterm-256color")
    world = World()
    world.call(name, [0.1])
    snapshot = world.snapshot()
    shown = on_a_terminal(lambda stream: Console(stream).export(snapshot, []))
    assert name[:6] in shown


def test_a_pipe_gets_plain_text() -> None:
    """No escape sequence in a file."""
    stream = io.StringIO()
    summary = summarise(busy_story().snapshot())
    render(summary, stream)
    assert f"{summary}\n" == stream.getvalue()


def test_a_terminal_without_rich_gets_plain_text() -> None:
    """Rich is an extra: without it the text is the same, without colours."""
    program = (
        "import sys; sys.modules['rich'] = sys.modules['rich.text'] = None\n"
        "from contracts.snapshots import busy_story\n"
        "from holter.exporters.console import render\nfrom holter.report import summarise\n"
        "render(summarise(busy_story().snapshot()))"
    )
    environment = {**os.environ, "TERM": "xterm-256color", "PYTHONPATH": os.pathsep.join(sys.path)}
    main, side = pty.openpty()
    subprocess.run([sys.executable, "-c", program], stdout=side, env=environment, check=True)
    os.close(side)
    received = b""
    while chunk := _read(main):
        received += chunk
    os.close(main)
    assert (True, False) == (b"predict" in received, b"\x1b" in received)


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # the other side is closed
        return b""


def test_a_reader_that_has_gone_is_an_oserror() -> None:
    """The monitor counts it; nothing else breaks."""
    read, write = os.pipe()
    os.close(read)
    stream = os.fdopen(write, "w")
    with pytest.raises(BrokenPipeError):
        Console(stream).export(busy_story().snapshot(), [])
    with pytest.raises(BrokenPipeError):
        stream.close()


def test_a_closed_stream_is_an_oserror() -> None:
    """As a reader that has gone."""
    stream = io.StringIO()
    stream.close()
    with pytest.raises(OSError, match="closed"):
        Console(stream).export(busy_story().snapshot(), [])


def test_an_encoding_without_our_letters_gets_question_marks() -> None:
    """A terminal that knows ASCII only shows all that it can."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    world = World()
    world.call("模型", [0.00002])
    Console(stream).export(world.snapshot(), [])
    assert b"20 ?s" in raw.getvalue()


def test_it_writes_to_standard_error_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    """What the program itself prints stays clean; the stream is looked up when it is needed."""
    Console().export(busy_story().snapshot(), [])
    captured = capsys.readouterr()
    assert ("", True) == (captured.out, "predict" in captured.err)


def test_a_summary_goes_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    """It is what the program was asked for."""
    render(summarise(busy_story().snapshot()))
    assert "predict" in capsys.readouterr().out


def test_a_stream_must_take_text() -> None:
    """What cannot be written to is refused when it is given."""
    with pytest.raises(ConfigurationError, match="stream"):
        Console("console.txt")
