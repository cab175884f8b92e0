"""`watch`: what it takes, what it gives back, and what it refuses."""

from __future__ import annotations

import abc
import copy
import functools
import inspect
import operator
import pickle
import subprocess
import sys
import sysconfig
import types
import typing
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

import holter
from contracts.watched import outcomes
from holter import names
from holter.errors import ConfigurationError
from holter.model import CALL_DURATION, Snapshot
from holter.monitor import Monitor
from holter.ring import NATIVE

shared = Monitor("pickled", samplers=[])


@shared.watch
def importable(x: int) -> int:
    """Double *x*."""
    return 2 * x


class Importable:
    """A class whose methods are watched, and which holds a bound method that is."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.held = shared.watch(self.get, name="held")

    @shared.watch
    def method(self, x: int) -> int:
        """Add *x*."""
        return self.n + x

    def get(self) -> int:
        """Return n."""
        return self.n


class Model:
    """Something with calls of every kind."""

    def __init__(self, n: int = 1) -> None:
        self.n = n

    def plain(self, x: int = 1, *, y: str = "y") -> tuple[int, str]:
        """Return n + x, and y."""
        return self.n + x, y

    async def coroutine(self, x: int) -> int:
        """Return n + x."""
        return self.n + x

    def generator(self, x: int) -> Iterator[int]:
        """Yield n and x."""
        yield self.n
        yield x

    async def async_generator(self, x: int) -> AsyncIterator[int]:
        """Yield n and x."""
        yield self.n
        yield x


class Callme:
    """A callable instance."""

    def __call__(self, x: int) -> int:
        """Return x + 1."""
        return x + 1


class CallmeLater:
    """A callable instance that has to be awaited."""

    async def __call__(self, x: int) -> int:
        """Return x + 1."""
        return x + 1


PREDICATES = (
    inspect.isfunction,
    inspect.ismethod,
    inspect.isroutine,
    inspect.iscoroutinefunction,
    inspect.isgeneratorfunction,
    inspect.isasyncgenfunction,
    callable,
)
FUNCTIONS: dict[str, Any] = {
    "function": Model.plain,
    "coroutine function": Model.coroutine,
    "generator function": Model.generator,
    "async generator function": Model.async_generator,
    "lambda": lambda x, *rest: (x, rest),
    "bound method": Model().plain,
    "bound coroutine function": Model().coroutine,
    "bound generator function": Model().generator,
    "bound async generator function": Model().async_generator,
    "cached": functools.lru_cache(Model.plain),
}


@pytest.fixture
def monitor() -> Monitor:
    return Monitor("test", samplers=[])


def count_of(snapshot: Snapshot, target: Any) -> int:
    """Return how many calls of *target* were recorded."""
    found = snapshot.find(target)
    return 0 if found is None else found.total.count


def run(awaitable: Any) -> Any:
    """Return what a coroutine that waits for nothing returns."""
    try:
        awaitable.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError


# -- what comes back


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=list(FUNCTIONS))
def test_what_comes_back_is_of_the_same_kind(function: Any, monitor: Monitor) -> None:
    """`inspect` says of the watched function what it says of the bare one, and so do its names and its docstring."""
    watched = monitor.watch(function)
    if type(function) is not functools._lru_cache_wrapper:  # type: ignore[attr-defined]
        # What C watches is a callable with all that a function has, and no function.
        predicates = [one for one in PREDICATES if one is not inspect.isfunction or NATIVE is None]
        assert [predicate(function) for predicate in predicates] == [predicate(watched) for predicate in predicates]
        python = monitor.watch(function, name="python", native=False)
        assert [predicate(function) for predicate in PREDICATES] == [predicate(python) for predicate in PREDICATES]
    assert inspect.signature(function) == inspect.signature(watched)
    assert inspect.getsource(function) == inspect.getsource(watched)
    for attribute in ("__name__", "__qualname__", "__module__", "__doc__", "__annotations__"):
        assert getattr(function, attribute) == getattr(watched, attribute)
    assert typing.get_type_hints(function) == typing.get_type_hints(watched)
    assert inspect.unwrap(watched) == inspect.unwrap(getattr(function, "__func__", function))


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (functools.partial(Model().plain, 5, y="z"), ()),
        (functools.partial(functools.partial(divmod), 7), (3,)),
        (len, ("abc",)),
        ("a-b".split, ("-",)),
        (str.upper, ("a",)),
        (operator.itemgetter(1), ("ab",)),
        (Callme(), (1,)),
        (Callme().__call__, (1,)),
        (functools.lru_cache(divmod), (7, 2)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_whatever_can_be_called_can_be_watched(function: Any, arguments: tuple[Any, ...], monitor: Monitor) -> None:
    """Partials, builtins, methods of builtins and callable instances return what they return, and are counted."""
    watched = monitor.watch(function)
    assert function(*arguments) == watched(*arguments)
    assert 1 == count_of(monitor.snapshot(), watched)


def test_callables_that_return_coroutines_are_timed_to_their_end(monitor: Monitor) -> None:
    """A partial of a coroutine function, and an instance with an async `__call__`, are coroutine functions."""
    for function in (functools.partial(Model().coroutine, 1), functools.partial(CallmeLater(), 1)):
        watched = monitor.watch(function)
        assert inspect.iscoroutinefunction(watched)
        coroutine = watched()
        assert 0 == count_of(monitor.snapshot(), watched)
        assert 2 == run(coroutine)
        assert 1 == count_of(monitor.snapshot(), watched)


def test_marks_on_a_function_stay_on_it(monitor: Monitor) -> None:
    """What other decorators have noted, and the handles of a cache, are there as before."""

    @monitor.watch
    @functools.cache
    def cached(x: int) -> object:
        return object()

    def marked() -> None:
        pass

    marked.route = "/predict"  # type: ignore[attr-defined]
    watched = monitor.watch(marked)
    assert "/predict" == watched.route  # type: ignore[attr-defined]
    assert marked is watched.__wrapped__  # type: ignore[attr-defined]
    first = cached(1)
    assert first is cached(1)
    cached.cache_clear()
    assert first is not cached(1)
    assert 1 == cached.cache_info().misses


def test_a_watched_function_is_pickled_by_its_name() -> None:
    """It comes back as itself, and works in another process."""
    assert importable is pickle.loads(pickle.dumps(importable))  # noqa: S301 - what was just written
    assert 5 == pickle.loads(pickle.dumps(Importable(2))).method(3)  # noqa: S301


def test_a_watched_function_can_be_copied_and_referred_to_weakly(monitor: Monitor) -> None:
    """A copy of a function is the function; a weak reference to it lives as long as it does."""
    watched = monitor.watch(lambda: 1)
    assert watched is copy.deepcopy(watched)
    assert watched is copy.copy(watched)
    reference = weakref.ref(watched)
    assert watched is reference()
    assert {watched: 1}[watched] == 1
    del watched


def test_an_object_that_holds_a_watched_method_is_copied_with_it() -> None:
    """`model.predict = holter.watch(model.predict)` leaves the model one that can be pickled and copied."""
    one = Importable(1)
    copied = copy.deepcopy(one)
    copied.n = 2
    assert (1, 2) == (one.held(), copied.held())
    assert 1 == pickle.loads(pickle.dumps(one)).held()  # noqa: S301 - what was just written
    assert one is one.held.__self__  # type: ignore[attr-defined]


# -- where it stands


def test_methods_are_watched_in_any_stacking_order(monitor: Monitor) -> None:  # noqa: C901 - one class, many kinds
    """Above or below `classmethod`, `staticmethod`, `property` and `abstractmethod`, each call is counted once."""
    watch = monitor.watch

    class Base(abc.ABC):
        n = 1

        @watch
        @classmethod
        def above_class(cls, x: int) -> tuple[type, int]:
            return cls, x

        @classmethod
        @watch
        def below_class(cls, x: int) -> tuple[type, int]:
            return cls, x

        @watch
        @staticmethod
        def above_static(x: int) -> int:
            return x

        @staticmethod
        @watch
        def below_static(x: int) -> int:
            return x

        @watch
        @property
        def above_property(self) -> int:
            """A figure."""
            return self.n

        @above_property.setter
        def above_property(self, value: int) -> None:
            self.n = value

        @property
        @watch
        def below_property(self) -> int:
            return self.n

        @watch
        @abc.abstractmethod
        def abstract(self) -> int: ...

        @watch
        def __call__(self, x: int) -> int:
            return x

    class Child(Base):
        def abstract(self) -> int:
            return super().abstract() or 7

    with pytest.raises(TypeError, match="abstract"):
        Base()  # type: ignore[abstract]
    child = Child()
    assert [(Child, 1)] * 2 == [child.above_class(1), Child.below_class(1)]
    assert [2] * 2 == [child.above_static(2), Child.below_static(2)]
    child.above_property = 5
    assert [5] * 2 == [child.above_property, child.below_property]
    assert "A figure." == Base.above_property.__doc__
    assert (7, 8) == (child.abstract(), child(8))
    qualified = "test_methods_are_watched_in_any_stacking_order.<locals>.Base."
    wanted = {f"{side}_{kind}" for side in ("above", "below") for kind in ("class", "static", "property")}
    counted = {
        str(series.attributes[names.CALL_NAME]).removeprefix(qualified)
        for series in monitor.snapshot().series.values()
        if series.name == CALL_DURATION and series.id in monitor.snapshot().total
    }
    assert {*wanted, "abstract", "__call__"} == counted
    assert {"ok": len(wanted) + 2} == outcomes(monitor.snapshot())


def test_the_name_is_the_qualified_one_unless_it_is_given(monitor: Monitor) -> None:
    """Two functions of one name are one target; a name may be given, and then is what `find` and the readings say."""
    one, other, named = monitor.watch(Model.plain), monitor.watch(Model().plain), monitor.watch(len, name="length")
    one(Model())
    other()
    named("abc")
    snapshot = monitor.snapshot()
    assert ("Model.plain", "length") == (one.__holter_call__, named.__holter_call__)  # type: ignore[attr-defined]
    assert 2 == count_of(snapshot, one)
    assert 1 == count_of(snapshot, named)


def test_attributes_tell_targets_of_one_name_apart(monitor: Monitor) -> None:
    """Functions of one name with different attributes are counted under their own."""
    small = monitor.watch(lambda: 1, name="predict", attributes={"model": "small"})
    large = monitor.watch(lambda: 2, name="predict", attributes={"model": "large"})
    assert (1, 2, 2) == (small(), large(), large())
    snapshot = monitor.snapshot()
    for model, count in (("small", 1), ("large", 2)):
        for metric in (names.CALL_DURATION, names.CALL_ACTIVE):
            found = snapshot.find(metric, {"model": model})
            assert found is not None
            assert (count if metric == names.CALL_DURATION else 1) == found.total.count


def test_what_is_watched_is_not_watched_twice(monitor: Monitor) -> None:
    """Watching again under the same name gives the same function; another monitor or name counts it too."""
    other = Monitor("other", samplers=[])
    watched = monitor.watch(lambda: 1, name="f")
    assert watched is monitor.watch(watched, name="f")
    twice = other.watch(watched, name="f")
    thrice = monitor.watch(twice, name="g")
    assert 1 == thrice()
    snapshot = monitor.snapshot()
    assert [1, 1, 1] == [count_of(other.snapshot(), twice), count_of(snapshot, watched), count_of(snapshot, thrice)]


def test_what_one_monitor_watches_no_other_sees(monitor: Monitor) -> None:
    """The figures of two monitors are apart."""
    other = Monitor("other", samplers=[])
    watched = monitor.watch(lambda: 1, name="f")
    watched()
    assert 0 == count_of(other.snapshot(), watched)
    assert 1 == count_of(monitor.snapshot(), watched)


def test_targets_beyond_the_bound_are_counted_in_the_overflow() -> None:
    """A program that makes up names has 2,000 of them counted by name and the rest together, spans and tags inside."""
    program = """
import holter
from holter import names
monitor = holter.Monitor("service", samplers=[])
def predict():
    with monitor.span("inside"): monitor.tag(model="v7")
    return 1
calls = [monitor.watch(predict, name=f"predict {n}") for n in range(2050)]
print(sum(call() for call in calls))
snapshot = monitor.snapshot()
print(snapshot.find(names.CALL_DURATION).total.count, snapshot.find(names.SPAN_DURATION).total.count)
print(len({series.attributes.get(names.CALL_NAME) for series in snapshot.series.values()}) <= 2001)
"""
    # In a process of its own, because the bound is one of the process.
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=True)
    assert "2050\n2050 2050\nTrue\n" == done.stdout


# -- what is refused


class FakeModule:
    """What stands for an nn.Module: known by name, so that torch need not be there."""

    def __call__(self) -> None:
        """Run forward."""


FakeModule.__name__ = FakeModule.__qualname__ = "Module"
FakeModule.__module__ = "torch.nn.modules.module"


@pytest.mark.parametrize(
    ("target", "told"),
    [
        (Model, "expected a function or method, got the class Model; watch a method of it"),
        (FakeModule, "above `def forward`"),
        (FakeModule(), r"module\.forward = holter\.watch\(module\.forward\)"),
        (3, "expected something to call, got int"),
        (property(), "expected a property that can be read"),
        (classmethod(Model), "got the class Model"),
    ],
    ids=["class", "module class", "module", "number", "write-only property", "classmethod of a class"],
)
def test_what_cannot_be_watched_is_refused_with_the_right_call(target: Any, told: str, monitor: Monitor) -> None:
    """The error says what was expected, what came and what to write instead."""
    with pytest.raises(ConfigurationError, match=told):
        monitor.watch(target)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"units": -1}, "expected units as a whole number or as a function"),
        ({"units": "len"}, "expected units"),
        ({"units": float("nan")}, "expected units"),
        ({"units": Model()}, "expected units"),
        ({"name": ""}, "expected a name of 1 to 200 characters"),
        ({"name": 3}, "expected a name"),
        ({"name": "x" * 201}, "expected a name"),
        ({"attributes": [("a", 1)]}, "expected attributes as a dict, got list"),
        ({"attributes": {"a": None}}, "got 'a' with a NoneType"),
        ({"attributes": {1: "a"}}, "expected attributes with names of type str"),
        ({"attributes": {"a": 2**63}}, "64 bits"),
        ({"attributes": {"a": float("nan")}}, "finite"),
        ({"expected": ValueError()}, "expected exception classes"),
        ({"expected": (ValueError, int)}, "expected exception classes"),
        ({"expected": "ValueError"}, "expected exception classes"),
    ],
    ids=str,
)
def test_options_that_cannot_work_are_refused(options: dict[str, Any], told: str, monitor: Monitor) -> None:
    """Each is refused where it is given, not at the first call."""
    with pytest.raises(ConfigurationError, match=told):
        monitor.watch(len, **options)
    with pytest.raises(ConfigurationError, match=told):
        monitor.watch(**options)(len)


def test_a_decorator_with_options_gives_what_the_bare_one_gives(monitor: Monitor) -> None:
    """`@watch`, `@watch()` and `@watch(name=...)` all decorate."""
    decorators: list[Callable[[Any], Any]] = [monitor.watch, monitor.watch(), monitor.watch(name="named")]
    watched = [decorator(Model.plain) for decorator in decorators]
    assert [(2, "y")] * 3 == [one(Model()) for one in watched]


@pytest.mark.skipif(
    bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
    reason="free-threaded 3.13 clears modules before what stands in them: unwatched, the program complains too",
)
def test_functions_work_before_start_after_stop_and_at_exit() -> None:
    """A module-level stream that nobody has finished, and a call while Python ends, complain about nothing."""
    program = """
import atexit, holter
@holter.watch
def predict(x): return x
@holter.watch
def stream():
    try: yield 1
    finally: predict(2); holter.counter("app.ended").add()
class Last:
    def __del__(self): predict(3)
atexit.register(predict, 4)
unfinished, last = stream(), Last()
predict(next(unfinished))
with holter.start("service", samplers=[]): predict(5)
predict(6)
print(holter.snapshot().find(predict).total.count)
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=True)
    assert ("3\n", "") == (done.stdout, done.stderr)


def test_the_module_watches_for_the_default_monitor() -> None:
    """`holter.watch` and `holter.snapshot` belong together."""
    watched = holter.watch(lambda: 1, name="test_the_module_watches_for_the_default_monitor")
    watched()
    assert 1 == count_of(holter.snapshot(), watched)


def test_a_generator_that_is_awaited_is_refused() -> None:
    """What watches it could not be awaited."""

    @types.coroutine
    def old() -> Iterator[None]:
        yield

    with pytest.raises(ConfigurationError, match=r"got a generator function by types\.coroutine; watch what awaits it"):
        Monitor("test", samplers=[]).watch(old)
