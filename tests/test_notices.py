"""What a monitor tells people by itself."""

from __future__ import annotations

import logging

import pytest

from contracts.snapshots import Story
from holter.guard import Guard
from holter.notices import Notices


def test_an_error_of_one_place_is_told_once_for_all_runs(caplog: pytest.LogCaptureFixture) -> None:
    """A monitor that is started again does not repeat what it has logged before."""
    guard, logger = Guard(lambda _: None), logging.getLogger("holter")
    for place in ("units", "units", "tag"):
        guard.refused(place, "a number")
        Notices(logger, guard).export(Story().snapshot(), [])
    assert ["holter: units went wrong", "holter: tag went wrong"] == [line.split(" (")[0] for line in caplog.messages]
