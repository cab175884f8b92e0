"""What is said of calls of a language model, beside that they are calls: tokens, their pace, and goodput."""

from __future__ import annotations

import functools
import math
import os
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from numbers import Real
from typing import Any, Final, NamedTuple

from holter import genai, names
from holter.arguments import positive_seconds
from holter.errors import ConfigurationError
from holter.failure import FAILED, ExceptionTypes, failed_series
from holter.metric import NO_ATTRIBUTES, Attributes, AttributeValue
from holter.options import checked_attributes
from holter.probe import StreamEnd
from holter.record import Outcome
from holter.scope import Scope

TARGETS: Final = ("duration", "time_to_first_token", "time_per_output_token")
_TOKEN_NAMES: Final = (("input_tokens", "prompt_tokens"), ("output_tokens", "completion_tokens"))
# Requests of a minute that are judged; beyond, the share is that of the last ones.
_MOST_JUDGED: Final = 65_536
_MOST_MODELS: Final = 100
LONGEST_MODEL: Final = 200
_WINDOW_NS: Final = 60_000_000_000
OTHER_MODEL: Final = "_OTHER"
_NO_INFERENCE: Final = frozenset({"embeddings", "retrieval"})
_TEXT: Final = {genai.TOKEN_MODALITY: "text"}

Model = str | Callable[[Any], Any] | None
Usage = Callable[[Any], Any] | None


class _Series(NamedTuple):
    duration: int
    first: int
    pace: int
    input: int
    output: int
    rate: int


class Goodput:
    """
    The share of the requests of the last minute that were good, one for all functions of one name.

    Threads add to it and the collector reads it; a forked child begins with none.
    """

    def __init__(self, now: Callable[[], int]) -> None:
        self._now, self._pid = now, os.getpid()
        self._judged: deque[tuple[int, bool]] = deque(maxlen=_MOST_JUDGED)
        self._is_known = False

    def add(self, *, is_good: bool) -> None:
        """Count a request that has ended."""
        if self._pid != os.getpid():
            self._pid, self._is_known = os.getpid(), False
            self._judged.clear()
        self._judged.append((self._now(), is_good))
        self._is_known = True

    def read(self) -> float | None:
        """Return the share, 1 where the last minute had no request, None where there never was one."""
        if not self._is_known or self._pid != os.getpid():
            return None
        since_ns = self._now() - _WINDOW_NS
        judged = [is_good for time_ns, is_good in self._judged.copy() if time_ns > since_ns]
        return sum(judged) / len(judged) if judged else 1.0


class LLMCalls:
    """
    The figures of one function that calls a language model.

    Each request costs some 10 µs; nothing it does raises into the call.
    """

    def __init__(
        self,
        scope: Scope,
        name: str,
        *,
        operation: str,
        provider: str,
        model: Model,
        usage: Usage,
        targets: Mapping[str, float],
        expected: ExceptionTypes,
        attributes: Attributes = NO_ATTRIBUTES,
        is_client: bool = False,
    ) -> None:
        self.attributes, self.is_client = attributes, is_client
        self.scope, self.name, self.model, self.usage = scope, name, model, usage
        self.expected, self.now = expected, scope.now
        self.operation, self.provider = _named("operation", operation), _named("provider", provider)
        if not (model is None or isinstance(model, str) or callable(model)):
            raise ConfigurationError(f"expected model as a name or a function of the result, got {model!r:.60}")
        if not (usage is None or callable(usage)):
            raise ConfigurationError(f"expected usage as a function of the result, got {usage!r:.60}")
        self.wants_last = usage is not None or callable(model)
        self.targets = _checked_targets(targets)
        self._common = checked_attributes(
            {**attributes, genai.OPERATION: operation, genai.PROVIDER: provider, names.CALL_NAME: name}
        )
        self._made: dict[str | None, _Series] = {}
        if self.targets:
            series = scope.series(names.LLM_GOODPUT, "1", "gauge", self._common, across="min")
            known = getattr(scope.reads.get(series), "__self__", None)
            self._goodput = known if isinstance(known, Goodput) else Goodput(scope.now)
            scope.reads[series] = self._goodput.read

    def __reduce__(self) -> tuple[Any, ...]:
        options = {
            "operation": self.operation,
            "provider": self.provider,
            "model": self.model,
            "usage": self.usage,
            "targets": self.targets,
            "expected": self.expected,
            "attributes": dict(self.attributes),
            "is_client": self.is_client,
        }
        return _again, (self.name, options)

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return *function* with the end of each call noted."""

        @functools.wraps(function, updated=())
        def asked(*args: Any, **kwargs: Any) -> Any:
            begun_ns = self.now()
            try:
                result = function(*args, **kwargs)
            except BaseException as error:
                self.failed(begun_ns, error)
                raise
            self.answered(begun_ns, result)
            return result

        return asked

    def around_coroutine(self, function: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        """Return the coroutine function *function* with the end of each call noted."""

        @functools.wraps(function, updated=())
        async def asked(*args: Any, **kwargs: Any) -> Any:
            begun_ns = self.now()
            try:
                result = await function(*args, **kwargs)
            except BaseException as error:
                self.failed(begun_ns, error)
                raise
            self.answered(begun_ns, result)
            return result

        return asked

    def failed(self, begun_ns: int, error: BaseException, model: str | None = None) -> None:
        """Note that *error* left a request, of *model* if it asked for one."""
        self._note(self._failed, begun_ns, error, model)

    def answered(self, begun_ns: int, result: object, model: str | None = None) -> None:
        """Note that a request was answered by *result*."""
        self._note(self._answered, begun_ns, result, model)

    def streamed(self, end: StreamEnd, model: str | None = None) -> None:
        """Note the end of a stream of tokens."""
        self._note(self._streamed, end, model)

    def _note(self, note: Callable[..., None], *arguments: object) -> None:
        self.scope.guard.run("llm", None, note, *arguments)

    def _failed(self, begun_ns: int, error: BaseException, model: str | None) -> None:
        self._record(self._series(None, model), self.now() - begun_ns, error=error)

    def _answered(self, begun_ns: int, result: object, model: str | None) -> None:
        duration_ns = self.now() - begun_ns
        given, made = self._tokens(result)
        self._record(self._series(result, model), duration_ns, tokens=(given, made))

    def _streamed(self, end: StreamEnd, model: str | None) -> None:
        given, made = self._tokens(end.last) if end.items else (None, None)
        # A server sends parts that hold several tokens, or none.
        made = end.items if made is None and not self.is_client else made
        first_ns = end.first_ns if end.items else None
        series = self._series(end.last if end.items else None, model)
        self._record(series, end.produced_ns, first_ns=first_ns, tokens=(given, made), error=end.error)

    def _record(
        self,
        series: _Series,
        duration_ns: int,
        *,
        first_ns: int | None = None,
        tokens: tuple[float | None, float | None] = (None, None),
        error: BaseException | None = None,
    ) -> None:
        now_ns, ring = self.now(), self.scope.ring()
        which, outcome = series.duration, Outcome.OK
        if error is not None:
            which, outcome = failed_series(self.scope.table, which, error, self.expected)
        ring.write(which, now_ns, duration_ns, 0, outcome)
        given, made = tokens
        if given:
            ring.write(series.input, now_ns, given, 0, Outcome.OK)
        pace_ns = None
        if first_ns is not None:
            ring.write(series.first, now_ns, first_ns, 0, Outcome.OK)
            if made is not None and made > 1:
                pace_ns = (duration_ns - first_ns) / (made - 1)
                ring.write(series.pace, now_ns, pace_ns, 0, Outcome.OK)
        if made:
            ring.write(series.output, now_ns, made, 0, Outcome.OK)
            if duration_ns > 0:
                ring.write(series.rate, now_ns, made * 1e9 / duration_ns, 0, Outcome.OK)
        if self.targets:
            # What is answered at once has its first token at its end.
            in_time = self._is_good((duration_ns, duration_ns if first_ns is None else first_ns, pace_ns))
            # Who was given up before it was late is neither good nor bad.
            if outcome in (Outcome.OK, *FAILED) or not in_time:
                self._goodput.add(is_good=in_time and outcome is Outcome.OK)

    def _is_good(self, taken: tuple[float | None, ...]) -> bool:
        return all(
            value is None or value <= self.targets.get(name, math.inf) * 1e9
            for name, value in zip(TARGETS, taken, strict=True)
        )

    def _series(self, result: object, asked: str | None = None) -> _Series:
        model = asked or self.model
        if callable(model):
            told = None if result is None else self.scope.guard.run("model", None, model, result)
            model = told if isinstance(told, str) and told else None
        model = model and model[:LONGEST_MODEL]
        if model not in self._made and len(self._made) >= _MOST_MODELS:
            # Names may come without end, from whoever may choose one.
            model = OTHER_MODEL
        found = self._made.get(model)
        if found is None:
            found = self._made[model] = self._make(model)
        return found

    def _make(self, model: str | None) -> _Series:
        named: dict[str, AttributeValue] = dict(self._common)
        if model:
            named[genai.REQUEST_MODEL] = model
        scope = self.scope
        duration, first, pace = self._timers()
        return _Series(
            duration=scope.timer(duration, named),
            first=scope.timer(first, named),
            pace=scope.timer(pace, named),
            input=scope.series(genai.INPUT_TOKENS, "{token}", "counter", {**named, **_TEXT}),
            output=scope.series(genai.OUTPUT_TOKENS, "{token}", "counter", {**named, **_TEXT}),
            rate=scope.series(names.LLM_OUTPUT_RATE, "{token}/s", "histogram", named),
        )

    def _timers(self) -> tuple[str, str, str]:
        if not self.is_client:
            return genai.REQUEST_DURATION, genai.TIME_TO_FIRST_TOKEN, genai.TIME_PER_OUTPUT_TOKEN
        is_inference = self.operation not in _NO_INFERENCE
        duration = genai.CLIENT_DURATION if is_inference else genai.CLIENT_OPERATION_DURATION
        return duration, genai.CLIENT_TIME_TO_FIRST_CHUNK, names.LLM_TOKEN_TIME

    def _tokens(self, result: object) -> tuple[float | None, float | None]:
        """Return the tokens that went in and came out, None where nobody says."""
        if self.usage is None:
            return None, None
        nothing: tuple[float | None, float | None] = (None, None)
        return self.scope.guard.run("usage", nothing, self._told, self.usage, result)

    @staticmethod
    def _told(usage: Callable[[Any], Any], result: object) -> tuple[float | None, float | None]:
        told = usage(result)
        if told is None:
            return None, None
        if isinstance(told, tuple | list) and len(told) == len(_TOKEN_NAMES):
            return _count(told[0]), _count(told[1])
        given, made = (
            next((value for one in each if (value := _member(told, one)) is not None), None) for each in _TOKEN_NAMES
        )
        return _count(given), _count(made)


def _member(told: object, name: str) -> object:
    return told.get(name) if isinstance(told, Mapping) else getattr(told, name, None)


def _count(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= float(value) < math.inf:
        raise TypeError(f"expected a number of tokens, got {type(value).__name__}")
    return float(value)


def _named(what: str, value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ConfigurationError(f"expected {what} as a name such as 'chat' or 'openai', got {value!r:.60}")
    return value


def _checked_targets(targets: Any) -> dict[str, float]:
    if not isinstance(targets, Mapping) or not set(targets) <= set(TARGETS):
        raise ConfigurationError(f"expected targets as seconds by {', '.join(TARGETS)}, got {targets!r:.80}")
    return {name: positive_seconds(name, seconds) for name, seconds in targets.items()}


def _again(name: str, options: dict[str, Any]) -> LLMCalls:
    """Return the figures of a function that another process watched, for the default monitor of this one."""
    return LLMCalls(sys.modules["holter.default"]._scope, name, **options)  # noqa: SLF001 - the package is there
