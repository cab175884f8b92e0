"""NVIDIA's GPUs through the real binding and a library that has none, in this process."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any

import pytest

from fakegpus import FUNCTION_NOT_FOUND, LOST, NOT_SUPPORTED, UNKNOWN, UUIDS, FakeGPUs, fake_gpus, load, needs_gcc
from holter import names
from holter.gpufigures import FIGURES, METRICS, GPUReading, GPUsUnavailable
from holter.nvml import NVML
from holter.nvmlcalls import CALLS, PART_CALLS

pynvml = pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed; install it with: pip install '.[gpu]'")
pytestmark = needs_gcc
FUNCTIONS = sorted({call.function for call in CALLS})
GIB = 1 << 30
# What the C library has by another name than the binding.
IN_C = {name: f"{name}_v3" for name in FUNCTIONS if name.endswith("RunningProcesses")} | {
    "nvmlDeviceGetMemoryInfo": "nvmlDeviceGetMemoryInfo_v2"
}


@pytest.fixture
def fake() -> Iterator[FakeGPUs]:
    """Two GPUs."""
    load()
    with fake_gpus(2) as gpus:
        yield gpus


def opened(**options: Any) -> NVML:
    gpus = NVML(os.getpid(), **{"shares_pids": True, "has_events": True, **options})
    gpus.open()
    return gpus


def read(gpus: NVML) -> list[GPUReading]:
    return gpus.read(0)["gpus"]


def metrics(gpu: GPUReading) -> set[str]:
    return {FIGURES[key].name for key in gpu["values"]}


def test_everything_is_read(fake: FakeGPUs) -> None:
    """All figures that there are, in base units, by UUID and by CUDA's number."""
    one, other = read(opened())
    assert (UUIDS[0], "GPU 0", UUIDS[1], "GPU 1") == (one["id"], one["name"], other["id"], other["name"])
    always = {key for key in FIGURES if not key.startswith("throttle.")}
    assert always <= set(one["values"]) <= set(FIGURES)
    assert {*METRICS} - {names.GPU_XID} == metrics(one)
    assert {} == one["missing"]
    assert {
        "utilization.general": 0.51,
        "utilization.encoder": 0.07,
        "utilization.decoder": 0.08,
        "memory_activity": 0.21,
        "memory.usage": 11 * GIB,
        "memory.limit": 80 * GIB,
        "memory.utilization": 11 / 80,
        "power": 301.0,
        "power_limit": 700.0,
        "temperature.gpu": 61,
        "temperature.memory": 71,
        "clock.sm": 1.1e9,
        "clock.video": 1.3e9,
        "throttle.sw_power_cap": 1.0,
        "throttle.hw_thermal": 0.0,
        "throttle_time.power": 1.0,
        "throttle_time.base_clocks": 8.0,
        "io.transmit": 5e9 + 197,
        "io.receive": 5e9 + 198,
        "nvlink.transmit": 1138 * 1024,
        "nvlink.receive": 1139 * 1024,
        "pcie_replays": 5,
        "pcie_generation": 5,
        "pcie_width": 16,
        "remapped_rows.uncorrected": 2,
        "remap_pending": 1.0,
    }.items() <= {key: pytest.approx(value) for key, value in other["values"].items()}.items()
    assert one["info"] == {
        "hw.vendor": "NVIDIA",
        "hw.model": "Fake GPU",
        "hw.serial_number": "serial-0",
        "hw.firmware_version": "96.00",
        "hw.driver_version": "999.00",
    }


@pytest.mark.parametrize("code", [NOT_SUPPORTED, FUNCTION_NOT_FOUND, UNKNOWN])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_call_that_fails_stops_no_other(function: str, code: int, fake: FakeGPUs) -> None:
    """Its metrics say why they are not there, all others are, and another GPU has all of them."""
    everything = metrics(read(opened())[0])
    in_c = IN_C.get(function, function)
    fake.says(**{f"fail__{in_c}__0": code})
    if in_c != function:
        fake.says(**{f"fail__{function}__0": code, f"fail__{function}_v2__0": code})
    for other in ("nvmlDeviceGetCurrentClocksThrottleReasons", "nvmlDeviceGetTemperatureV"):
        fake.says(**{f"fail__{other}__0": code})
    gpus = opened()
    mine = {key for call in CALLS if call.function == function for key in call.keys}
    # Violations have a call of their own beside the field.
    left = {key for key in mine if key.startswith("throttle_time") and function == "nvmlDeviceGetFieldValues"}
    for _ in range(2):
        one, other = read(gpus)
        expected = {FIGURES[key].name for key in set(FIGURES) - (mine - left)} & everything
        if function == "nvmlDeviceGetFieldValues":
            expected -= {names.GPU_THROTTLE_TIME}
        assert metrics(one) == expected
        assert metrics(other) == everything
        for metric in everything - expected:
            assert re.match(r"unavailable, because nvml\w+ says: \w", one["missing"][metric])


def test_what_is_not_there_is_asked_for_again_now_and_then(fake: FakeGPUs) -> None:
    """Not each time; an administrator may turn on what was off."""
    fake.says(fail__nvmlDeviceGetPowerUsage=NOT_SUPPORTED)
    gpus = opened()
    assert "power" not in read(gpus)[0]["values"]
    fake.says(fail__nvmlDeviceGetPowerUsage=None)
    readings = [("power" in read(gpus)[0]["values"]) for _ in range(60)]
    assert [False, True] == [readings[0], readings[-1]]


def test_what_fails_once_is_read_the_next_time(fake: FakeGPUs) -> None:
    """An unknown error need not last."""
    gpus = opened()
    fake.says(fail__nvmlDeviceGetPowerUsage=UNKNOWN)
    assert "Unknown Error" in read(gpus)[0]["missing"][names.HARDWARE_POWER]
    fake.says(fail__nvmlDeviceGetPowerUsage=None)
    assert read(gpus)[0]["values"]["power"] == 300.0


def test_a_field_that_fails_stops_no_other(fake: FakeGPUs) -> None:
    """Each has a return code of its own; violations are asked for by their own call then."""
    fake.says(fail__field__82=NOT_SUPPORTED, fail__field__74=NOT_SUPPORTED, fail__field__198=NOT_SUPPORTED)
    one = read(opened())[0]
    assert "temperature.memory" not in one["values"]
    assert "temperature.gpu" in one["values"]
    assert 100.0 == one["values"]["throttle_time.power"]
    assert {"io.transmit"} == {key for key in one["values"] if key.startswith("io.")}


def test_older_drivers_say_the_same_by_older_calls(fake: FakeGPUs) -> None:
    """Memory by its first version, reasons by their first name, processes by their second version."""
    fake.says(
        fail__nvmlDeviceGetMemoryInfo_v2=FUNCTION_NOT_FOUND,
        fail__nvmlDeviceGetCurrentClocksEventReasons=FUNCTION_NOT_FOUND,
        fail__nvmlDeviceGetComputeRunningProcesses_v3=FUNCTION_NOT_FOUND,
        process__0=f"{os.getpid()}:1000",
    )
    values = read(opened())[0]["values"]
    assert (11 * GIB, 1.0) == (values["memory.usage"], values["throttle.hw_slowdown"])
    # The first bindings with this module's name have no other version.
    if hasattr(pynvml, "nvmlDeviceGetComputeRunningProcesses_v2"):
        assert values["process.memory.own"] == 1000


def test_a_gpu_that_is_lost_stops_no_other(fake: FakeGPUs) -> None:
    """All of its metrics say so, with one call for all; when it is back it is read again."""
    made: list[int] = []
    gpus = opened(progress=made.append)
    fake.says(lost__0=1)
    made.clear()
    one, other = read(gpus)
    assert ({}, set(METRICS) - {names.GPU_XID}) == (one["values"], metrics(other))
    assert {"unavailable, because nvmlDeviceGetUtilizationRates says: GPU is lost"} == set(one["missing"].values())
    assert made == [1, *range(1, len(CALLS) + 1), 0]
    for _ in range(60):
        one, _ = read(gpus)
    assert (UUIDS[0], {}) == (one["id"], one["values"])
    assert "nvmlDeviceGetHandleByIndex says: GPU is lost" in one["missing"][names.HARDWARE_POWER]
    fake.says(lost__0=None)
    for _ in range(60):
        one, _ = read(gpus)
    assert "power" in one["values"]


def test_a_gpu_that_is_lost_from_the_beginning_is_told(fake: FakeGPUs) -> None:
    """Without the id, which nobody can ask it for; the others are read."""
    fake.says(lost__1=LOST)
    one, other = read(opened())
    assert ("index-1", {}, 300.0) == (other["id"], other["values"], one["values"]["power"])


def test_parts_of_a_gpu_are_read(fake: FakeGPUs) -> None:
    """What the driver tells of them, which is memory and processes; of the rest it is said why."""
    fake.says(parts__1=2, process__1=f"{os.getpid()}:5")
    names_of = [(gpu["name"], gpu.get("parent"), gpu["values"].get("memory.usage")) for gpu in read(opened())]
    assert names_of == [
        ("GPU 0", None, 10 * GIB),
        ("GPU 1", None, 11 * GIB),
        ("GPU 1 part 0", UUIDS[1], 1 * GIB),
        ("GPU 1 part 1", UUIDS[1], 2 * GIB),
    ]
    (part,) = read(opened(devices="MIG-12000000-0000-0000-0000-000000000000"))
    assert {key for call in PART_CALLS for key in call.keys} == set(part["values"])
    assert ("GPU 0 part 0", 5) == (part["name"], part["values"]["process.memory.own"])
    assert set(METRICS) == metrics(part) | set(part["missing"])
    assert "of the whole GPU only" in part["missing"][names.HARDWARE_POWER]


@pytest.mark.parametrize(
    ("devices", "expected"), [(None, UUIDS[:2]), ("1,0", [UUIDS[1], UUIDS[0]]), ("", []), (UUIDS[1], [UUIDS[1]])]
)
def test_only_what_the_program_may_use_is_read(devices: str | None, expected: list[str], fake: FakeGPUs) -> None:
    """In its order, counted as CUDA counts."""
    found = read(opened(devices=devices))
    assert expected == [gpu["id"] for gpu in found]
    assert [f"GPU {number}" for number in range(len(expected))] == [gpu["name"] for gpu in found]


def test_numbers_go_by_speed_unless_cuda_is_told_otherwise(fake: FakeGPUs) -> None:
    """The older model is the last one."""
    fake.says(model__0=7)
    assert [UUIDS[1]] == [gpu["id"] for gpu in read(opened(devices="0"))]
    assert [UUIDS[0]] == [gpu["id"] for gpu in read(opened(devices="0", device_order="PCI_BUS_ID"))]


def test_processes_are_told_apart(fake: FakeGPUs) -> None:
    """The test's own, its children, strangers; a process in two lists counts once, one without a figure not at all."""
    own, other = os.getpid(), os.getppid()
    fake.says(process__0=f"{own}:100,{other}:7,1", graphics__0=f"{own}:100", busy__0=f"{own}:40,{other}:10")
    values = read(opened())[0]["values"]
    assert [100, 0, 7] == [values[f"process.memory.{kin}"] for kin in ("own", "children", "others")]
    assert [0.4, 0.0, 0.1] == [values[f"process.utilization.{kin}"] for kin in ("own", "children", "others")]


def test_a_list_of_processes_that_is_missing_is_no_empty_one(fake: FakeGPUs) -> None:
    """A GPU without graphics has the others; one that tells no compute processes tells nothing of memory."""
    fake.says(process__0=f"{os.getpid()}:100")
    for kind in ("Graphics", "MPSCompute"):
        fake.says(**{f"fail__nvmlDeviceGet{kind}RunningProcesses_{version}": NOT_SUPPORTED for version in ("v2", "v3")})
    assert read(opened())[0]["values"]["process.memory.own"] == 100
    fake.says(fail__nvmlDeviceGetComputeRunningProcesses_v3=NOT_SUPPORTED)
    one = read(opened())[0]
    assert "process.memory.own" not in one["values"]
    assert "Not Supported" in one["missing"][names.GPU_PROCESS_MEMORY]


def test_in_another_pid_namespace_nobody_is_taken_for_this_process(fake: FakeGPUs) -> None:
    """The driver counts processes as the machine does, and its 42 is not ours."""
    fake.says(process__0=f"{os.getpid()}:100")
    one = read(opened(shares_pids=False))[0]
    assert "namespace" in one["missing"][names.GPU_PROCESS_MEMORY]
    assert not [key for key in one["values"] if key.startswith("process.")]


def test_memory_that_is_the_machines_is_no_memory_of_the_gpu(fake: FakeGPUs) -> None:
    """As on a board where both share it."""
    fake.says(memory_total__0=0)
    assert "the machine's" in read(opened())[0]["missing"][names.GPU_MEMORY_USAGE]


def test_a_call_that_was_fatal_is_not_made(fake: FakeGPUs) -> None:
    """It says so, and the others are made."""
    made: list[int] = []
    gpus = opened(skipped=["nvmlDeviceGetPowerUsage"], progress=made.append)
    one = read(gpus)[0]
    number = 1 + [call.function for call in CALLS].index("nvmlDeviceGetPowerUsage")
    assert number not in made
    assert "has hung or killed" in one["missing"][names.HARDWARE_POWER]
    assert "energy" in one["values"]


@pytest.mark.parametrize("code", [9, 12, 18])
def test_a_library_that_does_not_start_says_why(code: int, fake: FakeGPUs) -> None:
    """No driver, no library, another version than the kernel's."""
    fake.says(fail__nvmlInitWithFlags=code)
    with pytest.raises(GPUsUnavailable, match="the driver's library says: "):
        opened()


def test_a_driver_that_goes_away_ends_the_reading(fake: FakeGPUs) -> None:
    """Whoever reads has to start anew."""
    gpus = opened()
    read(gpus)
    fake.says(fail__nvmlDeviceGetCount_v2=1)
    for _ in range(59):
        read(gpus)
    with pytest.raises(GPUsUnavailable, match="Uninitialized"):
        read(gpus)


def test_the_call_that_blocks_is_never_made(fake: FakeGPUs) -> None:
    """The library aborts if anybody asks it for PCIe's throughput: 20 ms on a real GPU."""
    assert len(read(opened())) == 2
    assert not [call for call in CALLS if "Throughput" in call.function]
