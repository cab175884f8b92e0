"""
A process of its own that records, and one more of its group: what the doctor reads from outside.

Both live until their standard input ends.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Final

from holter import default
from holter.chronicle import CHRONICLE

OWN_CALLS: Final = 3
OTHER_CALLS: Final = 4
SERVICE: Final = "holter-doctor"


def main() -> None:
    """Record calls in two processes, print what they did together and where that lies, and hang within a call."""
    monitor = default.start(SERVICE, samplers=[], interval_seconds=60.0)
    call: Callable[[], None] = default.watch(lambda: None, name="doctor")
    done, doing = os.pipe()
    if os.fork() == 0:
        for _ in range(OTHER_CALLS):
            call()
        default.flush()
        os.close(1)
        os.write(doing, b"!")
        sys.stdin.read()
        os._exit(0)
    os.close(doing)
    for _ in range(OWN_CALLS):
        call()
    os.read(done, 1)
    monitor.snapshot()
    whole = monitor.latest_of_all
    found = None if whole is None else whole.find(call)
    told = {"path": CHRONICLE.where(), "together": 0 if found is None else found.total.count}

    def hang() -> None:
        print(json.dumps(told), flush=True)  # noqa: T201 - it is what the doctor waits for
        sys.stdin.read()

    default.watch(hang, name="hang")()
    default.stop()


if __name__ == "__main__":
    main()
