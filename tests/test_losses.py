"""What slow calls lost their time to, as people read it."""

from __future__ import annotations

from holter.losses import losses, said, with_losses
from holter.names import CAUSE_GC as GC
from holter.names import CAUSE_GIL_WAIT as GIL_WAIT
from holter.names import CAUSE_LOOP_LAG as LOOP_LAG
from holter.names import CAUSE_RUN_QUEUE as RUN_QUEUE
from holter.names import CAUSE_THROTTLING as THROTTLING
from holter.slowcall import Pause, SlowCall

SECOND = 1_000_000_000


def slow(seconds: float, *pauses: Pause, name: str = "predict", ended: int = 10) -> SlowCall:
    """Return a call that ended at the tenth second."""
    return SlowCall(1, name, 7, round((ended - seconds) * SECOND), ended * SECOND, pauses=pauses)


def test_the_share_is_that_of_all_slow_calls_together() -> None:
    """Those that lost nothing count too; what is less than a fifth is not told."""
    calls = [slow(1.0, Pause(GC, 0.8), Pause(RUN_QUEUE, 0.2)), slow(1.0, Pause(THROTTLING, 0.5)), slow(0.0)]
    assert {GC: 0.4, THROTTLING: 0.25} == losses(calls)
    assert [GC, THROTTLING] == list(losses(calls))
    assert {} == losses([])
    assert {} == losses([slow(0.0)])


def test_the_verdict_on_a_stretch_is_about_the_calls_that_ended_in_it() -> None:
    """Of that name, behind the stage if one is known; nothing where nothing is."""
    calls = [slow(1.0, Pause(GC, 0.71)), slow(1.0, Pause(RUN_QUEUE, 1.0), name="other"), slow(9.0, ended=30)]
    told = "its slow calls spent 71 % of their time in garbage collection"
    assert told == with_losses("", calls, "predict", 5 * SECOND, 20 * SECOND)
    stage = "80 % of the added time is in stage 'run'"
    assert f"{stage}; {told}" == with_losses(stage, calls, "predict", 5 * SECOND, 20 * SECOND)
    assert stage == with_losses(stage, calls, "predict", 11 * SECOND, 20 * SECOND)


def test_two_causes_are_said() -> None:
    """In words that follow one another, whatever the causes."""
    assert "50 % of their time waiting for the GIL and 30 % waiting for a CPU" == said(
        {GIL_WAIT: 0.5, RUN_QUEUE: 0.3, GC: 0.2}
    )
    assert "60 % of their time behind other code that blocked the event loop" == said({LOOP_LAG: 0.6})
    assert "60 % of their time throttled by the CPU quota" == said({THROTTLING: 0.6})
