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
    from holter.checks.limit import Limit
    from holter.checks.slo import SLO
    from holter.endpoint import prometheus_app, prometheus_collector
    from holter.exporters.console import Console
    from holter.exporters.csvfile import CSVFile
    from holter.exporters.logfile import LogFile
    from holter.exporters.opentelemetry import OpenTelemetry
    from holter.exporters.prometheus import Prometheus
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
        SlowCall,
        Snapshot,
        Stage,
        Statistics,
    )
    from holter.monitor import Monitor
    from holter.probes.requests import ASGI
    from holter.recorded import RecordingContents, read_recording
    from holter.samplers.container import ContainerSampler
    from holter.samplers.gpu import GPUSampler
    from holter.samplers.host import HostSampler
    from holter.samplers.process import ProcessSampler
    from holter.samplers.runtime import RuntimeSampler
    from holter.samplers.storage import Storage
    from holter.samplers.tree import ProcessTreeSampler

__all__ = [
    "ASGI",
    "SLO",
    "Alert",
    "Anomaly",
    "CSVFile",
    "Check",
    "ConfigurationError",
    "Console",
    "ContainerSampler",
    "ErrorPlace",
    "Exporter",
    "GPUSampler",
    "HolterError",
    "HostSampler",
    "Limit",
    "LogFile",
    "MissingExtraError",
    "Monitor",
    "Observation",
    "OpenCall",
    "OpenTelemetry",
    "Pause",
    "Process",
    "ProcessSampler",
    "ProcessTreeSampler",
    "Prometheus",
    "Reading",
    "RecordingContents",
    "RecordingError",
    "RuntimeSampler",
    "Sampler",
    "Series",
    "SlowCall",
    "Snapshot",
    "Stage",
    "Statistics",
    "Storage",
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
    "Anomaly": "checks.anomaly",
    "CSVFile": "exporters.csvfile",
    "Console": "exporters.console",
    "ContainerSampler": "samplers.container",
    "GPUSampler": "samplers.gpu",
    "HostSampler": "samplers.host",
    "Limit": "checks.limit",
    "LogFile": "exporters.logfile",
    "Monitor": "monitor",
    "OpenTelemetry": "exporters.opentelemetry",
    "ProcessSampler": "samplers.process",
    "ProcessTreeSampler": "samplers.tree",
    "Prometheus": "exporters.prometheus",
    "SLO": "checks.slo",
    "RecordingContents": "recorded",
    "Storage": "samplers.storage",
    "RuntimeSampler": "samplers.runtime",
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
