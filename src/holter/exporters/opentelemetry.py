"""Figures to OpenTelemetry: to any metric exporter of its SDK, OTLP by default."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal

from opentelemetry import context
from opentelemetry._logs import LogRecord, SeverityNumber, get_logger
from opentelemetry.sdk.metrics import Counter
from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricExporter, MetricExportResult
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.trace import TracerProvider

from holter.arguments import positive_seconds
from holter.classicbuckets import Choice
from holter.errors import ConfigurationError, MissingExtraError
from holter.figures import plain
from holter.guard import Guard
from holter.metricsdata import MetricsBuilder, Temporality
from holter.model import Alert, Process, SlowCall, Snapshot
from holter.slowspans import SpanMaker

_LOGGER: Final = logging.getLogger("holter")
_DEFAULT_SECONDS: Final = 60.0
_PROTOCOLS: Final = {"http/protobuf": "http", "grpc": "grpc"}
_SEVERITIES: Final = {
    "info": SeverityNumber.INFO,
    "warning": SeverityNumber.WARN,
    "critical": SeverityNumber.ERROR,
}


class OpenTelemetry:
    """
    Sends figures to a metric exporter of OpenTelemetry's SDK; alerts to its logs.

    *exporter* is any ``MetricExporter``, built by you; without one it is OTLP, as the environment
    says: ``OTEL_EXPORTER_OTLP_ENDPOINT``, ``..._PROTOCOL`` (``http/protobuf`` or ``grpc``),
    ``..._HEADERS`` and the other variables that OpenTelemetry defines. It gets one ``MetricsData``
    each *every_seconds* (without it, ``OTEL_METRIC_EXPORT_INTERVAL`` milliseconds, else 60 s), in
    a scope of its own, and is shut down with the monitor. A name of a metric is its name here.

    Histograms are exponential ones with at most 160 buckets: a quantile is off by at most 0.55 %
    while the largest value is at most 5.6 times the smallest, and by at most 2.2 % up to 1,000
    times; counts and sums are exact. For what takes none, *buckets* is ``"conventions"``, which
    are the bounds that OpenTelemetry advises, ``"auto"``, bounds that fit what is seen, or bounds by
    the names of metrics, the conventions' for all others; ``explicit_bucket_histogram`` in
    ``OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION`` means the first. A value
    less than 1.1 % above a bound may then be counted below it.

    *temporality* is ``"cumulative"`` or ``"delta"``; without it, what the exporter prefers, which
    OTLP reads from ``OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE``. With ``"delta"`` what a failed export
    did not carry is part of the next one.

    The resource names service, version, instance, process and host, and what the environment says
    (``OTEL_RESOURCE_ATTRIBUTES``), which wins on instance, process and host; attributes of
    *resource* come before all of these.

    Calls that fail or are slow are spans too, made through *tracer_provider*, else the global one, if the program
    has set one: with their start and end, children of the span that was current around them, with the spans of
    holter within them as children, and exemplars of the histogram of durations. Slow is what takes longer than
    *slower_than_seconds*, without it longer than 99 of 100 calls of the same function lately, where there were 100.
    The provider's sampler is asked; a trace that is not sampled gets none. At most 100 an interval of the monitor, 10
    of one function; ``holter.slow_calls.dropped`` counts the others. With *spans* false there are exemplars alone.

    Each alert that fires or resolves is a log record of the global logger provider, if there is
    one: the message as its body, the rest as attributes.

    A collector that is down, slow or hangs delays nobody: sending is the work of a thread of its
    own, failures are in ``holter.exporter.failures``, and an exit waits no longer than its deadline.

    >>> from opentelemetry.sdk.metrics.export import ConsoleMetricExporter
    >>> OpenTelemetry(ConsoleMetricExporter(), every_seconds=10)
    OpenTelemetry(ConsoleMetricExporter, every_seconds=10.0, temporality='cumulative')

    Raises:
        ConfigurationError: an argument or a variable of the environment that cannot work.
        MissingExtraError: OTLP is asked for, and its exporter is not installed.
    """

    def __init__(
        self,
        exporter: MetricExporter | None = None,
        *,
        every_seconds: float | None = None,
        temporality: Temporality | None = None,
        buckets: Mapping[str, Sequence[float] | Literal["auto"]] | Literal["auto", "conventions"] | None = None,
        resource: Resource | None = None,
        spans: bool = True,
        slower_than_seconds: float | None = None,
        tracer_provider: TracerProvider | None = None,
    ) -> None:
        if exporter is not None and not isinstance(exporter, MetricExporter):
            raise ConfigurationError(
                f"expected a MetricExporter of opentelemetry.sdk.metrics.export, got {exporter!r}; "
                "give an object such as OTLPMetricExporter(), or nothing for OTLP as the environment says"
            )
        if temporality not in {None, "cumulative", "delta"}:
            raise ConfigurationError(f"temporality must be 'cumulative' or 'delta', got {temporality!r}")
        if resource is not None and not isinstance(resource, Resource):
            raise ConfigurationError(
                f"resource must be a Resource of opentelemetry.sdk.resources, got {resource!r}; "
                "give Resource({'service.namespace': 'shop'})"
            )
        if tracer_provider is not None and not isinstance(tracer_provider, TracerProvider):
            raise ConfigurationError(
                f"tracer_provider must be a TracerProvider of opentelemetry.trace, got {tracer_provider!r}; "
                "give one of opentelemetry.sdk.trace, or nothing for the global one"
            )
        self.slower_than_seconds = (
            None if slower_than_seconds is None else positive_seconds("slower_than_seconds", slower_than_seconds)
        )
        self.spans, self.tracer_provider = bool(spans), tracer_provider
        self._maker = SpanMaker(tracer_provider)
        self.every_seconds = _interval() if every_seconds is None else positive_seconds("every_seconds", every_seconds)
        self.resource = resource
        self._is_own = exporter is None
        self._exporter: MetricExporter | None = _otlp() if exporter is None else exporter
        self._name = type(self._exporter).__name__
        self.temporality: Temporality = temporality or _preferred(self._exporter)
        self._buckets = _buckets() if buckets is None else buckets
        self._guard = Guard(self._warn_once)
        self._builder = MetricsBuilder(self.temporality, _choice(self._buckets), self._maker.ids)
        self._process: Process | None = None
        self._full = Resource.get_empty()
        self._pid = os.getpid()

    def __repr__(self) -> str:
        named = "" if self._buckets is None else f", buckets={self._buckets!r}"
        named += "" if self.spans else ", spans=False"
        named += "" if self.slower_than_seconds is None else f", slower_than_seconds={self.slower_than_seconds!r}"
        named += "" if self.tracer_provider is None else f", tracer_provider={self.tracer_provider!r}"
        named += "" if self.resource is None else f", resource={dict(self.resource.attributes)!r}"
        return (
            f"{type(self).__name__}({self._name}, every_seconds={self.every_seconds!r}, "
            f"temporality={self.temporality!r}{named})"
        )

    def export(self, snapshot: Snapshot, alerts: Iterable[Alert]) -> None:
        """
        Send the figures of *snapshot*, and log the *alerts*.

        Raises:
            ConnectionError: the exporter says that it has failed.
        """
        if snapshot.process != self._process:
            self._process, self._full = snapshot.process, _resource(snapshot.process, self.resource)
        data = self._builder.build(snapshot, self._full)
        # What instruments the client that sends this would otherwise record each export, and export that.
        token = context.attach(context.set_value(context._SUPPRESS_INSTRUMENTATION_KEY, value=True))  # noqa: SLF001
        try:
            result = self._ready().export(data)
        finally:
            context.detach(token)
        if result is not MetricExportResult.SUCCESS:
            raise ConnectionError(f"{self._name} could not send the figures; it logs why")
        self._builder.sent()
        for alert in alerts:
            # The figures have arrived: a trouble here must not have them sent once more.
            time_ns = alert.since_ns if alert.state == "firing" else snapshot.time_ns
            self._guard.run("log of alerts", None, _log, alert, time_ns)

    @property
    def traces_all(self) -> bool:
        """Whether calls outside of any trace are wanted too: each would be one of its own."""
        return self.spans and self._maker.provider is not None

    def trace(self, calls: Iterable[SlowCall]) -> None:
        """Make the spans of *calls*."""
        least = self.slower_than_seconds
        if self.spans:
            self._maker.make(call for call in calls if call.is_failed or least is None or call.seconds > least)

    def _warn_once(self, place: str) -> None:
        if place not in self._guard.told:
            self._guard.told.add(place)
            _LOGGER.warning("holter: the %s at OpenTelemetry failed: %s", place, self._guard.first[place])

    def _ready(self) -> MetricExporter:
        """Return the exporter; the one for OTLP anew after `close`, and in a child, which leaves its parent's alone."""
        if self._is_own and (self._exporter is None or self._pid != os.getpid()):
            self._exporter, self._pid = _otlp(), os.getpid()
        if self._exporter is None:
            raise ConnectionError(f"{self._name} was shut down with the monitor; give the next one a new exporter")
        return self._exporter

    def close(self, timeout: float) -> None:
        """Shut the exporter down."""
        exporter, self._exporter = self._exporter, None
        if exporter is not None and self._pid == os.getpid():
            exporter.shutdown(timeout_millis=timeout * 1e3)


def _otlp() -> MetricExporter:
    """Return the OTLP exporter that the environment asks for."""
    names = ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
    protocol = next((value for name in names if (value := os.environ.get(name, "").strip())), "http/protobuf")
    if protocol not in _PROTOCOLS:
        raise ConfigurationError(f"OTEL_EXPORTER_OTLP_PROTOCOL must be one of {', '.join(_PROTOCOLS)}, got {protocol}")
    try:
        if protocol == "grpc":
            from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import (  # noqa: PLC0415 - an extra
                OTLPMetricExporter as GRPCExporter,
            )

            return GRPCExporter()
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import (  # noqa: PLC0415 - an extra
            OTLPMetricExporter as HTTPExporter,
        )

        return HTTPExporter()
    except ImportError:
        package = f"opentelemetry-exporter-otlp-proto-{_PROTOCOLS[protocol]}"
        raise MissingExtraError(package, "otlp-grpc" if protocol == "grpc" else "otlp") from None


def _interval() -> float:
    told = os.environ.get("OTEL_METRIC_EXPORT_INTERVAL", "").strip()
    try:
        return positive_seconds("OTEL_METRIC_EXPORT_INTERVAL", float(told) / 1e3) if told else _DEFAULT_SECONDS
    except ValueError:
        raise ConfigurationError(
            f"OTEL_METRIC_EXPORT_INTERVAL must be a number of milliseconds greater than 0, got {told!r}"
        ) from None


def _buckets() -> Literal["conventions"] | None:
    told = os.environ.get("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", "").strip()
    return "conventions" if told == "explicit_bucket_histogram" else None


def _choice(buckets: Any) -> Choice | None:
    if buckets is None:
        return None
    return Choice() if buckets == "conventions" else Choice(buckets)


def _preferred(exporter: Any) -> Temporality:
    """Return the temporality that *exporter* was built to prefer for counters: the SDK's own reader asks it too."""
    preferred = getattr(exporter, "_preferred_temporality", None) or {}
    return "delta" if preferred.get(Counter) is AggregationTemporality.DELTA else "cumulative"


def _resource(process: Process, own: Resource | None) -> Resource:
    facts = {
        **process.attributes,
        "service.name": process.service,
        "service.version": process.version,
        "service.instance.id": process.instance,
        "process.pid": process.pid,
        "host.name": process.host,
    }
    environment = OTELResourceDetector().detect().attributes
    # What was chosen for holter comes before the environment, what it has found by itself after it.
    found = {"service.instance.id", "process.pid", "host.name"} & environment.keys()
    told = {name: value for name, value in plain(facts).items() if value not in (None, "") and name not in found}
    full = Resource.create(told)
    return full if own is None else full.merge(own)


def _log(alert: Alert, time_ns: int) -> None:
    words = {
        "holter.alert.id": alert.id,
        "holter.alert.check": alert.check,
        "holter.alert.state": alert.state,
        "holter.alert.target": alert.target,
        "holter.alert.expected": alert.expected,
        "holter.alert.seen": alert.seen,
        "holter.alert.next_step": alert.next_step,
        "holter.alert.incident": alert.incident,
        **({} if alert.silence is None else {"holter.alert.silenced": str(alert.silence)}),
        **{f"holter.alert.evidence.{name}": value for name, value in alert.evidence.items()},
    }
    severity = (
        SeverityNumber.INFO if alert.state == "resolved" else _SEVERITIES.get(alert.severity, SeverityNumber.WARN)
    )
    get_logger("holter").emit(
        LogRecord(
            timestamp=time_ns,
            severity_number=severity,
            severity_text=severity.name,
            body=plain(alert.message),
            attributes=plain(words),
        )
    )
