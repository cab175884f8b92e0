"""Whole requests of an ASGI application: where their time goes, and that nothing else changes."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time as system_time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

import holter
from contracts.watched import SECOND_NS, Time, internal_errors, values
from holter import names
from holter.clock import Clock
from holter.model import Snapshot
from holter.monitor import Monitor
from holter.probes.requests import ASGI

WALL_NS = 1_790_000_000 * SECOND_NS
START = {"type": "http.response.start", "status": 200, "headers": []}
BODY = {"type": "http.response.body", "body": b"hello"}


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def monitor(time: Time) -> Monitor:
    return Monitor("test", samplers=[], clock=Clock(monotonic_ns=time, wall_ns=lambda: WALL_NS))


class Route:
    """What a framework has matched."""

    def __init__(self, path: object) -> None:
        self.path = path


class Exchange:
    """One request, whose client takes its time."""

    def __init__(self, time: Time, *, receive: float = 0.0, send: float = 0.0, **scope: Any) -> None:
        self.time, self.receive_seconds, self.send_seconds = time, receive, send
        self.scope = {"type": "http", "method": "POST", "scheme": "http", "headers": [], **scope}
        self.received = iter(
            [
                {"type": "http.request", "body": b"a", "more_body": True},
                {"type": "http.request", "body": b"b", "more_body": False},
                {"type": "http.disconnect"},
            ]
        )
        self.sent: list[Any] = []

    async def receive(self) -> Any:
        self.time.spend(self.receive_seconds)
        return next(self.received)

    async def send(self, message: Any) -> None:
        self.time.spend(self.send_seconds)
        self.sent.append(message)

    def with_app(self, monitor: Monitor, app: Callable[..., Any]) -> Snapshot:
        """Let *app* answer, watched, and return what was recorded."""
        asyncio.run(ASGI(app, monitor=monitor)(self.scope, self.receive, self.send))
        return monitor.snapshot()


def parts(snapshot: Snapshot, **where: Any) -> dict[str, float | None]:
    """Return the seconds of each part of the requests."""
    found = {
        "duration": names.HTTP_REQUEST_DURATION,
        "queue": names.REQUEST_QUEUE_TIME,
        "receive": names.REQUEST_RECEIVE_TIME,
        "handle": names.REQUEST_HANDLE_TIME,
        "send": names.REQUEST_SEND_TIME,
    }
    return {part: values(snapshot, name, **where)[1] for part, name in found.items()}


def test_the_time_of_a_request_is_told_apart(monitor: Monitor, time: Time) -> None:
    """What the client sends, what the application does, what the client takes; they add up."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["route"] = Route("/predict/{number}")
        while (await receive())["more_body"]:
            time.spend(0.25)
        time.spend(0.5)
        await send(START)
        await send(BODY)

    exchange = Exchange(time, receive=2.0, send=3.0)
    snapshot = exchange.with_app(monitor, app)
    assert [START, BODY] == exchange.sent
    where = {names.HTTP_METHOD: "POST", names.URL_SCHEME: "http", names.HTTP_ROUTE: "/predict/{number}"}
    assert {"duration": 10.75, "queue": 0.0, "receive": 4.0, "handle": 0.75, "send": 6.0} == parts(snapshot, **where)
    assert (1, 10.75, 10.75, 10.75) == values(
        snapshot, names.HTTP_REQUEST_DURATION, **where, **{names.HTTP_STATUS: 200}
    )


@pytest.mark.parametrize(
    ("header", "waited"),
    [
        (b"1789999998.5", 1.5),
        (b"t=1789999998.500", 1.5),
        (b"1789999998500", 1.5),
        (b"1789999998500000", 1.5),
        (b"t=1790000001", 0.0),
        (b"1690000000", None),
        (b"soon", None),
        (b"nan", None),
        (b"inf", None),
        (b"", None),
        (b"1" * 400, None),
    ],
)
def test_the_queue_before_is_what_the_proxy_says(
    header: bytes, waited: float | None, monitor: Monitor, time: Time
) -> None:
    """In seconds, milliseconds or microseconds; a clock that is ahead means no wait, nonsense nothing."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        await send(BODY)

    snapshot = Exchange(time, headers=[(b"host", b"x"), (b"X-Request-Start", header)]).with_app(monitor, app)
    count, total, *_ = values(snapshot, names.REQUEST_QUEUE_TIME)
    assert (0, 0.0) == (count, total) if waited is None else (1, waited) == (count, round(total or 0.0, 6))
    assert {} == internal_errors(snapshot)


def test_an_error_passes_through_and_is_told_by_its_class(monitor: Monitor, time: Time) -> None:
    """The very object; where the application answers by itself, by the status."""
    error = ValueError("secret")

    async def failing(scope: Any, receive: Any, send: Any) -> None:
        raise error

    async def unavailable(scope: Any, receive: Any, send: Any) -> None:
        await send(START | {"status": 503})
        await send(BODY)

    with pytest.raises(ValueError, match="secret") as raised:
        Exchange(time).with_app(monitor, failing)
    assert error is raised.value
    snapshot = Exchange(time).with_app(monitor, unavailable)
    assert 1 == values(snapshot, names.HTTP_REQUEST_DURATION, **{names.ERROR_TYPE: "ValueError"})[0]
    assert 1 == values(snapshot, names.HTTP_REQUEST_DURATION, **{names.ERROR_TYPE: "503", names.HTTP_STATUS: 503})[0]


def test_a_client_that_has_gone_is_abandoned(monitor: Monitor, time: Time) -> None:
    """Whether the application is told of it or is cancelled; who goes after the answer has had it."""

    async def told(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    async def cancelled(scope: Any, receive: Any, send: Any) -> None:
        raise asyncio.CancelledError

    async def answered(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        await send(BODY)
        await told(scope, receive, send)

    Exchange(time).with_app(monitor, told)
    with pytest.raises(asyncio.CancelledError):
        Exchange(time).with_app(monitor, cancelled)
    snapshot = Exchange(time).with_app(monitor, answered)
    assert 2 == values(snapshot, names.HTTP_REQUEST_DURATION, **{names.CALL_OUTCOME: "abandoned"})[0]
    assert 3 == values(snapshot, names.HTTP_REQUEST_DURATION)[0]
    assert 0 == len([one for one in snapshot.series.values() if one.attributes.get(names.ERROR_TYPE)])


def test_waiting_for_the_client_to_leave_is_nobodys_time(monitor: Monitor, time: Time) -> None:
    """Frameworks listen for a disconnect while they answer: that is the application's time."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass
        await send(START)
        await send(BODY)
        await receive()

    assert 4.0 == parts(Exchange(time, receive=2.0).with_app(monitor, app))["receive"]


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ({"method": "BREW", "scheme": "gopher"}, {names.HTTP_METHOD: "_OTHER", names.URL_SCHEME: "_OTHER"}),
        ({"method": None, "scheme": 3}, {names.HTTP_METHOD: "_OTHER", names.URL_SCHEME: "_OTHER"}),
        ({"route": Route(7)}, {names.HTTP_METHOD: "POST", names.URL_SCHEME: "http"}),
        ({"route": object()}, {names.HTTP_METHOD: "POST", names.URL_SCHEME: "http"}),
        ({"path": "/user/4711"}, {names.HTTP_METHOD: "POST", names.URL_SCHEME: "http"}),
    ],
    ids=str,
)
def test_what_clients_make_up_makes_no_series(
    scope: dict[str, Any], expected: dict[str, str], monitor: Monitor, time: Time
) -> None:
    """Nor does a path that no route has."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(START | {"status": "odd"})
        await send(BODY)

    snapshot = Exchange(time, **scope).with_app(monitor, app)
    (series,) = [
        one for one in snapshot.series.values() if one.name == names.HTTP_REQUEST_DURATION and one.id in snapshot.total
    ]
    assert expected == dict(series.attributes)


def test_other_protocols_pass_through(monitor: Monitor, time: Time) -> None:
    """A websocket and the lifespan get the very channels of the server."""
    seen = []

    async def app(*given: object) -> None:
        seen.append(given)

    for kind in ("websocket", "lifespan"):
        exchange = Exchange(time, type=kind)
        receive, send = exchange.receive, exchange.send
        asyncio.run(ASGI(app, monitor=monitor)(exchange.scope, receive, send))
        assert (exchange.scope, receive, send) == seen.pop()
    assert 0 == values(monitor.snapshot(), names.HTTP_REQUEST_DURATION)[0]


@pytest.mark.parametrize(
    ("app", "monitor", "words"),
    [(3, None, "expected an ASGI application, got int"), (print, "m", "expected a holter.Monitor, got str")],
)
def test_bad_input_is_refused_in_words(app: Any, monitor: Any, words: str) -> None:
    """Where it is written."""
    with pytest.raises(holter.ConfigurationError, match=words):
        ASGI(app, monitor=monitor)


@contextlib.contextmanager
def served(app: Any) -> Iterator[int]:
    """The port at which a real server serves *app*."""
    uvicorn = pytest.importorskip("uvicorn", reason="uvicorn is not installed: pip install uvicorn")
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        give_up = system_time.monotonic() + 60
        while not server.started:
            assert thread.is_alive()
            assert system_time.monotonic() < give_up
            system_time.sleep(0.01)
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


def test_a_service_of_fastapi_tells_its_requests_by_route() -> None:
    """Over real sockets: templates of paths, statuses, a client that goes in the midst of an answer."""
    fastapi = pytest.importorskip("fastapi", reason="FastAPI is not installed: pip install fastapi")
    httpx = pytest.importorskip("httpx", reason="httpx is not installed: pip install httpx")
    responses = pytest.importorskip("fastapi.responses")
    monitor = Monitor("service", samplers=[])
    app = fastapi.FastAPI()
    gone = threading.Event()

    @app.get("/double/{number}")
    async def double(number: int) -> int:
        return 2 * number

    @app.get("/broken")
    async def broken() -> None:
        raise fastapi.HTTPException(503)

    @app.get("/endless")
    async def endless() -> Any:
        async def items() -> AsyncIterator[bytes]:
            try:
                while True:
                    yield b"more\n" * 1000
                    await asyncio.sleep(0.001)
            finally:
                gone.set()

        return responses.StreamingResponse(items())

    app.add_middleware(ASGI, monitor=monitor)
    with served(app) as port:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            for number in range(20):
                assert str(2 * number) == client.get(f"/double/{number}").text
            assert 422 == client.get("/double/two").status_code
            assert 503 == client.get("/broken").status_code
            assert 404 == client.get("/nowhere").status_code
        with socket.create_connection(("127.0.0.1", port)) as raw:
            raw.sendall(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
            raw.recv(100)
        assert gone.wait(60)
    snapshot = monitor.snapshot()
    counts = {
        (
            one.attributes.get(names.HTTP_ROUTE),
            one.attributes.get(names.HTTP_STATUS),
            one.attributes.get(names.CALL_OUTCOME),
        ): (snapshot.total[key].count)
        for key, one in snapshot.series.items()
        if one.name == names.HTTP_REQUEST_DURATION and key in snapshot.total
    }
    assert {
        ("/double/{number}", 200, None): 20,
        ("/double/{number}", 422, None): 1,
        ("/broken", 503, None): 1,
        (None, 404, None): 1,
        ("/endless", 200, "abandoned"): 1,
    } == counts
    told = parts(snapshot)
    assert told["duration"] == pytest.approx(sum(told[part] or 0.0 for part in ("receive", "handle", "send")))
