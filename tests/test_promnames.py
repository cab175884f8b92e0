"""Names in Prometheus: its characters, its units, and never one name for two things."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holter.metric import Series
from holter.promnames import Family, families, family, labels, series_labels

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


@pytest.mark.parametrize(
    ("name", "unit", "kind", "expected"),
    [
        ("holter.call.duration", "s", "histogram", Family("holter_call_duration_seconds", "histogram", "seconds")),
        ("process.cpu.time", "s", "counter", Family("process_cpu_time_seconds", "counter", "seconds")),
        ("process.memory.usage", "By", "gauge", Family("process_memory_usage_bytes", "gauge", "bytes")),
        ("holter.overhead", "1", "gauge", Family("holter_overhead_ratio", "gauge", "ratio")),
        ("app.cache.hits", "{hit}", "counter", Family("app_cache_hits", "counter")),
        ("app.sent_total", "1", "counter", Family("app_sent", "counter")),
        ("app.level", "1", "gauge", Family("app_level", "gauge")),
        ("app.seconds", "s", "gauge", Family("app_seconds", "gauge", "seconds")),
        ("app.speed", "By/s", "gauge", Family("app_speed_bytes_per_second", "gauge", "bytes_per_second")),
        ("app.speed", "{row}/s", "gauge", Family("app_speed_per_second", "gauge", "per_second")),
        ("hw.power", "W", "gauge", Family("hw_power_watts", "gauge", "watts")),
        ("holter.training.metric.loss", "1", "gauge", Family("holter_training_metric_loss", "gauge")),
        ("holter.training.info", "1", "gauge", Family("holter_training", "info")),
        ("holter.training.steps_total", "{step}", "gauge", Family("holter_training_steps", "gauge")),
        ("process.thread.count", "{thread}", "gauge", Family("process_threads", "gauge")),
        ("app.sum", "1", "gauge", Family("app_sum_value", "gauge")),
        ("größe", "m\x00s", "gauge", Family("gr_e_m_s", "gauge", "m_s")),
        ("2.5%", "", "gauge", Family("unnamed_2_5", "gauge")),
        ("", "", "gauge", Family("unnamed", "gauge")),
    ],
)
def test_a_metric_is_called_as_prometheus_does(name: str, unit: str, kind: str, expected: Family) -> None:
    """Underscores for dots, the unit behind them, and no suffix that means something else."""
    assert expected == family(name, unit, kind)


def test_two_metrics_never_share_a_name_of_a_sample() -> None:
    """The later one gets a number, before its unit; the earlier one keeps the name."""
    series = [
        Series(1, "a.b", "s", "histogram"),
        Series(2, "a_b", "s", "histogram"),
        Series(3, "a.b.seconds.sum", "1", "counter"),
        Series(4, "a.c", "1", "counter"),
        Series(5, "a.c", "1", "gauge"),
    ]
    named = [one.name for one in families(reversed(series)).values()]
    assert ["a_b_seconds", "a_b_2_seconds", "a_b_seconds_sum_value", "a_c", "a_c_2"] == named


@given(st.dictionaries(st.text(max_size=20), st.text() | st.booleans() | st.integers() | st.floats(), max_size=6))
def test_any_attributes_become_labels(attributes: dict[str, object]) -> None:
    """As many as there were, sorted, with legal names and printable values."""
    found = labels(attributes)
    assert len(attributes) == len(found)
    assert sorted(found) == list(found)
    assert all(NAME.fullmatch(name) and name not in ("le", "quantile") for name in found)
    assert all(value.isprintable() and len(value) <= 1024 for value in found.values())


def test_a_truth_value_is_written_as_prometheus_writes_it() -> None:
    """In small letters."""
    assert {"otel_metric_overflow": "true"} == labels({"otel.metric.overflow": True})


def test_calls_that_end_well_have_an_outcome_too() -> None:
    """So that one label tells good calls from bad ones; other metrics have none to tell."""
    call = series_labels(Series(1, "holter.call.duration", "s", "histogram", {"holter.call.name": "predict"}))
    assert {"holter_call_name": "predict", "holter_call_outcome": "ok"} == call
    assert {} == series_labels(Series(1, "app.size", "By", "histogram"))
