"""The FastAPI example, served by uvicorn and asked over HTTP."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

httpx = pytest.importorskip("httpx", reason="httpx is not installed; install it with: pip install '.[test]'")
pytest.importorskip("fastapi", reason="FastAPI is not installed; install it with: pip install '.[test]'")
pytest.importorskip("uvicorn", reason="uvicorn is not installed; install it with: pip install '.[test]'")
pytest.importorskip("sklearn", reason="scikit-learn is not installed; install it with: pip install '.[test]'")

EXAMPLES = Path(__file__).parents[2] / "examples"
BLANK = [0.0] * 64


@contextlib.contextmanager
def _service(tmp_path: Path) -> Iterator[str]:
    """Yield the address of a running service, and stop it as a supervisor does."""
    command = [sys.executable, "-m", "uvicorn", "--app-dir", str(EXAMPLES), "--port", "0", "predict_service:app"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "HOLTER_DIR": str(tmp_path / "recordings")}
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        line = next(line for line in process.stderr if "running on" in line)
        try:
            yield line.split(" on ")[1].split(" ")[0]
        finally:
            process.send_signal(signal.SIGTERM)
            process.stderr.read()
            # uvicorn raises the signal again once it has shut down in order
            assert process.wait() in (0, -signal.SIGTERM)


def test_the_service_answers_and_tells_what_it_did(tmp_path: Path) -> None:
    """Counts in the summary and in the log are those of the client; a client's mistake is no error."""
    with _service(tmp_path) as address, httpx.Client(base_url=address) as client:
        answers = [client.post("/predict", json=[BLANK, BLANK]).json() for _ in range(20)]
        assert client.post("/predict", json=[[1.0]]).status_code == 422
        words = client.get("/explain/7").text.splitlines()
        summary = client.get("/holter").text
    assert all(len(answer) == 2 for answer in answers)
    assert len(words) == 10
    assert "predict" in summary
    assert "explain" in summary

    lines = [json.loads(line) for line in (tmp_path / "predict_service.jsonl").read_text().splitlines()]
    calls = {line["labels"]["holter_call_name"]: line for line in lines if _is_call(line)}
    assert calls["predict"]["holter"]["count"] == 21
    assert calls["predict"]["holter"]["outcomes"] == {"ok": 20, "expected": 1}
    assert calls["explain"]["holter"]["outcomes"] == {"ok": 1}


def _is_call(line: dict) -> bool:
    return line["holter"].get("metric") == "holter.call.duration"
