"""A service in processes of its own, whose trouble is a file: there while it lasts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

PROGRAM = """
    import json, logging, os, pathlib, sys, threading
    import holter

    folder, options = pathlib.Path(sys.argv[1]), json.loads(sys.argv[2])

    class Trouble:
        def __init__(self):
            self.since_ns = None

        def __repr__(self):
            return "Trouble()"

        def judge(self, snapshot):
            lasts = (folder / "trouble").exists()
            if lasts == (self.since_ns is not None):
                return []
            since_ns = self.since_ns or snapshot.time_ns
            self.since_ns = since_ns if lasts else None
            return [holter.Alert(
                id=f"trouble-{since_ns}", check="Trouble", state="firing" if lasts else "resolved",
                severity="critical", since_ns=since_ns, target="predict", expected="none", seen="some",
                message="predict is in trouble",
            )]

        def save(self):
            return {"since_ns": self.since_ns}

        def load(self, state, gap_seconds):
            self.since_ns = state["since_ns"]

    @holter.watch
    def predict():
        return 1

    told = []

    def tell(alert):
        told.append([alert.incident, alert.state])

    def start(**more):
        exporters = [holter.Webhook(options["webhook"], timeout=options.get("timeout", 10.0))]
        return holter.start(
            "sentiment", version="v7", checks=[Trouble()], exporters=exporters, samplers=[], on_alert=tell,
            interval_seconds=0.05, **more,
        )

    monitor = start()

    def alerts():
        return [[alert.incident, alert.state, str(alert.silence or "")] for alert in monitor.alerts()]

    while line := sys.stdin.readline():
        command, _, rest = line.strip().partition(" ")
        answer = None
        predict()
        if command == "flush":
            answer = monitor.flush(float(rest or 5.0))
        elif command == "alerts":
            answer = alerts()
        elif command == "told":
            answer = told
        elif command == "reload":
            monitor = start(attributes={"generation": rest})
        elif command == "silence":
            minutes, name = rest.split()
            answer = str(holter.silence(name, minutes=float(minutes), reason="deploy"))
        elif command == "fork":
            child = os.fork()
            answer = child
            if not child:
                # The child goes on in its place; the parent ends, as a program does.
                answer = os.getpid()
                told.clear()
            else:
                sys.stdout.flush()
                break
        elif command == "end":
            break
        print(json.dumps(answer), flush=True)
"""


class Service:
    """One process; ``ask`` has it do something and returns its answer."""

    def __init__(self, folder: Path, **options: Any) -> None:
        import textwrap  # noqa: PLC0415 - here only

        self.folder = folder
        folder.chmod(0o700)
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", textwrap.dedent(PROGRAM), str(folder), json.dumps(options)],
            env={**os.environ, "HOLTER_DIR": str(folder)},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def ask(self, *words: object) -> Any:
        """Send a command and return the answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(*words, file=self._process.stdin, flush=True)
        return json.loads(self._process.stdout.readline())

    def trouble(self, *, lasts: bool) -> None:
        """Have trouble begin or end."""
        path = self.folder / "trouble"
        path.touch() if lasts else path.unlink(missing_ok=True)

    def kill(self) -> None:
        """End it as the kernel does."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def end(self) -> None:
        """End it as it wants to."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert 0 == self._process.wait(timeout=30)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self.kill()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
