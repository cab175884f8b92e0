"""What others do with functions, they do with watched ones: inspect, copy, pickle, wrap, patch, script, trace."""

from __future__ import annotations

import abc
import concurrent.futures
import copy
import dataclasses
import functools
import gc
import importlib.util
import inspect
import multiprocessing
import os
import pickle
import pydoc
import subprocess
import sys
import textwrap
import types
import typing
import unittest.mock
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from holter.monitor import Monitor
from holter.ring import NATIVE
from programs import run, succeed

shared = Monitor("shared", samplers=[])


def needs(module: str, command: str) -> Any:
    """Return the mark of a test that skips where *module* is missing, with the *command* that brings it."""
    return pytest.mark.skipif(
        importlib.util.find_spec(module) is None, reason=f"{module} is not installed: pip install {command}"
    )


def closing(factor: int) -> Callable[..., Any]:
    """Return a function with all that a function can have."""

    def scaled(x: int, /, *more: int, by: float = 2.0, **named: str) -> list[float]:
        """Scale all."""
        return [factor * by * one + len(named) for one in (x, *more)]

    scaled.route = "/scaled"  # type: ignore[attr-defined]
    return scaled


def module_function(x: int) -> int:
    """Return x + 1."""
    return x + 1


watched_by_name = shared.watch(module_function, name="by name")


@shared.watch
def doubled(x: int) -> int:
    """Return 2 x."""
    return 2 * x


@pytest.fixture
def monitor() -> Monitor:
    return Monitor("test", samplers=[])


@pytest.fixture(params=[True, False], ids=["native", "python"])
def watch(request: Any, monitor: Monitor) -> Callable[..., Any]:
    return functools.partial(monitor.watch, native=request.param)


def count_of(monitor: Monitor, target: Any) -> int:
    """Return how many calls of *target* were recorded."""
    found = monitor.snapshot().find(target)
    return 0 if found is None else found.total.count


# -- what it has


def test_it_has_what_the_function_has(watch: Any) -> None:
    """Code, defaults, globals, closure, annotations, names and marks are the very objects of the function."""
    bare = closing(3)
    watched = watch(bare)
    if not inspect.isfunction(watched):
        for name in ("__code__", "__defaults__", "__kwdefaults__", "__globals__", "__closure__"):
            assert getattr(bare, name) is getattr(watched, name)
    for name in ("__annotations__", "__name__", "__qualname__", "__module__", "__doc__", "route"):
        assert getattr(bare, name) is getattr(watched, name)
    assert bare is watched.__wrapped__
    assert [6, 8] == watched(1, 4 / 3, by=2)
    assert bare.__qualname__ in repr(watched)
    watched.mark = 1
    assert (1, False) == (watched.mark, hasattr(bare, "mark"))
    del watched.mark
    assert not hasattr(watched, "mark")
    with pytest.raises(AttributeError):
        watched.missing  # noqa: B018 - asked for what is not there


def test_inspect_and_typing_read_it_as_the_function(watch: Any) -> None:
    """Signature, kind, source, docstring, module and hints, by itself, in a partial and bound."""
    bare = closing(3)
    watched = watch(bare)
    for one, other in (
        (bare, watched),
        (functools.partial(bare, 1, by=3), functools.partial(watched, 1, by=3)),
        (types.MethodType(bare, 1), types.MethodType(watched, 1)),
    ):
        assert inspect.signature(one) == inspect.signature(other)
        assert inspect.isroutine(one) == inspect.isroutine(other)
        for is_kind in (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction):
            assert is_kind(one) == is_kind(other)
    for read in (
        inspect.getsource,
        inspect.getsourcelines,
        inspect.getdoc,
        inspect.getmodule,
        inspect.unwrap,
        inspect.get_annotations,
        typing.get_type_hints,
    ):
        assert read(bare) == read(watched), read
    assert "def scaled" in inspect.getsource(watched)
    assert (
        pydoc.plain(pydoc.render_doc(bare)).partition("\n")[2]
        == pydoc.plain(pydoc.render_doc(watched)).partition("\n")[2]
    )


def test_getfile_takes_what_is_below_it(watch: Any) -> None:
    """`inspect.getfile` goes by the type: unwrapped it gives the file, else that of a wrapper, or an error from C."""
    watched = watch(module_function)
    assert __file__ == inspect.getfile(inspect.unwrap(watched))
    if inspect.isfunction(watched):
        assert __file__ != inspect.getfile(watched)
    else:
        with pytest.raises(TypeError):
            inspect.getfile(watched)


async def later(x: int) -> int:
    """Return x, later."""
    return x


def test_its_coroutine_is_a_real_one(watch: Any) -> None:
    """Named as the function, of the type that asyncio and debuggers know, and it says what it waits for."""
    watched = watch(later)
    assert inspect.iscoroutinefunction(watched)
    assert inspect.iscoroutinefunction(functools.partial(watched, 1))
    assert inspect.iscoroutinefunction(types.MethodType(watched, 1))
    coroutine = watched(3)
    assert (True, True) == (inspect.iscoroutine(coroutine), inspect.isawaitable(coroutine))
    assert ("later", "later") == (coroutine.__name__, coroutine.__qualname__)
    assert "CORO_CREATED" == inspect.getcoroutinestate(coroutine)
    with pytest.raises(StopIteration) as ended:
        coroutine.send(None)
    assert (3, "CORO_CLOSED") == (ended.value.value, inspect.getcoroutinestate(coroutine))


@pytest.mark.parametrize("native", [True, False], ids=["native", "python"])
def test_a_coroutine_that_nobody_awaits_is_warned_of_once(*, native: bool) -> None:
    """As of the bare one, by its name; it is no call, and what it was given is let go."""
    program = """
        import sys, warnings, weakref
        import holter

        warnings.simplefilter("always")

        class Given:
            pass

        async def later(given):
            pass

        watched = holter.watch(later, native=sys.argv[1] == "True")
        given = Given()
        reference = weakref.ref(given)
        watched(given)
        del given
        print(reference(), holter.snapshot().find(watched).total.count)
    """
    done = run(program, native)
    assert ("None 0\n", 0) == (done.stdout, done.returncode)
    assert 1 == done.stderr.count("RuntimeWarning: coroutine 'later' was never awaited")


def test_a_coroutine_that_is_closed_before_it_starts_is_silent(watch: Any, monitor: Monitor) -> None:
    """As the bare one; and it is no call."""
    watch(later)(1).close()
    gc.collect()
    assert 0 == count_of(monitor, "holter.call.duration")


@pytest.mark.filterwarnings("ignore:coroutine 'later' was never awaited:RuntimeWarning")
def test_a_cycle_through_a_coroutine_that_nobody_awaits_is_collected(watch: Any) -> None:
    """What holds the coroutine that it was given to goes with it."""

    class Holder:
        coroutine: Any

    holder = Holder()
    holder.coroutine = watch(later)(holder)
    reference = weakref.ref(holder)
    del holder
    gc.collect()
    assert reference() is None


def test_wrong_arguments_of_a_coroutine_are_its_functions_error(watch: Any) -> None:
    """With the words of the bare one."""
    with pytest.raises(TypeError, match=r"later\(\) missing 1 required positional argument: 'x'"):
        watch(later)().send(None)


# -- what wraps it


def test_functools_take_it(watch: Any, monitor: Monitor) -> None:
    """It is wrapped, cached, reduced, dispatched on, made a partial method, and each call of it is counted."""
    watched = watch(lambda x: 2 * x, name="double")

    @functools.wraps(watched)
    def outer(x: int) -> int:
        return watched(x) + 1

    assert (5, "<lambda>") == (outer(2), outer.__name__)
    assert inspect.signature(watched) == inspect.signature(outer)
    cached = functools.cache(watched)
    assert [4, 4] == [cached(2), cached(2)]
    assert 6 == functools.partial(watched, 3)()

    @functools.singledispatch
    @watch(name="any")
    def kind(x: Any) -> str:
        return f"any {x}"

    @kind.register
    @watch(name="int")
    def _(x: int) -> str:
        return f"int {x}"

    assert ("any a", "int 1") == (kind("a"), kind(1))

    class Holder:
        @functools.singledispatchmethod
        @watch(name="method")
        def kind(self, x: Any) -> tuple[Any, str]:
            return self, "any"

        @kind.register
        @watch(name="int method")
        def _(self, x: int) -> tuple[Any, str]:
            return self, "int"

        @functools.cached_property
        @watch(name="cached property")
        def value(self) -> Any:
            return self

        doubled = functools.partialmethod(watch(lambda self, x: (self, x), name="partial method"), 2)

    one = Holder()
    assert [(one, "any"), (one, "int"), (one, 2), one, one] == [
        one.kind("a"), one.kind(1), one.doubled(), one.value, one.value
    ]  # fmt: skip
    counts = {name: count_of_name(monitor, name) for name in ("double", "any", "int", "method", "int method")}
    assert {"double": 3, "any": 1, "int": 1, "method": 1, "int method": 1} == counts
    assert (1, 1) == (count_of_name(monitor, "cached property"), count_of_name(monitor, "partial method"))


def count_of_name(monitor: Monitor, name: str) -> int:
    """Return how many calls were recorded under *name*."""
    found = monitor.snapshot().find("holter.call.duration", {"holter.call.name": name})
    return 0 if found is None else found.total.count


def test_classes_take_it(watch: Any) -> None:  # noqa: C901 - one class, many kinds
    """As a method, of dataclasses, abstract classes and protocols too, in any order with other descriptors."""

    class Named:
        def __init__(self, function: Any) -> None:
            self.function = function

        def __set_name__(self, owner: type, name: str) -> None:
            self.name = name

        def __get__(self, one: Any, kind: type | None = None) -> Any:
            return self if one is None else (self.name, self.function.__get__(one, kind))

    @typing.runtime_checkable
    class Scales(typing.Protocol):
        def scale(self, x: int) -> int: ...

    class Base(abc.ABC):
        @abc.abstractmethod
        def scale(self, x: int) -> int: ...

        @abc.abstractmethod
        @watch
        def inner(self) -> None: ...

        @watch
        @abc.abstractmethod
        def outer(self) -> None: ...

    @dataclasses.dataclass(frozen=True, order=True)
    class Scaler(Base):
        by: int = dataclasses.field(default_factory=watch(lambda: 3))
        call: Any = dataclasses.field(default=module_function, compare=False)

        @watch
        def scale(self, x: int) -> int:
            return self.by * x

        @watch
        def __str__(self) -> str:
            return f"by {self.by}"

        @watch
        def __call__(self, x: int) -> int:
            return self.scale(x)

        @watch
        def __enter__(self) -> int:
            return self.by

        @watch
        def __exit__(self, *error: object) -> None: ...

        inner = outer = lambda self: self.by
        named = Named(watch(lambda self, x: (self, x)))

    assert {"scale", "inner", "outer"} == Base.__abstractmethods__
    with pytest.raises(TypeError, match="abstract"):
        Base()  # type: ignore[abstract]
    one = Scaler()
    assert (6, "by 3", 9, 6) == (one.scale(2), str(one), one(3), Scaler.scale(one, 2))
    with one as entered:
        assert 3 == entered
    name, bound = one.named
    assert ("named", (one, 5)) == (name, bound(5))
    assert isinstance(one, Scales)
    assert one == copy.deepcopy(one)
    assert {"scale", "inner", "outer"} <= dict(inspect.getmembers(Scaler, inspect.isroutine)).keys()
    method = one.scale
    assert (one, Scaler.__dict__["scale"]) == (method.__self__, method.__func__)
    assert (method, hash(method)) == (one.scale, hash(one.scale))
    assert inspect.signature(bare_scale).parameters.keys() == inspect.signature(method).parameters.keys()


def bare_scale(x: int) -> int:
    """Return x."""
    return x


def test_mock_patches_it(watch: Any) -> None:
    """The patch answers and is undone; with `autospec` it refuses wrong arguments of a function of Python's own."""
    holder = types.SimpleNamespace(scaled=watch(closing(3)))
    before = holder.scaled
    with unittest.mock.patch.object(holder, "scaled", autospec=True) as mocked:
        mocked.return_value = "mocked"
        assert "mocked" == holder.scaled(1, by=3)
        mocked.assert_called_once_with(1, by=3)
        if inspect.isfunction(before):
            with pytest.raises(TypeError):
                holder.scaled()
    assert before is holder.scaled

    class Model:
        @watch
        def predict(self, x: int) -> int:
            return x

    spec = unittest.mock.create_autospec(Model, instance=True)
    spec.predict(1)
    spec.predict.assert_called_once_with(1)
    with pytest.raises(AttributeError):
        spec.missing()
    if inspect.isfunction(Model.predict):
        with pytest.raises(TypeError):
            spec.predict(1, 2)


@needs("fastapi", "fastapi httpx")
def test_frameworks_that_read_signatures_serve_it(watch: Any, monitor: Monitor) -> None:
    """FastAPI validates by its annotations and injects what it depends on; sync and async."""
    fastapi = pytest.importorskip("fastapi")
    client_of = pytest.importorskip("fastapi.testclient").TestClient
    application = fastapi.FastAPI()

    # The default is a parameter of the framework's, as it is without holter.
    def limit(top: int = 3) -> int:
        return top

    depends = fastapi.Depends(watch(limit, name="limit"))

    def predict(x: int, top: int = depends) -> dict[str, int]:
        return {"x": x, "top": top}

    async def predict_later(x: int) -> dict[str, int]:
        return {"x": x}

    for function in (predict, predict_later):
        function.__annotations__ = typing.get_type_hints(function)
    application.get("/now")(watch(predict, name="now"))
    application.get("/later")(watch(predict_later, name="later"))
    with client_of(application) as client:
        assert {"x": 2, "top": 5} == client.get("/now?x=2&top=5").json()
        assert {"x": 2} == client.get("/later?x=2").json()
        assert 422 == client.get("/now?x=two").status_code
        assert {"/now", "/later"} <= client.get("/openapi.json").json()["paths"].keys()
    assert (1, 1) == (count_of_name(monitor, "now"), count_of_name(monitor, "later"))
    assert count_of_name(monitor, "limit") >= 1


def test_pytest_takes_tests_and_fixtures_that_are_watched(tmp_path: Path) -> None:
    """Arguments are injected by the signature of the function, and parameters by its marks."""
    file = tmp_path / "test_inner.py"
    file.write_text(
        textwrap.dedent(
            """
            import holter, pytest

            @pytest.fixture
            @holter.watch
            def number():
                return 2

            @holter.watch
            @pytest.mark.parametrize("by", [1, 2])
            def test_it(number, by):
                assert 2 * by == number * by

            class TestIt:
                @holter.watch
                def test_method(self, number):
                    assert 2 == number
            """
        )
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)
    assert "3 passed" in done.stdout, done.stdout


# -- what holds it


def test_it_lives_as_long_as_it_is_held(watch: Any) -> None:
    """A weak reference, a key that is one, a finalizer; and a cycle through it and its function is collected."""
    watched = watch(lambda: 1)
    held = weakref.WeakKeyDictionary({watched: 1})
    watched.itself = watched
    watched.__wrapped__.watched = watched
    reference, ended = weakref.ref(watched), []
    weakref.finalize(watched, ended.append, 1)
    assert (1, watched) == (held[watched], reference())
    del watched
    gc.collect()
    assert (None, [1], 0) == (reference(), ended, len(held))


def test_copies_of_it_are_itself(watch: Any) -> None:
    """As of any function, alone and deep inside what holds it."""
    watched = watch(closing(3))
    assert watched is copy.copy(watched)
    assert watched is copy.deepcopy({"f": [watched]})["f"][0]


def test_it_is_pickled_by_its_name() -> None:
    """Under every protocol, where the name means it; where it does not, pickle needs the function's own name."""
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert doubled is pickle.loads(pickle.dumps(doubled, protocol))  # noqa: S301 - what was just written
    with pytest.raises((pickle.PicklingError, AttributeError), match="scaled"):
        pickle.dumps(shared.watch(closing(2)))


@pytest.mark.skipif(NATIVE is None, reason="about the watched function in C, which HOLTER_PURE_PYTHON=1 forgoes")
def test_where_its_name_means_another_it_is_watched_anew() -> None:
    """What comes back from pickle is the function, watched under the same name by the default monitor."""
    again: Any = pickle.loads(pickle.dumps(watched_by_name))  # noqa: S301 - what was just written
    assert again is not watched_by_name
    assert module_function is again.__wrapped__
    assert ("by name", 3) == (again.__holter_call__, again(2))


def test_process_pools_run_it() -> None:
    """Workers that are spawned import it by its name and watch it there; threads run it as it is."""
    with concurrent.futures.ThreadPoolExecutor(2) as threads:
        assert [2, 4, 6] == list(threads.map(doubled, [1, 2, 3]))
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as processes:
        assert [2, 4, 6] == list(processes.map(doubled, [1, 2, 3]))


MAIN = """
import asyncio, sys
import cloudpickle
import holter

def watch(function):
    return holter.watch(function, native=sys.argv[1] == "native", units=len, attributes={"model": "v7"})

@watch
def predict(batch):
    return [value * FACTOR for value in batch]

FACTOR = 3

@holter.watch(expected=ValueError)
async def later(x):
    await asyncio.sleep(0)
    if x < 0:
        raise ValueError(x)
    return x * FACTOR

@holter.watch
def stream(n):
    yield from range(n)

@holter.watch
async def async_stream(n):
    for item in range(n):
        yield item

class Model:
    @watch
    def predict(self, batch):
        return predict(batch)

    @watch
    @classmethod
    def of_class(cls, batch):
        return batch

predict([1])
local = (lambda by: watch(lambda batch: [by * value for value in batch]))(5)
cloudpickle.dump([predict, later, stream, async_stream, Model, Model().predict, local], sys.stdout.buffer)
"""

LOAD = """
import asyncio, json, pickle, sys
import holter
with open(sys.argv[1], "rb") as file:
    predict, later, stream, async_stream, Model, bound, local = pickle.load(file)
results = [predict([1, 2]), Model().predict([3]), bound([4]), Model.of_class([5]), local([1])]

async def main():
    try:
        await later(-1)
    except ValueError:
        pass
    return [await later(2), [item async for item in async_stream(3)]]

results += [*asyncio.run(main()), list(stream(3))]
snapshot = holter.snapshot()
counts = {}
for series in snapshot.series.values():
    if series.name == "holter.call.duration" and series.id in snapshot.total:
        name = series.attributes["holter.call.name"].rpartition(">.")[2]
        key = " ".join([name, *sorted(str(series.attributes.get(k)) for k in ("model", "holter.call.outcome"))])
        counts[key] = counts.get(key, 0) + snapshot.total[series.id].count
units = snapshot.find(predict).total.units
print(json.dumps([results, counts, units]))
"""


@needs("cloudpickle", "cloudpickle")
@pytest.mark.parametrize("kind", ["native", "python", "without C"])
def test_cloudpickle_carries_it_to_another_process(kind: str, tmp_path: Path) -> None:
    """Functions, methods and streams of `__main__`, and lambdas, are watched there as here, also with C only there."""
    environment = os.environ | ({"HOLTER_PURE_PYTHON": "1"} if kind == "without C" else {})
    command = [sys.executable, "-c", MAIN, kind]
    written = subprocess.run(command, capture_output=True, timeout=60, check=False, env=environment)
    assert (b"", 0) == (written.stderr, written.returncode), written.stderr.decode()
    (tmp_path / "pickled").write_bytes(written.stdout)
    results, counts, units = succeed(LOAD, tmp_path / "pickled")
    assert [[3, 6], [9], [12], [5], [5], 6, [0, 1, 2], [0, 1, 2]] == results
    assert {
        "predict None v7": 3,
        "Model.predict None v7": 2,
        "Model.of_class None v7": 1,
        "<lambda> None v7": 1,
        "later None None": 1,
        "later None expected": 1,
        "async_stream None None": 1,
        "stream None None": 1,
    } == {name.removeprefix("<lambda>.<locals>."): count for name, count in counts.items()}
    assert 4 == units


# -- what it is not


DEPTH = """
import json, sys, threading
import holter
monitor = holter.Monitor("test", samplers=[])

def depth(watch):
    deepest = 0
    def deeper(n):
        nonlocal deepest
        deepest = n
        return function(n + 1)
    function = watch(deeper)
    try:
        function(1)
    except RecursionError:
        return deepest

def closure(function):
    return lambda *args: function(*args)

def measure():
    for watch in (lambda f: f, monitor.watch, lambda f: monitor.watch(f, native=False), closure):
        # The first also pays for what it sets up.
        depth(watch)
        found.append(depth(watch))

found = []
measure()
sys.setrecursionlimit(8_000)
threading.stack_size(1 << 28)
thread = threading.Thread(target=measure)
thread.start()
thread.join()
print(json.dumps(found))
"""


def test_recursion_through_it_is_as_deep_as_stated() -> None:
    """In Python as deep as through any wrapper; in C as Python's own limit on C allows, 3.12 on less than elsewhere."""
    bare, watched, python, wrapped, bare_8000, watched_8000, python_8000, wrapped_8000 = succeed(DEPTH)
    assert bare // 2 - 5 <= wrapped == python
    assert bare_8000 // 2 - 5 <= wrapped_8000 == python_8000
    if NATIVE is None:
        assert (python, python_8000) == (watched, watched_8000)
    elif sys.version_info < (3, 12):
        assert (bare, bare_8000) == (watched, watched_8000)
    else:
        # Its own limit on C, which `setrecursionlimit` does not move, is a constant of each release.
        assert bare // 2 < watched <= bare
        assert 700 < watched_8000 < bare_8000


def test_deep_recursion_is_for_a_function_of_pythons_own() -> None:
    """Twenty thousand levels on the stack that a thread has anyhow: what C watches would overflow it on 3.11."""
    program = """
    import json, sys
    import holter
    monitor = holter.Monitor("test", samplers=[])
    sys.setrecursionlimit(50_000)
    def deep(n):
        return n and watched(n - 1)
    watched = monitor.watch(deep, native=False)
    print(json.dumps([watched(20_000), monitor.snapshot().find(watched).total.count]))
    """
    assert [0, 20_001] == succeed(program)


SCRIPT = """
import json, sys, warnings
warnings.simplefilter("ignore")
import torch
import holter
monitor = holter.Monitor("test", samplers=[])
native = sys.argv[1] == "native"
x = torch.ones(3)

def double(x: torch.Tensor) -> torch.Tensor:
    return 2 * x

watched = monitor.watch(double, native=native)

def calls(x: torch.Tensor) -> torch.Tensor:
    return watched(x)

class Net(torch.nn.Module):
    @monitor.watch
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * x

def told(function):
    try:
        return torch.equal(2 * x, function())
    except Exception as error:
        return type(error).__name__

results = [
    told(lambda: torch.jit.script(watched)(x)),
    told(lambda: torch.jit.script(calls)(x)),
    told(lambda: torch.jit.script(Net())(x)),
    told(lambda: monitor.watch(torch.jit.script(double), native=native)(x)),
    told(lambda: torch.jit.trace(watched, (x,))(x)),
    told(lambda: torch.fx.symbolic_trace(watched)(x)),
    told(lambda: torch.vmap(watched)(x)),
    told(lambda: torch.func.grad(lambda at: watched(at).sum())(x) * x),
]
print(json.dumps(results))
"""


@needs("torch", "torch==2.13.0")
@pytest.mark.parametrize("kind", ["native", "python"])
def test_torch_scripts_and_traces_it(kind: str, tmp_path: Path) -> None:
    """Scripted code that calls it and scripted modules are bare; by itself it is scripted as a function of Python's."""
    # In a file, since scripting reads the source.
    (tmp_path / "script.py").write_text(SCRIPT)
    found = succeed("import runpy, sys; runpy.run_path(sys.argv.pop(1))", tmp_path / "script.py", kind)
    script, calls, module, outside, trace, symbolic, vmap, grad = found
    assert [True] * 6 == [calls, module, outside, trace, vmap, grad]
    in_c = kind == "native" and NATIVE is not None
    assert [script, symbolic] == (["OSError", "AssertionError"] if in_c else [True, True])


@needs("jax", "'jax[cpu]'")
@pytest.mark.parametrize("kind", ["native", "python"])
def test_jax_traces_it(kind: str) -> None:
    """`jit`, `grad` and `vmap` give the bare result; a call is counted when jax traces it, and not when it runs."""
    program = """
    import json, sys
    import jax, jax.numpy as jnp
    import holter
    monitor = holter.Monitor("test", samplers=[])
    def bare(x, n=2):
        return (x ** n).sum()
    watched = monitor.watch(bare, native=sys.argv[1] == "native")
    x = jnp.arange(3.0)
    same = [
        bool((one(bare, x) == one(watched, x)).all())
        for one in (
            lambda f, x: jax.jit(f)(x),
            lambda f, x: jax.jit(f)(x + 1),
            lambda f, x: jax.jit(f, static_argnames="n")(x, n=3),
            lambda f, x: jax.grad(f)(x),
            lambda f, x: jax.vmap(f)(x),
            lambda f, x: jax.jit(jax.grad(lambda x: f(x)))(x),
        )
    ]
    compiled = jax.jit(monitor.watch(bare, name="traced", native=sys.argv[1] == "native"))
    outside = monitor.watch(jax.jit(bare), name="outside", native=sys.argv[1] == "native")
    for _ in range(3):
        compiled(x), outside(x)
    found = {name: monitor.snapshot().find("holter.call.duration", {"holter.call.name": name}).total.count
             for name in ("traced", "outside")}
    print(json.dumps([same, found]))
    """
    same, found = succeed(program, kind)
    assert [True] * 6 == same
    assert {"traced": 1, "outside": 3} == found


@needs("numba", "numba")
@pytest.mark.parametrize("kind", ["native", "python"])
def test_numba_compiles_what_is_below_it(kind: str) -> None:
    """`watch` stands above `njit`; below it, and in compiled code, numba refuses it with an error of its own."""
    program = """
    import json, sys
    import numba
    import holter
    monitor = holter.Monitor("test", samplers=[])
    def double(x):
        return 2 * x
    watched = monitor.watch(double, native=sys.argv[1] == "native")
    def told(function):
        try:
            return function()
        except Exception as error:
            return type(error).__name__
    above = monitor.watch(numba.njit(double), name="above", native=sys.argv[1] == "native")
    results = [told(lambda: above(2)), told(lambda: numba.njit(watched)(2)),
               told(lambda: numba.njit(lambda x: watched(x))(2)), monitor.snapshot().find(above).total.count]
    print(json.dumps(results))
    """
    above, below, inside, count = succeed(program, kind)
    assert (4, "TypingError", 1) == (above, inside, count)
    assert ("TypeError" if kind == "native" and NATIVE is not None else "UnsupportedBytecodeError") == below


def test_none_is_kept() -> None:
    """A program that makes, calls and drops ten thousand watched functions keeps none of them, and ends well."""
    program = """
    import gc, json, weakref
    import holter
    monitor = holter.Monitor("test", samplers=[])
    def make():
        function = lambda x: x
        watched = monitor.watch(function, name="one")
        watched(1)
        return weakref.ref(watched)
    references = [make() for _ in range(10_000)]
    gc.collect()
    print(json.dumps(sum(reference() is not None for reference in references)))
    """
    assert 0 == succeed(program)
