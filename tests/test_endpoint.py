"""The page of metrics inside other applications: over ASGI, over WSGI, and in a registry of prometheus_client."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server
from wsgiref.validate import validator

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client import Counter as OwnCounter

import holter
from metricpages import free_port, get, needs_prometheus, poll, prometheus, values

ASGI = {"type": "http", "method": "GET", "headers": [(b"accept", b"text/plain")]}


@pytest.fixture
def work() -> Iterator[Any]:
    """Run the default monitor, and return a watched function that has been called once."""
    function = holter.watch(lambda: None, name="endpoint.work")
    with holter.start("endpoint", samplers=[], recording=False) as monitor:
        function()
        monitor.snapshot()
        yield function


async def ask(app: Any, scope: dict[str, Any], *said: str) -> list[dict[str, Any]]:
    """Return what *app* sends to a client that says these messages."""
    sent, waiting = [], [{"type": one} for one in said]

    async def receive() -> dict[str, Any]:
        return waiting.pop(0)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent


def calls(text: str) -> float:
    """Return how many calls of the watched function a page counts."""
    return sum(
        value for name, value in values(text).items() if 'name="endpoint.work"' in name and "seconds_count" in name
    )


@pytest.mark.usefixtures("work")
def test_three_arguments_mean_asgi() -> None:
    """One response of the newest snapshot, with its length."""
    start, body = asyncio.run(ask(holter.prometheus_app(), ASGI))
    headers = dict(start["headers"])
    assert (200, str(len(body["body"])).encode()) == (start["status"], headers[b"content-length"])
    assert calls(body["body"].decode()) >= 1


@pytest.mark.usefixtures("work")
def test_one_argument_means_asgi_2() -> None:
    """As servers call what is no coroutine function."""
    app = holter.prometheus_app()

    async def call(scope: Any, receive: Any, send: Any) -> None:
        await app(scope)(receive, send)

    assert asyncio.run(ask(call, ASGI))[0]["status"] == 200


@pytest.mark.usefixtures("work")
@pytest.mark.parametrize(
    ("scope", "said", "sent"),
    [
        (
            {"type": "lifespan"},
            ("lifespan.startup", "lifespan.shutdown"),
            ["lifespan.startup.complete", "lifespan.shutdown.complete"],
        ),
        ({"type": "websocket"}, ("websocket.connect",), ["websocket.close"]),
        ({**ASGI, "method": "HEAD"}, (), ["http.response.start", "http.response.body"]),
    ],
)
def test_the_other_words_of_asgi_are_answered(scope: dict[str, Any], said: tuple[str, ...], sent: list[str]) -> None:
    """A server that serves nothing else starts and stops; a web socket is closed."""
    messages = asyncio.run(ask(holter.prometheus_app(), scope, *said))
    assert sent == [message["type"] for message in messages]
    assert not messages[-1].get("body")


class Quiet(WSGIRequestHandler):
    """Logs nothing."""

    def log_message(self, *_: Any) -> None:
        """Stay silent."""


@pytest.mark.usefixtures("work")
def test_two_arguments_mean_wsgi() -> None:
    """The standard library's server and its validator find nothing wrong; HEAD and other methods are answered."""
    with make_server("127.0.0.1", 0, validator(holter.prometheus_app()), handler_class=Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.server_port}/any"
            status, headers, body = get(url)
            assert (200, True) == (status, calls(body.decode()) >= 1)
            assert int(headers["Content-Length"]) == len(body)
            with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=60) as reply:
                assert (200, b"") == (reply.status, reply.read())
        finally:
            server.shutdown()
            thread.join()


def test_another_method_is_refused() -> None:
    """In words, with those that are not."""
    replies: list[Any] = []
    body = holter.prometheus_app()({"REQUEST_METHOD": "POST"}, lambda *given: replies.append(given))
    ((status, headers),) = replies
    assert ("405 Method Not Allowed", "GET, HEAD") == (status, dict(headers)["Allow"])
    assert body == [b"expected GET or HEAD, got POST\n"]


def test_before_the_first_snapshot_it_says_so() -> None:
    """A page without figures would look like a program in which nothing happens."""
    program = "import holter; print(holter.prometheus_app()({}, lambda status, _: print(status)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("503 Service Unavailable\n[b'no snapshot yet: holter.start(...)")


def test_a_scrape_takes_no_snapshot(work: Any) -> None:
    """It reads the newest one: intervals, and what judges them, are not disturbed."""
    with holter.start("endpoint", samplers=[], recording=False, interval_seconds=3600) as monitor:
        before = monitor.snapshot()
        work()
        app = holter.prometheus_app()
        pages = {asyncio.run(ask(app, ASGI))[1]["body"] for _ in range(3)}
        assert len(pages) == 1
        assert monitor.latest is before


def test_figures_stand_in_a_registry_beside_the_programs_own(work: Any) -> None:
    """Registering collects nothing; each collection reads the newest snapshot."""
    registry = CollectorRegistry(auto_describe=True)
    OwnCounter("own", "The program's.", registry=registry).inc(5)
    registry.register(holter.prometheus_collector())
    text = generate_latest(registry).decode()
    assert values(text)["own_total"] == 5
    before = calls(text)
    work()
    holter.snapshot()
    assert before + 1 == calls(generate_latest(registry).decode())


@pytest.mark.usefixtures("work")
def test_a_figure_that_fails_leaves_the_registry_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest of the scrape goes on, and the failure is counted."""
    registry = CollectorRegistry()
    OwnCounter("own", "The program's.", registry=registry).inc(5)
    collector = holter.prometheus_collector()
    registry.register(collector)
    monkeypatch.setattr(type(collector), "read", lambda *_: 1 / 0)
    assert values(generate_latest(registry).decode())["own_total"] == 5
    monkeypatch.undo()
    counted = holter.snapshot().find("holter.internal_errors", {"holter.place": "prometheus_collector"})
    assert counted is not None
    assert counted.total.sum >= 1


SERVICE = """
from contextlib import asynccontextmanager
import time
from fastapi import FastAPI, HTTPException
import holter

@holter.watch(units=len, expected=HTTPException)
def predict(texts):
    if not texts:
        raise HTTPException(422, "no texts")
    if texts == ["fail"]:
        raise ValueError("no")
    with holter.span("tokenize"):
        time.sleep(0.002)
    return [len(text) for text in texts]

@asynccontextmanager
async def lifespan(app):
    with holter.start("sentiment", version="v7", interval_seconds=0.2):
        yield

app = FastAPI(lifespan=lifespan)
app.mount("/metrics", holter.prometheus_app())

@app.post("/predict")
def answer(texts: list[str]):
    return predict(texts)
"""


@needs_prometheus
def test_a_real_prometheus_counts_what_the_clients_of_a_service_did(tmp_path: Path) -> None:
    """Under load, over ASGI, through the redirect of a mount: each outcome by its number, the units, the stages."""
    (tmp_path / "service.py").write_text(SERVICE)
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "service:app", "--port", str(port), "--log-level", "warning"]
    with (tmp_path / "log").open("wb") as log:
        service = subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        poll("the service", lambda: get(f"{url}/metrics/")[0] == 200)
        did: Counter[int] = Counter()

        def client(number: int) -> None:
            for turn in range(30):
                body = (b"[]", b'["fail"]', b'["a fine day", "rain"]')[(number + turn) % 3]
                headers = {"Content-Type": "application/json"}
                request = urllib.request.Request(f"{url}/predict", body, headers, method="POST")  # noqa: S310  our own
                try:
                    with urllib.request.urlopen(request, timeout=60) as reply:  # noqa: S310  our own
                        did[reply.status] += 1
                except urllib.error.HTTPError as error:
                    did[error.code] += 1
                    error.close()

        with prometheus(port) as server:
            for _ in range(2):
                threads = [threading.Thread(target=client, args=(number,)) for number in range(6)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
                server.sees("sum by (holter_call_name) (holter_call_duration_seconds_count)", sum(did.values()))
            counts = "sum by (holter_call_outcome) (holter_call_duration_seconds_count)"
            seen = {labels["holter_call_outcome"]: value for labels, value in server.query(counts)}
            assert {"ok": did[200], "expected": did[422], "error": did[500]} == seen
            assert server.value("holter_call_units_total") == 2 * did[200]
            assert server.value("holter_span_duration_seconds_count") == did[200]
            assert server.value("holter_call_active") == 0
            assert server.value('count(holter_info{service_name="sentiment",service_version="v7"})') == 1
            assert server.value("sum(holter_internal_errors_total) or vector(0)") == 0
    finally:
        service.terminate()
        service.wait(60)
    assert {200, 422, 500} == set(did)
