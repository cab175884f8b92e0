"""The CSV file: what pandas, DuckDB and a spreadsheet read in it, and what it does under several processes."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from contracts.exporter import ExporterContract
from contracts.snapshots import PROCESS, Story, alert, busy_story, hostile_alert, hostile_story
from holter.errors import ConfigurationError
from holter.exporters.csvfile import CSVFile
from holter.model import Exporter, Snapshot
from holter.names import CALL_DURATION

HEADER = "time,metric,unit,attributes,statistic,value"


class TestCSVFile(ExporterContract):
    """The CSV file is an exporter."""

    def build(self, folder: Path, **options: Any) -> CSVFile:
        """Return an exporter with a file in *folder*."""
        return CSVFile(folder / "holter.csv", **options)

    def text(self, exporter: Exporter) -> str:
        """Return the file's text."""
        assert isinstance(exporter, CSVFile)
        return exporter.path.read_bytes().decode()


def rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of the file, without the one of the environment."""
    with path.open(newline="", encoding="utf-8") as file:
        found = list(csv.DictReader(file, strict=True))
    assert all(None not in row and None not in row.values() for row in found)
    return [{**row, "attributes": json.loads(row["attributes"])} for row in found if row["statistic"] != "info"]


def write(path: Path, *snapshots: Snapshot) -> Path:
    """Export *snapshots* to *path*."""
    exporter = CSVFile(path)
    for snapshot in snapshots:
        exporter.export(snapshot, [])
    return path


def test_lines_are_as_rfc_4180_has_them(tmp_path: Path) -> None:
    """A header with the six names, lines that end in CRLF, six fields in each."""
    text = write(tmp_path / "a.csv", busy_story().snapshot()).read_bytes().decode()
    assert text.startswith(f"{HEADER}\r\n")
    assert text.endswith("\r\n")
    assert text.count("\n") == text.count("\r\n")
    assert {6} == {len(row) for row in csv.reader(text.splitlines(), strict=True)}


def test_a_row_names_time_metric_unit_attributes_statistic_and_value(tmp_path: Path) -> None:
    """The attributes say whose figure it is and in which version, and that a call without another end was ok."""
    story = Story()
    story.call("predict", [0.25, 0.75])
    found = {row["statistic"]: row for row in rows(write(tmp_path / "a.csv", story.snapshot(seconds=4)))}
    assert {
        "time": "2026-11-22T13:03:13.225Z",
        "metric": CALL_DURATION,
        "unit": "s",
        "attributes": {
            "holter.call.name": "predict",
            "holter.call.outcome": "ok",
            "deployment.environment.name": "test",
            "service.name": "sentiment",
            "service.version": "v7",
            "service.instance.id": "5f0c",
            "process.pid": 4711,
            "holter.fingerprint": "ab12cd34",
        },
        "statistic": "mean",
        "value": "0.5",
    } == found["mean"]
    assert ["2", "1.0", "2", "0.5", "0.25", "0.75"] == [
        found[name]["value"] for name in ("count", "sum", "interval_count", "rate", "min", "max")
    ]


def test_pandas_reads_what_the_snapshot_said(tmp_path: Path) -> None:
    """Without an option to `read_csv`, the newest counts sum to the calls and the quantile is the snapshot's."""
    story = busy_story()
    first = story.snapshot()
    story.call("predict", [0.1] * 5)
    second = story.snapshot()
    frame = pd.read_csv(write(tmp_path / "a.csv", first, second))
    calls = frame[frame.metric == CALL_DURATION]
    counts = calls[calls.statistic == "count"].groupby("attributes").value.last()
    statistics = second.find(CALL_DURATION)
    assert statistics is not None
    assert counts.sum() == statistics.total.count == 809 + 3 + 1 + 1 + 5
    assert calls[calls.statistic == "interval_count"].value.sum() == statistics.total.count
    reading = first.interval[0]
    assert reading.histogram is not None
    assert calls[calls.statistic == "p99"].value.iloc[0] == reading.histogram.quantile(0.99)
    assert pd.to_datetime(frame.time).dt.tz is not None


def test_duckdb_reads_what_the_snapshot_said(tmp_path: Path) -> None:
    """Without an option, times are times, values numbers, and the JSON cell answers questions."""
    duckdb = pytest.importorskip("duckdb", reason="needs DuckDB: pip install duckdb")
    story = busy_story()
    path = write(tmp_path / "a.csv", story.snapshot())
    table = duckdb.read_csv(str(path))
    assert HEADER.split(",") == table.columns
    assert table.types[0] == "TIMESTAMP WITH TIME ZONE"
    assert table.types[5] == "DOUBLE"
    errors = table.filter("""statistic = 'count' AND attributes->>'$."error.type"' = 'ValueError'""")
    assert [(3.0,)] == errors.project("value").fetchall()


def test_an_alert_is_a_row(tmp_path: Path) -> None:
    """`firing` is 1 when it fires and 0 when it resolves, with its words as attributes."""
    exporter = CSVFile(tmp_path / "a.csv")
    exporter.export(Story().snapshot(), [alert(), alert(state="resolved")])
    found = rows(exporter.path)
    assert [("holter.alerts", "firing", "1"), ("holter.alerts", "firing", "0")] == [
        (row["metric"], row["statistic"], row["value"]) for row in found
    ]
    assert found[0]["attributes"]["holter.alert.expected"] == "p99 below 200 ms"
    assert found[0]["attributes"]["service.version"] == "v7"


def test_the_environment_stands_in_full_once_a_file(tmp_path: Path) -> None:
    """Its row is the first of each file, also of those after a rotation."""
    exporter = CSVFile(tmp_path / "a.csv", max_bytes=65_536, backups=9)
    story = busy_story()
    for _ in range(12):
        story.call("predict", [0.1])
        for number in range(20):
            story.record("queue", [number + story.time_ns % 7.0], kind="gauge", attributes={"n": number})
        exporter.export(story.snapshot(), [])
    files = sorted(tmp_path.iterdir())
    assert len(files) > 1
    for file in files:
        lines = file.read_text(encoding="utf-8").splitlines()
        assert lines[0] == HEADER
        assert ["holter.environment" in line for line in lines[1:]] == [True] + [False] * (len(lines) - 2)
        attributes = json.loads(next(csv.DictReader(lines))["attributes"])
        assert attributes["holter.environment"] == PROCESS.environment


def test_no_cell_is_a_formula_or_breaks_a_line(tmp_path: Path) -> None:
    """Names that begin like a formula get an apostrophe; a strict reader finds six fields in every row."""
    exporter = CSVFile(tmp_path / "a.csv")
    exporter.export(hostile_story().snapshot(), [hostile_alert()])
    with exporter.path.open(newline="", encoding="utf-8") as file:
        found = list(csv.reader(file, strict=True))
    for row in found:
        assert len(row) == 6
        assert all(cell.isprintable() for cell in row)
        assert not any(cell.lstrip().startswith(("=", "+", "-", "@", "\t", "\r")) for cell in row[:5])
    assert "'@SUM(1)" in {row[1] for row in found}


def test_negative_numbers_stay_numbers(tmp_path: Path) -> None:
    """The value is no text: a minus sign makes no formula of it."""
    story = Story()
    story.record("app.queue", [-1.5], kind="updowncounter", unit="{item}")
    assert ["-1.5"] == [row["value"] for row in rows(write(tmp_path / "a.csv", story.snapshot()))][:1]


def test_what_is_no_number_is_left_out(tmp_path: Path) -> None:
    """NaN and infinities make no row; that values were missed is told by `sampled`."""
    story = Story()
    story.record("loss", [float("nan")], kind="gauge")
    story.record("odd", [float("inf"), 1.0])
    found = {
        (row["metric"], row["statistic"]): row["value"] for row in rows(write(tmp_path / "a.csv", story.snapshot()))
    }
    assert {"odd"} == {metric for metric, _ in found}
    assert found["odd", "count"] == "2"
    assert found["odd", "sampled"] == "1"
    assert ("odd", "sum") not in found


def test_what_has_not_changed_is_not_written_again(tmp_path: Path) -> None:
    """A second snapshot in which one series has moved adds the rows of that one only."""
    story = busy_story()
    exporter = CSVFile(tmp_path / "a.csv")
    exporter.export(story.snapshot(), [])
    before = len(rows(exporter.path))
    story.record("system.memory.limit", [2.0**33], kind="gauge", unit="By")
    story.record("app.cache.hits", [1.0], kind="counter", unit="{hit}")
    exporter.export(story.snapshot(), [])
    assert {"app.cache.hits"} == {row["metric"] for row in rows(exporter.path)[before:]}


def test_the_file_of_somebody_else_is_refused(tmp_path: Path) -> None:
    """Rows are never appended to data that is not ours."""
    (tmp_path / "data.csv").write_text("id,label\n1,2\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="holds something else; name another file"):
        CSVFile(tmp_path / "data.csv")
    assert (tmp_path / "data.csv").read_text(encoding="utf-8") == "id,label\n1,2\n"


def test_equal_settings_read_the_same(tmp_path: Path) -> None:
    """A monitor tells two exporters apart by what they say of themselves."""
    same = [repr(CSVFile(tmp_path / "a.csv")) for _ in range(2)]
    assert same[0] == same[1] != repr(CSVFile(tmp_path / "a.csv", every_seconds=5))
    assert str(tmp_path / "a.csv") in same[0]


def test_a_file_of_an_earlier_run_is_continued(tmp_path: Path) -> None:
    """A restart appends: one header, the rows of both runs."""
    write(tmp_path / "a.csv", busy_story().snapshot())
    path = write(tmp_path / "a.csv", busy_story().snapshot())
    assert path.read_text(encoding="utf-8").count(HEADER) == 1
    assert {2} == set(Counter(str(row) for row in rows(path)).values())


PROGRAM = """
import sys
from dataclasses import replace
from contracts.snapshots import PROCESS, Story
from holter.exporters.csvfile import CSVFile

number = int(sys.argv[2])
exporter = CSVFile(sys.argv[1], max_bytes=65_536, backups=200)
story = Story(replace(PROCESS, pid=number, instance=f"i{number}"))
print("ready", flush=True)
sys.stdin.readline()
for n in range(60):
    story.call("predict", [0.001 * (n + 1)] * (n + 1))
    exporter.export(story.snapshot(), [])
"""


def test_four_processes_share_a_file(tmp_path: Path) -> None:
    """Every row is whole, none is lost across rotations, and each file has one header."""
    path = tmp_path / "shared.csv"
    command = [sys.executable, "-c", PROGRAM, str(path)]
    environment = {"PYTHONPATH": ":".join(entry for entry in sys.path if entry)}
    workers = [
        subprocess.Popen([*command, str(n)], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for n in range(4)
    ]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        worker.communicate("go\n")
    assert [0] * 4 == [worker.returncode for worker in workers]
    files = sorted(tmp_path.iterdir())
    assert len(files) > 3
    seen: Counter[int] = Counter()
    for file in files:
        assert file.stat().st_size <= 65_536
        assert [HEADER] == [line for line in file.read_text(encoding="utf-8").splitlines() if line.startswith("time")]
        seen.update(row["attributes"]["process.pid"] for row in rows(file) if row["statistic"] == "count")
        seen.update({-1: sum(int(row["value"]) for row in rows(file) if row["statistic"] == "interval_count")})
    assert {0: 60, 1: 60, 2: 60, 3: 60, -1: 4 * sum(range(1, 61))} == seen
