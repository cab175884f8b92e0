"""Whole HTTP requests: what of their time the client took, the queue before the service, and the service itself."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

from holter import names
from holter.errors import ConfigurationError
from holter.failure import outcome_of
from holter.guard import class_name
from holter.metric import AttributeValue
from holter.record import Outcome
from holter.recorder import DISABLED
from holter.scope import Scope

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Application: TypeAlias = Callable[[Message, Receive, Send], Awaitable[None]]

# Others are made up by clients, without end.
_METHODS: Final = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE", "QUERY"})
_OTHER: Final = "_OTHER"
_SCHEMES: Final = frozenset({"http", "https"})
_STATUSES: Final = range(100, 600)
_SERVER_ERRORS: Final = range(500, 600)
_QUEUED: Final = b"x-request-start"
# The header holds seconds, milliseconds or microseconds since 1970, told apart by their size.
_UNITS: Final = (1e-9, 1e-6, 1e-3)
_LONGEST_QUEUE_SECONDS: Final = 3600.0
_LONGEST_HEADER: Final = 40


class HasScope(Protocol):
    """A monitor."""

    _scope: Scope


class _Series(NamedTuple):
    """The parts of the time of requests with one method, scheme and route."""

    queue: int
    receive: int
    handle: int
    send: int


class ASGI:
    """
    An ASGI application around *app* that records each of its HTTP requests as a whole.

    ``http.server.request.duration`` is the time from the moment the request reaches *app* until it
    returns, by method, scheme, status and, where the framework has matched one (FastAPI,
    Starlette), the template of the route. Of that time ``holter.request.receive_time`` is what the
    client took to send its body, ``holter.request.send_time`` what it took to take the answer, and
    ``holter.request.handle_time`` the rest, which is yours. ``holter.request.queue_time`` is how
    long the request waited before, since the moment in the header ``X-Request-Start`` that a proxy
    sets (seconds, milliseconds or microseconds since 1970); both clocks must agree.

    A request whose client has gone has outcome ``abandoned``; ``error.type`` is the class of an
    exception that leaves *app*, else the status from 500 on. What *app* receives, sends and raises
    is left as it is; websockets pass through. Costs some 15 µs a request and 1 µs a message.
    With *monitor* it records for that one, else for the default monitor.

    >>> import holter
    >>> async def hello(scope, receive, send):
    ...     await send({"type": "http.response.start", "status": 200, "headers": []})
    ...     await send({"type": "http.response.body", "body": b"hello"})
    >>> app = holter.ASGI(hello)  # with FastAPI: app.add_middleware(holter.ASGI)

    Raises:
        ConfigurationError: *app* cannot be called, or *monitor* is none.
    """

    def __init__(self, app: Application, *, monitor: HasScope | None = None) -> None:
        if not callable(app):
            raise ConfigurationError(f"expected an ASGI application, got {type(app).__name__}")
        if monitor is not None and not isinstance(getattr(monitor, "_scope", None), Scope):
            raise ConfigurationError(f"expected a holter.Monitor, got {type(monitor).__name__}")
        self.app = app
        # The package is there, since this module is.
        scope: Scope = (sys.modules["holter.default"] if monitor is None else monitor)._scope  # noqa: SLF001
        self._scope, self._now = scope, scope.now
        self._parts: dict[tuple[str, str, str | None], _Series] = {}

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Let the application answer, and record how its time was spent."""
        if DISABLED or scope.get("type") != "http":
            await self.app(scope, receive, send)
            return
        passage = _Passage(self._now, receive, send)
        began_ns, wall_ns = self._now(), self._scope.clock.wall_ns()
        try:
            await self.app(scope, passage.receive, passage.send)
        except BaseException as error:
            self._note(scope, passage, self._now() - began_ns, wall_ns, error)
            raise
        self._note(scope, passage, self._now() - began_ns, wall_ns, None)

    def _note(self, *arguments: object) -> None:
        self._scope.guard.run("ASGI", None, self._record, *arguments)

    def _record(
        self, request: Message, passage: _Passage, duration_ns: int, wall_ns: int, error: BaseException | None
    ) -> None:
        method = request.get("method")
        method = method if method in _METHODS else _OTHER
        scheme = request.get("scheme")
        scheme = scheme if scheme in _SCHEMES else _OTHER
        route = _route(request)
        now_ns, ring = self._now(), self._scope.ring()
        whole = self._scope.timer(
            names.HTTP_REQUEST_DURATION, self._attributes(method, scheme, route) | _ending(passage, error)
        )
        ring.write(whole, now_ns, duration_ns, 0, Outcome.OK)
        parts = self._series(method, scheme, route)
        queued_ns = _queued_ns(request, wall_ns)
        if queued_ns is not None:
            ring.write(parts.queue, now_ns, queued_ns, 0, Outcome.OK)
        handled_ns = max(0, duration_ns - passage.received_ns - passage.sent_ns)
        ring.write(parts.receive, now_ns, passage.received_ns, 0, Outcome.OK)
        ring.write(parts.handle, now_ns, handled_ns, 0, Outcome.OK)
        ring.write(parts.send, now_ns, passage.sent_ns, 0, Outcome.OK)

    def _series(self, method: str, scheme: str, route: str | None) -> _Series:
        key = (method, scheme, route)
        found = self._parts.get(key)
        if found is None:
            named = self._attributes(*key)
            found = self._parts[key] = _Series(
                queue=self._scope.timer(names.REQUEST_QUEUE_TIME, named),
                receive=self._scope.timer(names.REQUEST_RECEIVE_TIME, named),
                handle=self._scope.timer(names.REQUEST_HANDLE_TIME, named),
                send=self._scope.timer(names.REQUEST_SEND_TIME, named),
            )
        return found

    @staticmethod
    def _attributes(method: str, scheme: str, route: str | None) -> dict[str, AttributeValue]:
        named: dict[str, AttributeValue] = {names.HTTP_METHOD: method, names.URL_SCHEME: scheme}
        if route is not None:
            named[names.HTTP_ROUTE] = route
        return named


class _Passage:
    """The messages of one request on their way, and how long they took."""

    __slots__ = ("_now", "_receive", "_send", "has_all", "has_gone", "is_over", "received_ns", "sent_ns", "status")

    def __init__(self, now: Callable[[], int], receive: Receive, send: Send) -> None:
        self._now, self._receive, self._send = now, receive, send
        self.received_ns = self.sent_ns = self.status = 0
        self.has_all = self.has_gone = self.is_over = False

    async def receive(self) -> Message:
        """Pass on what the client sends."""
        began_ns = self._now()
        message = await self._receive()
        # Once all is there, only the client's leaving is waited for, which takes nobody's time.
        if not self.has_all:
            self.received_ns += self._now() - began_ns
        kind = message.get("type")
        if kind == "http.disconnect":
            self.has_gone = not self.is_over
        elif kind == "http.request":
            self.has_all = not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        """Pass on what the application sends."""
        if message.get("type") == "http.response.start":
            status = message.get("status")
            self.status = status if isinstance(status, int) and status in _STATUSES else 0
        began_ns = self._now()
        try:
            await self._send(message)
        finally:
            self.sent_ns += self._now() - began_ns
        if message.get("type") == "http.response.body" and not message.get("more_body", False):
            self.is_over = True


def _ending(passage: _Passage, error: BaseException | None) -> dict[str, AttributeValue]:
    """Return the attributes that say how a request ended, as the conventions have it."""
    ending: dict[str, AttributeValue] = {}
    if passage.status:
        ending[names.HTTP_STATUS] = passage.status
    if passage.has_gone or (error is not None and outcome_of(error, ()) is Outcome.CANCELLED):
        ending[names.CALL_OUTCOME] = Outcome.ABANDONED.label
    elif error is not None:
        ending[names.ERROR_TYPE] = class_name(type(error))
    elif passage.status in _SERVER_ERRORS:
        ending[names.ERROR_TYPE] = str(passage.status)
    return ending


def _route(request: Message) -> str | None:
    """Return the template of the path that the framework has matched: the path itself is the client's."""
    template = getattr(request.get("route"), "path", None)
    return template if isinstance(template, str) and template else None


def _queued_ns(request: Mapping[str, Any], wall_ns: int) -> float | None:
    """Return how long ago whoever stands before the service took the request in, None where nobody says so."""
    for name, value in request.get("headers", ()):
        if bytes(name).lower() == _QUEUED:
            text = bytes(value[:_LONGEST_HEADER]).strip().removeprefix(b"t=")
            try:
                told = float(text)
            except ValueError:
                return None
            waits = (wall_ns - told / unit for unit in _UNITS)
            return next((max(0.0, wait) for wait in waits if abs(wait) < _LONGEST_QUEUE_SECONDS * 1e9), None)
    return None
