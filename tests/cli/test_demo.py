"""`holter demo`, run as a program."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed; install it with: pip install '.[test]'")
duckdb = pytest.importorskip("duckdb", reason="DuckDB is not installed; install it with: pip install '.[test]'")
pandas = pytest.importorskip("pandas", reason="pandas is not installed; install it with: pip install '.[test]'")

SECONDS = "8"


def _demo(folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-W", "error", "-m", "holter", "demo", "--folder", str(folder), *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr
    # Each run tells the whole story, also where others came before it.
    assert "firing already" not in done.stderr
    return done.stdout


def _summary(printed: str) -> list[str]:
    """Return the lines between the last progress bar and the clients' own counts."""
    lines = printed.splitlines()
    begun = max(place for place, line in enumerate(lines) if re.search(r"\] +100%$", line))
    ended = next(place for place, line in enumerate(lines) if line.startswith("The clients counted"))
    return lines[begun + 2 : ended - 1]


@pytest.mark.parametrize("stage", ["decode", "resize", "classify"])
def test_the_verdict_names_the_stage_where_the_trouble_is(tmp_path: Path, stage: str) -> None:
    """Wherever malformed inputs start to cost work and fail, the first sentence says so."""
    printed = _demo(tmp_path, "--seconds", SECONDS, "--trouble", stage)
    summary = _summary(printed)
    verdict = " ".join(summary[: summary.index("")])
    assert verdict.startswith("predict: ")
    assert f"stage '{stage}'" in verdict
    assert "errors rose" in verdict


def test_the_demo_ends_with_a_page_and_all_counts_agree(tmp_path: Path) -> None:
    """Summary, log and CSV, read by pandas and by DuckDB, tell the counts that the clients kept."""
    # Long enough for a change of the answers to be told also on a machine with other things to do.
    printed = _demo(tmp_path, "--seconds", "14")
    summary = _summary(printed)
    assert len(summary) <= 40
    assert max(map(len, summary)) <= 80
    counted = re.search(r"predict ([\d,]+), predict failed ([\d,]+), explain ([\d,]+): as holter did\.", printed)
    assert counted is not None
    predict, failed, _ = (int(figure.replace(",", "")) for figure in counted.groups())
    assert failed > 0
    assert "compared with its first answers: predict: 1 column, changed: digit." in printed

    row = next(line.split() for line in summary if line.startswith("predict "))
    assert row[1] == f"{predict:,}"
    assert f"{failed}" in row
    assert any(line.startswith("ALERT") for line in summary)
    for part in ("stages", "streams", "training", "process", "host", "holter"):
        assert any(line.startswith(part) for line in summary), part

    log = [json.loads(line) for line in (tmp_path / "holter-demo.jsonl").read_text().splitlines()]
    lines = [line["holter"] for line in log if _is_call(line) and line["labels"]["holter_call_name"] == "predict"]
    assert predict == lines[-1]["count"]
    # How the calls of a period ended: the periods add up.
    assert failed == sum(line["outcomes"].get("error", 0) for line in lines)
    assert any(line["event"]["kind"] == "alert" for line in log)

    table = tmp_path / "holter-demo.csv"
    assert (predict, failed) == _by_pandas(table)
    assert (predict, failed) == _by_duckdb(table)


def _is_call(line: dict) -> bool:
    return line["holter"].get("metric") == "holter.call.duration"


def _by_pandas(table: Path) -> tuple[int, int]:
    rows = pandas.read_csv(table)
    counts = rows[(rows.metric == "holter.call.duration") & (rows.statistic == "count")]
    attributes = counts.attributes.map(json.loads)
    mine = counts[attributes.map(lambda each: each["holter.call.name"] == "predict")]
    last = mine.groupby("attributes").value.last()
    return int(last.sum()), int(last[last.index.str.contains('"error.type"')].sum())


def _by_duckdb(table: Path) -> tuple[int, int]:
    query = """
        with last as (
            select attributes, arg_max(value, time) as value from read_csv($path)
            where metric = 'holter.call.duration' and statistic = 'count'
            and json_extract_string(attributes, '$."holter.call.name"') = 'predict' group by attributes
        )
        select sum(value), sum(value) filter (attributes like '%error.type%') from last
    """
    with duckdb.connect() as connection:
        total, failed = connection.execute(query, {"path": str(table)}).fetchone()
    return int(total), int(failed)


def test_a_terminal_gets_colours_and_a_moving_bar(tmp_path: Path) -> None:
    """On a terminal rich draws; the same words are there."""
    pytest.importorskip("rich", reason="rich is not installed; install it with: pip install '.[test]'")
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "holter", "demo", "--folder", str(tmp_path), "--seconds", "2"]
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80"}
    environment.pop("NO_COLOR", None)
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        printed = bytearray()
        while True:
            try:
                part = os.read(ours, 65_536)
            except OSError:  # the terminal's other end is closed
                break
            printed += part
        assert process.wait() == 0
    os.close(ours)
    shown = printed.decode()
    assert "\x1b[1;3" in shown
    assert "\x1b[2K" in shown, "a bar that moves erases its line"
    assert "The clients counted" in shown


def test_no_time_to_serve_is_refused(tmp_path: Path) -> None:
    """The message names the option and what it takes."""
    command = [sys.executable, "-m", "holter", "demo", "--seconds", "-3"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--seconds: expected a number of seconds greater than 0, got -3" in done.stderr


def test_without_scikit_learn_it_says_what_to_install(tmp_path: Path) -> None:
    """The demo's own extra is named with its command."""
    program = "import sys; sys.modules['sklearn'] = None; from holter.cli import main; sys.exit(main(['demo']))"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "pip install 'holter[demo]'" in done.stderr
