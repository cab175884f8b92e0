"""The settings of a monitor: what is refused at construction, and when two are the same."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

import holter
from holter.errors import ConfigurationError
from holter.settings import Settings, checked

USUAL: dict[str, Any] = {
    "name": "sentiment",
    "version": None,
    "attributes": None,
    "exporters": (),
    "checks": (),
    "samplers": (),
    "on_alert": None,
    "interval_seconds": 1.0,
    "recording": True,
    "strict": False,
}


def settings(**given: Any) -> Settings:
    """Return the usual settings but for those given."""
    return checked(**{**USUAL, **given})


class Plain:
    """A plug-in of a user's own that says nothing of itself."""

    def __init__(self, seconds: Any = 1.0, **more: Any) -> None:
        self.every_seconds = self.interval_seconds = seconds
        vars(self).update(more)

    def export(self, snapshot: Any, alerts: Any) -> None:
        """Do nothing."""

    def close(self, timeout: float) -> None:
        """Do nothing."""

    def sample(self, record: Any) -> None:
        """Do nothing."""

    def judge(self, snapshot: Any) -> Any:
        """Find nothing."""


PLAIN = Plain()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"name": 3}, "name of 1 to 200 characters"),
        ({"name": ""}, "name of 1 to 200 characters"),
        ({"version": 7}, "version as a str such as 'v7', got 7"),
        ({"attributes": ["a"]}, "attributes as a dict"),
        ({"attributes": {"a": []}}, "values of type str, bool, int"),
        ({"exporters": Plain()}, r"a list, got a single Plain: put it in \[ \]"),
        ({"exporters": 3}, "exporters as a list, got int"),
        ({"exporters": "log"}, r"exporters such as holter.LogFile\('holter.jsonl'\), got str"),
        ({"exporters": [Plain]}, "got the class Plain: call it"),
        ({"checks": [object()]}, r"checks such as holter.Limit\(predict, 'p99', above=0.2\), got object"),
        ({"checks": [PLAIN, PLAIN]}, "checks has the same object twice: it would be asked twice"),
        ({"samplers": [None]}, r"samplers such as holter.ProcessSampler\(\), got NoneType"),
        ({"samplers": [Plain(0)]}, "Plain.interval_seconds must be greater than 0"),
        ({"samplers": [Plain(1, budget=0)]}, "Plain.budget must be greater than 0, got 0"),
        ({"samplers": [Plain(1, budget="1 %")]}, "Plain.budget must be a finite number, got '1 %'"),
        ({"samplers": [Plain("1")]}, "Plain.interval_seconds must be a finite number, got '1'"),
        ({"exporters": [Plain(math.nan)]}, "Plain.every_seconds must be a finite number"),
        ({"on_alert": "page"}, "on_alert as a function of an Alert, got str"),
        ({"interval_seconds": 0}, "interval_seconds must be greater than 0, got 0"),
        ({"interval_seconds": True}, "interval_seconds must be a finite number"),
    ],
)
def test_refuses_what_cannot_work(given: dict[str, Any], said: str) -> None:
    """With what was expected, what came, and what to do."""
    with pytest.raises(ConfigurationError, match=said):
        settings(**given)


def test_takes_what_works() -> None:
    """Plug-ins from any iterable, seconds as any number, and a copy of the attributes."""
    attributes = {"region": "eu", "canary": True}
    plug_in = Plain()
    made = settings(
        version="v7",
        attributes=attributes,
        exporters=(one for one in [plug_in]),
        checks=[plug_in],
        samplers={plug_in},
        on_alert=print,
        interval_seconds=2,
    )
    attributes["region"] = "us"
    assert ((plug_in,), (plug_in,), (plug_in,)) == (made.exporters, made.checks, made.samplers)
    assert ({"region": "eu", "canary": True}, 2.0) == (made.attributes, made.interval_seconds)


def test_the_name_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """OTEL_SERVICE_NAME names a service that has no other name, else service.name in OTEL_RESOURCE_ATTRIBUTES."""
    assert "unknown_service" == settings(name=None).name
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "host.name=a, service.name = text%20shop ,b")
    assert "text shop" == settings(name=None).name
    monkeypatch.setenv("OTEL_SERVICE_NAME", "toxicity")
    assert ("toxicity", "sentiment") == (settings(name=None).name, settings().name)


def test_equal_are_those_of_the_same_types_and_settings(tmp_path: Path) -> None:
    """Plug-ins are compared by what they are made of, those that do not say it by themselves."""

    def make(**given: Any) -> Settings:
        return settings(
            attributes={"a": 1},
            exporters=[holter.LogFile(tmp_path / "a.jsonl")],
            checks=[holter.Limit("app.m", "p99", above=1)],
            samplers=[holter.ProcessSampler()],
            **given,
        )

    assert make() == make()
    assert hash(make()) == hash(make())
    plain = Plain()
    assert settings(exporters=[plain]) == settings(exporters=[plain])
    others = [
        make(version="v2"),
        make(name="other"),
        make(strict=True),
        make(interval_seconds=2),
        make(on_alert=print),
        settings(),
        settings(exporters=[holter.LogFile(tmp_path / "b.jsonl")]),
        settings(exporters=[holter.LogFile(tmp_path / "b.jsonl", every_seconds=3)]),
        settings(checks=[holter.Limit("app.m", "p99", above=2)]),
        settings(exporters=[Plain()]),
        settings(exporters=[Plain()]),
        object(),
    ]
    assert [] == [(one, other) for at, one in enumerate(others) for other in others[:at] if one == other]
    assert [] == [one for one in others if one == make()]


PREDICT = holter.watch(len, name="measured by its length")


@pytest.mark.parametrize(
    ("kind", "usual", "other"),
    [
        (
            lambda **given: holter.Limit(PREDICT, **given),
            {"statistic": "p99", "above": 1},
            {"statistic": "p90", "above": 2, "window_seconds": 5, "for_seconds": 3, "clear_at": 0.5}
            | {"minimum_calls": 4, "where": {"model": "v7"}, "severity": "critical"},
        ),
        (
            lambda **given: holter.SLO(PREDICT, **given),
            {"below": 1},
            {"below": 2, "objective": 0.9, "window_seconds": 86_400, "where": {"model": "v7"}, "name": "fast"},
        ),
        (
            lambda **given: holter.Stall(PREDICT, **given),
            {},
            {"after_seconds": 3, "silent_seconds": "learnt", "factor": 3, "at_least_seconds": 3, "grace_seconds": 3}
            | {"minimum_calls": 3, "where": {"model": "v7"}, "severity": "warning"},
        ),
        (
            lambda **given: holter.Leak("app.m", **given),
            {},
            {"where": {"model": "v7"}, "limit": 3, "window_seconds": 3, "warm_up_seconds": 3, "minimum_growth": 3},
        ),
        (
            lambda **given: holter.Saturation(PREDICT, **given),
            {},
            {"queue": "app.m", "where": {"model": "v7"}, "minimum": 3, "growth": 3, "window_seconds": 3}
            | {"severity": "critical"},
        ),
        (
            lambda **given: holter.NonFinite(PREDICT, **given),
            {},
            {"outputs": "score", "share": 0.1, "minimum_values": 3, "window_seconds": 3, "severity": "info"},
        ),
        (
            lambda **given: holter.OutOfRange(PREDICT, **given),
            {"low": 0},
            {"low": 1, "high": 3, "outputs": "score", "share": 0.1, "minimum_values": 3, "window_seconds": 3}
            | {"severity": "info"},
        ),
        (
            holter.Webhook,
            {"url": "http://a/b"},
            {"url": "http://a/c", "headers": {"a": "b"}, "timeout": 3, "name": "desk"},
        ),
        (
            holter.Alertmanager,
            {"url": "http://a/b"},
            {"url": "http://a/c", "labels": {"a": "b"}, "generator_url": "http://a", "resend_seconds": 3}
            | {"headers": {"a": "b"}, "timeout": 3, "name": "desk"},
        ),
    ],
)
def test_one_with_another_setting_is_another(kind: Any, usual: dict[str, Any], other: dict[str, Any]) -> None:
    """A second start has it take effect, and its alerts have ids of their own."""
    assert repr(kind(**usual)) == repr(kind(**usual))
    assert [] == [name for name in other if repr(kind(**usual)) == repr(kind(**{**usual, name: other[name]}))]
