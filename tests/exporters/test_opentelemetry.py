"""Figures at OpenTelemetry: over real HTTP and gRPC, to collectors that work and to such that do not."""

from __future__ import annotations

import asyncio
import contextvars
import io
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from opentelemetry import context
from opentelemetry._logs import set_logger_provider
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GRPCSpanExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HTTPSpanExporter
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
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased

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


@pytest.fixture
def traced(receiver: Receiver) -> Iterator[TracerProvider]:
    """The program's own set-up of traces, over the same protocol to the same receiver."""
    exporter: Any = (
        GRPCSpanExporter() if os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL") == "grpc" else HTTPSpanExporter()
    )
    provider = TracerProvider(sampler=ParentBased(ALWAYS_ON), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=50))
    yield provider
    provider.shutdown()


class Programs:
    """A program with spans of its own around and inside of watched calls, and the times that it took itself."""

    def __init__(self, monitor: holter.Monitor, provider: TracerProvider) -> None:
        self.tracer = provider.get_tracer("program")
        self.times: dict[str, tuple[int, int]] = {}
        watch, span = monitor.watch, monitor.span

        @watch(name="sync")
        def sync(seconds: float, error: BaseException | None = None) -> None:
            with span("load"):
                time.sleep(seconds)
            with self.tracer.start_as_current_span("model"):
                time.sleep(0.001)
            if error is not None:
                raise error

        @watch(name="async")
        async def asynchronous(seconds: float) -> None:
            with span("load"):
                await asyncio.sleep(seconds)

        @watch(name="nested")
        def nested(seconds: float) -> None:
            sync(seconds)

        self.sync, self.asynchronous, self.nested = sync, asynchronous, nested

    def within(self, name: str, work: Callable[[], object]) -> None:
        """Do *work* in a span of the program's, and note when."""
        with self.tracer.start_as_current_span(name), suppress(BaseException):
            begun = time.time_ns()
            work()
        with suppress(NameError):
            self.times[name] = begun, time.time_ns()


def _exemplars(receiver: Receiver) -> dict[bytes, Any]:
    """Return the exemplars of durations by the ids of their spans."""
    return {one.span_id: one for point in receiver.points(CALL_DURATION) for one in point.exemplars}


def test_slow_and_failed_calls_are_spans_and_exemplars(receiver: Receiver, traced: TracerProvider) -> None:
    """In sync, async and threads: ids, parents, times, attributes and status are those of what the program did."""
    exporter = OpenTelemetry(every_seconds=1000, slower_than_seconds=0.05, tracer_provider=traced)
    with holter.Monitor("shop", samplers=[], exporters=[exporter], recording=False).start() as monitor:
        program = Programs(monitor, traced)

        async def side_by_side() -> None:
            await asyncio.gather(*(program.asynchronous(seconds) for seconds in (0.06, 0.001, 0.08)))

        def in_a_thread() -> None:
            around = contextvars.copy_context()
            thread = threading.Thread(target=around.run, args=(program.sync, 0.06))
            thread.start()
            thread.join()

        async def cancelled() -> None:
            task = asyncio.ensure_future(program.asynchronous(30.0))
            await asyncio.sleep(0.07)
            task.cancel()
            await asyncio.wait([task])

        for name, work in (
            ("slow", lambda: program.sync(0.06)),
            ("quick", lambda: program.sync(0.0)),
            ("failed", lambda: program.sync(0.0, ValueError("secret"))),
            ("nested", lambda: program.nested(0.06)),
            ("tasks", lambda: asyncio.run(side_by_side())),
            ("cancelled", lambda: asyncio.run(cancelled())),
            ("thread", in_a_thread),
        ):
            program.within(f"around {name}", work)
        assert monitor.flush(30)
    spans = receiver.spans(7 + 5 + 8 + 7)
    outer = {name.removeprefix("around "): found[0] for name, found in spans.items() if name.startswith("around ")}
    by_id = {span.span_id: span for found in spans.values() for span in found}

    def children(of: Any, name: str) -> list[Any]:
        return [span for span in spans.get(name, []) if span.parent_span_id == of.span_id]

    for name, call, count in (
        ("slow", "sync", 1),
        ("quick", "sync", 0),
        ("failed", "sync", 1),
        ("nested", "nested", 1),
        ("tasks", "async", 2),
        ("cancelled", "async", 1),
        ("thread", "sync", 1),
    ):
        found = children(outer[name], call)
        assert count == len(found), name
        begun, ended = program.times[f"around {name}"]
        for span in found:
            assert outer[name].trace_id == span.trace_id
            assert begun - 10**7 <= span.start_time_unix_nano < span.end_time_unix_nano <= ended + 10**7
            within = span if call != "nested" else children(span, "sync")[0]
            (load,) = children(within, "load")
            assert span.start_time_unix_nano <= load.start_time_unix_nano
            assert load.end_time_unix_nano <= span.end_time_unix_nano
    (slow,) = children(outer["slow"], "sync")
    assert 0.06 <= (slow.end_time_unix_nano - slow.start_time_unix_nano) / 1e9 < 5
    # What the program has opened inside is its own span's child, beside ours, with its own times.
    (model,) = children(outer["slow"], "model")
    assert slow.start_time_unix_nano - 10**7 <= model.start_time_unix_nano <= slow.end_time_unix_nano + 10**7
    (failed,) = children(outer["failed"], "sync")
    marks = {one.key: one.value.string_value for one in failed.attributes}
    assert {"holter.call.name": "sync", "holter.call.outcome": "error", "error.type": "ValueError"} == marks
    assert (2, "") == (failed.status.code, failed.status.message)
    (given_up,) = children(outer["cancelled"], "async")
    assert "cancelled" in {one.value.string_value for one in given_up.attributes}
    assert b"secret" not in b"".join(one.SerializeToString() for one in by_id.values() if one.name != "around failed")
    receiver.wait_for(1)
    exemplars = _exemplars(receiver)
    assert {span.span_id for name in ("sync", "nested", "async") for span in spans[name]} == exemplars.keys()
    for span_id, exemplar in exemplars.items():
        span = by_id[span_id]
        seconds = (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9
        told = exemplar.trace_id, exemplar.time_unix_nano, exemplar.as_double
        assert (span.trace_id, span.end_time_unix_nano, seconds) == told


def test_an_exemplar_is_sent_once(http: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the figures of its time; again only if these did not arrive."""
    provider = TracerProvider(shutdown_on_exit=False)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.2")
    exporter = OpenTelemetry(every_seconds=1000, slower_than_seconds=0.001, spans=False, tracer_provider=provider)
    with holter.Monitor("shop", samplers=[], exporters=[exporter], recording=False).start() as monitor:
        work = monitor.watch(time.sleep, name="work")
        with provider.get_tracer("program").start_as_current_span("around") as span:
            work(0.002)
        for status in (503, 200, 200):
            http.status = status
            monitor.flush(30)
    told = [[one.span_id for one in point.exemplars] for point in http.points(CALL_DURATION)]
    assert [[span.get_span_context().span_id.to_bytes(8, "big")], [], []] == told


def test_a_trace_that_is_not_sampled_has_neither_spans_nor_exemplars() -> None:
    """Nor do calls in no trace, where the program has set up no provider."""
    kept = Kept()
    spans = InMemorySpanExporter()
    provider = TracerProvider(sampler=ParentBased(ALWAYS_OFF), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(spans))
    for given in (provider, None):
        exporter = OpenTelemetry(kept, every_seconds=1000, slower_than_seconds=1e-6, tracer_provider=given)
        with holter.Monitor("shop", samplers=[], exporters=[exporter], recording=False).start() as monitor:
            work = monitor.watch(time.sleep, name="work")
            with provider.get_tracer("program").start_as_current_span("around"):
                work(0.002)
            if given is None:
                work(0.002)
            monitor.flush(30)
            assert () == monitor.snapshot().slow_calls
    points = [
        point
        for data in kept.handed
        for metric in data.resource_metrics[0].scope_metrics[0].metrics
        for point in metric.data.data_points
        if metric.name == CALL_DURATION
    ]
    assert [[]] * len(points) == [list(point.exemplars) for point in points] != []
    assert () == spans.get_finished_spans()


def test_ten_thousand_failures_a_second_are_a_few_spans(http: Receiver) -> None:
    """Ten an interval; the others are counted, and all are in the figures."""
    spans = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(spans))
    exporter = OpenTelemetry(every_seconds=1000, tracer_provider=provider)
    with holter.Monitor("shop", samplers=[], exporters=[exporter], recording=False, interval_seconds=60) as monitor:

        @monitor.watch
        def fail() -> None:
            raise ValueError

        for _ in range(10_000):
            with suppress(ValueError):
                fail()
        monitor.flush(60)
        snapshot = monitor.snapshot()
        dropped = snapshot.find("holter.slow_calls.dropped")
    assert 10 == len(spans.get_finished_spans()) == len(snapshot.slow_calls)
    assert dropped is not None
    assert 10_000 - 10 == dropped.total.sum
    assert 10_000 == snapshot.find(fail).total.count


def test_calls_that_are_quick_for_the_user_are_no_spans() -> None:
    """Another exporter of the monitor may take them for slow."""
    spans = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(spans))
    exporters = [
        OpenTelemetry(
            Kept(), every_seconds=1000, slower_than_seconds=seconds, tracer_provider=provider, spans=spans_too
        )
        for seconds, spans_too in ((0.1, True), (0.001, False))
    ]
    with holter.Monitor("shop", samplers=[], exporters=exporters, recording=False).start() as monitor:
        work = monitor.watch(time.sleep, name="work")
        for seconds in (0.002, 0.101):
            work(seconds)
        monitor.flush(30)
        assert 2 == len(monitor.snapshot().slow_calls)
    (only,) = spans.get_finished_spans()
    assert only.end_time - only.start_time >= 101_000_000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"slower_than_seconds": 0}, "slower_than_seconds"),
        ({"slower_than_seconds": "1"}, "slower_than_seconds"),
        ({"tracer_provider": 3}, "tracer_provider must be a TracerProvider"),
    ],
)
def test_traces_that_cannot_work_are_refused(options: Any, message: str) -> None:
    """In words, where they are written."""
    with pytest.raises(holter.ConfigurationError, match=message):
        OpenTelemetry(Kept(), **options)


def test_its_words_tell_of_traces() -> None:
    """By them a second start knows whether it is given the same."""
    assert "spans=False, slower_than_seconds=0.5" in repr(OpenTelemetry(Kept(), spans=False, slower_than_seconds=0.5))


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
