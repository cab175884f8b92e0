"""Metrics read one by one."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.sampled import Sampled
from holter.polling import Metric, Poll


def metric(name: str, read: Any) -> Metric:
    """Return a gauge."""
    return Metric(name, "gauge", "1", read)


def fails(_: object) -> Any:
    """Fail as a system does."""
    raise PermissionError(13, "Permission denied\x1b[2J\n", "/proc/1/io")


def test_each_metric_is_read_for_itself() -> None:
    """Of three, the one in the middle fails; its reason is one printable line."""
    sampled = Sampled()
    poll = Poll([metric("a", lambda n: [({}, n)]), metric("b", fails), metric("c", lambda n: [({"k": "v"}, n + 1)])])
    poll.read(1, sampled)
    assert sampled.values == {"a": 1, "c v": 2}
    assert list(poll.unavailable) == ["b"]
    assert poll.unavailable["b"].startswith("unavailable, because of PermissionError: [Errno 13]")
    assert poll.unavailable["b"].isprintable()


def test_no_values_yet_is_not_unavailable() -> None:
    """A share needs two readings."""
    poll = Poll([metric("a", lambda _: ())])
    poll.read(None, Sampled())
    assert poll.unavailable == {}


def test_values_that_the_system_does_not_give_are_left_out() -> None:
    """Some None: those are missing. All None: the metric is."""
    sampled = Sampled()
    poll = Poll([metric("a", lambda _: [({"k": 1}, None), ({"k": 2}, 5.0)]), metric("b", lambda _: [({}, None)])])
    poll.read(None, sampled)
    assert sampled.values == {"a 2": 5.0}
    assert poll.unavailable == {"b": "unavailable, because this system gives no value for it"}


def test_a_metric_fails_as_a_whole() -> None:
    """Of a read that breaks off no value is recorded."""

    def breaks(_: object) -> Any:
        yield {}, 1.0
        raise OSError

    sampled = Sampled()
    poll = Poll([metric("a", breaks)])
    poll.read(None, sampled)
    assert (sampled.values, poll.unavailable) == ({}, {"a": "unavailable, because of OSError"})


def test_what_is_unavailable_cannot_be_changed_from_outside() -> None:
    """It is a reading, not the state."""
    poll = Poll([metric("a", fails)])
    poll.fail(OSError("gone"))
    reading = poll.unavailable
    with pytest.raises(TypeError):
        reading["a"] = ""
    poll.read(None, Sampled(), (OSError,))
    assert reading == {"a": "unavailable, because of OSError: gone"}


def test_other_errors_pass() -> None:
    """What is no error of reading is an error of the program."""

    def wrong(_: object) -> Any:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Poll([metric("a", wrong)]).read(None, Sampled())
