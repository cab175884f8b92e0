"""Figures at OpenTelemetry: over real HTTP and gRPC, to collectors that work and to such that do not."""

from __future__ import annotations

import io
import os
import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from opentelemetry import context
from opentelemetry._logs import set_logger_provider
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import Counter
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    ConsoleMetricExporter,
    MetricExporter,
    MetricExportResult,
    MetricsData,
)
from opentelemetry.sdk.resources import Resource

import holter
from contracts.exporter import ExporterContract
from contracts.snapshots import alert, busy_story
from holter.distribution import Histogram
from holter.exporters.opentelemetry import OpenTelemetry
from holter.model import Reading
from holter.names import CALL_DURATION
from metricpages import Server, get, needs_victoria_metrics, poll, victoria_metrics
from programs import run, succeed
from receivers import Receiver, over_grpc, over_http
from simulation import World

DOCS = Path(__file__).parents[2] / "docs"
LOGGED = InMemoryLogRecordExporter()


@pytest.fixture(autouse=True, scope="module")
def logs() -> None:
    """The program's own set-up of logs, as OpenTelemetry wants it: once."""
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(LOGGED))
    set_logger_provider(provider)


@pytest.fixture(autouse=True)
def no_logs() -> Iterator[None]:
    """What one test logs is none of the next one's."""
    LOGGED.clear()
    yield
    LOGGED.clear()


class Kept(MetricExporter):
    """Keeps what it is handed, and whether it was to be left alone by those who watch clients."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.handed: list[MetricsData] = []
        self.suppressed: list[object] = []
        self.results: list[MetricExportResult] = []
        self.shut_down = 0

    def export(self, metrics_data: MetricsData, timeout_millis: float = 0, **_: Any) -> MetricExportResult:
        self.handed.append(metrics_data)
        self.suppressed.append(context.get_value(context._SUPPRESS_INSTRUMENTATION_KEY))
        return self.results.pop() if self.results else MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 0) -> bool:
        return True

    def shutdown(self, timeout_millis: float = 0, **_: Any) -> None:
        self.shut_down += 1


class TestContract(ExporterContract):
    """It is an exporter as every other."""

    def build(self, folder: Path, **options: Any) -> OpenTelemetry:
        self.out = io.StringIO()
        return OpenTelemetry(ConsoleMetricExporter(self.out), **options)

    def text(self, exporter: object) -> str:
        logged = [one.log_record for one in LOGGED.get_finished_logs()]
        return self.out.getvalue() + "\n".join(f"{one.body} {dict(one.attributes or {})}" for one in logged)


@pytest.fixture(params=[over_http, over_grpc], ids=["HTTP", "gRPC"])
def receiver(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """A receiver to which the environment points."""
    with request.param() as found:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.url)
        if request.param is over_grpc:
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
        yield found


@pytest.fixture
def http(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """A receiver over HTTP to which the environment points."""
    with over_http() as found:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.url)
        yield found


def test_a_collector_receives_what_the_program_did(receiver: Receiver) -> None:
    """Counts, sums and who sent them, with OTLP as the environment says."""
    with holter.Monitor(
        "shop", version="v7", samplers=[], exporters=[OpenTelemetry(every_seconds=1000)], recording=False
    ).start() as monitor:

        @monitor.watch(units=len)
        def predict(items: list[int]) -> list[int]:
            return sorted(items)

        for turn in range(25):
            predict(list(range(turn)))
        with pytest.raises(TypeError):
            predict(3)
        monitor.flush(30)
        snapshot = monitor.snapshot()
    receiver.wait_for(1)
    calls = {
        attribute.value.string_value: point
        for point in receiver.points(CALL_DURATION)
        for attribute in point.attributes
        if attribute.key == "holter.call.outcome"
    }
    assert {"ok": 25, "error": 1} == {outcome: point.count for outcome, point in calls.items()}
    assert snapshot.find(predict).total.sum == pytest.approx(sum(point.sum for point in calls.values()))
    assert 25 == calls["ok"].zero_count + sum(calls["ok"].positive.bucket_counts)
    assert {300.0} == {point.as_double for point in receiver.points("holter.call.units")}
    told = {one.key: one.value.string_value for one in receiver.requests[0].resource_metrics[0].resource.attributes}
    assert ("shop", "v7") == (told["service.name"], told["service.version"])


@pytest.fixture(scope="module")
def store() -> Iterator[Server]:
    """A VictoriaMetrics."""
    with victoria_metrics() as found:
        yield found


@needs_victoria_metrics
@pytest.mark.parametrize("buckets", [None, "conventions"])
def test_a_store_tells_what_the_program_did(
    buckets: str | None, store: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """VictoriaMetrics, asked by query: counts, sums and gauges are the program's, quantiles lie in the right bucket."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"{store.url}/opentelemetry")
    service = f"shop {buckets}"
    values = np.random.default_rng(7).lognormal(0.0, 1.0, 500)
    with holter.Monitor(
        service, version="v7", samplers=[], exporters=[OpenTelemetry(every_seconds=1000, buckets=buckets)]
    ).start() as monitor:
        sizes = monitor.histogram("app.wait", unit="s")
        hits = monitor.counter("app.hits")
        monitor.gauge("app.depth").set(7.5)

        @monitor.watch(units=len)
        def predict(items: list[int]) -> list[int]:
            return sorted(items)

        def work() -> None:
            hits.add(3)
            for value in values:
                sizes.record(value)
            for turn in range(25):
                predict(list(range(turn)))
            with pytest.raises(TypeError):
                predict(3)

        def tells(metric: str, more: str = "") -> float | None:
            return store.value(f'sum({{__name__="{metric}",service.name="{service}"{more}}})')

        for turn in (1, 2):
            work()
            assert monitor.flush(30)
            get(f"{store.url}/internal/force_flush")
            poll("the figures", lambda turn=turn: tells("app.hits") == 3.0 * turn)
            assert 25 * turn == tells("holter.call.duration_count", ',holter.call.outcome="ok"')
            assert turn == tells("holter.call.duration_count", ',holter.call.outcome="error",error.type="TypeError"')
            assert 300 * turn == tells("holter.call.units")
            assert 7.5 == tells("app.depth")
            assert 500 * turn == tells("app.wait_count")
            assert pytest.approx(values.sum() * turn) == tells("app.wait_sum")
        told = monitor.snapshot().find(predict)
        assert told is not None
        assert pytest.approx(told.total.sum) == tells("holter.call.duration_sum")
    for q in (0.5, 0.9, 0.99):
        of = f'{{__name__="app.wait_bucket",service.name="{service}"}}'
        seen = store.value(f"histogram_quantile({q}, sum by (le, vmrange) ({of}))")
        true = float(np.quantile(values, q, method="inverted_cdf"))
        assert seen is not None
        if buckets:
            bounds = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0]
            assert np.searchsorted(bounds, true) == np.searchsorted(bounds, seen)
        else:
            # 160 buckets for values that lie a factor of some 500 apart: scale 4.
            assert true / 2 ** (1 / 16) < seen < true * 2 ** (1 / 16)


QUERIES = re.findall(r"\| `(.*__name__.*)` \|", (DOCS / "how-to" / "opentelemetry.md").read_text(encoding="utf-8"))


@needs_victoria_metrics
def test_a_store_answers_the_queries_of_the_documentation(store: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """As they stand there: of each call its rate and its p99."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"{store.url}/opentelemetry")
    exporter = OpenTelemetry(every_seconds=0.1)
    with holter.Monitor("asked", samplers=[], exporters=[exporter], recording=False).start() as monitor:
        predict = monitor.watch(lambda: None, name="asked")

        def answers(query: str) -> bool:
            predict()
            monitor.flush(30)
            get(f"{store.url}/internal/force_flush")
            told = {labels["holter.call.name"]: value for labels, value in store.query(query)}
            return told.get("asked", 0.0) > 0

        assert 2 == len(QUERIES)
        for query in QUERIES:
            poll(query, lambda query=query: answers(query))


def test_a_collector_that_answers_503_gets_the_figures_later(http: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """With delta temporality nothing is missing and nothing comes twice."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.2")
    with holter.Monitor(
        "shop", samplers=[], exporters=[OpenTelemetry(every_seconds=1000)], recording=False
    ).start() as monitor:
        hits = monitor.counter("app.hits")
        http.status = 503
        hits.add(3)
        monitor.flush(30)
        assert [] == http.requests
        http.status = 200
        hits.add(4)
        monitor.flush(30)
        hits.add(5)
        monitor.flush(30)
        failures = monitor.snapshot().find("holter.exporter.failures", {"holter.exporter.name": "OpenTelemetry"})
        assert failures is not None
        assert 1.0 == failures.total.sum
    assert [7.0, 5.0] == [point.as_double for point in http.points("app.hits")]


@pytest.mark.parametrize("trouble", ["refuses", "hangs", "503"])
def test_a_dead_collector_delays_neither_calls_nor_the_exit(trouble: str) -> None:
    """The program calls, stops and ends within the deadline that it gave."""
    with over_http() as receiver:
        url = "http://127.0.0.1:9" if trouble == "refuses" else receiver.url
        if trouble == "hangs":
            receiver.hangs.set()
        receiver.status = 503
        done = run(
            """
            import logging, os, sys, time
            os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = sys.argv[1]
            import holter
            logging.disable()
            monitor = holter.start("shop", samplers=[], exporters=[holter.OpenTelemetry(every_seconds=0.05)])
            work = holter.watch(lambda: None, name="work")
            slowest, until = 0.0, time.monotonic() + 1.0
            while time.monotonic() < until:
                begun = time.thread_time()
                work()
                slowest = max(slowest, time.thread_time() - begun)
            begun = time.monotonic()
            monitor.stop(1.0)
            print(slowest < 0.5, time.monotonic() - begun < 3.0)
            """,
            url,
        )
    assert ("True True\n", "", 0) == (done.stdout, done.stderr, done.returncode)


def test_children_send_their_own_figures(http: Receiver) -> None:
    """Each process its own instance, each call once; the child's connection is its own."""
    told = succeed(
        """
        import json, os, sys
        os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = sys.argv[1]
        import holter

        monitor = holter.start("shop", samplers=[], exporters=[holter.OpenTelemetry(every_seconds=1000)])
        work = holter.watch(lambda: None, name="work")
        for _ in range(5):
            work()
        monitor.flush(20)
        if (pid := os.fork()) == 0:
            for _ in range(3):
                work()
            monitor.stop(20)
            os._exit(0)
        code = os.waitpid(pid, 0)[1]
        work()
        monitor.stop(20)
        print(json.dumps(code))
        """,
        http.url,
    )
    assert 0 == told
    counts: dict[str, int] = {}
    for request in http.requests:
        (owner,) = request.resource_metrics
        instance = next(one.value.string_value for one in owner.resource.attributes if one.key == "service.instance.id")
        for metric in owner.scope_metrics[0].metrics:
            if metric.name == CALL_DURATION:
                counts[instance] = sum(point.count for point in metric.exponential_histogram.data_points)
    assert [3, 6] == sorted(counts.values())


def test_the_environment_and_the_user_say_where_from() -> None:
    """What the user's resource says comes before what the monitor says, and that before the environment."""
    exporter = Kept()
    given = Resource({"service.namespace": "shop", "host.name": "mine"})
    built = OpenTelemetry(exporter, resource=given)
    before = os.environ.get("OTEL_RESOURCE_ATTRIBUTES")
    os.environ["OTEL_RESOURCE_ATTRIBUTES"] = "service.version=v0,cloud.region=eu,service.instance.id=pod-1"
    try:
        built.export(busy_story().snapshot(), [])
    finally:
        os.environ.pop("OTEL_RESOURCE_ATTRIBUTES")
        if before is not None:
            os.environ["OTEL_RESOURCE_ATTRIBUTES"] = before
    found = exporter.handed[0].resource_metrics[0].resource.attributes
    expected = {
        "service.name": "sentiment",
        "service.version": "v7",
        "service.namespace": "shop",
        "service.instance.id": "pod-1",
        "host.name": "mine",
        "cloud.region": "eu",
        "deployment.environment.name": "test",
    }
    assert expected == {name: value for name, value in found.items() if name in expected}


def test_what_the_exporter_prefers_is_what_it_gets() -> None:
    """Unless the user says otherwise."""
    delta = Kept(preferred_temporality={Counter: AggregationTemporality.DELTA})
    assert ("delta", "cumulative") == (OpenTelemetry(delta).temporality, OpenTelemetry(Kept()).temporality)
    assert "cumulative" == OpenTelemetry(delta, temporality="cumulative").temporality


def test_instrumented_clients_stay_silent() -> None:
    """Sending is marked as what nobody records; the mark is gone afterwards."""
    exporter = Kept()
    OpenTelemetry(exporter).export(busy_story().snapshot(), [])
    assert [True] == exporter.suppressed
    assert context.get_value(context._SUPPRESS_INSTRUMENTATION_KEY) is None


def test_a_failed_export_is_an_error_and_its_alerts_are_not_logged() -> None:
    """So that both are tried again."""
    exporter = Kept()
    exporter.results = [MetricExportResult.FAILURE]
    built = OpenTelemetry(exporter)
    with pytest.raises(ConnectionError, match="Kept could not send"):
        built.export(busy_story().snapshot(), [alert()])
    assert () == LOGGED.get_finished_logs()
    built.export(busy_story().snapshot(), [alert()])
    (logged,) = LOGGED.get_finished_logs()
    record = logged.log_record
    assert ("ERROR", "firing") == (record.severity_text, (record.attributes or {})["holter.alert.state"])


def test_an_alert_that_cannot_be_logged_has_no_figures_sent_again(caplog: pytest.LogCaptureFixture) -> None:
    """It is said once; a severity that is none is a warning."""
    exporter = Kept()
    built = OpenTelemetry(exporter)
    odd = replace(alert(), severity="fatal")
    broken = replace(alert(), evidence=3)
    for _ in range(2):
        built.export(busy_story().snapshot(), [broken, odd])
    assert ["WARN"] * 2 == [one.log_record.severity_text for one in LOGGED.get_finished_logs()]
    assert 1 == caplog.text.count("the log of alerts at OpenTelemetry failed")


def test_values_of_lost_records_are_sent_once() -> None:
    """Those that one export has filled in are not filled in by the next."""
    world, exporter = World(), Kept()
    series = world.one("app.size", unit="By")
    built = OpenTelemetry(exporter, temporality="delta")
    for read, lost in ((10, 5), (3, 0)):
        world._take(series, Reading(read + lost, last=1.0, histogram=Histogram.of([1.0] * read)))
        built.export(world.snapshot(lost=5), [])
    counts = [
        data.resource_metrics[0].scope_metrics[0].metrics[0].data.data_points[0].count for data in exporter.handed
    ]
    assert [15, 3] == counts


def test_it_is_shut_down_once_and_says_so() -> None:
    """An exporter that the user built cannot be built again here."""
    exporter = Kept()
    built = OpenTelemetry(exporter)
    built.close(1.0)
    built.close(1.0)
    assert 1 == exporter.shut_down
    with pytest.raises(ConnectionError, match="give the next one a new exporter"):
        built.export(busy_story().snapshot(), [])


def test_the_one_of_the_environment_starts_again(http: Receiver) -> None:
    """A monitor that is stopped and started again sends on."""
    built = OpenTelemetry()
    for _ in range(2):
        built.export(busy_story().snapshot(), [])
        built.close(1.0)
    assert 2 == len(http.requests)
    assert [] == [thread.name for thread in threading.enumerate() if "otel" in thread.name.lower()]


@pytest.mark.parametrize(
    ("variables", "options", "words"),
    [
        ({}, {"exporter": print}, "expected a MetricExporter"),
        ({}, {"temporality": "both"}, "temporality must be 'cumulative' or 'delta', got 'both'"),
        ({}, {"resource": {"service.name": "a"}}, "resource must be a Resource"),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}, {}, "one of http/protobuf, grpc, got http/json"),
        ({}, {"buckets": "explicit"}, "expected buckets such as"),
        ({"OTEL_METRIC_EXPORT_INTERVAL": "soon"}, {}, "number of milliseconds greater than 0, got 'soon'"),
        ({"OTEL_METRIC_EXPORT_INTERVAL": "-1"}, {}, "number of milliseconds greater than 0, got '-1'"),
    ],
)
def test_bad_input_is_refused_in_words(
    variables: dict[str, str], options: dict[str, Any], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it is written, with what to do."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(holter.ConfigurationError, match=words):
        OpenTelemetry(**options)


def test_the_interval_is_that_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """In milliseconds there, and 60 seconds without."""
    assert 60.0 == OpenTelemetry(Kept()).every_seconds
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "2500")
    assert 2.5 == OpenTelemetry(Kept()).every_seconds


@pytest.mark.parametrize(
    ("variable", "buckets", "kind"),
    [
        ("", None, "exponential_histogram"),
        ("", "conventions", "histogram"),
        ("", {"app.size": [1.0, 2.0]}, "histogram"),
        ("explicit_bucket_histogram", None, "histogram"),
        ("base2_exponential_bucket_histogram", None, "exponential_histogram"),
    ],
)
def test_the_kind_of_histogram_is_as_asked(
    variable: str, buckets: Any, kind: str, http: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the argument, else by the environment, else exponential; a receiver takes either."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", variable)
    OpenTelemetry(buckets=buckets).export(busy_story().snapshot(), [])
    (owner,) = http.requests[0].resource_metrics
    kinds = {metric.WhichOneof("data") for metric in owner.scope_metrics[0].metrics}
    assert {kind} == {one for one in kinds if "histogram" in one}


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the line that installs it."""
    monkeypatch.setitem(__import__("sys").modules, "opentelemetry.exporter.otlp.proto.http.metric_exporter", None)
    with pytest.raises(holter.MissingExtraError, match=r"pip install 'holter\[otlp\]'"):
        OpenTelemetry()
