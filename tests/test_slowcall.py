"""The nouns of slow calls: what can be told from what they hold."""

from __future__ import annotations

import pytest

from holter.slowcall import Pause, SlowCall, Stage


@pytest.mark.parametrize(
    ("attributes", "told"),
    [
        ({}, ("ok", "", False)),
        ({"holter.call.outcome": "error", "error.type": "ValueError"}, ("error", "ValueError", True)),
        ({"holter.call.outcome": "timeout", "error.type": "TimeoutError"}, ("timeout", "TimeoutError", True)),
        ({"holter.call.outcome": "cancelled"}, ("cancelled", "", False)),
    ],
)
def test_a_call_tells_how_it_ended_by_its_series(attributes: dict[str, str], told: tuple[str, str, bool]) -> None:
    """Outcome and class of the error are attributes of the series that counts it; errors and timeouts are failures."""
    call = SlowCall(1, "predict", 7, start_ns=10, end_ns=1_000_000_010, attributes=attributes)
    assert told == (call.outcome, call.error_type, call.is_failed)
    assert 1.0 == call.seconds


def test_stages_fail_as_calls_do() -> None:
    """An error or a timeout is a failure, nothing else."""
    ended = {outcome: Stage("load", 0, 1, outcome).is_failed for outcome in ("ok", "error", "timeout", "cancelled")}
    assert {"ok": False, "error": True, "timeout": True, "cancelled": False} == ended


def test_a_pause_says_what_was_lost_to_what() -> None:
    """In words; of a cause that a later holter knows, its name."""
    assert "1.2 s waiting for a CPU" == str(Pause("run_queue", 1.2))
    assert "300 ms sunspots" == str(Pause("sunspots", 0.3))
