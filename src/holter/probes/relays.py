"""Calls that are made on a permit: each is told how it ended, and is otherwise what it would be without."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from typing import Any, Final, Literal

from holter.passing import as_it_came, first_step
from holter.trials import Permit

Kind = Literal["function", "coroutine function", "generator function", "async generator function"]
Call = Callable[[Callable[..., Any], Permit, tuple[Any, ...], dict[str, Any]], Any]


def _function(function: Callable[..., Any], permit: Permit, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    permit.resume()
    try:
        result = function(*args, **kwargs)
    except BaseException as error:
        permit.settle(error)
        raise
    permit.settle()
    return result


def _made(function: Callable[..., Any], permit: Permit, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return what *function* returns, of which nothing runs yet."""
    try:
        return function(*args, **kwargs)
    except BaseException as error:
        permit.resume()
        permit.settle(error)
        raise


def _coroutine(function: Callable[..., Any], permit: Permit, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return _named(_awaited(_made(function, permit, args, kwargs), permit), function)


def _named(made: Any, function: Any) -> Any:
    """Return *made* with the name of *function*: what a coroutine that nobody awaited is called by."""
    made.__name__ = getattr(function, "__name__", made.__name__)
    made.__qualname__ = getattr(function, "__qualname__", made.__qualname__)
    return made


async def _awaited(running: Awaitable[Any], permit: Permit) -> Any:
    permit.resume()
    try:
        result = await running
    except BaseException as error:
        permit.settle(error)
        raise
    permit.settle()
    return result


def _generator(function: Callable[..., Any], permit: Permit, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return _named(_stream(_made(function, permit, args, kwargs), permit), function)


def _stream(source: Generator[Any, Any, Any], permit: Permit) -> Generator[Any, Any, Any]:
    step: Callable[[Any], Any] = source.send
    argument: Any = None
    while True:
        permit.resume()
        try:
            # In a list, to be given away below: a name would keep the item alive while this is suspended.
            item = [step(argument)]
        except StopIteration as stop:
            permit.settle()
            return stop.value
        except BaseException as error:
            permit.settle(error)
            raise
        permit.pause()
        argument = None
        try:
            step, argument = source.send, (yield item.pop())
        except BaseException as error:  # noqa: BLE001 - passed on to the source
            step, argument = source.throw, as_it_came(error)


def _async_generator(
    function: Callable[..., Any], permit: Permit, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    return _named(_async_stream(_made(function, permit, args, kwargs), permit), function)


async def _async_stream(source: AsyncGenerator[Any, Any], permit: Permit) -> AsyncGenerator[Any, Any]:
    step: Any = first_step(source)
    while True:
        permit.resume()
        try:
            item = [await step]
        except StopAsyncIteration:
            permit.settle()
            return
        except BaseException as error:
            permit.settle(error)
            raise
        finally:
            # It holds what was sent or thrown.
            step = None
        permit.pause()
        try:
            step = source.asend((yield item.pop()))
        except BaseException as error:  # noqa: BLE001 - passed on to the source
            step = source.athrow(as_it_came(error))


ON_PERMIT: Final[dict[Kind, Call]] = {
    "function": _function,
    "coroutine function": _coroutine,
    "generator function": _generator,
    "async generator function": _async_generator,
}
"""How a callable of each kind is called on a permit: what comes back is what the callable itself would return."""
