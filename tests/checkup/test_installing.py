"""The command that installs; tests/checkup/test_packages.py runs it."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

import pytest

from holter.checkup.installing import checkout, install, installed, is_editable


def test_the_command_is_short_where_the_shell_has_the_same_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    """And names the Python where it has another one's, or none."""
    folder = str(Path(sys.executable).parent)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/usr/bin")
    assert "pip install holter" == install("holter")
    monkeypatch.setenv("PATH", "/nowhere")
    assert f"{shlex.quote(sys.executable)} -m pip install holter" == install("holter")


def test_what_a_shell_would_take_for_more_is_quoted() -> None:
    """Brackets and spaces."""
    assert install("holter[otlp]").endswith(" install 'holter[otlp]'")
    assert install("-e", "/my folder").endswith(" install -e '/my folder'")


def test_versions_are_those_of_the_metadata() -> None:
    """None for what is not installed."""
    assert pytest.__version__ == installed("pytest")
    assert installed("no-such-thing") is None


def test_sources_are_known_where_holter_was_installed_from_them() -> None:
    """The extension is then built from there, and in place if that is how they are used."""
    folder = checkout()
    if folder is None:
        assert not is_editable()
    else:
        assert (Path(folder) / "pyproject.toml").is_file()
