"""``holter doctor``: which ring, where records go, what is missing and how to mend it."""

from __future__ import annotations

import argparse
import itertools
import platform
import tempfile
from collections.abc import Callable, Iterator
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, NamedTuple

from holter import targets, words
from holter.errors import RecordingUnavailable
from holter.exporters.csvfile import CSVFile
from holter.exporters.logfile import LogFile
from holter.guard import Guard
from holter.model import Process
from holter.monitor import Monitor
from holter.recorder import DISABLED
from holter.recording import Recording
from holter.ring import IMPLEMENTATION
from holter.samplers.host import HostSampler
from holter.samplers.process import ProcessSampler
from holter.target import Target
from holter.version import __version__

_TRIES: Final = 100
# What is not required, the extra that brings it, and what it is good for.
_OPTIONAL: Final = (
    ("rich", "console", "colours and live tables on a terminal"),
    ("sklearn", "demo", "the model that `holter demo` trains and serves"),
)


class Finding(NamedTuple):
    """One thing that was looked at: whether it is well, in words, and the command that mends it."""

    subject: str
    is_well: bool
    words: str
    mend: str = ""


def add_to(commands: Any) -> None:
    """Add this command to those of the parser."""
    parser = commands.add_parser("doctor", help="say what works here, what is missing and how to mend it")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print what was found; return 1 if recording itself does not work, else 0."""
    del arguments
    required = [*_recording(), *_samplers(), *_exporters()]
    findings = [*required, _recordings(), *_optional()]
    there = [target for target in _targets() if find_spec(target.component) is not None]
    names = [*(finding.subject for finding in findings), *(target.__name__ for target in there)]
    width = max(map(len, names))
    # What takes seconds, because it imports, comes last and one by one.
    for finding in itertools.chain(findings, map(_target, there)):
        print(f"{'ok' if finding.is_well else '--'}  {finding.subject:<{width}}  {finding.words}")
        if finding.mend:
            print(f"    {'':<{width}}  to mend it: {finding.mend}")
    return 0 if all(finding.is_well for finding in required) else 1


def _recording() -> Iterator[Finding]:
    python = f"{platform.python_implementation()} {platform.python_version()} on {platform.system()}"
    yield Finding("holter", is_well=True, words=f"{__version__}, {python} {platform.machine()}")
    if DISABLED:
        yield Finding(
            "switch", is_well=False, words="HOLTER_DISABLED=1 is set: nothing is recorded", mend="unset HOLTER_DISABLED"
        )
        return
    monitor = Monitor("doctor", samplers=[])
    call: Callable[[], None] = monitor.watch(lambda: None, name="doctor")
    for _ in range(_TRIES):
        call()
    found = monitor.snapshot().find(call)
    seen = 0 if found is None else found.total.count
    yield Finding("ring", seen == _TRIES, f"{IMPLEMENTATION}; {seen} of {_TRIES} calls recorded and read back")


def _recordings() -> Finding:
    """Say where a process leaves what it recorded, by asking for a file."""
    try:
        recording = Recording.create(Process("doctor"))
    except RecordingUnavailable as error:
        told = f"in memory of the process, gone when it ends: {words.clean(str(error), 300)}"
        return Finding("recordings", is_well=False, words=told, mend="export HOLTER_DIR=a folder of your own")
    recording.close(clean=True)
    folder = words.clean(str(recording.path.parent), 300)
    return Finding("recordings", is_well=True, words=f"in {folder}, where they outlive their process")


def _samplers() -> Iterator[Finding]:
    for sampler in (ProcessSampler(), HostSampler()):
        names: set[str] = set()
        sampler.sample(lambda name, value, names=names, **_: names.add(name) if value is not None else None)
        missing = [f"{words.clean(name)} {words.clean(why)}" for name, why in sorted(sampler.unavailable.items())]
        told = f"{len(names)} metrics" + "".join(f"; {one}" for one in missing)
        yield Finding(type(sampler).__name__, bool(names), told)


def _exporters() -> Iterator[Finding]:
    with tempfile.TemporaryDirectory() as folder:
        log, table = Path(folder, "holter.jsonl"), Path(folder, "holter.csv")
        with Monitor("doctor", samplers=[], exporters=[LogFile(log), CSVFile(table)]) as monitor:
            monitor.counter("doctor.figures").add(1)
        for kind, path in (("LogFile", log), ("CSVFile", table)):
            lines = path.read_text(encoding="utf-8").count("\n")
            is_well = lines > 1
            yield Finding(kind, is_well, f"wrote {lines} lines to a temporary file" if is_well else "wrote nothing")
    yield _folder()


def _folder() -> Finding:
    """Say whether a relative path would work, by making a file rather than by reading permissions."""
    try:
        with tempfile.TemporaryFile(dir="."):
            return Finding("folder", is_well=True, words="this folder can be written")
    except OSError as error:
        told = f"this folder cannot be written: {error.strerror}"
        return Finding("folder", is_well=False, words=told, mend="cd to another folder, or give full paths")


def _optional() -> Iterator[Finding]:
    for module, extra, purpose in _OPTIONAL:
        is_there = find_spec(module) is not None
        told = f"{'installed' if is_there else 'not installed'}: {purpose}"
        yield Finding(module, is_there, told, "" if is_there else f"pip install 'holter[{extra}]'")


def _targets() -> list[type[Target]]:
    return [getattr(targets, name) for name in targets.__all__]


def _target(target: type[Target]) -> Finding:
    """Say whether the component that is installed is what `holter.instrument` expects; imports it."""
    subject, guard = target.__name__, Guard(lambda _: None)
    # What somebody else's import does is not foreseen.
    misfits = guard.run(subject, None, lambda: list(target.misfits()))
    told = f"{target.package} {_version(target.package)}"
    if misfits is None:
        misfits = [words.clean(guard.first[subject], 300)]
    if not misfits:
        return Finding(subject, is_well=True, words=f"{told} can be instrumented")
    left = f"{told} is not what it was, and what has changed is not watched: {'; '.join(misfits)}"
    return Finding(subject, is_well=False, words=left, mend=f"pip install --upgrade holter {target.package}")


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "of unknown version"
