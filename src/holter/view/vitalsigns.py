"""The nouns of `holter top`: the figures of some processes at one moment, numbers only and no words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from holter.figures import plain, timestamp
from holter.model import Alert


@dataclass(frozen=True, slots=True)
class CallFigures:
    """
    One watched call: rates a second and quantiles in seconds of the interval, ``total`` and ``failed`` since the start.

    ``process`` is the number of the process, None where the figures are those of all. What the interval does not
    tell is None.
    """

    name: str
    process: int | None
    rate: float | None
    error_rate: float | None
    error_share: float | None
    p50: float | None
    p90: float | None
    p99: float | None
    maximum: float | None
    units_rate: float | None
    in_flight: int
    oldest_seconds: float
    hangs: bool
    total: int
    failed: int


@dataclass(frozen=True, slots=True)
class StreamFigures:
    """One watched stream: items a second and times in seconds of the interval, ``total`` items since the start."""

    name: str
    process: int | None
    items_rate: float | None
    first_p50: float | None
    first_p99: float | None
    between_p50: float | None
    between_p99: float | None
    consumer_share: float | None
    total: int
    abandoned: int


@dataclass(frozen=True, slots=True)
class ModelFigures:
    """The requests to one language model: rates a second and times in seconds of the interval."""

    name: str
    process: int | None
    rate: float | None
    first_token_p50: float | None
    first_token_p99: float | None
    token_p50: float | None
    output_rate: float | None
    goodput: float | None
    total: int
    failed: int


@dataclass(frozen=True, slots=True)
class TrainingFigures:
    """
    One training run: steps a second and times in seconds of the interval, how far it has come in all.

    ``step_seconds`` is how long the current step has been running, ``remaining_seconds`` what is left at the pace of
    the last ten seconds; ``logged`` what the program has logged last.
    """

    name: str
    process: int | None
    steps_rate: float | None
    p50: float | None
    p99: float | None
    data_wait_share: float | None
    samples_rate: float | None
    epoch: float | None
    steps_done: float | None
    steps_total: float | None
    progress: float | None
    remaining_seconds: float | None
    step_seconds: float
    hangs: bool
    total: int
    failed: int
    logged: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class MetricFigures:
    """
    One series of the program's own: the newest value of a level, else what it has come to.

    ``rate`` is its growth, or the number of its values, a second of the interval; the quantiles are of the interval.
    """

    name: str
    kind: str
    unit: str
    attributes: Mapping[str, Any]
    value: float | None
    rate: float | None
    p50: float | None
    p99: float | None


@dataclass(frozen=True, slots=True)
class GpuFigures:
    """One GPU, as its sampler tells: shares, bytes, watts, degrees Celsius, and why its clocks are held down."""

    id: str
    name: str
    model: str
    utilization: float | None
    memory_bytes: float | None
    memory_limit_bytes: float | None
    power: float | None
    power_limit: float | None
    temperature: float | None
    throttled: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EnergyFigures:
    """
    What the calls of one name take of the GPUs, by the rule of ``holter.call.energy``.

    ``power`` in watts and joules a call are of the last ten seconds, joules a token of the last minute, ``total``
    joules since the start.
    """

    name: str
    power: float | None
    call_joules: float | None
    token_joules: float | None
    total: float


@dataclass(frozen=True, slots=True)
class PauseFigures:
    """What holds calls up, of the last ten seconds: garbage collections, a late event loop, waiting for the GIL."""

    name: str
    rate: float
    p50: float | None
    p99: float | None
    maximum: float | None


@dataclass(frozen=True, slots=True)
class ProcessFigures:
    """
    One process, with what all its calls have come to in the interval.

    ``state`` is "running"; "silent", which lives and has written nothing for ``silent_seconds``; "stopped", which
    lives without a monitor; "closed" or "dead". ``system_state`` is the letter that `ps` shows, ``cpus`` how many
    CPUs it has kept busy since the look before; both from the system, also where the process hangs.
    """

    pid: int
    service: str
    version: str | None
    host: str
    path: str
    state: str
    is_sure: bool
    silent_seconds: float
    ended_ns: int
    system_state: str | None
    cpus: float | None
    memory_bytes: float | None
    memory_limit_bytes: float | None
    rate: float | None
    error_rate: float | None
    p99: float | None
    in_flight: int
    oldest_seconds: float


@dataclass(frozen=True, slots=True)
class Vitals:
    """All of it; ``machine`` maps names such as "process_cpu" and "host_memory_bytes" to their newest values."""

    time_ns: int
    interval_seconds: float
    calls: tuple[CallFigures, ...]
    streams: tuple[StreamFigures, ...]
    models: tuple[ModelFigures, ...]
    training: tuple[TrainingFigures, ...]
    processes: tuple[ProcessFigures, ...]
    metrics: tuple[MetricFigures, ...]
    machine: Mapping[str, float]
    container: Mapping[str, float]
    gpus: tuple[GpuFigures, ...]
    energy: tuple[EnergyFigures, ...]
    pauses: tuple[PauseFigures, ...]
    alerts: tuple[Alert, ...] = field(repr=False)
    failures: tuple[Mapping[str, Any], ...] = field(repr=False)
    stages: tuple[Mapping[str, Any], ...] = field(repr=False)
    lost: int = 0
    overhead: float | None = None
    missing: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain dicts, lists, strings and finite numbers: JSON takes them as they are."""
        known = {name: getattr(self, name) for name in self.__slots__}
        known["time"] = timestamp(known.pop("time_ns"))
        made: dict[str, Any] = plain({name: _plain(value) for name, value in known.items()})
        for process in made["processes"]:
            process["ended"] = timestamp(process.pop("ended_ns")) if process["state"] in ("dead", "closed") else None
            process.pop("ended_ns", None)
        return made


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    if isinstance(value, Alert):
        return {name: _plain(getattr(value, name)) for name in value.__slots__} | {"evidence": dict(value.evidence)}
    return asdict(value) if hasattr(value, "__dataclass_fields__") else value
