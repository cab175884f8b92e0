"""Whether each kind of probe records: each is worn and used once, and what it wrote is read back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping
from typing import Any, Final, TypeAlias

from holter import genai, names
from holter.checkup.finding import Finding, Unwell, tried
from holter.monitor import Monitor
from holter.probes.requests import ASGI
from holter.ring import IMPLEMENTATION

Message: TypeAlias = MutableMapping[str, Any]

_TRIES: Final = 100
_ITEMS: Final = 3


def ring() -> Iterator[Finding]:
    """Say whether what a thread writes is read back, call by call."""
    monitor = _monitor()
    call: Callable[[], None] = monitor.watch(lambda: None, name="doctor")

    def attempt() -> str:
        for _ in range(_TRIES):
            call()
        seen = _count(monitor, call)
        told = f"{IMPLEMENTATION}; {seen} of {_TRIES} calls recorded and read back"
        if seen != _TRIES:
            raise Unwell(told)
        return told

    yield tried("ring", attempt)


def kinds() -> Iterator[Finding]:
    """Say of each kind of probe whether it records."""
    for subject, (use, expected) in PROBES.items():
        yield tried(subject, lambda use=use, expected=expected: recorded(use, expected))  # type: ignore[misc]  # bound early


def recorded(use: Callable[[Monitor], object], expected: int) -> str:
    """Return in words that *use* was recorded, *expected* times; raise Unwell if it was not."""
    monitor = _monitor()
    target = use(monitor)
    seen = _count(monitor, target)
    if seen != expected:
        raise Unwell(f"{seen} of {expected} records read back")
    return f"{seen} of {expected} recorded and read back"


def _monitor() -> Monitor:
    return Monitor("doctor", samplers=[], recording=False)


def _count(monitor: Monitor, target: object) -> int:
    found = monitor.snapshot().find(target)
    return 0 if found is None else found.total.count


def _function(monitor: Monitor) -> object:
    call: Callable[[], None] = monitor.watch(lambda: None, name="doctor")
    call()
    return call


def _method(monitor: Monitor) -> object:
    class Model:
        @monitor.watch
        def predict(self) -> None:
            pass

    Model().predict()
    return Model.predict


def _coroutine(monitor: Monitor) -> object:
    @monitor.watch
    async def predict() -> None:
        await asyncio.sleep(0)

    asyncio.run(predict())
    return predict


def _generator(monitor: Monitor) -> object:
    @monitor.watch
    def tokens() -> Iterator[int]:
        yield from range(_ITEMS)

    list(tokens())
    return names.STREAM_BETWEEN_ITEMS


def _async_generator(monitor: Monitor) -> object:
    @monitor.watch
    async def tokens() -> AsyncIterator[int]:
        for number in range(_ITEMS):
            yield number

    async def consume() -> None:
        async for _ in tokens():
            pass

    asyncio.run(consume())
    return names.STREAM_BETWEEN_ITEMS


def _span(monitor: Monitor) -> object:
    with monitor.span("doctor"):
        pass
    return names.SPAN_DURATION


def _tag(monitor: Monitor) -> object:
    @monitor.watch
    def predict() -> None:
        monitor.tag(model="v1")

    predict()
    return predict


def _llm(monitor: Monitor) -> object:
    @monitor.llm(model="doctor")
    def answer() -> Iterator[str]:
        yield from ("a", "b")

    list(answer())
    return genai.REQUEST_DURATION


def _training(monitor: Monitor) -> object:
    with monitor.training("doctor", total_steps=_ITEMS) as run:
        for batch in run.steps(range(_ITEMS)):
            run.log(loss=batch)
    return names.TRAINING_STEP_DURATION


def _counter(monitor: Monitor) -> object:
    monitor.counter("doctor.counter").add(1)
    return "doctor.counter"


def _gauge(monitor: Monitor) -> object:
    monitor.gauge("doctor.gauge").set(1)
    return "doctor.gauge"


def _gauge_read(monitor: Monitor) -> object:
    monitor.gauge("doctor.gauge", read=lambda: 1)
    return "doctor.gauge"


def _histogram(monitor: Monitor) -> object:
    monitor.histogram("doctor.histogram").record(1)
    return "doctor.histogram"


def _asgi(monitor: Monitor) -> object:
    async def hello(_scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[..., Any]) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        pass

    asked = {"type": "http", "method": "GET", "scheme": "http", "path": "/", "headers": []}
    asyncio.run(ASGI(hello, monitor=monitor)(asked, receive, send))
    return names.HTTP_REQUEST_DURATION


def other_peoples_code() -> None:
    """Do nothing: what `instrument` is tried on."""


def _instrument(monitor: Monitor) -> object:
    with monitor.instrument(f"{__name__}:other_peoples_code", name="doctor"):
        # As a name of the module it is looked up anew.
        globals()["other_peoples_code"]()
    return names.CALL_DURATION


PROBES: Final[dict[str, tuple[Callable[[Monitor], object], int]]] = {
    "function": (_function, 1),
    "method": (_method, 1),
    "coroutine": (_coroutine, 1),
    "generator": (_generator, _ITEMS - 1),
    "async generator": (_async_generator, _ITEMS - 1),
    "span": (_span, 1),
    "tag": (_tag, 1),
    "llm": (_llm, 1),
    "training": (_training, _ITEMS),
    "counter": (_counter, 1),
    "gauge": (_gauge, 1),
    "gauge with read": (_gauge_read, 1),
    "histogram": (_histogram, 1),
    "ASGI": (_asgi, 1),
    "instrument": (_instrument, 1),
}
"""What user code can wear: how it is used, and how often what it returns the name of is then recorded."""
