"""One thread that answers plain HTTP requests, and cannot be made to hold more than its bounds."""

from __future__ import annotations

import errno
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final
from weakref import WeakSet

from holter.errors import ConfigurationError
from holter.ownthreads import as_own
from holter.portholder import is_held_by_holter

_MOST_CONNECTIONS: Final = 32
_LONGEST_REQUEST: Final = 8 * 1024
_SECONDS: Final = 10.0
"""How long a client may take for its request, and then for the answer."""
_LINGER_SECONDS: Final = 1.0
_AT_ONCE: Final = 64 * 1024
_LOOKS: Final = 6
_LOOK_AGAIN_SECONDS: Final = 0.1
_PORTS: Final = range(65_536)
_LAST_PORT: Final = _PORTS[-1]


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked: the path without its query, and the headers by their names in small letters."""

    method: str
    path: str
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request gets."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(default=b"", repr=False)

    def encode(self, *, with_body: bool) -> bytes:
        """Return the answer as it goes over the wire, after which the connection is closed."""
        lines = [f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        lines += [f"Content-Length: {len(self.body)}", "Connection: close", "", ""]
        return "\r\n".join(lines).encode("latin-1", "replace") + (self.body if with_body else b"")


def in_words(status: int, words: str, **headers: str) -> Answer:
    """Return an answer that is one line of text."""
    return Answer(status, {"Content-Type": "text/plain; charset=utf-8", **headers}, f"{words}\n".encode())


Respond = Callable[[Request], Answer]


@dataclass(slots=True, eq=False)
class _Connection:
    """One client: what it has sent, what it is still to get, and until when."""

    socket: socket.socket
    deadline: float
    asked: bytearray = field(default_factory=bytearray)
    answer: memoryview | None = None
    """What is left of the answer; None before there is one."""
    is_lingering: bool = False


class PageServer:
    """
    Listens on *host* and *port* from the start, and answers by *respond* from `start` on, in one daemon thread.

    Holds 32 connections, 8 KiB of request each: where there are more, the one that has kept its request
    back the longest has to go. A client has 10 seconds for its request and 10 for taking the answer. Each
    connection is for one request. A forked child gives back its copies and answers nobody.

    Raises:
        ConfigurationError: the port cannot be listened on.
    """

    def __init__(self, port: int, host: str) -> None:
        self._listener = _listen(port, host)
        self.port: int = self._listener.getsockname()[1]
        self._selector = selectors.DefaultSelector()
        self._bell, self._button = socket.socketpair()
        self._connections: set[_Connection] = set()
        self._closing = False
        self._thread: threading.Thread | None = None
        self._respond: Respond = lambda _: in_words(503, "nothing to serve yet")
        for one in (self._listener, self._bell):
            one.settimeout(0)
            self._selector.register(one, selectors.EVENT_READ)
        self._button.settimeout(0)
        self.is_closed = False
        _SERVERS.add(self)

    def __del__(self) -> None:
        # One that has never answered anybody has no thread to close it; one whose port was refused has nothing at all.
        if hasattr(self, "is_closed") and not self.is_closed:
            self.abandon()

    def start(self, respond: Respond) -> None:
        """Answer by *respond*, which must not raise, from now on."""
        self._respond = respond
        if self._thread is None and not self.is_closed:
            self._thread = threading.Thread(target=as_own(self._serve), name="holter-page-server", daemon=True)
            self._thread.start()

    def close(self, timeout: float) -> None:
        """Give the port back; what is being answered has *timeout* seconds at most."""
        if self.is_closed:
            return
        self.is_closed = self._closing = True
        if self._thread is None:
            self.abandon()
            return
        self._ring()
        self._thread.join(timeout)

    def abandon(self) -> None:
        """Close every descriptor at once, and nothing else: a forked child must not touch what its parent shares."""
        self.is_closed = self._closing = True
        # Unregistering would reach the parent's own epoll.
        self._selector.close()
        for one in (self._listener, self._bell, self._button, *(each.socket for each in list(self._connections))):
            one.close()
        self._connections.clear()

    def _ring(self) -> None:
        try:
            self._button.send(b"!")
        except OSError:
            # Rung often enough, or closed by the thread.
            return

    def _serve(self) -> None:
        try:
            while not self._closing:
                soonest = min((each.deadline for each in self._connections), default=None)
                wait = None if soonest is None else max(0.0, soonest - time.monotonic())
                for key, _ in self._selector.select(wait):
                    if key.fileobj is self._listener:
                        self._accept()
                    elif key.data is not None:
                        self._attend(key.data)
                now = time.monotonic()
                for late in [each for each in self._connections if each.deadline <= now]:
                    self._drop(late)
        finally:
            self.abandon()

    def _accept(self) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                # The process has no descriptor left: the client waits in the queue, and this thread must not spin.
                time.sleep(0.1)
            return
        client.settimeout(0)
        if len(self._connections) >= _MOST_CONNECTIONS:
            asking = [each for each in self._connections if each.answer is None]
            self._drop(min(asking or self._connections, key=lambda each: each.deadline))
        connection = _Connection(client, time.monotonic() + _SECONDS)
        self._connections.add(connection)
        self._selector.register(client, selectors.EVENT_READ, connection)

    def _attend(self, connection: _Connection) -> None:
        # Another client's turn may have cost this one its place.
        if connection not in self._connections:
            return
        try:
            if connection.is_lingering:
                if not connection.socket.recv(_AT_ONCE):
                    self._drop(connection)
            elif connection.answer is None:
                self._listen_to(connection)
            else:
                self._send(connection, connection.answer)
        except BlockingIOError:
            return
        except OSError:
            self._drop(connection)

    def _listen_to(self, connection: _Connection) -> None:
        heard = connection.socket.recv(_LONGEST_REQUEST + 1 - len(connection.asked))
        if not heard:
            self._drop(connection)
            return
        connection.asked += heard
        head, is_complete, _ = connection.asked.partition(b"\r\n\r\n")
        if is_complete:
            request = _parse(bytes(head))
            answer = in_words(400, "expected a request of HTTP") if request is None else self._respond(request)
            with_body = request is None or request.method != "HEAD"
        elif len(connection.asked) > _LONGEST_REQUEST:
            answer, with_body = in_words(431, f"expected at most {_LONGEST_REQUEST} bytes of request"), True
        else:
            return
        connection.asked.clear()
        connection.answer = memoryview(answer.encode(with_body=with_body))
        connection.deadline = time.monotonic() + _SECONDS
        self._selector.modify(connection.socket, selectors.EVENT_WRITE, connection)
        self._send(connection, connection.answer)

    def _send(self, connection: _Connection, left: memoryview) -> None:
        connection.answer = left = left[connection.socket.send(left[:_AT_ONCE]) :]
        if not left:
            # To close with something unread would take the answer back from a client that is still sending.
            connection.socket.shutdown(socket.SHUT_WR)
            connection.is_lingering, connection.deadline = True, time.monotonic() + _LINGER_SECONDS
            self._selector.modify(connection.socket, selectors.EVENT_READ, connection)

    def _drop(self, connection: _Connection) -> None:
        self._connections.discard(connection)
        self._selector.unregister(connection.socket)
        connection.socket.close()


_SERVERS: Final[WeakSet[PageServer]] = WeakSet()


def _forked() -> None:
    for server in list(_SERVERS):
        server.abandon()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def _parse(head: bytes) -> Request | None:
    """Return the request that begins with *head*, None if it is none."""
    first, *rest = head.decode("latin-1").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):  # noqa: PLR2004  method, target and version
        return None
    headers = {}
    for line in rest:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    return Request(words[0], words[1].partition("?")[0], headers)


def check_port(port: int, host: str) -> None:
    """
    Ascertain that one may listen on *port* of *host*, now or when another process of holter gives it back.

    Raises:
        ConfigurationError: the port cannot be listened on, or another program has it.
    """
    for attempt in range(_LOOKS):
        with _socket(port, host) as listener:
            try:
                # Without listening, so that of several that look at the same time none is in the others' way.
                listener.bind(_address(port, host)[-1])
            except OSError as error:
                if error.errno != errno.EADDRINUSE or attempt == _LOOKS - 1:
                    raise ConfigurationError(_trouble(error, port, host)) from None
                if is_held_by_holter(port):
                    return
                # One that is about to end may have given back its recording first, and its port in a moment.
                time.sleep(_LOOK_AGAIN_SECONDS)
            else:
                return


def _listen(port: int, host: str) -> socket.socket:
    listener = _socket(port, host)
    try:
        listener.bind(_address(port, host)[-1])
        listener.listen(_MOST_CONNECTIONS)
    except OSError as error:
        listener.close()
        raise ConfigurationError(_trouble(error, port, host)) from None
    return listener


def _address(port: int, host: str) -> tuple[Any, ...]:
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]


def _socket(port: object, host: object) -> socket.socket:
    """Return a socket that is not bound yet, or say what is wrong with what is to be its address."""
    if isinstance(port, bool) or not isinstance(port, int) or port not in _PORTS:
        raise ConfigurationError(f"expected a port from 1 to {_LAST_PORT}, or 0 for any that is free, got {port!r:.60}")
    if not isinstance(host, str):
        raise ConfigurationError(f"expected host as a str such as '127.0.0.1', got {host!r:.60}")
    try:
        listener = socket.socket(*_address(port, host)[:3])
    except (OSError, UnicodeError) as error:
        raise ConfigurationError(f"expected host as an address of this machine, got {host!r:.60}: {error}") from None
    if os.name == "posix":
        # Connections that have ended keep a port for a minute otherwise.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return listener


def _trouble(error: OSError, port: int, host: str) -> str:
    wanted = f"expected a free port to serve metrics on, but port {port} of {host}"
    if error.errno == errno.EADDRINUSE:
        return f"{wanted} is taken by another program; stop that, or give another port (0 for any that is free)"
    if error.errno == errno.EACCES:
        return f"{wanted} is for privileged programs; give one above 1023"
    return f"{wanted} cannot be listened on: {error.strerror or error}; give another host or port"
