"""What type checkers see: a watched function keeps its signature. Checked by mypy, never run."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Generator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Generic, ParamSpec, TypeVar, assert_type

import holter

T = TypeVar("T")
P = ParamSpec("P")


@holter.watch
def function(x: int, *, y: str = "") -> float:
    """Return a float."""
    return x + len(y)


@holter.watch(units=len, name="named", attributes={"model": "v7"}, expected=KeyError)
def configured(batch: list[int]) -> list[float]:
    """Return floats."""
    return [float(one) for one in batch]


@holter.watch()
async def coroutine(x: int) -> str:
    """Return text."""
    return str(x)


@holter.watch(units=1, expected=(KeyError, ValueError))
def generator(x: int) -> Generator[int, str, bytes]:
    """Yield a whole number, take text, return bytes."""
    return (yield x).encode()


@holter.llm
def tokens(prompt: str) -> Iterator[str]:
    """Yield text."""
    yield prompt


@holter.llm(model="tiny", usage=len, targets={"duration": 1.0})
async def answer(prompt: str) -> str:
    """Return text."""
    return prompt


@holter.watch
async def async_generator(x: int) -> AsyncGenerator[int, str]:
    """Yield a whole number, take text."""
    yield len((yield x))


@holter.watch
def generic(x: T) -> list[T]:
    """Return what was given."""
    return [x]


class Model(Generic[T]):
    """Methods of every kind."""

    @holter.watch
    def method(self, x: T) -> T:
        """Return x."""
        return x

    @holter.watch(units=len)
    async def later(self, x: T) -> list[T]:
        """Return x."""
        return [x]

    @classmethod
    @holter.watch
    def of_class(cls, x: int) -> int:
        """Return x."""
        return x

    @staticmethod
    @holter.watch
    def static(x: int) -> int:
        """Return x."""
        return x

    @property
    @holter.watch
    def size(self) -> int:
        """A figure."""
        return 1

    @holter.watch
    def __call__(self, x: T) -> T:
        """Return x."""
        return x


@contextmanager
@holter.watch
def block(x: int) -> Iterator[str]:
    """Yield text."""
    yield str(x)


@asynccontextmanager
@holter.watch
async def async_block(x: int) -> AsyncIterator[str]:
    """Yield text."""
    yield str(x)


@holter.span("stage")
def stage(x: int) -> str:
    """Return text."""
    return str(x)


@holter.span("stage")
async def later_stage(x: int) -> str:
    """Return text."""
    return str(x)


def decorated(wrapped: Callable[P, T]) -> Callable[P, T]:
    """Return it watched, whatever its parameters."""
    watched = holter.watch(wrapped)
    assert_type(tokens("a"), Iterator[str])
    _ = assert_type(answer("a"), Coroutine[Any, Any, str])
    assert_type(watched, Callable[P, T])
    return watched


def check(model: Model[bytes]) -> None:
    """Each signature is the one that was written."""
    assert_type(function(1, y="a"), float)
    function("1")  # type: ignore[arg-type]
    function(1, z=2)  # type: ignore[call-arg]
    assert_type(configured([1]), list[float])
    _ = assert_type(coroutine(1), Coroutine[Any, Any, str])
    assert_type(generator(1), Generator[int, str, bytes])
    assert_type(generator(1).send("a"), int)
    assert_type(async_generator(1), AsyncGenerator[int, str])
    assert_type(generic("a"), list[str])
    assert_type(holter.watch(len)("abc"), int)
    assert_type(model.method(b"a"), bytes)
    _ = assert_type(model.later(b"a"), Coroutine[Any, Any, list[bytes]])
    assert_type(Model.of_class(1), int)
    assert_type(Model.static(1), int)
    assert_type(model.size, int)
    assert_type(model(b"a"), bytes)
    assert_type(holter.watch(model.method)(b"a"), bytes)
    assert_type(stage(1), str)
    _ = assert_type(later_stage(1), Coroutine[Any, Any, str])
    assert_type(decorated(function)(1, y="a"), float)
    with block(1) as text:
        assert_type(text, str)
    holter.watch(function, unit=3)  # type: ignore[call-overload]
    holter.watch(units="many")  # type: ignore[call-overload]
    holter.tag(model="v7", batch=4, warm=True, share=0.5)
    holter.tag(model=None)  # type: ignore[arg-type]
    holter.counter("hits").add(1)
    holter.counter("hits").add("1")  # type: ignore[arg-type]
    holter.gauge("load", read=lambda: 0.5).set(0.5)
    holter.histogram("size", unit="{row}").record(3)
    with holter.instrument("json:dumps", units=len, expected=ValueError) as made:
        assert_type(made.waiting, list[str])
        assert_type(holter.uninstrument(made), bool)
    holter.instrument(holter.targets.OpenAI(provider="vllm", attributes={"site": "a"}))
    holter.instrument(function)  # type: ignore[arg-type]
    holter.targets.ScikitLearn("sklearn.svm:SVC", methods="fit")  # type: ignore[arg-type]


def check_guards() -> None:
    """A guard has the signature of its primary, and its fallback returns the same."""
    slow = holter.Limit(function, "p99", above=1)
    score = holter.Guard(function, lambda x, *, y="": 0.5 + x + len(y), when=slow)
    assert_type(score(1, y="a"), float)
    score("a")  # type: ignore[arg-type]
    later = holter.Guard(coroutine, coroutine, when=[slow, lambda alert: alert.severity == "critical"])
    _ = assert_type(later(1), Coroutine[Any, Any, str])
    score.force("fallback")
    score.force("neither")  # type: ignore[arg-type]
    holter.Guard(function, function, when="p99")  # type: ignore[arg-type]
    holter.Guard(function, coroutine, when=slow)  # type: ignore[arg-type]


async def check_streams() -> None:
    """So is what is yielded."""
    async for item in async_generator(1):
        assert_type(item, int)
    async with async_block(1) as text:
        assert_type(text, str)


def check_training() -> None:
    """Batches and epochs have their own types."""
    with holter.training("fit", total_steps=2, parameters={"lr": 0.1}) as run:
        for epoch in run.epochs(2):
            assert_type(epoch, int)
        for batch in run.steps([("a", 1)]):
            assert_type(batch, tuple[str, int])
        run.log(loss=0.5)


class Chat:
    """A receiver of one's own."""

    every_seconds = 60.0

    def send(self, notice: holter.Notice, timeout: float) -> None:
        """Read what there is."""
        assert_type(notice.alert.incident, str)
        assert_type(notice.told, tuple[holter.Alert, ...])
        assert_type(notice.alert.silence, holter.Silence | None)

    def export(self, snapshot: holter.Snapshot, alerts: Iterable[holter.Alert]) -> None:
        """Not called."""

    def close(self, timeout: float) -> None:
        """Hold nothing."""


def check_monitor() -> None:
    """A monitor has the same functions."""
    with holter.start(
        "service", exporters=[holter.LogFile("a.jsonl")], checks=[holter.Limit(function, "p99", above=1)]
    ) as one:
        assert_type(one, holter.Monitor)
        assert_type(one.watch(function)(1), float)
        assert_type(one.snapshot(), holter.Snapshot)
        holter.Prometheus(9464, buckets={"holter.call.duration": [0.1, 1], "app.size": "auto"})
        holter.Prometheus("9464")  # type: ignore[arg-type]
        holter.Webhook("https://example.com", headers={"X-Key": "a"}, timeout=5.0)
        holter.Alertmanager("https://example.com", labels={"team": "a"}, resend_seconds=30)
        holter.start("service", exporters=[holter.Webhook("https://example.com"), Chat()], on_alert=print)
        assert_type(holter.silence(function, minutes=5, reason="deploy"), holter.Silence)
        assert_type(one.silence("function", minutes=0, reason="deployed"), holter.Silence)
        holter.silence("function", minutes="5", reason="deploy")  # type: ignore[arg-type]
        found = one.snapshot().find(function)
        assert_type(found, holter.Statistics | None)
