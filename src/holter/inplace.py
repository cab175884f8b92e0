"""What `instrument` and `uninstrument` are for user code; what they do is loaded when they are first called."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holter.metric import Attributes
from holter.probe import Units
from holter.scope import Scope

if TYPE_CHECKING:
    from holter.instrumentation import Instrumentation, Known
    from holter.target import Target

ExpectedErrors = type[BaseException] | tuple[type[BaseException], ...]


class Instrumenting:
    """The part of `Instruments` that watches other people's code where it is."""

    _scope: Scope

    def __init__(self) -> None:
        self._instrumented: Known = {}

    def instrument(
        self,
        target: str | Target,
        /,
        *,
        name: str | None = None,
        units: Units = None,
        attributes: Attributes | None = None,
        expected: ExpectedErrors = (),
    ) -> Instrumentation:
        """
        Watch code that is not yours, in place: ``"module:Class.method"``, or an object of `holter.targets`.

        Without a change of that code its calls are recorded as those of what `watch` has watched,
        with the same options: now, or, where its module is not imported yet, from its import on.
        An inherited method is watched in the class that is named, class methods and static methods
        stay what they are. A name that others have imported before (``from module import function``)
        stays unwatched: name the place where it is looked up. Calls by holter's own threads, such
        as an exporter's, are not recorded.

        What comes back is undone by `uninstrument`, by its ``undo()``, or as ``with`` at the end of
        the block. The same again with the same options returns the same; a place that is
        instrumented already stays as it is.

        A component that is not what a target expects is left alone: nothing is raised where it is
        imported. It is counted in ``holter.internal_errors``, logged once, in ``problems`` of what
        is returned, and `holter doctor` says what to do.

        >>> import holter, json
        >>> with holter.instrument("json:dumps", units=len):
        ...     json.dumps([1, 2])
        '[1, 2]'
        >>> holter.snapshot().find("holter.call.duration", where={"holter.call.name": "dumps"}).total.units
        6

        Raises:
            ConfigurationError: *target* is neither, an option cannot work, or a module that is
                imported has no such function.
        """
        from holter.instrumentation import put_in_place  # noqa: PLC0415 - most programs instrument nothing

        return put_in_place(
            self._scope, self._instrumented, target, name=name, units=units, attributes=attributes, expected=expected
        )

    def uninstrument(self, target: str | Target | Instrumentation, /) -> bool:
        """
        Take back what `instrument` has put in place for *target*, or what it has returned.

        Every attribute is again the object that it was, and none is left where there was none; what
        waits for an import waits no more. Returns whether that is so: where somebody else has put
        something around what is watched, it stays.

        >>> import holter
        >>> made = holter.instrument("json:loads")
        >>> holter.uninstrument("json:loads")
        True

        Raises:
            ConfigurationError: *target* is not instrumented.
        """
        from holter.instrumentation import take_back  # noqa: PLC0415 - as above

        return take_back(self._instrumented, target)
