"""A driver library without GPUs, compiled from `fakenvml/`, which NVIDIA's own binding loads."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from contracts.sampled import Sampled
from holter import GPUSampler
from metricpages import poll

SOURCE = Path(__file__).parent / "fakenvml" / "fakenvml.c"
UUIDS = [f"GPU-{number}0000000-0000-0000-0000-000000000000" for number in range(8)]
NOT_SUPPORTED, FUNCTION_NOT_FOUND, LOST, UNKNOWN = 3, 13, 15, 999

NO_GCC = "needs a C compiler, `apt install gcc libc6-dev`"
needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason=NO_GCC)


@cache
def _keep() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="fakenvml-")


@cache
def library() -> Path:
    """Return the folder with the library, compiled once."""
    folder = Path(_keep().name)
    command = ["gcc", "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-pthread"]
    command += ["-o", str(folder / "libnvidia-ml.so.1"), "-Wl,-soname,libnvidia-ml.so.1", str(SOURCE)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return folder


@cache
def load() -> ctypes.CDLL:
    """Load the library into this process, so that the binding finds it by its name; helpers find it by its folder."""
    return ctypes.CDLL(str(library() / "libnvidia-ml.so.1"), mode=ctypes.RTLD_GLOBAL)


class FakeGPUs:
    """What the library says; `says` changes it while it runs."""

    def __init__(self, folder: Path, says: Mapping[str, Any]) -> None:
        self._path, self._told = folder / "fakenvml.txt", dict(says)
        self.variables = {"FAKE_NVML": str(self._path), "LD_LIBRARY_PATH": str(library())}
        self._write()

    def says(self, **changed: Any) -> None:
        """Change what it says, for the next call; None takes it away. Two underscores stand for a dot."""
        self._told |= _dotted(changed)
        self._write()

    def _write(self) -> None:
        fresh = self._path.with_suffix(".new")
        lines = (f"{name}={value}\n" for name, value in self._told.items() if value is not None)
        fresh.write_text("".join(lines), encoding="utf-8")
        fresh.replace(self._path)


def _dotted(says: Mapping[str, Any]) -> dict[str, Any]:
    return {name.replace("__", "."): value for name, value in says.items()}


@contextmanager
def fake_gpus(gpus: int = 1, **says: Any) -> Iterator[FakeGPUs]:
    """Let helpers and programs that are started meanwhile find the library with so many GPUs."""
    with tempfile.TemporaryDirectory(prefix="fakenvml-") as folder, pytest.MonkeyPatch.context() as patch:
        fake = FakeGPUs(Path(folder), {"gpus": gpus, **_dotted(says)})
        for name in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"):
            patch.delenv(name, raising=False)
        for name, value in fake.variables.items():
            patch.setenv(name, value)
        yield fake


def sampled_until(sampler: GPUSampler, is_done: Callable[[Sampled], object], sampled: Sampled | None = None) -> Sampled:
    """Sample until *is_done* with what was sampled; return that."""
    found = Sampled() if sampled is None else sampled

    def sample() -> bool:
        sampler.sample(found)
        return bool(is_done(found))

    poll("what the sampler should give", sample)
    return found


def first_reading(sampler: GPUSampler) -> Sampled:
    """Sample until the helper has answered."""
    return sampled_until(sampler, lambda _: sampler._read_ns is not None)


def helper_of(sampler: GPUSampler) -> int:
    """Return the helper's process id."""
    return sampler._source._process.pid
