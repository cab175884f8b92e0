"""Sessions of onnxruntime, on a model of two lines."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from contracts.watched import internal_errors, outcomes
from holter.monitor import Monitor
from holter.names import CALL_DURATION, CALL_NAME
from holter.targets.onnx import OnnxRuntime

onnx = pytest.importorskip("onnx", reason="onnx is not installed: pip install onnx onnxruntime")
runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install onnx onnxruntime")


@pytest.fixture(scope="module")
def model() -> bytes:
    """A model that doubles rows of two numbers."""
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "x"], ["y"])],
        "double",
        [helper.make_tensor_value_info("x", kind, ["rows", 2])],
        [helper.make_tensor_value_info("y", kind, ["rows", 2])],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    content: bytes = made.SerializeToString()
    return content


@pytest.fixture
def monitor() -> Monitor:
    return Monitor("test", samplers=[])


def calls(monitor: Monitor, name: str) -> tuple[int, int]:
    found = monitor.snapshot().find(CALL_DURATION, {CALL_NAME: name})
    return (0, 0) if found is None else (found.total.count, found.total.units)


def session(model: bytes) -> Any:
    return runtime.InferenceSession(model, providers=["CPUExecutionProvider"])


def test_every_run_is_a_call_with_its_rows(monitor: Monitor, model: bytes) -> None:
    """By arrays, by values of onnxruntime's own, and by bindings; the results are what they were."""
    target = OnnxRuntime(attributes={"model": "double"})
    made = monitor.instrument(target)
    running = session(model)
    for rows in (1, 8, 3):
        x = np.ones((rows, 2), np.float32)
        assert np.array_equal(2 * x, running.run(None, {"x": x})[0])
    value = runtime.OrtValue.ortvalue_from_numpy(np.ones((4, 2), np.float32))
    assert [4, 2] == list(running.run_with_ort_values(["y"], {"x": value})[0].shape())
    binding = running.io_binding()
    binding.bind_cpu_input("x", np.ones((2, 2), np.float32))
    binding.bind_output("y")
    running.run_with_iobinding(binding)
    assert (3, 12) == calls(monitor, "InferenceSession.run")
    assert (1, 4) == calls(monitor, "InferenceSession.run_with_ort_values")
    assert (1, 0) == calls(monitor, "InferenceSession.run_with_iobinding")
    assert {} == internal_errors(monitor.snapshot())
    assert monitor.uninstrument(target)
    assert [] == made.problems
    # It is inherited, and so is gone from the class itself.
    assert "run" not in vars(runtime.InferenceSession)
    running.run(None, {"x": x})
    assert (3, 12) == calls(monitor, "InferenceSession.run")


def test_an_error_of_the_model_is_an_error(monitor: Monitor, model: bytes) -> None:
    """It is raised as it was, and counted by its class."""
    running = session(model)
    with monitor.instrument(OnnxRuntime()), pytest.raises(runtime.capi.onnxruntime_pybind11_state.InvalidArgument):
        running.run(None, {"x": np.ones((1, 3), np.float32)})
    assert {"error": 1} == outcomes(monitor.snapshot(), "InferenceSession.run")


def test_onnxruntime_has_the_shape_that_is_expected() -> None:
    """The doctor has nothing to say of it."""
    assert [] == list(OnnxRuntime.misfits())
