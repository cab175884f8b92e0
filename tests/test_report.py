"""All that one program did, on one page."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.snapshots import HOSTILE
from holter import names
from holter.history import History
from holter.model import Alert, ErrorPlace, Pause, Process, Silence, SlowCall, Snapshot
from holter.report import recently, summarise
from holter.tables import Notes, Table, cell_width
from holter.verdict import clock_time
from simulation import SECOND_NS, START_NS, World, open_call

ALERT = Alert(
    id="a1",
    check="limit",
    state="firing",
    severity="critical",
    since_ns=START_NS + 26 * SECOND_NS,
    target="predict",
    expected="error ratio at most 5 %",
    seen="31.2 % (1,204 of 3,861 calls failed)",
    message="predict error ratio is 31.2 %",
    next_step="Look at ValueError at demo.py:88.",
    evidence={"value": 0.312},
)


def day(intervals: int = 30, functions: int = 1) -> tuple[Snapshot, History]:
    """Return what a program with a bit of everything leaves: calls, errors, streams, training, the machine."""
    random, world, history = np.random.default_rng(3), World(), History()
    run, answer = {"holter__training__name": "digits"}, {"holter__call__name": "answer"}
    snapshot = world.snapshot()
    for index in range(intervals):
        failing = 40 if index >= intervals // 2 else 0
        for number in range(functions):
            name = "predict" if not number else f"package.module{number}.Model.predict"
            world.span(name, "tokenize", np.full(90 - number, 0.002))
            world.span(name, "tokenize", np.full(failing, 0.05), "ValueError")
            world.call(name, random.lognormal(-5, 0.3, 90 - number), units=900)
            world.call(name, np.full(failing, 0.06), "ValueError")
            world.grow(world.one(f"app.hits{number}", "counter"), 3)
        world.call("answer", [0.5])
        world.values(world.one(names.STREAM_FIRST_ITEM, **answer), [0.02])
        world.values(world.one(names.STREAM_BETWEEN_ITEMS, **answer), np.full(20, 0.01))
        world.values(world.one(names.STREAM_PRODUCER_TIME, **answer), [0.3])
        world.values(world.one(names.STREAM_CONSUMER_WAIT, **answer), [0.2])
        world.values(world.one(names.TRAINING_STEP_DURATION, **run), np.full(10, 0.05))
        world.values(world.one(names.TRAINING_DATA_WAIT, **run), np.full(10, 0.01))
        world.values(world.one(names.TRAINING_METRIC_PREFIX + "loss", "gauge", "1", **run), [1 / (index + 1)])
        for metric in ("process.cpu.utilization", "system.cpu.utilization"):
            world.values(world.one(metric, "gauge", "1", cpu__mode="user"), [0.4])
        world.values(world.one("process.memory.usage", "gauge", "By"), [200 * 2**20])
        world.values(world.one("system.memory.utilization", "gauge", "1"), [0.43])
        world.values(world.one(names.OVERHEAD, "gauge", "1"), [0.004])
        world.grow(world.one(names.RECORDS_WRITTEN, "counter"), 1000)
        snapshot = world.snapshot(
            open_calls=(open_call("predict", 0.1),),
            error_places=(ErrorPlace("predict", "ValueError", "/srv/demo.py:88 in tokenize", 600),),
        )
        history.add(snapshot)
    return snapshot, history


def test_the_verdict_comes_first_and_everything_follows() -> None:
    """Calls, errors by type and place, stages, streams, training, metrics, the alert, the machine, holter itself."""
    snapshot, history = day()
    text = str(summarise(snapshot, [ALERT], history))
    assert text.startswith("predict: errors rose from 0 % to 30.8 % at ")
    for part in (
        "sentiment v7, process 4121 on gpu-3: 31 s since",
        "calls", "errors", "stages", "streams", "training", "metrics",
        "demo.py:88", "tokenize", "ALERT", "expected error ratio at most 5 %", "saw 31.2 %",
        "Look at ValueError", "loss 0.0333", "CPU 40 %", "memory 200 MiB", "0.4 % of CPU", "30,000 records, none lost",
    ):  # fmt: skip
        assert part in text, part


@pytest.mark.parametrize("functions", [1, 3, 40])
@pytest.mark.parametrize("alerts", [0, 1, 9])
def test_a_page_is_40_lines_of_80_columns(functions: int, alerts: int) -> None:
    """However much there is; what does not fit is counted, holter's own line is never left out."""
    snapshot, history = day(12, functions)
    fired = [replace(ALERT, id=str(number)) for number in range(alerts)]
    lines = str(summarise(snapshot, fired, history)).split("\n")
    assert len(lines) <= 40
    assert max(map(cell_width, lines)) <= 80
    assert lines[-1].startswith("holter")
    is_cut = any(line.startswith("and ") for line in lines)
    assert is_cut if functions == 40 or alerts == 9 else functions > 1 or not is_cut


@given(st.lists(st.text(max_size=100), min_size=1, max_size=30), st.integers(0, 10**15), st.floats(1e-9, 1e9))
@settings(max_examples=60)
def test_no_name_and_no_number_breaks_the_page(texts: list[str], count: int, seconds: float) -> None:
    """Any text may be a name; any number may come of it."""
    world = World(process=Process(service=texts[0], version=texts[-1], host=texts[0]))
    for text in texts:
        world.call(text, [seconds, 2 * seconds], units=count)
        world.call(text, [seconds], text or "E")
        world.span(text, text, [seconds], text or "E")
        world.grow(world.one(f"user.{text}", "counter", "{" + text + "}", tier=text), count)
    summary = summarise(world.snapshot(lost=count), [replace(ALERT, target=text, seen=text) for text in texts])
    lines = str(summary).split("\n")
    assert len(lines) <= 40
    assert max(map(cell_width, lines)) <= 80
    assert all(line.isprintable() for line in lines)
    json.dumps(summary.to_dict(), allow_nan=False)


def test_hostile_names_forge_nothing() -> None:
    """No escape, line break or tag of a name reaches text, HTML or dict."""
    world = World()
    for name in HOSTILE:
        world.call(name, [0.1])
        world.call(name, [0.1], f"<b>{name}")
        world.grow(world.one(f"user.{name}", "counter"), 1)
    summary = summarise(world.snapshot(), [replace(ALERT, target=name, seen=name) for name in HOSTILE])
    assert all(line.isprintable() for line in str(summary).split("\n"))
    markup = summary._repr_html_()
    assert markup.isprintable()
    assert "<b>a" not in markup
    json.dumps(summary.to_dict()).encode()


def test_busiest_first_and_the_rest_counted() -> None:
    """The order of the calls is that of their number."""
    world = World()
    for number in range(60):
        world.call(f"f{number}", np.full(number + 1, 0.01))
    text = str(summarise(world.snapshot()))
    shown = [line.split()[0] for line in text.split("\n") if line.startswith("f")]
    assert [f"f{number}" for number in range(59, 59 - len(shown), -1)] == shown
    assert f"and {60 - len(shown)} more" in text


def test_the_dict_has_full_precision() -> None:
    """Figures as they are, times in ISO 8601; JSON takes it all."""
    snapshot, history = day()
    figures = json.loads(json.dumps(summarise(snapshot, [ALERT], history, records=(3, 9)).to_dict(), allow_nan=False))
    (predict,) = [call for call in figures["calls"] if call["name"] == "predict"]
    assert (30 * 90 + 15 * 40, 600) == (predict["spread"]["count"], predict["errors"])
    assert predict["rate"] == 3300 / 31
    assert {"read": 3, "written": 9} == figures["records"]
    assert ("limit", 0.312) == (figures["alerts"][0]["check"], figures["alerts"][0]["evidence"]["value"])
    assert ("sentiment", "v7") == (figures["service"], figures["version"])
    assert figures["verdict"]["changed"]
    assert figures["itself"]["overhead"] == 0.004


def test_html_has_every_row() -> None:
    """A notebook has room: what the page counts, HTML shows."""
    snapshot, history = day(12, 40)
    markup = summarise(snapshot, [], history)._repr_html_()
    assert all(f"package.module{number}.Model.predict" in markup for number in range(1, 40))
    assert markup.index("errors rose") < markup.index("<table>")


def test_a_silenced_alert_says_so() -> None:
    """In text, in HTML and as data."""
    silenced = replace(ALERT, silence=Silence("predict", 0, START_NS, "deploy of v8"), incident="5e1f")
    snapshot, history = day()
    summary = summarise(snapshot, [silenced], history)
    assert "silenced until" in " ".join(str(summary).split())
    assert "deploy of v8" in " ".join(summary._repr_html_().split())
    (told,) = json.loads(json.dumps(summary.to_dict()))["alerts"]
    assert ("5e1f", "deploy of v8") == (told["incident"], told["silence"]["reason"])


def test_an_alert_appears_once_in_its_newest_state() -> None:
    """Fired and resolved under one id is one alert, resolved; those that fire come first."""
    alerts = [ALERT, replace(ALERT, id="a2", target="answer"), replace(ALERT, state="resolved", next_step="")]
    summary = summarise(World().snapshot(), alerts)
    (notes,) = [block for block in summary.blocks if isinstance(block, Notes) and block.rows[0][0] == "ALERT"]
    assert [("ALERT", "answer"), ("resolved", "predict")] == [(state, text.split()[0]) for state, text in notes.rows]


def test_it_says_on_how_many_records_it_rests() -> None:
    """Where nobody drained, the page tells how much of the past it knows."""
    world = World()
    world.call("predict", [0.1])
    assert "the last 1,024 of 5,000 records" in summarise(world.snapshot(), records=(1024, 5000)).heading


def test_it_says_when_the_program_began() -> None:
    """In local time of day, with how long ago that was."""
    world = World()
    for _ in range(90):
        snapshot = world.snapshot()
    assert summarise(snapshot).heading.endswith(f": 1 min 30 s since {clock_time(START_NS)}")


def test_nothing_recorded_is_a_page_too() -> None:
    """A summary before anything has happened."""
    text = str(summarise(Snapshot(0, 0, {}, {}, {})))
    assert text.startswith("Nothing unusual: no watched call has ended yet.")
    assert "process 0" not in text


def test_losses_are_told_beside_what_stays_exact() -> None:
    """Lost records are no secret; internal errors are told with their place."""
    world = World()
    world.grow(world.one(names.RECORDS_WRITTEN, "counter"), 1000)
    world.grow(world.one(names.INTERNAL_ERRORS, "counter", holter__place="units"), 2)
    text = str(summarise(world.snapshot(lost=70)))
    assert "1,000 records, 70 lost (totals are exact)" in text
    assert "internal errors: 2 in units" in text


def test_recently_is_about_the_last_interval() -> None:
    """Counts and rates of the interval alone."""
    snapshot, _ = day()
    table, notes = recently(snapshot)
    assert isinstance(table, Table)
    assert ("predict", "130", "130/s") == table.rows[0][:3]
    assert isinstance(notes, Notes)
    assert ["process"] == [label for label, _ in notes.rows]


def test_what_slow_calls_lost_time_to_is_a_line_each() -> None:
    """In words and, for programs, in figures; three functions at most, and none that lost nothing."""
    snapshot, history = day()
    second = 1_000_000_000
    calls = [
        SlowCall(number, f"call {number}", 7, 0, second, pauses=(Pause("gc", 0.71), Pause("gil_wait", 0.25)))
        for number in range(5)
    ]
    snapshot = replace(snapshot, slow_calls=(*calls, SlowCall(9, "quiet", 7, 0, second)))
    summary = summarise(snapshot, [], history)
    lines = str(summary).splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("slow call 0"))
    text = " ".join(" ".join(lines[at : at + 8]).split())
    assert text.startswith(
        "slow call 0 spent 71 % of their time in garbage collection and 25 % waiting for the GIL slow call 1 spent"
    )
    assert "and 2 more" in text
    assert {"gc": 0.71, "gil_wait": 0.25} == summary.to_dict()["losses"]["call 4"]
    assert "quiet" not in summary.to_dict()["losses"]


def test_python_is_told_of_where_it_hinders() -> None:
    """Much garbage collection, loops that are late, and one that is blocked; else there is no line."""
    snapshot, _ = day()
    assert not any(line.startswith("python") for line in str(summarise(snapshot)).splitlines())
    world = World(seconds=100.0)
    world.call("predict", [0.1])
    world.grow(world.one(names.GC_TIME, "counter"), 12.0)
    world.values(world.one(names.GC_PAUSE), [0.1, 3.0])
    world.values(world.one(names.LOOP_LAG), [0.25])
    world.values(world.one(names.LOOP_BLOCKED, "gauge"), [7.0])
    text = " ".join(str(summarise(world.snapshot())).split())
    assert (
        "python garbage collection 12 % of the time, 3 s at most, event loop late, p99 249 ms, "
        "event loop blocked for 7 s now"
    ) in text
