"""The default monitor: what the functions of the module do."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import holter
from programs import succeed


@pytest.fixture(autouse=True)
def stopped() -> Iterator[None]:
    """Leave the default monitor as it was."""
    yield
    holter.stop()


def test_a_second_start_with_equal_arguments_returns_the_running_monitor(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Equal are plug-ins of the same types and settings; nothing is started twice, nobody is warned."""

    def begin() -> holter.Monitor:
        return holter.start(
            "service",
            exporters=[holter.LogFile(tmp_path / "a.jsonl")],
            checks=[holter.Limit("app.m", "last", above=1)],
            samplers=[],
        )

    first = begin()
    threads = threading.active_count()
    assert first is begin() is begin()
    assert (True, threads, []) == (first.is_running, threading.active_count(), caplog.messages)


def test_a_start_with_others_replaces_it_with_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    """The one that ran has stopped; the figures go on."""
    first = holter.start("one", samplers=[])
    watched = holter.watch(lambda: None, name="test_default.replaced")
    watched()
    second = holter.start("two", samplers=[])
    watched()
    assert (False, True) == (first.is_running, second.is_running)
    assert 2 == holter.snapshot().find(watched).total.count == second.snapshot().find(watched).total.count
    assert "two" == holter.snapshot().process.service
    assert [logging.WARNING] == [record.levelno for record in caplog.records if "replaces" in record.message]


def test_after_a_stop_it_starts_anew() -> None:
    """The same arguments are a new run, without a warning."""
    first = holter.start("service", samplers=[])
    assert holter.stop()
    second = holter.start("service", samplers=[])
    assert first is not second
    assert (False, True) == (first.is_running, second.is_running)


def test_a_start_that_cannot_work_leaves_the_running_monitor_alone() -> None:
    """An error in the arguments is told before anything stops."""
    first = holter.start("service", samplers=[])
    wrong: Any = -1
    with pytest.raises(holter.ConfigurationError):
        holter.start("service", interval_seconds=wrong)
    assert first.is_running


def test_everything_works_without_a_start() -> None:
    """Recording, reading, flushing, stopping: all of it, and no thread."""
    program = """
        import json, threading, holter
        @holter.watch
        def predict(x):
            with holter.span("stage"):
                return x
        for number in range(2000):
            predict(number)
        print(json.dumps([holter.snapshot().find(predict).total.count, "predict" in str(holter.summary()),
                          list(holter.alerts()), holter.flush(), holter.stop(), threading.active_count()]))
    """
    assert [2000, True, [], True, True, 1] == succeed(program)


def test_reading_without_a_start_says_what_it_rests_on() -> None:
    """The summary tells how many of how many records could still be read."""
    program = """
        import json, holter
        count = holter.counter("app.hits")
        for _ in range(3000):
            count.add()
        print(json.dumps(" ".join(str(holter.summary()).split())))
    """
    assert "the last 1,024 of 3,000 records" in succeed(program)


def test_calls_after_the_stop_are_in_the_summary() -> None:
    """What is watched does not know that nobody runs any more."""
    watched = holter.watch(lambda: None, name="test_default.later")
    with holter.start("service", samplers=[]):
        watched()
    watched()
    watched()
    assert 3 == holter.snapshot().find(watched).total.count
    assert "test_default.later" in str(holter.summary())


def test_what_the_module_watches_is_no_other_monitors() -> None:
    """An isolated monitor does not see the module's figures, nor the module its."""
    monitor = holter.Monitor("other", samplers=[])
    ours, theirs = holter.watch(lambda: None, name="test_default.x"), monitor.watch(lambda: None, name="test_default.x")
    ours()
    theirs()
    theirs()
    assert [1, 2] == [holter.snapshot().find(ours).total.count, monitor.snapshot().find(theirs).total.count]
