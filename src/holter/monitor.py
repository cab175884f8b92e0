"""The object that wires probes, samplers, checks and exporters, and the thread that collects."""

from __future__ import annotations

import logging
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from weakref import WeakSet

from holter import keptsilences, words
from holter.chronicle import CHRONICLE
from holter.clock import SYSTEM, Clock
from holter.cost import Ledger
from holter.courier import deliveries
from holter.delivery import Delivery, hand_out
from holter.environment import describe
from holter.farewell import Farewell
from holter.fold import ROUTER, Fold
from holter.history import History
from holter.instruments import Instruments
from holter.judging import Judges
from holter.membership import Membership
from holter.model import Alert, Attributes, Check, Exporter, Process, Sampler, Silence, Snapshot
from holter.notices import start_line
from holter.options import DEFAULT_TIMEOUT
from holter.ownthreads import as_own
from holter.recorder import DISABLED, RECORDER
from holter.report import Summary, summarise
from holter.sampling import LEAD_SECONDS, Samplings
from holter.scope import Scope
from holter.settings import OnAlert, Settings, checked
from holter.standard import standard_samplers
from holter.switches import Switches
from holter.upkeep import (
    planned_wait,
    read_gauges,
    record_duration,
    set_figures_of_checks,
    set_own_figures,
    tell_of_predecessors,
)

LOGGER: Final = logging.getLogger("holter")
_MONITORS: Final[WeakSet[Monitor]] = WeakSet()


class Monitor(Instruments):
    """
    A recorder with series of its own: what it watches, no other monitor sees.

    Takes the arguments of `start`, has the same methods as the module, and runs from ``start`` (or ``with``) to
    ``stop``; only with *group* is it in a group with other processes. One thread collects, one samples, and each
    check and exporter has one of its own; all are daemons. A forked child that records goes on by itself with
    threads, figures and exporters of its own; one that does not record starts nothing.

    >>> import holter
    >>> with holter.Monitor("sentiment", samplers=[]) as monitor:
    ...     predict = monitor.watch(len)
    ...     length = predict("abc")
    ...     monitor.snapshot().find(predict).total.count
    1
    """

    def __init__(
        self,
        name: str | None = None,
        *,
        version: str | None = None,
        attributes: Attributes | None = None,
        exporters: Iterable[Exporter] = (),
        checks: Iterable[Check] = (),
        samplers: Iterable[Sampler] | None = None,
        on_alert: OnAlert | None = None,
        interval_seconds: float = 1.0,
        recording: bool = True,
        group: str | None = None,
        strict: bool = False,
        clock: Clock = SYSTEM,
        fold: Fold | None = None,
    ) -> None:
        self.settings: Settings = checked(
            name=name,
            version=version,
            attributes=attributes,
            exporters=exporters,
            checks=checks,
            samplers=standard_samplers() if samplers is None else samplers,
            on_alert=on_alert,
            interval_seconds=interval_seconds,
            recording=recording,
            group=group,
            strict=strict,
        )
        if fold is None:
            scope = Scope(clock)
            fold = Fold(scope, Process(service=self.settings.name, started_ns=clock.monotonic_ns()))
            ROUTER.attach(fold)
        super().__init__(fold.scope)
        self._fold, self._clock = fold, fold.scope.clock
        self.is_running = False
        self._is_asleep = False
        """Whether it runs in a forked child that has not recorded yet: its threads start when one does."""
        self._begin()
        _MONITORS.add(self)

    def __repr__(self) -> str:
        state = "running" if self.is_running else "not running"
        return f"Monitor({self.settings.name!r}, {state})"

    def _begin(self) -> None:
        self._turn, self._stopping = threading.Lock(), threading.Event()
        self._threads: list[threading.Thread] = []
        self._deliveries: list[Delivery] = []
        self._history = History()
        self._judges, self._switches = Judges(self._scope, ()), Switches(self._scope, ())
        self._latest: Snapshot | None = None
        self._membership = Membership()
        self._samplings: Samplings | None = None
        self._at_exit: Farewell | None = None
        self._ledger: Ledger | None = None
        self._predecessors: list[Path] = []

    # -- life

    def start(self) -> Self:
        """Start collecting, sampling and exporting; a monitor that runs goes on running, in a forked child too."""
        self._awake()
        if DISABLED or self.is_running:
            return self
        settings, started_ns = self.settings, self._clock.monotonic_ns()
        self._fold.process = replace(
            describe(settings.name, settings.version, settings.attributes, started_ns),
            started_ns=self._fold.process.started_ns if self._fold.process.service == settings.name else started_ns,
        )
        self._run()
        where = CHRONICLE.where() if settings.recording else "none"
        LOGGER.info("%s", words.clean(start_line(settings, where), 500))
        return self

    def _run(self) -> None:
        self._begin()
        self._scope.guard.strict = self.settings.strict
        if self.settings.recording:
            member = self._membership.of(self.settings, self._scope)
            self._predecessors = self._scope.guard.run(
                "recording", [], CHRONICLE.join, self, self._fold.process, member
            )
        self._scope.guard.run("group", None, self._membership.join, self, self.settings, self._scope)
        leads = lambda: self._membership.leads  # noqa: E731 - what it is at the time
        with RECORDER.exclusive(time.monotonic() + DEFAULT_TIMEOUT) as is_mine:
            # What was overwritten before now, nobody was there to read.
            if is_mine:
                ROUTER.drain()
            RECORDER.readers.add(self)
            self._ledger = Ledger(self._clock, self._scope.coroutines, self._fold.counts())
        self._judges = Judges(self._scope, self.settings.checks, self._membership.learnt_path)
        self._switches = Switches(self._scope, self.settings.checks)
        self._deliveries = deliveries(self._scope, self.settings, LOGGER, self._judges.outbox)
        self._samplings = Samplings(
            self._scope, self.settings.samplers, self._stopping, self._spawn, leads, lead_seconds=LEAD_SECONDS
        )
        self.is_running = True
        self._spawn("collector", self._collect)
        for delivery in (*self._deliveries, *self._judges.deliveries):
            self._spawn(delivery.name, delivery.run)
        self._samplings.start()
        if self._predecessors:
            tell = partial(tell_of_predecessors, self._scope, self._predecessors)
            self._spawn("predecessors", lambda: self._scope.guard.run("recording", None, tell))
        self._at_exit = Farewell(self.stop, 0)

    def _spawn(self, name: str, target: Callable[[], None]) -> None:
        thread = threading.Thread(target=as_own(target), name=f"holter-{name}", daemon=True)
        thread.start()
        self._threads.append(thread)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self, timeout: float = DEFAULT_TIMEOUT) -> bool:
        """
        Export what has been recorded, close the exporters and end the threads.

        Returns whether everything was exported within *timeout* seconds; what hangs is left behind, and what a
        receiver of alerts has not taken waits for the next process. Series, figures and alerts stay, and can be
        read by ``summary``, ``snapshot`` and ``alerts``.
        """
        if not self.is_running:
            return True
        deadline, guard = time.monotonic() + timeout, self._scope.guard
        self._stopping.set()
        # Half of the time at most, so that a collector which hangs leaves the exporters theirs.
        half = time.monotonic() + timeout / 2
        complete = self._is_asleep or self._turn_over(half, now=True) is not None
        for thread in self._threads[:1]:
            # The collector, which may be at a turn of its own.
            if thread is not threading.current_thread():
                thread.join(max(0.0, half - time.monotonic()))
        if complete and not self._is_asleep:
            guard.run("group", None, self._membership.hand_over, lambda: self._turn_over(half, now=True))
        self.is_running = self._is_asleep = False
        self._switches.close()
        for delivery in (*self._deliveries, *self._judges.deliveries):
            delivery.close(deadline)
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.monotonic()))
        guard.strict = False
        RECORDER.readers.discard(self)
        CHRONICLE.leave(self)
        if self._at_exit is not None:
            self._at_exit.cancel()
        return complete and all(delivery.is_closed for delivery in self._deliveries)

    # -- the collector

    def _collect(self) -> None:
        stopping, ledger, clock, guard = self._stopping, self._ledger, self._clock, self._scope.guard
        interval_ns = int(self.settings.interval_seconds * 1e9)
        due_ns = clock.monotonic_ns() + interval_ns
        while True:
            clock.wait(stopping, planned_wait((due_ns - clock.monotonic_ns()) / 1e9, RECORDER.fill_rate))
            # The last interval is ended by whoever stops.
            if stopping.is_set():
                return
            now_ns = clock.monotonic_ns()
            if now_ns < due_ns:
                guard.run("collector", None, self._drain)
            else:
                self._end_interval(time.monotonic() + DEFAULT_TIMEOUT)
                due_ns += ((now_ns - due_ns) // interval_ns + 1) * interval_ns
            if self._samplings is not None:
                guard.run("sampling", None, self._samplings.watch)
            if ledger is not None:
                ledger.collector_ns = clock.thread_cpu_ns()

    def _drain(self) -> None:
        with RECORDER.exclusive(time.monotonic() + DEFAULT_TIMEOUT) as is_mine:
            if is_mine:
                ROUTER.drain()
        self._judges.look(0.0, patiently=False)

    def _turn_over(self, deadline: float, *, now: bool = False) -> Snapshot | None:
        """End an interval from another thread than the collector's; a forked child goes on before that."""
        self._awake()
        begun_ns = self._clock.thread_cpu_ns()
        snapshot = self._end_interval(deadline, now=now)
        if self._ledger is not None:
            self._ledger.readings_ns += self._clock.thread_cpu_ns() - begun_ns
        return snapshot

    def _end_interval(self, deadline: float, *, now: bool = False) -> Snapshot | None:
        """End an interval, hand it out, to be exported at once if *now*, and return it; None if that fails."""
        return self._scope.guard.run("collector", None, lambda: self._tick(deadline, now=now))

    def _tick(self, deadline: float, *, now: bool) -> Snapshot | None:
        # A turn that never comes is one that this very thread was interrupted in.
        turn = self._turn
        if not turn.acquire(timeout=max(0.0, deadline - time.monotonic())):
            return None
        try:
            read_gauges(self._scope)
            self._judges.look(deadline, patiently=now)
            begun_ns = self._clock.monotonic_ns()
            with RECORDER.exclusive(deadline) as is_mine:
                if not is_mine:
                    return None
                ROUTER.drain()
                set_own_figures(self._fold, self._ledger)
                self._membership.set_figures(self._fold)
                set_figures_of_checks(self._fold, self._judges.figures)
                snapshot = self._fold.close(self._clock.monotonic_ns(), self._clock.wall_ns(), now=now)
                cursors = RECORDER.cursors()
                RECORDER.stock()
            self._latest = snapshot
            self._history.add(snapshot)
            if self._ledger is not None:
                threads_ns = self._judges.spent_ns + sum(
                    one.cpu_ns for one in (*self._deliveries, *self._judges.deliveries)
                )
                threads_ns += 0 if self._samplings is None else self._samplings.cpu_ns
                counts = ((snapshot.series[key], reading.count) for key, reading in snapshot.total.items())
                self._ledger.close(counts, threads_ns)
            whole = self._membership.turn(snapshot, now=now)
            alerts = self._judges.ask(whole, deadline, patiently=now, own=snapshot, fellows=self._membership)
            hand_out(self._deliveries, (snapshot, alerts), (whole, self._judges.everybodys), now=now)
            CHRONICLE.keep(self, snapshot, self._judges.changed, self._history, cursors, now=now)
            if self.is_running:
                self._scope.guard.run("guard", None, self._switches.turn, self._acted_upon)
            record_duration(self._scope, self._clock.monotonic_ns() - begun_ns)
        finally:
            turn.release()
        return snapshot

    # -- readings

    @property
    def latest(self) -> Snapshot | None:
        """The newest snapshot that was taken, by whomever; None before the first. Reading it takes none."""
        return self._latest

    @property
    def latest_of_all(self) -> Snapshot | None:
        """What all processes of the group have done by the newest snapshot of this one; None before that."""
        own = self._latest
        return own if own is None else self._scope.guard.run("group", own, self._membership.view, own)

    def snapshot(self) -> Snapshot:
        """Return a reading of all series as of now; its interval is the time since the one before."""
        taken = self._turn_over(time.monotonic() + DEFAULT_TIMEOUT) or self._latest
        return self._empty() if taken is None else taken

    def _empty(self) -> Snapshot:
        now_ns = self._clock.monotonic_ns()
        return Snapshot(self._clock.wall_ns(), 0, {}, {}, {}, process=self._fold.process, monotonic_ns=now_ns)

    def summary(self) -> Summary:
        """Return what has been seen so far, verdict first, as text, HTML or a dict."""
        snapshot = self.snapshot()
        # Where a monitor runs, losses are figures of their own; else this drain got what was left.
        written, unread = RECORDER.written, RECORDER.unread
        records = (written - RECORDER.lost - unread, written) if unread or self._ledger is None else None
        return summarise(snapshot, self.alerts(), self._past(), records=records)

    def _past(self) -> History:
        # None is to be had where this very thread was interrupted while it added an interval.
        if not self._turn.acquire(timeout=DEFAULT_TIMEOUT):
            return History(1)
        try:
            return self._history.copy()
        finally:
            self._turn.release()

    def alerts(self) -> tuple[Alert, ...]:
        """Return the alerts in their latest state, the oldest first; at most 1,000, of other processes 64."""
        own = tuple(self._judges.alerts.values())
        # Once it has left its group it leads nothing, and what it has judged is what it knows.
        return self._scope.guard.run("group", own, self._membership.alerts, own) if self.is_running else own

    def silence(self, name: object, *, minutes: float, reason: str) -> Silence:
        """Tell nobody of alerts of this *name* for so many *minutes*, as `silence` of the module does; return how."""
        return keptsilences.set_for(self._judges.silences, name, minutes, reason, self._clock.wall_ns())

    def _acted_upon(self) -> tuple[Alert, ...]:
        return self._membership.acted_upon(self._judges.alerts.values())

    def flush(self, timeout: float = DEFAULT_TIMEOUT) -> bool:
        """
        Export everything recorded before now; return whether each exporter was done within *timeout* seconds.

        What a receiver of alerts has not taken yet waits, and is sent again later.
        """
        deadline = time.monotonic() + timeout
        if self._turn_over(deadline, now=True) is None:
            return False
        idle = [delivery.wait_until_idle(deadline) for delivery in self._deliveries]
        return all(idle)

    # -- forks

    def forked(self) -> None:
        """In a forked child: forget the parent's threads and figures; go on at the first record, if any."""
        self._membership.forget()
        self._scope.observations.reset()
        self._begin()
        self._is_asleep = self.is_running
        RECORDER.first_record.append(self._awake)

    def _awake(self) -> None:
        if not self._is_asleep:
            return
        self._is_asleep = False
        process = self._fold.process
        now_ns = self._clock.monotonic_ns()
        self._fold.process = replace(
            process, pid=os.getpid(), instance=str(uuid.uuid4()), started_ns=now_ns, inherited=True
        )
        self._fold.reset()
        self._scope.guard.run("fork", None, self._run)


def _forked() -> None:
    for monitor in list(_MONITORS):
        monitor.forked()


RECORDER.after_fork.append(_forked)
