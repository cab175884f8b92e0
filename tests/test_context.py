"""Which of the open calls is the innermost."""

from __future__ import annotations

import asyncio
from contextvars import copy_context

import pytest

from holter._ring import OUTER, START, Call, Ring
from holter.context import CONTEXT, innermost, shorten
from holter.monitor import Monitor


@pytest.fixture
def ring() -> Ring:
    return Ring(64)


def within(call: Call | None, ring: Ring) -> Call | None:
    """Return the innermost call where *call* is the one in the context."""

    def ask() -> Call | None:
        CONTEXT.set(call)
        return innermost(ring)

    return copy_context().run(ask)


def test_without_a_call_there_is_none(ring: Ring) -> None:
    """Nothing on the thread and nothing in the context."""
    assert within(None, ring) is None


def test_a_call_on_the_thread_or_in_the_context_is_it(ring: Ring) -> None:
    """Where only one is open, it is the innermost."""
    in_context = ring.begin(1, 5)
    assert within(in_context, ring) is in_context
    on_thread = ring.enter(1, 7)
    assert within(None, ring) is on_thread


def test_of_two_the_later_is_the_inner_one(ring: Ring) -> None:
    """Calls nest, so the one that began later is inside; at the same moment it is the one on the thread."""
    on_thread = ring.enter(1, 7)
    before, same, after = (ring.begin(1, start_ns) for start_ns in (6, 7, 8))
    assert within(before, ring) is on_thread
    assert within(same, ring) is on_thread
    assert within(after, ring) is after


def test_a_call_that_has_ended_is_none(ring: Ring) -> None:
    """The context of a task may outlive the call that it was made in."""
    on_thread, in_context = ring.enter(1, 7), ring.begin(1, 8)
    in_context[START] = 0
    assert within(in_context, ring) is on_thread
    on_thread[START] = 0
    assert within(in_context, ring) is None


def test_a_call_that_has_ended_keeps_those_around_it_that_are_open(ring: Ring) -> None:
    """What goes on in its context is part of them, and of no call that has ended too."""
    outer, middle, inner = ring.begin(1, 5), ring.begin(1, 6), ring.begin(1, 7)
    inner[OUTER], middle[OUTER] = middle, outer
    inner[START] = 0
    shorten(inner)
    assert within(inner, ring) is middle
    middle[START] = 0
    shorten(inner)
    assert outer is inner[OUTER]
    outer[START] = 0
    shorten(inner)
    assert inner[OUTER] is None


def test_tasks_that_start_the_next_one_keep_nothing_of_each_other() -> None:
    """A service whose every task is started by the one before holds on to the calls that are open, and no others."""
    found: list[Call] = []

    @Monitor("test", samplers=[]).watch
    async def relay(left: int) -> None:
        if left:
            tasks.append(asyncio.create_task(relay(left - 1)))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            if left % 2:
                raise ValueError
            return
        call = CONTEXT.get()
        while call is not None:
            found.append(call)
            call = call[OUTER]

    async def run() -> None:
        tasks.append(asyncio.create_task(relay(100)))
        for task in tasks:
            await asyncio.wait([task])
            task.exception()

    tasks: list[asyncio.Task[None]] = []
    asyncio.run(run())
    assert 101 == len(tasks)
    assert 1 <= len(found) < 10
