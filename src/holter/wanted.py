"""What a check wants to see of the data that goes through a call."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Self, TypeAlias, get_args

from holter.errors import ConfigurationError
from holter.model import Source, resolve_target
from holter.names import CALL_NAME
from holter.words import clean

Selector: TypeAlias = str | tuple[str, ...] | Callable[..., Any] | None

_OWNERS: Final = ("self", "cls")
_VARIADIC: Final = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


@dataclass(frozen=True, slots=True)
class Wanted:
    """
    The "inputs" or the "outputs" of the watched call named ``call`` that a check wants samples of.

    ``selector`` of inputs is an argument's name, several in a tuple, a function that is called with the
    arguments of the call and returns what to keep of them, or None for all arguments. Of outputs it is a key of the
    dict, or an attribute of the object, that the call returns, several in a tuple, a function of the result, or None
    for the whole result.

    >>> import holter
    >>> predict = holter.watch(len, name="predict")
    >>> Wanted.of(predict, "outputs")
    Wanted(call='predict', source='outputs', selector=None)
    """

    call: str
    source: Source
    selector: Selector = None

    @classmethod
    def of(cls, call: object, source: Source, selector: object = None) -> Self:
        """
        Return what is wanted of *call*, a watched function.

        Raises:
            ConfigurationError: *call* is no watched function or makes a stream of items, or has no such argument.
        """
        try:
            _, where = resolve_target(call)
        except TypeError:
            where = {}
        if CALL_NAME not in where:
            raise ConfigurationError(
                f"expected the function that watch() returned, got {clean(repr(call), 60)}: only the data of "
                "watched calls can be observed"
            )
        if source not in get_args(Source):
            raise ConfigurationError(f'expected source as "inputs" or "outputs", got {source!r:.60}')
        name = str(where[CALL_NAME])
        if inspect.isgeneratorfunction(call) or inspect.isasyncgenfunction(call):
            raise ConfigurationError(
                f"{clean(name)} makes a stream of items, which is not observed: watch and observe the function that "
                "makes one item, or log what you want to see with holter.gauge or holter.histogram"
            )
        return cls(name, source, _checked(selector, source, call, name))


def _checked(selector: Any, source: Source, call: Any, name: str) -> Selector:
    if selector is None or callable(selector):
        return selector  # type: ignore[no-any-return]  # it has been looked at
    names = selector if isinstance(selector, tuple) else (selector,)
    if not names or not all(isinstance(one, str) and one for one in names):
        what = "an argument's name" if source == "inputs" else "a key or an attribute of the result"
        raise ConfigurationError(f"expected {source} as {what}, or a function, got {selector!r:.60}")
    if source == "inputs":
        known = argument_names(call)
        missing = [one for one in names if known is not None and one not in known]
        if missing:
            has = ", ".join(known or ()) or "none"
            raise ConfigurationError(f"{clean(name)} has no argument {missing[0]!r:.60}: it has {clean(has, 200)}")
    return selector  # type: ignore[no-any-return]  # as above


def argument_names(call: Callable[..., Any]) -> tuple[str, ...] | None:
    """Return the names by which *call* takes its arguments; None where it takes any, or does not say."""
    try:
        parameters = inspect.signature(call).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters):
        return None
    return tuple(one.name for one in parameters if one.kind not in _VARIADIC)


class Arguments:
    """
    Where in a call of one function each of its arguments is, by name; looked up once.

    What a function has no name for, further positional arguments, is not found.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self._places: dict[str, int] = {}
        self._defaults: dict[str, Any] = {}
        try:
            parameters = list(inspect.signature(function).parameters.values())
        except (TypeError, ValueError):
            return
        for position, one in enumerate(parameters):
            if one.kind in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD):
                self._places[one.name] = position
            if one.default is not inspect.Parameter.empty and one.kind not in _VARIADIC:
                self._defaults[one.name] = one.default

    @property
    def first(self) -> str | None:
        """The name of the first argument but the object that a method is called on, if it has one."""
        return next((name for name in self._places if name not in _OWNERS), None)

    def place(self, name: str) -> int | None:
        """Return at which place the argument *name* is given by position, None where it cannot be."""
        return self._places.get(name)

    def find(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """
        Return the argument *name* of a call.

        Raises:
            KeyError: the call has none.
        """
        if name in kwargs:
            return kwargs[name]
        place = self._places.get(name, len(args))
        return args[place] if place < len(args) else self._defaults[name]

    def all(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments that a call was given, by name; without the object that a method is called on."""
        named = {name: args[place] for name, place in self._places.items() if place < len(args)}
        return {name: value for name, value in (named | kwargs).items() if name not in _OWNERS}
