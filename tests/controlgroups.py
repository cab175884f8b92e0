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


class Container:
    """A container of the second version in files below *root*, whose CPU quota is used as a test has it."""

    FOLDER = "sys/fs/cgroup"

    def __init__(self, root: Path) -> None:
        self.runs = 0
        stalled = "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"
        files = {
            "proc/self/cgroup": "0::/\n",
            "proc/self/mountinfo": "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n",
            f"{self.FOLDER}/cgroup.events": "populated 1\nfrozen 0\n",
            f"{self.FOLDER}/memory.max": f"{2**30}\n",
            f"{self.FOLDER}/memory.current": f"{2**29 + 2**20}\n",
            f"{self.FOLDER}/memory.stat": f"anon 1\ninactive_file {2**20}\n",
            f"{self.FOLDER}/memory.events": "low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\n",
            f"{self.FOLDER}/cpu.max": "150000 100000\n",
            f"{self.FOLDER}/cpu.stat": self._stat(),
            **{f"{self.FOLDER}/{resource}.pressure": stalled for resource in ("cpu", "memory", "io")},
        }
        self.root = tree(root, files)
        self._file = os.open(f"{self.root}/{self.FOLDER}/cpu.stat", os.O_WRONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        os.close(self._file)

    def run(self) -> None:
        """Let four periods pass, of which one is cut short, and use 30 and 10 ms of CPU time."""
        self.runs += 1
        # In place, and as long as before: never is there less in the file than all of it.
        os.pwrite(self._file, self._stat().encode(), 0)

    def _stat(self) -> str:
        figures = {
            "usage_usec": 40_000,
            "user_usec": 30_000,
            "system_usec": 10_000,
            "nr_periods": 4,
            "nr_throttled": 1,
            "throttled_usec": 20_000,
        }
        return "".join(f"{name} {value * self.runs:016}\n" for name, value in figures.items())
