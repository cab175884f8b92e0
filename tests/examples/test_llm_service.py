"""The service of a language model, a real transformers one, asked over HTTP by clients that stay and that go."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

httpx = pytest.importorskip("httpx", reason="httpx is not installed; install it with: pip install '.[test]'")
pytest.importorskip("fastapi", reason="FastAPI is not installed; install it with: pip install '.[test]'")
pytest.importorskip("torch", reason="PyTorch is not installed; install it with: pip install torch")
pytest.importorskip("transformers", reason="transformers is not installed; install it with: pip install transformers")

EXAMPLES = Path(__file__).parents[2] / "examples"


@contextlib.contextmanager
def _service(folder: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "uvicorn", "--app-dir", str(EXAMPLES), "--port", "0", "llm_service:app"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HOLTER_DIR": str(folder / "recordings")}
    with (
        (folder / "server.log").open("w") as log,
        subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log) as process,
    ):
        give_up = time.monotonic() + 100
        while "running on" not in (said := (folder / "server.log").read_text()):
            assert process.poll() is None, said
            assert time.monotonic() < give_up, said
            time.sleep(0.05)
        try:
            yield said.split("running on ")[1].split()[0]
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) in (0, -signal.SIGTERM)


def _figures(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the newest figures of each metric in the log."""
    lines = map(json.loads, (folder / "llm_service.jsonl").read_text().splitlines())
    return {line["holter"]["metric"]: line["holter"] for line in lines if line["event"]["dataset"] == "holter.series"}


def _wait_for_the_one_that_went(client: Any) -> None:
    give_up = time.monotonic() + 60
    while True:
        streams = client.get("/holter").text.partition("streams")[2].splitlines()
        if streams[1].split()[-1] == "1":
            return
        assert time.monotonic() < give_up, streams
        time.sleep(0.05)


@pytest.mark.timeout(240)
def test_tokens_and_their_pace_are_those_of_the_client(tmp_path: Path) -> None:
    """By the client's own clock: no sooner than the model, and hardly later; who goes is counted as gone."""
    asked, first, whole = 10, [], []
    with _service(tmp_path) as address, httpx.Client(base_url=address, timeout=60) as client:
        for number in range(asked):
            begun = time.monotonic()
            with client.stream("GET", "/generate", params={"prompt": f"{number},1,2", "tokens": 30}) as response:
                tokens = response.iter_lines()
                next(tokens)
                first.append(time.monotonic() - begun)
                assert 29 == len(list(tokens))
                whole.append(time.monotonic() - begun)
        with client.stream("GET", "/generate", params={"prompt": "1", "tokens": 1000}) as response:
            next(response.iter_lines())
        _wait_for_the_one_that_went(client)
    told = _figures(tmp_path)
    duration, to_first = told["gen_ai.server.request.duration"], told["gen_ai.server.time_to_first_token"]
    pace, made = told["gen_ai.server.time_per_output_token"], told["gen_ai.client.inference.usage.output_tokens"]
    assert asked + 1 == duration["count"] == to_first["count"]
    assert {"ok": asked} == {way: count for way, count in told["holter.call.duration"]["outcomes"].items() if count > 1}
    assert asked * 30 < made["sum"] < asked * 30 + 1000
    assert 0 < sum(first) / asked < to_first["sum"] / (asked + 1) + 1.0
    assert 0 < pace["sum"] / pace["count"] <= max(whole) / 29
