"""`holter top` in a real terminal, on programs that live, hang and are killed."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from holter.tables import cell_width
from terminals import Terminal
from watchedprograms import Program

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="recordings need Linux"),
    pytest.mark.skipif(shutil.which("tmux") is None, reason="install it with: apt-get install tmux"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder for recordings."""
    tmp_path.chmod(0o700)
    return tmp_path


@pytest.fixture
def program(folder: Path) -> Iterator[Program]:
    """A program that records there, and has made some calls."""
    with Program(folder) as one:
        one.do("work 1000")
        yield one


def top(folder: Path, *arguments: object, columns: int = 80, lines: int = 24) -> Terminal:
    """Return a terminal in which the folder's processes are watched."""
    command = [sys.executable, "-m", "holter", "top", "--interval", "0.2", *map(str, arguments)]
    return Terminal(command, columns, lines, HOLTER_DIR=str(folder))


def age(screen: str, call: str) -> float:
    """Return how long the oldest open call of that name has been running, in seconds; 0 if it does not say."""
    row = next((line for line in screen.splitlines() if line.startswith(call)), "")
    found = re.search(r" 1 +(?:(\d+) min )?([\d.]+) s(?: |$)", row)
    return 60 * float(found[1] or 0) + float(found[2]) if found else 0.0


def aged(call: str, seconds: float) -> Callable[[str], bool]:
    """Return whether a screen shows a call that has been running for longer than that."""
    return lambda screen: age(screen, call) > seconds


def test_a_live_program_is_shown_and_keys_are_obeyed(folder: Path, program: Program) -> None:
    """Calls with their figures, sorted as asked for; help; a pause in which nothing changes; the end."""
    with top(folder) as terminal:
        screen = terminal.until("predict")
        assert screen.startswith(f"sentiment v7  process {program.pid} on ")
        assert "calls/s▾" in screen
        assert "q quit" in screen.splitlines()[-1]
        program.do("fail 50")
        terminal.until("ValueError")
        terminal.press("s")
        terminal.until("p99▾")
        terminal.press("r")
        terminal.until("p99▴")
        terminal.press("?")
        terminal.until("the other way round")
        terminal.press("Escape")
        terminal.until("p99▴")
        terminal.press("w")
        terminal.until(lambda screen: "the last 0" not in screen and "the last 200 ms" not in screen)
        terminal.press("p")
        paused = terminal.until("PAUSED").splitlines()[:-1]
        program.do("work 500")
        assert paused == terminal.screen().splitlines()[:-1]
        terminal.press("p")
        terminal.until(lambda screen: "PAUSED" not in screen)
        terminal.press("q")
        terminal.until("ended with 0")


def test_a_selected_call_stays_selected(folder: Path, program: Program) -> None:
    """It is shown in reverse, and follows its call when the order changes."""
    program.do("hang")
    with top(folder) as terminal:
        terminal.until("wait")
        terminal.press("Down")
        terminal.press("Down")

        def selected(_: str) -> bool:
            lines = terminal.screen(escapes=True).splitlines()
            marked = [line for line in lines if re.search(r"\x1b\[[0-9;]*\b7[;m]", line)]
            return len(marked) == 1 and "wait" in marked[0]

        terminal.until(selected)
        terminal.press("s")
        terminal.until("p99▾")
        terminal.until(selected)


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60), (60, 12)])
def test_every_size_is_filled_and_none_overflows(folder: Path, program: Program, size: tuple[int, int]) -> None:
    """From the beginning, and after the terminal was given another size."""
    columns, lines = size
    with top(folder, columns=columns, lines=lines) as terminal:
        terminal.until("predict")
        for width, height in (size, (81, 25), size):
            terminal.resize(width, height)
            screen = terminal.until(lambda shown, wide=width, high=height: fits(shown, wide, high))
            assert "predict" in screen


def fits(screen: str, columns: int, lines: int) -> bool:
    """Whether a screen is as high as the terminal, its last line the keys', and no line wider than it."""
    shown = screen.splitlines()
    is_full = len(shown) == lines and shown[-1].startswith("q quit")
    return is_full and all(cell_width(line) <= columns for line in shown) and "sentiment" in shown[0]


def test_a_stopped_program_ages_before_ones_eyes(folder: Path, program: Program) -> None:
    """It has written nothing for ever longer, and its open call grows older, until it goes on."""
    program.do("hang")
    with top(folder, program.pid) as terminal:
        terminal.until("wait")
        os.kill(program.pid, signal.SIGSTOP)
        try:
            screen = terminal.until("HANGS: it has written nothing for")
            assert "stopped by a signal" in screen
            assert f"Next: kill -CONT {program.pid}" in screen
            before = age(screen, "wait")
            terminal.until(aged("wait", before + 1))
        finally:
            os.kill(program.pid, signal.SIGCONT)
        terminal.until(lambda screen: "HANGS" not in screen)


def test_a_program_that_holds_the_gil_is_seen_to_hang(folder: Path, program: Program) -> None:
    """Its own threads cannot run any more, from outside its open calls still grow older."""
    program.do("hang")
    program.do("hold")
    with top(folder, program.pid) as terminal:
        screen = terminal.until("HANGS: it has written nothing for")
        assert "asleep, using no CPU" in terminal.until("asleep")
        before = age(screen, "wait")
        terminal.until(aged("wait", before + 1))
        assert f"py-spy dump --pid {program.pid}" in screen


def test_a_program_that_is_killed_leaves_its_last_state(folder: Path, program: Program) -> None:
    """It says so, shows the figures as they were, and the next step; a new one of that name comes into sight."""
    program.do("hang")
    with top(folder, "sentiment", columns=120) as terminal:
        terminal.until("wait")
        program.process.kill()
        program.process.wait()
        screen = terminal.until("DIED: last heard of at")
        (path,) = folder.glob("*.holter")
        assert f"Next: holter postmortem {path}" in screen
        assert {"predict", "wait"} <= {line.split(" ")[0] for line in screen.splitlines()}
        assert "1,000" in screen
        with Program(folder) as successor:
            screen = terminal.until("1 of 2 processes, summed  running")
            states = dict(re.findall(r"^(dead|running) +(\d+)", screen, re.MULTILINE))
            assert {"dead": str(program.pid), "running": str(successor.pid)} == states


def test_a_program_that_ends_well_is_no_death(folder: Path, program: Program) -> None:
    """Its recording has gone, what was seen last stays."""
    with top(folder, program.pid) as terminal:
        terminal.until("predict")
        program.process.stdin.close()
        program.process.wait()
        # Between the end of the recording and that of the process it says so only as far as can be told.
        screen = terminal.until("ago. Below is its last state.")
        assert "ENDED well at" in screen
        assert "as far as can be told" not in screen
        assert "DIED" not in screen
        assert "predict" in screen


def test_what_to_look_at_is_asked_where_several_run(folder: Path, program: Program) -> None:
    """A list, of which one is chosen; `o` asks again."""
    with Program(folder, "other") as other:
        other.do("work 10")
        with top(folder) as terminal:
            screen = terminal.until(f"other, process {other.pid}")
            assert f"sentiment, process {program.pid}" in screen
            terminal.press("Enter")
            terminal.until(lambda shown: shown.startswith("other v7"))
            terminal.press("o")
            terminal.until("What to look at")
            terminal.press("Down")
            terminal.press("Enter")
            terminal.until(lambda shown: shown.startswith("sentiment v7"))


def test_processes_of_a_service_are_summed_or_apart(folder: Path, program: Program) -> None:
    """A key goes from one to the other."""
    with Program(folder) as other:
        other.do("work 10")
        with top(folder, "sentiment", lines=40) as terminal:
            terminal.until("2 processes, summed")
            terminal.press("g")
            screen = terminal.until("2 processes, each")
            screen = terminal.until(lambda shown: shown.count("\npredict") == 2)
            assert {str(program.pid), str(other.pid)} == set(re.findall(r"^predict +(\d+)", screen, re.MULTILINE))


def test_hostile_names_are_shown_as_text(folder: Path) -> None:
    """Escapes, markup, line breaks and wide letters in names of services and calls change nothing else."""
    with Program(folder, "\x1b[31m[red]\u202e") as program:
        program.do(r"named \x1b]0;owned\x07\u4e00[bold]\n[/]")
        with top(folder, columns=120) as terminal:
            screen = terminal.until("[bold]")
            assert r"\x1b[31m[red]\u202e v7" in screen.splitlines()[0]
            assert r"\x1b]0;owned\x07一[bold]\n[/]" in screen
            terminal.until(lambda shown: fits_hostile(shown, 120))


def fits_hostile(screen: str, columns: int) -> bool:
    """Whether no line is wider than the terminal, and the keys are where they belong."""
    return all(cell_width(line) <= columns for line in screen.splitlines()) and "q quit" in screen.splitlines()[-1]


def test_without_textual_the_command_says_what_to_install(folder: Path, program: Program, tmp_path: Path) -> None:
    """With the line that does it, and what works without."""
    (tmp_path / "textual.py").write_text("raise ImportError('No module named textual')")
    command = [sys.executable, "-m", "holter", "top"]
    with Terminal(command, HOLTER_DIR=str(folder), PYTHONPATH=str(tmp_path)) as terminal:
        screen = terminal.until("ended with 1")
        assert "pip install 'holter[top]'" in screen
        assert "holter top --once" in screen
