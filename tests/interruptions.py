"""Signals that interrupt a test at any line."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

needs_timer = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no timer that signals")

_DEEPEST = 3


@contextmanager
def interrupted_by(handle: Callable[[], object], *, after_seconds: float = 50e-6) -> Iterator[None]:
    """
    Call *handle* in the middle of whatever runs, again and again, *after_seconds* each.

    It is itself interrupted, three deep at most: on a slow machine it would else come to no end.
    """
    depth, is_over = 0, False

    def arm() -> None:
        if not is_over:
            signal.setitimer(signal.ITIMER_REAL, after_seconds)

    def on_signal(*_: object) -> None:
        nonlocal depth
        depth += 1
        if depth < _DEEPEST:
            arm()
        handle()
        depth -= 1
        arm()

    before = signal.signal(signal.SIGALRM, on_signal)
    arm()
    try:
        yield
    finally:
        is_over = True
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
