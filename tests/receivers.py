"""Receivers of OTLP, over HTTP and over gRPC: real servers that decode what arrives."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

grpc = pytest.importorskip("grpc", reason="needs gRPC and OTLP: pip install 'holter[otlp,otlp-grpc]'")
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc  # noqa: E402
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc  # noqa: E402


class Receiver:
    """What has arrived, and how the next request is answered."""

    def __init__(self) -> None:
        self.requests: list[Any] = []
        self.traces: list[Any] = []
        self.status = 200
        self.hangs = threading.Event()
        self.free = threading.Event()
        self.url = ""
        self._arrived = threading.Condition()

    def take(self, request: Any) -> None:
        """Keep a decoded request."""
        with self._arrived:
            self.requests.append(request)
            self._arrived.notify_all()

    def take_traces(self, request: Any) -> None:
        """Keep a decoded request of spans."""
        with self._arrived:
            self.traces.append(request)
            self._arrived.notify_all()

    def spans(self, count: int) -> dict[str, list[Any]]:
        """Wait until *count* spans have arrived; return them by name, in the order in which they began."""
        found: list[Any] = []

        def has_all() -> bool:
            found[:] = [
                span
                for request in self.traces
                for owner in request.resource_spans
                for scope in owner.scope_spans
                for span in scope.spans
            ]
            return len(found) >= count

        with self._arrived:
            assert self._arrived.wait_for(has_all, timeout=60), [span.name for span in found]
        named: dict[str, list[Any]] = {}
        for span in sorted(found, key=lambda span: span.start_time_unix_nano):
            named.setdefault(span.name, []).append(span)
        return named

    def wait_for(self, count: int) -> None:
        """Wait until *count* requests have arrived."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self.requests) >= count, timeout=60)

    def points(self, name: str) -> list[Any]:
        """Return the data points of the metric *name*, request by request."""
        found = []
        for request in self.requests:
            for owner in request.resource_metrics:
                for metric in (metric for scope in owner.scope_metrics for metric in scope.metrics):
                    if metric.name == name:
                        found += getattr(metric, metric.WhichOneof("data")).data_points
        return found


@contextmanager
def over_http() -> Iterator[Receiver]:
    """A receiver at a free port of this machine."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                content = gzip.decompress(content)
            if receiver.hangs.is_set():
                receiver.free.wait()
            if receiver.status == 200 and self.path.endswith("/v1/traces"):
                receiver.take_traces(trace_service_pb2.ExportTraceServiceRequest.FromString(content))
            elif receiver.status == 200:
                receiver.take(metrics_service_pb2.ExportMetricsServiceRequest.FromString(content))
            self.send_response(receiver.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """A client that goes away is what these tests are about."""

    server = Server(("127.0.0.1", 0), Handler)
    receiver.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield receiver
    finally:
        receiver.free.set()
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def over_grpc() -> Iterator[Receiver]:
    """A receiver at a free port of this machine."""
    receiver = Receiver()

    class Service(metrics_service_pb2_grpc.MetricsServiceServicer):
        def Export(self, request: Any, context: Any) -> Any:  # noqa: N802 - the name is the protocol's
            receiver.take(request)
            return metrics_service_pb2.ExportMetricsServiceResponse()

    class Traces(trace_service_pb2_grpc.TraceServiceServicer):
        def Export(self, request: Any, context: Any) -> Any:  # noqa: N802 - the name is the protocol's
            receiver.take_traces(request)
            return trace_service_pb2.ExportTraceServiceResponse()

    with futures.ThreadPoolExecutor(2) as pool:
        server = grpc.server(pool)
        metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(Service(), server)
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(Traces(), server)
        receiver.url = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        try:
            yield receiver
        finally:
            server.stop(0).wait()
