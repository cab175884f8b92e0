"""Whether each sampler yields figures here."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import holter
from holter import words
from holter.checkup.finding import Finding, Unwell, tried
from holter.model import Sampler
from holter.monitor import Monitor

_PATIENCE_SECONDS: Final = 3.0
_REST_SECONDS: Final = 0.05
_MOST_NAMED: Final = 3

# What a machine may do without.
_MAY_BE_ABSENT: Final = frozenset({"GPUSampler"})
# What is made by hand, with what it must be told.
_ARGUMENTS: Final[Mapping[str, tuple[Any, ...]]] = {"Storage": ([Path()],)}


def samplers() -> Iterator[Finding]:
    """Say of each sampler that a monitor has by itself, and of each other one that holter has, what it yields."""
    own = {type(sampler).__name__: sampler for sampler in Monitor("doctor", recording=False).settings.samplers}
    for subject in [*own, *(name for name in exported("sample") if name not in own)]:
        is_missed = subject not in _MAY_BE_ABSENT
        yield tried(
            subject,
            lambda subject=subject: _sampled(own.get(subject) or _made(subject)),  # type: ignore[misc]  # bound early
            otherwise="broken" if is_missed else "absent",
        )


def exported(method: str) -> list[str]:
    """Return the public classes that have *method*, but for the Protocols."""
    kinds = {name: getattr(holter, name) for name in holter.__all__}
    return [
        name
        for name, kind in kinds.items()
        if isinstance(kind, type) and callable(getattr(kind, method, None)) and not getattr(kind, "_is_protocol", False)
    ]


def _made(subject: str) -> Sampler:
    made: Sampler = getattr(holter, subject)(*_ARGUMENTS.get(subject, ()))
    return made


def _sampled(sampler: Sampler) -> str:
    found: set[str] = set()

    def record(name: str, value: float | None, **_: object) -> None:
        if value is not None:
            found.add(name)

    deadline = time.monotonic() + _PATIENCE_SECONDS
    try:
        sampler.sample(record)
        # A sampler that has a helper may wait for its first words.
        while not found and time.monotonic() < deadline:
            time.sleep(_REST_SECONDS)
            sampler.sample(record)
    finally:
        close = getattr(sampler, "close", None)
        if callable(close):
            close()
    missing = dict(getattr(sampler, "unavailable", {}))
    if not found:
        raise Unwell("; ".join(dict.fromkeys(_said(missing))) or "yielded nothing")
    told = words.count(len(found), "metric")
    said = [f"{name} {why}" for name, why in sorted(missing.items())]
    if len(said) > _MOST_NAMED:
        said[_MOST_NAMED:] = [f"{len(said) - _MOST_NAMED} more unavailable"]
    return "; ".join([told, *(words.clean(one, 200) for one in said)])


def _said(missing: Mapping[Any, Any]) -> Iterator[str]:
    for why in missing.values():
        yield words.clean(str(why), 200)
