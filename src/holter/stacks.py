"""
Where the code of an open call stands: file, line and function of each frame, and nothing else of it.

Of a call on a thread it is the stack of that thread. Of a coroutine it is what its task awaits, down to the innermost,
which is looked at in the thread of its event loop: there nothing of it can move meanwhile, with a GIL or without. A
loop that does not come to that is blocked, and what matters then is the stack of its thread.
"""

from __future__ import annotations

import os
import sys
import sysconfig
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, Final, NamedTuple

from holter._ring import START
from holter.awaiting import frames_of_task_with
from holter.loops import LOOPS, Loops
from holter.model import OpenCall
from holter.record import THREAD_WORD
from holter.recorder import RECORDER
from holter.ring import IMPLEMENTATION
from holter.words import clean

MOST_FRAMES: Final = 12
"""The innermost; holter's own are none of them."""
PATIENCE_SECONDS: Final = 0.5
"""So long a loop may take to come to what it is asked; one that takes longer is blocked."""
LONGEST_TEXT: Final = 1_000
_LONGEST_PLACE: Final = 120
_DEEPEST: Final = 10_000
_OWN: Final = str(Path(__file__).parent) + os.sep
_LIBRARIES: Final = tuple(
    str(folder) + os.sep
    for folder in (sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), Path(threading.__file__).parent)
)
# What a loop refuses that was closed since, or is of another make.
_REFUSALS: Final = (RuntimeError, OSError, TypeError, NotImplementedError, AttributeError)
# What holter's own frames know the call by that they are about.
_CALLS: Final = ("call", "clock", "self")


class Stand(NamedTuple):
    """Where a call stands: ``in_what`` is "thread", "task", or "event loop" for one that is blocked."""

    in_what: str
    frames: tuple[str, ...]
    """The innermost first."""
    own: int = 0
    """Which of them is the innermost of the program's own code: neither of Python's library nor of a package."""

    @property
    def place(self) -> str:
        """Where the program's own code stands, and in what that it has called."""
        own = self.frames[self.own]
        return f"{own}, which is at {self.frames[0]}" if self.own else own

    @property
    def text(self) -> str:
        """The frames on one line, at most 1,000 characters: "app/model.py:12 in wait < app/server.py:40 in handle"."""
        return clean(" < ".join(self.frames), LONGEST_TEXT)


def stand_of(call: OpenCall, loops: Loops = LOOPS, patience_seconds: float = PATIENCE_SECONDS) -> Stand | None:
    """
    Return where *call* stands, None where that cannot be told.

    Takes some 0.1 ms, and *patience_seconds* where an event loop is blocked. To find its task the loop is kept for
    20 ms at most.
    """
    ident = _ident_of(call.thread)
    if call.task or call.asked_ns or IMPLEMENTATION != "C" or any(_thread_of(one) == ident for one in loops.open()):
        asked = _ask(call.start_ns, ident, loops, patience_seconds)
        found = next((one.stand for one in asked if one.stand is not None), None)
        if found is not None:
            return found
        if any(one.is_blocked and one.ident in {None, ident} for one in asked):
            return _stand("event loop", _stack_of(ident))
        if any(one.ident == ident for one in asked):
            # Its thread is in the loop, and so not in the call, whose task was not found among too many.
            return None
    if call.asked_ns > 0:
        # A generator may be asked for its items in any thread.
        stacks = (_stack_of(one) for one in (ident, *list(RECORDER.rings)))
        producing = next((stack for stack in stacks if any(map(_is_stream, stack))), None)
        if producing is not None:
            return _stand("thread", producing)
    return _stand("thread", _stack_of(ident))


def stand_of_thread(native: int = 0) -> Stand | None:
    """Return where a thread stands, by its native id: the main one, if there is none of that id."""
    ident = _ident_of(native) or threading.main_thread().ident
    return _stand("thread", _stack_of(ident))


class _Question:
    """Asks a loop which of its tasks runs the call that began at *start_ns*, and where that stands."""

    def __init__(self, loop: Any, start_ns: int) -> None:
        self._loop, self._start_ns = loop, start_ns
        self.ident = _thread_of(loop)
        self.is_answered, self.is_dropped = threading.Event(), False
        self.stand: Stand | None = None

    def __call__(self) -> None:
        loop, self._loop = self._loop, None
        try:
            if not self.is_dropped:
                found = frames_of_task_with(loop, self._is_of_call)
                self.stand = None if found is None else _stand("task", reversed(found))
        finally:
            self.is_answered.set()

    def _is_of_call(self, frame: FrameType) -> bool:
        return _is_own(frame) and self._start_ns in _starts(frame)

    @property
    def is_blocked(self) -> bool:
        return not self.is_answered.is_set()


def _ask(start_ns: int, ident: int | None, loops: Loops, patience_seconds: float) -> list[_Question]:
    """Ask all loops that run, and give them all together so much time to answer."""
    known = loops.open()
    if all(_thread_of(loop) != ident for loop in known):
        loops.find_waiting()
        known = loops.open()
    asked = []
    for loop in known:
        question = _Question(loop, start_ns)
        if loops.is_here(loop):
            question()
        elif loop.is_running():
            try:
                loop.call_soon_threadsafe(question)
            except _REFUSALS:
                continue
        else:
            continue
        asked.append(question)
    deadline = time.monotonic() + patience_seconds
    for question in asked:
        question.is_answered.wait(max(0.0, deadline - time.monotonic()))
        question.is_dropped = True
    return asked


def _thread_of(loop: Any) -> int | None:
    """Return in which thread a loop runs, None where it does not tell."""
    ident: int | None = getattr(loop, "_thread_id", None)
    return ident


def _starts(frame: FrameType) -> Iterator[int]:
    """Yield when the calls began that a frame of holter's own is about."""
    names = frame.f_locals
    for name in _CALLS:
        held = names.get(name)
        call: Any = getattr(held, "_call", held)
        if type(call) is list or type(call).__name__ == "Call":
            yield call[START]
    if type(names) is dict:
        # A copy, which would live as long as the frame, and what it names with it.
        names.clear()


def _ident_of(native: int) -> int | None:
    """Return by what Python knows the thread with that native id."""
    for ident, ring in list(RECORDER.rings.copy().items()):
        if ring.words[THREAD_WORD] == native:
            return ident
    return next((one.ident for one in threading.enumerate() if one.native_id == native), None)


def _stack_of(ident: int | None) -> list[FrameType]:
    """Return the frames of a thread, the innermost first; none of one that has ended."""
    frame = None if ident is None else sys._current_frames().get(ident)  # noqa: SLF001 - a documented function
    found: list[FrameType] = []
    while frame is not None and len(found) < _DEEPEST:
        found.append(frame)
        frame = frame.f_back
    return found


def _stand(in_what: str, frames: Iterable[FrameType]) -> Stand | None:
    """Return what tells of *frames*, without holter's, and those in which Python starts a thread; None without any."""
    shown = [frame for frame in frames if not _is_own(frame)]
    while len(shown) > 1 and _is_start(shown[-1]):
        shown.pop()
    del shown[MOST_FRAMES:]
    own = next((index for index, frame in enumerate(shown) if not _is_of_others(frame)), 0)
    return Stand(in_what, tuple(map(_place, shown)), own) if shown else None


def _place(frame: FrameType) -> str:
    code = frame.f_code
    file = "/".join(code.co_filename.replace("\\", "/").rsplit("/", 2)[-2:])
    return clean(f"{file}:{frame.f_lineno} in {code.co_name}", _LONGEST_PLACE)


def _is_own(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith(_OWN)


def _is_of_others(frame: FrameType) -> bool:
    file = frame.f_code.co_filename
    return file.startswith((*_LIBRARIES, "<frozen ")) or "site-packages" in file or "dist-packages" in file


def _is_start(frame: FrameType) -> bool:
    file = frame.f_code.co_filename
    return file == threading.__file__ or file.startswith("<frozen ")


def _is_stream(frame: FrameType) -> bool:
    return _is_own(frame) and frame.f_code.co_name == "watched_stream"
