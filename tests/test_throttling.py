"""How long a quota kept a process from the CPUs: by files as the kernel writes them, of both versions."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from contracts.sampled import open_files
from holter.throttling import Throttling

MS = 1_000_000
SECOND = 1_000_000_000


class Kernel:
    """The files of one group, in a container or not."""

    def __init__(self, folder: Path, *, version: int, group: str = "/pod/one", at: str | None = None) -> None:
        self.membership, self.root, self.version = folder / "cgroup", folder / "fs", version
        lines = ["0::" + group] if version == 2 else ["4:memory:/elsewhere", f"3:cpu,cpuacct:{group}", "0::/"]
        self.membership.write_text("\n".join(lines) + "\n")
        place = self.root if version == 2 else self.root / "cpu"
        self.folder = place / (group if at is None else at).lstrip("/")
        self.folder.mkdir(parents=True)
        self.tell(0)

    def tell(self, throttled_ns: int, used_ns: int = 0) -> None:
        """Let the group have been throttled for so much."""
        text = f"nr_periods 10\nnr_throttled 3\nthrottled_time {throttled_ns}\nnr_bursts 0\nburst_time 0\n"
        if self.version == 2:
            text = (
                f"usage_usec {used_ns // 1_000}\nuser_usec 0\nsystem_usec 0\nnice_usec 0\n"
                f"nr_periods 10\nnr_throttled 3\nthrottled_usec {throttled_ns // 1_000}\nnr_bursts 0\nburst_usec 0\n"
            )
        (self.folder / "cpu.stat").write_text(text)

    @property
    def throttling(self) -> Throttling:
        """Return what reads them."""
        return Throttling(self.membership, self.root)


@pytest.fixture(params=[1, 2])
def kernel(request: pytest.FixtureRequest, tmp_path: Path) -> Kernel:
    return Kernel(tmp_path, version=request.param)


def test_the_time_since_the_last_look_is_told(kernel: Kernel) -> None:
    """What was before the first look is not."""
    kernel.tell(5 * SECOND)
    throttling = kernel.throttling
    assert 0 == throttling.read(100 * MS, 10 * MS)
    kernel.tell(5 * SECOND + 80 * MS, 20 * MS)
    assert 80 * MS == throttling.read(100 * MS, 20 * MS)
    assert 0 == throttling.read(100 * MS, 20 * MS)
    throttling.close()
    assert not throttling.is_known


def test_of_several_cpus_that_are_throttled_together_one_is_told(kernel: Kernel) -> None:
    """The kernel adds them up: four that ran for 20 ms of 100 stood still for 80."""
    throttling = kernel.throttling
    throttling.read(100 * MS, 0)
    kernel.tell(4 * 80 * MS, 4 * 20 * MS)
    assert 80 * MS == throttling.read(100 * MS, 4 * 20 * MS)
    throttling.close()


def test_no_more_than_the_time_that_passed(kernel: Kernel) -> None:
    """Whatever the kernel says, as after a look that came late."""
    throttling = kernel.throttling
    throttling.read(100 * MS, 0)
    kernel.tell(70 * SECOND)
    assert throttling.read(100 * MS, 0) <= 100 * MS
    kernel.tell(0)
    assert 0 == throttling.read(100 * MS, 0), "counters that begin anew"
    throttling.close()


def test_a_group_around_that_has_the_quota_is_seen(tmp_path: Path) -> None:
    """A pod's, of which the container's group is a part."""
    kernel = Kernel(tmp_path, version=2, group="/pod/one", at="/pod")
    throttling = kernel.throttling
    throttling.read(100 * MS, 0)
    kernel.tell(30 * MS)
    assert 30 * MS == throttling.read(100 * MS, 0)
    throttling.close()


def test_a_container_that_sees_its_group_as_the_root(tmp_path: Path) -> None:
    """Under another name outside, such as Docker's."""
    kernel = Kernel(tmp_path, version=1, group="/docker/4711", at="/")
    throttling = kernel.throttling
    throttling.read(100 * MS, 0)
    kernel.tell(30 * MS)
    assert 30 * MS == throttling.read(100 * MS, 0)
    throttling.close()


@pytest.mark.parametrize(
    ("version", "name", "without", "quota"),
    [(1, "cpu.cfs_quota_us", "-1", "50000"), (2, "cpu.max", "max 100000", "50000 100000")],
)
def test_a_group_without_a_quota_is_not_looked_at_until_it_has_one(
    tmp_path: Path, version: int, name: str, without: str, quota: str
) -> None:
    """It cannot have been throttled."""
    kernel = Kernel(tmp_path, version=version)
    (kernel.folder / name).write_text(without + "\n")
    throttling = kernel.throttling
    throttling.read(100 * MS, 0)
    assert not throttling.is_known
    (kernel.folder / name).write_text(quota + "\n")
    for _ in range(25):
        throttling.read(100 * MS, 0)
    kernel.tell(40 * MS)
    assert 40 * MS == throttling.read(100 * MS, 0)
    throttling.close()


def test_a_process_that_is_moved_is_followed(tmp_path: Path) -> None:
    """To the quota of its new group, within 25 looks."""
    kernel = Kernel(tmp_path, version=2, group="/one")
    throttling = kernel.throttling
    throttling.read(100 * MS, 0)
    other = tmp_path / "fs" / "two"
    other.mkdir()
    (other / "cpu.stat").write_text("usage_usec 0\nnr_periods 0\nnr_throttled 0\nthrottled_usec 0\n")
    kernel.membership.write_text("0::/two\n")
    kernel.tell(50 * MS)
    for _ in range(25):
        throttling.read(100 * MS, 0)
    (other / "cpu.stat").write_text("usage_usec 0\nnr_periods 9\nnr_throttled 1\nthrottled_usec 40000\n")
    assert 40 * MS == throttling.read(100 * MS, 0)
    throttling.close()


@pytest.mark.parametrize("text", ["", "usage_usec 7\nuser_usec 7\n", "nonsense\n", "throttled_time many\n"])
def test_files_that_tell_of_no_quota_are_left_alone(tmp_path: Path, text: str) -> None:
    """As those of a group without one, or of another kernel."""
    kernel = Kernel(tmp_path, version=2)
    (kernel.folder / "cpu.stat").write_text(text)
    throttling = kernel.throttling
    assert [0, 0] == [throttling.read(100 * MS, 0), throttling.read(100 * MS, 0)]
    assert not throttling.is_known


def test_a_system_without_groups_is_left_alone(tmp_path: Path) -> None:
    """And no file stays open."""
    throttling = Throttling(tmp_path / "nowhere", tmp_path)
    assert 0 == throttling.read(100 * MS, 0)
    assert not throttling.is_known


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has control groups")
def test_the_groups_of_this_process_can_be_read() -> None:
    """Files are open for as long as they are wanted."""
    before = open_files()
    throttling = Throttling()
    assert throttling.read(100 * MS, 0) >= 0
    throttling.close()
    assert before == open_files()
