"""The command that installs a package into the environment of this very Python."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from contextlib import suppress
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit


def install(*arguments: str) -> str:
    """Return the command of a shell that installs by these arguments of pip."""
    return " ".join([_installer(), "install", *map(shlex.quote, arguments)])


def _installer() -> str:
    found = shutil.which("pip")
    # The pip that a shell finds may be another Python's.
    if found is not None and Path(found).parent == Path(sys.executable).parent:
        return "pip"
    python = shlex.quote(sys.executable or "python3")
    if find_spec("pip") is not None:
        return f"{python} -m pip"
    if shutil.which("uv") is not None:
        return f"VIRTUAL_ENV={shlex.quote(sys.prefix)} uv pip"
    return f"{python} -m ensurepip && {python} -m pip"


def checkout() -> str | None:
    """Return the folder of the sources that holter was installed from, None where it came as a package."""
    with suppress(metadata.PackageNotFoundError, ValueError):
        told = metadata.distribution("holter").read_text("direct_url.json")
        origin = json.loads(told) if told else {}
        if "dir_info" in origin:
            folder = unquote(urlsplit(str(origin.get("url"))).path)
            return folder if os.path.isdir(folder) else None  # noqa: PTH112 - a word of a command, not a Path
    return None


def is_editable() -> bool:
    """Whether holter runs from a checkout, whose changes count at once."""
    with suppress(metadata.PackageNotFoundError, ValueError):
        told = metadata.distribution("holter").read_text("direct_url.json")
        return bool(told and json.loads(told).get("dir_info", {}).get("editable"))
    return False


def installed(package: str) -> str | None:
    """Return the version of *package*, None if it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
