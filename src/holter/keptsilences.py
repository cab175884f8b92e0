"""
The silences of a service: known to all of its processes by a small file each.

A file has the name of its silence, as a digest, so that the latest of a name holds, and nobody waits for a lock.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from holter import documents, words
from holter.arguments import finite_number
from holter.descriptors import opened
from holter.errors import ConfigurationError
from holter.listing import Listing
from holter.model import Alert, Silence, resolve_target
from holter.names import CALL_NAME

_LOGGER: Final = logging.getLogger("holter")
SUFFIX: Final = ".silence"
LONGEST_MINUTES: Final = 7 * 24 * 60
MOST: Final = 100
_VERSION: Final = 1
_MOST_BYTES: Final = 65_536
_LONGEST_NAME: Final = 300
_LONGEST_REASON: Final = 500
_FLAGS: Final = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_READ: Final = os.O_RDONLY | _FLAGS
_WRITE: Final = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _FLAGS


def made(name: object, minutes: object, reason: object, now_ns: int) -> Silence:
    """
    Return the silence that the arguments of `silence` ask for, from *now_ns* on.

    Raises:
        ConfigurationError: one of them cannot work.
    """
    try:
        target, where = resolve_target(name)
    except TypeError:
        raise ConfigurationError(
            f"name must be that of an alert, a check, a target or an incident, or a watched function, got {name!r:.60}"
        ) from None
    called = str(where.get(CALL_NAME, target))
    if not called or len(called) > _LONGEST_NAME:
        raise ConfigurationError(f"name must have 1 to {_LONGEST_NAME} characters, got {called!r:.60}")
    length = finite_number("minutes", minutes)
    if not 0 <= length <= LONGEST_MINUTES:
        raise ConfigurationError(
            f"minutes must be from 0, which ends a silence, to {LONGEST_MINUTES:,}, which are seven days, "
            f"got {minutes!r}; what nobody wants to hear of at all needs no check"
        )
    if not (isinstance(reason, str) and 0 < len(reason.strip()) <= _LONGEST_REASON):
        raise ConfigurationError(
            f"reason must be a str of 1 to {_LONGEST_REASON} characters, for whoever finds it, got {reason!r:.60}"
        )
    return Silence(called, now_ns, now_ns + round(length * 60e9), reason.strip())


def set_for(silences: Silences, name: object, minutes: object, reason: object, now_ns: int) -> Silence:
    """
    Have *silences* hold one more, log it and return it.

    Raises:
        ConfigurationError: an argument cannot work.
    """
    silence = made(name, minutes, reason, now_ns)
    try:
        silences.add(silence)
    except OSError as error:
        _LOGGER.warning("holter: other processes do not hear of a silence: %s", words.clean(str(error), 300))
    if silence.until_ns > now_ns:
        _LOGGER.warning("holter: alerts by the name of %s are %s", words.clean(silence.name), silence)
    else:
        _LOGGER.warning("holter: alerts by the name of %s are told again", words.clean(silence.name))
    return silence


class Silences:
    """
    The silences of the service whose files begin like *base*; in *own* are those that no file holds.

    Thread-safe. To look costs some 2 us where nothing has changed in the folder.
    """

    def __init__(self, own: dict[str, Silence], base: Path | None = None) -> None:
        self._own, self._base = own, base
        self._listing = None if base is None else Listing(base.parent)
        self._read: dict[str, Silence] = {}
        self._names: frozenset[str] = frozenset()
        if base is not None:
            for silence in list(own.values()):
                with suppress(OSError):
                    self.add(silence)

    def add(self, silence: Silence) -> None:
        """
        Have *silence* hold from now on, in place of another of the same name.

        Raises:
            OSError: the other processes cannot be told; this one knows it.
        """
        key = silence.name.casefold()
        self._own[key] = silence
        while len(self._own) > MOST:
            self._own.pop(next(iter(self._own)), None)
        if self._base is not None:
            self._write(self._base, silence)
            self._own.pop(key, None)

    def look(self, now_ns: int) -> bool:
        """Read what others have set, remove what is over; return whether one holds."""
        if self._base is not None and self._listing is not None:
            begin = f"{self._base.name}."
            names = frozenset(
                name for name in self._listing.names() if name.startswith(begin) and name.endswith(SUFFIX)
            )
            paths = [self._base.with_name(name) for name in sorted(names)[:MOST]]
            marks = frozenset(f"{path.name} {_mark(path)}" for path in paths)
            if marks != self._names:
                self._names, self._read = marks, {}
                for path in paths:
                    silence = _read(path)
                    if silence is not None:
                        self._read[silence.name.casefold()] = silence
            for silence in list(self._read.values()):
                if silence.until_ns <= now_ns:
                    with suppress(OSError):
                        self._path(self._base, silence).unlink()
        for key, silence in list(self._own.items()):
            if silence.until_ns <= now_ns:
                self._own.pop(key, None)
        return any(silence.until_ns > now_ns for silence in self._holding().values())

    def of(self, alert: Alert, now_ns: int) -> Silence | None:
        """Return what keeps *alert* from being told at that time: what lasts longest."""
        found = [silence for silence in self._holding().values() if silence.covers(alert.names, now_ns)]
        return max(found, key=lambda silence: silence.until_ns, default=None)

    def _holding(self) -> dict[str, Silence]:
        """Return the silences by name; of two of the same the later one."""
        holding = dict(self._read)
        for key, silence in self._own.copy().items():
            if key not in holding or holding[key].since_ns <= silence.since_ns:
                holding[key] = silence
        return holding

    @staticmethod
    def _path(base: Path, silence: Silence) -> Path:
        digest = hashlib.sha256(silence.name.casefold().encode("utf-8", "replace")).hexdigest()[:12]
        return base.with_name(f"{base.name}.{digest}{SUFFIX}")

    def _write(self, base: Path, silence: Silence) -> None:
        path = self._path(base, silence)
        content = documents.dump({"holter_silence": _VERSION, **documents.silence_row(silence)}).encode()
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            with opened(draft, _WRITE) as descriptor, os.fdopen(descriptor, "wb", closefd=False) as file:
                file.write(content + b"\n")
            draft.replace(path)
        finally:
            with suppress(OSError):
                draft.unlink()


def _mark(path: Path) -> str:
    try:
        found = path.lstat()
    except OSError:
        return ""
    return f"{found.st_ino} {found.st_mtime_ns} {found.st_size}"


def _read(path: Path) -> Silence | None:
    """Return the silence in the file at *path*; None if there is none, or if it had to be set aside."""
    try:
        with opened(path, _READ) as descriptor, os.fdopen(descriptor, "rb", closefd=False) as file:
            content = file.read(_MOST_BYTES)
    except OSError:
        return None
    with suppress(ValueError, RecursionError):
        known: Any = json.loads(content)
        silence = documents.decode_silence(known)
        if silence is not None and known.get("holter_silence") == _VERSION:
            return silence
    aside = path.with_name(f"{path.name}.aside")
    with suppress(OSError):
        path.replace(aside)
    _LOGGER.warning("holter: %s", words.clean(f"{path} holds no silence; set aside as {aside.name}", 500))
    return None
