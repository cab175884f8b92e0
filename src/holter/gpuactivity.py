"""
What a GPU was busy with between two looks: NVML's averages (GPM), which Hopper and newer models have.

They are told of parts of a GPU too, of which the driver tells no utilisation otherwise. Imported by the helper process
too.
"""

from __future__ import annotations

from contextlib import suppress
from math import isfinite
from typing import Any, Final, NamedTuple

from holter.gpufigures import PIPES

_PERCENT: Final = 0.01
_MEBIBYTE: Final = 2**20
# By its documentation two samples are to be more than 0.1 s apart; those of two looks may be taken late and early.
SHORTEST_NS: Final = 200_000_000
_MOST: Final = 1.1
"""A share above is none: what was counted began anew meanwhile."""


class _Average(NamedTuple):
    """One average by its number: the figure it gives, and its unit in that figure's."""

    number: int
    key: str
    scale: float = _PERCENT


_AVERAGES: Final = (
    _Average(1, "utilization.general"),
    _Average(2, "sm_utilization"),
    _Average(3, "sm_occupancy"),
    *(_Average(number, f"pipe.{pipe}") for number, pipe in zip((5, 11, 12, 13), PIPES, strict=True)),
    _Average(10, "memory_bandwidth"),
    _Average(20, "pcie_rate.transmit", _MEBIBYTE),
    _Average(21, "pcie_rate.receive", _MEBIBYTE),
    _Average(61, "nvlink_rate.transmit", _MEBIBYTE),
    _Average(60, "nvlink_rate.receive", _MEBIBYTE),
)

ACTIVITY_KEYS: Final = tuple(average.key for average in _AVERAGES)
FUNCTION: Final = "nvmlGpmMetricsGet"
OTHERS: Final = ("nvmlGpmQueryDeviceSupport", "nvmlGpmSampleAlloc", "nvmlGpmSampleGet", "nvmlGpmMigSampleGet")


class Activity:
    """
    The averages of one GPU, or of its part *instance*, between this look and the last one; it never sleeps.

    Looks that come sooner than 0.2 s after a sample are told what the last ones were. Holds two samples of the
    driver's, which `close` frees; where none can be taken, all is begun anew. A part's figures are those of its GPU
    instance, which several compute instances may share.
    """

    def __init__(self, nvml: Any, instance: int | None = None) -> None:
        self._nvml, self.instance = nvml, instance
        self.was_taken = False
        """Whether the driver was ever asked for a sample."""
        self._samples: list[Any] = []
        self._taken_ns = 0
        self._told: dict[str, float | str] = {}
        kinds = ("NotSupported", "FunctionNotFound", "GpuIsLost", "ResetRequired")
        self._lasting = tuple(getattr(nvml, f"NVMLError_{kind}") for kind in kinds)

    @property
    def is_waiting(self) -> bool:
        """Whether there is the first sample of two: nothing yet is not unavailable."""
        return len(self._samples) == 1

    def read(self, gpu: Any, time_ns: int) -> dict[str, float | str]:
        """
        Return the averages up to now, or why there is none, of *gpu*, the whole one also where this is of a part.

        Raises:
            pynvml.NVMLError: with a note that names the call that says so.
        """
        if self._samples and time_ns - self._taken_ns < SHORTEST_NS:
            return self._told
        nvml = self._nvml
        try:
            self._take(gpu)
            self._taken_ns = time_ns
            self._told = self._averages()
        except (nvml.NVMLError, AttributeError) as error:
            if getattr(error, "__notes__", ()) != [FUNCTION] or isinstance(error, self._lasting):
                self.close()
                raise
            # The samples are good all the same, and the next look has a newer one.
            self._told = dict.fromkeys(ACTIVITY_KEYS, f"unavailable, because {FUNCTION} says: {error}")
        return self._told

    def close(self) -> None:
        """Free what the driver has allocated."""
        samples, self._samples = self._samples, []
        for sample in samples:
            with suppress(self._nvml.NVMLError, AttributeError):
                self._nvml.nvmlGpmSampleFree(sample)

    def _take(self, gpu: Any) -> None:
        if not self._samples and not self._ask("nvmlGpmQueryDeviceSupport", gpu).isSupportedDevice:
            unsupported = self._nvml.NVMLError(self._nvml.NVML_ERROR_NOT_SUPPORTED)
            unsupported.add_note("nvmlGpmQueryDeviceSupport")
            raise unsupported
        # The older of two is written over.
        is_full = len(self._samples) > 1
        self._samples.append(self._samples.pop(0) if is_full else self._ask("nvmlGpmSampleAlloc"))
        self.was_taken = True
        if self.instance is None:
            self._ask("nvmlGpmSampleGet", gpu, self._samples[-1])
        else:
            self._ask("nvmlGpmMigSampleGet", gpu, self.instance, self._samples[-1])

    def _averages(self) -> dict[str, float | str]:
        nvml = self._nvml
        if self.is_waiting:
            return {}
        asked = nvml.c_nvmlGpmMetricsGet_t()
        asked.version, asked.numMetrics = nvml.NVML_GPM_METRICS_GET_VERSION, len(_AVERAGES)
        asked.sample1, asked.sample2 = self._samples
        for at, average in enumerate(_AVERAGES):
            asked.metrics[at].metricId = average.number
        self._ask(FUNCTION, asked)
        return {average.key: self._average(average, asked.metrics[at]) for at, average in enumerate(_AVERAGES)}

    def _average(self, average: _Average, told: Any) -> float | str:
        if told.nvmlReturn:
            said = self._nvml.NVMLError(told.nvmlReturn)
            return f"unavailable, because {FUNCTION} says of {average.number}: {said}"
        value = float(told.value) * average.scale
        if not isfinite(value) or value < 0 or (average.scale == _PERCENT and value > _MOST):
            return f"unavailable, because {FUNCTION} gives {told.value:g} for {average.number}"
        return value

    def _ask(self, function: str, *arguments: Any) -> Any:
        try:
            return getattr(self._nvml, function)(*arguments)
        except (self._nvml.NVMLError, AttributeError) as error:
            error.add_note(function)
            raise
