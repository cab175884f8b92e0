"""Watched code under `torch.compile`: the bare result in one graph, unwatched there, and said so once."""

from __future__ import annotations

import importlib.util
import logging
import sys
from types import FunctionType, MethodType
from typing import Any

import pytest

from holter.compiled import bind, call, compiling, leaves_unwatched
from holter.monitor import Monitor
from holter.ring import NATIVE
from programs import succeed

needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="torch is not installed: pip install torch==2.13.0"
)

PROGRAM = '''
import json, logging, sys, warnings
warnings.simplefilter("error")
import torch
import holter

native = sys.argv[1] == "native"
monitor = holter.Monitor("test", samplers=[])
said, results = [], {}
handler = logging.Handler()
handler.emit = lambda record: said.append(record.getMessage())
logging.getLogger("holter").addHandler(handler)

def watched(name):
    return monitor.watch(name=name, native=native)

def bare(name):
    return lambda function: function

def made(watch):
    """Return what is compiled, by its kind; all that it runs is put through *watch*."""

    @watch("double")
    def double(x):
        return 2 * x + 1

    def twice(x):
        return double(double(x + 1)) * 3

    class Scaler:
        by = 3.0

        @watch("scale")
        def scale(self, x, plus=0):
            return self.by * x + plus

        @staticmethod
        @watch("static method")
        def half(x):
            return x / 2

        @watch("property")
        @property
        def factor(self):
            return torch.tensor(self.by)

    scaler = Scaler()

    def uses_methods(x):
        made = scaler.scale(x, plus=2) + Scaler.half(x) + scaler.half(x)
        return made * scaler.factor + Scaler.scale(scaler, x)

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(1)
            self.inner = torch.nn.Linear(3, 3)

        @watch("forward")
        def forward(self, x):
            return self.helper(torch.relu(self.inner(x)))

        @watch("helper")
        def helper(self, x):
            return 3 * x

    torch.manual_seed(1)
    instance = torch.nn.Linear(3, 3)
    instance.forward = watch("instance")(instance.forward)
    return {
        "function": double, "in a function": twice, "method": scaler.scale, "methods": uses_methods,
        "module": Net(), "instance": instance,
    }

x = torch.tensor([1.0, -2.0, 3.0])

def result(function):
    at = x.clone().requires_grad_()
    made = function(at)
    made.sum().backward()
    return made, at.grad

bare_ones, watched_ones = made(bare), made(watched)
for backend in ("eager", "aot_eager"):
    for fullgraph in (False, True):
        for kind, function in watched_ones.items():
            torch._dynamo.reset()
            wanted = result(bare_ones[kind])
            try:
                got = result(torch.compile(function, backend=backend, fullgraph=fullgraph))
                results[f"{kind}, {backend}, {fullgraph}"] = all(map(torch.equal, wanted, got))
            except Exception as error:
                results[f"{kind}, {backend}, {fullgraph}"] = repr(error)[:300]

def calls(target):
    found = monitor.snapshot().find(target)
    return 0 if found is None else found.total.count

in_graphs = calls(holter.names.CALL_DURATION)
watched_ones["module"](x)
eager = calls(holter.names.CALL_DURATION)
outside = monitor.watch(torch.compile(bare_ones["function"], backend=backend), name="outside")
same = torch.equal(bare_ones["function"](x), outside(x))

# What ends a graph, and so is refused where there must be one.
class Parent:
    @watched("scale")
    def scale(self, x):
        return 2 * x

class Child(Parent):
    def scale(self, x):
        return super().scale(x) + 1

    @watched("double")
    @classmethod
    def double(cls, x):
        return 2 * x

    @watched("double")
    def __call__(self, x):
        return 2 * x

@monitor.watch(name="stream")
def stream(x):
    yield x
    yield 2 * x

hits = monitor.counter("hits")

def spanned(x):
    with monitor.span("inside"):
        return x + 1

def streamed(x):
    return sum(stream(x))

def counted(x):
    hits.add(1)
    return x + 1

warnings.simplefilter("ignore")
ends = {}
child = Child()

def inherited(x):
    return child.scale(x)

def of_class(x):
    return Child.double(x)

def instance(x):
    return child(x)

for function in (spanned, streamed, counted, inherited, of_class, instance):
    torch._dynamo.reset()
    right = torch.equal(function(x), torch.compile(function, backend=backend)(x))
    try:
        torch._dynamo.reset()
        torch.compile(function, backend=backend, fullgraph=True)(x)
        ends[function.__name__] = [right, "compiled"]
    except torch._dynamo.exc.Unsupported as error:
        ends[function.__name__] = [right, "Unsupported"]
print(json.dumps({
    "results": results, "in graphs": in_graphs, "eager": eager, "outside": [same, calls(outside)],
    "ends": ends, "said": said,
}))
'''


@pytest.fixture(params=["native", "python"])
def kind(request: Any) -> str:
    return str(request.param)


@needs_torch
def test_torch_compile_gives_the_bare_result(kind: str) -> None:
    """Functions, methods of every kind and modules, with their gradients, as one graph where that is asked for."""
    found = succeed(PROGRAM, kind, within=110)
    assert dict.fromkeys(found["results"], True) == found["results"]
    # A compiled region is left unwatched; outside of it the same functions are watched, and so is what runs it.
    assert (0, 2, [True, 1]) == (found["in graphs"], found["eager"], found["outside"])
    # It is said once for each, however often it is compiled.
    wanted = {"double", "scale", "static method", "property", "forward", "helper", "instance"}
    said = [line for line in found["said"] if "torch.compile" in line]
    assert sorted(wanted) == sorted(line.split("'")[1] for line in said)
    assert all("watch what calls the compiled function" in line for line in said)
    in_c = kind == "native" and NATIVE is not None
    refused = {"spanned", "streamed", "counted", *(("inherited", "of_class", "instance") if in_c else ())}
    assert {name: [True, "Unsupported" if name in refused else "compiled"] for name in found["ends"]} == found["ends"]


@needs_torch
def test_torch_that_comes_later_gives_the_bare_result_too(kind: str) -> None:
    """A function of Python's own, watched before torch is there, ends the graph and is watched on."""
    program = """
    import json, sys, warnings
    import holter
    monitor = holter.Monitor("test", samplers=[])
    watched = monitor.watch(lambda x: 2 * x, name="f", native=sys.argv[1] == "native")
    assert "torch" not in sys.modules
    import torch
    import logging
    logging.getLogger("holter").addHandler(logging.NullHandler())
    warnings.simplefilter("ignore")
    x = torch.ones(3)
    same = torch.equal(2 * x + 1, torch.compile(lambda x: watched(x) + 1, backend="eager")(x))
    found = monitor.snapshot().find(watched)
    print(json.dumps([same, 0 if found is None else found.total.count]))
    """
    in_c = kind == "native" and NATIVE is not None
    assert [True, 0 if in_c else 1] == succeed(program, kind)


def test_without_torch_nothing_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a call asks is then the cheapest there is that says no, and nothing is imported for it."""
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert compiling() is bool
    assert "torch" not in sys.modules


@pytest.mark.skipif(NATIVE is None, reason="about the watched function in C, which HOLTER_PURE_PYTHON=1 forgoes")
def test_what_python_shows_of_a_watched_function_in_c_does_what_c_does() -> None:
    """`__call__` and `__get__`, asked for by name, call and bind as it does, and the call is counted."""
    monitor = Monitor("test", samplers=[])

    @monitor.watch
    def add(one: Any, two: int = 2) -> tuple[Any, int]:
        return one, two

    kind: Any = type(add)
    assert (call, bind) == (kind.__call__, kind.__get__)
    assert isinstance(kind.__get__, FunctionType)
    owner = "owner"
    assert (owner, 3) == add.__call__(owner, two=3)
    bound = add.__get__(owner, str)
    assert isinstance(bound, MethodType)
    assert (add, owner, (owner, 2)) == (bound.__func__, bound.__self__, bound())
    assert add is add.__get__(None, str)
    found = monitor.snapshot().find(add)
    assert found is not None
    assert 2 == found.total.count


def test_it_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """Each watched function is named once, however many regions it is compiled into."""
    with caplog.at_level(logging.WARNING, "holter"):
        assert leaves_unwatched("only here")
        assert leaves_unwatched("only here")
    assert 1 == len(caplog.records)
    assert "'only here'" in caplog.records[0].getMessage()
