"""What leaves the process, all outputs together: nothing that the model was given, answered or said in its errors."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

CANARY = "canary-7f3a9"

# Every way in: arguments, results, items, texts of errors, the text of a cause, a note, the environment.
PROGRAM = """
import asyncio, logging, os, sys
import holter

logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
secret = os.environ["SECRET"]
names = holter.Limit("holter.call.duration", "error_ratio", above=0.01, window_seconds=1)

class Told(Exception):
    def __str__(self):
        return secret

@holter.watch(name="a\\r\\nb\\u2028\\x1b[31mc\\x00", units=lambda result: result["rows"])
def predict(text, *, context):
    with holter.span("=cmd|' /C calc'!A0"):
        holter.tag(route="@SUM(1)\\r\\nforged: line")
        if text == secret:
            error = Told(secret)
            error.add_note(secret)
            raise error from ValueError(secret)
        return {"rows": secret, "text": text}

@holter.watch
def stream():
    yield secret
    raise Told(secret)

@holter.watch
async def answer(text):
    raise TimeoutError(secret)

def page(alert):
    raise Told(secret)

def read():
    raise Told(secret)

holter.gauge("app.depth", read=read)
console = open("console.txt", "w+")
exporters = [
    holter.LogFile("figures.jsonl"),
    holter.CSVFile("figures.csv"),
    holter.Console(console),
    holter.LogFile(logger=logging.getLogger("figures")),
]
with holter.start("svc\\r\\nforged", version="v1", exporters=exporters, checks=[names], on_alert=page) as monitor:
    for text in ["fine", secret] * 10:
        try:
            predict(text, context={"key": secret})
        except Told:
            pass
    try:
        list(stream())
        asyncio.run(answer(secret))
    except (Told, TimeoutError):
        pass
    holter.counter("app.hits").add(secret)
    with holter.training("fit", parameters={"lr": 0.1}) as run:
        for batch in run.steps([secret]):
            run.log(loss=secret)
    monitor.flush(10)
    print(holter.summary())
    print(json.dumps(holter.summary().to_dict()) if (json := __import__("json")) else "")
    print(holter.summary()._repr_html_())
    print(monitor.snapshot(), monitor.alerts())
console.flush()
"""


def test_nothing_of_what_the_model_sees_or_says_gets_out(tmp_path: Path) -> None:
    """Files, console, logger, summary and snapshot tell counts and names; no name forges a line or a cell."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=tmp_path,
        env={**os.environ, "SECRET": CANARY},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    outputs = {path.name: path.read_bytes().decode() for path in tmp_path.iterdir()}
    assert {"console.txt", "figures.csv", "figures.jsonl"} == set(outputs)
    outputs |= {"stdout": done.stdout, "stderr": done.stderr}
    for name, text in outputs.items():
        assert text, f"{name} is empty and shows nothing"
        assert CANARY not in text, name
        assert not set("\r\x00\x1b\u2028") & set(text.replace("\r\n", "\n") if name == "figures.csv" else text), name
        assert not any(line.lstrip().startswith("forged") for line in text.splitlines()), name

    lines = [json.loads(line) for line in outputs["figures.jsonl"].splitlines()]
    assert any(line["event"]["kind"] == "alert" for line in lines)
    with (tmp_path / "figures.csv").open(newline="", encoding="utf-8") as table:
        header, *rows = list(csv.reader(table))
    assert all(len(row) == len(header) for row in rows)
    assert not [cell for row in rows for cell in row[:-1] if cell[:1] in ("=", "+", "-", "@", "\t", "\r")]
