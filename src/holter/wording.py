"""What an alert on a rule says: sentences for people, plain numbers and strings as evidence."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from holter.causes import Causes
from holter.model import AttributeValue, Snapshot, Statistics
from holter.rule import WITHOUT_COUNT, Rule
from holter.words import count, duration, number, ratio

_SECONDS_BELOW: Final = 120


@dataclass(frozen=True, slots=True)
class Seen:
    """The newest snapshot, with what the window tells of the target."""

    snapshot: Snapshot
    statistics: Statistics
    causes: Causes
    value: float | None


class Wording:
    """The words for what was seen of a rule, which has been broken for *lasted_seconds*."""

    def __init__(self, rule: Rule, seen: Seen, lasted_seconds: float) -> None:
        self._rule, self._seen, self._lasted_seconds = rule, seen, lasted_seconds
        self.evidence = self._evidence()

    def _say(self, value: float | None) -> str:
        return "unknown" if value is None else self._rule.measure.say(value, self._seen.snapshot)

    def expected(self) -> str:
        """Return what would be good: "p99 at most 200 ms"."""
        above, below = self._rule.bounds.above, self._rule.bounds.below
        if above is not None and below is not None:
            return f"{self._rule.measure.label} from {self._say(below)} to {self._say(above)}"
        return f"{self._rule.measure.label} " + (
            f"at least {self._say(below)}" if above is None else f"at most {self._say(above)}"
        )

    def seen(self) -> str:
        """Return what is: "412 ms (1,204 calls)"."""
        if self._seen.value is None:
            return "nothing recorded"
        return f"{self._say(self._seen.value)}{self._basis()}"

    def _basis(self) -> str:
        """Return how many events the value rests on, in brackets."""
        statistics, measure = self._seen.statistics, self._rule.measure
        if measure.statistic in WITHOUT_COUNT:
            return ""
        events = count(statistics.interval.count, measure.noun)
        failed = f"{count(statistics.failed)} of {events} failed" if measure.statistic == "error_ratio" else events
        return f" ({failed})"

    def _finding(self) -> str:
        """Return the value in a clause: "predict p99 is 412 ms over the last 60 s"."""
        measure, value = self._rule.measure, self._say(self._seen.value)
        if measure.statistic == "missing":
            never = not self._seen.statistics.total.count and self._seen.statistics.total.last is None
            ago = f"has not been recorded in the {value} since the start" if never else f"was last recorded {value} ago"
            return f"{measure.target} {ago}"
        if measure.statistic == "last":
            return f"{measure.target} is {value}"
        return f"{measure.target} {measure.label} is {value} over the last {self._span()}"

    def _span(self) -> str:
        seconds = min(self._rule.window_seconds, self._seen.statistics.seconds)
        return f"{number(seconds)} s" if 1 <= seconds < _SECONDS_BELOW else duration(seconds)

    def fired(self) -> str:
        """Return the sentence for an alert that fires."""
        bounds, value = self._rule.bounds, self._seen.value
        if value is not None and bounds.undercut_by(value):
            side = f"below the limit of {self._say(bounds.below)}"
        elif value is not None and bounds.exceeded_by(value):
            side = f"above the limit of {self._say(bounds.above)}"
        else:
            side = f"outside of every limit (expected: {self.expected()})"
        return f"{self._finding()}, {side}{self._basis()}"

    def resolved(self) -> str:
        """Return the sentence for an alert that resolves."""
        lasted, target = duration(self._lasted_seconds), self._rule.measure.target
        if self._seen.value is None:
            return (
                f"{target}: nothing was recorded over the last {self._span()}, so its alert ends after {lasted}; "
                "that is silence, not a recovery"
            )
        return f"{self._finding()}, back inside the limit after {lasted} (expected: {self.expected()})"

    def next_step(self) -> str:
        """Return what to look at first."""
        measure = self._rule.measure
        if measure.statistic == "error_ratio":
            return self._step_for_errors()
        if measure.statistic in ("rate", "missing"):
            return self._step_for_traffic()
        if measure.call is not None and measure.statistic not in WITHOUT_COUNT:
            return self._step_for_time()
        return "See in the summary what else moved at that time."

    def _step_for_errors(self) -> str:
        evidence = self.evidence
        if "error_type" not in evidence:
            return "See the errors by type and place in the summary."
        place = f" at {evidence['error_place']}" if "error_place" in evidence else ""
        share = f"{count(float(evidence['error_type_count']))} of {count(self._seen.statistics.failed, 'failure')}"
        return f"Look at {evidence['error_type']}{place}: {share}."

    def _step_for_traffic(self) -> str:
        value, target = self._seen.value, self._rule.measure.target
        if self._rule.measure.statistic == "rate" and value is not None and self._rule.bounds.exceeded_by(value):
            return "See whether the load is wanted, or callers try again and again."
        if "running" in self.evidence:
            oldest = duration(float(self.evidence["oldest_running_seconds"]))
            running = count(float(self.evidence["running"]), "call")
            return f"See where {target} hangs: {running} running, the oldest for {oldest}."
        return f"See whether what records {target} still runs, and whether anything asks it to."

    def _step_for_time(self) -> str:
        evidence = self.evidence
        if "stage" not in evidence:
            target = self._rule.measure.target
            return f"Put holter.span(...) around the parts of {target} to see which of them takes the time."
        before = evidence.get("stage_seconds_per_call_before")
        earlier = "" if before is None else f", {duration(float(before))} before"
        spent = f"{duration(float(evidence['stage_seconds_per_call']))} a call{earlier}"
        return f"Look at {evidence['stage']}: it takes {ratio(float(evidence['stage_share']))} of the time ({spent})."

    def _evidence(self) -> dict[str, AttributeValue]:
        """Return numbers and strings only, finite, so that any exporter can write them."""
        rule, seen, statistics = self._rule, self._seen, self._seen.statistics
        measure, interval = rule.measure, statistics.interval
        running = measure.running(seen.snapshot)
        figures: dict[str, AttributeValue | None] = {
            "statistic": measure.statistic,
            "value": seen.value,
            "above": rule.bounds.above,
            "below": rule.bounds.below,
            "window_seconds": rule.window_seconds,
            "covered_seconds": statistics.seconds,
            "lasted_seconds": self._lasted_seconds,
            "count": interval.count,
            "failed": statistics.failed,
            "mean": statistics.value("mean"),
            "p50": statistics.value("p50"),
            "p99": statistics.value("p99"),
            "max": interval.maximum,
            "error_ratio": statistics.value("error_ratio") if measure.call else None,
            "running": len(running) or None,
            "oldest_running_seconds": running[0].age_seconds if running else None,
            **seen.causes.stage(seen.snapshot, measure, interval),
            **seen.causes.error(seen.snapshot, measure),
        }
        return {
            key: value
            for key, value in figures.items()
            if value is not None and not (isinstance(value, float) and not math.isfinite(value))
        }
