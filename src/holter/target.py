"""What a ready-made target is: an object that says what of a component to change, and how."""

from __future__ import annotations

import importlib
import inspect
import warnings
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, NamedTuple, Protocol

from holter.errors import ConfigurationError
from holter.metric import Attributes
from holter.probe import CallProbe, Units
from holter.probes.patches import Around, Path, find
from holter.words import clean

_LONGEST_WORDS = 300


class Need(NamedTuple):
    """A place that a target counts on, and the parameters that it must have."""

    path: str
    parameters: tuple[str, ...] = ()

    def misfit(self) -> str | None:
        """Return in words what is not as it is needed, None where all is; its module has been imported."""
        try:
            found = find(Path.parse(self.path))
        except ConfigurationError as error:
            return str(error)
        if not self.parameters:
            return None
        try:
            known = inspect.signature(getattr(found.owner, found.name)).parameters
        except (TypeError, ValueError):
            return f"{self.path} does not tell its parameters"
        missing = [name for name in self.parameters if name not in known]
        return f"{self.path} has no parameter {', '.join(map(repr, missing))}" if missing else None


class Bench(Protocol):
    """Where a target works: what it may do, and by what its work is undone."""

    def patch(
        self,
        path: str,
        *,
        around: Around | None = None,
        name: str | None = None,
        units: Units = None,
        attributes: Attributes | None = None,
    ) -> None:
        """Watch what is at *path*, or give its calls to *around*: now, or when its module is imported."""

    def patch_in(
        self, owner: Any, attribute: str, *, name: str, units: Units = None, attributes: Attributes | None = None
    ) -> None:
        """Watch *attribute* of the class *owner*, or of one object, which stays as it is."""

    def when_there(self, path: str, act: Callable[[Any], None]) -> None:
        """Call *act* with what is at *path*: now, or when its module is imported."""

    def watch(
        self, function: Callable[..., Any], *, name: str, units: Units = None, attributes: Attributes | None = None
    ) -> Callable[..., Any]:
        """Return *function* watched."""

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
    ) -> Any:
        """Return what tells the figures of calls of a language model."""

    def probe(self, name: str, *, units: Units = None, attributes: Attributes | None = None) -> CallProbe:
        """Return the probe of the calls *name*, to begin and end them by hand."""

    def undo_by(self, act: Callable[[], object]) -> None:
        """Have *act* called when the target is taken away."""

    def misses(self, what: str) -> None:
        """Count, and say once, that the component is not what it was."""


class Target:
    """
    Something that `instrument` knows how to watch: a component, and what of it a holter counts on.

    A target of your own has a ``component``, the module that it is about, ``needs``, which the
    doctor asks, and ``attach``.
    """

    component: ClassVar[str]
    package: ClassVar[str]
    """What pip calls it."""
    needs: ClassVar[tuple[Need, ...]] = ()

    def attach(self, bench: Bench) -> None:
        """Change what is to be watched."""
        raise NotImplementedError

    @classmethod
    def misfits(cls) -> Iterator[str]:
        """Yield in words what the component that is installed lacks; imports it, which may take seconds."""
        for need in cls.needs:
            module = Path.parse(need.path).module
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    importlib.import_module(module)
            except ImportError as error:
                yield f"{module} cannot be imported: {clean(str(error), _LONGEST_WORDS)}"
                continue
            misfit = need.misfit()
            if misfit is not None:
                yield misfit
