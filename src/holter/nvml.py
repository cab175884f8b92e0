"""
NVIDIA's GPUs, read through NVML: one call a figure, each judged by itself.

Imported by the helper process too, and so of the standard library alone; `nvidia-ml-py` is imported when it is opened.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from holter.gpuactivity import ACTIVITY_KEYS, FUNCTION, Activity
from holter.gpufigures import FIGURES, METRICS, GPUReading, GPUsUnavailable, Told
from holter.kinship import kin_of, shares_pids_with_host
from holter.names import GPU_XID
from holter.nvmlcalls import CALLS, PART_CALLS, Call, Found, Now
from holter.visibility import Candidate, Visible, visible

# What does not exist may begin to, when an administrator changes a mode; and parts of a GPU are made and removed.
_AGAIN_EVERY: Final = 60
_MOST_PARTS: Final = 16
_HARMED: Final = "has hung or killed the process that called it, or broken its other calls"
# A look or two may fail for other reasons.
_MOST_SILENT: Final = 3
_NOT_OF_A_PART: Final = "unavailable, because the driver tells it of the whole GPU only, not of a part of it"
_OF_ANOTHER_NAMESPACE: Final = (
    "unavailable, because the driver knows processes by the machine's numbers, and this one has a number of its own "
    "(a container: run it with the machine's pid namespace)"
)
_ERRORS: Final = (OSError, AttributeError, LookupError, ValueError, TypeError, ArithmeticError)
_AVERAGED: Final = frozenset(FIGURES[key].name for key in ACTIVITY_KEYS)
Progress = Callable[[int], None]


@dataclass(slots=True)
class _GPU:
    """One GPU or part of one, and what is known of its calls."""

    id: str
    name: str
    handle: Any
    whole: Any
    """The GPU's handle, of which this may be a part."""
    activity: Activity
    parent: str = ""
    info: dict[str, str] = field(default_factory=dict)
    lost: str = ""
    off: dict[int, str] = field(default_factory=dict)
    """The calls that this GPU does not know, by their numbers, and why."""


class _Machine(NamedTuple):
    """All GPUs, by their places on the bus: handles, parts by id, and why some cannot be had."""

    handles: Sequence[Any]
    parts: Sequence[dict[str, tuple[Any, int, int]]]
    lost: Mapping[int, str]


class NVML:
    """
    The GPUs that this program may use, in CUDA's order, with their parts (MIG).

    *own* is the process whose memory and utilisation are told apart from others'. A call in *skipped* is never made:
    it has killed or hung a reader before. *progress* is told the number of each call before it is made, and 0 after
    the last one. Thread-compatible: one thread reads.
    """

    def __init__(
        self,
        own: int,
        *,
        devices: str | None = None,
        device_order: str | None = None,
        skipped: Iterable[str] = (),
        progress: Progress = lambda _: None,
        has_events: bool = False,
        proc: Path = Path("/proc"),
        shares_pids: bool | None = None,
    ) -> None:
        self._own, self._devices, self._device_order = own, devices, device_order
        self._skipped, self._progress, self._has_events = frozenset(skipped), progress, has_events
        self._proc = proc
        self._knows_pids = shares_pids_with_host(proc) if shares_pids is None else shares_pids
        self._nvml: Any = None
        self._gpus: list[_GPU] = []
        self._known: dict[int, str] = {}
        self._readings = 0
        self._silent: dict[str, int] = {}
        """For how many looks a part has said nothing of its memory, of those that have told it."""
        self.deaf: dict[str, str] = {}
        """The GPUs of which no events come, and why."""

    def open(self) -> None:
        """
        Load the driver's library and start it.

        Raises:
            GPUsUnavailable: there is none, or it does not start.
        """
        try:
            import pynvml  # type: ignore[import-untyped]  # noqa: PLC0415  it has no types, and takes 100 ms to import
        except ImportError as error:
            raise GPUsUnavailable("nvidia-ml-py is not installed: pip install 'holter[gpu]'") from error
        if not hasattr(pynvml, "_nvmlGetFunctionPointer") or not hasattr(pynvml, "nvmlDeviceGetFieldValues"):
            raise GPUsUnavailable(
                f"{pynvml.__file__} is not NVIDIA's own module: pip uninstall nvidia-ml-py3 && "
                "pip install --force-reinstall 'holter[gpu]'"
            )
        self._nvml = pynvml
        try:
            pynvml.nvmlInit()
            self._enumerate()
        except pynvml.NVMLError as error:
            raise GPUsUnavailable(f"the driver's library says: {error}") from error

    @property
    def handles(self) -> dict[str, Any]:
        """The whole GPUs by id, as the library knows them."""
        return {gpu.id: gpu.handle for gpu in self._gpus if not gpu.parent and not gpu.lost}

    def read(self, time_ns: int) -> Told:
        """
        Return what each GPU says now.

        Raises:
            GPUsUnavailable: the library has to be started anew.
        """
        is_again = self._readings % _AGAIN_EVERY == 0
        nvml = self._nvml
        try:
            if is_again and self._readings:
                self._enumerate()
        except (nvml.NVMLError_Uninitialized, nvml.NVMLError_DriverNotLoaded) as error:
            for gpu in self._gpus:
                gpu.activity.close()
            raise GPUsUnavailable(f"the driver's library says: {error}") from error
        except nvml.NVMLError:
            pass  # the GPUs stay those that they were
        self._readings += 1
        now = Now(nvml, time_ns, self._kin if self._knows_pids else None, _OF_ANOTHER_NAMESPACE)
        gpus = [self._read(gpu, now) for gpu in self._gpus]
        self._progress(0)
        self._doubt(gpus)
        return {"time_ns": time_ns, "gpus": gpus}

    def _doubt(self, gpus: list[GPUReading]) -> None:
        """
        See whether averages of a part have broken what else it tells.

        Reported of a driver (535, with parts of an H100): the part's memory could not be read any more in that process.
        """
        for gpu, told in zip(self._gpus, gpus, strict=True):
            if not gpu.parent or gpu.lost or not gpu.activity.was_taken:
                continue
            silent = 0 if "memory.usage" in told["values"] else self._silent.get(gpu.id, _MOST_SILENT) + 1
            if silent <= _MOST_SILENT:
                self._silent[gpu.id] = silent
            if silent == _MOST_SILENT and gpu.id in self._still_there():
                raise GPUsUnavailable(f"after {FUNCTION} a part's memory could not be read", culprit=FUNCTION)

    def _still_there(self) -> set[str]:
        try:
            self._enumerate()
        except self._nvml.NVMLError:
            return set()  # it is the driver that is not well
        return {gpu.id for gpu in self._gpus}

    def _kin(self, pid: int) -> str:
        return kin_of(pid, self._own, self._proc)

    def _read(self, gpu: _GPU, now: Now) -> GPUReading:
        found: Found = {}
        now.whole, now.activity = gpu.whole, gpu.activity
        for number, call in enumerate(CALLS, 1):
            for key, value in self._told(gpu, number, call, now).items():
                # Where two give the same figure: a value rather than a reason, the first one of two.
                if key not in found or (isinstance(found[key], str) and not isinstance(value, str)):
                    found[key] = value
        if gpu.lost:
            # What it has counted may begin anew.
            gpu.activity.close()
        values = {key: value for key, value in found.items() if not isinstance(value, str)}
        told: GPUReading = {"id": gpu.id, "name": gpu.name, "values": values, "info": gpu.info}
        told["missing"] = self._missing(gpu, found, values)
        if gpu.parent:
            told["parent"] = gpu.parent
        return told

    def _told(self, gpu: _GPU, number: int, call: Call, now: Now) -> Found:
        if gpu.lost:
            return dict.fromkeys(call.keys, gpu.lost)
        if gpu.parent and call not in PART_CALLS:
            return dict.fromkeys(call.keys, _NOT_OF_A_PART)
        if self._skipped & {call.function, *call.others}:
            return dict.fromkeys(call.keys, f"unavailable, because {call.function} {_HARMED}")
        if number in gpu.off:
            return dict.fromkeys(call.keys, gpu.off[number])
        self._progress(number)
        return self._ask(gpu, number, call, now)

    def _ask(self, gpu: _GPU, number: int, call: Call, now: Now) -> Found:
        nvml = self._nvml
        try:
            return call.read(now, gpu.handle)
        except (nvml.NVMLError_GpuIsLost, nvml.NVMLError_ResetRequired) as error:
            # Asked again when the GPUs are counted next.
            gpu.lost = f"unavailable, because {_said(error, call)}"
            return dict.fromkeys(call.keys, gpu.lost)
        except (nvml.NVMLError_NotSupported, nvml.NVMLError_FunctionNotFound) as error:
            gpu.off[number] = f"unavailable, because {_said(error, call)}"
            return dict.fromkeys(call.keys, gpu.off[number])
        except (nvml.NVMLError, *_ERRORS) as error:
            return dict.fromkeys(call.keys, f"unavailable, because {_said(error, call)}")

    def _missing(self, gpu: _GPU, found: Found, values: dict[str, float]) -> dict[str, str]:
        """Return why each metric has no value, of those that have none."""
        there = {FIGURES[key].name for key in values}
        if gpu.activity.is_waiting:
            there |= _AVERAGED
        missing = {
            FIGURES[key].name: why
            for key, why in found.items()
            if isinstance(why, str) and FIGURES[key].name not in there
        }
        missing |= {
            metric: "unavailable, because the driver gave no value for it"
            for metric in METRICS
            if metric not in there and metric not in missing and metric != GPU_XID
        }
        if gpu.parent:
            missing[GPU_XID] = _NOT_OF_A_PART
        elif not self._has_events:
            missing[GPU_XID] = "unavailable, because in the program's own process nobody waits for events"
        elif gpu.lost or gpu.id in self.deaf:
            missing[GPU_XID] = self.deaf.get(gpu.id, gpu.lost)
        return missing

    # -- which GPUs there are

    def _enumerate(self) -> None:
        nvml = self._nvml
        handles: list[Any] = []
        lost: dict[int, str] = {}
        count = nvml.nvmlDeviceGetCount()
        for index in range(count):
            try:
                handle = nvml.nvmlDeviceGetHandleByIndex(index)
                self._known[index] = nvml.nvmlDeviceGetUUID(handle)
            except nvml.NVMLError as error:
                handle, lost[index] = None, f"unavailable, because nvmlDeviceGetHandleByIndex says: {error}"
                self._known.setdefault(index, f"index-{index}")
            handles.append(handle)
        parts = [{} if handle is None else self._parts(handle) for handle in handles]
        candidates = [
            Candidate(
                self._known[index],
                () if handle is None else self._speed(handle),
                tuple((name, instance, compute) for name, (_, instance, compute) in parts[index].items()),
            )
            for index, handle in enumerate(handles)
        ]
        chosen = visible(candidates, self._devices, self._device_order)
        before = {gpu.id: gpu for gpu in self._gpus}
        self._gpus = [
            self._named(one, number, _Machine(handles, parts, lost), before)
            for one, number in zip(chosen, _numbers(chosen), strict=True)
        ]
        kept = [gpu.activity for gpu in self._gpus]
        for gone in before.values():
            if gone.activity not in kept:
                gone.activity.close()

    def _named(self, one: Visible, name: str, machine: _Machine, before: dict[str, _GPU]) -> _GPU:
        whole, handle = self._known[one.gpu], machine.handles[one.gpu]
        part, number, _ = machine.parts[one.gpu][one.instance] if one.instance is not None else (None, None, None)
        known = before.get(one.instance or whole)
        is_as_before = known is not None and known.activity.instance == number
        activity = known.activity if known is not None and is_as_before else Activity(self._nvml, number)
        if one.instance is not None:
            gpu = _GPU(one.instance, name, part, handle, activity, parent=whole)
        else:
            gpu = _GPU(whole, name, handle, handle, activity, lost=machine.lost.get(one.gpu, ""))
        gpu.info = known.info if known is not None and known.info else self._info(gpu)
        return gpu

    def _parts(self, handle: Any) -> dict[str, tuple[Any, int, int]]:
        """Return the parts of a GPU by id: handle, and numbers as GPU instance and compute instance."""
        nvml = self._nvml
        found: dict[str, tuple[Any, int, int]] = {}
        try:
            if not nvml.nvmlDeviceGetMigMode(handle)[0]:
                return found
            most = min(nvml.nvmlDeviceGetMaxMigDeviceCount(handle), _MOST_PARTS)
        except (nvml.NVMLError, *_ERRORS):
            return found
        for index in range(most):
            try:
                part = nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, index)
                numbers = nvml.nvmlDeviceGetGpuInstanceId(part), nvml.nvmlDeviceGetComputeInstanceId(part)
                found[nvml.nvmlDeviceGetUUID(part)] = (part, *numbers)
            except (nvml.NVMLError, *_ERRORS):
                continue  # there are fewer than there may be
        return found

    def _speed(self, handle: Any) -> tuple[float, ...]:
        nvml = self._nvml
        try:
            capability = tuple(map(float, nvml.nvmlDeviceGetCudaComputeCapability(handle)))
            cores = nvml.nvmlDeviceGetNumGpuCores(handle)
            return (*capability, float(cores * nvml.nvmlDeviceGetMaxClockInfo(handle, nvml.NVML_CLOCK_SM)))
        except (nvml.NVMLError, *_ERRORS):
            return ()

    def _info(self, gpu: _GPU) -> dict[str, str]:
        """Return what does not change: vendor, model, versions."""
        nvml = self._nvml
        asks: dict[str, Callable[[], Any]] = {
            "hw.model": lambda: nvml.nvmlDeviceGetName(gpu.handle),
            "hw.serial_number": lambda: nvml.nvmlDeviceGetSerial(gpu.handle),
            "hw.firmware_version": lambda: nvml.nvmlDeviceGetVbiosVersion(gpu.handle),
            "hw.driver_version": nvml.nvmlSystemGetDriverVersion,
        }
        told = {"hw.vendor": "NVIDIA"}
        for name, ask in asks.items() if gpu.handle is not None else ():
            try:
                value = ask()
            except (nvml.NVMLError, *_ERRORS):
                continue
            told[name] = str(value)
        return told


def _numbers(chosen: Sequence[Visible]) -> list[str]:
    """Return what each is called: by its number among those that the program may use, as CUDA counts them."""
    found: list[str] = []
    gpus: list[int] = []
    part = 0
    for one in chosen:
        if one.gpu not in gpus:
            gpus.append(one.gpu)
            part = 0
        number = gpus.index(one.gpu)
        found.append(f"GPU {number}" if one.instance is None else f"GPU {number} part {part}")
        part += one.instance is not None
    return found


def _said(error: Exception, call: Call) -> str:
    # Of several functions the one that failed has left its name.
    function = [call.function, *getattr(error, "__notes__", ())][-1]
    return f"{function} says: {error}"
