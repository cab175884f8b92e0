"""
The helper process that reads GPUs: NVML may hang or crash inside a call, and then takes nobody with it.

Run as a program by its path, not by ``-m``, which would import the package and numpy with it. It is asked by one line
on its standard input, how many milliseconds from then to read, and answers by one line of JSON. It ends when its input
does, when nobody has asked for a while, and on Linux when the thread that has started it does.
"""

from __future__ import annotations

import json
import os
import queue
import struct
import sys
import threading
import time
import types
from contextlib import suppress
from typing import Any, Final

FAILED: Final = 70
"""What it ends with after it has said why."""

_SET_DEATH_SIGNAL: Final = 1  # PR_SET_PDEATHSIG
_KILL: Final = 9
_XID_WAIT_MS: Final = 1_000
_SAYING: Final = threading.Lock()
_MS: Final = 1e3


def main(argument: str) -> None:
    """Answer until nobody asks any more; never returns."""
    settings: dict[str, Any] = json.loads(argument)
    asked: queue.SimpleQueue[float] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(asked,), daemon=True).start()
    _die_with(settings["parent"])
    package = types.ModuleType("holter")
    package.__path__ = [settings["package"]]
    sys.modules["holter"] = package
    sys.path += settings["path"]
    sys.excepthook = _give_up
    with suppress(BrokenPipeError, queue.Empty):
        _serve(settings, asked)
    # Not by the interpreter's end, nor by nvmlShutdown: a library that hangs may hang there too.
    os._exit(0)


def _give_up(kind: type[BaseException], error: BaseException, _: object) -> None:
    with suppress(OSError):
        _say({"unavailable": f"the helper failed with {kind.__name__}: {error}"})
    os._exit(FAILED)


def _listen(asked: queue.SimpleQueue[float]) -> None:
    """Pass on what is asked; end the process with its input, also while it hangs in a call."""
    with os.fdopen(0, "rb", buffering=0, closefd=False) as questions:
        for line in questions:
            asked.put(float(line) / _MS)
    os._exit(0)


def _die_with(parent: int) -> None:
    if sys.platform == "linux":
        import ctypes  # noqa: PLC0415  NVML's module imports it too

        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, _KILL)
    if hasattr(os, "getppid") and os.getppid() != parent:
        os._exit(0)


def _serve(settings: dict[str, Any], asked: queue.SimpleQueue[float]) -> None:
    from holter.gpufigures import GPUsUnavailable  # noqa: PLC0415  the package is there only now
    from holter.nvml import NVML  # noqa: PLC0415

    gpus = NVML(
        settings["parent"],
        devices=settings["devices"],
        device_order=settings["device_order"],
        skipped=settings["skipped"],
        progress=_Progress(settings["progress"]),
        has_events=True,
        shares_pids=settings["shares_pids"],
    )
    try:
        gpus.open()
        threading.Thread(target=_tell_events, args=(gpus,), daemon=True).start()
        before: dict[str, Any] = {}
        while True:
            time.sleep(asked.get(timeout=settings["idle_seconds"]))
            told: dict[str, Any] = {**gpus.read(time.monotonic_ns())}
            _say({**told, "gpus": [_news(one, before) for one in told["gpus"]], "cost": _cost()})
    except GPUsUnavailable as error:
        _say({"unavailable": str(error)} | ({"culprit": error.culprit} if error.culprit else {}))


def _say(what: dict[str, Any]) -> None:
    line = memoryview(json.dumps(what, separators=(",", ":")).encode() + b"\n")
    with _SAYING:
        while line:
            line = line[os.write(1, line) :]


def _news(gpu: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """Return what is told of a GPU, without what was told the same before."""
    told = dict(gpu)
    for key in ("info", "missing"):
        place = f"{gpu['id']} {key}"
        if before.get(place) == gpu[key]:
            del told[key]
        before[place] = gpu[key]
    return told


def _cost() -> dict[str, float]:
    """Return the CPU time that this process has used, and the memory that is resident."""
    cost = {"cpu_seconds": time.process_time()}
    with suppress(OSError, ValueError, AttributeError), open("/proc/self/statm", "rb") as file:  # noqa: PTH123  pathlib is not needed otherwise
        cost["memory_bytes"] = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return cost


class _Progress:
    """Tells the parent, by four bytes of memory, which call is being made, so that it knows which one has not ended."""

    def __init__(self, descriptor: int | None) -> None:
        self._place: Any = bytearray(4)
        if descriptor is not None:
            import mmap  # noqa: PLC0415  not where there is nothing to map

            with suppress(OSError, ValueError):
                self._place = mmap.mmap(descriptor, 4)

    def __call__(self, number: int) -> None:
        self._place[:4] = struct.pack("<I", number)


def _tell_events(gpus: Any) -> None:
    """Wait for error events of the driver (Xid) and tell them; this is a thread, since each wait blocks."""
    import pynvml  # type: ignore[import-untyped]  # noqa: PLC0415  it is loaded, and has no types

    try:
        events = pynvml.nvmlEventSetCreate()
    except (pynvml.NVMLError, AttributeError) as error:
        gpus.deaf |= dict.fromkeys(gpus.handles, f"unavailable, because nvmlEventSetCreate says: {error}")
        return
    heard = 0
    for name, handle in gpus.handles.items():
        try:
            pynvml.nvmlDeviceRegisterEvents(handle, pynvml.nvmlEventTypeXidCriticalError, events)
            heard += 1
        except pynvml.NVMLError as error:
            gpus.deaf[name] = f"unavailable, because nvmlDeviceRegisterEvents says: {error}"
    while heard:
        try:
            event = pynvml.nvmlEventSetWait_v2(events, _XID_WAIT_MS)
            # At once: what comes with such an event may be that the other thread hangs.
            _say({"event": [pynvml.nvmlDeviceGetUUID(event.device), int(event.eventData)]})
        except pynvml.NVMLError_Timeout:
            continue
        except OSError:
            return
        except pynvml.NVMLError as error:
            gpus.deaf |= dict.fromkeys(gpus.handles, f"unavailable, because nvmlEventSetWait_v2 says: {error}")
            # It may say so at once, each time.
            time.sleep(_XID_WAIT_MS / _MS)


if __name__ == "__main__":
    main(sys.argv[1])
