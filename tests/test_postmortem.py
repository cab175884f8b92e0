"""What a recording tells of the end of its process: six deaths, each named in the first line."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from holter.model import Alert, ErrorPlace
from holter.postmortem import _with_the_rest, post_mortem
from holter.record import Outcome
from holter.recorded import RecordingContents, read_recording
from holter.report import Summary
from holter.segments import Space
from holter.tables import Notes
from holter.verdict import clock_time
from lives import SECOND_NS, START_NS, FakeTime, Life

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="makes recordings, which need Linux")
MIB = 2**20
SPACE = Space(segment_bytes=2**18, most_bytes=2**23)


class Service:
    """A service of 40 calls a second, at rest but for what a test changes in `turn`."""

    def __init__(self, folder: Path, limit: int | None = 1024 * MIB) -> None:
        self.fake = FakeTime()
        self.life = Life(folder, fake=self.fake, space=SPACE)
        self.random = np.random.default_rng(7)
        scope = self.life.scope
        self.ring = self.life.ring()
        self.call = scope.call("predict").duration
        attributes = {"holter.call.outcome": "error", "error.type": "ValueError"}
        self.failed = self.life.table.failed_part(self.call, attributes)
        self.usage = scope.series("process.memory.usage", "By", "gauge")
        self.rate, self.errors, self.memory, self.milliseconds = 40, 0.0, 200.0, 5.0
        self.limit = limit

    def records(self, seconds: float = 1.0) -> None:
        """Record what happens in so much time."""
        count = int(self.random.poisson(self.rate * seconds))
        began = self.fake.ns
        for number in range(count):
            self.fake.ns = began + int(seconds * SECOND_NS * (number + 1) / (count + 1))
            took = self.milliseconds * 1e6 * self.random.lognormal(0, 0.3)
            is_error = self.random.random() < self.errors
            series, outcome = (self.failed, Outcome.ERROR) if is_error else (self.call, Outcome.OK)
            self.ring.write(series, self.fake.ns, took, 0, outcome)
        self.fake.ns = began + int(seconds * SECOND_NS)

    def turn(self, *alerts: Alert) -> None:
        """Let a second go by."""
        self.records()
        self.ring.put(self.usage, self.fake.ns, self.memory * MIB)
        self.life.turn(*alerts, now=True)

    def contents(self, state: str = "dead") -> RecordingContents:
        """Return what it leaves when it is killed now."""
        contents = read_recording(self.life.recording.path)
        process = replace(contents.process, state=state, memory_limit_bytes=self.limit)
        return replace(contents, process=process)

    def die(self) -> Summary:
        """Return what is told of its death."""
        return post_mortem(self.contents())


@pytest.fixture
def service(tmp_path: Path) -> Service:
    """A service that has run well for 30 s."""
    service = Service(tmp_path)
    for _ in range(30):
        service.turn()
    return service


def kill(service: Service) -> None:
    """Nothing changes."""
    for _ in range(15):
        service.turn()


def fill_up(service: Service) -> None:
    """Memory grows until the limit."""
    while service.memory < 960:
        service.memory += 70
        service.turn()


def leak(service: Service) -> None:
    """Memory grows all the time, and is far from its limit."""
    for _ in range(60):
        service.memory += 5 + service.random.normal()
        service.turn()


def hang(service: Service) -> None:
    """One call after the other never ends, until none is left to answer."""
    for _ in range(3):
        service.ring.begin(service.call, service.fake.ns)
    service.rate = 0
    for _ in range(20):
        service.turn()


def fail(service: Service) -> None:
    """A third of the calls fails."""
    service.errors = 0.3
    for _ in range(5):
        service.turn()


def flood(service: Service) -> None:
    """Ten times as many calls."""
    service.rate = 400
    for _ in range(5):
        service.turn()


DEATHS: dict[str, tuple[Callable[[Service], None], str, str]] = {
    "plain kill": (kill, "none", r"Nothing had changed before it died: [\d,]+ calls of predict, no errors, p99 .*\."),
    "memory limit": (
        fill_up,
        "memory limit",
        r"Memory limit: 970 MiB of 1 GiB used, having grown from 200 MiB to 970 MiB in 1\d s \(.* GiB/min\)\.",
    ),
    "leak": (
        leak,
        "leak",
        r"Leak: memory grew from 2.. MiB to 4.. MiB in 5.* s \(.*/min\) and had not levelled off; at that pace .*\.",
    ),
    "hang": (hang, "hang", r"Hang: predict for 20 s \(longest before: 1\d\.?\d* ms\), and 2 more\."),
    "error burst": (fail, "error burst", r"Error burst: predict: errors rose from 0 % to .* % at .* \(ValueError\)\."),
    "load burst": (flood, "load burst", r"Load burst: predict: calls rose from .*/s to .*/s at .*\."),
}  # fmt: skip


@pytest.mark.parametrize("name", DEATHS)
def test_the_first_line_names_the_death(name: str, service: Service) -> None:
    """With the figures that show it."""
    trouble, cause, expected = DEATHS[name]
    trouble(service)
    summary = service.die()
    assert re.fullmatch(expected, summary.verdict.headline), summary.verdict.headline
    assert cause == summary.to_dict()["cause"]
    assert summary.verdict.headline == summary.to_dict()["headline"]
    assert str(summary).startswith(summary.verdict.headline[:40])


@pytest.mark.parametrize("seed", range(10))
def test_a_plain_kill_is_blamed_on_nothing(seed: int, tmp_path: Path) -> None:
    """Whatever chance has in store: noise in load, durations and memory, a start that fills caches, an early end."""
    service = Service(tmp_path)
    service.random = np.random.default_rng(seed)
    for turn in range(5 + 9 * seed):
        service.memory = 300 - 150 * 0.7**turn + 3 * service.random.normal()
        service.turn()
    service.records(service.random.random())
    service.ring.begin(service.call, service.fake.ns - 9_000_000)
    assert service.die().verdict.headline.startswith("Nothing had changed before it died: ")


def notes(summary: Summary) -> dict[str, str]:
    """Return the words beside their labels."""
    (found,) = (block for block in summary.blocks if isinstance(block, Notes) and ("running" in dict(block.rows)))
    return dict(found.rows)


def test_a_call_that_never_returned_is_named_with_its_age(service: Service) -> None:
    """Also while others go on and nothing else has changed; as of the last sign of life."""
    stuck = service.life.scope.call("wait_for_gpu").duration
    service.ring.begin(stuck, service.fake.ns)
    for _ in range(29):
        service.turn()
    service.records(0.9)
    summary = service.die()
    assert "wait_for_gpu for 29.9 s (none like it had ended)" == notes(summary)["running"]
    assert ("wait_for_gpu", False) == (
        summary.to_dict()["running"][0]["call"],
        summary.to_dict()["running"][0]["hangs"],
    )
    assert "wait_for_gpu  29.9 s" in str(summary)


def test_a_call_that_is_only_slow_does_not_hang(service: Service) -> None:
    """Less than ten times the longest one before; nor does one of which too few have ended."""
    rare = service.life.scope.call("report").duration
    for _ in range(4):
        service.ring.write(rare, service.fake.ns, 1e6, 0, 0)
    service.ring.begin(rare, service.fake.ns)
    service.ring.write(service.call, service.fake.ns, 5e8, 0, 0)
    service.ring.begin(service.call, service.fake.ns)
    for _ in range(4):
        service.turn()
    running = service.die().to_dict()["running"]
    assert [("predict", False), ("report", False)] == [(one["call"], one["hangs"]) for one in running]


def test_a_stream_whose_consumer_takes_its_time_does_not_hang(service: Service) -> None:
    """Nor does it as long as it lives; one that does not bring its item may."""
    for _ in range(10):
        service.ring.write(service.call, service.fake.ns, 1e6, 0, 0)
    streams = [service.ring.begin(service.call, service.fake.ns) for _ in range(2)]
    service.ring.asked(streams[0], -1)
    service.ring.asked(streams[1], service.fake.ns)
    for _ in range(20):
        service.turn()
    assert [False, True] == [one["hangs"] for one in service.die().to_dict()["running"]]


def test_what_came_since_the_last_interval_counts(service: Service) -> None:
    """A death 2.8 s after the trouble began: the third interval is in the records alone."""
    service.errors = 0.5
    for _ in range(2):
        service.turn()
    assert "Nothing had changed" in service.die().verdict.headline
    service.records(0.8)
    assert "Error burst" in service.die().verdict.headline


def test_a_rest_that_is_not_whole_does_not_count(service: Service) -> None:
    """Where its records were overwritten, calls would seem to fall."""
    service.rate = 3_000
    for _ in range(40):
        service.turn()
    service.rate = 3_000
    contents = service.contents()
    assert len(contents.history) == len(_with_the_rest(contents))
    service.records(0.9)
    assert len(contents.history) == len(_with_the_rest(service.contents()))
    service.turn()
    service.rate = 40
    service.records(0.9)
    assert len(contents.history) + 2 == len(_with_the_rest(service.contents()))


def test_other_changes_stand_below(service: Service) -> None:
    """What the headline does not say: an error burst on the way to the memory limit."""
    service.errors = 0.5
    fill_up(service)
    summary = service.die()
    assert summary.verdict.headline.startswith("Memory limit")
    assert any("errors rose" in detail for detail in summary.verdict.details)


def test_a_machine_that_has_no_memory_left_is_named(service: Service) -> None:
    """Where the process has no limit of its own."""
    series = service.life.scope.series("system.memory.utilization", "1", "gauge", {"system.memory.state": "used"})
    service.ring.put(series, service.fake.ns, 0.985)
    service.turn()
    headline = service.die().verdict.headline
    assert "Memory limit: 98.5 % of the machine's memory was used, 200 MiB of 1 GiB by this process." == headline


def test_an_alert_that_fired_is_told(service: Service) -> None:
    """What the history cannot show, the alert says; and where errors came from."""
    alert = Alert(
        "a1", "Limit", "firing", "critical", START_NS + service.fake.ns, "queue", "at most 5", "9", "queue is 9 long"
    )
    service.turn(alert)
    snapshot = replace(service.life.turn(), error_places=(ErrorPlace("predict", "ValueError", "/srv/a.py:1 in f", 3),))
    service.life.recording.remember(snapshot, [], service.life.history)
    summary = service.die()
    assert "Alert: queue is 9 long" == summary.verdict.headline
    assert "ALERT" in str(summary)


def test_the_words_tell_who_when_and_what_is_missing(service: Service) -> None:
    """The heading says since when and until when; what of the file could not be read is said."""
    contents = replace(service.contents(), missing=("a history: it is \x1b damaged",))
    summary = post_mortem(contents)
    assert summary.heading.endswith(f"it died, last heard of at {clock_time(START_NS + service.fake.ns)}")
    assert {"no watched call", r"a history: it is \x1b damaged"} <= set(notes(summary).values())
    assert "200 MiB of 1 GiB, steady" == notes(summary)["memory"]


@pytest.mark.parametrize(
    ("state", "words"), [("running", "it lives"), ("stopped", "lives without"), ("closed", "ended well")]
)
def test_a_process_that_did_not_die_is_not_said_to_have(state: str, words: str, service: Service) -> None:
    """Its summary is that of one that runs."""
    fill_up(service)
    summary = post_mortem(service.contents(state))
    assert not summary.verdict.headline.startswith("Memory limit")
    assert words in summary.heading
    assert "" == summary.to_dict()["cause"]


def test_a_recording_with_nothing_in_it_is_told(tmp_path: Path) -> None:
    """Of a process that died before its first interval."""
    service = Service(tmp_path)
    headline = service.die().verdict.headline
    assert headline == "Nothing had changed before it died: no watched call has ended yet."


def test_the_figures_are_json(service: Service) -> None:
    """Finite numbers and printable texts, hostile names too."""
    hostile = service.life.scope.call("\x1b]0;owned\x07\n" + "x" * 500).duration
    service.ring.begin(hostile, service.fake.ns)
    service.ring.write(hostile, service.fake.ns, float("inf"), 0, 0)
    service.ring.write(hostile, service.fake.ns, float("nan"), 0, 0)
    service.turn()
    summary = service.die()
    text = json.dumps(summary.to_dict(), allow_nan=False)
    assert r"\x1b" not in text.replace(r"\\x1b", "")
    assert "\x1b" not in str(summary)
    figures: dict[str, Any] = json.loads(text)
    assert figures["headline"] == figures["verdict"]["headline"] == summary.verdict.headline
    assert ("dead", 200 * MIB, 1024 * MIB) == (
        figures["state"],
        figures["memory"]["last"],
        figures["memory_limit_bytes"],
    )
