"""What user code wears, bound to the series of one monitor."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar, get_args, overload

from holter.errors import ConfigurationError
from holter.inplace import ExpectedErrors, Instrumenting
from holter.metric import Across, Attributes, AttributeValue, Kind
from holter.options import checked_attributes, checked_metric_name
from holter.probe import Units
from holter.probes.blocks import InertSpan, Span, Spans, Tags
from holter.probes.metrics import Counter, Gauge, Histogram, counter_of, gauge_of, histogram_of
from holter.recorder import DISABLED
from holter.ring import NATIVE
from holter.scope import Scope
from holter.watch import watch

if TYPE_CHECKING:
    from holter.failure import ExceptionTypes
    from holter.probes.llm import LLMCalls
    from holter.probes.training import Training

F = TypeVar("F")
_LONGEST_UNIT: Final = 63


class Instruments(Instrumenting):
    """The probes of one scope."""

    def __init__(self, scope: Scope) -> None:
        super().__init__()
        self._scope = scope
        self._spans, self._tags = Spans(scope), Tags(scope)
        self._inert_span = InertSpan(self._spans, "")
        if NATIVE is not None:
            # The method below is what it is called for; the one in C is what is called.
            self.__dict__["span"] = functools.update_wrapper(self._spans.open, self.span)
        self._kinds: dict[str, tuple[Kind, str]] = {}

    @overload
    def watch(
        self,
        target: None = None,
        /,
        *,
        name: str | None = None,
        units: Units = None,
        attributes: Attributes | None = None,
        expected: ExpectedErrors = (),
        native: bool = True,
    ) -> Callable[[F], F]: ...

    @overload
    def watch(
        self,
        target: F,
        /,
        *,
        name: str | None = None,
        units: Units = None,
        attributes: Attributes | None = None,
        expected: ExpectedErrors = (),
        native: bool = True,
    ) -> F: ...

    def watch(
        self,
        target: Any = None,
        /,
        *,
        name: str | None = None,
        units: Units = None,
        attributes: Attributes | None = None,
        expected: ExpectedErrors = (),
        native: bool = True,
    ) -> Any:
        """
        Return *target* with each of its calls recorded: duration, outcome, work done, calls in flight.

        *target* is a function, method, coroutine function, generator function or async generator
        function, or a classmethod, staticmethod or property of one; without it, a decorator is
        returned. What comes back is of the same kind and has the same signature: it returns,
        yields and raises what *target* does, in the same thread and task. The duration of a
        coroutine covers its awaits. Of a stream each item is recorded too, with the time of the
        producer apart from that of the consumer, from the moment the first item is asked for.

        *name* is the qualified name by default. *units* is the size of a call's work: a whole
        number, or a function of the result such as ``len`` (of a stream, of each item).
        *expected* names exceptions that are an outcome of their own, not errors. With *native*
        false what comes back for a function is a function of Python's own, at several times the
        cost, as it always is for methods named ``forward``; else it is a callable in C that has
        the attributes of one. Works before ``start``, after ``stop`` and in a forked child.

        All that tells the watched one from *target*: the callable in C is no function for
        ``inspect.isfunction``; other tracebacks, and attributes such as ``gi_frame``, show a frame
        of holter; recursion has less depth; without C a coroutine function refuses wrong arguments when
        it is awaited, and a coroutine that catches GeneratorExit is closed all the same; a stream that
        yields once more while it is garbage-collected is closed twice; a partial or a callable
        instance becomes a function. ``torch.compile`` and its like compile the bare function.

        >>> import holter
        >>> @holter.watch(units=len)
        ... def predict(batch):
        ...     return [value > 0 for value in batch]
        >>> predict([1, -1])
        [True, False]

        Raises:
            ConfigurationError: *target* cannot be watched as it is, or an option cannot work.
        """
        if target is None:
            return lambda function: self.watch(
                function, name=name, units=units, attributes=attributes, expected=expected, native=native
            )
        if DISABLED:
            return target
        return watch(
            self._scope, target, name=name, units=units, attributes=attributes, expected=expected, native=native
        )

    @overload
    def llm(
        self,
        target: None = None,
        /,
        *,
        operation: str = "chat",
        provider: str = "self_hosted",
        model: str | Callable[[Any], Any] | None = None,
        usage: Callable[[Any], Any] | None = None,
        targets: Mapping[str, float] | None = None,
        name: str | None = None,
        attributes: Attributes | None = None,
        expected: ExpectedErrors = (),
    ) -> Callable[[F], F]: ...

    @overload
    def llm(
        self,
        target: F,
        /,
        *,
        operation: str = "chat",
        provider: str = "self_hosted",
        model: str | Callable[[Any], Any] | None = None,
        usage: Callable[[Any], Any] | None = None,
        targets: Mapping[str, float] | None = None,
        name: str | None = None,
        attributes: Attributes | None = None,
        expected: ExpectedErrors = (),
    ) -> F: ...

    def llm(
        self,
        target: Any = None,
        /,
        *,
        operation: str = "chat",
        provider: str = "self_hosted",
        model: str | Callable[[Any], Any] | None = None,
        usage: Callable[[Any], Any] | None = None,
        targets: Mapping[str, float] | None = None,
        name: str | None = None,
        attributes: Attributes | None = None,
        expected: ExpectedErrors = (),
    ) -> Any:
        """
        Return *target*, which calls a language model, watched, with the figures of its requests.

        *target* is whatever `watch` takes; a generator or async generator yields tokens. Beside the
        figures of a watched call there are, under OpenTelemetry's names,
        ``gen_ai.server.request.duration`` with ``error.type`` on failure, the tokens that went in
        and came out (``gen_ai.client.inference.usage.*``), and of streams
        ``gen_ai.server.time_to_first_token`` and ``gen_ai.server.time_per_output_token``, which is
        (duration - time to first token) / (output tokens - 1); ``holter.llm.output_rate`` is the
        output tokens of a request over its duration. The duration of a stream is the time that its
        tokens took to make: that of a slow client is in ``holter.stream.consumer_wait``.

        *usage* tells the tokens from the result, of a stream from its last item, which is held until
        then: ``(input, output)``, or an object or mapping with ``input_tokens`` and
        ``output_tokens``, or ``prompt_tokens`` and ``completion_tokens``. What it leaves open is
        not counted, but for a stream's output tokens, which are then its items. *model* is a name,
        or a function of the same that tells it; after 100 models, further ones are ``_OTHER``.

        *targets* are seconds for ``duration``, ``time_to_first_token`` and
        ``time_per_output_token``. With them, ``holter.llm.goodput`` is the share of the requests of
        the last minute that ended well within all of them, 1 after a minute without any. A request
        that was given up or cancelled counts, as a bad one, if it was late by then; expected errors
        do not count. *attributes* are part of all series. Costs some 10 µs a request, and 1 µs a
        token. What `watch` has watched already is refused: this watches too.

        >>> import holter
        >>> @holter.llm(model="tiny", usage=lambda answer: (3, len(answer)), targets={"duration": 2.0})
        ... def answer(prompt):
        ...     return prompt.split()
        >>> answer("how are you")
        ['how', 'are', 'you']

        Raises:
            ConfigurationError: *target* cannot be watched as it is, or an option cannot work.
        """
        options: dict[str, Any] = {
            "operation": operation,
            "provider": provider,
            "model": model,
            "usage": usage,
            "targets": targets or {},
        }
        if target is None:
            return lambda function: self.llm(function, **options, name=name, attributes=attributes, expected=expected)
        if DISABLED:
            return target

        from holter.probes.llm import LLMCalls  # noqa: PLC0415 - a service without such a model need not load it

        def calls(told: str, errors: ExceptionTypes, given: Attributes) -> LLMCalls:
            return LLMCalls(self._scope, told, **options, expected=errors, attributes=given)

        return watch(self._scope, target, name=name, attributes=attributes, expected=expected, llm=calls)

    def span(self, name: str) -> Span:
        """
        Return a timer for a stretch of code, as ``with`` or as a decorator.

        The span is counted under its name and the watched call around it, if there is one. In a
        generator it must not hold a ``yield`` unless the consumer's time is meant to count.

        >>> import holter
        >>> with holter.span("tokenize"):
        ...     tokens = "a b".split()
        """
        return self._inert_span if DISABLED else self._spans.open(name)

    def tag(self, **attributes: AttributeValue) -> None:
        """
        Count the watched call around this line under further attributes, from its end on.

        Values are str, bool, int or float. A metric has at most 2,000 series: calls with tags
        beyond that are counted in an overflow series. Outside of a call the tag is refused, and
        counted as an internal error.

        >>> import holter
        >>> @holter.watch
        ... def predict(text):
        ...     holter.tag(model="v7")
        ...     return text.upper()
        >>> predict("a")
        'A'
        """
        if not DISABLED:
            self._tags.add(attributes)

    def training(
        self,
        name: str,
        *,
        total_steps: int | None = None,
        initial_step: int = 0,
        parameters: Mapping[str, Any] | None = None,
        units: Units = None,
    ) -> Training:
        """
        Return a training run, to be entered by ``with``.

        Its ``steps`` split the wait for data from the computation; see `Training`. *units* is the
        number of samples in a batch, or a function that tells it from the batch, such as ``len``.

        >>> import holter
        >>> with holter.training("fit", total_steps=2, parameters={"lr": 0.1}) as run:
        ...     for batch in run.steps([1, 2]):
        ...         run.log(loss=1 / batch)

        Raises:
            ConfigurationError: an argument cannot work.
        """
        from holter.probes.training import Training  # noqa: PLC0415 - a service that trains nothing need not load it

        return Training(
            self._scope,
            name,
            total_steps=total_steps,
            initial_step=initial_step,
            parameters=parameters,
            units=units,
        )

    def counter(self, name: str, *, unit: str = "1", attributes: Attributes | None = None) -> Counter:
        """
        Return the counter *name*, a sum that only grows.

        >>> import holter
        >>> hits = holter.counter("app.cache.hits", unit="{hit}")
        >>> hits.add(1)

        Raises:
            ConfigurationError: a name, unit or attribute that cannot work, or a name that is
                another kind of metric already.
        """
        return counter_of(self._scope, self._metric(name, unit, "counter", attributes))

    def gauge(
        self,
        name: str,
        *,
        unit: str = "1",
        attributes: Attributes | None = None,
        read: Callable[[], Any] | None = None,
        across: Across = "last",
    ) -> Gauge:
        """
        Return the gauge *name*, a value that goes up and down.

        With *read*, a function without arguments, holter asks for the value itself at each
        interval, from its own thread; one that raises is counted. *across* says what the gauge of several
        processes of a service is: the value that was set "last" in any of them, the "sum", the "min" or the "max"
        of those that live, or "each" by itself, with the attribute ``process.pid``.

        >>> import holter, queue
        >>> waiting = queue.Queue()
        >>> depth = holter.gauge("app.queue.depth", read=waiting.qsize)
        >>> load = holter.gauge("app.load")
        >>> load.set(0.7)

        Raises:
            ConfigurationError: as `counter`, or *read* cannot be called.
        """
        if read is not None and not callable(read):
            raise ConfigurationError(f"expected read as a function without arguments, got {type(read).__name__}")
        if across not in get_args(Across):
            expected = ", ".join(map(repr, get_args(Across)))
            raise ConfigurationError(f"expected across as one of {expected}, got {across!r:.60}")
        series = self._metric(name, unit, "gauge", attributes, across)
        if read is not None and not DISABLED:
            self._scope.reads[series] = read
        return gauge_of(self._scope, series)

    def histogram(self, name: str, *, unit: str = "1", attributes: Attributes | None = None) -> Histogram:
        """
        Return the histogram *name*, a distribution of values.

        >>> import holter
        >>> sizes = holter.histogram("app.batch.size", unit="{row}")
        >>> sizes.record(32)

        Raises:
            ConfigurationError: as `counter`.
        """
        return histogram_of(self._scope, self._metric(name, unit, "histogram", attributes))

    def _metric(
        self, name: str, unit: Any, kind: Kind, attributes: Attributes | None, across: Across | None = None
    ) -> int:
        checked_metric_name(name)
        if not isinstance(unit, str) or not unit or len(unit) > _LONGEST_UNIT:
            raise ConfigurationError(f"expected a unit such as 's', 'By', '1' or '{{row}}', got {unit!r:.60}")
        known = self._kinds.setdefault(name, (kind, unit))
        if known != (kind, unit):
            raise ConfigurationError(
                f"expected {name!r} as a {known[0]} in {known[1]!r}, as it was made first, "
                f"got a {kind} in {unit!r}: choose another name"
            )
        return self._scope.series(name, unit, kind, checked_attributes(attributes), across=across)
