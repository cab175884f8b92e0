"""The figures of the host, against psutil and /proc, and without one after the other."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

import holter
from contracts.sampled import Failing, Sampled, raising
from controlgroups import tree
from holter.errors import ConfigurationError
from holter.model import Sampler
from holter.samplers.host import HostSampler
from holter.sampling import SampleRecorder

MIB = 2**20
SYSFS = Path("/sys")
READS = {
    "cpu_times": {"system.cpu.utilization"},
    "virtual_memory": {"system.memory.usage", "system.memory.utilization", "system.memory.limit"},
    "disk_io_counters": {"system.disk.io", "system.disk.operations"},
    "net_io_counters": {"system.network.io"},
    "getloadavg": {"holter.host.load_average"},
}
EVERYTHING = set().union(*READS.values())


class System:
    """A host whose figures are as given."""

    def __init__(self, **figures: Any) -> None:
        self.figures = figures

    def __getattr__(self, name: str) -> Any:
        """Return a function that answers with the figures of that name."""
        if name not in self.figures:
            raise AttributeError(name)
        return lambda *_, **__: self.figures[name]


def sample(sampler: HostSampler) -> Sampled:
    """Return one sample."""
    sampled = Sampled()
    sampler.sample(sampled)
    return sampled


def cpu(**seconds: float) -> SimpleNamespace:
    """Return CPU times as Linux gives them."""
    return SimpleNamespace(
        **{**dict.fromkeys(("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"), 0.0), **seconds}
    )


def test_cpu_shares_add_up_and_follow_the_machine() -> None:
    """While all CPUs are burnt, idle falls to what is left."""
    sampler = HostSampler()
    sample(sampler)
    burn = "import os, time; end = time.monotonic() + 0.5\nwhile time.monotonic() < end: pass"
    began = psutil.cpu_times()
    burners = [subprocess.Popen([sys.executable, "-c", burn]) for _ in range(2 * os.cpu_count())]
    for burner in burners:
        burner.wait()
    shares, ended = sample(sampler), psutil.cpu_times()
    modes = {name.split()[1]: value for name, value in shares.values.items() if name.startswith("system.cpu")}
    assert sum(modes.values()) == pytest.approx(1)
    spent = {mode: getattr(ended, mode) - getattr(began, mode) for mode in ended._fields if "guest" not in mode}
    total = sum(spent.values())
    # Where the tests run at a lower priority, what they burn is nice.
    assert modes["user"] == pytest.approx((spent["user"] + spent["nice"]) / total, abs=0.1)
    assert modes["idle"] == pytest.approx(spent["idle"] / total, abs=0.1)


def test_cpu_time_is_sorted_into_five_modes() -> None:
    """Nice is the user's, interrupts the system's; a counter that runs backwards counts nothing."""
    host = System(cpu_times=cpu(idle=10.0, iowait=5.0))
    sampler = HostSampler(_open=lambda: host)
    sample(sampler)
    host.figures["cpu_times"] = cpu(user=1, nice=1, system=1, irq=0.5, softirq=0.5, idle=13, iowait=4, steal=1)
    assert sample(sampler).values == {
        "system.cpu.utilization user": 0.25,
        "system.cpu.utilization system": 0.25,
        "system.cpu.utilization iowait": 0.0,
        "system.cpu.utilization steal": 0.125,
        "system.cpu.utilization idle": 0.375,
    }


def test_cpu_modes_that_a_platform_lacks_are_left_out() -> None:
    """On macOS there is no iowait."""
    host = System(cpu_times=SimpleNamespace(user=0.0, nice=0.0, system=0.0, idle=0.0))
    sampler = HostSampler(_open=lambda: host)
    sample(sampler)
    host.figures["cpu_times"] = SimpleNamespace(user=1.0, nice=0.0, system=0.0, idle=3.0)
    assert set(sample(sampler).values) == {f"system.cpu.utilization {mode}" for mode in ("user", "system", "idle")}


def test_memory_is_what_the_kernel_says() -> None:
    """The limit exactly; used is what is not available, within what others take meanwhile."""
    lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    total, available = (int(lines[name].split()[0]) * 1024 for name in ("MemTotal", "MemAvailable"))
    sampled = sample(HostSampler())
    assert sampled["system.memory.limit"] == total
    assert sampled["system.memory.usage used"] == pytest.approx(total - available, abs=200 * MIB)
    share = sampled["system.memory.usage used"] / sampled["system.memory.limit"]
    assert sampled["system.memory.utilization used"] == pytest.approx(share)


@pytest.mark.skipif(not list(SYSFS.glob("block/*/device")), reason="no physical disk is visible here")
def test_disks_are_counted_once(tmp_path: Path) -> None:
    """The sum over physical disks: no partition, loop device or volume counts a byte again."""
    physical = [path.parent.name for path in SYSFS.glob("block/*/device")]
    sampler = HostSampler()
    before = sample(sampler)
    with (tmp_path / "file").open("wb") as file:
        file.write(os.urandom(4 * MIB))
        file.flush()
        os.fsync(file.fileno())
    counters, after = psutil.disk_io_counters(perdisk=True, nowrap=False), sample(sampler)
    for direction in ("read", "write"):
        total = sum(getattr(counters[name], f"{direction}_bytes") for name in physical)
        operations = sum(getattr(counters[name], f"{direction}_count") for name in physical)
        assert total <= after[f"system.disk.io {direction}"] <= total + 64 * MIB
        assert operations <= after[f"system.disk.operations {direction}"] <= operations + 5000
    assert after["system.disk.io write"] >= before["system.disk.io write"]


def test_only_physical_disks_count(tmp_path: Path) -> None:
    """A byte to a volume on a partition passes three devices and counts once; elsewhere psutil lists disks only."""
    (tmp_path / "linux/block/sda/device").mkdir(parents=True)
    fields = ("read_bytes", "write_bytes", "read_count", "write_count")
    disks = {
        name: SimpleNamespace(**{field: at * scale for scale, field in enumerate(fields, 1)})
        for at, name in enumerate(("sda", "sda1", "dm-0", "loop0"), 1)
    }
    host = System(disk_io_counters=disks)
    linux, elsewhere = (HostSampler(_open=lambda: host, _sysfs=str(tmp_path / root)) for root in ("linux", "none"))
    names = [f"system.disk.{what} {direction}" for what in ("io", "operations") for direction in ("read", "write")]
    assert [sample(linux)[name] for name in names] == [1, 2, 3, 4]
    assert [sample(elsewhere)[name] for name in names] == [10, 20, 30, 40]


def test_used_memory_is_what_is_not_available() -> None:
    """Caches that can be dropped are not used, whatever else psutil calls so."""
    sampled = sample(
        HostSampler(_open=lambda: System(virtual_memory=SimpleNamespace(total=100, available=30, used=55)))
    )
    assert (sampled["system.memory.usage used"], sampled["system.memory.utilization used"]) == (70, 0.7)


def test_traffic_inside_the_machine_is_not_network_traffic() -> None:
    """What goes over the loopback interface does not count."""
    sampler = HostSampler()
    before = sample(sampler)
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        accepted = server.accept()[0]
        with accepted:
            for _ in range(64):
                client.sendall(bytes(MIB))
                left = MIB
                while left:
                    left -= len(accepted.recv(left))
    after = sample(sampler)
    for direction in ("receive", "transmit"):
        name = f"system.network.io {direction}"
        if name in before.values:
            assert 0 <= after[name] - before[name] < 64 * MIB


def test_physical_interfaces_go_before_virtual_ones(tmp_path: Path) -> None:
    """A byte to a container passes three interfaces of its host and counts once; inside, its one interface counts."""
    (tmp_path / "class/net/eth0/device").mkdir(parents=True)
    traffic = {
        name: SimpleNamespace(bytes_recv=at, bytes_sent=10 * at)
        for at, name in enumerate(("lo", "eth0", "docker0", "veth1"), 1)
    }
    host = System(net_io_counters=traffic)
    outside, inside = (HostSampler(_open=lambda: host, _sysfs=str(tmp_path / root)) for root in ("", "none"))
    assert sample(outside).values == {"system.network.io receive": 2, "system.network.io transmit": 20}
    assert sample(inside).values == {"system.network.io receive": 9, "system.network.io transmit": 90}


def test_an_interface_that_vanishes_makes_no_spike(tmp_path: Path) -> None:
    """One that has carried terabytes goes and comes back: what is counted is what the others carried meanwhile."""
    host, told = System(), []
    with holter.Monitor("host", samplers=[]) as monitor:
        record, sampler = SampleRecorder(monitor._scope), HostSampler(_open=lambda: host, _sysfs=str(tmp_path))
        for big, small in ((10**13, 100), (None, 150), (None, 160), (10**13 + 10**9, 200), (10**13 + 10**9 + 5, 200)):
            cards = {"eth0": small} | ({} if big is None else {"eth1": big})
            host.figures["net_io_counters"] = {
                name: SimpleNamespace(bytes_recv=value, bytes_sent=0) for name, value in cards.items()
            }
            sampler.sample(record)
            found = monitor.snapshot().find("system.network.io", {"network.io.direction": "receive"})
            told.append(found.total.sum)
    assert [0, 50, 60, 100, 105] == told


def test_a_disk_whose_counters_fall_makes_no_spike(tmp_path: Path) -> None:
    """A driver that was loaded again begins at nothing, and so counts from there."""
    (tmp_path / "block/sda/device").mkdir(parents=True)
    host, told = System(), []
    sampler = HostSampler(_open=lambda: host, _sysfs=str(tmp_path))
    for value in (2**40, 2**40 + 512, 0, 4096):
        fields = dict.fromkeys(("read_bytes", "write_bytes", "read_count", "write_count"), value)
        host.figures["disk_io_counters"] = {"sda": SimpleNamespace(**fields)}
        told.append(sample(sampler)["system.disk.io read"] - 2**40)
    assert [0, 512, 512, 4608] == told


LINUX = {
    "stat": {"system.cpu.utilization"},
    "meminfo": READS["virtual_memory"],
    "diskstats": READS["disk_io_counters"],
    "net/dev": READS["net_io_counters"],
    "loadavg": READS["getloadavg"],
    "pressure/cpu": {"holter.host.pressure"},
}


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
@pytest.mark.parametrize("content", [None, "", "nonsense\n1 2 3\nx: y\n"], ids=["gone", "empty", "nonsense"])
@pytest.mark.parametrize("broken", LINUX)
def test_a_file_that_says_nothing_stops_no_other(broken: str, content: str | None, tmp_path: Path) -> None:
    """Whatever is in one file of /proc, the figures of the others are there."""
    files = {name: Path("/proc", name).read_text() for name in LINUX if not name.startswith("pressure")}
    stalled = "some avg10=0.00 avg60=0.00 avg300=0.00 total=1\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"
    files |= {f"pressure/{resource}": stalled for resource in ("cpu", "memory", "io")}
    if content is None:
        del files[broken]
    else:
        files[broken] = content
    sampler = HostSampler(_proc=tree(tmp_path, files), _sysfs=str(tmp_path))
    sample(sampler)
    told = sample(sampler)
    # The CPUs' time stands still in a file that is not the kernel's.
    everything = set().union(*LINUX.values()) - LINUX["stat"]
    assert set(told.metrics) >= everything - LINUX[broken]
    if (broken, content) not in (("diskstats", ""), ("net/dev", "")):
        assert set(sampler.unavailable) == LINUX[broken]


@pytest.mark.skipif(not Path("/proc/pressure/cpu").exists(), reason="this kernel does not count pressure")
def test_pressure_is_what_the_kernel_counts() -> None:
    """While more want to run than there are CPUs, some wait."""
    sampler = HostSampler()
    before = sample(sampler)
    burn = "import time; end = time.monotonic() + 0.5\nwhile time.monotonic() < end: pass"
    for burner in [subprocess.Popen([sys.executable, "-c", burn]) for _ in range(2 * os.cpu_count() + 1)]:
        burner.wait()
    after, file = sample(sampler), Path("/proc/pressure/cpu").read_text()
    total = int(file.splitlines()[0].rpartition("=")[2]) / 1e6
    assert after["holter.host.pressure cpu some"] == pytest.approx(total, abs=0.5)
    assert after["holter.host.pressure cpu some"] - before["holter.host.pressure cpu some"] > 0.1


def test_devices_that_come_and_go_leave_nothing_behind(tmp_path: Path) -> None:
    """What is known of devices stays bounded."""
    host = System(net_io_counters={})
    sampler = HostSampler(_open=lambda: host, _sysfs=str(tmp_path))
    for number in range(3000):
        host.figures["net_io_counters"] = {f"veth{number}": SimpleNamespace(bytes_recv=1, bytes_sent=1)}
        sample(sampler)
    assert len(sampler._host.physical) <= 1000


def test_load_is_that_of_the_last_minute() -> None:
    """As the kernel has it."""
    assert sample(HostSampler())["holter.host.load_average"] == pytest.approx(os.getloadavg()[0], abs=1.0)


@pytest.mark.parametrize(
    "error",
    [OSError("no /proc"), PermissionError("no"), NotImplementedError(), RuntimeError("disk0"), KeyError("MemTotal:")],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("read", READS)
def test_a_figure_that_fails_stops_no_other(read: str, error: Exception) -> None:
    """Whatever fails, the others are there, and the reason is kept for whoever asks."""
    host = Failing(psutil)
    sampler = HostSampler(_open=lambda: host)
    sample(sampler)
    always = set(sampler.unavailable)
    host.broken[read] = raising(error)
    assert set(until_cpu_time_passes(sampler).metrics) == EVERYTHING - READS[read] - always
    assert set(sampler.unavailable) == READS[read] | always
    for name in READS[read]:
        assert sampler.unavailable[name].startswith(f"unavailable, because of {type(error).__name__}")
    host.broken.clear()
    assert set(until_cpu_time_passes(sampler).metrics) == EVERYTHING - always
    assert set(sampler.unavailable) == always


def until_cpu_time_passes(sampler: HostSampler) -> Sampled:
    """Return what some samples gave together: the kernel's clock ticks every 10 ms."""
    sampled, began = Sampled(), psutil.cpu_times()
    sampler.sample(sampled)
    while sum(psutil.cpu_times()) - sum(began) < 0.03:
        sum(range(1000))
    sampler.sample(sampled)
    return sampled


@pytest.mark.parametrize("read", READS)
def test_a_figure_that_the_platform_lacks_stops_no_other(read: str) -> None:
    """What a platform cannot have, psutil leaves out."""
    host = Failing(psutil)
    host.missing.add(read)
    sampler = HostSampler(_open=lambda: host)
    sample(sampler)
    assert READS[read] <= set(sampler.unavailable)
    assert sampler.unavailable[min(READS[read])] == f"unavailable, because of AttributeError: {read}"


@pytest.mark.parametrize(
    ("read", "nothing"), [("disk_io_counters", None), ("disk_io_counters", {}), ("net_io_counters", {})]
)
def test_a_host_without_devices_says_so(read: str, nothing: Any) -> None:
    """Where there is no disk psutil gives None, or nothing."""
    host = Failing(psutil)
    host.broken[read] = lambda **_: nothing
    sampler = HostSampler(_open=lambda: host)
    sample(sampler)
    for name in READS[read]:
        assert sampler.unavailable[name] == "unavailable, because this system gives no value for it"


def test_without_psutil_all_is_unavailable() -> None:
    """Nothing is raised."""
    sampler = HostSampler(_open=raising(ImportError("No module named 'psutil'")))
    assert sample(sampler).values == {}
    assert dict(sampler.unavailable) == dict.fromkeys(
        EVERYTHING, "unavailable, because of ImportError: No module named 'psutil'"
    )


def test_names_units_and_kinds_are_the_conventions() -> None:
    """OpenTelemetry's; levels are gauges, so that their extremes are known."""
    sampler = HostSampler()
    sample(sampler)
    metrics = until_cpu_time_passes(sampler).metrics
    assert {name: kind for name, kind in metrics.items() if "disk" not in name and "network" not in name} == {
        "system.cpu.utilization": ("1", "gauge"),
        "system.memory.usage": ("By", "gauge"),
        "system.memory.utilization": ("1", "gauge"),
        "system.memory.limit": ("By", "gauge"),
        "holter.host.load_average": ("{thread}", "gauge"),
        **({"holter.host.pressure": ("s", "counter")} if Path("/proc/pressure").exists() else {}),
    }


def test_it_is_a_sampler_with_an_interval() -> None:
    """It satisfies the Protocol and refuses an interval that cannot work."""
    assert isinstance(HostSampler(), Sampler)
    assert repr(HostSampler(3)) == "HostSampler(interval_seconds=3.0)"
    with pytest.raises(ConfigurationError, match="interval_seconds must be"):
        HostSampler(0)
