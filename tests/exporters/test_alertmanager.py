"""Incidents at a real Alertmanager, and the alerts that it is sent."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from contracts.receiver import ReceiverContract
from contracts.snapshots import PROCESS, START_NS, alert
from holter.errors import ConfigurationError
from holter.exporters.alertmanager import Alertmanager
from holter.monitor import Monitor
from holter.names import EXPORTER_FAILURES
from holter.notice import Notice
from hooks import Hook, until

SECOND_NS = 1_000_000_000


class TestContract(ReceiverContract):
    """What every receiver must satisfy."""

    path = "/api/v2/alerts"

    def build(self, url: str, **options: Any) -> Alertmanager:
        """Return one that posts there."""
        return Alertmanager(url, **options)


def postable(state: str = "firing", **options: Any) -> list[dict[str, Any]]:
    """Return what is posted of an incident of two alerts and one that has joined."""
    first, graver = alert(severity="warning", related=("embed: rose", "cache: fell")), alert(id="b", check="slo")
    told = Notice("5e1f", 2, state, START_NS + 90 * SECOND_NS, graver, (first, graver), (alert(id="c"),), PROCESS)
    return Alertmanager("http://localhost:9093", **options).postable(told)


def test_an_incident_is_an_alert_there_for_each_that_announced_it() -> None:
    """Labels that stay the same until it is over, by which it can be grouped and routed; the rest are annotations."""
    first, graver = postable(labels={"team": "vision"}, generator_url="https://grafana.example.com/d/1")
    labels = {
        "alertname": "HolterLimit", "incident": "5e1f", "service": "sentiment", "severity": "warning",
        "target": "predict", "team": "vision",
    }  # fmt: skip
    assert labels == first["labels"]
    assert {**labels, "alertname": "HolterSlo", "severity": "critical"} == graver["labels"]
    assert ("2026-11-22T13:03:09.225Z", "https://grafana.example.com/d/1") == (
        first["startsAt"],
        first["generatorURL"],
    )
    assert "endsAt" not in first
    told = first["annotations"]
    assert ("predict is slow", "embed: rose; cache: fell") == (told["summary"], told["related"])
    assert "expected p99 below 200 ms, saw 412 ms. Next: look at its stages" == told["description"]
    assert 2 == told["others"].count("predict: predict is slow")


def test_an_incident_that_is_over_ends_there() -> None:
    """With the labels that it had, and after it began whatever the clock says."""
    before, after = postable(), postable("resolved")
    assert [one["labels"] for one in before] == [one["labels"] for one in after]
    assert {"2026-11-22T13:04:39.225Z"} == {one["endsAt"] for one in after}
    assert all("Next" not in one["annotations"]["description"] for one in after)
    early = Notice("5e1f", 2, "resolved", START_NS - 1, alert(), (alert(),))
    (one,) = Alertmanager("http://localhost:9093").postable(early)
    assert one["startsAt"] < one["endsAt"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"labels": {"a-b": "c"}}, "labels must have names of letters"),
        ({"labels": {"a": 1}}, "values of type str, got 'a' with a int"),
        ({"labels": [1]}, "labels must be a dict"),
        ({"labels": {"incident": "x"}}, "what holter says"),
        ({"generator_url": "javascript:alert(1)"}, "use http or https"),
        ({"resend_seconds": 0}, "resend_seconds must be greater than 0"),
    ],
)
def test_what_cannot_work_is_refused(options: dict[str, Any], words: str) -> None:
    """With what was expected and what came."""
    with pytest.raises(ConfigurationError, match=words):
        Alertmanager("http://localhost:9093", **options)


# -- a real one


class Real:
    """An Alertmanager that groups nothing and tells a webhook at once."""

    def __init__(self, folder: Path, webhook: str) -> None:
        config = {
            "global": {"resolve_timeout": "1s"},
            "route": {
                "receiver": "hook", "group_by": ["..."], "group_wait": "0s", "group_interval": "1s",
                "repeat_interval": "1h",
            },
            "receivers": [{"name": "hook", "webhook_configs": [{"url": webhook, "send_resolved": True}]}],
        }  # fmt: skip
        (folder / "alertmanager.yml").write_text(json.dumps(config))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._folder = folder
        self.begin()

    def begin(self) -> None:
        """Start it, without what it knew."""
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        program = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
        self._process = subprocess.Popen(
            [
                str(program), f"--config.file={self._folder}/alertmanager.yml", f"--storage.path={folder}/data",
                f"--web.listen-address=127.0.0.1:{self.port}", "--cluster.listen-address=", "--log.level=error",
            ],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        until(self._is_ready)

    def _is_ready(self) -> bool:
        with suppress(OSError):
            return self._get("/-/ready").startswith(b"OK")
        return False

    def alerts(self) -> list[dict[str, Any]]:
        """Return the alerts that are active there."""
        return json.loads(self._get("/api/v2/alerts"))

    def _get(self, path: str) -> bytes:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=5)
        with closing(connection):
            connection.request("GET", path)
            return connection.getresponse().read()

    def end(self) -> None:
        """Stop it."""
        self._process.kill()
        self._process.wait()


@pytest.fixture
def real(tmp_path: Path) -> Iterator[Callable[[str], Real]]:
    """Starts one that tells the webhook at a URL."""
    if not (shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")):
        pytest.skip("needs Alertmanager: apt-get install prometheus-alertmanager")
    made: list[Real] = []

    def start(webhook: str) -> Real:
        made.append(Real(tmp_path, webhook))
        return made[-1]

    yield start
    for one in made:
        one.end()


def test_a_real_alertmanager_tells_of_an_incident_once_while_it_lasts_and_when_it_is_over(
    real: Callable[[str], Real],
) -> None:
    """It lasts longer than its resolve_timeout, as it is sent again; its end is told by the time that it had."""
    trouble = [True]
    with Hook() as hook:
        alertmanager = real(hook.url)
        said: list[str] = []

        class Check:
            def judge(self, snapshot: Any) -> Any:
                state = "firing" if trouble[0] else "resolved"
                if said[-1:] == [state] or (not said and state == "resolved"):
                    return []
                said.append(state)
                since_ns = snapshot.time_ns if state == "firing" else snapshot.time_ns - SECOND_NS
                return [alert(state=state, since_ns=since_ns)]

        exporter = Alertmanager(alertmanager.url, resend_seconds=0.3, labels={"team": "vision"})
        with Monitor("sentiment", checks=[Check()], exporters=[exporter], samplers=[], interval_seconds=0.1) as monitor:
            until(alertmanager.alerts)
            (known,) = alertmanager.alerts()
            (own,) = monitor.alerts()
            assert (own.incident, "vision", "active") == (
                known["labels"]["incident"],
                known["labels"]["team"],
                known["status"]["state"],
            )
            (request,) = hook.wait_for(1)
            assert ("firing", "predict is slow") == (
                request.body["alerts"][0]["status"],
                request.body["commonAnnotations"]["summary"],
            )
            # It would be over for Alertmanager by then if nobody had sent it again.
            end = datetime.fromisoformat(known["endsAt"]) + timedelta(seconds=0.5)
            until(lambda: datetime.now(UTC) > end)
            assert ["active"] == [one["status"]["state"] for one in alertmanager.alerts()]
            assert 1 == len(hook.requests)
            trouble[0] = False
            hook.wait_for(2)
        assert ["firing", "resolved"] == [one.body["status"] for one in hook.requests]
        assert {own.incident} == {one.body["alerts"][0]["labels"]["incident"] for one in hook.requests}
        assert [] == alertmanager.alerts()


def test_a_real_alertmanager_that_was_away_and_has_forgotten_knows_of_it_again(real: Callable[[str], Real]) -> None:
    """What it missed waits, and what goes on is sent again; nobody is told of it by another incident."""
    with Hook() as hook:
        alertmanager = real(hook.url)
        alertmanager.end()
        says = [[alert()]]

        class Check:
            def judge(self, snapshot: Any) -> Any:
                return [replace(one, since_ns=snapshot.time_ns) for one in (says.pop() if says else [])]

        exporter = Alertmanager(alertmanager.url, resend_seconds=0.3)
        with Monitor("sentiment", checks=[Check()], exporters=[exporter], samplers=[], interval_seconds=0.1) as monitor:
            until(lambda: monitor.snapshot().find(EXPORTER_FAILURES) is not None)
            found = []
            for _ in range(2):
                alertmanager.begin()
                until(alertmanager.alerts)
                found += [one["labels"]["incident"] for one in alertmanager.alerts()]
                alertmanager.end()
        assert [one.incident for one in monitor.alerts()] * 2 == found
