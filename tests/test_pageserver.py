"""The server of one thread: what hostile clients cannot do to it."""

from __future__ import annotations

import gc
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from holter import pageserver
from holter.pageserver import Answer, PageServer, Request, in_words
from metricpages import get, poll

LARGE = b"x" * (8 * 2**20)


@pytest.fixture
def server() -> Iterator[PageServer]:
    """One that answers with the path, or with eight mebibytes."""

    def respond(request: Request) -> Answer:
        return Answer(200, {}, LARGE) if request.path == "/large" else in_words(200, f"{request.method} {request.path}")

    one = PageServer(0, "127.0.0.1")
    one.start(respond)
    yield one
    one.close(10.0)


def connect(server: PageServer) -> socket.socket:
    """Return a connection to *server*."""
    return socket.create_connection(("127.0.0.1", server.port), timeout=60)


def talk(server: PageServer, said: bytes) -> bytes:
    """Return all that comes back, to the end of the connection."""
    with connect(server) as client:
        client.sendall(said)
        return _rest(client)


def _rest(client: socket.socket) -> bytes:
    parts = []
    while part := client.recv(2**20):
        parts.append(part)
    return b"".join(parts)


def is_well(server: PageServer) -> bool:
    """Whether somebody who behaves is answered."""
    status, _, body = get(f"http://127.0.0.1:{server.port}/well")
    return (status, body) == (200, b"GET /well\n")


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (b"GET /a HTTP/1.1\r\n\r\n", b"200"),
        (b"GET /a?query HTTP/1.0\r\nhost: x\r\n\r\n", b"200"),
        (b"POST /a HTTP/1.1\r\nContent-Length: 9999999\r\n\r\n" + b"y" * 2**20, b"200"),
        (b"\r\n\r\n", b"400"),
        (b"GET\r\n\r\n", b"400"),
        (b"GET /a SPDY/3\r\n\r\n", b"400"),
        (b"GET / a HTTP/1.1\r\n\r\n", b"400"),
        (bytes(range(256)) + b"\r\n\r\n", b"400"),
        (b"GET /" + b"a" * 9000, b"431"),
        (b"GET /a HTTP/1.1\r\n" + b"x: y\r\n" * 9000, b"431"),
    ],
)
def test_any_request_gets_one_answer_and_the_end(server: PageServer, said: bytes, status: bytes) -> None:
    """Whole, malformed or endless: a status, and the connection is closed."""
    reply = talk(server, said)
    assert reply.startswith(b"HTTP/1.1 " + status)
    assert b"\r\nConnection: close\r\n" in reply
    assert is_well(server)


def test_head_gets_the_headers_alone(server: PageServer) -> None:
    """With the length that the body would have."""
    head, _, body = talk(server, b"HEAD /large HTTP/1.1\r\n\r\n").partition(b"\r\n\r\n")
    assert (True, b"") == (f"Content-Length: {len(LARGE)}".encode() in head, body)


def test_a_request_may_come_byte_by_byte(server: PageServer) -> None:
    """As long as it comes in time."""
    with connect(server) as client:
        for byte in b"GET /slow HTTP/1.1\r\n\r\n":
            client.sendall(bytes([byte]))
        assert _rest(client).endswith(b"GET /slow\n")


def test_many_that_say_nothing_keep_nobody_out(server: PageServer) -> None:
    """Two hundred open connections: the oldest has to go, whoever asks is answered, and 32 are held at most."""
    silent = [connect(server) for _ in range(200)]
    for _ in range(5):
        assert is_well(server)
    assert len(server._connections) <= 32
    for one in silent:
        one.close()


def test_many_that_take_no_answer_keep_nobody_out(server: PageServer) -> None:
    """Readers that stop in the midst hold neither the thread nor a copy of the page, and lose their place."""
    slow = [connect(server) for _ in range(60)]
    for one in slow:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        one.sendall(b"GET /large HTTP/1.1\r\n\r\n")
    assert is_well(server)
    assert len(server._connections) <= 32
    for one in slow:
        one.close()


@pytest.mark.parametrize("said", [b"", b"GET /large HTTP/1.1\r\n\r\n"], ids=["asking", "taking"])
def test_whoever_takes_too_long_is_dropped(server: PageServer, said: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client has so many seconds for its request and so many for the answer, whatever trickles meanwhile."""
    monkeypatch.setattr(pageserver, "_SECONDS", 0.2)
    with connect(server) as client:
        client.sendall(said)
        poll("a connection", lambda: bool(server._connections) or None)
        poll("its end", lambda: not server._connections or None)
    assert is_well(server)


def test_clients_that_vanish_leave_nothing(server: PageServer) -> None:
    """Closed, reset, or gone before the answer."""
    for said in (b"", b"GET", b"GET /large HTTP/1.1\r\n\r\n"):
        client = connect(server)
        client.sendall(said)
        # A reset instead of an orderly end.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        client.close()
    poll("an empty house", lambda: not server._connections or None)
    assert is_well(server)


def test_many_at_once_are_all_answered(server: PageServer) -> None:
    """Eight readers of large pages at the same time get them whole."""
    got: list[int] = []
    threads = [
        threading.Thread(target=lambda: got.append(len(talk(server, b"GET /large HTTP/1.1\r\n\r\n")))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(got)) == 1
    assert got[0] > len(LARGE)


def test_nobody_is_served_before_it_starts() -> None:
    """The port is held from the beginning; who asks early waits, and is answered then."""
    server = PageServer(0, "127.0.0.1")
    with connect(server) as client:
        client.sendall(b"GET /early HTTP/1.1\r\n\r\n")
        server.start(lambda request: in_words(200, request.path))
        assert _rest(client).endswith(b"/early\n")
    server.close(10.0)


@pytest.mark.parametrize("prepare", [lambda _: None, lambda server: server.start(lambda _: in_words(200, ""))])
def test_close_gives_the_port_back_in_time(prepare: Callable[[PageServer], None]) -> None:
    """With a client that takes nothing, with none, before it has started, and twice."""
    server = PageServer(0, "127.0.0.1")
    prepare(server)
    with connect(server):
        begin = time.monotonic()
        server.close(5.0)
        server.close(5.0)
        assert time.monotonic() - begin < 30
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", server.port))


def test_one_that_nobody_wants_gives_its_port_back() -> None:
    """No thread holds a server that was never started."""
    server = PageServer(0, "127.0.0.1")
    port = server.port
    del server
    gc.collect()
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))


def test_it_listens_on_addresses_of_version_6() -> None:
    """Where the machine has them."""
    if not socket.has_ipv6:
        pytest.skip("this Python knows no IPv6: build it with IPv6")
    try:
        server = PageServer(0, "::1")
    except ValueError as error:
        pytest.skip(f"this machine has no IPv6 address ::1: {error}")
    server.start(lambda request: in_words(200, request.path))
    with socket.create_connection(("::1", server.port), timeout=60) as client:
        client.sendall(b"GET /six HTTP/1.1\r\n\r\n")
        assert _rest(client).endswith(b"/six\n")
    server.close(10.0)
