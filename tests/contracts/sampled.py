"""What the tests of samplers share: a `record` that keeps what it is given, and systems that fail in places."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from holter.model import Across, Attributes, Kind


class Sampled:
    """The values of one or more samples by metric and attribute values: "process.cpu.time user"."""

    def __init__(self) -> None:
        self.values: dict[str, float] = {}
        self.metrics: dict[str, tuple[str, Kind]] = {}
        self.across: dict[str, Across | None] = {}

    def __call__(
        self,
        name: str,
        value: float,
        *,
        unit: str = "1",
        kind: Kind = "gauge",
        attributes: Attributes | None = None,
        across: Across | None = None,
    ) -> None:
        """Keep the newest value."""
        self.values[" ".join([name, *map(str, (attributes or {}).values())])] = value
        self.metrics[name] = (unit, kind)
        self.across[name] = across

    def __getitem__(self, name: str) -> float:
        """Return the newest value."""
        return self.values[name]


class Failing:
    """A real system, but that what is named in `broken` is answered by that function instead."""

    def __init__(self, real: Any) -> None:
        self.real = real
        self.broken: dict[str, Callable[..., Any]] = {}
        self.missing: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        """Look it up in the real system."""
        if name in self.missing:
            raise AttributeError(name)
        return self.broken.get(name) or getattr(self.real, name)


def raising(error: Exception) -> Callable[..., Any]:
    """Return a function that raises *error*."""

    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


def blank(read: Callable[..., Any]) -> Callable[..., Any]:
    """Return *read*, but that all fields of what it returns are None."""

    def read_nothing(*arguments: Any, **options: Any) -> Any:
        read_fields = read(*arguments, **options)
        return type(read_fields)(*[None] * len(read_fields))

    return read_nothing


def open_files() -> int:
    """Return how many files this process has open; 0 where Linux is not."""
    return len(list(Path("/proc/self/fd").iterdir())) if sys.platform == "linux" else 0
