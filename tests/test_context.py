"""Which of the open calls is the innermost."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Coroutine, Generator
from contextlib import suppress
from contextvars import Context, ContextVar, copy_context
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule, run_state_machine_as_test

from holter._ring import OUTER, START, Call, Ring
from holter.clock import Clock
from holter.context import CONTEXT, in_context, innermost, open_in_context, shorten
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
        call = in_context()
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


class _Step:
    """Comes to an awaiting coroutine as what is sent to it."""

    def __await__(self) -> Generator[None, bool, bool]:
        return (yield)


class _Error(Exception):
    pass


@dataclass
class _Expected:
    start_ns: int
    outer: _Expected | None
    is_open: bool = True


@dataclass
class _Running:
    coroutine: Coroutine[Any, Any, None]
    call: _Expected


@dataclass
class _Place:
    """A context, and what is expected to be bound in it: so a copy of it has a copy of the binding."""

    context: Context
    call: _Expected | None


def _branch(variable: ContextVar[Any]) -> int:
    """Return where a context keeps *variable*: by its hash, of which five bits tell the branch of the first level."""
    return (hash(variable) ^ hash(variable) >> 32) & 31


_MANY = [ContextVar(f"test_{number}", default=0) for number in range(2_000)]
# One that is kept beside the call, some on its branch, which makes another level, and more than one level holds.
_OTHERS: list[list[ContextVar[int]]] = [
    [],
    [one for one in _MANY if _branch(one) != _branch(CONTEXT)][:1],
    [one for one in _MANY if _branch(one) == _branch(CONTEXT)][:3],
    [one for one in _MANY if _branch(one) != _branch(CONTEXT)][:40],
]


class Contexts(RuleBasedStateMachine):
    """Watched coroutines that begin and end, step by step, in contexts that are copied and changed meanwhile."""

    places = Bundle("places")
    running = Bundle("running")
    held = Bundle("held")

    def __init__(self) -> None:
        super().__init__()
        self.ticks = itertools.count(1)
        self.now_ns = 0
        self.all: list[_Place] = []

        @Monitor("test", samplers=[], clock=Clock(monotonic_ns=self.tick)).watch
        async def watched() -> None:
            if await _Step():
                raise _Error

        self.watched = watched

    def tick(self) -> int:
        self.now_ns = next(self.ticks)
        return self.now_ns

    def place(self, context: Context, call: _Expected | None) -> _Place:
        self.all.append(_Place(context, call))
        return self.all[-1]

    @rule(target=places, variables=st.sampled_from(_OTHERS))
    def make(self, variables: list[ContextVar[int]]) -> _Place:
        place = self.place(Context(), None)
        self.set_others(place, variables, 0)
        return place

    @rule(target=places, place=places, variables=st.sampled_from(_OTHERS), inside=st.booleans())
    def copy(self, place: _Place, variables: list[ContextVar[int]], *, inside: bool) -> _Place:
        copied = self.place(place.context.run(copy_context) if inside else place.context.copy(), place.call)
        self.set_others(copied, variables, 4)
        return copied

    @rule(place=consumes(places))
    def let_go(self, place: _Place) -> None:
        self.all = [one for one in self.all if one is not place]

    @rule(target=running, place=places)
    def begin(self, place: _Place) -> _Running:
        coroutine = self.watched()
        place.context.run(coroutine.send, None)
        place.call = _Expected(self.now_ns, self.innermost(place.call))
        return _Running(coroutine, place.call)

    @rule(one=consumes(running), place=places, fails=st.booleans())
    def end(self, one: _Running, place: _Place, *, fails: bool) -> None:
        with suppress(StopIteration, _Error):
            place.context.run(one.coroutine.send, fails)
        one.call.is_open = False
        if fails and place.call is one.call:
            place.call = one.call.outer

    @rule(place=places, variables=st.sampled_from(_OTHERS), value=st.integers(1, 3))
    def set_others(self, place: _Place, variables: list[ContextVar[int]], value: int) -> None:
        for one in variables:
            place.context.run(one.set, value)

    @rule(target=held, place=places)
    def hold_the_value(self, place: _Place) -> tuple[Any, _Expected | None]:
        return place.context.get(CONTEXT), place.call

    @rule(one=consumes(held), place=places)
    def put_it_back(self, one: tuple[Any, _Expected | None], place: _Place) -> None:
        place.context.run(CONTEXT.set, one[0])
        place.call = one[1]

    @staticmethod
    def innermost(call: _Expected | None) -> _Expected | None:
        while call is not None and not call.is_open:
            call = call.outer
        return call

    @invariant()
    def each_context_has_the_call_that_was_set_in_it(self) -> None:
        for place in self.all:
            call, expected = place.context.run(open_in_context), self.innermost(place.call)
            assert (None if expected is None else expected.start_ns) == (None if call is None else call[START])


def test_a_context_knows_the_call_that_was_set_in_it_and_in_no_other() -> None:
    """Of calls that take turns in a context, whoever has copied or read it before sees what stood there then."""
    run_state_machine_as_test(Contexts, settings=settings(max_examples=300, stateful_step_count=30))
