"""
Traces of the resident memory of real processes under load, in ``tests/data/memory``, and how they were made.

``python tests/memorytraces.py NAME SECONDS LEAK FROM`` runs a made-up service for so many seconds and writes what
`ProcessSampler` saw of it each second. The service answers requests that leave cycles for the garbage collector and
arrays of all sizes, keeps answers in a cache that fills up, and loads its model anew every five minutes, the new one
before the old one goes. From second FROM on it also keeps LEAK bytes a second that nobody will ask for again.
"""

from __future__ import annotations

import gzip
import json
import random
import sys
import threading
import time
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).parent / "data" / "memory"
CACHED = 400


class Node:
    """Part of an answer, which knows the whole: a cycle that only the garbage collector frees."""

    def __init__(self, parent: Node | None) -> None:
        self.parent, self.children, self.text = parent, [], "x" * random.randrange(50, 500)
        if parent is not None:
            parent.children.append(self)


class Service:
    """Answers requests, some 30 a second; *leak* bytes a second are kept from second *leaks_from* on."""

    def __init__(self, leak: float, leaks_from: float) -> None:
        self.begun = time.monotonic()
        self.leak, self.leaks_from = leak, leaks_from
        self.cache: OrderedDict[int, bytes] = OrderedDict()
        self.kept: list[bytes] = []
        self.kept_bytes = 0
        self.model = self.load()
        self.loaded = self.begun

    @staticmethod
    def load() -> np.ndarray:
        """Return a model of 80 MB."""
        return np.random.default_rng().random(10_000_000)

    def request(self) -> None:
        """Answer one."""
        root = Node(None)
        for _ in range(random.randrange(20, 200)):
            Node(root)
        batch = np.full(int(random.lognormvariate(9, 1.5)) % 500_000 + 1, 1.0)
        key = min(int(random.expovariate(1 / 300)), 5_000)
        if key not in self.cache:
            self.cache[key] = bytes(int(20_000 + batch.size % 1_000))
            if len(self.cache) > CACHED:
                self.cache.popitem(last=False)
        self.cache.move_to_end(key)
        now = time.monotonic()
        due = self.leak * max(0.0, now - self.begun - self.leaks_from)
        while self.kept_bytes < due:
            self.kept.append(random.randbytes(random.randrange(500, 40_000)))
            self.kept_bytes += len(self.kept[-1])
        if now - self.loaded > 300:
            self.loaded, self.model = now, self.load()

    def run(self, until: float) -> None:
        """Answer requests as they come."""
        while time.monotonic() < until:
            self.request()
            time.sleep(random.expovariate(30))


def record(seconds: float, leak: float, leaks_from: float) -> dict[str, Any]:
    """Return the trace of a service that ran for so many *seconds*."""
    from holter.samplers.process import ProcessSampler  # noqa: PLC0415 - readers of a trace need no sampler

    sampler, values = ProcessSampler(), {}

    def take(name: str, value: float, **_more: Any) -> None:
        values[name] = value

    until = time.monotonic() + seconds
    service = Service(leak, leaks_from)
    threading.Thread(target=service.run, args=(until,), daemon=True).start()
    pages = []
    for second in range(int(seconds)):
        time.sleep(max(0.0, service.begun + second - time.monotonic()))
        sampler.sample(take)
        pages.append(int(values["process.memory.usage"]) // 4096)
    return {
        "leak_bytes_a_second": leak,
        "leaks_from_second": leaks_from,
        "page_bytes": 4096,
        "first": pages[0],
        "grown": np.diff(pages).tolist(),
    }


def trace(name: str) -> tuple[np.ndarray, dict[str, Any]]:
    """Return the resident bytes of each second, and what is known of it."""
    known = json.loads(gzip.decompress((FOLDER / f"{name}.json.gz").read_bytes()))
    pages = known["first"] + np.concatenate(([0], np.cumsum(known["grown"])))
    return pages * float(known["page_bytes"]), known


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    content = json.dumps(record(*map(float, sys.argv[2:5])), separators=(",", ":")).encode()
    (FOLDER / f"{sys.argv[1]}.json.gz").write_bytes(gzip.compress(content, mtime=0))
