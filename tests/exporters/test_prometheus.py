"""The page that Prometheus scrapes: what stands there, who may ask for it, and what a real Prometheus makes of it."""

from __future__ import annotations

import gc
import gzip
import math
import random
import socket
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from opentelemetry.sdk.trace import TracerProvider
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

import holter
from contracts.exporter import EMPTY, ExporterContract
from contracts.snapshots import Story, alert, busy_story, hostile_alert, hostile_story
from holter.errors import ConfigurationError
from holter.exporters.prometheus import Prometheus
from holter.model import Exporter, SlowCall
from metricpages import check_metrics, free_port, get, needs_prometheus, poll, prometheus, values
from programs import succeed

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
# Older releases of prometheus_client answer any version of OpenMetrics with theirs.
OWN = ("text/plain; version=0.0.4", OPENMETRICS)


def page(exporter: Exporter, **headers: str) -> str:
    """Return the page as it comes over the wire."""
    assert isinstance(exporter, Prometheus)
    status, _, body = get(f"http://127.0.0.1:{exporter.port}/metrics", **headers)
    assert status == 200, body
    return body.decode()


@pytest.fixture
def exporter() -> Iterator[Prometheus]:
    """One on any port."""
    one = Prometheus(0)
    yield one
    one.close(10.0)


class TestPrometheus(ExporterContract):
    """The page of metrics is an exporter."""

    @pytest.fixture(autouse=True)
    def ports(self) -> Iterator[None]:
        """Give all ports back."""
        self.built: list[Prometheus] = []
        yield
        for one in self.built:
            one.close(10.0)

    def build(self, folder: Path, **options: Any) -> Prometheus:
        """Return an exporter on any port."""
        self.built.append(Prometheus(0, **options))
        return self.built[-1]

    def text(self, exporter: Exporter) -> str:
        """Return the page."""
        return page(exporter)

    def test_ships_alerts_from_any_iterable(self, exporter: Exporter) -> None:
        """An alert arrives with its state and its target; its sentence would be a new series at each firing."""
        exporter.export(EMPTY, (one for one in [alert()]))
        name = (
            'holter_alerts_firing{holter_alert_check="Limit",holter_alert_expected="p99 below 200 ms",'
            'holter_alert_severity="critical",holter_alert_target="predict"}'
        )
        assert values(self.text(exporter))[name] == 1
        exporter.export(EMPTY, [alert(state="resolved")])
        assert values(self.text(exporter))[name] == 0


def test_every_kind_of_series_stands_there(exporter: Prometheus) -> None:
    """Counters, levels and histograms, with the numbers of the snapshot."""
    exporter.export(busy_story().snapshot(), [])
    seen = values(page(exporter))
    ok = 'holter_call_name="predict",holter_call_outcome="ok"'
    assert seen[f"holter_call_duration_seconds_count{{{ok}}}"] == 809
    assert seen[f'holter_call_duration_seconds_bucket{{{ok},le="0.1"}}'] == 100
    assert seen[f'holter_call_duration_seconds_bucket{{{ok},le="+Inf"}}'] == 809
    assert seen["app_cache_hits_total"] == 20
    assert seen["app_queue"] == -2
    assert seen["process_memory_usage_bytes"] == 2**28
    assert [name for name in seen if name.startswith("holter_info") and 'service_version="v7"' in name]


def test_the_sum_over_labels_counts_each_call_once(exporter: Prometheus) -> None:
    """Calls that failed or were tagged are in series of their own, and in no other."""
    exporter.export(busy_story().snapshot(), [])
    seen = values(page(exporter))
    counts = {name: value for name, value in seen.items() if name.startswith("holter_call_duration_seconds_count")}
    assert (4, 809 + 3 + 1 + 1) == (len(counts), sum(counts.values()))


def test_both_formats_say_the_same(exporter: Prometheus) -> None:
    """The readers of prometheus_client accept each, and find equal samples."""
    exporter.export(busy_story().snapshot(), [alert()])
    plain = {sample[:3] for family in parse(page(exporter)) for sample in _samples(family)}
    open_ = {
        sample[:3] for family in parse_openmetrics(page(exporter, Accept=OPENMETRICS)) for sample in _samples(family)
    }
    assert plain == open_
    assert len(plain) > 70


def _samples(family: Any) -> list[tuple[str, tuple[tuple[str, str], ...], float]]:
    return [(sample.name, tuple(sorted(sample.labels.items())), sample.value) for sample in family.samples]


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", "text/plain; version=0.0.4"),
        ("*/*", "text/plain; version=0.0.4"),
        (OPENMETRICS, "application/openmetrics-text; version=1.0.0"),
        (
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75",
            "application/openm",
        ),
        ("application/openmetrics-text; version=9.9.9", OWN),
        ("application/openmetrics-text; version=1.x", OWN),
        ("text/html" + ",x" * 2000, "text/plain; version=0.0.4"),
    ],
)
def test_the_form_is_the_one_that_was_asked_for(
    exporter: Prometheus, accept: str, content_type: str | tuple[str, ...]
) -> None:
    """What it cannot do, or is no version, gets another; it claims no version but its own."""
    exporter.export(busy_story().snapshot(), [])
    status, headers, _ = get(f"http://127.0.0.1:{exporter.port}/metrics", Accept=accept)
    assert (200, True) == (status, headers["Content-Type"].startswith(content_type))


def test_a_page_is_zipped_only_if_asked(exporter: Prometheus) -> None:
    """The same page, smaller."""
    exporter.export(busy_story().snapshot(), [])
    _, headers, body = get(f"http://127.0.0.1:{exporter.port}/metrics", Accept_Encoding="deflate, gzip;q=0.5")
    assert headers["Content-Encoding"] == "gzip"
    assert page(exporter) == gzip.decompress(body).decode()
    _, headers, _ = get(f"http://127.0.0.1:{exporter.port}/metrics", Accept_Encoding="gzip;q=0")
    assert "Content-Encoding" not in headers


@needs_prometheus
@pytest.mark.parametrize("accept", ["", OPENMETRICS])
def test_promtool_finds_nothing_wrong(exporter: Prometheus, accept: str) -> None:
    """Every metric has its help, and a name and unit as Prometheus wants them."""
    story = busy_story()
    for number, kind in enumerate(("gauge", "counter", "updowncounter", "histogram")):
        for unit in ("1", "s", "By", "J", "{thing}", "By/s"):
            story.record(f"app.kind{number}.{kind[:3]}.u{len(unit)}", [0.5], kind=kind, unit=unit)
    for name, unit in (("process.thread.count", "{thread}"), ("holter.training.steps_total", "{step}")):
        story.record(name, [3.0], kind="gauge", unit=unit)
    story.record(
        "holter.training.info", [1.0], kind="gauge", unit="1", attributes={"holter.training.parameter.lr": 0.1}
    )
    exporter.export(story.snapshot(), [alert()])
    text = page(exporter, Accept=accept)
    if accept:
        assert list(parse_openmetrics(text))
    else:
        assert check_metrics(text) == ""


@needs_prometheus
def test_names_that_try_to_break_out_make_a_page_that_is_read(exporter: Prometheus) -> None:
    """Promtool reads every line of it; what it says of their spelling is the program's own doing."""
    exporter.export(hostile_story().snapshot(), [hostile_alert()])
    assert "error while linting" not in check_metrics(page(exporter))
    assert list(parse(page(exporter)))
    assert list(parse_openmetrics(page(exporter, Accept=OPENMETRICS)))


def test_attributes_that_become_one_set_of_labels_become_one_series(exporter: Prometheus) -> None:
    """Their counts are added, because Prometheus refuses a page that has a series twice."""
    story = Story()
    for value in (1, "1", "x" * 2000, "x" * 3000):
        story.record("app.sent", [1.0], kind="counter", unit="1", attributes={"to": value})
        story.record("app.took", [0.2], attributes={"to": value})
    exporter.export(story.snapshot(), [])
    sent = {name: value for name, value in values(page(exporter)).items() if name.startswith("app_sent")}
    assert [2, 2] == list(sent.values())
    assert values(page(exporter))['app_took_seconds_bucket{le="0.25",to="1"}'] == 2


def test_buckets_are_the_users() -> None:
    """By the name of the metric, or chosen around what was recorded."""
    story = Story()
    story.call("predict", [0.001, 0.002, 0.004])
    for buckets, expected in (
        ({"holter.call.duration": [0.0015, 0.003]}, {"0.0015": 1, "0.003": 2, "+Inf": 3}),
        ("auto", {"0.001953125": 1, "0.00390625": 2, "0.0078125": 3, "+Inf": 3}),
    ):
        other = Prometheus(0, buckets=buckets)
        other.export(story.snapshot(), [])
        seen = {
            sample.labels["le"]: sample.value
            for family in parse(page(other))
            for sample in family.samples
            if sample.name == "holter_call_duration_seconds_bucket"
        }
        assert expected.items() <= seen.items()
        other.close(10.0)


def test_a_page_is_rendered_once_a_snapshot(exporter: Prometheus, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many scrapes of one snapshot cost one rendering; a new snapshot shows at the next scrape."""
    story = busy_story()
    exporter.export(story.snapshot(), [])
    rendered = []
    read = exporter._exposition._collector.read
    monkeypatch.setattr(exporter._exposition._collector, "read", lambda *given: rendered.append(1) or read(*given))
    assert len({page(exporter) for _ in range(20)}) == 1
    assert rendered == [1]
    story.call("predict", [0.1])
    exporter.export(story.snapshot(), [])
    assert "810.0" in page(exporter)


def test_a_page_that_cannot_be_rendered_is_a_failed_export(exporter: Prometheus) -> None:
    """Whoever asks gets 500, the monitor counts a failure, and the next page is served again."""
    story = busy_story()
    broken = story.snapshot()
    next(iter(broken.series.values())).attributes["x"] = type("Broken", (), {"__str__": lambda _: 1 / 0})()
    exporter.export(broken, [])
    assert get(f"http://127.0.0.1:{exporter.port}/metrics")[0] == 500
    with pytest.raises(RuntimeError, match="could not be rendered: ZeroDivisionError"):
        exporter.export(busy_story().snapshot(), [])
    assert "predict" in page(exporter)


def test_a_port_that_is_taken_is_refused_at_once() -> None:
    """Where it is written, with what to do."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(
            ConfigurationError, match=f"port {port} of 127.0.0.1 is taken by another program; stop that"
        ):
            Prometheus(port)


@pytest.mark.parametrize("arguments", [{"port": -1}, {"port": 65_536}, {"port": True}, {"port": "80"}, {"port": None}])
def test_a_port_that_is_none_is_refused(arguments: Any) -> None:
    """In words."""
    with pytest.raises(ConfigurationError, match="expected a port from 1 to 65535"):
        Prometheus(**arguments)


@pytest.mark.parametrize("host", ["no such host", "203.0.113.1", 1])
def test_a_host_that_is_not_here_is_refused(host: Any) -> None:
    """Another machine's address cannot be listened on."""
    with pytest.raises(ConfigurationError, match="host"):
        Prometheus(0, host=host)


def test_a_port_is_free_again_after_the_monitor() -> None:
    """And the same exporter takes it again when the monitor starts again."""
    exporter = Prometheus(0)
    url = f"http://127.0.0.1:{exporter.port}/metrics"
    monitor = holter.Monitor("twice", exporters=[exporter], samplers=[], recording=False)
    for _ in range(2):
        with monitor:
            assert monitor.flush(60.0)
            assert get(url)[0] == 200
        with socket.socket() as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            other.bind(("127.0.0.1", exporter.port))


def test_an_exporter_that_is_closed_is_let_go() -> None:
    """With its snapshot and its pages: a program may start and stop monitors for ever."""
    exporter = Prometheus(0)
    reference = weakref.ref(exporter)
    with holter.Monitor("short", samplers=[], exporters=[exporter], recording=False).start() as monitor:
        monitor.flush()
    del exporter, monitor
    gc.collect()
    assert reference() is None


def test_starting_again_with_equal_arguments_goes_on() -> None:
    """As a notebook does that runs a cell twice: the port is this process's own."""
    port = free_port()
    with holter.start("cell", exporters=[Prometheus(port)], samplers=[], recording=False) as monitor:
        assert monitor is holter.start("cell", exporters=[Prometheus(port)], samplers=[], recording=False)
        assert monitor.flush(60.0)
        assert get(f"http://127.0.0.1:{port}/metrics")[0] == 200
        other = holter.start("another", exporters=[Prometheus(port)], samplers=[], recording=False)
        assert other.flush(60.0)
        assert b'service_name="another"' in get(f"http://127.0.0.1:{port}/metrics")[2]
    holter.stop(60.0)


def test_two_exporters_do_not_share_a_port(exporter: Prometheus) -> None:
    """The second one fails, and the first one is still served."""
    exporter.export(busy_story().snapshot(), [])
    second = Prometheus(exporter.port)
    with pytest.raises(RuntimeError, match="another exporter of this process"):
        second.export(EMPTY, [])
    second.close(1.0)
    assert "predict" in page(exporter)


FORK = """
import json, logging, os, sys, urllib.request
import holter

# That the child says what it does not do has a test of its own.
logging.disable()

exporter = holter.Prometheus(0)
work = holter.watch(lambda: None, name="work")
url = f"http://127.0.0.1:{exporter.port}/metrics"

def fetch():
    with urllib.request.urlopen(url, timeout=60) as reply:
        return reply.read().decode()

with holter.start("parent", exporters=[exporter], samplers=[], recording=False) as monitor:
    work()
    monitor.flush(60)
    before = fetch()
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.close(read)
        for _ in range(100):
            work()
        holter.flush(60)
        held = (f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd"))
        sockets = sum(os.readlink(path).startswith("socket:") for path in held if os.path.islink(path))
        os.write(write, json.dumps([sockets, exporter._snapshot.process.pid]).encode())
        os._exit(0)
    os.close(write)
    sockets, seen = json.loads(os.read(read, 1000))
    os.waitpid(child, 0)
    monitor.flush(60)
    after = fetch()
line = 'holter_call_duration_seconds_count{holter_call_name="work",holter_call_outcome="ok"} 1.0'
print(json.dumps([line in before, line in after, sockets, seen == os.getpid()]))
"""


def test_a_forked_child_serves_nothing_of_its_parents() -> None:
    """It holds no socket of its parent's and hands out no page; the parent's stays as it was."""
    done = succeed(FORK)
    assert [True, True, 0, True] == done


SAYING = """
import json, logging, os
import holter

exporter, said = holter.Prometheus(0), []
handler = logging.Handler()
handler.emit = lambda record: said.append(record.getMessage())
logging.getLogger("holter").addHandler(handler)
with holter.Monitor("parent", exporters=[exporter], samplers=[], recording=False) as monitor:
    monitor.flush(60)
    read, write = os.pipe()
    child = os.fork()
    if not child:
        snapshot = monitor.snapshot()
        for _ in range(3):
            exporter.export(snapshot, [])
        os.write(write, json.dumps([os.getpid(), said]).encode())
        os._exit(0)
    pid, told = json.loads(os.read(read, 10_000))
    os.waitpid(child, 0)
print(json.dumps([f"process {pid} serves no metrics: port {exporter.port} is its parent's" in one for one in told]))
"""


def test_a_forked_child_says_that_it_serves_nothing() -> None:
    """Once, with the reason; where its parent still serves, and the two are no group."""
    assert [True] == succeed(SAYING)


def test_slow_calls_are_exemplars_in_openmetrics_alone(exporter: Prometheus) -> None:
    """The newest of each bucket, in the one that its duration falls into; calls in no trace are none."""
    story = Story()
    story.call("predict", [0.0001, 0.3, 0.4, 12.0])
    (series,) = (one.id for one in story.series.values() if one.name == "holter.call.duration")
    slow = [
        SlowCall(number, "predict", series, 10**18, 10**18 + ns, trace_id=0xA0 + number, span_id=0xB0)
        for number, ns in ((1, 300_000_000), (2, 400_000_000), (3, 12_000_000_000), (4, 100_000))
    ]
    slow[3] = replace(slow[3], trace_id=0, span_id=0)
    exporter.export(replace(story.snapshot(), slow_calls=tuple(slow)), [])
    found = {
        sample.labels["le"]: (
            sample.exemplar.labels["trace_id"],
            sample.exemplar.value,
            float(sample.exemplar.timestamp),
        )
        for family in parse_openmetrics(page(exporter, accept=OPENMETRICS))
        for sample in family.samples
        if sample.exemplar
    }
    assert {"0.5": (f"{0xA2:032x}", 0.4, 10**9 + 0.4), "+Inf": (f"{0xA3:032x}", 12.0, 10**9 + 12.0)} == found
    assert "trace_id" not in page(exporter)


@needs_prometheus
def test_a_real_prometheus_keeps_the_traces_of_slow_and_failed_calls() -> None:
    """Each exemplar is of the trace and the span that the program made around the call, in the bucket of its value."""
    monitor = holter.Monitor("service", exporters=[Prometheus(0)], samplers=[], interval_seconds=0.2, recording=False)
    exporter = monitor.settings.exporters[0]
    assert isinstance(exporter, Prometheus)
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("program")
    traces: dict[str, tuple[str, str]] = {}

    @monitor.watch
    def predict(seconds: float, *, fails: bool = False) -> None:
        time.sleep(seconds)
        if fails:
            raise ValueError("secret")

    def work(outcome: str, seconds: float) -> None:
        with tracer.start_as_current_span(outcome, record_exception=False, set_status_on_exception=False) as span:
            context = span.get_span_context()
            traces[outcome] = f"{context.trace_id:032x}", f"{context.span_id:016x}"
            predict(seconds, fails=outcome == "error")

    with monitor, prometheus(exporter.port, features="exemplar-storage") as server:
        for _ in range(110):
            predict(0.0)
        monitor.snapshot()
        work("ok", 0.3)
        with suppress(ValueError):
            work("error", 0.0)
        expression = "holter_call_duration_seconds_bucket"
        poll("both exemplars", lambda: len(server.exemplars(expression)) == 2)
        found = {one["series"]["holter_call_outcome"]: one for one in server.exemplars(expression)}
    told = {outcome: (one["labels"]["trace_id"], one["labels"]["span_id"]) for outcome, one in found.items()}
    assert traces == told
    assert "0.5" == found["ok"]["series"]["le"]
    assert 0.3 <= float(found["ok"]["value"]) <= 0.5
    assert abs(float(found["ok"]["timestamp"]) - time.time()) < 60


@needs_prometheus
def test_a_real_prometheus_counts_what_the_program_did() -> None:
    """Calls, errors, units and counters differ between two scrapes by what happened between them, under load."""
    random.seed(7)
    monitor = holter.Monitor("service", version="v7", exporters=[Prometheus(0)], samplers=[], interval_seconds=0.2)
    exporter = monitor.settings.exporters[0]
    assert isinstance(exporter, Prometheus)
    hits = monitor.counter("app.cache.hits", unit="{hit}")
    inner: list[float] = []
    outer: list[float] = []

    @monitor.watch(units=2)
    def predict(seconds: float, *, fails: bool) -> None:
        begin = time.perf_counter()
        while time.perf_counter() < begin + seconds:
            pass
        inner.append(time.perf_counter() - begin)
        if fails:
            raise ValueError

    def work(times: list[float]) -> None:
        for number, seconds in enumerate(times):
            begin = time.perf_counter()
            try:
                predict(seconds, fails=number % 10 == 0)
            except ValueError:
                hits.add(3)
            outer.append(time.perf_counter() - begin)

    with monitor, prometheus(exporter.port) as server:
        work([0.0])
        calls = "sum by (holter_call_name) (holter_call_duration_seconds_count)"
        server.sees(calls, 1)
        threads = [
            threading.Thread(target=work, args=([random.uniform(0.0005, 0.02) for _ in range(100)],)) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        server.sees(calls, 401)
        assert server.value("count(up == 1)") == 1
        assert server.value('holter_call_duration_seconds_count{holter_call_outcome="error"}') == 41
        assert server.value("holter_call_units_total") == 360 * 2
        assert server.value("app_cache_hits_total") == 41 * 3
        assert server.value('sum(holter_call_duration_seconds_bucket{le="+Inf"})') == 401
        assert server.value("count(holter_info)") == 1
        # What holter measured lies between the times that were taken inside and around the call.
        for q in (0.5, 0.9, 0.99):
            told = server.value(f"histogram_quantile({q}, sum by (le) (holter_call_duration_seconds_bucket))")
            least, most = (float(np.quantile(times, q, method="inverted_cdf")) for times in (inner, outer))
            assert told is not None
            assert _bucket(least / 1.011) <= _bucket(told) <= _bucket(most)


def _bucket(value: float) -> int:
    bounds = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]
    return sum(value > bound + math.ulp(bound) for bound in bounds)
