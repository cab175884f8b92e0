"""The limits of a container: real control groups with limits that bite, and trees of files of other machines."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from contracts.sampled import Sampled
from controlgroups import MIB, group, run_in, told_in, tree
from holter.errors import ConfigurationError
from holter.model import Sampler
from holter.samplers.container import ContainerSampler

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="control groups are Linux's")

GIB = 2**30
PRESSURE = "some avg10=1.00 avg60=0.50 avg300=0.10 total={}\nfull avg10=0.00 avg60=0.00 avg300=0.00 total={}\n"
# As Linux 6.6 writes them.
CPU_STAT = (
    "usage_usec 9000000\nuser_usec 6000000\nsystem_usec 3000000\ncore_sched.force_idle_usec 0\n"
    "nr_periods 120\nnr_throttled 30\nthrottled_usec 4500000\nnr_bursts 0\nburst_usec 0\n"
)
EVENTS = "low 0\nhigh 0\nmax 812\noom 3\noom_kill 2\noom_group_kill 0\n"
MEMORY_STAT = f"anon {300 * MIB}\nfile {200 * MIB}\nkernel 4096\ninactive_file {150 * MIB}\nactive_file {50 * MIB}\n"
UNIFIED = "30 23 0:26 {top} /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
HYBRID = (
    "24 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
    "31 23 0:28 / /sys/fs/cgroup ro,nosuid shared:9 - tmpfs tmpfs ro,mode=755\n"
    "32 31 0:29 / /sys/fs/cgroup/unified rw shared:10 - cgroup2 cgroup2 rw,nsdelegate\n"
    "35 31 0:32 {top} /sys/fs/cgroup/memory rw shared:13 - cgroup cgroup rw,memory\n"
    "36 31 0:33 {top} /sys/fs/cgroup/cpu,cpuacct rw shared:14 - cgroup cgroup rw,cpu,cpuacct\n"
)


def files_of_group(folder: str, **changed: str) -> dict[str, str]:
    """Return the files of a group of the second version, some *changed*; one whose content is "" is left out."""
    files = {
        "cgroup.events": "populated 1\nfrozen 0\n",
        "memory.max": f"{GIB}\n",
        "memory.current": f"{500 * MIB}\n",
        "memory.stat": MEMORY_STAT,
        "memory.events": EVENTS,
        "cpu.max": "150000 100000\n",
        "cpu.stat": CPU_STAT,
        "cpu.pressure": PRESSURE.format(1_500_000, 0),
        "memory.pressure": PRESSURE.format(2_500_000, 1_000_000),
        "io.pressure": PRESSURE.format(500_000, 250_000),
    } | {name.replace("_", ".", 1): content for name, content in changed.items()}
    return {f"{folder}/{name}": content for name, content in files.items() if content}


def sample(root: str) -> tuple[dict[str, float], dict[str, str]]:
    """Return the figures and what is unavailable of one sample under *root*."""
    sampler, sampled = ContainerSampler(_root=root), Sampled()
    sampler.sample(sampled)
    return sampled.values, dict(sampler.unavailable)


EXPECTED = {
    "container.memory.usage": 500 * MIB,
    "container.memory.working_set": 350 * MIB,
    "holter.cgroup.memory.limit": GIB,
    "holter.cgroup.memory.utilization": 350 / 1024,
    "holter.cgroup.oom_kills": 2,
    "container.cpu.time user": 6.0,
    "container.cpu.time system": 3.0,
    "holter.cgroup.cpu.limit": 1.5,
    "holter.cgroup.cpu.periods": 120,
    "holter.cgroup.cpu.throttled_periods": 30,
    "holter.cgroup.cpu.throttled_time": 4.5,
    "holter.cgroup.pressure cpu some": 1.5,
    "holter.cgroup.pressure cpu full": 0.0,
    "holter.cgroup.pressure memory some": 2.5,
    "holter.cgroup.pressure memory full": 1.0,
    "holter.cgroup.pressure io some": 0.5,
    "holter.cgroup.pressure io full": 0.25,
}


@pytest.mark.parametrize(
    ("membership", "top", "folder"),
    [
        # On the machine itself, as systemd does.
        ("0::/system.slice/app.service\n", "/", "sys/fs/cgroup/system.slice/app.service"),
        # In a container with a namespace of its own: its group is the root of what it sees.
        ("0::/\n", "/", "sys/fs/cgroup"),
        # Without one: the path is that outside, and only the group itself is mounted.
        ("0::/docker/0a1b\n", "/docker/0a1b", "sys/fs/cgroup"),
        ("0::/docker/0a1b/worker\n", "/docker/0a1b", "sys/fs/cgroup/worker"),
        # A process that was moved out of the namespace from which it looks.
        ("0::/../../elsewhere\n", "/", "sys/fs/cgroup"),
        # A path of the outside that is not there inside.
        ("0::/kubepods/burstable/pod1/0a1b\n", "/", "sys/fs/cgroup"),
    ],
)
def test_the_second_version_is_read_wherever_the_group_is_mounted(
    membership: str, top: str, folder: str, tmp_path: Path
) -> None:
    """All figures are there, in base units."""
    files = {"proc/self/cgroup": membership, "proc/self/mountinfo": UNIFIED.format(top=top)}
    assert (EXPECTED, {}) == sample(tree(tmp_path, files | files_of_group(folder)))


def test_the_least_limit_around_the_process_counts(tmp_path: Path) -> None:
    """A worker without limits in a pod with some: what the pod uses of them, not the worker."""
    pod, worker = "sys/fs/cgroup/pod", "sys/fs/cgroup/pod/worker"
    files = {"proc/self/cgroup": "0::/pod/worker\n", "proc/self/mountinfo": UNIFIED.format(top="/")}
    files |= files_of_group(pod)
    files |= files_of_group(
        worker,
        memory_max="max\n",
        memory_current=f"{MIB}\n",
        memory_events="low 0\nhigh 0\nmax 0\noom 0\noom_kill 1\n",
        cpu_max="max 100000\n",
        cpu_pressure=PRESSURE.format(10, 0),
    )
    figures, unavailable = sample(tree(tmp_path, files))
    assert {} == unavailable
    # CPU time and pressure are the worker's own.
    assert figures == EXPECTED | {"holter.cgroup.pressure cpu some": 0.00001}


@pytest.mark.parametrize("least", ["inner", "outer"])
def test_of_two_limits_the_least_is_told(least: str, tmp_path: Path) -> None:
    """With what that group uses of it, whichever of the two it is."""
    small = {"memory_max": f"{GIB}\n", "cpu_max": "150000 100000\n"}
    large = {
        "memory_max": f"{2 * GIB}\n",
        "memory_current": f"{GIB}\n",
        "cpu_max": "400000 100000\n",
        "cpu_stat": CPU_STAT.replace("nr_throttled 30", "nr_throttled 7"),
    }
    inner, outer = (small, large) if least == "inner" else (large, small)
    files = {"proc/self/cgroup": "0::/pod/worker\n", "proc/self/mountinfo": UNIFIED.format(top="/")}
    files |= files_of_group("sys/fs/cgroup/pod", **outer) | files_of_group("sys/fs/cgroup/pod/worker", **inner)
    assert (EXPECTED, {}) == sample(tree(tmp_path, files))


def test_a_group_without_limits_says_so(tmp_path: Path) -> None:
    """What it uses is told all the same; a controller that is not on leaves out its figures alone."""
    files = {"proc/self/cgroup": "0::/app\n", "proc/self/mountinfo": UNIFIED.format(top="/")}
    files |= files_of_group("sys/fs/cgroup/app", memory_max="max\n", cpu_max="")
    figures, unavailable = sample(tree(tmp_path, files))
    memory, cpu = (
        f"unavailable, because no control group limits the {what} of this process" for what in ("memory", "CPU time")
    )
    assert unavailable == {
        "holter.cgroup.memory.limit": memory,
        "holter.cgroup.memory.utilization": memory,
        "holter.cgroup.cpu.limit": cpu,
        "holter.cgroup.cpu.periods": cpu,
        "holter.cgroup.cpu.throttled_periods": cpu,
        "holter.cgroup.cpu.throttled_time": cpu,
    }
    assert figures == {name: value for name, value in EXPECTED.items() if name not in unavailable}


def test_a_kernel_without_pressure_has_all_else(tmp_path: Path) -> None:
    """As where it was built without, or it was switched off at boot: then the files are there, and cannot be read."""
    files = {"proc/self/cgroup": "0::/app\n", "proc/self/mountinfo": UNIFIED.format(top="/")}
    files |= files_of_group("sys/fs/cgroup/app", cpu_pressure="", memory_pressure="", io_pressure="")
    figures, unavailable = sample(tree(tmp_path, files))
    assert unavailable == {
        "holter.cgroup.pressure": "unavailable, because no control group of this process has memory.pressure"
    }
    assert figures == {name: value for name, value in EXPECTED.items() if "pressure" not in name}


@pytest.mark.parametrize(
    ("top", "memory", "cpu"),
    [
        ("/", "sys/fs/cgroup/memory/docker/0a1b", "sys/fs/cgroup/cpu,cpuacct/docker/0a1b"),
        ("/docker/0a1b", "sys/fs/cgroup/memory", "sys/fs/cgroup/cpu,cpuacct"),
    ],
)
def test_the_first_version_is_read_beside_the_second(top: str, memory: str, cpu: str, tmp_path: Path) -> None:
    """In a mixture the controllers are the first one's, the pressure the second one's; in a container too."""
    unified = "sys/fs/cgroup/unified/docker/0a1b"
    files = {
        "proc/self/cgroup": "5:cpu,cpuacct:/docker/0a1b\n4:memory:/docker/0a1b\n1:name=systemd:/x\n0::/docker/0a1b\n",
        "proc/self/mountinfo": HYBRID.format(top=top),
        f"{memory}/memory.limit_in_bytes": f"{GIB}\n",
        f"{memory}/memory.usage_in_bytes": f"{500 * MIB}\n",
        f"{memory}/memory.stat": f"cache 1\ninactive_file 7\ntotal_inactive_file {150 * MIB}\n",
        f"{memory}/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
        f"{cpu}/cpu.cfs_quota_us": "150000\n",
        f"{cpu}/cpu.cfs_period_us": "100000\n",
        f"{cpu}/cpu.stat": "nr_periods 120\nnr_throttled 30\nthrottled_time 4500000000\n",
        f"{cpu}/cpuacct.usage_user": "6000000000\n",
        f"{cpu}/cpuacct.usage_sys": "3000000000\n",
    }
    figures = {name: text for name, text in files_of_group(unified).items() if "pressure" in name or "events" in name}
    assert (EXPECTED, {}) == sample(tree(tmp_path, files | figures))


def test_the_root_of_the_machine_is_no_container(tmp_path: Path) -> None:
    """Its figures are the machine's, which `HostSampler` tells."""
    files = {"proc/self/cgroup": "4:memory:/\n0::/\n", "proc/self/mountinfo": HYBRID.format(top="/")}
    files |= {
        "sys/fs/cgroup/memory/release_agent": "\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{2**63 - 4096}\n",
    }
    files |= {
        "sys/fs/cgroup/unified/cpu.stat": CPU_STAT,
        "sys/fs/cgroup/unified/memory.pressure": PRESSURE.format(1, 1),
    }
    figures, unavailable = sample(tree(tmp_path, files))
    assert {} == figures
    assert {"unavailable, because this process is in the root of the control groups, which is the machine"} == {
        *unavailable.values()
    }


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({}, "unavailable, because of FileNotFoundError"),
        ({"proc/self/cgroup": "", "proc/self/mountinfo": ""}, "unavailable, because there are no control groups for"),
        (
            {"proc/self/cgroup": "garbage\n0::/\n", "proc/self/mountinfo": "x\ny - z\n"},
            "unavailable, because there are no",
        ),
    ],
)
def test_a_system_without_control_groups_says_so(files: dict[str, str], reason: str, tmp_path: Path) -> None:
    """Nothing is raised."""
    figures, unavailable = sample(tree(tmp_path, files))
    assert (figures, len(unavailable)) == ({}, 11)
    assert all(why.startswith(reason) for why in unavailable.values())


def test_files_that_say_something_else_harm_nothing(tmp_path: Path) -> None:
    """Each figure that cannot be made out is left out; the others are there."""
    files = {"proc/self/cgroup": "0::/app\n", "proc/self/mountinfo": UNIFIED.format(top="/")}
    files |= files_of_group(
        "sys/fs/cgroup/app", memory_stat="\xff\n", cpu_stat="nr_periods many\n", io_pressure="some\n"
    )
    figures, unavailable = sample(tree(tmp_path, files))
    assert {"holter.cgroup.oom_kills": 2} == figures
    assert len(unavailable) == 10


def test_a_process_that_is_moved_is_found(tmp_path: Path) -> None:
    """And a limit that is changed while it runs is told, by the same sampler."""
    files = {"proc/self/cgroup": "0::/one\n", "proc/self/mountinfo": UNIFIED.format(top="/")}
    files |= files_of_group("sys/fs/cgroup/one") | files_of_group("sys/fs/cgroup/two", memory_max=f"{2 * GIB}\n")
    sampler, limits = ContainerSampler(_root=tree(tmp_path, files)), []
    changes = [{}, {"sys/fs/cgroup/one/memory.max": f"{3 * GIB}\n"}, {"proc/self/cgroup": "0::/two\n"}]
    for change in changes:
        tree(tmp_path, change)
        sampled = Sampled()
        sampler.sample(sampled)
        limits.append(sampled["holter.cgroup.memory.limit"])
    assert [GIB, 3 * GIB, 2 * GIB] == limits


# -- real groups

LOOK = """
    import json, os, time
    from contracts.sampled import Sampled
    from holter.samplers.container import ContainerSampler

    sampler = ContainerSampler()

    def look():
        sampled = Sampled()
        sampler.sample(sampled)
        return sampled.values
"""


def test_a_real_memory_limit_is_told() -> None:
    """The limit to the byte, the 64 MiB that the process takes, and the share of the one in the other."""
    with group("memory", limit_in_bytes=200 * MIB) as folder:
        before, after = told_in(
            [folder],
            LOOK
            + """
    before = look()
    held = bytearray(os.urandom(1)) * (64 << 20)
    print(json.dumps([before, look()]))
    """,
        )
    assert after["holter.cgroup.memory.limit"] == 200 * MIB
    assert 63 * MIB <= after["container.memory.working_set"] - before["container.memory.working_set"] <= 72 * MIB
    assert after["container.memory.usage"] >= after["container.memory.working_set"]
    share = after["container.memory.working_set"] / (200 * MIB)
    assert share == pytest.approx(after["holter.cgroup.memory.utilization"])
    assert after["holter.cgroup.oom_kills"] == 0


def test_real_throttling_is_told() -> None:
    """A tenth of a CPU, burnt as fast as it goes: what the kernel's own files say, and most of the time lost."""
    with group("cpu", cfs_quota_us=10_000) as cpu:
        before, after, stat, seconds = told_in(
            [cpu],
            LOOK
            + f"""
    before, began = look(), time.monotonic()
    while time.monotonic() - began < 2.0:
        sum(range(1000))
    after, ended = look(), time.monotonic()
    print(json.dumps([before, after, open("{cpu}/cpu.stat").read(), ended - began]))
    """,
        )
    told = {name: int(value) for name, value in (line.split() for line in stat.splitlines())}
    grown = {name: after[name] - before[name] for name in after}
    assert after["holter.cgroup.cpu.limit"] == pytest.approx(0.1)
    assert after["holter.cgroup.cpu.periods"] == pytest.approx(told["nr_periods"], abs=2)
    assert after["holter.cgroup.cpu.throttled_periods"] == pytest.approx(told["nr_throttled"], abs=2)
    assert after["holter.cgroup.cpu.throttled_time"] == pytest.approx(told["throttled_time"] / 1e9, abs=0.2)
    assert grown["holter.cgroup.cpu.throttled_periods"] >= 0.3 * grown["holter.cgroup.cpu.periods"]
    assert grown["holter.cgroup.cpu.throttled_time"] >= 0.2 * seconds


def test_a_real_oom_kill_is_counted() -> None:
    """The kernel kills a child that takes more than there is; its parent in the same group sees it."""
    with group("memory", limit_in_bytes=150 * MIB) as folder:
        before, after, code = told_in(
            [folder],
            LOOK
            + """
    import subprocess, sys
    before = look()
    eater = "held = []\\nwhile True: held.append(b'x' * (8 << 20))"
    code = subprocess.run([sys.executable, "-c", eater]).returncode
    print(json.dumps([before, look(), code]))
    """,
        )
    assert code == -9
    assert (0, 1) == (before["holter.cgroup.oom_kills"], after["holter.cgroup.oom_kills"])


def test_real_pressure_of_a_group_is_the_kernels() -> None:
    """Two processes that want one CPU at the same time wait: in the group's file, and in the sampler's figure."""
    if not Path("/sys/fs/cgroup/unified/cpu.pressure").exists():
        pytest.skip("needs a kernel with pressure, and the second version mounted beside the first")
    with group("unified") as folder:
        figures, stat = told_in(
            [folder],
            LOOK
            + f"""
    import subprocess, sys
    burn = "import time; end = time.monotonic() + 1\\nwhile time.monotonic() < end: pass"
    os.sched_setaffinity(0, {{min(os.sched_getaffinity(0))}})
    for child in [subprocess.Popen([sys.executable, "-c", burn]) for _ in range(2)]:
        child.wait()
    print(json.dumps([look(), open("{folder}/cpu.pressure").read()]))
    """,
        )
    total = int(re.search(r"some .* total=(\d+)", stat).group(1)) / 1e6
    assert total > 0.3
    assert figures["holter.cgroup.pressure cpu some"] == pytest.approx(total, abs=0.2)


SERVICE = """
    import subprocess, sys, time
    import holter

    @holter.watch
    def predict():
        time.sleep(0.005)

    samplers = [holter.ProcessSampler(0.1), holter.ContainerSampler(0.1)]
    monitor = holter.start("container", interval_seconds=0.1, samplers=samplers)
    for _ in range(200):
        predict()
"""


def post_mortem(folder: Path) -> dict[str, Any]:
    """Return what `holter postmortem` says of the last death in *folder*, with its words."""
    told = []
    for option in ([], ["--json"]):
        command = [sys.executable, "-W", "error", "-m", "holter", "postmortem", *option]
        done = subprocess.run(
            command, env={**os.environ, "HOLTER_DIR": str(folder)}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        told.append(done.stdout)
    return {**json.loads(told[1]), "words": " ".join(told[0].split())}


def test_a_real_oom_kill_of_a_service_is_told_after_its_death(tmp_path: Path) -> None:
    """A service that grows until the kernel kills it: the limit is the first thing that `holter postmortem` says."""
    tmp_path.chmod(0o700)
    with group("memory", limit_in_bytes=200 * MIB) as folder:
        done = run_in(
            [folder],
            SERVICE
            + """
    held = []
    while True:
        held.append(b"x" * (1 << 20))
        predict()
    """,
            HOLTER_DIR=str(tmp_path),
        )
    assert done.returncode == -9, done.stderr
    told = post_mortem(tmp_path)
    assert (told["cause"], told["memory_limit_bytes"]) == ("memory limit", 200 * MIB)
    assert re.match(r"Memory limit: [\d.]+ (MiB|%) of 200 MiB used, having grown from ", told["words"])
    assert told["container"]["memory_limit"] == 200 * MIB


def test_children_that_take_the_memory_are_told_after_the_death(tmp_path: Path) -> None:
    """The process itself was small: the group's figures tell why it was killed, and that others were before it."""
    tmp_path.chmod(0o700)
    with group("memory", limit_in_bytes=250 * MIB) as folder:
        done = run_in(
            [folder],
            SERVICE
            + """
    eater = "held = []\\nwhile True: held.append(b'x' * (8 << 20))"
    subprocess.run([sys.executable, "-c", eater])
    script = (
        "import sys; f = sys.argv[1] + '/memory.{}_in_bytes'\\n"
        "limit, used = (int(open(f.format(one)).read()) for one in ('limit', 'usage'))\\n"
        "held = b'x' * (limit - used - (6 << 20)); print('full', flush=True); sys.stdin.read()"
    )
    child = subprocess.Popen([sys.executable, "-c", script, "FOLDER"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    child.stdout.readline()
    seen = 0
    while seen < 5:
        predict()
        found = monitor.snapshot().find("holter.cgroup.memory.utilization")
        seen += found.total.last >= 0.95
    monitor.flush()
    child.kill()
    import os
    os.kill(os.getpid(), 9)
    """.replace("FOLDER", str(folder)),
            HOLTER_DIR=str(tmp_path),
        )
    assert done.returncode == -9, done.stderr
    told = post_mortem(tmp_path)
    assert re.match(
        r"Memory limit: its control group had used 9\d.* % of 250 MiB, \d\d.* MiB of that by", told["words"]
    )
    assert "1 process killed by the kernel for want of memory" in told["words"]
    assert (told["cause"], told["container"]["oom_kills"]) == ("memory limit", 1)


def test_throttling_is_told_after_the_death(tmp_path: Path) -> None:
    """That a service stood still for its quota is among the facts of its death."""
    tmp_path.chmod(0o700)
    with group("cpu", cfs_quota_us=20_000) as folder:
        done = run_in(
            [folder],
            SERVICE
            + """
    began = time.monotonic()
    while time.monotonic() - began < 4:
        sum(range(1000))
    import os
    os.kill(os.getpid(), 9)
    """,
            HOLTER_DIR=str(tmp_path),
        )
    assert done.returncode == -9, done.stderr
    told = post_mortem(tmp_path)
    assert re.search(r"its quota of 0\.2 CPUs was used up in [\d.]+ % of the periods", told["words"])
    assert told["container"]["throttled_share"] > 0.1


def test_it_is_a_sampler_with_an_interval() -> None:
    """It satisfies the Protocol and refuses an interval that cannot work."""
    assert isinstance(ContainerSampler(), Sampler)
    assert ContainerSampler.whole_host
    assert repr(ContainerSampler(3)) == "ContainerSampler(interval_seconds=3.0)"
    with pytest.raises(ConfigurationError, match="interval_seconds must be"):
        ContainerSampler(0)
