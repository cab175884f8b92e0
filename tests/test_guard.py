"""What holter does when something fails that must not disturb anybody."""

from __future__ import annotations

import contextlib
import functools
import signal
import threading
from collections.abc import Callable
from typing import Any, NoReturn

import pytest

from contracts import hostile
from holter.guard import Guard, class_name, is_interruption, place_of


class Counted:
    """A guard and what it has counted."""

    def __init__(self) -> None:
        self.places: list[str] = []
        self.guard = Guard(self.places.append)


@pytest.fixture
def counted() -> Counted:
    return Counted()


def failing(error: BaseException) -> NoReturn:
    """Raise *error*."""
    raise error


@contextlib.contextmanager
def alarmed_by(handler: Callable[..., Any]) -> Any:
    """Have *handler* called by a signal."""
    before = signal.signal(signal.SIGUSR1, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_result_passes(counted: Counted) -> None:
    """What does not fail is as it was."""
    assert 7 == counted.guard.run("place", 0, max, 3, 7)
    assert [] == counted.places


@pytest.mark.parametrize(
    "make",
    [
        lambda: ValueError("canary"),
        lambda: SystemExit("canary"),
        GeneratorExit,
        lambda: hostile.Error(),  # noqa: PLW0108 - pytest would ask the class itself for its name
        lambda: ExceptionGroup("canary", [OSError()]),
    ],
    ids=["error", "exit", "close", "hostile", "group"],
)
def test_a_failure_gives_the_default_and_is_counted(make: Callable[[], BaseException], counted: Counted) -> None:
    """Its type and place are known, once for each place, and what it said is not."""
    error = make()
    for _ in range(3):
        assert "default" == counted.guard.run("place", "default", failing, error)
    assert ["place"] * 3 == counted.places
    assert ["place"] == list(counted.guard.first)
    told = counted.guard.first["place"]
    assert told.startswith(class_name(type(error)))
    assert "tests/test_guard.py" in told
    assert told.endswith("in failing")
    assert "canary" not in told


def test_a_strict_guard_raises(counted: Counted) -> None:
    """In tests and in staging the error is seen where it happens, and counted too."""
    counted.guard.strict = True
    error = ValueError()
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the very error
        counted.guard.run("place", 0, failing, error)
    assert caught.value is error
    with pytest.raises(TypeError, match="tag: expected a watched call around it"):
        counted.guard.refused("tag", "a watched call around it")
    assert ["place", "tag"] == counted.places


def test_what_is_refused_is_counted(counted: Counted) -> None:
    """It raises nothing, and the words are kept."""
    counted.guard.refused("tag", "a watched call around it")
    assert (["tag"], {"tag": "expected a watched call around it"}) == (counted.places, counted.guard.first)


def test_ctrl_c_passes(counted: Counted) -> None:
    """A user who interrupts the program interrupts it, whatever it is in."""
    with pytest.raises(KeyboardInterrupt):
        counted.guard.run("place", 0, signal.raise_signal, signal.SIGINT)
    assert [] == counted.places


def test_what_a_signal_handler_raises_passes(counted: Counted) -> None:
    """The alarm that ends a program, or a call that takes too long, is not swallowed where it happens to strike."""

    class Handler:
        def method(self, _number: int, _frame: object) -> NoReturn:
            raise TimeoutError

        def __call__(self, *_: object) -> NoReturn:
            raise SystemExit(3)

    def function(_number: int, _frame: object) -> NoReturn:
        failing(TimeoutError())

    handlers = (function, lambda *_: failing(SystemExit(3)), Handler().method, Handler(), functools.partial(Handler()))
    for handler in handlers:
        with alarmed_by(handler), pytest.raises((TimeoutError, SystemExit)):
            counted.guard.run("place", 0, signal.raise_signal, signal.SIGUSR1)
    assert [] == counted.places


def test_other_threads_are_not_interrupted(counted: Counted) -> None:
    """Python runs signal handlers in the main thread alone: elsewhere a KeyboardInterrupt is an error like others."""
    results: list[Any] = []
    thread = threading.Thread(
        target=lambda: results.append(counted.guard.run("place", 0, failing, KeyboardInterrupt()))
    )
    thread.start()
    thread.join()
    assert ([0], ["place"]) == (results, counted.places)


def test_an_error_of_a_handler_that_was_caught_is_none(counted: Counted) -> None:
    """What the handler itself calls may fail as anything else does."""

    def handler(_number: int, _frame: object) -> None:
        counted.guard.run("in the handler", 0, failing, ValueError())

    with alarmed_by(handler):
        counted.guard.run("place", 0, signal.raise_signal, signal.SIGUSR1)
    assert ["in the handler"] == counted.places


def test_a_full_stack_gives_the_default(counted: Counted) -> None:
    """Where there is no room left to look at an error, there is none to raise another one."""

    def deep() -> int:
        return counted.guard.run("place", 0, deep)

    assert 0 == deep()


def test_class_names_are_canonical() -> None:
    """Qualified, with the module unless built in, cut where they are no names any more; nothing of the class runs."""
    nameless = type("Nameless", (Exception,), {"__module__": "builtins"})
    assert "ValueError" == class_name(ValueError)
    assert f"{__name__}.Counted" == class_name(Counted)
    assert "json.decoder.JSONDecodeError" == class_name(__import__("json").JSONDecodeError)
    assert "Error" == class_name(hostile.Error)
    assert "Nameless" == class_name(nameless)
    assert 200 == len(class_name(type("x" * 10_000, (), {})))


def test_the_place_is_where_the_error_was_raised() -> None:
    """The innermost frame, with two parts of its path; none for an error that was never raised."""
    error = ValueError()
    assert "unknown" == place_of(error)
    with pytest.raises(ValueError):  # noqa: PT011 - the very error
        failing(error)
    line = failing.__code__.co_firstlineno + 2
    assert f"tests/test_guard.py:{line} in failing" == place_of(error)


def test_the_place_costs_a_bounded_time() -> None:
    """Of a traceback a thousand frames deep the rest is not looked at, and a long name is cut."""
    scope: dict[str, Any] = {}
    exec(compile(f"def {'f' * 500}():\n raise ValueError", "x" * 10_000, "exec"), scope)  # noqa: S102 - our own line
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the very error
        scope["f" * 500]()
    assert 200 == len(place_of(caught.value))
    assert not is_interruption(caught.value)
