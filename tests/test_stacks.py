"""Where calls stand: threads, tasks, loops that are blocked, streams; and what of them is not looked at."""

from __future__ import annotations

import asyncio
import gc
import queue
import sys
import threading
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

import holter
from holter.loops import Loops
from holter.model import OpenCall
from holter.probe import CallProbe
from holter.probes.streams import Exchange, StreamProbe
from holter.stacks import LONGEST_TEXT, MOST_FRAMES, Stand, stand_of, stand_of_thread
from metricpages import poll

Call = Callable[..., Any]


@pytest.fixture
def monitor() -> holter.Monitor:
    """Watches, and is asked."""
    return holter.Monitor("test", samplers=[], recording=False)


def open_call(monitor: holter.Monitor, name: str = "predict") -> OpenCall:
    """Wait until a call is in flight."""
    return poll(name, lambda: next((one for one in monitor.snapshot().open_calls if one.name == name), None))


def stands(monitor: holter.Monitor, name: str = "predict") -> Stand:
    """Return where the call in flight stands."""
    found = stand_of(open_call(monitor, name))
    assert found is not None
    return found


def functions(stand: Stand) -> list[str]:
    """Return the functions of this file, the innermost first."""
    return [frame.split(" in ")[1] for frame in stand.frames if "test_stacks.py:" in frame]


@contextmanager
def running(work: Call, *arguments: Any) -> Iterator[threading.Thread]:
    """Run something in a thread, which ends by itself at the end."""
    thread = threading.Thread(target=work, args=arguments)
    thread.start()
    yield thread
    thread.join()


@contextmanager
def looping(main: Callable[[asyncio.Event], Awaitable[object]], before: Call = lambda: None) -> Iterator[None]:
    """Run a coroutine in a loop of its own thread, whose event is set at the end; call *before* ahead of the loop."""
    ready, held = threading.Event(), []

    async def run() -> None:
        held[:] = [asyncio.get_running_loop(), asyncio.Event()]
        ready.set()
        await main(held[1])

    def work() -> None:
        before()
        asyncio.run(run())

    with running(work):
        assert ready.wait(20)
        try:
            yield
        finally:
            with suppress(RuntimeError):  # it has ended by itself
                held[0].call_soon_threadsafe(held[1].set)


def test_a_call_in_a_thread_stands_where_its_thread_does(monitor: holter.Monitor) -> None:
    """The innermost first; the place is that of the program's own code."""
    waiting: queue.Queue[int] = queue.Queue()

    def fetch() -> int:
        return waiting.get()

    predict = monitor.watch(fetch, name="predict")

    def serve() -> None:
        predict()

    with running(serve):
        stand = stands(monitor)
        waiting.put(1)
    assert ("thread", ["fetch", "serve"]) == (stand.in_what, functions(stand))
    assert "threading.py" in stand.frames[0]
    line = fetch.__code__.co_firstlineno + 1
    assert f"tests/test_stacks.py:{line} in fetch, which is at {stand.frames[0]}" == stand.place
    assert " < ".join(stand.frames) == stand.text


def test_a_stack_is_bounded(monitor: holter.Monitor) -> None:
    """The innermost frames, in a line of at most 1,000 characters, whatever they are called."""
    waiting, name = threading.Event(), "f" * 300
    code = f"def {name}(depth):\n    if depth:\n        return {name}(depth - 1)\n    waiting.wait()\n"
    scope: dict[str, Any] = {"waiting": waiting}
    exec(compile(code, "/a/b/c\n.py", "exec"), scope)  # noqa: S102  a function of that name
    predict = monitor.watch(scope[name], name="predict")
    with running(predict, 500):
        stand = stands(monitor)
        waiting.set()
    assert MOST_FRAMES == len(stand.frames)
    assert LONGEST_TEXT >= len(stand.text)
    assert stand.text.isprintable()
    assert stand.frames[2].startswith("b/c\\n.py:4 in fff")


def test_nothing_but_places_is_looked_at_and_nothing_kept(monitor: holter.Monitor) -> None:
    """What a call works on is neither in what is told, nor alive for longer."""

    class Input:
        def __repr__(self) -> str:
            raise AssertionError

    async def wait(given: Input, event: asyncio.Event) -> None:
        held = [given]
        await event.wait()
        del held

    predict = monitor.watch(wait, name="predict")
    references: list[weakref.ref[Input]] = []

    async def main(event: asyncio.Event) -> None:
        given = Input()
        references.append(weakref.ref(given))
        task = asyncio.create_task(predict(given, event))
        del given
        await task

    with looping(main):
        stand = stands(monitor)
    gc.collect()
    assert ["wait"] == functions(stand)
    assert [None] == [reference() for reference in references]


async def inner(event: asyncio.Event) -> None:
    """Wait."""
    await event.wait()


class Entered:
    """Waits at the beginning of a block."""

    def __init__(self, event: asyncio.Event) -> None:
        self.event = event

    async def __aenter__(self) -> None:
        await inner(self.event)

    async def __aexit__(self, *_: object) -> None:
        pass


async def in_timeout(event: asyncio.Event) -> None:
    """Wait with a deadline."""
    async with asyncio.timeout(60):
        await inner(event)


async def in_block(event: asyncio.Event) -> None:
    """Wait in the beginning of a block."""
    async with Entered(event):
        pass


async def in_gathering(event: asyncio.Event) -> None:
    """Wait for several."""
    await asyncio.gather(asyncio.sleep(0), inner(event))


async def in_task(event: asyncio.Event) -> None:
    """Wait for another task."""
    await asyncio.create_task(inner(event))


async def in_wait_for(event: asyncio.Event) -> None:
    """Wait with a deadline, as one did before."""
    await asyncio.wait_for(inner(event), 60)


@pytest.mark.parametrize("outer", [inner, in_timeout, in_block, in_gathering, in_task, in_wait_for])
def test_a_call_in_a_task_stands_where_it_awaits(monitor: holter.Monitor, outer: Call) -> None:
    """Down to the innermost, through tasks that it waits for."""
    predict = monitor.watch(outer, name="predict")
    is_told = outer is not in_wait_for or sys.version_info >= (3, 12)
    """Before, it waited for a future that a task sets, and that knows nothing of the task."""

    async def main(event: asyncio.Event) -> None:
        others = [asyncio.create_task(event.wait()) for _ in range(50)]
        await predict(event)
        await asyncio.gather(*others)

    def look() -> Stand | None:
        stand = stands(monitor)
        return stand if ("inner" if is_told else "wait_for") in stand.text else None

    with looping(main):
        # What is at the bottom is there once the loop has come to it.
        stand = poll("the innermost", look)
    assert "task" == stand.in_what
    through = ["__aenter__"] if outer is in_block else []
    expected = ["inner"] * is_told + through + [outer.__name__] * (outer is not inner) + ["main", "run"]
    assert expected == functions(stand)


def test_a_loop_is_found_that_began_after_its_thread_has_recorded(monitor: holter.Monitor) -> None:
    """By its tasks, though all of them wait."""
    predict = monitor.watch(inner, name="predict")
    with looping(predict, before=monitor.watch(lambda: None, name="before")):
        stand = stands(monitor)
    assert ("task", "inner") == (stand.in_what, functions(stand)[0])


def test_each_of_many_tasks_is_told_by_itself(monitor: holter.Monitor) -> None:
    """Those that run the same code too."""

    async def one(event: asyncio.Event) -> None:
        await event.wait()

    async def two(event: asyncio.Event) -> None:
        await event.wait()

    first, second = monitor.watch(one, name="first"), monitor.watch(two, name="second")

    async def main(event: asyncio.Event) -> None:
        await asyncio.gather(*[first(event) for _ in range(20)], *[second(event) for _ in range(20)])

    with looping(main):
        poll("all", lambda: len(monitor.snapshot().open_calls) == 40)
        told = [(call.name, stand_of(call)) for call in monitor.snapshot().open_calls]
    names = {"first": ["one"], "second": ["two"]}
    assert 40 == len(told)
    assert all(stand is not None and functions(stand) == names[name] for name, stand in told)


def test_a_stream_in_a_task_stands_where_its_producer_awaits(monitor: holter.Monitor) -> None:
    """Through the item that its consumer asks for."""

    async def produce(event: asyncio.Event) -> AsyncIterator[int]:
        yield 1
        await event.wait()

    stream = monitor.watch(produce, name="stream")

    async def main(event: asyncio.Event) -> None:
        async for _ in stream(event):
            pass

    with looping(main):
        poll("an item", lambda: open_call(monitor, "stream").asked_ns > 0)
        stand = poll("the wait", lambda: one if "produce" in (one := stands(monitor, "stream")).text else None)
    assert ("task", ["produce", "main", "run"]) == (stand.in_what, functions(stand))


def test_a_stream_on_threads_stands_where_its_item_is_made(monitor: holter.Monitor) -> None:
    """Whichever thread asks for it."""
    waiting, items = threading.Event(), []

    def produce() -> Iterator[int]:
        yield 1
        waiting.wait()
        yield 2

    stream = monitor.watch(produce, name="stream")()
    items.append(next(stream))
    with running(lambda: items.append(next(stream))):
        poll("the producer", lambda: open_call(monitor, "stream").asked_ns > 0)
        stand = poll("the wait", lambda: one if "produce" in (one := stands(monitor, "stream")).text else None)
        waiting.set()
    assert ("thread", ["produce", "<lambda>"]) == (stand.in_what, functions(stand))
    stream.close()
    assert [1, 2] == items


def test_a_loop_that_is_blocked_stands_where_its_thread_does(monitor: holter.Monitor) -> None:
    """For what runs in it and for what waits for it, and another loop answers meanwhile."""
    waiting = threading.Event()

    async def block() -> None:
        waiting.wait()

    async def wait(event: asyncio.Event) -> None:
        await event.wait()

    blocked, hanging, other = (
        monitor.watch(one, name=one.__name__ + str(at)) for at, one in enumerate((block, wait, wait))
    )

    async def main(event: asyncio.Event) -> None:
        task = asyncio.create_task(hanging(event))
        await asyncio.sleep(0)
        await blocked()
        await task

    with looping(main), looping(other):
        open_call(monitor, "block0")
        told = {name: stands(monitor, name) for name in ("block0", "wait1", "wait2")}
        waiting.set()
    assert ["event loop", "event loop", "task"] == [stand.in_what for stand in told.values()]
    assert ["block", "main", "run"] == functions(told["block0"])[:3] == functions(told["wait1"])[:3]
    assert ["wait"] == functions(told["wait2"])[:1]


class Nobody:
    """Is told of answers, and does nothing with them."""

    wants_last = False

    def streamed(self, *_: object) -> None:
        pass

    answered = failed = streamed


def test_an_answer_that_is_awaited_stands_where_its_task_does(monitor: holter.Monitor) -> None:
    """Until it comes, it is a call as any other, whether it will be a stream or not."""
    probe = StreamProbe(CallProbe(monitor._scope, "ask"))

    async def main(event: asyncio.Event) -> None:
        await Exchange(probe, Nobody()).wait(inner(event))

    with looping(main):
        assert 0 == open_call(monitor, "ask").asked_ns
        stand = poll("the wait", lambda: one if "inner" in (one := stands(monitor, "ask")).text else None)
    assert ("task", ["inner", "main", "run"]) == (stand.in_what, functions(stand))


def test_a_call_on_the_thread_of_a_loop_blocks_it(monitor: holter.Monitor) -> None:
    """Though it is no coroutine itself."""
    waiting = threading.Event()
    predict = monitor.watch(waiting.wait, name="predict")

    async def main(_: asyncio.Event) -> None:
        predict()

    with looping(main):
        stand = stands(monitor)
        waiting.set()
    assert ("event loop", ["main", "run"]) == (stand.in_what, functions(stand)[:2])


def test_a_loop_is_asked_in_its_own_thread_at_once(monitor: holter.Monitor) -> None:
    """Who looks from there does not wait for itself."""
    found = []

    async def wait(event: asyncio.Event) -> None:
        await event.wait()

    predict = monitor.watch(wait, name="predict")

    async def main(event: asyncio.Event) -> None:
        task = asyncio.create_task(predict(event))
        await asyncio.sleep(0)
        (call,) = monitor.snapshot().open_calls
        found.append(stand_of(call, patience_seconds=0))
        event.set()
        await task

    with looping(main):
        pass
    (stand,) = found
    assert stand is not None
    assert ("task", ["wait"]) == (stand.in_what, functions(stand))


def test_what_has_ended_stands_nowhere(monitor: holter.Monitor) -> None:
    """A task that ends while it is looked for, a thread that has gone."""
    loops = Loops()
    gone = threading.Thread(target=lambda: None)
    gone.start()
    gone.join()
    native = gone.native_id or 0
    assert None is stand_of(OpenCall("predict", 0, 5, 1.0, native), loops)
    assert None is stand_of(OpenCall("predict", 0, 5, 1.0, native, 7), loops)

    async def main(event: asyncio.Event) -> None:
        await event.wait()

    ready = monitor.watch(main, name="predict")
    with looping(ready):
        call = open_call(monitor)
        assert None is stand_of(OpenCall("predict", 0, call.start_ns + 1, 1.0, call.thread, 7))


def test_a_thread_that_is_not_known_is_the_main_one() -> None:
    """It is where a program is that does not do what it should."""
    stand = stand_of_thread(0)
    assert stand is not None
    assert "test_a_thread_that_is_not_known_is_the_main_one" in functions(stand)


def test_tasks_that_come_and_go_are_looked_at_without_harm(monitor: holter.Monitor) -> None:
    """While a loop makes and ends tasks as fast as it can, one that hangs is found each time."""

    async def wait(event: asyncio.Event) -> None:
        await event.wait()

    async def brief() -> None:
        await asyncio.sleep(0)

    predict = monitor.watch(wait, name="predict")

    async def main(event: asyncio.Event) -> None:
        task = asyncio.create_task(predict(event))
        while not event.is_set():
            await asyncio.gather(*[brief() for _ in range(10)])
        await task

    with looping(main):
        told = [stands(monitor) for _ in range(30)]
    assert {("task", "wait")} == {(stand.in_what, functions(stand)[0]) for stand in told}
