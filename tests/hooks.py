"""A web address that incidents are posted to: a real server that keeps what arrives, and is down, slow or unwilling."""

from __future__ import annotations

import json
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self


class Request(NamedTuple):
    """One request that has been answered, or would have been."""

    path: str
    headers: dict[str, str]
    body: Any


class Hook:
    """
    Takes posts at a port of the loopback; each ``status`` is answered once, the last one from then on.

    Entered it listens; ``down()`` and ``up()`` end and begin that at the same port. Each answer waits for ``free``.
    """

    def __init__(self, port: int = 0, context: ssl.SSLContext | None = None) -> None:
        self.requests: list[Request] = []
        self.statuses = [200]
        self.more: dict[str, str] = {}
        self.free = threading.Event()
        self.free.set()
        self.begun = 0
        self._context = context
        self._port, self._server, self._thread = port, None, None
        self._arrived = threading.Condition()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._port}"

    def up(self) -> None:
        """Listen."""
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers["Content-Length"]))
                with hook._arrived:
                    hook.begun += 1
                    hook._arrived.notify_all()
                hook.free.wait()
                status = hook.statuses.pop(0) if len(hook.statuses) > 1 else hook.statuses[0]
                with hook._arrived:
                    if status == 200:
                        hook.requests.append(Request(self.path, dict(self.headers), json.loads(content)))
                    hook._arrived.notify_all()
                try:
                    self.send_response(status)
                    for name, value in hook.more.items():
                        self.send_header(name, value)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                except OSError:
                    pass

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True

            def handle_error(self, *_: object) -> None:
                """A client that goes away is what these tests are about."""

        self._server = Server(("127.0.0.1", self._port), Handler)
        self._port = self._server.server_address[1]
        if self._context is not None:
            self._server.socket = self._context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def down(self) -> None:
        """Refuse connections from now on."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
            self._server = None

    def wait_for(self, count: int, seconds: float = 30.0) -> list[Request]:
        """Wait until so many requests were taken, and return all of them."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self.requests) >= count, timeout=seconds), self.told()
            return list(self.requests)

    def wait_until_begun(self, count: int) -> None:
        """Wait until so many requests have come, answered or not."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: self.begun >= count, timeout=30.0), self.begun

    def told(self) -> list[tuple[str, str, str]]:
        """Return incident, state and key of each notice that was taken, in order."""
        return [(one.body["incident"], one.body["state"], one.body["key"]) for one in self.requests]

    def __enter__(self) -> Self:
        self.up()
        return self

    def __exit__(self, *_: object) -> None:
        self.free.set()
        self.down()


def until(condition: Any, seconds: float = 30.0) -> None:
    """Look again and again until *condition* holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
