"""Snapshots as pages: what stands on them whatever comes, and when they are made anew."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from contracts.snapshots import Story, alert, busy_story
from holter.exposition import Exposition, SnapshotCollector
from holter.model import Alert, Snapshot
from metricpages import values


class Source:
    """What a monitor would give."""

    def __init__(self, snapshot: Snapshot | None = None) -> None:
        self.snapshot, self.alerts = snapshot, list[Alert]()

    def __call__(self) -> tuple[Snapshot | None, list[Alert]]:
        return self.snapshot, self.alerts


def read(exposition: Exposition) -> dict[str, float]:
    """Return the samples of the page."""
    return values(exposition.answer("GET").body.decode())


def test_without_a_snapshot_there_is_nothing() -> None:
    """A collector yields nothing, a page says that it is early."""
    assert list(SnapshotCollector(Source()).collect()) == []
    assert Exposition(Source()).answer("GET").status == 503


def test_no_metric_takes_a_name_that_every_page_has() -> None:
    """Whoever calls a metric like holter's own finds it under a number."""
    story = Story()
    story.record("holter_info", [7.0], kind="gauge", unit="1")
    story.record("holter_alerts_firing", [8.0], kind="gauge", unit="1")
    source = Source(story.snapshot())
    source.alerts = [alert()]
    seen = read(Exposition(source))
    assert (7.0, 8.0) == (seen["holter_2_info"], seen["holter_alerts_firing_2"])
    assert 1 == sum(name.startswith("holter_info") for name in seen)


def test_an_alert_shows_without_a_new_snapshot() -> None:
    """A page is kept as long as it is right, and no longer."""
    source = Source(busy_story().snapshot())
    exposition = Exposition(source)
    assert not [name for name in read(exposition) if name.startswith("holter_alerts")]
    source.alerts = [alert()]
    assert [name for name in read(exposition) if name.startswith("holter_alerts")]


def test_of_many_alerts_those_that_fire_are_shown() -> None:
    """A hundred at most; a rule that fires again is one series."""
    source = Source(busy_story().snapshot())
    source.alerts = [alert(id=str(n), target=f"t{n % 300}", state="resolved") for n in range(600)]
    source.alerts += [alert(id="f", target="t0")]
    seen = {name: value for name, value in read(Exposition(source)).items() if name.startswith("holter_alerts")}
    assert (100, 1) == (len(seen), sum(seen.values()))


def test_a_sum_that_falls_is_left_out() -> None:
    """Prometheus would take it for a restart; the buckets tell the number."""
    story = Story()
    story.record("app.change", [1.0, 2.0], unit="1")
    source = Source(story.snapshot())
    exposition = Exposition(source)
    assert read(exposition)["app_change_sum"] == 3
    story.record("app.change", [-9.0], unit="1")
    source.snapshot = story.snapshot()
    seen = read(exposition)
    assert "app_change_sum" not in seen
    assert (1, 3) == (seen['app_change_bucket{le="0.0"}'], seen['app_change_bucket{le="+Inf"}'])


def test_a_forked_child_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its figures begin at zero, and a lock that a thread of its parent holds is none of its own."""
    source = Source(busy_story().snapshot())
    exposition = Exposition(source)
    read(exposition)
    exposition._lock.acquire()
    exposition._collector._lock.acquire()
    story = Story()
    story.call("predict", [0.001])
    source.snapshot = story.snapshot()
    process = os.getpid()
    monkeypatch.setattr("holter.exposition.os.getpid", lambda: process + 1)
    counts = [
        value for name, value in read(exposition).items() if name.startswith("holter_call_duration_seconds_count")
    ]
    assert counts == [1]


def test_values_none_of_which_was_read_have_no_chosen_bounds() -> None:
    """There is nothing to choose from yet, and their number is known."""
    story = Story()
    key = story.record("app.took", [0.1, 0.2])
    story.total[key] = replace(story.total[key], histogram=None)
    seen = read(Exposition(Source(story.snapshot()), "auto"))
    assert {'app_took_seconds_bucket{le="+Inf"}': 2, "app_took_seconds_count": 2}.items() <= seen.items()
    assert len([name for name in seen if name.startswith("app_took_seconds_bucket")]) == 1
