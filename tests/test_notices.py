"""What a monitor tells people by itself."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

import pytest

from contracts.snapshots import Story, alert
from holter.guard import Guard
from holter.model import Alert, Silence
from holter.notice import Notice
from holter.notices import AlertCallback, Notices


def test_an_error_of_one_place_is_told_once_for_all_runs(caplog: pytest.LogCaptureFixture) -> None:
    """A monitor that is started again does not repeat what it has logged before."""
    guard, logger = Guard(lambda _: None), logging.getLogger("holter")
    for place in ("units", "units", "tag"):
        guard.refused(place, "a number")
        Notices(logger, guard).export(Story().snapshot(), [])
    assert ["holter: units went wrong", "holter: tag went wrong"] == [line.split(" (")[0] for line in caplog.messages]


@pytest.fixture
def levels(caplog: pytest.LogCaptureFixture) -> Callable[..., list[str]]:
    """Returns the levels at which alerts, each in an interval of its own, are logged."""

    def of(*alerts: Alert) -> list[str]:
        caplog.set_level(logging.INFO, logger="holter")
        caplog.clear()
        notices = Notices(logging.getLogger("holter"), Guard(lambda _: None))
        for one in alerts:
            notices.export(Story().snapshot(), [one])
        return [record.levelname for record in caplog.records]

    return of


def test_what_joins_an_incident_is_logged_as_information(levels: Callable[..., list[str]]) -> None:
    """Unless it is graver than what was; when the one that was logged is over, the next is news again."""
    a = alert(id="a", severity="warning", incident="5e1f")
    b = alert(id="b", severity="warning", incident="5e1f")
    c = alert(id="c", severity="critical", incident="5e1f")
    assert ["WARNING", "INFO", "CRITICAL", "INFO"] == levels(a, b, c, replace(b, id="d"))
    assert ["WARNING", "INFO", "WARNING"] == levels(a, replace(a, state="resolved"), b)
    assert ["WARNING", "WARNING"] == levels(replace(a, incident=""), replace(b, incident=""))


def test_what_is_silenced_is_logged_as_information(levels: Callable[..., list[str]]) -> None:
    """With why, and until when; it does not hide what is not."""
    silence = Silence("a", 0, 1, "deploy")
    a = alert(id="a", incident="5e1f", silence=silence)
    assert ["INFO", "CRITICAL"] == levels(a, alert(id="b", incident="5e1f"))


def test_the_callback_hears_of_the_alert_that_announces_and_of_the_end_of_all_that_did() -> None:
    """One that raises hears of the next."""
    heard: list[tuple[str, str]] = []

    def page(one: Alert) -> None:
        heard.append((one.id, one.state))
        raise ZeroDivisionError

    callback = AlertCallback(page, Guard(lambda _: None))
    a, b = alert(id="a"), alert(id="b")
    callback.send(Notice("5e1f", 1, "firing", 0, a, (a,)), 1.0)
    callback.send(Notice("5e1f", 2, "firing", 0, b, (a, b)), 1.0)
    over = tuple(replace(one, state="resolved") for one in (a, b))
    callback.send(Notice("5e1f", 3, "resolved", 0, over[1], over), 1.0)
    assert [("a", "firing"), ("b", "firing"), ("a", "resolved"), ("b", "resolved")] == heard
