"""What the doctor looks at, in order: a round joins by one line."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator
from typing import Final, NamedTuple

from holter import words
from holter.checkup import components, exporters, packages, probes, recordings, samplers, surroundings
from holter.checkup.finding import Finding
from holter.guard import Guard
from holter.recorder import DISABLED


class Round(NamedTuple):
    """What is looked at together, and whether it is for a holter only that records."""

    group: str
    look: Callable[[], Iterable[Finding]]
    is_for_recording: bool = True


ROUNDS: Final = (
    Round("installed", packages.packages, is_for_recording=False),
    Round("around", surroundings.switches, is_for_recording=False),
    Round("around", surroundings.folders, is_for_recording=False),
    Round("recording", probes.ring),
    Round("recording", recordings.recordings),
    Round("probes", probes.kinds),
    Round("samplers", samplers.samplers),
    Round("exporters", exporters.exporters),
    # What takes seconds, because it imports, comes last.
    Round("components", components.components, is_for_recording=False),
)


GROUPS: Final = tuple(dict.fromkeys(one.group for one in ROUNDS))


def findings(groups: Container[str] = GROUPS, ports: Iterable[int] = ()) -> Iterator[tuple[str, Finding]]:
    """Yield the group of each thing that was tried and what came of it, as soon as that is known."""
    for number in ports:
        yield from (("ports", found) for found in surroundings.port(number))
    for one in ROUNDS:
        if one.group in groups and not (DISABLED and one.is_for_recording):
            yield from ((one.group, found) for found in looked(one))


def looked(one: Round) -> Iterator[Finding]:
    """Yield what came of a round; one that fails itself is broken, and stops no other."""
    guard, found = Guard(lambda _: None), iter(one.look())
    while (finding := guard.run(one.group, None, next, found, None)) is not None:
        yield finding
    for why in guard.first.values():
        yield Finding(one.group, "broken", f"could not be looked at: {words.clean(why, 300)}")
