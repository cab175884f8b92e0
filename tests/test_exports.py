"""What the package shows: the public names, their docstrings, and what importing it costs others."""

from __future__ import annotations

import inspect
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import holter

LAZY = (
    "asyncio",
    "importlib.metadata",
    "multiprocessing",
    "psutil",
    "pynvml",
    "wrapt",
    "opentelemetry",
    "rich",
    "prometheus_client",
)

PUBLIC = [getattr(holter, name) for name in holter.__all__ if name != "__version__"]


def test_the_public_names_are_complete() -> None:
    """`__all__` lists every public name of the package once, and nothing else stands there."""
    values = {name: getattr(holter, name) for name in dir(holter) if not name.startswith("_")}
    shown = {name for name, value in values.items() if not inspect.ismodule(value)}
    assert sorted({*shown, "__version__"}) == sorted(holter.__all__)


@pytest.mark.parametrize("value", PUBLIC, ids=lambda value: value.__name__)
def test_a_public_name_belongs_to_holter(value: object) -> None:
    """What is imported from elsewhere is not shown as ours."""
    assert value.__module__.partition(".")[0] == "holter"


@pytest.mark.parametrize("value", PUBLIC, ids=lambda value: value.__name__)
def test_a_public_name_has_a_docstring(value: object) -> None:
    """`help(holter.x)` tells what the caller gets, in words of its own."""
    assert (value.__doc__ or "").strip()
    assert not value.__doc__.startswith(f"{value.__name__}("), "a signature that dataclass wrote is no docstring"


def test_the_version_is_the_one_that_was_installed() -> None:
    """`holter.__version__` and the metadata of the package agree."""
    try:
        installed = metadata.version("holter")
    except metadata.PackageNotFoundError:
        pytest.skip("holter is not installed here; install it with: pip install '.[test]'")
    assert holter.__version__ == installed


def test_the_package_is_marked_as_typed() -> None:
    """Type checkers read our annotations: the marker travels with the package."""
    assert (Path(holter.__file__).parent / "py.typed").is_file()


def _fresh(program: str) -> str:
    return subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.strip()


def test_public_names_outlast_the_modules_of_the_same_name() -> None:
    """Where a function and a module share a name, loading the module later does not hide the function."""
    program = (
        "import holter, importlib, pkgutil\n"
        "before = {name: getattr(holter, name) for name in holter.__all__}\n"
        "for module in pkgutil.walk_packages(holter.__path__, 'holter.'):\n"
        "    if not module.name.endswith('__main__'):\n"
        "        importlib.import_module(module.name)\n"
        "print(*(name for name in before if getattr(holter, name) is not before[name]))"
    )
    assert _fresh(program) == ""


def test_import_loads_nothing_heavy() -> None:
    """`import holter` loads none of what only some of its features need."""
    program = (
        "import sys, numpy\nbefore = set(sys.modules)\nimport holter\n"
        f"print(*sorted((set(sys.modules) - before) & set({LAZY!r})))"
    )
    assert _fresh(program) == ""


def test_import_starts_no_thread() -> None:
    """`import holter` starts no thread, neither of Python's nor another."""
    count = "len(os.listdir('/proc/self/task'))" if sys.platform == "linux" else "threading.active_count()"
    program = f"import os, threading, numpy; before = {count}; import holter; print({count} - before)"
    assert _fresh(program) == "0"
