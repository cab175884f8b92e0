"""Which threads are holter's own, and that what is outside of it is not recorded there."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from holter.ownthreads import as_own, is_own
from programs import succeed
from recording import Recording


def in_thread(work: Callable[[], None]) -> None:
    """Do *work* in a thread of its own; raise what it raises."""
    errors: list[BaseException] = []

    def done() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised below
            errors.append(error)

    thread = threading.Thread(target=done)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]


def test_a_thread_is_own_while_it_does_own_work() -> None:
    """Neither before nor after, and its neighbours are not."""
    seen = []
    in_thread(lambda: (as_own(lambda: seen.append(is_own()))(), seen.append(is_own())))  # type: ignore[arg-type]
    assert [True, False] == seen
    assert not is_own()


def test_work_that_raises_ends_all_the_same() -> None:
    """The thread is the program's again."""

    def work() -> None:
        raise RuntimeError("trouble")

    with pytest.raises(RuntimeError, match="trouble"):
        as_own(work)()
    assert not is_own()


def plain(x: int) -> int:
    return x + 1


async def later(x: int) -> int:
    return x + 1


def items(x: int) -> Iterator[int]:
    yield x + 1


async def items_later(x: int) -> AsyncIterator[int]:
    yield x + 1


async def _first(stream: Any) -> int:
    async for item in stream:
        return item
    raise AssertionError


CALLED = {
    plain: lambda watched: watched(1),
    later: lambda watched: asyncio.run(watched(1)),
    items: lambda watched: next(watched(1)),
    items_later: lambda watched: asyncio.run(_first(watched(1))),
}


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("function", CALLED, ids=lambda function: function.__name__)
def test_what_is_outside_is_recorded_for_others_only(function: Any, *, native: bool) -> None:
    """In a thread of holter's own the bare function runs, of whatever kind it is."""
    recording = Recording()
    watched = recording.watch(function, name="f", outside=True, native=native)
    for run in (in_thread, lambda work: in_thread(as_own(work)), in_thread):
        run(lambda: CALLED[function](watched))
    found = recording.snapshot().find("holter.call.duration", {"holter.call.name": "f"})
    assert found is not None
    assert 2 == found.total.count


@pytest.mark.parametrize("function", CALLED, ids=lambda function: function.__name__)
def test_what_is_outside_is_of_the_same_kind(function: Any) -> None:
    """For `inspect`, and with the same signature, whatever stands between."""
    watched = Recording().watch(function, name="f", outside=True)
    kinds = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)
    assert [kind(function) for kind in kinds] == [kind(watched) for kind in kinds]
    assert inspect.signature(function) == inspect.signature(watched)
    assert function is inspect.unwrap(watched)


def test_what_is_inside_is_recorded_in_every_thread() -> None:
    """What the user watches is watched where holter calls it too: a sampler of theirs, a check."""
    recording = Recording()
    watched = recording.watch(plain, name="f")
    in_thread(as_own(lambda: watched(1)))
    found = recording.snapshot().find("holter.call.duration", {"holter.call.name": "f"})
    assert found is not None
    assert 1 == found.total.count


def test_a_forked_child_has_no_own_threads_yet() -> None:
    """Their numbers may be given to others there."""
    program = """
        import json, os, threading
        import holter
        from holter import ownthreads
        running, done = threading.Event(), threading.Event()
        def work():
            running.set()
            done.wait()
        thread = threading.Thread(target=ownthreads.as_own(work))
        thread.start()
        running.wait()
        before = len(ownthreads._IDENTS)
        pid = os.fork()
        if not pid:
            os._exit(len(ownthreads._IDENTS))
        done.set()
        thread.join()
        print(json.dumps([before, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), len(ownthreads._IDENTS)]))
    """
    assert [1, 0, 0] == succeed(program)
