"""Slow calls as spans: whose children they are, and what is in them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased, Sampler
from opentelemetry.trace import NoOpTracerProvider, SpanContext, SpanKind, StatusCode, TraceFlags, TraceState

from holter.slowcall import Pause, SlowCall, Stage
from holter.slowspans import MOST_KNOWN, SpanMaker

AROUND = SpanContext(
    trace_id=0xABC,
    span_id=0xDEF,
    is_remote=False,
    trace_flags=TraceFlags(TraceFlags.SAMPLED),
    trace_state=TraceState([("vendor", "x")]),
)
CALL = SlowCall(
    number=1,
    call="predict",
    series=7,
    start_ns=1_000,
    end_ns=9_000,
    attributes={"holter.call.name": "predict", "model": "v7"},
    stages=(Stage("load", 1_000, 2_000), Stage("run", 2_000, 8_000, "error", "ValueError")),
    trace_id=AROUND.trace_id,
    span_id=AROUND.span_id,
    context=AROUND,
)


class Program:
    """A program whose tracing is set up."""

    def __init__(self, sampler: Sampler = ALWAYS_ON) -> None:
        self.provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        self._exporter = InMemorySpanExporter()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.maker = SpanMaker(self.provider)

    def spans(self) -> dict[str, ReadableSpan]:
        """Return what was exported, by name."""
        return {span.name: span for span in self._exporter.get_finished_spans()}


def test_a_call_is_a_child_of_the_span_around_it_and_its_stages_are_its_own() -> None:
    """Start, end, attributes and trace state are those of the call; a failure has a status without a text."""
    program = Program()
    program.maker.make([CALL])
    spans = program.spans()
    call, load, run = (spans[name] for name in ("predict", "load", "run"))
    assert (1_000, 9_000, SpanKind.INTERNAL) == (call.start_time, call.end_time, call.kind)
    assert {"holter.call.name": "predict", "holter.call.outcome": "ok", "model": "v7"} == dict(call.attributes or {})
    assert call.parent is not None
    assert (AROUND.trace_id, AROUND.span_id) == (call.parent.trace_id, call.parent.span_id)
    assert {"vendor": "x"} == dict(call.context.trace_state)
    for stage, times in ((load, (1_000, 2_000)), (run, (2_000, 8_000))):
        assert call.context == stage.parent
        assert times == (stage.start_time, stage.end_time)
    assert "holter" == call.instrumentation_scope.name
    assert {
        "holter.span.name": "run",
        "holter.call.name": "predict",
        "holter.call.outcome": "error",
        "error.type": "ValueError",
    } == dict(run.attributes or {})
    assert (StatusCode.UNSET, StatusCode.ERROR, None) == (
        call.status.status_code,
        run.status.status_code,
        run.status.description,
    )
    assert (AROUND.trace_id, call.context.span_id) == program.maker.ids(CALL)


def test_a_call_inside_a_slow_one_is_its_child() -> None:
    """Also where it comes later than that one."""
    program = Program()
    program.maker.make([CALL])
    program.maker.make([replace(CALL, number=2, call="inner", inside=1, stages=())])
    spans = program.spans()
    assert spans["predict"].context == spans["inner"].parent


def test_a_call_in_no_trace_begins_one() -> None:
    """The span that happens to be current where spans are made is none of its business."""
    program = Program()
    with program.provider.get_tracer("program").start_as_current_span("other"):
        program.maker.make([replace(CALL, trace_id=0, span_id=0, context=None)])
    spans = program.spans()
    assert spans["predict"].parent is None
    assert spans["other"].context.trace_id != spans["predict"].context.trace_id
    ids = program.maker.ids(replace(CALL, trace_id=0, span_id=0, context=None))
    assert (spans["predict"].context.trace_id, spans["predict"].context.span_id) == ids


def test_the_programs_sampler_has_the_last_word() -> None:
    """What it drops is not made, with all that is inside; exemplars point to the span around then, if there is one."""
    program = Program(ALWAYS_OFF)
    program.maker.make([CALL, replace(CALL, number=2, call="inner", inside=1)])
    assert {} == program.spans()
    assert (AROUND.trace_id, AROUND.span_id) == program.maker.ids(CALL)
    assert program.maker.ids(replace(CALL, trace_id=0, span_id=0, context=None)) is None


def test_a_trace_that_is_not_sampled_gets_no_span() -> None:
    """With a sampler that asks the parent, as OpenTelemetry's does."""
    program = Program(ParentBased(ALWAYS_ON))
    around = SpanContext(0xABC, 0xDEF, is_remote=False, trace_flags=TraceFlags(0))
    program.maker.make([replace(CALL, context=around)])
    assert {} == program.spans()


@pytest.mark.parametrize("provider", [NoOpTracerProvider(), None], ids=["none", "not set"])
def test_without_a_provider_there_are_no_spans(provider: trace.TracerProvider | None) -> None:
    """And exemplars are of the span around."""
    maker = SpanMaker(provider)
    assert maker.provider is None
    maker.make([CALL])
    assert (AROUND.trace_id, AROUND.span_id) == maker.ids(CALL)


def test_stages_that_were_left_out_are_counted_and_names_are_made_harmless() -> None:
    """A name is one line, of bounded length."""
    program = Program()
    program.maker.make([replace(CALL, call="a\nb" + "x" * 5000, stages_left_out=12)])
    (name,) = program.spans().keys() - {"load", "run"}
    assert "\n" not in name
    assert len(name) <= 1024
    assert 12 == (program.spans()[name].attributes or {})["holter.call.stages_left_out"]


def test_what_is_remembered_is_bounded() -> None:
    """The spans of the newest five hundred calls."""
    program = Program()
    program.maker.make(replace(CALL, number=number, stages=()) for number in range(1, MOST_KNOWN + 3))
    assert (AROUND.trace_id, AROUND.span_id) == program.maker.ids(CALL)
    assert MOST_KNOWN == len(program.maker._spans)


def test_a_span_says_what_its_call_lost_time_to() -> None:
    """The largest as its attributes, all as events at its end; a call that lost nothing says nothing."""
    program = Program()
    program.maker.make([replace(CALL, pauses=(Pause("gc", 5e-6), Pause("run_queue", 2e-6)))])
    span = program.spans()["predict"]
    assert ("gc", 5e-6) == tuple((span.attributes or {})[f"holter.pause.{name}"] for name in ("cause", "seconds"))
    assert [
        ("holter.pause", 9_000, {"holter.pause.cause": "gc", "holter.pause.seconds": 5e-6}),
        ("holter.pause", 9_000, {"holter.pause.cause": "run_queue", "holter.pause.seconds": 2e-6}),
    ] == [(event.name, event.timestamp, dict(event.attributes or {})) for event in span.events]
    program = Program()
    program.maker.make([CALL])
    assert () == program.spans()["predict"].events
