"""The log file: lines that people, Elastic, Loki and Fluent Bit read, and what it does under several processes."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from contracts.exporter import ExporterContract
from contracts.snapshots import PROCESS, Story, alert, busy_story
from holter.errors import ConfigurationError
from holter.exporters.logfile import LogFile
from holter.model import Exporter, Pause, SlowCall


class TestLogFile(ExporterContract):
    """The log file is an exporter."""

    def build(self, folder: Path, **options: Any) -> LogFile:
        """Return an exporter with a file in *folder*."""
        return LogFile(folder / "holter.jsonl", **options)

    def text(self, exporter: Exporter) -> str:
        """Return the file's text."""
        assert isinstance(exporter, LogFile)
        assert exporter.path is not None
        return exporter.path.read_bytes().decode()


class TestLogFileThroughALogger(ExporterContract):
    """So it is when it writes through a logger, whose plain formatter prints messages raw."""

    def build(self, folder: Path, **options: Any) -> LogFile:
        """Return an exporter to a logger that writes plain lines into memory."""
        self.written = io.StringIO()
        handler = logging.StreamHandler(self.written)
        handler.setFormatter(logging.Formatter("%(levelname)s %(message)s %(service)s"))
        logger = logging.Logger("figures")  # noqa: LOG001  one that no other test knows
        logger.addHandler(handler)
        return LogFile(logger=logger, **options)

    def text(self, exporter: Exporter) -> str:
        """Return what the logger has written."""
        return self.written.getvalue()


def lines(path: Path | None) -> list[dict[str, Any]]:
    """Return the lines of the file, without the first one, of the environment."""
    assert path is not None
    return [json.loads(line) for line in path.read_bytes().splitlines()][1:]


def test_fields_stand_in_the_order_of_ecs(tmp_path: Path) -> None:
    """`@timestamp` is first, then the level, the message and the version of the schema, all at the top."""
    exporter = LogFile(tmp_path / "a.jsonl")
    exporter.export(busy_story().snapshot(), [alert()])
    assert exporter.path is not None
    for line in exporter.path.read_text(encoding="utf-8").splitlines():
        document = json.loads(line)
        assert ["@timestamp", "log.level", "message", "ecs.version"] == list(document)[:4]
        assert document["@timestamp"] == "2026-11-22T13:03:19.225Z"
        assert {"name": "sentiment", "version": "v7", "node": {"name": "5f0c"}} == document["service"]
        assert {"pid": 4711} == document["process"]
        assert {"name": "box"} == document["host"]
        assert document["holter"]["fingerprint"] == "ab12cd34"


def test_a_total_holds_the_calls_that_have_not_moved(tmp_path: Path) -> None:
    """`count` is since recording began over all ends, `interval_count` since the line before."""
    story = busy_story()
    exporter = LogFile(tmp_path / "a.jsonl")
    exporter.export(story.snapshot(), [])
    story.call("predict", [0.1] * 7)
    exporter.export(story.snapshot(), [])
    line = lines(exporter.path)[-1]["holter"]
    assert (813 + 7, 7, {"ok": 7}) == (line["count"], line["interval_count"], line["outcomes"])
    assert "errors" not in line


def test_what_has_not_changed_is_not_written_again(tmp_path: Path) -> None:
    """A gauge that is measured again and has kept its value makes no line."""
    story = busy_story()
    exporter = LogFile(tmp_path / "a.jsonl")
    exporter.export(story.snapshot(), [])
    before = len(lines(exporter.path))
    story.record("system.memory.limit", [2.0**33], kind="gauge", unit="By")
    exporter.export(story.snapshot(), [])
    assert len(lines(exporter.path)) == before


def test_the_environment_stands_in_full_once_a_file(tmp_path: Path) -> None:
    """It is the first line of each file, also of those after a rotation, with nothing to split at a dot."""
    exporter = LogFile(tmp_path / "a.jsonl", max_bytes=65_536, backups=9)
    story = busy_story()
    for _ in range(20):
        for number in range(20):
            story.call(f"predict {number}", [0.1])
        exporter.export(story.snapshot(), [])
    files = sorted(tmp_path.iterdir())
    assert len(files) > 1
    for file in files:
        first, *others = [json.loads(line)["holter"] for line in file.read_text(encoding="utf-8").splitlines()]
        assert first["environment"] == {
            "python": "3.11.2",
            "packages": ["ruamel.yaml==0.18", "ruamel.yaml.clib==0.2"],
            "git": {"a_b": 1},
        }
        assert not any("environment" in other for other in others)


def test_a_logger_gets_message_level_and_fields(caplog: pytest.LogCaptureFixture) -> None:
    """Formatters that know `extra` find the fields; the environment comes once."""
    exporter = LogFile(logger=logging.getLogger("figures"))
    story = busy_story()
    with caplog.at_level(logging.INFO, "figures"):
        exporter.export(story.snapshot(), [alert()])
        exporter.export(story.snapshot(), [])
    first, *others = caplog.records
    assert first.getMessage() == "sentiment v7 in environment ab12cd34"
    assert first.holter["environment"]["python"] == "3.11.2"
    assert not any("environment" in other.holter for other in others)
    (fired,) = [other for other in others if "alert" in other.holter]
    assert (logging.ERROR, "v7", 0.412) == (
        fired.levelno,
        fired.service["version"],
        fired.holter["alert"]["evidence"]["p99"],
    )


def test_a_percent_sign_in_a_name_is_no_format(caplog: pytest.LogCaptureFixture) -> None:
    """Messages go through logging as they are."""
    story = Story()
    story.call("100 % of %s", [0.1])
    with caplog.at_level(logging.INFO, "figures"):
        LogFile(logger=logging.getLogger("figures")).export(story.snapshot(), [])
    assert "100 % of %s: 1 call" in caplog.text


def test_equal_settings_read_the_same(tmp_path: Path) -> None:
    """A monitor tells two exporters apart by what they say of themselves."""
    same = [repr(LogFile(tmp_path / "a.jsonl")) for _ in range(2)]
    assert same[0] == same[1] != repr(LogFile(tmp_path / "a.jsonl", backups=1))
    assert str(tmp_path / "a.jsonl") in same[0]


@pytest.mark.parametrize("arguments", [{}, {"path": "a.jsonl", "logger": logging.getLogger("figures")}])
def test_it_takes_a_path_or_a_logger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: Any) -> None:
    """Neither or both is refused, and says what to give."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match=r"a path or a logger, got (neither|both)"):
        LogFile(**arguments)
    assert [] == list(tmp_path.iterdir())


def test_a_logger_is_an_object() -> None:
    """A name alone is refused where it is given, not at the first export."""
    with pytest.raises(ConfigurationError, match=r"logger must be a logging\.Logger, got 'figures'"):
        LogFile(logger="figures")


def test_the_file_of_somebody_else_is_refused(tmp_path: Path) -> None:
    """Lines are never appended to a file that holds something else."""
    (tmp_path / "notes.txt").write_text("dear diary", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="holds something else; name another file"):
        LogFile(tmp_path / "notes.txt")


PROGRAM = """
import sys
from dataclasses import replace
from contracts.snapshots import PROCESS, Story
from holter.exporters.logfile import LogFile

number = int(sys.argv[2])
exporter = LogFile(sys.argv[1], max_bytes=65_536, backups=200)
story = Story(replace(PROCESS, pid=number, instance=f"i{number}"))
print("ready", flush=True)
sys.stdin.readline()
for n in range(100):
    for call in range(5):
        story.call(f"predict {call}", [0.001 * (n + 1)] * (n + 1))
    exporter.export(story.snapshot(), [])
"""


def test_four_processes_share_a_file(tmp_path: Path) -> None:
    """Every line is whole, none is lost across rotations, and each file begins with one environment."""
    path = tmp_path / "shared.jsonl"
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
    seen: Counter[tuple[int, str]] = Counter()
    for file in files:
        assert file.stat().st_size <= 65_536
        first, *others = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        assert first["holter"]["environment"]["python"] == PROCESS.environment["python"]
        for line in others:
            seen[line["process"]["pid"], line["labels"]["holter_call_name"]] += line["holter"]["interval_count"]
    assert {(pid, f"predict {call}"): sum(range(1, 101)) for pid in range(4) for call in range(5)} == seen


def test_slow_calls_in_a_trace_are_lines_once(tmp_path: Path) -> None:
    """The newest twenty of an export; those in no trace lead nowhere and are none."""
    log = LogFile(tmp_path / "holter.jsonl")
    calls = tuple(SlowCall(number, "predict", 7, 0, number, trace_id=number % 2) for number in range(1, 61))
    for slow in (calls, calls, (*calls, SlowCall(61, "predict", 7, 0, 61, trace_id=1))):
        log.export(replace(busy_story().snapshot(), slow_calls=slow), [])
    found = [line for line in lines(log.path) if line["event"]["dataset"] == "holter.slow_calls"]
    assert [*range(21, 60, 2), 61] == [line["event"]["duration"] for line in found]


def test_a_slow_call_that_lost_time_is_a_line_in_no_trace_too(tmp_path: Path) -> None:
    """It says to what."""
    log = LogFile(tmp_path / "holter.jsonl")
    calls = (SlowCall(1, "predict", 7, 0, 9), SlowCall(2, "predict", 7, 0, 10**9, pauses=(Pause("gc", 0.4),)))
    log.export(replace(busy_story().snapshot(), slow_calls=calls), [])
    (found,) = [line for line in lines(log.path) if line["event"]["dataset"] == "holter.slow_calls"]
    assert "predict took 1 s; lost 400 ms in garbage collection" == found["message"]
