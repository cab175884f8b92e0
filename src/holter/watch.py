"""Chooses the probe for what it is given."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from numbers import Integral
from types import MethodType
from typing import TYPE_CHECKING, Any, cast

from holter.errors import ConfigurationError
from holter.failure import ExceptionTypes
from holter.metric import Attributes
from holter.options import checked_attributes, checked_name
from holter.ownthreads import outside as outside_own
from holter.probe import CallProbe, Units
from holter.probes.calls import watch_coroutine, watch_function
from holter.probes.streams import watch_async_generator, watch_generator
from holter.ring import NATIVE
from holter.scope import Scope
from holter.values import work_units

if TYPE_CHECKING:
    from holter.probes.llm import LLMCalls

_HOLDERS = (classmethod, staticmethod, property, MethodType)


def watch(
    scope: Scope,
    target: Any,
    *,
    name: str | None = None,
    units: Units = None,
    attributes: Attributes | None = None,
    expected: type[BaseException] | ExceptionTypes = (),
    native: bool = True,
    outside: bool = False,
    llm: Callable[[str, ExceptionTypes, Attributes], LLMCalls] | None = None,
) -> Any:
    """
    Return *target* with its calls recorded in *scope*, of the same kind and with the same signature.

    What is watched already under that name is returned as it is. Of what is *outside* of holter, calls by
    holter's own threads are not recorded. *llm* makes what its calls are
    told to besides, if they call a language model.

    Raises:
        ConfigurationError: *target* cannot be watched as it is, or an option cannot work.
    """
    if isinstance(target, _HOLDERS):
        options = {"name": name, "units": units, "attributes": attributes, "expected": expected, "native": native}
        return _watch_held(scope, target, **options, outside=outside, llm=llm)
    refuse_what_cannot_be_watched(target)
    told = name_of(target) if name is None else name
    watched_as = getattr(target, "__holter_call__", None)
    if llm is not None and watched_as is not None and not getattr(target, "__holter_llm__", False):
        raise ConfigurationError(
            f"expected a function that is not watched yet, got {watched_as}: llm watches too, take @watch away"
        )
    if watched_as == told and getattr(target, "__holter_scope__", None) == scope.number:
        return target
    told, expected = checked_name(told), checked_expected(expected)
    attributes = checked_attributes(attributes)
    calls = None if llm is None else llm(told, expected, attributes)
    probe = CallProbe(
        scope,
        told,
        units=checked_units(units),
        attributes=attributes,
        expected=expected,
        # torch.compile takes no other callable than a function as the forward of a module.
        native=native and getattr(target, "__name__", "") != "forward",
        witness=calls,
        outside=outside,
    )
    watch_it = probe_for(target)
    watched: Any = watch_it(target if calls is None else _told(calls, target, watch_it), probe)
    # What is in C sees to that by itself, and a `forward` is left to torch.compile as it is.
    is_seen_to = type(watched) is getattr(NATIVE, "TimedCall", None) or getattr(target, "__name__", "") == "forward"
    if outside and not is_seen_to:
        watched = outside_own(target, watched)
    if inspect.isroutine(target):
        # What others have noted on the function (a route, a marker, the handles of a cache) stays on it.
        watched.__dict__.update({key: getattr(target, key) for key in dir(target) if not hasattr(watched, key)})
    watched.__holter_call__, watched.__holter_scope__, watched.__holter_expected__ = told, scope.number, expected
    if calls is not None:
        watched.__holter_llm__ = True
    return watched


def probe_for(target: Any) -> Callable[[Any, CallProbe], Any]:
    """Return what watches *target*, which follows from its kind."""
    function = target
    while isinstance(function, functools.partial):
        function = function.func
    if not inspect.isroutine(function):
        function = type(function).__call__
    if inspect.isasyncgenfunction(function):
        return watch_async_generator
    if inspect.isgeneratorfunction(function):
        return watch_generator
    return watch_coroutine if inspect.iscoroutinefunction(function) else watch_function


def _told(calls: LLMCalls, target: Any, watch_it: object) -> Any:
    """Return *target* with the end of its calls told; that of streams is told by what watches them."""
    if watch_it is watch_function:
        return calls.around(target)
    return calls.around_coroutine(target) if watch_it is watch_coroutine else target


def _watch_held(scope: Scope, target: Any, **options: Any) -> Any:
    """Return a holder of the same kind with the function in it watched."""
    if isinstance(target, property):
        if target.fget is None:
            raise ConfigurationError("expected a property that can be read, got one without a getter")
        return target.getter(watch(scope, target.fget, **options))
    watched = watch(scope, target.__func__, **options)
    # A bound method stays one, so that an object which holds it can be copied and pickled.
    return MethodType(watched, target.__self__) if isinstance(target, MethodType) else type(target)(watched)


def refuse_what_cannot_be_watched(target: Any) -> None:
    """Raise the ConfigurationError that tells what to watch instead of *target*, if that is so."""
    kind = type(target)
    if isinstance(target, type):
        raise ConfigurationError(
            f"expected a function or method, got the class {target.__name__}; watch a method of it: "
            f"put @holter.watch above `def {'forward' if _is_module_class(target) else 'predict'}`"
        )
    if _is_module_class(kind):
        raise ConfigurationError(
            f"expected a function or method, got a {kind.__name__}; watch what runs it: "
            "module.forward = holter.watch(module.forward), or the function that calls the module"
        )
    if getattr(getattr(target, "__code__", None), "co_flags", 0) & inspect.CO_ITERABLE_COROUTINE:
        raise ConfigurationError(
            "expected a coroutine function by `async def`, got a generator function by types.coroutine; "
            "watch what awaits it"
        )
    if not callable(target):
        raise ConfigurationError(f"expected something to call, got {kind.__name__}; give watch a function or method")


def _is_module_class(kind: type) -> bool:
    return any(base.__name__ == "Module" and base.__module__.startswith("torch.nn") for base in kind.__mro__)


def name_of(target: Any) -> str:
    """Return what *target* is called by."""
    while isinstance(target, functools.partial):
        target = target.func
    name = getattr(target, "__qualname__", None)
    return name if isinstance(name, str) else type(target).__qualname__


def checked_units(units: Any) -> Units:
    """Return *units* if it can be the size of a call's work, or tell it from the result."""
    if units is None or callable(units):
        return cast("Units", units)
    if isinstance(units, bool) or not isinstance(units, Integral) or work_units(units) is None:
        raise ConfigurationError(
            f"expected units as a whole number or as a function of the result such as len, got {units!r:.60}"
        )
    return cast("Units", units)


def checked_expected(expected: Any) -> ExceptionTypes:
    """Return *expected* as a tuple of exception classes."""
    classes = expected if isinstance(expected, tuple) else (expected,)
    for kind in classes:
        if not isinstance(kind, type) or not issubclass(kind, BaseException):
            raise ConfigurationError(f"expected exception classes, one or a tuple of them, got {kind!r:.60}")
    return classes
