"""The head of `holter top`: whom it is about, what is wrong with it, the machine, the alerts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from holter import words
from holter.tables import cell_width, shortened, wrapped
from holter.verdict import clock_time
from holter.view.grid import Line, Piece, Role
from holter.view.vitalsigns import GpuFigures, ProcessFigures, TrainingFigures, Vitals
from holter.view.wanted import View, brief, percent

_MOST_ALERTS: Final = 4
_MOST_LOGGED: Final = 6
FEW_GPUS: Final = 2
_MOST_STATE_LINES: Final = 8
_BUSY: Final = 0.05
_NARROWEST: Final = 16
_SYSTEM: Final = {
    "T": "stopped by a signal",
    "t": "stopped by a debugger",
    "D": "waiting for a disk or a device",
    "Z": "ended, and not fetched by its parent",
}
_RESOURCES: Final = {"cpu": "CPU", "memory": "memory", "io": "storage"}
STATES: Final[Mapping[str, Role]] = {
    "running": "good",
    "silent": "bad",
    "dead": "bad",
    "stopped": "warn",
    "closed": "dim",
}


def head(figures: Vitals, view: View, width: int) -> list[Line]:
    """Return the lines that stay at the top."""
    return [_title(figures, view, width), *_state(figures, width), *_machine(figures, width), *_alerts(figures, width)]


def _title(figures: Vitals, view: View, width: int) -> Line:
    first = figures.processes[0] if figures.processes else None
    service = "" if first is None else words.clean(first.service, 40)
    version = "" if first is None or not first.version else f" {words.clean(first.version, 20)}"
    alive = [one for one in figures.processes if one.state not in ("dead", "closed")]
    if first is not None and len(figures.processes) == 1:
        who, state = f"process {first.pid} on {words.clean(first.host, 30)}", first.state
    else:
        of = f"{len(alive)} of " if len(alive) < len(figures.processes) else ""
        who = of + words.count(len(figures.processes), "process") + (", each" if view.is_apart else ", summed")
        state = "running" if alive else "dead"
        silent = sum(one.state == "silent" for one in figures.processes)
        state = f"{silent} silent" if silent else state
    role = STATES.get(state, "bad")
    period = figures.interval_seconds or view.interval_seconds
    right = f"{clock_time(figures.time_ns)}  the last {words.duration(round(period, 1) or period)}"
    if view.is_paused:
        state, role = "PAUSED", "warn"
    # The state is what matters most where there is little room, the time what matters least.
    room = max(0, width - len(state) - 4)
    name = shortened(f"{service}{version}", max(0, room - min(cell_width(who), room // 2)))
    whose = shortened(who, room - cell_width(name)) if room > _NARROWEST else ""
    pieces = [Piece(name, "title"), Piece(f"  {whose}  "), Piece(state[:width], role)]
    spare = width - sum(cell_width(piece.text) for piece in pieces)
    if spare >= len(right) + 2:
        pieces.append(Piece(right.rjust(spare), "dim"))
    return tuple(pieces)


def _state(figures: Vitals, width: int) -> list[Line]:
    """Return what there is to say of processes that write nothing any more, and what to do next."""
    lines: list[Line] = []
    is_group = len(figures.processes) > 1
    for one in figures.processes:
        told = _trouble(one, figures.time_ns)
        if told:
            who = f"Process {one.pid}: " if is_group else ""
            said = [told] if is_group and len(lines) > _MOST_ALERTS else [told, _next_step(one)]
            for sentence, role in zip(said, ("bad", "warn"), strict=False):
                if sentence:
                    lines += [(Piece(line, role),) for line in wrapped(who + sentence, width)]  # type: ignore[arg-type]
                    who = ""
    return lines[:_MOST_STATE_LINES]


def _trouble(one: ProcessFigures, now_ns: int) -> str:
    ago = words.duration(round(max(0, now_ns - one.ended_ns) / 1e9))
    sure = "" if one.is_sure else " (as far as can be told from here)"
    if one.state == "dead":
        return f"DIED: last heard of at {clock_time(one.ended_ns)}, {ago} ago{sure}. Below is its last state."
    if one.state == "closed":
        return f"ENDED well at {clock_time(one.ended_ns)}, {ago} ago{sure}. Below is its last state."
    if one.state == "stopped":
        return "No monitor runs in it: it records, and nobody in it samples, judges or exports."
    if one.state != "silent":
        return ""
    doing = _SYSTEM.get(one.system_state or "")
    if doing is None and one.cpus is not None:
        doing = f"using {words.ratio(round(one.cpus, 2))} of a CPU" if one.cpus >= _BUSY else "asleep, using no CPU"
    hint = f"; it is {doing}" if doing else ""
    return f"HANGS: it has written nothing for {words.duration(round(one.silent_seconds))}{hint}."


def _next_step(one: ProcessFigures) -> str:
    path = words.clean(one.path, 300)
    if one.state == "dead":
        return f"Next: holter postmortem {path}"
    if one.state == "silent" and one.system_state == "T":
        return f"Next: kill -CONT {one.pid}"
    if one.state == "silent":
        return f"Next: holter postmortem {one.pid}; where it stands: py-spy dump --pid {one.pid}"
    return ""


def _machine(figures: Vitals, width: int) -> list[Line]:
    known = figures.machine

    def parts(*texts: tuple[str, Callable[[float], str], str]) -> list[str]:
        return [form.format(say(known[name])) for name, say, form in texts if name in known]

    limits = {one.memory_limit_bytes for one in figures.processes} - {None}
    limit = f" of {words.size(float(min(filter(None, limits))))}" if len(figures.processes) == 1 and limits else ""
    process = parts(
        ("process_cpu", percent, "CPU {}"),
        ("process_memory_bytes", words.size, "memory {}" + limit),
        ("process_threads", words.count, "{} threads"),
        ("process_open_files", words.count, "{} files"),
        ("process_disk_read_rate", _flow, "read {}"),
        ("process_disk_write_rate", _flow, "written {}"),
    )
    whole = f" of {words.size(known['host_memory_limit_bytes'])}" if "host_memory_limit_bytes" in known else ""
    host = parts(
        ("host_cpu", percent, "CPU {}"),
        ("host_memory", percent, "memory {}" + whole),
        ("host_load", words.number, "load {}"),
        ("host_network_receive_rate", _flow, "net in {}"),
        ("host_network_transmit_rate", _flow, "out {}"),
        ("host_disk_read_rate", _flow, "disk read {}"),
        ("host_disk_write_rate", _flow, "written {}"),
    )
    label = "processes" if len(figures.processes) > 1 else "process"
    if len(figures.processes) == 1 and figures.processes[0].state == "silent":
        process = (
            [f"{words.duration(round(figures.processes[0].silent_seconds))} ago: {process[0]}", *process[1:]]
            if process
            else []
        )
    lines = [
        _note(label, process, width),
        _note("container", _container(figures.container), width),
        _note("host", host, width),
        _note("pressure", _pressure(figures), width),
    ]
    lines += [
        _note(words.clean(gpu.name or f"GPU {place}", 16), told(gpu), width)
        for place, gpu in enumerate(figures.gpus[:FEW_GPUS])
    ]
    if len(figures.gpus) > FEW_GPUS:
        lines[-FEW_GPUS:] = [_note("GPUs", _together(figures.gpus), width)]
    return [line for line in lines if line]


def _container(known: Mapping[str, float]) -> list[str]:
    """Return what matters most of the container first: memory and CPUs of what it may have, and what held it up."""
    left = dict(known)

    def taken(name: str) -> float | None:
        found = [left.pop(key) for key in list(left) if key == name or key.startswith(f"{name}{{")]
        return sum(found) if found else None

    usage, working, most = (taken(f"container.memory.{name}") for name in ("usage", "working_set", "limit"))
    limit = taken("holter.cgroup.memory.limit") or most
    used = usage if working is None else working
    busy = [left.pop(key) for key in list(left) if key.startswith("container.cpu.time") and key.endswith("/s")]
    taken("holter.cgroup.pressure")  # it stands on a line of its own
    cpus, throttled = taken("holter.cgroup.cpu.limit"), taken("holter.cgroup.cpu.throttled_time/s")
    told = [
        "" if used is None else f"memory {words.size(used)}" + (f" of {words.size(limit)}" if limit else ""),
        f"CPUs {words.number(sum(busy))}" + (f" of {words.number(cpus)}" if cpus else "") if busy else "",
        f"throttled {brief(throttled)} a second" if throttled else "",
        *(
            f"{words.clean(_short_name(name), 40)} {_amount(name, value)}"
            for name, value in left.items()
            if value or not name.endswith("/s")
        ),
    ]
    return [text for text in told if text]


def _pressure(figures: Vitals) -> list[str]:
    """Return for which share of the time some task waited for want of a resource, and all did; of the container too."""
    texts = []
    for resource, name in _RESOURCES.items():
        some, full = (figures.machine.get(f"host_pressure_{resource}_{who}") for who in ("some", "full"))
        if some is not None:
            texts.append(f"{name} {_rough(some)}" + (f" (all {_rough(full)})" if full and resource != "cpu" else ""))
    for resource, name in _RESOURCES.items():
        if some := figures.container.get(f"holter.cgroup.pressure{{{resource},some}}/s"):
            texts.append(f"container's {name} {_rough(some)}")
    return texts


def _rough(share: float) -> str:
    # More digits are not known of it, by the times at which it was read.
    return percent(round(min(share, 1.0), 3))


def told(gpu: GpuFigures) -> list[str]:
    """Return what there is to say of a GPU: its model, how busy it is, memory, power, temperature."""
    memory = "" if gpu.memory_bytes is None else f"memory {words.size(gpu.memory_bytes)}"
    memory += f" of {words.size(gpu.memory_limit_bytes)}" if memory and gpu.memory_limit_bytes else ""
    limit = f" of {words.number(gpu.power_limit)}" if gpu.power_limit else ""
    texts = [
        words.clean(gpu.model, 24),
        "" if gpu.utilization is None else f"busy {percent(gpu.utilization)}",
        memory,
        "" if gpu.power is None else f"{words.number(gpu.power)}{limit} W",
        "" if gpu.temperature is None else f"{words.number(gpu.temperature)} °C",
        f"held down by {words.clean(' and '.join(gpu.throttled), 60)}" if gpu.throttled else "",
    ]
    return [text for text in texts if text]


def _together(gpus: Sequence[GpuFigures]) -> list[str]:
    """Return what many GPUs come to; each has its row in a table of its own."""

    def known(name: str) -> list[float]:
        return [value for gpu in gpus if (value := getattr(gpu, name)) is not None]

    def reach(values: list[float], say: Callable[[float], str]) -> str:
        return say(values[0]) if min(values) == max(values) else f"{say(min(values))} to {say(max(values))}"

    busy, memory, limit = known("utilization"), known("memory_bytes"), known("memory_limit_bytes")
    power, heat = known("power"), known("temperature")
    texts = [
        words.count(len(gpus)),
        f"busy {reach(busy, percent)}, mean {percent(sum(busy) / len(busy))}" if busy else "",
        f"memory {words.size(sum(memory))}" + (f" of {words.size(sum(limit))}" if limit else "") if memory else "",
        f"{words.number(sum(power))} W" if power else "",
        f"{reach(heat, words.number)} °C" if heat else "",
    ]
    return [text for text in texts if text]


def _note(label: str, told: list[str], width: int) -> Line:
    """Return one line of short texts behind a label, as many as fit; nothing where there is none."""
    line = [Piece(shortened(f"{label:<9} ", width), "dim")]
    used = cell_width(line[0].text)
    for each in told:
        gap = "" if len(line) == 1 else ", "
        used += len(gap) + cell_width(each)
        if used > width:
            break
        line.append(Piece(gap + each))
    return tuple(line) if len(line) > 1 else ()


def _alerts(figures: Vitals, width: int) -> list[Line]:
    firing = [alert for alert in figures.alerts if alert.state == "firing"]
    lines: list[Line] = []
    for alert in firing[:_MOST_ALERTS]:
        said = f"{words.clean(alert.message, 240)}. {words.clean(alert.next_step, 160)}"
        silenced = "" if alert.silence is None else f" ({alert.silence})"
        told = f"ALERT since {clock_time(alert.since_ns)}{silenced}: {said}"
        lines += [(Piece(line, "bad"),) for line in wrapped(told, width)[:3]]
    if len(firing) > _MOST_ALERTS:
        lines.append((Piece(f"and {words.count(len(firing) - _MOST_ALERTS, 'more alert')}", "bad"),))
    return lines


def logged(runs: Iterable[TrainingFigures], width: int) -> list[Line]:
    """Return a line for each training run that has logged something: what it has logged last."""
    lines = []
    for run in runs:
        known = list(run.logged.items())[:_MOST_LOGGED]
        told = [f"{words.clean(name, 30)} {words.number(value)}" for name, value in known]
        lines.append(_note(f"  {words.clean(run.name, 20)} logged", told, width))
    return [line for line in lines if line]


def _flow(rate: float) -> str:
    return f"{words.size(rate)}/s"


def _short_name(name: str) -> str:
    return name.removeprefix("container.").removeprefix("holter.cgroup.").removesuffix("/s")


def _amount(name: str, value: float) -> str:
    is_bytes = "memory" in name and "utilization" not in name
    shown = words.size(value) if is_bytes else words.number(value)
    return f"{shown}/s" if name.endswith("/s") else shown
