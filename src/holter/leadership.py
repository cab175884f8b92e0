"""
Which process of a group leads it.

Who leads holds a lock on a file of its own, KEY.TERM.leader, which names its recording, tells when it led
last, and is never mapped. Terms rise: whoever finds that the leader of the highest term has died, or has
given no sign of life for a while, makes the file of the next one, locked before it gets its name, so that only
one can. A leader that comes to itself late finds a higher term and steps back.

The lock is the kind that belongs to a process (POSIX), because no forked child inherits it; that of
``flock`` goes on in any child that has the descriptor, after the leader's death too. It is lost when the
process closes any descriptor of the file, as daemons do, and so it is taken again at each turn.
"""

from __future__ import annotations

import os
import re
import sys
import threading
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Final

from holter.descriptors import close_briefly, keep, open_briefly, opened
from holter.listing import Listing

if sys.platform != "win32":
    import fcntl

_OPEN: Final = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_NUMBERS: Final = count()
_MOST_TRIES: Final = 3
# Of all that run in this process, because its locks do not keep it from itself.
_LED: Final[dict[tuple[str, str], Leadership]] = {}


class Leadership:
    """
    The lead of the group *key* in *folder*, for the process whose recording is *mine*.

    A leader that has not said for *patience_ns* that it goes on is replaced. Thread-safe.
    """

    def __init__(self, folder: Path, key: str, mine: Path, patience_ns: int) -> None:
        self._folder, self._key, self._mine, self._patience_ns = folder, key, mine, patience_ns
        self._pattern = re.compile(rf"{re.escape(key)}\.(\d{{1,18}})\.leader")
        self._listing = Listing(folder)
        self._lock = threading.Lock()
        self._descriptor: int | None = None
        self._identity = 0, 0
        self.term = 0
        """The term that this process leads, or led last."""
        self.led_until_ns = 0
        """When the one led last that led before this process, on the monotonic clock."""

    @property
    def is_held(self) -> bool:
        """Whether this process led when it looked last."""
        return self._descriptor is not None

    def holds(self, path: Path) -> bool:
        """Whether the file at *path* is the one by which this process leads."""
        return self.is_held and path == self._path(self.term)

    def hold(self, now_ns: int) -> bool:
        """Lead, if nobody else does or can; return whether this process leads. Some 50 us."""
        with self._lock:
            try:
                return self._keep(now_ns) or self._take(now_ns)
            except OSError:
                self._forget()
                return False

    def confirm(self, now_ns: int) -> bool:
        """Return whether this process leads still, which is a sign of life then; it never comes to lead by it."""
        with self._lock:
            try:
                return self._keep(now_ns)
            except OSError:
                self._forget()
                return False

    def resign(self, *, is_last: bool = False) -> None:
        """Let others lead; who *is_last* leaves no file."""
        with self._lock:
            if self._descriptor is None:
                return
            if is_last and self._is_mine():
                with suppress(OSError):
                    self._path(self.term).unlink()
            self._forget()

    def leader(self) -> Path | None:
        """Return the recording of the process that leads, None where nobody does."""
        here = _LED.get(self._place)
        if here is not None and here.is_held:
            # To open and close the file would give up its lock.
            return here._mine  # noqa: SLF001 - another object of this class
        term = max(self._terms(), default=0)
        named, _ = _said(self._path(term)) if term else ("", 0)
        return self._folder / named if named else None

    def abandon(self) -> None:
        """In a forked child: give back its copy of the descriptor; the lead stays the parent's."""
        self._lock = threading.Lock()
        self._forget()

    def _path(self, term: int) -> Path:
        return self._folder / f"{self._key}.{term}.leader"

    def _terms(self) -> list[int]:
        matches = map(self._pattern.fullmatch, self._listing.names())
        return [int(named[1]) for named in matches if named is not None]

    def _keep(self, now_ns: int) -> bool:
        """Return whether this process goes on leading."""
        if self._descriptor is None:
            return False
        if self._is_mine() and max(self._terms(), default=0) <= self.term and _locked(self._descriptor):
            os.pwrite(self._descriptor, b"%020d" % now_ns, 0)
            return True
        self._forget()
        return False

    def _is_mine(self) -> bool:
        """Whether descriptor and name still are those of the file that was made here."""
        with suppress(OSError):
            found = self._path(self.term).lstat()
            return (found.st_dev, found.st_ino) == self._identity and self._has_descriptor()
        return False

    def _has_descriptor(self) -> bool:
        """Whether the descriptor was not closed meanwhile, and given to another file."""
        if self._descriptor is None:
            return False
        with suppress(OSError):
            held = os.fstat(self._descriptor)
            return (held.st_dev, held.st_ino) == self._identity
        return False

    def _forget(self) -> None:
        if self._has_descriptor() and self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor = None
        if _LED.get(self._place) is self:
            _LED.pop(self._place, None)

    @property
    def _place(self) -> tuple[str, str]:
        return str(self._folder), self._key

    def _take(self, now_ns: int) -> bool:
        if _LED.setdefault(self._place, self) is not self:
            return False
        for _ in range(_MOST_TRIES):
            terms = self._terms()
            highest = max(terms, default=0)
            if highest and self._leads_well(highest, now_ns):
                break
            _, led_until_ns = _said(self._path(highest)) if highest else ("", 0)
            if self._claim(highest + 1, now_ns):
                self.led_until_ns = led_until_ns
                for term in terms:
                    with suppress(OSError):
                        self._path(term).unlink()
                return True
        self._forget()
        return False

    def _leads_well(self, term: int, now_ns: int) -> bool:
        """Whether the leader of *term* lives and has given a sign of it."""
        path = self._path(term)
        try:
            with opened(path, _OPEN) as descriptor:
                if _locked(descriptor):
                    return False
        except FileNotFoundError:
            return False
        return now_ns - _said(path)[1] <= self._patience_ns

    def _claim(self, term: int, now_ns: int) -> bool:
        """Make the file of *term*, locked; return whether nobody was quicker."""
        draft = self._folder / f".{self._key}.{os.getpid()}.{next(_NUMBERS)}"
        descriptor = open_briefly(draft, _OPEN | os.O_CREAT | os.O_EXCL)
        try:
            os.write(descriptor, b"%020d %s" % (now_ns, self._mine.name.encode()))
            found = os.fstat(descriptor)
            _locked(descriptor)
            os.link(draft, self._path(term))
        except OSError:
            close_briefly(descriptor)
            return False
        finally:
            draft.unlink()
        keep(descriptor)
        self._descriptor, self._identity, self.term = descriptor, (found.st_dev, found.st_ino), term
        return True


def is_led(path: Path) -> bool:
    """Whether a process holds the lock of the leader's file at *path*."""
    if any(one.holds(path) for one in list(_LED.values())):
        return True
    with suppress(OSError), opened(path, _OPEN) as descriptor:
        return not _locked(descriptor)
    return False


def _locked(descriptor: int) -> bool:
    """Return whether the lock on a file is this process's, now at least."""
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _said(path: Path) -> tuple[str, int]:
    """Return the name of the recording that a leader's file names, "" where it names none, and when it led last."""
    with suppress(OSError, ValueError):
        with opened(path, _OPEN) as descriptor:
            led_ns, _, name = os.pread(descriptor, 300, 0).decode().partition(" ")
        return name if "/" not in name and name.isprintable() else "", int(led_ns)
    return "", 0
