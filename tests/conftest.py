"""What all tests share: a clean environment, and Hypothesis without a stopwatch."""

from __future__ import annotations

import gc
import os
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings

# What a developer's shell configures is not what the tests are about; which ring runs, is.
for name in [name for name in os.environ if name.startswith(("HOLTER_", "OTEL_")) and name != "HOLTER_PURE_PYTHON"]:
    del os.environ[name]

# Recordings of tests lie in a folder of their own; on Linux in memory, as those of programs do.
_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of its own is made there
_FOLDER = tempfile.TemporaryDirectory(prefix="holter-tests-", dir=_MEMORY if _MEMORY.is_dir() else None)
os.environ["HOLTER_DIR"] = _FOLDER.name

# Programs that tests start run in folders of their own, where a relative path would lead astray.
if "PYTHONPATH" in os.environ:
    os.environ["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, os.environ["PYTHONPATH"].split(os.pathsep)))

# A busy machine may be slow without being wrong; `timeout` in pyproject.toml still ends what hangs.
settings.register_profile("holter", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("holter")


def pytest_collection_finish() -> None:
    """Let tests that collect garbage look through their own, not through all modules and tests each time: 0.4 s."""
    gc.collect()
    gc.freeze()
