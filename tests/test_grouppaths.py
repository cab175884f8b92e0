"""Where the control groups of a process are, by trees of files as kernels and container engines make them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from controlgroups import group, told_in, tree
from holter.cgroups import ControlGroups
from holter.grouppaths import GroupPaths
from holter.memorylimit import cgroup_limit_bytes
from holter.throttling import Throttling

MIB = 2**20
SECOND = 1_000_000_000
UNIFIED = "30 23 0:26 {top} /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
FIRST = (
    "24 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n"
    "31 23 0:28 / /groups rw - tmpfs tmpfs rw,mode=755\n"
    "35 31 0:32 {top} /groups/memory rw - cgroup cgroup rw,memory\n"
    "36 31 0:33 {top} /groups/cpu\\040time rw shared:14 master:3 - cgroup cgroup rw,cpu,cpuacct\n"
    "38 31 0:38 {top} /groups/unified rw - cgroup2 cgroup2 rw\n"
)


def found(root: Path, controller: str, *, membership: str, mounts: str, folders: list[str]) -> list[str]:
    """Return the folders below *root* that are taken for the groups under *controller*."""
    for folder in folders:
        (root / folder).mkdir(parents=True)
    tree(root, {"mountinfo": mounts})
    paths = GroupPaths(root / "mountinfo", root=root)
    assert paths.see(membership.encode())
    under = paths.hierarchy(controller)
    return [] if under is None else [str(Path(folder).relative_to(root)) for folder in under.folders]


@pytest.mark.parametrize(
    ("membership", "top", "folders"),
    [
        # On the machine itself: the group and all those around it.
        ("0::/pod/one\n", "/", ["sys/fs/cgroup/pod/one", "sys/fs/cgroup/pod", "sys/fs/cgroup"]),
        # In a container with a namespace of its own.
        ("0::/\n", "/", ["sys/fs/cgroup"]),
        # Without one: only the container's own group is mounted.
        ("0::/docker/4711\n", "/docker/4711", ["sys/fs/cgroup"]),
        ("0::/docker/4711/worker\n", "/docker/4711", ["sys/fs/cgroup/worker", "sys/fs/cgroup"]),
        # A name that only begins like that of the container.
        ("0::/docker/47110\n", "/docker/4711", ["sys/fs/cgroup"]),
        # Moved out of the namespace, and a path that is not there inside.
        ("0::/../../elsewhere\n", "/", ["sys/fs/cgroup"]),
        ("0::/kubepods/burstable/4711\n", "/", ["sys/fs/cgroup"]),
    ],
)
def test_a_group_is_found_wherever_it_is_mounted(membership: str, top: str, folders: list[str], tmp_path: Path) -> None:
    """The innermost first; what is not there is left out."""
    made = [folders[0], "sys/fs/cgroup/0"]
    assert folders == found(tmp_path, "", membership=membership, mounts=UNIFIED.format(top=top), folders=made)


@pytest.mark.parametrize(
    ("controller", "folders"),
    [
        ("cpu", ["groups/cpu time/pod", "groups/cpu time"]),
        ("cpuacct", ["groups/cpu time/pod", "groups/cpu time"]),
        ("memory", ["groups/memory/other", "groups/memory"]),
        ("", ["groups/unified/pod", "groups/unified"]),
        ("pids", []),
    ],
)
def test_each_controller_has_groups_of_its_own(controller: str, folders: list[str], tmp_path: Path) -> None:
    """In a mixture the second version stands beside those of the first; a mount may have any place and name."""
    made = ["groups/cpu time/pod", "groups/memory/other", "groups/unified/pod"]
    membership = "5:cpu,cpuacct:/pod\n4:memory:/other\n3:pids:/pod\n1:name=systemd:/x\n0::/pod\ngarbage\n"
    assert folders == found(tmp_path, controller, membership=membership, mounts=FIRST.format(top="/"), folders=made)


@pytest.mark.parametrize(("version", "telling"), [(1, "cpu time/release_agent"), (2, "unified/pod/cgroup.events")])
def test_the_machines_own_group_is_told_apart(version: int, telling: str, tmp_path: Path) -> None:
    """By the files that it alone has, or alone has not; it limits nothing."""
    tree(tmp_path, {f"groups/{telling}": "", "groups/cpu time/pod/cpu.stat": "", "groups/unified/pod/cpu.stat": ""})
    tree(tmp_path, {"mountinfo": FIRST.format(top="/")})
    paths = GroupPaths(tmp_path / "mountinfo", root=tmp_path)
    paths.see(b"5:cpu:/pod\n0::/pod\n")
    under = paths.hierarchy("cpu" if version == 1 else "")
    assert under is not None
    assert (True, 2, under.folders[:1]) == (under.ends_at_machine, len(under.folders), under.groups)


def test_the_mounts_are_read_when_the_process_is_moved(tmp_path: Path) -> None:
    """Not at each look; the groups of before are forgotten."""
    tree(tmp_path, {"mountinfo": UNIFIED.format(top="/"), "sys/fs/cgroup/one/x": "", "sys/fs/cgroup/two/x": ""})
    paths = GroupPaths(tmp_path / "mountinfo", root=tmp_path)
    told = []
    for membership in (b"0::/one\n", b"0::/one\n", b"0::/two\n"):
        is_new, under = paths.see(membership), paths.hierarchy("")
        assert under is not None
        told.append((is_new, Path(under.folders[0]).name))
        if is_new and len(told) == 1:
            (tmp_path / "mountinfo").rename(tmp_path / "gone")
        if len(told) == 2:
            (tmp_path / "gone").rename(tmp_path / "mountinfo")
    assert [(True, "one"), (False, "one"), (True, "two")] == told


def test_without_mounts_the_usual_places_are_looked_at(tmp_path: Path) -> None:
    """Where they are given; else it is an error, and a file that names none is none."""
    tree(tmp_path, {"fs/cpu,cpuacct/pod/x": "", "fs/unified/pod/x": ""})
    membership = b"5:cpu,cpuacct:/pod\n4:memory:/pod\n0::/pod\n"
    with pytest.raises(FileNotFoundError):
        GroupPaths(tmp_path / "mountinfo").see(membership)
    for _ in range(2):
        paths = GroupPaths(tmp_path / "mountinfo", usual=tmp_path / "fs")
        paths.see(membership)
        cpu, unified, memory = (paths.hierarchy(controller) for controller in ("cpu", "", "memory"))
        assert cpu is not None
        assert unified is not None
        assert (f"{tmp_path}/fs/cpu,cpuacct/pod", f"{tmp_path}/fs/cpu,cpuacct") == cpu.folders
        assert (f"{tmp_path}/fs/unified/pod", None) == (unified.folders[0], memory)
        tree(tmp_path, {"mountinfo": "24 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n"})


def test_all_who_ask_for_limits_find_the_same_group(tmp_path: Path) -> None:
    """A worker's in a container that has no namespace: its quota, its limit, and how long it was throttled."""
    stat = "nr_periods 10\nnr_throttled 3\nthrottled_time {}\n"
    files = {
        "proc/self/cgroup": "5:cpu,cpuacct:/docker/4711/worker\n4:memory:/docker/4711/worker\n0::/\n",
        "proc/self/mountinfo": "".join(
            f"{number} 31 0:32 /docker/4711 {tmp_path}/{kind} rw - cgroup cgroup rw,{kind}\n"
            for number, kind in ((35, "memory"), (36, "cpu"))
        ),
        "memory/worker/memory.limit_in_bytes": f"{100 * MIB}\n",
        "memory/memory.limit_in_bytes": f"{200 * MIB}\n",
        "cpu/worker/cpu.cfs_quota_us": "50000\n",
        "cpu/worker/cpu.cfs_period_us": "100000\n",
        "cpu/worker/cpu.stat": stat.format(0),
        "cpu/cpu.cfs_quota_us": "-1\n",
    }
    tree(tmp_path, files)
    membership = tmp_path / "proc/self/cgroup"
    throttling = Throttling(membership)
    throttling.read(SECOND, 0)
    tree(tmp_path, {"cpu/worker/cpu.stat": stat.format(SECOND // 4)})
    assert (100 * MIB, SECOND // 4) == (cgroup_limit_bytes(membership), throttling.read(SECOND, 0))
    throttling.close()
    groups = ControlGroups(tmp_path)
    tree(tmp_path / str(tmp_path).lstrip("/"), files)
    groups.look()
    cpu = groups.cpu()
    assert cpu is not None
    assert (0.5, 3) == (cpu.limit, cpu.throttled_periods)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has control groups")
def test_a_real_group_is_found() -> None:
    """By the file of mounts of this machine, with the limit that was set."""
    with group("memory", limit_in_bytes=128 * MIB) as folder:
        limit, first = told_in(
            [folder],
            """
            import json
            from pathlib import Path
            from holter.grouppaths import GroupPaths
            from holter.memorylimit import cgroup_limit_bytes
            paths = GroupPaths(Path("/proc/self/mountinfo"))
            paths.see(Path("/proc/self/cgroup").read_bytes())
            print(json.dumps([cgroup_limit_bytes(), paths.hierarchy("memory").folders[0]]))
            """,
        )
    assert (128 * MIB, str(folder)) == (limit, first)
