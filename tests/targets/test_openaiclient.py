"""The openai client against a real llama.cpp server: holter's counts are the client's own."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace
from typing import Any

import pytest

from contracts.watched import in_flight, internal_errors, outcomes, values
from holter import genai, names
from holter.errors import ConfigurationError
from holter.monitor import Monitor
from holter.names import CALL_NAME
from holter.ownthreads import as_own
from holter.targets.openaiclient import OpenAI, _Requests

openai = pytest.importorskip("openai", reason="openai is not installed: pip install openai xllamacpp gguf")
pytest.importorskip("xllamacpp", reason="xllamacpp is not installed: pip install openai xllamacpp gguf")
pytest.importorskip("gguf", reason="gguf is not installed: pip install openai xllamacpp gguf")
from llamaserver import llama_server  # noqa: E402 - as above

CHAT = "chat.Completions.create"
LATER = "chat.AsyncCompletions.create"
ASKED: dict[str, Any] = {
    "model": "tiny",
    "messages": [{"role": "user", "content": "hello"}],
    "max_tokens": 12,
    "extra_body": {"ignore_eos": True},
}
USAGE = {"include_usage": True}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with llama_server(tmp_path_factory.mktemp("llama")) as url:
        yield url


@pytest.fixture
def client(server: str) -> Iterator[Any]:
    with openai.OpenAI(base_url=f"{server}/v1", api_key="none", max_retries=0) as made:
        yield made


@pytest.fixture
def monitor() -> Iterator[Monitor]:
    made = Monitor("test", samplers=[])
    handle = made.instrument(OpenAI(provider="llama.cpp"))
    assert [] == handle.problems
    yield made
    assert made.uninstrument(handle)
    assert ({}, {}) == (internal_errors(made.snapshot()), made._scope.guard.first)


def tokens(monitor: Monitor, name: str = CHAT) -> tuple[float, float]:
    """Return how many tokens went in and came out."""
    snapshot, where = monitor.snapshot(), {CALL_NAME: name}
    return (
        values(snapshot, genai.INPUT_TOKENS, **where)[1] or 0,
        values(snapshot, genai.OUTPUT_TOKENS, **where)[1] or 0,
    )


def test_answers_are_counted_as_the_client_counts_them(monitor: Monitor, client: Any) -> None:
    """Requests, their tokens and their durations, by model and provider."""
    given = made = 0
    begun = time.perf_counter()
    for _ in range(5):
        answer = client.chat.completions.create(**ASKED)
        given, made = given + answer.usage.prompt_tokens, made + answer.usage.completion_tokens
    taken = time.perf_counter() - begun
    assert (given, made) == tokens(monitor)
    assert 60 == made
    where = {genai.OPERATION: "chat", genai.PROVIDER: "llama.cpp", genai.REQUEST_MODEL: "tiny", CALL_NAME: CHAT}
    count, total, _, _ = values(monitor.snapshot(), genai.CLIENT_DURATION, **where)
    assert 5 == count
    assert total is not None
    assert 0 < total < taken
    assert {"ok": 5} == outcomes(monitor.snapshot(), CHAT)
    (told,) = monitor.summary().to_dict()["models"]
    assert ("tiny", 5, given, made) == (
        told["name"],
        told["requests"]["count"],
        told["input_tokens"],
        told["output_tokens"],
    )


def test_a_stream_is_one_request_to_its_end(monitor: Monitor, client: Any) -> None:
    """Time to the first chunk, for each token after it, and the tokens that the server tells, by the client's clock."""
    begun = time.perf_counter()
    stream = client.chat.completions.create(**ASKED, stream=True, stream_options=USAGE)
    asked = time.perf_counter() - begun
    assert [-1] == [call.asked_ns for call in monitor.snapshot().open_calls]
    assert isinstance(stream, openai.Stream)
    chunks = [next(stream)]
    first = time.perf_counter() - begun
    assert 1 == in_flight(monitor.snapshot())
    chunks += list(stream)
    taken = time.perf_counter() - begun
    usage = chunks[-1].usage
    assert (usage.prompt_tokens, usage.completion_tokens) == tokens(monitor)
    snapshot = monitor.snapshot()
    where = {CALL_NAME: CHAT}
    assert len(chunks) == snapshot.find(names.STREAM_ITEMS, where).total.sum  # type: ignore[union-attr]
    count, to_first, _, _ = values(snapshot, genai.CLIENT_TIME_TO_FIRST_CHUNK, **where)
    assert 1 == count
    assert to_first is not None
    # From the request on, all but the client's own way to it.
    assert asked / 2 < to_first <= first
    count, whole, _, _ = values(snapshot, genai.CLIENT_DURATION, **where)
    assert 1 == count
    assert whole is not None
    assert to_first < whole <= taken
    pace = values(snapshot, names.LLM_TOKEN_TIME, **where)[1]
    assert pace == pytest.approx((whole - to_first) / (usage.completion_tokens - 1), rel=1e-3)
    assert {"ok": 1} == outcomes(snapshot, CHAT)
    assert 0 == in_flight(snapshot)


def test_tokens_are_not_guessed(monitor: Monitor, client: Any) -> None:
    """Where the server does not tell, chunks are not taken for tokens."""
    list(client.chat.completions.create(**ASKED, stream=True))
    assert (0, 0) == tokens(monitor)
    assert {"ok": 1} == outcomes(monitor.snapshot(), CHAT)


def test_the_readers_time_is_not_the_servers(monitor: Monitor, client: Any) -> None:
    """A slow reader is in the time that the stream lay waiting."""
    stream = client.chat.completions.create(**ASKED, stream=True)
    next(stream)
    threading.Event().wait(0.3)
    list(stream)
    snapshot = monitor.snapshot()
    waited = values(snapshot, names.STREAM_CONSUMER_WAIT, **{CALL_NAME: CHAT})[1]
    whole = values(snapshot, genai.CLIENT_DURATION, **{CALL_NAME: CHAT})[1]
    duration = values(snapshot, names.CALL_DURATION, **{CALL_NAME: CHAT})[1]
    assert waited is not None
    assert whole is not None
    assert duration is not None
    assert waited >= 0.3
    assert whole + 0.3 <= duration


@pytest.mark.parametrize("taken", [0, 1])
def test_a_stream_that_is_dropped_is_abandoned(monitor: Monitor, client: Any, taken: int) -> None:
    """Before its first chunk, or after it."""
    stream = client.chat.completions.create(**ASKED, stream=True)
    for _ in range(taken):
        next(stream)
    stream.close()
    assert 1 == in_flight(monitor.snapshot())
    del stream
    gc.collect()
    assert {"abandoned": 1} == outcomes(monitor.snapshot(), CHAT)
    assert 0 == in_flight(monitor.snapshot())


def test_the_clients_other_ways_come_to_the_same(monitor: Monitor, client: Any) -> None:
    """The raw answer, the streamed answer, the helper for streams, plain completions, the parsed answer."""
    raw = client.chat.completions.with_raw_response.create(**ASKED)
    assert 12 == raw.parse().usage.completion_tokens
    with client.chat.completions.stream(**ASKED) as stream:
        for _ in stream:
            pass
    assert {"ok": 2} == outcomes(monitor.snapshot(), CHAT)
    assert 1 == values(monitor.snapshot(), genai.CLIENT_TIME_TO_FIRST_CHUNK, **{CALL_NAME: CHAT})[0]
    plain = client.completions.create(model="tiny", prompt="abc", max_tokens=4, extra_body={"ignore_eos": True})
    assert (plain.usage.prompt_tokens, plain.usage.completion_tokens) == tokens(monitor, "Completions.create")
    # Nonsense does not parse, which is the client's own judgement.
    with pytest.raises(openai.LengthFinishReasonError):
        client.chat.completions.parse(**ASKED)
    assert {"error": 1} == outcomes(monitor.snapshot(), "chat.Completions.parse")


def test_the_async_client_is_counted_the_same(monitor: Monitor, server: str) -> None:
    """Ten requests at once, half of them streams, one of them left early."""

    async def ask() -> tuple[int, int]:
        async with openai.AsyncOpenAI(base_url=f"{server}/v1", api_key="none", max_retries=0) as client:
            create = client.chat.completions.create

            async def whole() -> Any:
                return (await create(**ASKED)).usage

            async def streamed() -> Any:
                stream = await create(**ASKED, stream=True, stream_options=USAGE)
                assert isinstance(stream, openai.AsyncStream)
                return [chunk async for chunk in stream][-1].usage

            async def left() -> None:
                stream = await create(**ASKED, stream=True)
                await anext(stream)
                await stream.close()

            usages = await asyncio.gather(*(whole() for _ in range(5)), *(streamed() for _ in range(5)))
            await left()
            gc.collect()
            await asyncio.sleep(0)
            return sum(usage.prompt_tokens for usage in usages), sum(usage.completion_tokens for usage in usages)

    counted = asyncio.run(ask())
    assert counted == tokens(monitor, LATER)
    assert {"ok": 10, "abandoned": 1} == outcomes(monitor.snapshot(), LATER)
    assert 11 == values(monitor.snapshot(), genai.CLIENT_DURATION, **{CALL_NAME: LATER})[0]
    assert 0 == in_flight(monitor.snapshot())


RESPONSES = "Responses.create"
ASKED_FOR_RESPONSE: dict[str, Any] = {
    "model": "tiny",
    "input": "hello",
    "max_output_tokens": 12,
    "extra_body": {"ignore_eos": True},
}


def test_responses_are_counted_as_the_client_counts_them(monitor: Monitor, client: Any) -> None:
    """At once, as a stream, raw and parsed; a stream's last event tells its tokens without being asked."""
    create = client.responses.create
    whole = create(**ASKED_FOR_RESPONSE)
    given, made = whole.usage.input_tokens, whole.usage.output_tokens
    assert (given, made) == tokens(monitor, RESPONSES)
    stream = create(**ASKED_FOR_RESPONSE, stream=True)
    assert isinstance(stream, openai.Stream)
    events = [next(stream)]
    assert 1 == in_flight(monitor.snapshot())
    events += list(stream)
    usage = events[-1].response.usage
    given, made = given + usage.input_tokens, made + usage.output_tokens
    assert (given, made) == tokens(monitor, RESPONSES)
    snapshot = monitor.snapshot()
    assert len(events) == snapshot.find(names.STREAM_ITEMS, {CALL_NAME: RESPONSES}).total.sum  # type: ignore[union-attr]
    assert 1 == values(snapshot, genai.CLIENT_TIME_TO_FIRST_CHUNK, **{CALL_NAME: RESPONSES})[0]
    assert 1 == values(snapshot, names.LLM_TOKEN_TIME, **{CALL_NAME: RESPONSES})[0]
    raw = client.responses.with_raw_response.create(**ASKED_FOR_RESPONSE)
    assert raw.parse().usage.output_tokens
    assert {"ok": 3} == outcomes(monitor.snapshot(), RESPONSES)
    parsed = client.responses.parse(**ASKED_FOR_RESPONSE)
    assert (parsed.usage.input_tokens, parsed.usage.output_tokens) == tokens(monitor, "Responses.parse")
    where = {genai.OPERATION: "chat", genai.PROVIDER: "llama.cpp", genai.REQUEST_MODEL: "tiny"}
    assert 3 == values(monitor.snapshot(), genai.CLIENT_DURATION, **where, **{CALL_NAME: RESPONSES})[0]
    assert 0 == in_flight(monitor.snapshot())


def test_responses_to_the_async_client_are_counted_the_same(monitor: Monitor, server: str) -> None:
    """At once, streamed and left early."""

    async def ask() -> tuple[int, int]:
        async with openai.AsyncOpenAI(base_url=f"{server}/v1", api_key="none", max_retries=0) as client:
            create = client.responses.create
            whole = (await create(**ASKED_FOR_RESPONSE)).usage
            stream = await create(**ASKED_FOR_RESPONSE, stream=True)
            assert isinstance(stream, openai.AsyncStream)
            streamed = [event async for event in stream][-1].response.usage
            left = await create(**ASKED_FOR_RESPONSE, stream=True)
            await anext(left)
            await left.close()
            del left
            gc.collect()
            await asyncio.sleep(0)
            return whole.input_tokens + streamed.input_tokens, whole.output_tokens + streamed.output_tokens

    assert asyncio.run(ask()) == tokens(monitor, "AsyncResponses.create")
    assert {"ok": 2, "abandoned": 1} == outcomes(monitor.snapshot(), "AsyncResponses.create")
    assert 0 == in_flight(monitor.snapshot())


def test_a_cancelled_request_is_cancelled(monitor: Monitor) -> None:
    """As any coroutine is, and nothing is left open."""
    arrived, free = threading.Event(), threading.Event()

    def hang() -> tuple[int, bytes]:
        arrived.set()
        free.wait(30)
        return 404, b"{}"

    async def ask(url: str) -> None:
        async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:
            running = asyncio.ensure_future(client.chat.completions.create(**ASKED))
            assert await asyncio.to_thread(arrived.wait, 30)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running

    with answering(hang) as url:
        asyncio.run(ask(url))
        free.set()
    assert {"cancelled": 1} == outcomes(monitor.snapshot(), LATER)
    assert 0 == in_flight(monitor.snapshot())


@contextmanager
def answering(answer: Callable[[], tuple[int, bytes]]) -> Iterator[str]:
    """The address of a server that answers whatever it is asked with what *answer* returns."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            status, body = answer()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            with suppress(OSError):
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_an_error_is_an_error_of_the_model_that_was_asked(monitor: Monitor) -> None:
    """It is raised as it was, and wrong arguments are refused as they were."""
    with (
        answering(lambda: (404, b'{"error": {"message": "no such model"}}')) as url,
        openai.OpenAI(base_url=url, api_key="none", max_retries=0) as client,
    ):
        for stream in (False, True):
            with pytest.raises(openai.NotFoundError):
                client.chat.completions.create(**ASKED, stream=stream)
        with pytest.raises(TypeError, match="Missing required arguments"):
            client.chat.completions.create(model="tiny")
    where = {genai.REQUEST_MODEL: "tiny", names.ERROR_TYPE: "openai.NotFoundError"}
    assert 2 == values(monitor.snapshot(), genai.CLIENT_DURATION, **where)[0]
    assert {"error": 3} == outcomes(monitor.snapshot(), CHAT)
    assert 0 == in_flight(monitor.snapshot())


def test_requests_by_holters_own_threads_are_not_recorded(monitor: Monitor, client: Any) -> None:
    """An alert that asks a model what it means is none of the program's requests."""
    thread = threading.Thread(target=as_own(lambda: client.chat.completions.create(**ASKED)))
    thread.start()
    thread.join()
    assert {} == outcomes(monitor.snapshot(), CHAT)


def test_nothing_of_an_answer_is_kept(monitor: Monitor, client: Any) -> None:
    """Neither the answer nor the last part of a stream lives on."""
    list(client.chat.completions.create(**ASKED, stream=True))
    client.chat.completions.create(**ASKED)
    gc.collect()
    kept = [one for one in gc.get_objects() if type(one).__name__ in ("ChatCompletion", "ChatCompletionChunk")]
    assert [] == kept
    assert {"ok": 2} == outcomes(monitor.snapshot(), CHAT)


def test_a_stream_of_another_shape_is_left_alone_and_told_once() -> None:
    """It stays the stream that it is; its request is counted as if it were answered at once."""
    told: list[str] = []
    answered: list[object] = []
    requests = _Requests(SimpleNamespace(misses=told.append), None, None)  # type: ignore[arg-type]
    stream = SimpleNamespace(response=None, __next__=None)
    for _ in range(2):
        assert requests.parts(stream, SimpleNamespace(answered=answered.append)) is None  # type: ignore[arg-type]
    assert ["openai:Stream has no _iterator: what streams carry is not recorded"] == told
    assert [None, None] == answered


def test_a_provider_is_a_name() -> None:
    """Anything else is refused when the target is made."""
    with pytest.raises(ConfigurationError, match="expected provider as a name"):
        OpenAI(provider="")


def test_the_client_has_the_shape_that_is_expected() -> None:
    """The doctor has nothing to say of it."""
    assert [] == list(OpenAI.misfits())
