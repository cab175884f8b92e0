"""What is installed: the extension in C, the packages that holter needs, and those that extras bring."""

from __future__ import annotations

import os
import platform
import re
import shlex
import shutil
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Final, NamedTuple

from holter.checkup.finding import Finding
from holter.checkup.installing import checkout, install, installed, is_editable
from holter.ring import NATIVE
from holter.version import __version__

_NATIVE_MACHINES: Final = ("x86_64", "aarch64")
_REQUIREMENT: Final = re.compile(
    r"(?P<package>[\w.-]+)\s*(?:\[(?P<extras>[^\]]*)\])?\s*(?P<bounds>[^;]*)(?:;(?P<when>.*))?"
)
_EXTRA: Final = re.compile(r"extra\s*==\s*[\"']([^\"']+)")
_AT_LEAST: Final = re.compile(r">=\s*([\d.]+)")
_ANEW: Final = ("--force-reinstall", "--no-deps")
_FOR_DEVELOPERS: Final = frozenset({"dev", "docs", "test"})
_PURPOSES: Final = {
    "gpu": "figures of NVIDIA's GPUs",
    "console": "colours on a terminal",
    "demo": "the model that `holter demo` trains and serves",
    "otlp": "sends to OpenTelemetry over HTTP",
    "otlp-grpc": "sends to OpenTelemetry over gRPC",
    "profile": "profiles of Parquet files",
    "top": "the screens of `holter top`",
}
_OTHERWISE: Final = "what needs it"


class Requirement(NamedTuple):
    """A package that holter needs, and from which version on; of an *extra*, if that is not empty."""

    package: str
    least: str
    extra: str

    def lack(self) -> str | None:
        """Return in words what is wrong, None if all is well."""
        version = installed(self.package)
        if version is None:
            return f"{self.package} is not installed"
        if _numbers(version) < _numbers(self.least):
            return f"{self.package} {version} is older than {self.least}"
        return None


def packages() -> Iterator[Finding]:
    """Say whether the extension, what holter needs, and what each extra brings are there."""
    yield _extension()
    requirements = list(_requirements())
    needed = [one for one in requirements if not one.extra]
    lacks = [lack for one in needed if (lack := one.lack()) is not None]
    if lacks:
        yield Finding("packages", "broken", "; ".join(lacks), install("holter"))
    else:
        yield Finding("packages", "ok", f"all {len(needed)} that holter needs")
    for extra in sorted({one.extra for one in requirements} - {""} - _FOR_DEVELOPERS):
        own = [one for one in requirements if one.extra == extra]
        purpose = _PURPOSES.get(extra, _OTHERWISE)
        lacks = [lack for one in own if (lack := one.lack()) is not None]
        if lacks:
            yield Finding(extra, "missing", f"{'; '.join(lacks)}: {purpose}", install(f"holter[{extra}]"))
        else:
            there = ", ".join(f"{one.package} {installed(one.package)}" for one in own)
            yield Finding(extra, "ok", f"{there}: {purpose}")


def _requirements() -> Iterator[Requirement]:
    """Yield what holter's own metadata say that it needs; an extra that names another has that one's needs too."""
    try:
        lines = metadata.requires("holter") or []
    except metadata.PackageNotFoundError:
        return
    for line in lines:
        parsed = _REQUIREMENT.fullmatch(line.strip())
        if parsed is None or parsed["package"] == "holter":
            continue
        found = _EXTRA.search(parsed["when"] or "")
        least = _AT_LEAST.search(parsed["bounds"])
        yield Requirement(parsed["package"], least[1] if least else "0", found[1] if found else "")


def _numbers(version: str) -> list[int]:
    """Return the numbers that *version* begins with: enough to compare with a lower bound, which is a release."""
    numbers = []
    for part in version.split("."):
        leading = re.match(r"\d+", part)
        if leading is None:
            break
        numbers.append(int(leading[0]))
    return numbers


def _extension() -> Finding:
    """Say whether calls are recorded in C, what it costs if not, and how to have it."""
    if NATIVE is not None:
        return Finding("extension", "ok", "in C")
    told = "pure Python: all works, but recording a call takes several times as long"
    if os.environ.get("HOLTER_PURE_PYTHON") == "1":
        return Finding("extension", "missing", f"{told}; HOLTER_PURE_PYTHON=1 is set", "unset HOLTER_PURE_PYTHON")
    if platform.system() != "Linux" or platform.machine() not in _NATIVE_MACHINES:
        return Finding("extension", "absent", f"{told}; it is for Linux on {' and '.join(_NATIVE_MACHINES)}")
    compiler, header = _compiler(), Path(sysconfig.get_path("include"), "Python.h")
    lacks = [] if compiler is not None else ["a C compiler"]
    lacks += [] if header.is_file() else ["the headers of Python"]
    build = _build()
    if lacks:
        told = f"{told}; to build it needs {' and '.join(lacks)}"
        if shutil.which("apt-get") is None:
            return Finding("extension", "missing", f"{told}: install that, and then run")._replace(mend=build)
        names = ["gcc", "libc6-dev", *([] if header.is_file() else [_headers()])]
        return Finding("extension", "missing", told, f"{_as_root()}apt-get install -y {' '.join(names)} && {build}")
    return Finding("extension", "missing", told, build)


def _build() -> str:
    folder = checkout()
    if folder is None:
        # The cache may hold a wheel that was built where there was no compiler.
        return install(*_ANEW, "--no-cache-dir", "--no-binary", "holter", f"holter=={__version__}")
    return install(*_ANEW, *(["-e"] if is_editable() else []), folder)


def _compiler() -> str | None:
    told = os.environ.get("CC") or str(sysconfig.get_config_var("CC") or "cc")
    with suppress(ValueError, IndexError):
        return shutil.which(shlex.split(told)[0])
    return None


def _headers() -> str:
    return f"python{sys.version_info.major}.{sys.version_info.minor}-dev"


def _as_root() -> str:
    return "" if os.geteuid() == 0 else "sudo "
