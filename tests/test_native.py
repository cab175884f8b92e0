"""The ring of the extension without Python: raced against readers, and against SIGKILL."""

from __future__ import annotations

import json
import shutil
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent / "native" / "ring_race.c"
HEADERS = Path(__file__).parent.parent / "src" / "holter" / "_native"
COMPILER = shutil.which("gcc") or shutil.which("clang")

NO_FAULT, NO_BUSY_MARK, COMMIT_FIRST = range(3)
SECOND_LOOK, ONE_LOOK, NO_ATOMICS = range(3)
WHOLE = {"torn": 0, "missing": 0, "miscounted": 0, "misnamed": 0}

pytestmark = pytest.mark.skipif(
    COMPILER is None or not HEADERS.is_dir(),
    reason="needs a C compiler, `apt install gcc libc6-dev`, and holter's sources, `git clone` them",
)
Build = Callable[..., Path]


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Returns the program, compiled with the options that are given."""
    folder = tmp_path_factory.mktemp("native")

    def compiled(*options: str) -> Path:
        program = folder / "-".join(["ring_race", *(option.strip("-").replace("=", "-") for option in options)])
        if not program.exists():
            command = [COMPILER, "-std=c11", "-O2", "-g", "-Wall", "-Wextra", "-Werror", "-pthread", f"-I{HEADERS}"]
            subprocess.run([*command, *options, SOURCE, "-o", program], check=True)
        return program

    return compiled


def figures(program: Path, *arguments: object) -> dict[str, int]:
    """Return what the *program* prints."""
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, check=True, timeout=100)
    found: dict[str, int] = json.loads(done.stdout)
    return found


def torn(program: Path, *arguments: object) -> int:
    """Return how many records the *program* takes that are none, at the first of 20 runs that has any."""
    return next(filter(None, (figures(program, *arguments)["torn"] for _ in range(20))), 0)


def test_every_source_is_built() -> None:
    """One that is left out of the extension leaves everybody without it, and nothing else fails for that."""
    project = tomllib.loads((HEADERS.parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
    (extension,) = project["tool"]["setuptools"]["ext-modules"]
    assert sorted(extension["sources"]) == sorted(f"src/holter/_native/{path.name}" for path in HEADERS.glob("*.c"))


def test_a_reader_beside_the_writer_takes_no_torn_record(build: Build) -> None:
    """Five million records pass through a ring of eight, and what is read of them is whole."""
    found = figures(build(), "live", 5_000_000)
    assert found.pop("accepted") > 10_000
    assert found == WHOLE


@pytest.mark.parametrize(
    ("fault", "reader"),
    [(NO_FAULT, ONE_LOOK), (NO_BUSY_MARK, SECOND_LOOK), (COMMIT_FIRST, SECOND_LOOK)],
    ids=["one look", "no busy mark", "commit first"],
)
def test_a_reader_takes_torn_records_where_the_protocol_is_not_kept(build: Build, fault: int, reader: int) -> None:
    """Without the second look, the busy mark or the order of payload and commit, some are torn."""
    assert torn(build(), "live", 5_000_000, fault, reader)


def test_threads_race_only_where_they_may(build: Build) -> None:
    """ThreadSanitizer has nothing to report."""
    # It does not understand fences, and the compiler warns of that; what is read past them is atomic.
    program = build("-fsanitize=thread", *(["-Wno-tsan"] if Path(COMPILER or "").name == "gcc" else []))
    found = figures(program, "live", 200_000)
    assert found.pop("accepted") > 1000
    assert found == WHOLE
    # What reads without atomics is reported.
    control = subprocess.run([program, "live", "200000", "0", "2"], capture_output=True, text=True, check=False)
    assert "ThreadSanitizer: data race" in control.stderr
    assert 0 != control.returncode


def test_a_writer_may_be_killed_between_any_two_stores(build: Build) -> None:
    """At each of 400 steps: no torn record is taken, what was acknowledged is there, and the totals and calls agree."""
    found = figures(build("-DSTEPS"), "kill", 400)
    assert found.pop("accepted") > 1000
    assert found == WHOLE


def test_a_writer_may_be_killed_at_any_moment(build: Build) -> None:
    """As it is shipped, at full speed, 200 times: the same holds."""
    found = figures(build(), "kill", 200)
    assert found.pop("accepted") > 1000
    assert found == WHOLE


@pytest.mark.parametrize("fault", [NO_BUSY_MARK, COMMIT_FIRST], ids=["no busy mark", "commit first"])
def test_a_kill_leaves_torn_records_where_the_protocol_is_not_kept(build: Build, fault: int) -> None:
    """Without the busy mark, or with the commit before the payload, kills leave records that look whole."""
    assert figures(build("-DSTEPS"), "kill", 400, fault)["torn"]
    assert torn(build(), "kill", 200, fault)
