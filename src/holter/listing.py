"""The names in a folder, listed anew only where they can have changed."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

# A file system tells times in steps of up to a hundredth of a second: what comes later in the same one does not show.
_SETTLED_NS: Final = 50_000_000


class Listing:
    """The names in *folder*; some 2 us where nothing has been made, renamed or removed in it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names: frozenset[str] = frozenset()
        self._changed_ns = -1

    def names(self) -> frozenset[str]:
        """Return the names as of now; none where there is no such folder."""
        try:
            changed_ns = self._folder.stat().st_mtime_ns
        except OSError:
            return frozenset()
        if changed_ns != self._changed_ns:
            is_settled = not 0 <= time.time_ns() - changed_ns < _SETTLED_NS
            with suppress(OSError):
                self._names = frozenset(os.listdir(self._folder))  # noqa: PTH208 - names are all that is asked for
            self._changed_ns = changed_ns if is_settled else -1
        return self._names
