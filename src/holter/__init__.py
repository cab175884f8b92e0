"""A recorder for AI models: watch predict functions and training loops, and read later what they did."""

import importlib
import typing

# First, and from here: the deeper in other imports numpy is imported, the dearer it can be. Where its calls cross the
# end of a chunk of CPython's stack, each of them maps and unmaps memory: that was 2,000 times, and 35 ms.
import numpy as _numpy  # noqa: F401, ICN001

from holter.default import (
    alerts,
    counter,
    flush,
    gauge,
    histogram,
    instrument,
    llm,
    silence,
    snapshot,
    span,
    start,
    stop,
    summary,
    tag,
    training,
    uninstrument,
    watch,
)
from holter.errors import ConfigurationError, HolterError, MissingExtraError, RecordingError
from holter.metric import Series
from holter.version import __version__

if typing.TYPE_CHECKING:
    from holter import targets as targets
    from holter.checks.anomaly import Anomaly
    from holter.checks.drift import Drift
    from holter.checks.leak import Leak
    from holter.checks.limit import Limit
    from holter.checks.nonfinite import NonFinite, OutOfRange
    from holter.checks.saturation import Saturation
    from holter.checks.slo import SLO
    from holter.checks.stall import Stall
    from holter.endpoint import prometheus_app, prometheus_collector
    from holter.exporters.alertmanager import Alertmanager
    from holter.exporters.console import Console
    from holter.exporters.csvfile import CSVFile
    from holter.exporters.logfile import LogFile
    from holter.exporters.opentelemetry import OpenTelemetry
    from holter.exporters.prometheus import Prometheus
    from holter.exporters.webhook import Webhook
    from holter.fallback import Guard
    from holter.model import (
        Alert,
        Check,
        ErrorPlace,
        Exporter,
        Observation,
        OpenCall,
        Pause,
        Process,
        Reading,
        Sampler,
        Silence,
        SlowCall,
        Snapshot,
        Stage,
        Statistics,
    )
    from holter.monitor import Monitor
    from holter.notice import Notice
    from holter.probes.requests import ASGI
    from holter.profile import Profile
    from holter.recorded import RecordingContents, read_recording
    from holter.samplers.container import ContainerSampler
    from holter.samplers.gpu import GPUSampler
    from holter.samplers.host import HostSampler
    from holter.samplers.process import ProcessSampler
    from holter.samplers.runtime import RuntimeSampler
    from holter.samplers.storage import Storage
    from holter.samplers.tree import ProcessTreeSampler
    from holter.wanted import Wanted

__all__ = [
    "ASGI",
    "SLO",
    "Alert",
    "Alertmanager",
    "Anomaly",
    "CSVFile",
    "Check",
    "ConfigurationError",
    "Console",
    "ContainerSampler",
    "Drift",
    "ErrorPlace",
    "Exporter",
    "GPUSampler",
    "Guard",
    "HolterError",
    "HostSampler",
    "Leak",
    "Limit",
    "LogFile",
    "MissingExtraError",
    "Monitor",
    "NonFinite",
    "Notice",
    "Observation",
    "OpenCall",
    "OpenTelemetry",
    "OutOfRange",
    "Pause",
    "Process",
    "ProcessSampler",
    "ProcessTreeSampler",
    "Profile",
    "Prometheus",
    "Reading",
    "RecordingContents",
    "RecordingError",
    "RuntimeSampler",
    "Sampler",
    "Saturation",
    "Series",
    "Silence",
    "SlowCall",
    "Snapshot",
    "Stage",
    "Stall",
    "Statistics",
    "Storage",
    "Wanted",
    "Webhook",
    "__version__",
    "alerts",
    "counter",
    "flush",
    "gauge",
    "histogram",
    "instrument",
    "llm",
    "prometheus_app",
    "prometheus_collector",
    "read_recording",
    "silence",
    "snapshot",
    "span",
    "start",
    "stop",
    "summary",
    "tag",
    "training",
    "uninstrument",
    "watch",
]

# What recording does not need is imported when it is first asked for: a program that only watches
# pays for watching.
_LATER = {
    "ASGI": "probes.requests",
    "Alertmanager": "exporters.alertmanager",
    "Anomaly": "checks.anomaly",
    "CSVFile": "exporters.csvfile",
    "Console": "exporters.console",
    "ContainerSampler": "samplers.container",
    "Drift": "checks.drift",
    "GPUSampler": "samplers.gpu",
    "Guard": "fallback",
    "HostSampler": "samplers.host",
    "Leak": "checks.leak",
    "Limit": "checks.limit",
    "LogFile": "exporters.logfile",
    "Monitor": "monitor",
    "NonFinite": "checks.nonfinite",
    "Notice": "notice",
    "OpenTelemetry": "exporters.opentelemetry",
    "OutOfRange": "checks.nonfinite",
    "ProcessSampler": "samplers.process",
    "ProcessTreeSampler": "samplers.tree",
    "Profile": "profile",
    "Prometheus": "exporters.prometheus",
    "SLO": "checks.slo",
    "Stall": "checks.stall",
    "RecordingContents": "recorded",
    "Storage": "samplers.storage",
    "Wanted": "wanted",
    "RuntimeSampler": "samplers.runtime",
    "Saturation": "checks.saturation",
    "Webhook": "exporters.webhook",
    "prometheus_app": "endpoint",
    "prometheus_collector": "endpoint",
    "read_recording": "recorded",
    **dict.fromkeys(
        (
            "Alert",
            "Check",
            "ErrorPlace",
            "Exporter",
            "Observation",
            "OpenCall",
            "Pause",
            "Process",
            "Reading",
            "Sampler",
            "Silence",
            "SlowCall",
            "Snapshot",
            "Stage",
            "Statistics",
        ),
        "model",
    ),
}


def __getattr__(name: str) -> object:
    if name == "targets":
        return importlib.import_module("holter.targets")
    if name not in _LATER:
        raise AttributeError(f"module 'holter' has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(f"holter.{_LATER[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
