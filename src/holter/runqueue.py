"""How long threads ran, and were ready to run and had no CPU, as Linux counts it; elsewhere nothing is known."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

MOST_THREADS: Final = 32
"""Of so many threads the files are kept open; others are not looked at."""

_TASKS: Final = Path("/proc/self/task")


class Shares(NamedTuple):
    """For how long a thread has run, and has been ready to run and had no CPU."""

    ran_ns: int
    waited_ns: int


class RunQueue:
    """
    The shares of threads in the CPUs, by their native ids; some 3 µs a thread and look.

    A thread that has ended is forgotten, also where a new one has got its number.
    """

    def __init__(self, tasks: Path = _TASKS) -> None:
        self._tasks = tasks
        self._files: dict[int, int] = {}
        self._before: dict[int, Shares] = {}

    @property
    def is_known(self) -> bool:
        """Whether this system tells."""
        return bool(self._files)

    def read(self, threads: list[int]) -> dict[int, Shares]:
        """Return what each of *threads* has had since the last look at it; one that is new is in the next answer."""
        for thread in self._files.keys() - set(threads):
            self._close(thread)
        found = {}
        for thread in threads[:MOST_THREADS]:
            now = self._read(thread)
            if now is not None:
                before, self._before[thread] = self._before.get(thread), now
                if before is not None:
                    found[thread] = Shares(max(0, now.ran_ns - before.ran_ns), max(0, now.waited_ns - before.waited_ns))
        return found

    def _read(self, thread: int) -> Shares | None:
        for _ in range(2):
            try:
                file = self._files.get(thread)
                if file is None:
                    file = self._files[thread] = os.open(
                        self._tasks / str(thread) / "schedstat", os.O_RDONLY | os.O_CLOEXEC
                    )
                ran, waited, *_ = os.pread(file, 128, 0).split()
                return Shares(int(ran), int(waited))
            except (OSError, ValueError):
                # It has ended; another one may have its number since.
                self._close(thread)
        return None

    def _close(self, thread: int) -> None:
        file = self._files.pop(thread, None)
        self._before.pop(thread, None)
        if file is not None:
            with suppress(OSError):
                os.close(file)

    def close(self) -> None:
        """Close all files."""
        for thread in list(self._files):
            self._close(thread)
