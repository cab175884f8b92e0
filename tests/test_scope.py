"""The scope: the series of one monitor and the ring of the calling thread."""

from __future__ import annotations

import threading

from holter.clock import Clock
from holter.names import CALL_NAME, INTERNAL_ERRORS, PLACE
from holter.recorder import Recorder
from holter.scope import NANOSECONDS, Scope
from recording import Recording


def test_each_scope_has_a_number_and_series_of_its_own() -> None:
    """The same name in two scopes on one recorder is two series."""
    recorder = Recorder()
    one, other = Scope(recorder=recorder), Scope(recorder=recorder)
    assert one.number != other.number
    assert one.series("app.m", "1", "gauge") != other.series("app.m", "1", "gauge")


def test_a_timer_records_nanoseconds_and_tells_seconds() -> None:
    """Its series is a histogram in seconds whose recorded values are multiplied by 1e-9."""
    recording = Recording()
    series = recording.scope.timer("app.t", {"a": 1})
    recording.scope.ring().write(series, 5, 2_500_000_000, 0, 0)
    snapshot = recording.snapshot()
    assert ("s", "histogram", {"a": 1}) == (
        snapshot.series[series].unit,
        snapshot.series[series].kind,
        dict(snapshot.series[series].attributes),
    )
    assert NANOSECONDS == recording.recorder.table.entries[series].factor
    assert 2.5 == snapshot.total[series].sum == snapshot.total[series].last


def test_a_call_has_four_series_made_once() -> None:
    """Duration, calls in flight, age of the oldest, units; all named after the call."""
    scope = Scope(recorder=Recorder())
    made = scope.call("predict", {"model": "v7"})
    assert made is scope.call("predict", {"model": "v7"})
    assert {made.duration: made} == scope.calls
    assert [{CALL_NAME: "predict", "model": "v7"}] * 4 == [dict(scope.table[key].attributes) for key in made]
    assert ["histogram", "updowncounter", "gauge", "counter"] == [scope.table[key].kind for key in made]


def test_a_stream_has_its_items_counted_apart() -> None:
    """Time to the first item, time between items, and their number."""
    scope = Scope(recorder=Recorder())
    made = scope.stream_items("tokens")
    assert made is scope.stream_items("tokens")
    assert ["histogram", "histogram", "counter"] == [scope.table[key].kind for key in made]


def test_each_thread_has_one_ring() -> None:
    """A thread gets the same ring each time, another thread another one."""
    scope, rings = Scope(recorder=Recorder()), []
    thread = threading.Thread(target=lambda: rings.append(scope.ring()))
    mine = scope.ring()
    thread.start()
    thread.join()
    assert mine is scope.ring()
    assert mine is not rings[0]


def test_increments_and_internal_errors_are_series_like_any_other() -> None:
    """What goes wrong is counted by place."""
    recording = Recording()
    recording.scope.increment("holter.test", "{thing}", {"a": 1})
    for _ in range(3):
        recording.scope.guard.run("units", None, lambda: 1 / 0)
    snapshot = recording.snapshot()
    assert 1 == snapshot.find("holter.test", {"a": 1}).total.sum
    assert 3 == snapshot.find(INTERNAL_ERRORS, {PLACE: "units"}).total.sum


def test_records_are_stamped_by_the_clock_of_the_scope() -> None:
    """A clock that is given is the one that is read."""
    scope = Scope(Clock(monotonic_ns=lambda: 42), Recorder())
    assert 42 == scope.now()
