"""
What is installed, in an environment of its own: packages are taken away for real, and come back by what is printed.

The package `holter` that pip finds there is an archive of these sources.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from holter.checkup.packages import Requirement, packages
from holter.version import __version__
from mending import Shell, assert_mended

_ROOT = Path(__file__).parent.parent.parent
_SOURCES = ("src/holter", "pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE")
_DERIVED = ("__pycache__", ".so", ".pyc")

# Installing all that holter needs takes a minute where nothing is in pip's cache.
pytestmark = pytest.mark.timeout(900)


class Environment:
    """A virtual environment with holter as a user has it, and a shell in which it is activated."""

    def __init__(self, folder: Path, archives: Path) -> None:
        self.folder = folder
        self._variables = {
            "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "PIP_FIND_LINKS": " ".join(filter(None, (str(archives), os.environ.get("PIP_FIND_LINKS")))),
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_QUIET": "2",
            "PYTHONPATH": "",
        }

    def shell(self, taken_away: str = "", *, groups: str = "installed", **more: str) -> Shell:
        return Shell(groups, taken_away, python=str(self.folder / "bin" / "python"), **{**self._variables, **more})

    def run(self, command: str, **more: str) -> None:
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, **self._variables, **more},
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    """With what holter needs and nothing more, and without the extension, as where there was no compiler."""
    folder = tmp_path_factory.mktemp("environment")
    archives = tmp_path_factory.mktemp("archives")
    name = f"holter-{__version__}"
    with tarfile.open(archives / f"{name}.tar.gz", "w:gz") as archive:
        for source in _SOURCES:
            archive.add(
                _ROOT / source, f"{name}/{source}", filter=lambda one: None if one.name.endswith(_DERIVED) else one
            )
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    made = Environment(folder, archives)
    made.run(f"pip install holter=={__version__}", HOLTER_PURE_WHEEL="1")
    yield made
    shutil.rmtree(folder)


@pytest.mark.parametrize("extra", ["console", "otlp", "otlp-grpc", "demo", "gpu", "profile"])
def test_an_extra_that_is_missing_is_mended(extra: str, environment: Environment) -> None:
    """By its name, in quotes, because shells take brackets for patterns; holter itself stays as it is."""
    told = assert_mended(environment.shell(), extra, state="missing", mend=f"pip install 'holter[{extra}]'")
    assert "is not installed: " in told


def test_a_package_that_is_too_old_is_mended(environment: Environment) -> None:
    """It is there, and does not do."""
    environment.run("pip install rich==13.5.3")
    told = assert_mended(environment.shell(), "console", state="missing", mend="pip install 'holter[console]'")
    assert "rich 13.5.3 is older than 13.7" in told


def test_packages_that_holter_needs_are_mended(environment: Environment) -> None:
    """Whatever needs them says so too, and the exit code is 1 until they are there."""
    environment.run("pip uninstall -y psutil prometheus-client opentelemetry-sdk")
    shell = environment.shell(groups="installed samplers exporters")
    _, found = shell.examine()
    # On Linux samplers read what the kernel tells.
    samplers = set() if sys.platform == "linux" else {"ProcessSampler", "HostSampler"}
    broken = {"packages", "Prometheus", "OpenTelemetry"} | samplers
    assert broken == {subject for subject, finding in found.items() if finding["state"] == "broken"}, found
    assert "pip install holter" == found["Prometheus"]["mend"]
    told = assert_mended(shell, "packages", state="broken", mend="pip install holter")
    assert {"opentelemetry-sdk", "prometheus-client", "psutil"} == {one.split()[0] for one in told.split("; ")}


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs a C compiler: apt-get install gcc libc6-dev python3-dev")
def test_an_extension_that_is_missing_is_mended(environment: Environment) -> None:
    """It is built anew from the sources, and nothing else is installed."""
    told = assert_mended(
        environment.shell(),
        "extension",
        state="missing",
        mend=f"pip install --force-reinstall --no-deps --no-cache-dir --no-binary holter holter=={__version__}",
    )
    assert "pure Python: all works, but recording a call takes several times as long" == told
    told = assert_mended(
        environment.shell("export HOLTER_PURE_PYTHON=1"), "extension", state="missing", mend="unset HOLTER_PURE_PYTHON"
    )
    assert "HOLTER_PURE_PYTHON=1 is set" in told


def test_the_command_is_for_the_python_that_runs(environment: Environment) -> None:
    """Where the shell's pip is another's, the command names the Python; where there is no pip, it brings one."""
    environment.run("pip uninstall -y rich")
    python = environment.folder / "bin" / "python"
    shell = environment.shell(PATH=os.environ["PATH"])
    assert_mended(shell, "console", state="missing", mend=f"{python} -m pip install 'holter[console]'")
    environment.run("pip uninstall -y rich pip")
    _, found = shell.examine()
    printed = found["console"]["mend"]
    if shutil.which("uv") is None:
        assert f"{python} -m ensurepip && {python} -m pip install 'holter[console]'" == printed
    assert_mended(shell, "console", state="missing", mend=printed)


def test_what_a_compiler_lacks_is_named(environment: Environment, tmp_path: Path) -> None:
    """With the packages of the system that bring it, where the system has packages."""
    (tmp_path / "apt-get").touch(0o755)
    for extension in environment.folder.rglob("_hot*.so"):
        extension.unlink()
    code, found = environment.shell(PATH=f"{environment.folder / 'bin'}{os.pathsep}{tmp_path}").examine()
    assert 0 == code
    assert "to build it needs a C compiler" in found["extension"]["words"]
    assert "apt-get install -y gcc libc6-dev" in found["extension"]["mend"]
    assert " install --force-reinstall --no-deps " in found["extension"]["mend"]


def test_versions_are_compared_as_numbers() -> None:
    """0.9 comes before 0.10, and a release before its next one; what is not there is said."""
    assert Requirement("pytest", "1.100", "").lack() is None
    assert "is older than 999" in (Requirement("pytest", "999", "").lack() or "")
    assert "no-such-thing is not installed" == Requirement("no-such-thing", "1", "").lack()


def test_all_is_told_that_the_metadata_name() -> None:
    """Each extra but those for developers of holter, whatever extras there are."""
    subjects = [finding.subject for finding in packages()]
    assert ["extension", "packages", "console", "demo", "otlp", "otlp-grpc", "profile"] == [
        subject for subject in subjects if subject not in ("top", "gpu")
    ]
