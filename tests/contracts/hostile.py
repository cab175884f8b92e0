"""Objects that raise whatever is done with them; imported as a module, because pytest looks at what it sees."""

from __future__ import annotations

from typing import Any, NoReturn

_ASKED = (
    *("bool", "call", "contains", "delattr", "delitem", "dir", "eq", "float", "format", "ge", "getattr", "getitem"),
    *("gt", "hash", "index", "int", "iter", "le", "len", "lt", "ne", "repr", "setattr", "setitem", "str", "trunc"),
)


class Meta(type):
    """A class of classes of which nothing can be asked but what Python 3.11 itself asks where an error is caught."""

    def __getattribute__(cls, name: str) -> Any:
        raise RuntimeError(name)

    def __instancecheck__(cls, instance: object) -> bool:
        raise RuntimeError

    def __hash__(cls) -> int:
        raise RuntimeError

    def __eq__(cls, other: object) -> bool:
        raise RuntimeError


def thing(error: BaseException) -> Any:
    """Return an object that raises *error* whatever is done with it."""

    def refuse(*_: object) -> NoReturn:
        raise error

    names: dict[str, Any] = {f"__{name}__": refuse for name in _ASKED}
    return Meta("Thing", (), {**names, "__class__": property(refuse), "__module__": 3})()


class Error(Exception, metaclass=Meta):
    """An error of which nothing can be asked."""

    __module__ = 3  # type: ignore[assignment]

    def __str__(self) -> NoReturn:
        raise SystemExit

    __repr__ = __eq__ = __hash__ = __bool__ = __str__  # type: ignore[assignment]
    __class__ = property(__str__)  # type: ignore[assignment]
    __traceback__ = property(__str__)  # type: ignore[assignment]
    __context__ = property(__str__)  # type: ignore[assignment]
    __cause__ = property(__str__)  # type: ignore[assignment]
    args = property(__str__)  # type: ignore[assignment]
