"""The checks of a monitor: asked in threads of their own, each alert let through once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from contracts.snapshots import Story, alert
from holter.judging import MOST_ALERTS_KEPT, PATIENCE_SECONDS, Judges
from holter.model import Alert, Snapshot
from recording import Recording

SOON = 20.0


class Check:
    """Says what it is told to."""

    def __init__(self, judge: Callable[[Snapshot], Any]) -> None:
        self._judge = judge

    def judge(self, snapshot: Snapshot) -> Any:
        """Say it."""
        return self._judge(snapshot)


class Bench:
    """Judges in their threads."""

    def __init__(self, *judgements: Callable[[Snapshot], Any]) -> None:
        self.recording, self.story = Recording(), Story()
        self.judges = Judges(self.recording.scope, [Check(judgement) for judgement in judgements])
        self.threads = [threading.Thread(target=delivery.run, daemon=True) for delivery in self.judges.deliveries]
        for thread in self.threads:
            thread.start()

    def ask(self, *, patiently: bool = True) -> list[str]:
        """Ask about the next interval, with one call in it; return the ids of the alerts that are new."""
        self.story.call("predict", [0.1])
        deadline = time.monotonic() + SOON
        return [one.id for one in self.judges.ask(self.story.snapshot(1.0), deadline, patiently=patiently)]

    def close(self) -> None:
        """End the threads."""
        for delivery in self.judges.deliveries:
            delivery.close(time.monotonic() + SOON)
        for thread in self.threads:
            thread.join(SOON)
        assert not any(thread.is_alive() for thread in self.threads)


@pytest.fixture
def benches() -> Iterator[Callable[..., Bench]]:
    """Makes judges, whose threads end with the test."""
    made: list[Bench] = []

    def make(*judgements: Callable[[Snapshot], Any]) -> Bench:
        made.append(Bench(*judgements))
        return made[-1]

    yield make
    for bench in made:
        bench.close()


def test_alerts_come_in_the_order_of_the_checks(benches: Callable[..., Bench]) -> None:
    """Whichever of them is done first."""
    slow, fast = (lambda _: time.sleep(0.05) or [alert(id="slow")]), (lambda _: [alert(id="fast")])
    assert ["slow", "fast"] == benches(slow, fast).ask()


def test_an_alert_fires_once_and_resolves_once(benches: Callable[..., Bench]) -> None:
    """Whatever is repeated, also within one answer; what never fired does not resolve."""
    says = [["firing", "firing"], ["firing"], ["resolved"], ["resolved"], ["firing"]]
    bench = benches(lambda _: [alert(id="a", state=state) for state in says.pop(0)])
    assert [["a"], [], ["a"], [], ["a"]] == [bench.ask() for _ in range(5)]
    assert [] == benches(lambda _: [alert(state="resolved")]).ask()


def test_a_check_that_hangs_hangs_alone(benches: Callable[..., Bench]) -> None:
    """It is waited for once and not again; the others answer; what it missed is one interval when it is back."""
    hanging, free, seen = threading.Event(), threading.Event(), []

    def hang(snapshot: Snapshot) -> list[Alert]:
        seen.append(sum(reading.count for reading in snapshot.interval.values()))
        hanging.set()
        free.wait()
        return [alert(id="late")]

    numbers = iter("abcdef")
    bench = benches(hang, lambda _: [alert(id=next(numbers))])
    begun = time.monotonic()
    assert ["a"] == bench.ask(patiently=False)
    assert hanging.is_set()
    assert PATIENCE_SECONDS <= time.monotonic() - begun < SOON
    begun = time.monotonic()
    assert [["b"], ["c"], ["d"]] == [bench.ask() for _ in range(3)]
    assert time.monotonic() - begun < SOON
    free.set()
    assert bench.judges.deliveries[0].wait_until_idle(time.monotonic() + SOON)
    assert ["late", "e"] == bench.ask()
    assert [1, 3, 1] == seen


def test_a_strict_scope_asks_in_the_thread_of_the_caller(benches: Callable[..., Bench]) -> None:
    """So that what a check raises is raised there."""
    threads: list[int] = []
    bench = benches(lambda _: threads.append(threading.get_ident()) or [], lambda _: 1 / 0)
    bench.recording.scope.guard.strict = True
    with pytest.raises(ZeroDivisionError):
        bench.ask()
    assert [threading.get_ident()] == threads


def test_what_is_kept_is_bounded(benches: Callable[..., Bench]) -> None:
    """A thousand alerts, of which those that have resolved go first."""
    numbers = iter(range(10**6))

    def invent(_: Snapshot) -> list[Alert]:
        return [alert(id=str(next(numbers)), state="firing") for _ in range(600)]

    bench = benches(lambda _: [alert(id="a"), alert(id="b"), alert(id="b", state="resolved")], invent)
    for _ in range(3):
        bench.ask()
    assert MOST_ALERTS_KEPT == len(bench.judges.alerts)
    assert "b" not in bench.judges.alerts
