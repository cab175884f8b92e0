"""
A real service under a real load, with a real Prometheus that scrapes it, and what each of the three says.

The service is `tests/loadedservice.py`, under whatever server the command starts. hey makes the load and tells each
response. Between two scrapes at rest, one before and one after the load, everything is compared: raw differences
with the generator's responses and the service's own journal, and queries over exactly that time.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from metricpages import PATIENCE_SECONDS, Server, free_port, get, poll, prometheus

TESTS = Path(__file__).parent
SCRAPE_SECONDS = 0.5

needs_hey = pytest.mark.skipif(
    not shutil.which("hey"), reason="hey is missing; install it with: apt-get install -y --no-install-recommends hey"
)

# Path, body, number of requests, number of clients. uvicorn closes a connection after an error that nobody caught; each
# request has one of its own, so that none is lost with it.
LOAD = (
    ("/predict", '["a fine day","rain"]', 600, 6),
    ("/predict", "[]", 60, 2),
    ("/predict", '["fail"]', 60, 2),
    ("/words", None, 60, 4),
    ("/tokens", None, 60, 3),
    ("/train?steps=20", None, 1, 1),
)
WARM_UP = tuple((path.replace("20", "4"), body, 1, 1) for path, body, _, _ in LOAD)
# Calls of watched functions by the path that makes them.
CALLS = {"/predict": "predict", "/words": "words", "/tokens": "tokens"}


@dataclass
class Load:
    """What the generator saw: how many responses of each path and status, and how long they took."""

    responses: Counter[tuple[str, int]] = field(default_factory=Counter)
    seconds: Counter[str] = field(default_factory=Counter)
    times: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def answered(self, path: str) -> int:
        """Return how many responses there were, whatever they said."""
        return sum(count for (one, _), count in self.responses.items() if one == path)


def generate(url: str, load: Sequence[tuple[str, str | None, int, int]], *options: str) -> Load:
    """Let hey send all of *load* at the same time; each response is in what it tells."""
    seen, running = Load(), []
    for path, body, number, clients in load:
        method = [] if body is None else ["-m", "POST", "-T", "application/json", "-d", body]
        size = ["-n", str(number), "-c", str(clients), "-t", "60", "-disable-keepalive"]
        command = ["hey", *size, "-o", "csv", *method, *options, url + path]
        running.append((path.partition("?")[0], subprocess.Popen(command, stdout=subprocess.PIPE, text=True)))
    for path, process in running:
        told, _ = process.communicate(timeout=2 * PATIENCE_SECONDS)
        assert process.returncode == 0, told
        for row in csv.DictReader(told.splitlines()):
            seen.responses[path, int(row["status-code"])] += 1
            seen.seconds[path] += float(row["response-time"])
            seen.times[path].append(float(row["response-time"]))
    return seen


@dataclass
class Run:
    """One run of a service under load, at rest again."""

    server: Server
    load: Load
    folder: Path
    first: float
    last: float
    before: dict[str, Any]
    after: dict[str, Any]

    def bounds(self, metric: str) -> list[float]:
        """Return the bounds of a histogram's buckets, from 0 to infinity."""
        found = self.server.query(f"count by (le) ({metric}_bucket)", self.last)
        return [0.0, *sorted(float(labels["le"]) for labels, _ in found)]

    @property
    def seconds(self) -> float:
        """The time between the two scrapes at rest, which Prometheus knows to the millisecond."""
        return round(self.last - self.first, 3)

    def ask(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Return the answer to a query as Grafana sends it, over exactly the time between the two scrapes."""
        # A millisecond more: newer servers leave out what lies at the very beginning.
        window = f"{round(self.seconds * 1000) + 1}ms"
        return self.server.query(expression.replace("$__rate_interval", window).replace("$__range", window), self.last)

    def grown(self, metric: str, *by: str) -> dict[tuple[str, ...], float]:
        """Return the raw difference of a counter between the two scrapes, by labels."""
        query = f"sum by ({', '.join(by)}) ({metric})"
        first, last = (
            {tuple(labels.get(one, "") for one in by): value for labels, value in self.server.query(query, at)}
            for at in (self.first, self.last)
        )
        assert set(first) == set(last)
        return {key: value - first[key] for key, value in last.items()}

    def journal(self, what: str, *, warm_up: bool = False) -> list[dict[str, Any]]:
        """Return what the processes of the service wrote down of their own doing, under load alone or *warm_up* too."""
        files = (self.folder / "journal").glob("*.jsonl")
        notes = [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]
        return [one for one in notes if one["what"] == what and (warm_up or self.first < one["at"] < self.last)]


class Service:
    """A running service, and the Prometheus that scrapes it."""

    def __init__(self, url: str, folder: Path, server: Server) -> None:
        self.url, self.folder, self.server = url, folder, server
        self._calls = 0

    def own(self) -> dict[str, Any]:
        """Return what the process that answers says of itself."""
        return dict(json.loads(get(f"{self.url}/own")[2]))

    def send(self, load: Sequence[tuple[str, str | None, int, int]], *options: str) -> Load:
        """Make the load, and wait until Prometheus has seen every call of it."""
        seen = generate(self.url, load, *options)
        self._calls += sum(seen.answered(path) for path in CALLS)
        names = "|".join(CALLS.values())
        self.server.sees(f'sum(holter_call_duration_seconds_count{{holter_call_name=~"{names}"}})', self._calls)
        return seen

    def rest(self) -> float:
        """Wait for two more scrapes that went well, and return the time of the newest one."""
        query = "max(timestamp(holter_info))"
        now = self.server.value(query) or 0.0
        seconds = 2.0 * SCRAPE_SECONDS
        return poll("two scrapes", lambda: at if (at := self.server.value(query) or 0.0) >= now + seconds else None)

    def run(self, *options: str) -> Run:
        """Send the load between two scrapes at rest; hey gets the *options* too."""
        # So that all series are there before.
        self.send(WARM_UP, *options)
        before, first = self.own(), self.rest()
        load = self.send(LOAD, *options)
        last = self.rest()
        return Run(self.server, load, self.folder, first, last, before, self.own())

    @contextmanager
    def held(self, calls: int) -> Iterator[float]:
        """Keep *calls* of `hold` running; yields a time at which all of them ran."""
        threads = [threading.Thread(target=get, args=(f"{self.url}/hold",)) for _ in range(calls)]
        for thread in threads:
            thread.start()
        try:
            self.server.sees('sum(holter_call_active{holter_call_name="hold"})', calls)
            yield time.time()
        finally:
            (self.folder / "journal" / "release").touch()
            for thread in threads:
                thread.join()


@contextmanager
def serving_under_load(command: Sequence[str], folder: Path) -> Iterator[Service]:
    """
    Run `loadedservice:app` by *command*, in which ``{port}`` stands for the port that it serves.

    Prometheus scrapes the port that the environment names in METRICS_PORT: whichever of its
    processes has it. *folder* is where it runs, and where what it says lies in the file "log".
    """
    port, metrics = free_port(), free_port()
    journal = folder / "journal"
    journal.mkdir()
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "JOURNAL": str(journal),
        "METRICS_PORT": str(metrics),
        "HOLTER_DIR": str(folder / "recordings"),
    }
    with (folder / "log").open("wb") as log:
        service = subprocess.Popen(
            [part.format(port=port) for part in command], cwd=folder, env=environment, stdout=log, stderr=log
        )
    url = f"http://127.0.0.1:{port}"
    try:
        try:
            poll("the service", lambda: get(f"{url}/own")[0] == get(f"http://127.0.0.1:{metrics}/metrics")[0] == 200)
        except pytest.fail.Exception:
            pytest.fail((folder / "log").read_text(encoding="utf-8"))
        with prometheus(metrics, every_seconds=SCRAPE_SECONDS) as server:
            yield Service(url, folder, server)
    finally:
        service.terminate()
        service.wait(PATIENCE_SECONDS)
