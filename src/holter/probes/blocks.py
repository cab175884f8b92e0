"""The probes of stretches of code: spans, and the tags of the call around them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Self, TypeAlias, TypeVar

from holter import names
from holter._ring import LEAF, START
from holter.context import CONTEXT, innermost
from holter.errors import ConfigurationError
from holter.failure import failed_series
from holter.metric import AttributeValue
from holter.options import is_attribute_value
from holter.record import Outcome
from holter.ring import NATIVE
from holter.scope import Scope

F = TypeVar("F", bound=Callable[..., Any])

_ID_MASK: Final = 2**32 - 1
# Not their subclasses, whose hash could run foreign code; and by identity, because so could that of their class.
_NAME_TYPES: Final = frozenset({id(str)})
_VALUE_TYPES: Final = frozenset(map(id, (str, bool, int, float)))
_OWN: Final = frozenset({names.ERROR_TYPE, names.OVERFLOW})
_MOST_KNOWN: Final = 10_000
LONGEST_VALUE: Final = 200

# Of the call around a line: its series, and its id, the low 32 bits of its start; None and 0 where there is no call.
Around: TypeAlias = tuple[int | None, int]


class Span:
    """
    Times a stretch of code, as ``with`` or as a decorator of functions and coroutines.

    The span knows the watched call around it. One object may be entered again while it is open;
    two threads or tasks need one each (a decorator makes one for each call).
    """

    __slots__ = ("_name", "_open", "_spans")

    def __init__(self, spans: Spans, name: str) -> None:
        self._spans, self._name = spans, name
        self._open: list[tuple[Around, int]] = []

    def __enter__(self) -> Self:
        self._open.append((self._spans.around(), self._spans.scope.now()))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        end_ns = self._spans.scope.now()
        around, start_ns = self._open.pop()
        self._spans.record(self._name, around, start_ns, end_ns, error)

    def __call__(self, function: F) -> F:
        """Return *function* with each call of it as a span of its own."""
        return self._spans.decorate(self._name, function)


class InertSpan(Span):
    """A span where holter is switched off: it costs what entering and leaving a block does."""

    __slots__ = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        pass

    def __call__(self, function: F) -> F:
        """Return *function* itself."""
        return function


class Spans:
    """The spans of one scope, by name and by the call that they are part of."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.open: Callable[[str], Any] = self.open_in_python if NATIVE is None else self.native()
        """Returns a span to be entered."""
        self._series: dict[tuple[str, int | None], int] = {}

    def native(self) -> Any:
        """Return what opens spans in C, which asks here for what it does not know."""
        return NATIVE.Spans(
            lookup=self.scope.recorder.lookup,
            clock=self.scope.own_clock,
            context=CONTEXT,
            checked_name=self.checked_name,
            series_of=self.series_of,
            failed=self.failed,
            decorate=self.decorate,
        )

    def decorate(self, name: str, function: F) -> F:
        """Return *function* with each call of it as a span *name* of its own."""
        open_span = self.open
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise ConfigurationError(
                f"expected a function or coroutine function, got the generator function {name!r}; "
                "use holter.watch for it, or a span inside"
            )
        wrapper: Any
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def wrapper(*args: Any, **kwargs: Any) -> Any:
                with open_span(name):
                    return await function(*args, **kwargs)
        else:

            @functools.wraps(function)
            def wrapper(*args: Any, **kwargs: Any) -> Any:
                with open_span(name):
                    return function(*args, **kwargs)

        return wrapper  # type: ignore[no-any-return]  # the wrapper takes and returns what the function does

    def open_in_python(self, name: str) -> Span:
        """Return a span to be entered."""
        return Span(self, self.checked_name(name))

    def checked_name(self, name: object) -> str:
        """Return *name* of bounded length, or another one for what is no name."""
        if type(name) is not str:
            self.scope.guard.refused("span", "a name as str")
            return names.INVALID
        return name[:LONGEST_VALUE]

    def around(self) -> Around:
        """Return what a span that begins here is part of."""
        call = innermost(self.scope.ring())
        return (None, 0) if call is None else (self.scope.table.root(call[LEAF]), call[START] & _ID_MASK)

    def record(self, name: str, around: Around, start_ns: int, end_ns: int, error: BaseException | None) -> None:
        """Record one span of the call *around* it, whose id its record carries."""
        root, call_id = around
        series, outcome = self.series_of(name, root), Outcome.OK
        if error is not None:
            series, outcome = self.failed(series, error)
        self.scope.ring().write(series, end_ns, end_ns - start_ns, 0, outcome, call_id)

    def failed(self, series: int, error: BaseException) -> tuple[int, Outcome]:
        """Return series and outcome of a span of *series* that *error* leaves."""
        default = (series, Outcome.ERROR)
        return self.scope.guard.run("failure", default, failed_series, self.scope.table, series, error)

    def series_of(self, name: str, root: int | None) -> int:
        """Return the series of spans *name* in the calls *root*, made at first use."""
        series = self._series.get((name, root))
        return self._new_series(name, root) if series is None else series

    def _new_series(self, name: str, root: int | None) -> int:
        attributes: dict[str, AttributeValue] = {names.SPAN_NAME: name}
        call_name = None if root is None else self.scope.table[root].attributes.get(names.CALL_NAME)
        # A call beyond the bound of series has none.
        if call_name is not None:
            attributes[names.CALL_NAME] = call_name
        series = self.scope.timer(names.SPAN_DURATION, attributes)
        if not self.scope.table.is_overflow(series):
            self._series[name, root] = series
        return series


class Tags:
    """The attributes that calls of one scope are given while they run."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._series: dict[object, int] = {}

    def add(self, attributes: dict[str, AttributeValue]) -> None:
        """Count the innermost open call under these further *attributes*; some 500 ns once they are known."""
        scope = self._scope
        call = innermost(scope.ring())
        if call is None:
            scope.guard.refused("tag", "a watched call around it")
            return
        values = attributes.values()
        kinds = tuple(map(type, values))
        if not (_VALUE_TYPES.issuperset(map(id, kinds)) and _NAME_TYPES.issuperset(map(id, map(type, attributes)))):
            scope.guard.refused("tag", "names of type str and values of type str, bool, int or float")
            return
        key = (call[LEAF], *attributes.items(), *kinds)
        series = self._series.get(key)
        if series is None:
            series = self._new_series(key, call[LEAF], attributes)
        call[LEAF] = series

    def _new_series(self, key: object, of: int, attributes: dict[str, AttributeValue]) -> int:
        if any(name in _OWN or name.startswith("holter.") for name in attributes):
            self._scope.guard.refused("tag", "names that are not holter's own")
            return of
        if not all(map(is_attribute_value, attributes.values())):
            self._scope.guard.refused("tag", "numbers that are finite and, if whole, of 64 bits")
            return of
        bounded = {
            name[:LONGEST_VALUE]: value[:LONGEST_VALUE] if isinstance(value, str) else value
            for name, value in attributes.items()
        }
        series = self._scope.table.part(of, bounded)
        # Remembered are keys of bounded size, and as many as are worth it.
        if len(self._series) < _MOST_KNOWN and bounded == attributes and not self._scope.table.is_overflow(series):
            self._series[key] = series
        return series
