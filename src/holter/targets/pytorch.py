"""Modules of PyTorch, by forward hooks."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import Any, ClassVar, Final

from holter._ring import Call
from holter.compiled import compiling, leaves_unwatched
from holter.errors import ConfigurationError
from holter.metric import Attributes
from holter.options import checked_attributes, checked_name
from holter.ownthreads import is_own
from holter.probe import CallProbe, Units
from holter.recorder import current_ident
from holter.target import Bench, Need, Target

_HOOKS: Final = (
    Need("torch.nn:Module.register_forward_pre_hook", ("hook", "prepend")),
    Need("torch.nn:Module.register_forward_hook", ("hook", "always_call")),
    Need("torch.nn:Module._call_impl"),
)


@dataclass(frozen=True, eq=False)
class Torch(Target):
    """
    One module of PyTorch, by forward hooks: each of its calls, from the first hook to the last.

    *name* is its class by default; *depth* 1 watches its children as well, 2 theirs, named
    ``Net.encoder.0``. *units* is the size of a call's work, or tells it from the output: the rows of
    the first tensor in it by default, from its shape.

    Nothing here touches a device or waits for one: where work is queued, as on a GPU, a duration is
    the time of queueing. An exception that leaves the module is recorded as an error; Ctrl-C in it
    is not seen before its next call, and makes the call abandoned. What is inside of
    ``torch.compile`` is compiled as if there were no hooks, and the log says so once. A copy of the
    module, or one that is pickled, is not watched.

    >>> import holter
    >>> holter.targets.Torch("net")
    Traceback (most recent call last):
        ...
    holter.errors.ConfigurationError: expected a torch.nn.Module, got 'net'

    Raises:
        ConfigurationError: *module* is none, or an option cannot work.
    """

    component: ClassVar[str] = "torch"
    package: ClassVar[str] = "torch"
    needs: ClassVar[tuple[Need, ...]] = _HOOKS

    module: Any
    name: str | None = None
    units: Units = None
    depth: int = 0
    attributes: Attributes | None = None

    def __post_init__(self) -> None:
        """Refuse what can never work."""
        modules = sys.modules.get("torch.nn")
        if modules is None or not isinstance(self.module, modules.Module):
            raise ConfigurationError(f"expected a torch.nn.Module, got {self.module!r:.60}")
        if self.name is not None:
            checked_name(self.name)
        if type(self.depth) is not int or self.depth < 0:
            raise ConfigurationError(f"expected depth as a whole number from 0 on, got {self.depth!r:.60}")
        checked_attributes(self.attributes)

    def __hash__(self) -> int:
        """By the module's identity, as modules are told apart."""
        return id(self.module)

    def __eq__(self, other: object) -> bool:
        """Whether *other* is about the same module, with the same options."""
        if not isinstance(other, Torch) or self.module is not other.module:
            return False
        return (self.name, self.units, self.depth, self.attributes) == (
            other.name,
            other.units,
            other.depth,
            other.attributes,
        )

    def attach(self, bench: Bench) -> None:
        """Hook the modules."""
        misfit = next((words for need in _HOOKS if (words := need.misfit()) is not None), None)
        if misfit is not None:
            bench.misses(misfit)
            return
        root = self.name or type(self.module).__qualname__
        for path, module in self.module.named_modules():
            if path and path.count(".") >= self.depth:
                continue
            name = f"{root}.{path}" if path else root
            units = _rows if self.units is None else self.units
            calls = _ModuleCalls(bench.probe(name, units=units, attributes=self.attributes), type(module)._call_impl)  # noqa: SLF001 - in `needs`
            bench.undo_by(module.register_forward_pre_hook(_Begin(calls), prepend=True).remove)
            bench.undo_by(module.register_forward_hook(_End(calls), always_call=True).remove)


class _ModuleCalls:
    """The calls of one module, each begun and ended in its thread."""

    def __init__(self, probe: CallProbe, call_impl: Any) -> None:
        self.name, self._probe = probe.name, probe
        self._code: CodeType | None = getattr(call_impl, "__code__", None)
        # The open calls by thread, the innermost last, each with the exception that was being handled when it began.
        self._open: dict[int, list[tuple[Call, BaseException | None]]] = {}

    def begin(self, module: Any) -> None:
        """Begin a call of *module* in this thread."""
        if is_own():
            return
        opened = self._open.setdefault(current_ident(), [])
        if opened:
            self._give_up(opened, module)
        opened.append((self._probe.begin(), sys.exc_info()[1]))

    def end(self, output: Any) -> None:
        """End the innermost call of this thread, by the exception that is being handled if that is a new one."""
        ident = current_ident()
        opened = self._open.get(ident)
        if not opened:
            return
        call, before = opened.pop()
        if not opened:
            self._open.pop(ident, None)
        error = sys.exc_info()[1]
        if output is None and error is not None and error is not before:
            self._probe.fail(call, error)
        else:
            end_ns = self._probe.now()
            self._probe.end(call, end_ns, self._probe.units_of(output))

    def _give_up(self, opened: list[tuple[Call, BaseException | None]], module: Any) -> None:
        """End the calls that are not on the stack any more: hooks hear of no Ctrl-C."""
        if self._code is None:
            return
        running = 0
        frame: FrameType | None = sys._getframe()  # noqa: SLF001 - a documented function
        while frame is not None:
            running += frame.f_code is self._code and frame.f_locals.get("self") is module
            frame = frame.f_back
        # Of those that run, one is about to begin.
        for _ in range(len(opened) - running + 1):
            call, _ = opened.pop()
            self._probe.fail(call, GeneratorExit())


def _hears_nothing(*_: object) -> None:
    """The hook of a copy, which is not watched."""


class _Hook:
    """A hook that does nothing in a copy of its module."""

    def __init__(self, calls: _ModuleCalls) -> None:
        self._calls, self._is_compiled = calls, compiling()

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[()]]:
        return _silent, ()


def _silent() -> Callable[..., None]:
    return _hears_nothing


class _Begin(_Hook):
    def __call__(self, module: Any, _: Any) -> None:
        if self._is_compiled():
            leaves_unwatched(self._calls.name)
        else:
            self._calls.begin(module)


class _End(_Hook):
    def __call__(self, _: Any, __: Any, output: Any) -> None:
        if not self._is_compiled():
            self._calls.end(output)


def _rows(output: Any) -> int | None:
    """Return the first dimension of the first tensor of *output*, which the host knows."""
    values = output.values() if isinstance(output, dict) else output if isinstance(output, tuple | list) else (output,)
    shape = next((shape for value in values if (shape := getattr(value, "shape", None)) is not None), None)
    if shape is None:
        return 0
    return int(shape[0]) if len(shape) else 1
