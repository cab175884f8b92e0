"""The figures of the default monitor inside an application of the user's: its own HTTP server, its own registry."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, MutableMapping
from http import HTTPStatus
from typing import Any, TypeAlias

from prometheus_client.metrics_core import Metric

from holter import default
from holter.classicbuckets import Choice, Wanted
from holter.exposition import Exposition, SnapshotCollector
from holter.pageserver import Answer, in_words

_Message: TypeAlias = MutableMapping[str, Any]
_Receive: TypeAlias = Callable[[], Awaitable[_Message]]
_Send: TypeAlias = Callable[[_Message], Awaitable[None]]

_TROUBLE = in_words(500, "the page could not be rendered; holter_internal_errors counts it")


class PrometheusApp:
    """
    The page of metrics as a web application: ASGI where it is called with three arguments, WSGI with two.

    ASGI gives ``scope``, ``receive`` and ``send``, WSGI ``environ`` and ``start_response``; servers that take it for
    ASGI 2 give ``scope`` alone. It answers on every path, because whoever mounts it chooses one.
    """

    def __init__(self, exposition: Exposition) -> None:
        self._exposition = exposition

    def __call__(self, *arguments: Any) -> Any:
        """Answer one request of whichever protocol."""
        if len(arguments) == 2:  # noqa: PLR2004  environ and start_response
            return self._answer_wsgi(*arguments)
        scope, *channels = arguments
        if channels:
            return self._answer_asgi(scope, *channels)
        return lambda receive, send: self._answer_asgi(scope, receive, send)

    def _page(self, method: str, accept: str, accept_encoding: str) -> Answer:
        answer = self._exposition.answer
        return default.guard.run("prometheus_app", _TROUBLE, answer, method, accept, accept_encoding)

    def _answer_wsgi(self, environ: MutableMapping[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        method = str(environ.get("REQUEST_METHOD", "GET"))
        answer = self._page(method, environ.get("HTTP_ACCEPT", ""), environ.get("HTTP_ACCEPT_ENCODING", ""))
        length = ("Content-Length", str(len(answer.body)))
        start_response(f"{answer.status} {HTTPStatus(answer.status).phrase}", [*answer.headers.items(), length])
        return [] if method == "HEAD" else [answer.body]

    async def _answer_asgi(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1000})
        elif scope["type"] == "http":
            given = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
            arguments = scope["method"], given.get("accept", ""), given.get("accept-encoding", "")
            answer = await _beside(self._page, *arguments)
            named = {**answer.headers, "Content-Length": str(len(answer.body))}
            headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in named.items()]
            await send({"type": "http.response.start", "status": answer.status, "headers": headers})
            await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else answer.body})


async def _beside(page: Callable[..., Answer], *arguments: str) -> Answer:
    """Return the page, rendered in another thread where asyncio runs the loop, so that the loop goes on."""
    import asyncio  # noqa: PLC0415  a server that asks has loaded it

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return page(*arguments)
    return await asyncio.to_thread(page, *arguments)


async def _live(receive: _Receive, send: _Send) -> None:
    while True:
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return


def prometheus_app(*, buckets: Wanted = None) -> PrometheusApp:
    """
    Return a web application that answers every GET with the metrics of the default monitor, for Prometheus.

    It is ASGI and WSGI in one: mount it in FastAPI or Starlette (``app.mount("/metrics", ...)``), or in Flask or
    Django by a WSGI dispatcher. It serves the newest snapshot and takes none itself; before the first one it
    answers 503. Of several processes of a service whichever answers speaks for all. *buckets* are as in
    `Prometheus`.

    >>> import holter
    >>> app = holter.prometheus_app()
    >>> with holter.start("sentiment", samplers=[]) as monitor:
    ...     snapshot = monitor.snapshot()
    ...     page = app({"REQUEST_METHOD": "GET"}, lambda status, headers: print(status))
    200 OK
    >>> b'service_name="sentiment"' in page[0]
    True

    Raises:
        ConfigurationError: *buckets* cannot work.
    """
    Choice(buckets)
    default.exemplars()
    return PrometheusApp(Exposition(default.latest, buckets))


def prometheus_collector(*, buckets: Wanted = None) -> SnapshotCollector:
    """
    Return a collector of the default monitor's newest snapshot, for a registry of prometheus_client of your own.

    Registering it collects nothing. A figure that fails leaves the rest of the scrape alone. *buckets* are as in
    `Prometheus`.

    >>> import holter
    >>> from prometheus_client import CollectorRegistry
    >>> registry = CollectorRegistry()
    >>> registry.register(holter.prometheus_collector())
    >>> with holter.start("sentiment", samplers=[]) as monitor:
    ...     snapshot = monitor.snapshot()
    ...     registry.get_sample_value("holter_records_lost_total")
    0.0

    Raises:
        ConfigurationError: *buckets* cannot work.
    """
    Choice(buckets)
    default.exemplars()
    return _GuardedCollector(default.latest, buckets)


class _GuardedCollector(SnapshotCollector):
    """A collector whose failure costs its own figures, and not the whole scrape of a registry that is not ours."""

    def collect(self) -> Iterator[Metric]:
        """Yield the families, or nothing."""
        nothing: list[Metric] = []
        collect = super().collect
        yield from default.guard.run("prometheus_collector", nothing, lambda: list(collect()))
