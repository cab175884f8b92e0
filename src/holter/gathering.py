"""
How what the members of a group have observed reaches the one that judges: in files that are read once.

A member writes each share of what a check has observed into a file of its own, beside what checks have learnt; the
one that leads takes the files away as it reads them. So a share is told once, also where its member has ended since, or
the lead has changed; one is lost with a leader that is killed between reading and judging. What is older than five
minutes is told to nobody. A file that is damaged is removed, and said.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from holter import words
from holter.descriptors import opened
from holter.learnt import MOST_BYTES

_LOGGER: Final = logging.getLogger("holter")
SUFFIX: Final = ".share"
_VERSION: Final = 1
MOST_WAITING: Final = 4
"""How many shares of one member wait at most; until there is room, its checks keep what they have."""
MOST_READ: Final = 200
"""How many are read at a turn."""
_FLAGS: Final = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_READ: Final = os.O_RDONLY | _FLAGS
_WRITE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS
_LONGEST_NS: Final = 300_000_000_000
_KEPT_SECONDS: Final = 3_600.0


class Gathering:
    """The shares of the group whose checks leave what they have learnt at *learnt*; of no group if that is None."""

    def __init__(self, learnt: Path | None) -> None:
        self._learnt = learnt
        self._sent: list[Path] = []

    @property
    def has_room(self) -> bool:
        """Whether there is somebody to send to, who is not too far behind."""
        self._sent = [path for path in self._sent if path.exists()]
        return self._learnt is not None and len(self._sent) < MOST_WAITING

    def send(self, key: str, share: object) -> None:
        """
        Leave the *share* of the check *key* for whoever judges.

        Raises:
            OSError: it cannot be written.
            ValueError, TypeError: it is not what JSON can hold, or more than a MiB of it.
        """
        content = json.dumps(
            {"holter_share": _VERSION, "check": key, "share": share}, allow_nan=False, separators=(",", ":")
        )
        if self._learnt is None or len(content) > MOST_BYTES:
            raise ValueError(f"a share must take at most {MOST_BYTES:,} bytes as JSON, got {len(content):,}")
        path = self._learnt.with_name(f"{self._learnt.stem}.{os.getpid()}-{time.monotonic_ns()}{SUFFIX}")
        draft = path.with_name(f".{path.name}")
        try:
            with opened(draft, _WRITE) as descriptor, os.fdopen(descriptor, "w", closefd=False) as file:
                file.write(content)
            draft.rename(path)
        finally:
            with suppress(OSError):
                draft.unlink()
        self._sent.append(path)

    def take(self) -> Iterator[tuple[str, object]]:
        """Yield each share that waits with the key of its check, those that were sent first first; take them away."""
        if self._learnt is None:
            return
        found = sorted(self._learnt.parent.glob(f"{self._learnt.stem}.*{SUFFIX}"), key=_sent_ns)
        for path in found[:MOST_READ]:
            try:
                with opened(path, _READ) as descriptor, os.fdopen(descriptor, "rb", closefd=False) as file:
                    content = file.read(2 * MOST_BYTES)
                path.unlink()
            except OSError:
                # Another one leads meanwhile, and was first.
                continue
            if not 0 <= time.monotonic_ns() - _sent_ns(path)[0] <= _LONGEST_NS:
                continue
            try:
                told = json.loads(content)
                version, key, share = told["holter_share"], told["check"], told["share"]
                if version != _VERSION or type(key) is not str:
                    raise ValueError(f"version {version!r:.50}, expected {_VERSION}")  # noqa: TRY301 - said like all that is damaged
            except (ValueError, TypeError, KeyError, RecursionError) as error:
                why = f"{path} does not hold what a check has observed ({error}); it was removed"
                _LOGGER.warning("holter: %s", words.clean(why, 500))
                continue
            yield key, share


def _sent_ns(path: Path) -> tuple[int, str]:
    sent = path.name.removesuffix(SUFFIX).rpartition("-")[2]
    return (int(sent) if sent.isdecimal() else 0), path.name


def tidy(folder: Path) -> None:
    """Remove shares that nobody has come for within an hour."""
    for path in (*folder.glob(f"*{SUFFIX}"), *folder.glob(f".*{SUFFIX}")):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > _KEPT_SECONDS:
                path.unlink()
