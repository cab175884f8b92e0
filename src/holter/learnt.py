"""
What checks have learnt, and which troubles go on, in a file that outlives the process.

It is versioned JSON, replaced as a whole.

A file that is damaged, or of another version, is set aside under the name of its own with ``.aside``, where the
newest such file stays, and said once; it does no further harm.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from holter import keptsilences, outbox, words
from holter.descriptors import opened
from holter.documents import decode_alert, dump, encode_alert
from holter.incidents import Incident
from holter.model import Alert

_LOGGER: Final = logging.getLogger("holter")
SUFFIX: Final = ".checks"
_VERSION: Final = 1
_KEPT_SECONDS: Final = 40 * 86_400
_SILENT_SECONDS: Final = keptsilences.LONGEST_MINUTES * 60 + 86_400
_FLAGS: Final = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_READ: Final = os.O_RDONLY | _FLAGS
_WRITE: Final = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _FLAGS
MOST_BYTES: Final = 2**22
"""The most that one check may have to say."""
MOST_CHECKS: Final = 100
_MOST_FILE_BYTES: Final = 32 * 2**20


@dataclass(frozen=True, slots=True)
class Lesson:
    """What one check has learnt, as JSON, and those of its alerts that fire."""

    state: str
    alerts: tuple[Alert, ...] = ()


@dataclass(frozen=True, slots=True)
class Learnt:
    """What all checks have learnt, by their keys, as of ``saved_ns``, Unix time; and the incidents then."""

    saved_ns: int = 0
    lessons: Mapping[str, Lesson] = field(default_factory=dict)
    incidents: tuple[Incident, ...] = ()


def write(path: Path, learnt: Learnt) -> None:
    """
    Put *learnt* into the file at *path*.

    Raises:
        OSError: it cannot be written; what was there before still is.
    """
    checks = [
        b"%s:{%s:%s,%s:[%s]}"
        % (
            json.dumps(key).encode(),
            b'"state"',
            lesson.state.encode(),
            b'"alerts"',
            b",".join(map(encode_alert, lesson.alerts)),
        )
        for key, lesson in list(learnt.lessons.items())[:MOST_CHECKS]
    ]
    content = b'{"holter_checks":%d,"saved_ns":%d,"checks":{%s},"incidents":%s}\n' % (
        _VERSION,
        learnt.saved_ns,
        b",".join(checks),
        dump([incident.save() for incident in learnt.incidents]).encode(),
    )
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with opened(draft, _WRITE) as descriptor, os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(content)
        draft.replace(path)
    finally:
        with suppress(OSError):
            draft.unlink()


def read(path: Path) -> Learnt:
    """Return what the file at *path* holds; nothing if there is none, or if it had to be set aside."""
    try:
        with opened(path, _READ) as descriptor, os.fdopen(descriptor, "rb", closefd=False) as file:
            content = file.read(_MOST_FILE_BYTES)
    except OSError:
        return Learnt()
    try:
        return _decoded(content)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        aside = path.with_name(f"{path.name}.aside")
        with suppress(OSError):
            path.replace(aside)
        why = f"{path} does not hold what checks have learnt ({error}); set aside as {aside.name}, they begin anew"
        _LOGGER.warning("holter: %s", words.clean(why, 500))
        return Learnt()


def _decoded(content: bytes) -> Learnt:
    known = json.loads(content)
    version = known["holter_checks"] if isinstance(known, dict) else None
    if version != _VERSION:
        raise ValueError(f"version {version!r:.50}, expected {_VERSION}")
    lessons = {}
    for key, row in list(known["checks"].items())[:MOST_CHECKS]:
        alerts = [decode_alert(alert) for alert in row["alerts"]]
        lessons[str(key)] = Lesson(json.dumps(row["state"]), tuple(alert for alert in alerts if alert is not None))
    incidents = tuple(Incident.load(row) for row in known.get("incidents", ()))
    return Learnt(int(known["saved_ns"]), lessons, incidents)


def gap_seconds(learnt: Learnt, now_ns: int) -> float:
    """Return how long ago *learnt* was saved, 0 if the clock has been set back since."""
    return max(0.0, (now_ns - learnt.saved_ns) / 1e9)


def tidy(folder: Path) -> None:
    """Remove what is kept of services that have not run for forty days, drafts too; silences and notices sooner."""
    kept = {SUFFIX: _KEPT_SECONDS, keptsilences.SUFFIX: _SILENT_SECONDS, outbox.SUFFIX: outbox.LONGEST_NS / 1e9}
    for suffix, seconds in kept.items():
        for path in (*folder.glob(f"*{suffix}"), *folder.glob(f"*{suffix}.aside"), *folder.glob(f".*{suffix}.*")):
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > seconds:
                    path.unlink()
