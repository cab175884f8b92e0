"""Whether each exporter delivers: a file is read back, a page is fetched, a request is received."""

from __future__ import annotations

import http.client
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any, Final, Self

from holter.checkup.finding import Finding, Unwell, tried
from holter.exporters.console import Console
from holter.exporters.csvfile import CSVFile
from holter.exporters.logfile import LogFile
from holter.model import Alert, Exporter, Snapshot
from holter.monitor import Monitor

_FIGURE: Final = "doctor.figures"
_SECONDS: Final = 5.0
_LOOPBACK: Final = "127.0.0.1"
_METRICS_SERVICE: Final = "opentelemetry.proto.collector.metrics.v1.MetricsService"


def exporters() -> Iterator[Finding]:
    """Say of each exporter whether what it is given arrives."""
    for subject, attempt in EXPORTERS.items():
        yield tried(subject, attempt)
    if _has_grpc():
        yield tried("OTLP over gRPC", _over_grpc, otherwise="missing")


def _snapshot() -> Snapshot:
    monitor = Monitor("doctor", samplers=[], recording=False)
    monitor.counter(_FIGURE).add(1)
    return monitor.snapshot()


def _export(exporter: Exporter, look: Callable[[], None] = lambda: None) -> None:
    try:
        exporter.export(_snapshot(), [])
        look()
    finally:
        exporter.close(_SECONDS)


def _file(kind: type[LogFile | CSVFile]) -> str:
    try:
        folder = tempfile.TemporaryDirectory(prefix="holter-doctor-")
    except OSError as error:
        raise Unwell(f"no temporary file can be made to try it: {error}", _temporary()) from None
    with folder:
        path = Path(folder.name, "figures")
        _export(kind(path))
        lines = path.read_text(encoding="utf-8").splitlines()
    if not any(_FIGURE in line for line in lines):
        raise Unwell("wrote nothing")
    return f"wrote {len(lines)} lines to a temporary file"


def _temporary() -> str:
    """Return what gives programs a folder for temporary files where there is none."""
    return "mkdir -p ~/tmp && export TMPDIR=~/tmp"


def _console() -> str:
    stream = _Terminal()
    _export(Console(stream))
    text = stream.getvalue()
    if "the last" not in text:
        raise Unwell("printed nothing")
    return f"printed {len(text.splitlines())} lines{' in colours' if chr(27) in text else ''}"


class _Terminal(StringIO):
    """What an exporter takes for a terminal."""

    def isatty(self) -> bool:
        return True


def _prometheus() -> str:
    from holter.exporters.prometheus import Prometheus  # noqa: PLC0415 - its package takes 120 ms to import

    exporter = Prometheus(0)
    page: list[str] = []

    def fetch() -> None:
        # Not urllib, which would ask the proxy of the environment.
        connection = http.client.HTTPConnection(exporter.host, exporter.port, timeout=_SECONDS)
        try:
            connection.request("GET", "/metrics")
            page.append(connection.getresponse().read().decode())
        finally:
            connection.close()

    _export(exporter, fetch)
    lines = page[0].splitlines()
    if not any(line.startswith("doctor_figures_total") for line in lines):
        raise Unwell("served a page without what was recorded")
    return f"served a page of {len(lines)} lines over the loopback"


def _webhook() -> str:
    from holter.exporters.webhook import Webhook  # noqa: PLC0415 - what it needs takes 20 ms to import

    return _told(Webhook, "an incident")


def _alertmanager() -> str:
    from holter.exporters.alertmanager import Alertmanager  # noqa: PLC0415 - as above

    return _told(Alertmanager, "an alert")


def _told(kind: Callable[[str], Any], what: str) -> str:
    """Have a receiver tell a web address on this machine, and nobody else, of an alert that is marked as a test."""
    alert = Alert(
        id=_FIGURE,
        check="doctor",
        state="firing",
        severity="info",
        since_ns=time.time_ns(),
        target=_FIGURE,
        expected="nothing",
        seen="nothing",
        message="this is a test of holter doctor: nothing is wrong",
    )
    with Receiver() as receiver:
        kind(receiver.url).export(_snapshot(), [alert])
        arrived = b"".join(receiver.bodies)
    if _FIGURE.encode() not in arrived:
        raise Unwell("what was sent did not arrive")
    return f"sent {what} of {len(arrived)} bytes over HTTP, which arrived"


def _opentelemetry() -> str:
    from holter.exporters.opentelemetry import OpenTelemetry  # noqa: PLC0415 - its SDK takes 230 ms to import

    with Receiver() as receiver:
        exporter = _otlp(receiver.url)
        if exporter is not None:
            _export(OpenTelemetry(exporter))
            arrived = b"".join(receiver.bodies)
            if _FIGURE.encode() not in arrived:
                raise Unwell("what was exported did not arrive")
            return f"sent {len(arrived)} bytes of OTLP over HTTP, which arrived"
    from opentelemetry.sdk.metrics.export import ConsoleMetricExporter  # noqa: PLC0415 - as above

    out = StringIO()
    _export(OpenTelemetry(ConsoleMetricExporter(out=out)))
    if _FIGURE not in out.getvalue():
        raise Unwell("what was exported did not arrive")
    return "handed figures to the exporter of its SDK that prints; nothing that sends is installed"


def _otlp(url: str) -> Any:
    """Return the exporter of OTLP over HTTP, None where it is not installed."""
    try:
        import requests  # noqa: PLC0415 - comes with the extra
        from opentelemetry.exporter.otlp.proto.http import Compression  # noqa: PLC0415 - an extra
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter  # noqa: PLC0415
    except ImportError:
        return None
    session = requests.Session()
    # What the environment says of proxies and certificates is not for this machine itself.
    session.trust_env = False
    address = f"{url}/v1/metrics"
    return OTLPMetricExporter(address, timeout=_SECONDS, compression=Compression.NoCompression, session=session)


def _has_grpc() -> bool:
    try:
        return find_spec("opentelemetry.exporter.otlp.proto.grpc.metric_exporter") is not None
    except ImportError:
        return False


def _over_grpc() -> str:
    import grpc  # type: ignore[import-untyped]  # noqa: PLC0415 - comes with an extra, and takes 100 ms to import
    from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter  # noqa: PLC0415 - an extra

    from holter.exporters.opentelemetry import OpenTelemetry  # noqa: PLC0415 - as above

    bodies: list[bytes] = []

    def take(body: bytes, _: object) -> bytes:
        bodies.append(body)
        return b""

    methods = {"Export": grpc.unary_unary_rpc_method_handler(take)}
    handler = grpc.method_handlers_generic_handler(_METRICS_SERVICE, methods)
    with ThreadPoolExecutor(1) as pool:
        server = grpc.server(pool, handlers=(handler,))
        address = f"{_LOOPBACK}:{server.add_insecure_port(f'{_LOOPBACK}:0')}"
        server.start()
        try:
            options: Any = (("grpc.enable_http_proxy", 0),)
            exporter = OTLPMetricExporter(address, insecure=True, timeout=_SECONDS, channel_options=options)
            _export(OpenTelemetry(exporter))
        finally:
            # Without a moment for the client's farewell, the library may tell of it on standard error.
            server.stop(_SECONDS).wait()
    arrived = b"".join(bodies)
    if _FIGURE.encode() not in arrived:
        raise Unwell("what was exported did not arrive")
    return f"sent {len(arrived)} bytes of OTLP over gRPC, which arrived"


class Receiver:
    """Takes what is posted to a free port of the loopback, for as long as it is entered."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        bodies = self.bodies

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = HTTPServer((_LOOPBACK, 0), Handler)
        self.url = f"http://{_LOOPBACK}:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    def __enter__(self) -> Self:
        """Begin to take."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Give the port back."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


EXPORTERS: Final[dict[str, Callable[[], str]]] = {
    "LogFile": lambda: _file(LogFile),
    "CSVFile": lambda: _file(CSVFile),
    "Console": _console,
    "Webhook": _webhook,
    "Alertmanager": _alertmanager,
    "Prometheus": _prometheus,
    "OpenTelemetry": _opentelemetry,
}
"""How each exporter is tried; what imports most comes last."""
