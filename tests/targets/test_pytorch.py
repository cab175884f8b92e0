"""Modules of PyTorch, by forward hooks: what they return, raise and compile to stays what it was."""

from __future__ import annotations

import copy
import io
import logging
import pickle
import threading
from typing import Any

import pytest

from contracts.watched import in_flight, internal_errors, outcomes
from holter.errors import ConfigurationError
from holter.monitor import Monitor
from holter.names import CALL_DURATION, CALL_NAME, ERROR_TYPE
from holter.ownthreads import as_own

torch = pytest.importorskip("torch", reason="torch is not installed: pip install torch==2.13.0")

from holter.targets.pytorch import Torch  # noqa: E402 - as above


class Net(torch.nn.Module):  # type: ignore[misc, name-defined]
    def __init__(self) -> None:
        super().__init__()
        self.encoder = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU())
        self.head = torch.nn.Linear(8, 2)

    def forward(self, x: Any, raises: BaseException | None = None) -> Any:
        if raises is not None:
            raise raises
        return self.head(self.encoder(x))


class Tree(torch.nn.Module):  # type: ignore[misc, name-defined]
    """Calls itself."""

    def forward(self, depth: int, raises: BaseException | None = None) -> Any:
        if depth:
            return self(depth - 1, raises)
        if raises is not None:
            raise raises
        return torch.zeros(3)


@pytest.fixture
def monitor() -> Monitor:
    return Monitor("test", samplers=[])


def calls(monitor: Monitor, name: str) -> tuple[int, int]:
    found = monitor.snapshot().find(CALL_DURATION, {CALL_NAME: name})
    return (0, 0) if found is None else (found.total.count, found.total.units)


def hooks(module: Any) -> int:
    return sum(len(one._forward_hooks) + len(one._forward_pre_hooks) for one in module.modules())


def test_each_call_of_a_module_is_a_call_with_its_rows(monitor: Monitor) -> None:
    """Its results and its hooks are afterwards what they were before."""
    net, x = Net(), torch.ones(5, 4)
    bare = net(x)
    target = Torch(net)
    monitor.instrument(target)
    for _ in range(3):
        assert torch.equal(bare, net(x))
    assert (3, 15) == calls(monitor, "Net")
    assert monitor.uninstrument(target)
    assert 0 == hooks(net)
    net(x)
    assert (3, 15) == calls(monitor, "Net")
    assert 0 == in_flight(monitor.snapshot())
    assert {} == internal_errors(monitor.snapshot())


def test_modules_within_are_watched_to_a_depth(monitor: Monitor) -> None:
    """Named by their place in the module."""
    net = Net()
    with monitor.instrument(Torch(net, name="net", depth=2)):
        net(torch.ones(5, 4))
    for name in ("net", "net.encoder", "net.encoder.0", "net.encoder.1", "net.head"):
        assert (1, 5) == calls(monitor, name), name
    with monitor.instrument(Torch(net, name="other", depth=1, units=7, attributes={"model": "v7"})):
        net(torch.ones(5, 4))
    assert [(1, 7), (1, 7), (0, 0)] == [calls(monitor, name) for name in ("other", "other.encoder", "other.encoder.0")]


def test_an_error_is_recorded_and_the_same(monitor: Monitor) -> None:
    """Also where another exception is being handled around the call."""
    net, error = Net(), RuntimeError("trouble")
    monitor.instrument(Torch(net))
    try:
        raise KeyError("around")  # noqa: TRY301 - it is to be handled
    except KeyError:
        net(torch.ones(1, 4))
        with pytest.raises(RuntimeError) as raised:
            net(torch.ones(1, 4), raises=error)
    assert raised.value is error
    snapshot = monitor.snapshot()
    assert {"ok": 1, "error": 1} == outcomes(snapshot, "Net")
    found = snapshot.find(CALL_DURATION, {ERROR_TYPE: "RuntimeError"})
    assert found is not None
    assert 0 == in_flight(snapshot)


def test_what_hooks_do_not_hear_of_is_given_up_at_the_next_call(monitor: Monitor) -> None:
    """PyTorch tells hooks of no Ctrl-C: the call stays open until then, and is abandoned."""
    net = Net()
    monitor.instrument(Torch(net))
    with pytest.raises(KeyboardInterrupt):
        net(torch.ones(1, 4), raises=KeyboardInterrupt())
    assert 1 == in_flight(monitor.snapshot())
    net(torch.ones(1, 4))
    assert {"abandoned": 1, "ok": 1} == outcomes(monitor.snapshot(), "Net")
    assert 0 == in_flight(monitor.snapshot())


def test_a_module_that_calls_itself_is_not_given_up(monitor: Monitor) -> None:
    """Each of its calls is one, also after Ctrl-C in the deepest of them."""
    tree = Tree()
    monitor.instrument(Torch(tree))
    tree(3)
    assert (4, 12) == calls(monitor, "Tree")
    with pytest.raises(KeyboardInterrupt):
        tree(2, KeyboardInterrupt())
    tree(1)
    assert {"ok": 6, "abandoned": 3} == outcomes(monitor.snapshot(), "Tree")
    assert 0 == in_flight(monitor.snapshot())


def test_threads_call_it_at_once(monitor: Monitor) -> None:
    """Each call ends where it began."""
    net, barrier = Net(), threading.Barrier(4)
    monitor.instrument(Torch(net))

    def work() -> None:
        barrier.wait()
        for _ in range(50):
            net(torch.ones(2, 4))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (200, 400) == calls(monitor, "Net")
    assert 0 == in_flight(monitor.snapshot())


def test_calls_by_holters_own_threads_are_not_recorded(monitor: Monitor) -> None:
    """A check that runs the model is none of the program's."""
    net = Net()
    monitor.instrument(Torch(net))
    thread = threading.Thread(target=as_own(lambda: net(torch.ones(1, 4))))
    thread.start()
    thread.join()
    assert (0, 0) == calls(monitor, "Net")


def test_copies_and_pickles_are_bare(monitor: Monitor) -> None:
    """They work, also where holter's figures have no place for them, and gradients are the same."""
    net, x = Net(), torch.ones(3, 4)
    monitor.instrument(Torch(net))
    stored = io.BytesIO()
    torch.save(net, stored)
    stored.seek(0)
    bare = net(x)
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net)), torch.load(stored, weights_only=False)):  # noqa: S301 - its own
        assert torch.equal(bare, other(x))
    assert (1, 3) == calls(monitor, "Net")
    net(x).sum().backward()
    assert net.head.weight.grad is not None


def test_a_compiled_module_is_what_it_was(monitor: Monitor, caplog: pytest.LogCaptureFixture) -> None:
    """In one graph; the log says once that it is not watched in there."""
    net, x = Net(), torch.ones(5, 4)
    bare = net(x)
    monitor.instrument(Torch(net, name="compiled net"))
    compiled = torch.compile(net, backend="eager", fullgraph=True)
    with caplog.at_level(logging.WARNING, "holter"):
        assert torch.equal(bare, compiled(x))
        assert torch.equal(bare, compiled(x))
    assert (0, 0) == calls(monitor, "compiled net")
    assert 1 == sum("torch.compile compiles 'compiled net'" in record.getMessage() for record in caplog.records)
    net(x)
    assert (1, 5) == calls(monitor, "compiled net")


def test_what_holds_a_compiled_module_is_watched_as_before(monitor: Monitor) -> None:
    """The call around the compiled region is timed."""
    outer = torch.nn.Sequential(torch.compile(Net(), backend="eager"))
    monitor.instrument(Torch(outer, name="outer"))
    outer(torch.ones(5, 4))
    outer(torch.ones(5, 4))
    assert (2, 10) == calls(monitor, "outer")


@pytest.mark.parametrize("output", [{"a": torch.ones(3)}, (torch.ones(3), 1), [torch.ones(3)], torch.ones(3)], ids=str)
def test_rows_are_those_of_the_first_tensor(monitor: Monitor, output: Any) -> None:
    """In a dict, a tuple, a list, or by itself."""

    class Gives(torch.nn.Module):  # type: ignore[misc, name-defined]
        def forward(self) -> Any:
            return output

    module = Gives()
    monitor.instrument(Torch(module))
    assert module() is output
    assert (1, 3) == calls(monitor, "test_rows_are_those_of_the_first_tensor.<locals>.Gives")


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        ((Net,), {}, "expected a torch.nn.Module, got <class"),
        ((3,), {}, "expected a torch.nn.Module, got 3"),
        ((Net(),), {"depth": -1}, "expected depth as a whole number"),
        ((Net(),), {"name": ""}, "expected a name"),
    ],
)
def test_what_cannot_work_is_refused(arguments: Any, options: Any, words: str) -> None:
    """When the target is made."""
    with pytest.raises(ConfigurationError, match=words):
        Torch(*arguments, **options)


def test_torch_has_the_shape_that_is_expected() -> None:
    """The doctor has nothing to say of it."""
    assert [] == list(Torch.misfits())
