"""How a receiver is told: again where it fails, ever less often, and what is said of that."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from contracts.snapshots import PROCESS, START_NS, Story, alert
from holter.clock import Clock
from holter.courier import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, Courier, deliveries
from holter.model import Alert
from holter.names import EXPORTER_DROPPED, EXPORTER_FAILURES, EXPORTER_NAME
from holter.notice import Notice, Undelivered
from holter.outbox import LONGEST_NS, Outbox
from holter.settings import checked
from recording import Recording

SECOND_NS = 1_000_000_000


class Ops:
    """A receiver that keeps what it is sent, and does first what it is told to."""

    every_seconds = 10.0
    where = "Ops https://ops.example.com"
    receiver = "Ops https://ops.example.com/s3cr3t"
    timeout = 7.0

    def __init__(self, resend_seconds: float | None = None) -> None:
        self.got: list[str] = []
        self.timeouts: list[float] = []
        self.first: Callable[[], object] = lambda: None
        self.resend_seconds = resend_seconds
        self.closed: list[float] = []

    def send(self, notice: Notice, timeout: float) -> None:
        """Keep it."""
        self.timeouts.append(timeout)
        self.first()
        self.got.append(notice.key)

    def export(self, snapshot: Any, alerts: Any) -> None:
        """Not called."""
        raise AssertionError

    def close(self, timeout: float) -> None:
        """Keep the timeout."""
        self.closed.append(timeout)


class Bench:
    """A courier, its outbox, and a clock that the test moves."""

    def __init__(self, ops: Ops) -> None:
        self.ns = 1_000 * SECOND_NS
        self.recording, self.ops, self.outbox = Recording(), ops, Outbox()
        clock = Clock(monotonic_ns=lambda: self.ns, wall_ns=lambda: START_NS)
        self.recording.scope.clock = clock
        self.outbox.receivers = ["ops"]
        self.courier = Courier(self.recording.scope, ops, "ops", self.outbox)
        self.number = 0

    def post(self, **facts: Any) -> Notice:
        """Have one more told."""
        self.number += 1
        usual = {"incident": "5e1f", "number": self.number, "state": "firing", "time_ns": START_NS, "alert": alert()}
        made = Notice(**{**usual, "told": (alert(),), "process": PROCESS, **facts})
        self.outbox.post(made)
        return made

    def turn(self, seconds: float = 0.0) -> bool:
        """Let time pass, and the courier be asked if it wants to; return whether it did."""
        self.ns += round(seconds * SECOND_NS)
        if self.courier.every_seconds > 1e8:
            return False
        self.courier.export(Story().snapshot(), [])
        return True

    def counted(self, name: str) -> float:
        """Return what has been counted of this receiver."""
        found = self.recording.snapshot().find(name, {EXPORTER_NAME: "Ops"})
        return 0 if found is None else found.total.sum


@pytest.fixture
def ops() -> Ops:
    """A receiver."""
    return Ops()


@pytest.fixture
def bench(ops: Ops) -> Iterator[Bench]:
    """One with a courier."""
    return Bench(ops)


def fail(error: BaseException) -> Callable[[], object]:
    """Return what raises *error*."""

    def raise_it() -> object:
        raise error

    return raise_it


def test_nothing_to_send_costs_no_turn(bench: Bench) -> None:
    """The thread sleeps on."""
    assert not bench.turn(1000)
    bench.post(), bench.post()
    assert bench.turn()
    assert (["5e1f-1", "5e1f-2"], [7.0, 7.0]) == (bench.ops.got, bench.ops.timeouts)
    assert not bench.turn(1000)


def test_what_fails_is_tried_again_ever_less_often(bench: Bench) -> None:
    """From a second to a minute, a quarter less by chance at most; in order, and from the start when it has arrived."""
    bench.ops.first = fail(Undelivered("it answers 503"))
    bench.post(), bench.post()
    pauses = []
    assert bench.turn()
    for _ in range(9):
        waited = 0
        while not bench.turn(0.25):
            waited += 1
        pauses.append((waited + 1) * 0.25)
    expected = [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert [True] * 9 == [0.7 * most <= pause <= most + 0.25 for pause, most in zip(pauses, expected, strict=True)]
    assert (FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS) == (expected[0], expected[-1])
    assert (10, []) == (bench.counted(EXPORTER_FAILURES), bench.ops.got)
    bench.ops.first = lambda: None
    bench.turn(60)
    assert ["5e1f-1", "5e1f-2"] == bench.ops.got
    bench.post()
    assert bench.turn()


def test_a_receiver_that_asks_for_time_gets_it(bench: Bench) -> None:
    """Up to a minute."""
    bench.ops.first = fail(Undelivered("it answers 429", again_seconds=20.0))
    bench.post()
    bench.turn()
    assert ([False, True], 2) == ([bench.turn(19), bench.turn(1)], bench.counted(EXPORTER_FAILURES))
    bench.ops.first = fail(Undelivered("it answers 429", again_seconds=9_000.0))
    bench.turn(20)
    assert bench.turn(60)


def test_an_outage_is_logged_once_and_its_end_too(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """With what may be printed of the receiver."""
    bench.ops.first = fail(Undelivered("it answers 503"))
    bench.post()
    bench.turn(), bench.turn(60), bench.turn(60)
    bench.ops.first = lambda: None
    bench.turn(60), bench.post(), bench.turn()
    first, last = caplog.messages
    assert first.startswith(
        "holter: Ops https://ops.example.com does not take what it is to be told: it answers 503; that"
    )
    assert "holter: Ops https://ops.example.com takes what it is told again, after 3 min" == last
    assert "s3cr3t" not in caplog.text


def test_what_is_refused_for_good_is_given_up_and_said(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """And the next is sent at once."""
    errors = [Undelivered("it answers 400", is_final=True)]
    bench.ops.first = lambda: fail(errors.pop())() if errors else None
    bench.post(), bench.post()
    bench.turn()
    assert (["5e1f-2"], 1, 1) == (bench.ops.got, bench.counted(EXPORTER_FAILURES), bench.counted(EXPORTER_DROPPED))
    assert any("was not told of an incident: it answers 400" in line for line in caplog.messages)


def test_what_has_waited_for_three_days_is_given_up(bench: Bench) -> None:
    """It is news to nobody."""
    bench.post(time_ns=START_NS - LONGEST_NS), bench.post()
    bench.turn()
    assert (["5e1f-2"], 1) == (bench.ops.got, bench.counted(EXPORTER_DROPPED))


def test_what_there_was_no_room_for_is_counted(bench: Bench) -> None:
    """Whoever the outbox has dropped it for."""
    bench.outbox.dropped["ops"] = 3
    assert bench.turn()
    assert (3, False) == (bench.counted(EXPORTER_DROPPED), bench.turn())


def test_what_goes_on_is_said_again_to_who_wants_that() -> None:
    """Each so often after it was said last; not while it waits to be said at all, nor when it is over."""
    bench = Bench(Ops(resend_seconds=60.0))
    first = bench.post()
    bench.outbox.standing = (first,)
    bench.turn()
    assert (["5e1f-1"], False, True) == (list(bench.ops.got), bench.turn(59), bench.turn(1))
    assert ["5e1f-1"] * 2 == bench.ops.got
    bench.ops.first = fail(ConnectionRefusedError(111, "Connection refused"))
    bench.turn(60)
    bench.outbox.standing = ()
    bench.ops.first = lambda: None
    assert not bench.turn(60)
    # Who comes to lead says it at once: nobody may have for a while.
    bench.outbox.standing = (first,)
    bench.courier.rest()
    assert (True, 3) == (bench.turn(), len(bench.ops.got))


def test_what_is_refused_when_it_is_said_again_is_neither_said_at_once_nor_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It was taken before, and is tried again in its time."""
    bench = Bench(Ops(resend_seconds=60.0))
    bench.outbox.standing = (bench.post(),)
    bench.turn()
    bench.ops.first = fail(Undelivered("it answers 400", is_final=True))
    assert ([True, False, True], 0) == (
        [bench.turn(60), bench.turn(1), bench.turn(59)],
        bench.counted(EXPORTER_DROPPED),
    )
    assert 1 == len(caplog.messages)


def test_any_other_error_of_a_receiver_passes_on_and_is_tried_again_later(bench: Bench) -> None:
    """Whoever runs the courier counts it."""
    bench.ops.first = fail(ZeroDivisionError())
    bench.post()
    with pytest.raises(ZeroDivisionError):
        bench.turn()
    assert not bench.turn(0.5)
    bench.ops.first = lambda: None
    assert (True, ["5e1f-1"]) == (bench.turn(0.5), bench.ops.got)


def test_the_end_tries_once_more_within_its_time(bench: Bench) -> None:
    """Also while it would be too early; one that has handed over the lead does not."""
    bench.ops.first = fail(Undelivered("it answers 503"))
    bench.post()
    bench.turn()
    bench.ops.first = lambda: None
    bench.courier.close(0.5)
    assert (["5e1f-1"], 0.5) == (bench.ops.got, bench.ops.timeouts[-1])
    assert bench.ops.closed[0] <= 0.5
    bench.post()
    bench.courier.rest()
    bench.courier.close(0.5)
    assert ["5e1f-1"] == bench.ops.got


def test_receivers_are_told_apart_and_the_others_are_exporters() -> None:
    """Two of the same have each their own queue; the function of the user is one too."""
    recording, outbox, called = Recording(), Outbox(), list[Alert]()
    first, second = Ops(), Ops()
    settings = checked(
        name="sentiment", version=None, attributes=None, exporters=[first, second], checks=(), samplers=(),
        on_alert=called.append, interval_seconds=1.0, recording=False, strict=False,
    )  # fmt: skip
    made = deliveries(recording.scope, settings, logging.getLogger("holter"), outbox)
    assert ["Notices", "Ops", "Ops", "AlertCallback"] == [one.name for one in made]
    assert [Ops.receiver, f"{Ops.receiver} #2", "on_alert"] == outbox.receivers
    outbox.post(Notice("5e1f", 1, "firing", START_NS, alert(), (alert(),)))
    outbox.post(
        Notice("5e1f", 2, "resolved", START_NS, alert(), (alert(id="a", state="resolved"), alert(state="resolved")))
    )
    threads = [threading.Thread(target=one.run, daemon=True) for one in made]
    for thread, one in zip(threads, made, strict=True):
        thread.start()
        one.offer(Story().snapshot())
        assert one.wait_until_idle(1e9)
    assert (["5e1f-1", "5e1f-2"], first.got) == (first.got, second.got)
    assert [("limit-1", "firing"), ("a", "resolved"), ("limit-1", "resolved")] == [
        (one.id, one.state) for one in called
    ]
    for one, thread in zip(made, threads, strict=True):
        one.close(1e9)
        thread.join(20)
