"""The rounds of the doctor."""

from __future__ import annotations

from holter.checkup.finding import Finding
from holter.checkup.rounds import GROUPS, ROUNDS, Round, findings, looked


def test_what_imports_most_comes_last() -> None:
    """Of the groups, so that the first lines are there at once."""
    assert ("installed", "around", "recording", "probes", "samplers", "exporters", "components") == GROUPS
    assert GROUPS == tuple(dict.fromkeys(one.group for one in ROUNDS))


def test_groups_and_ports_are_chosen() -> None:
    """Ports are tried before all else, whatever the groups."""
    found = list(findings({"around"}, [0]))
    assert [("ports", "port 0"), ("around", "folder")] == [(group, finding.subject) for group, finding in found]


def test_a_round_that_fails_stops_no_other() -> None:
    """What it had found by then is told, and that there is no more."""

    def look():
        yield Finding("one", "ok", "works")
        raise ZeroDivisionError

    first, second = looked(Round("samplers", look))
    assert ("one", "samplers", "broken") == (first.subject, second.subject, second.state)
    assert "could not be looked at: ZeroDivisionError at" in second.words
