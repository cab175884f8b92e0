"""
What receivers have still to be told: a file for each notice and receiver, removed when it has arrived.

Whoever sends a notice holds a lock on its file, which ends with its process; so another process, or another monitor of
the same one, neither sends it at the same time nor waits for one that has died.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

from holter import words
from holter.descriptors import opened
from holter.listing import Listing
from holter.notice import Notice, decode_notice, encode_notice

if sys.platform != "win32":
    import fcntl

_LOGGER: Final = logging.getLogger("holter")
SUFFIX: Final = ".notice"
MOST: Final = 500
"""So many notices wait at most, of all receivers together."""
LONGEST_NS: Final = 3 * 86_400 * 1_000_000_000
"""What could not be delivered for so long is news to nobody."""
_MOST_BYTES: Final = 4 * 2**20
_FLAGS: Final = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_READ: Final = os.O_RDWR | _FLAGS
_WRITE: Final = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _FLAGS


class Claim:
    """A notice that this thread, and nobody else, may send; ``done()`` when it has arrived or is given up."""

    def __init__(self, notice: Notice, path: Path | None, waiting: deque[Notice]) -> None:
        self.notice, self._path, self._waiting = notice, path, waiting

    def done(self) -> None:
        """Forget it: nobody sends it again."""
        if self._path is not None:
            with suppress(OSError):
                self._path.unlink()
        elif self._waiting and self._waiting[0] is self.notice:
            self._waiting.popleft()


class Outbox:
    """
    The notices for *receivers* of the service whose files begin like *base*; without one they are in memory only.

    In order for each receiver. At most 500 wait; beyond that the oldest are given up, and counted in ``dropped``.
    A file that is no notice is set aside and said.
    """

    def __init__(self, base: Path | None = None) -> None:
        self._base = base
        self._listing = None if base is None else Listing(base.parent)
        self._waiting: dict[str, deque[Notice]] = {}
        self.receivers: list[str] = []
        self.standing: tuple[Notice, ...] = ()
        """What was told of the incidents that go on."""
        self.dropped: dict[str, int] = {}

    def post(self, notice: Notice) -> None:
        """Put *notice* in for each receiver; where it cannot be written it waits in memory."""
        for receiver in self.receivers:
            if not self._filed(notice, receiver):
                waiting = self._waiting.setdefault(receiver, deque())
                waiting.append(notice)
                if len(waiting) > MOST:
                    waiting.popleft()
                    self._drop(receiver)

    def _filed(self, notice: Notice, receiver: str) -> bool:
        base = self._base
        if base is None:
            return False
        name = f"{base.name}.{notice.time_ns:020d}-{notice.number}-{notice.incident}.{_digest(receiver)}{SUFFIX}"
        path = base.with_name(name)
        draft = base.with_name(f".{name}.{os.getpid()}")
        try:
            self._make_room(base)
            with opened(draft, _WRITE) as descriptor, os.fdopen(descriptor, "wb", closefd=False) as file:
                file.write(encode_notice(notice))
            # Not over one that is there, and that somebody may be sending.
            os.link(draft, path)
        except FileExistsError:
            return True
        except OSError:
            return False
        finally:
            with suppress(OSError):
                draft.unlink()
        return True

    def _make_room(self, base: Path) -> None:
        names = self._names(f"{base.name}.", SUFFIX)
        for name in names[: max(0, len(names) + 1 - MOST)]:
            with suppress(OSError):
                base.with_name(name).unlink()
            receiver = name.removesuffix(SUFFIX).rpartition(".")[2]
            self._drop(next((one for one in self.receivers if _digest(one) == receiver), receiver))

    def _drop(self, receiver: str) -> None:
        self.dropped[receiver] = self.dropped.get(receiver, 0) + 1

    def _names(self, begin: str, end: str) -> list[str]:
        if self._listing is None:
            return []
        return sorted(name for name in self._listing.names() if name.startswith(begin) and name.endswith(end))

    def _files(self, base: Path, receiver: str) -> list[Path]:
        return [base.with_name(name) for name in self._names(f"{base.name}.", f".{_digest(receiver)}{SUFFIX}")]

    def waiting(self, receiver: str) -> int:
        """Return how many notices wait for *receiver*."""
        filed = 0 if self._base is None else len(self._files(self._base, receiver))
        return filed + len(self._waiting.get(receiver, ()))

    @contextmanager
    def first(self, receiver: str) -> Iterator[Claim | None]:
        """Yield the first notice that waits for *receiver*; None if none does, or if somebody else is sending it."""
        base, waiting = self._base, self._waiting.setdefault(receiver, deque())
        for path in [] if base is None else self._files(base, receiver):
            with ExitStack() as stack:
                try:
                    descriptor = stack.enter_context(opened(path, _READ))
                except OSError:
                    # It has arrived meanwhile.
                    continue
                if not _locked(descriptor):
                    yield None
                    return
                notice = _read(descriptor, path)
                if notice is not None:
                    yield Claim(notice, path, waiting)
                    return
        yield Claim(waiting[0], None, waiting) if waiting else None


def _digest(receiver: str) -> str:
    return hashlib.sha256(receiver.encode("utf-8", "replace")).hexdigest()[:12]


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _read(descriptor: int, path: Path) -> Notice | None:
    """Return the notice in a file; None if it has arrived meanwhile, or if it is none and had to be set aside."""
    try:
        if not os.fstat(descriptor).st_nlink:
            return None
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            content = file.read(_MOST_BYTES)
        return decode_notice(content)
    except OSError:
        return None
    except (ValueError, RecursionError) as error:
        aside = path.with_name(f"{path.name}.aside")
        with suppress(OSError):
            path.replace(aside)
        what = f"{path} holds no notice ({error}); set aside as {aside.name}"
        _LOGGER.warning("holter: %s", words.clean(what, 500))
        return None
