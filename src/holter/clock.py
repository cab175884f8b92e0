"""The clocks that holter reads, behind one object so that tests can bring their own."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Event
from typing import NamedTuple


class Clock(NamedTuple):
    """
    The readings of time that a monitor needs, all in nanoseconds but the wait.

    ``monotonic_ns`` stamps records and measures durations; ``wall_ns`` (Unix time) only
    labels what leaves the process, so that a step of the wall clock changes no duration.
    ``process_cpu_ns`` and ``thread_cpu_ns`` measure what holter itself costs. ``wait`` sleeps
    until the event is set or the seconds have passed, and says whether it was set.
    """

    monotonic_ns: Callable[[], int] = time.monotonic_ns
    wall_ns: Callable[[], int] = time.time_ns
    process_cpu_ns: Callable[[], int] = time.process_time_ns
    thread_cpu_ns: Callable[[], int] = time.thread_time_ns
    wait: Callable[[Event, float], bool] = Event.wait


SYSTEM = Clock()
