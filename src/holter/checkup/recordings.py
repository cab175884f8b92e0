"""Whether what a process recorded outlives it, and is summed with what others of its service did."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from holter import words
from holter.checkup.finding import Finding, Unwell, tried
from holter.checkup.witness import OTHER_CALLS, OWN_CALLS
from holter.errors import RecordingError, RecordingUnavailable
from holter.folder import candidates, usable_folder
from holter.model import Process
from holter.postmortem import post_mortem
from holter.recorded import RecordingContents, read_recording
from holter.recording import Recording
from holter.segments import Space

_SECONDS: Final = 60.0
_MOST_BYTES: Final = Space().most_bytes


def recordings() -> Iterator[Finding]:
    """Say where recordings go, whether another process reads them, and whether processes are summed."""
    try:
        folder = usable_folder()
        room = _room(folder)
    except RecordingUnavailable as error:
        told = f"in memory of the process, gone when it ends: {words.clean(str(error), 300)}"
        yield Finding("recordings", "missing", told, mend())
        return
    shown = words.clean(str(folder), 300)
    small = "" if room == _MOST_BYTES else f"; room for {words.size(room)} each, of {words.size(_MOST_BYTES)}"
    yield Finding("recordings", "ok", f"in {shown}, where they outlive their process{small}")
    witness: dict[str, Any] = {}
    yield tried("post-mortem", lambda: _read_from_outside(folder, witness), otherwise="missing")
    yield tried("group", lambda: _summed(witness), otherwise="missing")


def _room(folder: Path) -> int:
    """Return how many bytes a recording in *folder* may take, by making one."""
    recording = Recording.create(Process("doctor"), folder=folder)
    try:
        descriptor = os.open(recording.path, os.O_RDONLY)
        try:
            return Space().limit_bytes(descriptor)
        finally:
            os.close(descriptor)
    finally:
        recording.close(clean=True)


def _read_from_outside(folder: Path, told: dict[str, Any]) -> str:
    """Let another process record, read it while it lives, kill it and read it again."""
    private = tempfile.mkdtemp(prefix="doctor-", dir=folder)
    environment = {**os.environ, "HOLTER_DIR": private, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    environment.pop("OTEL_SERVICE_NAME", None)
    try:
        with subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "holter.checkup.witness"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        ) as process:
            patience = threading.Timer(_SECONDS, process.kill)
            patience.start()
            try:
                line = process.stdout.readline() if process.stdout else ""
                if not line:
                    raise Unwell(f"a process that was to record ended instead: {_last_line(process)}")
                told |= json.loads(line)
                path = Path(told["path"])
                alive = read_recording(path)
                process.send_signal(signal.SIGKILL)
                process.wait()
                dead = read_recording(path)
            finally:
                patience.cancel()
                if process.stdin:
                    process.stdin.close()
    except RecordingError as error:
        raise Unwell(f"a recording could not be read: {error}") from None
    finally:
        shutil.rmtree(private, ignore_errors=True)
    _judge(alive, "running")
    _judge(dead, "dead")
    post_mortem(dead)
    return "a process was read from outside, without ptrace, while it hung and after SIGKILL"


def _judge(contents: RecordingContents, state: str) -> None:
    call = contents.snapshot().find("holter.call.duration", {"holter.call.name": "doctor"})
    seen = 0 if call is None else call.total.count
    running = [one.name for one in contents.open_calls]
    if (contents.process.state, seen, running) != (state, OWN_CALLS, ["hang"]):
        raise Unwell(
            f"the recording of a process that is {state} says {contents.process.state}, "
            f"{seen} of {OWN_CALLS} calls, running: {', '.join(running) or 'nothing'}"
        )


def _last_line(process: subprocess.Popen[str]) -> str:
    text = process.stderr.read() if process.stderr else ""
    lines = text.strip().splitlines()
    return words.clean(lines[-1], 200) if lines else "it said nothing"


def _summed(told: Mapping[str, Any]) -> str:
    if not told:
        raise Unwell("not tried, as nothing could be read from outside")
    together, expected = told["together"], OWN_CALLS + OTHER_CALLS
    if together != expected:
        raise Unwell(f"2 processes of a service: {together} of {expected} calls summed")
    return f"2 processes of a service: {together} of {expected} calls summed"


def mend() -> str:
    """Return the command after which recordings have a folder, "" if none is found; each was tried."""
    if sys.platform != "linux":
        return ""
    for folder in candidates():
        if _is_open_to_others(folder) and _has_room(folder):
            return f"chmod go-w {shlex.quote(str(folder))}"
    if os.environ.get("HOLTER_DIR"):
        environment = {name: value for name, value in os.environ.items() if name != "HOLTER_DIR"}
        try:
            _room(usable_folder(environment))
        except RecordingUnavailable:
            pass
        else:
            return "unset HOLTER_DIR"
    home = Path(os.path.expanduser("~"), ".cache")  # noqa: PTH111 - it may not be known, and is then left as it is
    if _has_room(home):
        return "export HOLTER_DIR=~/.cache/holter"
    return 'export HOLTER_DIR="$(mktemp -d)"' if _has_room(None) else ""


def _is_open_to_others(folder: Path) -> bool:
    try:
        found = folder.lstat()
    except OSError:
        return False
    is_mine = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
    return is_mine and bool(found.st_mode & (stat.S_IWGRP | stat.S_IWOTH))


def _has_room(folder: Path | None) -> bool:
    """Whether a recording can be made in a folder of its own in *folder*, or in the one above that is there."""
    while folder is not None and not folder.exists() and folder.parent != folder:
        folder = folder.parent
    try:
        with tempfile.TemporaryDirectory(prefix="holter-doctor-", dir=folder) as private:
            _room(Path(private))
    except OSError:
        return False
    return True
