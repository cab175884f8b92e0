"""What is around the processes of `holter top`: the host, the container, GPUs and the energy that calls took."""

from __future__ import annotations

from typing import Any, Final

from holter import names
from holter.metric import LEVELS, Series
from holter.model import Reading, Snapshot
from holter.view.onlooker import Moment
from holter.view.vitalsigns import EnergyFigures, GpuFigures

CONTAINER: Final = ("container.", "holter.cgroup.")
_GPU: Final = ("hw.gpu.", "hw.power", "hw.temperature", "holter.gpu.")
_MAIN: Final = {"hw.gpu.task": "general", "hw.sensor_location": "gpu"}
"""Of what a GPU has several of the same kind, the one that is shown."""
_BUSY: Final = ("idle", "iowait")


def _found(snapshot: Snapshot, name: str) -> list[tuple[Series, Reading]]:
    return [
        (series, snapshot.total[series.id])
        for series in snapshot.series.values()
        if series.name == name and series.id in snapshot.total
    ]


def level(snapshot: Snapshot, name: str, without: tuple[str, ...] = ()) -> float | None:
    """Return the newest value of a level, summed over its series but those of CPU modes *without*; None without any."""
    values = [
        reading.last
        for series, reading in _found(snapshot, name)
        if reading.last is not None and series.attributes.get("cpu.mode") not in without
    ]
    return sum(values) if values else None


def machine(moment: Moment) -> dict[str, float]:
    """Return the newest levels of the process and the host by name, and rates of the last ten seconds."""
    total, lately = moment.snapshot, moment.lately
    figures: dict[str, float | None] = {
        "process_cpu": level(total, "process.cpu.utilization"),
        "process_memory_bytes": level(total, "process.memory.usage"),
        "process_threads": level(total, "process.thread.count"),
        "process_open_files": level(total, "process.unix.file_descriptor.count"),
        "host_cpu": level(total, "system.cpu.utilization", without=_BUSY),
        "host_memory": level(total, "system.memory.utilization"),
        "host_memory_bytes": level(total, "system.memory.usage"),
        "host_memory_limit_bytes": level(total, "system.memory.limit"),
        "host_load": level(total, "holter.host.load_average"),
    }
    for metric, key, label in (
        ("process.disk.io", "disk.io.direction", "process_disk"),
        ("system.disk.io", "disk.io.direction", "host_disk"),
        ("system.network.io", "network.io.direction", "host_network"),
    ):
        for series, _ in _found(total, metric):
            rate, name = _rate(lately, series), f"{label}_{series.attributes.get(key, 'io')}_rate"
            figures[name] = figures.get(name) if rate is None else (figures.get(name) or 0.0) + rate
    for series, reading in _found(total, names.HOST_PRESSURE):
        resource, stalled = (
            series.attributes.get(key) for key in (names.PRESSURE_RESOURCE_NAME, names.PRESSURE_STALLED_TYPE)
        )
        share = _rate(lately, series)
        figures[f"host_pressure_{resource}_{stalled}"] = _newest(total, reading) if share is None else share
    return {name: value for name, value in figures.items() if value is not None}


def container(moment: Moment) -> dict[str, float]:
    """Return whatever there is of the container: levels as they are, counters as their growth a second."""
    figures: dict[str, float] = {}
    for series in moment.snapshot.series.values():
        if not series.name.startswith(CONTAINER) or series.id not in moment.snapshot.total:
            continue
        parts = ",".join(str(value) for _, value in sorted(series.attributes.items()))
        name = series.name + (f"{{{parts}}}" if parts else "")
        if series.kind in LEVELS:
            value = moment.snapshot.total[series.id].last
            figures |= {} if value is None else {name: value}
        elif series.kind == "counter":
            figures[f"{name}/s"] = _rate(moment.lately, series) or 0.0
    return figures


def gpus(snapshot: Snapshot) -> tuple[GpuFigures, ...]:
    """Return the figures of each GPU, by their names."""
    found: dict[str, dict[str, Any]] = {}
    for series in snapshot.series.values():
        attributes, reading = series.attributes, snapshot.total.get(series.id)
        is_of_gpu = series.name.startswith(_GPU) and attributes.get("hw.type", "gpu") == "gpu"
        if not is_of_gpu or "hw.id" not in attributes or reading is None or reading.last is None:
            continue
        figures = found.setdefault(str(attributes["hw.id"]), {"throttled": []})
        figures["name"] = str(attributes.get("hw.name", figures.get("name", "")))
        if series.name == "holter.gpu.info":
            figures["model"] = str(attributes.get("hw.model", ""))
        elif series.name == "holter.gpu.throttle":
            figures["throttled"] += [str(attributes.get("holter.gpu.throttle_reason", ""))] if reading.last else []
        elif all(attributes.get(key, main) == main for key, main in _MAIN.items()):
            figures.setdefault(series.name, reading.last)
    return tuple(
        GpuFigures(
            id=key,
            name=figures["name"],
            model=figures.get("model", ""),
            utilization=figures.get("hw.gpu.utilization"),
            memory_bytes=figures.get("hw.gpu.memory.usage"),
            memory_limit_bytes=figures.get("hw.gpu.memory.limit"),
            power=figures.get("hw.power"),
            power_limit=figures.get("holter.gpu.power_limit"),
            temperature=figures.get("hw.temperature"),
            throttled=tuple(sorted(figures["throttled"])),
        )
        for key, figures in sorted(found.items(), key=lambda item: (item[1]["name"], item[0]))
    )


def energy(moment: Moment) -> tuple[EnergyFigures, ...]:
    """
    Return what each call takes of the GPUs, the one that takes most first.

    Power and joules a call are of the last ten seconds, of the calls that ended then, where the GPUs were read in them.
    """
    total, lately = moment.snapshot, moment.lately
    taken = [
        reading for series, _ in _found(total, names.HARDWARE_ENERGY) if (reading := lately.interval.get(series.id))
    ]
    seconds = max((_seconds(lately, reading) for reading in taken), default=0.0)
    ended: dict[str, int] = {}
    for series, _ in _found(total, names.CALL_DURATION) if seconds else ():
        name, reading = _call(series), lately.interval.get(series.id)
        ended[name] = ended.get(name, 0) + (0 if reading is None else reading.count)
    tokens = {_call(series): reading.last for series, reading in _found(total, names.LLM_TOKEN_ENERGY)}
    found = []
    for series, reading in _found(total, names.CALL_ENERGY):
        name, grown = _call(series), lately.interval.get(series.id)
        power = (0.0 if grown is None else max(0.0, grown.sum)) / seconds if seconds else None
        rate = ended.get(name, 0) / (lately.interval_ns / 1e9) if seconds else 0.0
        found.append(
            EnergyFigures(
                name=name,
                power=power,
                call_joules=power / rate if power is not None and rate else None,
                token_joules=tokens.get(name),
                total=reading.sum,
            )
        )
    return tuple(sorted(found, key=lambda one: (-(one.power or 0.0), -one.total, one.name)))


def _call(series: Series) -> str:
    return str(series.attributes.get(names.CALL_NAME, ""))


def _rate(lately: Snapshot, series: Series) -> float | None:
    """Return by how much a counter has grown a second, None where no value came in the window."""
    reading = lately.interval.get(series.id)
    if reading is None or not (seconds := _seconds(lately, reading)):
        return None
    return max(0.0, reading.sum) / seconds


def _seconds(lately: Snapshot, reading: Reading) -> float:
    """Return the time between the values that came, as the window may hold one more or less than it is long."""
    return max(0, reading.last_ns - reading.first_ns) / 1e9 or lately.interval_ns / 1e9


def _newest(total: Snapshot, reading: Reading) -> float | None:
    """Return the newest growth over the usual time between two values; None where others' values are among them."""
    if reading.count < 2 or reading.last is None or reading.first_ns < total.process.started_ns:  # noqa: PLR2004 - a time between
        return None
    usual = (reading.last_ns - reading.first_ns) / 1e9 / (reading.count - 1)
    return max(0.0, reading.last) / usual if usual > 0 else None
