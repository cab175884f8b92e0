"""What keeps alerts of one name from being told for a while."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from holter.words import clean


@dataclass(frozen=True, slots=True)
class Silence:
    """
    Why nobody is told of the alerts of one name, and until when: Unix time in ns.

    The name is that of an alert, a check, a target or an incident; upper and lower case are the same. What
    `holter.silence` returns, and what an alert that it covers has as its ``silence``.

    >>> print(Silence("predict", since_ns=0, until_ns=60_000_000_000, reason="deploy"))
    silenced until 1970-01-01 ...: deploy
    """

    name: str
    since_ns: int
    until_ns: int
    reason: str

    def __str__(self) -> str:
        until = datetime.fromtimestamp(self.until_ns / 1e9).astimezone().strftime("%Y-%m-%d %H:%M:%S")
        return f"silenced until {until}: {clean(self.reason, 200)}"

    def covers(self, names: Iterable[str], now_ns: int) -> bool:
        """Whether an alert that is called by one of *names* is silenced at that time."""
        wanted = self.name.casefold()
        return self.since_ns <= now_ns < self.until_ns and any(wanted == name.casefold() for name in names)
