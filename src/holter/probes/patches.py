"""Other people's code, changed in place: one attribute by its path, now or when its module is imported, and back."""

from __future__ import annotations

import importlib
import os
import re
import sys
import threading
from collections.abc import Callable
from functools import cached_property
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction
from types import (
    BuiltinFunctionType,
    ClassMethodDescriptorType,
    FunctionType,
    MethodDescriptorType,
    ModuleType,
    WrapperDescriptorType,
)
from typing import Any, Final, NamedTuple, TypeAlias

from holter.errors import ConfigurationError
from holter.ring import NATIVE

Around: TypeAlias = Callable[[Any, Any, tuple[Any, ...], dict[str, Any]], Any]
"""As wrapt calls it: the function as it is bound, what it is bound to, positional and named arguments."""

_NAME: Final = r"[^\W\d]\w*(?:\.[^\W\d]\w*)*"
_PATH: Final = re.compile(rf"({_NAME}):({_NAME})")
# What is known to be bound to an object as functions are; anything else that binds itself is asked to do so.
_PLAIN: Final = (
    FunctionType,
    BuiltinFunctionType,
    MethodDescriptorType,
    WrapperDescriptorType,
    *(() if NATIVE is None else (NATIVE.TimedCall,)),
)
_ABSENT: Final = object()


class Path(NamedTuple):
    """Where an attribute is: "module:Class.method"."""

    module: str
    attribute: str

    @classmethod
    def parse(cls, text: object) -> Path:
        """
        Return the path that *text* spells.

        Raises:
            ConfigurationError: it spells none.
        """
        found = _PATH.fullmatch(text) if isinstance(text, str) else None
        if found is None:
            raise ConfigurationError(
                f"expected what to instrument as 'module:function' or 'module:Class.method', "
                f"or an object of holter.targets, got {text!r:.80}"
            )
        return cls(*found.groups())

    def __str__(self) -> str:
        return f"{self.module}:{self.attribute}"


class Found(NamedTuple):
    """An attribute as it lies in its owner, or in what its owner inherits from."""

    owner: Any
    name: str
    raw: Any
    is_own: bool


def find(path: Path) -> Found:
    """
    Return what is at *path*, whose module has been imported.

    Raises:
        ConfigurationError: there is no such thing.
    """
    owner: Any = sys.modules[path.module]
    *outer, name = path.attribute.split(".")
    for part in outer:
        owner = getattr(owner, part, _ABSENT)
        if owner is _ABSENT:
            raise ConfigurationError(f"{path.module} has no {part!r} as {path} says")
    return found_in(owner, name, path)


def found_in(owner: Any, name: str, path: object) -> Found:
    """
    Return the attribute *name* of *owner*, called *path* in words.

    Raises:
        ConfigurationError: there is no such thing.
    """
    own = vars(owner).get(name, _ABSENT) if hasattr(owner, "__dict__") else _ABSENT
    if own is not _ABSENT:
        return Found(owner, name, own, is_own=True)
    if isinstance(owner, type):
        raw = next((vars(base)[name] for base in owner.__mro__ if name in vars(base)), _ABSENT)
    else:
        raw = getattr(owner, name, _ABSENT)
    if raw is _ABSENT:
        raise ConfigurationError(f"there is no {path}: {_called(owner)} has no {name!r}")
    return Found(owner, name, raw, is_own=False)


def _called(owner: Any) -> str:
    if isinstance(owner, ModuleType):
        return f"the module {owner.__name__}"
    return f"the class {owner.__qualname__}" if isinstance(owner, type) else f"a {type(owner).__qualname__}"


def watched_in_place(found: Found, watch: Callable[[Any], Any], path: object) -> Any:
    """
    Return what is to stand where *found* stands: watched, and bound to objects as before.

    Raises:
        ConfigurationError: it is nothing whose calls can be watched there.
    """
    # Their own types, since what wrapt has wrapped says that it is of the type of what is in it.
    raw, kind = found.raw, type(found.raw)
    if issubclass(kind, property | cached_property):
        raise ConfigurationError(f"{path} is a property, not a method: instrument what it calls")
    if issubclass(kind, type):
        raise ConfigurationError(f"{path} is a class: instrument a method of it, such as {path}.__init__")
    if issubclass(kind, ClassMethodDescriptorType):
        raise ConfigurationError(f"{path} is a class method in C, which cannot be replaced: instrument what calls it")
    if issubclass(kind, classmethod | staticmethod) or not isinstance(found.owner, type):
        return watch(raw)
    if not hasattr(kind, "__get__"):
        # A class gives it out as it is, without the object as first argument.
        return staticmethod(watch(raw))
    return watch(raw) if issubclass(kind, _PLAIN) else _watched_as_bound(raw, watch, path)


def _watched_as_bound(raw: Any, watch: Callable[[Any], Any], path: object) -> Any:
    """Return *raw*, which binds itself in a way of its own, with what it is bound to watched."""
    if isasyncgenfunction(raw):
        raise ConfigurationError(f"{path} is an async generator of a kind that is not known: instrument what calls it")
    function: Callable[..., Any]
    if iscoroutinefunction(raw):

        async def function(call: Any, args: Any, kwargs: Any) -> Any:
            return await call(*args, **kwargs)
    elif isgeneratorfunction(raw):

        def function(call: Any, args: Any, kwargs: Any) -> Any:
            return (yield from call(*args, **kwargs))
    else:

        def function(call: Any, args: Any, kwargs: Any) -> Any:
            return call(*args, **kwargs)

    watched = watch(function)
    return wrapped(raw, lambda call, _, args, kwargs: watched(call, args, kwargs))


def wrapped(raw: Any, around: Around) -> Any:
    """Return *raw* with its calls given to *around*, transparent in all else: some 500 ns a call."""
    import wrapt  # noqa: PLC0415 - a program that instruments nothing need not load it

    return wrapt.FunctionWrapper(raw, around)


class Layer(NamedTuple):
    """What is put around an attribute: by whom, and how."""

    by: object
    put_around: Callable[[Found], Any]


class _Place:
    """An attribute that is changed: what stood there, and what has been put around it, innermost first."""

    def __init__(self, found: Found) -> None:
        self.found = found
        self.layers: list[Layer] = []
        self.current = found.raw

    def is_as_left(self) -> bool:
        """Whether nobody else has put something there since."""
        own = vars(self.found.owner).get(self.found.name, _ABSENT)
        return own is (self.current if self.layers or self.found.is_own else _ABSENT)

    def build(self) -> None:
        """Put all layers around what stood there."""
        owner, name, value, is_own = self.found
        for layer in self.layers:
            value = layer.put_around(Found(owner, name, value, is_own))
        try:
            if self.layers or is_own:
                setattr(owner, name, value)
            else:
                delattr(owner, name)
        except (AttributeError, TypeError) as error:
            raise ConfigurationError(f"{_called(owner)} does not let {name!r} be replaced: {error}") from None
        self.current = value


# Set-up calls only; an import hook runs in a thread that may hold it already.
_LOCK = threading.RLock()
_PLACES: Final[dict[tuple[int, str], _Place]] = {}
_WAITING: Final[dict[str, list[Callable[[], None]]]] = {}


def _renew() -> None:
    global _LOCK  # noqa: PLW0603 - another thread may have held it when this child was forked
    _LOCK = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)


class Patch:
    """One attribute that is changed until `undo`."""

    def __init__(self, place: _Place, layer: Layer) -> None:
        self._place, self._layer = place, layer

    def undo(self) -> bool:
        """Take it away; return whether it is gone, which it is not if somebody else's has been put around it."""
        with _LOCK:
            place = self._place
            if self._layer not in place.layers:
                return True
            if not place.is_as_left():
                return False
            place.layers.remove(self._layer)
            place.build()
            if not place.layers:
                _PLACES.pop((id(place.found.owner), place.found.name), None)
            return True


def patch(found: Found, layer: Layer) -> Patch | None:
    """
    Put *layer* around what was *found*; None where one of the same hand is there already.

    Raises:
        ConfigurationError: that cannot be done.
    """
    with _LOCK:
        key = (id(found.owner), found.name)
        place = _PLACES.get(key)
        if place is None or not place.is_as_left():
            place = _Place(found)
        elif any(other.by == layer.by for other in place.layers):
            return None
        place.layers.append(layer)
        try:
            place.build()
        except BaseException:
            place.layers.remove(layer)
            raise
        _PLACES[key] = place
        return Patch(place, layer)


def when_imported(module: str, act: Callable[[], None]) -> Callable[[], None] | None:
    """
    Call *act* now if *module* is there, else in the thread that imports it, when it is.

    Returns what cancels that, None if it was done now. *act* must not raise: it would fail the import.
    """
    with _LOCK:
        if module not in sys.modules:
            import wrapt  # noqa: PLC0415 - a program that instruments nothing need not load it

            if module not in _WAITING:
                _WAITING[module] = []
                wrapt.register_post_import_hook(_imported, module)
            waiting = _WAITING[module]
            waiting.append(act)
            return lambda: waiting.remove(act) if act in waiting else None
    if getattr(getattr(sys.modules.get(module), "__spec__", None), "_initializing", False):
        # Another thread is at it: this waits until it is done. Inside of that import it returns at once.
        importlib.import_module(module)
    act()
    return None


def _imported(module: ModuleType) -> None:
    with _LOCK:
        acts = _WAITING.pop(module.__name__, [])
    for act in acts:
        act()
