"""What holter does when its own code or a user's callable fails: count, remember, carry on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from inspect import CO_OPTIMIZED
from threading import get_ident, main_thread
from types import FrameType, TracebackType
from typing import Final, TypeVar

T = TypeVar("T")

# The descriptors themselves, because a class or its metaclass may answer for the attribute with code of its own.
_class_qualname = type.__dict__["__qualname__"].__get__
_class_module = type.__dict__["__module__"].__get__
traceback_of: Final[Callable[[BaseException], TracebackType | None]] = BaseException.__dict__["__traceback__"].__get__

UNKNOWN_PLACE: Final = "unknown"
_DEEPEST: Final = 1_000
_LONGEST: Final = 200


class Guard:
    """
    Runs callables that must not disturb anybody.

    An error is reported to *counted* by place and dropped; the first of each place is kept in
    words, until somebody has logged it. With ``strict`` it is raised where it happens instead.
    An interruption, which is not theirs, passes through.
    """

    def __init__(self, counted: Callable[[str], None]) -> None:
        self.strict = False
        self.first: dict[str, str] = {}
        self.told: set[str] = set()
        """The places of which somebody has logged the first error."""
        self._counted = counted

    def run(self, place: str, default: T, function: Callable[..., T], *arguments: object) -> T:
        """Return ``function(*arguments)``, or *default* where it fails."""
        try:
            return function(*arguments)
        except BaseException as error:
            try:
                passes = self._note(place, error)
            except RecursionError:
                # The stack is full to the last frame: what the caller does with the default needs less of it.
                return default
            if passes:
                raise
            return default

    def _note(self, place: str, error: BaseException) -> bool:
        """Count *error* at *place*; return whether it passes on."""
        if is_interruption(error):
            return True
        if place not in self.first:
            self.first[place] = f"{class_name(type(error))} at {place_of(error)}"
        self._counted(place)
        return self.strict

    def note(self, place: str, words: str) -> None:
        """Count what is not as it should be at *place*, and keep it in *words*; raises nothing, strict or not."""
        self.first.setdefault(place, words)
        self._counted(place)

    def refused(self, place: str, expected: str) -> None:
        """Count what was called wrongly at *place*; raise a TypeError that says what was *expected* when strict."""
        self.note(place, f"expected {expected}")
        if self.strict:
            raise TypeError(f"{place}: expected {expected}")


def class_name(cls: type) -> str:
    """Return the canonical name of *cls*: qualified, with its module unless built in."""
    name, module = _class_qualname(cls), _module_of(cls)
    return (name if module in ("builtins", "") else f"{module}.{name}")[:_LONGEST]


def _module_of(cls: type) -> str:
    try:
        module = _class_module(cls)
    except AttributeError:
        return ""
    return module if type(module) is str else ""


def place_of(error: BaseException) -> str:
    """Return where *error* was raised, as ``folder/file.py:line in function``; costs some 100 ns a frame."""
    parts = list(_tracebacks(error))
    if not parts:
        return UNKNOWN_PLACE
    innermost = parts[-1]
    code = innermost.tb_frame.f_code
    file = "/".join(code.co_filename.replace("\\", "/").rsplit("/", 2)[-2:])
    return f"{file}:{innermost.tb_lineno} in {code.co_name}"[:_LONGEST]


def is_interruption(error: BaseException) -> bool:
    """Whether *error* is Ctrl-C, or what a signal handler of the user's raised into the code that happened to run."""
    if get_ident() != main_thread().ident:
        return False
    is_ctrl_c = type.__subclasscheck__(KeyboardInterrupt, type(error))
    return is_ctrl_c or any(_is_handler(part.tb_frame) for part in _tracebacks(error))


def _is_handler(frame: FrameType) -> bool:
    # A signal handler is called with the frame that it interrupts, which nothing else is.
    interrupted = frame.f_back
    if interrupted is None or not frame.f_code.co_flags & CO_OPTIMIZED:
        return False
    return any(
        value is interrupted or (type(value) is tuple and any(item is interrupted for item in value))
        for value in frame.f_locals.values()
    )


def _tracebacks(error: BaseException) -> Iterator[TracebackType]:
    """Yield the parts of the traceback of *error*, the outermost first; at most 1,000."""
    following = traceback_of(error)
    for _ in range(_DEEPEST):
        if following is None:
            break
        yield following
        following = following.tb_next
