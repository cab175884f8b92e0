"""Files that are open for a moment."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from holter.descriptors import keep, open_briefly, opened

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")


def is_open_in_a_child(descriptor: int) -> bool:
    """Return whether a forked child has a descriptor."""
    pid = os.fork()
    if not pid:
        try:
            os.fstat(descriptor)
        except OSError:
            os._exit(0)
        os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1


def test_a_forked_child_gives_back_what_is_open(tmp_path: Path) -> None:
    """Its parent has it still, until it closes it."""
    path = tmp_path / "file"
    path.write_bytes(b"content")
    with opened(path, os.O_RDONLY) as descriptor:
        assert not is_open_in_a_child(descriptor)
        assert b"content" == os.read(descriptor, 10)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_what_is_kept_is_the_owners_to_close(tmp_path: Path) -> None:
    """In a child too."""
    descriptor = open_briefly(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    keep(descriptor)
    assert is_open_in_a_child(descriptor)
    os.close(descriptor)
