"""Memory shared with a file, without a descriptor and never unmapped."""

from __future__ import annotations

import mmap
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from holter.mapping import forget, map_shared
from programs import succeed

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs mmap of Linux")
PAGE = mmap.PAGESIZE


def mapped(path: Path, pages: int = 2) -> memoryview:
    """Return the memory of a new file, whose descriptor is closed."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    os.posix_fallocate(descriptor, 0, (pages + 1) * PAGE)
    before = len(list(Path("/proc/self/fd").iterdir()))
    view = map_shared(descriptor, PAGE, pages * PAGE)
    assert before == len(list(Path("/proc/self/fd").iterdir()))
    os.close(descriptor)
    return view


def test_what_is_stored_is_in_the_file(tmp_path: Path) -> None:
    """As bytes and as words of any kind, from the offset on."""
    view = mapped(tmp_path / "file")
    view.cast("Q")[1] = 7
    view[16:32].cast("d")[0] = 0.5
    content = (tmp_path / "file").read_bytes()[PAGE:]
    assert (2 * PAGE, 7, 0.5) == (len(content), np.frombuffer(content, "<u8")[1], np.frombuffer(content, "<f8")[2])


def test_memory_that_is_forgotten_is_the_childs_own(tmp_path: Path) -> None:
    """Old views see zeros and may be written to; the file stays as it was."""
    program = """
        import json, os, pathlib, sys
        from holter.mapping import forget, map_shared
        path = pathlib.Path(sys.argv[1])
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        os.posix_fallocate(descriptor, 0, 8192)
        view = map_shared(descriptor, 0, 8192)
        words = view[64:128].cast("Q")
        words[0] = 1
        if not os.fork():
            forget([view])
            seen = words[0]
            words[0] = 2
            view[5000] = 3
            os._exit(seen)
        _, status = os.wait()
        content = path.read_bytes()
        print(json.dumps([status, words[0], content[64], content[5000]]))
    """
    assert [0, 1, 1, 0] == succeed(program, tmp_path / "file")


def test_no_memory_is_an_error(tmp_path: Path) -> None:
    """With the words of the system."""
    (tmp_path / "file").write_bytes(b"x" * PAGE)
    with (tmp_path / "file").open("rb") as file, pytest.raises(OSError, match="Permission denied"):
        map_shared(file.fileno(), 0, PAGE)
    forget([])
