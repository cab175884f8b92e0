"""What became of a process, told from its recording: the cause in the first line, then all else."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final, NamedTuple

import numpy as np

from holter import words
from holter.containercourse import ContainerCourse, container_course
from holter.distribution import Histogram
from holter.figures import plain, timestamp
from holter.history import History
from holter.memorycourse import MemoryCourse, memory_course
from holter.model import OpenCall, Reading, Snapshot
from holter.recorded import RecordingContents
from holter.report import Summary, summarise
from holter.tables import Notes, Table
from holter.verdict import Verdict, clock_time

# A call that has run for so many times the longest one that ended, and a second, hangs.
_HANGS: Final = 10.0
_HANGS_SECONDS: Final = 1.0
_FEWEST_ENDED: Final = 5
_MOST_NAMED: Final = 3
# What was recorded since the last interval counts as one if it is half as long.
_WHOLE_ENOUGH: Final = 0.5
_SAID: Final = {
    "failing": "Error burst",
    "stuck": "Hang",
    "busy": "Load burst",
    "slow": "Slower",
    "stopped": "Silence",
    "quiet": "Load fell",
    "alert": "Alert",
}


class Running(NamedTuple):
    """A call that was running, how many like it had ended, and how long the longest of them took."""

    call: OpenCall
    ended: int
    longest_seconds: float | None

    @property
    def hangs(self) -> bool:
        """Whether it ran for much longer than any before; a stream whose consumer had its turn does not."""
        if self.call.asked_ns < 0:
            return False
        longest = self.longest_seconds
        enough = longest is not None and self.ended >= _FEWEST_ENDED
        return enough and self.call.age_seconds >= max(_HANGS_SECONDS, _HANGS * (longest or 0.0))

    def words(self) -> str:
        """Return "predict for 27 s (longest before: 12 ms)"."""
        before = (
            "none like it had ended"
            if not self.ended
            else f"longest before: {words.duration(self.longest_seconds or 0)}"
        )
        return f"{_name(self.call.name)} for {words.duration(self.call.age_seconds)} ({before})"


def post_mortem(contents: RecordingContents) -> Summary:
    """
    Return what a recording tells of the end of its process, to be read by people and programs.

    The headline names the cause where the recording shows one: the memory limit, a call that
    hangs, a burst of errors, memory that leaked, a burst of load; else that nothing had changed.
    Of a process that lives it tells how it fares. Costs some 10 ms, and 50 µs a series.
    """
    summary = summarise(contents.snapshot(), contents.alerts, _with_the_rest(contents))
    process = contents.process
    limit = process.memory_limit_bytes or process.host_memory_bytes
    memory = memory_course(contents.history, process.ended_ns, limit)
    container = container_course(contents.history)
    running = _running(contents)
    cause, headline = _cause(summary.verdict, memory, container, running)
    is_dead = process.state == "dead"
    if not is_dead:
        cause, headline = "", summary.verdict.headline
    told = (summary.verdict.headline, *summary.verdict.details)
    details = tuple(text for text in told if text not in headline) if summary.verdict.changed else ()
    end = f"{_ENDS[process.state]} {clock_time(process.ended_ns)}"
    rows = [
        ("running", _running_words(running)),
        ("memory", _memory_words(memory)),
        ("container", container.words() if container is not None else ""),
        ("missing", "; ".join(words.clean(text) for text in contents.missing)),
    ]
    notes = Notes(tuple(row for row in rows if row[1]), kept=len(rows))
    blocks = (notes, _running_table(running), *summary.blocks)
    verdict = Verdict(headline, details, changed=is_dead, kind=cause or summary.verdict.kind)
    return Summary(
        verdict=verdict,
        heading=f"{summary.heading}; {end}",
        blocks=tuple(block for block in blocks if block.rows),
        figures={
            **summary.figures,
            **_figures(contents, cause, verdict, memory, running),
            "container": None if container is None else plain(asdict(container)),
        },
    )


_ENDS: Final = {
    "dead": "it died, last heard of at",
    "closed": "it ended well at",
    "running": "it lives, heard of at",
    "stopped": "it lives without a monitor, heard of at",
}


def _cause(
    verdict: Verdict, memory: MemoryCourse | None, container: ContainerCourse | None, running: list[Running]
) -> tuple[str, str]:
    """Return the cause in a word, and the sentence that names it first."""
    hanging = [one for one in running if one.hangs]
    if memory is not None and memory.is_at_limit:
        growth = f", having grown {memory.growth()}" if memory.last > memory.first else ""
        return "memory limit", f"Memory limit: {memory.usage()} used{growth}."
    if container is not None and container.is_at_limit:
        own = f", {words.size(memory.last)} of that by this process" if memory is not None else ""
        return "memory limit", f"Memory limit: its control group had used {container.memory()}{own}."
    if memory is not None and memory.is_host_full:
        share = words.ratio(memory.host_share or 0.0)
        return (
            "memory limit",
            f"Memory limit: {share} of the machine's memory was used, {memory.usage()} by this process.",
        )
    if hanging:
        more = f", and {len(hanging) - 1} more" if len(hanging) > 1 else ""
        return "hang", f"Hang: {hanging[0].words()}{more}."
    if verdict.kind in ("failing", "stuck"):
        return _SAID[verdict.kind].lower(), f"{_SAID[verdict.kind]}: {verdict.headline}"
    if memory is not None and memory.is_leak:
        seconds = memory.until_limit_seconds()
        until = (
            f"; at that pace {words.size(memory.limit or 0)} are reached in {words.duration(seconds)}"
            if seconds
            else ""
        )
        return "leak", f"Leak: memory grew {memory.growth()} and had not levelled off{until}."
    if verdict.kind in _SAID:
        return _SAID[verdict.kind].lower(), f"{_SAID[verdict.kind]}: {verdict.headline.removeprefix('Alert: ')}"
    calm = verdict.headline.removeprefix("Nothing unusual: ")
    return "none", f"Nothing had changed before it died: {calm}"


def _with_the_rest(contents: RecordingContents) -> History:
    """Return the history with what was recorded since its last interval as one more, where that is whole and long."""
    history, records = contents.history, contents.records
    if not len(history) or not len(records):
        return history
    ended_ns = int(history.times_ns()[-1])
    since_ns = contents.monotonic_ns - (contents.process.ended_ns - ended_ns)
    length_ns = contents.monotonic_ns - since_ns
    rest = records[records["time_ns"] > since_ns]
    before = set(records["ring"][records["time_ns"] <= since_ns].tolist())
    # A ring whose oldest record came since then has lost others of that time.
    is_whole = all(ring in before or part["sequence"].min() == 1 for ring, part in _by(rest, "ring").items())
    if length_ns < _WHOLE_ENOUGH * 1e9 * float(np.median(history.seconds())) or not is_whole:
        return history
    interval = {}
    for key, part in _by(rest, "series").items():
        if key in contents.series:
            values = part["value"]
            last = float(values[-1])
            interval[key] = Reading(len(part), float(values.sum()), histogram=Histogram.of(values), last=last)
    longer = history.copy()
    longer.add(Snapshot(contents.process.ended_ns, length_ns, contents.series, {}, interval))
    return longer


def _by(records: np.ndarray, name: str) -> dict[int, np.ndarray]:
    return {key: records[records[name] == key] for key in np.unique(records[name]).tolist()}


def _running(contents: RecordingContents) -> list[Running]:
    """Return the open calls, the one that ran longest first, with what is known of those like it."""
    families: dict[int, list[int]] = defaultdict(list)
    for key in contents.totals:
        families[contents.series[key].parent or key].append(key)
    found = []
    ended: dict[int, Reading] = {}
    for call in contents.open_calls:
        if call.series not in ended:
            reading = Reading()
            for key in families.get(call.series, ()):
                reading = reading.merge(contents.totals[key])
            ended[call.series] = reading
        found.append(Running(call, ended[call.series].count, ended[call.series].maximum))
    return sorted(found, key=lambda one: one.call.age_seconds, reverse=True)


def _running_words(running: list[Running]) -> str:
    if not running:
        return "no watched call"
    named: dict[str, Running] = {}
    for one in running:
        named.setdefault(one.call.name, one)
    texts = [one.words() for one in list(named.values())[:_MOST_NAMED]]
    more = len(running) - len(texts)
    return ", ".join(texts) + (f", and {words.count(more, 'other call')}" if more else "")


def _memory_words(memory: MemoryCourse | None) -> str:
    if memory is None:
        return ""
    if memory.is_steady:
        return f"{memory.usage()}, steady"
    pace = f"{words.size(abs(60 * memory.slope))}/min {'up' if memory.slope > 0 else 'down'} at last"
    return f"{memory.usage()}, {pace}; {memory.growth()}"


def _running_table(running: list[Running]) -> Table:
    rows = tuple(
        (
            _name(one.call.name),
            words.duration(one.call.age_seconds),
            words.count(one.ended),
            "" if one.longest_seconds is None else words.duration(one.longest_seconds),
            str(one.call.thread),
            f"{one.call.task:x}" if one.call.task else "",
        )
        for one in running
    )
    heading = ("running", "for", "ended", "longest", "thread", "task")
    return Table(heading, rows, frozenset({1, 2, 3, 4, 5})).without_empty()


def _figures(
    contents: RecordingContents, cause: str, verdict: Verdict, memory: MemoryCourse | None, running: list[Running]
) -> Mapping[str, Any]:
    process = contents.process
    return {
        "cause": cause,
        "headline": plain(verdict.headline),
        "verdict": plain(asdict(verdict)),
        "path": plain(str(contents.path)),
        "state": process.state,
        "state_is_sure": process.is_sure,
        "ended": timestamp(process.ended_ns),
        "memory": None if memory is None else plain(asdict(memory)),
        "memory_limit_bytes": process.memory_limit_bytes,
        "running": [
            {
                "call": plain(one.call.name),
                "seconds": plain(one.call.age_seconds),
                "thread": one.call.thread,
                "task": one.call.task,
                "ended": one.ended,
                "longest_seconds": plain(one.longest_seconds),
                "hangs": one.hangs,
            }
            for one in running
        ],
        "missing": plain(list(contents.missing)),
        "whereabouts": plain(asdict(process.whereabouts)),
    }


def _name(name: str) -> str:
    return words.clean(name, 60)
