"""Event loops that run are found, asked for steps, and told how late these came."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from contracts.watched import Time
from holter import loops as module
from holter.loops import LOOPS, MOST_LOOPS, Beats, Lag, Loops, here
from holter.monitor import Monitor

PATIENCE_SECONDS = 20


class Service:
    """A real event loop in a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.go_on()

    def go_on(self) -> None:
        """Run the loop, until it is stopped."""
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.settle()

    def start(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Begin *work* in the loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Return what *work* returns."""
        return self.start(work).result(PATIENCE_SECONDS)

    def block(self) -> tuple[int, Callable[[], None]]:
        """Block the loop from within a task; return the task's id, and what lets it go on."""
        begun, release, ids = threading.Event(), threading.Event(), []

        async def blocking() -> None:
            ids.append(id(asyncio.current_task()))
            begun.set()
            release.wait(PATIENCE_SECONDS)

        self.start(blocking())
        assert begun.wait(PATIENCE_SECONDS)
        return ids[0], release.set

    def settle(self) -> None:
        """Wait until it has done what it was asked before."""
        self.run(asyncio.sleep(0))

    def stop(self) -> None:
        """Let the loop end, and its thread."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(PATIENCE_SECONDS)

    def close(self) -> None:
        """End it for good."""
        if not self.loop.is_closed():
            self.stop()
            self.loop.close()


@pytest.fixture
def service() -> Iterator[Service]:
    one = Service()
    yield one
    one.close()


@pytest.fixture
def time() -> Time:
    return Time()


def known(*found: Any) -> Loops:
    """Return what knows these loops."""
    one = Loops()
    for loop in found:
        one.follow(loop)
    return one


def test_a_loop_that_is_free_comes_to_its_step_at_once(service: Service, time: Time) -> None:
    """By a clock that stands still, without any lag; each is told once, and asked for once at a time."""
    beats = Beats(known(service.loop), time)
    beats.ask()
    beats.ask()
    service.settle()
    assert [Lag(time.now_ns, time.now_ns, id(service.loop), 0)] == beats.take()
    assert [] == beats.take()
    assert [] == beats.waiting()


def test_a_blocked_loop_shows_while_it_is_blocked(service: Service, time: Time) -> None:
    """How long so far, and which task it is that runs; afterwards, how long it was."""
    beats, begun_ns = Beats(known(service.loop), time), time.now_ns
    task, go_on = service.block()
    beats.ask()
    time.spend(0.25)
    beats.look()
    assert [Lag(begun_ns, begun_ns + 250_000_000, id(service.loop), task)] == beats.waiting()
    assert [] == beats.take()
    time.spend(0.25)
    go_on()
    service.settle()
    assert [Lag(begun_ns, begun_ns + 500_000_000, id(service.loop), task)] == beats.take()


def test_a_lag_of_several_tasks_is_that_of_none(time: Time) -> None:
    """So that each of them is told that it was late."""
    beat = module._Beat(time)
    beat.look(7)
    assert 7 == beat.by
    beat.look(7)
    assert 7 == beat.by
    beat.look(8)
    beat.look(7)
    assert 0 == beat.by


def test_a_loop_that_does_not_run_is_not_late(service: Service, time: Time) -> None:
    """It is not asked, and what it was asked before and does later is for nobody."""
    beats = Beats(known(service.loop), time)
    _, go_on = service.block()
    beats.ask()
    service.loop.call_soon_threadsafe(service.loop.stop)
    go_on()
    service._thread.join(PATIENCE_SECONDS)
    beats.take()
    beats.ask()
    assert [] == beats.waiting()
    time.spend(100.0)
    service.go_on()
    assert [] == beats.take()


def test_a_closed_loop_is_forgotten(service: Service, time: Time) -> None:
    """And harms nothing, also one that is closed between a look and the next."""
    found = known(service.loop)
    beats = Beats(found, time)
    beats.ask()
    service.close()
    beats.ask()
    beats.look()
    assert ([], []) == (beats.waiting(), found.open())


@pytest.mark.parametrize("error", [RuntimeError("Event loop is closed"), TypeError("context"), NotImplementedError()])
def test_a_loop_that_refuses_to_be_asked_harms_nothing(time: Time, error: Exception) -> None:
    """It has been closed at the worst moment, or is of another make; it is known no more."""

    class Closing:
        """A loop that does not do what it is asked."""

        def is_running(self) -> bool:
            """Return what was true."""
            return True

        def is_closed(self) -> bool:
            """Return what was true."""
            return False

        def call_soon_threadsafe(self, *_: object, **__: object) -> None:
            """Fail as real loops do."""
            raise error

    closing = Closing()
    found = known(closing)
    beats = Beats(found, time)
    beats.ask()
    assert ([], []) == (beats.waiting(), found.open())


def test_loops_are_held_weakly_and_in_bounded_number() -> None:
    """One that the program has let go of is gone; at most 32 are known."""
    one = asyncio.new_event_loop()
    one.close()
    found = known(one)
    del one
    gc.collect()
    assert [] == found.open()
    many = [asyncio.new_event_loop() for _ in range(MOST_LOOPS + 5)]
    try:
        assert MOST_LOOPS == len(known(*many).open())
    finally:
        for loop in many:
            loop.close()


def test_the_loop_of_a_watched_coroutine_is_found() -> None:
    """When its thread takes a ring to record in, which costs a call nothing."""
    monitor = Monitor("test", samplers=[], recording=False)
    found = []

    @monitor.watch
    async def answer() -> None:
        found.append(any(loop is asyncio.get_running_loop() for loop in LOOPS.open()))

    thread = threading.Thread(target=lambda: asyncio.run(twice(answer)))
    thread.start()
    thread.join()
    assert found[-1]


async def twice(answer: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Call it two times."""
    await answer()
    await answer()


def test_a_loop_that_is_seen_to_run_a_task_is_found(service: Service) -> None:
    """Whoever began it, and whatever its thread recorded before."""
    found = Loops()
    found.find()
    assert service.loop not in found.open()
    _, go_on = service.block()
    found.find()
    go_on()
    assert [service.loop] == found.open()


def test_code_knows_the_loop_and_the_task_that_it_runs_in(service: Service) -> None:
    """Outside of any loop, none."""

    async def told() -> tuple[tuple[int, int], tuple[int, int]]:
        return here(), (id(asyncio.get_running_loop()), id(asyncio.current_task()))

    found, expected = service.run(told())
    assert expected == found
    assert (0, 0) == here()


def test_asyncio_is_not_imported_for_it() -> None:
    """A program without it has no loops, and pays nothing for looking."""
    program = (
        "import sys\n"
        "from holter.loops import LOOPS, Beats, here\n"
        "LOOPS.find(); LOOPS.follow_running(); Beats(LOOPS).ask()\n"
        "assert here() == (0, 0)\n"
        "assert 'asyncio' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
