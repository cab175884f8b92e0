"""What every exporter must satisfy."""

from __future__ import annotations

import math
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from contracts.snapshots import alert, busy_story, hostile_alert, hostile_story
from holter.errors import ConfigurationError
from holter.model import Exporter, Process, Silence, Snapshot

EMPTY = Snapshot(time_ns=0, interval_ns=0, series={}, total={}, interval={}, process=Process(service="idle"))


class ExporterContract:
    """The contract; a test class inherits it and says how an exporter is built and where its text arrives."""

    def build(self, folder: Path, **options: Any) -> Exporter:
        """Return a new exporter that ships into *folder*, plainly where it could also do so in colours."""
        raise NotImplementedError

    def text(self, exporter: Exporter) -> str:
        """Return all that *exporter* has shipped, as it stands there."""
        raise NotImplementedError

    @pytest.fixture
    def exporter(self, tmp_path: Path) -> Exporter:
        """One exporter with its defaults."""
        return self.build(tmp_path)

    def test_has_the_shape_of_an_exporter(self, exporter: Exporter) -> None:
        """The monitor finds all that it calls, and an interval that it can wait for."""
        assert isinstance(exporter, Exporter)
        assert 0 < exporter.every_seconds < math.inf

    @pytest.mark.parametrize("seconds", [0.0, -1.0, math.nan, math.inf])
    def test_refuses_an_interval_that_is_none(self, tmp_path: Path, seconds: float) -> None:
        """What cannot be waited for is refused where it is written, in words."""
        with pytest.raises(ConfigurationError, match="every_seconds"):
            self.build(tmp_path, every_seconds=seconds)

    def test_ships_figures_with_their_version(self, exporter: Exporter) -> None:
        """Each call appears by its name, beside the version that it ran in."""
        exporter.export(busy_story().snapshot(), [])
        text = self.text(exporter)
        assert [True, True] == ["predict" in text, "v7" in text]

    def test_ships_alerts_from_any_iterable(self, exporter: Exporter) -> None:
        """An alert arrives with its state and its message; a generator is read once."""
        exporter.export(EMPTY, (one for one in [alert()]))
        text = " ".join(self.text(exporter).split())
        assert [True, True] == ["predict is slow" in text, "firing" in text.lower()]

    def test_takes_a_snapshot_in_which_nothing_has_happened(self, exporter: Exporter) -> None:
        """No series, no time and no alert are no trouble."""
        exporter.export(EMPTY, [])

    def test_lets_no_text_break_out(self, exporter: Exporter) -> None:
        """Line breaks, escapes, NUL and surrogates in names and alerts arrive as harmless text, if at all."""
        exporter.export(hostile_story().snapshot(), [hostile_alert()])
        text = self.text(exporter)
        text.encode()
        lines = text.replace("\r\n", "\n").split("\n")
        assert [] == [line for line in lines if not line.isprintable() or line.startswith('{"@timestamp":"forged')]

    def test_leaves_the_snapshot_as_it_is(self, exporter: Exporter) -> None:
        """Other exporters get the same snapshot: none changes it."""
        snapshot = busy_story().snapshot()
        before = (dict(snapshot.series), dict(snapshot.total), dict(snapshot.interval))
        exporter.export(snapshot, [])
        assert before == (snapshot.series, snapshot.total, snapshot.interval)

    def test_exports_from_another_thread_than_built_it(self, exporter: Exporter) -> None:
        """The user's thread builds it, a thread of its own runs it."""
        thread = threading.Thread(target=exporter.export, args=(busy_story().snapshot(), [alert()]))
        thread.start()
        thread.join()
        assert "predict" in self.text(exporter)

    def test_closes_in_time_and_more_than_once(self, exporter: Exporter, tmp_path: Path) -> None:
        """`close` keeps to its timeout, with or without an export before, and may be called again."""
        (tmp_path / "unused").mkdir()
        unused = self.build(tmp_path / "unused")
        exporter.export(busy_story().snapshot(), [])
        start = time.monotonic()
        for one in (exporter, unused, exporter):
            one.close(0.5)
        assert time.monotonic() - start < 3 * 0.5

    def test_tells_what_silences_an_alert(self, exporter: Exporter) -> None:
        """Who reads it sees that it fires, that nobody was told, until when, and why."""
        silence = Silence("predict", 0, 1_795_352_589_000_000_000, "deploy of v8")
        exporter.export(EMPTY, [alert(incident="5e1f", silence=silence)])
        text = " ".join(self.text(exporter).split())
        if "predict is slow" in text:
            assert [True, True] == ["silenced until" in text, "deploy of v8" in text]
