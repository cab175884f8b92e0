"""Whether each sampler yields figures here."""

from __future__ import annotations

import importlib
import pkgutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import holter
from holter import words
from holter.checkup.finding import Finding, State, Unwell, tried
from holter.model import Sampler
from holter.monitor import Monitor

_PATIENCE_SECONDS: Final = 5.0
_REST_SECONDS: Final = 0.05
_MOST_SAID: Final = 3
_UNAVAILABLE: Final = "unavailable, because "

# What a machine may do without.
_MAY_BE_ABSENT: Final = frozenset({"ContainerSampler", "GPUSampler"})
# What a sampler says of itself tells nothing of what it samples.
_OF_ITSELF: Final = ("holter.gpu.helper.", "holter.gpu.reading_age")
# What must be told something before it samples.
_ARGUMENTS: Final[Mapping[str, tuple[Any, ...]]] = {"Storage": ([Path()],)}


def samplers() -> Iterator[Finding]:
    """Say of each sampler that a monitor has by itself, and of each other one that holter has, what it yields."""
    own = {type(sampler).__name__: sampler for sampler in Monitor("doctor", recording=False).settings.samplers}
    for subject in [*own, *(name for name in exported("samplers") if name not in own)]:
        yield sampled(subject, lambda subject=subject: own.get(subject) or _made(subject))  # type: ignore[misc]  # early


def exported(room: str) -> list[str]:
    """Return the public classes that the modules of a *room* of holter define; imports no other room's."""
    found = []
    for module in pkgutil.iter_modules(importlib.import_module(f"holter.{room}").__path__, f"holter.{room}."):
        # One that needs a package which is not there is told of where that is needed.
        with suppress(ImportError):
            defined = vars(importlib.import_module(module.name)).items()
            found += [name for name, one in defined if name in holter.__all__ and one.__module__ == module.name]
    return found


def _made(subject: str) -> Sampler:
    made: Sampler = getattr(holter, subject)(*_ARGUMENTS.get(subject, ()))
    return made


def sampled(subject: str, make: Callable[[], Sampler], *, patience_seconds: float = _PATIENCE_SECONDS) -> Finding:
    """Say what a sampler yields; one that yields nothing at first has some seconds, until it says something else."""
    otherwise: State = "absent" if subject in _MAY_BE_ABSENT else "broken"
    return tried(subject, lambda: _yielded(make(), patience_seconds), otherwise=otherwise)


def _yielded(sampler: Sampler, patience_seconds: float) -> str:
    found: set[str] = set()

    def record(name: str, value: float | None, **_: object) -> None:
        if value is not None and not name.startswith(_OF_ITSELF):
            found.add(name)

    deadline = time.monotonic() + patience_seconds
    try:
        sampler.sample(record)
        missing = first = _unavailable(sampler)
        # One that has a helper waits for its first words.
        while not found and missing == first and time.monotonic() < deadline:
            time.sleep(_REST_SECONDS)
            sampler.sample(record)
            missing = _unavailable(sampler)
    finally:
        close = getattr(sampler, "close", None)
        if callable(close):
            close()
    reasons: dict[str, list[str]] = {}
    for name, why in sorted(missing.items()):
        reasons.setdefault(why, []).append(words.clean(name))
    if not found:
        raise Unwell("; ".join(why.removeprefix(_UNAVAILABLE) for why in reasons) or "yielded nothing")
    said = [f"{these[0] if len(these) == 1 else len(these)} {why}" for why, these in reasons.items()]
    if len(said) > _MOST_SAID:
        said[_MOST_SAID:] = ["and more"]
    return "; ".join([words.count(len(found), "metric"), *said])


def _unavailable(sampler: Sampler) -> dict[str, str]:
    return {str(name): words.clean(str(why), 200) for name, why in getattr(sampler, "unavailable", {}).items()}
