"""`holter top --once`: the figures of a program as text and as JSON, and what is said where there is none."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import pytest

from holter.cli import main
from watchedprograms import Program

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="recordings need Linux")


Command: TypeAlias = "Callable[..., Done]"
Figures: TypeAlias = "Callable[..., Any]"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder for recordings."""
    tmp_path.chmod(0o700)
    return tmp_path


@pytest.fixture
def program(folder: Path) -> Iterator[Program]:
    """A program that records there."""
    with Program(folder) as one:
        yield one


class Done(NamedTuple):
    """How the command has ended, and what it has said."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def command(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run the command on the recordings of the folder, in this process."""
    monkeypatch.setenv("HOLTER_DIR", str(folder))

    def run(*arguments: object) -> Done:
        try:
            code = main(["top", *map(str, arguments)])
        except SystemExit as end:
            code = end.code
        return Done(code, *capsys.readouterr())

    return run


@pytest.fixture
def figures(command: Command) -> Callable[..., Any]:
    """Return what it tells as JSON."""

    def read(*arguments: object) -> Any:
        done = command("--once", "--json", "--interval", "0.1", *arguments)
        assert (0, "", 1) == (done.returncode, done.stderr, done.stdout.count("\n"))
        return json.loads(done.stdout)

    return read


def test_json_tells_figures_that_are_known(program: Program, figures: Figures) -> None:
    """Each call to the last one, what runs and for how long, whose process it is."""
    program.do("work 1234")
    program.do("fail 17")
    program.do("hang")
    found = figures()
    calls = {call["name"]: call for call in found["calls"]}
    assert (1251, 17, 0, 0.0) == tuple(calls["predict"][name] for name in ("total", "failed", "in_flight", "rate"))
    assert (0, 1, None, False) == tuple(calls["wait"][name] for name in ("total", "in_flight", "p50", "hangs"))
    assert calls["wait"]["oldest_seconds"] > 0.1
    (process,) = found["processes"]
    assert (program.pid, "sentiment", "v7", "running") == tuple(
        process[name] for name in ("pid", "service", "version", "state")
    )
    assert found["machine"]["process_memory_bytes"] > 2**20
    assert 0.1 <= found["interval_seconds"]
    assert ([], []) == (found["gpus"], found["energy"]), "it has no GPU"


def test_text_tells_it_to_people(folder: Path, program: Program, command: Command) -> None:
    """By the name of the service, the number of the process or the path of its recording."""
    program.do("work 100")
    (path,) = folder.glob("*.holter")
    for which in ("sentiment", program.pid, path):
        done = command(which, "--once", "--interval", "0.1")
        assert (0, "") == (done.returncode, done.stderr)
        assert done.stdout.startswith(f"sentiment v7  process {program.pid} on ")
        assert "\npredict" in done.stdout


def test_a_program_that_is_stopped_is_told_from_outside(program: Program, command: Command, figures: Figures) -> None:
    """Its open call grows older, and it says that nothing was written."""
    program.do("work 10")
    program.do("hang")
    os.kill(program.pid, signal.SIGSTOP)
    try:
        before = figures()["processes"][0]
        while before["state"] != "silent":
            before = figures()["processes"][0]
        found = figures()
        after = found["processes"][0]
        assert ("silent", "T", 0.0) == (after["state"], after["system_state"], after["cpus"])
        assert after["silent_seconds"] > before["silent_seconds"] > 3
        assert after["oldest_seconds"] > before["oldest_seconds"]
        assert 10 == next(call["total"] for call in found["calls"] if call["name"] == "predict")
        assert "it is stopped by a signal" in command("--once", "--interval", "0.1").stdout
    finally:
        os.kill(program.pid, signal.SIGCONT)


def test_a_program_that_was_killed_leads_to_its_post_mortem(
    program: Program, command: Command, figures: Figures
) -> None:
    """The last state, exact to the last call, and the command with the path, which runs."""
    program.do("work 321")
    program.process.kill()
    program.process.wait()
    found = figures("sentiment")
    assert ("dead", 321) == (found["processes"][0]["state"], found["calls"][0]["total"])
    text = command(program.pid, "--once", "--interval", "0.1").stdout
    step = next(line for line in text.splitlines() if line.startswith("Next: holter postmortem "))
    done = subprocess.run(
        [sys.executable, "-m", *step.removeprefix("Next: ").split()], capture_output=True, text=True, check=False
    )
    assert (0, True) == (done.returncode, "\npredict    321" in done.stdout)


def test_several_processes_are_summed_or_apart(folder: Path, program: Program, figures: Figures) -> None:
    """All of a service by its name, with the figures of each beside; one by its number."""
    with Program(folder) as other:
        program.do("work 10")
        other.do("work 20")
        found = figures("sentiment")
        assert [(None, 30)] == [(call["process"], call["total"]) for call in found["calls"]]
        assert {program.pid, other.pid} == {process["pid"] for process in found["processes"]}
        apart = {call["process"]: call["total"] for call in figures("sentiment", "--apart")["calls"]}
        assert {program.pid: 10, other.pid: 20} == apart
        assert [20] == [call["total"] for call in figures(other.pid)["calls"]]


def test_it_writes_nothing(folder: Path, program: Program, figures: Figures) -> None:
    """No file is made, and of none the permissions allow more than reading."""
    program.do("work 10")
    program.process.kill()
    program.process.wait()
    before = sorted(folder.iterdir())
    (path,) = folder.glob("*.holter")
    content = path.read_bytes()
    folder.chmod(0o500)
    path.chmod(0o400)
    try:
        assert 10 == figures("sentiment")["calls"][0]["total"]
    finally:
        folder.chmod(0o700)
    assert (before, content) == (sorted(folder.iterdir()), path.read_bytes())


def test_hostile_names_steer_no_terminal(folder: Path, command: Command, figures: Figures) -> None:
    """Neither as text nor as JSON."""
    with Program(folder, "\x1b[31m[red]\u202e") as one:
        one.do(r"named \x1b]0;owned\x07\u4e00[bold]\n")
        done = command("--once", "--interval", "0.1")
        assert not {"\x1b", "\x07", "\u202e"} & set(done.stdout)
        assert r"\x1b]0;owned\x07一[bold]\n" in done.stdout
        assert r"\x1b[31m[red]\u202e" == figures()["processes"][0]["service"]


def test_where_it_is_not_clear_what_is_meant_it_says_so(folder: Path, program: Program, command: Command) -> None:
    """In a line on stderr: 1 where there is nothing, 2 where there is too much or the options do not fit."""
    with Program(folder, "other"):
        done = command("--once")
        assert (2, "") == (done.returncode, done.stdout)
        assert "several processes record, name one of them:" in done.stderr
        assert f"  sentiment, process {program.pid}\n" in done.stderr
    for code, arguments, reason in (
        (1, ("nobody", "--once"), f"no recording of service nobody in {folder}"),
        (1, (str(folder / "none.holter"), "--once"), "No such file"),
        (1, ("sentiment", "--group", "canary", "--once"), "no recording of service sentiment"),
        (2, ("--json",), "--json goes with --once"),
        (2, (), "needs a terminal: use --once"),
        (2, ("--interval", "0"), "expected seconds greater than 0"),
        (2, ("--interval", "x"), "expected seconds greater than 0"),
    ):
        done = command(*arguments)
        assert (code, "") == (done.returncode, done.stdout)
        assert reason in done.stderr


def test_neither_the_library_nor_the_command_loads_textual() -> None:
    """It takes a third of a second, and is needed for the live view alone."""
    program = "import holter, holter.cli, sys; sys.exit('textual' in sys.modules or 'rich' in sys.modules)"
    assert 0 == subprocess.run([sys.executable, "-c", program], check=False).returncode
