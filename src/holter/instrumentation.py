"""What `instrument` puts in place, and takes back."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias

from holter.errors import ConfigurationError
from holter.metric import Attributes
from holter.options import checked_attributes, checked_name
from holter.probe import CallProbe, Units
from holter.probes.patches import (
    Around,
    Found,
    Layer,
    Path,
    find,
    found_in,
    patch,
    watched_in_place,
    when_imported,
    wrapped,
)
from holter.recorder import DISABLED
from holter.scope import Scope
from holter.target import Need, Target
from holter.watch import checked_expected, checked_units, watch

if TYPE_CHECKING:
    from holter.probes.llm import LLMCalls

ExpectedErrors = type[BaseException] | tuple[type[BaseException], ...]

_NOTHING: Final = (None, None, None, ())


class Instrumentation:
    """
    What has been put in place for one target; `undo`, or the end of a ``with``, takes it back.

    ``waiting`` are the paths whose modules have not been imported yet, ``problems`` what is not as it
    is expected, in words.
    """

    def __init__(self, scope: Scope, title: str) -> None:
        self.title = title
        self.waiting: list[str] = []
        self.problems: list[str] = []
        self._scope = scope
        self._undoing: list[Callable[[], object]] = []
        self._needs: dict[str, Need] = {}
        self.forget: Callable[[], object] = bool
        self._raises = False

    def __repr__(self) -> str:
        waits = f", waits for {', '.join(self.waiting)}" if self.waiting else ""
        return f"Instrumentation({self.title}{waits}{''.join(f'; {words}' for words in self.problems)})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.undo()

    def undo(self) -> bool:
        """Put back what stood there; return whether all of it is back: what others have put around it stays."""
        undoing, self._undoing = self._undoing, []
        self._undoing = [act for act in reversed(undoing) if act() is False][::-1]
        self.waiting.clear()
        if not self._undoing:
            self.forget()
        return not self._undoing

    # -- what a target may do; see target.Bench

    def attach(self, target: Target) -> None:
        """Let *target* work; whatever goes wrong is counted and told once."""
        self._needs = {need.path: need for need in target.needs}
        self._scope.guard.run(self._place, None, self._attached, target)

    def _attached(self, target: Target) -> None:
        try:
            target.attach(self)
        except ConfigurationError as error:
            self.misses(str(error))

    @property
    def _place(self) -> str:
        return f"instrument {self.title}"

    def patch(
        self,
        path: str,
        *,
        around: Around | None = None,
        name: str | None = None,
        units: Units = None,
        attributes: Attributes | None = None,
        expected: ExpectedErrors = (),
    ) -> None:
        """Watch what is at *path*, or give its calls to *around*: now, or when its module is imported."""
        where = Path.parse(path)
        told = where.attribute if name is None else name
        put_around = (
            (lambda found: wrapped(found.raw, around))
            if around is not None
            else self._watching(path, name=told, units=units, attributes=attributes, expected=expected)
        )

        self._when_imported(where, lambda: self._put(find(where), put_around))

    def when_there(self, path: str, act: Callable[[Any], None]) -> None:
        """Call *act* with what is at *path*: now, or when its module is imported."""
        where = Path.parse(path)
        self._when_imported(where, lambda: act(find(where).raw))

    def _when_imported(self, where: Path, act: Callable[[], None]) -> None:
        path = str(where)

        def done() -> None:
            if path in self.waiting:
                self.waiting.remove(path)
            misfit = self._scope.guard.run(self._place, None, self._misfit, path, act)
            if misfit is not None:
                self.misses(misfit)

        self.waiting.append(path)
        cancel = when_imported(where.module, done)
        if cancel is not None:
            self._undoing.append(cancel)

    def patch_now_or_later(self, path: str, **options: Any) -> None:
        """Do what `patch` does; raise what is wrong with a module that is there."""
        self._raises = True
        try:
            self.patch(path, **options)
        finally:
            self._raises = False

    def _misfit(self, path: str, act: Callable[[], None]) -> str | None:
        """Do what is to be done at *path*; return in words why that cannot be, else None."""
        need = self._needs.get(path)
        misfit = None if need is None else need.misfit()
        try:
            if misfit is None:
                act()
        except ConfigurationError as error:
            return str(error)
        return misfit

    def patch_in(
        self, owner: Any, attribute: str, *, name: str, units: Units = None, attributes: Attributes | None = None
    ) -> None:
        """Watch *attribute* of the class *owner*, or of one object, which stays as it is: its class does that."""
        if isinstance(owner, type):
            put_around = self._watching(name, name=name, units=units, attributes=attributes)
            self._put(found_in(owner, attribute, name), put_around)
            return
        watched = self.watch(_called, name=name, units=units, attributes=attributes)
        one = weakref.ref(owner)

        def around(call: Any, owner: Any, args: Any, kwargs: Any) -> Any:
            return watched(call, args, kwargs) if owner is one() else call(*args, **kwargs)

        found = found_in(type(owner), attribute, name)
        self._put(found, lambda found: wrapped(found.raw, around), (self._scope, id(owner)))

    def _put(self, found: Found, put_around: Callable[[Found], Any], by: object = None) -> None:
        made = patch(found, Layer(self._scope if by is None else by, put_around))
        if made is not None:
            self._undoing.append(made.undo)

    def _watching(self, path: str, **options: Any) -> Callable[[Found], Any]:
        return lambda found: watched_in_place(found, partial(watch, self._scope, outside=True, **options), path)

    def watch(
        self, function: Callable[..., Any], *, name: str, units: Units = None, attributes: Attributes | None = None
    ) -> Callable[..., Any]:
        """Return *function* watched."""
        watched: Callable[..., Any] = watch(
            self._scope, function, name=name, units=units, attributes=attributes, outside=True
        )
        return watched

    def llm(
        self,
        name: str,
        *,
        operation: str,
        provider: str,
        model: Callable[[Any], Any] | None = None,
        usage: Callable[[Any], Any] | None = None,
        attributes: Attributes | None = None,
        is_client: bool = False,
    ) -> LLMCalls:
        """Return what tells the figures of calls of a language model."""
        from holter.probes.llm import LLMCalls  # noqa: PLC0415 - a program without such a model need not load it

        return LLMCalls(
            self._scope,
            name,
            operation=operation,
            provider=provider,
            model=model,
            usage=usage,
            targets={},
            expected=(),
            attributes=checked_attributes(attributes),
            is_client=is_client,
        )

    def probe(self, name: str, *, units: Units = None, attributes: Attributes | None = None) -> CallProbe:
        """Return the probe of the calls *name*, to begin and end them by hand."""
        return CallProbe(self._scope, checked_name(name), units=units, attributes=checked_attributes(attributes))

    def undo_by(self, act: Callable[[], object]) -> None:
        """Have *act* called when the target is taken away."""
        self._undoing.append(act)

    def misses(self, what: str) -> None:
        """Count, and say once, that the component is not what it was."""
        if self._raises:
            raise ConfigurationError(what)
        self.problems.append(what)
        self._scope.guard.note(self._place, what)


Known: TypeAlias = dict[object, tuple[Instrumentation, object]]
"""What one monitor has instrumented, and with which options."""


def put_in_place(
    scope: Scope,
    known_ones: Known,
    target: str | Target,
    *,
    name: str | None = None,
    units: Units = None,
    attributes: Attributes | None = None,
    expected: ExpectedErrors = (),
) -> Instrumentation:
    """
    Watch what is at a path, or what a target says, in *scope*.

    Raises:
        ConfigurationError: as `Instruments.instrument` says.
    """
    options = (name, units, attributes, expected)
    key = target if isinstance(target, Target) else str(Path.parse(target))
    title = type(target).__name__ if isinstance(target, Target) else str(key)
    if isinstance(target, Target) and options != _NOTHING:
        raise ConfigurationError(f"expected the options where {title} is made, got some here")
    made = Instrumentation(scope, title)
    if DISABLED:
        return made
    known, told = known_ones.get(key, (None, None))
    if known is not None:
        if told != options:
            raise ConfigurationError(f"{title} is instrumented with other options: call uninstrument first")
        return known
    if isinstance(target, Target):
        made.attach(target)
    else:
        # What is wrong with them is wrong before the module is there.
        checked_name(Path.parse(target).attribute if name is None else name)
        checked_attributes(attributes)
        made.patch_now_or_later(
            str(key),
            name=name,
            units=checked_units(units),
            attributes=attributes,
            expected=checked_expected(expected),
        )
    known_ones[key] = made, options
    made.forget = lambda: known_ones.pop(key, None)
    return made


def take_back(known_ones: Known, target: str | Target | Instrumentation) -> bool:
    """
    Undo what was put in place for *target*; return whether all of it is gone.

    Raises:
        ConfigurationError: it is not instrumented.
    """
    if isinstance(target, Instrumentation):
        return target.undo()
    if DISABLED:
        return True
    known, _ = known_ones.get(target if isinstance(target, Target) else str(Path.parse(target)), (None, None))
    if known is None:
        raise ConfigurationError(f"{target!r:.80} is not instrumented")
    return known.undo()


def _called(call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return call(*args, **kwargs)
