"""The settings of a monitor, checked when it is made."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from holter.arguments import positive_seconds
from holter.errors import ConfigurationError
from holter.model import Alert, Attributes, Check, Exporter, Sampler
from holter.options import LONGEST_NAME, checked_attributes, checked_name
from holter.wanted import Wanted

OnAlert = Callable[[Alert], object]


@dataclass(frozen=True, slots=True)
class Settings:
    """What a monitor was made with; equal to others of the same types and settings."""

    name: str
    version: str | None
    attributes: Attributes
    exporters: tuple[Exporter, ...]
    checks: tuple[Check, ...]
    samplers: tuple[Sampler, ...]
    on_alert: OnAlert | None
    interval_seconds: float
    recording: bool
    strict: bool
    group: str | None = None

    @property
    def title(self) -> str:
        """Name and version."""
        return f"{self.name} {self.version or ''}".rstrip()

    @property
    def plug_ins(self) -> str:
        """The types of exporters, checks and samplers, in words."""
        groups = (("exporters", self.exporters), ("checks", self.checks), ("samplers", self.samplers))
        return "; ".join(f"{what}: {', '.join(type(one).__name__ for one in ones) or 'none'}" for what, ones in groups)

    def __eq__(self, other: object) -> bool:
        """Compare plug-ins by type and settings: two ``LogFile("a.jsonl")`` are the same."""
        return isinstance(other, Settings) and self._comparable() == other._comparable()

    def __hash__(self) -> int:
        """Hash what is sure to be hashable."""
        return hash((self.name, self.version))

    def _comparable(self) -> tuple[Any, ...]:
        plug_ins = [[_identity(one) for one in group] for group in (self.exporters, self.checks, self.samplers)]
        rest = (self.name, self.version, dict(self.attributes), self.on_alert, self.interval_seconds)
        return (*plug_ins, *rest, self.recording, self.strict, self.group)


def _identity(plug_in: object) -> object:
    """Return what tells a plug-in from others: its own words if it has any, else itself."""
    kind = type(plug_in)
    return (kind, id(plug_in)) if kind.__repr__ is object.__repr__ else (kind, repr(plug_in))


def checked(
    *,
    name: object,
    version: object,
    attributes: object,
    exporters: Iterable[Any],
    checks: Iterable[Any],
    samplers: Iterable[Any],
    on_alert: Any,
    interval_seconds: object,
    recording: object,
    strict: object,
    group: object = None,
) -> Settings:
    """
    Return the settings, or say what is wrong with them.

    Raises:
        ConfigurationError: an argument cannot work.
    """
    if name is None:
        name = os.environ.get("OTEL_SERVICE_NAME") or _named_by_resource() or "unknown_service"
    if version is not None and not isinstance(version, str):
        raise ConfigurationError(f"expected version as a str such as 'v7', got {version!r:.60}")
    if on_alert is not None and not callable(on_alert):
        raise ConfigurationError(f"expected on_alert as a function of an Alert, got {type(on_alert).__name__}")
    if group is not None and not (isinstance(group, str) and len(group) <= LONGEST_NAME):
        raise ConfigurationError(
            f"expected group as a str such as 'canary', of at most {LONGEST_NAME} characters, got {group!r:.60}"
        )
    settings = Settings(
        name=checked_name(name),
        version=version,
        attributes=checked_attributes(attributes),
        exporters=_plug_ins("exporters", exporters, Exporter, "holter.LogFile('holter.jsonl')"),
        checks=_plug_ins("checks", checks, Check, "holter.Limit(predict, 'p99', above=0.2)"),
        samplers=_plug_ins("samplers", samplers, Sampler, "holter.ProcessSampler()"),
        on_alert=on_alert,
        interval_seconds=positive_seconds("interval_seconds", interval_seconds),
        recording=bool(recording),
        strict=bool(strict),
        group=group,
    )
    for sampler in settings.samplers:
        positive_seconds(f"{type(sampler).__name__}.interval_seconds", sampler.interval_seconds)
        positive_seconds(f"{type(sampler).__name__}.budget", getattr(sampler, "budget", 1.0))
    for check in settings.checks:
        _check_wishes(check)
    for exporter in settings.exporters:
        positive_seconds(f"{type(exporter).__name__}.every_seconds", exporter.every_seconds)
    return settings


def _plug_ins(what: str, given: Any, protocol: type, example: str) -> tuple[Any, ...]:
    if isinstance(given, protocol):
        raise ConfigurationError(f"expected {what} as a list, got a single {type(given).__name__}: put it in [ ]")
    try:
        plug_ins = tuple(given)
    except TypeError:
        raise ConfigurationError(f"expected {what} as a list, got {type(given).__name__}") from None
    for one in plug_ins:
        if isinstance(one, type) or not isinstance(one, protocol):
            got = f"the class {one.__name__}: call it" if isinstance(one, type) else type(one).__name__
            raise ConfigurationError(f"expected {what} such as {example}, got {got}")
    if len({id(one) for one in plug_ins}) < len(plug_ins):
        raise ConfigurationError(f"{what} has the same object twice: it would be asked twice, and count double")
    return plug_ins


def _check_wishes(check: Check) -> None:
    wishes = getattr(check, "observes", ())
    name = type(check).__name__
    if not (isinstance(wishes, list | tuple) and all(isinstance(one, Wanted) for one in wishes)):
        raise ConfigurationError(f"expected {name}.observes as a list of holter.Wanted, got {wishes!r:.60}")
    if wishes and not callable(getattr(check, "observe", None)):
        raise ConfigurationError(f"{name}.observes says what it wants to see: give it a method observe(observation)")


def _named_by_resource() -> str:
    """Return the service's name in OTEL_RESOURCE_ATTRIBUTES, "" if there is none."""
    pairs = (pair.partition("=") for pair in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "").split(","))
    return next((unquote(value.strip()) for key, _, value in pairs if key.strip() == "service.name"), "")
