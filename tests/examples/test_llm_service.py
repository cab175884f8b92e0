"""The service of a language model, a real transformers one, asked over HTTP by clients that stay, dawdle and go."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import mean

import pytest

from metricpages import poll

httpx = pytest.importorskip("httpx", reason="httpx is not installed; install it with: pip install '.[test]'")
pytest.importorskip("fastapi", reason="FastAPI is not installed; install it with: pip install '.[test]'")
pytest.importorskip("torch", reason="PyTorch is not installed; install it with: pip install torch")
pytest.importorskip("transformers", reason="transformers is not installed; install it with: pip install transformers")

EXAMPLES = Path(__file__).parents[2] / "examples"

# The example as it stands, with its requests watched as a whole, and two more paths: tokens in lines so long that they
# fill the buffers between a service and a client that does not read, and what holter has counted.
PROGRAM = """
import holter
from fastapi.responses import StreamingResponse
from llm_service import app, generate

app.add_middleware(holter.ASGI)

@app.get("/long")
async def long(prompt: str, tokens: int) -> StreamingResponse:
    ids = [int(one) for one in prompt.split(",")]
    return StreamingResponse((f"{token:<1999}\\n" async for token in generate(ids, tokens)), media_type="text/plain")

@app.get("/figures")
def figures() -> dict[str, list[float]]:
    snapshot, told = holter.snapshot(), {}
    for id, reading in snapshot.total.items():
        name, about = snapshot.series[id].name, snapshot.series[id].attributes
        if about.get("holter.call.name") == "generate" or about.get("http.route") == "/long":
            key = f"{name} {about.get('holter.call.outcome', 'ok')}"
            count, total = told.get(key, (0, 0.0))
            told[key] = [count + reading.count, total + reading.sum]
    return told
"""
CALL, WAIT = "holter.call.duration", "holter.stream.consumer_wait ok"
DURATION, FIRST = "gen_ai.server.request.duration", "gen_ai.server.time_to_first_token ok"
PACE, MADE = "gen_ai.server.time_per_output_token ok", "gen_ai.client.inference.usage.output_tokens ok"
REQUEST = "http.server.request.duration"
TOKENS, LINE = 100, 2000
PROMPT = ",".join(["7"] * 800)


class Figures(dict[str, tuple[int, float]]):
    """Count and sum by metric and outcome."""

    def of(self, metric: str) -> dict[str, int]:
        """Return the counts of a metric by outcome, those that are any."""
        counts = ((key.removeprefix(f"{metric} "), count) for key, (count, _) in self.items() if key.startswith(metric))
        return {outcome: count for outcome, count in counts if count}

    def mean(self, key: str) -> float:
        """Return what one of them was on average."""
        count, total = self[key]
        return total / count


class Service:
    """The running service, and what it has counted since it was last asked."""

    def __init__(self, port: int, folder: Path, process: subprocess.Popen[bytes]) -> None:
        self.port, self.folder, self._process = port, folder, process
        self.asked = 0
        self._before = Figures()

    def grown(self) -> Figures:
        """Wait until all that was asked for has ended; return by how much each count and sum has grown since before."""

        def ask() -> Figures | None:
            found = httpx.get(f"http://127.0.0.1:{self.port}/figures", timeout=60).json()
            now = Figures({key: tuple(value) for key, value in found.items()})
            # The figures of a request are recorded after its call.
            return now if all(sum(now.of(one).values()) == self.asked for one in (CALL, DURATION, REQUEST)) else None

        before, self._before = self._before, poll(f"the end of {self.asked} requests", ask)
        return Figures(
            {
                key: (count - before.get(key, (0, 0.0))[0], total - before.get(key, (0, 0.0))[1])
                for key, (count, total) in self._before.items()
            }
        )

    def ask(self, *, pause_seconds: float = 0.0, leaves: bool = False) -> tuple[float, float]:
        """
        Ask for tokens, and return when the first and the last one came, by the client's own clock.

        After the first one the client reads nothing for *pause_seconds*, or leaves.
        """
        self.asked += 1
        request = f"GET /long?prompt={PROMPT}&tokens={TOKENS} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        with socket.socket() as one:
            # What the client does not read is hardly taken in.
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            one.settimeout(60)
            began = time.monotonic()
            one.connect(("127.0.0.1", self.port))
            one.sendall(request.encode())
            with one.makefile("rb") as answer:
                # The head and the length of the first chunk come before it.
                while len(answer.readline()) != LINE:
                    pass
                last = first = time.monotonic() - began
                if leaves:
                    return first, last
                time.sleep(pause_seconds)
                lines = 1
                for line in answer:
                    if len(line) == LINE:
                        lines, last = lines + 1, time.monotonic() - began
        assert TOKENS == lines
        return first, last

    def stop(self) -> None:
        """Stop it as a supervisor does."""
        self._process.send_signal(signal.SIGTERM)
        assert self._process.wait(60) in (0, -signal.SIGTERM)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service, behind a socket with a small buffer: a client that reads nothing is soon felt."""
    folder = tmp_path_factory.mktemp("llm")
    (folder / "program.py").write_text(PROGRAM)
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        listening.bind(("127.0.0.1", 0))
        number = listening.fileno()
        command = [sys.executable, "-m", "uvicorn", "--app-dir", str(folder), "--fd", str(number), "program:app"]
        environment = {
            **os.environ,
            "HF_HUB_OFFLINE": "1",
            "HOLTER_DIR": str(folder / "recordings"),
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(EXAMPLES),
        }
        with (folder / "server.log").open("w") as log:
            process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log, pass_fds=[number])
        try:

            def is_ready() -> bool:
                said = (folder / "server.log").read_text()
                assert process.poll() is None, said
                return "startup complete" in said

            poll("the service", is_ready, 100)
            found = Service(listening.getsockname()[1], folder, process)
            # The first request warms up.
            found.ask()
            found.grown()
            yield found
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()


@pytest.mark.timeout(240)
def test_the_first_token_and_the_pace_are_those_of_the_clients_clock(service: Service) -> None:
    """Not after the client saw them, and hardly before; what it saw in all is the model's time and its own."""
    asked = [service.ask() for _ in range(4)]
    told = service.grown()
    assert ({"ok": 4}, {"ok": 4}) == (told.of(CALL), told.of(DURATION))
    assert (4, 4 * TOKENS) == told[MADE]
    first, rest = (mean(times) for times in ([first for first, _ in asked], [last - first for first, last in asked]))
    assert first * 0.5 - 0.02 < told.mean(FIRST) < first
    pace = rest / (TOKENS - 1)
    assert pace * 0.5 < told.mean(PACE) < pace * 1.05
    waited = told.mean(WAIT)
    assert pytest.approx(first + rest, rel=0.1, abs=0.05) == told.mean(f"{DURATION} ok") + waited
    assert pytest.approx(first + rest, rel=0.1, abs=0.05) == told.mean(f"{CALL} ok")


@pytest.mark.timeout(240)
def test_the_time_of_a_slow_client_is_not_the_models(service: Service) -> None:
    """A client that reads nothing for seconds makes a long call, whose wait is its own; the model's pace stays."""
    _, fast_last = service.ask()
    fast = service.grown()
    pause = 2 * fast_last + 2
    first, last = service.ask(pause_seconds=pause)
    slow = service.grown()
    assert last - first > pause
    assert pytest.approx(last, rel=0.1, abs=0.05) == slow.mean(f"{CALL} ok")
    # All tokens are made long before the client goes on.
    assert pause - fast_last < slow.mean(WAIT) < last
    assert slow.mean(f"{DURATION} ok") < last - slow.mean(WAIT) + 0.05
    assert slow.mean(PACE) < (last - first) / TOKENS / 2
    assert slow.mean(PACE) < 3 * fast.mean(PACE)
    assert 0 < slow.mean(FIRST) < first


@pytest.mark.timeout(240)
def test_clients_that_vanish_leave_abandoned_streams(service: Service) -> None:
    """Beside such that stay: each is counted as what it was, none as an error, and the model stops for who has gone."""
    with ThreadPoolExecutor(6) as clients:
        staying = [clients.submit(service.ask), clients.submit(service.ask, pause_seconds=1.0)]
        leaving = [clients.submit(service.ask, leaves=True) for _ in range(4)]
        for one in (*staying, *leaving):
            one.result()
    told = service.grown()
    assert {"ok": 2, "abandoned": 4} == told.of(REQUEST)
    for metric in (CALL, DURATION):
        # uvicorn has the task of a client that has gone cancelled; a stream that is being sent then is dropped.
        outcomes = told.of(metric)
        assert (2, 4) == (outcomes.pop("ok"), outcomes.pop("abandoned", 0) + outcomes.pop("cancelled", 0))
        assert {} == outcomes
    assert 6 == told[FIRST][0]
    assert 2 * TOKENS + 4 <= told[MADE][1] < 6 * TOKENS
    columns = httpx.get(f"http://127.0.0.1:{service.port}/holter", timeout=60).text.partition("streams")[2].splitlines()
    assert "4" == columns[1].split()[-1]


def test_the_log_tells_the_same(service: Service) -> None:
    """The newest line of each metric, when the service has been stopped, holds what all of its clients asked for."""
    service.stop()
    lines = map(json.loads, (service.folder / "llm_service.jsonl").read_text().splitlines())
    told = {line["holter"]["metric"]: line["holter"] for line in lines if line["event"]["dataset"] == "holter.series"}
    assert service.asked == told[DURATION]["count"] == told[CALL]["count"]
