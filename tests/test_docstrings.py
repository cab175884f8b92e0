"""The examples in docstrings run, and every public name has one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import holter

ROOT = Path(holter.__file__).parent
WITH_EXAMPLES = [path for path in sorted(ROOT.rglob("*.py")) if ">>> " in path.read_text(encoding="utf-8")]
PUBLIC = [getattr(holter, name) for name in holter.__all__ if name != "__version__"]
RUN = """
import doctest, importlib, sys
sys.exit(doctest.testmod(importlib.import_module(sys.argv[1]), optionflags=doctest.ELLIPSIS).failed)
"""


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=lambda path: path.stem)
def test_examples_of_a_module_run(path: Path, tmp_path: Path) -> None:
    """Each example prints what stands below it, in an interpreter and a folder of its own."""
    name = ".".join(["holter", *path.relative_to(ROOT).with_suffix("").parts])
    command = [sys.executable, "-c", RUN, name.removesuffix(".__init__")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("value", PUBLIC, ids=lambda value: value.__name__)
def test_a_public_name_has_an_example(value: object) -> None:
    """`help(holter.x)` shows how it is used, by code that runs."""
    assert ">>> " in (value.__doc__ or "")
