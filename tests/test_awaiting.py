"""The tasks of a loop: what of them is looked into, in bounded time, without running anything of theirs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator
from types import FrameType
from typing import Any

from holter.awaiting import LONGEST_NS, frames_of_task_with


def named(name: str) -> Any:
    """Return what looks for a frame of a function of this name."""
    return lambda frame: frame.f_code.co_name == name


def names(frames: list[FrameType] | None) -> list[str] | None:
    """Return the functions of some frames, as far as they are of this file."""
    return None if frames is None else [one.f_code.co_name for one in frames if one.f_code.co_filename == __file__]


async def leaf() -> None:
    """Wait."""
    await asyncio.Event().wait()


class Foreign:
    """Awaits by an iterator of its own, whose attributes are code of its own."""

    touched = 0

    def __await__(self) -> Generator[Any, None, None]:
        return self  # type: ignore[return-value]  # as extensions do

    def __next__(self) -> None:
        return None

    def __getattr__(self, name: str) -> object:
        if name.startswith(("cr_", "gi_", "ag_", "_children", "get_coro")):
            type(self).touched += 1
        raise AttributeError(name)


async def foreign() -> None:
    """Wait for it once, without a loop that could go on."""
    await Foreign()


def test_the_task_is_found_among_others_with_all_that_it_awaits() -> None:
    """The outermost frame first."""

    async def outer() -> None:
        await asyncio.gather(leaf(), leaf())

    async def main() -> list[str] | None:
        tasks = [asyncio.create_task(one()) for one in (outer, leaf, leaf)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        found = names(frames_of_task_with(asyncio.get_running_loop(), named("outer")))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return found

    assert ["outer", "leaf"] == asyncio.run(main())


def test_a_loop_without_such_a_task_has_none() -> None:
    """Nor has one with too many to be looked at in the time there is."""

    async def main() -> tuple[Any, int, float]:
        loop = asyncio.get_running_loop()
        none = frames_of_task_with(loop, named("nobody"))
        tasks = [asyncio.create_task(leaf()) for _ in range(3_000)]
        await asyncio.sleep(0)
        looked, begun = 0, time.thread_time_ns()

        def slowly(_: FrameType) -> bool:
            nonlocal looked
            looked += 1
            until = time.monotonic_ns() + LONGEST_NS // 10
            while time.monotonic_ns() < until:
                pass
            return False

        assert frames_of_task_with(loop, slowly) is None
        took = (time.thread_time_ns() - begun) / LONGEST_NS
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return none, looked, took

    none, looked, took = asyncio.run(main())
    assert none is None
    assert looked < 30
    assert took < 10


def test_what_is_not_known_is_not_looked_into() -> None:
    """Awaitables of other makes may have code behind any attribute."""
    coroutine = foreign()
    coroutine.send(None)

    async def main() -> list[str] | None:
        task = asyncio.get_running_loop().create_task(coroutine)
        return names(frames_of_task_with(task.get_loop(), named("foreign")))

    loop = asyncio.new_event_loop()
    try:
        assert ["foreign"] == loop.run_until_complete(main())
        for task in asyncio.all_tasks(loop):
            task.cancel()
            loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
    finally:
        loop.close()
    assert 0 == Foreign.touched
