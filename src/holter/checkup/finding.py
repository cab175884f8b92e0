"""What the doctor says of one thing, and how a thing is tried."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal, NamedTuple

from holter import words
from holter.checkup.installing import install
from holter.errors import HolterError
from holter.guard import Guard

State = Literal["ok", "broken", "missing", "absent"]
"""It works; what is required does not; what is optional does not; this machine has nothing of the kind."""

_LONGEST: Final = 300


class Finding(NamedTuple):
    """One thing that was tried: how it is, in words, and the command of a shell that mends it."""

    subject: str
    state: State
    words: str
    mend: str = ""


class Unwell(Exception):  # noqa: N818 - it is an answer
    """What was tried does not work: why, in words, and the command that mends it."""

    def __init__(self, told: str, mend: str = "", state: State | None = None) -> None:
        super().__init__(told)
        self.mend, self.state = mend, state


def tried(subject: str, attempt: Callable[[], str], *, otherwise: State = "broken") -> Finding:
    """Return what came of *attempt*, which tells in words what it saw working; *otherwise* is how it is if it fails."""

    def outcome() -> Finding:
        try:
            return Finding(subject, "ok", attempt())
        except Unwell as trouble:
            return Finding(subject, trouble.state or otherwise, words.clean(str(trouble), _LONGEST), trouble.mend)
        except ImportError as error:
            # Whatever it is, it is one of the packages that holter brings, or came with one.
            told = f"{error.name or 'a package'} cannot be imported: {words.clean(str(error), _LONGEST)}"
            return Finding(subject, otherwise, told, install("holter"))
        except OSError as error:
            return Finding(subject, otherwise, words.clean(str(error), _LONGEST))
        except HolterError as error:
            return Finding(subject, otherwise, words.clean(str(error), _LONGEST))

    guard = Guard(lambda _: None)
    found = guard.run(subject, None, outcome)
    return found or Finding(subject, otherwise, words.clean(guard.first[subject], _LONGEST))
