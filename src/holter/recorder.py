"""
The recorder of a process: which ring a thread writes to, and what is taken out of them.

Nothing that a user's thread runs here takes a lock: each step that others see is one operation
on a dict, a list or a deque, so that a signal handler or a destructor may interrupt any line
and record. Only those who drain exclude each other.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from _thread import _local, get_ident, get_native_id
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from holter._ring import Call
from holter.forkword import IS_OURS
from holter.record import (
    EPOCH_WORD,
    LARGE_CAPACITY,
    PID_WORD,
    SMALL_CAPACITY,
    STATE_WORD,
    THREAD_WORD,
    Ownership,
    ring_bytes,
)
from holter.ring import DISABLED, NATIVE, Ring, RingReader
from holter.series import SeriesTable

if TYPE_CHECKING:
    from holter.recording import Recording

__all__ = ["DISABLED", "RECORDER", "Recorder", "current_ident"]


def _unpatched(name: str, native: Any) -> Any:
    """Return *native* of ``_thread``, also where gevent has put its own in place."""
    monkey = sys.modules.get("gevent.monkey")
    return native if monkey is None else monkey.get_original("_thread", name)


# Of rings that lie in no file; a thread beyond that gets one for its totals, with room for a single record.
MOST_ANONYMOUS_BYTES: Final = 64 * 2**20

current_ident: Callable[[], int] = _unpatched("get_ident", get_ident)
_thread_local: Any = _unpatched("_local", _local)


class _Lease:
    """The rings that a thread has; its end is the thread's, whatever ended it."""

    _pid = 0  # An interrupt may come before it has its own.

    def __init__(self, recorder: Recorder, ident: int) -> None:
        self.rings: list[Ring] = []
        self.current: list[Call | None] = [None]
        self._recorder, self._ident, self._pid = recorder, ident, os.getpid()

    def __del__(self, getpid: Callable[[], int] = os.getpid) -> None:
        # A fork clears the other threads' data in the child, where their rings are nobody's business.
        if getpid() == self._pid:
            self._recorder.returned(self._ident, self.rings)


class Recorder:
    """
    The rings of a process and the series that they hold.

    A thread takes a ring at its first record and returns it when it ends; the next new thread
    continues that ring, so that there are as many rings as threads have recorded at the same
    time, and one ahead. A forked child begins with none: what its parent has recorded stays the parent's.
    """

    def __init__(self) -> None:
        self.table = SeriesTable()
        self.rings: dict[int, Ring] = {}
        self.after_fork: list[Callable[[], None]] = []
        self.first_record: list[Callable[[], None]] = []
        """Called once each, by the thread that takes the next ring."""
        self.attached: list[Callable[[], None]] = []
        """Called by each thread that takes a ring; what is here must not raise."""
        self.lookup = self._ring_of_thread
        """Returns the ring of the calling thread; one object for good, by which the C code knows a recorder."""
        # Where holter is switched off, one ring for all threads: nobody reads what they write.
        self._unread = Ring(SMALL_CAPACITY) if DISABLED else None
        self._begin()
        self._make_ahead(SMALL_CAPACITY)

    def _begin(self) -> None:
        # Emptied, not replaced: the probes hold on to it.
        self.rings.clear()
        self.all: list[Ring] = []
        self._free: deque[Ring] = deque()
        self._readers: dict[int, RingReader] = {}
        self._local = _thread_local()
        self.recording: Recording | None = None
        """The file that new rings lie in, as far as it has room."""
        self.filed: dict[int, int] = {}
        """The number that each ring has in that file, by the ring's id; a ring that is elsewhere has none."""
        self.filed_cells: set[tuple[int, int]] = set()
        """Of those, the cells that are in the file too, as (number, block)."""
        self._anonymous_bytes = self._shielded = 0
        # The threads that have overrun a small ring.
        self._fast: set[int] = set()
        self.lock = threading.Lock()
        self.readers: set[object] = set()
        """Who drains again and again: the monitors that run."""
        self.written = 0
        self.lost = 0
        """How many records were overwritten before a reader came round."""
        self.unread = 0
        """How many were overwritten while there was no reader, so that nobody missed them."""
        self.fill_rate = 0.0
        """How many times a second the busiest ring was filled, between the last two drains."""
        self._drained_ns = time.monotonic_ns()

    @contextmanager
    def exclusive(self, deadline: float) -> Iterator[bool]:
        """
        Keep others from draining; whether that came about before *deadline*, on the monotonic clock.

        It does not for a thread that was interrupted while it drained: it would wait for itself.
        """
        lock = self.lock
        is_taken = lock.acquire(timeout=max(0.0, deadline - time.monotonic()))
        try:
            yield is_taken
        finally:
            if is_taken:
                lock.release()

    def forked(self) -> None:
        """Begin anew in a forked child, where the parent's rings are copies that nobody reads."""
        if self.recording is not None:
            self.recording.detach()
        self._begin()
        self.first_record = []
        for renew in self.after_fork:
            renew()

    def _ring_of_thread(self) -> Ring:
        if not IS_OURS[0]:
            # A fork that Python was not told of.
            _renew()
        return self.rings.get(current_ident()) or self.attach()

    def attach(self) -> Ring:
        """Give the calling thread a ring and return it; some 50 µs, at a thread's first record."""
        if self._unread is not None:
            return self._unread
        ident = current_ident()
        local = self._local.__dict__
        lease = local.get("lease") or local.setdefault("lease", _Lease(self, ident))
        # At once, and taken from those made ahead: a timer whose handler records would otherwise come here again
        # and again, and interrupt the making of a ring for ever.
        self.rings[ident] = ring = self._take(LARGE_CAPACITY if ident in self._fast else SMALL_CAPACITY)
        ring.serve(lease.current)
        words = ring.words
        words[PID_WORD] = os.getpid()
        words[THREAD_WORD] = get_native_id()
        words[EPOCH_WORD] += 1
        words[STATE_WORD] = Ownership.OWNED
        lease.rings.append(ring)
        if not self._free:
            self._make_ahead(SMALL_CAPACITY)
        waiting, self.first_record = self.first_record, []
        for begin in (*waiting, *self.attached):
            begin()
        return ring

    def _take(self, capacity: int) -> Ring:
        """Return a ring that nobody has, or a new one; where there is a file, rather one that lies in it."""
        filed = self.recording is not None
        return (
            self._free_ring(capacity, filed=filed)
            or self._filed_ring(capacity)
            or self._free_ring(capacity, filed=False)
            or self._anonymous_ring(capacity)
        )

    def _free_ring(self, capacity: int, *, filed: bool) -> Ring | None:
        for _ in range(len(self._free)):
            try:
                ring = self._free.pop()
            except IndexError:
                break
            if not ring.live and ring.capacity >= capacity and (not filed or id(ring) in self.filed):
                return ring
            self._free.appendleft(ring)
        return None

    def _make_ahead(self, capacity: int) -> None:
        self._free.append(self._filed_ring(capacity) or self._anonymous_ring(capacity))

    def _filed_ring(self, capacity: int) -> Ring | None:
        recording = self.recording
        taken = None if recording is None else recording.take_ring(capacity)
        if recording is None or taken is None:
            return None
        number, memory = taken

        def take_cells(block: int) -> memoryview | None:
            cells = recording.take_cells(number, block)
            if cells is not None:
                self.filed_cells.add((number, block))
            return cells

        ring = Ring(capacity, memory, take_cells)
        self.filed[id(ring)] = number
        self.all.append(ring)
        return ring

    def _anonymous_ring(self, capacity: int) -> Ring:
        if self._anonymous_bytes + ring_bytes(capacity) > MOST_ANONYMOUS_BYTES:
            capacity = 1
            found = self._free_ring(capacity, filed=False)
            if found is not None:
                return found
        self._anonymous_bytes += ring_bytes(capacity)
        ring = Ring(capacity)
        self.all.append(ring)
        return ring

    def record_into(self, recording: Recording) -> None:
        """Let threads take rings in the file of *recording* from their next record on."""
        self.recording, self._shielded = recording, 0
        self.stock()
        self._move_in()

    def stock(self) -> None:
        """Make rings ready in the file, as many as threads have lately taken; some 300 µs where it has to grow."""
        if self.recording is None:
            return
        self.recording.stock()
        if NATIVE is not None:
            # A forked child, however it was forked, has memory of its own in the place of the file's.
            ranges: list[Any] = self.recording.ranges()
            for memory in ranges[self._shielded :]:
                NATIVE.shield(memory)
            self._shielded = len(ranges)

    def _move_in(self) -> None:
        """Let threads whose rings are elsewhere take one in the file, as many as are ready there."""
        elsewhere = [(ident, ring) for ident, ring in list(self.rings.copy().items()) if id(ring) not in self.filed]
        if elsewhere and self.recording is not None:
            self.stock()
            for ident, ring in elsewhere:
                ahead = self._filed_ring(ring.capacity if ring.capacity > 1 else SMALL_CAPACITY)
                if ahead is None:
                    return
                self._free.append(ahead)
                self._ask_again(ident, ring)

    def _ask_again(self, ident: int, ring: Ring) -> None:
        """Let the thread *ident* attach again at its next record, and so take another ring than this one."""
        self.rings.pop(ident, None)
        ring.forget()

    def returned(self, ident: int, rings: list[Ring]) -> None:
        """Take back the *rings* of the thread *ident*, which ends."""
        if self.rings.get(ident) in rings:
            self.rings.pop(ident, None)
        self._fast.discard(ident)
        for ring in rings:
            ring.forget()
            ring.words[STATE_WORD] = Ownership.ORPHANED if ring.live else Ownership.FREE
            self._free.append(ring)

    def drain(self) -> Iterator[np.ndarray]:
        """
        Yield the records since the last drain, an array for each ring with some; the caller is ``exclusive``.

        One after the other, so that each may be used up while it is near, and its memory serves for the next.
        """
        self._move_in()
        lost, fullest = 0, 0.0
        now_ns = time.monotonic_ns()
        for ring in list(self.all):
            reader = self._reader(ring)
            before = reader.cursor
            records, missed = reader.read()
            self.written += reader.cursor - before
            fullest = max(fullest, (reader.cursor - before) / ring.capacity)
            if missed and ring.capacity == SMALL_CAPACITY:
                self._outgrow(ring)
            lost += missed
            if len(records):
                yield records
        if self.readers:
            self.lost += lost
        else:
            self.unread += lost
        self.fill_rate = fullest * 1e9 / max(1, now_ns - self._drained_ns)
        self._drained_ns = now_ns

    def _reader(self, ring: Ring) -> RingReader:
        known = self._readers.get(id(ring))
        return known or self._readers.setdefault(id(ring), RingReader(ring.memory))

    def _outgrow(self, ring: Ring) -> None:
        """Let the thread of *ring* attach again, and so take a larger one."""
        for ident, taken in list(self.rings.copy().items()):
            if taken is ring:
                self._fast.add(ident)
                # In this order: one that takes its ring in between is counted among those that wait for one.
                waiting = [other for other in list(self._fast) if other == ident or other not in self.rings]
                large = [one for one in list(self._free) if one.capacity == LARGE_CAPACITY]
                if len(large) < len(waiting):
                    self.stock()
                    self._make_ahead(LARGE_CAPACITY)
                self._ask_again(ident, ring)

    def cursors(self) -> dict[int, int]:
        """Return up to which sequence each ring in the file has been read, by its number there."""
        return {self.filed[id(ring)]: self._reader(ring).cursor for ring in list(self.all) if id(ring) in self.filed}

    def open_calls(self) -> list[tuple[int, int, int, int, int]]:
        """
        Return start, series, native thread id, task and ``asked_ns`` of each call that is listed.

        The caller is ``exclusive``.
        """
        found = []
        for ring in list(self.all):
            if ring.live:
                thread = ring.words[THREAD_WORD]
                listed = self._reader(ring).open_calls()
                found += [(start, series, thread, task, asked) for start, series, task, asked in listed]
        return found


RECORDER: Final = Recorder()


def _renew() -> None:
    """Begin anew in a forked child."""
    if NATIVE is not None:
        NATIVE.renew()
    IS_OURS[0] = 1
    RECORDER.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)
