"""`holter doctor` as people and programs run it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

import holter


def _run(*arguments: str, program: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    command = ["-c", program] if program else ["-m", "holter"]
    return subprocess.run(
        [sys.executable, "-W", "error", *command, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


def _found(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    return {finding["subject"]: finding for finding in json.loads(done.stdout)["findings"]}


def test_the_doctor_proves_what_works() -> None:
    """Each probe, sampler and exporter has yielded data once, and the exit code is 0."""
    done = _run("doctor")
    assert (0, "") == (done.returncode, done.stderr)
    assert "100 of 100 calls recorded and read back" in done.stdout
    assert "15 kinds record and are read back: function, method, coroutine" in done.stdout
    lines = done.stdout.splitlines()
    for subject in ("extension", "ProcessSampler", "HostSampler", "LogFile", "CSVFile", "Console", "Prometheus"):
        assert any(line.startswith(f"  ok  {subject}") for line in lines), subject
    assert "All that is required works." in done.stdout
    assert "\x1b" not in done.stdout


def test_the_doctor_tells_programs_in_one_object() -> None:
    """With `--json`: who was asked, whether all is well, and each finding with its group and state."""
    done = _run("doctor", "samplers", "--json")
    assert (0, "") == (done.returncode, done.stderr)
    told = json.loads(done.stdout)
    assert ["holter", "python", "system", "is_well", "findings"] == list(told)
    assert told["is_well"] is True
    for finding in told["findings"]:
        assert ["group", "subject", "state", "words", "mend"] == list(finding)
        assert "samplers" == finding["group"]


def test_only_the_groups_that_are_named_are_looked_at() -> None:
    """What is not asked for costs nothing; an unknown name is an error of usage."""
    done = _run("doctor", "samplers")
    assert "ProcessSampler" in done.stdout
    assert "LogFile" not in done.stdout
    done = _run("doctor", "sampler")
    assert 2 == done.returncode
    assert "no group is named sampler; there are installed, around, recording" in done.stderr


def test_the_doctor_says_where_recordings_go(tmp_path: Path) -> None:
    """Or why there can be none, which costs no health."""
    folder = tmp_path / "recordings"
    assert (
        f"ok  recordings          in {folder}, where they outlive"
        in _run("doctor", "recording", HOLTER_DIR=str(folder)).stdout
    )
    assert [] == list(folder.iterdir())
    folder.chmod(0o777)
    done = _run("doctor", "recording", HOLTER_DIR=str(folder))
    assert 0 == done.returncode
    assert (
        f"--  recordings          in memory of the process, gone when it ends: {folder} can be written by others"
        in (done.stdout)
    )
    assert f"chmod go-w {folder}" in [line.strip() for line in done.stdout.splitlines()]


def test_what_is_required_by_name_costs_the_health(tmp_path: Path) -> None:
    """Whatever is optional else; a name that is nowhere is an error of usage."""
    (tmp_path / "file").touch()
    done = _run("doctor", "recording", "--require", "recordings", HOLTER_DIR=str(tmp_path / "file"))
    assert 1 == done.returncode
    assert "!!  recordings" in done.stdout
    assert 0 == _run("doctor", "samplers", "--require", "HostSampler").returncode
    done = _run("doctor", "samplers", "--require", "TPUSampler")
    assert 2 == done.returncode
    assert "nothing named TPUSampler was tried; there are ContainerSampler" in done.stderr


def test_the_doctor_says_what_can_be_instrumented() -> None:
    """Of what is installed: whether it has the shape that the ready-made targets expect."""
    done = _run("doctor", "components")
    line = next(line for line in done.stdout.splitlines() if " ScikitLearn " in line)
    assert line.startswith("  ok")
    assert f"scikit-learn {metadata.version('scikit-learn')} can be instrumented" in line


def test_the_doctor_says_what_has_changed_its_shape() -> None:
    """In words, with the command that mends it; it costs no health, and neither does what cannot be imported."""
    program = (
        "import sys, sklearn.base; del sklearn.base.BaseEstimator.get_params\n"
        "from holter.cli import main\n"
        "sys.modules['torch'] = None\n"
        "sys.exit(main(['doctor', 'components']))\n"
    )
    done = _run(program=program)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    at = next(number for number, line in enumerate(lines) if " ScikitLearn " in line)
    assert lines[at].startswith("  --")
    assert "the class BaseEstimator has no 'get_params'" in lines[at]
    assert lines[at + 1].strip().endswith("pip install --upgrade holter scikit-learn")


def test_the_doctor_survives_what_a_component_does_at_its_import(tmp_path: Path) -> None:
    """Its author's trouble is said as what it is."""
    (tmp_path / "onnxruntime.py").write_text("raise OSError('no libgomp.so')\n")
    done = _run("doctor", "components", PYTHONPATH=str(tmp_path))
    assert done.returncode == 0, done.stderr
    line = next(line for line in done.stdout.splitlines() if " OnnxRuntime " in line)
    assert line.startswith("  --")
    assert "OSError at" in line


def test_the_doctor_says_when_holter_is_switched_off() -> None:
    """With HOLTER_DISABLED=1 nothing is recorded, which is no health; what records is not tried."""
    done = _run("doctor", "around", "probes", "exporters", HOLTER_DISABLED="1")
    assert 1 == done.returncode
    assert "unset HOLTER_DISABLED" in [line.strip() for line in done.stdout.splitlines()]
    assert "LogFile " not in done.stdout
    assert "1 required thing fails." in done.stdout


def test_a_folder_that_is_gone_is_said(tmp_path: Path) -> None:
    """Where the default paths would fail, the doctor says so before the program does."""
    gone = tmp_path / "gone"
    gone.mkdir()
    # All is imported before: numpy itself cannot be from a folder that is gone (Python 3.13.0).
    program = (
        "import os, psutil, rich, sklearn; from holter.cli import main\n"
        f"os.chdir({str(gone)!r}); os.rmdir('../gone'); main(['doctor', 'around', 'samplers'])"
    )
    done = _run(program=program)
    assert "Traceback" not in done.stderr
    assert "--  folder" in done.stdout


@pytest.mark.parametrize("port", ["0", "65536", "http"])
def test_a_port_that_is_none_is_an_error_of_usage(port: str) -> None:
    """The parser says what is expected."""
    done = _run("doctor", "--port", port)
    assert 2 == done.returncode
    assert "--port" in done.stderr


def test_the_command_tells_its_version_and_its_commands() -> None:
    """`--version` and `--help` name what exists, and nothing else."""
    assert _run("--version").stdout.strip() == f"holter {holter.__version__}"
    shown = _run("--help").stdout
    assert "demo" in shown
    assert "doctor" in shown
    assert _run().returncode == 2
