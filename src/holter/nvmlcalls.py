"""
The calls of NVML: which figures each gives, and in which units.

Never ``nvmlDeviceGetPcieThroughput``, which takes 20 ms each time. Imported by the helper process too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, NamedTuple

from holter.gpuactivity import ACTIVITY_KEYS, FUNCTION, OTHERS, Activity
from holter.gpufigures import CLOCKS, FIGURES, THROTTLES, VIOLATIONS

Found = dict[str, float | str]
"""Figures by key, or why there is none."""

_MEGAHERTZ: Final = 1e6
_KIBIBYTE: Final = 1024
_ALL_LINKS: Final = 0xFFFFFFFF
_MICROSECOND_NS: Final = 1_000
_LONGEST_LOOK_BACK_US: Final = 1_000_000
_POLICIES: Final = dict(zip(VIOLATIONS, (0, 1, 2, 3, 4, 5, 10, 11), strict=True))
# Whose zero is news; the others are told once they have been seen.
_ALWAYS_TOLD: Final = ("sw_power_cap", "hw_slowdown", "sw_thermal", "hw_thermal", "hw_power_brake")


class _Field(NamedTuple):
    """A field by its number: the figure it gives, its unit in that figure's, and whether it is asked of all links."""

    number: int
    key: str
    scale: float = 1.0
    of_links: bool = False


_FIELDS: Final = (
    _Field(82, "temperature.memory"),
    *(_Field(74 + at, f"throttle_time.{reason}", 1e-9) for at, reason in enumerate(VIOLATIONS)),
    _Field(197, "io.transmit"),
    _Field(198, "io.receive"),
    _Field(138, "nvlink.transmit", _KIBIBYTE, of_links=True),
    _Field(139, "nvlink.receive", _KIBIBYTE, of_links=True),
    # Of newer ones, where the two above say nothing.
    _Field(202, "nvlink.transmit", of_links=True),
    _Field(204, "nvlink.receive", of_links=True),
)


@dataclass(slots=True)
class Now:
    """
    What one reading goes by: the library, its time, and what a process is to the program, or why that is not known.

    ``whole`` is the GPU that is read, or of which a part is, and ``activity`` what is kept of it from look to look.
    """

    nvml: Any
    time_ns: int
    kin: Callable[[int], str] | None
    without_kin: str
    whole: Any = None
    activity: Activity | None = None


class Call(NamedTuple):
    """
    One question to a GPU, the keys that its answer has, and how it is put.

    Where two give the same figure, the first one that has it counts. ``others`` are functions that ``read`` falls back
    to, or asks besides.
    """

    function: str
    keys: tuple[str, ...]
    read: Callable[[Now, Any], Found]
    others: tuple[str, ...] = ()


def _utilization(now: Now, gpu: Any) -> Found:
    rates = now.nvml.nvmlDeviceGetUtilizationRates(gpu)
    return {"utilization.general": rates.gpu / 100, "memory_activity": rates.memory / 100}


def _coder(now: Now, gpu: Any, *, task: str) -> Found:
    return {f"utilization.{task.lower()}": getattr(now.nvml, f"nvmlDeviceGet{task}Utilization")(gpu)[0] / 100}


def _memory(now: Now, gpu: Any) -> Found:
    nvml = now.nvml
    try:
        # The first version counts as used what the driver has reserved for itself.
        memory = nvml.nvmlDeviceGetMemoryInfo(gpu, version=nvml.nvmlMemory_v2)
    except (nvml.NVMLError_FunctionNotFound, AttributeError, TypeError):
        memory = nvml.nvmlDeviceGetMemoryInfo(gpu)
    if not memory.total:
        raise ValueError("it has no memory of its own but the machine's")
    share = memory.used / memory.total
    return {"memory.usage": memory.used, "memory.limit": memory.total, "memory.utilization": share}


def _scaled(now: Now, gpu: Any, *, function: str, key: str, scale: float) -> Found:
    return {key: getattr(now.nvml, function)(gpu) * scale}


def _temperature(now: Now, gpu: Any) -> Found:
    nvml = now.nvml
    try:
        return {"temperature.gpu": nvml.nvmlDeviceGetTemperature(gpu, nvml.NVML_TEMPERATURE_GPU)}
    except (nvml.NVMLError_FunctionNotFound, AttributeError):
        return {"temperature.gpu": nvml.nvmlDeviceGetTemperatureV(gpu, nvml.NVML_TEMPERATURE_GPU)}


def _clock(now: Now, gpu: Any, *, number: int, key: str) -> Found:
    return {key: now.nvml.nvmlDeviceGetClockInfo(gpu, number) * _MEGAHERTZ}


def _throttles(now: Now, gpu: Any) -> Found:
    nvml = now.nvml
    try:
        bits = nvml.nvmlDeviceGetCurrentClocksEventReasons(gpu)
    except (nvml.NVMLError_FunctionNotFound, AttributeError):
        bits = nvml.nvmlDeviceGetCurrentClocksThrottleReasons(gpu)
    return {
        f"throttle.{reason}": float(bool(bits & bit))
        for reason, bit in THROTTLES.items()
        if bits & bit or reason in _ALWAYS_TOLD
    }


def _fields(now: Now, gpu: Any) -> Found:
    nvml = now.nvml
    wanted = [(one.number, _ALL_LINKS if one.of_links else 0) for one in _FIELDS]
    found: Found = {}
    for field, answer in zip(_FIELDS, nvml.nvmlDeviceGetFieldValues(gpu, wanted), strict=True):
        if isinstance(found.get(field.key, ""), str):
            found[field.key] = _field(nvml, field, answer)
    for reason, policy in _POLICIES.items():
        key = f"throttle_time.{reason}"
        if isinstance(found[key], str):
            found[key] = _violation(nvml, gpu, policy, str(found[key]))
    return found


def _field(nvml: Any, field: _Field, answer: Any) -> float | str:
    if answer.nvmlReturn != 0:
        return (
            f"unavailable, because nvmlDeviceGetFieldValues says of {field.number}: {nvml.NVMLError(answer.nvmlReturn)}"
        )
    readers = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")
    if answer.valueType >= len(readers):
        return f"unavailable, because nvmlDeviceGetFieldValues gives {field.number} in a form that is not known here"
    return float(getattr(answer.value, readers[answer.valueType])) * field.scale


def _violation(nvml: Any, gpu: Any, policy: int, otherwise: str) -> float | str:
    try:
        return float(nvml.nvmlDeviceGetViolationStatus(gpu, policy).violationTime) * 1e-9
    except (nvml.NVMLError, AttributeError):
        return otherwise


def _ecc(now: Now, gpu: Any) -> Found:
    nvml = now.nvml
    kinds = {"corrected": nvml.NVML_MEMORY_ERROR_TYPE_CORRECTED, "uncorrected": nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED}
    return {
        f"errors.{name}": nvml.nvmlDeviceGetTotalEccErrors(gpu, kind, nvml.NVML_VOLATILE_ECC)
        for name, kind in kinds.items()
    }


def _remapped(now: Now, gpu: Any) -> Found:
    corrected, uncorrected, is_pending, has_failed = now.nvml.nvmlDeviceGetRemappedRows(gpu)
    return {
        "remapped_rows.corrected": corrected,
        "remapped_rows.uncorrected": uncorrected,
        "remap_pending": float(bool(is_pending)),
        "remap_failed": float(bool(has_failed)),
    }


def _process_memory(now: Now, gpu: Any) -> Found:
    """Return the memory that processes hold: each is asked for by three functions, and may be in several."""
    nvml = now.nvml
    used: dict[int, int] = {}
    for function in _PROCESSES:
        try:
            # By its version: without one, the binding takes a driver that is older than itself for an error.
            try:
                processes = getattr(nvml, f"{function}_v3")(gpu)
            except (nvml.NVMLError_FunctionNotFound, AttributeError):
                processes = getattr(nvml, f"{function}_v2")(gpu)
        except (nvml.NVMLError_NotSupported, nvml.NVMLError_FunctionNotFound, AttributeError):
            # A GPU without graphics, or a driver without MPS, has the other lists all the same.
            if function == _PROCESSES[0]:
                raise
            continue
        for one in processes:
            # None where the system keeps the figure to itself: Windows with WDDM, and some parts of GPUs.
            if one.usedGpuMemory is not None:
                used[one.pid] = max(used.get(one.pid, 0), one.usedGpuMemory)
    return _by_kin(now, "process.memory", used)


def _process_utilization(now: Now, gpu: Any) -> Found:
    nvml = now.nvml
    since_us = time.time_ns() // _MICROSECOND_NS - _LONGEST_LOOK_BACK_US
    samples: Iterable[Any] = ()
    try:
        samples = nvml.nvmlDeviceGetProcessUtilization(gpu, since_us)
    except nvml.NVMLError_NotFound:
        pass  # no process has used it in this time
    except nvml.NVMLError as error:
        # So the binding answers when there are no samples.
        if error.value != nvml.NVML_SUCCESS:
            raise
    newest: dict[int, tuple[int, float]] = {}
    for one in samples:
        if one.timeStamp >= newest.get(one.pid, (0, 0.0))[0]:
            newest[one.pid] = one.timeStamp, one.smUtil / 100
    return _by_kin(now, "process.utilization", {pid: share for pid, (_, share) in newest.items()})


def _by_kin(now: Now, prefix: str, by_pid: dict[int, Any]) -> Found:
    keys = [f"{prefix}.{kin}" for kin in ("own", "children", "others")]
    if now.kin is None:
        return dict.fromkeys(keys, now.without_kin)
    found: Found = dict.fromkeys(keys, 0.0)
    for pid, value in by_pid.items():
        key = f"{prefix}.{now.kin(pid)}"
        found[key] = float(found[key]) + value
    return found


def _activity(now: Now, _: Any) -> Found:
    return {} if now.activity is None else now.activity.read(now.whole, now.time_ns)


_PROCESSES: Final = (
    "nvmlDeviceGetComputeRunningProcesses",
    "nvmlDeviceGetGraphicsRunningProcesses",
    "nvmlDeviceGetMPSComputeRunningProcesses",
)


def _keys(*prefixes: str) -> tuple[str, ...]:
    return tuple(key for key in FIGURES if key.startswith(prefixes))


def _simple(function: str, key: str, scale: float = 1.0) -> Call:
    return Call(function, (key,), partial(_scaled, function=function, key=key, scale=scale))


CALLS: Final = (
    Call("nvmlDeviceGetUtilizationRates", ("utilization.general", "memory_activity"), _utilization),
    Call("nvmlDeviceGetMemoryInfo", _keys("memory."), _memory),
    _simple("nvmlDeviceGetPowerUsage", "power", 1e-3),
    _simple("nvmlDeviceGetEnforcedPowerLimit", "power_limit", 1e-3),
    _simple("nvmlDeviceGetTotalEnergyConsumption", "energy", 1e-3),
    Call("nvmlDeviceGetTemperature", ("temperature.gpu",), _temperature, ("nvmlDeviceGetTemperatureV",)),
    *(
        Call("nvmlDeviceGetClockInfo", (f"clock.{clock}",), partial(_clock, number=number, key=f"clock.{clock}"))
        for number, clock in enumerate(CLOCKS)
    ),
    Call(
        "nvmlDeviceGetCurrentClocksEventReasons",
        _keys("throttle."),
        _throttles,
        ("nvmlDeviceGetCurrentClocksThrottleReasons",),
    ),
    Call(
        "nvmlDeviceGetFieldValues",
        tuple(dict.fromkeys(one.key for one in _FIELDS)),
        _fields,
        ("nvmlDeviceGetViolationStatus",),
    ),
    _simple("nvmlDeviceGetPcieReplayCounter", "pcie_replays"),
    _simple("nvmlDeviceGetCurrPcieLinkGeneration", "pcie_generation"),
    _simple("nvmlDeviceGetCurrPcieLinkWidth", "pcie_width"),
    Call("nvmlDeviceGetTotalEccErrors", _keys("errors."), _ecc),
    Call("nvmlDeviceGetRemappedRows", _keys("remap"), _remapped),
    Call("nvmlDeviceGetEncoderUtilization", ("utilization.encoder",), partial(_coder, task="Encoder")),
    Call("nvmlDeviceGetDecoderUtilization", ("utilization.decoder",), partial(_coder, task="Decoder")),
    Call(_PROCESSES[0], _keys("process.memory."), _process_memory, _PROCESSES[1:]),
    Call("nvmlDeviceGetProcessUtilization", _keys("process.utilization."), _process_utilization),
    Call(FUNCTION, ACTIVITY_KEYS, _activity, OTHERS),
)
"""All that is asked of a GPU, in this order; a call's number is its place from 1 on."""

PART_CALLS: Final = tuple(call for call in CALLS if call.function in ("nvmlDeviceGetMemoryInfo", *_PROCESSES, FUNCTION))
"""What a part of a GPU can be asked."""
