"""A snapshot as log lines: what people read in the message, and what a log store makes of the fields."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from contracts.snapshots import Story, alert, busy_story, hostile_alert, hostile_story
from holter.loglines import Line, LogLines, encode
from holter.model import Alert, Pause, Process, SlowCall, Snapshot, Stage
from holter.names import CALL_DURATION, CALL_NAME, SPAN_DURATION, SPAN_NAME, STREAM_FIRST_ITEM


def lines_of(snapshot: Snapshot, *alerts: Alert) -> list[Line]:
    """Return all lines for *snapshot* and *alerts*, the environment first."""
    lines = LogLines(snapshot)
    news = [snapshot.series[key] for key in snapshot.interval]
    return [lines.of_environment(), *lines.of_series(news), *map(lines.of_alert, alerts)]


def dotted(value: object, path: str = "") -> list[tuple[str, str]]:
    """Return every path in a line as a log store flattens it, with what lies there."""
    if isinstance(value, dict):
        inner = [pair for key, one in value.items() for pair in dotted(one, f"{path}.{key}" if path else key)]
        return [(path, "group"), *inner] if path else inner
    return [(path, "text" if isinstance(value, str) else "list" if isinstance(value, list) else "number")]


def test_no_field_is_a_value_here_and_a_group_there() -> None:
    """Over all lines, hostile names and dotted evidence included, each flattened path has one type."""
    found = lines_of(busy_story().snapshot(), alert(evidence={"a": 1, "a.b": 2.5, "text": "a", "text.b": "c"}))
    found += lines_of(hostile_story().snapshot(), hostile_alert())
    kinds: dict[str, set[str]] = {}
    for line in found:
        pairs = dotted(line)
        assert max(Counter(path for path, _ in pairs).values()) == 1
        for path, kind in pairs:
            kinds.setdefault(path, set()).add(kind)
    assert {path: kind for path, kind in kinds.items() if len(kind) > 1} == {}


def test_labels_are_keywords_and_durations_are_whole_nanoseconds() -> None:
    """No number lies under `labels`, whatever the attribute was."""
    story = Story()
    story.record("loss", [0.5], attributes={"rate": 0.1, "fold": 3, "warm.up": True, "name": "a"})
    _, line = lines_of(story.snapshot())
    assert {
        "deployment_environment_name": "test",
        "rate": "0.1",
        "fold": "3",
        "warm_up": "true",
        "name": "a",
    } == line["labels"]
    assert line["event"] == {"kind": "metric", "dataset": "holter.series", "duration": 10_000_000_000}


def test_a_call_is_one_line_however_its_calls_ended() -> None:
    """The message reads as a sentence; the figures are those of all its calls; tags have lines of their own."""
    story = busy_story()
    snapshot = story.snapshot()
    plain, tagged = [line for line in lines_of(snapshot) if line["holter"].get("metric") == CALL_DURATION]
    assert plain["message"] == (
        "predict: 813 calls, 81.3/s, p50 405 ms, p90 727 ms, p99 801 ms, max 2 s, "
        "3 errors (ValueError 3 at model.py:12 in parse), 1 timeout (TimeoutError 1)"
    )
    assert tagged["message"].startswith("predict [model=v8]: 1 call, 0.1/s, p50 ")
    statistics = snapshot.find(CALL_DURATION)
    assert statistics is not None
    assert statistics.total.count == plain["holter"]["count"] + tagged["holter"]["count"] == 814
    assert {"ok": 809, "error": 3, "timeout": 1} == plain["holter"]["outcomes"]
    assert {"outcome": "error", "type": "ValueError", "count": 3, "place": "model.py:12 in parse"} == plain["holter"][
        "errors"
    ][0]


@pytest.mark.parametrize(
    ("name", "kind", "unit", "values", "attributes", "message"),
    [
        ("app.cache.hits", "counter", "{hit}", [20.0], {}, "app.cache.hits: 20 hits, 2/s"),
        ("memory", "gauge", "By", [2.0**29, 2.0**28], {"a": 1}, "memory [a=1]: 256 MiB (256 MiB to 512 MiB)"),
        ("disk", "counter", "By", [2.0**24], {}, "disk: 16 MiB, 1.6 MiB/s"),
        ("queue", "updowncounter", "{item}", [3.0, 2.0], {}, "queue: 2 items (2 items to 3 items)"),
        ("memory", "gauge", "By", [0.0], {}, "memory: 0 B"),
        ("loss", "gauge", "1", [float("nan")], {}, "loss: not a finite number"),
        (SPAN_DURATION, "histogram", "s", [2.0], {CALL_NAME: "f", SPAN_NAME: "g"}, "f > g: 1 span, 0.1/s, "),
        (STREAM_FIRST_ITEM, "histogram", "s", [2.0], {CALL_NAME: "f"}, "f stream.time_to_first_item: 1 value, "),
    ],
)
def test_a_message_is_a_sentence(  # noqa: PLR0917  one case is one row
    name: str, kind: Any, unit: str, values: list[float], attributes: dict[str, Any], message: str
) -> None:
    """What it is about, then the figures in units that people read."""
    story = Story()
    story.record(name, values, kind=kind, unit=unit, attributes=attributes)
    _, line = lines_of(story.snapshot())
    assert line["message"].startswith(message)


def test_an_alert_tells_what_since_when_and_what_next() -> None:
    """Its level is its severity while it fires; numbers of the evidence stay numbers, texts become labels."""
    alerts = [alert(), alert(severity="warning"), alert(severity="info"), alert(state="resolved")]
    _, *found = lines_of(Story().snapshot(), *alerts)
    assert ["error", "warn", "info", "info"] == [line["log.level"] for line in found]
    assert found[0]["message"] == ("firing: predict is slow, since 2026-11-22T13:03:09.225Z; next: look at its stages")
    assert found[0]["event"] == {"kind": "alert", "dataset": "holter.alerts", "start": "2026-11-22T13:03:09.225Z"}
    assert [("p99 below 200 ms", "412 ms")] * 4 == [
        (line["holter"]["alert"]["expected"], line["holter"]["alert"]["seen"]) for line in found
    ]
    assert found[0]["holter"]["alert"]["evidence"] == {"p99": 0.412, "calls": 812.0, "window_seconds": 60.0}
    assert found[0]["labels"] == {"deployment_environment_name": "test", "stage": "tokenize"}


def test_every_line_is_json_of_one_line() -> None:
    """NaN, infinities and hostile names leave ASCII that every parser takes, read back as it was."""
    for line in lines_of(hostile_story().snapshot(), hostile_alert()):
        text = encode(line)
        assert text.isascii()
        assert text.isprintable()
        assert line == json.loads(text, parse_constant=pytest.fail)
        assert line["message"].isprintable()


def test_what_all_lines_share_stands_apart() -> None:
    """Whose the lines are is said once; what is not known is left out."""
    assert LogLines(Story().snapshot()).owner == {
        "service": {"name": "sentiment", "version": "v7", "node": {"name": "5f0c"}},
        "process": {"pid": 4711},
        "host": {"name": "box"},
    }
    assert LogLines(Story(Process(service="s")).snapshot()).owner == {"service": {"name": "s"}, "process": {"pid": 0}}


def test_packages_with_dots_in_their_names_split_nothing() -> None:
    """They are one list; other names of the environment have no dots."""
    environment = LogLines(Story().snapshot()).of_environment()["holter"]["environment"]
    assert environment == {
        "python": "3.11.2",
        "packages": ["ruamel.yaml==0.18", "ruamel.yaml.clib==0.2"],
        "git": {"a_b": 1},
    }


def test_work_done_is_told_with_its_rate() -> None:
    """Units have a total and a rate, in words too."""
    story = Story()
    story.record(CALL_DURATION, [0.5, 0.5], attributes={CALL_NAME: "predict"}, units=2048)
    _, line = lines_of(story.snapshot())
    assert line["message"].startswith("predict: 2 calls, 0.2/s, 2,048 units, 205/s, p50 ")
    assert (2048, 204.8) == (line["holter"]["units"], line["holter"]["units_rate"])


def test_a_message_names_the_most_frequent_types_of_error() -> None:
    """Three of them, and that there are more; the fields hold all."""
    story = Story()
    for number in range(1, 6):
        story.call("f", [0.1] * number, "error", f"Error{number}")
    story.call("f", [0.1] * 2, "abandoned")
    _, line = lines_of(story.snapshot())
    assert line["message"].endswith("15 errors (Error5 5, Error4 4, Error3 3, ...), 2 abandoned")
    assert len(line["holter"]["errors"]) == 5


def test_a_slow_call_is_a_line_that_leads_to_its_trace() -> None:
    """Under the names of Elastic's stack and under those of OpenTelemetry, with its own start and duration."""
    stages = (Stage("load", 0, 100_000_000), Stage("run", 100_000_000, 1_100_000_000))
    call = SlowCall(
        number=3,
        call="predict",
        series=7,
        start_ns=1_795_352_589_225_000_000,
        end_ns=1_795_352_590_425_000_000,
        attributes={"holter.call.name": "predict", "holter.call.outcome": "error", "error.type": "ValueError"},
        stages=stages,
        trace_id=0xABC,
        span_id=0xDEF,
    )
    line = LogLines(busy_story().snapshot()).of_slow_call(call)
    assert "predict took 1.2 s, error (ValueError), of that run 1 s" == line["message"]
    assert "warn" == line["log.level"]
    assert {
        "kind": "event",
        "dataset": "holter.slow_calls",
        "start": "2026-11-22T13:03:09.225Z",
        "duration": 1_200_000_000,
        "outcome": "failure",
    } == line["event"]
    ids = f"{0xABC:032x}", f"{0xDEF:016x}"
    assert ids == (line["trace"]["id"], line["span"]["id"]) == (line["trace_id"], line["span_id"])
    assert {"outcome": "error", "error_type": "ValueError", "stages": 2} == line["holter"]["slow_call"]
    paused = LogLines(busy_story().snapshot()).of_slow_call(
        replace(call, attributes={}, pauses=(Pause("gc", 0.5), Pause("run_queue", 0.3)))
    )
    assert paused["message"] == (
        "predict took 1.2 s, of that run 1 s; lost 500 ms in garbage collection, 300 ms waiting for a CPU"
    )
    assert {"gc": 0.5, "run_queue": 0.3} == paused["holter"]["slow_call"]["pauses"]
    plain = LogLines(busy_story().snapshot()).of_slow_call(replace(call, attributes={}, stages=(), trace_id=0))
    assert ("predict took 1.2 s", "info", "success") == (
        plain["message"],
        plain["log.level"],
        plain["event"]["outcome"],
    )
    assert {"trace", "span", "trace_id", "span_id"}.isdisjoint(plain)
