"""What a cumulative snapshot tells of calls, streams, training, metrics, the machine and holter, as plain numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from holter.model import Kind


@dataclass(frozen=True, slots=True)
class Spread:
    """How values were distributed; ``seconds`` is their sum. What no record was left to tell is None."""

    count: int = 0
    seconds: float = 0.0
    p50: float | None = None
    p90: float | None = None
    p99: float | None = None
    maximum: float | None = None
    sampled: int = 0


@dataclass(frozen=True, slots=True)
class Stage:
    """
    One span of a call, or one phase of a training run.

    ``share`` is its part of the time of the calls or steps; spans within spans count in both.
    """

    call: str
    name: str
    spread: Spread
    share: float | None
    errors: int


@dataclass(frozen=True, slots=True)
class Call:
    """One watched call since the start; ``units`` is the size of the work done."""

    name: str
    spread: Spread
    rate: float
    errors: int
    in_flight: int
    oldest_seconds: float
    units: int
    units_rate: float
    outcomes: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Failure:
    """The failures of one call by one type, the innermost stage that most passed, the place that most came from."""

    call: str
    error_type: str
    count: int
    stage: str
    place: str


@dataclass(frozen=True, slots=True)
class Stream:
    """One watched stream; ``abandoned`` counts those that their consumer left, by cancelling them too."""

    name: str
    items: int
    items_rate: float
    first_item: Spread
    between_items: Spread
    producer_seconds: float
    consumer_seconds: float
    abandoned: int


@dataclass(frozen=True, slots=True)
class Model:
    """
    The requests of one call to one language model, by the model's name, or the call's where that is not known.

    ``goodput`` is the share of the call's requests of the last minute that met all targets, None without any.
    """

    name: str
    requests: Spread
    errors: int
    first_token: Spread
    per_token: Spread
    input_tokens: int
    output_tokens: int
    output_rate: float
    goodput: float | None


@dataclass(frozen=True, slots=True)
class Training:
    """
    One training run; the share is that of its steps' time in which they waited for data.

    ``samples_rate`` is per second of the steps; what the run did not tell is None.
    """

    name: str
    steps: Spread
    errors: int
    data_wait_seconds: float | None
    data_wait_share: float | None
    samples: float
    samples_rate: float
    epoch: float | None
    progress: float | None
    steps_done: float | None
    steps_total: float | None
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Metric:
    """One series of the user's own: the value of a counter or the last one of a gauge, or how values spread."""

    name: str
    kind: Kind
    unit: str
    attributes: Mapping[str, str | bool | int | float]
    value: float | None
    rate: float | None
    spread: Spread


@dataclass(frozen=True, slots=True)
class Itself:
    """What holter measured of itself; ``internal_errors`` by place."""

    overhead: float | None
    written: int
    lost: int
    collector: Spread
    internal_errors: Mapping[str, int]
    exporter_failures: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Digest:
    """All of it, each list with the most important first."""

    seconds: float
    calls: tuple[Call, ...]
    stages: tuple[Stage, ...]
    failures: tuple[Failure, ...]
    streams: tuple[Stream, ...]
    models: tuple[Model, ...]
    training: tuple[Training, ...]
    metrics: tuple[Metric, ...]
    machine: Mapping[str, float]
    itself: Itself
