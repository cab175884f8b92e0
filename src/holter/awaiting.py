"""
What the tasks of an event loop await: the frames of each, from its coroutine down to the innermost.

Only to be asked in the thread of the loop, where all tasks but the running one are suspended. Nothing of the program's
runs for it: of objects that are no coroutines or generators of Python's own only those are looked into that are known.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Container, Iterator
from contextlib import suppress
from itertools import islice
from types import AsyncGeneratorType, CoroutineType, FrameType, GeneratorType
from typing import Any, Final

MOST_TASKS: Final = 10_000
LONGEST_NS: Final = 20_000_000
"""So long tasks are looked at, at most; some 2 µs each."""
_DEEPEST: Final = 1_000
# What stands between an `await` and what it waits for. None of them can be asked for that, but all show it to the
# garbage collector.
_TO_CODE: Final = {"anext_awaitable", "async_generator_asend", "async_generator_athrow", "coroutine_wrapper"}
_TO_FUTURE: Final = {"FutureIter"}


def frames_of_task_with(loop: Any, is_wanted: Callable[[FrameType], bool]) -> list[FrameType] | None:
    """
    Return the frames of the task of *loop* that has one that *is_wanted*, the outermost first.

    Those of other tasks that it waits for are the inner ones. None where there is no such task among the first
    10,000, or those that can be looked at in 20 ms.
    """
    tasks = sys.modules.get("asyncio.tasks")
    if tasks is None:
        return None
    until_ns = time.monotonic_ns() + LONGEST_NS
    known: set[Any] = set()
    with suppress(RuntimeError):  # threads make tasks of this loop without end
        known = tasks.all_tasks(loop)
    for task in islice(known, MOST_TASKS):
        if any(map(is_wanted, _frames(tasks.Task.get_coro(task), tasks, _TO_CODE))):
            return list(_frames(task, tasks, _TO_CODE | _TO_FUTURE))
        if time.monotonic_ns() > until_ns:
            break
    return None


def _frames(at: Any, tasks: Any, links: Container[str]) -> Iterator[FrameType]:
    """Yield the frames of *at* and of what it awaits, as far as *links* lead on."""
    for _ in range(_DEEPEST):
        frame, at = _step(at, tasks, links)
        if frame is not None:
            yield frame
        if at is None:
            return


def _step(at: Any, tasks: Any, links: Container[str]) -> tuple[FrameType | None, Any]:
    """Return the frame of *at*, if it has one, and what it awaits, None for nothing that can be looked into."""
    kind = type(at)
    if kind is CoroutineType:
        return at.cr_frame, at.cr_await
    if kind is GeneratorType:
        return at.gi_frame, at.gi_yieldfrom
    if kind is AsyncGeneratorType:
        return at.ag_frame, at.ag_await
    if isinstance(at, tasks.Task):
        return None, tasks.Task.get_coro(at)
    if kind is tasks._GatheringFuture:  # noqa: SLF001 - asked for nothing else, it says it nowhere else
        return None, next((one for one in at._children if not one.done()), None)  # noqa: SLF001 - as above
    if kind.__name__ in links and kind.__module__ in {"builtins", "_asyncio"}:
        return None, next((one for one in gc.get_referents(at) if _leads_on(one, tasks)), None)
    return None, None


def _leads_on(one: object, tasks: Any) -> bool:
    kinds = (CoroutineType, GeneratorType, AsyncGeneratorType, tasks.Task, tasks._GatheringFuture)  # noqa: SLF001 - as above
    return isinstance(one, kinds) or type(one).__name__ in _TO_CODE
