"""What a look from outside has shown, made up: one process or several, with figures that a test decides."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from holter.documents import RecordedProcess
from holter.model import Alert, Snapshot
from holter.view.onlooker import Moment, Person, Sight
from holter.whereabouts import Pulse
from simulation import START_NS, World


def moment(snapshot: Snapshot, lately: Snapshot | None = None) -> Moment:
    """Return a moment whose window is the last interval."""
    return Moment(snapshot, snapshot, lately or snapshot)


def person(snapshot: Snapshot, *, silent_seconds: float = 0.4, **process: Any) -> Person:
    """Return one process that did what *snapshot* tells."""
    known = RecordedProcess(
        **{"service": "sentiment", "version": "v7", "pid": 4121, "host": "gpu-3", "ended_ns": START_NS, **process}
    )
    is_alive = known.state in ("running", "stopped")
    return Person(
        identity=str(known.pid),
        path=Path("/recordings", f"{known.service}-{known.pid}-1.holter"),
        process=known,
        is_alive=is_alive,
        is_silent=known.state == "running" and silent_seconds > 3,
        silent_seconds=silent_seconds,
        pulse=Pulse("S", 1.0) if is_alive else None,
        cpu_share=0.25 if is_alive else None,
        missing=(),
        moment=moment(snapshot),
    )


def sight(world: World, *people: Person, alerts: tuple[Alert, ...] = (), **more: Any) -> Sight:
    """Return what a look has shown of the whole *world*, and of the people in it; of one where none are given."""
    snapshot = world.snapshot(**more)
    return Sight(snapshot.time_ns, people or (person(snapshot),), moment(snapshot), alerts)


def with_pulse(one: Person, letter: str, cpu_share: float | None) -> Person:
    """Return a process of which the system says that."""
    return replace(one, pulse=Pulse(letter, 1.0), cpu_share=cpu_share)
