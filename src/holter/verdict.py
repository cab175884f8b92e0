"""
What changed and why, in words.

A change is named when it is both large and sure. Large: failures at least doubled, by a
hundredth of the calls or more, and five of them; durations a factor of 1.5 (of the mean and of
the median interval alike, or of p50 or p99); calls a factor of 2, until now, or none for three
times as long as ever before and no longer than they came at all. Sure: at least 10 intervals are
held, four before the change and three after it, and the evidence (see `holter.changes`) reaches
30. Quantiles are compared only between intervals with as many calls: the p99 of few lies lower.
Where nothing is sure but an alert fires, that is the evidence, and tells before from after.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

import numpy as np
from numpy.typing import NDArray

from holter import incidents, words
from holter.changes import ENOUGH, SHORTEST_STRETCH, Stretch, silence, stretch_of_counts, stretch_of_levels
from holter.history import History
from holter.losses import with_losses
from holter.model import Alert, ErrorPlace, Snapshot
from holter.timeline import Axis, Timeline, inner_stage, timelines

Values = NDArray[np.float64]

FEWEST_INTERVALS: Final = 10
_SLOWER: Final = 1.5
_BUSIER: Final = 2.0
_MORE_FAILURES: Final = 2.0
_FAILURE_SHARE: Final = 0.01
_FEWEST_FAILURES: Final = 5
_STEADY_FAILURE_SHARE: Final = 0.05
# With fewer calls in an interval its p99 is nearly its maximum, which grows with their number.
_ENOUGH_FOR_P99: Final = 100
_SIMILAR: Final = 1.5
_MOST_OF_IT: Final = 0.5
_MOST_DETAILS: Final = 4
_NAME: Final = 32


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    The judgement on the recent past: one sentence, and others that add to it.

    ``changed`` is whether anything is unusual; the headline says so too. ``kind`` is that of the
    headline: "failing", "stuck", "slow", "stopped", "busy" or "quiet", or "alert"; "" where nothing changed.
    """

    headline: str
    details: tuple[str, ...] = ()
    changed: bool = False
    kind: str = ""


@dataclass(slots=True)
class _Finding:
    """What changed in one call, as parts of a sentence; the higher the rank the worse."""

    name: str
    rank: tuple[int, float]
    clauses: list[str] = field(default_factory=list)
    cause: str = ""

    def sentence(self) -> str:
        text = f"{_name(self.name)}: {' and '.join(self.clauses)}"
        return f"{text}; {self.cause}." if self.cause else f"{text}."


def judge(
    history: History, snapshot: Snapshot, alerts: Iterable[Alert] = (), error_places: Iterable[ErrorPlace] = ()
) -> Verdict:
    """
    Return what changed within *history*, most serious first, or that nothing did.

    *alerts* are those that fired, *snapshot* the present reading. Costs some milliseconds a
    watched call, the busiest 20 are judged.
    """
    firing = [alert for alert in alerts if alert.state == "firing"]
    places = list(error_places)
    axis, calls = timelines(history)
    findings = []
    for timeline in calls:
        forced = _fired_at(axis, timeline, firing)
        if len(history) >= FEWEST_INTERVALS or forced is not None:
            findings += _changes(axis, timeline, forced, snapshot, places)
    findings.sort(key=lambda finding: finding.rank, reverse=True)
    sentences = [finding.sentence() for finding in findings]
    said = sentences or [f"Alert: {words.clean(alert.message, 200)}" for alert in firing]
    if said:
        kind = _KINDS[findings[0].rank[0]] if findings else "alert"
        return Verdict(said[0], tuple(said[1 : 1 + _MOST_DETAILS]), changed=True, kind=kind)
    failing = max(calls, key=lambda timeline: float(timeline.failed.sum()), default=None)
    if failing is not None and failing.failed.sum() >= max(
        _FEWEST_FAILURES, _STEADY_FAILURE_SHARE * failing.calls.sum()
    ):
        return Verdict(_steady_failures(failing, places))
    return Verdict(_nothing(history, calls))


_KINDS: Final = ("quiet", "busy", "stopped", "slow", "stuck", "failing")
_QUIET, _BUSY, _STOPPED, _SLOW, _STUCK, _FAILING = range(6)


def _changes(
    axis: Axis, timeline: Timeline, forced: int | None, snapshot: Snapshot, places: Sequence[ErrorPlace]
) -> list[_Finding]:
    """Return up to two findings on one call: its failures and durations in one sentence, its load in another."""
    found = []
    failures, slowness = _failures(timeline, forced), _slowness(timeline, forced)
    if failures:
        where = _failure_place(timeline, failures, places)
        rose = _rose("errors", *(words.ratio(share) for share in _shares(timeline, failures)))
        finding = _Finding(timeline.name, (_FAILING, timeline.failed[failures.start : failures.end].sum()))
        finding.clauses.append(f"{rose} {_when(axis, failures)}{f' ({where})' if where else ''}")
        found.append(finding)
    if slowness:
        excess = timeline.seconds[slowness.start : slowness.end].sum()
        finding = found[0] if found else _Finding(timeline.name, (_SLOW, excess))
        together = bool(failures) and abs(slowness.start - (failures.start if failures else 0)) <= SHORTEST_STRETCH
        finding.clauses += _slowness_clauses(axis, timeline, slowness, together=together)
        ends = (*axis.start_ns.tolist(), snapshot.time_ns)
        since_ns, until_ns = ends[slowness.start], ends[slowness.end]
        finding.cause = with_losses(_cause(timeline, slowness), snapshot.slow_calls, timeline.name, since_ns, until_ns)
        found = [finding]
    # A training run ends; that is no news.
    if timeline.noun == "calls":
        load = _stop(axis, timeline, snapshot) or _load(axis, timeline)
        found += [load] if load else []
    return found


def _failures(timeline: Timeline, forced: int | None) -> Stretch | None:
    """Return the stretch in which clearly more calls failed: the surest one, else the one since an alert fired."""
    for stretch in _candidates(stretch_of_counts(timeline.failed, timeline.calls), timeline, forced):
        before, during = _shares(timeline, stretch)
        large = during >= _MORE_FAILURES * before and during - before >= _FAILURE_SHARE
        if large and timeline.failed[stretch.start : stretch.end].sum() >= _FEWEST_FAILURES:
            return replace(stretch, start=_first_of_them(timeline, stretch, during))
    return None


def _first_of_them(timeline: Timeline, stretch: Stretch, share: float) -> int:
    """Return where failures like those of the stretch began: an alert fires only once enough calls have failed."""
    alike = timeline.failed[1 : stretch.start] >= np.maximum(1, share / 2 * timeline.calls[1 : stretch.start])
    return stretch.start - int(np.append(alike[::-1], False).argmin())


def _shares(timeline: Timeline, stretch: Stretch) -> tuple[float, float]:
    """Return which share of the calls failed before the stretch and in it."""
    failed, calls = timeline.failed, timeline.calls
    return _ratio(failed, calls, slice(0, stretch.start)), _ratio(failed, calls, slice(stretch.start, stretch.end))


def _slowness(timeline: Timeline, forced: int | None) -> Stretch | None:
    """Return the surest stretch in which calls took longer, by mean, p50 or p99."""
    valid = np.flatnonzero((timeline.calls > 0) & (timeline.seconds > 0) & ~np.isnan(timeline.p50))
    mean = np.divide(timeline.seconds, timeline.calls, out=np.ones_like(timeline.calls), where=timeline.calls > 0)
    best: Stretch | None = None
    for figure, values in (("mean", mean), ("p50", timeline.p50), ("p99", timeline.p99)):
        usable = valid[values[valid] > 0]
        levels = np.log(values[usable])
        is_steady = not len(levels) or np.ptp(levels) < np.log(_SLOWER)
        found = None if is_steady else _on(usable, stretch_of_levels(levels), len(values))
        for stretch in _candidates(found, timeline, forced):
            if (best is None or stretch.evidence > best.evidence) and _is_slower(timeline, figure, values, stretch):
                best = stretch
    return best


def _is_slower(timeline: Timeline, figure: str, values: Values, stretch: Stretch) -> bool:
    before, during = _typical(values, stretch)
    if not before or during < _SLOWER * before:
        return False
    if figure == "mean":
        exact_before, exact_during = (_ratio(timeline.seconds, timeline.calls, part) for part in _parts(stretch))
        return exact_during >= _SLOWER * exact_before
    return figure == "p50" or _comparable(timeline.calls, stretch)


def _slowness_clauses(axis: Axis, timeline: Timeline, stretch: Stretch, *, together: bool) -> list[str]:
    """Return which figure rose: p99, with p50 where that rose too, else p50, else the mean."""
    before, during = (_ratio(timeline.seconds, timeline.calls, part) for part in _parts(stretch))
    figures = {
        "p99": _typical(timeline.p99, stretch),
        "p50": _typical(timeline.p50, stretch),
        "mean": (before, during),
    }
    risen = {
        name: f"from {words.duration(low)} to {words.duration(high)}"
        for name, (low, high) in figures.items()
        if low and high >= _SLOWER * low
    }
    name, how = next(iter(risen.items()))
    if together:
        return [f"{name} {how}"]
    also = f" (p50 {risen['p50']})" if name == "p99" and "p50" in risen else ""
    return [f"{name} rose {how} {_when(axis, stretch)}{also}"]


def _cause(timeline: Timeline, stretch: Stretch) -> str:
    """Return which stage makes up the time that was added to a call, where the stages tell."""
    before, during = _parts(stretch)
    added = _ratio(timeline.seconds, timeline.calls, during) - _ratio(timeline.seconds, timeline.calls, before)
    if added <= 0 or not timeline.stages:
        return ""
    shares = {
        name: min(
            1.0, (_ratio(stage.seconds, timeline.calls, during) - _ratio(stage.seconds, timeline.calls, before)) / added
        )
        for name, stage in timeline.stages.items()
    }
    stage = inner_stage(shares, _stage_seconds(timeline, during), _MOST_OF_IT)
    if stage is None:
        return "no stage makes up most of the added time"
    return f"{round(100 * shares[stage])} % of the added time is in {_stage(timeline, stage)}"


def _failure_place(timeline: Timeline, stretch: Stretch, places: Sequence[ErrorPlace]) -> str:
    """Return the type that grew most, the innermost stage that it passed through, and where it was raised."""
    during = slice(stretch.start, stretch.end)
    error_type = max(timeline.failures, key=lambda each: float(timeline.failures[each][during].sum()))
    return _origin(timeline, error_type, during, places)


def _origin(timeline: Timeline, error_type: str, during: slice, places: Sequence[ErrorPlace]) -> str:
    text = words.clean(error_type, _NAME)
    passed = {
        name: float(stage.failures[error_type][during].sum())
        for name, stage in timeline.stages.items()
        if error_type in stage.failures
    }
    most = _MOST_OF_IT * float(timeline.failures[error_type][during].sum())
    stage = inner_stage(passed, _stage_seconds(timeline, during), most)
    if stage is not None:
        text += f" in {_stage(timeline, stage)}"
    known = [place for place in places if (place.call, place.error_type) == (timeline.name, error_type)]
    if known:
        text += f", {short_place(max(known, key=lambda place: place.count).place)}"
    return text


def _stage_seconds(timeline: Timeline, during: slice) -> dict[str, float]:
    return {name: float(stage.seconds[during].sum()) for name, stage in timeline.stages.items()}


def short_place(place: str) -> str:
    """Return "file.py:88" of a place in full, which names the folders before and the function after it."""
    return words.clean(place.rsplit("/", 1)[-1].split(" ", 1)[0], _NAME)


def _stop(axis: Axis, timeline: Timeline, snapshot: Snapshot) -> _Finding | None:
    """Return that calls have stopped, and which of them hang."""
    stretch = silence(timeline.calls, axis.seconds)
    if stretch is None or stretch.evidence < ENOUGH:
        return None
    ages = [call.age_seconds for call in snapshot.open_calls if call.name == timeline.name]
    first = int((timeline.calls > 0).argmax())
    # What has been silent for longer than it ran was a phase of the program.
    if not ages and stretch.end - stretch.start > stretch.start - first:
        return None
    before = _rate_before(axis, timeline, stretch)
    finding = _Finding(timeline.name, (_STOPPED, before))
    finding.clauses.append(f"calls stopped {_when(axis, stretch)}, after {_rate(before)}")
    if ages:
        finding.rank = (_STUCK, before)
        finding.cause = f"{words.count(len(ages))} in flight, the oldest for {words.duration(max(ages))}"
    return finding


def _load(axis: Axis, timeline: Timeline) -> _Finding | None:
    """Return that calls have come at another rate until now, counted from the first call on."""
    first = int((timeline.calls > 0).argmax())
    levels = np.log((timeline.calls + 0.5) / np.maximum(axis.seconds, 1e-9))[first:]
    stretch = stretch_of_levels(levels)
    counted = stretch_of_counts(timeline.calls[first:], axis.seconds[first:])
    if stretch is None or counted is None or min(stretch.evidence, counted.evidence) < ENOUGH:
        return None
    stretch = Stretch(stretch.start + first, stretch.end + first, stretch.evidence)
    before = _rate_before(axis, timeline, stretch)
    now = _ratio(timeline.calls, axis.seconds, _parts(stretch)[1])
    lasts = stretch.end == len(axis.seconds) and now > 0
    if not lasts or max(before, now) < _BUSIER * min(before, now):
        return None
    clause = f"{_rose('calls', _rate(before), _rate(now), up=now > before)} {_when(axis, stretch)}"
    return _Finding(timeline.name, (_BUSY if now > before else _QUIET, abs(now - before)), [clause])


def _rate_before(axis: Axis, timeline: Timeline, stretch: Stretch) -> float:
    first = int((timeline.calls > 0).argmax())
    return _ratio(timeline.calls, axis.seconds, slice(first, stretch.start))


def _steady_failures(timeline: Timeline, places: Sequence[ErrorPlace]) -> str:
    everything = slice(0, len(timeline.calls))
    error_type = max(timeline.failures, key=lambda each: float(timeline.failures[each].sum()))
    origin = _origin(timeline, error_type, everything, places)
    share = words.ratio(_ratio(timeline.failed, timeline.calls, everything))
    return (
        f"{_name(timeline.name)}: {share} of its {words.count(timeline.calls.sum())} {timeline.noun} fail ({origin})."
    )


def _nothing(history: History, calls: Sequence[Timeline]) -> str:
    if not calls:
        return "Nothing unusual: no watched call has ended yet."
    total = sum(float(timeline.calls.sum()) for timeline in calls)
    failed = sum(float(timeline.failed.sum()) for timeline in calls)
    top = calls[0]
    what = f"{words.count(total)} {top.noun} of {_name(top.name)}"
    if len(calls) > 1:
        what = f"{words.count(total)} calls and steps of {len(calls)} functions"
        if all(timeline.noun == top.noun for timeline in calls):
            what = f"{words.count(total)} {top.noun} of {len(calls)} functions"
    errors = f"{words.ratio(failed / total)} failed" if failed and total else "no errors"
    pace = f", p99 {words.duration(float(np.nanmedian(top.p99)))}" if len(calls) == 1 and _known(top.p99) else ""
    early = "" if len(history) >= FEWEST_INTERVALS else " Too early to compare with the time before."
    return f"Nothing unusual: {what}, {errors}{pace}.{early}"


def _fired_at(axis: Axis, timeline: Timeline, firing: Sequence[Alert]) -> int | None:
    """Return the bin in which an alert on this call fired."""
    times = [one.since_ns for one in firing if timeline.name in {one.names[3], *map(incidents.signal, one.related)}]
    if not times:
        return None
    return int(np.searchsorted(axis.start_ns, min(times), side="right")) - 1


def _candidates(found: Stretch | None, timeline: Timeline, fired: int | None) -> Iterator[Stretch]:
    """Yield the stretch that was *found* if it is sure, then the one since an alert fired, sure because it did."""
    if found is not None and found.evidence >= ENOUGH:
        yield found
    if fired is not None and fired >= 1 and timeline.calls[:fired].any() and timeline.calls[fired:].any():
        yield Stretch(fired, len(timeline.calls), 0.0)


def _on(positions: NDArray[np.intp], stretch: Stretch | None, length: int) -> Stretch | None:
    """Return a stretch of those bins that had a value as one of all bins."""
    if stretch is None:
        return None
    end = length if stretch.end == len(positions) else int(positions[stretch.end])
    return Stretch(int(positions[stretch.start]), end, stretch.evidence)


def _parts(stretch: Stretch) -> tuple[slice, slice]:
    return slice(0, stretch.start), slice(stretch.start, stretch.end)


def _ratio(part: Values, whole: Values, where: slice) -> float:
    total = float(whole[where].sum())
    return float(part[where].sum()) / total if total else 0.0


def _known(values: Values) -> bool:
    return not bool(np.isnan(values).all())


def _typical(values: Values, stretch: Stretch) -> tuple[float, float]:
    """Return the median of the values before the stretch and in it, 0 where there is none."""
    before, during = (float(np.nanmedian(values[one])) if _known(values[one]) else 0.0 for one in _parts(stretch))
    return before, during


def _comparable(calls: Values, stretch: Stretch) -> bool:
    few, many = sorted(float(np.median(calls[part][calls[part] > 0])) for part in _parts(stretch))
    return few >= _ENOUGH_FOR_P99 or many <= _SIMILAR * few


def _rose(what: str, before: str, after: str, *, up: bool = True) -> str:
    return f"{what} {'rose' if up else 'fell'} from {before} to {after}"


def _rate(per_second: float) -> str:
    return f"{words.number(per_second)}/s"


def _when(axis: Axis, stretch: Stretch) -> str:
    since = clock_time(int(axis.start_ns[stretch.start]))
    if stretch.end < len(axis.start_ns):
        return f"between {since} and {clock_time(int(axis.start_ns[stretch.end]))}"
    return f"at {since}"


def clock_time(time_ns: int) -> str:
    """Return the local time of day of a Unix time."""
    return datetime.fromtimestamp(time_ns / 1e9).astimezone().strftime("%H:%M:%S")


def _name(name: str) -> str:
    return words.clean(name, _NAME)


def _stage(timeline: Timeline, name: str) -> str:
    return f"stage '{_name(name)}'" if timeline.noun == "calls" else f"'{_name(name)}'"
