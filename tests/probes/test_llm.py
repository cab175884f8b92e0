"""Calls of language models: tokens, their pace, goodput, and that nothing else changes."""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from contracts import async_generators, generators
from contracts.watched import Time, forget_places, internal_errors, outcomes, values
from holter import genai, names
from holter.clock import Clock
from holter.errors import ConfigurationError
from holter.model import Snapshot
from holter.monitor import Monitor
from programs import succeed


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def monitor(time: Time) -> Monitor:
    forget_places()
    return Monitor("test", samplers=[], clock=Clock(monotonic_ns=time))


def tokens(snapshot: Snapshot, **where: Any) -> tuple[float, float]:
    """Return how many tokens went in and came out."""
    return values(snapshot, genai.INPUT_TOKENS, **where)[1] or 0, values(snapshot, genai.OUTPUT_TOKENS, **where)[1] or 0


def goodput(monitor: Monitor) -> float | None:
    """Return the share of the last interval."""
    found = monitor.snapshot().find(names.LLM_GOODPUT)
    return None if found is None else found.total.last


@pytest.mark.parametrize("story", generators.STORIES, ids=lambda story: story.__name__)
def test_a_generator_is_the_same_bare_and_watched(story: generators.Story, monitor: Monitor) -> None:
    """Whatever users do with a stream of tokens, they see the same with and without holter."""
    assert story(lambda function: function) == story(monitor.llm)


@pytest.mark.parametrize("story", async_generators.STORIES, ids=lambda story: story.__name__)
def test_an_async_generator_is_the_same_bare_and_watched(story: async_generators.AsyncStory, monitor: Monitor) -> None:
    """Whatever users do with an async stream of tokens, they see the same with and without holter."""
    bare = async_generators.told(story, lambda function: function)
    assert bare == async_generators.told(story, monitor.llm)


def test_the_pace_of_a_stream_is_the_models_not_the_clients(monitor: Monitor, time: Time) -> None:
    """Time to the first token, per token after it, and duration, as the conventions define them, without the client."""

    @monitor.llm(model="tiny", provider="vllm", operation="text_completion")
    def stream() -> Iterator[str]:
        time.spend(0.5)
        yield "a"
        for token in "bcd":
            time.spend(0.25)
            yield token
        time.spend(0.05)

    for _ in stream():
        time.spend(10)
    snapshot = monitor.snapshot()
    where = {
        genai.REQUEST_MODEL: "tiny",
        genai.PROVIDER: "vllm",
        genai.OPERATION: "text_completion",
        names.CALL_NAME: stream.__qualname__,
    }
    assert (1, 0.5, 0.5, 0.5) == values(snapshot, genai.TIME_TO_FIRST_TOKEN, **where)
    assert (1, 1.3, 1.3, 1.3) == values(snapshot, genai.REQUEST_DURATION, **where)
    pace = round((1.3 - 0.5) / 3, 9)
    assert (1, pace, pace, pace) == values(snapshot, genai.TIME_PER_OUTPUT_TOKEN, **where)
    assert (0, 4) == tokens(snapshot, **where)
    rate = round(4 / 1.3, 9)
    assert (1, rate, rate, rate) == values(snapshot, names.LLM_OUTPUT_RATE, **where)
    assert (1, 41.3, 41.3, 41.3) == values(snapshot, names.CALL_DURATION)


def test_the_pace_of_an_async_stream_is_the_models(monitor: Monitor, time: Time) -> None:
    """What is awaited between two tokens counts, what the client does does not."""

    @monitor.llm
    async def stream() -> AsyncIterator[str]:
        for token in "abc":
            await asyncio.sleep(0)
            time.spend(0.25)
            yield token

    async def client() -> None:
        async for _ in stream():
            time.spend(10)

    asyncio.run(client())
    snapshot = monitor.snapshot()
    assert (1, 0.25, 0.25, 0.25) == values(snapshot, genai.TIME_TO_FIRST_TOKEN)
    assert (1, 0.25, 0.25, 0.25) == values(snapshot, genai.TIME_PER_OUTPUT_TOKEN)
    assert (1, 0.75, 0.75, 0.75) == values(snapshot, genai.REQUEST_DURATION)


def test_a_stream_that_the_client_leaves_is_abandoned(monitor: Monitor, time: Time) -> None:
    """It is counted as such; its first token and its tokens are, its goodput is not judged."""

    @monitor.llm(targets={"duration": 100.0})
    def stream() -> Iterator[str]:
        while True:
            time.spend(0.5)
            yield "a"

    running = stream()
    next(running)
    next(running)
    running.close()
    snapshot = monitor.snapshot()
    assert {"abandoned": 1} == outcomes(snapshot)
    assert (1, 1.0, 1.0, 1.0) == values(snapshot, genai.REQUEST_DURATION, **{names.CALL_OUTCOME: "abandoned"})
    assert (1, 0.5, 0.5, 0.5) == values(snapshot, genai.TIME_TO_FIRST_TOKEN)
    assert (0, 2) == tokens(snapshot)
    assert None is goodput(monitor) or 1.0 == goodput(monitor)
    assert 0 == len([one for one in snapshot.series.values() if one.attributes.get("error.type") == "GeneratorExit"])


@pytest.mark.parametrize(
    "told",
    [
        (3, 5),
        [3, 5],
        {"input_tokens": 3, "output_tokens": 5},
        {"prompt_tokens": 3, "completion_tokens": 5},
        SimpleNamespace(prompt_tokens=3, completion_tokens=5),
        SimpleNamespace(input_tokens=3.0, output_tokens=5.0),
    ],
    ids=str,
)
def test_usage_is_told_in_the_ways_of_the_clients(told: object, monitor: Monitor, time: Time) -> None:
    """Of a plain call, a coroutine and the last item of a stream."""

    @monitor.llm(usage=lambda answer: answer)
    def plain() -> object:
        time.spend(0.5)
        return told

    @monitor.llm(usage=lambda answer: answer)
    async def later() -> object:
        time.spend(0.5)
        return told

    @monitor.llm(usage=lambda item: item)
    def stream() -> Iterator[object]:
        time.spend(0.25)
        yield None
        time.spend(0.25)
        yield told

    assert told is plain()
    assert told is asyncio.run(later())
    assert [None, told] == list(stream())
    snapshot = monitor.snapshot()
    assert (9, 15) == tokens(snapshot)
    for watched in (plain, later, stream):
        assert (3, 5) == tokens(snapshot, **{names.CALL_NAME: watched.__qualname__})
        assert (1, 0.5, 0.5, 0.5) == values(snapshot, genai.REQUEST_DURATION, **{names.CALL_NAME: watched.__qualname__})
    # The pace goes by the tokens that usage tells, not by the items.
    pace = round(0.25 / 4, 9)
    assert (1, pace, pace, pace) == values(snapshot, genai.TIME_PER_OUTPUT_TOKEN)


def test_the_model_is_a_name_or_told_by_the_answer(monitor: Monitor) -> None:
    """What is no name, or fails, leaves it open."""

    @monitor.llm(model=lambda answer: answer["model"])
    def ask(model: object) -> dict[str, object]:
        return {"model": model}

    for model in ("a", "b", "b", 7, ""):
        ask(model)
    snapshot = monitor.snapshot()
    counts = {
        series.attributes.get(genai.REQUEST_MODEL): snapshot.total[key].count
        for key, series in snapshot.series.items()
        if series.name == genai.REQUEST_DURATION and key in snapshot.total
    }
    assert {"a": 1, "b": 2, None: 2} == counts


def test_models_without_end_fill_a_bound_and_no_more(monitor: Monitor) -> None:
    """Of 3,000 models a hundred have series of their own, and no request is lost."""

    @monitor.llm(model=lambda answer: answer)
    def ask(model: str) -> str:
        return model

    for number in range(3_000):
        ask(f"model {number}")
    snapshot = monitor.snapshot()
    named = [one.attributes.get(genai.REQUEST_MODEL) for one in snapshot.series.values()]
    assert 101 == len({model for model in named if model})
    assert 2_900 == values(snapshot, genai.REQUEST_DURATION, **{genai.REQUEST_MODEL: "_OTHER"})[0]
    assert 3_000 == values(snapshot, genai.REQUEST_DURATION)[0]


def test_failures_are_told_by_type_and_raised_as_they_were(monitor: Monitor, time: Time) -> None:
    """A plain call, a coroutine, a stream; a timeout is one, an expected error is none."""

    def fail(error: Exception) -> None:
        time.spend(0.5)
        raise error

    @monitor.llm(expected=KeyError)
    def plain(error: Exception) -> None:
        fail(error)

    @monitor.llm(expected=KeyError)
    async def later(error: Exception) -> None:
        fail(error)

    @monitor.llm(expected=KeyError)
    def stream(error: Exception) -> Iterator[str]:
        yield "a"
        fail(error)

    for error in (ValueError("a"), TimeoutError("b"), KeyError("c")):
        for run in (plain, lambda one: asyncio.run(later(one)), lambda one: list(stream(one))):
            with pytest.raises(type(error)) as raised:
                run(error)  # type: ignore[operator]
            assert error is raised.value
    snapshot = monitor.snapshot()
    assert (3, 1.5, 0.5, 0.5) == values(snapshot, genai.REQUEST_DURATION, **{names.ERROR_TYPE: "ValueError"})
    assert (3, 1.5, 0.5, 0.5) == values(snapshot, genai.REQUEST_DURATION, **{names.CALL_OUTCOME: "timeout"})
    assert (3, 1.5, 0.5, 0.5) == values(snapshot, genai.REQUEST_DURATION, **{names.CALL_OUTCOME: "expected"})
    assert {"error": 3, "timeout": 3, "expected": 3} == outcomes(snapshot)


def test_goodput_is_the_share_that_met_all_targets(monitor: Monitor, time: Time) -> None:
    """Of the last minute, however often it is read; 1 where that had none; failures are not good."""

    @monitor.llm(targets={"duration": 2.0, "time_to_first_token": 0.5, "time_per_output_token": 0.1})
    def stream(first: float, pace: float, count: int = 5) -> Iterator[str]:
        time.spend(first)
        yield "a"
        for _ in range(count - 1):
            time.spend(pace)
            yield "b"
        if count > 100:
            raise ValueError("too many")

    list(stream(0.5, 0.1))
    list(stream(0.6, 0.1))
    list(stream(0.5, 0.2))
    list(stream(0.5, 0.1, 50))
    assert 0.25 == goodput(monitor)
    assert 0.25 == goodput(monitor)
    time.spend(61.0)
    assert 1.0 == goodput(monitor)
    list(stream(0.1, 0.01))
    assert 1.0 == goodput(monitor)
    with pytest.raises(ValueError, match="too many"):
        list(stream(0.1, 0.0, 101))
    assert 0.5 == goodput(monitor)


def test_what_is_given_up_is_bad_if_it_was_late(monitor: Monitor, time: Time) -> None:
    """A time limit of one's own hides no slow request; a client that goes early says nothing."""

    @monitor.llm(targets={"duration": 1.0})
    async def ask(seconds: float) -> None:
        time.spend(seconds)
        raise asyncio.CancelledError

    for seconds, expected in ((0.5, None), (2.0, 0.0)):
        with pytest.raises(asyncio.CancelledError):
            asyncio.run(ask(seconds))
        assert expected == goodput(monitor) or (expected is None and goodput(monitor) is None)


def test_functions_of_one_name_share_their_goodput(monitor: Monitor, time: Time) -> None:
    """As they share all other figures."""
    bad, good = (
        monitor.llm(lambda: time.spend(2.0), name="ask", model="big", targets={"duration": one}) for one in (1, 5)
    )
    bad()
    good()
    assert 0.5 == goodput(monitor)


def test_a_forked_child_judges_its_own_requests() -> None:
    """What its parent has asked is its parent's."""
    told = succeed(
        """
        import json, os
        import holter

        @holter.llm(targets={"duration": 100.0})
        def ask(fails):
            if fails:
                raise ValueError

        for _ in range(10):
            try:
                ask(True)
            except ValueError:
                pass
        read, write = os.pipe()
        if os.fork() == 0:
            ask(False)
            with holter.start("child", samplers=[], recording=False) as monitor:
                share = monitor.snapshot().find("holter.llm.goodput").total.last
            os.write(write, json.dumps(share).encode())
            os._exit(0)
        os.wait()
        print(os.read(read, 100).decode())
        """
    )
    assert 1.0 == told


def test_attributes_are_part_of_all_figures(monitor: Monitor) -> None:
    """Of the conventions' too."""
    monitor.llm(lambda: None, name="ask", attributes={"tenant": "a"})()
    assert 1 == values(monitor.snapshot(), genai.REQUEST_DURATION, tenant="a")[0]


def test_what_is_watched_already_is_refused(monitor: Monitor) -> None:
    """It would be watched twice; what `llm` has made is returned as it is."""
    watched = monitor.watch(lambda: None, name="ask")
    with pytest.raises(ConfigurationError, match="take @watch away"):
        monitor.llm(watched)
    asked = monitor.llm(lambda: None, name="other")
    assert asked is monitor.llm(asked, name="other")


def test_tokens_that_are_none_are_none(monitor: Monitor) -> None:
    """An answer of 0 tokens is not one of as many as it has chunks."""
    list(monitor.llm(lambda: (yield from [1, 2]), usage=lambda _: {"prompt_tokens": 5, "completion_tokens": 0})())
    assert (5, 0) == tokens(monitor.snapshot())


def test_a_plain_answer_has_its_first_token_at_its_end(monitor: Monitor, time: Time) -> None:
    """So that a target for it holds for what does not stream as well."""

    @monitor.llm(targets={"time_to_first_token": 0.5})
    def ask(seconds: float) -> None:
        time.spend(seconds)

    ask(0.5)
    ask(0.6)
    assert 0.5 == goodput(monitor)
    assert 0 == values(monitor.snapshot(), genai.TIME_TO_FIRST_TOKEN)[0]


@pytest.mark.parametrize("told", [("a", "b"), (True, True), (-1, -1), (float("nan"), 1), 7, object()], ids=str)
def test_what_usage_tells_wrongly_is_counted_and_harms_nobody(told: object, monitor: Monitor) -> None:
    """The call returns, and is counted; tokens are not."""

    @monitor.llm(usage=lambda _: told)
    def ask() -> int:
        return 3

    assert 3 == ask()
    snapshot = monitor.snapshot()
    assert (1, (0, 0)) == (values(snapshot, names.CALL_DURATION)[0], tokens(snapshot))
    assert 1 == values(snapshot, genai.REQUEST_DURATION)[0]


def test_usage_and_model_that_raise_are_counted(monitor: Monitor) -> None:
    """By what they are."""

    @monitor.llm(usage=lambda answer: answer.usage, model=lambda answer: answer.model)
    def ask() -> int:
        return 3

    ask()
    snapshot = monitor.snapshot()
    assert {"usage": 1, "model": 1} == internal_errors(snapshot)
    assert 1 == values(snapshot, genai.REQUEST_DURATION)[0]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"operation": ""}, "expected operation as a name"),
        ({"provider": 3}, "expected provider as a name"),
        ({"model": 3}, "expected model as a name or a function of the result, got 3"),
        ({"usage": "usage"}, "expected usage as a function of the result, got 'usage'"),
        ({"targets": {"latency": 1.0}}, "expected targets as seconds by duration, time_to_first_token"),
        ({"targets": {"duration": 0}}, "duration must be greater than 0, got 0"),
        ({"targets": 3}, "expected targets as seconds by"),
    ],
)
def test_bad_input_is_refused_in_words(options: dict[str, Any], words: str, monitor: Monitor) -> None:
    """Where it is written."""
    with pytest.raises(ConfigurationError, match=words):
        monitor.llm(lambda: None, **options)


def test_kinds_and_signatures_are_those_of_the_bare(monitor: Monitor) -> None:
    """A coroutine function stays one, and so do methods."""

    class Client:
        @monitor.llm
        async def ask(self, prompt: str, *, seed: int = 1) -> str:
            """Ask."""
            return f"{prompt} {seed}"

        @monitor.llm
        @classmethod
        def of(cls) -> type:
            return cls

    assert inspect.iscoroutinefunction(Client.ask)
    assert "(self, prompt: 'str', *, seed: 'int' = 1) -> 'str'" == str(inspect.signature(Client.ask))
    assert ("Ask.", "a 2", Client) == (Client.ask.__doc__, asyncio.run(Client().ask("a", seed=2)), Client.of())


@pytest.mark.skipif(
    importlib.util.find_spec("cloudpickle") is None, reason="cloudpickle is not installed: pip install cloudpickle"
)
def test_a_pickled_one_tells_tokens_where_it_is_loaded() -> None:
    """Carried by cloudpickle to another process, a plain call and a stream are watched there as here."""
    told = succeed(
        """
        import json, pickle, subprocess, sys
        import cloudpickle
        import holter

        @holter.llm(model="tiny", usage=lambda answer: (3, 5))
        def ask():
            return "answer"

        @holter.llm(model="tiny")
        def stream():
            yield from "abc"

        there = '''
        import json, pickle, sys
        ask, stream = pickle.load(sys.stdin.buffer)
        import holter
        ask(), list(stream())
        snapshot = holter.snapshot()
        where = {"gen_ai.request.model": "tiny"}
        print(json.dumps([snapshot.find("gen_ai.client.inference.usage." + name, where).total.sum
                          for name in ("input_tokens", "output_tokens")]))
        '''
        import textwrap
        done = subprocess.run([sys.executable, "-c", textwrap.dedent(there)], input=cloudpickle.dumps((ask, stream)),
                              stdout=subprocess.PIPE, check=True)
        print(done.stdout.decode())
        """
    )
    assert [3.0, 8.0] == told
