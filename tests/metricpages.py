"""Prometheus's own programs and VictoriaMetrics, and what tests ask of a real server."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

T = TypeVar("T")

PATIENCE_SECONDS = 60.0
INSTALL = "install it with: apt-get install -y --no-install-recommends prometheus"

needs_prometheus = pytest.mark.skipif(
    not (shutil.which("prometheus") and shutil.which("promtool")), reason=f"prometheus is missing; {INSTALL}"
)

needs_victoria_metrics = pytest.mark.skipif(
    not shutil.which("victoria-metrics"),
    reason="VictoriaMetrics is missing; unpack it, and put its folder on PATH: .ci/newer FOLDER victoria-metrics",
)


def promtool(*arguments: object, text: str | None = None) -> Any:
    """Return the finished promtool, which had *text* as its standard input."""
    command = ["promtool", *map(str, arguments)]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=60)


def check_metrics(page: str) -> str:
    """Return what promtool finds wrong with a page: nothing, if all is well."""
    done = promtool("check", "metrics", text=page)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def poll(what: str, ask: Callable[[], T | None], seconds: float = PATIENCE_SECONDS) -> T:
    """Return the first answer of *ask* that is not None or False; fail after *seconds*."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            answer = ask()
        except OSError:
            answer = None
        if answer is not None and answer is not False:
            return answer
        time.sleep(0.05)
    pytest.fail(f"waited {seconds:g} s in vain for {what}")


def get(url: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers and body."""
    request = urllib.request.Request(url, headers={name.replace("_", "-"): value for name, value in headers.items()})  # noqa: S310  our own
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as reply:  # noqa: S310  our own
            return reply.status, dict(reply.headers), reply.read()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), error.read()


def values(page: str) -> dict[str, float]:
    """Return the samples of a page by name and labels, as they stand there."""
    lines = (line.rpartition(" ") for line in page.splitlines() if line and not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Server:
    """A running Prometheus, or what is asked as it is."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def query(self, expression: str, at: float | None = None) -> list[tuple[dict[str, str], float]]:
        """Return labels and value of each series of an instant query, as of now or of a Unix time."""
        query = urllib.parse.urlencode({"query": expression} | ({} if at is None else {"time": f"{at:.3f}"}))
        status, _, body = get(f"{self.url}/api/v1/query?{query}")
        assert status == 200, (expression, body)
        data = json.loads(body)["data"]
        if data["resultType"] == "scalar":
            return [({}, float(data["result"][1]))]
        return [(one["metric"], float(one["value"][1])) for one in data["result"]]

    def value(self, expression: str) -> float | None:
        """Return the only value of an instant query, None if there is none."""
        found = self.query(expression)
        return found[0][1] if len(found) == 1 else None

    def exemplars(self, expression: str) -> list[dict[str, Any]]:
        """Return the exemplars of the last minutes, with the labels of their series as ``series``."""
        now = time.time()
        query = urllib.parse.urlencode({"query": expression, "start": now - 600, "end": now + 600})
        status, _, body = get(f"{self.url}/api/v1/query_exemplars?{query}")
        assert status == 200, (expression, body)
        return [
            {**one, "series": series["seriesLabels"]}
            for series in json.loads(body)["data"]
            for one in series["exemplars"]
        ]

    def sees(self, expression: str, expected: float) -> float:
        """Wait until the query gives *expected*."""
        return poll(f"{expression} == {expected}", lambda: True if self.value(expression) == expected else None)


@contextmanager
def serving(command: list[str], ready: str, folder: str) -> Iterator[None]:
    """Run a server until it answers at the address *ready*; what it says lies in *folder*, and fails with it."""
    log = Path(folder) / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=dict(os.environ))
    try:
        try:
            poll(command[0], lambda: get(ready)[0] == 200)
        except pytest.fail.Exception:
            pytest.fail(log.read_text(encoding="utf-8"))
        yield
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def prometheus(
    *targets: int, path: str = "/metrics", rules: Path | None = None, every_seconds: float = 1.0, features: str = ""
) -> Iterator[Server]:
    """Run a Prometheus that scrapes ports of this machine."""
    every = f"{round(every_seconds * 1000)}ms"
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="prometheus-") as folder:
        config = Path(folder) / "prometheus.yml"
        config.write_text(
            json.dumps(
                {
                    "global": {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": "500ms"},
                    "rule_files": [str(rules)] if rules else [],
                    "scrape_configs": [
                        {
                            "job_name": "holter",
                            "metrics_path": path,
                            "static_configs": [{"targets": [f"127.0.0.1:{target}" for target in targets]}],
                        }
                    ],
                }
            )
        )
        command = [
            "prometheus",
            f"--config.file={config}",
            f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=warn",
            *([f"--enable-feature={features}"] if features else []),
        ]
        server = Server(port)
        with serving(command, f"{server.url}/-/ready", folder):
            yield server


@contextmanager
def victoria_metrics() -> Iterator[Server]:
    """Run a VictoriaMetrics, which takes OTLP at `/opentelemetry` and is asked as Prometheus is."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="victoria-metrics-") as folder:
        command = [
            "victoria-metrics",
            f"-storageDataPath={folder}/data",
            f"-httpListenAddr=127.0.0.1:{port}",
            "-loggerLevel=WARN",
            "-memory.allowedBytes=64MiB",
            # Else the newest half minute is not shown.
            "-search.latencyOffset=0s",
            "-search.disableCache",
        ]
        server = Server(port)
        with serving(command, f"{server.url}/health", folder):
            yield server
