"""The CPU time of a tree, against simulated processes whose every tick is known."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holter.treetime import Member, TreeTime


@dataclass
class Task:
    """A process as the kernel keeps it."""

    pid: int
    parent: Task | None
    start: float
    own: float = 0
    waited: float = 0
    is_dead: bool = False
    children: list[Task] = field(default_factory=list)


class Kernel:
    """Processes that work, fork, end, and are waited for, with the ticks that were really used."""

    def __init__(self) -> None:
        self.now, self.used, self._last_pid = 0.0, 0.0, 100
        self.root = Task(100, None, 0)
        self.tasks = [self.root]

    def fork(self, parent: Task, pid: int | None = None) -> Task:
        self.now += 1
        self._last_pid += 1
        task = Task(pid or self._last_pid, parent, self.now)
        parent.children.append(task)
        self.tasks.append(task)
        return task

    def work(self, task: Task, ticks: float) -> None:
        self.now += ticks
        task.own += ticks
        self.used += ticks

    def end(self, task: Task) -> None:
        """It is a zombie; its children go to init."""
        task.is_dead = True
        for child in task.children:
            child.parent = None
        task.children = []

    def wait(self, task: Task) -> None:
        """Its parent is told of its time."""
        parent = task.parent
        if parent is not None and task.is_dead:
            parent.waited += task.own + task.waited
            parent.children.remove(task)
            self.tasks.remove(task)

    def members(self) -> dict[int, Member]:
        """Return the tree, parents first."""
        members, queue = {}, [self.root]
        for task in queue:
            parent = task.parent.pid if task.parent else 1
            members[task.pid] = Member(task.pid, parent, task.start, (task.own, 0), (task.waited, 0), 1, 1)
            queue += task.children
        return members


@pytest.fixture
def kernel() -> Kernel:
    """One process, which has used 50 ticks before anybody looked, and whose children had used 500."""
    kernel = Kernel()
    kernel.work(kernel.root, 50)
    kernel.root.waited = 500
    return kernel


class Watch:
    """What looks at a kernel now and then."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel, self.time, self.since = kernel, TreeTime(), kernel.now

    def look(self) -> float:
        since, self.since = self.since, self.kernel.now
        return self.time.now(self.kernel.members(), since)[0]


def test_it_begins_with_what_the_processes_have_used_themselves(kernel: Kernel) -> None:
    """What children used that ended before anybody looked is no part of it."""
    child = kernel.fork(kernel.root)
    kernel.work(child, 7)
    assert 57 == Watch(kernel).look()


def test_a_child_counts_once_through_life_and_death(kernel: Kernel) -> None:
    """While it lives, as a zombie, when its parent is told of it, and afterwards."""
    watch, told = Watch(kernel), []
    told.append(watch.look())
    child = kernel.fork(kernel.root)
    for step in (lambda: kernel.work(child, 10), lambda: kernel.work(child, 5), lambda: kernel.end(child)):
        step()
        told.append(watch.look())
    kernel.wait(child)
    told += [watch.look(), watch.look()]
    assert [50, 60, 65, 65, 65, 65] == told


def test_what_a_child_used_after_it_was_seen_last_is_not_lost(kernel: Kernel) -> None:
    """Nor what one used that nobody ever saw."""
    child = kernel.fork(kernel.root)
    watch = Watch(kernel)
    watch.look()
    kernel.work(child, 10)
    unseen = kernel.fork(kernel.root)
    kernel.work(unseen, 30)
    for task in (child, unseen):
        kernel.end(task)
        kernel.wait(task)
    assert 90 == watch.look()


def test_grandchildren_that_end_with_their_parent_count_once(kernel: Kernel) -> None:
    """A pool of workers with children of their own is closed between two looks."""
    watch = Watch(kernel)
    child = kernel.fork(kernel.root)
    grandchild = kernel.fork(child)
    kernel.work(child, 10)
    kernel.work(grandchild, 20)
    assert 80 == watch.look() == watch.look()
    for task in (grandchild, child):
        kernel.end(task)
        kernel.wait(task)
    assert [80, 80, 80] == [watch.look() for _ in range(3)]


def test_a_child_that_is_gone_before_its_parent_is_told_is_not_counted_twice(kernel: Kernel) -> None:
    """The list was read after it ended, its parent before."""
    child = kernel.fork(kernel.root)
    kernel.work(child, 1000)
    watch = Watch(kernel)
    assert 1050 == watch.look()
    members = kernel.members()
    kernel.end(child)
    kernel.wait(child)
    del members[child.pid]
    assert 1050 == watch.time.now(members, watch.since)[0]
    assert 1050 == watch.look()


def test_a_number_that_is_given_anew_is_another_process(kernel: Kernel) -> None:
    """It begins at nothing."""
    child = kernel.fork(kernel.root)
    kernel.work(child, 100)
    watch = Watch(kernel)
    assert 150 == watch.look()
    kernel.end(child)
    kernel.wait(child)
    again = kernel.fork(kernel.root, pid=child.pid)
    kernel.work(again, 3)
    assert 153 == watch.look()


def test_an_old_process_that_joins_brings_nothing(kernel: Kernel) -> None:
    """One that was adopted, as by a subreaper, counts from then on."""
    stranger = Task(7, None, kernel.now, own=10_000, waited=10_000)
    kernel.now += 100
    watch = Watch(kernel)
    watch.look()
    stranger.parent = kernel.root
    kernel.root.children.append(stranger)
    assert 50 == watch.look()
    kernel.work(stranger, 4)
    assert 54 == watch.look()


@given(st.data())
def test_it_is_what_was_used_whatever_happens(data: st.DataObject) -> None:
    """Processes work, fork, end and are waited for at random: in the end no tick is missing or counted twice."""
    kernel = Kernel()
    watch = Watch(kernel)
    last = watch.look()
    for _ in range(data.draw(st.integers(0, 30))):
        task = data.draw(st.sampled_from(kernel.tasks))
        match data.draw(st.sampled_from(["work", "fork", "end", "look"])):
            case "work" if not task.is_dead:
                kernel.work(task, data.draw(st.integers(1, 100)))
            case "fork" if not task.is_dead:
                kernel.fork(task)
            case "end" if task is not kernel.root and not task.children:
                kernel.end(task)
                kernel.wait(task)
            case "look":
                told = watch.look()
                assert last <= told <= kernel.used
                last = told
    assert kernel.used == watch.look() == watch.look()
