"""Slow and failed calls as spans of OpenTelemetry, made when they have ended."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, Span, SpanKind, Status, StatusCode, Tracer, TracerProvider

from holter import names
from holter.figures import plain
from holter.model import SlowCall, Stage
from holter.version import __version__

MOST_KNOWN: Final = 500

Ids = tuple[int, int]
"""A trace's id and a span's."""


class SpanMaker:
    """
    Makes the spans of slow calls through the program's tracer provider, *provider* or the global one.

    A call's span is a child of the one that the call was part of, or of that of the slow call around
    it; its stages are its children, and what it lost time to are its events. What the provider's sampler does not want
    is not made. No text of an error is in them. Not thread-safe.
    """

    def __init__(self, provider: TracerProvider | None = None) -> None:
        self._provider = provider
        self._tracer: tuple[TracerProvider, Tracer] | None = None
        self._spans: OrderedDict[int, Span] = OrderedDict()

    @property
    def provider(self) -> TracerProvider | None:
        """Who makes spans; None as long as the program has set nobody up."""
        found = trace.get_tracer_provider() if self._provider is None else self._provider
        return None if isinstance(found, trace.ProxyTracerProvider | trace.NoOpTracerProvider) else found

    def make(self, calls: Iterable[SlowCall]) -> None:
        """Make the spans of *calls*, in which those around come before those inside."""
        provider = self.provider
        if provider is None:
            return
        if self._tracer is None or self._tracer[0] is not provider:
            self._tracer = provider, provider.get_tracer("holter", __version__)
        for call in calls:
            self._spans[call.number] = _span(self._tracer[1], call, self._spans.get(call.inside))
            while len(self._spans) > MOST_KNOWN:
                self._spans.popitem(last=False)

    def ids(self, call: SlowCall) -> Ids | None:
        """Return the ids of the span of *call* if there is one that is kept, else of the one that it was part of."""
        made = self._spans.get(call.number)
        context = None if made is None else made.get_span_context()
        if context is not None and context.is_valid and context.trace_flags.sampled:
            return context.trace_id, context.span_id
        return (call.trace_id, call.span_id) if call.trace_id else None


def _span(tracer: Tracer, call: SlowCall, outer: Span | None) -> Span:
    parent: Span | None = outer
    if parent is None and call.context is not None:
        parent = NonRecordingSpan(call.context)
    # Not the context of this thread, which is nobody's.
    around = Context() if parent is None else trace.set_span_in_context(parent, Context())
    marks = {names.CALL_NAME: call.call, names.CALL_OUTCOME: call.outcome, **call.attributes}
    if call.pauses:
        marks |= {names.PAUSE_CAUSE: call.pauses[0].cause, names.PAUSE_SECONDS: call.pauses[0].seconds}
    if call.stages_left_out:
        marks[names.STAGES_LEFT_OUT] = call.stages_left_out
    span = _started(tracer, call.call, around, marks, call)
    for stage in call.stages if span.is_recording() else ():
        marks = {names.SPAN_NAME: stage.name, names.CALL_NAME: call.call, names.CALL_OUTCOME: stage.outcome}
        if stage.error_type:
            marks[names.ERROR_TYPE] = stage.error_type
        _started(tracer, stage.name, trace.set_span_in_context(span, Context()), marks, stage).end(stage.end_ns)
    for pause in call.pauses:
        told: dict[str, Any] = {names.PAUSE_CAUSE: pause.cause, names.PAUSE_SECONDS: pause.seconds}
        span.add_event("holter.pause", told, timestamp=call.end_ns)
    span.end(call.end_ns)
    return span


def _started(tracer: Tracer, name: str, around: Context, marks: dict[str, Any], of: SlowCall | Stage) -> Span:
    span = tracer.start_span(
        plain(name), context=around, kind=SpanKind.INTERNAL, attributes=plain(marks), start_time=of.start_ns
    )
    if of.is_failed:
        span.set_status(Status(StatusCode.ERROR))
    return span
