"""What is built from the sources: with a compiler, without one, and for all platforms."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# What a sdist must bring, for the package is built from that.
SOURCES = ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE", "src/holter")
PROGRAM = """
import json, sys
sys.path.insert(0, sys.argv[1])
import holter
from holter.ring import IMPLEMENTATION
calls = holter.Monitor("test", samplers=[])
work = calls.watch(abs, name="work")
work(-1)
print(json.dumps([holter.__file__.startswith(sys.argv[1]), IMPLEMENTATION,
                  calls.snapshot().find("holter.call.duration").total.count]))
"""

pytestmark = [
    pytest.mark.heavy,  # each builds the package
    pytest.mark.skipif(not (ROOT / "setup.py").exists(), reason="needs holter's sources, `git clone` them"),
]


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a process that has the package's build system."""
    folder = str(tmp_path_factory.mktemp("backend"))
    command = [sys.executable, "-m", "pip", "-q", "install", "--target", folder, "setuptools>=77"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"needs setuptools from the network, `pip install 'setuptools>=77'`: {done.stderr[-200:]}")
    return {**os.environ, "PYTHONPATH": folder, "PIP_NO_BUILD_ISOLATION": "0", "PIP_NO_DEPS": "1"}


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A copy of what the package is built from, as a sdist has it."""
    folder = tmp_path / "sources"
    for name in SOURCES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    return folder


def built(sources: Path, backend: dict[str, str], **variables: str) -> Path:
    """Return the wheel of *sources*."""
    folder = sources.parent / "wheels"
    command = [sys.executable, "-m", "pip", "-q", "wheel", "-w", folder, sources]
    subprocess.run(command, env={**backend, **variables}, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def installed(wheel: Path, backend: dict[str, str]) -> list[object]:
    """Return whether what runs is what was installed, which pieces it runs with, and how many calls it counted."""
    folder = wheel.parent.parent / "installed"
    pip = [sys.executable, "-m", "pip", "-q", "install", "--target", folder, wheel]
    subprocess.run(pip, env=backend, check=True, capture_output=True)
    own = {"PYTHONPATH", "HOLTER_PURE_PYTHON"}
    environment = {name: value for name, value in os.environ.items() if name not in own}
    command = [sys.executable, "-P", "-c", PROGRAM, folder]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    found: list[object] = json.loads(done.stdout)
    return found


def native(wheel: Path) -> list[str]:
    """Return what the *wheel* holds of the extension, its stub apart."""
    return [name for name in zipfile.ZipFile(wheel).namelist() if "_native" in name or "holter/_hot.c" in name]


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs a C compiler, `apt install gcc libc6-dev python3-dev`")
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nobody has built the extension")
def test_with_a_compiler_the_extension_is_built(sources: Path, backend: dict[str, str]) -> None:
    """One shared object, without its sources, for this Python and platform."""
    wheel = built(sources, backend)
    (extension,) = native(wheel)
    assert extension.endswith(".so")
    assert f"-cp{sys.version_info.major}{sys.version_info.minor}" in wheel.name
    assert [True, "C", 1] == installed(wheel, backend)


def test_without_a_compiler_it_is_installed_all_the_same(sources: Path, backend: dict[str, str]) -> None:
    """Building does not fail, and the pieces in Python do what is to be done."""
    wheel = built(sources, backend, CC="/bin/false", PATH=os.devnull)
    assert [] == native(wheel)
    assert [True, "pure Python", 1] == installed(wheel, backend)


def test_one_wheel_is_for_all_platforms(sources: Path, backend: dict[str, str]) -> None:
    """Where it is asked for, no extension is built, and the wheel's tag says so."""
    wheel = built(sources, backend, HOLTER_PURE_WHEEL="1")
    assert wheel.name.endswith("-py3-none-any.whl")
    assert [True, "pure Python", 1] == installed(wheel, backend)


def test_the_source_distribution_has_all_that_is_built_from(sources: Path, backend: dict[str, str]) -> None:
    """The headers too, which setuptools leaves out of itself."""
    program = "from setuptools import build_meta; print(build_meta.build_sdist('dist'))"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=sources, env=backend, check=True, capture_output=True, text=True)
    with tarfile.open(sources / "dist" / done.stdout.splitlines()[-1]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    files = {str(path.relative_to(ROOT)) for path in (ROOT / "src/holter/_native").iterdir()}
    assert files | {"setup.py", "pyproject.toml", "src/holter/_hot.pyi", "src/holter/py.typed"} <= names
