"""
A service with work of every kind, which keeps a journal of its own: what tests compare holter's figures with.

`tests/underload.py` runs it, under any server that takes an ASGI application. JOURNAL names a folder, where each
process appends to a file of its own what it did, by its own clock; METRICS_PORT is where Prometheus asks.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import resource
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
from fastapi import FastAPI, HTTPException
from fastapi.responses import StreamingResponse

import holter
from controlgroups import Container
from holter.storedfiles import room

JOURNAL = Path(os.environ["JOURNAL"])
CONTAINER = Container(JOURNAL / f"container-{os.getpid()}")
MODEL = JOURNAL.parent / "model"
MODEL.write_bytes(b"x" * 12_345)
USING = threading.Lock()
TARGET_SECONDS = 0.04
STEPS = 40
DISK_FIELDS = ("read_bytes", "write_bytes", "read_count", "write_count")


def note(what: str, **own: Any) -> None:
    """Append a line to this process's journal, in one write."""
    line = json.dumps({"what": what, "at": time.time(), **own}) + "\n"
    file = os.open(JOURNAL / f"{os.getpid()}.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(file, line.encode())
    finally:
        os.close(file)


@holter.watch(units=len, expected=HTTPException)
def predict(texts: list[str], own: dict[str, Any]) -> list[int]:
    began = time.perf_counter()
    try:
        if not texts:
            raise HTTPException(422, "no texts")
        with holter.span("tokenize"):
            entered = time.perf_counter()
            time.sleep(random.lognormvariate(-5.0, 0.6))
            own["tokenize"] = time.perf_counter() - entered
        if texts == ["fail"]:
            raise ValueError
        return [len(text) for text in texts]
    finally:
        own["inner"] = time.perf_counter() - began


@holter.watch
async def words(count: int) -> AsyncIterator[str]:
    began, between, waited = time.perf_counter(), [], 0.0
    first = 0.0
    for number in range(count):
        resumed = time.perf_counter()
        await asyncio.sleep(0.015 if number == 0 else 0.003)
        at = time.perf_counter()
        if number == 0:
            first = at - began
        else:
            between.append(at - resumed)
        yield f"{number}\n"
        waited += time.perf_counter() - at
    note("words", whole=time.perf_counter() - began, first=first, between=between, waited=waited)


@holter.llm(
    model="tiny", provider="self_hosted", usage=lambda last: last, targets={"time_to_first_token": TARGET_SECONDS}
)
async def tokens(given: int, made: int) -> AsyncIterator[tuple[int, int]]:
    began, between, waited = time.perf_counter(), [], 0.0
    first = 0.0
    for number in range(made):
        resumed = time.perf_counter()
        await asyncio.sleep(random.choice((0.015, 0.06)) if number == 0 else 0.003)
        at = time.perf_counter()
        if number == 0:
            first = at - began
        else:
            between.append(at - resumed)
        yield given, number + 1
        waited += time.perf_counter() - at
    whole = time.perf_counter() - began
    note("tokens", whole=whole, first=first, between=between, waited=waited, pace=sum(between) / (made - 1))


@holter.watch
def hold() -> None:
    """Run until the test makes a file."""
    while not (JOURNAL / "release").exists():
        time.sleep(0.01)


def told(alert: holter.Alert) -> None:
    note("alert", state=alert.state)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    with holter.start(
        "loaded",
        version="v7",
        exporters=[holter.Prometheus(int(os.environ["METRICS_PORT"]))],
        samplers=[
            holter.ProcessSampler(0.2),
            holter.ProcessTreeSampler(0.2),
            holter.HostSampler(0.2),
            holter.ContainerSampler(0.2, _root=CONTAINER.root),
            holter.Storage(MODEL, interval_seconds=0.2),
            holter.GPUSampler(0.2),
        ],
        checks=[holter.Limit(predict, "error_ratio", above=0.05, minimum_calls=20, window_seconds=30)],
        on_alert=told,
        interval_seconds=0.2,
    ):
        yield


inside = FastAPI(lifespan=lifespan)
# Around all of it: only there the answer to an error that nobody caught is seen.
app = holter.ASGI(inside)


@inside.post("/predict")
def answer(texts: list[str]) -> list[int]:
    own: dict[str, Any] = {"units": 0, "outcome": "error"}
    began = time.perf_counter()
    try:
        result = predict(texts, own)
    except HTTPException:
        own["outcome"] = "expected"
        raise
    else:
        own.update(outcome="ok", units=len(texts))
        return result
    finally:
        with USING:
            CONTAINER.run()
        note("predict", outer=time.perf_counter() - began, **own)


@inside.get("/words")
async def stream() -> StreamingResponse:
    async def slowly() -> AsyncIterator[str]:
        async for word in words(8):
            yield word
            await asyncio.sleep(0.002)

    return StreamingResponse(slowly(), media_type="text/plain")


@inside.get("/tokens")
async def generate() -> StreamingResponse:
    return StreamingResponse((f"{made}\n" async for _, made in tokens(5, 6)), media_type="text/plain")


@inside.get("/hold")
def wait() -> None:
    hold()


@inside.get("/train")
def train(steps: int) -> None:
    def batches() -> Any:
        for number in range(steps):
            began = time.perf_counter()
            time.sleep(0.004)
            waits.append(time.perf_counter() - began)
            yield number

    waits: list[float] = []
    whole: list[float] = []
    with holter.training("tune", total_steps=STEPS, units=5) as run:
        began = time.perf_counter()
        for number in run.steps(batches()):
            time.sleep(0.012)
            run.log(loss=1.0 / (number + 1))
            now = time.perf_counter()
            whole.append(now - began)
            began = now
    note("train", steps=steps, waits=waits, whole=whole, samples=5 * steps, loss=1.0 / steps)


@inside.get("/own")
def own_figures() -> dict[str, Any]:
    """Tell what this process knows of itself, and what holter's own histogram of it says."""
    process, snapshot = psutil.Process(), holter.snapshot()
    usage = resource.getrusage(resource.RUSAGE_SELF)
    disks, cards = psutil.disk_io_counters(nowrap=False), psutil.net_io_counters(nowrap=False)
    waits = [int(path.read_text().split()[1]) for path in Path("/proc/self/task").glob("*/schedstat")]
    with process.oneshot():
        cpu, memory = process.cpu_times(), process.memory_info()
    found = snapshot.find(predict)
    histogram = found and found.total.histogram
    quantiles = {str(q): histogram.quantile(q) for q in (0.5, 0.9, 0.99)} if histogram else {}
    written = snapshot.find("holter.records.written")
    return {
        "user": cpu.user,
        "system": cpu.system,
        "rss": memory.rss,
        "threads": process.num_threads(),
        "files": process.num_fds() - 1,
        "voluntary": usage.ru_nvcsw,
        "involuntary": usage.ru_nivcsw,
        "minor": usage.ru_minflt,
        "major": usage.ru_majflt,
        "waits": sum(waits) / 1e9,
        **{f"disk_{field}": getattr(disks, field, 0) for field in DISK_FIELDS},
        "received": cards.bytes_recv,
        "sent": cards.bytes_sent,
        "mountpoint": room(str(MODEL)).mountpoint,
        "free": psutil.disk_usage(str(MODEL)).free,
        "written_at": MODEL.stat().st_mtime,
        "host_memory": psutil.virtual_memory().percent / 100,
        "quantiles": quantiles,
        "error": histogram.relative_error if histogram else None,
        "written": written.total.sum if written else 0.0,
        "lost": snapshot.lost,
        "target": TARGET_SECONDS,
        "steps": STEPS,
    }
