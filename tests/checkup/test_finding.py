"""How things are tried, and what is said of those that fail."""

from __future__ import annotations

import errno
import os

import pytest

from holter.checkup.finding import Unwell, tried
from holter.checkup.installing import install
from holter.errors import ConfigurationError


def _raising(error: Exception):
    def attempt() -> str:
        raise error

    return attempt


def test_what_works_says_what_was_seen() -> None:
    """In its own words, with nothing to mend."""
    assert ("ring", "ok", "100 of 100", "") == tried("ring", lambda: "100 of 100")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "No space left on device"),
        (ConfigurationError("expected a port"), "expected a port"),
        (ZeroDivisionError(), "ZeroDivisionError at"),
    ],
)
def test_what_fails_is_broken(error: Exception, told: str) -> None:
    """Whatever it raises; nothing leaves the doctor's hands."""
    found = tried("ring", _raising(error))
    assert ("broken", "") == (found.state, found.mend)
    assert told in found.words


def test_what_is_optional_is_missing_instead() -> None:
    """And an answer may name its own state."""
    assert "missing" == tried("group", _raising(OSError("full")), otherwise="missing").state
    assert ("absent", "rm x") == tried("gpu", _raising(Unwell("none", "rm x", "absent")))[1::2]


def test_a_module_that_cannot_be_imported_is_mended_by_installing_holter() -> None:
    """Whose dependencies bring it."""
    found = tried("Prometheus", lambda: str(__import__("no_such_module")))
    assert "no_such_module cannot be imported" in found.words
    assert install("holter") == found.mend


def test_foreign_text_stays_on_one_line() -> None:
    """Names of files can hold anything."""
    assert "a\\x1b[2J\\nb" == tried("folder", _raising(Unwell("a\x1b[2J\nb"))).words
