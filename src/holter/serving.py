"""What serves where there is a guard, and since when, from its figures: of a process, a group or a recording."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from holter import words
from holter.figures import timestamp
from holter.model import Snapshot
from holter.names import GUARD_NAME, GUARD_REASON, GUARD_STATE, GUARD_SWITCHES, GUARD_TO
from holter.tables import Notes
from holter.verdict import clock_time

_ALL: Final = 1.0


@dataclass(frozen=True, slots=True)
class Serving:
    """
    What serves in place of the call *guard*: "primary", "fallback", or "trial".

    ``since`` is when that began, ``switches`` how often there has been one, by what to and why. Of a group it is
    the worst of any process.
    """

    guard: str
    state: str
    since: str
    since_ns: int
    switches: dict[str, int]

    def words(self) -> str:
        """Return it in one line."""
        serves = {
            "primary": "serves itself again",
            "trial": "its fallback serves, but for some trials,",
            "fallback": "its fallback serves",
        }[self.state]
        switches = words.count(sum(self.switches.values()), "switch")
        return f"{words.clean(self.guard, 60)}: {serves} since {clock_time(self.since_ns)}; {switches}"


def servings(snapshot: Snapshot) -> list[Serving]:
    """Return what serves in place of each guarded call."""
    switches: dict[str, dict[str, int]] = {}
    for series in snapshot.series.values():
        count = snapshot.total[series.id].sum if series.id in snapshot.total else 0.0
        if series.name == GUARD_SWITCHES and count:
            what = f"{series.attributes.get(GUARD_TO, '')} {series.attributes.get(GUARD_REASON, '')}"
            switches.setdefault(str(series.attributes.get(GUARD_NAME, "")), {})[what] = round(count)
    found = []
    for series in snapshot.series.values():
        reading = snapshot.total.get(series.id)
        if series.name == GUARD_STATE and GUARD_NAME in series.attributes and reading is not None:
            level = reading.last or 0.0
            since_ns = snapshot.time_ns - max(0, snapshot.monotonic_ns - reading.last_ns)
            name = str(series.attributes[GUARD_NAME])
            state = "fallback" if level >= _ALL else "trial" if level else "primary"
            found.append(Serving(name, state, timestamp(since_ns), since_ns, switches.get(name, {})))
    return sorted(found, key=lambda one: (one.state == "primary", one.guard))


def switched(found: Iterable[Serving]) -> Notes:
    """Return a line for each guard that has switched, those whose fallback serves as alerts are."""
    return Notes(tuple(("guard" if one.state == "primary" else "GUARD", one.words()) for one in found if one.switches))
