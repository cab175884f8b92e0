"""What Linux says of the machine, against psutil, and in files as other kernels write them."""

from __future__ import annotations

import sys
from pathlib import Path

import psutil
import pytest

from controlgroups import tree
from holter.linuxhost import LinuxHost

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")

MIB = 2**20


def test_it_says_what_psutil_says() -> None:
    """CPU time within some ticks of each CPU, memory within what others take meanwhile, counters to what they grew."""
    host = LinuxHost()
    times, cpu = psutil.cpu_times(), host.cpu_seconds()
    assert cpu["user"] == pytest.approx(times.user + times.nice, abs=0.5)
    assert cpu["system"] == pytest.approx(times.system + times.irq + times.softirq, abs=0.5)
    for mode in ("iowait", "steal", "idle"):
        assert cpu[mode] == pytest.approx(getattr(times, mode), abs=0.5)
    memory, (total, available) = psutil.virtual_memory(), host.memory()
    assert total == memory.total
    assert available == pytest.approx(memory.available, abs=200 * MIB)
    before, disks, after = (
        psutil.disk_io_counters(perdisk=True, nowrap=False),
        host.disks(),
        psutil.disk_io_counters(perdisk=True, nowrap=False),
    )
    assert set(before) <= set(disks)
    fields = ("read_bytes", "write_bytes", "read_count", "write_count")
    for name in before:
        for field, value in zip(fields, disks[name], strict=True):
            assert getattr(before[name], field) <= value <= getattr(after[name], field)
    before, cards, after = (
        psutil.net_io_counters(pernic=True, nowrap=False),
        host.cards(),
        psutil.net_io_counters(pernic=True, nowrap=False),
    )
    assert set(before) == set(cards)
    for name, (received, sent) in cards.items():
        assert before[name].bytes_recv <= received <= after[name].bytes_recv
        assert before[name].bytes_sent <= sent <= after[name].bytes_sent
    assert host.load() == pytest.approx(psutil.getloadavg()[0], abs=1.0)


def test_old_and_new_kernels_are_read(tmp_path: Path) -> None:
    """With fewer fields than today's, and with more; a colon in the name of an interface."""
    files = {
        "stat": "cpu  100 50 30 800 20 4 6\ncpu0 1 1 1 1 1 1 1\nintr 5\n",
        "meminfo": "MemTotal:  1000 kB\nMemFree:  10 kB\nMemAvailable:  400 kB\n",
        "diskstats": "   8       0 sda 10 0 16 0 20 0 32 0 0 0 0 0 0 0 0 0 0\n 253 0 dm-0 1 0 2 0 3 0 4 0 0 0 0\n",
        "net/dev": "Inter-|  Receive\n face |bytes\n  eth0:123 0 0 0 0 0 0 0 45 0 0\neth0:1: 7 0 0 0 0 0 0 0 8 0 0\n",
        "loadavg": "1.50 0.2 0.1 1/2 3\n",
        "pressure/cpu": "some avg10=0.00 avg60=0.00 avg300=0.00 total=2500000\n",
        "pressure/memory": "some avg10=0 avg60=0 avg300=0 total=1\nfull avg10=0 avg60=0 avg300=0 total=2\n",
        "pressure/io": "some avg10=0 avg60=0 avg300=0 total=3\nfull avg10=0 avg60=0 avg300=0 total=4\n",
    }
    host = LinuxHost(tree(tmp_path, files))
    assert host.cpu_seconds() == pytest.approx({"user": 1.5, "system": 0.4, "iowait": 0.2, "steal": 0.0, "idle": 8.0})
    assert host.memory() == (1_024_000, 409_600)
    assert host.disks() == {"sda": (8192, 16_384, 10, 20), "dm-0": (1024, 2048, 1, 3)}
    assert host.cards() == {"eth0": (123, 45), "eth0:1": (7, 8)}
    assert host.load() == 1.5
    assert host.pressure()["cpu", "some"] == 2.5
    assert set(host.pressure().values()) == {2.5, 1e-6, 2e-6, 3e-6, 4e-6}
