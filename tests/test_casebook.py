"""What becomes of alerts in the log when the next process goes on with them; the rest is in `test_judging`."""

from __future__ import annotations

import logging

import pytest

from contracts.snapshots import alert
from holter.casebook import Casebook
from holter.keptsilences import Silences


def test_the_next_process_says_once_of_a_trouble_that_it_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    """Its other alerts are information, as they were when they joined; what is in no incident stands for itself."""
    caplog.set_level(logging.INFO, "holter")
    casebook = Casebook(Silences({}), None)
    for key, incident in (("page", "5e1f"), ("ticket", "5e1f"), ("other", "77aa"), ("alone", ""), ("too", "")):
        casebook.resume(alert(id=key, incident=incident))
    assert ["WARNING", "INFO", "WARNING", "WARNING", "WARNING"] == [record.levelname for record in caplog.records]
    assert ["page", "ticket", "other", "alone", "too"] == list(casebook.alerts)
