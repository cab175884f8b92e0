"""What users log under names of their own: which names and values are taken, and what becomes of the others."""

from __future__ import annotations

from argparse import Namespace
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from holter.errors import ConfigurationError
from holter.fold import Fold, Router
from holter.logged import METRICS_PER_RUN, PARAMETERS_PER_RUN, LoggedMetrics, checked_parameters
from holter.model import Process, Snapshot
from holter.names import METRIC, VALUES_REFUSED
from holter.recorder import Recorder
from holter.scope import Scope


@pytest.fixture
def scope() -> Scope:
    """A scope with a recorder of its own."""
    return Scope(recorder=Recorder())


def _snapshot(scope: Scope) -> Snapshot:
    fold, router = Fold(scope, Process("test")), Router(scope.recorder)
    router.attach(fold)
    with scope.recorder.lock:
        router.drain()
        return fold.close(scope.now(), 0)


def _last(scope: Scope) -> dict[str, float]:
    """Return the gauges that were set, without the prefix."""
    snapshot = _snapshot(scope)
    found = {snapshot.series[key].name: reading.last for key, reading in snapshot.total.items()}
    return {name.removeprefix("run."): value for name, value in found.items() if name.startswith("run.")}


def _refused(scope: Scope) -> dict[str, float]:
    """Return how many values were refused, by metric."""
    snapshot = _snapshot(scope)
    return {
        str(snapshot.series[key].attributes.get(METRIC, "beyond")): reading.sum
        for key, reading in snapshot.total.items()
        if snapshot.series[key].name == VALUES_REFUSED
    }


@pytest.mark.parametrize(
    ("name", "cleaned"),
    [
        ("loss", "loss"),
        ("eval/top-5", "eval/top-5"),
        ("f1@0.5", "f1_0_5"),
        ("train loss", "train_loss"),
        ("損失", "損失"),
        ("a\r\n\x1b[31m\u2028=b", "a___[31m__b".replace("[", "_")),
        ("", "_"),
        ("n" * 200, "n" * 100),
    ],
)
def test_names_are_made_harmless(scope: Scope, name: str, cleaned: str) -> None:
    """What is no letter, digit, - or / becomes _, so that no name is a part of another at a dot."""
    LoggedMetrics(scope, "run.", {}).put({name: 1}, scope.now())
    assert {cleaned: 1} == _last(scope)


@pytest.mark.parametrize(
    "value", [3, 0.5, True, np.float32(0.5), np.int8(3), np.array(0.5), np.array([[2]]), np.bool_(1), float("-inf")]
)
def test_numbers_of_python_and_numpy_are_taken(scope: Scope, value: Any) -> None:
    """Scalars and arrays of one element, and what is not finite too: a loss that explodes is to be seen."""
    LoggedMetrics(scope, "run.", {}).put({"x": value}, scope.now())
    assert {"x": np.asarray(value).item()} == _last(scope)


class Tensor:
    """A value whose conversion must not be asked for: it could wait for a device."""

    def __getattribute__(self, name: str) -> Any:
        raise AssertionError(name)

    __float__ = __int__ = __index__ = __bool__ = __repr__ = __iter__ = __len__ = __getattribute__  # type: ignore[assignment]
    __hash__ = object.__hash__


class Shouting(dict):
    """A dict of which only what dict itself holds may be looked at."""

    def items(self) -> Any:
        raise AssertionError

    __iter__ = keys = values = __len__ = __getitem__ = items


@pytest.mark.parametrize("value", [Tensor, str, list, lambda: np.zeros(2), lambda: 10**400, lambda: {"b": {"c": 1}}])
def test_other_values_are_counted_and_told_once(scope: Scope, value: Callable[[], object]) -> None:
    """A tensor and the like are refused without a look inside; the hint says what to write instead."""
    value = value()
    metrics = LoggedMetrics(scope, "run.", {})
    for _ in range(2):
        metrics.put({"a": value, "good": 1}, scope.now())
    assert {"good": 1} == _last(scope)
    name = "run.a/b" if type(value) is dict else "run.a"
    assert {name: 2} == _refused(scope)
    assert {"training.log": "expected Python or numpy numbers (of a tensor, its .item())"} == scope.guard.first


@pytest.mark.parametrize("metrics", [int, list, str, Tensor])
def test_what_is_no_dict_is_counted(scope: Scope, metrics: Callable[[], object]) -> None:
    """A list of pairs or a number is refused as a whole."""
    LoggedMetrics(scope, "run.", {}).put(metrics(), scope.now())
    assert {"run._INVALID": 1} == _refused(scope)


def test_a_name_that_is_no_text_is_counted(scope: Scope) -> None:
    """Its neighbours are taken."""
    LoggedMetrics(scope, "run.", {}).put({1: 1, "a": {2: 2, "b": 3}, "c": 4}, scope.now())
    assert {"a/b": 3, "c": 4} == _last(scope)
    assert {"run._INVALID": 2} == _refused(scope)


def test_dicts_of_other_classes_run_no_code_of_theirs(scope: Scope) -> None:
    """What dict itself holds is read, whatever a subclass says."""
    LoggedMetrics(scope, "run.", {}).put(Shouting(a=1, b=OrderedDict(c=2), d=Shouting(e=3)), scope.now())
    assert {"a": 1, "b/c": 2, "d/e": 3} == _last(scope)


def test_names_are_bounded(scope: Scope) -> None:
    """A run has 500 names; values of more are counted, those of the first ones go on."""
    metrics = LoggedMetrics(scope, "run.", {})
    for _ in range(2):
        for number in range(METRICS_PER_RUN + 100):
            metrics.put({f"x{number}": number}, scope.now())
    assert METRICS_PER_RUN == len(_last(scope))
    assert {"run._INVALID": 200} == _refused(scope)


def test_parameters_keep_their_types(scope: Scope) -> None:
    """Text, bool, int and float are attributes as they are; what an attribute cannot hold is text."""
    given = {"lr": 3e-4, "layers": np.int32(2), "tied": True, "seed": None, "huge": 2**70, "clip": float("inf")}
    expected = {"lr": 3e-4, "layers": 2, "tied": True, "seed": "None", "huge": str(2**70), "clip": "inf"}
    found = {
        key.removeprefix("holter.training.parameter."): value for key, value in checked_parameters(scope, given).items()
    }
    assert expected == found
    assert [type(value) for value in expected.values()] == [type(value) for value in found.values()]


def test_parameters_are_bounded(scope: Scope) -> None:
    """A hundred parameters of two hundred characters each; others, and other types, are counted."""
    given = {"long": "x" * 1000, "model": Tensor(), **{f"p{number}": number for number in range(120)}}
    found = checked_parameters(scope, given)
    assert PARAMETERS_PER_RUN == len(found)
    assert "x" * 200 == found["holter.training.parameter.long"]
    assert 22 == sum(_refused(scope).values())


def test_parameters_that_are_no_dict_are_a_mistake(scope: Scope) -> None:
    """It is told when the run is made, with what to write instead."""
    with pytest.raises(ConfigurationError, match=r"expected parameters as a dict.*got Namespace"):
        checked_parameters(scope, Namespace(lr=1))
