"""From what was noted of slow and failed calls, and the records of their spans, to SlowCalls; and what slow is."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np

from holter import names
from holter.distribution import Histogram
from holter.model import OpenCall, Reading, Series
from holter.noted import NEVER, Noted
from holter.pauses import PAUSES
from holter.record import OUTCOME_MASK, OUTCOME_SHIFT, Outcome
from holter.scope import Scope
from holter.slowcall import Pause, SlowCall, Stage

MOST_RECENT: Final = 500
MOST_STAGES: Final = 50
MOST_RECORDS: Final = 65_536
"""Of spans whose call may yet turn out to be slow; 2 MiB."""
_MOST_PARTS: Final = 8
FEWEST_CALLS: Final = 100
"""Of so many at least the 99th hundredth is told."""
MOST_LEARNT: Final = 100
"""Of how many series an interval tells what is usual."""

_ID_MASK: Final = 2**32 - 1
_QUANTILE: Final = 0.99
_GENERATION_NS: Final = 60_000_000_000
_LONGEST_WAIT_NS: Final = 5_000_000_000
_LONGEST_EXPLANATION_NS: Final = 500_000_000
_NONE: Final[tuple[SlowCall, ...]] = ()


class SlowFold:
    """
    The slow and failed calls of one scope, from one interval to the next.

    A call inside of one that is still running is waited with, 5 seconds at most, since that one may
    turn out to be slow too. Costs nothing where nobody wants them; else a few nanoseconds a record, some
    50 µs a function that was called, 5 ms at most, and 6 MiB at most. Whoever calls has the recorder to itself.
    """

    def __init__(self, scope: Scope) -> None:
        self._scope, self._notes = scope, scope.notes
        self.reset()

    def reset(self) -> None:
        """Forget all, as a forked child does."""
        self._notes.reset()
        self._waiting: list[Noted] = []
        self._pauses: dict[tuple[int, int], tuple[Pause, ...]] = {}
        """Of those that wait, what they have lost where."""
        self._recent: deque[SlowCall] = deque(maxlen=MOST_RECENT)
        self._shown = _NONE
        # Records of spans: of calls that were noted, of others in this interval, and of others that still run.
        self._claimed: list[np.ndarray] = []
        self._fresh: list[np.ndarray] = []
        self._kept: list[np.ndarray] = []
        self._noted: set[int] = set()
        self._is_span = np.zeros(0, np.bool_)
        self._table_version = -1, -1
        self._usual: dict[int, _Usual] = {}
        self._limits: dict[int, int] = {}
        self._turn = self._left_out = 0

    def take(self) -> None:
        """Take what was noted: before records are drained, so that those of its spans are among them."""
        if self._notes.table:
            self._waiting += self._notes.take()
        if self._notes.explains and self._waiting:
            self._scope.guard.run("pauses", None, self._explain)

    def add(self, parts: Iterable[np.ndarray]) -> None:
        """Keep those of the drained records, in *parts*, that are of spans in calls."""
        if not self._notes.is_wanted:
            return
        self._learn_spans()
        found = [records[self._is_span[records["series"]] & (records["units"] != 0)] for records in parts]
        # At once, before newer ones take their place: those of the first calls of an interval would go first.
        noted = {one.start_ns & _ID_MASK for one in self._waiting}
        self._claimed += _of_calls([*self._kept, *self._fresh], noted - self._noted)
        self._claimed += _of_calls(found, noted)
        self._noted = noted
        self._fresh += [part for part in found if len(part)]
        _bound(self._fresh)
        _bound(self._claimed)

    def close(
        self,
        monotonic_ns: int,
        wall_ns: int,
        series: Mapping[int, Series],
        interval: Mapping[int, Reading],
        open_calls: Iterable[OpenCall],
        *,
        now: bool = False,
    ) -> tuple[SlowCall, ...]:
        """Return the newest slow calls, the oldest first; with *now* those too that are inside of running ones."""
        self._notes.ask_for_causes()
        if not (self._notes.is_wanted or self._waiting):
            self._usual, self._limits, self._fresh, self._kept, self._claimed = {}, {}, [], [], []
            return self._shown
        self._notes.look()
        self.add(())
        running = {(call.start_ns, call.series) for call in open_calls}
        # What has ended since others were taken is told in the next interval, with its stages, and so is what it holds.
        late = {(one.start_ns, one.root) for one in self._notes.table.copy()}
        due: list[Noted] = []
        waiting: list[Noted] = []
        for one in self._waiting:
            is_free = running.isdisjoint(one.around) and late.isdisjoint(one.around)
            is_free = is_free and self._is_explained(one, monotonic_ns)
            is_due = now or is_free or monotonic_ns - one.end_ns > _LONGEST_WAIT_NS
            (due if is_due else waiting).append(one)
        if self._notes.explains:
            self._scope.guard.run("pauses", None, lambda: self._explain(now=now))
        self._waiting = waiting
        if due:
            # Those around come first: they began earlier.
            due.sort(key=lambda one: one.start_ns)
            self._recent.extend(self._calls(due, wall_ns - monotonic_ns, series))
            self._shown = tuple(self._recent)
            for one in due:
                self._pauses.pop((one.start_ns, one.root), None)
        self._forget_records(running)
        self._set_limits(monotonic_ns, series, interval)
        return self._shown

    # -- what has slowed it

    def _explain(self, *, now: bool = False) -> None:
        """Find what each of those that wait has lost, once all is known of its time; *now*, with what is."""
        seen_ns, losses = PAUSES.seen_ns, None
        for one in self._waiting:
            key = one.start_ns, one.root
            if key in self._pauses or not (now or seen_ns is None or one.end_ns <= seen_ns):
                continue
            losses = losses or PAUSES.look()
            # A function that waits for nobody is not behind its loop: it is what the others wait for.
            where = one.where if one.root in self._notes.awaiting else one.where._replace(loop=0)
            found = losses.explain(one.start_ns, one.end_ns, where)
            self._pauses[key] = tuple(Pause(loss.cause, loss.seconds) for loss in found)
            name = self._scope.table[one.root].attributes.get(names.CALL_NAME, "")
            for loss in found:
                marks = {names.CALL_NAME: name, names.PAUSE_CAUSE: loss.cause}
                series = self._scope.timer(names.CALL_PAUSE, marks)
                self._scope.ring().write(series, self._scope.now(), loss.seconds * 1e9, 0, Outcome.OK)

    def _is_explained(self, one: Noted, monotonic_ns: int) -> bool:
        known = not self._notes.explains or (one.start_ns, one.root) in self._pauses
        return known or monotonic_ns - one.end_ns > _LONGEST_EXPLANATION_NS

    def left_out(self) -> int:
        """Begin another interval; return for how many there was no room, since recording began."""
        if self._notes.is_wanted:
            self._notes.turn()
        self._left_out += self._notes.left_out
        self._notes.left_out = 0
        return self._left_out

    # -- what slow is

    def _set_limits(self, monotonic_ns: int, series: Mapping[int, Series], interval: Mapping[int, Reading]) -> None:
        if not self._notes.wants_quantile:
            return
        moved = [
            (key if series[key].parent is None else series[key].parent, interval[key].histogram)
            for key in sorted(interval)
            if series[key].name == names.CALL_DURATION
        ]
        # In turns, where there are many: what is usual is told by some intervals as well as by all.
        first = self._turn % len(moved) if len(moved) > MOST_LEARNT else 0
        self._turn += MOST_LEARNT
        learnt = set()
        for root, histogram in (*moved[first:], *moved[:first])[:MOST_LEARNT]:
            if root is not None and isinstance(histogram, Histogram) and histogram.count:
                self._usual.setdefault(root, _Usual(monotonic_ns)).add(histogram)
                learnt.add(root)
        self._limits |= {root: self._usual[root].limit_ns(monotonic_ns) for root in learnt}
        # Where nothing traces, nothing is slow: there would be no trace to be in.
        if self._notes.explains or "opentelemetry.trace" in sys.modules:
            self._notes.set_limits(self._limits)

    # -- stages

    def _learn_spans(self) -> None:
        table = self._scope.table
        if table.version == self._table_version:
            return
        self._table_version, entries = table.version, list(table.entries.copy().items())
        self._is_span = np.zeros(max(key for key, _ in entries) + 1, np.bool_)
        self._is_span[[key for key, entry in entries if entry.series.name == names.SPAN_DURATION]] = True

    def _forget_records(self, running: Iterable[tuple[int, int]]) -> None:
        """Keep the records of calls that run or wait, and of this interval, whose calls may have just ended."""
        self._kept = [*_of_calls(self._kept, {start & _ID_MASK for start, _ in running}), *self._fresh]
        self._fresh = []
        _bound(self._kept)
        self._noted = {one.start_ns & _ID_MASK for one in self._waiting}
        self._claimed = _of_calls(self._claimed, self._noted)

    def _calls(self, due: list[Noted], wall_offset_ns: int, series: Mapping[int, Series]) -> Iterable[SlowCall]:
        stages = self._stages(due, wall_offset_ns)
        known: dict[tuple[int, int], SlowCall] = {}
        for one in due:
            counted = series.get(one.series)
            if counted is None:
                continue
            key = one.start_ns, one.root
            found = stages.get(key, [])
            longest = sorted(found, key=lambda stage: stage.start_ns - stage.end_ns)[:MOST_STAGES]
            outer = next((known[around] for around in one.around if around in known), None)
            # Beside each other, if the program has made a span between them, which the inner one is part of then.
            is_inside = outer is not None and _ids(outer.context) == _ids(one.context)
            trace_id, span_id = _ids(one.context)
            call = known[key] = SlowCall(
                number=self._notes.number(),
                call=str(series[one.root].attributes.get(names.CALL_NAME, counted.name)),
                series=one.series,
                start_ns=one.start_ns + wall_offset_ns,
                end_ns=one.end_ns + wall_offset_ns,
                attributes=counted.attributes,
                stages=tuple(sorted(longest, key=lambda stage: (stage.start_ns, -stage.end_ns))),
                stages_left_out=len(found) - len(longest),
                inside=outer.number if outer is not None and is_inside else 0,
                trace_id=trace_id,
                span_id=span_id,
                context=one.context,
                pauses=self._pauses.get(key, ()),
                is_traced=one.is_traced,
            )
            yield call

    def _stages(self, due: list[Noted], wall_offset_ns: int) -> dict[tuple[int, int], list[Stage]]:
        """Return the stages of each call: spans that carry its id, began after it, and ended before it."""
        if not self._claimed:
            return {}
        by_id: dict[int, list[Noted]] = {}
        for one in due:
            by_id.setdefault(one.start_ns & _ID_MASK, []).append(one)
        parts = _of_calls(self._claimed, set(by_id))
        records = np.concatenate(parts) if parts else self._claimed[0][:0]
        found: dict[tuple[int, int], list[Stage]] = {}
        columns = (records[name].tolist() for name in ("commit", "time_ns", "value", "series", "units"))
        for commit, end_ns, duration, key, call_id in zip(*columns, strict=True):
            start_ns = end_ns - int(duration)
            marks = self._scope.table[key].attributes
            for one in by_id[call_id]:
                is_its = marks.get(names.CALL_NAME) == self._scope.table[one.root].attributes.get(names.CALL_NAME)
                if is_its and one.start_ns <= start_ns and end_ns <= one.end_ns:
                    stage = Stage(
                        name=str(marks.get(names.SPAN_NAME, "")),
                        start_ns=start_ns + wall_offset_ns,
                        end_ns=end_ns + wall_offset_ns,
                        outcome=Outcome(commit >> OUTCOME_SHIFT & OUTCOME_MASK).label,
                        error_type=str(marks.get(names.ERROR_TYPE, "")),
                    )
                    found.setdefault((one.start_ns, one.root), []).append(stage)
        return found


def _of_calls(parts: Iterable[np.ndarray], ids: set[int]) -> list[np.ndarray]:
    """Return those of the records that carry one of the *ids*."""
    if not ids:
        return []
    wanted = np.array(sorted(ids), np.uint32)
    found = (part[_among(part["units"], wanted)] for part in parts)
    return [part for part in found if len(part)]


def _among(numbers: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Tell which *numbers* are *wanted* ones, which ascend; numpy.isin costs ten times as much where both are few."""
    found: np.ndarray = wanted[wanted.searchsorted(numbers).clip(max=len(wanted) - 1)] == numbers
    return found


def _bound(parts: list[np.ndarray]) -> None:
    """Let the oldest records go, beyond the number that is kept."""
    parts[-1:] = [part[-MOST_RECORDS:] for part in parts[-1:]]
    while len(parts) > 1 and sum(map(len, parts)) > MOST_RECORDS:
        del parts[0]
    if len(parts) > _MOST_PARTS:
        # A search costs as much in a part as in some thousand records.
        parts[:] = [np.concatenate(parts)]


class _Usual:
    """How long the calls of one function have taken lately: in the last minute, or as many as it takes to tell."""

    def __init__(self, since_ns: int) -> None:
        self._since_ns = since_ns
        self._before = self._lately = Histogram()

    def add(self, histogram: Histogram) -> None:
        """Take in the durations of one interval."""
        self._lately = self._lately.merge(histogram)

    def limit_ns(self, monotonic_ns: int) -> int:
        """Return what 99 of 100 calls took at most, to the end of its bucket; NEVER where there were too few."""
        both = self._before.merge(self._lately)
        if monotonic_ns - self._since_ns >= _GENERATION_NS and self._lately.count >= FEWEST_CALLS:
            self._before, self._lately, self._since_ns = self._lately, Histogram(), monotonic_ns
        if both.count < FEWEST_CALLS:
            return NEVER
        # Else many calls that take about the same would be slower than most.
        width = 2.0 ** (2.0**-both.scale)
        return int(both.quantile(_QUANTILE) * width * 1e9)


def _ids(span: Any) -> tuple[int, int]:
    return (0, 0) if span is None else (span.trace_id, span.span_id)
