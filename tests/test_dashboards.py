"""The dashboard and the alert rules: built from code, accepted by promtool, and answered by a real Prometheus."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import re
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import holter
from controlgroups import Container
from fakegpus import NO_GCC, fake_gpus
from metricpages import PATIENCE_SECONDS, Server, needs_prometheus, prometheus, promtool

FOLDER = Path(__file__).parent.parent / "dashboards"


def _build() -> Any:
    spec = importlib.util.spec_from_file_location("holter_dashboard", FOLDER / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Where its dataclasses look for their annotations.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


DASHBOARD = json.loads((FOLDER / "holter.json").read_text(encoding="utf-8"))
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES = {f"{panel['title']} {target['refId']}": target["expr"] for panel in PANELS for target in panel["targets"]}
VARIABLES = {"$__rate_interval": "1m", "$__range": "1h", "$job": ".*", "$instance": ".*", "$call": ".*"}


def filled(expression: str) -> str:
    """Return a query as Grafana sends it."""
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    return expression


def test_the_dashboard_is_what_its_code_makes() -> None:
    """Whoever changes one runs `python dashboards/build.py`."""
    assert _build().build() == (FOLDER / "holter.json").read_text(encoding="utf-8")


def test_panels_lie_beside_each_other() -> None:
    """Each has a number of its own, a description, and a place that no other one has."""
    everything = DASHBOARD["panels"]
    assert len({panel["id"] for panel in everything}) == len(everything)
    assert all(panel["description"] for panel in PANELS)
    taken = [
        (x, y)
        for place in (panel["gridPos"] for panel in everything)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(taken)) == len(taken)
    assert max(x for x, _ in taken) < 24


def test_every_variable_is_known() -> None:
    """Nothing that Grafana would leave as it stands."""
    used = set(re.findall(r"\$\w+", " ".join(QUERIES.values())))
    mine = {f"${one['name']}" for one in DASHBOARD["templating"]["list"]}
    assert used <= mine | {"$__rate_interval", "$__range"}
    assert used <= set(VARIABLES)


@needs_prometheus
@pytest.mark.parametrize("command", [("check", "alerts.yml"), ("test", "alerts_test.yml")])
def test_promtool_accepts_the_alert_rules(command: tuple[str, str]) -> None:
    """They parse, and they fire and keep still where their tests say so."""
    done = promtool(command[0], "rules", FOLDER / command[1])
    assert done.returncode == 0, done.stdout + done.stderr


class Program:
    """A program with calls, errors, stages, streams, training, alerts, and a Prometheus that scrapes it."""

    def __init__(self, monitor: holter.Monitor, server: Server, container: Container) -> None:
        self.monitor, self.server, self.container = monitor, server, container
        self.predict = monitor.watch(self._predict, name="predict", units=3)
        self.stream = monitor.watch(lambda: (yield from range(4)), name="stream")
        self.tokens = monitor.llm(
            lambda: (yield from [(3, 1), (3, 2)]),
            name="tokens",
            model="tiny",
            usage=lambda last: last,
            targets={"duration": 100.0},
        )

        self.app = holter.ASGI(self._hello, monitor=monitor)

    async def _hello(self, scope: Any, receive: Any, send: Any) -> None:
        scope["route"] = SimpleNamespace(path="/hello")
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"hello"})

    def request(self) -> None:
        """Answer a request that has waited for a second."""

        async def receive() -> Any:
            return {"type": "http.request", "body": b""}

        async def send(_: Any) -> None:
            pass

        since = f"t={time.time() - 1:.3f}".encode()
        scope = {"type": "http", "method": "GET", "scheme": "http", "headers": [(b"x-request-start", since)]}
        asyncio.run(self.app(scope, receive, send))

    def _predict(self, *, fails: bool) -> None:
        with self.monitor.span("tokenize"):
            time.sleep(0.001)
        if fails:
            raise ValueError

    def work(self, run: Any, turns: int) -> None:
        """Do some of everything."""
        for turn in range(turns):
            with contextlib.suppress(ValueError):
                self.predict(fails=turn % 5 == 0)
            list(self.stream())
            list(self.tokens())
            self.request()
            for _ in run.steps([1, 2]):
                run.log(loss=0.5)
            self.container.run()

    def ask(self, title: str) -> list[tuple[dict[str, str], float]]:
        """Return what Prometheus answers to a query of the dashboard."""
        return self.server.query(filled(QUERIES[title]))

    def unanswered(self, run: Any) -> list[str]:
        """Work until every panel has data, and return those that have none."""
        empty = set(QUERIES)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while empty and time.monotonic() < deadline:
            # Rates come of what grows between two scrapes.
            self.work(run, 1)
            empty = {title for title in empty if not self.ask(title)}
        return sorted(empty)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """One that has worked until nothing is missing."""
    if shutil.which("gcc") is None:
        pytest.skip(NO_GCC)
    with fake_gpus(1, util__0=0):
        yield from worked(Container(tmp_path_factory.mktemp("container")))


def worked(container: Container) -> Iterator[Program]:
    """Yield one that has worked until nothing is missing."""
    exporter = holter.Prometheus(0)
    monitor = holter.Monitor(
        "dashboard",
        version="v7",
        exporters=[exporter],
        samplers=[
            holter.ProcessSampler(0.2),
            holter.ProcessTreeSampler(0.2),
            holter.HostSampler(0.2),
            holter.ContainerSampler(0.2, _root=container.root),
            holter.Storage(container.root, interval_seconds=0.2),
            holter.GPUSampler(0.2),
        ],
        checks=[holter.Limit("holter.call.duration", "rate", above=0.0, window_seconds=0.5)],
        interval_seconds=0.2,
    )
    with monitor, prometheus(exporter.port) as server, monitor.training("tune", total_steps=10**6, units=5) as run:
        one = Program(monitor, server, container)
        one.work(run, 5)
        server.sees("count (holter_call_duration_seconds_count) > bool 2", 1)
        # The alert fires as long as there is work.
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not server.query("holter_alerts_firing"):
            one.work(run, 1)
            assert time.monotonic() < deadline, "no alert"
        assert one.unanswered(run) == []
        yield one


@needs_prometheus
def test_every_panel_has_data_of_such_a_program(program: Program) -> None:
    """None of its queries is misspelt, asks for a metric that is not there, or divides by nothing."""
    assert [] == [title for title in QUERIES if not program.ask(title)]


@needs_prometheus
def test_totals_are_those_of_the_program(program: Program) -> None:
    """When it rests, Prometheus has counted what the snapshot says."""
    told = program.monitor.snapshot().find(program.predict)
    assert told is not None
    program.server.sees('sum (holter_call_duration_seconds_count{holter_call_name="predict"})', told.total.count)
    assert [0.0, 0.0, 0.0] == [value for _, value in program.ask("Running now A")]
    assert [0.0, 0.0] == [
        value for title in ("A", "B") for _, value in program.ask(f"Internal errors and failed exports {title}")
    ]


@needs_prometheus
def test_panels_tell_calls_errors_and_stages_apart(program: Program) -> None:
    """By name, by class, and by stage, whose time per call is of the order that it was."""
    assert {"predict", "stream", "tokens"} == {
        labels["holter_call_name"] for labels, _ in program.ask("Calls a second A")
    }
    ((labels, _),) = program.ask("Errors by type, a second A")
    assert labels == {"holter_call_name": "predict", "error_type": "ValueError"}
    ((labels, seconds),) = program.ask("Where the time of a call goes A")
    assert (labels["holter_span_name"], True) == ("tokenize", seconds > 0.0005)
    shares = {labels["holter_call_name"]: value for labels, value in program.ask("Share of calls that fail A")}
    assert shares["stream"] == 0
    assert 0 < shares["predict"] <= 1


@needs_prometheus
def test_panels_tell_requests_by_route(program: Program) -> None:
    """And how long each has waited before the service."""
    by = {"http_route": "/hello"}
    assert [{**by, "http_response_status_code": "200"}] == [labels for labels, _ in program.ask("Requests a second A")]
    ((labels, seconds),) = program.ask("Waiting before the service A")
    assert (by, True) == (labels, 1.0 <= seconds < 1.5)


@needs_prometheus
def test_panels_tell_tokens_by_call_and_model(program: Program) -> None:
    """Two tokens out for three in, all of them good."""
    by = {"holter_call_name": "tokens", "gen_ai_request_model": "tiny"}
    assert [by, by] == [labels for end in "AB" for labels, _ in program.ask(f"Tokens a second {end}")]
    assert [({"holter_call_name": "tokens"}, 1.0)] == program.ask("Goodput A")


@needs_prometheus
def test_panels_tell_the_limits_of_the_container(program: Program) -> None:
    """What its files say: half a GiB of one, a CPU and a half, a quarter of the periods cut short."""
    assert [2**29, 2**30] == [value for end in "AB" for _, value in program.ask(f"Memory of the container {end}")]
    assert [1.5] == [value for _, value in program.ask("CPUs of the container B")]
    assert [pytest.approx(0.25)] == [value for _, value in program.ask("Throttled A")]
    assert [0.0] == [value for _, value in program.ask("Killed for want of memory A")]


@needs_prometheus
def test_panels_name_the_process_and_the_alerts(program: Program) -> None:
    """Its version, and what a check of its own says."""
    assert [({"service_name": "dashboard", "service_version": "v7"}, 1.0)] == program.ask("Processes A")
    targets = [labels.get("holter_alert_target") for labels, _ in program.ask("Alerts of holter's own checks A")]
    assert "holter.call.duration" in targets
