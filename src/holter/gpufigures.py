"""
What is told of GPUs: the figures by short keys, and the Protocol of whoever reads them.

Imported by the helper process too, and so of the standard library alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple, NotRequired, Protocol, TypedDict

from holter import names
from holter.metric import NO_ATTRIBUTES, Attributes, Kind


class Figure(NamedTuple):
    """One figure of a GPU: its metric, unit and kind, and the attributes that tell it from its siblings."""

    name: str
    unit: str
    kind: Kind
    attributes: Attributes = NO_ATTRIBUTES


class GPUReading(TypedDict):
    """
    What was read of one GPU: values by key, in base units, and for each metric without one the reason.

    ``parent`` is the GPU of which this is a part. ``info`` and ``missing`` may be left out where they are as before.
    """

    id: str
    name: str
    values: dict[str, float]
    parent: NotRequired[str]
    info: NotRequired[dict[str, str]]
    missing: NotRequired[dict[str, str]]


class Told(TypedDict):
    """One reading of all GPUs that a program may use, at a moment of the monotonic clock."""

    time_ns: int
    gpus: list[GPUReading]


class GPUs(Protocol):
    """
    The library of a vendor, read from one process.

    `holter.nvml` is NVIDIA's; another vendor's is one more module with such a class.
    """

    def open(self) -> None:
        """
        Start the library; called once, first.

        Raises:
            GPUsUnavailable: it cannot be started, for the reason it names.
        """

    def read(self, time_ns: int) -> Told:
        """
        Return what can be read now; one figure that fails stops no other.

        Raises:
            GPUsUnavailable: nothing can be read any more, and the library has to be started anew.
        """


class GPUsUnavailable(Exception):  # noqa: N818 - it says what is the matter, in the house's words
    """Why no GPU can be read, in words, and the call that is not to be made any more, if it was one."""

    def __init__(self, why: str, *, culprit: str = "") -> None:
        super().__init__(why)
        self.culprit = culprit


def _by(name: str, *values: str) -> list[tuple[str, Attributes]]:
    return [(value, {name: value}) for value in values]


THROTTLES: Final[Mapping[str, int]] = {
    "application_clocks": 0x2,
    "sw_power_cap": 0x4,
    "hw_slowdown": 0x8,
    "sync_boost": 0x10,
    "sw_thermal": 0x20,
    "hw_thermal": 0x40,
    "hw_power_brake": 0x80,
    "display_clocks": 0x100,
    "board_limit": 0x200,
    "reliability": 0x400,
}
"""Why a GPU's clocks are held down now, as bits of NVML's; that it has nothing to do is no reason here."""

VIOLATIONS: Final = (
    "power",
    "thermal",
    "sync_boost",
    "board_limit",
    "low_utilization",
    "reliability",
    "application_clocks",
    "base_clocks",
)
"""Why they have been held down for some time, in the order of NVML's counters."""

CLOCKS: Final = ("graphics", "sm", "memory", "video")
"""In the order of NVML's numbers."""

PIPES: Final = ("tensor", "fp64", "fp32", "fp16")
"""The kinds of arithmetic whose activity is told; that of tensors in any precision, the others without it."""

_DIRECTIONS: Final = _by(names.IO_DIRECTION, "transmit", "receive")
_ERRORS: Final = _by(names.ERROR_TYPE, "corrected", "uncorrected")

FIGURES: Final[Mapping[str, Figure]] = {
    **{
        f"utilization.{task}": Figure(names.GPU_UTILIZATION, "1", "gauge", by)
        for task, by in _by(names.GPU_TASK, "general", "encoder", "decoder")
    },
    "memory_activity": Figure(names.GPU_MEMORY_ACTIVITY, "1", "gauge"),
    "memory.usage": Figure(names.GPU_MEMORY_USAGE, "By", "gauge"),
    "memory.limit": Figure(names.GPU_MEMORY_LIMIT, "By", "gauge"),
    "memory.utilization": Figure(names.GPU_MEMORY_UTILIZATION, "1", "gauge"),
    "power": Figure(names.HARDWARE_POWER, "W", "gauge"),
    "power_limit": Figure(names.GPU_POWER_LIMIT, "W", "gauge"),
    "energy": Figure(names.HARDWARE_ENERGY, "J", "counter"),
    **{
        f"temperature.{sensor}": Figure(names.HARDWARE_TEMPERATURE, "Cel", "gauge", by)
        for sensor, by in _by(names.HARDWARE_SENSOR, "gpu", "memory")
    },
    **{
        f"clock.{clock}": Figure(names.GPU_CLOCK, "Hz", "gauge", by) for clock, by in _by(names.GPU_CLOCK_NAME, *CLOCKS)
    },
    **{
        f"throttle.{reason}": Figure(names.GPU_THROTTLE, "1", "gauge", by)
        for reason, by in _by(names.GPU_THROTTLE_TYPE, *THROTTLES)
    },
    **{
        f"throttle_time.{reason}": Figure(names.GPU_THROTTLE_TIME, "s", "counter", by)
        for reason, by in _by(names.GPU_THROTTLE_TYPE, *VIOLATIONS)
    },
    **{f"io.{way}": Figure(names.GPU_IO, "By", "counter", by) for way, by in _DIRECTIONS},
    **{f"nvlink.{way}": Figure(names.GPU_NVLINK_IO, "By", "counter", by) for way, by in _DIRECTIONS},
    "sm_utilization": Figure(names.GPU_SM_UTILIZATION, "1", "gauge"),
    "sm_occupancy": Figure(names.GPU_SM_OCCUPANCY, "1", "gauge"),
    **{
        f"pipe.{pipe}": Figure(names.GPU_PIPE_ACTIVITY, "1", "gauge", by)
        for pipe, by in _by(names.GPU_PIPE_NAME, *PIPES)
    },
    "memory_bandwidth": Figure(names.GPU_MEMORY_BANDWIDTH, "1", "gauge"),
    **{f"pcie_rate.{way}": Figure(names.GPU_PCIE_RATE, "By/s", "gauge", by) for way, by in _DIRECTIONS},
    **{f"nvlink_rate.{way}": Figure(names.GPU_NVLINK_RATE, "By/s", "gauge", by) for way, by in _DIRECTIONS},
    "pcie_replays": Figure(names.GPU_PCIE_REPLAYS, "{replay}", "counter"),
    "pcie_generation": Figure(names.GPU_PCIE_GENERATION, "{generation}", "gauge"),
    "pcie_width": Figure(names.GPU_PCIE_WIDTH, "{lane}", "gauge"),
    **{f"errors.{kind}": Figure(names.HARDWARE_ERRORS, "{error}", "counter", by) for kind, by in _ERRORS},
    **{f"remapped_rows.{kind}": Figure(names.GPU_REMAPPED_ROWS, "{row}", "gauge", by) for kind, by in _ERRORS},
    "remap_pending": Figure(names.GPU_REMAP_PENDING, "1", "gauge"),
    "remap_failed": Figure(names.GPU_REMAP_FAILED, "1", "gauge"),
    **{
        f"process.memory.{kind}": Figure(names.GPU_PROCESS_MEMORY, "By", "gauge", by)
        for kind, by in _by(names.GPU_PROCESS_TYPE, "own", "children", "others")
    },
    **{
        f"process.utilization.{kind}": Figure(names.GPU_PROCESS_UTILIZATION, "1", "gauge", by)
        for kind, by in _by(names.GPU_PROCESS_TYPE, "own", "children", "others")
    },
}
"""All figures of a GPU but the driver's error events, which have a series for each code that comes."""

METRICS: Final = (*dict.fromkeys(figure.name for figure in FIGURES.values()), names.GPU_XID)
"""The metrics of a GPU, each of which is available or not."""
