"""What a process is: its host, Python, packages and commit, in full and as a short hash."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from holter.model import Attributes, Process
from holter.version import __version__

_MOST_PACKAGES: Final = 2_000


def describe(service: str, version: str | None, attributes: Attributes, started_ns: int) -> Process:
    """Return this process under the name *service*; some milliseconds, no program is run."""
    environment = _environment()
    fingerprint = hashlib.sha256(json.dumps(environment, sort_keys=True).encode()).hexdigest()[:12]
    return Process(
        service=service,
        version=version,
        attributes=attributes,
        instance=str(uuid.uuid4()),
        pid=os.getpid(),
        host=platform.node(),
        started_ns=started_ns,
        fingerprint=fingerprint,
        environment=environment,
    )


def _environment() -> dict[str, Any]:
    system = platform.uname()
    found: dict[str, Any] = {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        # Not platform.platform(), which may run a program and reads the whole interpreter for the version of libc.
        "platform": f"{system.system}-{system.release}-{system.machine}",
        "cpus": os.cpu_count() or 0,
        "holter": __version__,
        "packages": dict(_packages()),
    }
    with suppress(OSError):  # a folder that is gone has no commit
        commit = _commit(Path.cwd())
        if commit is not None:
            found["commit"] = commit
    return found


def _packages() -> Mapping[str, str]:
    """Return the installed packages by the names of their metadata folders, which takes no parsing."""
    found: dict[str, str] = {}
    for folder in dict.fromkeys(sys.path):
        with suppress(OSError):
            for entry in os.listdir(folder or "."):  # noqa: PTH208 - names are enough, a Path each is not cheap
                name, separator, version = entry.removesuffix(".dist-info").partition("-")
                if entry.endswith(".dist-info") and separator and len(found) < _MOST_PACKAGES:
                    found.setdefault(name, version)
    return dict(sorted(found.items()))


def _commit(folder: Path) -> str | None:
    """Return the commit that is checked out in *folder* or above it, read from git's own files."""
    with suppress(OSError, UnicodeDecodeError):
        for parent in (folder, *folder.parents):
            place = parent / ".git"
            if place.is_file():
                place = parent / place.read_text().removeprefix("gitdir:").strip()
            if (place / "HEAD").is_file():
                return _resolved((place / "HEAD").read_text().strip(), place)
    return None


def _resolved(head: str, place: Path) -> str | None:
    if not head.startswith("ref:"):
        return head
    name = head.removeprefix("ref:").strip()
    common = place / "commondir"
    for folder in (place, place / common.read_text().strip() if common.is_file() else place):
        if (folder / name).is_file():
            return (folder / name).read_text().strip()
        if (folder / "packed-refs").is_file():
            for line in (folder / "packed-refs").read_text().splitlines():
                if line.endswith(f" {name}"):
                    return line.split(" ")[0]
    return None
