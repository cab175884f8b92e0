"""NVIDIA's GPUs through the real binding and a library that has none, in this process."""

from __future__ import annotations

import ctypes
import itertools
import os
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fakegpus import FUNCTION_NOT_FOUND, LOST, NOT_SUPPORTED, UNKNOWN, UUIDS, FakeGPUs, fake_gpus, load, needs_gcc
from holter import names
from holter.gpuactivity import ACTIVITY_KEYS
from holter.gpufigures import FIGURES, METRICS, GPUReading, GPUsUnavailable
from holter.nvml import NVML
from holter.nvmlcalls import CALLS, PART_CALLS

pynvml = pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed; install it with: pip install '.[gpu]'")
pytestmark = needs_gcc
FUNCTIONS = sorted({call.function for call in CALLS})
GIB, MIB = 1 << 30, 1 << 20
SECONDS = itertools.count(0, 1_000_000_000)
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


def looked(**options: Any) -> NVML:
    """Return one that has looked once, as averages are told between two looks."""
    gpus = opened(**options)
    read(gpus)
    return gpus


def read(gpus: NVML) -> list[GPUReading]:
    """Look a second later than the last time."""
    return gpus.read(next(SECONDS))["gpus"]


def metrics(gpu: GPUReading) -> set[str]:
    return {FIGURES[key].name for key in gpu["values"]}


def test_everything_is_read(fake: FakeGPUs) -> None:
    """All figures that there are, in base units, by UUID and by CUDA's number."""
    one, other = read(looked())
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
        "sm_utilization": 0.02,
        "sm_occupancy": 0.03,
        "pipe.tensor": 0.05,
        "pipe.fp64": 0.11,
        "pipe.fp16": 0.13,
        "memory_bandwidth": 0.1,
        "pcie_rate.transmit": 20 * MIB,
        "pcie_rate.receive": MIB,
        "nvlink_rate.transmit": 61 * MIB,
        "nvlink_rate.receive": 60 * MIB,
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
    everything = metrics(read(looked())[0])
    in_c = IN_C.get(function, function)
    fake.says(**{f"fail__{in_c}__0": code})
    if in_c != function:
        fake.says(**{f"fail__{function}__0": code, f"fail__{function}_v2__0": code})
    for other in ("nvmlDeviceGetCurrentClocksThrottleReasons", "nvmlDeviceGetTemperatureV"):
        fake.says(**{f"fail__{other}__0": code})
    gpus = looked()
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
    gpus = looked(progress=made.append)
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
    """What the driver tells of them, which is memory, processes and activity; of the rest it is said why."""
    fake.says(parts__1=2, process__1=f"{os.getpid()}:5")
    names_of = [(gpu["name"], gpu.get("parent"), gpu["values"].get("memory.usage")) for gpu in read(opened())]
    assert names_of == [
        ("GPU 0", None, 10 * GIB),
        ("GPU 1", None, 11 * GIB),
        ("GPU 1 part 0", UUIDS[1], 1 * GIB),
        ("GPU 1 part 1", UUIDS[1], 2 * GIB),
    ]
    (part,) = read(looked(devices="MIG-12000000-0000-0000-0000-000000000000"))
    told = {key for call in PART_CALLS for key in call.keys if not key.startswith("nvlink")}
    assert told == set(part["values"])
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


# -- averages between two looks (GPM)


def samples() -> int:
    """Return how many samples the library has allocated that nobody has freed."""
    return ctypes.c_int.in_dll(load(), "fake_samples").value


@pytest.fixture
def held(fake: FakeGPUs) -> Callable[[], int]:
    """Return what tells how many samples are held of those that were allocated since."""
    before = samples()
    return lambda: samples() - before


ACTIVITY = [*dict.fromkeys(FIGURES[key].name for key in ACTIVITY_KEYS if key != "utilization.general")]


def why(gpu: GPUReading) -> set[str]:
    """Return why there are no averages; all of them have the same reason, or none."""
    there = [metric for metric in ACTIVITY if metric not in gpu["missing"]]
    assert there in ([], ACTIVITY)
    return {gpu["missing"][metric] for metric in ACTIVITY if metric in gpu["missing"]}


def test_averages_are_those_between_two_looks(fake: FakeGPUs) -> None:
    """The first look has none yet, which is no news; each later one has those since the look before."""
    gpus, told = opened(), []
    for second in (0, 1, 2, 5):
        one = gpus.read(second * 1_000_000_000)["gpus"][0]
        told.append((one["values"].get("pcie_rate.receive"), why(one)))
    assert [(None, set()), (MIB, set()), (MIB, set()), (MIB, set())] == told


def test_looks_too_close_together_are_told_the_last_averages(fake: FakeGPUs, held: Callable[[], int]) -> None:
    """Samples less than a tenth of a second apart give nothing; those of before are told until there are others."""
    gpus, told = opened(), []
    for ms in (0, 100, 199, 200, 300, 401, 601):
        fake.says(gpm__2__0=ms / 10)
        told.append(gpus.read(ms * 1_000_000)["gpus"][0]["values"].get("sm_utilization"))
    assert [None, None, None, 0.2, 0.2, 0.401, 0.601] == [value and round(value, 6) for value in told]
    assert held() == 4, "two of each GPU, written over in turn"


@pytest.mark.parametrize("code", [NOT_SUPPORTED, FUNCTION_NOT_FOUND, UNKNOWN])
@pytest.mark.parametrize("function", ["QueryDeviceSupport", "SampleAlloc", "SampleGet", "MetricsGet"])
def test_each_call_for_averages_may_fail(function: str, code: int, fake: FakeGPUs, held: Callable[[], int]) -> None:
    """The reason names it, all else is told, what was allocated is freed; later it may succeed."""
    gpus = opened()
    fake.says(**{f"fail__nvmlGpm{function}": code})
    for _ in range(2):
        one, other = read(gpus)
    for gpu in (one, other):
        (reason,) = why(gpu)
        assert reason.startswith(f"unavailable, because nvmlGpm{function} says: ")
        assert {"utilization.general", "memory.usage", "energy"} <= set(gpu["values"])
    # Samples are not to blame where an average cannot be made of them for this once.
    assert held() == (4 if (function, code) == ("MetricsGet", UNKNOWN) else 0)
    fake.says(**{f"fail__nvmlGpm{function}": None})
    for _ in range(61):
        one, other = read(gpus)
    assert (set(), set(), 4) == (why(one), why(other), held())


def test_a_call_for_averages_that_fails_once_is_made_again(fake: FakeGPUs, held: Callable[[], int]) -> None:
    """All is begun anew: the look after it is a first one, the next has averages again."""
    gpus, told = looked(), []
    for code in (None, UNKNOWN, None, None):
        fake.says(fail__nvmlGpmSampleGet__0=code)
        one = read(gpus)[0]
        told.append((*why(one), "sm_utilization" in one["values"], held()))
    assert [
        (True, 4),
        ("unavailable, because nvmlGpmSampleGet says: Unknown Error", False, 2),
        (False, 3),
        (True, 4),
    ] == told


@pytest.mark.parametrize("value", ["nan", "-0.5", "1e9"])
def test_an_average_that_is_none_is_left_out(value: str, fake: FakeGPUs) -> None:
    """No number, less than nothing, or far more than all; and one that fails stops no other."""
    fake.says(gpm__2__0=value, fail__gpm__10=NOT_SUPPORTED, gpm__13__0=101)
    one, other = read(looked())
    assert f"nvmlGpmMetricsGet gives {float(value):g} for 2" in one["missing"][names.GPU_SM_UTILIZATION]
    assert "says of 10: Not Supported" in other["missing"][names.GPU_MEMORY_BANDWIDTH]
    assert {"sm_utilization", "memory_bandwidth"} & set(one["values"]) == set()
    assert (0.03, 1.01, 0.02) == (
        one["values"]["sm_occupancy"],
        one["values"]["pipe.fp16"],
        other["values"]["sm_utilization"],
    )


def test_an_older_gpu_has_no_averages(fake: FakeGPUs, held: Callable[[], int]) -> None:
    """It says so, and nothing is allocated for it."""
    fake.says(model__0=8)
    one, other = read(looked(device_order="PCI_BUS_ID"))
    assert ({"unavailable, because nvmlGpmQueryDeviceSupport says: Not Supported"}, set()) == (why(one), why(other))
    assert (0.5, 2) == (one["values"]["utilization.general"], held())


def test_a_part_has_averages_of_its_own(fake: FakeGPUs, held: Callable[[], int]) -> None:
    """Its utilisation too, of which the driver says nothing otherwise; the whole GPU's own is not replaced."""
    fake.says(parts__1=2)
    gpus = looked()
    found = {gpu["name"]: gpu for gpu in read(gpus)}
    shares = {name: gpu["values"].get("utilization.general") for name, gpu in found.items()}
    assert {"GPU 0": 0.5, "GPU 1": 0.51, "GPU 1 part 0": 0.11, "GPU 1 part 1": 0.21} == shares
    part = found["GPU 1 part 1"]
    assert [0.22, 0.25, 0.3] == [part["values"][key] for key in ("sm_utilization", "pipe.tensor", "memory_bandwidth")]
    assert "says of 60: Not Supported" in part["missing"][names.GPU_NVLINK_RATE]
    assert (8, set()) == (held(), {names.GPU_UTILIZATION} & set(part["missing"]))
    fake.says(parts__1=1)
    for _ in range(60):
        read(gpus)
    assert held() == 6, "those of the part that is gone are freed"
    fake.says(gpus=1)
    for _ in range(60):
        read(gpus)
    assert held() == 2, "and those of a GPU that is gone"


def test_of_a_gpu_that_tells_no_utilisation_the_average_is_told(fake: FakeGPUs) -> None:
    """As in one that is divided into parts."""
    fake.says(fail__nvmlDeviceGetUtilizationRates=NOT_SUPPORTED)
    one = read(looked())[0]
    assert (0.01, {"memory_activity"}) == (
        one["values"]["utilization.general"],
        {"memory_activity"} - set(one["values"]),
    )


def test_the_averages_of_a_gpu_that_was_lost_begin_anew(fake: FakeGPUs, held: Callable[[], int]) -> None:
    """What it counts may have been reset."""
    gpus = looked()
    fake.says(lost__0=1)
    read(gpus)
    assert held() == 2
    fake.says(lost__0=None)
    told = [(why(one), "sm_utilization" in one["values"]) for one in (read(gpus)[0] for _ in range(61))]
    begun = told.index((set(), True))
    assert ((set(), False), 4) == (told[begun - 1], held())


def test_a_driver_that_goes_away_takes_its_samples_along(fake: FakeGPUs, held: Callable[[], int]) -> None:
    """They are freed before all is started anew."""
    gpus = looked()
    fake.says(fail__nvmlDeviceGetCount_v2=1)
    for _ in range(59):
        read(gpus)
    with pytest.raises(GPUsUnavailable):
        read(gpus)
    assert held() == 0


def test_averages_are_not_asked_for_after_they_were_fatal(fake: FakeGPUs) -> None:
    """Whichever of their calls it was."""
    one = read(opened(skipped=["nvmlGpmMetricsGet"]))[0]
    (reason,) = why(one)
    assert reason.startswith("unavailable, because nvmlGpmMetricsGet has hung or killed the process that called it")
    assert one["values"]["utilization.general"] == 0.5


def test_a_binding_that_does_not_know_averages_has_all_else(
    fake: FakeGPUs, held: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An older one has no such functions; what was allocated before that is seen is freed."""
    for function in ("nvmlGpmSampleGet", "nvmlGpmQueryDeviceSupport"):
        monkeypatch.delattr(pynvml, function)
        one = read(looked())[0]
        (reason,) = why(one)
        assert reason.startswith(f"unavailable, because {function} says: module 'pynvml' has no attribute")
        assert {"power", "energy", "utilization.general"} <= set(one["values"])
        assert held() == 0


def test_parts_that_say_nothing_while_the_driver_is_away_are_no_reason_to_doubt(fake: FakeGPUs) -> None:
    """Averages of a part are given up only where it is known to be there."""
    fake.says(parts__1=1)
    gpus = looked()
    fake.says(fail__nvmlDeviceGetMemoryInfo_v2=UNKNOWN, fail__nvmlDeviceGetCount_v2=UNKNOWN)
    for _ in range(10):
        assert "sm_utilization" in read(gpus)[2]["values"]
    fake.says(fail__nvmlDeviceGetMemoryInfo_v2=None, fail__nvmlDeviceGetCount_v2=None)
    read(gpus)
    fake.says(fail__nvmlDeviceGetMemoryInfo_v2=UNKNOWN)
    for _ in range(2):
        read(gpus)
    with pytest.raises(GPUsUnavailable, match="after nvmlGpmMetricsGet a part's memory could not be read") as raised:
        read(gpus)
    assert raised.value.culprit == "nvmlGpmMetricsGet"
