"""What the doctor found, as lines for people and as one object for programs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from typing import Any, Final, TextIO

from holter import words
from holter.checkup.finding import Finding, State
from holter.tables import cell_width, wrapped

_MARKS: Final[dict[State, str]] = {"ok": "ok", "broken": "!!", "missing": "--", "absent": ".."}
_COLOURS: Final[dict[State, str]] = {"ok": "32", "broken": "1;31", "missing": "33", "absent": "2"}
_NAME_WIDTH: Final = 20
_INDENT: Final = " " * (_NAME_WIDTH + 6)
_NARROWEST: Final = 60
_BOLD: Final = "1"


class Page:
    """
    Prints findings one by one, under the name of their group, the command that mends on a line of its own.

    Of a group whose members are many, those that work share a line. On a terminal, in colours unless NO_COLOR is
    set, and wrapped to its width; elsewhere each finding is one line.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        is_terminal = stream.isatty()
        self._is_coloured = is_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        self._width = max(_NARROWEST, shutil.get_terminal_size().columns) if is_terminal else None
        self._group = ""
        self._fine: list[str] = []

    def add(self, group: str, finding: Finding, *, is_one_of_many: bool = False) -> None:
        """Print *finding*, or keep it for the line that it shares."""
        if group != self._group:
            self.end()
            self._group = group
            self._print(self._painted(group, _BOLD))
        if is_one_of_many and finding.state == "ok":
            self._fine.append(finding.subject)
            return
        self._finding(finding)

    def _finding(self, finding: Finding) -> None:
        mark = self._painted(_MARKS[finding.state], _COLOURS[finding.state])
        told = finding.words + ("; to mend it:" if finding.mend else "")
        lines = [told] if self._width is None else wrapped(told, self._width - len(_INDENT)) or [""]
        name = words.clean(finding.subject, 60)
        space = " " * max(1, _NAME_WIDTH - cell_width(name))
        self._print(f"  {mark}  {name}{space}{lines[0]}")
        for line in lines[1:]:
            self._print(f"{_INDENT}{line}")
        if finding.mend:
            # Never wrapped: it is there to be copied.
            self._print(f"{_INDENT}{self._painted(finding.mend, _BOLD)}")

    def end(self) -> None:
        """Print what is left of the group."""
        if self._fine:
            told = f"{len(self._fine)} kinds record and are read back: {', '.join(self._fine)}"
            self._fine.clear()
            self._finding(Finding("probes", "ok", told))

    def close(self, found: Iterable[tuple[str, Finding]]) -> None:
        """Print the verdict."""
        self.end()
        states = [finding.state for _, finding in found]
        broken, missing = states.count("broken"), states.count("missing")
        told = "All that is required works."
        if broken:
            told = f"{words.count(broken, 'required thing')} {'fails' if broken == 1 else 'fail'}."
        if missing:
            told += f" {words.count(missing, 'optional thing')} could be mended."
        self._print("")
        self._print(self._painted(told, _COLOURS["broken" if broken else "ok"]))

    def _painted(self, text: str, colour: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._is_coloured else text

    def _print(self, line: str) -> None:
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        print(line.encode(encoding, "replace").decode(encoding), file=self._stream, flush=True)


def figures(found: Iterable[tuple[str, Finding]], *, is_well: bool, **header: str) -> dict[str, Any]:
    """Return the findings as one object of JSON."""
    return {**header, "is_well": is_well, "findings": list(_figures(found))}


def _figures(found: Iterable[tuple[str, Finding]]) -> Iterator[dict[str, Any]]:
    for group, finding in found:
        yield {
            "group": group,
            "subject": finding.subject,
            "state": finding.state,
            "words": finding.words,
            "mend": finding.mend or None,
        }
