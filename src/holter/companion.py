"""The helper process that reads GPUs, as seen from the program: asked, watched, ended and started again."""

from __future__ import annotations

import atexit
import json
import mmap
import os
import struct
import subprocess
import sys
import tempfile
import threading
from collections import deque
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Protocol, cast
from weakref import WeakSet

import holter.gpuhelper
from holter.clock import Clock
from holter.gpufigures import GPUReading, GPUsUnavailable, Told
from holter.nvml import NVML
from holter.nvmlcalls import CALLS

_SHORTEST_PAUSE_SECONDS: Final = 1.0
_LONGEST_PAUSE_SECONDS: Final = 300.0
_NEVER_NS: Final = 1 << 63
# A helper that has worked for so long is a healthy one: the next failure is a first one again.
_HEALTHY_NS: Final = 60_000_000_000
_START_PATIENCE: Final = 3
_IDLE_INTERVALS: Final = 5
_LEAST_IDLE_SECONDS: Final = 30.0
_MOST_WAITING: Final = 1 << 22
_MOST_EVENTS: Final = 1_000
_CHUNK: Final = 1 << 16
_FRESH_SHARE: Final = 0.2
_ALL: Final[WeakSet[Companion]] = WeakSet()
_HELPERS: Final[list[subprocess.Popen[bytes]]] = []
"""All that have not ended yet, also those that nobody talks to any more: Python warns of one that it forgets."""


class Source(Protocol):
    """Where a sampler has its readings from: a helper process, or the program's own."""

    reason: str
    """Why there is no reading now, in words; "" where there is one."""
    failures: dict[str, int]
    """How often the helper has failed, by how: died, hung."""
    cost: dict[str, float]
    """What the helper has cost so far: seconds of CPU time, and the bytes of memory that it holds."""
    events: deque[tuple[str, str]]
    """Error events of the driver that nobody has taken out yet: the GPU's id and the code."""

    def turn(self) -> Told | None:
        """Return what was read since the last turn, None if nothing; never blocks."""

    def close(self) -> None:
        """Give back what is held; the next turn begins anew."""


class Companion:
    """
    One helper process; a turn takes some 0.1 ms, starting it some 2 ms.

    A reading is asked for at each turn, to be made shortly before the next one. What dies is started again after a
    pause that doubles up to 5 minutes. What gives no answer for *timeout_seconds* (three times that for the first one)
    is killed first. A call during which that happened is not made again. A forked child owns no helper.
    """

    def __init__(
        self, *, interval_seconds: float, timeout_seconds: float, clock: Clock, shares_pids: bool | None = None
    ) -> None:
        self._interval, self._timeout, self._clock = interval_seconds, timeout_seconds, clock
        self._shares_pids = shares_pids
        self.reason, self.failures = "the helper has not answered yet", {"died": 0, "hung": 0}
        self.cost: dict[str, float] = {}
        self.events: deque[tuple[str, str]] = deque(maxlen=_MOST_EVENTS)
        self.skipped: list[str] = []
        self._pause = _SHORTEST_PAUSE_SECONDS
        self._resting_until_ns = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._held: dict[str, int] = {}
        """Open descriptors: of the pipe for questions, of that for answers, and of the word of progress."""
        self._forget()
        _ALL.add(self)

    def _forget(self) -> None:
        held, self._held = self._held, {}
        for descriptor in held.values():
            with suppress(OSError):
                os.close(descriptor)
        self._process = None
        self._starter: threading.Thread | None = None
        self._heard = b""
        self._known: dict[str, GPUReading] = {}
        self._started_ns = self._due_ns = 0
        self._is_asked = self._is_ending = self._has_answered = False

    def turn(self) -> Told | None:
        """Return what the helper has said since the last turn, None if nothing; never blocks."""
        process, now_ns = self._process, self._clock.monotonic_ns()
        if process is None:
            if now_ns >= self._resting_until_ns:
                self._start(now_ns)
                self._ask(now_ns, 0.0)
            return None
        told = self._listen()
        code = process.poll()
        if code is not None:
            self._ended(code, now_ns)
        elif self._is_ending:
            pass  # it is being killed; no other one is started before it is gone
        elif self._is_asked and now_ns > self._due_ns:
            self._hung()
        elif not self._is_asked:
            self._ask(now_ns, self._interval * (1 - _FRESH_SHARE))
        return told

    def close(self) -> None:
        """Let the helper go: it ends by itself, and nobody waits for it."""
        self._forget()

    def rest_for_good(self) -> None:
        """Start no other one."""
        self._resting_until_ns = _NEVER_NS

    def __del__(self) -> None:
        self.close()

    # -- life

    def _start(self, now_ns: int) -> None:
        self._forget()
        if os.name != "posix":
            self.reason = "the helper needs a POSIX system; GPUSampler(in_process=True) does without it"
            self.rest_for_good()
            return
        _HELPERS[:] = [one for one in _HELPERS if one.poll() is None]
        self._started_ns, self._starter = now_ns, threading.current_thread()
        package = Path(holter.gpuhelper.__file__).parent
        settings = {
            "parent": os.getpid(),
            "package": str(package),
            "path": _binding(),
            "devices": os.environ.get("CUDA_VISIBLE_DEVICES"),
            "device_order": os.environ.get("CUDA_DEVICE_ORDER"),
            "idle_seconds": max(_LEAST_IDLE_SECONDS, _IDLE_INTERVALS * self._interval),
            "skipped": self.skipped,
            "shares_pids": self._shares_pids,
        }
        ends: list[int] = []
        try:
            self._held |= _shared_word()
            ends, self._held = _pipes(self._held)
            word = self._held.get("progress")
            settings["progress"] = word
            # Without site (-S): what other packages run at each start of Python is no business of the helper's.
            command = [sys.executable, "-I", "-S", str(package / "gpuhelper.py"), json.dumps(settings)]
            process = subprocess.Popen(  # noqa: S603 - our own
                command,
                stdin=ends[0],
                stdout=ends[1],
                stderr=subprocess.DEVNULL,
                pass_fds=() if word is None else (word,),
                # Ctrl-C is meant for the program.
                start_new_session=True,
            )
        except (OSError, ValueError, RuntimeError) as error:
            self._forget()
            self.reason = f"the helper could not be started: {error}"
            self._rest(now_ns)
            return
        finally:
            for descriptor in ends:
                os.close(descriptor)
        self._process = process
        _HELPERS.append(process)

    def _ask(self, now_ns: int, delay_seconds: float) -> None:
        if self._process is None:
            return
        with suppress(OSError):
            os.write(self._held["questions"], b"%d\n" % (delay_seconds * 1e3))
        patience = self._timeout * (1 if self._has_answered else _START_PATIENCE)
        self._is_asked, self._due_ns = True, now_ns + int((delay_seconds + patience) * 1e9)

    def _hung(self) -> None:
        self.failures["hung"] += 1
        culprit = self._culprit()
        self.reason = f"the helper gave no answer for {self._timeout:g} s{culprit} and was ended"
        self._is_ending = True
        if self._process is not None:
            self._process.kill()

    def _ended(self, code: int, now_ns: int) -> None:
        starter, was_ending = self._starter, self._is_ending
        has_worked = self._has_answered and now_ns - self._started_ns > _HEALTHY_NS
        culprit = "" if was_ending else self._culprit()
        self.close()
        if has_worked:
            self._pause = _SHORTEST_PAUSE_SECONDS
        if not was_ending and code == 0:
            # By itself: nobody has asked for a while, or it has said why it cannot go on.
            self._rest(now_ns)
            return
        if not was_ending and starter is not None and not starter.is_alive():
            # Linux ends it with the thread that has started it, which is no failure.
            self._resting_until_ns = now_ns
            return
        if not was_ending:
            self.failures["died"] += 1
            if code != holter.gpuhelper.FAILED:
                how = f"by signal {-code}" if code < 0 else f"with code {code}"
                self.reason = f"the helper died {how}{culprit}"
        self._rest(now_ns)

    def _rest(self, now_ns: int) -> None:
        self._resting_until_ns = now_ns + int(self._pause * 1e9)
        self._pause = min(_LONGEST_PAUSE_SECONDS, self._pause * 2)

    def _culprit(self) -> str:
        """Return in words during which call the helper failed, and see to it that it is not made again."""
        number = 0
        if "progress" in self._held:
            with suppress(OSError, struct.error):
                (number,) = struct.unpack("<I", os.pread(self._held["progress"], 4, 0))
        if not 0 < number <= len(CALLS):
            return ""
        function = CALLS[number - 1].function
        self._skip(function)
        return f" in {function}"

    def _skip(self, function: str) -> None:
        if function and function not in self.skipped:
            self.skipped.append(function)

    # -- what it says

    def _listen(self) -> Told | None:
        with suppress(OSError, KeyError):
            while chunk := os.read(self._held["answers"], _CHUNK):
                self._heard += chunk
                if len(self._heard) > _MOST_WAITING:
                    break
        *lines, self._heard = self._heard.split(b"\n")
        told = None
        for line in lines:
            with suppress(ValueError, KeyError, TypeError):
                told = self._take(json.loads(line)) or told
        return told

    def _take(self, said: dict[str, Any]) -> Told | None:
        if "event" in said:
            gpu, code = said["event"]
            self.events.append((str(gpu), str(code)))
            return None
        self._is_asked = False
        if "unavailable" in said:
            self.reason = str(said["unavailable"])
            self._skip(str(said.get("culprit", "")))
            return None
        self._has_answered, self.reason, self.cost = True, "", said["cost"]
        gpus: list[GPUReading] = [cast("GPUReading", {**self._known.get(one["id"], {}), **one}) for one in said["gpus"]]
        self._known = {one["id"]: one for one in gpus}
        return {"time_ns": said["time_ns"], "gpus": gpus}

    def forked(self) -> None:
        """In a forked child: give back its copies of the helper's pipes, so that it ends with its own parent."""
        self.close()
        self._resting_until_ns, self._pause = 0, _SHORTEST_PAUSE_SECONDS
        self.failures = {"died": 0, "hung": 0}
        self.events.clear()


class InProcess:
    """The GPUs read by the program itself, where a call that hangs hangs its sampler; not in a forked child."""

    def __init__(self, *, clock: Clock, shares_pids: bool | None = None) -> None:
        self._clock, self._shares_pids, self._pid = clock, shares_pids, os.getpid()
        self._gpus: NVML | None = None
        self._skipped: set[str] = set()
        self.reason, self.failures = "", dict[str, int]()
        self.cost: dict[str, float] = {}
        self.events: deque[tuple[str, str]] = deque(maxlen=_MOST_EVENTS)

    def turn(self) -> Told | None:
        """Read, and return that."""
        if self._pid != os.getpid():
            self.reason = "the driver's library does not survive a fork in which it was in use"
            return None
        try:
            if self._gpus is None:
                gpus = NVML(
                    self._pid,
                    devices=os.environ.get("CUDA_VISIBLE_DEVICES"),
                    device_order=os.environ.get("CUDA_DEVICE_ORDER"),
                    skipped=self._skipped,
                    shares_pids=self._shares_pids,
                )
                gpus.open()
                self._gpus = gpus
            told = self._gpus.read(self._clock.monotonic_ns())
        except GPUsUnavailable as error:
            self._gpus, self.reason = None, str(error)
            self._skipped |= {error.culprit} - {""}
            return None
        self.reason = ""
        return told

    def close(self) -> None:
        """Leave the library as it is: to shut it down may hang."""


def _binding() -> list[str]:
    """Return the folder in which NVIDIA's module lies, if there is one: the helper sees no other's folders."""
    try:
        spec = find_spec("pynvml")
    except (ImportError, ValueError):
        return []
    return [] if spec is None or spec.origin is None else [str(Path(spec.origin).parent)]


def _pipes(held: dict[str, int]) -> tuple[list[int], dict[str, int]]:
    """Return the helper's ends of two pipes, and with what is *held* the program's ends, which do not block."""
    theirs, questions = os.pipe()
    answers, others = os.pipe()
    for descriptor in (questions, answers):
        os.set_blocking(descriptor, False)
    return [theirs, others], {**held, "questions": questions, "answers": answers}


def _shared_word() -> dict[str, int]:
    """Return the descriptor of a file that both map, nothing where it cannot be had."""
    try:
        with tempfile.TemporaryFile(buffering=0) as file:
            file.write(bytes(mmap.PAGESIZE))
            return {"progress": os.dup(file.fileno())}
    except OSError:
        return {}


def _let_go() -> None:
    """At exit: wait for nobody; they see the end of their input."""
    for one in list(_ALL):
        one.close()
        one.rest_for_good()
    for process in _HELPERS:
        # Else Python warns that nobody has waited for it.
        process.returncode = 0


def _forked() -> None:
    _let_go()
    _HELPERS.clear()
    for one in list(_ALL):
        one.forked()


atexit.register(_let_go)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
