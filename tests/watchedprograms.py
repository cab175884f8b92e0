"""Programs to be watched from outside: they live until they are ended, and do what they are told on their input."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Self

_PROGRAM = """
    import ctypes, sys, threading, time
    import holter

    @holter.watch
    def predict(batch):
        if batch is None:
            raise ValueError("no batch")
        return batch

    @holter.watch
    def wait(event):
        event.wait()

    never = threading.Event()
    name = sys.argv[1]
    holter.start(name, version="v7", interval_seconds=0.2, samplers=[holter.ProcessSampler(interval_seconds=0.2)])
    print("ready", flush=True)
    for line in sys.stdin:
        word, _, number = line.strip().partition(" ")
        if word == "work":
            for _ in range(int(number)):
                predict(1)
        elif word == "fail":
            for _ in range(int(number)):
                try:
                    predict(None)
                except ValueError:
                    pass
        elif word == "hang":
            threading.Thread(target=wait, args=(never,), daemon=True).start()
        elif word == "named":
            holter.watch(lambda: None, name=number.encode().decode("unicode_escape"))()
        elif word == "hold":
            print("holding", flush=True)
            ctypes.PyDLL(None).sleep(1000)
        print("done", flush=True)
"""


class Program:
    """A program that records under a *service*'s name into a *folder*; ended at the end of the `with`."""

    def __init__(self, folder: Path, service: str = "sentiment") -> None:
        command = [sys.executable, "-c", textwrap.dedent(_PROGRAM), service]
        environment = {**os.environ, "HOLTER_DIR": str(folder)}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(command, env=environment, text=True, **pipes)
        assert "ready\n" == self.process.stdout.readline()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    @property
    def pid(self) -> int:
        """The number of its process."""
        return self.process.pid

    def do(self, what: str) -> None:
        """Let it do that, and wait until it has; "hold" never ends."""
        self.process.stdin.write(f"{what}\n")
        self.process.stdin.flush()
        self.process.stdout.readline()
