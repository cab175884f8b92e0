"""`holter doctor` and the command itself."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

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


def test_the_doctor_proves_what_works() -> None:
    """Ring, samplers and file exporters are tried, and each line says how it went."""
    done = _run("doctor")
    assert (done.returncode, done.stderr) == (0, "")
    assert "100 of 100 calls recorded and read back" in done.stdout
    for subject in ("ProcessSampler", "HostSampler", "LogFile", "CSVFile", "folder"):
        assert any(line.startswith("ok") and subject in line for line in done.stdout.splitlines()), subject


def test_the_doctor_says_where_recordings_go(tmp_path: Path) -> None:
    """Or why there can be none, which costs no health."""
    folder = tmp_path / "recordings"
    assert f"ok  recordings      in {folder}, where they outlive" in _run("doctor", HOLTER_DIR=str(folder)).stdout
    assert [] == list(folder.iterdir())
    folder.chmod(0o777)
    done = _run("doctor", HOLTER_DIR=str(folder))
    assert done.returncode == 0
    assert f"--  recordings      in memory of the process, gone when it ends: {folder} can be written by others" in (
        done.stdout
    )


def test_the_doctor_names_what_is_missing_and_the_command_that_mends_it() -> None:
    """A package that is not there costs no health, and its line tells how to get it."""
    program = (
        "import sys, importlib.abc\n"
        "class Gone(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'rich': raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Gone())\n"
        "import importlib.util\n"
        "found = importlib.util.find_spec\n"
        "import holter.cli.doctor as doctor\n"
        "doctor.find_spec = lambda name: None if name == 'rich' else found(name)\n"
        "from holter.cli import main\n"
        "sys.exit(main(['doctor']))\n"
    )
    done = _run(program=program)
    assert done.returncode == 0
    assert "--  rich" in done.stdout
    assert "pip install 'holter[console]'" in done.stdout


def test_the_doctor_says_what_can_be_instrumented() -> None:
    """Of what is installed: whether it has the shape that the ready-made targets expect."""
    done = _run("doctor")
    line = next(line for line in done.stdout.splitlines() if " ScikitLearn " in line)
    assert line.startswith("ok")
    assert f"scikit-learn {metadata.version('scikit-learn')} can be instrumented" in line


def test_the_doctor_says_what_has_changed_its_shape() -> None:
    """In words, with the command that mends it; it costs no health, and neither does what cannot be imported."""
    program = (
        "import sys, sklearn.base; del sklearn.base.BaseEstimator.get_params\n"
        "from holter.cli import main\n"
        "sys.modules['torch'] = None\n"
        "sys.exit(main(['doctor']))\n"
    )
    done = _run(program=program)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    at = next(number for number, line in enumerate(lines) if " ScikitLearn " in line)
    assert lines[at].startswith("--")
    assert "the class BaseEstimator has no 'get_params'" in lines[at]
    assert "to mend it: pip install --upgrade holter scikit-learn" in lines[at + 1]


def test_the_doctor_survives_what_a_component_does_at_its_import(tmp_path: Path) -> None:
    """Its author's trouble is said as what it is."""
    (tmp_path / "onnxruntime.py").write_text("raise OSError('no libgomp.so')\n")
    done = _run("doctor", PYTHONPATH=str(tmp_path))
    assert done.returncode == 0, done.stderr
    line = next(line for line in done.stdout.splitlines() if " OnnxRuntime " in line)
    assert line.startswith("--")
    assert "OSError at" in line


def test_the_doctor_says_when_holter_is_switched_off() -> None:
    """With HOLTER_DISABLED=1 nothing is recorded, which is no health."""
    done = _run("doctor", HOLTER_DISABLED="1")
    assert done.returncode == 1
    assert "unset HOLTER_DISABLED" in done.stdout


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """Where the default paths would fail, the doctor says so before the program does."""
    gone = tmp_path / "gone"
    gone.mkdir()
    # All is imported before: numpy itself cannot be from a folder that is gone (Python 3.13.0).
    program = (
        "import os, psutil, rich, sklearn; from holter.cli import main\n"
        f"os.chdir({str(gone)!r}); os.rmdir('../gone'); main(['doctor'])"
    )
    done = _run(program=program)
    assert "Traceback" not in done.stderr
    assert "--  folder" in done.stdout


def test_the_command_tells_its_version_and_its_commands() -> None:
    """`--version` and `--help` name what exists, and nothing else."""
    assert _run("--version").stdout.strip() == f"holter {holter.__version__}"
    shown = _run("--help").stdout
    assert "demo" in shown
    assert "doctor" in shown
    assert _run().returncode == 2
