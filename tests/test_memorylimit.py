"""How much memory the system lets a process have."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from holter.memorylimit import cgroup_limit_bytes, host_memory_bytes

GIB = 2**30


def limits(folder: Path, **files: str) -> Path:
    """Return a tree of control groups with limits in some of them; double underscores stand for folders."""
    for name, content in files.items():
        path = folder.joinpath(*name.split("__"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder


@pytest.mark.parametrize(
    ("membership", "expected"),
    [
        ("0::/app/worker\n", GIB),
        ("0::/app\n", 2 * GIB),
        ("0::/\n", None),
        ("0::/../../elsewhere\n", None),
        ("12:cpu,memory:/old\n0::/\n", 3 * GIB),
        ("3:memory:/docker/abc\n", 4 * GIB),
        ("nonsense", None),
        ("", None),
    ],
)
def test_the_least_limit_of_all_groups_counts(membership: str, expected: int | None, tmp_path: Path) -> None:
    """Of the group and those around it, in either version; a container sees its own as the root."""
    root = limits(
        tmp_path / "cgroup",
        **{
            "app__memory.max": f"{2 * GIB}\n",
            "app__worker__memory.max": f"{GIB}\n",
            "memory.max": "max\n",
            "memory__memory.limit_in_bytes": f"{4 * GIB}\n",
            "memory__old__memory.limit_in_bytes": f"{3 * GIB}\n",
        },
    )
    (tmp_path / "membership").write_text(membership)
    assert expected == cgroup_limit_bytes(tmp_path / "membership", root)


def test_what_is_not_limited_has_no_limit(tmp_path: Path) -> None:
    """The largest number of whole pages is no limit, nor is a system without control groups."""
    root = limits(tmp_path / "cgroup", **{"memory__memory.limit_in_bytes": "9223372036854771712\n"})
    (tmp_path / "membership").write_text("4:memory:/\n")
    assert cgroup_limit_bytes(tmp_path / "membership", root) is None
    assert cgroup_limit_bytes(tmp_path / "none", root) is None


def test_the_memory_of_the_machine_is_psutils() -> None:
    """The number of pages times their size."""
    assert psutil.virtual_memory().total == host_memory_bytes()
