"""How what a check wants of a call is copied, and what it gets to see of that."""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable, Mapping
from typing import Any, Final, NamedTuple

from holter.columns import MOST_BYTES, RefusedError, Taken, plain, take
from holter.guard import Guard
from holter.lookout import Sample
from holter.model import Observation
from holter.tabular import TABLES
from holter.wanted import Arguments, Wanted

_EXPECTED: Final = "numbers, text, or arrays and tables of them, and got"


class _Only(NamedTuple):
    """The one argument that is wanted of a *function*: its name, and its place where so many are given by position."""

    function: object
    name: str
    place: int
    lengths: range


class Look:
    """What a check wants of the calls of one name: how it is found, and copied."""

    def __init__(self, wish: Wanted) -> None:
        self.wish, self.call, self.is_of_inputs = wish, wish.call, wish.source == "inputs"
        # A function may have an equality and a hash of its own.
        selector = id(wish.selector) if callable(wish.selector) else wish.selector
        self.key: Hashable = (wish.source, selector)
        self._arguments: Arguments | None = None
        self._only: _Only | None = None

    def inputs(
        self, guard: Guard, share: int, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Taken | None:
        """Return a copy of what is wanted of a call's arguments; None if there is none, which is counted."""
        only = self._only
        if only is not None and not kwargs and only.function is function and len(args) in only.lengths:
            taken = plain(only.name, args[only.place], MOST_BYTES // share)
            if taken is not None:
                return taken
        return self._taken(guard, share, self._from_arguments, function, args, kwargs)

    def outputs(self, guard: Guard, share: int, result: Any) -> Taken | None:
        """Return a copy of what is wanted of a call's result, likewise."""
        if self.wish.selector is None:
            taken = plain("outputs", result, MOST_BYTES // share)
            if taken is not None:
                return taken
        return self._taken(guard, share, self._from_result, result)

    def _taken(self, guard: Guard, share: int, select: Callable[..., Mapping[str, Any]], *given: Any) -> Taken | None:
        place = f"{self.wish.source} of {self.call}"
        # An argument that is not there, a property of the user's, or a function of theirs may raise.
        selected: Mapping[str, Any] | None = guard.run(place, None, select, *given)
        if selected is None:
            return None
        try:
            return take(selected, MOST_BYTES // share, TABLES)
        except RefusedError as refusal:
            guard.refused(
                place, f"{_EXPECTED} {refusal}; give {self.wish.source}= a function that returns what can be copied"
            )
            return None

    def _from_arguments(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Mapping[str, Any]:
        selector = self.wish.selector
        if callable(selector):
            return {self.wish.source: selector(*args, **kwargs)}
        arguments = self._arguments
        if arguments is None or arguments.function is not function:
            arguments = self._arguments = Arguments(function)
            self._only = _only(arguments, selector)
        if selector is None:
            return arguments.all(args, kwargs)
        return {name: arguments.find(name, args, kwargs) for name in _names(selector)}

    def _from_result(self, result: Any) -> Mapping[str, Any]:
        selector = self.wish.selector
        if selector is None:
            return {self.wish.source: result}
        if callable(selector):
            return {self.wish.source: selector(result)}
        has_keys = issubclass(type(result), dict)
        return {
            name: dict.__getitem__(result, name) if has_keys else getattr(result, name) for name in _names(selector)
        }

    def seen(self, sample: Sample) -> Observation | None:
        """Return what there is to see of *sample*, None if that is nothing."""
        taken: Taken | None = sample.taken.get(self.key) if sample.lookout.name == self.call else None
        if taken is None:
            return None
        return Observation(
            call=self.call,
            columns=taken.columns,
            count=taken.kept,
            time_ns=sample.time_ns,
            source=self.wish.source,
            rows=taken.rows,
        )


def _only(arguments: Arguments, selector: str | tuple[str, ...] | None) -> _Only | None:
    """Return the one argument that *selector* stands for where it is given by position, if it is but one."""
    if isinstance(selector, tuple):
        return None
    name = selector if selector is not None else arguments.first
    place = None if name is None else arguments.place(name)
    if name is None or place is None:
        return None
    return _Only(arguments.function, name, place, range(place + 1, sys.maxsize if selector is not None else place + 2))


def _names(selector: str | tuple[str, ...]) -> tuple[str, ...]:
    return (selector,) if isinstance(selector, str) else selector
