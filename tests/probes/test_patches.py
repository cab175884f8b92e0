"""Attributes that are changed in place and back: by identity, whatever they are and whoever else was there."""

from __future__ import annotations

import functools
import importlib
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path as FilePath
from typing import Any

import pytest
import wrapt

from holter.errors import ConfigurationError
from holter.probes.patches import Layer, Path, find, patch, watched_in_place, when_imported
from programs import succeed

SOURCE = """
import functools

def function(x):
    return x + 1

class Base:
    def inherited(self, x):
        return ("inherited", type(self).__name__, x)

    @classmethod
    def of_class(cls, x):
        return (cls.__name__, x)

class Model(Base):
    built_in = len

    def predict(self, x):
        return ("predict", x)

    @classmethod
    def make(cls, x):
        return (cls.__name__, x)

    @staticmethod
    def static(x):
        return ("static", x)

    @property
    def size(self):
        return 1

    @functools.cached_property
    def cached(self):
        return 1

    halved = functools.partialmethod(predict, 0.5)

    @functools.singledispatchmethod
    def told(self, x):
        return ("told", x)

    class Inner:
        def run(self, x):
            return ("run", x)

class Slotted:
    __slots__ = ()

    def predict(self, x):
        return x

model = Model()
slotted = Slotted()
keys = dict
"""


@pytest.fixture
def module(tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a module that can be imported and has not been."""
    name = f"others_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    yield name
    sys.modules.pop(name, None)


@pytest.fixture
def others(module: str) -> Any:
    """The module, imported."""
    return importlib.import_module(module)


SEEN: list[str] = []


def counting(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return *function* with its calls noted, of the kinds that `watch` takes."""
    if isinstance(function, classmethod | staticmethod):
        return type(function)(counting(function.__func__))  # type: ignore[return-value]
    if isinstance(function, types.MethodType):
        return types.MethodType(counting(function.__func__), function.__self__)

    @functools.wraps(function, updated=())
    def counted(*args: Any, **kwargs: Any) -> Any:
        SEEN.append(getattr(function, "__name__", "?"))
        return function(*args, **kwargs)

    return counted


def put(path: str, by: object = "me", watch: Callable[[Any], Any] = counting) -> Any:
    """Watch what is at *path*."""
    return patch(find(Path.parse(path)), Layer(by, lambda found: watched_in_place(found, watch, path)))


CALLS: dict[str, Callable[[Any], Any]] = {
    "function": lambda others: others.function(1),
    "Model.predict": lambda others: others.Model().predict(2),
    "Model.make": lambda others: (others.Model.make(3), others.Model().make(3)),
    "Model.static": lambda others: (others.Model.static(4), others.Model().static(4)),
    "Model.inherited": lambda others: others.Model().inherited(5),
    "Model.of_class": lambda others: others.Model.of_class(6),
    "Model.built_in": lambda others: (others.Model.built_in("abc"), others.Model().built_in("ab")),
    "Model.halved": lambda others: others.Model().halved(),
    "Model.told": lambda others: others.Model().told(7),
    "Model.Inner.run": lambda others: others.Model.Inner().run(8),
    "model.predict": lambda others: others.model.predict(9),
}


@pytest.mark.parametrize("attribute", CALLS)
def test_an_attribute_works_as_before_and_is_the_same_afterwards(module: str, others: Any, attribute: str) -> None:
    """Functions, methods of every kind, inherited and nested ones, and those of one object."""
    call = CALLS[attribute]
    *outer, name = attribute.split(".")
    owner = functools.reduce(getattr, outer, others)
    before, bare = dict(vars(owner)), call(others)
    SEEN.clear()
    made = put(f"{module}:{attribute}")
    assert bare == call(others)
    assert SEEN
    assert made.undo()
    SEEN.clear()
    assert bare == call(others)
    assert [] == SEEN
    assert list(before) == list(vars(owner)) or before.keys() == vars(owner).keys()
    assert all(value is vars(owner)[key] for key, value in before.items())
    assert name in before or name not in vars(owner)


def test_an_inherited_method_is_changed_in_the_named_class_only(module: str, others: Any) -> None:
    """Its base class and its siblings stay as they are."""
    SEEN.clear()
    made = put(f"{module}:Model.inherited")
    others.Base().inherited(1)
    assert [] == SEEN
    others.Model().inherited(1)
    assert ["inherited"] == SEEN
    made.undo()


def test_twice_by_the_same_is_once(module: str, others: Any) -> None:
    """The second one changes nothing, and has nothing to undo."""
    bare = others.function
    made = put(f"{module}:function")
    assert put(f"{module}:function") is None
    SEEN.clear()
    others.function(1)
    assert ["function"] == SEEN
    assert made.undo()
    assert made.undo()
    assert bare is others.function


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_two_go_in_any_order(module: str, others: Any, order: tuple[int, int]) -> None:
    """Each takes away its own, and what stood there comes back with the last."""
    bare = others.Model.__dict__["predict"]
    made = [put(f"{module}:Model.predict", by) for by in ("one", "other")]
    SEEN.clear()
    others.Model().predict(1)
    assert 2 == len(SEEN)
    assert made[order[0]].undo()
    SEEN.clear()
    others.Model().predict(1)
    assert 1 == len(SEEN)
    assert made[order[1]].undo()
    assert bare is others.Model.__dict__["predict"]


def test_what_others_have_put_around_stays(module: str, others: Any) -> None:
    """It is not ours to take away: that is said, and mended once they have gone."""
    bare = others.function
    made = put(f"{module}:function")
    ours = others.function
    others.function = theirs = functools.partial(ours)
    assert not made.undo()
    assert theirs is others.function
    others.function = ours
    assert made.undo()
    assert bare is others.function


def test_what_another_tool_has_wrapped_binds_as_before(module: str, others: Any) -> None:
    """A wrapper that looks at the object it is bound to still sees it, with wrapt as its author meant it."""
    bound = []

    def around(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        bound.append((type(instance).__name__, args))
        return wrapped(*args, **kwargs)

    wrapt.wrap_function_wrapper(others, "Model.predict", around)
    made = put(f"{module}:Model.predict")
    assert ("predict", 1) == others.Model().predict(1)
    assert [("Model", (1,))] == bound
    made.undo()


@pytest.mark.parametrize(
    ("attribute", "words"),
    [
        ("Model.size", "is a property, not a method"),
        ("Model.cached", "is a property, not a method"),
        ("Model", "is a class: instrument a method of it"),
        ("Model.gone", "the class Model has no 'gone'"),
        ("Gone.predict", "has no 'Gone'"),
        ("gone", "has no 'gone'"),
        ("keys.fromkeys", "is a class method in C"),
        ("keys.get", "the class dict does not let 'get' be replaced"),
        ("slotted.predict", "a Slotted does not let 'predict' be replaced"),
    ],
)
def test_what_cannot_be_watched_is_refused_in_words(module: str, others: Any, attribute: str, words: str) -> None:
    """And nothing is changed."""
    before = dict(vars(others.Model))
    with pytest.raises(ConfigurationError, match=words):
        put(f"{module}:{attribute}")
    assert before == dict(vars(others.Model))


@pytest.mark.parametrize("text", ["", "json", "json.dumps", "json:", ":dumps", "json:dumps()", "a b:c", 3, None, "m:1"])
def test_a_path_is_a_module_and_an_attribute(text: object) -> None:
    """Anything else is refused with an example."""
    with pytest.raises(ConfigurationError, match="expected what to instrument as 'module:function'"):
        Path.parse(text)


def test_a_path_reads_as_it_was_written() -> None:
    """Module and attribute may both have dots."""
    assert ("a.b", "C.d") == Path.parse("a.b:C.d")
    assert "a.b:C.d" == str(Path.parse("a.b:C.d"))


def test_what_waits_for_an_import_comes_with_it(module: str) -> None:
    """In the thread that imports, once, after the module's own code."""
    seen: list[bool] = []
    assert when_imported(module, lambda: seen.append(hasattr(sys.modules[module], "keys"))) is not None
    assert [] == seen
    importlib.import_module(module)
    assert [True] == seen
    assert when_imported(module, lambda: seen.append(False)) is None
    assert [True, False] == seen


def test_what_is_cancelled_does_not_come(module: str) -> None:
    """Also where others wait for the same module, and as often as one likes."""
    seen: list[int] = []
    cancels = [when_imported(module, lambda number=number: seen.append(number)) for number in range(3)]  # type: ignore[misc]
    cancel = cancels[1]
    assert cancel is not None
    cancel()
    cancel()
    importlib.import_module(module)
    assert [0, 2] == seen


def test_a_forked_child_can_instrument_whoever_held_the_lock() -> None:
    """Another thread may have been at it when the child was forked."""
    program = """
        import json, os, threading
        from holter.probes import patches
        held, done = threading.Event(), threading.Event()
        def hold():
            with patches._LOCK:
                held.set()
                done.wait()
        thread = threading.Thread(target=hold)
        thread.start()
        held.wait()
        pid = os.fork()
        if not pid:
            with patches._LOCK:
                os._exit(7)
        done.set()
        thread.join()
        print(json.dumps(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])))
    """
    assert 7 == succeed(program)
