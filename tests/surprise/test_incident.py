"""Which alarms are one incident."""

from __future__ import annotations

import pytest

from holter.signals import Key, Value
from holter.surprise.incident import Incident
from holter.surprise.rhythm import Alarm

RATE, OTHER, THIRD = (
    Key("http.server.request.duration", (("http.route", route),), "rate") for route in ("/a", "/b", "/c")
)
NOW = 1_790_000_000.0


def alarm(since_seconds: float) -> Alarm:
    """Return one that has been on its way for so long."""
    return Alarm(3, "fall", since_seconds, (1e6, 1e7, 1e8), 60.0, (2.0, 4.0))


@pytest.mark.parametrize(
    ("key", "later", "since", "is_part"),
    [
        (RATE, 20_000.0, 60.0, True),
        (OTHER, 300.0, 60.0, True),
        (OTHER, 7_200.0, 7_200.0 + 3_600.0 - 500.0, True),
        (OTHER, 7_200.0, 60.0, False),
        (OTHER, 7_200.0, 7_200.0 + 3_600.0 + 900.0, False),
    ],
    ids=["the same signal", "soon after", "on its way for as long", "begun later", "begun before"],
)
def test_what_comes_or_began_together_is_one(key: Key, later: float, since: float, *, is_part: bool) -> None:
    """An incident that had been on its way for an hour when it was told of."""
    incident = Incident(RATE, alarm(3_600.0), Value(1.0, 1.0, "1", 0), 100, NOW)
    assert is_part == incident.takes(key, alarm(since), NOW + later)


def test_only_what_is_new_to_an_incident_makes_it_wider() -> None:
    """A signal that goes on calling for an alarm all night does not swallow what begins in the morning."""
    incident = Incident(RATE, alarm(60.0), Value(1.0, 1.0, "1", 0), 100, NOW)
    incident.join([RATE], NOW + 3_600.0)
    assert incident.moved_seconds == NOW + 3_600.0
    assert not incident.takes(OTHER, alarm(60.0), NOW + 3_660.0)
    incident.join([OTHER], NOW + 3_660.0)
    assert incident.takes(THIRD, alarm(60.0), NOW + 3_720.0)
