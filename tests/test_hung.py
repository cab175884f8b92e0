"""Which open calls wait for which, and for how long each has been at work."""

from __future__ import annotations

import pytest

from holter.hung import is_inside, waited_seconds
from holter.model import OpenCall, Snapshot


def call(start: int, *, thread: int = 1, task: int = 0, asked: int = 0) -> OpenCall:
    """Return an open call that began at a second."""
    return OpenCall("predict", 1, start * 10**9, 60.0 - start, thread, task, asked * 10**9 if asked > 0 else asked)


@pytest.mark.parametrize(
    ("inner", "outer", "waits"),
    [
        (call(2), call(1), True),
        (call(1), call(2), False),
        (call(2, thread=2), call(1), False),
        (call(2, task=7), call(1, task=7), True),
        (call(2, task=8), call(1, task=7), False),
        # What runs on the thread keeps its loop, and what began within it, all tasks that it runs.
        (call(2), call(1, task=7), True),
        (call(2, task=7), call(1), True),
        # Nobody waits for a stream whose consumer has its turn.
        (call(2, asked=-1), call(1), False),
        (call(2, asked=3), call(1), True),
    ],
)
def test_a_call_waits_for_those_inside_it(inner: OpenCall, outer: OpenCall, *, waits: bool) -> None:
    """In its thread and its task, and for what keeps the thread."""
    assert waits is is_inside(inner, outer)


@pytest.mark.parametrize(("open_call", "seconds"), [(call(20), 40), (call(20, asked=50), 10), (call(20, asked=-1), 0)])
def test_a_stream_has_been_at_work_since_it_was_asked(open_call: OpenCall, seconds: float) -> None:
    """And not at all while its consumer is; other calls since they began."""
    snapshot = Snapshot(0, 10**9, {}, {}, {}, monotonic_ns=60 * 10**9)
    assert seconds == waited_seconds(open_call, snapshot)
