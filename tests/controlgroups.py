"""Control groups for tests: real ones that a test makes and removes, and trees of files as the kernel writes them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

MIB = 2**20
PATIENCE_SECONDS = 60


def _own(controller: str) -> Path:
    """Return the folder of this process's own group of the first version under *controller*; skip if there is none."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, group = line.split(":", 2)
        folder = Path("/sys/fs/cgroup", controller, group.lstrip("/"))
        if controller in controllers.split(",") and folder.is_dir():
            return folder
    pytest.skip(f"needs control groups of the first version with the controller {controller}")


@contextmanager
def group(controller: str, **limits: object) -> Iterator[Path]:
    """Yield a new group of the first version below this process's own with *limits*; skip where that is forbidden."""
    folder = (
        Path("/sys/fs/cgroup/unified") if controller == "unified" else _own(controller)
    ) / f"holter-{uuid.uuid4()}"
    try:
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"needs to make a control group: run as root ({error})")
    try:
        for name, value in limits.items():
            (folder / f"{controller}.{name}").write_text(str(value))
        yield folder
    finally:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                folder.rmdir()
                break
            except OSError:  # the kernel is not done yet with a process that ended
                assert time.monotonic() < deadline
                time.sleep(0.05)


def run_in(groups: list[Path], program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run *program* in *groups* from its first moment on."""
    join = "".join(f'echo $$ > "{folder}/cgroup.procs" && ' for folder in groups)
    return subprocess.run(
        ["/bin/sh", "-c", join + 'exec "$0" "$@"', sys.executable, "-c", textwrap.dedent(program)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


def told_in(groups: list[Path], program: str, **environment: str) -> Any:
    """Return what the last line of *program* says as JSON, run in *groups*."""
    done = run_in(groups, program, **environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def tree(root: Path, files: dict[str, str]) -> str:
    """Write *files* below *root*, as the kernel would; return the root as text."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return str(root)
