"""The client of OpenAI's API, whoever serves it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Final, NamedTuple

from holter.errors import ConfigurationError
from holter.metric import Attributes
from holter.options import checked_attributes
from holter.ownthreads import is_own
from holter.probe import StreamEnd
from holter.probes.streams import Exchange, StreamProbe
from holter.target import Bench, Need, Target


class _Endpoint(NamedTuple):
    path: str
    operation: str
    is_async: bool
    parameters: tuple[str, ...]


_CHAT: Final = "openai.resources.chat.completions"
_RESPONSES: Final = "openai.resources.responses"


def _endpoints() -> tuple[_Endpoint, ...]:
    chat_parameters = "messages", "model"
    both = [
        (_CHAT, "Completions.create", "chat", (*chat_parameters, "stream")),
        (_CHAT, "Completions.parse", "chat", chat_parameters),
        (_RESPONSES, "Responses.create", "chat", ("input", "model", "stream")),
        (_RESPONSES, "Responses.parse", "chat", ("input", "model")),
        ("openai.resources.completions", "Completions.create", "text_completion", ("model", "prompt", "stream")),
        ("openai.resources.embeddings", "Embeddings.create", "embeddings", ("input", "model")),
    ]
    return tuple(
        _Endpoint(f"{module}:{prefix}{attribute}", operation, bool(prefix), parameters)
        for module, attribute, operation, parameters in both
        for prefix in ("", "Async")
    )


_ENDPOINTS: Final = _endpoints()


@dataclass(frozen=True)
class OpenAI(Target):
    """
    Requests by the openai client: ``chat.completions``, ``responses``, ``completions``, ``embeddings``; sync and async.

    One request is one call, whether it is answered at once or as a stream: from the request to the
    end of the answer, with the items of a stream as `watch` records them. Beside, there are
    OpenTelemetry's figures of a client: ``gen_ai.client.inference.duration`` (of embeddings
    ``gen_ai.client.operation.duration``), ``gen_ai.client.inference.time_to_first_chunk``, and tokens
    as far as the answer tells: of a stream of chunks if it is asked for by
    ``stream_options={"include_usage": True}``, of ``responses`` always. Then ``holter.llm.time_per_output_token`` is
    (duration - time to first chunk) / (output tokens - 1). The time that the reader of a stream
    takes is in ``holter.stream.consumer_wait``, not in these. A stream that is left before its end
    is abandoned.

    *provider* says who serves, such as ``"vllm"``. Of prompts and answers nothing is kept.

    >>> import holter
    >>> holter.uninstrument(holter.instrument(holter.targets.OpenAI(provider="llama.cpp")))
    True

    Raises:
        ConfigurationError: *provider* is no name, or *attributes* that cannot work.
    """

    component: ClassVar[str] = "openai"
    package: ClassVar[str] = "openai"
    needs: ClassVar[tuple[Need, ...]] = (
        *(Need(endpoint.path, endpoint.parameters) for endpoint in _ENDPOINTS),
        Need("openai:Stream.__next__"),
        Need("openai:AsyncStream.__anext__"),
    )

    provider: str = "openai"
    attributes: Attributes | None = None

    def __post_init__(self) -> None:
        """Refuse what can never work."""
        provider: Any = self.provider
        if not isinstance(provider, str) or not provider:
            raise ConfigurationError(f"expected provider as a name such as 'openai', got {provider!r:.60}")
        checked_attributes(self.attributes)

    def __hash__(self) -> int:
        """There is one for each provider and set of attributes."""
        return hash((self.provider, frozenset((self.attributes or {}).items())))

    def attach(self, bench: Bench) -> None:
        """Put an exchange around each endpoint."""
        for endpoint in _ENDPOINTS:
            module, _, attribute = endpoint.path.partition(":")
            name = f"chat.{attribute}" if module == _CHAT else attribute
            calls = bench.llm(
                name,
                operation=endpoint.operation,
                provider=self.provider,
                usage=_usage,
                attributes=self.attributes,
                is_client=True,
            )
            probe = StreamProbe(bench.probe(name, attributes=self.attributes))
            put = _around_later if endpoint.is_async else _around
            bench.patch(endpoint.path, around=put(_Requests(bench, probe, calls)))


class _Requests:
    """The requests of one endpoint."""

    def __init__(self, bench: Bench, probe: StreamProbe, calls: Any) -> None:
        self._bench, self._probe, self._calls = bench, probe, calls
        self._is_told = False

    def begin(self, kwargs: dict[str, Any]) -> Exchange:
        """Begin one."""
        model = kwargs.get("model")
        return Exchange(self._probe, _Told(self._calls, model if isinstance(model, str) and model else None))

    def parts(self, answer: Any, exchange: Exchange) -> Any:
        """Return what makes the parts of *answer* if it is a stream, else None, and the exchange is over."""
        if not (hasattr(answer, "response") and (hasattr(answer, "__next__") or hasattr(answer, "__anext__"))):
            exchange.answered(answer)
            return None
        parts = getattr(answer, "_iterator", None)
        if parts is None:
            exchange.answered(None)
            if not self._is_told:
                self._is_told = True
                self._bench.misses("openai:Stream has no _iterator: what streams carry is not recorded")
        return parts


def _around(requests: _Requests) -> Callable[..., Any]:
    def around(call: Any, resource: Any, args: Any, kwargs: Any) -> Any:
        del resource
        if is_own():
            return call(*args, **kwargs)
        exchange = requests.begin(kwargs)
        answer = exchange.ask(call, args, kwargs)
        parts = requests.parts(answer, exchange)
        if parts is not None:
            answer._iterator = exchange.stream(parts)  # noqa: SLF001 - the answer stays the object that it is
        return answer

    return around


def _around_later(requests: _Requests) -> Callable[..., Any]:
    async def answered(running: Any, kwargs: Any) -> Any:
        exchange = requests.begin(kwargs)
        answer = await exchange.wait(running)
        parts = requests.parts(answer, exchange)
        if parts is not None:
            answer._iterator = await exchange.stream_later(parts)  # noqa: SLF001 - as above
        return answer

    def around(call: Any, resource: Any, args: Any, kwargs: Any) -> Any:
        del resource
        running = call(*args, **kwargs)
        return running if is_own() else answered(running, kwargs)

    return around


class _Told:
    """Tells the figures of one request, by the model that it asked for."""

    wants_last = True

    def __init__(self, calls: Any, model: str | None) -> None:
        self._calls, self._model = calls, model

    def answered(self, begun_ns: int, result: object) -> None:
        """Note an answer that came at once."""
        self._calls.answered(begun_ns, result, self._model)

    def failed(self, begun_ns: int, error: BaseException) -> None:
        """Note that none came."""
        self._calls.failed(begun_ns, error, self._model)

    def streamed(self, end: StreamEnd) -> None:
        """Note the end of one that came in parts."""
        self._calls.streamed(end, self._model)


def _usage(answer: Any) -> Any:
    usage = getattr(answer, "usage", None)
    if usage is None:
        # The last event of a stream of `responses` has the whole answer.
        usage = getattr(getattr(answer, "response", None), "usage", None)
    for given, made in (("prompt_tokens", "completion_tokens"), ("input_tokens", "output_tokens")):
        tokens = getattr(usage, given, None)
        if tokens is not None:
            return tokens, getattr(usage, made, None)
    return None
