"""A word that is 1 in this process and 0 in each child that is forked from it, however it is forked."""

from __future__ import annotations

import mmap
import sys
from contextlib import suppress
from typing import Final

_WIPE_ON_FORK: Final = getattr(mmap, "MADV_WIPEONFORK", 18)  # Python names it from 3.13 on, Linux has it since 4.14


def fork_word() -> memoryview:
    """
    Return memory of one such word, 1 now; some 20 ns a look, where `os.getpid` takes 100 to 500.

    It tells of forks that Python is not told of, as by ctypes or from C. Where the system has no
    memory that is wiped on a fork it stays 1; a process there has no file that a child could harm.
    """
    if sys.platform == "linux":
        page = mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        with suppress(OSError):
            page.madvise(_WIPE_ON_FORK)
        word = memoryview(page).cast("Q")[:1]
    else:
        word = memoryview(bytearray(8)).cast("Q")
    word[0] = 1
    return word


IS_OURS: Final = fork_word()
"""Whether this process knows itself: 0 in a forked child until it has been renewed."""
